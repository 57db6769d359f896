//! Configuration: what the files say, parsed into types that cannot hold a wrong value.
pub mod client;
pub mod secret;
pub mod sync;
