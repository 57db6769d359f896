//! `--check` against real servers: each step passes or fails on a line of its own, what depends on
//! a failed one is not tried, and nothing is sent.

use std::net::TcpListener;

use serde_json::Value;
use uuid::Uuid;

use crate::report_schema::problems_by;
use crate::support::kanidm::{KanidmServer, State};
use crate::support::ldap::LdapEntry;
use crate::support::peer::{Link, Peer, SLAPD, done, sync_done, sync_entry};
use crate::support::pki::Pki;
use crate::support::seed::SUFFIX;
use crate::support::server_tls::ServerTls;
use crate::support::slapd::{Slapd, SlapdOptions};
use crate::support::tool::{ConfigText, Outcome, Tool, run_command};
use crate::support::world::{ACCOUNT, World};

/// The steps in their order, as far as they are the same for every directory.
const STEPS: [&str; 16] = [
    "sync config",
    "client config",
    "directory, TLS files",
    "directory, name resolution",
    "directory, connection",
    "directory, TLS",
    "directory, bind",
    "directory, content synchronisation",
    "directory, base and right to synchronise",
    "directory, filter and entries",
    "Kanidm, TLS files",
    "Kanidm, name resolution",
    "Kanidm, connection",
    "Kanidm, TLS",
    "Kanidm, sync token",
    "Kanidm, state",
];

fn check(tool: &Tool) -> Outcome {
    run_command(tool.command().arg("--check").env("LC_ALL", "C.UTF-8"))
}

/// How each step went: `✓ ` and so on, in the order of [`STEPS`], other lines left out.
fn marks(outcome: &Outcome) -> String {
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let of = |step: &str| {
        let line = lines.iter().find_map(|line| {
            let (mark, rest) = line.split_once(' ')?;
            let is_step =
                rest == step || rest.strip_prefix(step).is_some_and(|rest| rest.starts_with(": "));
            (mark != "!" && is_step).then_some(mark)
        });
        line.unwrap_or("?")
    };
    STEPS.iter().map(|step| of(step)).collect()
}

/// `--check --json` says the same as the list: step by step, as the schema says, and nothing else.
#[track_caller]
pub fn assert_json_agrees(tool: &Tool, list: &Outcome) -> Value {
    let outcome = tool.run(&["--check", "--json"]).expect_code(list.code.unwrap());
    let check: Value = serde_json::from_str(&outcome.stdout).expect(&outcome.stdout);
    let schema = serde_json::from_str(include_str!("../../docs/check.schema.json")).unwrap();
    assert_eq!(problems_by(&schema, &check), [""; 0], "{check:#}");
    assert_eq!(check["exit_code"], list.code.unwrap());
    let (verdict, lines) = {
        let mut lines: Vec<&str> = list.stdout.lines().collect();
        (lines.pop().unwrap(), lines)
    };
    let ready = if verdict.starts_with('✓') { "ready" } else { "not_ready" };
    assert_eq!(check["verdict"], ready);
    let steps = check["steps"].as_array().unwrap();
    assert_eq!(steps.len(), lines.len(), "{check:#}\n{}", list.stdout);
    for (step, line) in steps.iter().zip(lines) {
        let text = |key: &str| step[key].as_str().unwrap_or_default();
        let mark = match text("result") {
            "passed" => "✓",
            "failed" => "✗",
            "advice" => "!",
            _ => "–",
        };
        assert!(line.starts_with(&format!("{mark} {}", text("step"))), "{line}\n{step:#}");
        let (detail, remedy) = (text("detail"), text("remedy"));
        // Each answer of Kanidm has an operation id of its own.
        let same = detail.split(", operation ").next().unwrap();
        assert!(line.contains(same), "{line}\n{step:#}");
        assert!(line.contains(remedy) || remedy.starts_with("correct /"), "{line}\n{step:#}");
        let needs_one = ["failed", "advice"].contains(&text("result"));
        assert!(!needs_one || !remedy.is_empty(), "{line}\n{step:#}");
    }
    check
}

/// The detail and the remedy of the only failed step.
fn failed(check: &Value) -> (String, String) {
    let mut steps = check["steps"].as_array().unwrap().iter();
    let step = steps.find(|step| step["result"] == "failed").expect("a failed step");
    let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
    (text("detail"), text("remedy"))
}

#[track_caller]
fn line<'o>(outcome: &'o Outcome, start: &str) -> &'o str {
    outcome
        .stdout
        .lines()
        .find(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no line {start:?} in\n{}", outcome.all()))
}

#[test]
fn all_is_well_and_nothing_is_sent() {
    let world = World::new(SlapdOptions::default());
    world.kanidm.clear_log();
    let outcome = check(&world.tool).expect_code(0);
    assert_eq!(marks(&outcome), "✓✓✓✓✓✓✓✓✓✓✓✓✓✓✓✓", "{}", outcome.all());
    assert_eq!(world.kanidm.state(ACCOUNT), State::Refresh);
    assert!(world.kanidm.posts().is_empty());

    assert!(line(&outcome, "✓ sync config").ends_with("ldap-sync, mode 0600"), "{}", outcome.all());
    for step in ["✓ directory, TLS: ", "✓ Kanidm, TLS: "] {
        let tls = line(&outcome, step);
        assert!(
            tls.starts_with(&format!(
                "{step}issued by Test CA, for localhost, 127.0.0.1, ::1, valid until "
            )),
            "{tls}"
        );
        assert!(tls.ends_with(" days)"), "{tls}");
    }
    assert!(line(&outcome, "✓ directory, bind").ends_with(&format!(": as cn=sync,{SUFFIX}")));
    assert!(line(&outcome, "✓ directory, content").ends_with("offered by OpenLDAP slapd"));
    let last = outcome.stdout.lines().last().unwrap();
    assert_eq!(
        last,
        "✓ ready: every step passed, with 1 note above (!). Next, as this user: kanidm-ldap-sync --dry-run --full-refresh"
    );
    let count = world.directory().len();
    let entries = line(&outcome, "✓ directory, filter and entries");
    assert!(
        entries.contains(&format!(": {count} match: "))
            && entries.contains(", 1 held back, 0 skipped"),
        "{entries}"
    );
    assert!(
        line(&outcome, "! directory, filter and entries")
            .contains("1 would be held back for uid: ")
    );
    assert!(
        line(&outcome, "✓ Kanidm, state")
            .contains("the next run reads everything: Kanidm has no state yet")
    );
    assert!(line(&outcome, "– syncprov-checkpoint").contains("cannot read cn=config"));
    assert_json_agrees(&world.tool, &outcome);
    assert!(world.kanidm.posts().is_empty());

    world.run(&[], 3);
    let after = check(&world.tool).expect_code(0);
    let state = line(&after, "✓ Kanidm, state");
    assert!(state.contains("reads what has changed") && state.contains("; 1 held back"), "{state}");
}

#[test]
fn in_other_locales_and_quietly() {
    let world = World::new(SlapdOptions::default());
    let ascii = run_command(world.tool.command().arg("--check").env("LC_ALL", "C")).expect_code(0);
    assert!(ascii.stdout.is_ascii() || ascii.stdout.contains("zo"), "{}", ascii.stdout);
    assert!(ascii.stdout.lines().all(|line| line.starts_with('[')), "{}", ascii.stdout);
    line(&ascii, "[ok] directory, bind");
    let quiet = run_command(world.tool.command().args(["--check", "--quiet"]).env("LC_ALL", "C"))
        .expect_code(0);
    assert!(
        !quiet.stdout.is_empty() && quiet.stdout.lines().all(|line| line.starts_with("[note]")),
        "{}",
        quiet.stdout
    );
}

const BASE: &str = "check ldap_sync_base_dn, and that the sync account has read access to the base and everything below it";

#[test]
fn a_failed_step_names_the_remedy_and_ends_what_depends_on_it() {
    let world = World::new(SlapdOptions::default());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let other_ca = Pki::named("Another CA");
    let set = |key: &str, value: &str| world.config.clone().set(key, value);
    let mut remedies = Vec::new();
    for (config, code, expected, remedy) in [
        (set("ldap_ur", "x"), 2, "✗✓??????????????", "did you mean ldap_uri?"),
        (
            set("ldap_ca", "/nonexistent/ca.pem"),
            1,
            "✓✓✗–––––––✓✓✓✓✓✓",
            "cannot read /nonexistent/ca.pem",
        ),
        (set("ldap_uri", "ldaps://host.invalid"), 1, "✓✓✓✗––––––✓✓✓✓✓✓", "name resolution"),
        (
            set("ldap_uri", &format!("ldaps://localhost:{closed}")),
            1,
            "✓✓✓✓✗–––––✓✓✓✓✓✓",
            "is the server running",
        ),
        (
            set("ldap_ca", other_ca.ca().to_str().unwrap()),
            1,
            "✓✓✓✓✓✗––––✓✓✓✓✓✓",
            "(subject \"Test server\", issuer \"Test CA\") is issued by a CA that is not trusted here",
        ),
        (
            set("ldap_sync_pw", "wrong"),
            1,
            "✓✓✓✓✓✓✗–––✓✓✓✓✓✓",
            "check ldap_sync_dn and its password",
        ),
        (
            set("ldap_sync_dn", &format!("cn=noright,{SUFFIX}")),
            1,
            "✓✓✓✓✓✓✓✓✗–✓✓✓✓✓✓",
            "read access to the base",
        ),
        (
            set("ldap_sync_dn", &format!("cn=limited,{SUFFIX}")),
            1,
            "✓✓✓✓✓✓✓✓✗–✓✓✓✓✓✓",
            "size=unlimited",
        ),
        (
            set("ldap_sync_base_dn", "dc=elsewhere"),
            1,
            "✓✓✓✓✓✓✓✓✗–✓✓✓✓✓✓",
            "check ldap_sync_base_dn",
        ),
        (set("ldap_filter", "(uid=nobody)"), 1, "✓✓✓✓✓✓✓✓✓✗✓✓✓✓✓✓", "none matches (uid=nobody)"),
        (set("ldap_filter", "(ou=*)"), 1, "✓✓✓✓✓✓✓✓✓✗✓✓✓✓✓✓", "check person_objectclass"),
        (set("sync_token", "abc"), 1, "✓✓✓✓✓✓✓✓✓✓✓✓✓✓✗–", "generate-token"),
    ] {
        world.tool.write_sync_config(&config);
        let outcome = check(&world.tool).expect_code(code);
        assert_eq!(marks(&outcome), expected, "{remedy}\n{}", outcome.all());
        assert!(line(&outcome, "✗").contains(remedy), "{remedy}\n{}", outcome.all());
        let verdict = outcome.stdout.lines().last().unwrap();
        assert!(verdict.starts_with("✗ not ready: 1 problem"), "{verdict}");
        remedies.push(failed(&assert_json_agrees(&world.tool, &outcome)).1);
        // The certificate was good, whatever failed after it.
        if expected.starts_with("✓✓✓✓✓✓") {
            line(&outcome, "✓ directory, TLS: issued by Test CA, for localhost");
        }
        if code == 1 {
            line(&outcome, "✓ Kanidm, TLS: issued by Test CA, for localhost");
        }
    }
    assert_eq!(
        remedies,
        [
            "did you mean ldap_uri?",
            "check the path in the configuration",
            "check the host in ldap_uri and this machine's name resolution",
            "is the server running, is the port right, does a firewall block it?",
            "add the certificate of the CA \"Test CA\" to ldap_ca",
            "check ldap_sync_dn and its password (servers do not tell a wrong password from an account that does not exist)",
            BASE,
            "the server limits the number of entries for this account, and a run needs all of them; OpenLDAP: add to the database `limits dn.exact=\"<ldap_sync_dn>\" size=unlimited time=unlimited`; 389 Directory Server: set nsSizeLimit: -1 and nsLookThroughLimit: -1 on the account's entry",
            BASE,
            "check ldap_filter, and that the account may read the attributes in it",
            "check person_objectclass, group_objectclass and ldap_filter",
            "make a new token and store it in sync_token_file: kanidm system sync generate-token ACCOUNT LABEL",
        ]
    );
    world.tool.write_sync_config(&world.config);
    let client = || ConfigText::for_kanidm(&world.kanidm.url(), world.kanidm.ca());
    for (client, code, expected, remedy) in [
        (client().set("ca_path", 1), 2, "✓✗✓✓✓✓✓✓✓✓??????", "must be a string"),
        (
            client().set("ca_path", "/nonexistent/ca.pem"),
            1,
            "✓✓✓✓✓✓✓✓✓✓✗–––––",
            "cannot read /nonexistent/ca.pem",
        ),
        (client().set("uri", "https://host.invalid"), 1, "✓✓✓✓✓✓✓✓✓✓✓✗––––", "check `uri`"),
        (
            client().set("uri", format!("https://localhost:{closed}")),
            1,
            "✓✓✓✓✓✓✓✓✓✓✓✓✗–––",
            "check `uri`",
        ),
        (
            client().set("ca_path", other_ca.ca().to_str().unwrap()),
            1,
            "✓✓✓✓✓✓✓✓✓✓✓✓✓✗––",
            "add the certificate of the CA \"Test CA\" to ca_path",
        ),
    ] {
        world.tool.write_client_config(&client);
        let outcome = check(&world.tool).expect_code(code);
        assert_eq!(marks(&outcome), expected, "{remedy}\n{}", outcome.all());
        assert!(line(&outcome, "✗").contains(remedy), "{remedy}\n{}", outcome.all());
        let (_, remedy) = failed(&assert_json_agrees(&world.tool, &outcome));
        assert!(!remedy.is_empty());
    }
    assert!(world.kanidm.posts().is_empty());
}

#[test]
fn persons_without_the_attribute_of_the_user_name_are_persons() {
    let world = World::new(SlapdOptions::default());
    world
        .tool
        .write_sync_config(&world.config.clone().set("person_attr_user_name", "employeeType"));
    let outcome = check(&world.tool).expect_code(1);
    assert_json_agrees(&world.tool, &outcome);
    let note = line(&outcome, "✗ directory, filter and entries: ");
    assert!(
        note.contains(
            "persons held back, because none shows employeeType: check person_attr_user_name"
        ),
        "{}",
        outcome.all()
    );
    assert!(!outcome.stdout.contains("none is a person"), "{}", outcome.all());
    assert!(outcome.stdout.contains("; --dry-run --full-refresh names them"), "{}", outcome.all());
}

#[test]
fn attributes_with_several_values_are_counted_by_value() {
    let world = World::new(SlapdOptions::default());
    let total = |class: &str, attribute: &str| {
        let is_of_class = |entry: &LdapEntry| {
            entry.texts("objectClass").iter().any(|text| text.eq_ignore_ascii_case(class))
        };
        let entries = world.directory();
        let of_class = entries.iter().filter(|entry| is_of_class(entry));
        let counts: Vec<usize> =
            of_class.map(|entry| entry.values(attribute).len()).filter(|n| *n > 0).collect();
        (counts.len(), counts.iter().sum::<usize>())
    };
    let outcome = check(&world.tool).expect_code(0);
    assert_json_agrees(&world.tool, &outcome);
    for (step, class, attribute) in [
        ("✓ directory, attributes of persons: ", "person", "mail"),
        ("✓ directory, attributes of groups: ", "groupOfNames", "member"),
    ] {
        let (entries, values) = total(class, attribute);
        assert!(values > entries, "{class} {attribute}");
        let expected = format!(", {attribute} {entries} ({values} values)");
        assert!(line(&outcome, step).contains(&expected), "{expected}\n{}", outcome.all());
    }
}

/// The names of the steps that a unix socket does not have are not in the list.
#[test]
fn over_a_unix_socket() {
    let world = World::new(SlapdOptions::default());
    let config = world
        .config
        .clone()
        .set("ldap_uri", world.slapd.ldapi_uri())
        .without("ldap_sync_dn")
        .without("ldap_sync_pw");
    world.tool.write_sync_config(&config.without("ldap_ca"));
    let outcome = check(&world.tool).expect_code(0);
    assert_json_agrees(&world.tool, &outcome);
    assert_eq!(marks(&outcome), "✓✓??✓?✓✓✓✓✓✓✓✓✓✓", "{}", outcome.all());
    assert!(line(&outcome, "✓ directory, bind").ends_with("SASL EXTERNAL"));
}

#[test]
fn what_works_and_could_be_better() {
    let pki = Pki::new();
    let options = SlapdOptions {
        tls: Some(ServerTls::new(&pki, pki.expiring(1))),
        // Its own configuration is another database, before the one of the content; who may read it
        // is told of the checkpoint.
        extra_global: format!("database config\naccess to * by dn.exact=\"cn=sync,{SUFFIX}\" read"),
        ..SlapdOptions::default()
    };
    let mut world = World::new(options);
    let outcome = check(&world.tool).expect_code(0);
    assert_json_agrees(&world.tool, &outcome);
    assert!(
        line(&outcome, "! directory, TLS").contains("expires in 1 day: renew it"),
        "{}",
        outcome.all()
    );
    assert_eq!(line(&outcome, "✓ syncprov-checkpoint"), "✓ syncprov-checkpoint: set");
    let sparse = |options: &mut SlapdOptions| {
        options.syncprov = false;
        options.extra_database = "overlay syncprov".to_owned();
        options.extra_global.insert_str(0, "moduleload syncprov\n");
    };
    world.slapd.reconfigure(sparse);
    let outcome = check(&world.tool).expect_code(0);
    assert_json_agrees(&world.tool, &outcome);
    let advice = line(&outcome, "! syncprov-checkpoint");
    assert!(
        advice.contains("olcDatabase") && advice.contains("syncprov-checkpoint 100 1"),
        "{advice}"
    );

    world.tool.write_sync_config(&world.config.clone().set("ldap_verify_ca", false));
    std::fs::set_permissions(
        world.tool.sync_config(),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let outcome = check(&world.tool).expect_code(0);
    assert_json_agrees(&world.tool, &outcome);
    assert!(line(&outcome, "✓ sync config").ends_with("mode 0644"));
    let advice: Vec<&str> =
        outcome.stdout.lines().filter(|line| line.starts_with("! sync config")).collect();
    assert!(
        advice.iter().any(|line| line.contains("chmod o-rw"))
            && advice.iter().any(|line| line.contains("ldap_verify_ca")),
        "{advice:?}"
    );
    assert!(
        line(&outcome, "✓ directory, TLS:").ends_with("NOT verified, as configured"),
        "{}",
        outcome.all()
    );
}

#[test]
fn without_content_synchronisation() {
    let slapd = Slapd::start(SlapdOptions { syncprov: false, ..SlapdOptions::default() });
    let kanidm = KanidmServer::start();
    let token = kanidm.create_sync_account(ACCOUNT).token;
    let tool = Tool::new(
        &ConfigText::for_slapd(&slapd).set("sync_token", token),
        &ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()),
    );
    let outcome = check(&tool).expect_code(1);
    let (detail, remedy) = failed(&assert_json_agrees(&tool, &outcome));
    assert!(detail.ends_with("1.3.6.1.4.1.4203.1.9.1.1)"), "{detail}");
    assert!(remedy.starts_with("OpenLDAP: load the module syncprov"), "{remedy}");
    assert_eq!(marks(&outcome), "✓✓✓✓✓✓✓✗––✓✓✓✓✓✓", "{}", outcome.all());
    assert!(line(&outcome, "✗").contains("add the overlay"));
}

/// A 389 Directory Server with one person who has all that is needed, and two who have not.
fn ds389(link: &mut Link) {
    ds389_with_classes(link, ["person"; 3]);
}

fn ds389_with_classes(link: &mut Link, classes: [&str; 3]) {
    link.begin(&[
        ("vendorName", &["389 Project"]),
        ("vendorVersion", &["389-Directory/2.3.1"]),
        ("supportedControl", &["1.3.6.1.4.1.4203.1.9.1.1"]),
    ]);
    let refresh = link.request();
    assert!(refresh.is_refresh());
    let person = |n: u128, attributes: &[(&str, &[&str])]| {
        let class = [classes[n as usize - 1]];
        let attributes: Vec<(&str, &[&str])> =
            [("objectClass", &class[..])].into_iter().chain(attributes.iter().copied()).collect();
        sync_entry(
            refresh.id,
            Uuid::from_u128(n << 64),
            &format!("uid={n},dc=example"),
            &attributes,
        )
    };
    link.send(person(1, &[("uid", &["one"]), ("cn", &["One"])]));
    link.send(person(2, &[("uid", &["two"])]));
    link.send(person(3, &[]));
    link.send(sync_done(refresh.id, Some("localhost:636#cn=sync#1"), false));
    while let Some(request) = link.next_request() {
        // No more than the end: unbind.
        assert_eq!(request.tag, 0x42);
    }
}

#[test]
fn a_389_without_full_refreshes_and_entries_that_lack_something() {
    let pki = Pki::new();
    let kanidm = KanidmServer::start();
    let token = kanidm.create_sync_account(ACCOUNT).token;
    let config = |peer: &Peer| {
        let config =
            ConfigText::for_directory(&format!("ldaps://localhost:{}", peer.port), pki.ca())
                .set("sync_token", token.as_str());
        config.set("person_objectclass", "person").set("ldap_sync_base_dn", "dc=example")
    };
    let peer = Peer::tls(&pki.localhost(), ds389);
    let tool = Tool::new(&config(&peer), &ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()));
    let outcome = check(&tool).expect_code(0);
    line(&outcome, "✓ directory, content synchronisation: offered by 389-Directory/2.3.1");
    assert!(
        line(&outcome, "! full_refresh_schedule").contains("0 30 2 * * * *"),
        "{}",
        outcome.all()
    );
    assert!(
        line(&outcome, "✓ directory, filter and entries")
            .contains("1 person and 0 groups would be sent, 2 held back")
    );
    assert!(
        line(&outcome, "! directory, filter and entries")
            .contains("2 lack a required attribute (cn 2, uid 1)"),
        "{}",
        outcome.all()
    );

    let peer = Peer::tls(&pki.localhost(), ds389);
    tool.write_sync_config(&config(&peer).set("full_refresh_schedule", "@daily"));
    let outcome = check(&tool).expect_code(0);
    assert!(!outcome.stdout.contains("full_refresh_schedule"), "{}", outcome.all());

    // What OpenLDAP does to an inetOrgPerson when the filter asks for persons.
    let peer = Peer::tls(&pki.localhost(), ds389);
    tool.write_sync_config(
        &config(&peer).set("full_refresh_schedule", "@daily").set("person_objectclass", "other"),
    );
    let outcome = check(&tool).expect_code(1);
    assert!(
        line(&outcome, "! directory, filter and entries")
            .contains("3 entries match the filter and are neither person nor group by the object classes they name; 2 of them have a user name. Check")
    );

    for (classes, note) in [
        (
            ["person", "other", "other"],
            "2 entries match the filter and are neither person nor group by the object classes they name; 1 of them has a user name. Check ",
        ),
        (
            ["person", "other", "person"],
            "1 entry matches the filter and is neither person nor group by the object classes it names; it has a user name. Check ",
        ),
        (
            ["person", "person", "other"],
            "1 entry matches the filter and is neither person nor group by the object classes it names. Check ",
        ),
    ] {
        let peer = Peer::tls(&pki.localhost(), move |link| ds389_with_classes(link, classes));
        tool.write_sync_config(&config(&peer).set("full_refresh_schedule", "@daily"));
        let outcome = check(&tool).expect_code(0);
        let notes: Vec<&str> = outcome
            .stdout
            .lines()
            .filter(|line| line.contains("neither person nor group"))
            .collect();
        assert!(notes.len() == 1 && notes[0].contains(note), "{}", outcome.all());
    }
}

#[test]
fn with_follow_the_persistent_search_is_tried() {
    const STEP: &str = "directory, listening for changes";
    let mut world = World::new(SlapdOptions::default());
    assert!(!check(&world.tool).expect_code(0).stdout.contains(STEP));
    world.reconfigure(|config| config.set("follow", true));
    let outcome = check(&world.tool).expect_code(0);
    assert_json_agrees(&world.tool, &outcome);
    assert_eq!(
        line(&outcome, &format!("✓ {STEP}")),
        format!("✓ {STEP}: the directory reports each change")
    );

    let pki = Pki::new();
    let peer = Peer::tls_each(&pki.localhost(), |link: &mut Link| {
        link.begin(SLAPD);
        while let Some(search) = link.next_request().filter(|request| request.tag == 0x63) {
            if search.is_persistent() {
                link.send(done(search.id, 53, "Too many active synchronization sessions"));
            } else if search.is_refresh() {
                let attributes: [(&str, &[&str]); 3] =
                    [("objectClass", &["posixAccount"]), ("uid", &["one"]), ("cn", &["One"])];
                link.send(sync_entry(search.id, Uuid::from_u128(7), "uid=one", &attributes));
                link.send(sync_done(search.id, Some("rid=000,csn=x"), true));
            } else {
                link.send(done(search.id, 0, ""));
            }
        }
    });
    world.reconfigure(|config| {
        config
            .set("ldap_uri", format!("ldaps://localhost:{}", peer.port))
            .set("ldap_ca", pki.ca().to_str().unwrap())
    });
    let outcome = check(&world.tool).expect_code(1);
    assert_json_agrees(&world.tool, &outcome);
    let failed = line(&outcome, &format!("✗ {STEP}"));
    assert!(failed.contains("takes ten persistent searches at a time: end others"), "{failed}");
    assert!(failed.ends_with(". Until it works, changes wait for the schedule"), "{failed}");
}
