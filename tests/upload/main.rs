//! The upload: against a model of Kanidm, and against the real engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what they expect by failing"
)]

mod basics;
mod engine;
mod exchange;
mod jobs;
mod locks;
#[path = "../support/model.rs"]
mod model;
mod outsiders;
mod refused;
mod search;
mod sequences;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/trouble.rs"]
mod trouble;
mod world;
