//! Temporary values: names, numbers and DNs that entries have until their own are free.
//!
//! Scope: a few entries that want values of one another. Temporary values go only to a set of
//! entries in which each wanted value is held inside the set. Then every entry of the set gets its
//! own values.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use crate::content::body::Body;
use crate::content::unique::{Attribute, Unique, temporary_gid, temporary_name};
use crate::kanidm::request::Retention;
use crate::upload::UploadError;
use crate::upload::first::temporary_id;
use crate::upload::item::{Item, stub};
use crate::upload::late::write_late;
use crate::upload::send::{Leave, Sent};
use crate::upload::swaps::candidate::{Candidate, Holder};
use crate::upload::work::Work;

/// Gives a set of entries temporary values, then their own.
pub(super) fn stage(
    work: &mut Work<'_>,
    candidates: &[Candidate],
    set: &[usize],
) -> Result<(), UploadError> {
    let members: Vec<&Candidate> = set.iter().filter_map(|i| candidates.get(*i)).collect();
    let attributes: BTreeSet<Attribute> =
        members.iter().flat_map(|c| &c.wants).map(|(value, _)| value.attribute()).collect();
    let items: Vec<Item> = members.iter().map(|c| c.item).collect();
    let attributes: Vec<Attribute> = attributes.into_iter().collect();
    let entries: Vec<Cow<'_, [u8]>> = items
        .iter()
        .map(|item| Cow::Owned(staged(work, *item, &attributes, temporary_gid(work.input.run))))
        .collect();
    // No later increment would touch these entries, so they would keep their temporary names.
    work.sender.repair_in_full();
    match work.sender.send_whole(&entries.into(), &Retention::Ignore, Leave::Interim)? {
        Sent::Applied(_) => {
            work.ledger.staged.extend(&items);
            work.ledger.staged_count = work.ledger.staged_count.saturating_add(items.len() as u64);
            log::debug!(
                "{} entries have temporary values, because their new ones collide with one another",
                items.len()
            );
            write_late(work, &items)
        }
        Sent::Refused(refusal) => {
            log::debug!("Kanidm refused the temporary values of an exchange: {}", refusal.answer);
            Ok(())
        }
        Sent::TooMuch(error) => Err(UploadError::Kanidm {
            doing: "giving temporary values to entries that collide",
            error,
        }),
    }
}

/// Returns the content of an entry with temporary values for the given attributes. The DN alone
/// needs no content. Temporary gidnumbers start at `first_gid`, and each entry of the run has
/// its own.
pub(crate) fn staged(
    work: &Work<'_>,
    item: Item,
    attributes: &[Attribute],
    first_gid: u32,
) -> Vec<u8> {
    let uuid = work.uuid(item);
    if attributes.iter().all(|a| *a == Attribute::Dn) {
        return stub(uuid, Some(&temporary_id(uuid)));
    }
    let with_temporary = |body: Body, attribute: &Attribute| match attribute {
        Attribute::Dn => body.with_external_id(&format!("tmp-{uuid}")),
        Attribute::Name => body.with_name(&temporary_name(uuid)),
        Attribute::Gid => body.with_other_number(item.temporary_gid(first_gid)),
        Attribute::Mail => body.with_mails(&[]),
    };
    let staged = attributes.iter().fold(work.outgoing.adapted(item), with_temporary);
    work.outgoing.without_yielded(staged).to_bytes()
}

/// Returns sets of candidates in which each wanted value is held inside the set, and no two
/// candidates share a value. Connected candidates are in the same set.
pub(super) fn solvable_sets(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    let solvable = solvable(candidates);
    let mut sets: Vec<BTreeSet<usize>> = Vec::new();
    for (at, candidate) in candidates.iter().enumerate().filter(|(at, _)| solvable.contains(at)) {
        let mut set: BTreeSet<usize> = holders(candidate).chain([at]).collect();
        let (connected, apart): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|other| !other.is_disjoint(&set));
        set.extend(connected.into_iter().flatten());
        sets = apart;
        sets.push(set);
    }
    sets.into_iter().map(|set| set.into_iter().collect()).collect()
}

/// Returns the candidates that can have what they want if all of them give up what they have.
fn solvable(candidates: &[Candidate]) -> BTreeSet<usize> {
    // Only one of two entries with the same value can be written, whether the value is free or not.
    let mut shared: HashMap<&Unique, usize> = HashMap::new();
    candidates
        .iter()
        .flat_map(|candidate| &candidate.values)
        .for_each(|value| *shared.entry(value).or_default() += 1);
    let is_alone =
        |candidate: &Candidate| candidate.values.iter().all(|value| shared.get(value) == Some(&1));
    let may_be = |candidate: &Candidate| {
        !candidate.wants.is_empty() && !candidate.wants_more && is_alone(candidate)
    };
    let of = |at: &usize| candidates.get(*at);
    let mut solvable: BTreeSet<usize> =
        (0..candidates.len()).filter(|at| of(at).is_some_and(may_be)).collect();
    // Without one, those that want a value of it are out as well.
    loop {
        let is_given_up = |(value, holder): &(Unique, Holder)| match holder {
            Holder::Candidate(at) => {
                solvable.contains(at) && of(at).is_some_and(|holder| holder.gives_up(value))
            }
            Holder::Another | Holder::Unknown => false,
        };
        let is_solved = |at: &usize| of(at).is_some_and(|c| c.wants.iter().all(is_given_up));
        let next: BTreeSet<usize> = solvable.iter().copied().filter(is_solved).collect();
        if next.len() == solvable.len() {
            return solvable;
        }
        solvable = next;
    }
}

fn holders(candidate: &Candidate) -> impl Iterator<Item = usize> {
    candidate.wants.iter().filter_map(|(_, holder)| match holder {
        Holder::Candidate(at) => Some(*at),
        Holder::Another | Holder::Unknown => None,
    })
}
