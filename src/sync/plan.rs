//! The plan: everything that a run would delete or remove. The guard judges it.

use std::collections::HashMap;

use log::{debug, info, warn};
use uuid::Uuid;

use super::attributes;
use super::error::RunError;
use super::estimate;
use super::guard::{self, AttributeLoss, Deletions, Lost, Plan, Share};
use super::lookup::Lookup;
use super::read::Reading;
use super::run::Job;
use super::start::Start;
use crate::content::changeset::Kind;
use crate::content::shown::Role;
use crate::directory::client::Directory;
use crate::kanidm::request::Retention;
use crate::kanidm::sketch::{Holders, Sketch};
use crate::kanidm::state::SyncState;
use crate::mapping::Content;
use crate::mapping::shown::{LOCK_KEY, TOTP_KEY, roles};

/// The DNs of entries that the directory still has, by their UUIDs in Kanidm. They only name the
/// deleted entries in messages, so a failed search does not fail the run.
pub(super) fn names(
    job: &Job<'_>,
    directory: &mut Directory,
    uuids: &[Uuid],
) -> HashMap<Uuid, String> {
    let mapping = &job.config.mapping;
    let in_directory: Vec<Uuid> = uuids.iter().map(|uuid| mapping.sync_uuid(*uuid)).collect();
    let mut lookup = Lookup { directory, config: &job.config.directory, mapping, attributes: &[] };
    match lookup.names(&in_directory) {
        Ok(names) => names.into_iter().map(|(uuid, dn)| (mapping.kanidm_uuid(uuid), dn)).collect(),
        Err(error) => {
            debug!("who goes cannot be named: {error}");
            HashMap::new()
        }
    }
}

pub(super) fn guard(
    job: &Job<'_>,
    state: &SyncState,
    start: &Start,
    reading: &Reading,
    directory: &mut Directory,
) -> Result<Deletions, RunError> {
    let plan = plan(job, start, reading);
    let vanished: Vec<AttributeLoss> =
        plan.losses.iter().filter(|loss| loss.lost.lost == loss.lost.had).cloned().collect();
    let deletions = plan
        .shares
        .iter()
        .map(|share| share.deletions)
        .reduce(Deletions::plus)
        .unwrap_or(Deletions::Unknown);
    match guard::check(plan, job.config.max_delete_percent) {
        Ok(()) => {}
        Err(mut refusal) => {
            let uuids: Vec<Uuid> = refusal.named().map(|gone| gone.uuid).collect();
            let names = names(job, directory, &uuids);
            refusal.named().for_each(|gone| gone.dn = names.get(&gone.uuid).cloned());
            if !job.accept_deletes {
                return Err(RunError::Refused(refusal));
            }
            warn!("--accept-deletes: {}", refusal.what());
        }
    }
    if !job.accept_deletes {
        vanished.iter().filter(|loss| loss.key != LOCK_KEY).for_each(|loss| warn!("{loss}"));
    }
    match state {
        _ if deletions != Deletions::Unknown => {}
        SyncState::Refresh => info!(
            "Kanidm has no state of this sync account. If the account is new, this run deletes nothing. \
             Otherwise it deletes each entry of the account that the directory does not show; Kanidm does not tell how many"
        ),
        SyncState::Active { .. } => warn!(
            "another tool stored the sync state in Kanidm. This run deletes each entry of this sync account that the directory does not \
             show; Kanidm does not tell how many"
        ),
    }
    Ok(deletions)
}

/// The persons without password because the account cannot read their TOTP tokens, if this run takes
/// one. Earlier runs may have taken the others, a few at a time. An increment is compared with
/// everybody who had tokens.
fn hidden_tokens(start: &Start, content: &Content, roles: &[Role]) -> Option<Lost> {
    let before = roles.iter().find(|role| role.key == TOTP_KEY)?;
    let before = attributes::loss_of_all(before, &start.shown).lost.had;
    let marks = start.marks();
    let has_password =
        |uuid: &Uuid| !marks.get(uuid).is_some_and(|mark| mark.is_without_password());
    let lost = content.hidden_tokens.len() as u64;
    let had = before.max(content.with_tokens).max(lost);
    content.hidden_tokens.iter().any(has_password).then_some(Lost { had, lost })
}

/// The persons that had TOTP tokens, if no attribute names tokens any more.
fn unmapped_tokens(start: &Start, roles: &[Role]) -> u64 {
    let is_mapped = roles.iter().any(|role| role.key == TOTP_KEY);
    let had = start.shown.holders.get(TOTP_KEY).filter(|_| !is_mapped);
    had.map_or(0, Holders::count)
}

/// The memberships that would be lost, if members are in scope and do not resolve.
fn memberships(start: &Start, reading: &Reading) -> Option<Lost> {
    let (before, now) = (start.shown.memberships, attributes::memberships_of(&reading.content));
    let lost = match reading.is_full() {
        true => attributes::memberships(before, now),
        false => attributes::newly_unresolved(before, now),
    };
    lost.filter(|_| reading.misread_members)
}

/// Everything that the run would delete or remove.
fn plan(job: &Job<'_>, start: &Start, reading: &Reading) -> Plan {
    let (retention, content) = (&reading.retention, &reading.content);
    let goes = match (retention, &start.stored_roster) {
        (Retention::Retain(uuids), Some(roster)) => roster.missing_from(uuids),
        _ => reading.deleted,
    };
    let share = |kind: Option<Kind>, known: Option<&Sketch>| {
        let deletions = match estimate::deletions(retention, known, reading.deleted) {
            // The sample may lack the entries that go. With a limit of 0 percent a single one
            // counts.
            few if job.config.max_delete_percent == 0
                && few.at_least() == 0
                && few != Deletions::Exactly(0)
                && goes > 0 =>
            {
                Deletions::Between(1, goes as u64)
            }
            other => other,
        };
        let comes = content.shown().filter(|(_, other, _)| Some(*other) == kind).count();
        Share {
            kind,
            known: known.map(Sketch::count),
            deletions,
            all_go: known
                .is_some_and(|known| estimate::all_go(known, deletions, comes, reading.is_full())),
            named: estimate::named(retention, known),
        }
    };
    let shares = match &start.known {
        Some(known) => {
            [Kind::Person, Kind::Group].map(|kind| share(Some(kind), Some(known.of(kind)))).into()
        }
        None => vec![share(None, start.known_of_version_1.as_ref())],
    };
    let roles = roles(&job.config.mapping);
    let lost = |role| attributes::loss_of_all(role, &start.shown);
    Plan {
        is_empty: matches!(retention, Retention::Retain(uuids) if uuids.is_empty()),
        shares,
        losses: match reading.is_full() {
            true => attributes::losses(&roles, &start.shown, content),
            false => reading.shown_by_nobody.iter().map(lost).collect(),
        },
        hidden_locks: reading
            .hidden_locks
            .iter()
            .map(|(role, persons)| (role.attribute.clone(), *persons, role.is_lock))
            .collect(),
        hidden_tokens: hidden_tokens(start, content, &roles),
        unmapped_tokens: unmapped_tokens(start, &roles),
        memberships: memberships(start, reading),
    }
}
