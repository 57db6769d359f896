//! The envelope that a run leaves for the next one.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::attributes;
use super::read::Reading;
use super::run::Job;
use super::start::{FullRefresh, Start};
use super::token_marks::token_marks;
use crate::content::changeset::Kind;
use crate::kanidm::known::Known;
use crate::kanidm::missed::Missed;
use crate::kanidm::request::Retention;
use crate::kanidm::roster::Roster;
use crate::kanidm::since::Since;
use crate::kanidm::sketch::Sketch;
use crate::kanidm::state::{Envelope, MAX_HELD, Yielded};
use crate::mapping::shown::roles;
use crate::upload::HeldByKanidm;

/// The envelope of every POST before the last one: the state that the run began with.
pub(super) fn base_envelope(job: &Job<'_>, start: &Start, reading: &Reading) -> Envelope {
    // `--full-refresh` accepts the directory as it is. If this run is interrupted, the full run
    // that repairs it must accept the directory, too.
    let cookie = if job.full_refresh == FullRefresh::AskedFor {
        &reading.cookie
    } else {
        &start.stored_cookie
    };
    Envelope {
        cookie: cookie.clone(),
        fingerprint: start.stored_fingerprint.clone().unwrap_or_default(),
        known: start.known.clone(),
        known_of_version_1: start.known_of_version_1.clone(),
        roster: start.stored_roster.clone(),
        missed: start.missed.clone(),
        shown: start.shown.clone(),
        matched: start.matched.clone(),
        held: start.held.clone(),
        held_since: start.held_since.clone(),
        dropped: start.dropped.clone(),
        token_marks: start.token_marks.clone(),
        yielded: start.yielded.clone(),
        unfinished: None,
    }
}

/// The state that Kanidm stores for the next run.
pub(super) fn final_envelope(
    job: &Job<'_>,
    start: &Start,
    reading: &Reading,
    refused: &[HeldByKanidm],
) -> Envelope {
    let known = known_after(start, reading, refused);
    // Another tool mapped the content of Kanidm by other rules. Until a full refresh has read
    // everything, the stored fingerprint is empty.
    let ours = reading.is_full() || start.stored_fingerprint.is_some();
    let fingerprint = if ours { job.fingerprint.to_owned() } else { String::new() };
    let roles = roles(&job.config.mapping);
    let shown = match reading.is_full() {
        true => attributes::after_full(&roles, &reading.content),
        false => {
            attributes::after_increment(&roles, &start.shown, &reading.content, &reading.retention)
        }
    };
    let held = held_after(job, reading, refused);
    let dropped = dropped_after(reading, refused);
    let marks = token_marks(&job.config.mapping, &reading.content.dropped);
    let (cookie, matched) = (reading.cookie.clone(), reading.matched.clone());
    // Only a full refresh tells the kinds of the entries that version 1 counted.
    let known_of_version_1 = start.known_of_version_1.clone().filter(|_| known.is_none());
    Envelope {
        cookie,
        fingerprint,
        known,
        roster: roster_after(start, reading, refused),
        missed: missed_after(start, reading),
        known_of_version_1,
        shown,
        matched,
        held_since: since(start, reading, &held),
        held,
        token_marks: dropped
            .iter()
            .map(|uuid| marks.get(uuid).copied().unwrap_or_default())
            .collect(),
        dropped,
        yielded: yielded(start, reading),
        unfinished: None,
    }
}

/// The entries that the next run reads again.
fn held_after(job: &Job<'_>, reading: &Reading, refused: &[HeldByKanidm]) -> Vec<Uuid> {
    let mapping = &job.config.mapping;
    let ours =
        reading.content.held.iter().map(|h| h.sync_uuid).chain(reading.not_found.iter().copied());
    let mut held: Vec<Uuid> =
        ours.chain(refused.iter().map(|h| mapping.sync_uuid(h.uuid))).collect();
    // Contested entries were sent, without a value. They come last: one that does not fit must not
    // cost a full refresh.
    let room = MAX_HELD.saturating_sub(held.len());
    held.extend(reading.content.contested.iter().take(room).map(|entry| entry.sync_uuid));
    held.sort_unstable();
    held.dedup();
    held
}

/// The kind of run that first held each of these entries.
fn since(start: &Start, reading: &Reading, held: &[Uuid]) -> Vec<Since> {
    let earlier: HashMap<&Uuid, Since> =
        start.held.iter().zip(start.held_since.iter().copied()).collect();
    let own = if reading.is_full() { Since::Full } else { Since::Incremental };
    held.iter().map(|uuid| earlier.get(uuid).copied().unwrap_or(own)).collect()
}

/// The entries that were sent without a bad value.
fn dropped_after(reading: &Reading, refused: &[HeldByKanidm]) -> Vec<Uuid> {
    // Kanidm refused these entries as a whole, so they were not sent without a value.
    let refused: HashSet<Uuid> =
        refused.iter().filter(|entry| !entry.is_partial).map(|entry| entry.uuid).collect();
    let sent = reading.content.dropped.iter().filter(|entry| !refused.contains(&entry.uuid));
    let mut dropped: Vec<Uuid> = sent.map(|entry| entry.sync_uuid).collect();
    dropped.sort_unstable();
    dropped.dedup();
    dropped.truncate(MAX_HELD);
    dropped
}

/// The attributes that the run leaves out from the start.
pub(super) fn yielded(start: &Start, reading: &Reading) -> Yielded {
    if reading.is_full() { Yielded::new() } else { start.yielded.clone() }
}

/// The entries that Kanidm holds after the run has sent everything except `refused`.
fn known_after(start: &Start, reading: &Reading, refused: &[HeldByKanidm]) -> Option<Known> {
    let absent: HashSet<Uuid> =
        refused.iter().filter(|held| held.is_absent).map(|held| held.uuid).collect();
    let refused: HashSet<Uuid> =
        refused.iter().filter(|held| !held.is_partial).map(|held| held.uuid).collect();
    let records = reading.content.changes.records();
    let of_kind = |kind| {
        let old = start.known.as_ref().map(|known| known.of(kind));
        let sent =
            || records.iter().filter(move |record| record.kind == kind).map(|record| record.uuid);
        let written = sent().filter(|uuid| !refused.contains(uuid));
        match &reading.retention {
            Retention::Retain(uuids) if reading.is_full() => {
                let stays = |uuid: &Uuid| uuids.binary_search(uuid).is_ok();
                // Kanidm keeps its version of a held entry. From state Refresh, the run sent a stub
                // for it.
                let held = reading
                    .content
                    .held
                    .iter()
                    .filter(|held| held.kind == kind)
                    .map(|held| held.uuid);
                let held = held.chain(sent().filter(|uuid| refused.contains(uuid)));
                let held = held.filter(|uuid| {
                    !absent.contains(uuid) && old.is_none_or(|old| old.may_have(*uuid))
                });
                Sketch::of(written.chain(held).filter(stays))
            }
            retention => {
                let old = old.cloned().unwrap_or_default();
                let gone = match retention {
                    Retention::Ignore => Vec::new(),
                    Retention::Delete(uuids) => uuids.clone(),
                    // A present phase also lists entries that were never sent. Its list does not
                    // make them known.
                    Retention::Retain(uuids) => old.named_missing_from(uuids, usize::MAX),
                };
                old.updated(gone, written)
            }
        }
    };
    let is_known = start.known.is_some() || reading.is_full();
    is_known.then(|| Known { persons: of_kind(Kind::Person), groups: of_kind(Kind::Group) })
}

/// The entries that Kanidm has under their present names after the run has sent everything except
/// `refused`.
fn roster_after(start: &Start, reading: &Reading, refused: &[HeldByKanidm]) -> Option<Roster> {
    let refused: HashSet<Uuid> =
        refused.iter().filter(|held| !held.is_partial).map(|held| held.uuid).collect();
    let records = reading.content.changes.records().iter();
    let written = records.filter(|record| !refused.contains(&record.uuid));
    let written = written.map(|record| (record.uuid, record.names));
    let held = reading.content.held.iter().filter(|held| held.ended.is_some());
    let ended = reading.content.ended.iter().copied().chain(held.map(|held| held.uuid));
    if reading.is_full() {
        return Some(Roster::of(written)?.with_ended(ended));
    }
    let old = start.stored_roster.as_ref()?;
    let written: Vec<(Uuid, u16)> = written.collect();
    // Somebody may have deleted a refused entry in Kanidm. It is new when Kanidm accepts it again.
    let mut gone: Vec<Uuid> = refused.iter().copied().collect();
    let roster = match &reading.retention {
        Retention::Ignore => old.updated(None, &gone, &written),
        Retention::Delete(uuids) => {
            gone.extend(uuids);
            old.updated(None, &gone, &written)
        }
        Retention::Retain(uuids) => old.updated(Some(uuids), &gone, &written),
    };
    Some(roster?.with_ended(ended))
}

/// The names of members that a group was sent without.
fn missed_after(start: &Start, reading: &Reading) -> Option<Missed> {
    let names = reading.content.missed.iter().copied();
    match &start.missed {
        _ if reading.is_full() => Missed::of(names),
        Some(before) => before.with(names),
        None => None,
    }
}
