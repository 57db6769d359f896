//! Peers that are hostile, broken or cut off, on both sides, over real TLS: what they do ends in a
//! clear error or in the correct content. Never in a panic, a hang, or a deletion that nobody asked
//! for.
//!
//! Other programs check which words end a run at each *step*: `directory/failures.rs`,
//! `sync/failures_directory.rs`, `upload/kanidm_client.rs`, `sync/failures_kanidm.rs`. This one
//! spoils a conversation at every message, and within it.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bench;
mod cut;
mod flood;
mod odd;
mod weight;
