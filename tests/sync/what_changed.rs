//! The log and the report name each entry that a run changes, in words that are true. On a real
//! slapd, a real 389 and the real Kanidm engine.

use serde_json::Value;
use uuid::Uuid;

use crate::changes::FILTER;
use crate::support::ds389::Ds389Options;
use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::kanidm::{Fault, Moment};
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_ldif, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, Between, Ran, World, World389};

/// 12 persons; every tenth of them from 3 on is locked. `team001` and `team003` have members.
fn seed() -> Seed {
    Seed::Generated(SeedOptions { users: 12, specials: false, ..SeedOptions::default() })
}

fn on_slapd() -> World {
    let options = SlapdOptions { seed: seed(), sessionlog: Some(100), ..SlapdOptions::default() };
    World::with(options, GROUPS_OF_NAMES, FILTER, |config| config)
}

fn on_389() -> World389 {
    let options = Ds389Options { seed: seed(), ..Ds389Options::default() };
    World389::with(options, FILTER, |config| config)
}

/// The lines that name a changed entry, without their UUIDs.
fn lines(ran: &Ran) -> Vec<String> {
    named(ran).into_iter().map(|(line, _)| line).collect()
}

fn named(ran: &Ran) -> Vec<(String, Uuid)> {
    let messages = ran.outcome.stderr.lines().filter_map(|line| line.split_once(" INFO  "));
    let lines = messages.filter_map(|(_, message)| message.split_once("; UUID "));
    lines.map(|(line, uuid)| (line.to_owned(), uuid.parse().expect("a UUID"))).collect()
}

/// A change of the report as its line.
fn line_of(change: &Value) -> String {
    let text = |key: &str| change.get(key).map(|value| value.as_str().unwrap());
    let mut line = format!("{} {}", text("action").unwrap(), text("kind").unwrap_or("entry"));
    match (text("name"), text("dn")) {
        (Some(name), Some(dn)) => line += &format!(" {name} ({dn})"),
        (one, other) => {
            line.extend(one.into_iter().chain(other).flat_map(|text| [" ", text]));
        }
    }
    let words: Vec<&str> =
        change["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    if words.is_empty() { line } else { format!("{line}: {}", words.join(", ")) }
}

fn of_report(ran: &Ran) -> Vec<(String, Uuid)> {
    let changes = ran.report["changes"].as_array().expect("changes");
    let uuid = |change: &Value| change["uuid"].as_str().unwrap().parse().unwrap();
    changes.iter().map(|change| (line_of(change), uuid(change))).collect()
}

/// Runs dry and then for real: the plan is what happens, and the log names what the report does.
#[track_caller]
fn changes(world: &Between, code: i32) -> Vec<String> {
    let planned = world.run(&["--dry-run"], code);
    assert_eq!(named(&planned), [], "a dry run changes nothing: {}", planned.outcome.all());
    let ran = world.run(&[], code);
    assert_eq!(of_report(&planned), of_report(&ran), "{}", ran.outcome.all());
    logged(&ran)
}

/// The lines of a run, which its report has, too.
#[track_caller]
fn logged(ran: &Ran) -> Vec<String> {
    assert_eq!(named(ran), of_report(ran), "{}", ran.outcome.all());
    assert_eq!(ran.report["changes_left_out"], 0, "{}", ran.report);
    lines(ran)
}

fn person(what: &str, number: usize, words: &str) -> String {
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    format!("{what} person {} ({}){words}", user_name(number), user_dn(number))
}

fn team(words: &str) -> String {
    format!("changed group team001 ({}){words}", group_dn("team001"))
}

const SHADOW: &str = "add: objectClass\nobjectClass: shadowAccount\n-\n";
/// A full refresh says no more of most entries.
const IN_FULL: &str = "sent by the full refresh";

fn uuid_of(world: &Between, name: &str) -> Uuid {
    world.kanidm.entry(ACCOUNT, name).expect("it is in Kanidm").uuid
}

/// Every kind of change. `leaving_is_told`: the directory reports an entry that leaves the filter.
fn every_kind(world: &Between, leaving_is_told: bool) {
    let change = |dn: &str, what: &str| world.admin.change(dn, what);
    first_and_idle(world);

    // Groups of the seed name some of the first twelve.
    world.admin.modify(&user_ldif(20));
    change(&group_dn("team001"), &format!("add: member\nmember: {}", user_dn(21)));
    assert_eq!(changes(world, 0), [person("changed", 20, "new"), team("")]);
    world.admin.modify(&user_ldif(21));
    assert_eq!(
        changes(world, 0),
        [person("changed", 21, "new"), team(": sent again for its members")]
    );
    change(&user_dn(20), "replace: cn\ncn: Another Name");
    change(&group_dn("team001"), "replace: description\ndescription: x");
    assert_eq!(changes(world, 0), [person("changed", 20, ""), team("")]);

    change(&user_dn(20), &format!("{SHADOW}add: shadowExpire\nshadowExpire: 1"));
    assert_eq!(changes(world, 0), [person("changed", 20, "locked")]);
    change(&user_dn(20), "replace: cn\ncn: Yet Another");
    assert_eq!(changes(world, 0), [person("changed", 20, "still locked")]);
    change(&user_dn(20), "delete: shadowExpire");
    assert_eq!(changes(world, 0), [person("changed", 20, "unlocked")]);
    change(&user_dn(20), "add: shadowExpire\nshadowExpire: 99999");
    assert_eq!(changes(world, 0), [person("changed", 20, "")], "it ends in 2243");

    held_and_let_go(world);
    gone(world, leaving_is_told);
}

#[track_caller]
fn first_and_idle(world: &Between) {
    let first = changes(world, 0);
    let of = |n: usize| person("changed", n, if n % 10 == 3 { "locked" } else { IN_FULL });
    let mut expected: Vec<String> = (1..=12).map(of).collect();
    for group in ["team001", "team003"] {
        expected.push(format!("changed group {group} ({}): {IN_FULL}", group_dn(group)));
    }
    assert_eq!(first, expected);
    assert_eq!(changes(world, 0), [""; 0], "nothing to do");
}

/// A name that Kanidm does not allow holds the person, and the lock arrives nevertheless.
fn held_and_let_go(world: &Between) {
    let people = format!("ou=people,{SUFFIX}");
    let (old, bad) = (user_dn(20), format!("uid=1bad,{people}"));
    world.admin.rename(&old, "uid=1bad");
    assert_eq!(changes(world, 3), [format!("held person {bad}: newly held")]);
    assert_eq!(changes(world, 3), [""; 0], "it is held still");
    world.admin.change(&bad, "replace: shadowExpire\nshadowExpire: 1");
    world.run(&["--dry-run"], 3);
    // Kanidm may refuse to close it, so a dry run does not promise it.
    let closed = format!("held person {bad}: locked");
    assert_eq!(logged(&world.run(&[], 3)), [closed]);
    assert_eq!(logged(&world.run(&[], 3)), [""; 0], "said once");
    world.admin.change(&bad, "replace: shadowExpire\nshadowExpire: -1");
    world.admin.rename(&bad, "uid=user00020");
    assert_eq!(changes(world, 0), [person("changed", 20, "unlocked, let go")]);

    world.admin.rename(&old, "uid=moved");
    let moved = format!("changed person moved (uid=moved,{people}): renamed or moved");
    assert_eq!(changes(world, 0), [moved]);
    world.admin.rename(&format!("uid=moved,{people}"), "uid=user00020");
    assert_eq!(changes(world, 0), [person("changed", 20, "renamed or moved")]);

    world.kanidm.create_person("taken", None, None);
    world.admin.modify(&user_ldif(22).replace("user00022", "taken"));
    let taken = format!("taken (uid=taken,{people})");
    assert_eq!(logged(&world.run(&[], 3)), [format!("held person {taken}: newly held")]);
    assert_eq!(logged(&world.run(&[], 3)), [""; 0]);
    world.admin.rename(&format!("uid=taken,{people}"), "uid=user00022");
    assert_eq!(logged(&world.run(&[], 0)), [person("changed", 22, "new, let go")]);
}

fn gone(world: &Between, leaving_is_told: bool) {
    let uuid = uuid_of(world, "user00022");
    world.admin.delete(&user_dn(22));
    assert_eq!(changes(world, 0), ["deleted person"]);
    world.admin.modify(&user_ldif(22));
    let ran = world.run(&[], 0);
    assert_eq!(logged(&ran), [person("changed", 22, "new")]);
    assert_ne!(named(&ran)[0].1, uuid);

    let uuid = uuid_of(world, "user00022");
    world.admin.change(&user_dn(22), "add: employeeType\nemployeeType: out");
    let full = if leaving_is_told { &[][..] } else { &["--full-refresh"] };
    let plan = of_report(&world.run(&[full, &["--dry-run"]].concat(), 0));
    let left = format!("deleted person {}: no longer in scope", user_dn(22));
    assert_eq!(plan[0], (left, uuid), "a dry run looks for the name");
    if !leaving_is_told {
        assert_eq!(named(&world.run(&[], 0)), [], "389 says nothing");
    }
    let ran = world.run(full, 0);
    let lines = logged(&ran);
    assert_eq!(named(&ran)[0], ("deleted person".to_owned(), uuid));
    if full.is_empty() {
        assert_eq!(lines.len(), 1);
    } else {
        let of = |n: usize| person("changed", n, if n == 3 { "still locked" } else { IN_FULL });
        assert_eq!(lines[1..=12], (1..=12).map(of).collect::<Vec<_>>());
        assert_eq!(lines.len(), 1 + 14 + 2);
    }
}

#[test]
fn every_change_on_slapd_is_named() {
    every_kind(&on_slapd(), true);
}

#[test]
fn every_change_on_389_is_named() {
    every_kind(&on_389(), false);
}

/// The present phase of a slapd without session log gives no UUID of a deleted entry.
#[test]
fn deletions_without_a_session_log_are_named() {
    let world = World::with(
        SlapdOptions { seed: seed(), ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        |config| config,
    );
    changes(&world, 0);
    let uuids = [1, 2].map(|n| uuid_of(&world, &user_name(n)));
    world.admin.delete(&user_dn(1));
    world.admin.change(&user_dn(2), "add: employeeType\nemployeeType: out");
    let ran = world.run(&[], 0);
    let mut expected = uuids.map(|uuid| ("deleted person".to_owned(), uuid));
    expected.sort_by_key(|(_, uuid)| *uuid);
    assert_eq!(named(&ran), expected, "{}", ran.outcome.all());
}

#[test]
fn an_excluded_entry_is_named_with_the_reason() {
    let mut world = on_slapd();
    changes(&world, 0);
    let table = uuid_of(&world, &user_name(1)).to_string();
    world.reconfigure(|config| config.set_in(&table, "exclude", true));
    let lines = changes(&world, 0);
    let expected = format!("deleted person {}: excluded by the configuration", user_dn(1));
    assert_eq!((lines.len(), &lines[0]), (1 + 11 + 2, &expected));
}

#[test]
fn more_than_the_maximum_are_only_counted() {
    let mut world = on_slapd();
    changes(&world, 0);
    let mut round = 0;
    let mut modify = |world: &World, numbers: &[usize]| {
        round += 1;
        for number in numbers {
            world.admin.change(&user_dn(*number), &format!("replace: cn\ncn: Round {round}"));
        }
    };
    world.reconfigure(|config| config.set("log_changes_max", 2));
    modify(&world, &[1, 2]);
    assert_eq!(changes(&world, 0), [1, 2].map(|n| person("changed", n, "")));
    for (max, numbers) in [(2, &[1, 2, 4][..]), (0, &[1])] {
        world.reconfigure(|config| config.set("log_changes_max", max));
        modify(&world, numbers);
        let ran = world.run(&[], 0);
        assert_eq!(lines(&ran), [""; 0]);
        ran.outcome.says(&format!("{} written", numbers.len()));
        assert_eq!(of_report(&ran).len(), numbers.len(), "{}", ran.report);
        modify(&world, numbers);
        let outcome = world.tool.run(&[]).expect_code(0);
        assert!(!outcome.stderr.contains("changed person"), "{}", outcome.stderr);
    }
}

/// The first refresh of a large directory: the log has numbers, the report the first thousand.
#[test]
fn the_report_lists_a_thousand_changes() {
    let users = 1_020;
    let seed = Seed::Generated(SeedOptions { users, specials: false, ..SeedOptions::default() });
    let world = World::with(
        SlapdOptions { seed, sessionlog: Some(5_000), ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        |config| config,
    );
    for arguments in [&["--dry-run"][..], &[]] {
        let ran = world.run(arguments, 0);
        assert_eq!(lines(&ran), [""; 0]);
        assert_eq!(of_report(&ran).len(), 1_000);
        assert_eq!(ran.report["changes_left_out"], users - 1_000 + 2, "{}", ran.report["written"]);
    }
    // More than the sample has room for: the roster knows them nevertheless.
    let uuid = |n| uuid_of(&world, &user_name(n));
    let uuids: Vec<Uuid> = (900..940).map(uuid).collect();
    let ldif = |n| format!("dn: {}\nchangetype: delete\n\n", user_dn(n));
    world.admin.modify(&(900..940).map(ldif).collect::<String>());
    let ran = world.run(&[], 0);
    let mut deleted: Vec<Uuid> = named(&ran)
        .into_iter()
        .filter(|(line, _)| line.starts_with("deleted "))
        .map(|(_, uuid)| uuid)
        .collect();
    deleted.sort_unstable();
    let mut expected = uuids;
    expected.sort_unstable();
    assert_eq!(deleted, expected, "{}", ran.outcome.all());
    assert_eq!(ran.report["changes_left_out"], 0);
}

/// A failed run may have written much, and its log does not say what. The next one says all of it.
#[test]
fn what_a_failed_run_did_is_named_by_the_next_one() {
    let mut world = on_slapd();
    changes(&world, 0);
    world.reconfigure(|config| config.set("upload_max_entries", 1));
    let uuid = uuid_of(&world, &user_name(1));
    world.admin.delete(&user_dn(1));
    world.admin.modify(&user_ldif(20));
    world.admin.change(&user_dn(2), "replace: cn\ncn: Another");
    // The deletion and one person arrive.
    let fault = Fault::own_status(Moment::Received, 500, "\"databaseerror\"");
    world.kanidm.fault(fault.only("POST").after(2).times(50));
    let failed = world.run(&[], 1);
    assert_eq!(named(&failed), [("deleted person".to_owned(), uuid)]);
    assert!(failed.report.get("changes").is_none(), "{}", failed.report);
    assert!(world.kanidm.entry(ACCOUNT, &user_name(1)).is_none(), "it has deleted");
    world.kanidm.clear_faults();
    let next = world.run(&[], 0);
    let mut named = named(&next);
    // The sample of the failed run no longer has it, so its kind is not known.
    let deleted = ("deleted entry".to_owned(), uuid);
    assert_eq!(named.remove(0), deleted, "{}", next.outcome.all());
    let mut lines: Vec<String> = named.into_iter().map(|(line, _)| line).collect();
    lines.retain(|line| line.contains("person"));
    assert_eq!(lines, [person("changed", 2, ""), person("changed", 20, "new")]);
}

/// Kanidm ignores the end date then, so no word about it is true.
#[test]
fn a_lock_that_kanidm_does_not_take_is_not_claimed() {
    let world = on_slapd();
    changes(&world, 0);
    world.kanidm.yield_attributes(ACCOUNT, &["account_expire"]);
    world.admin.change(&user_dn(1), &format!("{SHADOW}add: shadowExpire\nshadowExpire: 1"));
    let lines = logged(&world.run(&[], 0));
    assert_eq!(world.kanidm.entry(ACCOUNT, &user_name(1)).unwrap().account_expire, None);
    assert_eq!(lines, [person("changed", 1, "")]);
}

/// The DN comes from the directory, and so may what it does to a terminal or a log.
#[test]
fn a_name_cannot_forge_a_line() {
    let world = on_slapd();
    changes(&world, 0);
    let dn = "cn=x\\0Achanged person admin: unlocked\\1B[2J+uid=user00020,";
    world.admin.modify(&user_ldif(20).replace("dn: uid=user00020,", &format!("dn: {dn}")));
    let ran = world.run(&[], 3);
    let line = "held person cn=x\\nchanged person admin: unlocked\\u{1b}[2J+uid=user00020,";
    ran.outcome.says(line);
    let forged = |line: &str| line.starts_with("changed ");
    assert!(!ran.outcome.stderr.lines().any(forged), "{}", ran.outcome.all());
    assert!(!ran.outcome.all().contains('\u{1b}'), "{}", ran.outcome.all());
    assert_eq!(ran.report["changes"][0]["dn"], ran.report["held"][0]["dn"]);
}
