//! Errors of a refresh.

use crate::ber::DecodeError;
use crate::result::{LdapResult, ResultCode};
use std::fmt;

/// Reason why a refresh failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// The search ended with a result code other than success. This includes 4096 in answer to a
    /// request without a cookie: starting over would not help.
    Failed {
        /// The result code.
        code: ResultCode,
        /// For a search base that does not exist, its nearest existing superior. Mostly empty.
        matched_dn: String,
        /// The server's diagnostic message. May be empty.
        diagnostic: String,
    },
    /// The server ended the connection (Notice of Disconnection, RFC 4511 §4.4.1).
    Disconnected {
        /// The result code.
        code: ResultCode,
        /// The server's diagnostic message. May be empty.
        diagnostic: String,
    },
    /// An entry without Sync State control. The server performed a plain search.
    MissingSyncState {
        /// DN of the entry.
        dn: String,
    },
    /// Success without Sync Done control. The server performed a plain search.
    MissingSyncDone,
    /// Success with several Sync Done controls: several databases of one slapd have answered.
    SeveralSyncDone,
    /// A sync control or Sync Info value that RFC 4533 forbids.
    Decode {
        /// DN of the entry, if the value belongs to an entry.
        dn: Option<String>,
        /// The decoding error.
        error: DecodeError,
    },
    /// A response to another request. A refresh is the only request in progress on its connection.
    UnexpectedMessageId {
        /// Message ID of the refresh.
        expected: u32,
        /// Message ID of the response.
        found: u32,
        /// Operation of the response.
        operation: &'static str,
    },
    /// An operation that is no response to a search.
    UnexpectedOperation {
        /// Operation of the message.
        operation: &'static str,
    },
    /// A message after the refresh has ended.
    AfterEnd {
        /// Operation of the message.
        operation: &'static str,
    },
    /// A refreshPresent after the present phase had ended, or after a deletion. Believing it would
    /// delete every entry that the refresh did not mention.
    OutOfOrder,
    /// slapd answered with an older cookie than the request had: a provider that lags or was
    /// restored. slapd itself sends result code 53 only for changes made at that same server.
    Behind,
    /// More UUIDs than [`crate::Limits::max_uuids`].
    TooManyUuids {
        /// The limit.
        max: usize,
    },
}

impl SessionError {
    pub(super) fn failed(result: &LdapResult<'_>) -> Self {
        let (matched_dn, diagnostic) =
            (result.matched_dn.to_owned(), result.diagnostic.clone().into_owned());
        SessionError::Failed { code: result.code, matched_dn, diagnostic }
    }
}

impl From<DecodeError> for SessionError {
    fn from(error: DecodeError) -> Self {
        SessionError::Decode { dn: None, error }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { code, matched_dn, diagnostic } => {
                write!(f, "the server refused the refresh: {code}")?;
                if !diagnostic.is_empty() {
                    write!(f, ", \"{diagnostic}\"")?;
                }
                if matched_dn.is_empty() { Ok(()) } else { write!(f, " (nearest existing entry: {matched_dn})") }
            }
            Self::Disconnected { code, diagnostic } if diagnostic.is_empty() => write!(f, "the server ended the connection: {code}"),
            Self::Disconnected { code, diagnostic } => write!(f, "the server ended the connection: {code}, \"{diagnostic}\""),
            Self::MissingSyncState { dn } => write!(f, "the entry {dn} came without Sync State control: content sync is not active"),
            Self::MissingSyncDone => f.write_str("the search ended without Sync Done control: content sync is not active"),
            Self::SeveralSyncDone => f.write_str(
                "the search ended with more than one Sync Done control, so several databases have answered: the order of the overlays \
                 is wrong. Put syncprov above glue, on the superior database only (overlay glue first, then overlay syncprov)",
            ),
            Self::Decode { dn: Some(dn), error } => write!(f, "the entry {dn}: {error}"),
            Self::Decode { dn: None, error } => error.fmt(f),
            Self::UnexpectedMessageId { expected, found, operation } => {
                write!(f, "{operation} with message ID {found} during the refresh with message ID {expected}")
            }
            Self::UnexpectedOperation { operation } => write!(f, "{operation} in answer to a search"),
            Self::AfterEnd { operation } => write!(f, "{operation} after the end of the refresh"),
            Self::OutOfOrder => f.write_str("syncInfoValue refreshPresent out of order: the present phase of the refresh was over"),
            Self::Behind => f.write_str("the server is older than the cookie that it was sent"),
            Self::TooManyUuids { max } => write!(f, "more than {max} entries named in one refresh"),
        }
    }
}

impl std::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Decode { error, .. } => Some(error),
            _ => None,
        }
    }
}
