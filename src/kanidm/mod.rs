//! Kanidm's `/scim/v1/Sync`: one request, one answer.
//!
//! [`request`] writes the body of a POST, [`client`] sends it, and [`error`] decodes the answer.
//! [`state`] is the cookie that Kanidm keeps for this program; it contains the
//! [`Envelope`](state::Envelope). [`transport`] has the two traits of the program.
//!
//! Rule: this room does not know which requests make an upload. [`crate::upload`] does.

pub mod buckets;
pub mod client;
mod connector;
pub mod error;
pub mod known;
pub mod missed;
pub mod request;
pub mod roster;
pub mod since;
pub mod sketch;
pub mod state;
pub mod token_mark;
pub mod transport;
