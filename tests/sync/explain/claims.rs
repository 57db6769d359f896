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

/// A new member makes the next run send the group, which has not changed itself.
#[test]
fn a_group_with_a_new_member_is_sent_again() {
    let world = world(&[]);
    world.run(&[], 3);
    let team = |words: &str| {
        let outcome = explain(&world, "team", 0);
        assert!(last(&outcome).starts_with(words), "{words}\n{}", outcome.stdout);
    };
    let left = "=> In Kanidm. The next run leaves it as it is: it has not changed";
    team(left);
    world.slapd.modify(&person("nobody", SHOWN));
    team("=> In Kanidm. It has a member that is new or has changed: the next run sends it again");
    let before = world.kanidm.entry(ACCOUNT, "team").unwrap().member.len();
    world.run(&[], 3);
    assert_eq!(world.kanidm.entry(ACCOUNT, "team").unwrap().member.len(), before + 1);
    team(left);
}

/// A changed token makes the next run send its person, if runs read tokens at all.
#[test]
fn a_person_with_a_changed_token_is_sent_again() {
    const PASSWORD: &str = "userPassword: {CRYPT}$6$labsalt0$RsbIflLehn.LXEng8MVX3jS21dL/qJY68xO8UiQJRB7Jo.iBREFPPvNDPQNJEab5tEICR0DzH820XGuqmmtOH/\n";
    let [token, params] = ["token", "params"].map(|name| format!("cn={name},ou=groups,{SUFFIX}"));
    let seed = Seed::Content(format!(
        "{}{}dn: {params}\nobjectClass: organizationalRole\nobjectClass: oathTOTPParams\ncn: params\n\
         oathHMACAlgorithm: 1.2.840.113549.2.7\noathOTPLength: 6\noathTOTPTimeStepPeriod: 30\n\
         oathTOTPTimeStepWindow: 3\n\ndn: {token}\nobjectClass: organizationalRole\n\
         objectClass: oathTOTPToken\ncn: token\noathSecret: 12345678901234567890\n\
         oathTOTPParams: {params}\n\n",
        person("alice", &format!("{SHOWN}{PASSWORD}seeAlso: {token}\n")),
        group("team", &[dn("alice")]),
    ));
    let options =
        SlapdOptions { seed, otp: true, sessionlog: Some(100), ..SlapdOptions::default() };
    let people = "(objectClass=inetOrgPerson)(objectClass=groupOfNames)";
    let with_tokens = format!("(|{people}(objectClass=oathTOTPToken)(objectClass=oathTOTPParams))");
    let mut world = World::with(options, GROUPS_OF_NAMES, &with_tokens, |config| {
        config
            .set("person_objectclass", "inetOrgPerson")
            .set("person_attr_display_name", "displayName")
            .set("person_attr_totp", "seeAlso")
    });
    world.run(&[], 0);
    let alice = |world: &World, words: &str| {
        let outcome = explain(world, "alice", 0);
        assert!(last(&outcome).starts_with(words), "{words}\n{}", outcome.stdout);
    };
    let left = "=> In Kanidm. The next run leaves it as it is: it has not changed";
    let again = "=> In Kanidm. One of its TOTP tokens has changed since the last run: the next run";
    alice(&world, left);
    for change in [
        (&token, "replace: oathSecret\noathSecret: 09876543210987654321\n"),
        (&params, "replace: oathOTPLength\noathOTPLength: 8\n"),
    ] {
        world.slapd.change(change.0, change.1);
        alice(&world, again);
        world.kanidm.clear_log();
        world.run(&[], 0);
        assert!(!world.kanidm.posts().is_empty());
        alice(&world, left);
    }
    let outcome = explain(&world, &token, 1);
    let told = "A change of it makes the next run send these persons";
    assert!(last(&outcome).ends_with(told), "{}", outcome.stdout);
    // A run that reads no tokens of their own does not notice.
    world.refilter(&format!("(|{people})"));
    world.run(&[], 0);
    world.slapd.change(&token, "replace: oathSecret\noathSecret: 12345678901234567890\n");
    alice(&world, left);
    let ran = world.run(&[], 0).outcome.all();
    assert!(ran.contains(" 0 written"), "{ran}");
}
