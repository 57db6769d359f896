//! The HTTP side: Kanidm's `/scim/v1/Sync`.
//!
//! Scope: from a change set to Kanidm's content, and the state in between. Read in this order:
//! [`scim`] (what an entry looks like), [`request`] (one POST's body), [`state`] (the cookie, which is our [`envelope`](state::Envelope)),
//! [`transport`] (the two traits), [`client`] (HTTPS), [`upload`] (what is sent when).

mod batch;
pub mod client;
mod collide;
mod connector;
pub mod error;
mod first;
pub mod request;
mod resolver;
pub mod scim;
mod send;
pub mod sketch;
pub mod state;
pub mod transport;
pub mod upload;
mod write;
