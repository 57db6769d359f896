//! Groups: one draft for each received group, then the decisions at the end.
//!
//! Scope: everything about groups except the meaning of a single member ([`super::membership`]).
//! Persons come first, in whatever order entries arrive. So private groups and free names and
//! numbers are decided at the end.

use std::collections::HashSet;

use ldap_content_sync::Oversized;
use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

use super::claims::Claims;
use super::index::{self, EntryKind, Index, NewEntry, State};
use super::mapper::{Mapper, position_of};
use super::membership::{Resolver, Target};
use super::naming::{self, Naming};
use super::person;
use super::values::{Names, Picked};
use super::{Findings, OUT_OF_SCOPE_LISTED, OutOfScope, SkipReason, Skipped, values};
use crate::config::sync::{EntryConfig, GroupMapping, GroupSchema, MAX_MEMBER_ATTRIBUTES};
use crate::content::changeset::{self, Member};
use crate::content::names;
use crate::content::rules;
use crate::content::scim::ScimGroup;
use crate::content::shown::Mask;

/// A received group. Its member values are in one buffer.
pub(super) struct Draft {
    pub(super) sync_uuid: Uuid,
    /// Position in the index, which has the DN and the name.
    pub(super) entry: u32,
    pub(super) gidnumber: Option<u32>,
    pub(super) description: Option<Box<str>>,
    pub(super) members: Members,
    /// The attributes that the directory shows.
    pub(super) shown: Mask,
    pub(super) findings: Findings,
}

impl Mapper<'_> {
    /// Makes a draft of a group.
    pub(super) fn group(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) {
        let dn = entry.dn();
        let mut findings = Findings::new(self.cfg.invalid_entries);
        self.check_uuid(sync_uuid, &mut findings);
        let claims = Claims { index: &self.index, changes: &self.content.changes };
        person::check_dn(dn, &self.form, claims, &mut findings);
        let name = &mut self.buffers.name;
        name.clear();
        let (gidnumber, description, members, shown, findings) =
            read(&self.cfg.group, self.cfg.entries.get(&sync_uuid), entry, name, findings);
        let (kind, state, dn_form) = (EntryKind::Group, State::Draft, self.form.as_str());
        let new = NewEntry {
            sync_uuid,
            kind,
            state,
            gidnumber,
            record: None,
            dn,
            dn_form,
            name,
            user_name: None,
        };
        let position = self.index.add(&self.content.changes, &new);
        self.member_bytes = self.member_bytes.saturating_add(members.bytes.len());
        self.drafts.push(Draft {
            sync_uuid,
            entry: position,
            gidnumber,
            description,
            members,
            shown,
            findings,
        });
        while self.member_bytes > self.max_member_bytes && self.give_up_largest() {}
    }

    /// Holds the group with the most member bytes, because all members together exceed the limit. A
    /// small group cannot be the attack.
    fn give_up_largest(&mut self) -> bool {
        let with_members = self.drafts.iter_mut().filter(|draft| !draft.members.bytes.is_empty());
        let Some(largest) = with_members.max_by_key(|draft| draft.members.bytes.len()) else {
            return false;
        };
        let bytes = largest.members.bytes.len();
        self.member_bytes = self.member_bytes.saturating_sub(bytes);
        largest.members = Members { bytes: Vec::new(), not_kept: 0, is_whole: false };
        let rule = format!(
            "the members of all groups are more than {} bytes together, and this group has {bytes} of them: raise max_ber_size",
            self.max_member_bytes
        );
        largest.findings.required(&self.cfg.group.members.join(" or "), rule);
        true
    }

    /// Decides every group and writes those to send. Private groups come first, in any order. Names
    /// and numbers come next, then members, because a member may be a group itself.
    pub(super) fn finish_groups(&mut self) {
        let drafts = std::mem::take(&mut self.drafts);
        let (private, rest): (Vec<Draft>, Vec<Draft>) =
            drafts.into_iter().partition(|draft| self.is_private(draft));
        for draft in private {
            self.skip_draft(&draft);
        }
        let settled: Vec<Draft> = rest.into_iter().filter_map(|draft| self.settle(draft)).collect();
        for draft in settled {
            self.write_group(draft);
        }
    }

    fn skip_draft(&mut self, draft: &Draft) {
        let dn = self.index.dn(&self.content.changes, draft.entry).into_owned();
        let (sync_uuid, reason) = (draft.sync_uuid, SkipReason::UserPrivateGroup);
        self.content.skipped.push(Skipped {
            uuid: self.cfg.kanidm_uuid(sync_uuid),
            sync_uuid,
            dn,
            reason,
        });
        self.set_state(draft.entry, State::Skipped);
    }

    /// True if a group is user-private: it has the name of a user and no other member. An equal
    /// number does not count: it may be chance, and skipping the group deletes it.
    fn is_private(&self, draft: &Draft) -> bool {
        !self.cfg.group.send_user_private
            && self.user_of(draft).is_some_and(|user| self.has_no_member_but(draft, user))
    }

    /// The person with the name of a group.
    fn user_of(&self, draft: &Draft) -> Option<u32> {
        let name = self.index.name(&self.content.changes, draft.entry);
        let is_person =
            |e: &index::IndexEntry| e.kind == EntryKind::Person && e.state != State::Skipped;
        self.index.find_name(&self.content.changes, name, is_person).filter(|_| !name.is_empty())
    }

    fn has_no_member_but(&self, draft: &Draft, owner: u32) -> bool {
        let resolver = self.resolver();
        let mut form = String::new();
        draft.members.are_all_here()
            && draft
                .members
                .iter()
                .all(|value| resolver.resolve(value, &mut form) == Target::Entry(owner))
    }

    /// True if a person outside the run could make a group user-private.
    pub(super) fn may_be_private(&self, draft: &Draft) -> bool {
        let resolver = self.resolver();
        let (mut form, mut forms) = (String::new(), HashSet::new());
        let mut members = draft.members.iter();
        let mut one_stranger_at_most = || {
            draft.members.are_all_here()
                && members.all(|value| {
                    let target = resolver.resolve(value, &mut form);
                    forms.insert(form.clone());
                    forms.len() <= 1 && matches!(target, Target::Unknown(_))
                })
        };
        !self.full
            && !self.cfg.group.send_user_private
            && one_stranger_at_most()
            && !self.is_private(draft)
    }

    /// Claims the name and number of a group, or holds it.
    fn settle(&mut self, mut draft: Draft) -> Option<Draft> {
        let naming = naming_of(&self.cfg.group, self.table(draft.sync_uuid));
        let claims = Claims { index: &self.index, changes: &self.content.changes };
        if let Some(rule) = claims.name(self.index.name(&self.content.changes, draft.entry)) {
            draft.findings.required(naming.name_origin(), rule);
        }
        if let Some(rule) = draft.gidnumber.and_then(|number| claims.gidnumber(number)) {
            draft.findings.taken(naming.gidnumber_origin(), rule);
            draft.gidnumber = None;
        }
        let fit = draft.findings.settle(false);
        if let Some(entry) = self.index.entry_mut(draft.entry) {
            entry.gidnumber = draft.gidnumber;
            entry.state = if fit { State::Sent } else { State::Held };
        }
        if fit {
            self.index.claim(draft.entry);
            return Some(draft);
        }
        let dn = self.index.dn(&self.content.changes, draft.entry).into_owned();
        self.report(draft.sync_uuid, (changeset::Kind::Group, draft.shown), &dn, draft.findings);
        None
    }

    fn write_group(&mut self, mut draft: Draft) {
        let dn = self.index.dn(&self.content.changes, draft.entry).into_owned();
        let targets = self.resolve_members(&draft, &dn);
        let uuid = self.cfg.kanidm_uuid(draft.sync_uuid);
        let Mapper { index, content, .. } = self;
        let scim = ScimGroup {
            id: uuid,
            name: index.text(draft.entry).map_or("", |(_, name)| name),
            description: draft.description.as_deref(),
            gidnumber: draft.gidnumber,
        };
        let members = targets.into_iter().filter_map(|target| member(index, target));
        let written = content.changes.push_group(&dn, &scim, members);
        match position_of(written, &mut draft.findings) {
            Some(_) => {
                let names = names::mark(changeset::Kind::Group, &dn, std::iter::empty());
                self.content.changes.mark_last(draft.shown, names);
                self.content.groups += 1;
            }
            None => self.set_state(draft.entry, State::Held),
        }
        self.report(draft.sync_uuid, (changeset::Kind::Group, draft.shown), &dn, draft.findings);
    }

    /// The members to send, by their positions in the index, each once.
    fn resolve_members(&mut self, draft: &Draft, dn: &str) -> Vec<u32> {
        let Mapper { cfg, full, index, content, form, .. } = self;
        let resolver = Resolver {
            schema: cfg.group.schema,
            full: *full,
            answered: true,
            index,
            changes: &content.changes,
        };
        let mut seen = HashSet::new();
        let mut strangers = draft.members.not_kept;
        let mut sent = Vec::new();
        for value in draft.members.iter() {
            match resolver.resolve(value, form) {
                Target::Entry(position) if seen.insert(position) => sent.push(position),
                Target::Entry(_) => {}
                Target::Unknown(_) | Target::OutOfScope => {
                    strangers += 1;
                    if content.missed.len() <= names::MAX_MISSED {
                        content.missed.insert(index.missed(cfg.group.schema, form));
                    }
                    if content.out_of_scope.len() < OUT_OF_SCOPE_LISTED {
                        let member = String::from_utf8_lossy(value).into_owned();
                        content.out_of_scope.push(OutOfScope { group: dn.to_string(), member });
                    }
                }
            }
        }
        content.members_resolved += sent.len() as u64;
        content.members_out_of_scope += strangers;
        sent
    }
}

/// The member by the DN that its entry was sent with, or else has in the directory.
fn member(index: &Index, position: u32) -> Option<Member<'_>> {
    index
        .record(position)
        .map(Member::Record)
        .or_else(|| index.text(position).map(|(dn, _)| Member::Dn(dn)))
}

/// The attributes of a group: name, description, number, and those of its members.
pub(super) fn names(cfg: &GroupMapping) -> [&str; 3 + MAX_MEMBER_ATTRIBUTES] {
    let member = |at: usize| cfg.members.get(at).map_or("", String::as_str);
    [&cfg.name, &cfg.description, &cfg.gidnumber, member(0), member(1), member(2)]
}

/// The name and the number.
pub(super) fn identity(
    cfg: &GroupMapping,
    entry: &SearchResultEntry<'_>,
    name: &mut String,
) -> Option<u32> {
    let [names, _, gidnumber, ..] = Names::new(names(cfg)).pick(entry);
    naming::identity(&cfg.name, entry.dn(), names.as_ref(), gidnumber.as_ref(), name)
}

/// Reads the attributes of a group. Writes the name to `name`.
fn read(
    cfg: &GroupMapping,
    table: Option<&EntryConfig>,
    entry: &SearchResultEntry<'_>,
    name: &mut String,
    mut findings: Findings,
) -> (Option<u32>, Option<Box<str>>, Members, Mask, Findings) {
    let picked = Names::new(names(cfg)).pick(entry);
    let has_value = |values: &Option<Picked<'_>>| {
        values.as_ref().is_some_and(|values| values::not_blank(values).next().is_some())
    };
    let [plain @ .., _, _, _] = &picked;
    let has_member = picked.iter().skip(plain.len()).any(has_value);
    let shown = Mask::of(plain.iter().map(has_value).chain([has_member]));
    let [name_values, description, gidnumber, members_of @ ..] = picked;
    let naming = naming_of(cfg, table);
    let name_text = values::naming_text(name_values.as_ref(), &cfg.name, entry.dn());
    naming.read_name(name_text, name, &mut findings);
    let description = person::read_text(description.as_ref())
        .unwrap_or_else(|rule| findings.without(&cfg.description, rule));
    let gidnumber = naming.read_gidnumber(gidnumber.as_ref(), &mut findings);
    let mut members = Members::of(cfg.schema, members_of.iter().flatten());
    let mut shown = shown;
    if let Some(oversized) = entry.oversized() {
        members.is_whole = !cfg.members.iter().any(|attribute| oversized.leaves_out(attribute));
        note_left_out(cfg, oversized, &mut findings);
        shown = shown.and(left_out(cfg, oversized));
    }
    (gidnumber, description.map(Into::into), members, shown, findings)
}

/// The attributes that were not read because the entry is too large.
fn left_out(cfg: &GroupMapping, oversized: &Oversized) -> Mask {
    let [plain @ .., _, _, _] = names(cfg);
    let has_member = cfg.members.iter().any(|attribute| oversized.leaves_out(attribute));
    Mask::of(
        plain.iter().map(|name| !name.is_empty() && oversized.leaves_out(name)).chain([has_member]),
    )
}

/// Adds a problem for each attribute that was not read. Without its members a group would be sent
/// empty, so it is held.
fn note_left_out(cfg: &GroupMapping, oversized: &Oversized, findings: &mut Findings) {
    let rule = super::too_large(oversized);
    if oversized.leaves_out(&cfg.name) {
        // The name is not missing, only unread.
        findings.problems.retain(|problem| problem.attribute != cfg.name);
        findings.required(&cfg.name, rule.clone());
    }
    for name in
        [&cfg.description, &cfg.gidnumber].into_iter().filter(|name| oversized.leaves_out(name))
    {
        findings.optional(name, rule.clone());
    }
    for name in cfg.members.iter().filter(|name| oversized.leaves_out(name)) {
        findings.required(name, rule.clone());
    }
}

fn naming_of<'c>(cfg: &'c GroupMapping, table: Option<&'c EntryConfig>) -> Naming<'c> {
    Naming { name: &cfg.name, gidnumber: &cfg.gidnumber, table }
}

/// Member values in one buffer, each after its length.
pub(super) struct Members {
    bytes: Vec<u8>,
    /// Number of values that are too long for any member.
    pub(super) not_kept: u64,
    /// True if all values were read.
    is_whole: bool,
}

impl Members {
    /// The values that are not blank.
    fn of<'a>(schema: GroupSchema, attributes: impl Iterator<Item = &'a Picked<'a>>) -> Members {
        let longest = match schema {
            GroupSchema::Rfc2307 => rules::MEMBER_NAME_LENGTH,
            GroupSchema::Rfc2307Bis => rules::MEMBER_DN_LENGTH,
        };
        let mut members = Members { bytes: Vec::new(), not_kept: 0, is_whole: true };
        for value in attributes.flat_map(values::not_blank) {
            match u32::try_from(value.len()) {
                Ok(length) if value.len() <= longest => {
                    members.bytes.extend_from_slice(&length.to_ne_bytes());
                    members.bytes.extend_from_slice(value);
                }
                _ => members.not_kept += 1,
            }
        }
        members.bytes.shrink_to_fit();
        members
    }

    /// True if these are all members of the group.
    fn are_all_here(&self) -> bool {
        self.is_whole && self.not_kept == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let (value, behind) =
                behind.split_at_checked(usize::try_from(u32::from_ne_bytes(*length)).ok()?)?;
            rest = behind;
            Some(value)
        })
    }
}
