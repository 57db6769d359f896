//! Configuration: what the files say, parsed into types that cannot hold a wrong value.
//!
//! Scope: the sync config ([`sync`]), Kanidm's client config ([`client`]), and the secrets they name. Everything that is wrong in a file
//! is reported at once, each problem with file, line and key. No message repeats a value of the file: it could be a secret, even where
//! none belongs.

pub mod client;
pub mod fingerprint;
pub mod keys;
pub mod problem;
pub mod secret;
pub mod sync;

mod document;
mod files;
mod suggest;
mod sync_file;
mod uri;
mod values;

use std::ffi::OsString;

pub use problem::{ConfigError, Problem, Warning};
pub use suggest::suggest;

/// Looks an environment variable up: `&|name| std::env::var_os(name)` outside tests. A reload does
/// so on a thread of its own.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<OsString> + Sync);
