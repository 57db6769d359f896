//! Locks and time limits of held persons.
//!
//! Scope: a lock reaches Kanidm even if the rest of the entry does not. The owner may cause the
//! refusal, for example with the mail address of another person. A lock must not wait for that, so
//! it is sent alone.
//!
//! Kanidm clears each attribute that the schemas of an entry allow and the entry omits. The schema
//! `account` covers only the name, the display name and the limits. The number, shell, addresses,
//! keys and passwords therefore stay. Kanidm refuses such an entry for a UUID that is no person
//! yet, so no incomplete person is created.
//!
//! If the name is taken, an ended account is closed under a temporary name. Its current name in
//! Kanidm cannot be read, and the owner can no longer log in with it.

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
const REQUIRED: [&str; 4] = ["externalId", "id", "name", "displayname"];
/// Maximum POSTs of a search for accounts that cannot be closed. Most of these are persons that
/// Kanidm does not have.
const MAX_SEARCH_POSTS: usize = 4_000;
/// The same maximum for accounts that an earlier run searched and that have not changed since.
const MAX_SEARCH_POSTS_AGAIN: usize = 10;

impl Writer<'_> {
    /// Sends the lock or time limit of a person that is held because of `fault`. Returns a note for
    /// the report, if there is something to say.
    ///
    /// Nothing is sent in the state Refresh, where the POST would delete every other entry. Nothing
    /// is sent for [`Fault::Foreign`]: Kanidm refuses every change to such an entry.
    pub(super) fn send_limit(
        &mut self,
        item: Item,
        fault: Fault,
    ) -> Result<Option<&'static str>, UploadError> {
        // A deleted person cannot log in.
        if item.kind(self.input) != Some(Kind::Person) || fault == Fault::Masked {
            return Ok(None);
        }
        let Some(limit) = only_limits(&self.rendered(item, Form::Full)) else {
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

    /// Sends the limits of several held persons together. Returns a note for each person who needs
    /// one.
    pub(super) fn send_limits(
        &mut self,
        items: &[Item],
    ) -> Result<Vec<(Uuid, &'static str)>, UploadError> {
        let of =
            |item: &Item| Some((self.uuid(*item), only_limits(&self.rendered(*item, Form::Full))?));
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
        let refused = self.close_all(&limits, &mut { MAX_SEARCH_POSTS_AGAIN })?;
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
        let refused = self.close_all(&closed, &mut { MAX_SEARCH_POSTS_AGAIN })?;
        let note = |uuid: Uuid| (uuid, if refused.contains(&uuid) { STILL_OPEN } else { LOCKED });
        Ok(open
            .into_iter()
            .map(|uuid| (uuid, STILL_OPEN))
            .chain(closed.into_iter().map(|(uuid, _)| note(uuid)))
            .collect())
    }

    /// Closes the ended accounts of persons that the mapping holds.
    ///
    /// Each account keeps its name if Kanidm accepts that. Otherwise it is closed under a temporary
    /// name.
    pub(super) fn close_ended(&mut self) -> Result<(), UploadError> {
        self.ended_closed = true;
        let ended = self.input.ended;
        // Without `account_expire`, the entry would only rename the account.
        if *self.sender.current() == SyncState::Refresh || self.yielded.contains(EXPIRE) {
            self.sender.report.open = ended.iter().map(|person| person.uuid).collect();
            return Ok(());
        }
        let is_absent = |person: &&EndedPerson<'_>| {
            let known = self.input.base.known.as_ref();
            known.is_some_and(|known| !known.persons.may_have(person.uuid))
        };
        let (absent, there): (Vec<EndedPerson<'_>>, Vec<_>) = ended.iter().partition(is_absent);
        let (mut again, new): (Vec<EndedPerson<'_>>, Vec<_>) =
            there.into_iter().partition(|person| self.input.tried_before.contains(&person.uuid));
        // The search among these ends early, so each run begins at another one.
        let start = self.input.run.as_u128() % again.len().max(1) as u128;
        again.rotate_left(usize::try_from(start).unwrap_or_default());
        let mut open: HashSet<Uuid> = absent.iter().map(|person| person.uuid).collect();
        for (persons, most) in [(new, MAX_SEARCH_POSTS), (again, MAX_SEARCH_POSTS_AGAIN)] {
            open.extend(self.close(&persons, most)?);
        }
        self.sender.report.open = open;
        Ok(())
    }

    /// Closes the accounts of `persons`, and returns those that stay open. Each of the two searches
    /// takes at most `most` POSTs.
    fn close(
        &mut self,
        persons: &[EndedPerson<'_>],
        most: usize,
    ) -> Result<HashSet<Uuid>, UploadError> {
        let named: Vec<_> = persons
            .iter()
            .filter_map(|person| {
                Some((person.uuid, closing_entry(person, person.ended.name.as_deref()?)))
            })
            .collect();
        let refused = self.close_all(&named, &mut { most })?;
        if self.yielded.contains(EXPIRE) {
            return Ok(persons.iter().map(|person| person.uuid).collect());
        }
        let closed: HashSet<Uuid> =
            named.iter().map(|(uuid, _)| *uuid).filter(|uuid| !refused.contains(uuid)).collect();
        let renamed: Vec<_> = persons
            .iter()
            .filter(|person| !closed.contains(&person.uuid))
            .map(|person| (person.uuid, closing_entry(person, &temporary_name(person.uuid))))
            .collect();
        let open = self.close_all(&renamed, &mut { most })?;
        let renamed = renamed.into_iter().map(|(uuid, _)| uuid).filter(|uuid| !open.contains(uuid));
        self.sender.report.renamed.extend(renamed);
        Ok(open)
    }

    /// Sends `entries` and returns those that Kanidm refuses. The search ends after `left` POSTs;
    /// the remaining entries then count as refused.
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
            entries.iter().map(|(_, entry)| Cow::Owned(self.without_yielded(entry))).collect();
        match (self.sender.send_aside(&together.into(), &Retention::Ignore)?, entries) {
            (Sent::Applied(_), _) => Ok(HashSet::new()),
            (Sent::Refused(refusal), _)
                if refusal.fault == Fault::Masked && self.learn_yielded()? =>
            {
                // Without `account_expire`, the entries would only rename the accounts.
                if self.yielded.contains(EXPIRE) {
                    return Ok(entries.iter().map(|(uuid, _)| *uuid).collect());
                }
                self.close_all(entries, left)
            }
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

/// Reduces a person (JSON) to its time limits and the attributes that Kanidm requires with them.
/// `None` if the person has no limit.
fn only_limits(entry: &[u8]) -> Option<Vec<u8>> {
    let mut entry: Map<String, Value> = serde_json::from_slice(entry).ok()?;
    if !LIMITS.iter().any(|key| entry.contains_key(*key)) {
        return None;
    }
    entry.retain(|key, _| LIMITS.contains(&key.as_str()) || REQUIRED.contains(&key.as_str()));
    entry.insert("schemas".to_owned(), ACCOUNT.into());
    serde_json::to_vec(&entry).ok()
}

/// Gives the result of [`only_limits`] a temporary name. `None` if the account has not ended.
fn under_temporary_name(limit: &[u8], uuid: Uuid) -> Option<Vec<u8>> {
    let mut entry: Map<String, Value> = serde_json::from_slice(limit).ok()?;
    if !entry.get(EXPIRE).and_then(Value::as_str).is_some_and(has_ended) {
        return None;
    }
    entry.insert("name".to_owned(), temporary_name(uuid).into());
    serde_json::to_vec(&entry).ok()
}

/// The JSON object that closes the account of a person without mapped content.
fn closing_entry(person: &EndedPerson<'_>, name: &str) -> Vec<u8> {
    let EndedPerson { uuid, dn, ended } = person;
    let entry = json!({
        "schemas": ACCOUNT,
        "externalId": dn,
        "id": uuid,
        "name": name,
        "displayname": ended.displayname,
        EXPIRE: ended.account_expire,
    });
    entry.to_string().into_bytes()
}
