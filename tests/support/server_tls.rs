//! What a directory identifies itself with.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::run;

/// PEM files of a server.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The certificates that vouch for the server's, and for clients'.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl ServerTls {
    /// A new authority and a certificate for `localhost`, 127.0.0.1 and ::1, as files in `dir`.
    pub fn localhost(dir: &Path) -> ServerTls {
        let tls = ServerTls { ca: dir.join("ca.crt"), certificate: dir.join("server.crt"), key: dir.join("server.key") };
        let certify = |arguments: &str, subject: &str| {
            let common = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj";
            let arguments = common.split(' ').chain([subject]).chain(arguments.split(' '));
            run(Command::new("openssl").current_dir(dir).args(arguments));
        };
        certify("-keyout ca.key -out ca.crt -addext keyUsage=critical,keyCertSign", "/O=Lab/CN=Lab CA");
        let names = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1 -addext basicConstraints=critical,CA:FALSE";
        certify(&format!("-CA ca.crt -CAkey ca.key -keyout server.key -out server.crt {names}"), "/O=Lab/CN=localhost");
        tls
    }
}
