//! Leaving the state Refresh with more than one POST.
//!
//! Scope: the POST that lists every UUID. A POST from Refresh deletes every entry of the sync
//! account that it does not list. The first POST therefore lists them all as stubs. Stubs keep the
//! content and the DN in Kanidm, so they collide with nothing. Afterwards the stored state is an
//! envelope of this program.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use uuid::Uuid;

use super::bisect::{self, Flow};
use super::hold::{hold, words};
use super::item::{Form, Item, stub};
use super::send::{Leave, Refusal, Sent, failed};
use super::work::Work;
use super::{HeldByKanidm, UploadError};
use crate::content::body::Body;
use crate::kanidm::error::{Fault, KanidmError};
use crate::kanidm::request::{Entries, Retention};

/// Lists every UUID in one POST. Holds the entries that make Kanidm refuse the list: they are
/// in the recycle bin, or belong to another sync account.
pub(super) fn list_all(work: &mut Work<'_>) -> Result<(), UploadError> {
    loop {
        let entries = listed(work);
        match work.sender.send_whole(&entries, &Retention::Ignore, Leave::Interim)? {
            Sent::Applied(_) => return Ok(()),
            Sent::TooMuch(error) => {
                return Err(UploadError::RefreshTooLarge {
                    entries: work.order.len(),
                    bytes: entries.byte_len(),
                    error,
                });
            }
            Sent::Refused(refusal) if matches!(refusal.fault, Fault::Masked | Fault::Foreign) => {
                leave_out(work, &refusal)?
            }
            other => return Err(failed("listing all entries", other)),
        }
    }
}

fn listed<'a>(work: &Work<'a>) -> Entries<'a> {
    let (input, order) = (work.input, Rc::clone(&work.order));
    Entries::new(order.len(), move |at| {
        let uuid = order.get(at).map(|item| item.uuid(input)).unwrap_or_default();
        // Kanidm refuses a list without any externalId (`emptyrequest`). Any entry can bring
        // it, because the content sets the right one later.
        let external_id = (at == 0).then(|| temporary_id(uuid));
        Cow::Owned(stub(uuid, external_id.as_deref()))
    })
}

fn leave_out(work: &mut Work<'_>, why: &Refusal) -> Result<(), UploadError> {
    let all = Rc::clone(&work.order);
    let found = at_fault(work, &all, why.fault)?;
    let at_fault: HashSet<Item> = found.iter().copied().collect();
    if found.is_empty() {
        let error = KanidmError::Refused(why.answer.clone());
        return Err(UploadError::Kanidm {
            doing: "listing all entries: Kanidm refuses the list, and accepts each entry alone",
            error,
        });
    }
    work.order = work.order.iter().copied().filter(|item| !at_fault.contains(item)).collect();
    for item in found.iter().copied() {
        let reason = words(work, item, why);
        hold(work, item, Form::Full, reason, why.fault)?;
    }
    match found.last() {
        // An empty list would delete every entry in Kanidm.
        Some(last) if work.order.is_empty() => {
            let last = HeldByKanidm {
                uuid: work.uuid(*last),
                dn: work.dn(*last),
                reason: words(work, *last, why),
                is_absent: true,
                is_partial: false,
            };
            Err(UploadError::EverythingRefused { tried: all.len(), last: Box::new(last) })
        }
        _ => Ok(()),
    }
}

/// Returns the items that cause `fault`. Kanidm refused `items` together for it.
///
/// Each result was refused alone. Kanidm deletes the entries that the list leaves out, and an
/// administrator may repair an entry during the search.
fn at_fault(work: &mut Work<'_>, items: &[Item], fault: Fault) -> Result<Vec<Item>, UploadError> {
    let mut found = Vec::new();
    let this = RefCell::new(work);
    let asks = |range: Range<usize>| {
        is_among(*this.borrow_mut(), items.get(range).unwrap_or_default(), fault)
    };
    bisect::culprits(
        items.len(),
        true,
        |range| Ok(!asks(range)?),
        |at, alone| {
            if alone || asks(at..at.saturating_add(1))? {
                found.extend(items.get(at));
            }
            Ok(Flow::Continue(()))
        },
    )?;
    Ok(found)
}

/// Asks Kanidm whether some of `items` cause `fault`.
///
/// In the state Refresh, a POST with a part of the entries must never succeed. It therefore
/// ends with entries that are wrong in several ways. Kanidm checks for both faults before it
/// reads the contents.
fn is_among(work: &mut Work<'_>, items: &[Item], fault: Fault) -> Result<bool, UploadError> {
    let stubs = items.iter().map(|i| stub(work.uuid(*i), Some(&temporary_id(work.uuid(*i)))));
    let invalid = Body::wrong_in_every_way(work.input.run);
    let invalid = invalid.iter().map(Body::to_bytes);
    let entries: Vec<Cow<'_, [u8]>> = stubs.chain(invalid).map(Cow::Owned).collect();
    Ok(work.sender.probe(&entries.into())?.fault == fault)
}

/// An externalId (JSON) that no directory has.
pub(super) fn temporary_id(uuid: Uuid) -> Vec<u8> {
    format!("\"tmp-{uuid}\"").into_bytes()
}
