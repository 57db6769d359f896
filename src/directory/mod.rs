//! The LDAP side: from the configuration to decoded entries.
//!
//! A `connection` carries messages, the [`client`] binds and searches, and a [`refresh`] reads the
//! content synchronisation of RFC 4533. [`flavour`] holds what OpenLDAP and 389 do differently.
//! [`error`] says what failed and what to do.
//!
//! Rule: this room never sees Kanidm, and maps nothing.

mod advice;
pub mod client;
pub mod computed;
mod connection;
pub mod error;
pub mod flavour;
mod frame_buffer;
mod left_out;
pub mod refresh;
pub mod root_dse;
mod tls_session;
