//! Network code that the directory side and the Kanidm side share.
//!
//! Scope: sockets, TLS, deadlines, and their errors as text. No LDAP, no HTTP, no configuration.

pub mod certificate;
pub mod deadline;
pub mod socket;
pub mod tls;
pub mod tls_error;
