//! The client side of RFC 4533 content synchronisation over LDAPv3 (RFC 4511), without I/O.
//!
//! Scope: bytes in, values out, and the other way round. No sockets, clocks, logging or files.
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
//! What is received is decoded by this crate's own reader ([`ber`]), which copies nothing and
//! checks every limit; what is sent is encoded by rasn ([`request`]).

// What is shipped does not panic on data from outside. Tests say what they expect by failing.
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
pub mod message;
pub mod oversized;
pub mod request;
pub mod result;
pub mod search;
pub mod sync_control;
pub mod sync_session;

pub use ber::{DecodeError, DecodeErrorKind, Frame, frame};
pub use limits::Limits;
pub use message::{Control, Controls, LdapMessage, ProtocolOp};
pub use oversized::Oversized;
pub use result::{LdapResult, ResultCode};
pub use search::{Attribute, SearchResultEntry, SearchResultReference};
pub use sync_session::{Cookie, Provider, RefreshOutcome, SessionError, SyncEvent, SyncSession};
