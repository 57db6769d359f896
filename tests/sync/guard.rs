//! Nothing is lost: a run that would delete more than is ordinary is refused before anything is
//! sent, until somebody says that it is meant. On a real slapd and the real Kanidm engine.

use std::collections::BTreeSet;

use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::state::{self, Opened, SyncState};
use kanidm_ldap_sync::kanidm::transport::SyncServer as _;
use uuid::Uuid;

use crate::support::kanidm::{KanidmEntry, State};
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, Ran, World};

/// Known exactly, and known by a sample.
const SMALL: usize = 40;
const LARGE: usize = 400;
/// Groups with DNs for members among those that are generated.
const GROUPS: usize = 5;

const NOBODY: &str = "(objectClass=device)";
/// `user00001` to `user00009`.
const NINE: &str = "(uid=user0000*)";

fn seed(users: usize) -> Seed {
    Seed::Generated(SeedOptions {
        users,
        groups: 2 * GROUPS,
        specials: false,
        ..SeedOptions::default()
    })
}

/// After a first refresh.
fn world(users: usize, sessionlog: Option<u32>) -> World {
    let world =
        World::new(SlapdOptions { seed: seed(users), sessionlog, ..SlapdOptions::default() });
    world.run_and_compare("first refresh", "full");
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), users + GROUPS);
    world
}

/// Runs, for real and dry: it is refused with these words, nothing is sent and Kanidm has what it
/// had. Up to ten of those that would go are named; `goes` tells whether an entry does.
#[track_caller]
fn refused(world: &World, arguments: &[&str], words: &str, goes: impl Fn(&KanidmEntry) -> bool) {
    let before = (world.kanidm.state(ACCOUNT), world.kanidm.entries(ACCOUNT));
    world.kanidm.clear_log();
    for dry in [&[][..], &["--dry-run"]] {
        let outcome = world.tool.run(&[&["--json"], arguments, dry].concat()).expect_code(4);
        let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        let error = report["error"].as_str().unwrap();
        assert_eq!((&report["exit_code"], &report["result"]), (&4.into(), &"failed".into()));
        assert!(
            error.starts_with("refused by the deletion guard, nothing was sent: ")
                && error.contains(words),
            "{words}\n{error}"
        );
        assert!(error.ends_with("If that is intended, run once with --accept-deletes"), "{error}");
        outcome.says(error);
        let named: BTreeSet<Uuid> = error
            .split([' ', ',', '.', '(', ')'])
            .filter_map(|word| Uuid::try_parse(word).ok())
            .collect();
        let gone: BTreeSet<Uuid> =
            before.1.iter().filter(|entry| goes(entry)).map(|entry| entry.uuid).collect();
        assert!(named.is_subset(&gone), "{error}");
        if words.contains("known persons would be deleted")
            && !error.contains("known groups would be deleted")
        {
            assert_eq!(named.len(), gone.len().min(10), "{error}");
        }
    }
    assert_eq!(world.kanidm.posts().len(), 0);
    assert_eq!((world.kanidm.state(ACCOUNT), world.kanidm.entries(ACCOUNT)), before);
}

/// Says that it is meant: the entries that go are gone, the others are what they were.
#[track_caller]
fn accepted(world: &World, arguments: &[&str], goes: impl Fn(&KanidmEntry) -> bool) -> Ran {
    let names = |keep: &dyn Fn(&KanidmEntry) -> bool| -> Vec<_> {
        world
            .kanidm
            .entries(ACCOUNT)
            .into_iter()
            .filter(|e| keep(e))
            .map(|e| (e.uuid, e.name, e.external_id))
            .collect()
    };
    let left = names(&|entry| !goes(entry));
    let ran = world.run(&[&["--accept-deletes"], arguments].concat(), 0);
    ran.outcome.says("--accept-deletes: ");
    assert_eq!(names(&|_| true), left);
    ran
}

fn is_user(entry: &KanidmEntry) -> bool {
    entry.gidnumber.is_some()
}

fn is_not_of_the_nine(entry: &KanidmEntry) -> bool {
    !entry.name.as_ref().unwrap().starts_with("user0000")
}

fn delete_users(world: &World, numbers: std::ops::RangeInclusive<usize>) {
    world.slapd.modify(
        &numbers
            .map(|number| format!("dn: {}\nchangetype: delete\n\n", user_dn(number)))
            .collect::<String>(),
    );
}

fn describe_group(world: &World, description: &str) {
    let dn = group_dn("team001");
    world.slapd.change(&dn, &format!("replace: description\ndescription: {description}"));
}

#[test]
fn a_wrong_filter_deletes_nobody() {
    for (users, at_once, words) in [
        (
            SMALL,
            1000,
            "31 of 40 known persons would be deleted, allowed are 8 (max_delete_percent = 20)",
        ),
        (
            SMALL,
            4,
            "no group would be left of 5 known. Check ldap_filter, group_objectclass and the rights of the sync account",
        ),
        (LARGE, 100, "391 to 400 of 400 known persons would be deleted, allowed are 80"),
    ] {
        let mut world = world(users, Some(100));
        world.reconfigure(|config| {
            config.set("ldap_filter", NOBODY).set("upload_max_entries", at_once)
        });
        refused(
            &world,
            &[],
            &format!(
                "the directory shows no person and no group, Kanidm has {}. Check",
                users + GROUPS
            ),
            |_| true,
        );
        world.reconfigure(|config| config.set("ldap_filter", NINE));
        refused(&world, &[], words, is_not_of_the_nine);
        accepted(&world, &[], is_not_of_the_nine);
        assert_eq!(world.kanidm.entries(ACCOUNT).len(), 9);
        world.reconfigure(|config| config.set("ldap_filter", NOBODY));
        refused(&world, &[], "no person and no group, Kanidm has 9. Check", |_| true);
        accepted(&world, &[], |_| true);
        assert_eq!(world.kanidm.entries(ACCOUNT).len(), 0);
    }
}

#[test]
fn lost_rights_delete_nobody() {
    for sessionlog in [None, Some(100)] {
        let mut world = world(SMALL, sessionlog);
        for (lost, words, nothing) in [
            (
                format!("dn.subtree=\"ou=people,{SUFFIX}\""),
                "no person would be left of 40 known. Check ldap_filter, person_objectclass",
                false,
            ),
            (format!("dn.children=\"{SUFFIX}\" attrs=entry"), "no person and no group", true),
        ] {
            world.slapd.reconfigure(|options| {
                options.extra_database = format!("access to {lost} by * none\n")
            });
            refused(&world, &["--full-refresh"], words, |entry| nothing || is_user(entry));
            describe_group(&world, &format!("changed after {}", words.len()));
            if sessionlog.is_none() && !nothing {
                // Everything that is present is listed, so the rest is taken for deleted.
                refused(&world, &[], words, is_user);
            } else {
                // Only the log tells of deletions, and it has none. Nor does slapd without a log
                // list anything when it finds no change.
                world.run(&[], 0);
                assert_eq!(world.kanidm.entries(ACCOUNT).len(), SMALL + GROUPS);
            }
            world.slapd.reconfigure(|options| options.extra_database.clear());
            // What changed meanwhile was not shown, and the cookie has passed it.
            world.run(&["--full-refresh"], 0);
            world.run_and_compare("the rights are back", "incremental");
        }
    }
}

#[test]
fn a_renamed_base_deletes_nobody() {
    for sessionlog in [None, Some(100)] {
        let mut world = world(SMALL, sessionlog);
        world.rebase(&format!("ou=people,{SUFFIX}"));
        refused(&world, &[], "no group would be left of 5 known", |_| false);
        accepted(&world, &[], |entry| !is_user(entry));
        world.run_and_compare("five groups are out of the base", "incremental");
        world.slapd.rename(&format!("ou=people,{SUFFIX}"), "ou=persons");
        let before = world.kanidm.entries(ACCOUNT);
        world.kanidm.clear_log();
        let outcome = world.tool.run(&[]).expect_code(1);
        outcome.says(&format!("ou=people,{SUFFIX}"));
        assert_eq!((world.kanidm.posts().len(), world.kanidm.entries(ACCOUNT)), (0, before));
        world.slapd.modify(&format!(
            "dn: ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: people\n"
        ));
        refused(
            &world,
            &["--full-refresh"],
            "no person and no group, Kanidm has 40. Check",
            |_| true,
        );
        if sessionlog.is_none() {
            refused(&world, &[], "no person and no group", |_| true);
        }
        world.rebase(&format!("ou=persons,{SUFFIX}"));
        world.run_and_compare("the base is corrected", "full");
    }
}

#[test]
fn a_directory_reloaded_with_new_uuids_deletes_nobody() {
    for (users, sessionlog) in [(SMALL, None), (LARGE, Some(100))] {
        let mut world = world(users, sessionlog);
        world.slapd.reload(seed(users));
        let number = if users == SMALL { users.to_string() } else { format!("about {users}") };
        let words = format!("{number} of {users} known persons would be deleted");
        refused(&world, &[], &words, |_| true);
        refused(&world, &["--full-refresh"], &words, |_| true);
        let old: BTreeSet<Uuid> =
            world.kanidm.entries(ACCOUNT).iter().map(|entry| entry.uuid).collect();
        world.run(&["--accept-deletes"], 0);
        assert!(world.kanidm.entries(ACCOUNT).iter().all(|entry| !old.contains(&entry.uuid)));
        world.run_and_compare("every name, DN and number is used again", "incremental");
    }
}

#[test]
fn what_is_ordinary_is_configured_and_three_always_are_but_for_zero_percent() {
    for sessionlog in [None, Some(100)] {
        let mut world = world(SMALL, sessionlog);
        let goes = |numbers: std::ops::RangeInclusive<usize>| {
            move |entry: &KanidmEntry| {
                numbers.clone().any(|n| entry.name == Some(crate::support::seed::user_name(n)))
            }
        };
        world.reconfigure(|config| config.set("max_delete_percent", 0));
        delete_users(&world, 1..=1);
        refused(
            &world,
            &[],
            "1 of 40 known persons would be deleted, allowed are 0 (max_delete_percent = 0)",
            goes(1..=1),
        );
        world.reconfigure(|config| config.set("max_delete_percent", 1));
        delete_users(&world, 2..=3);
        world.run_and_compare("three of 40", "incremental");
        delete_users(&world, 4..=14);
        refused(
            &world,
            &[],
            "11 of 37 known persons would be deleted, allowed are 3 (max_delete_percent = 1)",
            goes(4..=14),
        );
        world.reconfigure(|config| config.set("max_delete_percent", 29));
        refused(&world, &[], "allowed are 10 (max_delete_percent = 29)", goes(4..=14));
        world.reconfigure(|config| config.set("max_delete_percent", 30));
        world.run_and_compare("eleven of 37 are 29.7 %", "incremental");
        delete_users(&world, 15..=26);
        refused(&world, &[], "12 of 26 known persons would be deleted", goes(15..=26));
        let ran = accepted(&world, &[], goes(15..=26));
        assert_eq!(
            (&ran.report["deleted"]["at_least"], &ran.report["mode"]),
            (&12.into(), &"incremental".into())
        );
        world.run_and_compare("accepted once", "incremental");
    }
}

/// Ten persons and three groups: no allowance is so large that it covers all of a kind.
#[test]
fn a_small_site_is_not_emptied() {
    let seed = Seed::Generated(SeedOptions {
        users: 10,
        groups: 6,
        specials: false,
        ..SeedOptions::default()
    });
    for percent in [20, 100] {
        let mut world = World::new(SlapdOptions {
            seed: seed.clone(),
            sessionlog: Some(100),
            ..SlapdOptions::default()
        });
        world.reconfigure(|config| config.set("max_delete_percent", percent));
        world.run_and_compare("first refresh", "full");
        // A typing error in the filter.
        world.reconfigure(|config| {
            config.set("ldap_filter", "(|(objectClass=persom)(objectClass=groupOfNames))")
        });
        refused(&world, &[], "no person would be left of 10 known", is_user);
        world.reconfigure(|config| {
            config.set("ldap_filter", "(|(objectClass=posixAccount)(objectClass=groupOfName))")
        });
        refused(&world, &[], "no group would be left of 3 known", |_| false);
        world.reconfigure(|config| config.set("ldap_filter", crate::support::world::FILTER));
        // An access rule that hides everybody.
        world.slapd.reconfigure(|options| {
            options.extra_database =
                format!("access to dn.subtree=\"ou=people,{SUFFIX}\" by * none\n")
        });
        refused(&world, &["--full-refresh"], "no person would be left of 10 known", is_user);
        world.slapd.reconfigure(|options| options.extra_database.clear());
        // The last of a kind, one by one.
        delete_users(&world, 1..=10);
        refused(&world, &[], "no person would be left of 10 known", is_user);
        accepted(&world, &[], is_user);
    }
}

#[test]
fn deletions_are_estimated_where_more_is_known_than_is_remembered() {
    for sessionlog in [None, Some(1000)] {
        let world = world(LARGE, sessionlog);
        delete_users(&world, 1..=20);
        world.run_and_compare("five percent", "incremental");
        delete_users(&world, 101..=300);
        let goes = |entry: &KanidmEntry| {
            (101..=300).any(|n| entry.name == Some(crate::support::seed::user_name(n)))
        };
        refused(&world, &[], "known persons would be deleted", goes);
        accepted(&world, &[], goes);
        world.run_and_compare("accepted", "incremental");
    }
}

#[test]
fn a_forced_refresh_is_refused_only_where_nothing_is_left() {
    let mut world = world(SMALL, None);
    world.kanidm.force_refresh(ACCOUNT);
    world.reconfigure(|config| config.set("ldap_filter", NOBODY));
    refused(
        &world,
        &[],
        "the directory shows no person and no group. Check ldap_sync_base_dn, ldap_filter",
        |_| true,
    );
    assert_eq!(world.kanidm.state(ACCOUNT), State::Refresh);
    world.reconfigure(|config| config.set("ldap_filter", NINE));
    for arguments in [&["--dry-run"][..], &[]] {
        let ran = world.run(arguments, 0);
        ran.outcome.says("Kanidm does not tell how many");
    }
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), 9);
    // From here on it is known.
    world.reconfigure(|config| config.set("ldap_filter", NOBODY));
    refused(&world, &[], "no person and no group, Kanidm has 9. Check", |_| true);
}

#[test]
fn what_another_tool_has_left_is_not_known() {
    for sessionlog in [None, Some(100)] {
        let mut world = world(SMALL, sessionlog);
        forget_envelope(&world);
        world.reconfigure(|config| config.set("ldap_filter", NOBODY));
        refused(&world, &["--full-refresh"], "no person and no group. Check", |_| true);
        world.reconfigure(|config| {
            config.set("ldap_filter", "(|(objectClass=posixAccount)(objectClass=groupOfNames))")
        });
        delete_users(&world, 1..=11);
        let goes = |entry: &KanidmEntry| {
            (1..=11).any(|n| entry.name == Some(crate::support::seed::user_name(n)))
        };
        if sessionlog.is_some() {
            refused(
                &world,
                &[],
                "11 entries would be deleted, allowed are 3 while Kanidm's content is not known",
                goes,
            );
            accepted(&world, &[], goes);
        } else {
            let ran = world.run(&[], 0);
            ran.outcome.says("Kanidm does not tell how many");
        }
        // Once everything was read, it is known.
        world.run_and_compare("taken over", "full");
        world.run_and_compare("nothing to do", "incremental");
        delete_users(&world, 12..=22);
        let goes = |entry: &KanidmEntry| {
            (12..=22).any(|n| entry.name == Some(crate::support::seed::user_name(n)))
        };
        refused(&world, &[], "11 of 29 known persons would be deleted, allowed are 5", goes);
    }
}

/// docs/troubleshooting.md, "Bring deleted accounts back": everything is revived, then a full
/// refresh.
#[test]
fn everybody_comes_back_from_the_recycle_bin() {
    let mut world = world(SMALL, Some(100));
    let before = world.kanidm.entries(ACCOUNT);
    world.reconfigure(|config| config.set("ldap_filter", NOBODY));
    accepted(&world, &[], |_| true);
    assert_eq!(world.kanidm.entries(ACCOUNT), []);
    world.reconfigure(|config| config.set("ldap_filter", crate::support::world::FILTER));
    world.kanidm.recycled().iter().for_each(|entry| world.kanidm.revive(entry.uuid));
    world.run_full_and_compare("everybody is back");
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), before.len());
    assert!(world.kanidm.verify_password("user00001", "Passw0rd-user00001"));
}

/// Leaves the directory's cookie as it is, as Kanidm's own tool does.
fn forget_envelope(world: &World) {
    let mut client = world.kanidm_client();
    let before = client.state().unwrap();
    let SyncState::Active { cookie } = &before else { panic!("{before:?}") };
    let Ok(Opened::Ours(envelope)) = state::open(cookie) else { panic!("not our envelope") };
    let after = SyncState::Active { cookie: envelope.cookie.unwrap() };
    client.apply(&RequestBody::new(&before, &after, &Retention::Ignore, Vec::new())).unwrap();
}

/// No person may go, and of so many a sample does not tell who is known.
#[test]
fn zero_percent_means_nobody() {
    let mut world = world(LARGE, Some(100));
    world.reconfigure(|config| config.set("max_delete_percent", 0));
    world.run(&[], 0);
    delete_users(&world, 1..=2);
    for arguments in [&[][..], &["--full-refresh"]] {
        world.tool.run(arguments).expect_code(4);
        assert_eq!(world.kanidm.entries(ACCOUNT).len(), LARGE + GROUPS, "{arguments:?}");
    }
    world.run(&["--accept-deletes"], 0);
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), LARGE + GROUPS - 2);
    describe_group(&world, "changed");
    world.run(&[], 0);
}
