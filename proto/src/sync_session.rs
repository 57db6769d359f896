//! One refresh (RFC 4533 §3.3, mode refreshOnly) as a state machine: message in, event out.
//!
//! Scope: what the messages of one search mean together. Who sends the request, reads the socket
//! and runs the clock is not known here. A refresh is worth something only when
//! [`SyncEvent::Finished`] has come: a stream that ends before is void.
//!
//! ## What is gone?
//! | request | server | what the outcome says |
//! |---|---|---|
//! | without a cookie | any | everything that was not received is gone: `present` |
//! | with a cookie | OpenLDAP, RFC | SyncDone refreshDeletes TRUE: `deleted`. FALSE: a present phase, perhaps an empty one: `present` |
//! | with a cookie | 389 | `deleted` only. 389 never says TRUE; read strictly, its "no change" would mean "delete everything" |
//!
//! `present` of a slapd is not complete: an entry that has changed since the state which the new
//! cookie stands for is left out of the refresh without a word, and is neither there nor gone.
//! [`Snapshot`] tells such entries: look for them by a search, and add them, before anything is
//! deleted because it is absent.
//!
//! A present phase that is ended by refreshPresent and followed by a delete phase yields `present`
//! without what the delete phase names; one that ends once more, or after deletions, is an error.
//! Within one refresh the last message about a UUID counts.

mod cookie;
mod error;

use crate::Limits;
use crate::message::{IntermediateResponse, LdapMessage, ProtocolOp};
use crate::result::{ExtendedResponse, LdapResult, ResultCode};
use crate::search::SearchResultEntry;
use crate::sync_control::{EntryState, SYNC_DONE_OID, SyncDone, SyncInfo, SyncState};
pub use cookie::{Snapshot, is_behind, is_behind_in_full, merge_cookies};
pub use error::SessionError;
use std::borrow::Cow;
use uuid::Uuid;

/// Whose dialect of RFC 4533 the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// OpenLDAP slapd with the syncprov overlay.
    OpenLdap,
    /// 389 Directory Server.
    Ds389,
    /// A server we do not know: RFC 4533 to the letter.
    Rfc4533,
}

/// A refresh under way.
#[derive(Debug)]
pub struct SyncSession {
    provider: Provider,
    message_id: u32,
    limits: Limits,
    /// The cookie of the request; never empty.
    sent: Option<Vec<u8>>,
    /// The cookie received last; may be empty.
    cookie: Option<Vec<u8>>,
    /// Entries received or said to be present, in the order of the server.
    alive: Vec<Uuid>,
    /// Entries said to be gone.
    deleted: Vec<Deletion>,
    references: usize,
    present_phase_ended: bool,
    /// The end of the delete phase, or a deletion, has come.
    delete_phase: bool,
    ended: bool,
}

/// A deletion, and how many UUIDs of `alive` came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deletion {
    uuid: Uuid,
    after: usize,
}

/// What a message of the refresh means for the caller.
#[derive(Clone, Debug)]
pub enum SyncEvent<'a> {
    /// An entry with its attributes: new, changed, or (full refresh) simply there.
    Entry {
        /// Its synchronisation UUID: entryUUID on OpenLDAP, nsUniqueId in UUID form on 389.
        uuid: Uuid,
        /// The entry.
        entry: SearchResultEntry<'a>,
    },
    /// Nothing to do now: recorded for the outcome, or of no meaning for a refresh.
    Ignored,
    /// The server cannot continue from the cookie (result code 4096): start over without one. The
    /// refresh has ended.
    RefreshRequired {
        /// What the server says about it.
        diagnostic: Cow<'a, str>,
    },
    /// The refresh has ended well.
    Finished(RefreshOutcome),
}

/// What a finished refresh says beside the entries. At most one of `present` and `deleted` says
/// anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshOutcome {
    /// What to send next time.
    pub cookie: Cookie,
    /// When set: these exist, everything else is gone, but for what slapd has left out
    /// ([`Snapshot`]). Received entries included; sorted, without duplicates. Servers list UUIDs
    /// that they never sent.
    pub present: Option<Vec<Uuid>>,
    /// These are gone; sorted, without duplicates. One may have been handed out as
    /// [`SyncEvent::Entry`] before: the deletion came later and counts.
    pub deleted: Vec<Uuid>,
    /// Deletions as the server counted them: duplicates, and UUIDs that were received again after
    /// it, included. 389 loses the 51st.
    pub deletions_reported: usize,
    /// SearchResultReference messages. Where they lead to is not followed.
    pub references: usize,
}

/// The cookie after a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// None came: keep the one that was sent, if any.
    Absent,
    /// An empty one came in answer to one that was sent: the server does not know that (slapd).
    /// What was received is the whole content, but without a cookie every later run would be a full
    /// one: run again without a cookie. Nothing is said about what is gone.
    Unusable,
    /// A new one. If it is slapd's, it is merged with the one that was sent ([`merge_cookies`]).
    New(Vec<u8>),
}

impl SyncSession {
    /// A refresh asked for with `message_id` and `cookie`. An empty cookie counts as none: servers
    /// answer it with the whole content.
    pub fn new(
        provider: Provider,
        cookie: Option<&[u8]>,
        message_id: u32,
        limits: &Limits,
    ) -> Self {
        SyncSession {
            provider,
            message_id,
            limits: *limits,
            sent: cookie.filter(|cookie| !cookie.is_empty()).map(<[u8]>::to_vec),
            cookie: None,
            alive: Vec::new(),
            deleted: Vec::new(),
            references: 0,
            present_phase_ended: false,
            delete_phase: false,
            ended: false,
        }
    }

    /// Takes in the next message from the server.
    ///
    /// # Errors
    /// The refresh has failed, and nothing of it may be used: the server says so, or sends what
    /// cannot be part of a refresh.
    pub fn handle<'a>(&mut self, message: &LdapMessage<'a>) -> Result<SyncEvent<'a>, SessionError> {
        if self.ended {
            return Err(SessionError::AfterEnd { operation: message.op.name() });
        }
        let event = self.dispatch(message);
        self.ended = matches!(
            event,
            Err(_) | Ok(SyncEvent::Finished(_) | SyncEvent::RefreshRequired { .. })
        );
        event
    }

    fn dispatch<'a>(&mut self, message: &LdapMessage<'a>) -> Result<SyncEvent<'a>, SessionError> {
        if let (0, ProtocolOp::ExtendedResponse(notification)) = (message.message_id, &message.op) {
            return unsolicited(notification);
        }
        if message.message_id != self.message_id {
            let (expected, found) = (self.message_id, message.message_id);
            return Err(SessionError::UnexpectedMessageId {
                expected,
                found,
                operation: message.op.name(),
            });
        }
        match &message.op {
            ProtocolOp::SearchResultEntry(entry) => self.entry(*entry, message),
            ProtocolOp::SearchResultReference(_) => self.reference(message),
            ProtocolOp::IntermediateResponse(response) => self.intermediate(response),
            ProtocolOp::SearchResultDone(result) => self.done(result, message),
            ProtocolOp::BindResponse(_) | ProtocolOp::ExtendedResponse(_) => {
                Err(SessionError::UnexpectedOperation { operation: message.op.name() })
            }
        }
    }

    fn entry<'a>(
        &mut self,
        entry: SearchResultEntry<'a>,
        message: &LdapMessage<'a>,
    ) -> Result<SyncEvent<'a>, SessionError> {
        let state = SyncState::find(&message.controls, &self.limits)
            .map_err(|error| SessionError::Decode { dn: Some(entry.dn().to_owned()), error })?
            .ok_or_else(|| SessionError::MissingSyncState { dn: entry.dn().to_owned() })?;
        self.note_cookie(state.cookie);
        match state.state {
            EntryState::Add | EntryState::Modify => {
                self.mark_alive(state.uuid)?;
                Ok(SyncEvent::Entry { uuid: state.uuid, entry })
            }
            EntryState::Present => self.mark_alive(state.uuid).map(|()| SyncEvent::Ignored),
            EntryState::Delete => self.mark_deleted(state.uuid).map(|()| SyncEvent::Ignored),
        }
    }

    /// A reference is counted. Its UUID is not part of the outcome: what is behind a reference is
    /// never synchronised. 389 sends no UUID.
    fn reference<'a>(&mut self, message: &LdapMessage<'a>) -> Result<SyncEvent<'a>, SessionError> {
        if let Some(state) = SyncState::find(&message.controls, &self.limits)? {
            self.note_cookie(state.cookie);
        }
        self.references = self.references.saturating_add(1);
        Ok(SyncEvent::Ignored)
    }

    fn intermediate<'a>(
        &mut self,
        response: &IntermediateResponse<'a>,
    ) -> Result<SyncEvent<'a>, SessionError> {
        let Some(info) = SyncInfo::from_intermediate(response, &self.limits)? else {
            return Ok(SyncEvent::Ignored);
        };
        self.note_cookie(info.cookie());
        match info {
            SyncInfo::NewCookie(_) => {}
            SyncInfo::RefreshDelete { .. } => self.delete_phase = true,
            SyncInfo::RefreshPresent { .. } if self.present_phase_ended || self.delete_phase => {
                return Err(SessionError::OutOfOrder);
            }
            SyncInfo::RefreshPresent { .. } => self.present_phase_ended = true,
            SyncInfo::SyncIdSet { refresh_deletes: false, uuids, .. } => {
                uuids.iter().try_for_each(|uuid| self.mark_alive(uuid))?
            }
            SyncInfo::SyncIdSet { refresh_deletes: true, uuids, .. } => {
                uuids.iter().try_for_each(|uuid| self.mark_deleted(uuid))?
            }
        }
        Ok(SyncEvent::Ignored)
    }

    fn done<'a>(
        &mut self,
        result: &LdapResult<'a>,
        message: &LdapMessage<'a>,
    ) -> Result<SyncEvent<'a>, SessionError> {
        if result.code == ResultCode::SYNC_REFRESH_REQUIRED && self.sent.is_some() {
            return Ok(SyncEvent::RefreshRequired { diagnostic: result.diagnostic.clone() });
        }
        if result.code != ResultCode::SUCCESS {
            return Err(SessionError::failed(result));
        }
        if message.controls.iter().filter(|control| control.oid == SYNC_DONE_OID).nth(1).is_some() {
            return Err(SessionError::SeveralSyncDone);
        }
        let done = SyncDone::find(&message.controls, &self.limits)?
            .ok_or(SessionError::MissingSyncDone)?;
        self.note_cookie(done.cookie);
        // By the cookies' form, whatever the server says that it is: a slapd may hide that.
        if let (Some(sent), Some(new)) = (&self.sent, &self.cookie) {
            // Merged, the cookie would claim what the server lacks, and no later refresh would
            // bring it.
            let is_older = if self.absence_means_deletion(done.refresh_deletes) {
                is_behind_in_full
            } else {
                is_behind
            };
            if is_older(sent, new) {
                return Err(SessionError::Behind);
            }
        }
        Ok(SyncEvent::Finished(self.outcome(done.refresh_deletes)))
    }

    fn outcome(&mut self, refresh_deletes: bool) -> RefreshOutcome {
        let cookie = self.next_cookie();
        let deletions_reported = self.deleted.len();
        let gone = take_gone(&mut self.deleted, &self.alive);
        let mut outcome = RefreshOutcome {
            cookie,
            present: None,
            deleted: Vec::new(),
            deletions_reported,
            references: self.references,
        };
        if outcome.cookie == Cookie::Unusable {
            return outcome;
        }
        if self.absence_means_deletion(refresh_deletes) {
            let mut present = std::mem::take(&mut self.alive);
            present.sort_unstable();
            present.dedup();
            present.retain(|uuid| gone.binary_search(uuid).is_err());
            outcome.present = Some(present);
        } else {
            outcome.deleted = gone;
        }
        outcome
    }

    /// Whether an entry that was not mentioned is gone; see the table in the module documentation.
    fn absence_means_deletion(&self, refresh_deletes: bool) -> bool {
        match (&self.sent, self.provider) {
            (None, _) => true,
            (Some(_), Provider::Ds389) => false,
            (Some(_), Provider::OpenLdap | Provider::Rfc4533) => {
                !refresh_deletes || self.present_phase_ended
            }
        }
    }

    fn next_cookie(&mut self) -> Cookie {
        match (self.cookie.take(), &self.sent) {
            (None, _) => Cookie::Absent,
            (Some(new), Some(_)) if new.is_empty() => Cookie::Unusable,
            (Some(new), None) if new.is_empty() => Cookie::Absent,
            (Some(new), Some(sent)) => Cookie::New(merge_cookies(sent, &new)),
            (Some(new), None) => Cookie::New(new),
        }
    }

    fn note_cookie(&mut self, cookie: Option<&[u8]>) {
        if let Some(cookie) = cookie {
            self.cookie = Some(cookie.to_vec());
        }
    }

    fn mark_alive(&mut self, uuid: Uuid) -> Result<(), SessionError> {
        self.check_room()?;
        self.alive.push(uuid);
        Ok(())
    }

    fn mark_deleted(&mut self, uuid: Uuid) -> Result<(), SessionError> {
        self.check_room()?;
        self.delete_phase = true;
        self.deleted.push(Deletion { uuid, after: self.alive.len() });
        Ok(())
    }

    fn check_room(&self) -> Result<(), SessionError> {
        let max = self.limits.max_uuids;
        if self.alive.len().saturating_add(self.deleted.len()) >= max {
            Err(SessionError::TooManyUuids { max })
        } else {
            Ok(())
        }
    }
}

/// The UUIDs deleted and not heard of again after their last deletion; sorted, without duplicates.
fn take_gone(deleted: &mut Vec<Deletion>, alive: &[Uuid]) -> Vec<Uuid> {
    // Sorted by UUID, the last deletion of each first, so that dedup keeps it.
    deleted.sort_unstable_by(|a, b| a.uuid.cmp(&b.uuid).then(b.after.cmp(&a.after)));
    deleted.dedup_by_key(|deletion| deletion.uuid);
    let mut gone = std::mem::take(deleted);
    if !gone.is_empty() {
        let mut revived: Vec<Uuid> = Vec::new();
        for (index, uuid) in alive.iter().enumerate() {
            if let Ok(at) = gone.binary_search_by_key(uuid, |deletion| deletion.uuid)
                && gone.get(at).is_some_and(|deletion| index >= deletion.after)
            {
                revived.push(*uuid);
            }
        }
        revived.sort_unstable();
        gone.retain(|deletion| revived.binary_search(&deletion.uuid).is_err());
    }
    gone.into_iter().map(|deletion| deletion.uuid).collect()
}

/// RFC 4511 §4.4: the Notice of Disconnection ends everything, other unsolicited notifications are
/// ignored.
fn unsolicited<'a>(notification: &ExtendedResponse<'_>) -> Result<SyncEvent<'a>, SessionError> {
    if notification.is_notice_of_disconnection() {
        let diagnostic = notification.result.diagnostic.clone().into_owned();
        return Err(SessionError::Disconnected { code: notification.result.code, diagnostic });
    }
    Ok(SyncEvent::Ignored)
}
