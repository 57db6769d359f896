//! What goes to Kanidm: persons and groups as SCIM entries, and the rules that their values obey.
//!
//! Rule: the only room that knows how an entry looks as JSON. It uses nothing of ours but plain helpers.

pub mod account;
pub mod changeset;
pub mod json;
pub mod rules;
pub mod scim;
pub mod shown;
pub mod unique;

pub use account::Ended;
pub use unique::Claimed;
