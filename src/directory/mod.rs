//! The LDAP side: from the configuration to decoded entries.
//!
//! [`tls`] → `connection` (transport, deadlines, one frame buffer) → [`client`] (bind, root DSE, searches, refresh), with
//! [`flavour`] for what each server does differently and [`error`] for what can go wrong, in words.

mod advice;
pub mod client;
pub mod computed;
mod connection;
mod deadline;
pub mod error;
pub mod flavour;
mod frame_buffer;
mod left_out;
pub mod refresh;
pub mod root_dse;
mod socket;
pub mod tls;
mod tls_error;
mod tls_session;
