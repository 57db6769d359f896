//! The end of an upload: the cookie moves.
//!
//! Scope: the envelope of the finished run, and the POST that stores it.

use super::delete::delete;
use super::send::{Leave, Sent, failed};
use super::work::Work;
use super::{HeldByKanidm, UploadError};
use crate::kanidm::request::{Entries, Retention};
use crate::kanidm::state::{Envelope, MAX_HELD, SyncState};

/// Moves the cookie, if the last write did not.
pub(super) fn finish(work: &mut Work<'_>) -> Result<(), UploadError> {
    if work.ledger.finished {
        return Ok(());
    }
    let envelope = final_envelope(work, &work.ledger.held);
    let was_active = work.input.state != SyncState::Refresh;
    let retention = match &work.input.retention {
        deletions if work.order.is_empty() && was_active && deletions.deletes() => {
            deletions.clone()
        }
        _ => Retention::Ignore,
    };
    if retention != Retention::Ignore || *work.sender.current() != envelope.to_state() {
        match work.sender.send_whole(&Entries::none(), &retention, Leave::Final(&envelope))? {
            Sent::Applied(_) => {}
            // A Delete list can be split.
            Sent::Refused(_) | Sent::TooMuch(_) if retention != Retention::Ignore => {
                delete(work)?;
                store(work, &envelope)?;
            }
            other => return Err(failed("storing the sync state in Kanidm", other)),
        }
    }
    work.ledger.finished = true;
    work.sender.report.envelope = envelope;
    Ok(())
}

fn store(work: &mut Work<'_>, envelope: &Envelope) -> Result<(), UploadError> {
    match work.sender.send_whole(&Entries::none(), &Retention::Ignore, Leave::Final(envelope))? {
        Sent::Applied(_) => Ok(()),
        other => Err(failed("storing the sync state in Kanidm", other)),
    }
}

/// The envelope of the finished run. It demands a full refresh if only that finds held entries
/// which the envelope cannot remember, or replaces temporary values.
pub(super) fn final_envelope(work: &Work<'_>, held: &[HeldByKanidm]) -> Envelope {
    let envelope = (work.input.finish)(held);
    let in_full = work.ledger.repeat_in_full
        || work.ledger.is_waiting()
        || envelope.held.len() > MAX_HELD
        // Another full refresh would leave the same temporary values.
        || (work.ledger.has_temporary_values() && !work.input.full);
    let unfinished = in_full.then(|| work.sender.unfinished());
    Envelope { unfinished, yielded: work.outgoing.yielded.clone(), ..envelope }
}
