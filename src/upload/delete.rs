//! Deletions.
//!
//! Scope: the POSTs that delete entries which are gone from the directory.

use std::cell::RefCell;
use std::ops::Range;

use uuid::Uuid;

use super::bisect::{self, Flow};
use super::send::{Leave, Sent, failed};
use super::work::Work;
use super::{HeldByKanidm, UploadError};
use crate::kanidm::error::Fault;
use crate::kanidm::request::{Entries, Retention};

const DELETING: &str = "deleting in Kanidm what is gone from the directory";
const NOT_DELETED: &str = "it is gone from the directory but is not deleted: in Kanidm it does not belong to this sync account";

/// Deletes in separate POSTs that do not move the cookie.
pub(super) fn delete(work: &mut Work<'_>) -> Result<(), UploadError> {
    match &work.input.retention {
        Retention::Ignore => return Ok(()),
        Retention::Retain(_) => {
            match work.sender.send_whole(&Entries::none(), &work.input.retention, Leave::Interim)? {
                Sent::Applied(_) => {}
                other => return Err(failed(DELETING, other)),
            }
        }
        Retention::Delete(uuids) => uuids
            .chunks(work.input.limits.max_entries.max(1))
            .try_for_each(|chunk| delete_list(work, chunk))?,
    }
    work.deleted();
    Ok(())
}

/// Deletes `uuids`, in parts if Kanidm refuses the list. One UUID of another sync account makes
/// Kanidm refuse it.
fn delete_list(work: &mut Work<'_>, uuids: &[Uuid]) -> Result<(), UploadError> {
    let refused = RefCell::new((work, None));
    let deletes = |range: Range<usize>| {
        let (work, refused) = &mut *refused.borrow_mut();
        let part = uuids.get(range).unwrap_or_default();
        let list = Retention::Delete(part.to_vec());
        let sent = match part {
            [_] => work.sender.send_whole(&Entries::none(), &list, Leave::Interim)?,
            _ => work.sender.send(&Entries::none(), &list, Leave::Interim)?,
        };
        if let (Sent::TooMuch(_), [_, _, ..]) = (&sent, part) {
            let (left, right) = part.split_at(part.len() / 2);
            delete_list(work, left)?;
            delete_list(work, right)?;
            return Ok(true);
        }
        let is_applied = matches!(sent, Sent::Applied(_));
        *refused = Some(sent);
        Ok(is_applied)
    };
    bisect::culprits(uuids.len(), false, &deletes, |at, alone| {
        if !alone && deletes(at..at.saturating_add(1))? {
            return Ok(Flow::Continue(()));
        }
        let (work, refused) = &mut *refused.borrow_mut();
        match (refused.take(), uuids.get(at)) {
            (Some(Sent::Refused(refusal)), Some(uuid)) if refusal.fault == Fault::Foreign => {
                work.ledger.not_deleted.push(HeldByKanidm {
                    uuid: *uuid,
                    dn: String::new(),
                    reason: NOT_DELETED.to_owned(),
                    is_absent: true,
                    is_partial: false,
                });
                Ok(Flow::Continue(()))
            }
            (Some(sent), _) => Err(failed(DELETING, sent)),
            (None, _) => Ok(Flow::Continue(())),
        }
    })
    .map(|_| ())
}
