//! One POST's body, put together from slices: the entries stay where they are, in the arena of the change set.
//!
//! Scope: JSON text. What goes into which POST is decided in [`super::upload`].

use std::borrow::Cow;
use std::io::{self, Read};

use uuid::Uuid;

use super::state::SyncState;

/// What Kanidm deletes at the end of a POST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Nothing.
    #[default]
    Ignore,
    /// Every entry of the sync account that is not listed, one written in the same POST included. An empty list deletes everything.
    Retain(Vec<Uuid>),
    /// These entries; those that do not exist are passed over.
    Delete(Vec<Uuid>),
}

impl Retention {
    /// Whether applying it can delete anything.
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
        out.extend_from_slice(uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"]}");
}

/// One POST's body. Its length is known, so it is sent with Content-Length.
#[derive(Debug)]
pub struct RequestBody<'a> {
    segments: Vec<Cow<'a, [u8]>>,
    len: u64,
    entries: usize,
}

impl<'a> RequestBody<'a> {
    /// A POST that takes Kanidm from one state to another; `entries` are JSON objects.
    pub fn new(from: &SyncState, to: &SyncState, retain: &Retention, entries: Vec<Cow<'a, [u8]>>) -> Self {
        let mut head = Vec::new();
        head.extend_from_slice(format!("{{\"from_state\":{},\"to_state\":{},\"retain\":", from.to_json(), to.to_json()).as_bytes());
        retain.write(&mut head);
        head.extend_from_slice(b",\"entries\":[");
        let count = entries.len();
        let mut segments = Vec::with_capacity(count.saturating_mul(2).saturating_add(2));
        segments.push(Cow::Owned(head));
        for (i, entry) in entries.into_iter().enumerate() {
            if i > 0 {
                segments.push(Cow::Borrowed(&b","[..]));
            }
            segments.push(entry);
        }
        segments.push(Cow::Borrowed(&b"]}"[..]));
        let len = segments.iter().map(|s| s.len() as u64).sum();
        RequestBody { segments, len, entries: count }
    }

    /// Bytes.
    pub fn byte_len(&self) -> u64 {
        self.len
    }

    /// How many entries it holds.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The bytes, one after the other.
    pub fn reader(&self) -> BodyReader<'_> {
        BodyReader { segments: &self.segments, at: 0 }
    }

    /// The bytes in one piece: for tests and for the dump.
    pub fn to_vec(&self) -> Vec<u8> {
        self.segments.concat()
    }
}

/// Reads a body from its segments.
#[derive(Debug)]
pub struct BodyReader<'b> {
    segments: &'b [Cow<'b, [u8]>],
    /// Position in the first of them.
    at: usize,
}

impl Read for BodyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some((first, rest)) = self.segments.split_first() {
            let left = first.get(self.at..).unwrap_or_default();
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
            self.segments = rest;
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
        RequestBody::new(&from, &to, retain, vec![Cow::Borrowed(&b"{\"a\":1}"[..]), Cow::Owned(b"{\"b\":2}".to_vec())]).to_vec()
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
        let entries = (0..5).map(|i| Cow::Owned(vec![b'x'; i * 3])).collect();
        let body = RequestBody::new(&SyncState::Refresh, &to, &Retention::Ignore, entries);
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
