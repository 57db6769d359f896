//! A persistent search (RFC 4533 §3.4, mode refreshAndPersist) used as a doorbell: message in,
//! event out.
//!
//! Scope: *that* the content has changed. A [`SyncSession`](crate::SyncSession) reads *what* has
//! changed, in a refresh of its own. So a wrong, lost or forged message can only start a refresh,
//! or leave one to the next schedule. The listener keeps the cookie of its request and nothing of
//! the stream. Its memory does not grow with the number of messages.
//!
//! ```text
//!              ┌─ entry, UUIDs, reference, new cookie ─► Ring
//!  Refreshing ─┼─ refreshDelete/refreshPresent, refreshDone ─► Persisting
//!              └─ nothing new ─► Quiet
//!  Persisting ─┬─ newcookie ─► Outside
//!              └─ every other message of the search ─► Ring
//!  either ────┬── SearchResultDone 4096 on a cookie ─► CookieRefused ─► over
//!             └── SearchResultDone, Notice of Disconnection ─► Ended ─► over
//! ```
//!
//! A message that rings may also end the refresh stage, so [`Listener::stage`] tells the stage.
//!
//! slapd sends `newcookie` for a change outside the content, and nothing else for it. With the
//! overlay lastbind each bind is such a change, also the bind of a refresh. So a caller that makes a
//! refresh for it would ring for itself. It matters only to a filter on a computed attribute, which
//! may match another entry after the change.

use crate::Limits;
use crate::message::{IntermediateResponse, LdapMessage, ProtocolOp};
use crate::result::{LdapResult, ResultCode};
use crate::sync_control::{SyncInfo, SyncState};
use crate::sync_session::SessionError;
use std::borrow::Cow;

/// A persistent search in progress.
#[derive(Debug)]
pub struct Listener {
    message_id: u32,
    limits: Limits,
    /// The cookie of the request. Never empty.
    sent: Option<Vec<u8>>,
    stage: ListenerStage,
}

/// Stage of a persistent search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerStage {
    /// The server states what has changed since the cookie.
    Refreshing,
    /// The server sends a message for each change.
    Persisting,
    /// The search has ended.
    Over,
}

/// Result of handling one message of the persistent search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerEvent<'a> {
    /// The message reports no change.
    Quiet,
    /// The content has changed, or may have. A refresh tells how.
    Ring,
    /// Something outside the content has changed.
    Outside,
    /// The server cannot continue from the cookie (result code 4096). The search is over.
    CookieRefused {
        /// The server's diagnostic message.
        diagnostic: Cow<'a, str>,
    },
    /// The server has ended the search, or announced the end of the connection. The search is over.
    Ended {
        /// The result code. A server may end a persistent search with success.
        code: ResultCode,
        /// The server's diagnostic message. May be empty.
        diagnostic: Cow<'a, str>,
    },
}

impl Listener {
    /// A persistent search requested with `message_id` and `cookie`. An empty cookie counts as
    /// none.
    pub fn new(cookie: Option<&[u8]>, message_id: u32, limits: &Limits) -> Self {
        Listener {
            message_id,
            limits: *limits,
            sent: cookie.filter(|cookie| !cookie.is_empty()).map(<[u8]>::to_vec),
            stage: ListenerStage::Refreshing,
        }
    }

    /// The stage after the last message.
    pub fn stage(&self) -> ListenerStage {
        self.stage
    }

    /// Handles the next message from the server.
    ///
    /// # Errors
    /// A message that cannot belong to a persistent search. The search is over.
    pub fn handle<'a>(
        &mut self,
        message: &LdapMessage<'a>,
    ) -> Result<ListenerEvent<'a>, SessionError> {
        if self.stage == ListenerStage::Over {
            return Err(SessionError::AfterEnd { operation: message.op.name() });
        }
        let event = self.dispatch(message);
        if !matches!(event, Ok(ListenerEvent::Quiet | ListenerEvent::Ring | ListenerEvent::Outside))
        {
            self.stage = ListenerStage::Over;
        }
        event
    }

    fn dispatch<'a>(
        &mut self,
        message: &LdapMessage<'a>,
    ) -> Result<ListenerEvent<'a>, SessionError> {
        if let (0, ProtocolOp::ExtendedResponse(notice)) = (message.message_id, &message.op) {
            return Ok(if notice.is_notice_of_disconnection() {
                ended(&notice.result)
            } else {
                ListenerEvent::Quiet
            });
        }
        if message.message_id != self.message_id {
            return Err(SessionError::UnexpectedMessageId {
                expected: self.message_id,
                found: message.message_id,
                operation: message.op.name(),
            });
        }
        match &message.op {
            ProtocolOp::SearchResultEntry(entry) => {
                match SyncState::find(&message.controls, &self.limits) {
                    Ok(Some(_)) => Ok(ListenerEvent::Ring),
                    Ok(None) => Err(SessionError::MissingSyncState { dn: entry.dn().to_owned() }),
                    Err(error) => {
                        Err(SessionError::Decode { dn: Some(entry.dn().to_owned()), error })
                    }
                }
            }
            // 389 sends every reference of the content with each refresh, and without a UUID.
            ProtocolOp::SearchResultReference(_) => {
                let state = SyncState::find(&message.controls, &self.limits)?;
                let rings = state.is_some() || self.stage == ListenerStage::Persisting;
                Ok(if rings { ListenerEvent::Ring } else { ListenerEvent::Quiet })
            }
            ProtocolOp::IntermediateResponse(response) => self.intermediate(response),
            ProtocolOp::SearchResultDone(result)
                if result.code == ResultCode::SYNC_REFRESH_REQUIRED && self.sent.is_some() =>
            {
                Ok(ListenerEvent::CookieRefused { diagnostic: result.diagnostic.clone() })
            }
            ProtocolOp::SearchResultDone(result) => Ok(ended(result)),
            ProtocolOp::BindResponse(_) | ProtocolOp::ExtendedResponse(_) => {
                Err(SessionError::UnexpectedOperation { operation: message.op.name() })
            }
        }
    }

    fn intermediate<'a>(
        &mut self,
        response: &IntermediateResponse<'a>,
    ) -> Result<ListenerEvent<'a>, SessionError> {
        let Some(info) = SyncInfo::from_intermediate(response, &self.limits)? else {
            return Ok(ListenerEvent::Quiet);
        };
        let persisting = self.stage == ListenerStage::Persisting;
        if let (true, SyncInfo::NewCookie(_)) = (persisting, &info) {
            return Ok(ListenerEvent::Outside);
        }
        let rings = persisting
            || match info {
                SyncInfo::SyncIdSet { uuids, .. } => !uuids.is_empty(),
                // Without a change slapd ends the refresh with refreshDelete and no cookie, and 389
                // with the same cookie.
                SyncInfo::RefreshDelete { cookie, .. } => self.is_new(cookie),
                SyncInfo::RefreshPresent { .. } => true,
                SyncInfo::NewCookie(cookie) => self.is_new(Some(cookie)),
            };
        if let SyncInfo::RefreshDelete { refresh_done: true, .. }
        | SyncInfo::RefreshPresent { refresh_done: true, .. } = info
        {
            self.stage = ListenerStage::Persisting;
        }
        Ok(if rings { ListenerEvent::Ring } else { ListenerEvent::Quiet })
    }

    fn is_new(&self, cookie: Option<&[u8]>) -> bool {
        cookie.is_some_and(|cookie| self.sent.as_deref() != Some(cookie))
    }
}

fn ended<'a>(result: &LdapResult<'a>) -> ListenerEvent<'a> {
    ListenerEvent::Ended { code: result.code, diagnostic: result.diagnostic.clone() }
}
