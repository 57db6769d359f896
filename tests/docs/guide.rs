//! The guides in `docs/` and the README, followed step by step: the tests run every shell block,
//! with addresses and folders of their own in place of the documents'.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::ldap::LdapClient;
use crate::support::process;
use crate::support::seed::SUFFIX;
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;
use crate::support::world::{ACCOUNT, Between, FILTER};

/// The README.
pub const README: &str = include_str!("../../README.md");

/// The program's user outside of the README's steps. Any user but root will do.
pub const USER: &str = "nobody";

/// A document, and the test's values for those of the document.
pub struct Guide {
    text: &'static str,
    instead: Vec<(String, String)>,
    folder: PathBuf,
}

impl Guide {
    /// `folder` takes the place of `/etc`. `instead` lists the other differences, in the order of
    /// replacement.
    pub fn new(text: &'static str, folder: &TempDir, instead: &[(&str, &str)]) -> Guide {
        let etc = |path: &str| format!("{}/{path}", folder.path().display());
        let places = [
            ("/etc/kanidm/ldap-ca.pem", etc("tls/ca.pem")),
            ("/etc/kanidm", etc("kanidm")),
            ("/etc/ldap/tls", etc("tls")),
            ("/etc/dirsrv/tls", etc("tls")),
        ];
        let user = ["id -u ", "id -g ", "-o "]
            .map(|before| (format!("{before}kanidm-ldap-sync"), format!("{before}{USER}")));
        let instead = instead.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        let instead =
            instead.chain(places.map(|(from, to)| (from.to_owned(), to))).chain(user).collect();
        Guide { text, instead, folder: folder.path().to_owned() }
    }

    /// The blocks in this language; exactly `N`, so that none goes unnoticed.
    pub fn blocks<const N: usize>(&self, language: &str) -> [String; N] {
        blocks(self.text, language).map(|block| self.here(block))
    }

    /// The README's sync config.
    pub fn readme_config(&self) -> String {
        let [config] = blocks(README, "toml");
        self.here(config)
    }

    fn here(&self, block: &str) -> String {
        self.instead.iter().fold(block.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// Runs a block, all of it; panics when a command fails. Returns its output.
    pub fn run(&self, block: &str) -> String {
        let mut shell = Command::new("bash");
        // The strictest umask that administrators use.
        let block = format!("umask 077\n{block}");
        shell.args(["-euo", "pipefail", "-c", &block]).current_dir(&self.folder);
        String::from_utf8(process::run(&mut shell)).expect("UTF-8")
    }

    /// The world of the README's configuration, with `more` keys. The program runs as [`USER`].
    pub fn world(&self, more: &str, admin: LdapClient, uuid_attribute: &'static str) -> Between {
        self.run(&format!("chown {USER} kanidm/ldap-sync.password"));
        let config =
            with(ConfigText::new(), &(self.readme_config() + more)).without("sync_token_file");
        let mut between = Between::new(config, admin, uuid_attribute, GROUPS_OF_NAMES, FILTER);
        between.run_as(USER);
        between
    }

    /// Steps 3 to 5 of the README, into the Kanidm of `world`, with `more` keys. `uri` is the
    /// directory's. The commands change copies of `/etc` and `/usr/bin`.
    pub fn follow_readme(&self, world: &Between, uri: &str, more: &str) {
        let [_, _, _, files, look, service] = blocks(README, "sh");
        let [config] = blocks(README, "toml");
        assert!(README.contains("`uri = \"https://idm.example.com\"`"), "the client config");
        let directory = format!("cp {}", self.folder.display());
        let instead = [
            ("scp root@ldap.example.com:/etc/ldap", directory.as_str()),
            ("scp root@ldap.example.com:/etc", &directory),
            ("target/release/kanidm-ldap-sync", env!("CARGO_BIN_EXE_kanidm-ldap-sync")),
            ("ldaps://ldap.example.com", uri),
            // Nothing is booted here.
            ("systemctl enable --now", "systemctl --quiet enable"),
        ];
        let [files, look, config, service] = [files, look, config, service]
            .map(|text| instead.iter().fold(text.to_owned(), |text, (a, b)| text.replace(a, b)));
        let (url, ca, token) = (world.kanidm.url(), world.kanidm.ca(), &world.account.token);
        let script = format!(
            r#"mount -t tmpfs tmpfs /mnt
for folder in etc usr/bin; do
  mkdir -p /mnt/$folder/{{changes,work}}
  mount -t overlay -o lowerdir=/$folder,upperdir=/mnt/$folder/changes,workdir=/mnt/$folder/work overlay /$folder
done
umask 077
{files}
install -m 644 {ca} /etc/kanidm/ca.pem
printf 'uri = "{url}"\nca_path = "/etc/kanidm/ca.pem"\n' >/etc/kanidm/config
echo '{token}' >/etc/kanidm/ldap-sync.token
cat >/etc/kanidm/ldap-sync <<'END'
{config}{more}
END
{look}
{service}
systemd-analyze verify --man=no /etc/systemd/system/kanidm-ldap-sync.service
"#,
            ca = ca.display(),
        );
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "bash", "-euo", "pipefail", "-c", &script]);
        process::run(shell.current_dir(env!("CARGO_MANIFEST_DIR")));
        assert_eq!(world.kanidm.entries(ACCOUNT).len(), 41, "forty persons and a group");
        assert_eq!(world.kanidm.entry(ACCOUNT, "team").unwrap().member.len(), 2);
    }
}

/// The blocks of `text` in this language; exactly `N`.
pub fn blocks<const N: usize>(text: &'static str, language: &str) -> [&'static str; N] {
    let begin = format!("\n```{language}\n");
    let blocks = text.split(&begin).skip(1).map(|rest| rest.split("```").next().expect("an end"));
    let blocks: Vec<_> = blocks.collect();
    let found = blocks.len();
    blocks.try_into().unwrap_or_else(|_| panic!("{found} blocks of {language}"))
}

/// A configuration with these keys, in place of those that say how to connect and as whom.
pub fn with(config: ConfigText, toml: &str) -> ConfigText {
    let table: toml::Table = toml.parse().unwrap_or_else(|error| panic!("{error}\n{toml}"));
    let sets = |keys: &[&str]| keys.iter().any(|key| table.contains_key(*key));
    let mut gone: Vec<&str> = Vec::new();
    if sets(&["ldap_uri"]) {
        gone.extend(["ldap_uri", "ldap_starttls"]);
    }
    let is_local = table.get("ldap_uri").is_some_and(|uri| uri.to_string().contains("ldapi:"));
    if is_local {
        gone.extend(["ldap_ca", "ldap_client_cert", "ldap_client_key"]);
    }
    if is_local || sets(&["ldap_client_cert"]) {
        gone.extend(["ldap_sync_dn", "ldap_sync_pw_file"]);
    }
    let config = gone.into_iter().fold(config, ConfigText::without);
    table.into_iter().fold(config, |config, (key, value)| config.set(&key, value))
}

/// The first run, or one more after a change.
#[track_caller]
pub fn run(world: &Between, what: &str, mode: &str) {
    world.admin.modify(&format!(
        "dn: uid=user1,ou=people,{SUFFIX}\nchangetype: modify\nreplace: cn\ncn: {what}\n"
    ));
    let ran = world.run_and_compare(what, mode);
    assert!(
        world.kanidm.entry(ACCOUNT, "user1").is_some_and(|user| user.has_password),
        "{}",
        ran.report
    );
}

/// The directory's content before the first step: forty users, one group.
pub fn content() -> String {
    let mut ldif = format!("dn: {SUFFIX}\nobjectClass: top\nobjectClass: domain\ndc: example\n\n");
    for unit in ["people", "groups"] {
        ldif += &format!("dn: ou={unit},{SUFFIX}\nobjectClass: organizationalUnit\nou: {unit}\n\n");
    }
    for n in 1..=40 {
        ldif += &format!(
            "dn: uid=user{n},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: user{n}\n"
        );
        ldif += &format!(
            "cn: User {n}\nsn: User\nuidNumber: {}\ngidNumber: 5000\nhomeDirectory: /home/user{n}\n",
            20_000 + n
        );
        ldif += "userPassword: {SSHA}lpYbSOmdO0ktlJAoVmmTX2P3UJvUuEw+Kh2sOQ==\n\n";
    }
    ldif + &format!(
        "dn: cn=team,ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: team\nmember: uid=user1,ou=people,{SUFFIX}\n\
         member: uid=user2,ou=people,{SUFFIX}\n"
    )
}

/// Lets everybody look into a folder.
pub fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
        .expect("our own folder");
}
