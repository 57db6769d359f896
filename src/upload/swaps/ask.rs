//! Questions to Kanidm about taken values.
//!
//! Scope: whether Kanidm would refuse an entry a value because another entry has it. A POST gives
//! entry *i* the value that entry *j* wants. Kanidm refuses it with a conflict, unless *i* has the
//! value. The POST also carries an invalid entry, so Kanidm always refuses it and never changes
//! anything.

use std::borrow::Cow;

use uuid::Uuid;

use crate::content::body::Body;
use crate::content::json;
use crate::content::unique::Unique;
use crate::kanidm::error::Fault;
use crate::upload::UploadError;
use crate::upload::item::{Item, stub};
use crate::upload::work::Work;
use crate::upload::yielded::learn_yielded;

/// The answer of Kanidm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The entry can have the values.
    Free,
    /// Another entry has one of them.
    Taken,
    /// The limit of questions is reached.
    Unasked,
}

/// Asks whether Kanidm would refuse `item` these values because another entry has one of them.
/// Several values must be mail addresses. Changes nothing.
pub(crate) fn ask(
    work: &mut Work<'_>,
    item: Item,
    values: &[Unique],
) -> Result<Reply, UploadError> {
    let Some(question) = question(work, item, values) else {
        return Ok(Reply::Taken);
    };
    let entries: Vec<Cow<'_, [u8]>> = [question, invalid(work)].map(Cow::Owned).into();
    Ok(match work.sender.question(&entries.into())? {
        None => Reply::Unasked,
        // The refusal may be about a yielded attribute, and not about the values.
        Some(refusal) if refusal.fault == Fault::Masked && learn_yielded(work)? => {
            ask(work, item, values)?
        }
        // `Fault::Other` is the refusal of the invalid entry. Any other fault is about the
        // question.
        Some(refusal) if refusal.fault != Fault::Other => Reply::Taken,
        Some(_) => Reply::Free,
    })
}

/// An entry with these values. `None` if it cannot have them, or is not known.
fn question(work: &Work<'_>, item: Item, values: &[Unique]) -> Option<Vec<u8>> {
    let uuid = work.uuid(item);
    if let [Unique::Dn(dn)] = values {
        return Some(stub(uuid, Some(&json::text(dn))));
    }
    let values: Vec<&Unique> = values.iter().collect();
    let body = Body::with_values(uuid, item.kind(work.input)?, &values)?;
    Some(work.outgoing.without_yielded(body).to_bytes())
}

/// An entry that Kanidm refuses after all other checks, the comparison of values included.
pub(crate) fn invalid(work: &Work<'_>) -> Vec<u8> {
    let uuid = Uuid::from_u128(work.input.run.as_u128() ^ 1);
    work.outgoing.without_yielded(Body::without_display_name(uuid)).to_bytes()
}
