//! Entries that want taken values.
//!
//! Scope: which values Kanidm would refuse an entry, and which colliding entry has them. Kanidm
//! does not say who has a value; [`super::ask`] explains how a refusal tells. The number of
//! questions is limited, however many entries collide and however many addresses they have. A
//! collision without an answer is not solved in this run, and its entries are held.

use super::ask::{Reply, ask};
use crate::content::unique::{Attribute, Unique};
use crate::upload::UploadError;
use crate::upload::item::Item;
use crate::upload::ledger::Exchange;
use crate::upload::send::Refusal;
use crate::upload::work::Work;

/// Maximum values of an entry that are asked for one by one: DN, name, number and a few addresses.
/// The author of an entry may add any number of addresses.
const MAX_VALUES: usize = 8;

/// An entry that wants taken values.
pub(crate) struct Candidate {
    pub(crate) item: Item,
    /// How Kanidm refused it.
    pub(super) refusal: Refusal,
    /// All its values that no other entry may have.
    pub(super) values: Vec<Unique>,
    /// The values that it cannot have, each with its holder.
    pub(crate) wants: Vec<(Unique, Holder)>,
    /// True if it may want more taken values: the questions did not cover all of them.
    pub(super) wants_more: bool,
}

/// The holder of a taken value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// An entry that is not a candidate, as far as the questions went.
    Another,
    /// The candidate at this position.
    Candidate(usize),
    /// Not known: the limit of questions was reached.
    Unknown,
}

impl Candidate {
    pub(crate) fn new(
        item: Item,
        refusal: Refusal,
        values: Vec<Unique>,
        wants: Vec<Unique>,
        wants_more: bool,
    ) -> Self {
        let wants = wants.into_iter().map(|value| (value, Holder::Another)).collect();
        Candidate { item, refusal, values, wants, wants_more }
    }

    /// Returns true if another entry can have this value afterwards. Kanidm keeps the gidnumber of
    /// an entry that no longer has one.
    pub(super) fn gives_up(&self, value: &Unique) -> bool {
        let is_number = |value: &Unique| value.attribute() == Attribute::Gid;
        !is_number(value) || self.values.iter().any(is_number)
    }
}

/// Finds the values that each entry cannot have.
pub(crate) fn candidates(
    work: &mut Work<'_>,
    waiting: Vec<(Item, Refusal)>,
) -> Result<Vec<Candidate>, UploadError> {
    let mut candidates = Vec::with_capacity(waiting.len());
    for (item, refusal) in waiting {
        let values = work.outgoing.values(item);
        let (one_by_one, rest) =
            values.split_at_checked(MAX_VALUES).unwrap_or((values.as_slice(), &[]));
        let (mut wants, mut wants_more) = (Vec::new(), false);
        for value in one_by_one {
            match ask(work, item, std::slice::from_ref(value))? {
                Reply::Free => {}
                Reply::Taken => wants.push(value.clone()),
                Reply::Unasked => wants_more = true,
            }
        }
        wants_more |= !rest.is_empty() && ask(work, item, rest)? != Reply::Free;
        candidates.push(Candidate::new(item, refusal, values, wants, wants_more));
    }
    Ok(candidates)
}

/// Finds one value that an entry cannot have, for an entry among many. Kanidm's refusal may
/// name it. Otherwise values are asked for until the first taken one.
pub(crate) fn candidate_of_many(
    work: &mut Work<'_>,
    item: Item,
    refusal: Refusal,
) -> Result<Candidate, UploadError> {
    let values = work.outgoing.values(item);
    let named: Vec<Attribute> =
        refusal.answer.conflicting().filter_map(Attribute::of_kanidm).collect();
    let mut may_be: Vec<&Unique> = values
        .iter()
        .filter(|value| named.is_empty() || named.contains(&value.attribute()))
        .collect();
    // Names are taken most often, and DNs hardly ever.
    may_be.sort_by_key(|value| value.attribute() == Attribute::Dn);
    may_be.truncate(MAX_VALUES);
    let mut wants = Vec::new();
    match may_be.as_slice() {
        [value] => wants.push((*value).clone()),
        several => {
            for value in several {
                if ask(work, item, std::slice::from_ref(*value))? == Reply::Taken {
                    wants.push((*value).clone());
                    break;
                }
            }
        }
    }
    let mut candidate = Candidate::new(item, refusal, values, wants, true);
    let holder = match work.ledger.exchange {
        Exchange::Whole => Holder::Another,
        Exchange::Untried | Exchange::Failed | Exchange::Partial => Holder::Unknown,
    };
    candidate.wants.iter_mut().for_each(|(_, of)| *of = holder);
    Ok(candidate)
}

/// Finds out which candidate has each value that another one wants.
pub(crate) fn find_holders(
    work: &mut Work<'_>,
    candidates: &mut [Candidate],
) -> Result<(), UploadError> {
    let items: Vec<Item> = candidates.iter().map(|c| c.item).collect();
    for candidate in candidates {
        for (value, holder) in &mut candidate.wants {
            *holder = holder_of(work, &items, candidate.item, value)?;
        }
    }
    Ok(())
}

fn holder_of(
    work: &mut Work<'_>,
    items: &[Item],
    wanting: Item,
    value: &Unique,
) -> Result<Holder, UploadError> {
    for (i, item) in items.iter().enumerate().filter(|(_, item)| **item != wanting) {
        match ask(work, *item, std::slice::from_ref(value))? {
            Reply::Free => return Ok(Holder::Candidate(i)),
            Reply::Taken => {}
            Reply::Unasked => return Ok(Holder::Unknown),
        }
    }
    Ok(Holder::Another)
}
