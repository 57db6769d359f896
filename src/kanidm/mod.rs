//! The HTTP side.
pub mod client;
pub mod scim;
pub mod state;
pub mod upload;
