//! What a run wants to write: SCIM entries, serialised once, one behind the other in an arena.
//!
//! Scope: storage and lookup by position. What is written, and in which order it is sent, is decided elsewhere.

use std::ops::Range;

use serde::Serialize;
use uuid::Uuid;

/// What an entry is in Kanidm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person with an account.
    Person,
    /// A group.
    Group,
    /// A bare object: keeps what Kanidm has of it.
    Stub,
}

/// Where one serialised entry stands in the arena.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The UUID the entry has in Kanidm (`map_uuid` applied).
    pub uuid: Uuid,
    /// Person, group or stub.
    pub kind: Kind,
    start: usize,
    len: u32,
    external_id_len: u32,
}

/// Serialised SCIM entries. Appending is the only way to change it.
#[derive(Debug, Default)]
pub struct ChangeSet {
    arena: Vec<u8>,
    records: Vec<Record>,
}

/// The arena writes `externalId` first, so that it can be found again without parsing.
const PREFIX: &[u8] = b"{\"externalId\":";

impl ChangeSet {
    /// Serialises `entry` (an object with at least one key, without `externalId`) with the given `externalId`.
    /// Returns its position. On an error nothing is appended.
    pub fn push<T: Serialize>(
        &mut self,
        uuid: Uuid,
        kind: Kind,
        external_id: &str,
        entry: &T,
    ) -> Result<usize, serde_json::Error> {
        let start = self.arena.len();
        match self.write(start, external_id, entry) {
            Ok((len, external_id_len)) => {
                self.records.push(Record { uuid, kind, start, len, external_id_len });
                Ok(self.records.len() - 1)
            }
            Err(e) => {
                self.arena.truncate(start);
                Err(e)
            }
        }
    }

    fn write<T: Serialize>(&mut self, start: usize, external_id: &str, entry: &T) -> Result<(u32, u32), serde_json::Error> {
        self.arena.extend_from_slice(PREFIX);
        let id_start = self.arena.len();
        serde_json::to_writer(&mut self.arena, external_id)?;
        let id_end = self.arena.len();
        serde_json::to_writer(&mut self.arena, entry)?;
        // The entry's own opening brace becomes the comma behind externalId: one object, no intermediate tree.
        if let Some(brace) = self.arena.get_mut(id_end) {
            *brace = b',';
        }
        let too_large = |_| <serde_json::Error as serde::ser::Error>::custom("an entry of 4 GiB or more");
        let len = u32::try_from(self.arena.len() - start).map_err(too_large)?;
        let external_id_len = u32::try_from(id_end - id_start).map_err(too_large)?;
        Ok((len, external_id_len))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes of all entries together.
    pub fn byte_len(&self) -> usize {
        self.arena.len()
    }

    /// All entries, in the order they were appended.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// One entry as a JSON object.
    pub fn json(&self, record: &Record) -> &[u8] {
        self.slice(record.start..record.start + record.len as usize)
    }

    /// The `externalId` of one entry as a JSON string, quotes and escapes included: it can be copied into another entry as it is.
    pub fn external_id_json(&self, record: &Record) -> &[u8] {
        let start = record.start + PREFIX.len();
        self.slice(start..start + record.external_id_len as usize)
    }

    /// The `externalId` of one entry as text.
    pub fn external_id(&self, record: &Record) -> String {
        serde_json::from_slice(self.external_id_json(record)).unwrap_or_default()
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        // Records are made by `push` alone, so the range always exists; an empty slice is the answer that cannot panic.
        self.arena.get(range).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kanidm::scim::ScimStub;

    #[test]
    fn entry_is_one_object_with_external_id_first() {
        let mut set = ChangeSet::default();
        let id = Uuid::from_u128(1);
        let at = set.push(id, Kind::Stub, "cn=\"q\",dc=x", &ScimStub { schemas: [], id }).unwrap();
        let record = set.records()[at];
        assert_eq!(
            std::str::from_utf8(set.json(&record)).unwrap(),
            r#"{"externalId":"cn=\"q\",dc=x","schemas":[],"id":"00000000-0000-0000-0000-000000000001"}"#
        );
        assert_eq!(set.external_id_json(&record), br#""cn=\"q\",dc=x""#);
        assert_eq!(set.external_id(&record), "cn=\"q\",dc=x");
    }

    #[test]
    fn an_entry_that_cannot_be_serialised_leaves_no_trace() {
        struct Bad;
        impl Serialize for Bad {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let mut set = ChangeSet::default();
        set.push(Uuid::nil(), Kind::Stub, "a", &Bad).unwrap_err();
        assert_eq!((set.len(), set.byte_len()), (0, 0));
    }
}
