//! Reading the directory: the refresh, then the searches that complete it.
//!
//! Scope: the order of the steps, and the reasons to start over. [`crate::directory`] speaks the
//! protocol, [`crate::mapping`] knows the rules of an entry, and `inspect` checks the result.

use std::collections::{BTreeMap, HashSet};

use log::{debug, info};
use uuid::Uuid;

use ldap_content_sync::sync_session::{Cookie, NextCookie, Provider, RefreshOutcome};

use super::complete::{
    StillContested, come_back, complete_refresh, not_found, still_contested, still_dropped,
};
use super::inspect;
use super::listing::{self, Listing, ListingChange};
use super::lookup::Lookup;
use super::observe::{Observer, ReadStep};
use super::report::ReadMode;
use super::retention::{self, Stated};
use super::start::Start;
use super::tokens::read_tokens;
use crate::config::sync::SyncConfig;
use crate::content::changeset::Kind;
use crate::content::shown::{Mask, Role};
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::refresh::Refresh;
use crate::kanidm::buckets::Buckets;
use crate::kanidm::request::Retention;
use crate::mapping::{Content, Dropped, EntryProblem, Held, MAX_MEMBERS, Mapper};

/// Maximum attempts of an incremental run while 389 keeps changing. Later changes wait for the next
/// run.
const MOST_ROUNDS: usize = 3;

/// The mapped answer of the directory.
#[derive(Debug)]
pub struct Reading {
    /// The entries to write, and those that are held, skipped or sent without a value.
    pub content: Content,
    /// The entries that Kanidm keeps or deletes.
    pub retention: Retention,
    /// Incremental or full, and why.
    pub mode: ReadMode,
    /// The cookie to store; `None` if the directory gave none that can be stored.
    pub cookie: Option<Vec<u8>>,
    /// Number of entries that the directory reported as deleted.
    pub deleted: usize,
    /// Entries that an earlier run held and that this run did not find. Directory UUIDs.
    pub not_found: Vec<Uuid>,
    /// Entries that an earlier run held, that have not changed, and that this run read again.
    /// Directory UUIDs.
    pub read_again: Vec<Uuid>,
    /// Groups that have not changed and that this run reads only because they name a changed
    /// person. Directory UUIDs.
    pub for_members: HashSet<Uuid>,
    /// Number of entries received, by the refresh and by the searches that complete it.
    pub read: u64,
    /// Attributes that many entries had and that no entry shows now. Only an incremental run
    /// searches for them; a full refresh counts them.
    pub shown_by_nobody: Vec<Role>,
    /// Lock attributes, and the one that names TOTP tokens, that are hidden now. Each with the number
    /// of persons that it locked or protected.
    pub hidden_locks: Vec<(Role, u64)>,
    /// The entries that match a filter on a computed attribute.
    pub matched: Option<Buckets>,
    /// Attributes of the filter that the server computes and no run follows. Only a full refresh
    /// searches for them.
    pub not_followed: Vec<String>,
    /// Member attributes that are not mapped, each with the number of groups that have members only
    /// there. Only a full refresh searches for them.
    pub unmapped_members: Vec<(&'static str, u64)>,
    /// True if members do not resolve although the directory has them in scope: `group_attr_schema`
    /// reads them in another way than they are written. Checked only if many do not resolve.
    pub misread_members: bool,
    /// True if the directory reports no change and is older than an earlier run has read.
    pub is_older: bool,
}

impl Reading {
    /// True if the whole content was read.
    pub fn is_full(&self) -> bool {
        matches!(self.mode, ReadMode::Full(_))
    }
}

/// Reads a connected directory from the place that `start` names.
///
/// # Errors
/// The directory failed, or a full refresh shows an older directory than an earlier run has read.
/// Everything read before the error is void.
pub fn read_from(
    directory: &mut Directory,
    config: &SyncConfig,
    start: &Start,
    observer: &mut Observer<'_>,
) -> Result<Reading, DirectoryError> {
    let mut attributes = Mapper::attributes(&config.mapping);
    attributes.push(directory.uuid_attribute().to_owned());
    let attributes: Vec<&str> = attributes.iter().map(String::as_str).collect();

    let mut mode = match &start.full_because {
        Some(why) => ReadMode::Full(why.clone()),
        None => ReadMode::Incremental,
    };
    let mut round = 1;
    loop {
        let attempt = Attempt {
            directory,
            config,
            start,
            attributes: &attributes,
            mode: &mode,
            is_last_round: round >= MOST_ROUNDS,
        };
        let reason = match attempt.read(observer) {
            Ok(reading) => return Ok(reading),
            Err(NoReading::Failed(error)) => return Err(error),
            Err(NoReading::StartOver(reason)) => reason,
        };
        observer(ReadStep::StartedOver);
        match reason {
            StartOver::CookieRefused(why) | StartOver::FilterChanged(why) => {
                mode = ReadMode::Full(why)
            }
            StartOver::DirectoryChanged => round += 1,
        }
    }
}

/// Why an attempt is void and the next one begins.
///
/// Only an incremental attempt starts over. The first two reasons make the next attempt a full one,
/// and [`MOST_ROUNDS`] limits the third, so the attempts come to an end.
#[derive(Debug)]
enum StartOver {
    /// The directory asks for a full refresh, or its changes since the cookie are not known.
    CookieRefused(String),
    /// Too many entries may have come into a filter on a computed attribute.
    FilterChanged(String),
    /// The directory took a change after it gave the cookie, while groups were read.
    DirectoryChanged,
}

/// Why an attempt has no result.
#[derive(Debug)]
enum NoReading {
    StartOver(StartOver),
    Failed(DirectoryError),
}

impl From<DirectoryError> for NoReading {
    fn from(error: DirectoryError) -> NoReading {
        NoReading::Failed(error)
    }
}

/// One attempt to read the directory, with everything that it depends on.
pub(super) struct Attempt<'a> {
    pub(super) directory: &'a mut Directory,
    pub(super) config: &'a SyncConfig,
    pub(super) start: &'a Start,
    /// The attributes to request.
    attributes: &'a [&'a str],
    mode: &'a ReadMode,
    /// True if this attempt must not start over because the directory keeps changing.
    is_last_round: bool,
}

/// The entries of earlier runs that an incremental run looks at again. All UUIDs are those of the
/// directory.
#[derive(Default)]
struct Earlier {
    /// Held, unchanged, and read again.
    read_again: Vec<Uuid>,
    /// Groups read only because they name a changed person.
    for_members: HashSet<Uuid>,
    /// Sent without a value that another entry still has.
    still: StillContested,
    /// Sent without a bad value, and unchanged since.
    dropped: Vec<Dropped>,
    /// Read by a search, and changed after the cookie. They wait for the next run.
    later: Vec<Uuid>,
}

impl<'a> Attempt<'a> {
    pub(super) fn lookup(&mut self) -> Lookup<'_> {
        Lookup {
            directory: self.directory,
            config: &self.config.directory,
            mapping: &self.config.mapping,
            attributes: self.attributes,
        }
    }

    fn is_full(&self) -> bool {
        matches!(self.mode, ReadMode::Full(_))
    }

    fn mapper(&self) -> Mapper<'a> {
        let prepares = self.directory.provider() != Provider::Ds389;
        Mapper::new(&self.config.mapping, self.is_full())
            .preparing(prepares)
            .bound_as(self.directory.bound_as())
            .with_member_bytes(self.config.directory.max_message.saturating_mul(MAX_MEMBERS))
            .with_unusable_hash(self.start.unusable_hash.as_deref())
    }

    /// The steps of an attempt, in order.
    fn read(mut self, observer: &mut Observer<'_>) -> Result<Reading, NoReading> {
        let config = self.config;
        let mut mapper = self.mapper();
        let mut read = 0;
        let mut observer = |step: ReadStep<'_>| {
            read += u64::from(matches!(step, ReadStep::Received(..)));
            observer(step);
        };
        let (mut outcome, mut twice) = self.refresh(&mut mapper, &mut observer)?;
        // The deletion of a received entry came after the entry, so it counts. An entry that only
        // the later searches return has come back.
        let mut void = received_and_gone(&outcome, &mapper);
        let matched = self.follow_filter(&mut mapper, &mut outcome, &mut void, &mut observer)?;
        let mut earlier = Earlier::default();
        if !self.is_full() {
            earlier =
                self.complete_increment(&mut mapper, &outcome, matched.is_some(), &mut observer)?;
            come_back(&mut outcome, &mapper, &void);
        }
        void.append(&mut earlier.later);
        read_tokens(self.directory, &mut mapper)?;
        let mut reading = self.finish(mapper, outcome, &void, read);
        reading.matched = matched;
        reading.read_again = std::mem::take(&mut earlier.read_again);
        reading.for_members = std::mem::take(&mut earlier.for_members);
        name_again(&mut reading.content, earlier, &void);
        let contested: HashSet<Uuid> =
            reading.content.contested.iter().map(|entry| entry.sync_uuid).collect();
        reading.not_found.retain(|uuid| !contested.contains(uuid));
        twice.retain(|uuid, _| !void.contains(uuid));
        reading.content.hold(
            twice.into_iter().map(|(uuid, dn)| sent_twice(config, uuid, dn)).collect(),
            &config.mapping,
        );
        inspect::inspect(&mut self, &mut reading)?;
        Ok(reading)
    }

    /// The refresh itself. Also returns the entries that it sent more than once, with their DNs.
    fn refresh(
        &mut self,
        mapper: &mut Mapper<'_>,
        observer: &mut Observer<'_>,
    ) -> Result<(RefreshOutcome, BTreeMap<Uuid, String>), NoReading> {
        let cookie = if self.is_full() { None } else { self.start.cookie.as_deref() };
        let mut twice = BTreeMap::new();
        let refresh = self.directory.refresh(self.attributes, cookie, &mut |uuid, entry| {
            observer(ReadStep::Received(uuid, entry));
            if !mapper.entry(uuid, entry) {
                twice.insert(uuid, entry.dn().to_owned());
            }
        })?;
        match refresh {
            Refresh::Done(outcome) if self.is_full() && is_older(&outcome.cookie, self.start) => {
                Err(self.directory.behind().into())
            }
            Refresh::Done(outcome) => Ok((outcome, twice)),
            Refresh::Required { reason } => {
                info!("the directory asks for a full refresh: {reason}");
                Err(NoReading::StartOver(StartOver::CookieRefused(reason)))
            }
        }
    }

    /// Reads the entries that came into a filter on a computed attribute, and adds those that left
    /// it to `void`. Returns the entries that match, for the next run.
    fn follow_filter(
        &mut self,
        mapper: &mut Mapper<'_>,
        outcome: &mut RefreshOutcome,
        void: &mut Vec<Uuid>,
        observer: &mut Observer<'_>,
    ) -> Result<Option<Buckets>, NoReading> {
        let (config, before) = (&self.config.directory, self.start.matched.as_ref());
        let full = self.is_full();
        let Some(listing) = listing::list(self.directory, config, before, full)? else {
            return Ok(None);
        };
        if let ListingChange::TooMuch(reason) = listing.change {
            info!("reading everything: {reason}");
            return Err(NoReading::StartOver(StartOver::FilterChanged(reason)));
        }
        void.extend(take_listing(&listing, &mut self.lookup(), mapper, outcome, observer)?);
        void.sort_unstable();
        void.dedup();
        Ok(Some(listing.buckets))
    }

    /// Completes an incremental refresh, and looks at the entries of earlier runs again.
    fn complete_increment(
        &mut self,
        mapper: &mut Mapper<'_>,
        outcome: &RefreshOutcome,
        is_listed: bool,
        observer: &mut Observer<'_>,
    ) -> Result<Earlier, NoReading> {
        let start = self.start;
        let sent: HashSet<&Uuid> = start.dropped.iter().collect();
        let held: Vec<Uuid> =
            start.held.iter().filter(|uuid| !mapper.contains(uuid)).copied().collect();
        let sent: Vec<Uuid> = held.iter().filter(|uuid| sent.contains(uuid)).copied().collect();
        let still = still_contested(&mut self.lookup(), start, &sent)?;
        let named: HashSet<Uuid> = still.contested.iter().map(|entry| entry.sync_uuid).collect();
        let is_named = |uuid: &Uuid| named.contains(uuid);
        let read_again: Vec<Uuid> = held.into_iter().filter(|uuid| !is_named(uuid)).collect();
        let completed =
            complete_refresh(&mut self.lookup(), mapper, start, (&read_again, outcome), observer)?;
        let unchanged: Vec<Uuid> = start
            .dropped
            .iter()
            .filter(|uuid| !mapper.contains(uuid) && !is_named(uuid))
            .copied()
            .collect();
        let dropped = still_dropped(&mut self.lookup(), &unchanged)?;
        // With a listing, every run sees which entries are gone, so it needs no second reading.
        let later = match is_listed {
            true => Vec::new(),
            false => self.changed_meanwhile(&completed, &outcome.cookie)?,
        };
        let for_members = completed;
        Ok(Earlier { read_again, for_members, still, dropped, later })
    }

    /// Starts over if the directory changed after it gave the cookie: the cookie must cover the
    /// `completed` entries. The last round leaves the changed ones to the next run and returns
    /// them.
    fn changed_meanwhile(
        &mut self,
        completed: &HashSet<Uuid>,
        cookie: &NextCookie,
    ) -> Result<Vec<Uuid>, NoReading> {
        if completed.is_empty() || !self.directory.is_ahead_of(cookie)? {
            return Ok(Vec::new());
        }
        if !self.is_last_round {
            debug!("the directory changed while groups were read: reading again");
            return Err(NoReading::StartOver(StartOver::DirectoryChanged));
        }
        let mut later = changed_since(self.directory, cookie, self.attributes)?;
        later.retain(|uuid| completed.contains(uuid));
        debug!("the directory keeps changing: the next run reads {} groups", later.len());
        Ok(later)
    }

    /// Maps the groups, and computes the entries that Kanidm keeps or deletes.
    fn finish(
        &self,
        mapper: Mapper<'_>,
        outcome: RefreshOutcome,
        void: &[Uuid],
        read: u64,
    ) -> Reading {
        let not_found = if self.is_full() {
            Vec::new()
        } else {
            not_found(&self.start.held, &mapper, &outcome)
        };
        let mut content = mapper.finish();
        content.forget(void, &self.config.mapping);
        let skipped: Vec<Uuid> = content.skipped.iter().map(|s| s.sync_uuid).collect();
        let stated = Stated {
            present: outcome.present.as_deref(),
            deleted: &outcome.deleted,
            skipped: &skipped,
        };
        let retention = retention::retention(&stated, &self.config.mapping);
        let cookie = match outcome.cookie {
            NextCookie::New(cookie) => Some(cookie),
            NextCookie::Absent if !self.is_full() => self.start.cookie.clone(),
            NextCookie::Absent | NextCookie::Unusable => None,
        };
        Reading {
            content,
            retention,
            mode: self.mode.clone(),
            cookie,
            deleted: outcome.deleted.len(),
            not_found,
            read_again: Vec::new(),
            for_members: HashSet::new(),
            read,
            shown_by_nobody: Vec::new(),
            hidden_locks: Vec::new(),
            matched: None,
            not_followed: Vec::new(),
            unmapped_members: Vec::new(),
            misread_members: false,
            is_older: false,
        }
    }
}

/// Adds the entries of earlier runs that still lack a value, so that the report names them. An
/// entry that this run writes or loses is not among them.
fn name_again(content: &mut Content, earlier: Earlier, void: &[Uuid]) {
    let Earlier { still, mut dropped, .. } = earlier;
    let StillContested { mut contested, dropped: mut contested_values, mut hidden_tokens } = still;
    let written: HashSet<Uuid> = match contested.is_empty() {
        true => HashSet::new(),
        false => content.changes.records().iter().map(|record| record.uuid).collect(),
    };
    contested.retain(|entry| !void.contains(&entry.sync_uuid) && !written.contains(&entry.uuid));
    let named: HashSet<Uuid> = contested.iter().map(|entry| entry.sync_uuid).collect();
    contested_values.retain(|entry| named.contains(&entry.sync_uuid));
    hidden_tokens.retain(|uuid| named.contains(uuid));
    dropped.retain(|entry| !void.contains(&entry.sync_uuid));
    content.hidden_tokens.append(&mut hidden_tokens);
    content.contested.append(&mut contested);
    content.dropped.append(&mut contested_values);
    content.dropped.append(&mut dropped);
}

/// Reads the entries that came into a filter on a computed attribute, and replaces the present set
/// with the listing. Returns the received entries that do not match any more.
fn take_listing(
    listing: &Listing,
    lookup: &mut Lookup<'_>,
    mapper: &mut Mapper<'_>,
    outcome: &mut RefreshOutcome,
    observer: &mut Observer<'_>,
) -> Result<Vec<Uuid>, DirectoryError> {
    let gone: Vec<Uuid> =
        mapper.received().filter(|uuid| listing.matching.binary_search(uuid).is_err()).collect();
    if let ListingChange::Among(among) = &listing.change {
        let came: Vec<Uuid> = among.iter().filter(|uuid| !mapper.contains(uuid)).copied().collect();
        if !came.is_empty() {
            debug!("reading {} entries that may have come into the filter", came.len());
            lookup.read_again(&came, mapper, observer)?;
        }
    }
    // A server that does not follow the attribute has a wrong present set, too.
    if listing.change != ListingChange::None || outcome.present.is_some() {
        outcome.present = Some(listing.matching.clone());
    }
    Ok(gone)
}

/// The entries that the refresh sent and then reported as deleted or absent; sorted.
fn received_and_gone(outcome: &RefreshOutcome, mapper: &Mapper<'_>) -> Vec<Uuid> {
    let gone = |uuid: &Uuid| match &outcome.present {
        Some(present) => present.binary_search(uuid).is_err(),
        None => outcome.deleted.binary_search(uuid).is_ok(),
    };
    let mut void: Vec<Uuid> = if outcome.deletions_reported == 0 && outcome.deleted.is_empty() {
        Vec::new()
    } else {
        mapper.received().filter(gone).collect()
    };
    void.sort_unstable();
    void
}

/// True if a full refresh shows an older directory than an earlier run has read: a restored one, or
/// a replica that lags. The run would delete everything that such a directory lacks.
///
/// A refresh with a cookie needs no check here: slapd or the session reports it. A slapd that gives
/// no cookie is still empty.
fn is_older(answer: &NextCookie, start: &Start) -> bool {
    match (&start.not_older_than, answer) {
        (Some(stored), NextCookie::New(cookie)) => {
            Cookie::parse(cookie).is_behind_in_full(&Cookie::parse(stored))
        }
        (Some(stored), NextCookie::Absent) => Cookie::parse(stored).snapshot().is_some(),
        _ => false,
    }
}

/// Holds an entry that came twice, perhaps because it changed during the refresh. The mapper kept
/// the first one. No known server does this. The next run reads every held entry again.
fn sent_twice(config: &SyncConfig, sync_uuid: Uuid, dn: String) -> Held {
    let rule =
        "the directory sent this entry more than once in one refresh; the next run reads it again"
            .to_owned();
    let problems = vec![EntryProblem { attribute: "dn".to_owned(), rule }];
    // Content::hold fills in the kind of the received entry.
    let (uuid, kind, shown) =
        (config.mapping.kanidm_uuid(sync_uuid), Kind::Person, Mask::default());
    Held { uuid, sync_uuid, kind, shown, dn, problems, ended: None }
}

/// The entries that a run from this cookie would receive or delete.
fn changed_since(
    directory: &mut Directory,
    cookie: &NextCookie,
    attributes: &[&str],
) -> Result<Vec<Uuid>, NoReading> {
    let NextCookie::New(cookie) = cookie else { return Ok(Vec::new()) };
    let mut uuids = Vec::new();
    match directory.refresh(attributes, Some(cookie), &mut |uuid, _| uuids.push(uuid))? {
        Refresh::Done(outcome) => {
            uuids.extend(outcome.deleted);
            Ok(uuids)
        }
        Refresh::Required { reason } => Err(NoReading::StartOver(StartOver::CookieRefused(reason))),
    }
}
