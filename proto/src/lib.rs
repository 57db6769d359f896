//! Client side of RFC 4533 content synchronisation over LDAPv3 (RFC 4511), without I/O.
//!
//! Scope: encodes requests to bytes and decodes bytes to messages and events. No sockets, clocks,
//! logging or files.
//!
//! ```text
//!  bytes ── frame() ──► NeedMore: read on          one refresh, SyncSession:
//!              │  └────► MessageTooLarge: OversizedReader, which leaves a smaller entry
//!              ▼ Complete                             ┌──────────┐ entry, reference, SyncInfo
//!        LdapMessage::decode()                        │ Receiving│◄──────────┐
//!              │ borrows the bytes                    └────┬─────┴───────────┘
//!              ▼                                           │ SearchResultDone
//!        SyncSession::handle() ──► SyncEvent               ├─ rc 0 and SyncDone control ─► Finished
//!                                                          ├─ rc 4096 on a cookie ───────► RefreshRequired
//!        request::*  ──► bytes                             └─ anything else ─────────────► SessionError
//! ```
//!
//! [`Listener`] takes the messages of a search that never ends, and tells when to refresh.
//!
//! The crate's own reader ([`ber`]) decodes everything received. It copies nothing and checks every
//! limit. rasn encodes everything sent ([`request`]).
//!
//! # Example
//!
//! The bytes are a captured answer of slapd to a refresh with a cookie. One entry was deleted.
//!
//! ```
//! use ldap_content_sync::request::{self, Scope, SearchRequest, SyncMode, SyncRequest};
//! use ldap_content_sync::{
//!     Frame, LdapMessage, Limits, NextCookie, Provider, SyncEvent, SyncSession, filter, frame,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cookie = b"rid=000,csn=20261123125416.965446Z#000000#000#000000";
//! let search = SearchRequest {
//!     base: "dc=example,dc=com",
//!     scope: Scope::Subtree,
//!     filter: &filter::Filter::parse("(objectClass=inetOrgPerson)")?,
//!     attributes: &["uid", "cn"],
//!     size_limit: 0,
//!     time_limit: 0,
//!     types_only: false,
//!     sync: Some(SyncRequest { mode: SyncMode::RefreshOnly, cookie: Some(cookie) }),
//! };
//! let message_id = 2;
//! let _request: Vec<u8> = request::search(message_id, &search); // Send these bytes.
//!
//! let capture = include_bytes!("../../fixtures/captures/slapd-log100/05-delete.ber");
//! let mut received = &capture[14..]; // The first 14 bytes answer the bind.
//!
//! let limits = Limits::default();
//! let mut session = SyncSession::new(Provider::OpenLdap, Some(cookie), message_id, &limits);
//! let outcome = loop {
//!     let Frame::Complete { len } = frame(received, limits.max_message)? else {
//!         return Err("read more bytes here".into());
//!     };
//!     let (message, rest) = received.split_at(len);
//!     received = rest;
//!     match session.handle(&LdapMessage::decode(message, &limits)?)? {
//!         SyncEvent::Entry { uuid, entry } => println!("{uuid} {}", entry.dn()),
//!         SyncEvent::Ignored => {}
//!         SyncEvent::RefreshRequired { .. } => return Err("refresh without a cookie".into()),
//!         SyncEvent::Finished(outcome) => break outcome,
//!     }
//! };
//!
//! assert_eq!(outcome.deleted.len(), 1);
//! assert_eq!(outcome.present, None, "absence does not mean deletion here");
//! assert!(matches!(outcome.cookie, NextCookie::New(next) if next != cookie));
//! # Ok(())
//! # }
//! ```

// The crate never panics on external data. Tests fail by panicking.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::dbg_macro
)]

pub mod ber;
pub mod dn;
pub mod filter;
pub mod limits;
pub mod listener;
pub mod message;
pub mod oversized;
pub mod request;
pub mod result;
pub mod search;
pub mod sync_control;
pub mod sync_session;

pub use ber::{DecodeError, DecodeErrorKind, Frame, frame};
pub use limits::Limits;
pub use listener::{Listener, ListenerEvent, ListenerStage};
pub use message::{Control, Controls, LdapMessage, ProtocolOp};
pub use oversized::Oversized;
pub use result::{LdapResult, ResultCode};
pub use search::{Attribute, SearchResultEntry, SearchResultReference};
pub use sync_session::{
    Cookie, NextCookie, Provider, RefreshOutcome, SessionError, SyncEvent, SyncSession,
};
