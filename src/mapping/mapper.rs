//! The mapper: entries of a run in, [`Content`] out.
//!
//! Scope: the order of things. Persons are read, checked and written as they come; of two that claim the same name, number, mail address
//! or DN, the first keeps it. Groups are drafts until the end: user-private ones are skipped, then names and numbers settled (persons
//! first), then members resolved. So what a group holds does not depend on the order in which entries were received.

use std::collections::{HashMap, HashSet};

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

use super::group::{self, Draft, Members};
use super::index::{self, Index, Kind, NewEntry, State};
use super::membership::{Resolver, Target, without_uid};
use super::person::{self, Buffers, Claims};
use super::{Changed, Content, Dropped, Findings, Held, OUT_OF_SCOPE_LISTED, OutOfScope, Problem, Questions, SkipReason, Skipped};
use super::{lock, values};
use crate::config::sync::{EntryConfig, GroupSchema, MappingConfig};
use crate::kanidm::scim::{GROUP, PERSON, POSIX_GROUP, POSIX_PERSON, ScimGroup, ScimMail, ScimPerson, ScimSshKey, Sequence};
use crate::sync::changeset::{self, Member};

const OBJECT_CLASS: &str = "objectClass";
const UNWRITABLE: &str = "the entry cannot be written as JSON: it is too large";

/// Maps the entries of one run. [`entry`](Self::entry) for everything received; for an incremental run then [`questions`](Self::questions)
/// and [`known`](Self::known); [`finish`](Self::finish) at the end.
pub struct Mapper<'c> {
    cfg: &'c MappingConfig,
    full: bool,
    person_names: person::Names<'c>,
    index: Index,
    content: Content,
    drafts: Vec<Draft>,
    members: Members,
    /// Every `map_uuid`, and the entry that has it in this run.
    map_uuids: HashMap<Uuid, Option<u32>>,
    buffers: Buffers,
    form: String,
}

impl<'c> Mapper<'c> {
    /// A mapper for one run. `full`: the run receives every entry in scope, so that what it does not receive does not exist.
    pub fn new(cfg: &'c MappingConfig, full: bool) -> Self {
        Mapper {
            cfg,
            full,
            person_names: person::Names::new(&cfg.person),
            index: Index::default(),
            content: Content::default(),
            drafts: Vec::new(),
            members: Members::default(),
            map_uuids: cfg.entries.values().filter_map(|table| table.map_uuid).map(|uuid| (uuid, None)).collect(),
            buffers: Buffers::default(),
            form: String::new(),
        }
    }

    /// The attributes to request: what is mapped, once each, without regard to case.
    pub fn attributes(cfg: &MappingConfig) -> Vec<String> {
        let person = person::Names::new(&cfg.person);
        let mut attributes: Vec<String> = Vec::new();
        for name in [OBJECT_CLASS].into_iter().chain(person.iter()).chain(group::names(&cfg.group)) {
            if !name.is_empty() && !attributes.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                attributes.push(name.to_string());
            }
        }
        attributes
    }

    /// Whether an entry was given to [`entry`](Self::entry) or [`known`](Self::known).
    pub fn contains(&self, sync_uuid: &Uuid) -> bool {
        self.index.find_uuid(sync_uuid).is_some()
    }

    /// Takes an entry received in this run. Never fails: what is wrong with it stands in the [`Content`]. An entry that was received
    /// before is ignored.
    pub fn entry(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) {
        if self.contains(&sync_uuid) {
            return;
        }
        let kind = self.kind(entry);
        index::comparison_form(entry.dn(), &mut self.form);
        if self.table(sync_uuid).is_some_and(|table| table.exclude) {
            self.skip(sync_uuid, kind, entry.dn(), SkipReason::Excluded);
        } else {
            match kind {
                Kind::Person => self.person(sync_uuid, entry),
                Kind::Group => self.group(sync_uuid, entry),
                Kind::Other => self.skip(sync_uuid, kind, entry.dn(), SkipReason::NotMapped),
            }
        }
    }

    /// Takes an entry that is in scope but not part of this run: an answer to [`questions`](Self::questions). It is not sent; groups may
    /// have it as a member, or be private to it.
    pub fn known(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) {
        let kind = self.kind(entry);
        let table = self.table(sync_uuid);
        if self.contains(&sync_uuid) || kind == Kind::Other || table.is_some_and(|table| table.exclude) {
            return;
        }
        index::comparison_form(entry.dn(), &mut self.form);
        let Buffers { user_name, name, .. } = &mut self.buffers;
        user_name.clear();
        let mut gidnumber = None;
        if kind == Kind::Person {
            self.person_names.user_name(entry, user_name);
            gidnumber = table.and_then(|table| table.map_gidnumber).or_else(|| self.person_names.gidnumber(entry));
        }
        let mapped = table.and_then(|table| table.map_name.as_deref());
        person::lower_case(mapped.unwrap_or(user_name), name);
        self.index.add(&NewEntry {
            sync_uuid,
            kind,
            state: State::Known,
            gidnumber,
            record: None,
            dn: entry.dn(),
            dn_form: &self.form,
            name,
            user_name: mapped.map(|_| user_name.as_str()),
        });
    }

    /// What must be looked up before [`finish`](Self::finish); nothing in a full run.
    pub fn questions(&self) -> Questions {
        let mut questions = Questions::default();
        let mut form = String::new();
        let mut asked = HashSet::new();
        let asked_for = match self.cfg.group.schema {
            GroupSchema::Rfc2307 => &mut questions.member_uids,
            GroupSchema::Rfc2307Bis => &mut questions.member_dns,
        };
        let resolver = self.resolver();
        for value in self.drafts.iter().flat_map(|draft| self.members.of(&draft.members)) {
            if let Target::Unknown(text) = resolver.resolve(value, &mut form)
                && asked.insert(form.clone())
            {
                asked_for.push(if self.cfg.group.schema == GroupSchema::Rfc2307 { form.clone() } else { text.to_string() });
            }
        }
        for draft in self.drafts.iter().filter(|draft| self.may_be_private(draft)) {
            questions.private_group_names.push(self.index.name(&self.content.changes, draft.entry).to_string());
            questions.private_group_gidnumbers.extend(draft.gidnumber);
        }
        questions.private_group_names.retain(|name| !name.is_empty());
        questions
    }

    /// The persons that are sent and the groups that were received, by what groups may name them.
    pub fn changed(&self) -> impl Iterator<Item = Changed> {
        let changes = &self.content.changes;
        self.index.iter().filter(|(_, entry)| matches!(entry.state, State::Sent | State::Draft)).map(|(position, entry)| {
            let person = entry.kind == Kind::Person;
            Changed {
                dn: self.index.dn(changes, position).into_owned(),
                user_name: person.then(|| self.index.user_name(changes, position).to_string()),
                gidnumber: entry.gidnumber.filter(|_| person),
            }
        })
    }

    /// Resolves the groups and returns everything.
    pub fn finish(mut self) -> Content {
        let drafts = std::mem::take(&mut self.drafts);
        let (private, rest): (Vec<Draft>, Vec<Draft>) = drafts.into_iter().partition(|draft| self.is_private(draft));
        for draft in private {
            self.skip_draft(&draft);
        }
        let settled: Vec<Draft> = rest.into_iter().filter_map(|draft| self.settle(draft)).collect();
        for draft in settled {
            self.write_group(draft);
        }
        self.content
    }

    fn table(&self, sync_uuid: Uuid) -> Option<&'c EntryConfig> {
        self.cfg.entries.get(&sync_uuid)
    }

    /// By object class; what is both is a person.
    fn kind(&self, entry: &SearchResultEntry<'_>) -> Kind {
        let [classes] = values::pick(entry, &[OBJECT_CLASS]);
        let mut kind = Kind::Other;
        let is_one_of = |class: &[u8], names: &[String]| names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(class));
        for class in classes.iter().flat_map(|classes| classes.values()) {
            if is_one_of(class, &self.cfg.person.object_classes) {
                return Kind::Person;
            }
            if is_one_of(class, &self.cfg.group.object_classes) {
                kind = Kind::Group;
            }
        }
        kind
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver { schema: self.cfg.group.schema, full: self.full, index: &self.index, changes: &self.content.changes }
    }

    fn skip(&mut self, sync_uuid: Uuid, kind: Kind, dn: &str, reason: SkipReason) {
        let (state, dn_form) = (State::Skipped, self.form.as_str());
        self.index.add(&NewEntry { sync_uuid, kind, state, gidnumber: None, record: None, dn, dn_form, name: "", user_name: None });
        self.content.skipped.push(Skipped { uuid: self.cfg.kanidm_uuid(sync_uuid), sync_uuid, dn: dn.to_string(), reason });
    }

    fn skip_draft(&mut self, draft: &Draft) {
        let dn = self.index.dn(&self.content.changes, draft.entry).into_owned();
        let (sync_uuid, reason) = (draft.sync_uuid, SkipReason::UserPrivateGroup);
        self.content.skipped.push(Skipped { uuid: self.cfg.kanidm_uuid(sync_uuid), sync_uuid, dn, reason });
        self.set_state(draft.entry, State::Skipped);
    }

    fn set_state(&mut self, position: u32, state: State) {
        if let Some(entry) = self.index.entry_mut(position) {
            entry.state = state;
        }
    }

    fn person(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) {
        let (cfg, table, dn) = (&self.cfg.person, self.table(sync_uuid), entry.dn());
        let mut findings = Findings::new(self.cfg.invalid_entries);
        self.check_uuid(sync_uuid, &mut findings);
        let claims = Claims { index: &self.index, changes: &self.content.changes };
        person::check_dn(dn, &self.form, claims, &mut findings);
        let person = person::read((cfg, &self.person_names), table, entry, claims, &mut self.buffers, &mut findings);

        let record = if findings.problems.is_empty() { self.write_person(sync_uuid, dn, &person, &mut findings) } else { None };
        let Buffers { user_name, name, mails, .. } = &self.buffers;
        let renamed = table.is_some_and(|table| table.map_name.is_some()).then_some(user_name.as_str());
        let state = if record.is_some() { State::Sent } else { State::Held };
        let position = self.index.add(&NewEntry {
            sync_uuid,
            kind: Kind::Person,
            state,
            gidnumber: person.gidnumber,
            record,
            dn,
            dn_form: &self.form,
            name,
            user_name: renamed,
        });
        if record.is_some() {
            mails.iter().for_each(|mail| self.index.add_mail(position, mail));
            self.content.persons += 1;
        }
        self.settle_uuid(sync_uuid, position);
        self.report(sync_uuid, dn, findings);
    }

    /// Serialises a person; the position in the change set.
    fn write_person(&mut self, sync_uuid: Uuid, dn: &str, person: &person::Person<'_>, findings: &mut Findings) -> Option<u32> {
        let Buffers { name, password, mails, keys, labels, .. } = &self.buffers;
        let uuid = self.cfg.kanidm_uuid(sync_uuid);
        let valid_from = person.window.valid_from.map(lock::rfc3339);
        let expire = person.window.expire.map(lock::rfc3339);
        let password = Some(password.as_str()).filter(|password| !password.is_empty());
        let mail = mails.iter().enumerate().map(|(at, value)| ScimMail { primary: at == 0, value });
        let keys = (!keys.is_empty()).then(|| keys.iter().zip(labels.iter()).map(|(value, label)| ScimSshKey { label, value }));
        let scim = ScimPerson {
            schemas: if person.gidnumber.is_some() { POSIX_PERSON } else { PERSON },
            id: uuid,
            name,
            displayname: person.displayname,
            legalname: person.legalname,
            gidnumber: person.gidnumber,
            loginshell: person.loginshell,
            password_import: password,
            unix_password_import: password.filter(|_| self.cfg.person.password_as_unix && person.gidnumber.is_some()),
            mail: (!mails.is_empty()).then_some(Sequence(mail)),
            ssh_publickey: keys.map(Sequence),
            account_valid_from: valid_from.as_deref(),
            account_expire: expire.as_deref(),
        };
        let written = self.content.changes.push(uuid, changeset::Kind::Person, dn, &scim);
        position_of(written, findings)
    }

    fn group(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) {
        let dn = entry.dn();
        let mut findings = Findings::new(self.cfg.invalid_entries);
        self.check_uuid(sync_uuid, &mut findings);
        let claims = Claims { index: &self.index, changes: &self.content.changes };
        person::check_dn(dn, &self.form, claims, &mut findings);
        let name = &mut self.buffers.name;
        name.clear();
        let (gidnumber, description, members, findings) =
            group::read(&self.cfg.group, self.cfg.entries.get(&sync_uuid), entry, name, &mut self.members, findings);
        let (kind, state, dn_form) = (Kind::Group, State::Draft, self.form.as_str());
        let position = self.index.add(&NewEntry { sync_uuid, kind, state, gidnumber, record: None, dn, dn_form, name, user_name: None });
        self.settle_uuid(sync_uuid, position);
        self.drafts.push(Draft { sync_uuid, entry: position, gidnumber, description, members, findings });
    }

    /// Whether a group is only its user's own: same name or number as a person, and no other member.
    fn is_private(&self, draft: &Draft) -> bool {
        !self.cfg.group.send_user_private && self.owners(draft).any(|owner| self.has_no_member_but(draft, owner))
    }

    /// Persons with the name or the number of a group.
    fn owners(&self, draft: &Draft) -> impl Iterator<Item = u32> {
        let name = self.index.name(&self.content.changes, draft.entry);
        let is_person = |e: &index::Entry| e.kind == Kind::Person && e.state != State::Skipped;
        let by_name = self.index.find_name(&self.content.changes, name, is_person).filter(|_| !name.is_empty());
        let by_gidnumber = draft.gidnumber.and_then(|number| self.index.find_gidnumber(number, is_person));
        by_name.into_iter().chain(by_gidnumber)
    }

    fn has_no_member_but(&self, draft: &Draft, owner: u32) -> bool {
        let resolver = self.resolver();
        let mut form = String::new();
        self.members.of(&draft.members).all(|value| resolver.resolve(value, &mut form) == Target::Entry(owner))
    }

    /// Whether a person who is not in the run could make a group a user-private one.
    fn may_be_private(&self, draft: &Draft) -> bool {
        let resolver = self.resolver();
        let (mut form, mut forms) = (String::new(), HashSet::new());
        let mut members = self.members.of(&draft.members);
        let mut one_stranger_at_most = || {
            members.all(|value| {
                let target = resolver.resolve(value, &mut form);
                forms.insert(form.clone());
                forms.len() <= 1 && matches!(target, Target::Dn(_) | Target::Unknown(_))
            })
        };
        !self.full && !self.cfg.group.send_user_private && one_stranger_at_most() && !self.is_private(draft)
    }

    /// Claims name and number of a group, or holds it.
    fn settle(&mut self, mut draft: Draft) -> Option<Draft> {
        let (cfg, table) = (&self.cfg.group, self.table(draft.sync_uuid));
        let claims = Claims { index: &self.index, changes: &self.content.changes };
        if let Some(rule) = claims.name(self.index.name(&self.content.changes, draft.entry)) {
            draft.findings.required(group::name_attribute(cfg, table), rule);
        }
        if let Some(rule) = draft.gidnumber.and_then(|number| claims.gidnumber(number)) {
            draft.findings.optional(group::gidnumber_attribute(cfg, table), rule);
            draft.gidnumber = None;
        }
        let fit = draft.findings.problems.is_empty();
        if let Some(entry) = self.index.entry_mut(draft.entry) {
            entry.gidnumber = draft.gidnumber;
            entry.state = if fit { State::Sent } else { State::Held };
        }
        if fit {
            return Some(draft);
        }
        let dn = self.index.dn(&self.content.changes, draft.entry).into_owned();
        self.report(draft.sync_uuid, &dn, draft.findings);
        None
    }

    fn write_group(&mut self, mut draft: Draft) {
        let dn = self.index.dn(&self.content.changes, draft.entry).into_owned();
        let targets = self.resolve_members(&draft, &dn);
        let uuid = self.cfg.kanidm_uuid(draft.sync_uuid);
        let Mapper { index, members, content, .. } = self;
        let scim = ScimGroup {
            schemas: if draft.gidnumber.is_some() { POSIX_GROUP } else { GROUP },
            id: uuid,
            name: index.text(draft.entry).map_or("", |(_, name)| name),
            description: draft.description.as_deref(),
            gidnumber: draft.gidnumber,
        };
        let members = members.of(&draft.members).zip(targets).filter_map(|(value, target)| member(index, value, target));
        let written = content.changes.push_group(uuid, changeset::Kind::Group, &dn, &scim, members);
        match position_of(written, &mut draft.findings) {
            Some(_) => self.content.groups += 1,
            None => self.set_state(draft.entry, State::Held),
        }
        self.report(draft.sync_uuid, &dn, draft.findings);
    }

    /// For each member value of a group what is sent for it; repetitions and what is out of scope are none.
    fn resolve_members(&mut self, draft: &Draft, dn: &str) -> Vec<Option<Sent>> {
        let Mapper { cfg, full, index, content, members, form, .. } = self;
        let resolver = Resolver { schema: cfg.group.schema, full: *full, index, changes: &content.changes };
        let (mut entries, mut forms) = (HashSet::new(), HashSet::new());
        let mut strangers = Vec::new();
        let mut sent = Vec::new();
        for value in members.of(&draft.members) {
            sent.push(match resolver.resolve(value, form) {
                Target::Entry(position) => entries.insert(position).then_some(Sent::Entry(position)),
                Target::Dn(_) => forms.insert(form.clone()).then_some(Sent::AsWritten),
                Target::Unknown(_) | Target::OutOfScope => {
                    strangers.push(value);
                    None
                }
            });
        }
        content.members_out_of_scope += strangers.len() as u64;
        let room = OUT_OF_SCOPE_LISTED.saturating_sub(content.out_of_scope.len());
        let listed = strangers.iter().take(room);
        content.out_of_scope.extend(listed.map(|member| OutOfScope { group: dn.to_string(), member: String::from_utf8_lossy(member).into_owned() }));
        sent
    }

    /// A UUID that two entries would have in Kanidm.
    fn check_uuid(&self, sync_uuid: Uuid, findings: &mut Findings) {
        if let Some(Some(owner)) = self.map_uuids.get(&self.cfg.kanidm_uuid(sync_uuid)) {
            let owner = self.index.dn(&self.content.changes, *owner);
            findings.required("map_uuid", format!("the entry would have the same UUID in Kanidm as {owner}"));
        }
    }

    fn settle_uuid(&mut self, sync_uuid: Uuid, position: u32) {
        if let Some(owner) = self.map_uuids.get_mut(&self.cfg.kanidm_uuid(sync_uuid)) {
            owner.get_or_insert(position);
        }
    }

    /// Names what was held or dropped.
    fn report(&mut self, sync_uuid: Uuid, dn: &str, findings: Findings) {
        let uuid = self.cfg.kanidm_uuid(sync_uuid);
        let Findings { mut problems, drops, .. } = findings;
        if problems.is_empty() {
            let dropped = drops.into_iter().map(|Problem { attribute, rule }| Dropped { uuid, dn: dn.to_string(), attribute, rule });
            self.content.dropped.extend(dropped);
        } else {
            problems.extend(drops);
            self.content.held.push(Held { uuid, sync_uuid, dn: dn.to_string(), problems });
        }
    }
}

/// How a member is sent.
#[derive(Clone, Copy)]
enum Sent {
    /// By the DN of the entry at this position in the index.
    Entry(u32),
    /// As the group has it.
    AsWritten,
}

fn member<'m>(index: &'m Index, value: &'m [u8], sent: Option<Sent>) -> Option<Member<'m>> {
    match sent? {
        Sent::Entry(position) => index.record(position).map(Member::Record).or_else(|| index.text(position).map(|(dn, _)| Member::Dn(dn))),
        Sent::AsWritten => str::from_utf8(value).ok().map(|text| Member::Dn(without_uid(text))),
    }
}

fn position_of(written: Result<usize, serde_json::Error>, findings: &mut Findings) -> Option<u32> {
    let position = written.ok().and_then(|position| u32::try_from(position).ok());
    if position.is_none() {
        findings.required("dn", UNWRITABLE);
    }
    position
}
