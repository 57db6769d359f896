//! Copies persons and groups from an LDAP directory into Kanidm.
//!
//! The modules below are in layers. A module uses only those above it in this list.

// The shipped code does not panic on data from outside. Tests say what they expect by failing.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::dbg_macro
)]

pub mod clock;
mod env;
pub mod exit;
mod file;
pub mod heartbeat;
mod terminal;
mod text;
mod within;

pub mod log;

pub mod content;
pub mod metrics;
pub mod net;
pub mod schedule;

pub mod config;

pub mod directory;
pub mod kanidm;
pub mod mapping;

pub mod upload;

pub mod sync;

pub mod service;

mod check;
pub mod cli;
mod explain;
mod output;
mod progress;
mod settings;

pub mod app;
