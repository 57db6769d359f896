//! Message boundaries: what a cut stream is told, that the limit holds, and what is left of an
//! entry beyond it.

use ldap_content_sync::oversized::{OversizedReader, Progress};
use ldap_content_sync::{DecodeErrorKind, Frame, Limits, frame};

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
                oversized(stream, limit);
            }
        }
    }
    for cut in 0..stream.len().min(CUTS) {
        match (frame(&stream[..cut], limit), &whole) {
            // A message does not become longer or shorter by what follows it, and an error stays
            // that error.
            (Ok(Frame::Complete { len }), whole) => assert_eq!(*whole, Ok(Frame::Complete { len })),
            (Err(error), whole) => assert_eq!(*whole, Err(error)),
            (Ok(Frame::NeedMore { at_least }), Ok(Frame::Complete { len })) => {
                assert!((cut + 1..=*len).contains(&at_least))
            }
            (Ok(Frame::NeedMore { at_least }), Ok(Frame::NeedMore { at_least: later })) => {
                assert!(cut < at_least && at_least <= *later)
            }
            (Ok(Frame::NeedMore { at_least }), Err(_)) => assert!(cut < at_least),
        }
    }
}

/// An entry beyond the limit is the same in whatever pieces it arrives.
fn oversized(stream: &[u8], limit: usize) {
    let whole = OversizedReader::new(limit).feed(stream);
    if let Ok(Progress::Done { used, entry }) = &whole {
        assert!(*used == entry.size && entry.size > limit);
        if let Ok(message) = entry.decode(&Limits::default()) {
            assert_eq!(message.op.name(), "searchResEntry");
        }
    }
    for piece in [1, 3, 64] {
        let mut reader = OversizedReader::new(limit);
        let mut before = 0;
        let pieces = stream.chunks(piece).map(|piece| match reader.feed(piece) {
            Ok(Progress::Done { used, entry }) => Ok(Progress::Done { used: used + before, entry }),
            other => {
                before += piece.len();
                other
            }
        });
        let ended = pieces
            .into_iter()
            .find(|progress| *progress != Ok(Progress::More))
            .unwrap_or(Ok(Progress::More));
        assert_eq!(ended, whole);
    }
}
