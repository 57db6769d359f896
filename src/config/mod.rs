//! Configuration: parses files into types that cannot hold an invalid value.
//!
//! [`sync`] reads the sync config of this tool. [`client`] reads Kanidm's client config. Both also
//! read the secret files that they name. An error lists all problems of a file, each with file,
//! line and key. No message repeats a value of the file, because any value may be a secret.
//!
//! Rule: types are separate from the reader. The modules above never see a file.

pub mod client;
pub mod fingerprint;
pub mod keys;
pub mod problem;
pub mod secret;
pub mod sync;

mod document;
mod files;
mod reader;
mod suggest;
mod sync_file;
mod uri;
mod values;

pub use problem::{ConfigError, ConfigProblem, Warning};
pub use suggest::suggest;
