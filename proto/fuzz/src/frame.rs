//! Message boundaries: what a cut stream is told, and that the limit holds.

use ldap_content_sync::{DecodeErrorKind, Frame, frame};

/// Cuts tried; longer input is cut at these places from its start.
const CUTS: usize = 64;

/// Two bytes for the limit of a message, then the stream.
pub fn run(data: &[u8]) {
    let Some((limit, stream)) = data.split_first_chunk() else { return };
    let limit = usize::from(u16::from_be_bytes(*limit));
    let whole = frame(stream, limit);
    match whole {
        Ok(Frame::Complete { len }) => assert!((2..=stream.len().min(limit)).contains(&len)),
        Ok(Frame::NeedMore { at_least }) => assert!(at_least > stream.len()),
        Err(error) => {
            if let DecodeErrorKind::MessageTooLarge { size, max } = error.kind {
                assert!(size > limit && max == limit);
            }
        }
    }
    for cut in 0..stream.len().min(CUTS) {
        match (frame(&stream[..cut], limit), &whole) {
            // A message does not become longer or shorter by what follows it, and an error stays that error.
            (Ok(Frame::Complete { len }), whole) => assert_eq!(*whole, Ok(Frame::Complete { len })),
            (Err(error), whole) => assert_eq!(*whole, Err(error)),
            (Ok(Frame::NeedMore { at_least }), Ok(Frame::Complete { len })) => assert!((cut + 1..=*len).contains(&at_least)),
            (Ok(Frame::NeedMore { at_least }), Ok(Frame::NeedMore { at_least: later })) => assert!(cut < at_least && at_least <= *later),
            (Ok(Frame::NeedMore { at_least }), Err(_)) => assert!(cut < at_least),
        }
    }
}
