//! The environment, as a function that tests can replace.

use std::ffi::OsString;

/// Looks an environment variable up: `&|name| std::env::var_os(name)` outside tests. It is `Sync`
/// because a reload uses it on another thread.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<OsString> + Sync);
