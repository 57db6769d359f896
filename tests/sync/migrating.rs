//! docs/migrating.md, step by step: from Kanidm's own tool to this one and back, on both servers,
//! into the real engine.

use std::collections::{BTreeMap, BTreeSet};

use kanidm_ldap_sync::config::keys::{ENTRY_KEYS, KEYS};
use uuid::Uuid;

use crate::kanidms_tool;
use crate::support::ds389::Ds389Options;
use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::kanidm::{KanidmEntry, State};
use crate::support::ldap::LdapClient;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, user_dn};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::ConfigText;
use crate::support::world::{ACCOUNT, Between, FILTER, World, World389};

const DOCUMENT: &str = include_str!("../../docs/migrating.md");

/// Without entries that Kanidm refuses: they would stop Kanidm's own tool.
fn seed() -> Seed {
    Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() })
}

/// As Kanidm's own tool wants it: object classes in lower case.
fn for_both(config: ConfigText) -> ConfigText {
    config.set("person_objectclass", "posixaccount")
}

fn on_slapd(sessionlog: Option<u32>) -> World {
    World::with(
        SlapdOptions { seed: seed(), sessionlog, ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        for_both,
    )
}

fn on_389() -> World389 {
    World389::with(Ds389Options { seed: seed(), ..Ds389Options::default() }, FILTER, for_both)
}

/// Kanidm's own tool, once. It says "Success!" or "no changes required".
#[track_caller]
fn theirs(between: &Between) -> String {
    let outcome = kanidms_tool::run(&between.tool, &[]);
    assert!(
        outcome.stderr.contains("Success!") || outcome.stderr.contains("no changes required"),
        "{}",
        outcome.all()
    );
    outcome.all()
}

fn entries(between: &Between) -> BTreeMap<Uuid, KanidmEntry> {
    between.kanidm.entries(ACCOUNT).into_iter().map(|entry| (entry.uuid, entry)).collect()
}

fn has(between: &Between, name: &str) -> bool {
    between.kanidm.entry(ACCOUNT, name).is_some()
}

fn change(admin: &LdapClient, number: usize, shell: &str) {
    admin.change(&user_dn(number), &format!("replace: loginShell\nloginShell: {shell}"));
}

/// Somebody leaves, and every group with them.
fn delete(admin: &LdapClient, number: usize) {
    for group in admin.search(SUFFIX, "(objectClass=groupOfNames)", &["member"]) {
        let user = format!("user{number:05},");
        let spellings = group.texts("member").into_iter().filter(|member| {
            member.to_lowercase().replace("\\75", "u").replace(" ,", ",").contains(&user)
        });
        let members: Vec<String> = spellings.map(|member| format!("member: {member}\n")).collect();
        if !members.is_empty() {
            admin.change(&group.dn, &format!("delete: member\n{}", members.concat()));
        }
    }
    remove(admin, number);
}

/// Somebody leaves, and stays in the groups.
fn remove(admin: &LdapClient, number: usize) {
    admin.delete(&user_dn(number));
}

/// What the document says differs, and nothing else: labels of SSH keys, expiry dates, members in
/// another spelling.
fn assert_only_the_documented_differences(
    theirs: &BTreeMap<Uuid, KanidmEntry>,
    ours: &BTreeMap<Uuid, KanidmEntry>,
) {
    assert_eq!(
        theirs.keys().collect::<Vec<_>>(),
        ours.keys().collect::<Vec<_>>(),
        "no entry comes or goes"
    );
    let keys = |entry: &KanidmEntry| entry.ssh_publickey.values().cloned().collect::<BTreeSet<_>>();
    for (uuid, before) in theirs {
        let after = &ours[uuid];
        assert_eq!(keys(before), keys(after), "{after:?}");
        let members = |entry: &KanidmEntry| entry.member.iter().copied().collect::<BTreeSet<_>>();
        assert!(members(before).is_subset(&members(after)), "{before:?}\n{after:?}");
        assert!(
            before.account_expire.is_none() || before.account_expire == after.account_expire,
            "{before:?}\n{after:?}"
        );
        let mut comparable = after.clone();
        comparable.ssh_publickey.clone_from(&before.ssh_publickey);
        comparable.member.clone_from(&before.member);
        comparable.account_expire.clone_from(&before.account_expire);
        // The directory's first address is the primary one, theirs the first by the alphabet.
        let addresses = |entry: &KanidmEntry| {
            entry.mail.iter().map(|mail| mail.value.clone()).collect::<BTreeSet<_>>()
        };
        // slapadd leaves values that do not stand together in the LDIF in two attributes of one
        // name; theirs reads the last.
        assert!(addresses(before).is_subset(&addresses(after)), "{before:?}\n{after:?}");
        comparable.mail.clone_from(&before.mail);
        assert_eq!(*before, comparable);
    }
}

/// The way there: the cookie is taken over, then everything is read once.
fn there(between: &Between, admin: &LdapClient) {
    theirs(between);
    let before = entries(between);
    assert!(before.len() > 20, "{}", before.len());
    assert!(matches!(between.kanidm.state(ACCOUNT), State::Active { .. }));

    change(admin, 1, "/bin/zsh");
    delete(admin, 2);
    let first = between.run(&[], 0);
    assert_eq!(first.report["mode"], "incremental", "{}", first.outcome.all());
    assert!(
        first.report["read"].as_u64().unwrap() < 10,
        "the cookie was taken over: {}",
        first.outcome.all()
    );
    assert_eq!(
        between.kanidm.entry(ACCOUNT, "user00001").unwrap().loginshell.as_deref(),
        Some("/bin/zsh")
    );
    assert!(!has(between, "user00002"));

    let second = between.run_and_compare("everything is read once, as the document says", "full");
    assert!(second.outcome.all().contains("another tool"), "{}", second.outcome.all());
    change(admin, 1, "/bin/bash");
    between.run_and_compare("and from then on what has changed", "incremental");
    let mut theirs = before;
    theirs.retain(|_, entry| entry.name.as_deref() != Some("user00002"));
    let gone: Vec<Uuid> = theirs
        .values()
        .flat_map(|entry| entry.member.clone())
        .filter(|member| !theirs.contains_key(member))
        .collect();
    theirs.values_mut().for_each(|entry| entry.member.retain(|member| !gone.contains(member)));
    assert_only_the_documented_differences(&theirs, &entries(between));
}

/// The way back as the document says: force-refresh, then Kanidm's own tool, which knows about
/// deletions again.
fn back(between: &Between, admin: &LdapClient) {
    delete(admin, 3);
    between.kanidm.force_refresh(ACCOUNT);
    theirs(between);
    assert!(!has(between, "user00003"));
    delete(admin, 4);
    change(admin, 5, "/bin/zsh");
    theirs(between);
    assert!(!has(between, "user00004"));
    assert_eq!(
        between.kanidm.entry(ACCOUNT, "user00005").unwrap().loginshell.as_deref(),
        Some("/bin/zsh")
    );
}

#[test]
fn from_kanidms_tool_and_back_on_slapd() {
    for sessionlog in [None, Some(100)] {
        let world = on_slapd(sessionlog);
        there(&world, &world.slapd.admin());
        back(&world, &world.slapd.admin());
        there_again(&world);
    }
}

#[test]
fn from_kanidms_tool_and_back_on_389() {
    let world = on_389();
    there(&world, &world.ds389.admin());
    back(&world, &world.ds389.admin());
    there_again(&world);
}

/// Whoever comes once more begins as the first time.
fn there_again(between: &Between) {
    assert_eq!(between.run(&[], 0).report["mode"], "incremental");
    between.run_and_compare("read in full", "full");
}

/// What the document warns of: without force-refresh, Kanidm's own tool takes our state for slapd's
/// cookie and twice gets everything, which says nothing about who has left meanwhile. A slapd
/// without a session log mentions it with the next change, one with a log never does. This tool
/// brings that in order.
#[test]
fn back_on_slapd_without_force_refresh_who_leaves_meanwhile_keeps_the_account() {
    for (sessionlog, keeps) in [(None, false), (Some(100), true)] {
        let world = on_slapd(sessionlog);
        world.run_and_compare("ours", "full");
        for number in [2, 4] {
            delete(&world.slapd.admin(), number);
            theirs(&world);
        }
        assert!(
            has(&world, "user00002") && has(&world, "user00004"),
            "twice everything, and nobody is deleted"
        );
        delete(&world.slapd.admin(), 6);
        theirs(&world);
        assert_eq!(
            [2, 4, 6].map(|number| has(&world, &format!("user{number:05}"))),
            [keeps, keeps, false],
            "with a session log: {sessionlog:?}"
        );
        world.run(&[], 0);
        world.run_and_compare("ours, for the second time", "full");
    }
}

/// Why the document wants a last run of this tool: Kanidm still has somebody whom the directory has
/// lost, and a group there still names.
#[test]
fn back_without_a_last_run_kanidms_tool_fails_over_a_member_that_is_gone() {
    let world = on_slapd(None);
    world.run_and_compare("ours", "full");
    let member = world
        .kanidm
        .entries(ACCOUNT)
        .iter()
        .find_map(|group| group.member.first().copied())
        .expect("a group with members");
    let name = entries(&world)[&member].name.clone().unwrap();
    remove(&world.slapd.admin(), name.strip_prefix("user").unwrap().parse().unwrap());
    world.kanidm.force_refresh(ACCOUNT);
    let outcome = kanidms_tool::run(&world.tool, &[]);
    outcome.says("ReferentialIntegrity");
    world.run_and_compare("ours", "full");
    world.kanidm.force_refresh(ACCOUNT);
    theirs(&world);
}

/// What the document says about locks: Kanidm's own tool loses one when the entry changes
/// otherwise, and this one's second run finds it.
#[test]
fn a_lock_that_kanidms_tool_has_lost_on_389_is_back_with_the_second_run() {
    let world = on_389();
    theirs(&world);
    let admin = world.ds389.admin();
    admin.change(&user_dn(1), "add: nsAccountLock\nnsAccountLock: true");
    world.kanidm.force_refresh(ACCOUNT);
    theirs(&world);
    let is_locked = || world.kanidm.entry(ACCOUNT, "user00001").unwrap().account_expire.is_some();
    assert!(is_locked(), "a refresh reads locks");
    change(&admin, 1, "/bin/zsh");
    theirs(&world);
    assert!(!is_locked(), "if this fails, docs/migrating.md is too careful");
    world.run(&[], 0);
    world.run_and_compare("read in full", "full");
    assert!(is_locked());
}

/// 389 says that it does not know the cookie; Kanidm's own tool then forgets it and reads
/// everything, which takes it two runs.
#[test]
fn back_on_389_without_force_refresh_takes_two_runs() {
    let world = on_389();
    world.run_and_compare("ours", "full");
    delete(&world.ds389.admin(), 2);
    theirs(&world);
    assert_eq!((world.kanidm.state(ACCOUNT), has(&world, "user00002")), (State::Refresh, true));
    theirs(&world);
    assert!(!has(&world, "user00002"));
}

const TABLE: &str = "00000000-0000-4000-8000-000000000001";

/// The document lists the keys that Kanidm's own tool does not take: all others it does.
#[test]
fn the_keys_of_this_tool_alone_are_listed() {
    let world = on_slapd(None);
    let list = DOCUMENT
        .split("<!-- keys of this tool alone -->")
        .nth(1)
        .expect("the list")
        .split("\n\n")
        .nth(1)
        .unwrap();
    for key in KEYS.iter().chain(ENTRY_KEYS) {
        let config = world.config.clone();
        let value = key.default.map_or(toml::Value::from("x"), |text| {
            toml::from_str::<toml::Table>(&format!("v = {text}")).unwrap()["v"].clone()
        });
        world.tool.write_sync_config(&match (
            key.name,
            ENTRY_KEYS.iter().any(|entry| entry.name == key.name),
        ) {
            (name, _) if config.text().contains(&format!("{name} = ")) => config,
            ("map_uuid", _) => config.set_in(TABLE, key.name, TABLE),
            ("map_gidnumber", _) => config.set_in(TABLE, key.name, 20001),
            (name, true) => config.set_in(TABLE, name, value),
            (name, false) => config.set(name, value),
        });
        let outcome = kanidms_tool::run(&world.tool, &["-n"]);
        let taken = outcome.stderr.contains("Success!");
        assert_eq!(
            taken,
            !list.contains(&format!("`{}`", key.name)),
            "{}: {}",
            key.name,
            outcome.all()
        );
    }
}
