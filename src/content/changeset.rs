//! The change set: the entries that a run writes, serialised once into an arena.
//!
//! Scope: storage and lookup by position. Other modules decide what is written, and in which order
//! it is sent.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use uuid::Uuid;

use super::json;
use super::scim::{self, Places, Schemas, ScimGroup, ScimPerson, ScimTotp};
use super::shown::Mask;
use super::unique::Unique;

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
    /// The mark of its names: [`crate::content::names`].
    pub names: u16,
    number: Option<NonZeroU32>,
    schemas: Schemas,
    start: usize,
    len: u32,
    external_id_len: u32,
    /// The name comes after the `externalId` and [`BEFORE_NAME`].
    name_len: u32,
    /// The list of mail addresses, from `start`.
    mail: Span,
}

/// Offset and length.
type Span = (u32, u32);

/// What each entry has between `externalId` and the text of its name.
const BEFORE_NAME: u32 = ",'id':'00000000-0000-0000-0000-000000000000','name':'".len() as u32;

impl Record {
    /// The gidnumber.
    pub fn number(&self) -> Option<u32> {
        self.number.map(NonZeroU32::get)
    }

    fn new(uuid: Uuid, schemas: Schemas, number: Option<u32>, start: usize) -> Record {
        Record {
            uuid,
            kind: schemas.kind(),
            shown: Mask::default(),
            names: 0,
            number: number.and_then(NonZeroU32::new),
            schemas,
            start,
            len: 0,
            external_id_len: 0,
            name_len: 0,
            mail: (0, 0),
        }
    }
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

/// The credentials of a person with TOTP tokens. They change after the person was appended, because
/// the run reads tokens when all persons are known. Both places are offsets from the start of the record.
struct Room {
    /// Position of the record.
    record: usize,
    password: Range<usize>,
    totp: Range<usize>,
}

/// Serialised SCIM entries. They can be appended and removed. Only the credentials of a person with
/// TOTP tokens can be changed.
#[derive(Default)]
pub struct ChangeSet {
    arena: Vec<u8>,
    records: Vec<Record>,
    /// In the order of the records. [`retain`](Self::retain) empties it.
    rooms: Vec<Room>,
}

// The arena holds password hashes and TOTP secrets.
impl fmt::Debug for ChangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeSet")
            .field("entries", &self.records.len())
            .field("bytes", &self.arena.len())
            .finish()
    }
}

impl ChangeSet {
    /// Appends a person and returns its position.
    ///
    /// # Errors
    /// See [`PushError`]. Nothing is appended then.
    pub fn push_person<'a>(
        &mut self,
        external_id: &str,
        person: ScimPerson<
            'a,
            impl Iterator<Item = &'a str>,
            impl Iterator<Item = (&'a str, &'a str)>,
        >,
    ) -> Result<usize, PushError> {
        let record = Record::new(person.id, person.schemas(), person.gidnumber, self.arena.len());
        self.push(record, external_id, |out| person.write(out), std::iter::empty())
    }

    /// Appends a group and returns its position. A group without members has no `member` list:
    /// Kanidm refuses an empty one, and clears the members if it is absent.
    ///
    /// # Errors
    /// See [`PushError`]. Nothing is appended then.
    pub fn push_group<'m>(
        &mut self,
        external_id: &str,
        group: &ScimGroup<'_>,
        members: impl Iterator<Item = Member<'m>>,
    ) -> Result<usize, PushError> {
        let record = Record::new(group.id, group.schemas(), group.gidnumber, self.arena.len());
        self.push(record, external_id, |out| group.write(out), members)
    }

    /// Appends an entry. `write` writes a JSON object with at least one key, but without `schemas`
    /// and `externalId`, which are added.
    fn push<'m>(
        &mut self,
        mut record: Record,
        external_id: &str,
        write: impl FnOnce(&mut Vec<u8>) -> Places,
        members: impl Iterator<Item = Member<'m>>,
    ) -> Result<usize, PushError> {
        let start = record.start;
        json::write_text(&mut self.arena, external_id);
        let id_end = self.arena.len();
        let places = write(&mut self.arena);
        let room = (!places.totp_room.is_empty()).then(|| Room {
            record: self.records.len(),
            password: from(start, &places.password),
            totp: from(start, &places.totp_room),
        });
        // The opening brace of the entry becomes the comma after `externalId`. The result is one
        // object, without an intermediate tree.
        if let Some(brace) = self.arena.get_mut(id_end) {
            *brace = b',';
        }
        let written = self.write_members(members).and_then(|()| {
            record.len = span(start..self.arena.len(), start)?.1;
            record.external_id_len = span(start..id_end, start)?.1;
            record.name_len = span(places.name, start)?.1;
            record.mail = span(places.mail, start)?;
            Ok(())
        });
        match written {
            Ok(()) => {
                self.records.push(record);
                self.rooms.extend(room);
            }
            Err(_) => self.arena.truncate(start),
        }
        written.map(|()| self.records.len() - 1)
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

    /// Stores which attributes the directory shows of the last appended entry, and the mark of its
    /// names.
    pub fn mark_last(&mut self, shown: Mask, names: u16) {
        if let Some(record) = self.records.last_mut() {
            record.shown = shown;
            record.names = names;
        }
    }

    /// Gives a person these TOTP tokens, in the room that it has for them. Returns false if there
    /// is no room; then nothing is written.
    pub fn write_totp(&mut self, at: usize, tokens: &[ScimTotp<'_>]) -> bool {
        let mut text = Vec::new();
        scim::write_totp(&mut text, tokens);
        let Some((room, _)) = self.room(at) else { return false };
        let fits = text.len() <= room.totp.len();
        fits && self.end_record(at, room.totp.start, &text)
    }

    /// Takes the password of a person with room for TOTP tokens. The unix password stays.
    pub fn remove_password(&mut self, at: usize) {
        let Some((Room { password, totp, .. }, start)) = self.room(at) else { return };
        let password = start + password.start..start + password.end;
        if let Some(password) = self.arena.get_mut(password) {
            password.fill(b' ');
        }
        self.end_record(at, totp.start, b"");
    }

    /// The room of a person, and the start of its record.
    fn room(&self, at: usize) -> Option<(Room, usize)> {
        let found = self.rooms.binary_search_by_key(&at, |room| room.record).ok()?;
        let Room { record, password, totp } = self.rooms.get(found)?;
        let room = Room { record: *record, password: password.clone(), totp: totp.clone() };
        Some((room, self.records.get(at)?.start))
    }

    /// Replaces the end of a record, from this offset on, with shorter text and the closing brace.
    fn end_record(&mut self, at: usize, offset: usize, text: &[u8]) -> bool {
        let Some(record) = self.records.get_mut(at) else { return false };
        let end = offset + text.len();
        let (Ok(len), Some(out)) = (
            u32::try_from(end + 1),
            self.arena.get_mut(record.start + offset..=record.start + end),
        ) else {
            return false;
        };
        let bytes = text.iter().chain(b"}");
        out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = *byte);
        record.len = len;
        true
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
        // Positions have changed.
        self.rooms.clear();
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

    /// The name of an entry.
    pub fn name(&self, record: &Record) -> &str {
        let name = (record.external_id_len + BEFORE_NAME, record.name_len);
        str::from_utf8(self.span(record, name)).unwrap_or_default()
    }

    /// The mail addresses of an entry. A valid address needs no escapes.
    pub fn mails(&self, record: &Record) -> impl Iterator<Item = &str> + use<'_> {
        let list = str::from_utf8(self.span(record, record.mail)).unwrap_or_default();
        list.split("\"value\":\"").skip(1).filter_map(|rest| rest.split('"').next())
    }

    /// The values of an entry that no other entry may have.
    pub(crate) fn unique_values(&self, record: &Record) -> Vec<Unique> {
        [Unique::dn(&self.external_id(record)), Unique::Name(self.name(record).to_owned())]
            .into_iter()
            .chain(record.number().map(Unique::Gid))
            .chain(self.mails(record).map(|mail| Unique::Mail(mail.to_owned())))
            .collect()
    }

    fn span(&self, record: &Record, (offset, len): Span) -> &[u8] {
        let start = record.start + offset as usize;
        self.slice(start..start + len as usize)
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        // Only `push` makes records, so the range always exists. The empty slice avoids a panic.
        self.arena.get(range).unwrap_or_default()
    }
}

/// A place as offsets from the start of its record.
fn from(start: usize, place: &Range<usize>) -> Range<usize> {
    place.start.saturating_sub(start)..place.end.saturating_sub(start)
}

fn span(range: Range<usize>, start: usize) -> Result<Span, PushError> {
    let offset = u32::try_from(range.start.saturating_sub(start));
    match (offset, u32::try_from(range.len())) {
        (Ok(offset), Ok(len)) => Ok((offset, len)),
        _ => Err(PushError::TooLarge),
    }
}

fn external_id_range(record: &Record) -> Range<usize> {
    record.start..record.start + record.external_id_len as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::rules::totp::{Algorithm, MAX_SECRET, Totp, TotpParams};
    use crate::content::scim::{GROUP, POSIX_PERSON};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    const ID: Uuid = Uuid::from_u128(1);

    fn person<'a>(
        mails: &'a [&'a str],
    ) -> ScimPerson<'a, impl Iterator<Item = &'a str>, std::iter::Empty<(&'a str, &'a str)>> {
        ScimPerson {
            id: ID,
            name: "alice",
            displayname: "\",\"name\":\"bob",
            legalname: None,
            gidnumber: Some(2000),
            loginshell: None,
            password_import: None,
            unix_password_import: None,
            mail: mails.iter().copied(),
            ssh_publickey: std::iter::empty(),
            account_valid_from: None,
            account_expire: None,
            totp_room: 0,
        }
    }

    const TEAM: ScimGroup<'_> =
        ScimGroup { id: ID, name: "team", description: Some("\"value\":\"no@x"), gidnumber: None };

    #[test]
    fn an_entry_is_one_object_and_its_values_are_found() {
        let mut set = ChangeSet::default();
        for mails in [&[][..], &["a@x"], &["a@x", "b@x"]] {
            let at = set.push_person("cn=\"Q\",dc=x", person(mails)).unwrap();
            let record = set.records()[at];
            let whole: Value = serde_json::from_slice(&set.json(&record)).unwrap();
            assert_eq!(
                (&whole["schemas"], &whole["externalId"], &whole["id"]),
                (&json!(POSIX_PERSON), &json!("cn=\"Q\",dc=x"), &json!(ID))
            );
            assert_eq!(set.json_len(&record), set.json(&record).len());
            assert_eq!(set.external_id_json(&record), br#""cn=\"Q\",dc=x""#);
            assert_eq!(set.external_id(&record), "cn=\"Q\",dc=x");
            assert_eq!((set.name(&record), record.number()), ("alice", Some(2000)));
            assert!(set.mails(&record).eq(mails.iter().copied()));
            let values = set.unique_values(&record);
            assert_eq!(values[0], Unique::Dn("cn=\"q\",dc=x".to_owned()));
            assert_eq!(values.len(), 3 + mails.len());
        }
        let at = set.push_group("cn=team", &TEAM, std::iter::empty()).unwrap();
        let record = set.records()[at];
        let whole: Value = serde_json::from_slice(&set.json(&record)).unwrap();
        assert_eq!(whole["schemas"], json!(GROUP));
        assert_eq!((set.name(&record), set.mails(&record).count()), ("team", 0));
    }

    #[test]
    fn members_come_after_the_other_values() {
        let mut set = ChangeSet::default();
        set.push_person("cn=\"q\"", person(&[])).unwrap();
        let mut json = |members: &[Member<'_>]| {
            let at = set.push_group("cn=g", &TEAM, members.iter().copied()).unwrap();
            String::from_utf8(set.json(&set.records()[at])).unwrap()
        };
        assert!(json(&[]).ends_with(r#"no@x"}"#));
        assert!(
            json(&[Member::Record(0)]).ends_with(r#"no@x","member":[{"external_id":"cn=\"q\""}]}"#)
        );
        assert!(
            json(&[Member::Dn("a\\b"), Member::Record(0)])
                .ends_with(r#","member":[{"external_id":"a\\b"},{"external_id":"cn=\"q\""}]}"#)
        );
    }

    #[test]
    fn tokens_and_passwords_change_after_the_entry_is_written() {
        let params = TotpParams { algorithm: Algorithm::Sha512, digits: 8, step: 86_400 };
        let token = Totp::new(&[255; MAX_SECRET], params).unwrap();
        let label = "cn=\"q\\\",ou=\u{1}tokens";
        let labels = ["a", label, "c"];
        let mut set = ChangeSet::default();
        for at in 0..4 {
            let room = if at == 1 { 0 } else { scim::totp_room(labels.into_iter()) };
            let person = ScimPerson {
                password_import: Some("{X}hash"),
                unix_password_import: Some("{X}unix"),
                totp_room: room,
                ..person(&["a@x"])
            };
            set.push_person("cn=q", person).unwrap();
        }
        let whole = |set: &ChangeSet, at: usize| -> Value {
            let json = set.json(&set.records()[at]);
            assert_eq!(set.json_len(&set.records()[at]), json.len());
            serde_json::from_slice(&json).unwrap()
        };
        let before = whole(&set, 1);
        assert_eq!((whole(&set, 0), whole(&set, 3)), (before.clone(), before.clone()));

        let tokens = labels.map(|label| (label, &token));
        assert!(set.write_totp(0, &tokens) && !set.write_totp(1, &tokens));
        set.remove_password(1);
        set.remove_password(2);
        let mut with_tokens = before.clone();
        with_tokens["totp_import"] = json!(labels.map(|label| json!({
            "external_id": label, "secret": STANDARD.encode([255; MAX_SECRET]),
            "algo": "sha512", "step": 86_400, "digits": 8,
        })));
        let mut closed = before.clone();
        closed.as_object_mut().unwrap().remove("password_import");
        for (at, expected) in [with_tokens, before.clone(), closed, before].iter().enumerate() {
            assert_eq!(whole(&set, at), *expected, "{at}");
            assert!(set.mails(&set.records()[at]).eq(["a@x"]), "{at}");
        }
        assert!(!set.write_totp(3, &[tokens; 4].concat()), "four times too many");
        assert!(!set.write_totp(99, &tokens));
        set.remove_password(99);
    }

    #[test]
    fn an_entry_that_is_refused_leaves_no_trace() {
        let mut set = ChangeSet::default();
        set.push_person("a", person(&[])).unwrap();
        let before = (set.len(), set.byte_len());
        let members = [Member::Record(0), Member::Record(99)];
        let refused = set.push_group("cn=g", &TEAM, members.into_iter());
        assert_eq!(refused, Err(PushError::NoSuchMember));
        assert_eq!((set.len(), set.byte_len()), before);
    }

    #[test]
    fn debug_shows_no_content() {
        let mut set = ChangeSet::default();
        set.push_group("marker", &TEAM, std::iter::empty()).unwrap();
        assert!(format!("{set:?}").starts_with("ChangeSet { entries: 1, bytes: "));
    }
}
