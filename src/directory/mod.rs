//! The directory side: from the configuration to decoded LDAP entries.
//!
//! A `connection` carries messages. A [`client`] binds and searches. A [`refresh`] runs the content
//! synchronisation of RFC 4533. [`follow`] listens for changes. [`flavour`] contains the differences between OpenLDAP and 389.
//! [`error`] describes failures and their remedies.
//!
//! Rule: this module knows nothing of Kanidm and maps no attributes.

mod advice;
mod bind;
pub mod client;
pub mod computed;
mod connection;
pub mod error;
pub mod flavour;
pub mod follow;
mod frame_buffer;
mod left_out;
mod public_text;
pub mod refresh;
pub mod root_dse;
pub mod schema;
mod search;
pub mod sight;
mod tls_session;
