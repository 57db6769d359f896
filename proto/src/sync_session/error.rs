//! Why a refresh fails.

use crate::ber::DecodeError;
use crate::result::{LdapResult, ResultCode};
use std::fmt;

/// Why a refresh has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// The search ended with a result code other than success. A 4096 without a cookie is one of
    /// them: starting over would not help.
    Failed {
        /// The result code.
        code: ResultCode,
        /// The nearest existing superior of a base that does not exist; mostly empty.
        matched_dn: String,
        /// What the server says about it; may be empty.
        diagnostic: String,
    },
    /// The server ends the connection (Notice of Disconnection, RFC 4511 §4.4.1).
    Disconnected {
        /// Why.
        code: ResultCode,
        /// What the server says about it; may be empty.
        diagnostic: String,
    },
    /// An entry without Sync State control: the server does not synchronise, it only searches.
    MissingSyncState {
        /// The entry.
        dn: String,
    },
    /// Success without Sync Done control: the server does not synchronise, it only searches.
    MissingSyncDone,
    /// Success with more than one: several databases of one slapd have answered.
    SeveralSyncDone,
    /// A synchronisation value that RFC 4533 does not allow.
    Decode {
        /// The entry whose control it is, if it is one of an entry.
        dn: Option<String>,
        /// What is wrong.
        error: DecodeError,
    },
    /// An answer to another request: nothing else is under way during a refresh.
    UnexpectedMessageId {
        /// The ID of the refresh.
        expected: u32,
        /// The ID of the message.
        found: u32,
        /// The operation of the message.
        operation: &'static str,
    },
    /// An operation that does not answer a search.
    UnexpectedOperation {
        /// The operation of the message.
        operation: &'static str,
    },
    /// A message after the refresh has ended.
    AfterEnd {
        /// The operation of the message.
        operation: &'static str,
    },
    /// The end of the present phase, announced when it was over already or deletions had been
    /// named: taken at its word, it would make everything gone that was not mentioned.
    OutOfOrder,
    /// slapd answered with a cookie that is older than the one it was sent for: a provider that has
    /// not caught up, or was restored. Its own result code 53 covers only changes made at that very
    /// server.
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
