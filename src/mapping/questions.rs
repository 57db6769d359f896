//! Entries that an incremental run needs to know besides those it received.
//!
//! Scope: the questions, their answers, and the received entries that groups outside of the run may
//! name.

use std::collections::HashSet;

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

use super::index::{EntryKind, NewEntry, State};
use super::mapper::{Mapper, has_long_name};
use super::membership::Target;
use super::naming::lower_case;
use super::person::{self, Buffers};
use crate::config::sync::{GroupSchema, MappingConfig};
use crate::content::{changeset, names, rules};

/// Maximum bytes of members that are looked up one by one. The author of a group decides how many
/// it names.
const MAX_ASKED: usize = 16 << 20;

/// The look-ups that an incremental run needs to resolve the members of its groups.
/// [`Mapper::known`] takes the answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// DNs of members that are not in the run.
    pub member_dns: Vec<String>,
    /// User names of members that are not in the run, in lower case.
    pub member_uids: Vec<String>,
    /// Names of groups that may be private to a user of this name.
    pub private_group_names: Vec<String>,
    /// True if there are too many members to look them up one by one.
    pub everybody: bool,
}

impl Questions {
    /// True if there is nothing to look up.
    pub fn is_empty(&self) -> bool {
        *self == Questions::default()
    }
}

/// A received entry, with everything by which a group may name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The mark of its names ([`crate::content::names`]). `None` for a held entry.
    pub names: Option<u16>,
    /// The DN as the server spells it.
    pub dn: String,
    /// All user names of a person in the directory, in lower case.
    pub user_names: Vec<String>,
    /// Hashes of the names by which groups may name it as a member ([`Content::missed`]).
    ///
    /// [`Content::missed`]: super::Content::missed
    pub hashes: Vec<u32>,
}

impl Mapper<'_> {
    /// The attributes that [`known`](Self::known) needs. The members of a large group are not among
    /// them.
    pub fn known_attributes(cfg: &MappingConfig) -> [&str; 3] {
        [person::OBJECT_CLASS, &cfg.person.user_name, &cfg.person.gidnumber]
    }

    /// Takes an entry that is in scope but not part of this run: an answer to
    /// [`questions`](Self::questions). The run does not send it. Groups may have it as a member or
    /// be private to it.
    pub fn known(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) {
        if has_long_name(entry) {
            return;
        }
        let values = self.pick(entry);
        let kind = self.kind(&values);
        let table = self.table(sync_uuid);
        if self.index.find_uuid(&sync_uuid).is_some()
            || kind == EntryKind::Other
            || table.is_some_and(|table| table.exclude)
        {
            return;
        }
        self.index.comparison_form(entry.dn(), &mut self.form);
        let Buffers { user_name, name, .. } = &mut self.buffers;
        user_name.clear();
        let mut gidnumber = None;
        if kind == EntryKind::Person {
            let own = person::identity(&self.cfg.person, entry.dn(), &values, user_name);
            gidnumber = table.and_then(|table| table.map_gidnumber).or(own);
        }
        let mapped = table.and_then(|table| table.map_name.as_deref());
        lower_case(mapped.unwrap_or(user_name), name);
        let position = self.index.add(
            &self.content.changes,
            &NewEntry {
                sync_uuid,
                kind,
                state: State::Known,
                gidnumber,
                record: None,
                dn: entry.dn(),
                dn_form: &self.form,
                name,
                user_name: mapped.map(|_| user_name.as_str()),
            },
        );
        if kind == EntryKind::Person {
            person::user_names(&values).for_each(|name| self.index.add_user_name(position, name));
        }
    }

    /// The look-ups needed before [`finish`](Self::finish); none in a full run.
    pub fn questions(&self) -> Questions {
        let mut questions = Questions::default();
        let mut form = String::new();
        let mut asked = HashSet::new();
        let asked_for = match self.cfg.group.schema {
            GroupSchema::Rfc2307 => &mut questions.member_uids,
            GroupSchema::Rfc2307Bis => &mut questions.member_dns,
        };
        let resolver = self.resolver();
        let mut bytes = 0_usize;
        for value in self.drafts.iter().flat_map(|draft| draft.members.iter()) {
            if let Target::Unknown(text) = resolver.resolve(value, &mut form)
                && asked.insert(form.clone())
            {
                bytes = bytes.saturating_add(text.len());
                if bytes > MAX_ASKED {
                    questions.everybody = true;
                    break;
                }
                asked_for.push(if self.cfg.group.schema == GroupSchema::Rfc2307 {
                    form.clone()
                } else {
                    text.to_string()
                });
            }
        }
        for draft in self.drafts.iter().filter(|draft| self.may_be_private(draft)) {
            questions
                .private_group_names
                .push(self.index.name(&self.content.changes, draft.entry).to_string());
        }
        questions.private_group_names.retain(|name| rules::name(name).is_ok());
        questions
    }

    /// The persons to send and the received groups, with everything by which groups may name them.
    /// With `held_too` also the held entries.
    pub fn changed(&self, held_too: bool) -> impl Iterator<Item = Changed> {
        let changes = &self.content.changes;
        let counts = move |state| {
            matches!(state, State::Sent | State::Draft) || (held_too && state == State::Held)
        };
        self.index.iter().filter(move |(_, entry)| counts(entry.state)).map(|(position, entry)| {
            let person = entry.kind == EntryKind::Person;
            let dn = self.index.dn(changes, position).into_owned();
            let of_group = || names::mark(changeset::Kind::Group, &dn, std::iter::empty());
            let user_names =
                if person { self.index.user_names(changes, position) } else { Vec::new() };
            Changed {
                uuid: self.cfg.kanidm_uuid(entry.sync_uuid),
                names: match entry.state {
                    State::Sent => self.index.record_of(changes, entry).map(|record| record.names),
                    State::Draft => Some(of_group()),
                    _ => None,
                },
                hashes: self.hashes(&dn, &user_names),
                dn,
                user_names,
            }
        })
    }

    /// The hashes of the names by which groups may name an entry as a member.
    fn hashes(&self, dn: &str, user_names: &[String]) -> Vec<u32> {
        let schema = self.cfg.group.schema;
        match schema {
            GroupSchema::Rfc2307Bis => {
                let mut form = String::new();
                self.index.comparison_form(dn, &mut form);
                vec![self.index.missed(schema, &form)]
            }
            GroupSchema::Rfc2307 => {
                user_names.iter().map(|name| self.index.missed(schema, name)).collect()
            }
        }
    }
}
