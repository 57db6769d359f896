//! The content for Kanidm: persons and groups as SCIM entries, and the rules for their values.
//!
//! Rule: only this room knows the JSON form of an entry. It uses no other room, only plain helpers.

pub mod account;
pub mod body;
pub mod changeset;
pub mod json;
pub mod members;
pub mod names;
pub mod rules;
pub mod scim;
pub mod sent;
pub mod shown;
pub mod unique;

pub use account::Ended;
pub use unique::Claimed;
