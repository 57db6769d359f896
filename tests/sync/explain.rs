//! `--explain`: why somebody is not in Kanidm, asked as a new administrator asks. On real servers
//! and the real Kanidm engine.

use serde_json::Value;

use crate::support::ds389::Ds389Options;
use crate::support::peer::{Link, Peer, SLAPD, done, entry};
use crate::support::pki::Pki;
use crate::support::seed::{SUFFIX, Seed};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{ConfigText, Outcome, Tool, run_command};
use crate::support::world::{ACCOUNT, Between, World, World389};

const FILTER: &str = "(&(|(objectClass=inetOrgPerson)(objectClass=groupOfNames)(objectClass=posixGroup)(objectClass=account))(!(employeeType=intern)))";

fn person(uid: &str, more: &str) -> String {
    person_in("people", uid, uid, more)
}

fn person_in(unit: &str, rdn: &str, uid: &str, more: &str) -> String {
    format!(
        "dn: cn={rdn},ou={unit},{SUFFIX}\nobjectClass: inetOrgPerson\ncn: {rdn}\nsn: {rdn}\nuid: {uid}\n{more}\n"
    )
}

fn group(name: &str, members: &[String]) -> String {
    let members: String = members.iter().map(|member| format!("member: {member}\n")).collect();
    format!("dn: cn={name},ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: {name}\n{members}\n")
}

fn dn(name: &str) -> String {
    format!("cn={name},ou=people,{SUFFIX}")
}

const SHOWN: &str = "displayName: Somebody\n";

/// People who are in Kanidm, and people who are not.
fn content() -> String {
    [
        person("alice", "displayName: Alice\nmail: alice@example.com\nmail: no address\n"),
        person("dave", "displayName: Dave\nemployeeType: intern\n"),
        person("erin", SHOWN),
        format!("dn: uid=frank,ou=people,{SUFFIX}\nobjectClass: account\nuid: frank\n\n"),
        person("grace", SHOWN),
        person_in("people", "1heidi", "1heidi", SHOWN),
        person("ivan", ""),
        person("judy", SHOWN),
        person_in("staff", "judy2", "judy", SHOWN),
        person("kim", SHOWN),
        person("lena", SHOWN),
        person("mallory", SHOWN),
        format!(
            "dn: cn=alice,ou=groups,{SUFFIX}\nobjectClass: posixGroup\ncn: alice\ngidNumber: 7001\n\n"
        ),
        group(
            "team",
            &[dn("alice"), dn("dave"), dn("nobody"), dn("1heidi"), format!("cn=sync,{SUFFIX}")],
        ),
    ]
    .concat()
}

/// After a first run. `hidden` are people whom the sync account may not see.
fn world(hidden: &[&str]) -> World {
    let seed = Seed::Content(content());
    let extra_database = rules(hidden);
    let options =
        SlapdOptions { seed, sessionlog: Some(100), extra_database, ..SlapdOptions::default() };
    World::with(options, crate::support::expect::GROUPS_OF_NAMES, FILTER, |config| {
        config
            .set("person_objectclass", "inetOrgPerson")
            .set("person_attr_display_name", "displayName")
            .set("group_objectclass", vec!["groupOfNames".to_owned(), "posixGroup".to_owned()])
    })
}

fn rules(hidden: &[&str]) -> String {
    hidden.iter().map(|name| format!("access to dn.exact=\"{}\" by * none\n", dn(name))).collect()
}

#[track_caller]
fn explain(world: &Between, who: &str, code: i32) -> Outcome {
    let mut command = world.tool.command();
    let outcome = run_command(command.args(["--explain", who]).env("LC_ALL", "C.UTF-8"));
    assert_eq!(outcome.code, Some(code), "{who}\n{}", outcome.all());
    outcome
}

#[track_caller]
fn json(world: &Between, who: &str, code: i32) -> Value {
    let outcome = world.tool.run(&["--json", "--explain", who]).expect_code(code);
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// The last line.
fn last(outcome: &Outcome) -> &str {
    outcome.stdout.lines().last().unwrap_or_default()
}

fn uuid_of(world: &World, dn: &str) -> String {
    let found = world.slapd.search(dn, "(objectClass=*)", &["entryUUID"]);
    found[0].text("entryUUID").unwrap().to_owned()
}

/// Each answer names the reason in its last line, or tells that nobody can know.
#[test]
fn more_than_ten_reasons_why_somebody_is_missing() {
    let mut world = world(&["erin", "lena"]);
    let grace = uuid_of(&world, &dn("grace"));
    world.reconfigure(|config| config.set_in(&grace, "exclude", true));
    world.kanidm.create_person("mallory", None, None);
    world.run(&[], 3);
    // Lena comes into view, and part of Kim goes out of view.
    world.slapd.reconfigure(|options| {
        options.extra_database = rules(&["erin"])
            + &format!("access to dn.exact=\"{}\" attrs=uid by * none\n", dn("kim"));
    });
    world.slapd.change(&dn("kim"), "replace: sn\nsn: changed\n");

    let account = format!("hidden from the sync account cn=sync,{SUFFIX}");
    let typo = format!("cn=alice,ou=peple,{SUFFIX}");
    let private = format!("cn=alice,ou=groups,{SUFFIX}");
    let twin = format!("cn=judy2,ou=staff,{SUFFIX}");
    for (who, code, in_last_line, elsewhere) in [
        (
            "nobody",
            1,
            "=> Not found",
            format!("No entry with this name exists in the directory, or it is {account}"),
        ),
        ("erin", 1, "=> Not found", format!("or it is {account}")),
        (
            &dn("erin"),
            1,
            "=> Not found",
            "exists and is visible: check the spelling of the first part".to_owned(),
        ),
        (
            &typo,
            1,
            "=> Not found",
            format!("ou=peple,{SUFFIX} does not exist, or is hidden, too: check its spelling"),
        ),
        (
            "dave",
            1,
            "=> Not in scope: ldap_filter rejects it: (!(employeeType=intern)). The next run ignores it",
            "✗ (!   <- rejects it".to_owned(),
        ),
        (
            "frank",
            1,
            "=> Not in scope: neither person nor group: its classes are account; person_objectclass is inetOrgPerson",
            "✗ neither".to_owned(),
        ),
        (
            "grace",
            1,
            "=> Not in scope: its table in the configuration has exclude = true. The next run ignores it",
            "exclude = true".to_owned(),
        ),
        (
            &private,
            1,
            "=> Not in scope: it is the private group of the user with its name",
            "✓ group, by posixGroup".to_owned(),
        ),
        (
            "1heidi",
            3,
            "=> Held: uid: must be 1 to 64 of the characters",
            "An earlier run held it already".to_owned(),
        ),
        ("ivan", 3, "=> Held: displayName: is missing", "displayName     ✗ no value".to_owned()),
        (
            &twin,
            3,
            "=> Held: uid: must be unique, and is the same as that of cn=judy,ou=people",
            "✗ \"judy\"".to_owned(),
        ),
        (
            &dn("kim"),
            3,
            "=> Held: uid: is missing",
            "hidden from the sync account, or not known to the directory's schema".to_owned(),
        ),
        (
            "mallory",
            3,
            "=> Held by an earlier run. Its values break no rule that this program knows: either Kanidm refused it",
            "held since a full refresh".to_owned(),
        ),
        (
            "lena",
            3,
            "=> Waits. No run has written it, and it has not changed since the last run",
            "run once with --full-refresh".to_owned(),
        ),
    ] {
        let outcome = explain(&world, who, code);
        assert!(last(&outcome).starts_with(in_last_line), "{who}\n{}", outcome.stdout);
        assert!(outcome.stdout.contains(&elsewhere), "{who}: {elsewhere}\n{}", outcome.stdout);
        assert_eq!(outcome.stderr, "", "{who}");
    }

    // What the answer says comes true.
    world.run(&["--full-refresh"], 3);
    assert!(world.kanidm.entry(ACCOUNT, "lena").is_some());
    assert!(last(&explain(&world, "lena", 0)).starts_with("=> In Kanidm. The next run leaves it"));

    world.reconfigure(|config| config.set("ldap_sync_base_dn", format!("ou=people,{SUFFIX}")));
    for who in [twin.as_str(), "judy2"] {
        let outcome = explain(&world, who, 1);
        assert!(
            last(&outcome).starts_with(&format!(
                "=> Not in scope: it is outside ldap_sync_base_dn = ou=people,{SUFFIX}. "
            )),
            "{}",
            outcome.stdout
        );
    }
}

/// One question before the first run, after a change, and after it: each time the next run does
/// what the answer says.
#[test]
fn the_last_line_comes_true() {
    let mut world = world(&[]);
    let alice = dn("alice");
    let says = |world: &World, code: i32, words: &str| {
        let outcome = explain(world, &alice, code);
        assert!(last(&outcome).contains(words), "{words}\n{}", outcome.stdout);
    };
    says(&world, 0, "On its way to Kanidm. It goes without a value: mail: must be");
    says(&world, 0, "The next run is a full refresh (Kanidm has no state yet) and writes it");
    world.run(&[], 3);
    says(&world, 0, "In Kanidm. It goes without a value");
    says(&world, 0, "The next run leaves it as it is: it has not changed since the last one");
    world.kanidm.clear_log();
    world.run(&[], 3);
    assert!(world.kanidm.posts().is_empty());

    world.slapd.change(&alice, "replace: displayName\ndisplayName: Alice B\n");
    says(&world, 0, "It has changed since the last run: the next run writes it");
    world.run(&[], 3);
    let name = world.kanidm.entry(ACCOUNT, "alice").unwrap().displayname;
    assert_eq!(name.as_deref(), Some("Alice B"));

    world.slapd.change(&alice, "replace: employeeType\nemployeeType: intern\n");
    says(
        &world,
        1,
        "(!(employeeType=intern)). The next run deletes it from Kanidm, if the deletion guard agrees",
    );
    let uuid = uuid_of(&world, &alice);
    world.run(&[], 3);
    assert!(world.kanidm.entry(ACCOUNT, "alice").is_none());
    says(&world, 1, "The next run ignores it");

    world.slapd.delete(&alice);
    let gone = explain(&world, &uuid, 1);
    assert_eq!(last(&gone), "=> Not found. The next run ignores it");

    world.slapd.change(&dn("judy"), "replace: uid\nuid: judith\n");
    world.reconfigure(|config| config.set("invalid_entries", "fail"));
    let heidi = explain(&world, "1heidi", 3);
    assert!(last(&heidi).contains("fails and sends nothing"), "{}", heidi.stdout);
}

#[test]
fn each_spelling_of_a_uuid_and_a_renamed_entry() {
    let mut world = world(&[]);
    let uuid = uuid_of(&world, &dn("alice"));
    let other = "0123abcd-0123-4123-8123-0123456789ab";
    world.reconfigure(|config| {
        config.set_in(&uuid, "map_uuid", other).set_in(&uuid, "map_name", "renamed")
    });
    let simple = uuid.replace('-', "");
    let of_389 =
        format!("{}-{}-{}-{}", &simple[..8], &simple[8..16], &simple[16..24], &simple[24..]);
    let upper = uuid.to_uppercase();
    for who in [
        &uuid,
        &upper,
        &simple,
        &of_389,
        &other.to_owned(),
        &"renamed".to_owned(),
        &"RENAMED".to_owned(),
    ] {
        let outcome = explain(&world, who, 0);
        assert!(outcome.stdout.contains(&dn("alice")), "{who}\n{}", outcome.stdout);
        assert!(
            outcome.stdout.contains(&format!("{uuid}, in Kanidm {other} (map_uuid)")),
            "{}",
            outcome.stdout
        );
        assert!(outcome.stdout.contains("✓ \"alice\" -> renamed"), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("map_name = renamed"), "{}", outcome.stdout);
    }
    // The person and the user's own group have one name.
    let both = explain(&world, "alice", 0);
    assert!(
        both.stdout.starts_with("2 entries have this name; give a DN to choose one"),
        "{}",
        both.stdout
    );
}

#[test]
fn the_members_of_a_group_and_the_groups_of_a_person() {
    let mut world = world(&["erin"]);
    world.slapd.change(
        &format!("cn=team,ou=groups,{SUFFIX}"),
        &format!("add: member\nmember: {}\nmember: uid=frank,ou=people,{SUFFIX}\n", dn("erin")),
    );
    world.run(&[], 3);
    let team = explain(&world, "team", 0);
    let absent = "does not exist, or is hidden from the sync account";
    for line in [
        "members         7 named, 2 resolve".to_owned(),
        format!("✓ {}", dn("alice")),
        format!("✓ {}: held by an earlier run", dn("1heidi")),
        format!("✗ {}: is rejected by ldap_filter", dn("dave")),
        format!("✗ {}: {absent}", dn("nobody")),
        format!("✗ {}: {absent}", dn("erin")),
        format!("✗ cn=sync,{SUFFIX}: is skipped: the sync account itself"),
        format!(
            "✗ uid=frank,ou=people,{SUFFIX}: is skipped: neither person nor group by its object classes"
        ),
    ] {
        assert!(team.stdout.contains(&line), "{line}\n{}", team.stdout);
    }
    let alice = explain(&world, &dn("alice"), 0);
    assert!(
        alice.stdout.contains(&format!(
            "1 group names it\n                  ✓ cn=team,ou=groups,{SUFFIX}\n"
        )),
        "{}",
        alice.stdout
    );
    world.reconfigure(|config| config.set("ldap_sync_base_dn", format!("ou=groups,{SUFFIX}")));
    let team = explain(&world, "team", 0);
    assert!(
        team.stdout.contains(&format!("✗ {}: is outside ldap_sync_base_dn", dn("alice"))),
        "{}",
        team.stdout
    );
}

#[test]
fn members_by_user_name() {
    let posix = |name: &str, members: &[&str]| {
        let members: String = members.iter().map(|m| format!("memberUid: {m}\n")).collect();
        format!(
            "dn: cn={name},ou=groups,{SUFFIX}\nobjectClass: posixGroup\ncn: {name}\ngidNumber: 7002\n{members}\n"
        )
    };
    let seed = Seed::Content(
        [
            person("alice", SHOWN),
            person("dave", "displayName: x\nemployeeType: intern\n"),
            posix("crew", &["alice", "dave", "nobody"]),
        ]
        .concat(),
    );
    let world = World::with(
        SlapdOptions { seed, ..SlapdOptions::default() },
        crate::support::expect::POSIX_GROUPS,
        FILTER,
        |config| {
            config
                .set("person_objectclass", "inetOrgPerson")
                .set("person_attr_display_name", "displayName")
                .set("group_objectclass", "posixGroup")
                .set("group_attr_member", "memberUid")
                .set("group_attr_schema", "rfc2307")
        },
    );
    let crew = explain(&world, "crew", 0);
    for line in [
        "members         3 named, 1 resolve\n".to_owned(),
        "✓ alice\n".to_owned(),
        format!("✗ dave: {} is rejected by ldap_filter", dn("dave")),
        "✗ nobody: no entry has this user name, or it is hidden from the sync account".to_owned(),
    ] {
        assert!(crew.stdout.contains(&line), "{line}\n{}", crew.stdout);
    }
    let alice = explain(&world, "alice", 0);
    assert!(alice.stdout.contains(&format!("✓ cn=crew,ou=groups,{SUFFIX}")), "{}", alice.stdout);
}

/// A part on an attribute that the account may not search by is neither true nor false.
#[test]
fn a_filter_on_a_hidden_attribute() {
    let mut world = world(&[]);
    world.slapd.reconfigure(|options| {
        options.extra_database = "access to attrs=employeeType by * none\n".to_owned();
    });
    let outcome = explain(&world, &dn("alice"), 1);
    assert!(
        outcome
            .stdout
            .contains("? (!   <- rejects it: hidden from the account, or not in the schema"),
        "{}",
        outcome.stdout
    );
    assert!(last(&outcome).contains("(!(employeeType=intern)) cannot be decided: the account may not search by the attribute"), "{}", outcome.stdout);
    let json = json(&world, &dn("alice"), 1);
    assert_eq!(json["entries"][0]["filter"]["parts"][1]["matches"], "undefined");
}

#[test]
fn locks_are_told_with_their_origin() {
    let world = world(&[]);
    let change = |text: &str| world.slapd.change(&dn("kim"), text);
    change("add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n");
    let locked = explain(&world, &dn("kim"), 0);
    assert!(
        locked.stdout.contains(
            "account         locked\n                  pwdAccountLockedTime locks the account\n"
        ),
        "{}",
        locked.stdout
    );
    change("replace: pwdAccountLockedTime\npwdAccountLockedTime: 20240101000000Z\n");
    let passes = explain(&world, &dn("kim"), 0);
    assert!(passes.stdout.contains("account         open\n                  pwdAccountLockedTime is a lock-out by the directory that passes"), "{}", passes.stdout);
    change("delete: pwdAccountLockedTime\n-\nadd: pwdEndTime\npwdEndTime: 20990101000000Z\n");
    let ends = explain(&world, &dn("kim"), 0);
    let told = "account         open until 2099-01-01T00:00:00Z\n                  pwdEndTime ends the account at 2099-01-01T00:00:00Z\n";
    assert!(ends.stdout.contains(told), "{}", ends.stdout);
}

/// Before the first run nobody can tell which of two namesakes the directory sends first.
#[test]
fn two_entries_want_one_value() {
    let world = world(&[]);
    for who in [dn("judy"), format!("cn=judy2,ou=staff,{SUFFIX}")] {
        let outcome = explain(&world, &who, 3);
        let told =
            "=> Held, or the other one: uid: must be unique, and is the same as that of cn=judy";
        assert!(last(&outcome).starts_with(told), "{}", outcome.stdout);
    }
    world.run(&[], 3);
    explain(&world, &dn("judy"), 0);
    // A mail address holds nobody.
    world.slapd.change(&dn("kim"), "replace: mail\nmail: alice@example.com\n");
    let kim = explain(&world, &dn("kim"), 0);
    assert!(last(&kim).starts_with("=> In Kanidm. It has changed"), "{}", kim.stdout);
    let rival = "mail: must be unique, and is the same as that of cn=alice";
    assert!(kim.stdout.contains(&format!("problem         ✗ {rival}")), "{}", kim.stdout);
    world.run(&[], 3);
    let kim = explain(&world, &dn("kim"), 0);
    assert!(kim.stdout.contains("held since an incremental run"), "{}", kim.stdout);
    let told = "It goes without a value: mail: must be unique, and is the same as that of cn=alice";
    assert!(last(&kim).contains(told), "{}", kim.stdout);
    let then = "An earlier run held it. The next run tries it again without that value";
    assert!(last(&kim).contains(then), "{}", kim.stdout);
    world.run(&[], 3);
    let kim = explain(&world, &dn("kim"), 0);
    assert!(last(&kim).starts_with("=> In Kanidm. "), "{}", kim.stdout);
    assert!(last(&kim).contains("writes the value when it is free"), "{}", kim.stdout);
    assert!(kim.stdout.contains("since an incremental run it is there without a value"));
}

/// Neither Kanidm nor its client config is needed, and a run that is under way is no obstacle.
#[test]
fn without_kanidm_and_beside_a_run() {
    let world = world(&[]);
    let _run =
        kanidm_ldap_sync::service::lock::RunLock::acquire(world.tool.sync_config(), None).unwrap();
    explain(&world, "judith", 1);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = format!("uri = \"https://{closed}\"\n");
    for client in [client.as_str(), "no_key = 1\n"] {
        world.tool.write_client_config(&ConfigText::new().raw(client));
        let outcome = explain(&world, &dn("alice"), 0);
        assert!(outcome.stdout.starts_with("Kanidm's state is not known: "), "{}", outcome.stdout);
        assert!(
            last(&outcome).contains("In scope and valid. A full refresh writes it"),
            "{}",
            outcome.stdout
        );
        assert_eq!(json(&world, &dn("alice"), 0)["result"], "in_scope");
        explain(&world, "1heidi", 3);
        explain(&world, "dave", 1);
    }
}

#[test]
fn failures_have_codes_of_their_own() {
    let mut world = world(&[]);
    world.reconfigure(|config| config.set("no_key", 1));
    let answer = json(&world, "alice", 2);
    assert_eq!((&answer["result"], &answer["exit_code"]), (&"failed".into(), &2.into()));
    assert_eq!(like_the_schema(&answer), [""; 0]);
    world.reconfigure(|config| config.without("no_key"));
    world.tool.run(&["--explain"]).expect_code(2);
    world.tool.run(&["--explain", " "]).expect_code(2).says("needs a DN, a UUID or a name");
    world.tool.run(&["--explain", "alice", "--full-refresh"]).expect_code(2);
    world.tool.run(&["--explain", "alice", "--check"]).expect_code(2);
    world.slapd.stop();
    let answer = json(&world, "alice", 1);
    assert_eq!(answer["result"], "failed");
    assert!(answer["error"].as_str().unwrap().contains("ldaps://"), "{answer}");
    assert_eq!(like_the_schema(&answer), [""; 0]);
}

fn like_the_schema(answer: &Value) -> Vec<String> {
    let schema = serde_json::from_str(include_str!("../../docs/explain.schema.json")).unwrap();
    crate::report_schema::problems_by(&schema, answer)
}

#[test]
fn every_answer_is_as_the_schema_says() {
    let world = world(&["erin"]);
    let missing = format!("cn=x,ou=peple,{SUFFIX}");
    for (who, code) in [
        ("alice", 0),
        ("dave", 1),
        ("1heidi", 3),
        ("team", 0),
        ("frank", 1),
        ("erin", 1),
        (&missing, 1),
    ] {
        assert_eq!(like_the_schema(&json(&world, who, code)), [""; 0], "{who}");
    }
    let mut answer = json(&world, "team", 0);
    answer["entries"][0]["kind"] = "planet".into();
    assert!(!like_the_schema(&answer).is_empty());
}

/// Kanidm's administrator may take attributes over. Runs then leave them out.
#[test]
fn a_yielded_attribute_is_not_sent() {
    let world = world(&[]);
    world.run(&[], 3);
    world.kanidm.yield_attributes(ACCOUNT, &["mail"]);
    world.slapd.change(&dn("kim"), "replace: mail\nmail: kim@example.com\n");
    world.run(&[], 3);
    let kim = explain(&world, &dn("kim"), 0);
    let told = "mail            ? \"kim@example.com\" -> not sent\n                  an administrator of Kanidm took the attribute over (yielded)";
    assert!(kim.stdout.contains(told), "{}", kim.stdout);
}

/// A user's own group says nothing about the user, and a bad person is not hidden by a good group.
#[test]
fn groups_do_not_count_next_to_their_users() {
    let world = world(&[]);
    let member = [dn("judy"), dn("kim")];
    world.slapd.modify(&["dave", "ivan"].map(|name| group(name, &member)).concat());
    for (who, code) in [("alice", 0), ("dave", 1), ("ivan", 3), ("team", 0)] {
        explain(&world, who, code);
    }
}

const MARKER: &str = "Marker5ecret";

/// Passwords of every kind, also where a configuration maps them to something else.
#[test]
fn no_secret_is_shown() {
    let mut world = world(&[]);
    for password in [
        format!("{{SSHA}}{MARKER}"),
        format!("{{{MARKER}}}x"),
        MARKER.to_owned(),
        format!("${MARKER}$"),
        format!("{{CRYPT}}!$6${MARKER}"),
    ] {
        world
            .slapd
            .change(&dn("alice"), &format!("replace: userPassword\nuserPassword: {password}\n"));
        for key in [
            "person_attr_password",
            "person_attr_display_name",
            "person_attr_mail",
            "person_attr_ssh_public_key",
        ] {
            world.reconfigure(|config| config.set(key, "userPassword"));
            for arguments in [
                &["--explain", "alice"][..],
                &["--explain", "alice", "--json"],
                &["--explain", "alice", "-d"],
            ] {
                let outcome = world.tool.run(arguments);
                assert!(outcome.stdout.contains("alice"), "{}", outcome.all());
                assert!(!outcome.all().contains(MARKER), "{key}: {password}\n{}", outcome.all());
            }
            world.reconfigure(|config| {
                config.without(key).set("person_attr_display_name", "displayName")
            });
        }
    }
    let shown = explain(&world, &dn("alice"), 0);
    assert!(shown.stdout.contains("{CRYPT} $6$, 23 bytes, with a lock mark"), "{}", shown.stdout);
}

/// A group with more members than a look-up of each allows: nobody reads the whole directory.
#[test]
fn a_large_group_is_cut() {
    let members: Vec<String> = (0..1_200).map(|n| dn(&format!("m{n}"))).collect();
    let seed = Seed::Content(
        person("alice", SHOWN) + &group("large", &members) + &group("half", &members[..300]),
    );
    let world = World::with(
        SlapdOptions { seed, ..SlapdOptions::default() },
        crate::support::expect::GROUPS_OF_NAMES,
        FILTER,
        |config| config.set("person_objectclass", "inetOrgPerson"),
    );
    let large = explain(&world, "large", 0);
    assert!(
        large.stdout.contains("1,200 named; of the first 1,000, 0 resolve; 50 are listed"),
        "{}",
        large.stdout
    );
    let half = explain(&world, "half", 0);
    assert!(half.stdout.contains("300 named, 0 resolve; 50 are listed"), "{}", half.stdout);
    assert_eq!(half.stdout.matches('✗').count(), 50);
}

/// Control characters of the directory drive no terminal.
#[test]
fn control_characters_are_escaped() {
    let world = world(&[]);
    world.slapd.change(&dn("alice"), "replace: displayName\ndisplayName:: G1sybQc=\n");
    for arguments in [&["--explain", "alice"][..], &["--explain", "alice", "--json"]] {
        let outcome = world.tool.run(arguments);
        assert!(
            outcome.stdout.contains("[2m") && !outcome.stdout.contains('\u{1b}'),
            "{}",
            outcome.all()
        );
    }
    let ascii = run_command(world.tool.command().args(["--explain", "dave"]).env("LC_ALL", "C"));
    assert!(ascii.stdout.is_ascii() && ascii.stdout.contains("[NO] (!"), "{}", ascii.stdout);
    let quiet = world.tool.run(&["-q", "--explain", "dave"]).expect_code(1);
    assert_eq!(quiet.stdout.lines().count(), 1, "{}", quiet.stdout);
}

/// 389 tells less than slapd about changes, and more about hidden entries.
#[test]
fn on_389() {
    let options = Ds389Options { seed: Seed::Content(content()), ..Ds389Options::default() };
    let mut world = World389::with(options, FILTER, |config| {
        config
            .set("person_objectclass", "inetOrgPerson")
            .set("person_attr_display_name", "displayName")
            .set("group_objectclass", vec!["groupOfNames".to_owned(), "posixGroup".to_owned()])
    });
    let alice = world.admin.entry(&dn("alice")).unwrap().text("nsUniqueId").unwrap().to_owned();
    world.run(&[], 3);
    let says = |world: &Between, who: &str, code: i32, words: &[&str]| {
        let outcome = explain(world, who, code);
        for words in words {
            assert!(outcome.stdout.contains(words), "{who}: {words}\n{}", outcome.stdout);
        }
    };
    let simple = alice.replace('-', "");
    let unchanged = "=> In Kanidm. It goes without a value: mail: must be";
    for who in [&alice, &simple, &dn("alice")] {
        says(&world, who, 0, &[unchanged, "leaves it as it is: it has not changed"]);
    }
    says(
        &world,
        "dave",
        1,
        &["✗ (!   <- rejects it", "ldap_filter rejects it: (!(employeeType=intern))"],
    );
    says(&world, "1heidi", 3, &["=> Held: uid: must be", "An earlier run held it already"]);
    says(&world, "team", 0, &["5 named, 2 resolve", "is rejected by ldap_filter"]);
    says(&world, "nobody", 1, &["=> Not found"]);
    // It takes an attribute for absent that its schema does not know.
    let judy = explain(&world, "judy", 3).stdout;
    assert!(!judy.contains("krbPrincipalExpiration"), "{judy}");
    let private = "=> Not in scope: it is the private group of the user with its name";
    says(&world, &format!("cn=alice,ou=groups,{SUFFIX}"), 1, &[private]);

    world.admin.change(&dn("lena"), "replace: nsAccountLock\nnsAccountLock: true\n");
    says(
        &world,
        "lena",
        0,
        &[
            "account         locked",
            "nsAccountLock locks the account",
            "The next run writes it if it has changed since the last one",
        ],
    );
    world.run(&[], 3);
    says(&world, "lena", 0, &["leaves it as it is: it has not changed"]);

    // 389 does not report that an entry leaves the filter.
    world.admin.change(&dn("lena"), "replace: employeeType\nemployeeType: intern\n");
    let only_full =
        "Kanidm still has it. Only a full refresh notices that: run once with --full-refresh";
    says(&world, "lena", 1, &["ldap_filter rejects it", only_full]);
    world.run(&[], 3);
    assert!(world.kanidm.entry(ACCOUNT, "lena").is_some());
    says(&world, "lena", 1, &[only_full]);
    world.run(&["--full-refresh"], 3);
    assert!(world.kanidm.entry(ACCOUNT, "lena").is_none());
    says(&world, "lena", 1, &["The next run ignores it"]);

    let deny = |target: &str, attributes: &str| {
        format!(
            "add: aci\naci: (target=\"ldap:///{target}\")(targetattr=\"{attributes}\")(version 3.0; acl \"hide\"; \
             deny(all) userdn=\"ldap:///cn=sync,{SUFFIX}\";)\n"
        )
    };
    world.admin.change(SUFFIX, &deny(&dn("erin"), "*"));
    says(&world, &dn("erin"), 1, &["hides it from the sync account", "=> Not found"]);
    says(&world, "erin", 1, &["=> Not found"]);
    world.admin.change(SUFFIX, &deny(&dn("kim"), "uid || employeeType"));
    says(
        &world,
        &dn("kim"),
        1,
        &[
            "(!(employeeType=intern)) cannot be decided: the account may not search by the attribute",
            "hidden from the sync account, or not known to the directory's schema",
        ],
    );
    world.reconfigure(|config| config.set("ldap_sync_base_dn", format!("ou=people,{SUFFIX}")));
    says(&world, "judy", 0, &["=> In Kanidm. The next run is a full refresh"]);
    says(&world, "judy2", 1, &["it is outside ldap_sync_base_dn"]);

    // Tables have 389's spelling, and Kanidm's UUID finds the entry.
    let judy = world.admin.entry(&dn("judy")).unwrap().text("nsUniqueId").unwrap().to_owned();
    let other = "0123abcd-0123-4123-8123-0123456789ab";
    world.reconfigure(|config| {
        config
            .set_in(&alice, "exclude", true)
            .set_in(&judy, "map_name", "judith")
            .set_in(&judy, "map_uuid", other)
    });
    says(
        &world,
        "alice",
        1,
        &["=> Not in scope: its table in the configuration has exclude = true"],
    );
    for who in ["judith", other] {
        says(&world, who, 0, &["✓ \"judy\" -> judith", &format!("in Kanidm {other} (map_uuid)")]);
    }
}

const PAGE: &str = include_str!("../../docs/explain.md");

/// The examples of the page are what the program prints, except UUIDs.
#[test]
fn the_page_shows_real_answers() {
    let person = |uid: &str, cn: &str, more: &str| {
        format!(
            "dn: uid={uid},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\n\
             objectClass: ldapPublicKey\nobjectClass: shadowAccount\nuid: {uid}\ncn: {cn}\nsn: {cn}\n\
             homeDirectory: /home/{uid}\ngidNumber: 100\nuserPassword: {{CRYPT}}$6$labsalt0$RsbIflLehn.LXEng8MVX3jS21dL/qJY68xO8UiQJRB7Jo.iBREFPPvNDPQNJEab5tEICR0DzH820XGuqmmtOH/\n{more}\n"
        )
    };
    let key = "sshPublicKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx6M2RvOoxUv3bYSxWbDXIrjSPOYGPbFhjzPnNyWpGS bob@laptop\n";
    let seed = Seed::Content(
        [
            person("alice", "Alice Ames", "uidNumber: 20001\nmail: alice@example.com\n"),
            person(
                "bob",
                "Bob Brown",
                &format!("uidNumber: 20002\nmail: bob@example.com\nemployeeType: external\n{key}"),
            ),
            person(
                "2carol",
                "Carol Clark",
                "uidNumber: 500\nmail: carol@example.com\nshadowExpire: 47482\n",
            ),
            group(
                "staff",
                &["alice", "bob", "2carol"].map(|uid| format!("uid={uid},ou=people,{SUFFIX}")),
            ),
        ]
        .concat(),
    );
    let filter = "(&(|(objectClass=person)(objectClass=groupOfNames))(!(employeeType=external)))";
    let world = World::with(
        SlapdOptions { seed, sessionlog: Some(100), ..SlapdOptions::default() },
        crate::support::expect::GROUPS_OF_NAMES,
        filter,
        |config| config.without("person_objectclass"),
    );
    world.run(&[], 3);
    for (who, code) in [("bob", 1), ("2carol", 3), ("staff", 0)] {
        let answer = explain(&world, who, code).stdout;
        let uuid = json(&world, who, code)["entries"][0]["uuid"].as_str().unwrap().to_owned();
        let answer = answer.replace(&uuid, "5a2d3e52-8030-1041-8b63-19b16eaccf40");
        assert!(
            PAGE.contains(&format!("kanidm-ldap-sync --explain {who}\n{answer}```")),
            "{answer}"
        );
    }
}

/// An account that may read ten entries at a time gets its answer: nobody reads the directory.
#[test]
fn the_directory_is_not_read() {
    let mut world = world(&[]);
    world.run(&[], 3);
    world.reconfigure(|config| config.set("ldap_sync_dn", format!("cn=limited,{SUFFIX}")));
    world.run(&["--full-refresh"], 1);
    for (who, code) in [("alice", 0), ("dave", 1), ("1heidi", 3), ("team", 0), ("nobody", 1)] {
        explain(&world, who, code);
    }
}

/// Answers each search with so many copies of this entry, and with this code.
struct Odd {
    dn: String,
    attributes: Vec<(&'static str, Vec<String>)>,
    copies: usize,
    code: u32,
}

impl Odd {
    fn answer(&self, link: &mut Link) {
        link.begin(SLAPD);
        let values: Vec<(&str, Vec<&str>)> = self
            .attributes
            .iter()
            .map(|(name, values)| (*name, values.iter().map(String::as_str).collect()))
            .collect();
        let attributes: Vec<(&str, &[&str])> =
            values.iter().map(|(name, values)| (*name, values.as_slice())).collect();
        while let Some(request) = link.next_request().filter(|request| request.tag == 0x63) {
            for _ in 0..self.copies {
                link.send(entry(request.id, &self.dn, &attributes));
            }
            link.send(done(request.id, self.code, CONTROL));
        }
    }
}

const CONTROL: &str = "a\u{1b}[2J\u{202e}\n=> In Kanidm";

/// Whatever a server answers, the program ends, prints little and drives no terminal.
#[test]
fn a_hostile_directory() {
    let pki = Pki::new();
    let control = || vec![CONTROL.to_owned()];
    let many: Vec<String> = (0..400).map(|n| format!("uid={n},dc=example")).collect();
    let long = "x".repeat(20_000);
    let uuid = "5a2d3e52-8030-1041-8b63-19b16eaccf40";
    let attributes = |classes: &[String]| {
        vec![
            ("objectClass", classes.to_vec()),
            ("entryUUID", vec![uuid.to_owned()]),
            ("uid", many.clone()),
            ("cn", control()),
            ("displayName", vec![long.clone()]),
            ("mail", many.clone()),
            ("uidNumber", control()),
            (
                "sshPublicKey",
                [control(), vec![String::new(), "\n\n".to_owned(), "ssh-rsa".to_owned()]].concat(),
            ),
            ("userPassword", control()),
            ("member", many.clone()),
            ("shadowExpire", many.clone()),
            ("entryCSN", control()),
        ]
    };
    let person = attributes(&["inetOrgPerson".to_owned()]);
    let group = attributes(&["groupOfNames".to_owned()]);
    let every = attributes(
        &[many.clone(), vec!["inetOrgPerson".to_owned(), long.clone()], control()].concat(),
    );
    let neither = attributes(&many);
    let dn = "uid=a,dc=example";
    for (what, dn, attributes, copies, code) in [
        ("a person", dn, &person, 1, 0),
        ("a group", dn, &group, 1, 0),
        ("every class", dn, &every, 1, 0),
        ("no class", dn, &neither, 1, 0),
        ("no attribute", dn, &Vec::new(), 1, 0),
        ("another DN than the one asked for", "dc=elsewhere", &person, 1, 0),
        ("no DN", "", &person, 1, 0),
        ("a DN of control characters", CONTROL, &person, 1, 0),
        ("a long DN", &long, &person, 1, 0),
        ("more entries than one can have", dn, &person, 3, 0),
        ("nothing", dn, &person, 0, 0),
        ("no such object", dn, &person, 0, 32),
        ("a referral", dn, &person, 0, 10),
        ("no rights", dn, &person, 0, 50),
        ("a size limit", dn, &person, 1, 4),
        ("busy", dn, &person, 1, 51),
    ] {
        for who in ["a", "uid=a,dc=example", uuid] {
            let odd = Odd { dn: dn.to_owned(), attributes: attributes.clone(), copies, code };
            let peer = Peer::tls(&pki.localhost(), move |link| odd.answer(link));
            let config =
                ConfigText::for_directory(&format!("ldaps://localhost:{}", peer.port), pki.ca())
                    .set("ldap_sync_base_dn", "dc=example")
                    .set("person_objectclass", "inetOrgPerson")
                    .set("sync_token", "a-token-of-some-length");
            let tool = Tool::new(&config, &ConfigText::new().set("uri", "https://127.0.0.1:1"));
            let outcome = tool.run(&["--explain", who]);
            assert!(matches!(outcome.code, Some(0 | 1 | 3)), "{what}: {:?}", outcome.code);
            let all = outcome.all();
            assert!(
                !all.contains("panicked") && !all.contains(['\u{1b}', '\u{202e}']),
                "{what}\n{all}"
            );
            assert!(!outcome.stdout.contains("\n=> In Kanidm"), "{what}\n{all}");
            assert!(all.len() < 200_000, "{what}: {} bytes", all.len());
        }
    }
}
