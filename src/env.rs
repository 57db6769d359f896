//! The environment, as a function that tests can replace.

use std::ffi::OsString;

/// Looks an environment variable up: `&|name| std::env::var_os(name)` outside tests. A reload does
/// so on a thread of its own.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<OsString> + Sync);
