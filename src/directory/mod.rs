//! The LDAP side: from the configuration to decoded entries.
//!
//! [`tls`] → [`connection`] (transport, deadlines, one frame buffer) → [`client`] (bind, root DSE, searches, refresh), with
//! [`flavour`] for what each server does differently and [`error`] for what can go wrong, in words.

pub mod tls;
mod tls_error;
