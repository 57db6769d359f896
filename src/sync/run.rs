//! One run: read Kanidm's state, read the directory, map, guard, upload, report.
//!
//! Scope: the order of the steps. Each step is a module of its own. The run sends nothing before
//! the guard has agreed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Instant;

use log::{debug, info, warn};
use uuid::Uuid;

use super::attributes;
use super::estimate;
use super::guard::{self, AttributeLoss, Deletions, GuardRefusal, Plan, Share};
use super::listing;
use super::lookup::Lookup;
use super::observe::Observer;
use super::preview;
use super::read::{self, Reading};
use super::report::{HeldEntry, ReadMode, Report};
use super::start::{self, FullRefresh, Start};
use super::summary::{Times, held_by_kanidm, held_by_us, report};
use super::watched::{WatchedClock, WatchedServer};
use crate::config::sync::{GroupSchema, InvalidEntries, SyncConfig};
use crate::content::changeset::Kind;
use crate::content::rules::password;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::exit::ExitCode;
use crate::heartbeat::Heartbeat;
use crate::kanidm::error::KanidmError;
use crate::kanidm::known::Known;
use crate::kanidm::request::Retention;
use crate::kanidm::roster::Roster;
use crate::kanidm::sketch::Sketch;
use crate::kanidm::state::Yielded;
use crate::kanidm::state::{Envelope, MAX_HELD, StateError, SyncState};
use crate::kanidm::transport::{Clock, SyncServer};
use crate::mapping::shown::{LOCK_KEY, roles};
use crate::mapping::{Content, Held};
use crate::text::count;
use crate::upload::yielded::words;
use crate::upload::{self, EndedPerson, HeldByKanidm, Limits, Upload, UploadError, UploadReport};

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
    clock: &mut dyn Clock,
    observer: &mut Observer<'_>,
    progress: &mut dyn FnMut(upload::Progress),
) -> Result<Outcome, RunError> {
    let begun = Instant::now();
    let server = &mut WatchedServer { server, heartbeat: &job.heartbeat };
    let clock = &mut WatchedClock { clock, heartbeat: &job.heartbeat };
    let state = server.state().map_err(RunError::State)?;
    let asked = begun.elapsed();
    let mut start =
        start::decide(&state, job.fingerprint, job.full_refresh).map_err(RunError::Stored)?;
    if job.config.mapping.person.password_as_unix {
        start.unusable_hash = Some(password::unusable_hash().map_err(|_| RunError::NoRandom)?);
    }
    let mut directory = Directory::connect_watched(&job.config.directory, job.heartbeat.clone())
        .map_err(RunError::Directory)?;
    let reading = read::read_from(&mut directory, job.config, &start, observer)
        .map_err(RunError::Directory)?;
    let read = begun.elapsed();

    refuse_invalid(job, &reading.content)?;
    let deletions = guard(job, &state, &start, &reading, &mut directory)?;
    let (preview, uploaded) = if job.dry_run {
        let going: Vec<Uuid> = preview::going(&reading, start.known.as_ref())
            .into_iter()
            .map(|(_, uuid)| uuid)
            .collect();
        let names = names(job, &mut directory, &going);
        (preview::lines(&reading, start.known.as_ref(), deletions, &names), UploadReport::default())
    } else {
        drop(directory);
        (Vec::new(), send(job, server, clock, state, &start, &reading, progress)?)
    };
    let total = begun.elapsed();
    let times = Times {
        total,
        ldap: read.saturating_sub(asked),
        kanidm: asked + total.saturating_sub(read),
    };
    let report = report(job, &start, &reading, &uploaded, deletions, times);
    // Each yielded attribute is news once. A yielded account_expire makes locks ineffective, so
    // every run that writes warns of it.
    let is_news = uploaded.yielded != yielded(&start, &reading);
    if !uploaded.yielded.is_empty() && (is_news || uploaded.yielded.contains("account_expire")) {
        warn!("{}", words(&uploaded.yielded));
    }
    log_entries(&report);
    if uploaded.envelope.held.len() > MAX_HELD {
        warn!(
            "{} entries are held back, more than the {MAX_HELD} that Kanidm remembers for the next run: it reads the whole directory again. \
             Mend the mapping or the directory",
            uploaded.envelope.held.len()
        );
    }
    if job.config.mapping.invalid_entries == InvalidEntries::Hold {
        warn_of_what_waits(&reading.content);
    }
    log_out_of_scope(&reading.content);
    warn_of_nobody(&reading);
    remarks(job.config, &reading).iter().for_each(|remark| warn!("{remark}"));
    Ok(Outcome { report, preview, reading })
}

/// With `invalid_entries = "fail"`, logs every bad entry and sends nothing.
fn refuse_invalid(job: &Job<'_>, content: &Content) -> Result<(), RunError> {
    if job.config.mapping.invalid_entries != InvalidEntries::Fail || content.held.is_empty() {
        return Ok(());
    }
    let held = held_by_us(content);
    held.iter().for_each(log_held);
    Err(RunError::Invalid { held })
}

/// The DNs of entries that the directory still has, by their UUIDs in Kanidm. They only name the
/// deleted entries in messages, so a failed search does not fail the run.
fn names(job: &Job<'_>, directory: &mut Directory, uuids: &[Uuid]) -> HashMap<Uuid, String> {
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

fn guard(
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
            "Kanidm has no sync state yet: this run states the whole content. Should Kanidm hold other entries of this sync account, \
             they are deleted; how many cannot be known beforehand"
        ),
        SyncState::Active { .. } => warn!(
            "the sync state in Kanidm is another tool's: whatever Kanidm holds of this sync account and the directory does not have is \
             deleted; how many entries that are cannot be known beforehand"
        ),
    }
    Ok(deletions)
}

/// Everything that the run would delete or remove.
fn plan(job: &Job<'_>, start: &Start, reading: &Reading) -> Plan {
    let (retention, content) = (&reading.retention, &reading.content);
    let share = |kind: Option<Kind>, known: Option<&Sketch>| {
        let deletions = match estimate::deletions(retention, known, reading.deleted) {
            // The sample may lack the entries that the directory reports as deleted. With a limit
            // of 0 percent a single one counts.
            few if job.config.max_delete_percent == 0
                && few.at_least() == 0
                && few != Deletions::Exactly(0)
                && reading.deleted > 0 =>
            {
                Deletions::Between(1, reading.deleted as u64)
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
            .map(|(role, persons)| (role.attribute.clone(), *persons))
            .collect(),
        memberships: match reading.is_full() {
            true => attributes::memberships(
                start.shown.memberships,
                attributes::memberships_of(content),
            ),
            false => attributes::newly_unresolved(
                start.shown.memberships,
                attributes::memberships_of(content),
            ),
        }
        .filter(|_| reading.misread_members),
    }
}

fn send(
    job: &Job<'_>,
    server: &mut dyn SyncServer,
    clock: &mut dyn Clock,
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
    // `--full-refresh` accepts the directory as it is. If this run is interrupted, the full run
    // that repairs it must accept the directory, too.
    let cookie = if job.full_refresh == FullRefresh::AskedFor {
        &reading.cookie
    } else {
        &start.stored_cookie
    };
    let base = Envelope {
        cookie: cookie.clone(),
        fingerprint: start.stored_fingerprint.clone().unwrap_or_default(),
        known: start.known.clone(),
        roster: start.stored_roster.clone(),
        known_of_version_1: start.known_of_version_1.clone(),
        shown: start.shown.clone(),
        matched: start.matched.clone(),
        held: start.held.clone(),
        dropped: start.dropped.clone(),
        yielded: start.yielded.clone(),
        unfinished: None,
    };
    // An entry whose UUID belongs to another entry in Kanidm (`map_uuid`) keeps nothing there.
    let keeps = |h: &&Held| !job.config.mapping.is_claimed(h.sync_uuid);
    let stubs: Vec<(Uuid, String)> =
        content.held.iter().filter(keeps).map(|h| (h.uuid, h.dn.clone())).collect();
    let tried_before: HashSet<Uuid> =
        reading.read_again.iter().map(|uuid| job.config.mapping.kanidm_uuid(*uuid)).collect();
    let limits = Limits {
        max_entries: job.config.upload.max_entries,
        max_bytes: job.config.upload.max_bytes,
        timeout: job.config.upload.timeout,
        max_refused: Limits::MAX_REFUSED,
    };
    let input = Upload {
        state,
        base,
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
        limits,
    };
    let uploaded = upload::upload(server, clock, &input, progress).map_err(RunError::Upload)?;
    for (step, took) in &uploaded.steps {
        debug!("upload: {step} took {:.2} s", took.as_secs_f64());
    }
    Ok(uploaded)
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

/// The state that Kanidm stores for the next run.
fn final_envelope(
    job: &Job<'_>,
    start: &Start,
    reading: &Reading,
    refused: &[HeldByKanidm],
) -> Envelope {
    let mapping = &job.config.mapping;
    let known = known_after(start, reading, refused);
    let roster = roster_after(start, reading, refused);
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
    // Another tool mapped the content of Kanidm by other rules. Until a full refresh has read
    // everything, the stored fingerprint is empty.
    let ours = reading.is_full() || start.stored_fingerprint.is_some();
    let fingerprint = if ours { job.fingerprint.to_owned() } else { String::new() };
    let roles = roles(mapping);
    let shown = match reading.is_full() {
        true => attributes::after_full(&roles, &reading.content),
        false => {
            attributes::after_increment(&roles, &start.shown, &reading.content, &reading.retention)
        }
    };
    let (cookie, matched) = (reading.cookie.clone(), reading.matched.clone());
    // Only a full refresh tells the kinds of the entries that version 1 counted.
    let known_of_version_1 = start.known_of_version_1.clone().filter(|_| known.is_none());
    // Kanidm refused these entries as a whole, so they were not sent without a value.
    let refused: HashSet<Uuid> =
        refused.iter().filter(|entry| !entry.is_partial).map(|entry| entry.uuid).collect();
    let sent = reading.content.dropped.iter().filter(|entry| !refused.contains(&entry.uuid));
    let mut dropped: Vec<Uuid> = sent.map(|entry| entry.sync_uuid).collect();
    dropped.sort_unstable();
    dropped.dedup();
    dropped.truncate(MAX_HELD);
    let yielded = yielded(start, reading);
    Envelope {
        cookie,
        fingerprint,
        known,
        roster,
        known_of_version_1,
        shown,
        matched,
        held,
        dropped,
        yielded,
        unfinished: None,
    }
}

/// The attributes that the run leaves out from the start.
fn yielded(start: &Start, reading: &Reading) -> Yielded {
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
    if reading.is_full() {
        return Roster::of(written);
    }
    let old = start.stored_roster.as_ref()?;
    let written: Vec<(Uuid, u16)> = written.collect();
    match &reading.retention {
        Retention::Ignore => old.updated(None, &[], &written),
        Retention::Delete(uuids) => old.updated(None, uuids, &written),
        Retention::Retain(uuids) => old.updated(Some(uuids), &[], &written),
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

/// Logs one line for each entry that an administrator should look at.
fn log_entries(report: &Report) {
    report.held.iter().for_each(log_held);
    for dropped in &report.dropped {
        warn!("left out of {} ({}): {}", dropped.dn, dropped.uuid, dropped.problem);
    }
    for skipped in &report.skipped {
        debug!("skipped {} ({}): {}", skipped.dn, skipped.uuid, skipped.reason);
    }
    if let ReadMode::Full(why) = &report.mode {
        debug!("full refresh: {why}");
    }
}

/// Warns that `invalid_entries = "hold"` also delays revocations.
fn warn_of_what_waits(content: &Content) {
    let held = |kind| content.held.iter().filter(|held| held.kind == kind).count() as u64;
    for (kind, one, keeps) in [
        (Kind::Person, "person", "their old passwords, SSH keys and addresses"),
        (Kind::Group, "group", "their old members"),
    ] {
        let n = held(kind);
        if n > 0 {
            warn!(
                "{} held back: {keeps} stay valid in Kanidm until the entries are mended. \
                 invalid_entries = \"drop-value\" leaves out only what is wrong",
                count(n, one)
            );
        }
    }
}

/// Logs the members that are not synchronised, at debug level.
fn log_out_of_scope(content: &Content) {
    for stranger in &content.out_of_scope {
        debug!(
            "not a member in Kanidm, because it is not synchronised: {} of {}",
            stranger.member, stranger.group
        );
    }
}

/// One sentence for each odd thing that an administrator should know about the directory or the
/// configuration.
pub(crate) fn remarks(config: &SyncConfig, reading: &Reading) -> Vec<String> {
    let mut remarks: Vec<String> =
        reading.not_followed.iter().map(|attribute| not_followed(attribute)).collect();
    remarks.extend(
        reading
            .unmapped_members
            .iter()
            .map(|(attribute, groups)| unmapped_members(config, attribute, *groups)),
    );
    if reading.is_full() {
        remarks.extend(reading.content.no_member());
        if reading.content.persons > 0 {
            remarks.extend(reading.content.users_of_other_classes());
        }
    }
    if reading.is_older {
        remarks.push(
            "the directory is older than what was read before: it lags behind its provider, or was restored. \
             Its newer changes arrive when it has caught up"
                .to_owned(),
        );
    }
    remarks
}

/// Groups that have members only in an attribute that is not read.
fn unmapped_members(config: &SyncConfig, attribute: &str, groups: u64) -> String {
    let mapping = &config.mapping.group;
    let holds_names = attribute == "memberUid";
    let names = mapping.schema == GroupSchema::Rfc2307;
    let remedy = match (holds_names, names) {
        (true, true) | (false, false) => {
            let all: Vec<String> = mapping.members.iter().map(String::as_str).chain([attribute]).map(|name| format!("{name:?}")).collect();
            format!("group_attr_member = [{}] reads both", all.join(", "))
        }
        (true, false) => {
            "group_attr_schema = \"rfc2307\" with group_attr_member = \"memberUid\" reads user names instead of DNs".to_owned()
        }
        (false, true) => {
            format!("group_attr_schema = \"rfc2307bis\" with group_attr_member = {attribute:?} reads DNs instead of user names")
        }
    };
    let verb = if groups == 1 { "has" } else { "have" };
    format!(
        "{} {verb} members only in {attribute}, which is not mapped. {remedy}",
        count(groups, "group")
    )
}

/// An attribute of the filter that incremental runs do not follow.
fn not_followed(attribute: &str) -> String {
    format!(
        "ldap_filter names {attribute}, which the server maintains: who comes into the filter or leaves it by {attribute} alone \
         is not noticed before the next full refresh. Set full_refresh_schedule, or filter on another attribute"
    )
}

/// Warns if no person is in scope: almost nobody wants groups alone.
fn warn_of_nobody(reading: &Reading) {
    let content = &reading.content;
    if reading.is_full()
        && content.persons == 0
        && content.held.is_empty()
        && let Some(others) = content.of_other_classes()
    {
        warn!("no person is among what is synchronised: {others}");
    }
}

fn log_held(held: &HeldEntry) {
    let problems: Vec<String> = held.problems.iter().map(ToString::to_string).collect();
    warn!("held back {} ({}): {}", held.dn, held.uuid, problems.join("; "));
}

/// Why a run failed.
#[derive(Debug)]
pub enum RunError {
    /// Kanidm did not return its state.
    State(KanidmError),
    /// The system gives no random numbers.
    NoRandom,
    /// The state that Kanidm has stored cannot be used.
    Stored(StateError),
    /// The directory could not be read.
    Directory(DirectoryError),
    /// `invalid_entries = "fail"`, and some entries are invalid.
    Invalid {
        /// All invalid entries.
        held: Vec<HeldEntry>,
    },
    /// The deletion guard refused.
    Refused(GuardRefusal),
    /// The upload ended early.
    Upload(UploadError),
}

impl RunError {
    /// The entries that made the run fail, if any did.
    pub fn held(&self) -> Vec<HeldEntry> {
        match self {
            RunError::Invalid { held } => held.clone(),
            RunError::Upload(UploadError::TooManyRefused { held, .. }) => {
                held.iter().map(held_by_kanidm).collect()
            }
            _ => Vec::new(),
        }
    }

    /// True if the failure is on Kanidm's side.
    pub fn is_kanidms(&self) -> bool {
        matches!(self, RunError::State(_) | RunError::Stored(_) | RunError::Upload(_))
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            RunError::Refused(_) => ExitCode::Refused,
            _ => ExitCode::Failure,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::NoRandom => f.write_str(
                "no random numbers: the system's random device does not answer. Check /dev/urandom",
            ),
            RunError::State(error) => write!(f, "reading the sync state from Kanidm: {error}"),
            RunError::Stored(error) => error.fmt(f),
            RunError::Directory(error) => error.fmt(f),
            RunError::Invalid { held } => write!(
                f,
                "{} entries are not valid for Kanidm and invalid_entries = \"fail\": nothing was sent; they are named above. \
                 Mend them in the directory, set invalid_entries to \"drop-value\", or exclude them, which deletes them in Kanidm",
                held.len()
            ),
            RunError::Refused(refusal) => refusal.fmt(f),
            RunError::Upload(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the tool's own lock means "busy". Here the run has read the directory, but its changes
    /// are not in Kanidm.
    #[test]
    fn a_run_that_another_one_cut_off_has_failed() {
        assert_eq!(RunError::Upload(UploadError::Interrupted).exit_code(), ExitCode::Failure);
    }

    #[test]
    fn entries_at_fault_are_named_also_where_the_search_for_them_was_given_up() {
        let held: Vec<HeldByKanidm> = (0..12)
            .map(|n| HeldByKanidm {
                uuid: Uuid::from_u128(n),
                dn: format!("uid={n}"),
                reason: "taken".to_owned(),
                is_absent: false,
                is_partial: false,
            })
            .collect();
        let error = RunError::Upload(UploadError::TooManyRefused { posts: 9, held });
        let named = error.held();
        let last = named.last().map(|h| (h.uuid, h.dn.as_str(), h.problems[0].rule.as_str()));
        assert_eq!((named.len(), last), (12, Some((Uuid::from_u128(11), "uid=11", "taken"))));
    }
}
