//! Receive buffer: takes bytes and returns whole LDAP messages.
//!
//! Scope: one growing buffer; messages are decoded in place. It grows with received bytes only,
//! never with an announced length. Its maximum size is the message limit plus one read.

use std::io;

use ldap_content_sync::{DecodeError, Frame, frame};

#[derive(Debug, Default)]
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
    /// Bytes before this offset were already taken.
    start: usize,
}

impl FrameBuffer {
    /// Number of bytes not yet taken.
    pub(super) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.start)
    }

    /// Appends received bytes.
    pub(super) fn push(&mut self, arrived: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(arrived);
    }

    /// Appends up to `at_most` bytes. `read` writes them to its slice and returns their number.
    pub(super) fn push_with(
        &mut self,
        at_most: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.compact();
        let before = self.bytes.len();
        self.bytes.resize(before.saturating_add(at_most), 0);
        let result = read(self.bytes.get_mut(before..).unwrap_or_default());
        self.bytes.truncate(before.saturating_add(*result.as_ref().unwrap_or(&0)));
        result
    }

    /// Length of the next message; `None` if it is incomplete.
    pub(super) fn next_len(&self, max_message: usize) -> Result<Option<usize>, DecodeError> {
        Ok(match frame(self.waiting(), max_message)? {
            Frame::Complete { len } => Some(len),
            Frame::NeedMore { .. } => None,
        })
    }

    /// Bytes not yet taken.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Takes the next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> &[u8] {
        let from = self.start;
        self.start = from.saturating_add(len).min(self.bytes.len());
        self.bytes.get(from..self.start).unwrap_or_default()
    }

    /// Moves the incomplete message to the front. It is shorter than the data of one read, so large
    /// data is never moved twice.
    fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two unbind requests, the shortest possible LDAPMessages.
    const TWO: [u8; 14] = [0x30, 5, 2, 1, 1, 0x42, 0, 0x30, 5, 2, 1, 2, 0x42, 0];

    #[test]
    fn messages_come_out_whole_however_they_arrive() {
        for piece in 1..=TWO.len() {
            let mut buffer = FrameBuffer::default();
            let mut messages = Vec::new();
            for bytes in TWO.chunks(piece) {
                buffer.push(bytes);
                while let Some(len) = buffer.next_len(100).unwrap() {
                    messages.push(buffer.take(len).to_vec());
                }
            }
            assert_eq!(messages, [&TWO[..7], &TWO[7..]], "in pieces of {piece}");
            assert_eq!(buffer.len(), 0);
        }
    }

    #[test]
    fn a_failed_read_leaves_what_was_there() {
        let mut buffer = FrameBuffer::default();
        buffer.push(&TWO[..9]);
        buffer.take(7);
        buffer.push_with(64, |_| Err(io::ErrorKind::TimedOut.into())).unwrap_err();
        assert_eq!(buffer.len(), 2);
        let rest = buffer.push_with(64, |free| {
            free[..5].copy_from_slice(&TWO[9..]);
            Ok(5)
        });
        assert_eq!(rest.unwrap(), 5);
        let len = buffer.next_len(100).unwrap().unwrap();
        assert_eq!(buffer.take(len), &TWO[7..]);
    }

    #[test]
    fn a_promised_length_reserves_nothing() {
        let mut buffer = FrameBuffer::default();
        buffer.push(&[0x30, 0x84, 0x03, 0xff, 0xff, 0x00]);
        assert_eq!(buffer.next_len(64 << 20).unwrap(), None);
        assert!(buffer.bytes.capacity() < 1024);
        buffer.next_len(1 << 20).unwrap_err();
    }
}
