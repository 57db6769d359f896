//! The facts of a [`Report`], from the reading and the upload.
//!
//! Scope: [`super::read`] and [`crate::upload`] give the facts; [`super::report`] has the words.

use std::time::Duration;

use super::changes::Changes;
use super::guard;
use super::read::Reading;
use super::report::{DroppedAttribute, HeldEntry, Report, ReportProblem, SkippedEntry};
use super::run::Job;
use super::start::Start;
use crate::content::account::{CLOSED, LOCKED, STILL_OPEN};
use crate::content::changeset::Kind;
use crate::mapping::{Content, Held};
use crate::upload::{HeldByKanidm, UploadReport};

const NOT_FOUND: &str = "held by an earlier run, and not found by UUID now. Run `--full-refresh`; if it stays, let the account search \
                         by UUID";

/// Wall times of a run.
pub(super) struct Times {
    pub(super) total: Duration,
    pub(super) ldap: Duration,
    pub(super) kanidm: Duration,
}

/// The report of a run that the guard did not refuse.
pub(super) fn report(
    job: &Job<'_>,
    start: &Start,
    reading: &Reading,
    uploaded: &UploadReport,
    deleted: guard::Deletions,
    changes: Changes,
    times: Times,
) -> Report {
    let content = &reading.content;
    let (persons, groups) = written(job, content, uploaded);
    let skipped = content.skipped.iter();
    Report {
        dry_run: job.dry_run,
        mode: reading.mode.clone(),
        read: reading.read,
        persons,
        groups,
        deleted,
        held: held(job, reading, uploaded),
        skipped: skipped
            .map(|s| SkippedEntry { uuid: s.uuid, dn: s.dn.clone(), reason: s.reason.to_string() })
            .collect(),
        dropped: dropped(job, content, uploaded),
        changes,
        known: match &start.known {
            Some(known) if !reading.is_full() => {
                known.persons.count().saturating_add(known.groups.count())
            }
            _ => content.shown().count() as u64,
        },
        members_out_of_scope: content.members_out_of_scope,
        directory_is_older: reading.is_older,
        posts: uploaded.posts,
        total: times.total,
        ldap: times.ldap,
        kanidm: times.kanidm,
    }
}

/// Persons and groups that were written, or that a dry run would send.
fn written(job: &Job<'_>, content: &Content, uploaded: &UploadReport) -> (u64, u64) {
    let records = content.changes.records();
    let count = |kind| match job.dry_run {
        true => records.iter().filter(|r| r.kind == kind).count() as u64,
        false => uploaded
            .written
            .iter()
            .filter(|at| records.get(**at).is_some_and(|r| r.kind == kind))
            .count() as u64,
    };
    (count(Kind::Person), count(Kind::Group))
}

/// Entries held by our own validation, held and not found again, and refused by Kanidm.
fn held(job: &Job<'_>, reading: &Reading, uploaded: &UploadReport) -> Vec<HeldEntry> {
    let mut held = held_by_us(&reading.content);
    if uploaded.posts > 0 {
        held.iter_mut()
            .zip(&reading.content.held)
            .for_each(|(entry, by_us)| entry.problems.extend(note_of_lock(by_us, uploaded)));
    }
    held.extend(reading.not_found.iter().map(|uuid| HeldEntry {
        uuid: job.config.mapping.kanidm_uuid(*uuid),
        dn: String::new(),
        problems: vec![ReportProblem { attribute: None, rule: NOT_FOUND.to_owned() }],
    }));
    held.extend(uploaded.held.iter().filter(|held| !held.is_partial).map(held_by_kanidm));
    held
}

/// Attributes that the policy left out, and mail addresses that Kanidm refused.
fn dropped(job: &Job<'_>, content: &Content, uploaded: &UploadReport) -> Vec<DroppedAttribute> {
    let dropped = |uuid, dn: &str, attribute: &str, rule: &str| DroppedAttribute {
        uuid,
        dn: dn.to_owned(),
        problem: ReportProblem { attribute: Some(attribute.to_owned()), rule: rule.to_owned() },
    };
    let mail = &job.config.mapping.person.mail;
    let partial = uploaded.held.iter().filter(|held| held.is_partial);
    content
        .dropped
        .iter()
        .map(|d| dropped(d.uuid, &d.dn, &d.attribute, &d.rule))
        .chain(partial.map(|held| dropped(held.uuid, &held.dn, mail, &held.reason)))
        .collect()
}

/// The entries that fail our own validation.
pub(super) fn held_by_us(content: &Content) -> Vec<HeldEntry> {
    let problem = |p: &crate::mapping::EntryProblem| ReportProblem {
        attribute: Some(p.attribute.clone()),
        rule: p.rule.clone(),
    };
    content
        .held
        .iter()
        .map(|h| HeldEntry {
            uuid: h.uuid,
            dn: h.dn.clone(),
            problems: h.problems.iter().map(problem).collect(),
        })
        .collect()
}

/// The note that tells whether the account of a held person was closed.
fn note_of_lock(held: &Held, uploaded: &UploadReport) -> Option<ReportProblem> {
    held.ended.as_ref()?;
    let rule = match held.uuid {
        uuid if uploaded.open.contains(&uuid) => STILL_OPEN,
        uuid if uploaded.renamed.contains(&uuid) => LOCKED,
        _ => CLOSED,
    };
    Some(ReportProblem { attribute: Some("sync_account_lock".to_owned()), rule: rule.to_owned() })
}

/// An entry that Kanidm refused.
pub(super) fn held_by_kanidm(held: &HeldByKanidm) -> HeldEntry {
    let problem = ReportProblem { attribute: None, rule: held.reason.clone() };
    HeldEntry { uuid: held.uuid, dn: held.dn.clone(), problems: vec![problem] }
}
