//! Kanidm's client config (`/etc/kanidm/config`): where Kanidm is and how to verify it.

use std::path::PathBuf;
use std::time::Duration;

/// Where Kanidm is and how to verify it.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `https://host[:port]`, without a trailing slash; `http://` only for a loopback address.
    pub uri: String,
    /// False: the certificate is not verified (warned about on every run).
    pub verify_ca: bool,
    /// False: the certificate may be for another name (warned about on every run).
    pub verify_hostnames: bool,
    /// PEM bundle, added to the system roots.
    pub ca_path: Option<PathBuf>,
    /// For TCP and TLS.
    pub connect_timeout: Duration,
}
