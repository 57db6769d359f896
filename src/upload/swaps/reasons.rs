//! Entries that do not get the values they want.
//!
//! Scope: holding them, with reasons in words. The reason names both entries, as far as they are
//! known, and what an administrator can do.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::candidate::{Candidate, Holder, candidate_of_many};
use super::collide::write_waiting;
use crate::content::unique::Unique;
use crate::kanidm::error::Fault;
use crate::upload::UploadError;
use crate::upload::hold::{hold, words};
use crate::upload::item::{Form, Item};
use crate::upload::send::Refusal;
use crate::upload::work::Work;

/// Holds what could not be solved. The reason names both entries, as far as they are known.
pub(super) fn hold_the_rest(
    work: &mut Work<'_>,
    candidates: &[Candidate],
) -> Result<(), UploadError> {
    // Staged entries that Kanidm refused after all wait again, perhaps in one block.
    write_waiting(work)?;
    let again: Vec<(Item, Refusal)> = std::mem::take(&mut work.ledger.collided);
    let written: BTreeSet<usize> = work.ledger.written.iter().copied().collect();
    let owners = owners(work, candidates, &written);
    let again: Vec<Candidate> = again
        .into_iter()
        .map(|(item, refusal)| Candidate::new(item, refusal, Vec::new(), Vec::new(), false))
        .collect();
    let items: HashSet<Item> = candidates.iter().map(|candidate| candidate.item).collect();
    let is_known = |candidate: &&Candidate| !items.contains(&candidate.item);
    let held: HashSet<Uuid> =
        work.ledger.held.iter().filter(|held| !held.is_partial).map(|held| held.uuid).collect();
    for candidate in candidates.iter().chain(again.iter().filter(is_known)) {
        let Item::Record(at) = candidate.item else { continue };
        if !written.contains(&at) && !held.contains(&work.uuid(candidate.item)) {
            let reason = reason(work, candidate, candidates, &owners);
            hold(work, candidate.item, Form::Full, reason, Fault::Conflict)?;
        }
    }
    Ok(())
}

/// Holds one entry of many.
pub(crate) fn hold_one_of_many(
    work: &mut Work<'_>,
    item: Item,
    refusal: Refusal,
) -> Result<(), UploadError> {
    let candidate = candidate_of_many(work, item, refusal)?;
    let written: BTreeSet<usize> = work.ledger.written.iter().copied().collect();
    let owners = owners(work, std::slice::from_ref(&candidate), &written);
    let reason = reason(work, &candidate, &[], &owners);
    hold(work, item, Form::Full, reason, Fault::Conflict)
}

fn reason(
    work: &Work<'_>,
    candidate: &Candidate,
    candidates: &[Candidate],
    owners: &HashMap<Unique, Item>,
) -> String {
    let mut reason = if candidate.wants.is_empty() {
        words(work, candidate.item, &candidate.refusal)
    } else {
        let sides: Vec<String> = candidate
            .wants
            .iter()
            .map(|(value, holder)| describe_value(work, candidates, owners, value, *holder))
            .collect();
        format!("{} (status {})", sides.join("; "), candidate.refusal.answer.status)
    };
    if work.ledger.staged.contains(&candidate.item) {
        reason.push_str("; it may have a temporary name until then");
    }
    reason
}

/// Maps each wanted value to the entry that was written with it.
fn owners(
    work: &Work<'_>,
    candidates: &[Candidate],
    written: &BTreeSet<usize>,
) -> HashMap<Unique, Item> {
    let wanted: HashSet<&Unique> =
        candidates.iter().flat_map(|c| &c.wants).map(|(value, _)| value).collect();
    let mut owners = HashMap::new();
    if wanted.is_empty() {
        return owners;
    }
    for item in written.iter().map(|at| Item::Record(*at)) {
        owners.extend(
            work.outgoing
                .values(item)
                .into_iter()
                .filter(|value| wanted.contains(value))
                .map(|value| (value, item)),
        );
    }
    owners
}

fn describe_value(
    work: &Work<'_>,
    candidates: &[Candidate],
    owners: &HashMap<Unique, Item>,
    value: &Unique,
    holder: Holder,
) -> String {
    let words = value.words();
    let candidate = match holder {
        Holder::Candidate(i) => candidates.get(i),
        Holder::Another | Holder::Unknown => None,
    };
    if let Some(candidate) = candidate.filter(|c| !c.gives_up(value)) {
        let dn = work.dn(candidate.item);
        return format!(
            "{words} belongs to {dn}, and Kanidm cannot remove it; give that entry another value first"
        );
    }
    let remedy = remedy(value);
    match candidate.map(|c| c.item).or_else(|| owners.get(value).copied()) {
        Some(item) => format!("{words} belongs to {}: {remedy}", work.dn(item)),
        None if is_built_in_name(value) => {
            format!("{words} is that of an account or group of Kanidm's own: {remedy}")
        }
        None if holder == Holder::Unknown => {
            format!(
                "{words} is taken in Kanidm. Too many values are taken to find the holder. Run `--full-refresh`; if it stays, {remedy}"
            )
        }
        None if work.input.full => {
            format!(
                "{words} is taken in Kanidm, outside of this sync account (by {LOCAL}). Rename it there, or {remedy}"
            )
        }
        None => format!(
            "{words} is taken in Kanidm by an entry that this run does not touch: an unchanged one of this directory \
             (`--explain` of this entry tells), {LOCAL}. Rename that one, or {remedy}; \
             `--full-refresh` removes what is gone from the directory"
        ),
    }
}

/// The possible holders of a value outside of this sync account.
const LOCAL: &str = "a local account or group, or another sync account's";

/// Returns true for a name that every Kanidm gives to an account or group of its own.
fn is_built_in_name(value: &Unique) -> bool {
    const PREFIXES: [&str; 3] = ["idm_", "domain_", "system_"];
    match value {
        Unique::Name(name) => {
            ["admin", "anonymous"].contains(&name.as_str())
                || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        }
        Unique::Dn(_) | Unique::Gid(_) | Unique::Mail(_) => false,
    }
}

/// How an administrator gives this entry another value.
fn remedy(value: &Unique) -> &'static str {
    match value {
        Unique::Name(_) => "give this entry another name with map_name",
        Unique::Gid(_) => "give this entry another number with map_gidnumber",
        Unique::Mail(_) => "change the address in the directory",
        Unique::Dn(_) => "synchronise this subtree into one sync account only",
    }
}
