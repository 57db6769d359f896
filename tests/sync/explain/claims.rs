//! Values that two entries want, and entries that a run sends again although they have not changed.

use super::{FILTER, SHOWN, dn, explain, group, last, person, world};
use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::seed::{SUFFIX, Seed};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, World};

/// Somebody who is in Kanidm and gets the user name of another person there is held.
#[test]
fn a_known_person_with_a_taken_name_is_held() {
    let world = world(&[]);
    world.run(&[], 3);
    world.slapd.change(&dn("kim"), "replace: uid\nuid: lena\n");
    let kim = explain(&world, &dn("kim"), 3);
    let told = "=> Held, or the other one: uid: must be unique, and is the same as that of cn=lena";
    assert!(last(&kim).starts_with(told), "{}", kim.stdout);
    let then = "If the other entry has the value in Kanidm, the next run holds this one";
    assert!(last(&kim).contains(then), "{}", kim.stdout);
    // The other one keeps its name: it has not changed.
    let lena = explain(&world, &dn("lena"), 0);
    assert!(last(&lena).starts_with("=> In Kanidm. The next run leaves it"), "{}", lena.stdout);
    let rival = "uid: must be unique, and is the same as that of cn=kim";
    assert!(lena.stdout.contains(&format!("problem         ✗ {rival}")), "{}", lena.stdout);
    let all = world.run(&[], 3).outcome.all();
    assert!(all.contains("held back"), "{all}");
    assert!(world.kanidm.entry(ACCOUNT, "kim").is_some());
}

/// An entry that was sent as a group, and has the class of persons now.
#[test]
fn an_entry_that_was_a_group_is_known() {
    let seed = Seed::Content(person("alice", SHOWN) + &group("team", &[dn("alice")]));
    let options = SlapdOptions { seed, sessionlog: Some(100), ..SlapdOptions::default() };
    let world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| {
        config.set("person_objectclass", vec!["inetOrgPerson", "posixAccount"])
    });
    world.run(&[], 0);
    let team = format!("cn=team,ou=groups,{SUFFIX}");
    world.slapd.change(
        &team,
        "add: objectClass\nobjectClass: posixAccount\n-\nadd: uid\nuid: team\n-\nadd: uidNumber\nuidNumber: 20001\n-\nadd: gidNumber\ngidNumber: 20001\n-\nadd: homeDirectory\nhomeDirectory: /",
    );
    let outcome = explain(&world, &team, 0);
    assert!(
        outcome.stdout.contains("\n  Kanidm          an earlier run wrote it\n"),
        "{}",
        outcome.stdout
    );
    assert!(last(&outcome).starts_with("=> In Kanidm. It has changed"), "{}", outcome.stdout);
    world.run(&[], 0);
}
