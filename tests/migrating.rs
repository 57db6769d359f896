//! docs/migrating.md, step by step: from Kanidm's own tool to this one and back, on both servers, into the real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use kanidm_ldap_sync::config::keys::{ENTRY_KEYS, KEYS};
use support::ds389::Ds389Options;
use support::kanidm::{KanidmEntry, State};
use support::kanidms_tool;
use support::ldap::LdapClient;
use support::seed::{Seed, SeedOptions, user_dn, user_ldif};
use support::slapd::SlapdOptions;
use support::world::{ACCOUNT, Between, World, World389};
use uuid::Uuid;

const DOCUMENT: &str = include_str!("../docs/migrating.md");

/// Without entries that Kanidm refuses: they would stop Kanidm's own tool.
fn seed() -> Seed {
    Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() })
}

/// Kanidm's own tool, once. It says "Success!" or "no changes required".
#[track_caller]
fn theirs(between: &Between) -> String {
    let outcome = kanidms_tool::run(&between.tool, &[]);
    assert!(outcome.stderr.contains("Success!") || outcome.stderr.contains("no changes required"), "{}", outcome.all());
    outcome.all()
}

fn entries(between: &Between) -> BTreeMap<Uuid, KanidmEntry> {
    between.kanidm.entries(ACCOUNT).into_iter().map(|entry| (entry.uuid, entry)).collect()
}

fn has(between: &Between, name: &str) -> bool {
    between.kanidm.entry(ACCOUNT, name).is_some()
}

fn change(admin: &LdapClient, number: usize, shell: &str) {
    admin.modify(&format!("dn: {}\nchangetype: modify\nreplace: loginShell\nloginShell: {shell}\n", user_dn(number)));
}

fn delete(admin: &LdapClient, number: usize) {
    admin.modify(&format!("dn: {}\nchangetype: delete\n", user_dn(number)));
}

/// What the document says differs, and nothing else: labels of SSH keys, expiry dates, members in another spelling.
fn assert_only_the_documented_differences(theirs: &BTreeMap<Uuid, KanidmEntry>, ours: &BTreeMap<Uuid, KanidmEntry>) {
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "no entry comes or goes");
    let keys = |entry: &KanidmEntry| entry.ssh_publickey.values().cloned().collect::<BTreeSet<_>>();
    for (uuid, before) in theirs {
        let after = &ours[uuid];
        assert_eq!(keys(before), keys(after), "{after:?}");
        let members = |entry: &KanidmEntry| entry.member.iter().copied().collect::<BTreeSet<_>>();
        assert!(members(before).is_subset(&members(after)), "{before:?}\n{after:?}");
        assert!(before.account_expire.is_none() || before.account_expire == after.account_expire, "{before:?}\n{after:?}");
        let mut comparable = after.clone();
        comparable.ssh_publickey.clone_from(&before.ssh_publickey);
        comparable.member.clone_from(&before.member);
        comparable.account_expire.clone_from(&before.account_expire);
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
    assert_eq!((&first.report["mode"], &first.report["deleted"]["at_most"]), (&"incremental".into(), &1.into()), "{}", first.outcome.all());
    assert!(first.report["read"].as_u64().unwrap() < 10, "the cookie was taken over: {}", first.outcome.all());
    assert_eq!(between.kanidm.entry(ACCOUNT, "user00001").unwrap().loginshell.as_deref(), Some("/bin/zsh"));
    assert!(!has(between, "user00002"));

    let second = between.run_and_compare("everything is read once, as the document says", "full");
    assert!(second.outcome.all().contains("another tool"), "{}", second.outcome.all());
    change(admin, 1, "/bin/bash");
    between.run_and_compare("and from then on what has changed", "incremental");
    let mut theirs = before;
    theirs.retain(|_, entry| entry.name.as_deref() != Some("user00002"));
    let gone: Vec<Uuid> = theirs.values().flat_map(|entry| entry.member.clone()).filter(|member| !theirs.contains_key(member)).collect();
    theirs.values_mut().for_each(|entry| entry.member.retain(|member| !gone.contains(member)));
    assert_only_the_documented_differences(&theirs, &entries(between));
}

/// The way back as the document says: force-refresh, then Kanidm's own tool, which knows about deletions again.
fn back(between: &Between, admin: &LdapClient) {
    delete(admin, 3);
    between.kanidm.force_refresh(ACCOUNT);
    theirs(between);
    assert!(!has(between, "user00003"));
    delete(admin, 4);
    change(admin, 5, "/bin/zsh");
    theirs(between);
    assert!(!has(between, "user00004"));
    assert_eq!(between.kanidm.entry(ACCOUNT, "user00005").unwrap().loginshell.as_deref(), Some("/bin/zsh"));
}

#[test]
fn from_kanidms_tool_and_back_on_slapd() {
    for sessionlog in [None, Some(100)] {
        let world = World::new(SlapdOptions { seed: seed(), sessionlog, ..SlapdOptions::default() });
        there(&world, &world.slapd.admin());
        back(&world, &world.slapd.admin());
        there_again(&world);
    }
}

#[test]
fn from_kanidms_tool_and_back_on_389() {
    let world = World389::new(Ds389Options { seed: seed(), ..Ds389Options::default() });
    there(&world, &world.ds389.admin());
    back(&world, &world.ds389.admin());
    there_again(&world);
}

/// Whoever comes once more begins as the first time.
fn there_again(between: &Between) {
    assert_eq!(between.run(&[], 0).report["mode"], "incremental");
    between.run_and_compare("read in full", "full");
}

/// What the document warns of: without force-refresh, Kanidm's own tool takes our state for slapd's cookie and never deletes again.
/// This tool brings that in order at its next run.
#[test]
fn back_on_slapd_without_force_refresh_nobody_is_deleted_any_more() {
    for sessionlog in [None, Some(100)] {
        let world = World::new(SlapdOptions { seed: seed(), sessionlog, ..SlapdOptions::default() });
        world.run_and_compare("ours", "full");
        for number in [2, 3] {
            delete(&world.slapd.admin(), number);
            theirs(&world);
            assert!(has(&world, &format!("user{number:05}")), "if this fails, docs/migrating.md is too careful");
        }
        assert_eq!(world.kanidm.state(ACCOUNT), State::Active { cookie: String::new() }, "an empty cookie");
        let ran = world.run_and_compare("ours again", "full");
        assert!(!has(&world, "user00002") && !has(&world, "user00003"), "{}", ran.outcome.all());
    }
}

/// 389 says that it does not know the cookie; Kanidm's own tool then forgets it and reads everything, which takes it two runs.
#[test]
fn back_on_389_without_force_refresh_takes_two_runs() {
    let world = World389::new(Ds389Options { seed: seed(), ..Ds389Options::default() });
    world.run_and_compare("ours", "full");
    delete(&world.ds389.admin(), 2);
    theirs(&world);
    assert_eq!((world.kanidm.state(ACCOUNT), has(&world, "user00002")), (State::Refresh, true));
    theirs(&world);
    assert!(!has(&world, "user00002"));
    world.ds389.admin().modify(&user_ldif(2));
}

/// The document lists the keys that Kanidm's own tool does not take: all others it does.
#[test]
fn the_keys_of_this_tool_alone_are_listed() {
    let world = World::new(SlapdOptions { seed: seed(), ..SlapdOptions::default() });
    let list = DOCUMENT.split("<!-- keys of this tool alone -->").nth(1).expect("the list").split("\n\n").nth(1).unwrap();
    for key in KEYS.iter().chain(ENTRY_KEYS) {
        let Some(value) = key.default else { continue };
        let value: toml::Table = toml::from_str(&format!("v = {value}")).unwrap();
        let value = value["v"].clone();
        let config = match ENTRY_KEYS.iter().any(|entry| entry.name == key.name) {
            true => world.config.clone().set_in("00000000-0000-4000-8000-000000000001", key.name, value),
            false => world.config.clone().set(key.name, value),
        };
        // What the others need is another test's concern.
        let config = if key.name == "person_objectclass" { world.config.clone().set(key.name, "posixAccount") } else { config };
        world.tool.write_sync_config(&config);
        let outcome = kanidms_tool::run(&world.tool, &["-n"]);
        let taken = outcome.stderr.contains("Success!");
        assert_eq!(taken, !list.contains(&format!("`{}`", key.name)), "{}: {}", key.name, outcome.all());
    }
}
