//! Entries that Kanidm does not accept.
//!
//! Scope: the note about such an entry, with the reason. Kanidm keeps its old content.

use super::item::{Form, Item};
use super::limit::send_limit;
use super::send::Refusal;
use super::work::Work;
use super::{HeldByKanidm, UploadError};
use crate::kanidm::error::Fault;

/// If Kanidm refuses this many entries before it accepts one, the fault is not in the entries.
const MAX_REFUSED_AT_FIRST: usize = 100;

/// The reason that the report gives for a refusal.
pub(super) fn words(work: &Work<'_>, item: Item, why: &Refusal) -> String {
    match why.fault {
        Fault::Masked => format!(
            "its UUID belongs to a deleted entry. Within 7 days: `kanidm recycle-bin revive {}`. Later: set `map_uuid`",
            work.uuid(item)
        ),
        _ => why.answer.to_string(),
    }
}

/// Holds an entry that Kanidm does not accept.
pub(super) fn hold(
    work: &mut Work<'_>,
    item: Item,
    form: Form,
    mut reason: String,
    fault: Fault,
) -> Result<(), UploadError> {
    // The report lists held entries already, and a refused stub decides nothing.
    if !matches!(item, Item::Record(_)) || form == Form::Named {
        return Ok(());
    }
    if let Some(note) = send_limit(work, item, fault)? {
        reason.push_str("; ");
        reason.push_str(note);
    }
    hold_for(work, item, reason, fault)
}

/// As [`hold`], after the lock or time limit of the account was sent.
pub(super) fn hold_for(
    work: &mut Work<'_>,
    item: Item,
    reason: String,
    fault: Fault,
) -> Result<(), UploadError> {
    let held = HeldByKanidm {
        uuid: work.uuid(item),
        dn: work.dn(item),
        reason,
        is_absent: matches!(fault, Fault::Masked | Fault::Foreign),
        is_partial: false,
    };
    log::debug!("not accepted: {} ({}): {}", held.dn, held.uuid, held.reason);
    work.ledger.held.push(held.clone());
    work.ledger.held_items.push(item);
    work.advance(1);
    // Masked, foreign and colliding entries say nothing about other entries, however many there
    // are.
    if fault == Fault::Other && !work.input.tried_before.contains(&held.uuid) {
        work.ledger.refused_for_data = work.ledger.refused_for_data.saturating_add(1);
    }
    if work.ledger.written.is_empty() && work.ledger.refused_for_data >= MAX_REFUSED_AT_FIRST {
        return Err(UploadError::EverythingRefused {
            tried: work.ledger.refused_for_data,
            last: Box::new(held),
        });
    }
    Ok(())
}
