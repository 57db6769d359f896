//! Locks and time limits of held persons.
//!
//! Scope: a lock reaches Kanidm even if the rest of the entry does not. The owner may cause the
//! refusal, for example with the mail address of another person. A lock must not wait for that, so
//! it is sent alone.
//!
//! Kanidm clears each attribute that the schemas of an entry allow and the entry omits. The schema
//! `account` covers only the name, the display name and the limits. The number, shell, addresses,
//! keys and passwords therefore stay. Kanidm refuses such an entry for a UUID that is no person
//! yet, so no incomplete person is created.
//!
//! If the name is taken, an ended account is closed under a temporary name. Its current name in
//! Kanidm cannot be read, and the owner can no longer log in with it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use uuid::Uuid;

use super::bisect::{self, Flow};
use super::item::Item;
use super::send::Sent;
use super::work::Work;
use super::yielded::learn_yielded;
use super::{EndedPerson, UploadError};
use crate::content::account::{LOCKED, STILL_OPEN};
use crate::content::body::{Body, EXPIRE};
use crate::content::changeset::Kind;
use crate::content::unique::temporary_name;
use crate::kanidm::error::Fault;
use crate::kanidm::request::Retention;
use crate::kanidm::state::SyncState;

/// Maximum POSTs of a search for accounts that cannot be closed. Most of these are persons that
/// Kanidm does not have.
const MAX_SEARCH_POSTS: usize = 4_000;
/// The same maximum for accounts that an earlier run searched and that have not changed since, and
/// for persons that Kanidm probably does not have.
const MAX_SEARCH_POSTS_AGAIN: usize = 200;

/// Sends the lock or time limit of a person that is held because of `fault`. Returns a note for the
/// report, if there is something to say.
///
/// Nothing is sent in the state Refresh, where the POST would delete every other entry. Nothing is
/// sent for [`Fault::Foreign`]: Kanidm refuses every change to such an entry.
pub(super) fn send_limit(
    work: &mut Work<'_>,
    item: Item,
    fault: Fault,
) -> Result<Option<&'static str>, UploadError> {
    // A deleted person cannot log in.
    if item.kind(work.input) != Some(Kind::Person) || fault == Fault::Masked {
        return Ok(None);
    }
    let Some(limit) = work.outgoing.adapted(item).only_limits() else {
        return Ok(None);
    };
    if fault == Fault::Foreign || *work.sender.current() == SyncState::Refresh {
        return Ok(Some(STILL_OPEN));
    }
    let uuid = work.uuid(item);
    Ok(match send_alone(work, &limit)? {
        Sent::Applied(_) => {
            log::debug!("{}: held, but its lock or its limit in time is sent", work.dn(item));
            work.ledger.limited.insert(uuid);
            None
        }
        Sent::Refused(refusal) if refusal.fault == Fault::Conflict && limit.has_ended() => {
            match send_alone(work, &limit.with_name(&temporary_name(uuid)))? {
                Sent::Applied(_) => {
                    work.ledger.limited.insert(uuid);
                    Some(LOCKED)
                }
                _ => Some(STILL_OPEN),
            }
        }
        _ => Some(STILL_OPEN),
    })
}

fn send_alone(work: &mut Work<'_>, body: &Body) -> Result<Sent, UploadError> {
    let entry: Vec<Cow<'_, [u8]>> = vec![Cow::Owned(body.to_bytes())];
    work.sender.send_aside(&entry.into(), &Retention::Ignore)
}

/// Sends the limits of several held persons together. Returns a note for each person who needs one.
pub(super) fn send_limits(
    work: &mut Work<'_>,
    items: &[Item],
) -> Result<HashMap<Uuid, &'static str>, UploadError> {
    let limit = |item: &Item| Some((work.uuid(*item), work.outgoing.adapted(*item).only_limits()?));
    let limits: Vec<(Uuid, Body)> = items.iter().filter_map(limit).collect();
    if *work.sender.current() == SyncState::Refresh {
        return Ok(limits.into_iter().map(|(uuid, _)| (uuid, STILL_OPEN)).collect());
    }
    let closed = close(work, &limits, MAX_SEARCH_POSTS_AGAIN)?;
    let sent = limits.iter().map(|(uuid, _)| *uuid).filter(|uuid| !closed.open.contains(uuid));
    work.ledger.limited.extend(sent);
    let open = closed.open.into_iter().map(|uuid| (uuid, STILL_OPEN));
    Ok(open.chain(closed.renamed.into_iter().map(|uuid| (uuid, LOCKED))).collect())
}

/// Closes the ended accounts of persons that the mapping holds.
pub(super) fn close_ended(work: &mut Work<'_>) -> Result<(), UploadError> {
    work.ledger.ended_closed = true;
    let ended = work.input.ended;
    // Without `account_expire`, the entry would only rename the account.
    if *work.sender.current() == SyncState::Refresh || work.outgoing.yielded.contains(EXPIRE) {
        work.ledger.open = ended.iter().map(|person| person.uuid).collect();
        return Ok(());
    }
    // Kanidm may have a person that is not known: one that an administrator brought back.
    let is_absent = |person: &EndedPerson<'_>| {
        let known = work.input.base.known.as_ref();
        known.is_some_and(|known| {
            !known.persons.may_have(person.uuid) && !known.groups.may_have(person.uuid)
        })
    };
    let is_old = |person: &&EndedPerson<'_>| {
        is_absent(person) || work.input.tried_before.contains(&person.uuid)
    };
    let (mut again, new): (Vec<&EndedPerson<'_>>, Vec<_>) = ended.iter().partition(is_old);
    // New persons come first. The search among old ones is short, so each run starts it at
    // another person.
    let start = work.input.run.as_u128() % again.len().max(1) as u128;
    again.rotate_left(usize::try_from(start).unwrap_or_default());
    again.sort_by_key(|person| is_absent(person));
    for (persons, most) in [(new, MAX_SEARCH_POSTS), (again, MAX_SEARCH_POSTS_AGAIN)] {
        let bodies: Vec<(Uuid, Body)> =
            persons.iter().map(|person| (person.uuid, closing_body(person))).collect();
        let closed = close(work, &bodies, most)?;
        let keep_names = work.outgoing.yielded.contains("name");
        let nameless = persons.iter().filter(|person| person.ended.name.is_none() && !keep_names);
        let renamed = nameless.map(|person| person.uuid).filter(|uuid| !closed.open.contains(uuid));
        work.ledger.renamed.extend(renamed.chain(closed.renamed));
        work.ledger.open.extend(closed.open);
    }
    Ok(())
}

fn closing_body(person: &EndedPerson<'_>) -> Body {
    let EndedPerson { uuid, dn, ended } = person;
    match &ended.name {
        Some(name) => Body::closed(*uuid, dn, name, ended),
        None => Body::closed(*uuid, dn, &temporary_name(*uuid), ended),
    }
}

/// What became of accounts that were to be closed or limited.
struct Closed {
    /// Those that Kanidm does not close.
    open: HashSet<Uuid>,
    /// Those that are closed under a temporary name, because their own is not available.
    renamed: HashSet<Uuid>,
}

/// Closes accounts, under their names if Kanidm accepts that. Each of the two searches for those
/// that it refuses takes at most `most` POSTs.
fn close(work: &mut Work<'_>, bodies: &[(Uuid, Body)], most: usize) -> Result<Closed, UploadError> {
    let mut open = refused(work, bodies, most)?;
    if work.outgoing.yielded.contains(EXPIRE) {
        return Ok(Closed { open, renamed: HashSet::new() });
    }
    let may_be_renamed =
        bodies.iter().filter(|(uuid, body)| open.contains(uuid) && body.has_ended());
    let rename =
        |(uuid, body): &(Uuid, Body)| (*uuid, body.clone().with_name(&temporary_name(*uuid)));
    let bodies: Vec<(Uuid, Body)> = may_be_renamed.map(rename).collect();
    let refused = refused(work, &bodies, most)?;
    let closed: HashSet<Uuid> =
        bodies.iter().map(|(uuid, _)| *uuid).filter(|uuid| !refused.contains(uuid)).collect();
    open.retain(|uuid| !closed.contains(uuid));
    let renamed = if work.outgoing.yielded.contains("name") { HashSet::new() } else { closed };
    Ok(Closed { open, renamed })
}

/// Sends entries and returns those that Kanidm refuses. The search ends after `most` POSTs; the
/// entries that are left then count as refused.
fn refused(
    work: &mut Work<'_>,
    bodies: &[(Uuid, Body)],
    most: usize,
) -> Result<HashSet<Uuid>, UploadError> {
    let mut refused = HashSet::new();
    let (mut rest, mut left) = (bodies, most);
    while !rest.is_empty() {
        let sizes = rest.iter().map(|(_, body)| body.to_bytes().len());
        let (chunk, more) = rest.split_at(work.batch.fit(sizes).clamp(1, rest.len()));
        refused.extend(refused_in(work, chunk, &mut left)?);
        rest = more;
    }
    Ok(refused)
}

/// As [`refused`], in one POST if Kanidm accepts all. `left`: how many POSTs are left.
fn refused_in(
    work: &mut Work<'_>,
    bodies: &[(Uuid, Body)],
    left: &mut usize,
) -> Result<HashSet<Uuid>, UploadError> {
    let mut applied = HashSet::new();
    let search = RefCell::new((work, left, &mut applied));
    let is_applied = |range: Range<usize>| {
        let (work, left, applied) = &mut *search.borrow_mut();
        let part = bodies.get(range).unwrap_or_default();
        // Without this POST, the part counts as refused.
        let Some(rest) = left.checked_sub(1) else { return Ok(false) };
        **left = rest;
        let is_applied = send_bodies(work, part)?;
        applied.extend(part.iter().map(|(uuid, _)| *uuid).filter(|_| is_applied));
        Ok::<_, UploadError>(is_applied)
    };
    bisect::culprits(bodies.len(), false, &is_applied, |at, alone| {
        if !alone {
            is_applied(at..at.saturating_add(1))?;
        }
        Ok(if *search.borrow().1 == 0 { Flow::Break(()) } else { Flow::Continue(()) })
    })?;
    Ok(bodies.iter().map(|(uuid, _)| *uuid).filter(|uuid| !applied.contains(uuid)).collect())
}

/// True if Kanidm accepts the entries, without yielded attributes. Without `account_expire` they
/// would only rename the accounts, so they are not sent.
fn send_bodies(work: &mut Work<'_>, bodies: &[(Uuid, Body)]) -> Result<bool, UploadError> {
    let would_rename = || bodies.iter().any(|(_, body)| body.has_ended());
    if work.outgoing.yielded.contains(EXPIRE) && would_rename() {
        return Ok(false);
    }
    let render = |(_, body): &(Uuid, Body)| {
        Cow::Owned(work.outgoing.without_yielded(body.clone()).to_bytes())
    };
    let entries: Vec<Cow<'_, [u8]>> = bodies.iter().map(render).collect();
    match work.sender.send_aside(&entries.into(), &Retention::Ignore)? {
        Sent::Applied(_) => Ok(true),
        Sent::Refused(refusal) if refusal.fault == Fault::Masked && learn_yielded(work)? => {
            send_bodies(work, bodies)
        }
        Sent::Refused(_) | Sent::TooMuch(_) => Ok(false),
    }
}
