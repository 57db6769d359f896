//! The searches that complete the refresh of an incremental run.
//!
//! Scope: which entries to look up. [`super::read`] knows the order of the steps, and
//! [`super::lookup`] searches.

use std::collections::{HashMap, HashSet};

use ldap_content_sync::sync_session::{Provider, RefreshOutcome};
use log::debug;
use uuid::Uuid;

use super::lookup::Lookup;
use super::observe::Observer;
use super::start::Start;
use super::token_marks::token_marks;
use super::tokens::read_tokens;
use crate::content::account::STILL_OPEN;
use crate::directory::error::DirectoryError;
use crate::kanidm::token_mark::TokenMark;
use crate::mapping::totp::{ChangedTokens, is_unanswered};
use crate::mapping::{Changed, Content, Contested, Dropped, EntryProblem, Held, Mapper};

/// Keeps the entries that the searches after the refresh returned: they exist. The refresh itself
/// may have left them out or reported their deletion.
pub(super) fn come_back(outcome: &mut RefreshOutcome, mapper: &Mapper<'_>, void: &[Uuid]) {
    let is_void = |uuid: &Uuid| void.binary_search(uuid).is_ok();
    outcome.deleted.retain(|uuid| is_void(uuid) || !mapper.contains(uuid));
    if let Some(present) = &mut outcome.present {
        present.extend(mapper.received().filter(|uuid| !is_void(uuid)));
        present.sort_unstable();
        present.dedup();
    }
}

/// Completes an incremental refresh: reads held entries, groups that name a changed entry, persons
/// that name a changed TOTP token, and the names of members. Returns the entries that only these
/// searches returned.
pub(super) fn complete_refresh(
    lookup: &mut Lookup<'_>,
    mapper: &mut Mapper<'_>,
    start: &Start,
    (held, outcome): (&[Uuid], &RefreshOutcome),
    observer: &mut Observer<'_>,
) -> Result<HashSet<Uuid>, DirectoryError> {
    // A held entry that moved may have a DN that groups use for another entry.
    let mut changed: Vec<Changed> = mapper.changed(true).collect();
    if !held.is_empty() {
        debug!("reading {} held entries again", held.len());
        lookup.owners(held, mapper)?;
        lookup.read_again(held, mapper, observer)?;
    }
    // Must come before the groups that name them are read: those groups have not changed.
    let known_dns: HashSet<String> = changed.iter().map(|entry| entry.dn.clone()).collect();
    changed.extend(mapper.changed(false).filter(|entry| !known_dns.contains(&entry.dn)));
    changed.retain(|entry| !start.has_all_groups(entry));
    let known: HashSet<Uuid> = mapper.received().collect();
    if !changed.is_empty() {
        lookup.groups_naming(&changed, mapper, observer)?;
    }
    let lost = lost_tokens(lookup, start, outcome)?;
    lookup.read_again(&lost, mapper, observer)?;
    let tokens = mapper.changed_tokens().clone();
    lookup.persons_naming(&tokens, mapper, observer)?;
    let questions = mapper.questions();
    lookup.answer(&questions, mapper)?;
    Ok(mapper.received().filter(|uuid| !known.contains(uuid)).collect())
}

/// The persons with a TOTP token that cannot be sent any more. They are searched for if the directory
/// reports the deletion of an entry that Kanidm does not have: it may be a token, and the report has
/// only a UUID. Entries that earlier runs held are not among them, because every run reads them.
fn lost_tokens(
    lookup: &mut Lookup<'_>,
    start: &Start,
    outcome: &RefreshOutcome,
) -> Result<Vec<Uuid>, DirectoryError> {
    let mapping = lookup.mapping;
    let roster = start.stored_roster.as_ref().filter(|_| mapping.person.totp.is_some());
    let is_unknown =
        |uuid: &Uuid| roster.is_some_and(|roster| !roster.has_any(mapping.kanidm_uuid(*uuid)));
    if !outcome.deleted.iter().any(is_unknown) {
        return Ok(Vec::new());
    }
    let mut aside = separate_mapper(lookup);
    let everybody = ChangedTokens { everybody: true, ..ChangedTokens::default() };
    lookup.persons_naming(&everybody, &mut aside, &mut |_| {})?;
    read_tokens(lookup.directory, &mut aside)?;
    let marks = token_marks(mapping, &aside.finish().dropped);
    let known: HashSet<&Uuid> = start.held.iter().collect();
    Ok(marks.into_keys().filter(|uuid| !known.contains(uuid)).collect())
}

/// The answer of [`still_contested`].
#[derive(Default)]
pub(super) struct StillContested {
    /// The entries.
    pub(super) contested: Vec<Contested>,
    /// The values that they lack.
    pub(super) dropped: Vec<Dropped>,
    /// Those without password for a hidden token. Directory UUIDs.
    pub(super) hidden_tokens: Vec<Uuid>,
}

/// The entries that an earlier run sent without a value and that still lack it, because another
/// entry has that value, or because a TOTP token is still bad. The report names them again; they are
/// not sent again. A person with other bad tokens than before is not among them: a repaired token
/// does not wait for the other values.
pub(super) fn still_contested(
    lookup: &mut Lookup<'_>,
    start: &Start,
    uuids: &[Uuid],
) -> Result<StillContested, DirectoryError> {
    if uuids.is_empty() {
        return Ok(Default::default());
    }
    let mut aside = separate_mapper(lookup);
    lookup.owners(uuids, &mut aside)?;
    lookup.read_again(uuids, &mut aside, &mut |_| {})?;
    read_tokens(lookup.directory, &mut aside)?;
    let Content { mut contested, mut dropped, mut hidden_tokens, .. } = aside.finish();
    let (before, now) = (start.marks(), token_marks(lookup.mapping, &dropped));
    let mark = |marks: &HashMap<Uuid, TokenMark>, entry: &Contested| {
        marks.get(&entry.sync_uuid).copied().unwrap_or_default()
    };
    contested.retain(|entry| mark(&before, entry) == mark(&now, entry));
    let still: HashSet<Uuid> = contested.iter().map(|entry| entry.sync_uuid).collect();
    dropped.retain(|entry| still.contains(&entry.sync_uuid));
    hidden_tokens.retain(|uuid| still.contains(uuid));
    Ok(StillContested { contested, dropped, hidden_tokens })
}

/// The entries that an earlier run sent without a bad value and that have not changed since. The
/// report names them again; they are not sent again.
pub(super) fn still_dropped(
    lookup: &mut Lookup<'_>,
    uuids: &[Uuid],
) -> Result<Vec<Dropped>, DirectoryError> {
    let mut aside = separate_mapper(lookup);
    lookup.read_again(uuids, &mut aside, &mut |_| {})?;
    read_tokens(lookup.directory, &mut aside)?;
    let Content { mut dropped, held, .. } = aside.finish();
    dropped.extend(held.into_iter().flat_map(dropped_before));
    Ok(dropped)
}

/// The bad values of a person that is held only because nobody knows its token now.
fn dropped_before(held: Held) -> Vec<Dropped> {
    let Held { uuid, sync_uuid, dn, problems, .. } = held;
    if !problems.iter().any(|problem| is_unanswered(&problem.rule)) {
        return Vec::new();
    }
    let of_value =
        |problem: &EntryProblem| !is_unanswered(&problem.rule) && problem.rule != STILL_OPEN;
    let dropped = |EntryProblem { attribute, rule }| {
        let dn = dn.clone();
        Dropped { uuid, sync_uuid, dn, attribute, rule }
    };
    problems.into_iter().filter(of_value).map(dropped).collect()
}

/// A mapper for entries that are read only to name their problems.
fn separate_mapper<'c>(lookup: &Lookup<'c>) -> Mapper<'c> {
    let prepares = lookup.directory.provider() != Provider::Ds389;
    Mapper::new(lookup.mapping, true).preparing(prepares).bound_as(lookup.directory.bound_as())
}

/// Held entries that no search returned, although the directory does not report them as gone.
pub(super) fn not_found(held: &[Uuid], mapper: &Mapper<'_>, outcome: &RefreshOutcome) -> Vec<Uuid> {
    let present = outcome.present.as_ref().map(|present| present.iter().collect::<HashSet<_>>());
    let deleted: HashSet<&Uuid> = outcome.deleted.iter().collect();
    let may_live = |uuid: &&Uuid| {
        !deleted.contains(uuid) && present.as_ref().is_none_or(|present| present.contains(uuid))
    };
    held.iter().filter(|uuid| !mapper.contains(uuid)).filter(may_live).copied().collect()
}
