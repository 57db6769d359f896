//! Mail addresses that two persons of a run want.
//!
//! Scope: who gets the address. The mapper gives it to the person who comes first, and anybody who
//! may write their own `mail` can come first. The person who has the address in Kanidm therefore
//! keeps it. [`super::swaps::ask`] asks Kanidm. If Kanidm does not say, neither person gets the
//! address.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::item::Item;
use super::swaps::ask::Reply;
use super::write::Writer;
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

impl Writer<'_> {
    /// Asks who has each claimed address. Does nothing in the state Refresh, where Kanidm answers a
    /// question as if all other entries were deleted.
    pub(super) fn settle_claims(&mut self) -> Result<(), UploadError> {
        if self.claims_settled
            || self.input.claimed.is_empty()
            || *self.sender.current() == SyncState::Refresh
        {
            return Ok(());
        }
        self.claims_settled = true;
        let items: HashMap<Uuid, Item> =
            self.order.iter().map(|item| (self.uuid(*item), *item)).collect();
        for claim in self.input.claimed {
            let address = [Unique::Mail(claim.address.clone())];
            let Some(loser) = items.get(&claim.loser).copied() else { continue };
            if let Some(owner) = items.get(&claim.owner).copied() {
                if self.ask(owner, &address)? == Reply::Free {
                    continue;
                }
                self.deny(owner, loser, &claim.address);
            }
            if self.ask(loser, &address)? == Reply::Free {
                self.mails.entry(claim.loser).or_default().with.push(claim.address.clone());
            }
        }
        Ok(())
    }

    /// Takes the address from the first person and reports that person.
    fn deny(&mut self, owner: Item, loser: Item, address: &str) {
        let uuid = self.uuid(owner);
        let denied = &mut self.mails.entry(uuid).or_default().without;
        if denied.iter().any(|other| other == address) {
            return;
        }
        denied.push(address.to_owned());
        let reason = format!(
            "must be unique, and another entry has it in Kanidm; {} wants it as well",
            self.dn(loser)
        );
        let held =
            HeldByKanidm { uuid, dn: self.dn(owner), reason, is_absent: false, is_partial: true };
        self.sender.report.held.push(held);
    }
}

/// Returns a person (JSON) with the changes applied to its addresses.
pub(super) fn changed(change: &MailChange, entry: &[u8]) -> Vec<u8> {
    let Ok(mut content) = serde_json::from_slice::<Map<String, Value>>(entry) else {
        return entry.to_vec();
    };
    let had = content.remove("mail");
    let had =
        had.iter().filter_map(Value::as_array).flatten().filter_map(|mail| mail["value"].as_str());
    let stays = had.filter(|mail| !change.without.iter().any(|denied| denied == mail));
    let mails: Vec<&str> = stays.chain(change.with.iter().map(String::as_str)).collect();
    if !mails.is_empty() {
        let mail = |(at, address): (usize, &&str)| {
            if at == 0 {
                json!({"primary": true, "value": address})
            } else {
                json!({"value": address})
            }
        };
        content.insert("mail".to_owned(), mails.iter().enumerate().map(mail).collect());
    }
    serde_json::to_vec(&content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_and_go_and_one_is_the_primary_one() {
        let entry = br#"{"id":"1","mail":[{"primary":true,"value":"a@x"},{"value":"b@x"}]}"#;
        let change = |without: &[&str], with: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            String::from_utf8(changed(
                &MailChange { without: texts(without), with: texts(with) },
                entry,
            ))
            .unwrap()
        };
        assert_eq!(change(&["a@x"], &[]), r#"{"id":"1","mail":[{"primary":true,"value":"b@x"}]}"#);
        assert_eq!(change(&["a@x", "b@x"], &[]), r#"{"id":"1"}"#);
        assert_eq!(
            change(&["a@x", "b@x"], &["c@x"]),
            r#"{"id":"1","mail":[{"primary":true,"value":"c@x"}]}"#
        );
    }
}
