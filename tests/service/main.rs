//! The scheduled service as its users run it: the real program between a directory and a real
//! Kanidm engine, its status socket in every state, its signals at every stage, its log. What hangs
//! here hangs for as long as the test wants it to; nothing waits for a fixed time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

#[path = "../support/mod.rs"]
mod support;

mod hangs;
mod load;
mod output;
mod reload;
mod service;
mod states;
mod stops;
