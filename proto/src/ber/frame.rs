//! Message framing: finds the end of one LDAPMessage without decoding its contents.

use super::{DecodeError, DecodeErrorKind, Header, HeaderState, SEQUENCE, header};

/// State of the message at the start of a receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The message is incomplete. Read until the buffer holds at least this many bytes, then call
    /// [`frame()`] again.
    NeedMore {
        /// Bytes, counted from the start of the buffer.
        at_least: usize,
    },
    /// The first `len` bytes of the buffer are one message.
    Complete {
        /// Bytes of the message, including its own tag and length.
        len: usize,
    },
}

/// Finds the end of the message at the start of `buf`: the outer SEQUENCE of RFC 4511 §4.1.1.
///
/// # Errors
/// A first byte other than SEQUENCE, a length that RFC 4511 §5.1 forbids, or a message that
/// announces more than `max_message` bytes. Each error is reported as soon as its bytes are in the
/// buffer, so the caller never buffers a message that will be refused.
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
