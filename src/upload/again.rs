//! Entries that no earlier run could write and that have not changed since.
//!
//! Scope: keeping them cheap. There may be thousands of them, for example with names of Kanidm's
//! own accounts, and usually nothing has changed in Kanidm. They are sent together, separately from
//! new entries. If Kanidm refuses that, each run tries a few of them alone, and different ones each
//! time. If they are not many and the run changes anything, it tries all of them, because the
//! change may have freed a value. A full refresh tries each of them.

use super::UploadError;
use super::hold::hold_for;
use super::item::{Form, Item};
use super::late::{late, write_late};
use super::limit::send_limits;
use super::send::{Refusal, Sent};
use super::swaps::collide::MAX_RETRIED;
use super::swaps::reasons::hold_one_of_many;
use super::work::Work;
use super::write::{Together, together, verdict};
use crate::kanidm::error::Fault;

/// Maximum entries tried alone in a run that changes nothing.
const MAX_TRIED_ALONE: usize = 5;

/// Tries these entries, after the new ones. `changed`: true if the run has written or deleted
/// something, or wants to.
pub(super) fn write_again(work: &mut Work<'_>, changed: bool) -> Result<(), UploadError> {
    let alone = if changed { MAX_RETRIED } else { MAX_TRIED_ALONE };
    let items = std::mem::take(&mut work.ledger.again);
    if items.len() <= alone {
        return match (
            late(work, items.len() > 1, |this| together(this, &items, Form::Full, false))?,
            items.as_slice(),
        ) {
            (Together::Applied | Together::Sorted, _) => Ok(()),
            (Together::Taken(refusal), [item]) => verdict(work, *item, Form::Full, refusal),
            // Usually each of them is at fault. A search would take twice as many questions.
            (Together::Taken(_), _) => items.iter().try_for_each(|item| write_late(work, &[*item])),
        };
    }
    let blocks = send_again(work, &items)?;
    let (alone, together) = choose(&blocks, work.input.run.as_u128(), alone);
    for item in alone {
        write_alone(work, item)?;
    }
    let waiting: Vec<Item> = together.iter().map(|(item, _)| *item).collect();
    let notes = send_limits(work, &waiting)?;
    for (item, refusal) in together {
        let mut reason = format!(
            "Kanidm refused it earlier, and now together with {} others: {}. `--full-refresh` tries each alone",
            items.len().saturating_sub(1),
            refusal.answer
        );
        if let Some(note) = notes.get(&work.uuid(item)) {
            reason.push_str("; ");
            reason.push_str(note);
        }
        // The entry at fault is unknown. A conflict does not count against bad data.
        hold_for(work, item, reason, Fault::Conflict)?;
    }
    Ok(())
}

/// Tries one of many entries. Does not search for the holder of the values it wants.
fn write_alone(work: &mut Work<'_>, item: Item) -> Result<(), UploadError> {
    let before = work.ledger.collided.len();
    write_late(work, &[item])?;
    for (item, refusal) in work.ledger.collided.split_off(before) {
        hold_one_of_many(work, item, refusal)?;
    }
    Ok(())
}

/// Sends the entries in chunks, and returns the chunks that Kanidm refused.
fn send_again(
    work: &mut Work<'_>,
    items: &[Item],
) -> Result<Vec<(Vec<Item>, Refusal)>, UploadError> {
    let (mut refused, mut rest) = (Vec::new(), items);
    while !rest.is_empty() {
        let (chunk, more) = work.chunk(rest);
        match work.post(chunk, Form::Full, false)? {
            Sent::Applied(_) => late(work, false, |this| {
                this.applied(chunk, Form::Full);
                Ok(())
            })?,
            Sent::Refused(refusal) => refused.push((chunk.to_vec(), refusal)),
            // The loop sends the chunk again in smaller parts.
            Sent::TooMuch(_) if chunk.len() > 1 => {
                work.too_much(chunk);
                continue;
            }
            Sent::TooMuch(_) => write_late(work, chunk)?,
        }
        rest = more;
    }
    Ok(refused)
}

/// Chooses `alone` entries, different ones in each run. Returns them and the rest.
fn choose(
    blocks: &[(Vec<Item>, Refusal)],
    run: u128,
    alone: usize,
) -> (Vec<Item>, Vec<(Item, Refusal)>) {
    let mut all: Vec<(Item, Refusal)> = blocks
        .iter()
        .flat_map(|(items, why)| items.iter().map(|item| (*item, why.clone())))
        .collect();
    let start = usize::try_from(run % all.len().max(1) as u128).unwrap_or_default();
    all.rotate_left(start);
    let rest = all.split_off(alone.min(all.len()));
    (all.into_iter().map(|(item, _)| item).collect(), rest)
}
