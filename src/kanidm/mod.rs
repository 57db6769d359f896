//! Kanidm's `/scim/v1/Sync`: one request, one answer.
//!
//! [`request`] writes the body of a POST, [`client`] sends it, [`error`] decodes the answer.
//! [`state`] is the cookie that Kanidm keeps for us, with our [`Envelope`](state::Envelope) in it.
//! [`transport`] holds the two traits of the program.
//!
//! Rule: this room does not know which requests make an upload: that is [`crate::upload`].

pub mod buckets;
pub mod client;
mod connector;
pub mod error;
pub mod known;
pub mod request;
pub mod sketch;
pub mod state;
pub mod transport;
