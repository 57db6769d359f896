//! A filter on `memberOf`: who is taken out of the group loses the account with the next run, and
//! who is added gets one, although no server reports either by content synchronisation. On a real
//! slapd with each overlay that computes the attribute, with and without a session log, on a real
//! 389, and the real Kanidm engine.

use std::collections::BTreeSet;

use crate::support::ds389::Ds389Options;
use crate::support::seed::{Seed, SeedOptions, group_dn, user_dn, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, Between, World, World389};

const DYNLIST: &str =
    "overlay dynlist\ndynlist-attrset groupOfURLs memberURL member+memberOf@groupOfNames*\n";

/// How a slapd computes `memberOf`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Overlay {
    MemberOf,
    Dynlist,
}

fn seed() -> Seed {
    Seed::Generated(SeedOptions { users: 12, groups: 0, specials: false, ..SeedOptions::default() })
}

fn filter() -> String {
    format!(
        "(|(&(objectClass=posixAccount)(memberOf={}))(objectClass=groupOfNames))",
        group_dn("vpn")
    )
}

fn slapd(overlay: Overlay, sessionlog: Option<u32>) -> World {
    let mut options = SlapdOptions {
        seed: seed(),
        sessionlog,
        memberof: overlay == Overlay::MemberOf,
        ..SlapdOptions::default()
    };
    if overlay == Overlay::Dynlist {
        options.extra_global =
            "moduleload dynlist\ninclude /etc/ldap/schema/dyngroup.schema\n".to_owned();
        options.extra_database = DYNLIST.to_owned();
    }
    let mut world = World::new(options);
    let filter = filter();
    world.refilter(&filter);
    world
}

fn add_group(between: &Between, name: &str, members: &[String]) {
    let members: String = members.iter().map(|dn| format!("member: {dn}\n")).collect();
    between.admin.modify(&format!(
        "dn: {}\nobjectClass: groupOfNames\ncn: {name}\n{members}\n",
        group_dn(name)
    ));
}

fn change_members(between: &Between, name: &str, change: &str, dn: &str) {
    between.admin.change(&group_dn(name), &format!("{change}: member\nmember: {dn}"));
}

fn users(numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|number| user_dn(*number)).collect()
}

/// Kanidm has these persons and no other, each with its password.
#[track_caller]
fn assert_persons(between: &Between, numbers: &[usize], what: &str) {
    let entries = between.kanidm.entries(ACCOUNT);
    let persons = entries
        .iter()
        .filter(|entry| entry.gidnumber.is_some())
        .map(|entry| entry.name.clone().unwrap());
    let wanted: BTreeSet<String> = numbers.iter().map(|number| user_name(*number)).collect();
    assert_eq!(persons.collect::<BTreeSet<_>>(), wanted, "{what}");
    for entry in entries.iter().filter(|entry| entry.gidnumber.is_some()) {
        assert!(entry.has_password, "{what}: {entry:?}");
    }
}

/// Kanidm's group has these members.
#[track_caller]
fn assert_members(between: &Between, group: &str, numbers: &[usize], what: &str) {
    let entries = between.kanidm.entries(ACCOUNT);
    let name_of = |uuid| {
        entries
            .iter()
            .find(|entry| entry.uuid == uuid)
            .and_then(|entry| entry.name.clone())
            .unwrap()
    };
    let group = between.kanidm.entry(ACCOUNT, group).expect("the group is there");
    let members: BTreeSet<String> = group.member.iter().map(|uuid| name_of(*uuid)).collect();
    assert_eq!(members, numbers.iter().map(|number| user_name(*number)).collect(), "{what}");
}

/// Leaving and joining, with and without other changes at the same time.
fn leavers_and_joiners(between: &Between, what: &str) {
    add_group(between, "vpn", &users(&[1, 2, 3, 4, 5]));
    between.run(&[], 0);
    assert_persons(between, &[1, 2, 3, 4, 5], what);

    change_members(between, "vpn", "delete", &user_dn(1));
    let ran = between.run(&[], 0);
    assert_eq!(ran.report["mode"], "incremental", "{what}: {}", ran.outcome.all());
    assert_persons(between, &[2, 3, 4, 5], &format!("{what}: one left"));

    change_members(between, "vpn", "add", &user_dn(6));
    let ran = between.run(&[], 0);
    assert_eq!(ran.report["mode"], "incremental", "{what}: {}", ran.outcome.all());
    assert_persons(between, &[2, 3, 4, 5, 6], &format!("{what}: one came"));
    assert_members(between, "vpn", &[2, 3, 4, 5, 6], what);

    // At once, beside an entry that changes by itself.
    change_members(between, "vpn", "delete", &user_dn(2));
    change_members(between, "vpn", "add", &user_dn(7));
    between.admin.change(&user_dn(3), "replace: cn\ncn: Changed");
    between.run(&[], 0);
    assert_persons(between, &[3, 4, 5, 6, 7], &format!("{what}: one left, one came, one changed"));
    assert_members(between, "vpn", &[3, 4, 5, 6, 7], what);

    // Who changes and leaves in one step is not written again.
    between.admin.change(&user_dn(3), "replace: cn\ncn: Leaving");
    change_members(between, "vpn", "delete", &user_dn(3));
    between.run(&[], 0);
    assert_persons(between, &[4, 5, 6, 7], &format!("{what}: one changed and left"));

    between.kanidm.clear_log();
    between.run(&[], 0);
    assert_eq!(between.kanidm.posts().len(), 0, "{what}: nothing has changed");
    between.run(&["--full-refresh"], 0);
    assert_persons(between, &[4, 5, 6, 7], &format!("{what}: a full refresh says the same"));
}

#[test]
fn the_memberof_overlay_of_slapd_is_followed() {
    for sessionlog in [None, Some(100)] {
        leavers_and_joiners(
            &slapd(Overlay::MemberOf, sessionlog),
            &format!("memberof, session log {sessionlog:?}"),
        );
    }
}

#[test]
fn the_dynlist_overlay_of_slapd_is_followed_with_nested_groups() {
    for sessionlog in [None, Some(100)] {
        let world = slapd(Overlay::Dynlist, sessionlog);
        let what = format!("dynlist, session log {sessionlog:?}");
        leavers_and_joiners(&world, &what);
        nested(&world, &what);
    }
}

#[test]
fn the_memberof_plugin_of_389_is_followed_with_nested_groups() {
    let mut world =
        World389::new(Ds389Options { seed: seed(), memberof: true, ..Ds389Options::default() });
    let filter = filter();
    world.refilter(&filter);
    leavers_and_joiners(&world, "389");
    nested(&world, "389");
}

/// A group in the group: its members come and go as well. Kanidm holds back the UUIDs of those that
/// were deleted before, so these are others.
fn nested(between: &Between, what: &str) {
    add_group(between, "inner", &users(&[9, 10]));
    between.run(&[], 0);
    assert_persons(between, &[4, 5, 6, 7], &format!("{what}: not nested yet"));
    change_members(between, "vpn", "add", &group_dn("inner"));
    between.run(&[], 0);
    assert_persons(between, &[4, 5, 6, 7, 9, 10], &format!("{what}: nested"));
    change_members(between, "inner", "delete", &user_dn(9));
    between.run(&[], 0);
    assert_persons(between, &[4, 5, 6, 7, 10], &format!("{what}: one left the inner group"));
}
