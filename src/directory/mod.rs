//! The LDAP side.
pub mod client;
pub mod connection;
pub mod flavour;
pub mod tls;
