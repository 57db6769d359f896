//! The scheduled service as its users run it: the real program between a directory and a real
//! Kanidm engine, its status socket in every state, its signals at every stage, its log. What hangs
//! here hangs for as long as the test wants it to; nothing waits for a fixed time.
//!
//! `supervise`, `status_socket` and `schedule_*` test parts of it in this process, `signals` in a
//! child of it.

#[path = "../support/mod.rs"]
mod support;

mod contract;
mod follow;
mod follow_hostile;
mod hangs;
mod load;
mod metrics;
mod output;
mod plugin;
mod reload;
mod schedule_differential;
mod schedule_parse;
mod service;
mod signals;
mod states;
mod status_socket;
mod stops;
mod supervise;
