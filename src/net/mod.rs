//! What the directory's and Kanidm's side share: sockets, TLS, deadlines, and their errors in words.
//!
//! Rule: no LDAP, no HTTP, no configuration.

pub mod deadline;
pub mod socket;
pub mod tls;
pub mod tls_error;
