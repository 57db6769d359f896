//! Values that two entries want, and entries that a run sends again although they have not changed.

use super::{dn, explain, last, world};
use crate::support::world::ACCOUNT;

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
