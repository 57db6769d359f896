//! Reading the directory: the refresh, and what has to be read beside it so that memberships and
//! held entries are exact.
//!
//! Scope: the order of the steps. The protocol is [`crate::directory`]'s, the rules of an entry are
//! [`crate::mapping`]'s.

use std::collections::{BTreeMap, HashSet};

use log::{debug, info};
use uuid::Uuid;

use ldap_content_sync::sync_session::{Cookie, NextCookie, Provider, RefreshOutcome};

use super::attributes;
use super::guard::allowed_losses;
use super::listing::{self, Change, Listing};
use super::lookup::Lookup;
use super::observe::{Observer, Step};
use super::report::Mode;
use super::retention::{self, Stated};
use super::start::Start;
use crate::config::sync::SyncConfig;
use crate::content::changeset::Kind;
use crate::content::shown::{Mask, Role};
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::refresh::Refresh;
use crate::kanidm::buckets::Buckets;
use crate::kanidm::request::Retention;
use crate::mapping::shown::roles;
use crate::mapping::{Changed, Content, Contested, Dropped, Held, MAX_MEMBERS, Mapper, Problem};

/// How often an incremental run reads the changes because 389 has taken another one since it gave
/// the cookie, before it leaves what is newer than the cookie to the next run.
const MOST_ROUNDS: usize = 3;

/// What the directory said, mapped.
#[derive(Debug)]
pub struct Reading {
    /// What to write, and what not.
    pub content: Content,
    /// What goes.
    pub retention: Retention,
    /// Incremental or full, and why.
    pub mode: Mode,
    /// The cookie to store; `None` where the directory gave none to store.
    pub cookie: Option<Vec<u8>>,
    /// How many entries the directory named as deleted.
    pub deleted: usize,
    /// Entries that an earlier run held back and this one did not find, by their UUIDs in the
    /// directory.
    pub not_found: Vec<Uuid>,
    /// Entries that earlier runs held back and that have not changed since, by their UUIDs in the
    /// directory.
    pub read_again: Vec<Uuid>,
    /// Entries received: by the refresh, and read beside it.
    pub read: u64,
    /// Attributes that many entries had and that nobody shows any more. An increment looks for
    /// them; a full refresh counts.
    pub shown_by_nobody: Vec<Role>,
    /// Lock attributes that are hidden now, and from how many persons whom they locked.
    pub hidden_locks: Vec<(Role, u64)>,
    /// Who matches a filter on a computed attribute.
    pub matched: Option<Buckets>,
    /// Attributes of the filter that the server computes and no run follows; looked for in a full
    /// refresh.
    pub not_followed: Vec<String>,
    /// Attributes with members that are not mapped, and how many groups have members only there;
    /// looked for in a full refresh.
    pub unmapped_members: Vec<(&'static str, u64)>,
    /// Members that are not found, though the directory has them in scope: they are read in another
    /// way than they are written. Looked for where many are not found.
    pub misread_members: bool,
    /// The directory says that nothing has changed, and is older than what was read before.
    pub is_older: bool,
}

impl Reading {
    /// Whether the whole content was read.
    pub fn is_full(&self) -> bool {
        matches!(self.mode, Mode::Full(_))
    }
}

/// Reads a directory that is connected, from where `start` says.
///
/// # Errors
/// What was read until then is void.
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
        Some(why) => Mode::Full(why.clone()),
        None => Mode::Incremental,
    };
    let mut rounds = 1;
    loop {
        let full = matches!(mode, Mode::Full(_));
        let cookie = if full { None } else { start.cookie.as_deref() };
        let prepares = directory.provider() != Provider::Ds389;
        let bound_as = directory.bound_as().map(str::to_owned);
        let mapper =
            Mapper::new(&config.mapping, full).preparing(prepares).bound_as(bound_as.as_deref());
        let mapper =
            mapper.with_member_bytes(config.directory.max_message.saturating_mul(MAX_MEMBERS));
        let mut mapper = mapper.with_unusable_hash(start.unusable_hash.as_deref());
        let mut read = 0;
        let mut observer = |step: Step<'_>| {
            match step {
                Step::Received(..) => read += 1,
                Step::StartedOver => read = 0,
            }
            observer(step);
        };
        let mut twice: BTreeMap<Uuid, String> = BTreeMap::new();
        let refresh = directory.refresh(&attributes, cookie, &mut |uuid, entry| {
            observer(Step::Received(uuid, entry));
            if !mapper.entry(uuid, entry) {
                twice.insert(uuid, entry.dn().to_owned());
            }
        })?;
        let mut outcome = match refresh {
            Refresh::Done(outcome) => outcome,
            // Only a refresh with a cookie can ask for this, so it happens once.
            Refresh::Required { reason } => {
                info!("the directory asks for a full refresh: {reason}");
                observer(Step::StartedOver);
                mode = Mode::Full(reason);
                continue;
            }
        };
        if full && is_older(&outcome.cookie, start) {
            return Err(directory.behind());
        }
        // The deletion of an entry that was received came behind it, and counts. One that was not
        // received, and turns up in what is read beside the refresh, has come back.
        let mut void = received_and_gone(&outcome, &mapper);
        let mut later = Vec::new();
        let mut read_again = Vec::new();
        let mut dropped_before = Vec::new();
        let (mut contested_before, mut still_without_value): (Vec<Dropped>, Vec<Contested>) =
            Default::default();
        let mut matched = None;
        let listing = listing::list(directory, &config.directory, start.matched.as_ref(), full)?;
        if let Some(Listing { change: Change::TooMuch(reason), .. }) = listing {
            info!("reading everything: {reason}");
            observer(Step::StartedOver);
            mode = Mode::Full(reason);
            continue;
        }
        let is_listed = listing.is_some();
        let mut lookup = Lookup {
            directory,
            config: &config.directory,
            mapping: &config.mapping,
            attributes: &attributes,
        };
        if let Some(listing) = listing {
            void.extend(take_listing(
                &listing,
                &mut lookup,
                &mut mapper,
                &mut outcome,
                &mut observer,
            )?);
            void.sort_unstable();
            void.dedup();
            matched = Some(listing.buckets);
        }
        if !full {
            let held_before: Vec<Uuid> =
                start.held.iter().filter(|uuid| !mapper.contains(uuid)).copied().collect();
            let contested: Vec<Contested>;
            let sent: HashSet<&Uuid> = start.dropped.iter().collect();
            let sent: Vec<Uuid> =
                held_before.iter().filter(|uuid| sent.contains(uuid)).copied().collect();
            (contested, contested_before) = still_contested(&mut lookup, &sent, prepares)?;
            read_again = held_before
                .into_iter()
                .filter(|uuid| !contested.iter().any(|entry| entry.sync_uuid == *uuid))
                .collect();
            still_without_value = contested;
            let beside = complete(&mut lookup, &mut mapper, &read_again, &mut observer)?;
            let is_named =
                |uuid: &Uuid| still_without_value.iter().any(|entry| entry.sync_uuid == *uuid);
            let unchanged: Vec<Uuid> = start
                .dropped
                .iter()
                .filter(|uuid| !mapper.contains(uuid) && !is_named(uuid))
                .copied()
                .collect();
            dropped_before = still_dropped(&mut lookup, &unchanged, prepares)?;
            // A list shows in every run who is gone, reported or not.
            if !beside.is_empty() && !is_listed && directory.is_ahead_of(&outcome.cookie)? {
                if rounds < MOST_ROUNDS {
                    debug!(
                        "the directory has changed while groups were read: once more, so that the cookie covers them"
                    );
                    observer(Step::StartedOver);
                    rounds += 1;
                    continue;
                }
                match named_since(directory, &outcome.cookie, &attributes)? {
                    Named::These(uuids) => {
                        later.extend(uuids.into_iter().filter(|uuid| beside.contains(uuid)))
                    }
                    Named::Unknown(reason) => {
                        observer(Step::StartedOver);
                        mode = Mode::Full(reason);
                        continue;
                    }
                }
                debug!(
                    "the directory does not come to rest: {} groups are left to the next run",
                    later.len()
                );
            }
            come_back(&mut outcome, &mapper, &void);
        }
        void.extend(later);
        let mut reading = finish(config, mapper, outcome, &void, mode, start, read);
        let written: HashSet<Uuid> = match still_without_value.is_empty() {
            true => HashSet::new(),
            false => reading.content.changes.records().iter().map(|record| record.uuid).collect(),
        };
        still_without_value
            .retain(|entry| !void.contains(&entry.sync_uuid) && !written.contains(&entry.uuid));
        contested_before.retain(|entry| {
            still_without_value.iter().any(|other| other.sync_uuid == entry.sync_uuid)
        });
        reading.content.contested.extend(still_without_value);
        reading.content.dropped.extend(contested_before);
        reading
            .content
            .dropped
            .extend(dropped_before.into_iter().filter(|entry| !void.contains(&entry.sync_uuid)));
        twice.retain(|uuid, _| !void.contains(uuid));
        reading.content.hold(
            twice.into_iter().map(|(uuid, dn)| sent_twice(config, uuid, dn)).collect(),
            &config.mapping,
        );
        let roles = roles(&config.mapping);
        let mut lookup = Lookup {
            directory,
            config: &config.directory,
            mapping: &config.mapping,
            attributes: &attributes,
        };
        reading.hidden_locks = hidden_locks(
            &mut lookup,
            &attributes::unlocked(&roles, &start.shown, &reading.content, full),
        )?;
        if !full {
            let doubtful = attributes::doubtful(
                &roles,
                &start.shown,
                &reading.content,
                config.max_delete_percent,
            );
            for role in lookup.shown_by_nobody(&doubtful)? {
                // All locks may be lifted at once, as long as the account can see that.
                let without = attributes::without_value(&role, &reading.content);
                let is_hidden =
                    !role.is_lock || !hidden_locks(&mut lookup, &[(&role, without)])?.is_empty();
                if is_hidden {
                    reading.shown_by_nobody.push(role);
                }
            }
        }
        let (before, now) = (start.shown.memberships, attributes::memberships_of(&reading.content));
        if let Some(lost) = attributes::newly_unresolved(before, now).filter(|_| !full)
            && lost.lost > allowed_losses(lost.had, config.max_delete_percent)
        {
            let goes: &[Uuid] =
                if let Retention::Delete(uuids) = &reading.retention { uuids } else { &[] };
            reading.misread_members = lookup.are_in_scope(&reading.content.out_of_scope)?
                || hides_persons(&mut lookup, &roles, start, goes, config)?;
        }
        if full {
            if attributes::memberships(before, now).is_some() {
                reading.misread_members = lookup.are_in_scope(&reading.content.out_of_scope)?;
            }
            if attributes::some_group_shows_no_member(&roles, &reading.content) {
                reading.unmapped_members = lookup.unmapped_members()?;
            }
            reading.not_followed = listing::not_followed(directory, &config.directory)?;
        } else if reading.cookie == start.cookie {
            reading.is_older = lags(directory, start)?;
        }
        return Ok(Reading { read_again, matched, ..reading });
    }
}

/// Which locks were not lifted, but cannot be read any more.
fn hidden_locks(
    lookup: &mut Lookup<'_>,
    unlocked: &[(&Role, Vec<Uuid>)],
) -> Result<Vec<(Role, u64)>, DirectoryError> {
    let mut hidden = Vec::new();
    for (role, uuids) in unlocked {
        let uuids: Vec<Uuid> = uuids.iter().map(|uuid| lookup.mapping.sync_uuid(*uuid)).collect();
        match lookup.hidden(&role.attribute, &uuids)? {
            0 => {}
            n => hidden.push((Role::clone(role), n as u64)),
        }
    }
    Ok(hidden)
}

/// Reads who came into a filter on a computed attribute, and takes the list for what is present.
/// Returns who was received and does not match any more.
fn take_listing(
    listing: &Listing,
    lookup: &mut Lookup<'_>,
    mapper: &mut Mapper<'_>,
    outcome: &mut RefreshOutcome,
    observer: &mut Observer<'_>,
) -> Result<Vec<Uuid>, DirectoryError> {
    let gone: Vec<Uuid> =
        mapper.received().filter(|uuid| listing.matching.binary_search(uuid).is_err()).collect();
    if let Change::Among(among) = &listing.change {
        let came: Vec<Uuid> = among.iter().filter(|uuid| !mapper.contains(uuid)).copied().collect();
        if !came.is_empty() {
            debug!("reading {} entries that may have come into the filter", came.len());
            lookup.read_again(&came, mapper, observer)?;
        }
    }
    // A server that does not follow the attribute does not know who is present, either.
    if listing.change != Change::None || outcome.present.is_some() {
        outcome.present = Some(listing.matching.clone());
    }
    Ok(gone)
}

/// What the refresh handed out and then said to be gone; sorted.
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

/// What was received beside the refresh, behind it, is there: it is not deleted for being absent
/// from the refresh, nor because that named it.
fn come_back(outcome: &mut RefreshOutcome, mapper: &Mapper<'_>, void: &[Uuid]) {
    let is_void = |uuid: &Uuid| void.binary_search(uuid).is_ok();
    outcome.deleted.retain(|uuid| is_void(uuid) || !mapper.contains(uuid));
    if let Some(present) = &mut outcome.present {
        present.extend(mapper.received().filter(|uuid| !is_void(uuid)));
        present.sort_unstable();
        present.dedup();
    }
}

/// Whether a full refresh shows an older directory than an earlier run has read: one that was
/// restored, or a replica that lags. What it lacks would be deleted. To a refresh with a cookie
/// slapd, or the session, says so itself. A slapd without a cookie has not been filled yet.
fn is_older(answer: &NextCookie, start: &Start) -> bool {
    match (&start.not_older_than, answer) {
        (Some(stored), NextCookie::New(cookie)) => {
            Cookie::parse(cookie).is_behind_in_full(&Cookie::parse(stored))
        }
        (Some(stored), NextCookie::Absent) => Cookie::parse(stored).snapshot().is_some(),
        _ => false,
    }
}

/// Whether persons whom Kanidm has are out of sight, or their names are: groups then lose their
/// members. `goes`: those that this run deletes.
fn hides_persons(
    lookup: &mut Lookup<'_>,
    roles: &[Role],
    start: &Start,
    goes: &[Uuid],
    config: &SyncConfig,
) -> Result<bool, DirectoryError> {
    let names: Vec<&Role> =
        roles.iter().filter(|role| role.key == "person_attr_user_name").collect();
    if !lookup.shown_by_nobody(&names)?.is_empty() {
        return Ok(true);
    }
    let Some(known) = &start.known else { return Ok(false) };
    let stay: Vec<Uuid> = known
        .persons
        .sample()
        .filter(|uuid| !goes.contains(uuid))
        .map(|uuid| config.mapping.sync_uuid(uuid))
        .collect();
    let seen = lookup.count_in_scope(&stay)?;
    let hidden = known.persons.scale(stay.len().saturating_sub(seen));
    Ok(hidden > allowed_losses(known.persons.count(), config.max_delete_percent))
}

/// Whether slapd is older than what was read before. It says so itself only when it has changes.
fn lags(directory: &mut Directory, start: &Start) -> Result<bool, DirectoryError> {
    let Some(stored) =
        start.cookie.as_ref().filter(|cookie| Cookie::parse(cookie).snapshot().is_some())
    else {
        return Ok(false);
    };
    let now = directory.context_csn()?;
    Ok(now.is_some_and(|now| Cookie::parse(&now).is_behind_in_full(&Cookie::parse(stored))))
}

/// An entry that changed while it was read, perhaps: the mapper has kept the first of what came. No
/// server known to us does that. The next run reads it again, as it does with whatever is held.
fn sent_twice(config: &SyncConfig, sync_uuid: Uuid, dn: String) -> Held {
    let rule =
        "the directory sent this entry more than once in one refresh; the next run reads it again"
            .to_owned();
    let problems = vec![Problem { attribute: "dn".to_owned(), rule }];
    // The kind is that of what was received; Content::hold fills it in.
    let (uuid, kind, shown) =
        (config.mapping.kanidm_uuid(sync_uuid), Kind::Person, Mask::default());
    Held { uuid, sync_uuid, kind, shown, dn, problems, ended: None }
}

/// What an incremental run reads beside the refresh: which groups that were, and no earlier run
/// need have read them.
fn complete(
    lookup: &mut Lookup<'_>,
    mapper: &mut Mapper<'_>,
    held: &[Uuid],
    observer: &mut Observer<'_>,
) -> Result<HashSet<Uuid>, DirectoryError> {
    // A held entry that has moved may have the DN by which groups name another one.
    let mut changed: Vec<Changed> = mapper.changed(true).collect();
    if !held.is_empty() {
        debug!("reading {} held entries again", held.len());
        lookup.owners(held, mapper)?;
        lookup.read_again(held, mapper, observer)?;
    }
    // Taken before the groups that name them are added: those have not changed themselves.
    let known_dns: HashSet<String> = changed.iter().map(|entry| entry.dn.clone()).collect();
    changed.extend(mapper.changed(false).filter(|entry| !known_dns.contains(&entry.dn)));
    let known: HashSet<Uuid> = mapper.received().collect();
    if !changed.is_empty() {
        lookup.groups_naming(&changed, mapper, observer)?;
    }
    let questions = mapper.questions();
    lookup.answer(&questions, mapper)?;
    Ok(mapper.received().filter(|uuid| !known.contains(uuid)).collect())
}

/// Of the entries that an earlier run sent without a value, those that would be sent without it
/// again because another one has it: they are named again, and not sent again.
fn still_contested(
    lookup: &mut Lookup<'_>,
    uuids: &[Uuid],
    prepares: bool,
) -> Result<(Vec<Contested>, Vec<Dropped>), DirectoryError> {
    if uuids.is_empty() {
        return Ok(Default::default());
    }
    let mut aside =
        Mapper::new(lookup.mapping, true).preparing(prepares).bound_as(lookup.directory.bound_as());
    lookup.owners(uuids, &mut aside)?;
    lookup.read_again(uuids, &mut aside, &mut |_| {})?;
    let Content { contested, mut dropped, .. } = aside.finish();
    dropped.retain(|entry| contested.iter().any(|other| other.sync_uuid == entry.sync_uuid));
    Ok((contested, dropped))
}

/// The entries that an earlier run sent without a bad value, and that have not changed since: they
/// are named again, and not sent again.
fn still_dropped(
    lookup: &mut Lookup<'_>,
    uuids: &[Uuid],
    prepares: bool,
) -> Result<Vec<Dropped>, DirectoryError> {
    let mut aside =
        Mapper::new(lookup.mapping, true).preparing(prepares).bound_as(lookup.directory.bound_as());
    lookup.read_again(uuids, &mut aside, &mut |_| {})?;
    Ok(aside.finish().dropped)
}

enum Named {
    These(Vec<Uuid>),
    /// And why.
    Unknown(String),
}

/// The entries that a run which begins with this cookie hears of.
fn named_since(
    directory: &mut Directory,
    cookie: &NextCookie,
    attributes: &[&str],
) -> Result<Named, DirectoryError> {
    let NextCookie::New(cookie) = cookie else { return Ok(Named::These(Vec::new())) };
    let mut uuids = Vec::new();
    Ok(match directory.refresh(attributes, Some(cookie), &mut |uuid, _| uuids.push(uuid))? {
        Refresh::Done(outcome) => {
            uuids.extend(outcome.deleted);
            Named::These(uuids)
        }
        Refresh::Required { reason } => Named::Unknown(reason),
    })
}

fn finish(
    config: &SyncConfig,
    mapper: Mapper<'_>,
    outcome: RefreshOutcome,
    void: &[Uuid],
    mode: Mode,
    start: &Start,
    read: u64,
) -> Reading {
    let not_found = if matches!(mode, Mode::Full(_)) {
        Vec::new()
    } else {
        not_found(&start.held, &mapper, &outcome)
    };
    let mut content = mapper.finish();
    content.forget(void, &config.mapping);
    let skipped: Vec<Uuid> = content.skipped.iter().map(|s| s.sync_uuid).collect();
    let stated = Stated {
        present: outcome.present.as_deref(),
        deleted: &outcome.deleted,
        skipped: &skipped,
    };
    let retention = retention::retention(&stated, &config.mapping);
    let cookie = match outcome.cookie {
        NextCookie::New(cookie) => Some(cookie),
        NextCookie::Absent if !matches!(mode, Mode::Full(_)) => start.cookie.clone(),
        NextCookie::Absent | NextCookie::Unusable => None,
    };
    Reading {
        content,
        retention,
        mode,
        cookie,
        deleted: outcome.deleted.len(),
        not_found,
        read_again: Vec::new(),
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

/// Held entries that were looked for in vain, though nothing says that they are gone.
fn not_found(held: &[Uuid], mapper: &Mapper<'_>, outcome: &RefreshOutcome) -> Vec<Uuid> {
    let present = outcome.present.as_ref().map(|present| present.iter().collect::<HashSet<_>>());
    let deleted: HashSet<&Uuid> = outcome.deleted.iter().collect();
    let may_live = |uuid: &&Uuid| {
        !deleted.contains(uuid) && present.as_ref().is_none_or(|present| present.contains(uuid))
    };
    held.iter().filter(|uuid| !mapper.contains(uuid)).filter(may_live).copied().collect()
}
