//! Collisions: swaps, rotations, and names that another entry of the same run gives up.
//!
//! Scope: writing a few entries that want values of other entries. Kanidm compares each unique
//! value of a POST with the values that were stored before it. Two entries can therefore never swap
//! names in one POST, or in two: one of them needs a temporary name in between. An entry that
//! collides with an entry outside of this run must keep its name, though.
//!
//! Kanidm does not say who has a name. [`super::ask`] finds out with questions.
//!
//! Temporary values go only to a set of entries in which each wanted value is held inside the set.
//! Then every entry of the set gets its own values.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;

use super::ask::invalid;
use super::candidate::{candidate_of_many, candidates, find_holders};
use super::exchange::exchange;
use super::reasons::hold_the_rest;
use super::stage::{solvable_sets, stage};
use crate::kanidm::error::Fault;
use crate::kanidm::request::Retention;
use crate::upload::UploadError;
use crate::upload::again::write_again;
use crate::upload::bisect::{self, Flow};
use crate::upload::item::{Form, Item};
use crate::upload::late::{late, settle_members, write_late};
use crate::upload::ledger::{Block, Exchange};
use crate::upload::send::Refusal;
use crate::upload::work::Work;
use crate::upload::write::{Together, attempt_in_chunks, together, verdict};

/// [`Block::written`] of a block that Kanidm has not refused in this form. No count equals it.
const NOT_SEARCHED: usize = usize::MAX;

/// Maximum entries that are asked one by one whether they have a value that another one wants.
const MAX_PAIRWISE: usize = 5;
/// The same maximum after an exchange of many was not possible.
const MAX_PAIRWISE_AFTER_EXCHANGE: usize = 40;
/// Maximum entries that are tried one by one, as often as it helps.
pub(crate) const MAX_RETRIED: usize = 50;

/// Writes the entries that Kanidm refused for taken values, as far as that is possible.
pub(crate) fn resolve_collisions(work: &mut Work<'_>) -> Result<(), UploadError> {
    write_waiting(work)?;
    let changed = !work.ledger.written.is_empty() || work.input.retention.deletes();
    let new = !work.ledger.collided.is_empty();
    write_again(work, changed || new)?;
    write_waiting(work)?;
    retry_while_it_helps(work)?;
    if new && work.ledger.collided.len() > MAX_PAIRWISE && work.ledger.exchange == Exchange::Untried
    {
        exchange_what_waits(work)?;
        write_waiting(work)?;
    }
    let waiting = std::mem::take(&mut work.ledger.collided);
    let mut wanting = Vec::new();
    let most = match work.ledger.exchange {
        Exchange::Failed => MAX_PAIRWISE_AFTER_EXCHANGE,
        Exchange::Untried | Exchange::Partial | Exchange::Whole => MAX_PAIRWISE,
    };
    if waiting.len() <= most {
        wanting = candidates(work, waiting)?;
        // Entries of earlier runs stay blocked while nothing changes, and questions are
        // expensive.
        if changed || new {
            find_holders(work, &mut wanting)?;
        }
        for set in solvable_sets(&wanting) {
            stage(work, &wanting, &set)?;
        }
    } else {
        for (item, refusal) in waiting {
            wanting.push(candidate_of_many(work, item, refusal)?);
        }
    }
    hold_the_rest(work, &wanting)?;
    settle_members(work)
}

/// Writes what it can of the waiting blocks. Entries that want taken values end up in
/// `collided`.
pub(super) fn write_waiting(work: &mut Work<'_>) -> Result<(), UploadError> {
    while !work.ledger.waiting.is_empty() {
        let mut block = work.ledger.waiting.remove(0);
        let unchanged = block.written == work.ledger.written.len();
        let more = block.items.split_off(work.fit(&block.items, Form::Full));
        let searched =
            search(work, &block.items, unchanged && more.is_empty() && block.items.len() > 1)?;
        for rest in [more, block.items.split_off(searched)] {
            if !rest.is_empty() {
                work.ledger.waiting.insert(0, Block { items: rest, written: NOT_SEARCHED });
            }
        }
        if is_exchange_due(work) {
            exchange_what_waits(work)?;
        }
    }
    if is_exchange_due(work) {
        exchange_what_waits(work)?;
        return write_waiting(work);
    }
    Ok(())
}

/// Returns true when many new entries want taken values, for the first time.
fn is_exchange_due(work: &Work<'_>) -> bool {
    work.ledger.exchange == Exchange::Untried
        && work
            .ledger
            .collided
            .iter()
            .filter(|(item, _)| !work.was_tried_before(*item))
            .nth(MAX_PAIRWISE)
            .is_some()
}

/// Tries an exchange among all entries that want taken values. Entries that earlier runs could
/// not write may take part.
fn exchange_what_waits(work: &mut Work<'_>) -> Result<(), UploadError> {
    work.ledger.exchange = Exchange::Partial;
    write_again(work, true)?;
    let (collided, waiting) =
        (std::mem::take(&mut work.ledger.collided), std::mem::take(&mut work.ledger.waiting));
    let all = collided
        .iter()
        .map(|(item, _)| *item)
        .chain(waiting.iter().flat_map(|block| block.items.clone()));
    let (held, all): (Vec<Item>, Vec<Item>) = all.partition(|item| matches!(item, Item::Held(_)));
    // Held entries have only a DN to give up.
    attempt_in_chunks(work, &held, Form::Full, false)?;
    match exchange(work, &all)? {
        Some(others) => others.iter().try_for_each(|item| write_late(work, &[*item])),
        None => {
            log::debug!("many values are taken; the holders are unknown");
            work.ledger.exchange = Exchange::Failed;
            work.ledger.collided.splice(0..0, collided);
            // The exchange may have written some before it failed.
            let written: HashSet<usize> = work.ledger.written.iter().copied().collect();
            let is_left = |item: &Item| matches!(item, Item::Record(at) if !written.contains(at));
            work.ledger.collided.retain(|(item, _)| is_left(item));
            let left = |block: Block| Block {
                items: block.items.into_iter().filter(is_left).collect(),
                written: NOT_SEARCHED,
            };
            work.ledger.waiting.splice(
                0..0,
                waiting.into_iter().map(left).filter(|block| !block.items.is_empty()),
            );
            Ok(())
        }
    }
}

/// Finds the entries that want taken values among `items`, and writes the others. `refused`:
/// true if Kanidm is known to refuse `items` together. Returns how many items it searched. It
/// ends early when an exchange becomes due.
fn search(work: &mut Work<'_>, items: &[Item], refused: bool) -> Result<usize, UploadError> {
    let mut collided = HashSet::new();
    let this = RefCell::new((&mut *work, None));
    let is_clean = |range: Range<usize>| {
        let (this, last) = &mut *this.borrow_mut();
        *last = refusal_of(this, items.get(range).unwrap_or_default())?;
        Ok(last.is_none())
    };
    let searched = bisect::culprits(items.len(), refused, &is_clean, |at, alone| {
        let is_taken = alone || !is_clean(at..at.saturating_add(1))?;
        let (this, last) = &mut *this.borrow_mut();
        if let (true, Some(item), Some(refusal)) = (is_taken, items.get(at), last.take()) {
            collided.insert(at);
            verdict(this, *item, Form::Full, refusal)?;
        }
        Ok::<_, UploadError>(if is_exchange_due(this) {
            Flow::Break(())
        } else {
            Flow::Continue(())
        })
    })?;
    let others: Vec<Item> = (0..searched)
        .filter(|at| !collided.contains(at))
        .filter_map(|at| items.get(at).copied())
        .collect();
    write_others(work, &others)?;
    Ok(searched)
}

/// Writes entries that want no taken value. If two of them want the same value, the first one gets
/// it.
fn write_others(work: &mut Work<'_>, items: &[Item]) -> Result<(), UploadError> {
    let search = RefCell::new((work, None));
    let is_written = |range: Range<usize>| {
        let (work, refusal) = &mut *search.borrow_mut();
        let part = items.get(range).unwrap_or_default();
        *refusal = match late(work, true, |work| together(work, part, Form::Full, false))? {
            Together::Applied | Together::Sorted => None,
            Together::Taken(refusal) => Some(refusal),
        };
        Ok(refusal.is_none())
    };
    bisect::culprits(items.len(), false, &is_written, |at, alone| {
        if !alone {
            is_written(at..at.saturating_add(1))?;
        }
        let (work, refusal) = &mut *search.borrow_mut();
        if let (Some(item), Some(refusal)) = (items.get(at), refusal.take()) {
            verdict(work, *item, Form::Full, refusal)?;
        }
        Ok::<_, UploadError>(Flow::Continue(()))
    })
    .map(|_| ())
}

/// Returns the refusal of these entries if one of their values is taken. Nothing is applied: a
/// refused POST is much cheaper for Kanidm than a small one that is applied.
fn refusal_of(work: &mut Work<'_>, items: &[Item]) -> Result<Option<Refusal>, UploadError> {
    let entries = items
        .iter()
        .map(|item| work.outgoing.rendered(*item, Form::Full))
        .chain([Cow::Owned(invalid(work))]);
    let refusal =
        work.sender.question_once(&entries.collect::<Vec<_>>().into(), &Retention::Ignore)?;
    Ok(refusal.filter(|refusal| refusal.fault == Fault::Conflict))
}

/// Tries entries again, because their values may have become free. Chains become free one by
/// one, from either end, so each pass reverses the order. It stops when a pass writes nothing,
/// or when there are too many entries.
fn retry_while_it_helps(work: &mut Work<'_>) -> Result<(), UploadError> {
    while (1..=MAX_RETRIED).contains(&work.ledger.collided.len())
        && work.ledger.written.len() > work.ledger.written_before
    {
        let items: Vec<Item> = std::mem::take(&mut work.ledger.collided)
            .into_iter()
            .map(|(item, _)| item)
            .rev()
            .collect();
        items.iter().try_for_each(|item| write_late(work, &[*item]))?;
    }
    Ok(())
}
