//! From directory entries to SCIM entries: pure functions, no I/O.
pub mod group;
pub mod membership;
pub mod person;
pub mod validate;
