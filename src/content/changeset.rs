//! The change set: the entries that a run writes, serialised once into an arena.
//!
//! Scope: storage and lookup by position. Other modules decide what is written, and in which order
//! it is sent.

use std::fmt;
use std::ops::Range;

use uuid::Uuid;

use super::json;
use super::scim::Schemas;
use crate::content::shown::Mask;

/// The kind of an entry in Kanidm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person with an account.
    Person,
    /// A group.
    Group,
}

/// The place of one serialised entry in the arena. The bytes start at the value of `externalId`,
/// which can be found again without parsing.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The UUID of the entry in Kanidm (`map_uuid` applied).
    pub uuid: Uuid,
    /// Person or group.
    pub kind: Kind,
    /// The mapped attributes of the entry that the directory shows: [`crate::content::shown`].
    pub shown: Mask,
    schemas: Schemas,
    start: usize,
    len: u32,
    external_id_len: u32,
}

/// A member of a group that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// The position of its entry. The `externalId` is copied from there.
    Record(usize),
    /// Its `externalId`.
    Dn(&'a str),
}

/// The reason why an entry was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The entry has 4 GiB or more.
    TooLarge,
    /// A member has a position without an entry.
    NoSuchMember,
}

/// Serialised SCIM entries. They can be appended and removed, but not changed.
#[derive(Default)]
pub struct ChangeSet {
    arena: Vec<u8>,
    records: Vec<Record>,
}

// The arena holds password hashes.
impl fmt::Debug for ChangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeSet")
            .field("entries", &self.records.len())
            .field("bytes", &self.arena.len())
            .finish()
    }
}

impl ChangeSet {
    /// Appends an entry and returns its position. `write` writes a JSON object with at least one
    /// key, but without `schemas` and `externalId`, which are added.
    ///
    /// # Errors
    /// See [`PushError`]. Nothing is appended then.
    pub fn push(
        &mut self,
        uuid: Uuid,
        schemas: Schemas,
        external_id: &str,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<usize, PushError> {
        self.push_group(uuid, schemas, external_id, write, std::iter::empty())
    }

    /// As [`push`](Self::push), with a `member` list after the other keys. Without members the list
    /// is omitted: Kanidm refuses an empty one, and clears the members if it is absent.
    ///
    /// # Errors
    /// See [`PushError`]. Nothing is appended then.
    pub fn push_group<'m>(
        &mut self,
        uuid: Uuid,
        schemas: Schemas,
        external_id: &str,
        write: impl FnOnce(&mut Vec<u8>),
        members: impl Iterator<Item = Member<'m>>,
    ) -> Result<usize, PushError> {
        let start = self.arena.len();
        match self.write(start, external_id, write, members) {
            Ok((len, external_id_len)) => {
                self.records.push(Record {
                    uuid,
                    kind: schemas.kind(),
                    shown: Mask::default(),
                    schemas,
                    start,
                    len,
                    external_id_len,
                });
                Ok(self.records.len() - 1)
            }
            Err(e) => {
                self.arena.truncate(start);
                Err(e)
            }
        }
    }

    fn write<'m>(
        &mut self,
        start: usize,
        external_id: &str,
        write: impl FnOnce(&mut Vec<u8>),
        members: impl Iterator<Item = Member<'m>>,
    ) -> Result<(u32, u32), PushError> {
        json::write_text(&mut self.arena, external_id);
        let id_end = self.arena.len();
        write(&mut self.arena);
        // The opening brace of the entry becomes the comma after `externalId`. The result is one
        // object, without an intermediate tree.
        if let Some(brace) = self.arena.get_mut(id_end) {
            *brace = b',';
        }
        self.write_members(members)?;
        let size =
            |from: usize, to: usize| u32::try_from(to - from).map_err(|_| PushError::TooLarge);
        Ok((size(start, self.arena.len())?, size(start, id_end)?))
    }

    /// Writes `member` over the closing brace of the last entry.
    fn write_members<'m>(
        &mut self,
        members: impl Iterator<Item = Member<'m>>,
    ) -> Result<(), PushError> {
        let mut first = true;
        for member in members {
            if first {
                self.arena.pop();
            }
            self.arena.extend_from_slice(if first {
                b",\"member\":[{\"external_id\":"
            } else {
                b",{\"external_id\":"
            });
            match member {
                Member::Dn(dn) => json::write_text(&mut self.arena, dn),
                Member::Record(at) => {
                    let record = self.records.get(at).ok_or(PushError::NoSuchMember)?;
                    self.arena.extend_from_within(external_id_range(record));
                }
            }
            self.arena.push(b'}');
            first = false;
        }
        if !first {
            self.arena.extend_from_slice(b"]}");
        }
        Ok(())
    }

    /// Stores which attributes the directory shows of the last appended entry.
    pub fn mark_last(&mut self, shown: Mask) {
        if let Some(record) = self.records.last_mut() {
            record.shown = shown;
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True if the run writes nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of all entries together, without their heads.
    pub fn byte_len(&self) -> usize {
        self.arena.len()
    }

    /// All entries, in the order in which they were appended.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Removes the entries for which `keep` is false. Their bytes stay in the arena until it is
    /// dropped.
    pub fn retain(&mut self, keep: impl FnMut(&Record) -> bool) {
        self.records.retain(keep);
    }

    /// One entry as a JSON object.
    pub fn json(&self, record: &Record) -> Vec<u8> {
        [self.head(record).get(1..).unwrap_or_default(), self.rest(record)].concat()
    }

    /// The length of [`json`](Self::json) in bytes.
    pub fn json_len(&self, record: &Record) -> usize {
        self.head(record).len().saturating_sub(1).saturating_add(record.len as usize)
    }

    /// The start of an entry, after a comma: [`Schemas::head`].
    pub fn head(&self, record: &Record) -> &'static [u8] {
        record.schemas.head()
    }

    /// The rest of an entry, from the value of `externalId` on.
    pub fn rest(&self, record: &Record) -> &[u8] {
        self.slice(record.start..record.start + record.len as usize)
    }

    /// The `externalId` of an entry as a JSON string with quotes and escapes. It can be copied into
    /// another entry.
    pub fn external_id_json(&self, record: &Record) -> &[u8] {
        self.slice(external_id_range(record))
    }

    /// The `externalId` of an entry as text.
    pub fn external_id(&self, record: &Record) -> String {
        serde_json::from_slice(self.external_id_json(record)).unwrap_or_default()
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        // Only `push` makes records, so the range always exists. The empty slice avoids a panic.
        self.arena.get(range).unwrap_or_default()
    }
}

fn external_id_range(record: &Record) -> Range<usize> {
    record.start..record.start + record.external_id_len as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::json::Object;
    use crate::content::scim::PERSON;
    use serde_json::{Value, json};

    fn stub(out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.uuid("id", Uuid::from_u128(1));
        object.end();
    }

    #[test]
    fn entry_is_one_object() {
        let mut set = ChangeSet::default();
        let at = set.push(Uuid::from_u128(1), Schemas::Person, "cn=\"q\",dc=x", stub).unwrap();
        let record = set.records()[at];
        assert_eq!(
            std::str::from_utf8(set.rest(&record)).unwrap(),
            r#""cn=\"q\",dc=x","id":"00000000-0000-0000-0000-000000000001"}"#
        );
        let whole: Value = serde_json::from_slice(&set.json(&record)).unwrap();
        assert_eq!(
            whole,
            json!({"schemas": PERSON, "externalId": "cn=\"q\",dc=x", "id": Uuid::from_u128(1)})
        );
        assert_eq!(set.json_len(&record), set.json(&record).len());
        assert_eq!(set.external_id_json(&record), br#""cn=\"q\",dc=x""#);
        assert_eq!(set.external_id(&record), "cn=\"q\",dc=x");
    }

    #[test]
    fn members_stand_behind_the_entry() {
        let mut set = ChangeSet::default();
        let id = Uuid::from_u128(1);
        set.push(id, Schemas::Person, "cn=\"q\"", stub).unwrap();
        let mut json = |members: &[Member<'_>]| {
            let at =
                set.push_group(id, Schemas::Group, "cn=g", stub, members.iter().copied()).unwrap();
            String::from_utf8(set.json(&set.records()[at])).unwrap()
        };
        assert!(json(&[]).ends_with(r#"000001"}"#));
        assert!(
            json(&[Member::Record(0)])
                .ends_with(r#"000001","member":[{"external_id":"cn=\"q\""}]}"#)
        );
        assert!(
            json(&[Member::Dn("a\\b"), Member::Record(0)])
                .ends_with(r#","member":[{"external_id":"a\\b"},{"external_id":"cn=\"q\""}]}"#)
        );
    }

    #[test]
    fn an_entry_that_is_refused_leaves_no_trace() {
        let mut set = ChangeSet::default();
        set.push(Uuid::nil(), Schemas::Person, "a", stub).unwrap();
        let before = (set.len(), set.byte_len());
        let members = [Member::Record(0), Member::Record(99)];
        let refused =
            set.push_group(Uuid::nil(), Schemas::Group, "cn=g", stub, members.into_iter());
        assert_eq!(refused, Err(PushError::NoSuchMember));
        assert_eq!((set.len(), set.byte_len()), before);
    }

    #[test]
    fn debug_shows_no_content() {
        let mut set = ChangeSet::default();
        set.push(Uuid::nil(), Schemas::Person, "marker", stub).unwrap();
        assert_eq!(format!("{set:?}"), "ChangeSet { entries: 1, bytes: 53 }");
    }
}
