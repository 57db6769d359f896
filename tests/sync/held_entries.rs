//! Nobody is blocked: entries that Kanidm would not take are named and held, everything else
//! arrives, and what is held keeps what Kanidm had of it until it is mended. On a real slapd and
//! the real Kanidm engine.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::rules::{
    ACCEPTED, Bad, UNIQUE, Verdict, bad_entries, good_person, person, person_dn, record,
};
use crate::support::expect::{self, GROUPS_OF_NAMES};
use crate::support::kanidm::{KanidmEntry, State};
use crate::support::ldap::LdapEntry;
use crate::support::seed::{self, SUFFIX, Seed, SeedOptions, group_dn, user_dn};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, Ran, World};

const USERS: usize = 200;
const FILTER: &str = "(|(objectClass=inetOrgPerson)(objectClass=groupOfNames))";

/// Numbers at every edge of what Kanidm takes.
const EDGES: [u32; 10] =
    [1000, 60000, 60578, 61183, 65520, 65533, 65536, 1_879_048_191, 1_879_048_192, 2_147_483_647];

/// 200 users, some groups, and an entry for each broken rule.
fn world_of_bad_entries(
    bad: &[Bad],
    configure: impl FnOnce(crate::support::tool::ConfigText) -> crate::support::tool::ConfigText,
) -> World {
    let seed = Seed::Generated(SeedOptions {
        users: USERS,
        groups: 10,
        specials: false,
        ..SeedOptions::default()
    });
    let world = World::with(
        SlapdOptions { seed, ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        |config| {
            let config = config.set(
                "person_objectclass",
                vec!["posixAccount".to_owned(), "inetOrgPerson".to_owned()],
            );
            let config = config
                .set("person_attr_legal_name", "displayname")
                .set("sync_password_as_unix_password", true);
            configure(config.set("invalid_entries", "hold"))
        },
    );
    world.kanidm.create_person("kanidm-own", Some(7777), Some("own@example.com"));
    world.kanidm.create_group("kanidm-team", Some(7778));
    world.slapd.modify(
        &bad.iter().enumerate().map(|(number, bad)| bad.record(number)).collect::<String>(),
    );
    world
}

/// Checks that Kanidm has exactly what the directory says, except the entries of `bad`, and that
/// the report names exactly those.
#[track_caller]
fn compare(world: &World, ran: &Ran, bad: &[&Bad], what: &str) {
    compare_entries(world, ran, &world.directory(), bad, what);
}

#[track_caller]
fn compare_entries(world: &World, ran: &Ran, directory: &[LdapEntry], bad: &[&Bad], what: &str) {
    let dns: BTreeMap<String, &Bad> = bad.iter().map(|bad| (bad.dn(), *bad)).collect();
    let (held, good): (Vec<LdapEntry>, Vec<LdapEntry>) =
        directory.iter().cloned().partition(|entry| dns.contains_key(&entry.dn));
    let uuids: BTreeMap<Uuid, String> = held
        .iter()
        .map(|entry| (Uuid::parse_str(entry.text("entryuuid").unwrap()).unwrap(), entry.dn.clone()))
        .collect();
    assert_eq!(uuids.len(), bad.len(), "{what}: the directory has them");
    let (want, others) = expect::content(&good, "entryuuid", GROUPS_OF_NAMES);
    assert!(others.is_empty(), "{what}: {others:?}");
    expect::assert_same(
        &expect::held_by_kanidm(&world.kanidm.entries(ACCOUNT), &uuids),
        &want,
        what,
    );

    let reported = ran.report["held"].as_array().unwrap();
    let named: BTreeSet<&str> = reported.iter().map(|held| held["dn"].as_str().unwrap()).collect();
    assert_eq!(
        named,
        dns.keys().map(String::as_str).collect(),
        "{what}: held are the entries at fault\n{}",
        ran.outcome.stderr
    );
    for (uuid, dn) in &uuids {
        let entry = reported.iter().find(|held| held["dn"] == dn.as_str()).unwrap();
        assert_eq!(entry["uuid"], uuid.to_string(), "{what}: {dn}");
        assert_named(
            &ran.outcome.stderr,
            &entry["problems"],
            &format!("held back {dn} ({uuid}): "),
            dns[dn],
            what,
        );
    }
}

/// The one rule that an entry breaks, in the JSON and in the log.
#[track_caller]
fn assert_named(stderr: &str, problems: &serde_json::Value, line: &str, bad: &Bad, what: &str) {
    assert_eq!(problems.as_array().unwrap().len(), 1, "{what}: {}: {problems}", bad.key);
    assert_problem(&problems[0], bad, what);
    let logged =
        stderr.lines().filter_map(|l| l.split_once(line)).map(|(_, rest)| rest).collect::<Vec<_>>();
    assert_eq!(logged.len(), 1, "{what}: {line}\n{stderr}");
    assert!(logged[0].contains(bad.rule), "{what}: {}: {logged:?}", bad.key);
    let attribute =
        if bad.verdict == Verdict::Kanidm { kanidms_word(bad.attribute) } else { bad.attribute };
    assert!(logged[0].contains(attribute), "{what}: {}: {logged:?}", bad.key);
}

#[track_caller]
fn assert_problem(problem: &serde_json::Value, bad: &Bad, what: &str) {
    assert!(
        problem["rule"].as_str().is_some_and(|rule| rule.contains(bad.rule)),
        "{what}: {}: {problem}",
        bad.key
    );
    if bad.verdict != Verdict::Kanidm {
        assert_eq!(problem["attribute"], bad.attribute, "{what}: {}", bad.key);
    }
}

/// How a conflict calls what an attribute becomes.
fn kanidms_word(attribute: &str) -> &'static str {
    match attribute {
        "uid" | "cn" => "the name",
        "mail" => "the mail address",
        _ => "the gidnumber",
    }
}

/// No password, neither clear nor as a hash, is in any output.
#[track_caller]
fn assert_no_secret(ran: &Ran, bad: &[Bad]) {
    for bad in bad.iter().filter(|bad| bad.attribute == "userpassword") {
        for value in bad.values.iter().filter(|value| value.len() > 8) {
            let body = value.rsplit(['}', '$']).next().unwrap();
            assert!(!ran.outcome.all().contains(body), "{}: {}", bad.key, ran.outcome.all());
        }
    }
}

#[test]
fn every_rule_holds_one_entry_and_blocks_nobody() {
    let bad = bad_entries();
    let world = world_of_bad_entries(&bad, |config| config);
    let with = |key: &str, number: usize, attribute: &'static str, value: &str| {
        let mut attributes = good_person(key, number);
        attributes.retain(|(name, _)| *name != attribute);
        attributes.push((attribute, value.to_owned()));
        person(key, &attributes)
    };
    let mut good = String::new();
    for (at, (key, hash)) in ACCEPTED.iter().enumerate() {
        good += &with(key, 1000 + at, "userpassword", hash);
    }
    for (at, number) in EDGES.iter().enumerate() {
        good += &with(&format!("edge{number}"), 2000 + at, "uidnumber", &number.to_string());
    }
    good += &with("longest", 3001, "uid", &"n".repeat(64));
    good += &with("odd-name", 3002, "uid", "A-b_c.d9");
    // Kanidm compares addresses as they are written.
    good += &with("other-case", 3003, "mail", "USER00002@example.com");
    world.slapd.modify(&good);
    // Without a number there is no shell and no Unix password to be refused for.
    let mut numberless: Vec<(&str, String)> = good_person("numberless", 0);
    numberless.retain(|(name, _)| *name != "uidnumber");
    let classes = ["inetOrgPerson", "ldapPublicKey", "extensibleObject"];
    world.slapd.modify(&record(
        &person_dn("numberless"),
        &classes,
        &[("employeeNumber", "numberless"), ("sn", "x")],
        &numberless,
    ));
    let scope = || {
        world
            .directory()
            .into_iter()
            .filter(|e| e.dn != person_dn("numberless"))
            .collect::<Vec<_>>()
    };
    let all: Vec<&Bad> = bad.iter().collect();

    let ran = world.run(&[], 3);
    let numberless = world.kanidm.entry(ACCOUNT, "numberless").expect("it arrives");
    assert_eq!(
        (numberless.gidnumber, numberless.loginshell, numberless.has_unix_password),
        (None, None, false)
    );
    assert!(world.kanidm.verify_password("numberless", "password"));
    world.slapd.delete(&person_dn("numberless"));
    let ran_again = world.run(&[], 3);
    compare_entries(&world, &ran, &scope(), &all, "first refresh");
    compare_entries(&world, &ran_again, &scope(), &all, "the held ones are read again each time");
    assert_no_secret(&ran, &bad);
    for (key, _) in ACCEPTED {
        assert!(world.kanidm.verify_password(key, "password"), "{key} logs in");
        assert!(
            world.kanidm.verify_unix_password(key, "password"),
            "{key} logs in to a Unix machine"
        );
    }

    // Mended one, then attribute by attribute: each arrives with the next run, the others stay
    // held.
    let mut rest: Vec<(usize, &Bad)> = bad.iter().enumerate().collect();
    let (first, attributes) =
        (bad[0].key.clone(), ["uid", "cn", "uidnumber", "userpassword", "mail"]);
    let mut mend = |what: &str, which: &dyn Fn(&Bad) -> bool| {
        let (mended, still): (Vec<_>, Vec<_>) = rest.drain(..).partition(|(_, bad)| which(bad));
        world
            .slapd
            .modify(&mended.iter().map(|(number, bad)| bad.mended(*number)).collect::<String>());
        let ran = world.run(&[], if still.is_empty() { 0 } else { 3 });
        assert_eq!(ran.report["mode"], "incremental", "{what}");
        compare(&world, &ran, &still.iter().map(|(_, bad)| *bad).collect::<Vec<_>>(), what);
        rest = still;
    };
    mend("one is mended", &|bad| bad.key == first);
    for attribute in attributes {
        mend(&format!("{attribute} is mended"), &|bad| bad.attribute == attribute);
    }
    mend("all are mended", &|_| true);
    world.kanidm.clear_log();
    assert_eq!(world.run(&[], 0).report["read"], 0);
    assert_eq!(world.kanidm.posts().len(), 0);
}

#[test]
fn attributes_are_dropped_where_the_policy_says_so() {
    let bad = bad_entries();
    let world = world_of_bad_entries(&bad, |config| config.set("invalid_entries", "drop-value"));
    let ran = world.run(&[], 3);
    let (dropped, held): (Vec<&Bad>, Vec<&Bad>) =
        bad.iter().partition(|bad| bad.verdict == Verdict::Optional);
    let mut directory = world.directory();
    for entry in &mut directory {
        if let Some(bad) = dropped.iter().find(|bad| bad.dn() == entry.dn) {
            let values = entry.attrs.get_mut(bad.attribute).unwrap();
            values.retain(|value| value.starts_with(b"second.mail"));
            if values.is_empty() {
                entry.attrs.remove(bad.attribute);
            }
        }
    }
    compare_entries(&world, &ran, &directory, &held, "drop-value");
    assert_no_secret(&ran, &bad);
    let named = ran.report["dropped"].as_array().unwrap();
    assert_eq!(named.len(), dropped.len(), "{named:?}");
    for bad in dropped {
        let of: Vec<_> = named.iter().filter(|dropped| dropped["dn"] == bad.dn()).collect();
        assert_eq!(of.len(), 1, "{}", bad.key);
        assert_problem(of[0], bad, "dropped");
        let uuid = of[0]["uuid"].as_str().unwrap();
        let line = format!("left out of {} ({uuid}): {}: ", bad.dn(), bad.attribute);
        assert!(
            ran.outcome.stderr.lines().any(|l| l.contains(&line) && l.contains(bad.rule)),
            "{line}\n{}",
            ran.outcome.stderr
        );
        assert_eq!(
            world
                .kanidm
                .entries(ACCOUNT)
                .iter()
                .filter(|e| e.uuid.to_string() == uuid && e.legalname.is_some())
                .count(),
            usize::from(!bad.group && bad.attribute != "displayname"),
            "{}",
            bad.key
        );
    }
}

#[test]
fn a_run_fails_where_the_policy_says_so() {
    let bad = bad_entries();
    let world = world_of_bad_entries(&bad, |config| config.set("invalid_entries", "fail"));
    world.kanidm.clear_log();
    let outcome = world.tool.run(&["--json"]).expect_code(1);
    assert_eq!((world.kanidm.posts().len(), world.kanidm.state(ACCOUNT)), (0, State::Refresh));
    for bad in bad.iter().filter(|bad| bad.verdict != Verdict::Kanidm) {
        let line =
            outcome.stderr.lines().find(|line| line.contains(&format!("held back {} (", bad.dn())));
        let named =
            line.is_some_and(|line| line.contains(bad.attribute) && line.contains(bad.rule));
        assert!(named, "{}\n{}", bad.key, outcome.stderr);
    }
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&report["exit_code"], &report["result"]), (&1.into(), &"failed".into()));
    let wrong = bad.iter().filter(|bad| bad.verdict != Verdict::Kanidm).count();
    assert!(
        report["error"].as_str().unwrap().starts_with(&format!("{wrong} entries are not valid")),
        "{report}"
    );
    let held = report["held"].as_array().unwrap();
    assert_eq!(held.len(), wrong);
    for bad in bad.iter().filter(|bad| bad.verdict != Verdict::Kanidm) {
        let of = held.iter().find(|held| held["dn"] == bad.dn()).unwrap();
        assert_problem(&of["problems"][0], bad, "fail");
    }
}

#[test]
fn two_entries_whose_dns_differ_in_case_only() {
    // slapd tells them apart, Kanidm does not.
    let case = |dir: &str, name: &str, number: usize| {
        let mut attributes = good_person(name, number);
        attributes.push(("employeeNumber", name.to_owned()));
        let classes = ["inetOrgPerson", "posixAccount", "ldapPublicKey"];
        record(
            &format!("homeDirectory={dir},ou=people,{SUFFIX}"),
            &classes,
            &[("homeDirectory", dir), ("sn", "x"), ("gidNumber", "1")],
            &attributes,
        )
    };
    let seed = Seed::Content(case("/home/A", "upper", 1) + &case("/home/a", "lower", 2));
    let world = World::with(
        SlapdOptions { seed, ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        |config| config,
    );
    let ran = world.run(&[], 3);
    assert_eq!(ran.report["held"][0]["problems"][0]["attribute"], "dn", "{}", ran.outcome.all());
    assert_eq!(ran.report["written"]["persons"], 1, "{}", ran.outcome.all());
    world.slapd.modify(&format!(
        "dn: homeDirectory=/home/a,ou=people,{SUFFIX}\nchangetype: modrdn\nnewrdn: employeeNumber=lower\ndeleteoldrdn: 0\n"
    ));
    world.run_and_compare("mended", "incremental");
}

/// One entry keeps a value that the other wants; it is the one that lets go.
#[test]
fn a_held_entry_gets_the_name_that_another_gives_up() {
    for sessionlog in [None, Some(100)] {
        let world = small_world(sessionlog);
        world.run_and_compare("first refresh", "full");
        let mut twin = good_person("twin", 1);
        twin.retain(|(name, _)| *name != "uid");
        twin.push(("uid", "p0".to_owned()));
        world.slapd.modify(&person("twin", &twin));
        let held = world.run(&[], 3);
        assert_eq!(held.report["held"][0]["dn"], person_dn("twin"), "{}", held.outcome.all());
        held.outcome.says("an unchanged one of this directory (`--explain` of this entry tells)");
        let explained = world.tool.run(&["--explain", &person_dn("twin")]).expect_code(3);
        assert!(explained.stdout.contains(&format!("{UNIQUE} {}", person_dn("p0"))));
        assert_eq!(
            world.kanidm.entry(ACCOUNT, "p0").unwrap().external_id.unwrap(),
            person_dn("p0").to_lowercase()
        );
        world.slapd.modify(&change(&person_dn("p0"), &[("uid", "p0-renamed")]));
        world.run_and_compare("the other is renamed", "incremental");
    }
}

/// The claimant comes before the other in the directory. It does not get what Kanidm gave to the
/// other, and both are named.
#[test]
fn an_address_that_is_claimed_stays_where_it_is() {
    let world = small_world(None);
    world.run_and_compare("first refresh", "full");
    let mail = |name: &str| world.kanidm.entry(ACCOUNT, name).unwrap().mail;
    let address = mail("p1");
    assert_eq!(address.len(), 1);
    world.slapd.modify(&change(
        &person_dn("p0"),
        &[("mail", "p1@example.com"), ("loginShell", "/bin/claimant")],
    ));
    world.slapd.modify(&change(&person_dn("p1"), &[("loginShell", "/bin/owner")]));
    for arguments in [&[][..], &[], &["--full-refresh"], &[]] {
        let ran = world.run(arguments, 3);
        let named = ran.report["dropped"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["dn"].as_str().unwrap());
        assert_eq!(
            named.collect::<BTreeSet<_>>(),
            [person_dn("p0"), person_dn("p1")].iter().map(String::as_str).collect(),
            "{}",
            ran.outcome.all()
        );
        assert_eq!((mail("p1"), mail("p0").len()), (address.clone(), 0), "{arguments:?}");
    }
    // Everything else of both goes through.
    for (name, shell) in [("p0", "/bin/claimant"), ("p1", "/bin/owner")] {
        assert_eq!(world.kanidm.entry(ACCOUNT, name).unwrap().loginshell.as_deref(), Some(shell));
    }
    world.slapd.modify(&change(&person_dn("p0"), &[("mail", "p0@example.com")]));
    world.run_and_compare("given up", "incremental");
}

#[test]
fn what_turns_bad_keeps_what_kanidm_has_of_it() {
    for sessionlog in [None, Some(100)] {
        let seed = Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() });
        let mut world = World::new(SlapdOptions { seed, sessionlog, ..SlapdOptions::default() });
        world.reconfigure(|config| config.set("invalid_entries", "hold"));
        world.run_and_compare("first refresh", "full");
        let (group, user, other) = (group_dn("team001"), user_dn(1), user_dn(2));
        world.slapd.modify(&change(&group, &[("member", &user), ("member", &other)]));
        world.run_and_compare("two members", "incremental");

        // Neither locked nor with an end date: such a one would be sent without what offends.
        let dns = [user.clone(), group.clone(), user_dn(4)].map(|dn| dn.to_lowercase());
        let before = entries_with(&world, &dns);
        world.slapd.modify(&change(&user, &[("mail", "no address"), ("cn", "Another Name")]));
        world.slapd.modify(&change(&user_dn(4), &[("userPassword", "clear text")]));
        world
            .slapd
            .modify(&change(&group, &[("description", "two\u{1}lines"), ("member", &other)]));
        let kept = |world: &World, what: &str, arguments: &[&str], mode: &str| {
            let ran = world.run(arguments, 3);
            assert_eq!(ran.report["mode"], mode, "{what}");
            let named: BTreeSet<String> = ran.report["held"]
                .as_array()
                .unwrap()
                .iter()
                .map(|h| h["dn"].as_str().unwrap().to_lowercase())
                .collect();
            assert_eq!(named, dns.iter().cloned().collect(), "{what}");
            assert_eq!(entries_with(world, &dns), before, "{what}: nothing of them has changed");
            assert_eq!(world.kanidm.entries(ACCOUNT).len(), 22, "{what}: and nothing is deleted");
        };
        kept(&world, "turned bad", &[], "incremental");
        kept(&world, "still bad", &[], "incremental");
        world.slapd.modify(&change(&user_dn(5), &[("cn", "Somebody Else")]));
        kept(&world, "something else has changed", &[], "incremental");
        kept(&world, "full refresh", &["--full-refresh"], "full");
        world.kanidm.force_refresh(ACCOUNT);
        kept(&world, "forced refresh in one POST", &[], "full");
        world.reconfigure(|config| config.set("upload_max_entries", 5));
        world.kanidm.force_refresh(ACCOUNT);
        kept(&world, "forced refresh in chunks", &[], "full");

        world.slapd.delete(&user_dn(4));
        world.slapd.modify(&change(&user, &[("mail", "new.address@example.com")]));
        let ran = world.run(&[], 3);
        assert_eq!(
            ran.report["held"].as_array().unwrap().len(),
            1,
            "one is mended, one deleted: {}",
            ran.outcome.all()
        );
        assert_eq!(
            entries_with(&world, &[user.to_lowercase()])[0].displayname.as_deref(),
            Some("Another Name")
        );
        assert!(entries_with(&world, &[user_dn(4)]).is_empty());
        world.slapd.modify(&change(&group, &[("description", "one line")]));
        world.run_and_compare("all are mended", "incremental");
    }
}

#[test]
fn an_entry_in_the_recycle_bin_is_held_until_it_is_revived() {
    for sessionlog in [None, Some(100)] {
        let seed = Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() });
        let filter =
            "(|(&(objectClass=posixAccount)(!(employeeType=out)))(objectClass=groupOfNames))";
        let mut world = World::with(
            SlapdOptions { seed, sessionlog, ..SlapdOptions::default() },
            GROUPS_OF_NAMES,
            filter,
            |config| config,
        );
        world.slapd.modify(&change(
            &group_dn("team001"),
            &[("member", &user_dn(1)), ("member", &user_dn(2))],
        ));
        world.run_and_compare("first refresh", "full");
        world.slapd.modify(&change(&user_dn(1), &[("employeeType", "out")]));
        world.run_and_compare("leaves the filter", "incremental");
        let uuid = world.kanidm.recycled()[0].uuid;
        world.slapd.modify(&change(&user_dn(1), &[("employeeType", "in")]));
        world.slapd.modify(&change(&user_dn(2), &[("cn", "Somebody Else")]));

        let held = |world: &World, what: &str, arguments: &[&str]| {
            let ran = world.run(arguments, 3);
            assert_eq!(
                ran.report["held"].as_array().unwrap().len(),
                1,
                "{what}: {}",
                ran.outcome.all()
            );
            assert_eq!(ran.report["held"][0]["uuid"], uuid.to_string(), "{what}");
            let command = format!("`kanidm recycle-bin revive {uuid}`");
            assert!(
                ran.report["held"][0]["problems"][0]["rule"].as_str().unwrap().contains(&command),
                "{what}: {}",
                ran.report
            );
            assert!(ran.outcome.stderr.contains(&command), "{what}: {}", ran.outcome.stderr);
            let (mut want, _) = expect::content(&world.directory(), "entryuuid", GROUPS_OF_NAMES);
            want.remove(&uuid);
            want.values_mut().for_each(|entry| _ = entry.members.remove(&uuid));
            expect::assert_same(
                &expect::held_by_kanidm(&world.kanidm.entries(ACCOUNT), &BTreeMap::new()),
                &want,
                what,
            );
        };
        held(&world, "comes back", &[]);
        held(&world, "still in the bin", &[]);
        held(&world, "full refresh", &["--full-refresh"]);
        world.kanidm.force_refresh(ACCOUNT);
        held(&world, "forced refresh in one POST", &[]);
        world.reconfigure(|config| config.set("upload_max_entries", 5));
        world.kanidm.force_refresh(ACCOUNT);
        held(&world, "forced refresh in chunks", &[]);
        world.kanidm.revive(uuid);
        world.run_and_compare("revived, memberships included", "incremental");
    }
}

/// So many that it would be a burden, and in the end an error, to have Kanidm refuse them in every
/// run.
#[test]
fn values_that_many_entries_share_are_found_without_kanidm() {
    let seed = Seed::Generated(SeedOptions {
        users: 150,
        groups: 0,
        specials: false,
        ..SeedOptions::default()
    });
    let mut world = World::new(SlapdOptions { seed, ..SlapdOptions::default() });
    world.reconfigure(|config| config.set("invalid_entries", "hold"));
    let share = |n: usize| {
        let name = seed::user_name(n);
        let mail = format!("{name}@example.com");
        let shared =
            [("uid", name), ("uidnumber", seed::user_number(n).to_string()), ("mail", mail)];
        let key = format!("twin{n}");
        let mut attributes = good_person(&key, n);
        let (name, value) = &shared[n % 3];
        attributes.retain(|(other, _)| other != name);
        attributes.push((name, value.clone()));
        person(&key, &attributes)
    };
    world.slapd.modify(&(1..=150).map(share).collect::<String>());
    let first = world.run(&[], 3);
    assert_eq!(first.report["held"].as_array().unwrap().len(), 150);
    world.kanidm.clear_log();
    let second = world.run(&[], 3);
    assert_eq!(world.kanidm.posts().len(), 0);
    assert_eq!(second.report["held"], first.report["held"]);

    // The one is renamed, the other takes what is free.
    world.slapd.rename(&user_dn(3), "uid=another");
    let third = world.run(&[], 3);
    assert_eq!(third.report["held"].as_array().unwrap().len(), 149);
    assert_eq!(
        world.kanidm.entry(ACCOUNT, "user00003").unwrap().external_id.unwrap(),
        person_dn("twin3").to_lowercase()
    );
}

/// Persons `p0` to `p9` whose names are not part of their DNs, and a group of some of them.
fn small_world(sessionlog: Option<u32>) -> World {
    let persons: String = (0..10)
        .map(|n| person(&format!("p{n}"), &good_person(&format!("p{n}"), 100 + n)))
        .collect();
    let members =
        (0..3).map(|n| format!("member: {}\n", person_dn(&format!("p{n}")))).collect::<String>();
    let group =
        format!("dn: {}\nobjectClass: groupOfNames\ncn: some\n{members}\n", group_dn("some"));
    let seed = Seed::Content(persons + &group);
    World::with(
        SlapdOptions { seed, sessionlog, ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        |config| config,
    )
}

/// Gives entries other values, each a change of its own: what the directory lets two entries have
/// at once, it has for a moment.
fn give(values: &[(usize, &str, &str)]) -> String {
    values
        .iter()
        .map(|(n, attribute, value)| change(&person_dn(&format!("p{n}")), &[(*attribute, *value)]))
        .collect()
}

/// Entry `a` gets the DN of `b`, and so on, the last that of the first.
fn rotate_dns(keys: &[&str]) -> String {
    let rename = |from: &str, to: &str| {
        format!(
            "dn: {}\nchangetype: modrdn\nnewrdn: employeeNumber={to}\ndeleteoldrdn: 1\n\n",
            person_dn(from)
        )
    };
    let (last, rest) = keys.split_last().unwrap();
    let mut ldif = rename(last, "nobody");
    let mut free = *last;
    for key in rest.iter().rev() {
        ldif += &rename(key, free);
        free = key;
    }
    ldif + &rename("nobody", free)
}

/// Each gets the address and the number of the next but one.
fn go_round(number: usize) -> String {
    let of = |n: usize| {
        (n, format!("p{}@example.com", (n + 2) % number), format!("{}", 30100 + (n + 2) % number))
    };
    (0..number)
        .map(of)
        .map(|(n, mail, uid_number)| give(&[(n, "mail", &mail), (n, "uidNumber", &uid_number)]))
        .collect()
}

#[test]
fn renames_that_collide_are_applied_in_one_run() {
    for (sessionlog, at_once) in [(None, 1000), (Some(100), 1000), (Some(100), 3)] {
        let mut world = small_world(sessionlog);
        world.reconfigure(|config| config.set("upload_max_entries", at_once));
        world.run_and_compare("first refresh", "full");
        let reuse = |n: usize| {
            let again = good_person(&format!("p{n}"), 100 + n);
            format!(
                "dn: {}\nchangetype: delete\n\n{}",
                person_dn(&format!("p{n}")),
                person(&format!("p{n}-again-{at_once}"), &again)
            )
        };
        let steps = [
            ("two names are swapped", give(&[(0, "uid", "p1"), (1, "uid", "p0")])),
            ("three names rotate", give(&[(2, "uid", "p3"), (3, "uid", "p4"), (4, "uid", "p2")])),
            (
                "two numbers are swapped",
                give(&[(0, "uidNumber", "30101"), (1, "uidNumber", "30100")]),
            ),
            (
                "two addresses are swapped",
                give(&[(0, "mail", "p1@example.com"), (1, "mail", "p0@example.com")]),
            ),
            ("two DNs are swapped", rotate_dns(&["p0", "p1"])),
            ("three DNs rotate", rotate_dns(&["p2", "p3", "p4"])),
            (
                "DNs and names rotate",
                rotate_dns(&["p5", "p6", "p7"])
                    + &give(&[(5, "uid", "p6"), (6, "uid", "p7"), (7, "uid", "p5")]),
            ),
            ("the addresses and numbers of nine go round", go_round(9)),
            ("a name is given up and taken", give(&[(8, "uid", "p8-renamed"), (7, "uid", "p8")])),
            (
                "a chain of names",
                give(&[(8, "uid", "p8-again"), (7, "uid", "p8-renamed"), (6, "uid", "p8")]),
            ),
            ("name, number and address of a deleted entry are used again", reuse(9)),
        ];
        for (what, ldif) in &steps {
            world.slapd.modify(ldif);
            let what = format!("{what} (session log {sessionlog:?}, {at_once} at once)");
            world.run_and_compare(&what, "incremental");
        }
        world.slapd.modify(&give(&[(0, "uid", "x"), (1, "uid", "p1"), (0, "uid", "p0")]));
        world.slapd.modify(&rotate_dns(&["p0", "p1"]));
        world.kanidm.force_refresh(ACCOUNT);
        world.run_and_compare("swapped before a forced refresh", "full");
        world.run_and_compare("nothing to do", "incremental");
    }
}

#[test]
fn entries_that_only_kanidm_refuses_are_found_in_few_posts() {
    let seed = || {
        Seed::Generated(SeedOptions {
            users: 1000,
            groups: 0,
            specials: false,
            uuids: Some(1),
            ..SeedOptions::default()
        })
    };
    let k = [100, 555, 999];
    let mut world = World::new(SlapdOptions { seed: seed(), ..SlapdOptions::default() });
    // n = 1000: to find each takes two POSTs at each of ten levels at most.
    let splitting = 2 * k.len() * 10;

    for user in k {
        world.kanidm.create_person(&seed::user_name(user), None, None);
    }
    world.kanidm.clear_log();
    let ran = world.run(&[], 3);
    assert_held_users(&ran, &k, "outside of this sync account");
    // What is refused because it is taken is tried once more at the end, and Kanidm is asked which
    // of its four values it is, and whether it is one of the others that has it.
    let asked = k.len() * (1 + 4 + (k.len() - 1));
    assert_few_posts(&world, splitting + asked + 4);
    assert_eq!(world.kanidm.entries(ACCOUNT).iter().filter(|e| e.name.is_some()).count(), 997);

    // The UUIDs of entries that are Kanidm's own.
    world.kanidm.reset();
    world.account = world.kanidm.create_sync_account(ACCOUNT);
    let token = world.account.token.clone();
    let own = k.map(|user| (user, world.kanidm.create_person(&format!("own{user}"), None, None)));
    world.reconfigure(|config| {
        let map = |config: crate::support::tool::ConfigText, (user, own): &(usize, Uuid)| {
            config.set_in(&seed::uuid(1, &user_dn(*user)).to_string(), "map_uuid", own.to_string())
        };
        own.iter().fold(config.set("sync_token", token), map)
    });
    world.kanidm.clear_log();
    let ran = world.run(&[], 3);
    assert_held_users(&ran, &k, "the entry does not belong to this sync account");
    assert_few_posts(&world, splitting + 4);
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), 997);
}

#[track_caller]
fn assert_few_posts(world: &World, most: usize) {
    let posts = world.kanidm.posts().len();
    assert!(posts <= most, "{posts} POSTs, {most} would do");
}

#[track_caller]
fn assert_held_users(ran: &Ran, users: &[usize], rule: &str) {
    let held = ran.report["held"].as_array().unwrap();
    let named: BTreeSet<&str> = held.iter().map(|held| held["dn"].as_str().unwrap()).collect();
    let want: Vec<String> = users.iter().map(|user| user_dn(*user)).collect();
    assert_eq!(named, want.iter().map(String::as_str).collect(), "{}", ran.outcome.stderr);
    assert!(
        held.iter().all(|held| held["problems"][0]["rule"].as_str().unwrap().contains(rule)),
        "{held:?}"
    );
}

/// Replaces all values of the attributes that are named; those of an attribute stand together.
fn change(dn: &str, values: &[(&str, &str)]) -> String {
    use base64::Engine as _;
    let mut ldif = format!("dn: {dn}\nchangetype: modify\n");
    let mut previous = "";
    for (attribute, value) in values {
        if *attribute != previous {
            ldif +=
                &format!("{}replace: {attribute}\n", if previous.is_empty() { "" } else { "-\n" });
        }
        ldif +=
            &format!("{attribute}:: {}\n", base64::engine::general_purpose::STANDARD.encode(value));
        previous = attribute;
    }
    ldif + "\n"
}

/// What Kanidm holds under these DNs.
fn entries_with(world: &World, dns: &[String]) -> Vec<KanidmEntry> {
    let of = |entry: &KanidmEntry| {
        entry.external_id.as_ref().is_some_and(|dn| dns.contains(&dn.to_lowercase()))
    };
    world.kanidm.entries(ACCOUNT).into_iter().filter(of).collect()
}
