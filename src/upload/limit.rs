//! A person who is held, and whose account the directory locks or limits in time.
//!
//! An entry is held as a whole. What keeps it may be its owner's doing, such as a mail address that
//! is somebody else's, and a lock must not wait for that: it is sent by itself. Kanidm clears what
//! a schema allows and an entry does not bring; of the schema `account` alone these are the name,
//! the display name and the limits, so that everything else stays as it is: number, shell,
//! addresses, keys, passwords. An entry that Kanidm does not have as a person yet it refuses with
//! no more than that, so that nobody comes into being half.
//!
//! Where the name itself is what cannot be had, an account that has ended is closed under a
//! temporary name. Which one it has in Kanidm cannot be read, and nobody logs in by it any more.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::item::{Form, Item};
use super::send::Sent;
use super::write::Writer;
use super::{EndedPerson, UploadError};
use crate::content::account::{LOCKED, STILL_OPEN, has_ended};
use crate::content::changeset::Kind;
use crate::content::scim::ACCOUNT;
use crate::content::unique::temporary_name;
use crate::kanidm::error::Fault;
use crate::kanidm::request::Retention;
use crate::kanidm::state::SyncState;

const LIMITS: [&str; 2] = [EXPIRE, "account_valid_from"];
const EXPIRE: &str = "account_expire";
const KEPT: [&str; 4] = ["externalId", "id", "name", "displayname"];
/// Maximum POSTs of a search for accounts that cannot be closed: mostly those of persons whom
/// Kanidm does not have.
const SEARCH: usize = 4_000;
/// The same, among those that were searched by an earlier run and have not changed since.
const SEARCH_AGAIN: usize = 10;

impl Writer<'_> {
    /// Sees to the lock or limit in time of a person who is held, for `fault`. Says in words what
    /// came of it, where there is something to say. From the state Refresh it would delete
    /// everybody else, and Kanidm takes nothing for an entry that is not ours.
    pub(super) fn send_limit(
        &mut self,
        item: Item,
        fault: Fault,
    ) -> Result<Option<&'static str>, UploadError> {
        // Who is deleted does not log in.
        if item.kind(self.input) != Some(Kind::Person) || fault == Fault::Masked {
            return Ok(None);
        }
        let Some(limit) = limits_alone(&self.rendered(item, Form::Full)) else {
            return Ok(None);
        };
        if fault == Fault::Foreign || *self.sender.current() == SyncState::Refresh {
            return Ok(Some(STILL_OPEN));
        }
        let closed = under_temporary_name(&limit, self.uuid(item));
        let dn = self.dn(item);
        match (self.sender.send_aside(&vec![Cow::Owned(limit)].into(), &Retention::Ignore)?, closed)
        {
            (Sent::Applied(_), _) => {
                log::debug!("{dn}: held, but its lock or its limit in time is sent");
                Ok(None)
            }
            (Sent::Refused(refusal), Some(closed)) if refusal.fault == Fault::Conflict => {
                let sent =
                    self.sender.send_aside(&vec![Cow::Owned(closed)].into(), &Retention::Ignore)?;
                Ok(Some(if matches!(sent, Sent::Applied(_)) { LOCKED } else { STILL_OPEN }))
            }
            _ => Ok(Some(STILL_OPEN)),
        }
    }

    /// The same for several, together. Those that something is to be said of.
    pub(super) fn send_limits(
        &mut self,
        items: &[Item],
    ) -> Result<Vec<(Uuid, &'static str)>, UploadError> {
        let of = |item: &Item| {
            Some((self.uuid(*item), limits_alone(&self.rendered(*item, Form::Full))?))
        };
        let limits: Vec<(Uuid, Vec<u8>)> = items.iter().filter_map(of).collect();
        let together: Vec<Cow<'_, [u8]>> =
            limits.iter().map(|(_, limit)| Cow::Borrowed(limit.as_slice())).collect();
        let waits = |limits: Vec<(Uuid, Vec<u8>)>| {
            limits.into_iter().map(|(uuid, _)| (uuid, STILL_OPEN)).collect()
        };
        if limits.is_empty() || *self.sender.current() == SyncState::Refresh {
            return Ok(waits(limits));
        }
        if let Sent::Applied(_) = self.sender.send_aside(&together.into(), &Retention::Ignore)? {
            return Ok(Vec::new());
        }
        let refused = self.close_all(&limits, &mut { SEARCH_AGAIN })?;
        let limits: Vec<(Uuid, Vec<u8>)> =
            limits.into_iter().filter(|(uuid, _)| refused.contains(uuid)).collect();
        let closed: Vec<(Uuid, Vec<u8>)> = limits
            .iter()
            .filter_map(|(uuid, limit)| Some((*uuid, under_temporary_name(limit, *uuid)?)))
            .collect();
        let mut open: HashSet<Uuid> = limits.into_iter().map(|(uuid, _)| uuid).collect();
        closed.iter().for_each(|(uuid, _)| {
            open.remove(uuid);
        });
        let refused = self.close_all(&closed, &mut { SEARCH_AGAIN })?;
        let note = |uuid: Uuid| (uuid, if refused.contains(&uuid) { STILL_OPEN } else { LOCKED });
        Ok(open
            .into_iter()
            .map(|uuid| (uuid, STILL_OPEN))
            .chain(closed.into_iter().map(|(uuid, _)| note(uuid)))
            .collect())
    }

    /// Closes the accounts of persons whom the mapping holds.
    pub(super) fn close_ended(&mut self) -> Result<(), UploadError> {
        self.ended_closed = true;
        let all = self.input.ended.iter().map(|person| (person.uuid, closed(person)));
        let (again, new): (Vec<_>, Vec<_>) =
            all.partition(|(uuid, _)| self.input.tried_before.contains(uuid));
        if *self.sender.current() == SyncState::Refresh {
            self.sender.report.open = self.input.ended.iter().map(|person| person.uuid).collect();
            return Ok(());
        }
        let mut open = self.close_all(&new, &mut { SEARCH })?;
        open.extend(self.close_all(&again, &mut { SEARCH_AGAIN })?);
        self.sender.report.open = open;
        Ok(())
    }

    /// Sends these, and finds those that Kanidm does not take, in so many POSTs more.
    fn close_all(
        &mut self,
        entries: &[(Uuid, Vec<u8>)],
        left: &mut usize,
    ) -> Result<HashSet<Uuid>, UploadError> {
        let Some(rest) = left.checked_sub(1) else {
            return Ok(entries.iter().map(|(uuid, _)| *uuid).collect());
        };
        if entries.is_empty() {
            return Ok(HashSet::new());
        }
        *left = rest;
        let together: Vec<Cow<'_, [u8]>> =
            entries.iter().map(|(_, entry)| Cow::Borrowed(entry.as_slice())).collect();
        match (self.sender.send_aside(&together.into(), &Retention::Ignore)?, entries) {
            (Sent::Applied(_), _) => Ok(HashSet::new()),
            (_, [(uuid, _)]) => Ok(HashSet::from([*uuid])),
            _ => {
                let (left_half, right_half) = entries.split_at(entries.len() / 2);
                let mut open = self.close_all(left_half, left)?;
                open.extend(self.close_all(right_half, left)?);
                Ok(open)
            }
        }
    }
}

/// Of a person, as JSON: when the account may be used, and what Kanidm requires beside it. Nothing
/// if it is not limited.
fn limits_alone(entry: &[u8]) -> Option<Vec<u8>> {
    let mut entry: Map<String, Value> = serde_json::from_slice(entry).ok()?;
    if !LIMITS.iter().any(|key| entry.contains_key(*key)) {
        return None;
    }
    entry.retain(|key, _| LIMITS.contains(&key.as_str()) || KEPT.contains(&key.as_str()));
    entry.insert("schemas".to_owned(), ACCOUNT.into());
    serde_json::to_vec(&entry).ok()
}

/// Such an entry by another name, if the account has ended.
fn under_temporary_name(limit: &[u8], uuid: Uuid) -> Option<Vec<u8>> {
    let mut entry: Map<String, Value> = serde_json::from_slice(limit).ok()?;
    if !entry.get(EXPIRE).and_then(Value::as_str).is_some_and(has_ended) {
        return None;
    }
    entry.insert("name".to_owned(), temporary_name(uuid).into());
    serde_json::to_vec(&entry).ok()
}

/// Such an entry, of a person who was not mapped.
fn closed(person: &EndedPerson<'_>) -> Vec<u8> {
    let EndedPerson { uuid, dn, ended } = person;
    let entry = json!({
        "schemas": ACCOUNT,
        "externalId": dn,
        "id": uuid,
        "name": temporary_name(*uuid),
        "displayname": ended.displayname,
        EXPIRE: ended.account_expire,
    });
    entry.to_string().into_bytes()
}
