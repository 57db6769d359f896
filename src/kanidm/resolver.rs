//! Name resolution for ureq that says so when it fails.
//!
//! Scope: the error. ureq passes on what the system's resolver says as an I/O error like any other, which then reads as if the connection
//! had broken.

use std::{fmt, io};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The host has no address; found again behind [`Error::Other`].
#[derive(Debug)]
pub struct HostNotFound(io::Error);

impl fmt::Display for HostNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for HostNotFound {}

/// The system's resolver.
#[derive(Debug, Default)]
pub struct SystemResolver(DefaultResolver);

impl Resolver for SystemResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.0.resolve(uri, config, timeout).map_err(|error| match error {
            Error::Io(reason) => Error::Other(Box::new(HostNotFound(reason))),
            other => other,
        })
    }
}
