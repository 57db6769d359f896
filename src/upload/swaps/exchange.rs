//! Exchanges of values among many entries: a new scheme of names, a renumbering.
//!
//! Scope: writing such entries in a few large POSTs. Kanidm compares each value of a POST with the
//! values that were stored before it. All entries therefore get temporary values first, and their
//! own values next. An entry that wants a value from outside the exchange must not take part,
//! because it would lose its current name. Such an entry is an *outsider*.
//!
//! The names that entries have in Kanidm cannot be read. The upload therefore asks as if the
//! entries were deleted ([`Sender::question_from_refresh`](crate::upload::send::Sender)). Invented
//! entries, the *strangers*, bring the wanted values. Kanidm refuses only the values that other
//! entries have.
//!
//! DNs are no part of that question, because Kanidm sets them before it deletes. They are settled
//! first. Any entry may have a temporary DN, because people do not log in with it.
//!
//! # Example
//!
//! A wants the name of B, B that of C, and C that of A. D wants the name of a local account, which
//! does not belong to this sync account. (An exchange has more entries; four show the steps.)
//! [`try_exchange`] takes these steps:
//!
//! 1. It lists all other entries of the sync account: they keep their names.
//! 2. It takes out entries that cannot be part of an exchange: those that want the same value as
//!    another one, and those that Kanidm refuses even with temporary values. Such an entry is
//!    invalid, in the recycle bin, or another sync account's. A to D all stay.
//! 3. It settles DNs. None of A to D changes its DN.
//! 4. It searches for outsiders. Four strangers bring the wanted names, and the POST lists only the
//!    other entries, as if A to D were deleted. Kanidm refuses the stranger of D: the local account
//!    has its name. The strangers of A, B and C conflict with nobody. So D is an outsider.
//! 5. D keeps its name, so it asks again, with D in the list. An entry that wants the name of D
//!    would now be an outsider too. A, B and C conflict with nobody still.
//! 6. It writes entries that need no temporary values. Kanidm refuses A, B and C together and
//!    alone, because each wanted name is stored at another entry.
//! 7. A, B and C get the names `tmp-UUID` in one POST.
//! 8. A, B and C get their own names in the next POST.
//!
//! It returns D. The caller tries D again and then holds it with a reason.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use uuid::Uuid;

use super::ask::invalid;
use super::dns::settle_dns;
use super::outsiders::{estimate_outsiders, outsiders};
use super::questions::{ExchangeEnd, Questions, count_question, start_questions};
use super::stage::staged;
use crate::content::unique::{Attribute, Unique, temporary_gid};
use crate::kanidm::error::Fault;
use crate::kanidm::request::{Entries, Retention};
use crate::upload::UploadError;
use crate::upload::bisect::{self, Flow};
use crate::upload::item::{Form, Item};
use crate::upload::late::late;
use crate::upload::ledger::Exchange;
use crate::upload::send::{Leave, Sent};
use crate::upload::work::Work;
use crate::upload::write::{Together, attempt_in_chunks, together};

/// Maximum refused POSTs of the search for entries that need no temporary values. Each accepted
/// POST allows [`SPLITS_PER_SUCCESS`] more.
const MAX_SPLITS: usize = 16;
const SPLITS_PER_SUCCESS: usize = 8;

/// All attributes that must be unique; and the same without DNs, which are settled first.
const ALL: &[Attribute] = &[Attribute::Dn, Attribute::Name, Attribute::Gid, Attribute::Mail];
const VALUES: &[Attribute] = &[Attribute::Name, Attribute::Gid, Attribute::Mail];

/// Writes the entries of `items` that only want values of one another, and returns the others.
/// `None` if the two cannot be told apart.
pub(crate) fn exchange(
    work: &mut Work<'_>,
    items: &[Item],
) -> Result<Option<Vec<Item>>, UploadError> {
    match try_exchange(work, items) {
        Ok(others) => Ok(Some(others)),
        Err(ExchangeEnd::Unknown) => Ok(None),
        Err(ExchangeEnd::NoDirectory) => {
            work.ledger.repeat_in_full = true;
            Ok(None)
        }
        Err(ExchangeEnd::Failed(error)) => Err(error),
    }
}

fn try_exchange(work: &mut Work<'_>, items: &[Item]) -> Result<Vec<Item>, ExchangeEnd> {
    if !work.sender.protects_its_own()? {
        return Err(ExchangeEnd::Unknown);
    }
    // The numbers are those of the example.
    // 1.
    let everyone_else = everyone_else(work, items)?;
    let first_gid = temporary_gid(work.input.run);
    let mut questions = start_questions(work)?;
    // 2.
    let mut others = with_shared_values(work, items);
    others.extend(masked_or_foreign(work, items, first_gid, &mut questions)?);
    let ours: Vec<Item> = items.iter().copied().filter(|item| !others.contains(item)).collect();
    others.extend(invalid_entries(work, &ours, first_gid, &mut questions)?);
    // 3.
    others.extend(settle_dns(work, &ours, &mut questions)?);
    let all_are_asked = others.is_empty();
    let mut part: Vec<Item> = items.iter().copied().filter(|item| !others.contains(item)).collect();
    // 4.
    estimate_outsiders(work, &part, &everyone_else, &mut others, &mut questions)?;
    loop {
        part.retain(|item| !others.contains(item));
        let kept: Vec<Uuid> = everyone_else
            .iter()
            .copied()
            .chain(others.iter().map(|item| work.uuid(*item)))
            .collect();
        let found = outsiders(work, &part, kept, &mut questions)?;
        if found.is_empty() {
            break;
        }
        // 5. Outsiders keep their values, so entries that want these become outsiders, too. Such
        // chains run in either direction.
        part.reverse();
        others.extend(found);
    }
    // 6. Persons go before groups, which have them as members.
    let (groups, persons): (Vec<Item>, Vec<Item>) =
        part.into_iter().partition(|item| work.is_group(*item));
    let part = write_free_entries(work, &[persons, groups].concat())?;
    if !part.is_empty() {
        // 7.
        give_temporary_values(work, &part, first_gid)?;
        // 8.
        late(work, true, |this| attempt_in_chunks(this, &part, Form::Full, false))?;
    }
    if all_are_asked {
        work.ledger.exchange = Exchange::Whole;
    }
    Ok(items.iter().copied().filter(|item| others.contains(item)).collect())
}

/// Writes the entries that need no value of another one, and returns the rest, so that few
/// entries get temporary values. Halves refused chunks, the largest first, as long as that
/// finds entries to write.
fn write_free_entries(work: &mut Work<'_>, part: &[Item]) -> Result<Vec<Item>, ExchangeEnd> {
    let mut blocks: Vec<Vec<Item>> = Vec::new();
    let mut rest = part;
    while !rest.is_empty() {
        let (chunk, more) = work.chunk(rest);
        blocks.push(chunk.to_vec());
        rest = more;
    }
    let (mut taken, mut refused, mut applied): (Vec<Vec<Item>>, usize, usize) = (Vec::new(), 0, 0);
    loop {
        for block in blocks {
            match late(work, true, |this| together(this, &block, Form::Full, false))? {
                Together::Taken(_) => {
                    refused = refused.saturating_add(1);
                    taken.push(block);
                }
                Together::Applied | Together::Sorted => applied = applied.saturating_add(1),
            }
        }
        let largest = taken.iter().map(Vec::len).max().unwrap_or_default();
        if largest < 2
            || refused > MAX_SPLITS.saturating_add(SPLITS_PER_SUCCESS.saturating_mul(applied))
        {
            return Ok(taken.concat());
        }
        let (large, small): (Vec<_>, Vec<_>) =
            taken.into_iter().partition(|block| block.len().saturating_mul(2) > largest);
        taken = small;
        let halves = |block: &Vec<Item>| {
            let (left, right) = block.split_at(block.len() / 2);
            [left.to_vec(), right.to_vec()]
        };
        blocks = large.iter().flat_map(halves).filter(|block| !block.is_empty()).collect();
    }
}

/// Returns the entries that want the same value as another one. Only one can have it, whether
/// it is free or not.
fn with_shared_values(work: &Work<'_>, items: &[Item]) -> HashSet<Item> {
    let values: Vec<Vec<Unique>> = items.iter().map(|item| work.outgoing.values(*item)).collect();
    let mut number: HashMap<&Unique, usize> = HashMap::new();
    values.iter().flatten().for_each(|value| *number.entry(value).or_default() += 1);
    let shares = |values: &&Vec<Unique>| values.iter().any(|value| number.get(value) != Some(&1));
    items.iter().zip(&values).filter(|(_, values)| shares(values)).map(|(item, _)| *item).collect()
}

/// Returns the UUIDs in Kanidm of all entries of this sync account except `items`. The list
/// must be complete: the values of an entry that it omits would look free.
fn everyone_else(work: &mut Work<'_>, items: &[Item]) -> Result<Vec<Uuid>, ExchangeEnd> {
    let mut all: Vec<Uuid> = match work.input.full {
        true => work
            .input
            .changes
            .records()
            .iter()
            .map(|r| r.uuid)
            .chain(work.input.stubs.iter().map(|(uuid, _)| *uuid))
            .collect(),
        false => (work.input.everyone)().ok_or(ExchangeEnd::NoDirectory)?,
    };
    if !work.ledger.not_deleted.is_empty() || !covers_all_known(work, &all) {
        return Err(ExchangeEnd::Unknown);
    }
    let absent = work.ledger.held.iter().filter(|held| held.is_absent).map(|held| held.uuid);
    let not: HashSet<Uuid> = items.iter().map(|item| work.uuid(*item)).chain(absent).collect();
    all.retain(|uuid| !not.contains(uuid));
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Returns true if each entry that Kanidm is known to have is in `all` or deleted by this run.
fn covers_all_known(work: &Work<'_>, all: &[Uuid]) -> bool {
    let deleted: &[Uuid] = match &work.input.retention {
        Retention::Delete(uuids) => uuids,
        // The deletions were sent first.
        Retention::Retain(_) => return true,
        Retention::Ignore => &[],
    };
    let Some(known) = work.input.base.known.as_ref().filter(|_| !work.input.full) else {
        return true;
    };
    let listed = [all, deleted].concat();
    // The count of a large set is an estimate.
    let tolerance = if known.is_exact() { 0 } else { known.count() / 10 };
    known.count() <= (listed.len() as u64).saturating_add(tolerance)
        && known.named_missing_from(&listed, 1).is_empty()
}

/// Returns the entries that are in the recycle bin, or belong to another sync account.
fn masked_or_foreign(
    work: &mut Work<'_>,
    items: &[Item],
    first_gid: u32,
    questions: &mut Questions,
) -> Result<Vec<Item>, ExchangeEnd> {
    refused_among(work, items, first_gid, questions, |this, mut entries| {
        entries.push(Cow::Owned(invalid(this)));
        let refusal = this
            .sender
            .question_once(&entries.into(), &Retention::Ignore)?
            .ok_or(ExchangeEnd::Unknown)?;
        Ok(!matches!(refusal.fault, Fault::Masked | Fault::Foreign))
    })
}

/// Returns the entries that Kanidm would refuse even with temporary values. Kanidm sees all
/// entries, and then refuses the POST for another reason: it deletes an account of Kanidm's
/// own.
fn invalid_entries(
    work: &mut Work<'_>,
    items: &[Item],
    first_gid: u32,
    questions: &mut Questions,
) -> Result<Vec<Item>, ExchangeEnd> {
    refused_among(work, items, first_gid, questions, |this, entries| {
        match this.sender.question_of_validity(&entries.into())?.ok_or(ExchangeEnd::Unknown)?.fault
        {
            Fault::Foreign => Ok(true),
            Fault::Other | Fault::Masked => Ok(false),
            // A temporary value is taken.
            Fault::Conflict => Err(ExchangeEnd::Unknown),
        }
    })
}

/// Returns the items that, with temporary values, make `is_clean` false.
fn refused_among(
    work: &mut Work<'_>,
    items: &[Item],
    first_gid: u32,
    questions: &mut Questions,
    is_clean: impl Fn(&mut Work<'_>, Vec<Cow<'_, [u8]>>) -> Result<bool, ExchangeEnd>,
) -> Result<Vec<Item>, ExchangeEnd> {
    let (mut found, mut rest) = (Vec::new(), items);
    while !rest.is_empty() {
        let (chunk, more) = work.chunk(rest);
        let this = RefCell::new((&mut *work, &mut *questions));
        let is_clean = |range: Range<usize>| {
            let (this, questions) = &mut *this.borrow_mut();
            count_question(this, questions)?;
            let entries = chunk
                .get(range)
                .unwrap_or_default()
                .iter()
                .map(|item| Cow::Owned(staged(this, *item, ALL, first_gid)))
                .collect();
            is_clean(this, entries)
        };
        bisect::culprits(chunk.len(), false, &is_clean, |at, alone| {
            if alone || !is_clean(at..at.saturating_add(1))? {
                found.extend(chunk.get(at));
            }
            Ok::<_, ExchangeEnd>(Flow::Continue(()))
        })?;
        rest = more;
    }
    Ok(found)
}

fn give_temporary_values(
    work: &mut Work<'_>,
    items: &[Item],
    first_gid: u32,
) -> Result<(), ExchangeEnd> {
    // No later increment touches these entries, so they would keep the temporary values.
    work.sender.repair_in_full();
    let mut rest = items;
    while !rest.is_empty() {
        let (chunk, more) = work.chunk(rest);
        let staged = chunk.iter().map(|item| staged(work, *item, VALUES, first_gid)).collect();
        // A failed send may have applied a part of the chunk.
        work.ledger.staged.extend(chunk);
        send_all(work, staged)?;
        rest = more;
    }
    work.ledger.staged_count = work.ledger.staged_count.saturating_add(items.len() as u64);
    log::debug!(
        "{} entries have temporary values, because they pass their values round",
        items.len()
    );
    Ok(())
}

/// Sends entries in chunks. Kanidm must accept all of them.
pub(super) fn send_all(work: &mut Work<'_>, entries: Vec<Vec<u8>>) -> Result<(), ExchangeEnd> {
    let mut rest = entries.as_slice();
    while !rest.is_empty() {
        let (chunk, more) =
            rest.split_at(work.batch.fit(rest.iter().map(Vec::len)).clamp(1, rest.len()));
        let entries = Entries::new(chunk.len(), |at| {
            chunk.get(at).map_or_else(Cow::default, |entry| Cow::Borrowed(entry.as_slice()))
        });
        match work.sender.send_whole(&entries, &Retention::Ignore, Leave::Interim)? {
            Sent::Applied(_) => rest = more,
            Sent::Refused(refusal) => {
                log::debug!(
                    "Kanidm refused the temporary values of an exchange: {}",
                    refusal.answer
                );
                return Err(ExchangeEnd::Unknown);
            }
            Sent::TooMuch(_) if chunk.len() > 1 => {
                work.batch.too_much(chunk.len(), chunk.iter().map(Vec::len).sum())
            }
            Sent::TooMuch(error) => {
                return Err(UploadError::Kanidm {
                    doing: "giving an entry temporary values",
                    error,
                }
                .into());
            }
        }
    }
    Ok(())
}
