//! Leaving the state Refresh with more than one POST.
//!
//! Scope: the POST that lists every UUID. A POST from Refresh deletes every entry of the sync
//! account that it does not list. The first POST therefore lists them all as stubs. Stubs keep the
//! content and the DN in Kanidm, so they collide with nothing. Afterwards the stored state is an
//! envelope of this program.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::bisect::{self, Flow};
use super::item::{Form, Item, stub};
use super::send::{Leave, Refusal, Sent, failed};
use super::write::Writer;
use super::{HeldByKanidm, UploadError};
use crate::content::scim;
use crate::kanidm::error::{Fault, KanidmError};
use crate::kanidm::request::{Entries, Retention};

impl<'a> Writer<'a> {
    /// Lists every UUID in one POST. Holds the entries that make Kanidm refuse the list: they are
    /// in the recycle bin, or belong to another sync account.
    pub(super) fn list_all(&mut self) -> Result<(), UploadError> {
        loop {
            let entries = self.listed();
            match self.sender.send_whole(&entries, &Retention::Ignore, Leave::Interim)? {
                Sent::Applied(_) => return Ok(()),
                Sent::TooMuch(error) => {
                    return Err(UploadError::RefreshTooLarge {
                        entries: self.order.len(),
                        bytes: entries.byte_len(),
                        error,
                    });
                }
                Sent::Refused(refusal)
                    if matches!(refusal.fault, Fault::Masked | Fault::Foreign) =>
                {
                    self.leave_out(&refusal)?
                }
                other => return Err(failed("listing all entries", other)),
            }
        }
    }

    fn listed(&self) -> Entries<'a> {
        let (input, order) = (self.input, Rc::clone(&self.order));
        Entries::new(order.len(), move |at| {
            let uuid = order.get(at).map(|item| item.uuid(input)).unwrap_or_default();
            // Kanidm refuses a list without any externalId (`emptyrequest`). Any entry can bring
            // it, because the content sets the right one later.
            let external_id = (at == 0).then(|| temporary_id(uuid));
            Cow::Owned(stub(uuid, external_id.as_deref()))
        })
    }

    fn leave_out(&mut self, why: &Refusal) -> Result<(), UploadError> {
        let all = Rc::clone(&self.order);
        let found = self.at_fault(&all, why.fault)?;
        if found.is_empty() {
            let error = KanidmError::Refused(why.answer.clone());
            return Err(UploadError::Kanidm {
                doing: "listing all entries; which of them are at fault could not be found out",
                error,
            });
        }
        self.order = self.order.iter().copied().filter(|item| !found.contains(item)).collect();
        for item in found.iter().copied() {
            let reason = self.words(item, why);
            self.hold(item, Form::Full, reason, why.fault)?;
        }
        match found.last() {
            // An empty list would delete every entry in Kanidm.
            Some(last) if self.order.is_empty() => {
                let last = HeldByKanidm {
                    uuid: self.uuid(*last),
                    dn: self.dn(*last),
                    reason: self.words(*last, why),
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
    fn at_fault(&mut self, items: &[Item], fault: Fault) -> Result<Vec<Item>, UploadError> {
        let mut found = Vec::new();
        let this = RefCell::new(self);
        let asks = |range: Range<usize>| {
            this.borrow_mut().is_among(items.get(range).unwrap_or_default(), fault)
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
    fn is_among(&mut self, items: &[Item], fault: Fault) -> Result<bool, UploadError> {
        let stubs = items.iter().map(|i| stub(self.uuid(*i), Some(&temporary_id(self.uuid(*i)))));
        let entries: Vec<Cow<'_, [u8]>> =
            stubs.chain(invalid(self.input.run)).map(Cow::Owned).collect();
        Ok(self.sender.probe(&entries.into())?.fault == fault)
    }
}

/// Entries that every Kanidm refuses, even if a later version drops one of its checks. They have
/// values of the wrong type, lack mandatory attributes, and use a number that Kanidm reserves.
fn invalid(run: Uuid) -> impl Iterator<Item = Vec<u8>> {
    let entry = |n: u128, mut content: Value| {
        let uuid = Uuid::from_u128(run.as_u128() ^ n);
        content["id"] = json!(uuid);
        content["externalId"] = json!(format!("tmp-{uuid}"));
        content.to_string().into_bytes()
    };
    let (person, posix, group) = (scim::PERSON, scim::POSIX_PERSON, scim::GROUP);
    [
        entry(1, json!({"schemas": group, "name": true, "description": [], "member": "none"})),
        entry(2, json!({"schemas": person})),
        entry(3, json!({"schemas": posix, "name": "-", "displayname": "", "gidnumber": 0})),
    ]
    .into_iter()
}

/// An externalId (JSON) that no directory has.
pub(super) fn temporary_id(uuid: Uuid) -> Vec<u8> {
    format!("\"tmp-{uuid}\"").into_bytes()
}
