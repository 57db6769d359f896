//! Entries that no earlier run could write and that have not changed since.
//!
//! Scope: keeping them cheap. There may be thousands of them, for example with names of Kanidm's
//! own accounts, and usually nothing has changed in Kanidm. They are sent together, separately from
//! new entries. If Kanidm refuses that, each run tries a few of them alone, and different ones each
//! time. If they are not many and the run changes anything, it tries all of them, because the
//! change may have freed a value. A full refresh tries each of them.

use std::collections::HashMap;

use uuid::Uuid;

use super::UploadError;
use super::item::{Form, Item};
use super::send::{Refusal, Sent};
use super::swaps::collide::MAX_RETRIED;
use super::write::{Together, Writer};
use crate::kanidm::error::Fault;

/// Maximum entries tried alone in a run that changes nothing.
const MAX_TRIED_ALONE: usize = 5;

impl Writer<'_> {
    /// Tries these entries, after the new ones. `changed`: true if the run has written or deleted
    /// something, or wants to.
    pub(super) fn write_again(&mut self, changed: bool) -> Result<(), UploadError> {
        let alone = if changed { MAX_RETRIED } else { MAX_TRIED_ALONE };
        let items = std::mem::take(&mut self.again);
        if items.len() <= alone {
            return match (
                self.late(items.len() > 1, |this| this.together(&items, Form::Full, false))?,
                items.as_slice(),
            ) {
                (Together::Applied | Together::Sorted, _) => Ok(()),
                (Together::Taken(refusal), [item]) => self.verdict(*item, Form::Full, refusal),
                // Usually each of them is at fault. A search would take twice as many questions.
                (Together::Taken(_), _) => {
                    items.iter().try_for_each(|item| self.write_late(&[*item]))
                }
            };
        }
        let blocks = self.send_again(&items)?;
        let (alone, together) = choose(&blocks, self.input.run.as_u128(), alone);
        for item in alone {
            self.write_alone(item)?;
        }
        let waiting: Vec<Item> = together.iter().map(|(item, _)| *item).collect();
        let notes: HashMap<Uuid, &str> = self.send_limits(&waiting)?.into_iter().collect();
        for (item, refusal) in together {
            let mut reason = format!(
                "Kanidm refused it in an earlier run, and in this one it was not tried alone, but with {} others like it: {}. `--full-refresh` \
                 tries each",
                items.len().saturating_sub(1),
                refusal.answer
            );
            if let Some(note) = notes.get(&self.uuid(item)) {
                reason.push_str("; ");
                reason.push_str(note);
            }
            // The entry at fault is unknown. A conflict does not count against bad data.
            self.hold_for(item, reason, Fault::Conflict)?;
        }
        Ok(())
    }

    /// Tries one of many entries. Does not search for the holder of the values it wants.
    fn write_alone(&mut self, item: Item) -> Result<(), UploadError> {
        let before = self.collided.len();
        self.write_late(&[item])?;
        for (item, refusal) in self.collided.split_off(before) {
            self.hold_one_of_many(item, refusal)?;
        }
        Ok(())
    }

    /// Sends the entries in chunks, and returns the chunks that Kanidm refused.
    fn send_again(&mut self, items: &[Item]) -> Result<Vec<(Vec<Item>, Refusal)>, UploadError> {
        let (mut refused, mut rest) = (Vec::new(), items);
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.fit(rest));
            match self.post(chunk, Form::Full, false)? {
                Sent::Applied(_) => self.late(false, |this| {
                    this.applied(chunk, Form::Full);
                    Ok(())
                })?,
                Sent::Refused(refusal) => refused.push((chunk.to_vec(), refusal)),
                // The loop sends the chunk again in smaller parts.
                Sent::TooMuch(_) if chunk.len() > 1 => {
                    self.too_much(chunk);
                    continue;
                }
                Sent::TooMuch(_) => self.write_late(chunk)?,
            }
            rest = more;
        }
        Ok(refused)
    }
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
