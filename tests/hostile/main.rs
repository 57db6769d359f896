//! Peers that are hostile, broken or cut off, on both sides, over real TLS: what they do ends in a
//! clear error or in the correct content. Never in a panic, a hang, or a deletion that nobody asked
//! for.
//!
//! What ends a run at each *step* with which words is shown elsewhere: `directory_failures.rs`,
//! `failures_directory.rs`, `kanidm_client.rs`, `failures_kanidm.rs`. Here a conversation is spoilt
//! at every message, and within it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "made for uploads")]
#[path = "../support/model.rs"]
mod model;
#[allow(dead_code, reason = "made for uploads: only its clock is of use here")]
#[path = "../support/trouble.rs"]
mod trouble;

mod answers;
mod bench;
mod cut;
mod flood;
mod odd;
mod weight;
