//! The client side of RFC 4533 content synchronisation over LDAPv3 (RFC 4511), without I/O.
//!
//! Scope: bytes in, values out, and the other way round. No sockets, clocks, logging or files.

pub mod ber;
pub mod dn;
pub mod filter;
pub mod message;
pub mod request;
pub mod result;
pub mod search;
pub mod sync_control;
pub mod sync_session;
