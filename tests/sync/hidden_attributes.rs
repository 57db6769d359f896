//! A read right that is lost, or a spelling error in the configuration, takes an attribute from
//! everybody without a trace in the directory's answers. Nothing is sent then. On a real slapd and
//! the real Kanidm engine.

use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, World};

const USERS: usize = 40;
const GROUPS: usize = 10;

/// After a first refresh: everybody has a password and a key, every fourth person has expired.
fn world() -> World {
    let seed = Seed::Generated(SeedOptions {
        users: USERS,
        groups: GROUPS,
        specials: false,
        ..SeedOptions::default()
    });
    let world = World::new(SlapdOptions { seed, sessionlog: Some(100), ..SlapdOptions::default() });
    for number in 1..=USERS {
        expire(&world, number, if number % 4 == 0 { "1" } else { "-1" });
    }
    world.run_and_compare("first refresh", "full");
    world
}

fn expire(world: &World, number: usize, day: &str) {
    // Those of the seed that end in 3 have the class.
    let class =
        if number % 10 == 3 { "" } else { "add: objectClass\nobjectClass: shadowAccount\n-\n" };
    modify(world, number, &format!("{class}replace: shadowExpire\nshadowExpire: {day}\n"));
}

fn modify(world: &World, number: usize, change: &str) {
    world.slapd.change(&user_dn(number), change);
}

fn hide(world: &mut World, attribute: &str) {
    let rule = match attribute {
        "userPassword" => "access to attrs=userPassword by anonymous auth by * none\n".to_owned(),
        other => format!("access to attrs={other} by * none\n"),
    };
    world.slapd.reconfigure(|options| options.extra_database = rule);
}

fn show(world: &mut World) {
    world.slapd.reconfigure(|options| options.extra_database.clear());
}

/// Runs, for real and dry: refused with these words, and Kanidm has what it had.
#[track_caller]
fn refused(world: &World, arguments: &[&str], words: &str) {
    let before = (world.kanidm.state(ACCOUNT), world.kanidm.entries(ACCOUNT));
    world.kanidm.clear_log();
    for dry in [&[][..], &["--dry-run"]] {
        let outcome = world.tool.run(&[arguments, dry].concat()).expect_code(4);
        outcome.says("refused by the deletion guard, nothing was sent: ");
        outcome.says(words);
    }
    assert_eq!(world.kanidm.posts().len(), 0);
    assert_eq!((world.kanidm.state(ACCOUNT), world.kanidm.entries(ACCOUNT)), before);
}

#[test]
fn an_attribute_that_an_access_rule_hides_is_taken_from_nobody() {
    let mut world = world();
    let names = |attribute: &str, key: &str| {
        format!("Check who may read {attribute} in the directory, and {key}")
    };
    let group = format!(
        "dn: {}\nchangetype: modify\nreplace: description\ndescription: changed\n",
        group_dn("team001")
    );
    for (attribute, words) in [
        (
            "userPassword",
            "40 of 40 persons with userpassword would lose it, allowed are 8. ".to_owned()
                + &names("userpassword", "person_attr_password"),
        ),
        ("sshPublicKey", names("sshpublickey", "person_attr_ssh_public_key")),
        (
            "mail",
            "40 of 40 persons with mail would lose it, allowed are 8. ".to_owned()
                + &names("mail", "person_attr_mail"),
        ),
        (
            "shadowExpire",
            "10 of 10 persons with shadowExpire would lose it, allowed are 3. ".to_owned()
                + &names("shadowExpire", "sync_account_lock"),
        ),
        (
            "member",
            "5 of 5 groups with member would lose it, allowed are 3. ".to_owned()
                + &names("member", "group_attr_member"),
        ),
    ] {
        hide(&mut world, attribute);
        refused(&world, &["--full-refresh"], &words);
        modify(&world, 1, &format!("replace: cn\ncn: Without {attribute}\n"));
        world.slapd.modify(&group);
        refused(&world, &[], &words);
        show(&mut world);
        world.run_and_compare(&format!("{attribute} is readable again"), "incremental");
        assert!(world.kanidm.verify_password(&user_name(1), "Passw0rd-user00001"));
        assert!(world.kanidm.entry(ACCOUNT, &user_name(4)).unwrap().account_expire.is_some());
    }
}

#[test]
fn an_attribute_spelled_wrong_is_taken_from_nobody() {
    let mut world = world();
    for (key, wrong, words) in [
        ("person_attr_password", "userpasword", "40 of 40 persons with userpasword would lose it"),
        ("group_attr_member", "members", "5 of 5 groups with members would lose it"),
    ] {
        let before = world.config.clone();
        world.reconfigure(|config| config.set(key, wrong));
        refused(&world, &[], words);
        world.reconfigure(|_| before);
        world.run_and_compare("spelled right again", "incremental");
    }
}

#[test]
fn members_that_are_not_found_any_more_are_taken_from_no_group() {
    let mut world = world();
    let before = world.config.clone();
    // Members are DNs, and are read as user names.
    world.reconfigure(|config| {
        config.set("group_attr_schema", "rfc2307").set("group_attr_member", "member")
    });
    refused(&world, &[], "memberships would be lost because their members are not found");
    world.reconfigure(|_| before);
    world.run_and_compare("the schema is right again", "incremental");
}

#[test]
fn what_is_meant_is_accepted_once_and_not_asked_again() {
    let mut world = world();
    hide(&mut world, "mail");
    refused(&world, &["--full-refresh"], "persons with mail would lose it");
    let ran = world.run(&["--full-refresh", "--accept-deletes"], 0);
    ran.outcome.says("--accept-deletes: 40 of 40 persons with mail would lose it");
    assert!(world.kanidm.entries(ACCOUNT).iter().all(|entry| entry.mail.is_empty()));
    world.run(&["--full-refresh"], 0);
    modify(&world, 1, "replace: cn\ncn: Changed\n");
    world.run(&[], 0);
}

#[test]
fn what_changes_in_increments_is_no_loss_of_the_next_full_refresh() {
    let mut world = world();
    world.reconfigure(|config| config.set("max_delete_percent", 10));
    // Ten have expired; three and then three more are prolonged, and four are deleted.
    for numbers in [[4, 8, 12], [16, 20, 24]] {
        numbers.iter().for_each(|number| modify(&world, *number, "delete: shadowExpire\n"));
        world.run_and_compare("prolonged", "incremental");
    }
    for number in [28, 32, 36, 40] {
        world.slapd.delete(&user_dn(number));
    }
    world.run_and_compare("deleted", "incremental");
    world.run_full_and_compare("none is left, and none is missed");
}

/// One person is locked: no allowance covers that the lock goes out of sight.
#[test]
fn a_lock_that_is_hidden_unlocks_nobody_and_one_that_is_lifted_is_no_news() {
    let seed = Seed::Generated(SeedOptions {
        users: 8,
        groups: 2,
        specials: false,
        ..SeedOptions::default()
    });
    for search in ["", "search"] {
        let mut world = World::new(SlapdOptions {
            seed: seed.clone(),
            sessionlog: Some(100),
            ..SlapdOptions::default()
        });
        expire(&world, 3, "-1");
        expire(&world, 1, "1");
        world.run_and_compare("first refresh", "full");
        let by = if search.is_empty() { "none" } else { search };
        world.slapd.reconfigure(|options| {
            options.extra_database = format!("access to attrs=shadowExpire by * {by}\n")
        });
        refused(
            &world,
            &["--full-refresh"],
            "shadowExpire locked 1 person, and the sync account cannot read it any more",
        );
        modify(&world, 1, "replace: cn\ncn: Still locked\n");
        refused(&world, &[], "shadowExpire locked 1 person");
        show(&mut world);
        world.run_and_compare("readable again", "incremental");
        assert!(world.kanidm.entry(ACCOUNT, &user_name(1)).unwrap().account_expire.is_some());
        for lifted in ["replace: shadowExpire\nshadowExpire: -1\n", "delete: shadowExpire\n"] {
            expire(&world, 5, "1");
            world.run_and_compare("locked", "incremental");
            modify(&world, 5, lifted);
            modify(&world, 1, "replace: shadowExpire\nshadowExpire: -1\n");
            let ran = world.run_and_compare("every lock is lifted", "incremental");
            assert!(!ran.outcome.stderr.contains("lose it"), "{}", ran.outcome.stderr);
            modify(
                &world,
                5,
                "delete: objectClass\nobjectClass: shadowAccount\n-\nreplace: shadowExpire\n",
            );
        }
    }
}

#[test]
fn an_attribute_that_few_had_is_named_when_it_vanishes() {
    let seed = Seed::Generated(SeedOptions {
        users: 3,
        groups: 2,
        specials: false,
        ..SeedOptions::default()
    });
    let mut world = World::new(SlapdOptions { seed, ..SlapdOptions::default() });
    expire(&world, 1, "1");
    world.run_and_compare("first refresh", "full");
    hide(&mut world, "mail");
    let ran = world.run(&["--full-refresh"], 0);
    ran.outcome.says("3 of 3 persons with mail lose it. Check who may read mail");
    show(&mut world);
    world.run(&["--full-refresh"], 0);
    // The last lock that is lifted is no news.
    modify(&world, 1, "delete: shadowExpire\n");
    expire(&world, 3, "-1");
    let ran = world.run(&["--full-refresh"], 0);
    assert!(!ran.outcome.stderr.contains("lose it"), "{}", ran.outcome.stderr);
}

#[test]
fn an_operational_attribute_in_the_filter_is_named_and_check_counts_what_entries_show() {
    let mut world = world();
    let filter = format!(
        "(|(&(objectClass=posixAccount)(subschemaSubentry=*))(objectClass=groupOfNames)(member={SUFFIX}))"
    );
    world.refilter(&filter);
    let warning = "ldap_filter names subschemaSubentry, which the server maintains";
    let ran = world.run(&[], 0);
    ran.outcome.says(warning);
    let check = world.tool.run(&["--check"]).expect_code(0);
    assert!(check.stdout.contains(warning), "{}", check.stdout);
    assert!(
        check.stdout.contains("directory, attributes of persons: 40 in all: uid 40, cn 40, "),
        "{}",
        check.stdout
    );
    assert!(check.stdout.contains(", userpassword 40, mail 40 ("), "{}", check.stdout);
    assert!(check.stdout.contains("shadowExpire 10"), "{}", check.stdout);
    assert!(
        check.stdout.contains("directory, attributes of groups: 5 in all: cn 5, "),
        "{}",
        check.stdout
    );
}

/// The right to search by an attribute is not the right to read it.
#[test]
fn an_attribute_that_can_only_be_searched_is_taken_from_nobody() {
    let mut world = world();
    for attribute in ["userPassword", "sshPublicKey"] {
        world.slapd.reconfigure(|options| {
            options.extra_database = format!("access to attrs={attribute} by * search\n")
        });
        modify(&world, 1, &format!("replace: cn\ncn: Without {attribute}\n"));
        modify(&world, 2, &format!("replace: cn\ncn: Without {attribute}\n"));
        refused(&world, &[], "would lose it, allowed are");
        show(&mut world);
        world.run_and_compare("readable again", "incremental");
    }
}

/// Persons go out of sight, and no entry changes: a group that changes would lose all of its
/// members.
#[test]
fn a_group_loses_no_members_who_are_out_of_sight() {
    let mut world = world();
    let dn = |number: usize| group_dn(&format!("team{number:03}"));
    let group = |text: &str| {
        let change = |number: usize| {
            format!(
                "dn: {}\nchangetype: modify\nreplace: description\ndescription: {text}\n\n",
                dn(number)
            )
        };
        (1..=GROUPS).step_by(2).map(change).collect::<String>()
    };
    world.slapd.reconfigure(|options| {
        options.extra_database = format!("access to dn.subtree=\"ou=people,{SUFFIX}\" by * none\n")
    });
    world.slapd.modify(&group("hidden persons"));
    refused(&world, &[], "memberships would be lost because their members are not found");
    show(&mut world);
    world.run_and_compare("in sight again", "incremental");
}

/// From one attribute to a list, with a spelling error in it.
#[test]
fn a_list_of_member_attributes_that_is_spelled_wrong_takes_no_members() {
    let mut world = world();
    let list = |names: [&str; 2]| toml::Value::Array(names.map(toml::Value::from).to_vec());
    world.reconfigure(|config| config.set("group_attr_member", list(["memeber", "uniqueMember"])));
    refused(
        &world,
        &[],
        "5 of 5 groups with memeber or uniqueMember would lose it, allowed are 3. ",
    );
    world.reconfigure(|config| config.set("group_attr_member", list(["member", "uniqueMember"])));
    world.run_and_compare("spelled right", "full");
}
