//! What the README says is so: its configuration is one, its OpenLDAP steps work on a real slapd,
//! its tables are the code's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use kanidm_ldap_sync::config;
use kanidm_ldap_sync::config::sync::SyncConfig;
use kanidm_ldap_sync::directory::client::Directory;
use kanidm_ldap_sync::directory::refresh::Refresh;
use kanidm_ldap_sync::exit::ExitCode;
use kanidm_ldap_sync::service::lock::RunLock;
use kanidm_ldap_sync::sync::read;
use kanidm_ldap_sync::sync::start::Start;

use crate::debian_slapd::{ADMIN_PASSWORD, DebianSlapd};
use crate::guide;
use crate::support::ds389::{Ds389, Ds389Options};
use crate::support::pki::Pki;
use crate::support::ports;
use crate::support::process::run;
use crate::support::seed::Seed;
use crate::support::temp::TempDir;
use crate::support::tool::{ConfigText, Tool};

const README: &str = include_str!("../../README.md");

/// The fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    blocks_of(README, language)
}

fn blocks_of<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What stands below a headline.
fn section(headline: &str) -> &'static str {
    let section = README
        .split(&format!("\n## {headline}\n"))
        .nth(1)
        .unwrap_or_else(|| panic!("no section {headline:?}"));
    section.split("\n## ").next().unwrap()
}

/// The rows of the table below a headline, cell by cell.
fn table(headline: &str) -> Vec<Vec<&'static str>> {
    let rows = section(headline).lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn two_commands_set_everything_up() {
    // In a block each: who copies the first does not start the second, which needs a machine to
    // throw away.
    assert_eq!(blocks("sh")[..2], ["cargo run --release --example demo\n", "./tests/run\n"]);
}

#[test]
fn the_exit_codes_are_the_codes() {
    let documented: Vec<(String, &str)> =
        table("Exit codes").into_iter().map(|row| (row[0].to_owned(), row[1])).collect();
    assert_eq!(documented, ExitCode::ALL.map(|(code, meaning)| (code.code().to_string(), meaning)));
}

/// 0, 3 and 4 are in the demo.
#[test]
fn exit_codes_that_the_demo_does_not_show() {
    let pki = Pki::new();
    let [port] = ports::free();
    let sync = ConfigText::for_directory("ldaps://127.0.0.1", pki.ca()).set("sync_token", "token");
    let tool =
        Tool::new(&sync, &ConfigText::for_kanidm(&format!("https://127.0.0.1:{port}"), pki.ca()));
    let failed = tool.run(&[]).expect_code(1);
    assert!(failed.stderr.contains("connecting to Kanidm"), "{}", failed.stderr);
    {
        let _other_run = RunLock::acquire(tool.sync_config(), None).unwrap();
        tool.run(&[]).expect_code(5);
    }
    tool.write_sync_config(&sync.set("ldap_uri", "https://127.0.0.1"));
    let wrong = tool.run(&[]).expect_code(2);
    assert!(wrong.stderr.contains("ldap_uri"), "{}", wrong.stderr);
}

#[test]
fn the_dependency_table_is_complete_and_right() {
    let mut direct: BTreeSet<String> = BTreeSet::new();
    for manifest in [include_str!("../../Cargo.toml"), include_str!("../../proto/Cargo.toml")] {
        let manifest: toml::Table = toml::from_str(manifest).unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap().iter();
        direct.extend(
            dependencies
                .filter(|(_, value)| value.get("path").is_none())
                .map(|(name, _)| name.clone()),
        );
    }
    let rows = table("Dependencies");
    let names: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(names, direct.iter().collect::<Vec<_>>());
    let packages = packages();
    for row in &rows {
        let name = row[0].trim_matches('`');
        let package = &packages[name];
        assert_eq!(row[3], package.licence, "the licence of {name}");
        let kept =
            package.repository.trim_start_matches("https://github.com/").trim_end_matches(".git");
        assert_eq!(row[4], format!("[{kept}](https://github.com/{kept})"), "where {name} is kept");
        let off =
            package.off.iter().map(|feature| format!("`{feature}`")).collect::<Vec<_>>().join(", ");
        assert_eq!(
            row[5],
            if off.is_empty() { "–" } else { &off },
            "default features of {name} that are off"
        );
    }
}

/// A crate as cargo resolves it for the tool.
struct Package {
    licence: String,
    repository: String,
    /// Default features that are not compiled.
    off: Vec<String>,
}

fn packages() -> BTreeMap<String, Package> {
    let metadata: serde_json::Value = serde_json::from_slice(&cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        TARGET,
    ]))
    .unwrap();
    let all = metadata["packages"].as_array().unwrap();
    // Without the features that only tests ask for, which `cargo metadata` adds.
    let arguments = [
        "tree",
        "--edges",
        "normal",
        "--target",
        TARGET,
        "--prefix",
        "none",
        "--no-dedupe",
        "--depth",
        "2",
        "--format",
        "{p}|{l}|{r}|{f}",
    ];
    let text = String::from_utf8(cargo(&arguments)).unwrap();
    let package = |line: &str| {
        let [id, licence, repository, on] = line.split('|').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let [name, version] = id.split(' ').take(2).collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let of_all = all
            .iter()
            .find(|one| one["name"] == name && one["version"] == version.trim_start_matches('v'))
            .unwrap();
        let default = of_all["features"]["default"].as_array().cloned().unwrap_or_default();
        let default = default.iter().map(|feature| feature.as_str().unwrap().to_owned());
        let off = default.filter(|feature| !on.split(',').any(|on| on == feature)).collect();
        (
            name.to_owned(),
            Package { licence: licence.to_owned(), repository: repository.to_owned(), off },
        )
    };
    text.lines().map(package).collect()
}

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn cargo(arguments: &[&str]) -> Vec<u8> {
    run(Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR")))
}

#[test]
fn tests_it_names_exist() {
    for row in table("Beside Kanidm's own tool") {
        let [file, test] =
            row[3].split(' ').map(|part| part.trim_matches('`')).collect::<Vec<_>>()[..]
        else {
            panic!("{row:?}")
        };
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}()")), "{file} has no test {test}");
    }
}

/// The README's two configuration files, read by the real parser, with a directory of ours in place
/// of the invented one.
fn configuration(folder: &TempDir, ldap_uri: &str) -> SyncConfig {
    let place = |text: &str| {
        text.replace("/etc/kanidm", folder.path().to_str().unwrap())
            .replace("ldaps://ldap.example.com", ldap_uri)
    };
    let [client, sync] = blocks("toml")[..] else { panic!("two configuration files") };
    folder.write("ldap-sync.token", "token\n");
    fs::copy(Pki::new().ca(), folder.path().join("ldap-ca.pem")).unwrap();
    let no_variable = |_: &str| None;
    let (_, warnings) =
        config::client::load(Some(&folder.write("config", place(client))), None, &no_variable)
            .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let (sync, warnings) =
        config::sync::load(&folder.write("ldap-sync", place(sync)), &no_variable).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    sync
}

#[test]
fn the_configuration_files_are_valid_and_ask_for_no_more_than_they_should() {
    let folder = TempDir::new("readme");
    folder.write("ldap-sync.password", "secret\n");
    let config = configuration(&folder, "ldaps://ldap.example.com");
    assert_eq!(config.directory.base_dn, "dc=example,dc=com");
}

/// Debian's slapd as its package sets it up, then the README's commands, then our own client as the
/// README configures it.
#[test]
fn the_openldap_steps_work_on_a_real_slapd() {
    let slapd = DebianSlapd::start(&content());
    let shell = blocks_of(section("Five minutes with OpenLDAP"), "sh");
    // The administrator's password is asked for at the terminal.
    let here = [
        ("/etc/kanidm", slapd.folder.path().to_str().unwrap()),
        ("ldapi:///", &slapd.ldapi_uri()),
        ("-W", &format!("-w {ADMIN_PASSWORD}")),
    ];
    let commands =
        here.iter().fold(shell[0].to_owned(), |text, (there, here)| text.replace(there, here));
    run(Command::new("bash").args(["-euo", "pipefail", "-c", &commands]).env("LDAPNOINIT", "1"));

    let config = configuration(&slapd.folder, &slapd.ldapi_uri());
    let mut directory = Directory::connect(&config.directory).unwrap();
    let refresh = |directory: &mut Directory, cookie: Option<&[u8]>| {
        let mut received = Vec::new();
        let attributes = ["cn", "userPassword", "entryUUID"];
        let result = directory.refresh(&attributes, cookie, &mut |_, entry| {
            received.push((
                entry.dn().to_owned(),
                entry.attributes().any(|a| a.description().eq_ignore_ascii_case("userPassword")),
            ));
        });
        match result.unwrap() {
            Refresh::Done(outcome) => (received, outcome),
            Refresh::Required { reason } => panic!("{reason}"),
        }
    };
    let reading =
        read::read_from(&mut directory, &config, &Start::full("README"), &mut |_| {}).unwrap();
    assert_eq!(
        (reading.read, &reading.content.skipped[..]),
        (PERSONS as u64, &[][..]),
        "an inetOrgPerson is a person"
    );

    let (first, outcome) = refresh(&mut directory, None);
    assert_eq!(first.len(), PERSONS, "beyond the size limit of 500");
    assert!(first.iter().all(|(_, password)| *password), "password hashes can be read");
    let ldap_content_sync::NextCookie::New(cookie) = outcome.cookie else { panic!("no cookie") };

    slapd
        .admin()
        .modify("dn: uid=user7,dc=example,dc=com\nchangetype: modify\nreplace: cn\ncn: Changed\n");
    slapd.admin().modify("dn: uid=user8,dc=example,dc=com\nchangetype: delete\n");
    let (changed, outcome) = refresh(&mut directory, Some(&cookie));
    assert_eq!(changed, [("uid=user7,dc=example,dc=com".to_owned(), true)]);
    assert_eq!(
        (outcome.deleted.len(), outcome.present),
        (1, None),
        "the session log tells what was deleted"
    );
}

/// A new instance of 389-ds, then the README's commands; after them the account can read everything
/// and is given a cookie.
#[test]
fn the_ds389_steps_work_on_a_real_ds389() {
    let seed = Seed::Verbatim(guide::content());
    let mut ds389 = Ds389::start(Ds389Options { seed, bare: true, ..Ds389Options::default() });
    let folder = TempDir::new("readme-389");
    let place = |text: &str| {
        let text = text.replace("/etc/kanidm", folder.path().to_str().unwrap());
        text.replace("ldapi://%2Frun%2Fslapd-localhost.socket", &ds389.ldapi_uri())
    };
    let shell = |text: &str| {
        String::from_utf8(run(Command::new("bash").args(["-euo", "pipefail", "-c", text]))).unwrap()
    };
    let [commands] = blocks_of(section("Five minutes with 389 Directory Server"), "sh")[..] else {
        panic!("one block")
    };
    let commands = commands
        .trim_end()
        .strip_suffix("systemctl restart dirsrv@localhost")
        .expect("a restart at the end");
    shell(&place(commands));
    let look = place(
        "ldapsearch -x -H ldapi://%2Frun%2Fslapd-localhost.socket -D cn=sync,dc=example,dc=com -y /etc/kanidm/ldap-sync.password \
         -b dc=example,dc=com -E '!sync=ro' '(objectClass=*)' userPassword",
    );
    ds389.restart();
    let seen = shell(&look);
    assert!(seen.contains("#cn=sync,dc=example,dc=com:"), "a cookie: {seen}");
    assert!(seen.matches("\nuserPassword::").count() >= 40, "password hashes can be read: {seen}");
}

/// More than slapd's size limit for everybody else.
const PERSONS: usize = 600;

fn content() -> String {
    let base = "dn: dc=example,dc=com\nobjectClass: organization\nobjectClass: dcObject\no: Example\ndc: example\n".to_owned();
    let person = |n| {
        format!(
            "dn: uid=user{n},dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: user{n}\ncn: User {n}\nsn: User\nuserPassword: {{SHA}}x\n"
        )
    };
    [base].into_iter().chain((0..PERSONS).map(person)).collect::<Vec<_>>().join("\n")
}
