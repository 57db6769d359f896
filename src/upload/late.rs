//! Entries that are written after groups which may have them as members.
//!
//! Scope: groups get their members again at the end, if that may change them. When a group was
//! written, a DN may have meant an entry that gave it up later in the same run.

use std::collections::BTreeSet;

use super::UploadError;
use super::item::{Form, Item};
use super::limit::send_limit;
use super::members::settle_held_members;
use super::work::Work;
use super::write::{attempt, attempt_in_chunks};
use crate::kanidm::error::Fault;

/// Writes entries after groups that may have them as members.
pub(super) fn write_late(work: &mut Work<'_>, items: &[Item]) -> Result<(), UploadError> {
    late(work, items.len() > 1, |this| attempt(this, items, Form::Full, false)).map(|_| ())
}

/// Runs `write`, and notes whether it wrote entries after groups that may have them as members.
/// `several`: true if groups in the same write count, too.
pub(super) fn late<T>(
    work: &mut Work<'_>,
    several: bool,
    write: impl FnOnce(&mut Work<'_>) -> Result<T, UploadError>,
) -> Result<T, UploadError> {
    let (groups, written) = (work.ledger.written_groups.len(), work.ledger.written.len());
    let result = write(work)?;
    let among_them = several && work.ledger.written_groups.len() > groups;
    work.ledger.members_late |= (groups > 0 || among_them) && work.ledger.written.len() > written;
    Ok(result)
}

/// Repairs groups and locks after the search for the entries at fault was abandoned. Written
/// groups treat entries that were not written as held.
pub(super) fn repair_after_giving_up(work: &mut Work<'_>) -> Result<(), UploadError> {
    work.sender.allow_as_many_again();
    let written: BTreeSet<usize> = work.ledger.written.iter().copied().collect();
    let held: Vec<Item> = work
        .order
        .iter()
        .copied()
        .filter(|i| matches!(i, Item::Record(at) if !written.contains(at)))
        .collect();
    for item in &held {
        send_limit(work, *item, Fault::Conflict)?;
    }
    work.ledger.held_items = held;
    settle_members(work)
}

/// Sends written groups again where a member may be wrong. When they were written, a DN may
/// have meant an entry that gives it up in this run.
pub(super) fn settle_members(work: &mut Work<'_>) -> Result<(), UploadError> {
    let groups = std::mem::take(&mut work.ledger.written_groups);
    let sent = if work.ledger.members_late { send_members_again(work, &groups) } else { Ok(()) };
    let settled = sent.and_then(|()| settle_held_members(work, &groups));
    // If the search is abandoned in here, this runs once more.
    work.ledger.written_groups = groups;
    settled
}

fn send_members_again(work: &mut Work<'_>, groups: &[Item]) -> Result<(), UploadError> {
    let written = work.ledger.written.len();
    attempt_in_chunks(work, groups, Form::Full, false)?;
    // The report counted them at their first write.
    work.ledger.written.truncate(written);
    Ok(())
}
