//! A real OpenLDAP slapd, configured by `tests/lab/slapd.conf`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ldap::{LdapClient, LdapEntry};
use super::ports;
use super::process::{Data, Server, run};
use super::seed::{Flavour, SUFFIX, SYNC_PASSWORD, Seed};
use super::server_tls::ServerTls;
use super::temp::TempDir;

/// The password of `cn=admin`, the rootdn.
pub const ADMIN_PASSWORD: &str = "admin-secret-1";

/// How slapd is set up. The default: content sync without a session log, the small default seed, no
/// overlays that change groups.
#[derive(Clone, Debug)]
pub struct SlapdOptions {
    pub seed: Seed,
    /// The syncprov overlay, without which there is no content sync.
    pub syncprov: bool,
    /// `syncprov-sessionlog`: how many changes it holds.
    pub sessionlog: Option<u32>,
    /// The memberof and refint overlays.
    pub memberof: bool,
    /// The otp overlay, which also brings its schema.
    pub otp: bool,
    /// The `limits` of `cn=sync`.
    pub sync_limits: String,
    /// Lines for the overlay, such as `syncprov-reloadhint TRUE`.
    pub extra_syncprov: String,
    /// Lines of slapd.conf before the database.
    pub extra_global: String,
    /// Lines of slapd.conf in the database; access rules among them come before those that are
    /// always there.
    pub extra_database: String,
    /// What the server identifies itself with; made for `localhost` and the loopback addresses
    /// where absent.
    pub tls: Option<ServerTls>,
    /// `TLSVerifyClient`: never, allow, try, demand.
    pub verify_client: &'static str,
    /// No TLS at all: no ldaps, and StartTLS is refused.
    pub without_tls: bool,
    /// Serves ldaps on `::1` as well.
    pub ipv6: bool,
}

impl Default for SlapdOptions {
    fn default() -> Self {
        SlapdOptions {
            seed: Seed::default(),
            syncprov: true,
            sessionlog: None,
            memberof: false,
            otp: false,
            sync_limits: "size=unlimited time=unlimited".to_owned(),
            extra_syncprov: String::new(),
            extra_global: String::new(),
            extra_database: String::new(),
            tls: None,
            verify_client: "never",
            without_tls: false,
            ipv6: false,
        }
    }
}

/// A slapd with a database of its own. It ends when dropped.
#[derive(Debug)]
pub struct Slapd {
    server: Option<Server>, // before `dir`: the server ends before its folder goes
    dir: TempDir,
    options: SlapdOptions,
    tls: ServerTls,
    ldaps_port: u16,
    ldap_port: u16,
}

impl Slapd {
    /// Loads the seed and starts the server; returns when it answers.
    pub fn start(options: SlapdOptions) -> Slapd {
        let dir = TempDir::new("slapd");
        let tls = options.tls.clone().unwrap_or_else(|| ServerTls::localhost(dir.path()));
        let mut slapd = Slapd { server: None, dir, options, tls, ldaps_port: 0, ldap_port: 0 };
        slapd.write_configuration();
        slapd.load();
        slapd.up();
        slapd
    }

    /// `ldaps://localhost:port`
    pub fn uri(&self) -> String {
        format!("ldaps://localhost:{}", self.ldaps_port)
    }

    /// `ldap://localhost:port`, for StartTLS.
    pub fn starttls_uri(&self) -> String {
        format!("ldap://localhost:{}", self.ldap_port)
    }

    /// `ldapi://%2Fpath`
    pub fn ldapi_uri(&self) -> String {
        format!("ldapi://{}", self.path("ldapi").display().to_string().replace('/', "%2F"))
    }

    /// `ldaps://[::1]:port`, with the option `ipv6`.
    pub fn ipv6_uri(&self) -> String {
        format!("ldaps://[::1]:{}", self.ldaps_port)
    }

    /// The port of `ldaps`, on 127.0.0.1.
    pub fn ldaps_port(&self) -> u16 {
        self.ldaps_port
    }

    /// The certificates that vouch for the server, PEM.
    pub fn ca(&self) -> &Path {
        &self.tls.ca
    }

    /// The server's process id; panics when it is down.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("slapd is up").pid()
    }

    /// The standard clients as `cn=admin`, who may do anything.
    pub fn admin(&self) -> LdapClient {
        LdapClient {
            uri: self.ldapi_uri(),
            ca: None,
            bind_dn: format!("cn=admin,{SUFFIX}"),
            password: ADMIN_PASSWORD.to_owned(),
        }
    }

    /// The standard clients as `cn=sync`, over ldaps: what our own tool does, by other means.
    pub fn sync(&self) -> LdapClient {
        LdapClient {
            // Not localhost: libldap would look for this machine's own name in the certificate.
            uri: format!("ldaps://127.0.0.1:{}", self.ldaps_port),
            ca: Some(self.tls.ca.clone()),
            bind_dn: format!("cn=sync,{SUFFIX}"),
            password: SYNC_PASSWORD.to_owned(),
        }
    }

    /// Changes the directory: see [`LdapClient::modify`].
    pub fn modify(&self, ldif: &str) {
        self.admin().modify(ldif);
    }

    /// See [`LdapClient::change`].
    pub fn change(&self, dn: &str, change: &str) {
        self.admin().change(dn, change);
    }

    pub fn rename(&self, dn: &str, rdn: &str) {
        self.admin().rename(dn, rdn);
    }

    pub fn delete(&self, dn: &str) {
        self.admin().delete(dn);
    }

    /// Reads the directory: see [`LdapClient::search`].
    pub fn search(&self, base: &str, filter: &str, attributes: &[&str]) -> Vec<LdapEntry> {
        self.admin().search(base, filter, attributes)
    }

    /// Ends the server in good order and keeps the database.
    pub fn stop(&mut self) {
        self.down("TERM");
    }

    /// Ends the server as a crash does, with SIGKILL, and keeps the database.
    pub fn kill(&mut self) {
        self.down("KILL");
    }

    /// Starts the server again at the same addresses, ending it first if it is up.
    pub fn restart(&mut self) {
        self.down("TERM");
        self.up();
    }

    /// The server accepts connections and does not answer, until [`resume`](Self::resume).
    pub fn pause(&mut self) {
        self.server.as_mut().expect("slapd is up").signal("STOP");
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self) {
        self.server.as_mut().expect("slapd is up").signal("CONT");
    }

    /// The database as LDIF with all operational attributes, for a later [`reload`](Self::reload):
    /// a backup and its restoration.
    pub fn dump(&self) -> String {
        let ldif = run(Command::new("slapcat")
            .arg("-f")
            .arg(self.path("slapd.conf"))
            .args(["-o", "ldif-wrap=no"]));
        String::from_utf8(ldif).expect("LDIF is UTF-8")
    }

    /// Ends the server, replaces the database by another seed, starts again.
    pub fn reload(&mut self, seed: Seed) {
        self.down("TERM");
        self.options.seed = seed;
        self.load();
        self.up();
    }

    /// Ends the server, changes the options (not the seed: the database stays), starts again.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut SlapdOptions)) {
        self.down("TERM");
        change(&mut self.options);
        self.write_configuration();
        self.up();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn down(&mut self, signal: &str) {
        if let Some(server) = self.server.take() {
            server.end(signal, Data::Keep);
        }
    }

    fn up(&mut self) {
        let mut complaint = String::new();
        for _ in 0..5 {
            if self.ldaps_port == 0 {
                [self.ldaps_port, self.ldap_port] = ports::free();
            }
            let configuration = self.path("slapd.conf");
            let mut urls = format!("ldap://127.0.0.1:{}/ {}/", self.ldap_port, self.ldapi_uri());
            if !self.options.without_tls {
                urls += &format!(" ldaps://127.0.0.1:{}/", self.ldaps_port);
            }
            if self.options.ipv6 && !self.options.without_tls {
                urls += &format!(" ldaps://[::1]:{}/", self.ldaps_port);
            }
            let command =
                ["slapd", "-f", configuration.to_str().expect("UTF-8"), "-h", &urls, "-d", "0"];
            let server = Server::start(&self.path("slapd.log"), &[self.dir.path()], &command);
            // ldapi is certainly this slapd's; by now it holds its other addresses too.
            match server.wait_until(|| self.admin().answers()) {
                Ok(()) => {
                    self.server = Some(server);
                    return;
                }
                Err(log) => complaint = log,
            }
            server.end("KILL", Data::Keep);
            // Most likely another process has taken a port meanwhile.
            self.ldaps_port = 0;
        }
        panic!("slapd does not start: {complaint}");
    }

    fn load(&self) {
        let db = self.path("db");
        let _ = fs::remove_dir_all(&db);
        fs::create_dir(&db).expect("a folder for the database");
        let seed = self.dir.write("seed.ldif", self.options.seed.ldif(Flavour::Slapd));
        // -q: no consistency checks, the database is new. -w: contextCSN, without which a first
        // refresh has no cookie.
        run(Command::new("slapadd")
            .args(["-q", "-w", "-f"])
            .arg(self.path("slapd.conf"))
            .arg("-l")
            .arg(seed));
    }

    fn write_configuration(&self) {
        let options = &self.options;
        let mut overlays = String::new();
        if options.memberof {
            overlays += "overlay memberof\nmemberof-group-oc groupOfNames\nmemberof-member-ad member\nmemberof-memberof-ad memberOf\n";
            overlays += &format!(
                "overlay refint\nrefint_attributes member\nrefint_nothing \"cn=admin,{SUFFIX}\"\n"
            );
        }
        let mut global = options.extra_global.clone();
        if options.syncprov {
            overlays += "overlay syncprov\nsyncprov-checkpoint 100 10\n";
            if let Some(changes) = options.sessionlog {
                overlays += &format!("syncprov-sessionlog {changes}\n");
            }
            overlays += &options.extra_syncprov;
        }
        if options.otp {
            overlays += "overlay otp\n";
            global.insert_str(0, "moduleload otp\n");
        }
        let path = |path: &Path| path.to_str().expect("a UTF-8 path").to_owned();
        let mut tls = format!(
            "TLSCACertificateFile {}\nTLSVerifyClient {}\n",
            path(&self.tls.ca),
            options.verify_client
        );
        let (certificate, key) =
            (path(&self.tls.identity.certificate), path(&self.tls.identity.key));
        tls += &format!("TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\n");
        if options.without_tls {
            tls.clear();
        }
        let values = [
            ("LAB", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab").to_owned()),
            // The root DSE lists content sync as soon as the module is loaded, whether or not the
            // database has the overlay.
            (
                "SYNCPROV_MODULE",
                if options.syncprov { "moduleload syncprov" } else { "" }.to_owned(),
            ),
            ("TLS", tls),
            ("SUFFIX", SUFFIX.to_owned()),
            ("ADMIN_PASSWORD", ADMIN_PASSWORD.to_owned()),
            ("DB", path(&self.path("db"))),
            ("SYNC_LIMITS", options.sync_limits.clone()),
            ("EXTRA_GLOBAL", global),
            ("EXTRA_DATABASE", options.extra_database.clone()),
            ("OVERLAYS", overlays),
        ];
        let template = include_str!("../lab/slapd.conf").to_owned();
        let configuration = values
            .iter()
            .fold(template, |text, (name, value)| text.replace(&format!("@{name}@"), value));
        self.dir.write("slapd.conf", configuration);
    }
}
