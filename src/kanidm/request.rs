//! The body of a POST, built while it is sent. Entries stay in the arena of the change set.
//!
//! Scope: JSON text. [`crate::upload`] decides which entry goes into which POST.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use uuid::Uuid;

use super::state::SyncState;

/// The deletions at the end of a POST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Nothing.
    #[default]
    Ignore,
    /// Every entry of the sync account that is not listed, even one written in the same POST. An
    /// empty list deletes everything.
    Retain(Vec<Uuid>),
    /// These entries. Kanidm ignores UUIDs that do not exist.
    Delete(Vec<Uuid>),
}

impl Retention {
    /// True if applying it can delete anything.
    pub fn deletes(&self) -> bool {
        match self {
            Retention::Ignore => false,
            Retention::Retain(_) => true,
            Retention::Delete(uuids) => !uuids.is_empty(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Retention::Ignore => out.extend_from_slice(b"\"Ignore\""),
            Retention::Retain(uuids) => write_list(out, "Retain", uuids),
            Retention::Delete(uuids) => write_list(out, "Delete", uuids),
        }
    }
}

fn write_list(out: &mut Vec<u8>, key: &str, uuids: &[Uuid]) {
    out.reserve(uuids.len().saturating_mul(39));
    out.extend_from_slice(format!("{{\"{key}\":[").as_bytes());
    for (i, uuid) in uuids.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(
            uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
        );
        out.push(b'"');
    }
    out.extend_from_slice(b"]}");
}

/// The entries of a POST: JSON objects, each made when it is sent. Entries with content are slices
/// of the change set's arena. A list of bare UUIDs takes no memory, however long it is. Clones are
/// cheap.
#[derive(Clone)]
pub struct Entries<'a> {
    count: usize,
    head: Rc<dyn Fn(usize) -> &'static [u8] + 'a>,
    make: Rc<dyn Fn(usize) -> Cow<'a, [u8]> + 'a>,
}

impl<'a> Entries<'a> {
    /// `make` returns the entry at a position. It must return the same bytes each time.
    pub fn new(count: usize, make: impl Fn(usize) -> Cow<'a, [u8]> + 'a) -> Self {
        Entries::with_heads(count, |_| COMMA, make)
    }

    /// As [`new`](Self::new), for entries in two parts. `head` returns a comma and the fixed start
    /// of the entry, `make` the rest.
    pub fn with_heads(
        count: usize,
        head: impl Fn(usize) -> &'static [u8] + 'a,
        make: impl Fn(usize) -> Cow<'a, [u8]> + 'a,
    ) -> Self {
        Entries { count, head: Rc::new(head), make: Rc::new(make) }
    }

    /// No entries.
    pub fn none() -> Self {
        Entries::new(0, |_| Cow::default())
    }

    /// Bytes of all entries together.
    pub fn byte_len(&self) -> u64 {
        (0..self.count).fold(0, |sum, at| {
            sum.saturating_add(self.head(at).len().saturating_sub(1) as u64)
                .saturating_add(self.get(at).len() as u64)
        })
    }

    /// A comma, and the start of the entry.
    fn head(&self, at: usize) -> &'static [u8] {
        (self.head)(at)
    }

    fn get(&self, at: usize) -> Cow<'a, [u8]> {
        (self.make)(at)
    }
}

/// For a few entries: each is copied when it is sent.
impl<'a> From<Vec<Cow<'a, [u8]>>> for Entries<'a> {
    fn from(entries: Vec<Cow<'a, [u8]>>) -> Self {
        Entries::new(entries.len(), move |at| entries.get(at).cloned().unwrap_or_default())
    }
}

/// The body of one POST. Its length is known, so the request has a Content-Length.
pub struct RequestBody<'a> {
    head: Vec<u8>,
    entries: Entries<'a>,
    len: u64,
}

// Entries hold password hashes.
impl fmt::Debug for RequestBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("entries", &self.entries.count)
            .field("bytes", &self.len)
            .finish()
    }
}

const TAIL: &[u8] = b"]}";
/// Separates two entries.
pub(crate) const COMMA: &[u8] = b",";

impl<'a> RequestBody<'a> {
    /// The body of a POST that moves Kanidm from one state to another.
    pub fn new(
        from: &SyncState,
        to: &SyncState,
        retain: &Retention,
        entries: impl Into<Entries<'a>>,
    ) -> Self {
        let mut head = Vec::new();
        head.extend_from_slice(
            format!(
                "{{\"from_state\":{},\"to_state\":{},\"retain\":",
                from.to_json(),
                to.to_json()
            )
            .as_bytes(),
        );
        retain.write(&mut head);
        head.extend_from_slice(b",\"entries\":[");
        let mut body = RequestBody { head, entries: entries.into(), len: 0 };
        body.len = body.pieces().fold(0, |len, piece| len.saturating_add(piece.len() as u64));
        body
    }

    /// Length in bytes.
    pub fn byte_len(&self) -> u64 {
        self.len
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        self.entries.count
    }

    /// Reads the bytes in order.
    pub fn reader(&self) -> BodyReader<'_, 'a> {
        BodyReader { body: self, number: 0, piece: self.piece(0), at: 0 }
    }

    /// All bytes in one piece, for tests and for the dump.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().fold(Vec::new(), |mut bytes, piece| {
            bytes.extend_from_slice(&piece);
            bytes
        })
    }

    fn pieces(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        (0..).map_while(|number| self.piece(number))
    }

    /// A piece of the body, by its position; `None` after the last one. The pieces are the head,
    /// two for each entry, and the tail. The first of an entry is the separator and its fixed head,
    /// the second the entry's own bytes.
    fn piece(&self, number: usize) -> Option<Cow<'_, [u8]>> {
        let Some(after_head) = number.checked_sub(1) else {
            return Some(Cow::Borrowed(&self.head));
        };
        let entry = after_head / 2;
        if entry < self.entries.count {
            return Some(match after_head {
                0 => Cow::Borrowed(self.entries.head(0).get(1..).unwrap_or_default()),
                _ if after_head.is_multiple_of(2) => Cow::Borrowed(self.entries.head(entry)),
                _ => self.entries.get(entry),
            });
        }
        (after_head == self.entries.count.saturating_mul(2)).then_some(Cow::Borrowed(TAIL))
    }
}

/// Reads a body, piece by piece.
pub struct BodyReader<'b, 'a> {
    body: &'b RequestBody<'a>,
    /// Position of the current piece.
    number: usize,
    piece: Option<Cow<'b, [u8]>>,
    /// Position in the current piece.
    at: usize,
}

impl Read for BodyReader<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(piece) = &self.piece {
            let left = piece.get(self.at..).unwrap_or_default();
            let room = out.get_mut(filled..).unwrap_or_default();
            let n = left.len().min(room.len());
            if let (Some(to), Some(from)) = (room.get_mut(..n), left.get(..n)) {
                to.copy_from_slice(from);
            }
            filled += n;
            if n < left.len() {
                self.at += n;
                break;
            }
            self.number = self.number.saturating_add(1);
            self.piece = self.body.piece(self.number);
            self.at = 0;
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(retain: &Retention) -> Vec<u8> {
        let from = SyncState::Refresh;
        let to = SyncState::Active { cookie: b"abc".to_vec() };
        RequestBody::new(
            &from,
            &to,
            retain,
            vec![Cow::Borrowed(&b"{\"a\":1}"[..]), Cow::Owned(b"{\"b\":2}".to_vec())],
        )
        .to_vec()
    }

    #[test]
    fn body_is_what_kanidm_reads() {
        let text = String::from_utf8(body(&Retention::Ignore)).unwrap();
        assert_eq!(
            text,
            r#"{"from_state":"Refresh","to_state":{"Active":{"cookie":"YWJj"}},"retain":"Ignore","entries":[{"a":1},{"b":2}]}"#
        );
    }

    #[test]
    fn retention_lists_are_json() {
        for (retain, key) in [
            (Retention::Retain(vec![Uuid::from_u128(1), Uuid::from_u128(2)]), "Retain"),
            (Retention::Delete(vec![Uuid::from_u128(1), Uuid::from_u128(2)]), "Delete"),
        ] {
            let value: serde_json::Value = serde_json::from_slice(&body(&retain)).unwrap();
            assert_eq!(value["retain"][key][1], "00000000-0000-0000-0000-000000000002");
        }
    }

    #[test]
    fn reader_gives_the_same_bytes_whatever_the_buffer() {
        let to = SyncState::Active { cookie: vec![0; 40] };
        let body = RequestBody::new(
            &SyncState::Refresh,
            &to,
            &Retention::Ignore,
            Entries::new(5, |i| Cow::Owned(vec![b'x'; i * 3])),
        );
        let whole = body.to_vec();
        assert_eq!(body.byte_len(), whole.len() as u64);
        for size in 1..whole.len() + 2 {
            let mut reader = body.reader();
            let mut got = Vec::new();
            let mut buffer = vec![0; size];
            loop {
                let n = reader.read(&mut buffer).unwrap();
                if n == 0 {
                    break;
                }
                got.extend_from_slice(&buffer[..n]);
            }
            assert_eq!(got, whole, "buffer of {size}");
        }
    }
}
