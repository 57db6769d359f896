//! What scripts rely on: options, exit codes, keys of the report and of the configuration. The
//! files in `fixtures/contract` come from the program before it was divided into rooms
//! (`BLESS=1` writes them). A difference breaks the scripts of administrators.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use kanidm_ldap_sync::config::keys::{CLIENT_KEYS, ENTRY_KEYS, KEYS, Key};
use serde_json::Value;

use crate::support::seed::{SUFFIX, Seed};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::ConfigText;
use crate::support::world::World;

#[track_caller]
fn assert_as_before(file: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/contract").join(file);
    if env::var_os("BLESS").is_some() {
        fs::write(&path, now).unwrap();
    }
    assert_eq!(now, fs::read_to_string(&path).unwrap(), "{}", path.display());
}

#[test]
fn help_is_as_before() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kanidm-ldap-sync"));
    let output = program.arg("--help").env("COLUMNS", "80").output().unwrap();
    assert_as_before("help.txt", &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn configuration_keys_are_as_before() {
    let lines = |file: &str, keys: &[Key]| -> String {
        keys.iter().map(|key| format!("{file}: {} = {:?}\n", key.name, key.default)).collect()
    };
    let now = lines("sync config", KEYS)
        + &lines("entry table", ENTRY_KEYS)
        + &lines("client config", CLIENT_KEYS);
    assert_as_before("keys.txt", &now);
}

#[test]
fn schemas_are_as_before() {
    for (file, text) in [
        ("report.schema.json", include_str!("../../docs/report.schema.json")),
        ("check.schema.json", include_str!("../../docs/check.schema.json")),
        ("explain.schema.json", include_str!("../../docs/explain.schema.json")),
    ] {
        let mut schema = serde_json::from_str(text).unwrap();
        remove_prose(&mut schema);
        assert_as_before(file, &(serde_json::to_string_pretty(&schema).unwrap() + "\n"));
    }
}

/// The words of the schema may improve. `properties` holds names, so one of them may be `title`.
fn remove_prose(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    fields.retain(|key, value| !(value.is_string() && ["title", "description"].contains(&&**key)));
    fields.values_mut().for_each(remove_prose);
}

#[test]
fn exit_codes_and_the_keys_of_reports_are_as_before() {
    let mut world = world();
    let mut now = String::new();
    let mut run = |world: &World, what: &str, arguments: &[&str], code: i32| {
        let report = world.run(arguments, code).report;
        now += &format!("{what}: exit code {code}\n");
        keys("", &report).into_iter().for_each(|key| now += &format!("    {key}\n"));
    };
    world.reconfigure(|config| config.set("invalid_entries", "fail"));
    run(&world, "entries that may not be held", &[], 1);
    world.reconfigure(|config| config.without("invalid_entries"));
    run(&world, "entries held, left out and skipped", &[], 3);
    let odd = ["uid=1odd,ou=people", "uid=low,ou=people", "cn=printer"];
    world
        .slapd
        .modify(&odd.map(|rdn| format!("dn: {rdn},{SUFFIX}\nchangetype: delete\n\n")).concat());
    run(&world, "synchronised", &[], 0);
    run(&world, "nothing to do", &[], 0);
    run(&world, "dry run", &["--dry-run", "--full-refresh"], 0);
    world.reconfigure(|config| config.set("ldap_filter", "(cn=nobody)"));
    run(&world, "refused by the guard", &[], 4);
    world.reconfigure(|config| config.set("ldap_filter", FILTER).set("no_key", 1));
    run(&world, "wrong configuration", &[], 2);
    world.reconfigure(|config| config.without("no_key"));
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let uri = format!("https://localhost:{}", silent.local_addr().unwrap().port());
    world.tool.write_client_config(&ConfigText::new().set("uri", uri));
    let mut first = world.tool.spawn(&[]);
    let connection = first.connects_to(&silent); // so it has the lock
    run(&world, "another run is under way", &[], 5);
    drop((connection, silent));
    first.finish().expect_code(1);
    run(&world, "Kanidm is not there", &[], 1);
    assert_as_before("runs.txt", &now);
}

#[test]
fn exit_codes_of_other_commands_are_as_before() {
    let mut world = world();
    let mut now = String::new();
    let mut run = |world: &World, what: &str, commands: &[&str]| {
        for arguments in commands {
            let outcome = world.tool.run(&arguments.split(' ').collect::<Vec<_>>());
            now += &format!("{what}, {arguments}: exit code {}\n", outcome.code.unwrap());
        }
    };
    run(
        &world,
        "all is well",
        &["--check", "--check --json", "--proto-dump", "--version", "--status"],
    );
    run(&world, "all is well", &["--explain good", "--explain 1odd", "--explain printer"]);
    let unknown = ["--no-such-option", "--status --json", "--check --schedule", "argument"];
    run(&world, "wrong command line", &unknown);
    run(&world, "wrong command line", &["--explain", "--explain good --full-refresh"]);
    world.slapd.stop();
    run(
        &world,
        "directory is down",
        &["--check", "--check --json", "--proto-dump", "--dry-run", "--explain good"],
    );
    world.reconfigure(|config| config.set("no_key", 1));
    run(
        &world,
        "wrong configuration",
        &["--check", "--check --json", "--status", "--schedule", "--explain good"],
    );
    assert_as_before("commands.txt", &now);
}

const FILTER: &str = "(|(objectClass=inetOrgPerson)(objectClass=groupOfNames)(objectClass=device))";

/// A person without fault, one with a bad number, one with a bad name, a group with a member that
/// is not synchronised, and an entry that is neither person nor group.
fn world() -> World {
    let person = |uid: &str, number: u32| {
        format!(
            "dn: uid={uid},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\n\
             uid: {uid}\ncn: {uid}\nsn: {uid}\nuidNumber: {number}\ngidNumber: 1\nhomeDirectory: /\n\n"
        )
    };
    let content = [
        person("good", 5001),
        person("low", 5),
        person("1odd", 5002),
        format!(
            "dn: cn=team,ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: team\n\
             member: uid=good,ou=people,{SUFFIX}\nmember: cn=sync,{SUFFIX}\n\n"
        ),
        format!("dn: cn=printer,{SUFFIX}\nobjectClass: device\ncn: printer\n\n"),
    ]
    .concat();
    let options = SlapdOptions { seed: Seed::Content(content), ..SlapdOptions::default() };
    let mut world = World::new(options);
    world.reconfigure(|config| config.set("ldap_filter", FILTER));
    world
}

/// Each key with the type of its value, `[]` for the elements of a list.
fn keys(place: &str, value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| keys(&format!("{place}/{key}"), value)).collect()
        }
        Value::Array(items) => {
            let items = items.iter().flat_map(|item| keys(&format!("{place}[]"), item));
            items.chain([format!("{place}: list")]).collect()
        }
        Value::String(_) => BTreeSet::from([format!("{place}: string")]),
        Value::Number(_) => BTreeSet::from([format!("{place}: number")]),
        Value::Bool(_) => BTreeSet::from([format!("{place}: bool")]),
        Value::Null => BTreeSet::from([format!("{place}: null")]),
    }
}
