//! Configuration: the files, parsed into types that cannot hold a wrong value.
//!
//! [`sync`] reads our own file, [`client`] reads Kanidm's client configuration, and both read the
//! secrets that they name. An error lists every problem of a file, each with file, line and key.
//! No message repeats a value of the file: any value could be a secret.
//!
//! Rule: types first; the rooms above never see a file.

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

pub use problem::{ConfigError, Problem, Warning};
pub use suggest::suggest;
