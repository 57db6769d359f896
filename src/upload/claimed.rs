//! Mail addresses that two persons of a run want.
//!
//! Scope: who gets the address. The mapper gives it to the person who comes first, and anybody who
//! may write their own `mail` can come first. The person who has the address in Kanidm therefore
//! keeps it. [`super::swaps::ask`] asks Kanidm. If Kanidm does not say, neither person gets the
//! address.

use std::collections::HashMap;

use uuid::Uuid;

use super::item::Item;
use super::swaps::ask::{Reply, ask};
use super::work::Work;
use super::{HeldByKanidm, UploadError};
use crate::content::unique::Unique;
use crate::kanidm::state::SyncState;

/// Changes to the addresses of a person before it is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct MailChange {
    /// Addresses that the person does not get.
    without: Vec<String>,
    /// Addresses that the person gets in addition.
    with: Vec<String>,
}

impl MailChange {
    /// The addresses that a person with these ones gets.
    pub(super) fn applied_to<'m>(&'m self, mails: impl Iterator<Item = &'m str>) -> Vec<&'m str> {
        mails
            .filter(|mail| !self.without.iter().any(|denied| denied == mail))
            .chain(self.with.iter().map(String::as_str))
            .collect()
    }
}

/// Asks who has each claimed address. Does nothing in the state Refresh, where Kanidm answers a
/// question as if all other entries were deleted.
pub(super) fn settle_claims(work: &mut Work<'_>) -> Result<(), UploadError> {
    if work.ledger.claims_settled
        || work.input.claimed.is_empty()
        || *work.sender.current() == SyncState::Refresh
    {
        return Ok(());
    }
    work.ledger.claims_settled = true;
    let items: HashMap<Uuid, Item> =
        work.order.iter().map(|item| (work.uuid(*item), *item)).collect();
    for claim in work.input.claimed {
        let address = [Unique::Mail(claim.address.clone())];
        let Some(loser) = items.get(&claim.loser).copied() else { continue };
        if let Some(owner) = items.get(&claim.owner).copied() {
            if ask(work, owner, &address)? == Reply::Free {
                continue;
            }
            deny(work, owner, loser, &claim.address);
        }
        if ask(work, loser, &address)? == Reply::Free {
            work.outgoing.mails.entry(claim.loser).or_default().with.push(claim.address.clone());
        }
    }
    Ok(())
}

/// Takes the address from the first person and reports that person.
fn deny(work: &mut Work<'_>, owner: Item, loser: Item, address: &str) {
    let uuid = work.uuid(owner);
    let denied = &mut work.outgoing.mails.entry(uuid).or_default().without;
    if denied.iter().any(|other| other == address) {
        return;
    }
    denied.push(address.to_owned());
    let reason = format!(
        "must be unique, and another entry has it in Kanidm; {} wants it as well",
        work.dn(loser)
    );
    let held =
        HeldByKanidm { uuid, dn: work.dn(owner), reason, is_absent: false, is_partial: true };
    work.ledger.held.push(held);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_and_go() {
        let change = |without: &[&str], with: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            let change = MailChange { without: texts(without), with: texts(with) };
            change.applied_to(["a@x", "b@x"].into_iter()).join(" ")
        };
        assert_eq!(change(&["a@x"], &[]), "b@x");
        assert_eq!(change(&["a@x", "b@x"], &[]), "");
        assert_eq!(change(&["a@x"], &["c@x"]), "b@x c@x");
    }
}
