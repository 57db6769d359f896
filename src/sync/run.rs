//! One run: read Kanidm's state, read the directory, map, guard, upload, report.
//!
//! Scope: the order of the steps. Each step is a module of its own. The run sends nothing before
//! the guard has agreed.

use std::collections::HashSet;
use std::time::Instant;

use log::debug;
use uuid::Uuid;

use super::changes::{self, Facts};
use super::deleted::Going;
use super::envelope::{base_envelope, final_envelope, yielded};
pub use super::error::RunError;
use super::guard::Deletions;
use super::listing;
use super::observe::Observer;
use super::plan::{guard, names};
use super::preview;
use super::read::{self, Reading};
use super::remarks;
use super::report::Report;
use super::start::{self, FullRefresh, Start};
use super::summary::{Times, held_by_us, report};
use super::watched::{WatchedClock, WatchedServer};
use crate::clock::Clock;
use crate::config::sync::{InvalidEntries, SyncConfig};
use crate::content::rules::password;
use crate::directory::client::Directory;
use crate::heartbeat::Heartbeat;
use crate::kanidm::request::Retention;
use crate::kanidm::state::SyncState;
use crate::kanidm::transport::SyncServer;
use crate::mapping::{Content, Held};
use crate::upload::{self, EndedPerson, HeldByKanidm, Limits, Upload, UploadReport};

/// The input of a run.
#[derive(Debug)]
pub struct Job<'a> {
    /// The sync configuration.
    pub config: &'a SyncConfig,
    /// The fingerprint of every setting that shapes the content.
    pub fingerprint: &'a str,
    /// The reason to ignore the cookie, if any.
    pub full_refresh: FullRefresh,
    /// The deletion guard only warns.
    pub accept_deletes: bool,
    /// The run sends nothing.
    pub dry_run: bool,
    /// Maximum number of changed entries that the report lists.
    pub max_changes: usize,
    /// Beats with every bit of progress.
    pub heartbeat: Heartbeat,
}

/// The result of a run that did not fail.
#[derive(Debug)]
pub struct Outcome {
    /// The facts, for people and for `--json`.
    pub report: Report,
    /// One line for each entry of a dry run; empty in any other run.
    pub preview: Vec<String>,
    /// The entries that were read, for `--proto-dump`.
    pub reading: Reading,
}

/// Runs once.
///
/// # Errors
/// See [`RunError`]. Held entries are not an error: the report names them.
pub fn run(
    job: &Job<'_>,
    server: &mut dyn SyncServer,
    clock: &dyn Clock,
    observer: &mut Observer<'_>,
    progress: &mut dyn FnMut(upload::Progress),
) -> Result<Outcome, RunError> {
    let begun = Instant::now();
    let server = &mut WatchedServer { server, heartbeat: &job.heartbeat };
    let clock = &WatchedClock { clock, heartbeat: &job.heartbeat };
    let state = server.state().map_err(RunError::State)?;
    let asked = begun.elapsed();
    let start = begin(job, &state)?;
    let mut directory = Directory::connect_watched(&job.config.directory, job.heartbeat.clone())
        .map_err(RunError::Directory)?;
    let reading = read::read_from(&mut directory, job.config, &start, observer)
        .map_err(RunError::Directory)?;
    let read = begun.elapsed();

    refuse_invalid(job, &reading.content)?;
    let deletions = guard(job, &state, &start, &reading, &mut directory)?;
    let going = going(job, &start, &reading, deletions, &mut directory);
    let mut facts = Facts {
        start: &start,
        reading: &reading,
        mapping: &job.config.mapping,
        going: &going,
        uploaded: None,
    };
    let (preview, uploaded) = if job.dry_run {
        let known = start.known.as_ref();
        (preview::lines(&reading, known, deletions, &going.names), None)
    } else {
        drop(directory);
        let mut has_deleted = false;
        let sent = send(job, server, clock, state, &start, &reading, &mut |step| {
            has_deleted |= step.deleted;
            progress(step);
        });
        if sent.is_err() && has_deleted {
            changes::deletions(&facts, job.max_changes).log(job.config.log_changes_max);
        }
        (Vec::new(), Some(sent?))
    };
    facts.uploaded = uploaded.as_ref();
    let changes = changes::changes(&facts, job.max_changes);
    let uploaded = uploaded.unwrap_or_default();
    let total = begun.elapsed();
    let times = Times {
        total,
        ldap: read.saturating_sub(asked),
        kanidm: asked + total.saturating_sub(read),
    };
    let report = report(job, &start, &reading, &uploaded, deletions, changes, times);
    if !job.dry_run {
        report.changes.log(job.config.log_changes_max);
    }
    remarks::log(job.config, &report, &reading, &uploaded, &yielded(&start, &reading));
    Ok(Outcome { report, preview, reading })
}

/// The start of the run, from the state in Kanidm.
fn begin(job: &Job<'_>, state: &SyncState) -> Result<Start, RunError> {
    let mut start =
        start::decide(state, job.fingerprint, job.full_refresh).map_err(RunError::Stored)?;
    if job.config.mapping.person.password_as_unix {
        start.unusable_hash = Some(password::unusable_hash().map_err(|_| RunError::NoRandom)?);
    }
    Ok(start)
}

/// The entries that go. A dry run also searches for the names of those that the directory still
/// has. A real run reads nothing more for its report.
fn going(
    job: &Job<'_>,
    start: &Start,
    reading: &Reading,
    deletions: Deletions,
    directory: &mut Directory,
) -> Going {
    if !job.dry_run && job.max_changes == 0 {
        return Going::default();
    }
    let going = Going::new(start, reading, deletions);
    if !job.dry_run {
        return going;
    }
    let uuids: Vec<Uuid> = going.entries.iter().map(|entry| entry.uuid).collect();
    Going { names: names(job, directory, &uuids), ..going }
}

/// With `invalid_entries = "fail"`, logs every bad entry and sends nothing.
fn refuse_invalid(job: &Job<'_>, content: &Content) -> Result<(), RunError> {
    if job.config.mapping.invalid_entries != InvalidEntries::Fail || content.held.is_empty() {
        return Ok(());
    }
    let held = held_by_us(content);
    held.iter().for_each(remarks::log_held);
    Err(RunError::Invalid { held })
}

fn send(
    job: &Job<'_>,
    server: &mut dyn SyncServer,
    clock: &dyn Clock,
    state: SyncState,
    start: &Start,
    reading: &Reading,
    progress: &mut dyn FnMut(upload::Progress),
) -> Result<UploadReport, RunError> {
    let content = &reading.content;
    let ended: Vec<EndedPerson<'_>> = content
        .held
        .iter()
        .filter_map(|h| Some(EndedPerson { uuid: h.uuid, dn: &h.dn, ended: h.ended.as_ref()? }))
        .collect();
    let finish = |held: &[HeldByKanidm]| final_envelope(job, start, reading, held);
    // An end date may come while the person is held and unchanged.
    if content.changes.is_empty()
        && reading.retention == Retention::Ignore
        && ended.is_empty()
        && finish(&[]).to_state() == state
    {
        debug!("nothing to do");
        return Ok(UploadReport::default());
    }
    // An entry whose UUID belongs to another entry in Kanidm (`map_uuid`) keeps nothing there.
    let keeps = |h: &&Held| !job.config.mapping.is_claimed(h.sync_uuid);
    let stubs: Vec<(Uuid, String)> =
        content.held.iter().filter(keeps).map(|h| (h.uuid, h.dn.clone())).collect();
    let tried_before: HashSet<Uuid> =
        reading.read_again.iter().map(|uuid| job.config.mapping.kanidm_uuid(*uuid)).collect();
    let input = Upload {
        state,
        base: base_envelope(job, start, reading),
        full: reading.is_full(),
        run: run_id(),
        retention: reading.retention.clone(),
        changes: &content.changes,
        stubs: &stubs,
        ended: &ended,
        tried_before: &tried_before,
        yielded: yielded(start, reading),
        claimed: &content.claimed,
        everyone: &|| everyone(job),
        finish: &finish,
        limits: limits(job.config),
    };
    let uploaded = upload::upload(server, clock, &input, progress).map_err(RunError::Upload)?;
    for (step, took) in &uploaded.steps {
        debug!("upload: {step} took {:.2} s", took.as_secs_f64());
    }
    Ok(uploaded)
}

fn limits(config: &SyncConfig) -> Limits {
    Limits {
        max_entries: config.upload.max_entries,
        max_bytes: config.upload.max_bytes,
        timeout: config.upload.timeout,
        max_refused: Limits::MAX_REFUSED,
    }
}

/// The Kanidm UUIDs of all entries that the directory shows now. Opens a new connection, because
/// the one of the run may have timed out.
fn everyone(job: &Job<'_>) -> Option<Vec<Uuid>> {
    let config = &job.config.directory;
    let listed =
        Directory::connect_watched(config, job.heartbeat.clone()).and_then(|mut directory| {
            listing::matching(&mut directory, &config.base_dn, &config.filter)
        });
    match listed {
        Ok(uuids) => {
            let mapping = &job.config.mapping;
            let is_excluded =
                |uuid: &Uuid| mapping.entries.get(uuid).is_some_and(|table| table.exclude);
            Some(
                uuids
                    .into_iter()
                    .filter(|uuid| !is_excluded(uuid))
                    .map(|uuid| mapping.kanidm_uuid(uuid))
                    .collect(),
            )
        }
        Err(error) => {
            debug!("the entries cannot be listed once more: {error}");
            None
        }
    }
}

/// Distinguishes this run from any other. Not a secret.
fn run_id() -> Uuid {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's hasher keys are random in each process and differ with each use. So
    // the run needs no crate for random numbers.
    let random = || RandomState::new().hash_one((std::process::id(), Instant::now()));
    Uuid::from_u64_pair(random(), random())
}
