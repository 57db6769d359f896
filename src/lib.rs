//! Copies persons and groups from an LDAP directory into Kanidm. The folders stand in the order the data passes them:
//! [`cli`] → [`config`] → [`directory`] → [`mapping`] → [`sync`] → [`kanidm`] → [`service`].

// What is shipped does not panic on data from outside. Tests say what they expect by failing.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented, clippy::dbg_macro)]

pub mod app;
mod check;
pub mod cli;
pub mod config;
pub mod directory;
pub mod error;
mod file;
pub mod heartbeat;
pub mod kanidm;
pub mod log;
pub mod mapping;
mod progress;
pub mod service;
pub mod sync;
mod terminal;
mod within;
