//! The standard LDAP clients (ldap-utils): what the tests change a directory with, and what they
//! compare our own reading with.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Where to connect and as whom.
#[derive(Clone, Debug)]
pub struct LdapClient {
    pub uri: String,
    /// PEM bundle to verify the server with, for ldaps and StartTLS.
    pub ca: Option<PathBuf>,
    pub bind_dn: String,
    pub password: String,
}

/// One entry of an LDIF. Attribute names are in lower case, options included (`cn;lang-de`); values
/// are bytes, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LdapEntry {
    pub dn: String,
    pub attrs: BTreeMap<String, Vec<Vec<u8>>>,
}

impl LdapEntry {
    /// The values of an attribute, none where it is absent.
    pub fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.attrs.get(&attribute.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The values of an attribute as text; panics on one that is not UTF-8.
    pub fn texts(&self, attribute: &str) -> Vec<&str> {
        self.values(attribute)
            .iter()
            .map(|value| std::str::from_utf8(value).expect("a UTF-8 value"))
            .collect()
    }

    /// The first value of an attribute as text.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.texts(attribute).first().copied()
    }
}

impl LdapClient {
    /// Applies LDIF change records in order; a record without a `changetype` is added. Panics when
    /// one is refused.
    pub fn modify(&self, ldif: &str) {
        self.try_modify(ldif).unwrap_or_else(|error| panic!("{error}\n{ldif}"));
    }

    /// Changes one entry, such as `replace: cn\ncn: Another`.
    pub fn change(&self, dn: &str, change: &str) {
        self.modify(&format!("dn: {dn}\nchangetype: modify\n{change}\n"));
    }

    /// Gives an entry another RDN, without the old one.
    pub fn rename(&self, dn: &str, rdn: &str) {
        self.modify(&format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\n"));
    }

    pub fn delete(&self, dn: &str) {
        self.modify(&format!("dn: {dn}\nchangetype: delete\n"));
    }

    /// As [`modify`](Self::modify); the error is what `ldapmodify` wrote. Records before the
    /// refused one stay applied.
    pub fn try_modify(&self, ldif: &str) -> Result<(), String> {
        let output = self.run(self.command("ldapmodify").arg("-a"), ldif.as_bytes());
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Every entry below `base` (and `base`) that matches, in the order the server sent them. No
    /// attributes named: all user attributes.
    pub fn search(&self, base: &str, filter: &str, attributes: &[&str]) -> Vec<LdapEntry> {
        let output = self.run(
            self.command("ldapsearch")
                .args(["-LLL", "-o", "ldif-wrap=no", "-b", base, "-s", "sub", filter])
                .args(attributes),
            b"",
        );
        assert!(
            output.status.success(),
            "ldapsearch {base} {filter}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        parse_ldif(&output.stdout)
    }

    /// One entry, by its DN, with user and operational attributes.
    pub fn entry(&self, dn: &str) -> Option<LdapEntry> {
        let output = self.run(
            self.command("ldapsearch").args([
                "-LLL",
                "-o",
                "ldif-wrap=no",
                "-b",
                dn,
                "-s",
                "base",
                "*",
                "+",
            ]),
            b"",
        );
        match output.status.code() {
            Some(0) => parse_ldif(&output.stdout).into_iter().next(),
            Some(32) => None,
            _ => panic!("ldapsearch {dn}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// The root DSE with these attributes.
    pub fn root_dse(&self, attributes: &[&str]) -> LdapEntry {
        let output = self.run(
            self.command("ldapsearch")
                .args(["-LLL", "-o", "ldif-wrap=no", "-b", "", "-s", "base"])
                .args(attributes),
            b"",
        );
        parse_ldif(&output.stdout).into_iter().next().expect("a root DSE")
    }

    /// Whether the server answers a bind and a search of the root DSE.
    pub fn answers(&self) -> bool {
        self.run(self.command("ldapsearch").args(["-LLL", "-b", "", "-s", "base", "1.1"]), b"")
            .status
            .success()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        match &self.ca {
            Some(ca) => command.env("LDAPTLS_CACERT", ca),
            // Without TLS nothing of this machine's or user's ldap.conf is of use.
            None => command.env("LDAPNOINIT", "1"),
        };
        command.args([
            "-x",
            "-o",
            "nettimeout=30",
            "-H",
            &self.uri,
            "-D",
            &self.bind_dn,
            "-w",
            &self.password,
        ]);
        command
    }

    fn run(&self, command: &mut Command, input: &[u8]) -> Output {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error} (Debian package ldap-utils; tests/run installs it)"));
        let mut stdin = child.stdin.take().expect("piped");
        std::thread::scope(|scope| {
            // A client that ends early closes the pipe; its own message says why.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().expect("the client ends")
        })
    }
}

/// The entries of an LDIF (RFC 2849 content records: folded lines, comments, base64 values).
pub fn parse_ldif(ldif: &[u8]) -> Vec<LdapEntry> {
    let text =
        std::str::from_utf8(ldif).expect("LDIF is UTF-8").replace("\r\n", "\n").replace("\n ", "");
    text.split("\n\n").filter_map(parse_record).collect()
}

fn parse_record(record: &str) -> Option<LdapEntry> {
    let mut entry = None::<LdapEntry>;
    for line in record
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("version:"))
    {
        let (name, value) =
            line.split_once(':').unwrap_or_else(|| panic!("not a line of LDIF: {line}"));
        let value = match value.strip_prefix(':') {
            Some(base64) => {
                STANDARD.decode(base64.trim()).unwrap_or_else(|error| panic!("{line}: {error}"))
            }
            None => value.trim_start_matches(' ').as_bytes().to_vec(),
        };
        match &mut entry {
            None => {
                assert!(
                    name.eq_ignore_ascii_case("dn"),
                    "a record begins with its DN, not: {line}"
                );
                entry = Some(LdapEntry {
                    dn: String::from_utf8(value).expect("a DN is UTF-8"),
                    attrs: BTreeMap::new(),
                });
            }
            Some(entry) => entry.attrs.entry(name.to_ascii_lowercase()).or_default().push(value),
        }
    }
    entry
}
