//! The guides in `docs/`, followed step by step: every fenced block of theirs is run, with the
//! test's addresses and folders in place of the guide's.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::ldap::LdapClient;
use crate::support::seed::SUFFIX;
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;
use crate::support::world::{Between, FILTER};

/// Whom the tool runs as, in place of a user of its own: any but root.
pub const USER: &str = "nobody";

/// A guide, and what stands in the test for what stands there.
pub struct Guide {
    text: &'static str,
    instead: Vec<(String, String)>,
    folder: PathBuf,
}

impl Guide {
    /// `folder` takes the place of `/etc`; `instead` is what else is different here, in the order
    /// in which it is replaced.
    pub fn new(text: &'static str, folder: &TempDir, instead: &[(&str, &str)]) -> Guide {
        let etc = |path: &str| format!("{}/{path}", folder.path().display());
        let places = [
            ("/etc/kanidm", etc("kanidm")),
            ("/etc/ldap/tls", etc("tls")),
            ("/etc/dirsrv/tls", etc("tls")),
        ];
        let user = ["id -u ", "id -g ", "-o "]
            .map(|before| (format!("{before}kanidm-ldap-sync"), format!("{before}{USER}")));
        // Whose group need not have its name.
        let user = user
            .into_iter()
            .chain([("chown root:kanidm-ldap-sync".to_owned(), format!("chown {USER}"))]);
        let instead = instead.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        let instead =
            instead.chain(places.map(|(from, to)| (from.to_owned(), to))).chain(user).collect();
        Guide { text, instead, folder: folder.path().to_owned() }
    }

    /// The blocks in this language; exactly `N`, so that none goes unnoticed.
    pub fn blocks<const N: usize>(&self, language: &str) -> [String; N] {
        let begin = format!("```{language}\n");
        let blocks: Vec<String> = self
            .text
            .split(&begin)
            .skip(1)
            .map(|rest| self.here(rest.split("\n```").next().expect("an end")))
            .collect();
        let fences = self.text.matches("\n```").count();
        assert_eq!(
            fences,
            2 * (self.text.matches("\n```sh\n").count() + self.text.matches("\n```toml\n").count()),
            "other fenced blocks"
        );
        blocks
            .try_into()
            .unwrap_or_else(|blocks: Vec<String>| panic!("{} blocks of {language}", blocks.len()))
    }

    fn here(&self, block: &str) -> String {
        self.instead.iter().fold(block.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// Runs a block, all of it; panics when a command fails. What it wrote.
    pub fn run(&self, block: &str) -> String {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", block]).current_dir(&self.folder);
        String::from_utf8(crate::support::process::run(&mut shell)).expect("UTF-8")
    }
}

/// The world that a guide's first TOML block describes. The tool runs as [`USER`].
pub fn world(toml: &str, admin: LdapClient, uuid_attribute: &'static str) -> Between {
    let mut between =
        Between::new(with(ConfigText::new(), toml), admin, uuid_attribute, GROUPS_OF_NAMES, FILTER);
    between.run_as(USER);
    between
}

/// A configuration with these keys, in place of those that say how to connect and as whom.
pub fn with(config: ConfigText, toml: &str) -> ConfigText {
    let table: toml::Table = toml.parse().unwrap_or_else(|error| panic!("{error}\n{toml}"));
    let config = if table.contains_key("ldap_uri") {
        ["ldap_uri", "ldap_starttls", "ldap_ca", "ldap_client_cert", "ldap_client_key"]
            .into_iter()
            .fold(config, ConfigText::without)
    } else {
        config
    };
    let config =
        ["ldap_sync_dn", "ldap_sync_pw_file"].into_iter().fold(config, ConfigText::without);
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
        world
            .kanidm
            .entry(crate::support::world::ACCOUNT, "user1")
            .is_some_and(|user| user.has_password),
        "{}",
        ran.report
    );
}

/// What the directory holds before anything is done: forty users, one group.
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

/// Where the tool's program lies for [`USER`], and what it is called with: in place of
/// `kanidm-ldap-sync` in a guide.
pub fn tool(world: &Between) -> String {
    let command = world.tool.command();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_str().expect("UTF-8")).collect::<Vec<_>>().join(" ")
}

/// Lets everybody look into a folder.
pub fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
        .expect("our own folder");
}
