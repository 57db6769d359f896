//! The mapper: the entries of a run in, [`Content`] out.
//!
//! Scope: the order of the work. The mapper reads, checks and writes a person as it arrives. If two
//! entries claim the same name, number, mail address or DN, the first one keeps it.
//!
//! Groups are drafts until the end. Then the mapper skips user-private groups, settles names and
//! numbers (persons first), and resolves members. So the content of a group does not depend on the
//! order in which entries arrive.

use std::collections::HashSet;

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

use super::claims::Claims;
use super::group::{self, Draft};
use super::index::{EntryKind, Index, IndexEntry, NewEntry, State};
use super::lock;
use super::membership::Resolver;
use super::person::{self, Buffers};
use super::totp::Waiting;
use super::unread;
use super::values::Names;
use super::{
    Content, Contested, DN, Dropped, EntryProblem, Findings, Held, MAP_UUID, MAX_MEMBERS,
    SkipReason, Skipped,
};
use crate::config::sync::{EntryConfig, MappingConfig};
use crate::content::Claimed;
use crate::content::account::{STILL_OPEN, rfc3339};
use crate::content::changeset::{self, PushError};
use crate::content::names;
use crate::content::rules;
use crate::content::scim::{ScimPerson, totp_room};
use crate::content::shown::Mask;

const CLAIMED: &str = "the configuration gives this entry's UUID to another entry, as its map_uuid";
const UNWRITABLE: &str = "the entry cannot be written as JSON: it is too large";

/// Maps the entries of one run. Call [`entry`](Self::entry) for each received entry. An incremental
/// run then calls [`questions`](Self::questions) and [`known`](Self::known). Every run ends with
/// [`finish`](Self::finish).
pub struct Mapper<'c> {
    pub(super) cfg: &'c MappingConfig,
    pub(super) full: bool,
    person_names: Names<'c, { person::FIELDS }>,
    /// UUIDs that the configuration gives to other entries.
    claimed: HashSet<Uuid>,
    /// The DN of the sync account, in comparison form.
    bound_as: Option<String>,
    /// Replaces a unix password that is gone; `None` if unix passwords are not synchronised.
    unusable_hash: Option<&'c str>,
    /// True if all [`questions`](Self::questions) are answered.
    answered: bool,
    pub(super) index: Index,
    pub(super) content: Content,
    pub(super) drafts: Vec<Draft>,
    /// Bytes of the members in `drafts`, and the maximum.
    pub(super) member_bytes: usize,
    pub(super) max_member_bytes: usize,
    pub(super) waiting: Waiting,
    pub(super) buffers: Buffers,
    pub(super) form: String,
}

impl<'c> Mapper<'c> {
    /// A mapper for one run. A `full` run receives every entry in scope, so an entry that it does
    /// not receive does not exist.
    pub fn new(cfg: &'c MappingConfig, full: bool) -> Self {
        Mapper {
            cfg,
            full,
            person_names: Names::new(person::names(&cfg.person)),
            claimed: cfg.claimed(),
            bound_as: None,
            unusable_hash: None,
            answered: false,
            index: Index::default(),
            content: Content::default(),
            drafts: Vec::new(),
            member_bytes: 0,
            max_member_bytes: MAX_MEMBERS * ldap_content_sync::Limits::default().max_message,
            waiting: Waiting::default(),
            buffers: Buffers::default(),
            form: String::new(),
        }
    }

    /// Compares names as RFC 4518 prepares them, if the directory does so.
    pub fn preparing(mut self, prepares: bool) -> Self {
        self.index.prepare = prepares;
        self
    }

    /// Skips the entry of the sync account. `dn` is RFC 4514 text. Call it after
    /// [`preparing`](Self::preparing), which decides how DNs compare.
    pub fn bound_as(mut self, dn: Option<&str>) -> Self {
        self.bound_as = dn.map(|dn| {
            let mut form = String::new();
            self.index.comparison_form(dn, &mut form);
            form
        });
        self
    }

    /// The hash that replaces a unix password that the directory has removed
    /// ([`crate::content::rules::password::unusable_hash`]). Only sent if unix passwords are
    /// synchronised.
    pub fn with_unusable_hash(mut self, hash: Option<&'c str>) -> Self {
        self.unusable_hash = hash.filter(|_| self.cfg.person.password_as_unix);
        self
    }

    /// Limits the bytes of the members of all groups that wait to be resolved. Beyond the limit the
    /// largest group is held.
    pub fn with_member_bytes(mut self, max: usize) -> Self {
        self.max_member_bytes = max;
        self
    }

    /// The attributes to request: the mapped ones, once each, compared without regard to case.
    pub fn attributes(cfg: &MappingConfig) -> Vec<String> {
        let mut attributes: Vec<String> = Vec::new();
        for name in person::names(&cfg.person).into_iter().chain(group::names(&cfg.group)) {
            if !name.is_empty() && !attributes.iter().any(|other| other.eq_ignore_ascii_case(name))
            {
                attributes.push(name.to_string());
            }
        }
        attributes
    }

    /// True if [`entry`](Self::entry) has received the entry in this run.
    pub fn contains(&self, sync_uuid: &Uuid) -> bool {
        self.index.find_uuid(sync_uuid).is_some_and(|position| self.is_received(position))
    }

    /// The entries received in this run. Directory UUIDs.
    pub fn received(&self) -> impl Iterator<Item = Uuid> {
        self.index.iter().filter(|(_, entry)| entry.is_received()).map(|(_, entry)| entry.sync_uuid)
    }

    fn is_received(&self, position: u32) -> bool {
        self.index.entry(position).is_some_and(IndexEntry::is_received)
    }

    /// Takes an entry received in this run. Never fails: [`Content`] has the problems of the entry.
    /// Returns false and ignores the entry if it was received before; see [`Content::hold`].
    pub fn entry(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) -> bool {
        if let Some(known) = self.index.find_uuid(&sync_uuid) {
            if self.is_received(known) {
                return false;
            }
            self.set_state(known, State::Replaced);
        }
        if has_long_name(entry) {
            self.form.clear();
            self.hold(sync_uuid, &shortened(entry.dn()), DN, rules::TOO_LONG.to_owned());
            return true;
        }
        let values = self.pick(entry);
        let kind = self.kind(&values);
        self.index.comparison_form(entry.dn(), &mut self.form);
        if self.table(sync_uuid).is_some_and(|table| table.exclude) {
            self.skip(sync_uuid, kind, entry.dn(), SkipReason::Excluded);
        } else if self.bound_as.as_ref() == Some(&self.form) {
            self.skip(sync_uuid, kind, entry.dn(), SkipReason::BindDn);
        } else {
            match kind {
                EntryKind::Person => self.person(sync_uuid, entry, &values),
                EntryKind::Group => self.group(sync_uuid, entry),
                EntryKind::Other => {
                    if let Some(oversized) = entry
                        .oversized()
                        .filter(|oversized| oversized.leaves_out(person::OBJECT_CLASS))
                    {
                        self.hold(
                            sync_uuid,
                            entry.dn(),
                            person::OBJECT_CLASS,
                            super::too_large(oversized),
                        );
                        return true;
                    }
                    if self.note_token(entry.dn(), person::object_classes(&values)) {
                        self.skip(sync_uuid, kind, entry.dn(), SkipReason::Token);
                        return true;
                    }
                    self.content.unmapped_users += u64::from(person::has_user_name(&values));
                    self.skip(sync_uuid, kind, entry.dn(), SkipReason::NotMapped);
                }
            }
        }
        true
    }

    /// Resolves the groups and returns the whole content.
    pub fn finish(mut self) -> Content {
        self.answered = true;
        self.finish_tokens();
        self.finish_groups();
        self.remove_held();
        self.content
    }

    /// The attributes of a person.
    pub(super) fn pick<'a>(&self, entry: &SearchResultEntry<'a>) -> person::Values<'a> {
        self.person_names.pick(entry)
    }

    pub(super) fn table(&self, sync_uuid: Uuid) -> Option<&'c EntryConfig> {
        self.cfg.entries.get(&sync_uuid)
    }

    /// The kind by object class. An entry with classes of both is a person.
    pub(super) fn kind(&self, values: &person::Values<'_>) -> EntryKind {
        let mut kind = EntryKind::Other;
        let is_one_of = |class: &[u8], names: &[String]| {
            names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(class))
        };
        for class in person::object_classes(values) {
            if is_one_of(class, &self.cfg.person.object_classes) {
                return EntryKind::Person;
            }
            if is_one_of(class, &self.cfg.group.object_classes) {
                kind = EntryKind::Group;
            }
        }
        kind
    }

    /// The kind by object class, for people; `None` if it is neither.
    pub fn kind_of(&self, entry: &SearchResultEntry<'_>) -> Option<changeset::Kind> {
        match self.kind(&self.pick(entry)) {
            EntryKind::Person => Some(changeset::Kind::Person),
            EntryKind::Group => Some(changeset::Kind::Group),
            EntryKind::Other => None,
        }
    }

    pub(super) fn resolver(&self) -> Resolver<'_> {
        Resolver {
            schema: self.cfg.group.schema,
            full: self.full,
            answered: self.answered,
            index: &self.index,
            changes: &self.content.changes,
        }
    }

    fn skip(&mut self, sync_uuid: Uuid, kind: EntryKind, dn: &str, reason: SkipReason) {
        let new = NewEntry::nameless(sync_uuid, kind, State::Skipped, dn, &self.form);
        self.index.add(&self.content.changes, &new);
        self.content.skipped.push(Skipped {
            uuid: self.cfg.kanidm_uuid(sync_uuid),
            sync_uuid,
            dn: dn.to_string(),
            reason,
        });
    }

    /// Holds an entry of unknown kind.
    fn hold(&mut self, sync_uuid: Uuid, dn: &str, attribute: &str, rule: String) {
        let new = NewEntry::nameless(sync_uuid, EntryKind::Other, State::Held, dn, &self.form);
        self.index.add(&self.content.changes, &new);
        let problems = vec![EntryProblem { attribute: attribute.to_owned(), rule }];
        self.content.held.push(Held {
            uuid: self.cfg.kanidm_uuid(sync_uuid),
            sync_uuid,
            kind: changeset::Kind::Person,
            shown: Mask::ALL,
            dn: dn.to_owned(),
            problems,
            ended: None,
        });
    }

    pub(super) fn set_state(&mut self, position: u32, state: State) {
        if let Some(entry) = self.index.entry_mut(position) {
            entry.state = state;
        }
    }

    fn person(
        &mut self,
        sync_uuid: Uuid,
        entry: &SearchResultEntry<'_>,
        values: &person::Values<'_>,
    ) {
        let dn = entry.dn();
        let (cfg, table) = (&self.cfg.person, self.table(sync_uuid));
        let mut findings = Findings::new(self.cfg.invalid_entries);
        self.check_uuid(sync_uuid, &mut findings);
        let claims = Claims { index: &self.index, changes: &self.content.changes };
        person::check_dn(dn, &self.form, claims, &mut findings);
        let mut person =
            person::read(cfg, table, dn, values, claims, &mut self.buffers, &mut findings);
        let mut shown = person::shown(values);
        if let Some(oversized) = entry.oversized() {
            unread::note_left_out(cfg, oversized, person.window, &mut findings);
            shown = shown.and(unread::left_out(cfg, oversized));
            person.factor.is_wanted |= unread::leaves_out_tokens(cfg, oversized);
        }
        person.factor.require(cfg, &self.buffers, &mut findings);

        let sent = self.is_sent(&person, &mut findings);
        let record =
            if sent { self.write_person(sync_uuid, dn, &person, &mut findings) } else { None };
        let Buffers { user_name, name, mails, .. } = &self.buffers;
        let renamed =
            table.is_some_and(|table| table.map_name.is_some()).then_some(user_name.as_str());
        let state = if record.is_some() { State::Sent } else { State::Held };
        let position = self.index.add(
            &self.content.changes,
            &NewEntry {
                sync_uuid,
                kind: EntryKind::Person,
                state,
                gidnumber: person.gidnumber,
                record,
                dn,
                dn_form: &self.form,
                name,
                user_name: renamed,
            },
        );
        person::user_names(values).for_each(|name| self.index.add_user_name(position, name));
        if record.is_some() {
            self.content.changes.mark_last(shown, names_mark(dn, user_name, values));
            mails.iter().for_each(|mail| self.index.add_mail(position, mail));
            self.content.persons += 1;
            self.content.ended.extend(person.is_closed().then(|| self.cfg.kanidm_uuid(sync_uuid)));
        }
        if let Some(record) = record {
            if !self.buffers.tokens.is_empty() {
                let ended = person.ended(cfg, &self.buffers.name, &[]);
                self.wait_for_tokens(sync_uuid, position, record, person.window, ended);
            }
            self.note_claims(sync_uuid, &findings);
        }
        self.report(sync_uuid, (changeset::Kind::Person, shown), dn, findings);
    }

    /// Decides whether a person is sent. A held person whose account has ended is closed, if that is
    /// possible.
    fn is_sent(&self, person: &person::Person<'_>, findings: &mut Findings) -> bool {
        if findings.settle(person.window.expire.is_some()) {
            return true;
        }
        findings.ended = person.ended(&self.cfg.person, &self.buffers.name, &findings.problems);
        // The report says instead whether the account was closed.
        if findings.ended.is_some() {
            findings.problems.retain(|problem| problem.rule != STILL_OPEN);
        }
        if findings.ended.is_none() && person.window != lock::Window::default() {
            findings.required("sync_account_lock", STILL_OPEN);
        }
        false
    }

    fn note_claims(&mut self, sync_uuid: Uuid, findings: &Findings) {
        let loser = self.cfg.kanidm_uuid(sync_uuid);
        for (address, owner) in &findings.claimed {
            let Some(owner) =
                self.index.entry(*owner).map(|entry| self.cfg.kanidm_uuid(entry.sync_uuid))
            else {
                continue;
            };
            self.content.claimed.push(Claimed { loser, owner, address: address.clone() });
        }
    }

    /// Serialises a person. Returns its position in the change set.
    fn write_person(
        &mut self,
        sync_uuid: Uuid,
        dn: &str,
        person: &person::Person<'_>,
        findings: &mut Findings,
    ) -> Option<u32> {
        let Buffers { name, password, mails, keys, labels, tokens, .. } = &self.buffers;
        let uuid = self.cfg.kanidm_uuid(sync_uuid);
        let valid_from = person.window.valid_from.map(rfc3339);
        let expire = person.window.expire.map(rfc3339);
        let password = Some(password.as_str()).filter(|password| !password.is_empty());
        let scim = ScimPerson {
            id: uuid,
            name,
            displayname: &person.displayname,
            legalname: person.legalname.as_deref(),
            gidnumber: person.gidnumber,
            loginshell: person.loginshell,
            password_import: password.filter(|_| !person.factor.is_missing),
            unix_password_import: password
                .filter(|_| self.cfg.person.password_as_unix)
                .or(self.unusable_hash)
                .filter(|_| person.gidnumber.is_some()),
            mail: mails.iter(),
            ssh_publickey: labels.iter().zip(keys.iter()),
            account_valid_from: valid_from.as_deref(),
            account_expire: expire.as_deref(),
            totp_room: if tokens.is_empty() { 0 } else { totp_room(tokens.iter()) },
        };
        let written = self.content.changes.push_person(dn, scim);
        position_of(written, findings)
    }

    /// Adds a problem if the configuration gives this UUID to another entry. The other entry
    /// has it, even if it is not in this run.
    pub(super) fn check_uuid(&self, sync_uuid: Uuid, findings: &mut Findings) {
        if self.claimed.contains(&sync_uuid) {
            findings.required(MAP_UUID, CLAIMED);
        }
    }

    /// Adds the entry to the held or the dropped ones.
    pub(super) fn report(
        &mut self,
        sync_uuid: Uuid,
        (kind, shown): (changeset::Kind, Mask),
        dn: &str,
        findings: Findings,
    ) {
        let uuid = self.cfg.kanidm_uuid(sync_uuid);
        let Findings { mut problems, drops, contested, ended, .. } = findings;
        if problems.is_empty() {
            self.content.contested.extend(contested.then_some(Contested { uuid, sync_uuid }));
            let dropped = |EntryProblem { attribute, rule }| Dropped {
                uuid,
                sync_uuid,
                dn: dn.to_string(),
                attribute,
                rule,
            };
            let dropped = drops.into_iter().map(dropped);
            self.content.dropped.extend(dropped);
        } else {
            problems.extend(drops);
            self.content.held.push(Held {
                uuid,
                sync_uuid,
                kind,
                shown,
                dn: dn.to_string(),
                problems,
                ended,
            });
        }
    }
}

/// The mark of everything by which groups may name a person.
fn names_mark(dn: &str, user_name: &str, values: &person::Values<'_>) -> u16 {
    let user_names = person::user_names(values).chain([user_name]);
    names::mark(changeset::Kind::Person, dn, user_names)
}

/// True if the DN is longer than a server accepts. The run keeps no copy of such a DN.
pub(super) fn has_long_name(entry: &SearchResultEntry<'_>) -> bool {
    entry.dn().len() > rules::MEMBER_DN_LENGTH
        || entry.oversized().is_some_and(|oversized| oversized.without_name)
}

/// The start of a long DN, for messages.
fn shortened(dn: &str) -> String {
    const SHOWN: usize = 200;
    dn.chars().take(SHOWN).chain("...".chars()).collect()
}

/// The position of a written record. An entry that could not be written is held.
pub(super) fn position_of(
    written: Result<usize, PushError>,
    findings: &mut Findings,
) -> Option<u32> {
    let position = written.ok().and_then(|position| u32::try_from(position).ok());
    if position.is_none() {
        findings.required(DN, UNWRITABLE);
    }
    position
}
