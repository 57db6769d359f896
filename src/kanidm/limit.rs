//! A person who is held, and whose account the directory locks or limits in time.
//!
//! An entry is held as a whole. What keeps it may be its owner's doing, such as a mail address that is somebody else's, and a lock must not
//! wait for that: it is sent by itself. Kanidm clears what a schema allows and an entry does not bring; of the schema `account` alone these
//! are the name, the display name and the limits, so that everything else stays as it is: number, shell, addresses, keys, passwords. An
//! entry that Kanidm does not have as a person yet it refuses with no more than that, so that nobody comes into being half.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::error::Fault;
use super::item::{Form, Item};
use super::request::Retention;
use super::scim::ACCOUNT;
use super::send::Sent;
use super::state::SyncState;
use super::upload::UploadError;
use super::write::Writer;
use crate::sync::changeset::Kind;

const LIMITS: [&str; 2] = ["account_expire", "account_valid_from"];
const KEPT: [&str; 4] = ["externalId", "id", "name", "displayname"];

impl Writer<'_> {
    /// Whether a person who is held, for `fault`, is locked or limited in time by the directory and not by Kanidm. The limit is sent if it
    /// can be: from the state Refresh it would delete everybody else, and Kanidm takes nothing for an entry that is not ours.
    pub(super) fn stays_open(&mut self, item: Item, fault: Fault) -> Result<bool, UploadError> {
        // Who is deleted does not log in.
        if item.kind(self.input) != Some(Kind::Person) || fault == Fault::Masked {
            return Ok(false);
        }
        let Some(entry) = limits_alone(&self.rendered(item, Form::Full)) else {
            return Ok(false);
        };
        if fault == Fault::Foreign || *self.sender.current() == SyncState::Refresh {
            return Ok(true);
        }
        let sent = self.sender.send_aside(&vec![Cow::Owned(entry)].into(), &Retention::Ignore)?;
        if matches!(sent, Sent::Applied(_)) {
            log::debug!("{}: held, but its lock or its limit in time is sent", self.dn(item));
        }
        Ok(!matches!(sent, Sent::Applied(_)))
    }
}

/// Of a person, as JSON: when the account may be used, and what Kanidm requires beside it. Nothing if it is not limited.
pub(super) fn limits_alone(entry: &[u8]) -> Option<Vec<u8>> {
    let mut entry: Map<String, Value> = serde_json::from_slice(entry).ok()?;
    if !LIMITS.iter().any(|key| entry.contains_key(*key)) {
        return None;
    }
    entry.retain(|key, _| LIMITS.contains(&key.as_str()) || KEPT.contains(&key.as_str()));
    entry.insert("schemas".to_owned(), ACCOUNT.into());
    serde_json::to_vec(&entry).ok()
}
