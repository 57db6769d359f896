//! What a directory identifies itself with.

use std::fs;
use std::path::{Path, PathBuf};

use super::pki::{Identity, Pki};

/// A server's certificate and key, and the authority that vouches for it and for clients, as PEM
/// files.
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub ca: PathBuf,
    pub identity: Identity,
}

impl ServerTls {
    /// With a certificate of an authority that the test has made, such as `pki.expired()`. The
    /// authority must outlive the server.
    pub fn new(pki: &Pki, identity: Identity) -> ServerTls {
        ServerTls { ca: pki.ca().to_owned(), identity }
    }

    /// A new authority's certificate for `localhost`, 127.0.0.1 and ::1. The files lie in `dir`,
    /// and go with it.
    pub fn localhost(dir: &Path) -> ServerTls {
        let pki = Pki::new();
        let identity = pki.localhost();
        let keep = |from: &Path, name: &str| {
            let to = dir.join(name);
            fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
            to
        };
        let certificate = keep(&identity.certificate, "server.crt");
        ServerTls {
            ca: keep(pki.ca(), "ca.crt"),
            identity: Identity { certificate, key: keep(&identity.key, "server.key") },
        }
    }
}
