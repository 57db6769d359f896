//! Where one LDAPMessage ends and the next begins, before anything in it is looked at.

use super::{DecodeError, DecodeErrorKind, Header, HeaderState, SEQUENCE, header};

/// What the start of a receive buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The message is not complete: read on until the buffer holds at least this many bytes, then
    /// ask again.
    NeedMore {
        /// Bytes from the start of the buffer.
        at_least: usize,
    },
    /// The first `len` bytes of the buffer are one message.
    Complete {
        /// Bytes of the message, its own tag and length included.
        len: usize,
    },
}

/// Finds the end of the message at the start of `buf` (RFC 4511 §4.1.1, the outer SEQUENCE).
///
/// # Errors
/// A first byte that is not a SEQUENCE, a length that RFC 4511 §5.1 forbids, and a message that
/// announces more than `max_message` bytes: each as soon as the bytes that show it are there, so
/// that no more is ever buffered.
pub fn frame(buf: &[u8], max_message: usize) -> Result<Frame, DecodeError> {
    let error = |kind| DecodeError::new(0, "LDAPMessage", kind);
    if let Some(&found) = buf.first()
        && found != SEQUENCE
    {
        return Err(error(DecodeErrorKind::UnexpectedTag { expected: SEQUENCE, found }));
    }
    match header(buf).map_err(error)? {
        HeaderState::NeedMore(at_least) => Ok(Frame::NeedMore { at_least }),
        HeaderState::Complete(Header { size, contents, .. }) => {
            let len = size.saturating_add(contents);
            if len > max_message {
                return Err(error(DecodeErrorKind::MessageTooLarge {
                    size: len,
                    max: max_message,
                }));
            }
            Ok(if len > buf.len() {
                Frame::NeedMore { at_least: len }
            } else {
                Frame::Complete { len }
            })
        }
    }
}
