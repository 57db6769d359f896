//! The HTTP side: Kanidm's `/scim/v1/Sync`.
//!
//! Scope: from a change set to Kanidm's content, and the state in between. Read in this order:
//! [`json`] and [`scim`] (what an entry looks like), [`request`] (one POST's body), [`state`] (the cookie, which is our [`envelope`](state::Envelope)),
//! [`transport`] (the two traits), [`client`] (HTTPS), [`upload`] (what is sent when).

mod again;
mod ask;
mod batch;
mod bisect;
pub mod buckets;
mod claimed;
pub mod client;
mod collide;
mod connector;
mod delete;
pub mod error;
mod exchange;
mod first;
mod item;
pub mod json;
pub mod known;
mod limit;
mod members;
pub mod request;
pub mod scim;
mod send;
pub mod sketch;
pub mod state;
pub mod transport;
mod unique;
pub mod upload;
mod write;
pub mod yielded;
