//! A real 389 Directory Server. Needs root, as its own set-up does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ds389_instance::{Instance, own};
use super::dse::Dse;
use super::ldap::LdapClient;
use super::ports;
use super::process::{Data, Server, run, tail};
use super::seed::{Flavour, SUFFIX, SYNC_PASSWORD, Seed};
use super::server_tls::ServerTls;
use super::temp::TempDir;

pub use super::ds389_instance::ADMIN_PASSWORD;

/// How 389 is set up. The default: content sync with a retro changelog that is never trimmed, the
/// small default seed.
#[derive(Clone, Debug)]
pub struct Ds389Options {
    pub seed: Seed,
    /// As `dscreate` leaves it, ports apart: no TLS, no plug-in enabled. All other options count
    /// for nothing.
    pub bare: bool,
    /// The Content Synchronization plug-in and the Retro Changelog plug-in that it reads.
    pub content_sync: bool,
    /// `syncrepl-allow-openldap`.
    pub openldap_compat: bool,
    /// The MemberOf and referential integrity plug-ins.
    pub memberof: bool,
    /// `nsslapd-changelogmaxage`, such as `2d`.
    pub changelog_max_age: Option<String>,
    /// `nsslapd-changelog-trim-interval`, seconds.
    pub changelog_trim_interval: Option<u32>,
    /// What the server identifies itself with; made for `localhost` and the loopback addresses
    /// where absent.
    pub tls: Option<ServerTls>,
    /// Serves ldaps on `::1`, and nowhere else.
    pub ipv6: bool,
    /// More settings of dse.ldif: DN, attribute, value.
    pub settings: Vec<(String, String, String)>,
}

impl Default for Ds389Options {
    fn default() -> Self {
        Ds389Options {
            seed: Seed::default(),
            bare: false,
            content_sync: true,
            openldap_compat: false,
            memberof: false,
            changelog_max_age: None,
            changelog_trim_interval: None,
            tls: None,
            ipv6: false,
            settings: Vec::new(),
        }
    }
}

/// A 389 Directory Server instance of its own. It ends, and its configuration is removed, when
/// dropped.
#[derive(Debug)]
pub struct Ds389 {
    server: Option<Server>, // before `instance` and `dir`: the server ends before its folders go
    instance: Instance,
    dir: TempDir,
    options: Ds389Options,
    tls: ServerTls,
    ldaps_port: u16,
    ldap_port: u16,
}

impl Ds389 {
    /// Creates an instance, loads the seed and starts the server; returns when it answers.
    pub fn start(options: Ds389Options) -> Ds389 {
        let dir = TempDir::new("ds389");
        // The server runs as dirsrv, which must get through to its own folders.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
        let tls = options.tls.clone().unwrap_or_else(|| ServerTls::localhost(dir.path()));
        let instance = Instance::create(&dir);
        let [ldaps_port, ldap_port] = ports::free();
        let mut ds389 = Ds389 { server: None, instance, dir, options, tls, ldaps_port, ldap_port };
        if !ds389.options.bare {
            ds389.import_certificate();
        }
        ds389.configure();
        ds389.load();
        ds389.up();
        ds389
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
        format!("ldapi://{}", self.data("ldapi").display().to_string().replace('/', "%2F"))
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
        self.server.as_ref().expect("ns-slapd is up").pid()
    }

    /// What `dsctl` knows it by.
    pub fn instance_name(&self) -> String {
        let folder = self.config_dir();
        folder
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("slapd-"))
            .expect("slapd-NAME")
            .to_owned()
    }

    /// The folder of its configuration.
    pub fn config_dir(&self) -> PathBuf {
        self.instance.config_dir()
    }

    /// The standard clients as `cn=Directory Manager`, who may do anything.
    pub fn admin(&self) -> LdapClient {
        LdapClient {
            uri: self.ldapi_uri(),
            ca: None,
            bind_dn: "cn=Directory Manager".to_owned(),
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

    /// Ends the server, replaces the database by another seed, starts again. The changelog stays.
    pub fn reload(&mut self, seed: Seed) {
        self.down("TERM");
        self.options.seed = seed;
        self.load();
        self.up();
    }

    /// Replaces `certmap.conf`, which the server reads when it starts.
    pub fn write_certmap(&self, text: &str) {
        fs::write(self.config_dir().join("certmap.conf"), text).expect("the instance's folder");
    }

    /// Ends the server, throws the retro changelog away, starts again: the server begins a new one.
    pub fn forget_changelog(&mut self) {
        self.down("TERM");
        fs::remove_dir_all(self.data("db/changelog")).expect("the changelog's database");
        self.up();
    }

    /// The root DSE's `firstchangenumber` and `lastchangenumber`.
    pub fn change_numbers(&self) -> (u64, u64) {
        let root = self.admin().root_dse(&["firstchangenumber", "lastchangenumber"]);
        let number = |name| {
            root.text(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("no {name}: {root:?}"))
        };
        (number("firstchangenumber"), number("lastchangenumber"))
    }

    /// Ends the server, changes the options (not the seed: the database stays), starts again.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut Ds389Options)) {
        self.down("TERM");
        change(&mut self.options);
        self.configure();
        self.up();
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    /// Into the NSS database that the set-up has made; its password lies beside it.
    fn import_certificate(&self) {
        let config = self.config_dir();
        let passwords = config.join("pwdfile.txt");
        let p12 = self.dir.path().join("server.p12");
        run(Command::new("openssl")
            .args(["pkcs12", "-export", "-name", "Server-Cert", "-passout", "pass:", "-inkey"])
            .arg(&self.tls.identity.key)
            .arg("-in")
            .arg(&self.tls.identity.certificate)
            .arg("-certfile")
            .arg(&self.tls.ca)
            .arg("-out")
            .arg(&p12));
        let nss = |program: &str| {
            let mut command = Command::new(program);
            command.arg("-d").arg(&config);
            command
        };
        run(nss("certutil")
            .arg("-f")
            .arg(&passwords)
            .args(["-A", "-n", "Lab CA", "-t", "CT,,", "-a", "-i"])
            .arg(&self.tls.ca));
        run(nss("pk12util").arg("-k").arg(&passwords).args(["-W", "", "-i"]).arg(&p12));
    }

    fn configure(&self) {
        let options = &self.options;
        let path = self.config_dir().join("dse.ldif");
        let mut dse = Dse::read(&path);
        let ports = [self.ldap_port, self.ldaps_port].map(|port| port.to_string());
        dse.set("cn=config", "nsslapd-port", &ports[0]);
        dse.set("cn=config", "nsslapd-secureport", &ports[1]);
        dse.set("cn=config", "nsslapd-listenhost", "127.0.0.1");
        dse.set(
            "cn=config",
            "nsslapd-securelistenhost",
            if options.ipv6 { "::1" } else { "127.0.0.1" },
        );
        // By itself it takes a quarter of the machine's memory, and for an import half, and a
        // second to allocate it.
        for (setting, value) in
            [("cache-autosize", "0"), ("import-cache-autosize", "0"), ("dbcachesize", "33554432")]
        {
            dse.set(
                "cn=bdb,cn=config,cn=ldbm database,cn=plugins,cn=config",
                &format!("nsslapd-{setting}"),
                value,
            );
        }
        if !options.bare {
            self.configure_for_tests(&mut dse);
        }
        dse.write(&path);
        own(&self.config_dir());
    }

    /// TLS, and what the options say.
    fn configure_for_tests(&self, dse: &mut Dse) {
        const CHANGELOG: &str = "cn=Retro Changelog Plugin,cn=plugins,cn=config";
        const CONTENT_SYNC: &str = "cn=Content Synchronization,cn=plugins,cn=config";
        const SYNC_CONTROL: &str = "oid=1.3.6.1.4.1.4203.1.9.1.1,cn=features,cn=config";
        let options = &self.options;
        let on_off = |on: bool| if on { "on" } else { "off" };
        dse.set("cn=config", "nsslapd-security", "on");
        dse.set(CHANGELOG, "nsslapd-pluginEnabled", on_off(options.content_sync));
        dse.set(CHANGELOG, "nsslapd-attribute", "nsuniqueid:targetUniqueId");
        if options.openldap_compat {
            dse.add(CHANGELOG, "nsslapd-attribute", "entryuuid:targetEntryUUID");
        }
        dse.remove(CHANGELOG, "nsslapd-changelogmaxage");
        if let Some(age) = &options.changelog_max_age {
            dse.set(CHANGELOG, "nsslapd-changelogmaxage", age);
        }
        if let Some(seconds) = options.changelog_trim_interval {
            dse.set(CHANGELOG, "nsslapd-changelog-trim-interval", &seconds.to_string());
        }
        dse.set(CONTENT_SYNC, "nsslapd-pluginEnabled", on_off(options.content_sync));
        dse.set(CONTENT_SYNC, "syncrepl-allow-openldap", on_off(options.openldap_compat));
        for plugin in ["MemberOf Plugin", "referential integrity postoperation"] {
            dse.set(
                &format!("cn={plugin},cn=plugins,cn=config"),
                "nsslapd-pluginEnabled",
                on_off(options.memberof),
            );
        }
        // Who may use the sync control: out of the box every account that is bound.
        let who = format!("ldap:///cn=sync,{SUFFIX} || ldap:///cn=limited,{SUFFIX}");
        let aci = format!(
            "(targetattr != \"aci\")(version 3.0; acl \"Sync Request Control\"; allow( read, search ) userdn = \"{who}\";)"
        );
        dse.set(SYNC_CONTROL, "aci", &aci);
        for (dn, attribute, value) in &options.settings {
            dse.set(dn, attribute, value);
        }
    }

    fn load(&self) {
        let seed = self.data("ldif/seed.ldif");
        fs::write(&seed, self.options.seed.ldif(Flavour::Ds389))
            .expect("the instance's LDIF folder");
        own(&self.dir.path().join("data"));
        let import = Command::new("ns-slapd")
            .args(["ldif2db", "-n", "userroot", "-D"])
            .arg(self.config_dir())
            .arg("-i")
            .arg(&seed)
            .output();
        let import =
            import.expect("ns-slapd runs (Debian package 389-ds-base; tests/run installs it)");
        let log = String::from_utf8_lossy(&import.stderr).into_owned();
        // It leaves out what it does not accept and succeeds all the same.
        let refused = log.lines().find(|line| {
            line.contains("skipped") || line.contains("bad entr") || line.contains("WARN")
        });
        assert!(import.status.success() && refused.is_none(), "ldif2db: {}: {log}", import.status);
        own(&self.dir.path().join("data"));
    }

    fn down(&mut self, signal: &str) {
        if let Some(server) = self.server.take() {
            server.end(signal, Data::Keep);
        }
        // After a crash this remains, and keeps the next ns-slapd from starting should its process
        // id be in use.
        let _ = fs::remove_dir_all(self.instance.lock_dir().join("server"));
    }

    fn up(&mut self) {
        let mut complaint = String::new();
        for _ in 0..5 {
            let (config, pid_file) = (self.config_dir(), self.instance.pid_file());
            let text = |path: &Path| path.to_str().expect("a UTF-8 path").to_owned();
            let command = ["ns-slapd", "-D", &text(&config), "-i", &text(&pid_file), "-d", "0"];
            let data: Vec<PathBuf> =
                self.instance.paths().into_iter().chain([self.dir.path().to_owned()]).collect();
            let data: Vec<&Path> = data.iter().map(PathBuf::as_path).collect();
            let server = Server::start(&self.dir.path().join("ds389.log"), &data, &command);
            // ldapi is certainly this server's; by now it holds its other addresses too.
            match server.wait_until(|| self.admin().answers()) {
                Ok(()) => {
                    self.server = Some(server);
                    return;
                }
                Err(log) => complaint = format!("{log}\n{}", tail(&self.data("log/errors"))),
            }
            server.end("KILL", Data::Keep);
            // Most likely another process has taken a port meanwhile.
            [self.ldaps_port, self.ldap_port] = ports::free();
            self.configure();
        }
        panic!("ns-slapd does not start: {complaint}");
    }
}
