//! `--explain`: why somebody is not in Kanidm, asked as a new administrator asks. On real servers
//! and the real Kanidm engine.

mod claims;
mod hostile;
mod members;
mod on_389;
mod remedies;
mod without;

use serde_json::Value;

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::seed::{SUFFIX, Seed};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{Outcome, run_command};
use crate::support::world::{ACCOUNT, Between, World};

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
    World::with(options, GROUPS_OF_NAMES, FILTER, |config| {
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
        ("alice@idm.example.com", 1, "=> Not found", "ask for NAME alone".to_owned()),
        ("uid=alice", 1, "=> Not found", "to search by name, give the name alone".to_owned()),
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
            "uid: is missing\n                  hidden from the sync account\n".to_owned(),
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
    // A group below the base has the name of somebody who is elsewhere.
    let namesake = group("zora", &[dn("judy")]).replace("ou=groups", "ou=people");
    world.slapd.modify(&(person_in("staff", "Zora", "zora", SHOWN) + &namesake));
    for who in [twin.as_str(), "judy2", "zora"] {
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
    says(&world, 0, "In Kanidm. It went without a value");
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
    assert_eq!(
        last(&gone),
        "=> Not found. The next run ignores it. If it should be visible, give the account the right to read it"
    );

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
    assert!(last(&outcome).contains("(!(employeeType=intern)) cannot be decided. The account may not search by employeeType: give it that right"), "{}", outcome.stdout);
    let json = json(&world, &dn("alice"), 1);
    assert_eq!(json["entries"][0]["filter"]["parts"][1]["matches"], "undefined");
}

#[test]
fn locks_are_told_with_their_origin() {
    let mut world = world(&[]);
    let admin = world.slapd.admin();
    let change = |text: &str| admin.change(&dn("kim"), text);
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
    change("add: pwdStartTime\npwdStartTime: 20900101000000Z\n");
    let begins = explain(&world, &dn("kim"), 0).stdout;
    let told =
        "account         closed until 2090-01-01T00:00:00Z, then open until 2099-01-01T00:00:00Z\n";
    assert!(begins.contains(told), "{begins}");
    change("replace: pwdStartTime\npwdStartTime: 20990101000000Z\n");
    let never = explain(&world, &dn("kim"), 0).stdout;
    assert!(never.contains("account         never open: it ends at 2099-01-01"), "{never}");
    change("replace: pwdStartTime\npwdStartTime: 20000101000000Z\n");
    let begun = explain(&world, &dn("kim"), 0).stdout;
    assert!(begun.contains("account         open until 2099-01-01T00:00:00Z\n"), "{begun}");
    change(
        "delete: pwdStartTime\n-\ndelete: pwdEndTime\n-\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n",
    );
    world.slapd.reconfigure(|options| {
        let rule = "access to attrs=pwdAccountLockedTime by * search\n";
        options.extra_database = rule.to_owned();
    });
    let hidden = explain(&world, &dn("kim"), 0).stdout;
    assert!(
        hidden.contains("account         open, as far as the sync account can see\n"),
        "{hidden}"
    );
    assert!(hidden.contains("pwdAccountLockedTime: set, but the sync account may not read it"));
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
    let rival = "mail: must be unique, and is the same as that of cn=alice";
    let may = format!("=> In Kanidm. It may go without a value: {rival}");
    assert!(last(&kim).starts_with(&may), "{}", kim.stdout);
    assert!(last(&kim).ends_with("It has changed since the last run: the next run writes it"));
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
    assert!(last(&kim).contains("writes the value when it can"), "{}", kim.stdout);
    assert!(kim.stdout.contains("since an incremental run it is there without a value"));
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
        GROUPS_OF_NAMES,
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
