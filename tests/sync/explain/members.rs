//! The members of a group, and the groups of a person.

use serde_json::Value;

use super::{FILTER, SHOWN, dn, explain, group, json, person, world};
use crate::support::expect::{GROUPS_OF_NAMES, POSIX_GROUPS};
use crate::support::seed::{SUFFIX, Seed};
use crate::support::slapd::SlapdOptions;
use crate::support::world::World;

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
            posix("alice", &["alice"]),
        ]
        .concat(),
    );
    let world = World::with(
        SlapdOptions { seed, ..SlapdOptions::default() },
        POSIX_GROUPS,
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
    let own = format!("✗ cn=alice,ou=groups,{SUFFIX}: its user-private group");
    assert!(alice.stdout.contains(&own), "{}", alice.stdout);
    let answer = json(&world, &dn("alice"), 0);
    let listed = answer["entries"][0]["groups"]["listed"].as_array().unwrap();
    let resolving: Vec<&Value> = listed.iter().filter(|group| group["resolves"] == true).collect();
    assert_eq!(resolving.len(), 1, "{answer}");
    assert_eq!(resolving[0]["name"], format!("cn=crew,ou=groups,{SUFFIX}"));
    let dave = explain(&world, "dave", 1);
    let absent = format!("✗ cn=crew,ou=groups,{SUFFIX}: the person is not in scope");
    assert!(dave.stdout.contains(&absent), "{}", dave.stdout);
    // Another member changes nothing: the person has the name.
    let own = format!("cn=alice,ou=groups,{SUFFIX}");
    world.slapd.change(&own, "add: memberUid\nmemberUid: dave\n");
    world.run(&[], 3);
    let alice = explain(&world, &dn("alice"), 0);
    assert!(alice.stdout.contains(&format!("✗ {own}: held by an earlier run")), "{}", alice.stdout);
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
    // An entry of another class says nothing about a group with its name.
    let machine = |name: &str| {
        format!("dn: uid={name},ou=staff,{SUFFIX}\nobjectClass: account\nuid: {name}\n\n")
    };
    world.slapd.modify(&[machine("team"), machine("dave"), machine("erin")].concat());
    for (who, code) in [("team", 0), ("dave", 1), ("erin", 0), ("frank", 1)] {
        explain(&world, who, code);
    }
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
        GROUPS_OF_NAMES,
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
