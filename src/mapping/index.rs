//! The entries of a run by UUID, name, number, mail address and DN, in a few bytes each.
//!
//! Scope: look-ups. A table has only positions, not keys. A look-up compares hashes first, then the
//! texts, which are in the [`ChangeSet`] for persons and here for the others. Each run has a new
//! hash key, so nobody can choose names that collide.
//!
//! A look-up walks all entries with one key. So the index leaves out entries that no look-up would
//! return: a mapping may give every person the same name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use ldap_content_sync::dn;
use uuid::Uuid;

use super::positions::Positions;
use super::prepared;
use crate::config::sync::GroupSchema;
use crate::content::changeset::{ChangeSet, Record};
use crate::content::names;

/// The fate of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Written to the change set.
    Sent,
    /// A received group, decided at the end.
    Draft,
    /// Received and held.
    Held,
    /// Received, and does not belong in Kanidm.
    Skipped,
    /// In scope, but not part of this run.
    Known,
    /// In scope, not part of this run, and owner of a value that a held entry wants.
    Owner,
    /// Known first, received later: the entry has another place in the index now.
    Replaced,
}

/// The kind of an entry, by its object classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Person,
    Group,
    Other,
}

/// The place of an entry's texts.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Position in the change set.
    Record(u32),
    /// Position in [`Index::texts`].
    Text(u32),
}

#[derive(Debug)]
pub(crate) struct IndexEntry {
    pub(crate) sync_uuid: Uuid,
    pub(crate) kind: EntryKind,
    pub(crate) state: State,
    pub(crate) gidnumber: Option<u32>,
    place: Place,
}

impl IndexEntry {
    /// True if the run received the entry. A received entry is never replaced.
    pub(crate) fn is_received(&self) -> bool {
        !matches!(self.state, State::Known | State::Owner | State::Replaced)
    }
}

/// DN and name of an entry that is not in the change set.
#[derive(Debug)]
struct DnAndName {
    dn: Box<str>,
    name: Box<str>,
}

/// An entry to add.
pub(crate) struct NewEntry<'a> {
    pub(crate) sync_uuid: Uuid,
    pub(crate) kind: EntryKind,
    pub(crate) state: State,
    /// The number in Kanidm.
    pub(crate) gidnumber: Option<u32>,
    /// Position in the change set, if the entry is in it.
    pub(crate) record: Option<u32>,
    pub(crate) dn: &'a str,
    /// The DN in comparison form.
    pub(crate) dn_form: &'a str,
    /// The name in Kanidm; empty for none.
    pub(crate) name: &'a str,
    /// The user name in the directory, if `map_name` replaces it.
    pub(crate) user_name: Option<&'a str>,
}

impl<'a> NewEntry<'a> {
    /// An entry without a name, a number or a record.
    pub(crate) fn nameless(
        sync_uuid: Uuid,
        kind: EntryKind,
        state: State,
        dn: &'a str,
        dn_form: &'a str,
    ) -> Self {
        NewEntry {
            sync_uuid,
            kind,
            state,
            gidnumber: None,
            record: None,
            dn,
            dn_form,
            name: "",
            user_name: None,
        }
    }
}

/// The entries of a run.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// True if names compare as RFC 4518 prepares them.
    pub(crate) prepare: bool,
    hashing: RandomState,
    entries: Vec<IndexEntry>,
    texts: Vec<DnAndName>,
    by_uuid: Positions,
    by_dn: Positions,
    by_name: Positions,
    by_gidnumber: Positions,
    by_mail: Positions,
    known_mails: HashMap<String, u32>,
    renamed: HashMap<String, u32>,
    user_names: HashMap<u32, String>,
    /// The person that has this user name among several; `None` if two persons have it.
    by_another_name: HashMap<String, Option<u32>>,
    /// All user names of the persons that have several.
    several_names: HashMap<u32, Vec<String>>,
}

impl Index {
    /// Adds an entry and returns its position. A group can only be found by its DN until it
    /// [`claim`](Self::claim)s its name and number.
    pub(crate) fn add(&mut self, changes: &ChangeSet, new: &NewEntry<'_>) -> u32 {
        let position = position(self.entries.len());
        let place = match new.record {
            Some(record) => Place::Record(record),
            None => {
                self.texts.push(DnAndName { dn: new.dn.into(), name: new.name.into() });
                Place::Text(self::position(self.texts.len() - 1))
            }
        };
        let &NewEntry { sync_uuid, kind, state, gidnumber, .. } = new;
        // A look-up finds the first entry with a DN. A known one may be replaced later, so the next
        // one is added, too.
        let dn_hash = self.hash(new.dn_form.as_bytes());
        let first = self.find_dn_hashed(changes, dn_hash, new.dn_form);
        let is_first =
            first.and_then(|first| self.entry(first)).is_none_or(|first| !first.is_received());
        // For held persons the index only answers whether one exists, so it adds one for each name
        // and number.
        let stays = |e: &IndexEntry| {
            e.kind == EntryKind::Person && matches!(e.state, State::Sent | State::Held)
        };
        let is_asked_for = kind == EntryKind::Person;
        let name = Some(new.name).filter(|name| is_asked_for && !name.is_empty());
        let name = name
            .filter(|name| state != State::Held || self.find_name(changes, name, stays).is_none());
        let number = gidnumber.filter(|_| is_asked_for);
        let number = number
            .filter(|number| state != State::Held || self.find_gidnumber(*number, stays).is_none());
        self.entries.push(IndexEntry { sync_uuid, kind, state, gidnumber, place });
        self.by_uuid.insert(self.hash(sync_uuid.as_bytes()), position);
        if is_first {
            self.by_dn.insert(dn_hash, position);
        }
        if let Some(name) = name {
            self.by_name.insert(self.hash(name.as_bytes()), position);
        }
        if let Some(number) = number {
            self.by_gidnumber.insert(self.hash(&number.to_ne_bytes()), position);
        }
        if let Some(user_name) = new.user_name {
            self.renamed.insert(self.user_form(user_name), position);
            self.user_names.insert(position, user_name.into());
        }
        position
    }

    /// Makes a sent group the owner of its name and number.
    pub(crate) fn claim(&mut self, position: u32) {
        if let Some((_, name)) = self.text(position) {
            self.by_name.insert(self.hash(name.as_bytes()), position);
        }
        if let Some(number) = self.entry(position).and_then(|entry| entry.gidnumber) {
            self.by_gidnumber.insert(self.hash(&number.to_ne_bytes()), position);
        }
    }

    /// Adds one of several user names that a person has in the directory.
    pub(crate) fn add_user_name(&mut self, position: u32, name: &str) {
        let form = self.user_form(&name.to_ascii_lowercase());
        self.several_names.entry(position).or_default().push(form.clone());
        let owner = self.by_another_name.entry(form).or_insert(Some(position));
        *owner = owner.filter(|owner| *owner == position);
    }

    /// Adds a mail address of an entry in the change set.
    pub(crate) fn add_mail(&mut self, entry: u32, mail: &str) {
        self.by_mail.insert(self.hash(mail.as_bytes()), entry);
    }

    /// Adds a mail address of an entry that is not part of this run.
    pub(crate) fn add_known_mail(&mut self, entry: u32, mail: &str) {
        self.known_mails.insert(mail.to_owned(), entry);
    }

    pub(crate) fn entry(&self, position: u32) -> Option<&IndexEntry> {
        self.entries.get(position as usize)
    }

    fn current(&self, position: u32) -> Option<&IndexEntry> {
        self.entry(position).filter(|entry| entry.state != State::Replaced)
    }

    /// The entry at a position, for a change of its state.
    pub(crate) fn entry_mut(&mut self, position: u32) -> Option<&mut IndexEntry> {
        self.entries.get_mut(position as usize)
    }

    /// All entries with their positions, in insertion order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &IndexEntry)> {
        (0..).zip(&self.entries)
    }

    /// The position of an entry, by its directory UUID.
    pub(crate) fn find_uuid(&self, sync_uuid: &Uuid) -> Option<u32> {
        self.by_uuid.find(self.hash(sync_uuid.as_bytes()), |p| {
            self.current(p).is_some_and(|e| e.sync_uuid == *sync_uuid)
        })
    }

    /// The first entry with a DN in comparison form.
    pub(crate) fn find_dn(&self, changes: &ChangeSet, form: &str) -> Option<u32> {
        self.find_dn_hashed(changes, self.hash(form.as_bytes()), form)
    }

    fn find_dn_hashed(&self, changes: &ChangeSet, hash: u32, form: &str) -> Option<u32> {
        self.by_dn.find(hash, |p| self.current(p).is_some_and(|e| self.is_named(changes, e, form)))
    }

    /// The first entry with a name in Kanidm that also `fits`.
    pub(crate) fn find_name(
        &self,
        changes: &ChangeSet,
        name: &str,
        fits: impl Fn(&IndexEntry) -> bool,
    ) -> Option<u32> {
        self.by_name.find(self.hash(name.as_bytes()), |p| {
            self.current(p).is_some_and(|e| fits(e) && self.name_of(changes, e) == name)
        })
    }

    /// The first entry with a number that also `fits`.
    pub(crate) fn find_gidnumber(
        &self,
        gidnumber: u32,
        fits: impl Fn(&IndexEntry) -> bool,
    ) -> Option<u32> {
        let is = |p| self.current(p).is_some_and(|e| e.gidnumber == Some(gidnumber) && fits(e));
        self.by_gidnumber.find(self.hash(&gidnumber.to_ne_bytes()), is)
    }

    /// The entry with a mail address.
    pub(crate) fn find_mail(&self, changes: &ChangeSet, mail: &str) -> Option<u32> {
        let has_mail = |e: &IndexEntry| {
            self.record_of(changes, e)
                .is_some_and(|record| changes.mails(record).any(|other| other == mail))
        };
        let known = || self.known_mails.get(mail).copied().filter(|p| self.current(*p).is_some());
        self.by_mail
            .find(self.hash(mail.as_bytes()), |p| self.entry(p).is_some_and(has_mail))
            .or_else(known)
    }

    /// The person with a user name in the directory, in lower case.
    pub(crate) fn find_user(&self, changes: &ChangeSet, user_name: &str) -> Option<u32> {
        let user_name = &self.user_form(user_name);
        if let Some(position) = self.renamed.get(user_name) {
            return Some(*position);
        }
        let found = self.find_name(changes, user_name, |e| {
            e.kind == EntryKind::Person && e.state != State::Skipped
        });
        found.filter(|position| !self.user_names.contains_key(position))
    }

    /// The only person that has this user name among several.
    pub(crate) fn find_user_by_another_name(&self, user_name: &str) -> Option<u32> {
        self.by_another_name.get(&self.user_form(user_name)).copied().flatten()
    }

    /// The DN as the server spells it.
    pub(crate) fn dn<'s>(&'s self, changes: &'s ChangeSet, position: u32) -> Cow<'s, str> {
        let Some(entry) = self.entry(position) else { return Cow::Borrowed("") };
        match entry.place {
            Place::Text(at) => {
                Cow::Borrowed(self.texts.get(at as usize).map_or("", |texts| &texts.dn))
            }
            Place::Record(at) => Cow::Owned(
                changes
                    .records()
                    .get(at as usize)
                    .map(|record| changes.external_id(record))
                    .unwrap_or_default(),
            ),
        }
    }

    /// The position in the change set, if the entry was written.
    pub(crate) fn record(&self, position: u32) -> Option<usize> {
        match self.entry(position)?.place {
            Place::Record(at) => usize::try_from(at).ok(),
            Place::Text(_) => None,
        }
    }

    /// DN and name in Kanidm, if the entry was not written.
    pub(crate) fn text(&self, position: u32) -> Option<(&str, &str)> {
        match self.entry(position)?.place {
            Place::Record(_) => None,
            Place::Text(at) => self.texts.get(at as usize).map(|texts| (&*texts.dn, &*texts.name)),
        }
    }

    /// The name in Kanidm.
    pub(crate) fn name<'s>(&'s self, changes: &'s ChangeSet, position: u32) -> &'s str {
        self.entry(position).map_or("", |entry| self.name_of(changes, entry))
    }

    /// The user name in the directory, in lower case.
    pub(crate) fn user_name<'s>(&'s self, changes: &'s ChangeSet, position: u32) -> &'s str {
        self.user_names.get(&position).map_or_else(|| self.name(changes, position), String::as_str)
    }

    /// All user names in the directory, in lower case.
    pub(crate) fn user_names(&self, changes: &ChangeSet, position: u32) -> Vec<String> {
        match self.several_names.get(&position) {
            Some(names) => names.clone(),
            None => vec![self.user_name(changes, position).to_owned()],
        }
    }

    /// The hash of a name by which a group names a member: a DN in comparison form, or a user name
    /// in lower case.
    pub(crate) fn missed(&self, schema: GroupSchema, name: &str) -> u32 {
        match schema {
            GroupSchema::Rfc2307Bis => names::short(name),
            GroupSchema::Rfc2307 => names::short(&self.user_form(name)),
        }
    }

    fn user_form(&self, user_name: &str) -> String {
        let mut form = user_name.to_owned();
        if self.prepare {
            prepared::prepare_text(&mut form);
        }
        form
    }

    /// Prepares a DN in comparison form, if the directory does so.
    pub(crate) fn prepare_dn(&self, form: &mut String) {
        if self.prepare {
            prepared::prepare_dn(form);
        }
    }

    /// The comparison form of an entry's own DN.
    pub(crate) fn comparison_form(&self, dn: &str, form: &mut String) {
        comparison_form(dn, form);
        self.prepare_dn(form);
    }

    fn name_of<'s>(&'s self, changes: &'s ChangeSet, entry: &IndexEntry) -> &'s str {
        match entry.place {
            Place::Text(at) => self.texts.get(at as usize).map_or("", |texts| &texts.name),
            Place::Record(_) => {
                self.record_of(changes, entry).map_or("", |record| changes.name(record))
            }
        }
    }

    fn is_named(&self, changes: &ChangeSet, entry: &IndexEntry, form: &str) -> bool {
        let dn = match entry.place {
            Place::Text(at) => {
                Cow::Borrowed(self.texts.get(at as usize).map_or("", |texts| &*texts.dn))
            }
            Place::Record(at) => match changes.records().get(at as usize) {
                Some(record) => Cow::Owned(changes.external_id(record)),
                None => return false,
            },
        };
        let mut of_entry = String::new();
        self.comparison_form(&dn, &mut of_entry);
        of_entry == form
    }

    /// The record of an entry that is sent.
    pub(crate) fn record_of<'s>(
        &self,
        changes: &'s ChangeSet,
        entry: &IndexEntry,
    ) -> Option<&'s Record> {
        match entry.place {
            Place::Record(at) => changes.records().get(at as usize),
            Place::Text(_) => None,
        }
    }

    /// Hashes the octets in one call. [`std::hash::Hash`] also hashes the borders between key
    /// parts, which doubles the cost.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "half of the hash is enough: what it finds is compared"
    )]
    fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = self.hashing.build_hasher();
        hasher.write(key);
        hasher.finish() as u32
    }
}

/// The comparison form of an entry's own DN. An invalid DN is compared as lower-case text.
pub(crate) fn comparison_form(dn: &str, form: &mut String) {
    if dn::normalize_into(dn, form).is_err() {
        form.clear();
        form.push_str(&dn.to_lowercase());
    }
}

/// Converts to a position. The change set cannot hold four thousand million entries, so 32 bits are
/// enough.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look-up that walks all entries of one key makes the run quadratic: 5,000 million steps for
    /// 100,000 entries.
    #[test]
    fn what_is_never_found_stands_in_no_table() {
        let (changes, mut index) = (ChangeSet::default(), Index::default());
        let mut add = |id: u128, kind, state| {
            let dn = format!("uid={id}");
            let new = NewEntry {
                sync_uuid: Uuid::from_u128(id),
                kind,
                state,
                gidnumber: Some(2000),
                record: None,
                dn: &dn,
                dn_form: &dn,
                name: "everybody",
                user_name: None,
            };
            index.add(&changes, &new);
            index.add(
                &changes,
                &NewEntry {
                    sync_uuid: Uuid::from_u128(id + 1000),
                    dn: "uid=one",
                    dn_form: "uid=one",
                    ..new
                },
            )
        };
        let held = add(0, EntryKind::Person, State::Held);
        for id in 1..100 {
            add(id, EntryKind::Person, State::Held);
        }
        let group = add(100, EntryKind::Group, State::Draft);
        for id in 101..200 {
            add(id, EntryKind::Group, State::Draft);
        }
        assert_eq!((index.by_name.len(), index.by_gidnumber.len(), index.by_dn.len()), (1, 1, 201));
        assert_eq!(index.find_dn(&changes, "uid=one"), Some(held));
        assert_eq!(index.find_name(&changes, "everybody", |_| true), Some(held - 1));
        assert_eq!(index.find_gidnumber(2000, |e| e.kind == EntryKind::Group), None);
        index.claim(group);
        assert_eq!(index.find_gidnumber(2000, |e| e.kind == EntryKind::Group), Some(group));
        assert_eq!(
            index.find_name(&changes, "everybody", |e| e.kind == EntryKind::Group),
            Some(group)
        );
    }

    /// A known entry may still be received. An owner is found although others have its values, too.
    #[test]
    fn who_is_known_is_found_beside_others() {
        let (changes, mut index) = (ChangeSet::default(), Index::default());
        let mut add = |id: u128, state| {
            let sync_uuid = Uuid::from_u128(id);
            let (kind, gidnumber, record, dn) = (EntryKind::Person, Some(2000), None, "uid=one");
            index.add(
                &changes,
                &NewEntry {
                    sync_uuid,
                    kind,
                    state,
                    gidnumber,
                    record,
                    dn,
                    dn_form: dn,
                    name: "one",
                    user_name: None,
                },
            )
        };
        let (known, held, owner) =
            (add(1, State::Known), add(2, State::Held), add(3, State::Owner));
        assert_eq!(index.find_dn(&changes, "uid=one"), Some(known));
        index.entry_mut(known).unwrap().state = State::Replaced;
        assert_eq!(index.find_dn(&changes, "uid=one"), Some(held));
        assert_eq!(index.find_name(&changes, "one", |_| true), Some(held));
        assert_eq!(index.find_gidnumber(2000, |e| e.state == State::Owner), Some(owner));
        assert_eq!(index.find_name(&changes, "one", |e| e.state == State::Owner), Some(owner));
    }
}
