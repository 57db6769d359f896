//! The fuzz targets. Each is a function of bytes that panics when a promise is broken; the programs
//! in `fuzz_targets/` hand it to libFuzzer, `./run` builds and runs them.
//!
//! Scope: everything that reads bytes from outside. Beside "no panic" each target holds the result
//! to what it promises: a decoded message says the same when it is written and read again, a
//! refresh agrees with a plain model of RFC 4533, a filter and a DN come back from their text, the
//! cron parser agrees with the `cron` crate, an error repeats no secret.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says what it expects by failing"
)]

pub mod answer;
pub mod client_config;
pub mod cron;
pub mod dn;
pub mod entry;
pub mod envelope;
pub mod filter;
pub mod frame;
pub mod listener;
pub mod message;
pub mod metrics;
pub mod seeds;
pub mod session;
pub mod sync_config;

mod file;
mod wire;
