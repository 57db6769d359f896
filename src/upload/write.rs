//! Writing entries.
//!
//! Scope: which entry goes into which POST, and the search for entries that Kanidm does not accept.
//! Entries with taken values wait for `collide`. A POST that Kanidm refuses for another reason is
//! halved until the entries at fault are alone. The upload holds these and applies all others on
//! the way.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use super::UploadError;
use super::bisect::{self, Flow};
use super::claimed::settle_claims;
use super::delete::delete;
use super::first::list_all;
use super::hold::{hold, words};
use super::item::{Form, Item};
use super::ledger::Block;
use super::send::{Refusal, Sent};
use super::work::Work;
use super::yielded::{ask_for_known_yielded, learn_yielded};
use crate::kanidm::error::{Class, Fault};
use crate::kanidm::state::SyncState;

/// The result of sending items together.
pub(super) enum Together {
    /// All were written.
    Applied,
    /// None was written: at least one wants a taken value.
    Taken(Refusal),
    /// Each was written, held, or queued for a taken value.
    Sorted,
}

/// Deletes before anything is written. Without writes,
/// [`finish`](super::finish::finish) deletes.
pub(super) fn clear(work: &mut Work<'_>) -> Result<(), UploadError> {
    if *work.sender.current() == SyncState::Refresh {
        if !work.fits_in_one() { list_all(work) } else { Ok(()) }
    } else if work.input.retention.deletes() && !work.order.is_empty() {
        delete(work)
    } else {
        Ok(())
    }
}

/// Writes everything, in one POST if it fits.
pub(super) fn write_all(work: &mut Work<'_>) -> Result<(), UploadError> {
    ask_for_known_yielded(work)?;
    settle_claims(work)?;
    if *work.sender.current() == SyncState::Refresh && !work.order.is_empty() && work.fits_in_one()
    {
        return write_first(work);
    }
    let all = Rc::clone(&work.order);
    let (again, new): (Vec<Item>, Vec<Item>) =
        all.iter().copied().partition(|item| work.was_tried_before(*item));
    work.ledger.again = again;
    attempt_in_chunks(work, &new, Form::Full, true).map(|_| ())
}

/// Writes the whole content in one POST from the state Refresh. If Kanidm refuses, the search
/// for the cause runs from an interim state. From Refresh, Kanidm would delete what a smaller
/// POST does not list.
fn write_first(work: &mut Work<'_>) -> Result<(), UploadError> {
    let all = Rc::clone(&work.order);
    let why = match work.post(&all, Form::Full, true)? {
        Sent::Applied(took) => {
            work.applied(&all, Form::Full);
            work.batch.took(all.len(), took);
            return Ok(());
        }
        Sent::Refused(refusal) if refusal.fault == Fault::Masked && learn_yielded(work)? => {
            return write_first(work);
        }
        Sent::Refused(refusal) => Some(refusal),
        Sent::TooMuch(_) => None,
    };
    list_all(work)?;
    settle_claims(work)?;
    let all = Rc::clone(&work.order);
    match why {
        Some(refusal) if refusal.fault == Fault::Other => isolate(work, &all, Form::Full, refusal),
        // The old entries are deleted now, so their names and DNs are free.
        Some(_) => attempt(work, &all, Form::Full, true).map(|_| ()),
        None => {
            work.too_much(&all);
            write_all(work)
        }
    }
}

/// Sends items, in one POST if Kanidm accepts it, and finds those it does not accept. `last`: true
/// if the POST may move the cookie. Returns true if all were accepted.
pub(super) fn attempt(
    work: &mut Work<'_>,
    items: &[Item],
    form: Form,
    last: bool,
) -> Result<bool, UploadError> {
    match (together(work, items, form, last)?, items) {
        (Together::Applied, _) => return Ok(true),
        (Together::Sorted, _) => {}
        (Together::Taken(refusal), [item]) => verdict(work, *item, form, refusal)?,
        (Together::Taken(_), _) => wait(work, items),
    }
    Ok(false)
}

/// As [`attempt`], but leaves entries that want taken values to the caller.
pub(super) fn together(
    work: &mut Work<'_>,
    items: &[Item],
    form: Form,
    last: bool,
) -> Result<Together, UploadError> {
    if items.is_empty() {
        return Ok(Together::Applied);
    }
    match send(work, items, form, last)? {
        Part::Applied => Ok(Together::Applied),
        Part::Sorted => Ok(Together::Sorted),
        Part::Refused(refusal) if is_taken(form, &refusal) => Ok(Together::Taken(refusal)),
        Part::Refused(refusal) => {
            isolate(work, items, form, refusal)?;
            Ok(Together::Sorted)
        }
    }
}

/// The result of one POST.
enum Part {
    Applied,
    /// It was sent in smaller parts.
    Sorted,
    Refused(Refusal),
}

fn send(work: &mut Work<'_>, items: &[Item], form: Form, last: bool) -> Result<Part, UploadError> {
    if form == Form::Full {
        name_groups(work, items)?;
    }
    match work.post(items, form, last)? {
        Sent::Applied(took) => {
            work.applied(items, form);
            work.batch.took(items.len(), took);
            Ok(Part::Applied)
        }
        Sent::Refused(refusal)
            if form == Form::Full && refusal.fault == Fault::Masked && learn_yielded(work)? =>
        {
            send(work, items, form, last)
        }
        Sent::Refused(refusal) => Ok(Part::Refused(refusal)),
        Sent::TooMuch(error) => match items {
            [item] if error.class() == Class::TooLarge => {
                let reason = "the entry alone is larger than Kanidm accepts".to_owned();
                hold(work, *item, form, reason, Fault::Other)?;
                Ok(Part::Sorted)
            }
            [_] => Err(UploadError::Kanidm { doing: "sending a single entry", error }),
            _ => {
                work.too_much(items);
                let all = attempt_in_chunks(work, items, form, last)?;
                Ok(if all { Part::Applied } else { Part::Sorted })
            }
        },
    }
}

/// Finds the entries at fault among `items`, which were refused together, and applies the others.
fn isolate(
    work: &mut Work<'_>,
    items: &[Item],
    form: Form,
    why: Refusal,
) -> Result<(), UploadError> {
    // The latest refusal, and whether each part so far was applied or refused as a whole.
    let search = RefCell::new((work, why, true));
    let is_clean = |range: Range<usize>| {
        let (work, latest, is_plain) = &mut *search.borrow_mut();
        let part = items.get(range).unwrap_or_default();
        match send(work, part, form, false)? {
            Part::Applied => Ok(true),
            Part::Sorted => {
                *is_plain = false;
                Ok(true)
            }
            Part::Refused(refusal) if is_taken(form, &refusal) => {
                *is_plain = false;
                wait(work, part);
                Ok(true)
            }
            Part::Refused(refusal) => {
                *latest = refusal;
                Ok(false)
            }
        }
    };
    bisect::culprits(items.len(), true, &is_clean, |at, alone| {
        // Two entries may collide with one another. Any other fault is that of one entry.
        let is_sure = {
            let (_, latest, is_plain) = &*search.borrow();
            alone || (*is_plain && latest.fault == Fault::Other)
        };
        if let (Some(item), true) = (items.get(at), is_sure || !is_clean(at..at.saturating_add(1))?)
        {
            let (work, latest, _) = &mut *search.borrow_mut();
            verdict(work, *item, form, latest.clone())?;
        }
        Ok(Flow::Continue(()))
    })
    .map(|_| ())
}

/// True for content that was refused because of a taken value.
fn is_taken(form: Form, refusal: &Refusal) -> bool {
    form == Form::Full && refusal.fault == Fault::Conflict
}

/// Puts off a block of entries, of which at least one wants a taken value.
fn wait(work: &mut Work<'_>, items: &[Item]) {
    let written = work.ledger.written.len();
    work.ledger.waiting.push(Block { items: items.to_vec(), written });
}

/// Decides about an item that was refused alone: it waits for a value, or it is held.
pub(super) fn verdict(
    work: &mut Work<'_>,
    item: Item,
    form: Form,
    why: Refusal,
) -> Result<(), UploadError> {
    if form != Form::Full {
        // The content causes the same refusal later.
        return Ok(());
    }
    match why.fault {
        Fault::Conflict if matches!(item, Item::Record(_)) => {
            if work.ledger.collided.is_empty() {
                work.ledger.written_before = work.ledger.written.len();
            }
            work.ledger.collided.push((item, why));
            Ok(())
        }
        _ if matches!(item, Item::Held(_)) => {
            work.ledger.stub_refused = true;
            Ok(())
        }
        _ => {
            let reason = words(work, item, &why);
            hold(work, item, form, reason, why.fault)
        }
    }
}

/// Makes all groups known before the first one gets its members, unless one POST has all
/// groups. Groups may be members of groups.
fn name_groups(work: &mut Work<'_>, items: &[Item]) -> Result<(), UploadError> {
    let groups = |items: &[Item]| items.iter().filter(|i| work.is_group(**i)).count();
    let here = groups(items);
    if work.ledger.groups_named || here == 0 || here == groups(&work.order) {
        return Ok(());
    }
    work.ledger.groups_named = true;
    let all: Vec<Item> = work.order.iter().copied().filter(|i| work.is_group(*i)).collect();
    attempt_in_chunks(work, &all, Form::Named, false).map(|_| ())
}

/// Sends any number of items, in chunks. `last`: true if the last chunk may move the cookie.
/// Returns true if all were accepted.
pub(super) fn attempt_in_chunks(
    work: &mut Work<'_>,
    items: &[Item],
    form: Form,
    last: bool,
) -> Result<bool, UploadError> {
    let mut clean = true;
    let mut rest = items;
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(work.fit(rest, form));
        clean &= attempt(work, chunk, form, last && more.is_empty())?;
        rest = more;
    }
    Ok(clean)
}
