//! One refresh (RFC 4533 §3.3, mode refreshOnly) as a state machine: message in, event out.
//!
//! Scope: the meaning of the messages of one search. The caller sends the request, reads the socket
//! and keeps the time. A refresh is valid only after [`SyncEvent::Finished`]. If the stream ends
//! earlier, discard everything received.
//!
//! ## Deleted entries
//! | request | server | outcome |
//! |---|---|---|
//! | without a cookie | any | `present`: every entry that was not received is deleted |
//! | with a cookie | OpenLDAP, RFC | SyncDone refreshDeletes TRUE: `deleted`. FALSE: a present phase, perhaps an empty one: `present` |
//! | with a cookie | 389 | `deleted` only. 389 never sends TRUE; by the RFC its "no change" would mean "delete everything" |
//!
//! On slapd, `present` is incomplete. slapd omits an entry that has changed since the state of the
//! new cookie: it reports the entry neither as present nor as deleted. [`Snapshot`] detects such
//! entries. Before deleting absent entries, search for the omitted ones and add them to `present`.
//!
//! The server may end a present phase with refreshPresent and start a delete phase. `present` then
//! excludes the entries of the delete phase. A second refreshPresent, or one after a deletion, is
//! an error. Within one refresh the last message about a UUID counts.

mod cookie;
mod error;

use crate::Limits;
use crate::message::{IntermediateResponse, LdapMessage, ProtocolOp};
use crate::result::{ExtendedResponse, LdapResult, ResultCode};
use crate::search::SearchResultEntry;
use crate::sync_control::{EntryState, SYNC_DONE_OID, SyncDone, SyncInfo, SyncState};
pub use cookie::{Cookie, Csn, Snapshot, cookie_of_context, merge_cookies};
pub use error::SessionError;
use std::borrow::Cow;
use uuid::Uuid;

/// The server's dialect of RFC 4533.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// OpenLDAP slapd with the syncprov overlay.
    OpenLdap,
    /// 389 Directory Server.
    Ds389,
    /// An unknown server, read strictly by RFC 4533.
    Rfc4533,
}

/// A refresh in progress.
#[derive(Debug)]
pub struct SyncSession {
    provider: Provider,
    message_id: u32,
    limits: Limits,
    /// The cookie of the request. Never empty.
    sent: Option<Vec<u8>>,
    /// The last cookie received. May be empty.
    cookie: Option<Vec<u8>>,
    /// Entries received or reported as present, in the server's order.
    alive: Vec<Uuid>,
    /// Entries reported as deleted.
    deleted: Vec<Deletion>,
    references: usize,
    present_phase_ended: bool,
    /// True after the end of a delete phase, or after a deletion.
    delete_phase: bool,
    ended: bool,
}

/// A deletion. `after` counts the UUIDs of `alive` that came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deletion {
    uuid: Uuid,
    after: usize,
}

/// Result of handling one message of the refresh.
#[derive(Clone, Debug)]
pub enum SyncEvent<'a> {
    /// An entry with its attributes: a new or changed one, or any entry of a full refresh.
    Entry {
        /// Its sync UUID: entryUUID on OpenLDAP, nsUniqueId in UUID form on 389.
        uuid: Uuid,
        /// The entry.
        entry: SearchResultEntry<'a>,
    },
    /// Nothing to do. The session has recorded the message, or it has no meaning for a refresh.
    Ignored,
    /// The server cannot continue from the cookie (result code 4096). The refresh has ended; start
    /// one without a cookie.
    RefreshRequired {
        /// The server's diagnostic message.
        diagnostic: Cow<'a, str>,
    },
    /// The refresh has ended successfully.
    Finished(RefreshOutcome),
}

/// Result of a finished refresh, apart from its entries. At most one of `present` and `deleted` has
/// content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshOutcome {
    /// The cookie for the next refresh.
    pub cookie: NextCookie,
    /// If set: these entries exist and all others are deleted, except entries that slapd omitted
    /// ([`Snapshot`]). Includes received entries. Sorted, without duplicates. Servers list UUIDs
    /// that they never sent.
    pub present: Option<Vec<Uuid>>,
    /// Deleted entries, sorted, without duplicates. The session may have returned one as
    /// [`SyncEvent::Entry`] before; the later deletion counts.
    pub deleted: Vec<Uuid>,
    /// Number of deletions that the server reported. Includes duplicates and entries that it sent
    /// again later. 389 loses deletions from the 51st on.
    pub deletions_reported: usize,
    /// Number of SearchResultReference messages. The client does not follow references.
    pub references: usize,
}

/// The cookie that a refresh yields for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextCookie {
    /// The server sent no cookie. Keep the cookie of the request, if any.
    Absent,
    /// The server does not know the cookie of the request and answered with an empty one (slapd).
    /// It sent the whole content, but nothing about deletions. Refresh again without a cookie:
    /// otherwise every later refresh is a full one.
    Unusable,
    /// A new cookie. A cookie of slapd is already merged with that of the request
    /// ([`merge_cookies`]).
    New(Vec<u8>),
}

impl SyncSession {
    /// A refresh requested with `message_id` and `cookie`. An empty cookie counts as none, because
    /// servers answer it with the whole content.
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

    /// Handles the next message from the server.
    ///
    /// # Errors
    /// The server reported a failure, or sent a message that cannot belong to a refresh. The
    /// refresh has failed: discard everything received.
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

    /// Counts a reference. Its UUID is not part of the outcome, because the target of a reference
    /// is never synchronised. 389 sends no UUID with it.
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
        // The form of the cookies decides, because a slapd may hide its identity.
        if let (Some(sent), Some(new)) = (&self.sent, &self.cookie) {
            // A merged cookie would claim changes that this server lacks. No later refresh would
            // then deliver them.
            let (sent, new) = (Cookie::parse(sent), Cookie::parse(new));
            let is_older = if self.absence_means_deletion(done.refresh_deletes) {
                new.is_behind_in_full(&sent)
            } else {
                new.is_behind(&sent)
            };
            if is_older {
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
        if outcome.cookie == NextCookie::Unusable {
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

    /// True if an entry is deleted when the refresh does not mention it. The module documentation
    /// has the table.
    fn absence_means_deletion(&self, refresh_deletes: bool) -> bool {
        match (&self.sent, self.provider) {
            (None, _) => true,
            (Some(_), Provider::Ds389) => false,
            (Some(_), Provider::OpenLdap | Provider::Rfc4533) => {
                !refresh_deletes || self.present_phase_ended
            }
        }
    }

    fn next_cookie(&mut self) -> NextCookie {
        match (self.cookie.take(), &self.sent) {
            (None, _) => NextCookie::Absent,
            (Some(new), Some(_)) if new.is_empty() => NextCookie::Unusable,
            (Some(new), None) if new.is_empty() => NextCookie::Absent,
            (Some(new), Some(sent)) => NextCookie::New(merge_cookies(sent, &new)),
            (Some(new), None) => NextCookie::New(new),
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

/// The UUIDs that are deleted and do not occur again after their last deletion. Sorted, without
/// duplicates.
fn take_gone(deleted: &mut Vec<Deletion>, alive: &[Uuid]) -> Vec<Uuid> {
    // Sorted by UUID, last deletion first: dedup keeps the first of equal UUIDs.
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

/// RFC 4511 §4.4: the Notice of Disconnection ends the session. Other unsolicited notifications are
/// ignored.
fn unsolicited<'a>(notification: &ExtendedResponse<'_>) -> Result<SyncEvent<'a>, SessionError> {
    if notification.is_notice_of_disconnection() {
        let diagnostic = notification.result.diagnostic.clone().into_owned();
        return Err(SessionError::Disconnected { code: notification.result.code, diagnostic });
    }
    Ok(SyncEvent::Ignored)
}
