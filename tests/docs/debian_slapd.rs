//! A slapd with the configuration that Debian's package makes: `cn=config`, and a database for the
//! suffix without content sync, without TLS, without an account for us.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::support::ldap::LdapClient;
use crate::support::ports;
use crate::support::process::{Server, run};
use crate::support::seed::SUFFIX;
use crate::support::temp::TempDir;

/// The password of `cn=admin`, the rootdn.
pub const ADMIN_PASSWORD: &str = "Admin-pw-1";

/// It ends when dropped. The user that runs the tests has root's rights on `cn=config`.
pub struct DebianSlapd {
    // Before the folder: it is gone first.
    _server: Server,
    port: u16,
    ldaps_port: u16,
    /// Its own, and for what a test does with it.
    pub folder: TempDir,
}

impl DebianSlapd {
    /// With these entries (LDIF) in the database.
    pub fn start(content: &str) -> DebianSlapd {
        let folder = TempDir::new("debian-slapd");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let me = fs::metadata("/proc/self").expect("Linux");
        let template = fs::read_to_string("/usr/share/slapd/slapd.init.ldif")
            .expect("the Debian package slapd");
        let values = [
            ("@SUFFIX@", SUFFIX.to_owned()),
            ("@PASSWORD@", ADMIN_PASSWORD.to_owned()),
            ("/var/lib/ldap", path("db")),
            ("/var/run/slapd", path("")),
            ("gidNumber=0+uidNumber=0", format!("gidNumber={}+uidNumber={}", me.gid(), me.uid())),
        ];
        let config = values.iter().fold(template, |text, (from, to)| text.replace(from, to));
        ["db", "slapd.d"]
            .iter()
            .for_each(|name| fs::create_dir(path(name)).expect("our own folder"));
        run(Command::new("slapadd")
            .args(["-n", "0", "-F", &path("slapd.d"), "-l"])
            .arg(folder.write("init.ldif", config)));
        run(Command::new("slapadd")
            .args(["-n", "1", "-F", &path("slapd.d"), "-l"])
            .arg(folder.write("content.ldif", content)));
        let mut complaint = String::new();
        for _ in 0..5 {
            let [port, ldaps_port] = ports::free();
            let urls = format!(
                "ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{ldaps_port}/ {}/",
                ldapi(&folder)
            );
            let command = ["slapd", "-F", &path("slapd.d"), "-h", &urls, "-d", "0"];
            let server = Server::start(&folder.path().join("slapd.log"), &[], &command);
            match server.wait_until(|| admin(&folder).answers()) {
                Ok(()) => return DebianSlapd { _server: server, port, ldaps_port, folder },
                // Most likely another process has taken the port meanwhile.
                Err(log) => complaint = log,
            }
        }
        panic!("slapd does not start: {complaint}");
    }

    /// Its local socket.
    pub fn ldapi_uri(&self) -> String {
        ldapi(&self.folder)
    }

    /// For StartTLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// For TLS from the first byte, once it has a certificate.
    pub fn ldaps_port(&self) -> u16 {
        self.ldaps_port
    }

    /// The standard clients as `cn=admin`, who may do anything in the database.
    pub fn admin(&self) -> LdapClient {
        admin(&self.folder)
    }
}

fn admin(folder: &TempDir) -> LdapClient {
    LdapClient {
        uri: ldapi(folder),
        ca: None,
        bind_dn: format!("cn=admin,{SUFFIX}"),
        password: ADMIN_PASSWORD.to_owned(),
    }
}

fn ldapi(folder: &TempDir) -> String {
    format!("ldapi://{}", folder.path().join("ldapi").to_str().expect("UTF-8").replace('/', "%2F"))
}
