//! Attributes that an administrator of Kanidm has yielded to Kanidm (`kanidm system sync
//! set-yield-attributes`).
//!
//! Scope: finding these attributes. Kanidm refuses a POST with a yielded attribute, and gives the
//! same answer as for an entry in the recycle bin. The sync token cannot read which attributes are
//! yielded. The upload therefore sends each attribute alone, in a POST that Kanidm never applies,
//! and the answer tells. It then leaves yielded attributes out of every entry. Later runs do so
//! too, until a full refresh asks again.

use std::borrow::Cow;

use uuid::Uuid;

use super::UploadError;
use super::work::Work;
use crate::content::body::Body;
use crate::kanidm::error::Fault;
use crate::kanidm::state::Yielded;

/// An attribute, and an entry that has only this one.
type Probe = (&'static str, Body);

fn probes(work: &Work<'_>) -> Vec<Probe> {
    Body::of_each_attribute(Uuid::from_u128(work.input.run.as_u128() >> 8))
}

/// Asks which attributes are yielded, after a refusal that may come from one. Returns true if
/// there are any and they were not known.
pub(super) fn learn_yielded(work: &mut Work<'_>) -> Result<bool, UploadError> {
    if work.ledger.asked_for_yielded {
        return Ok(false);
    }
    work.ledger.asked_for_yielded = true;
    let all = probes(work);
    let mut yielded = Yielded::new();
    if is_yielded(work, &all)? {
        for probe in &all {
            if is_yielded(work, std::slice::from_ref(probe))? {
                yielded.insert(probe.0.to_owned());
            }
        }
    }
    let is_new = yielded != work.outgoing.yielded;
    work.outgoing.yielded = yielded;
    Ok(is_new && !work.outgoing.yielded.is_empty())
}

/// Asks whether the known attributes are still yielded, before the first write. If one is not,
/// it is sent again, and the next run is a full refresh.
pub(super) fn ask_for_known_yielded(work: &mut Work<'_>) -> Result<(), UploadError> {
    let writes = !work.order.is_empty() || !work.input.ended.is_empty();
    if work.outgoing.yielded.is_empty() || !writes {
        return Ok(());
    }
    let known: Vec<Probe> =
        probes(work).into_iter().filter(|probe| work.outgoing.yielded.contains(probe.0)).collect();
    for probe in known {
        if !is_yielded(work, std::slice::from_ref(&probe))? {
            work.outgoing.yielded.remove(probe.0);
            // Entries lack the attribute, and no increment brings it.
            work.ledger.repeat_in_full = true;
        }
    }
    Ok(())
}

/// Returns true if Kanidm refuses one of these attributes.
///
/// The last entry is invalid in every Kanidm, so the POST is never applied. Kanidm checks the
/// entries in the order of their UUIDs, and all attributes of one entry before the next. The
/// invalid entry has the largest UUID, and a value of the wrong type for an attribute that
/// cannot be yielded.
fn is_yielded(work: &mut Work<'_>, probes: &[Probe]) -> Result<bool, UploadError> {
    let last = Uuid::from_u128(work.input.run.as_u128() | (0xff << 120));
    let invalid = Body::unreadable(last);
    let bodies = probes.iter().map(|(_, body)| body).chain([&invalid]);
    let entries: Vec<Cow<'_, [u8]>> = bodies.map(|body| Cow::Owned(body.to_bytes())).collect();
    Ok(work.sender.question(&entries.into())?.is_some_and(|refusal| refusal.fault == Fault::Masked))
}

/// The warning of the run about yielded attributes.
pub fn words(yielded: &Yielded) -> String {
    let names: Vec<&str> = yielded.iter().map(String::as_str).collect();
    let locks = match yielded.contains("account_expire") {
        true => ". Locks and end dates of the directory therefore end no access in Kanidm",
        false => "",
    };
    format!(
        "{} is yielded to Kanidm for this sync account, so it is left out of every entry{locks}",
        names.join(", ")
    )
}
