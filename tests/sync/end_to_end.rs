//! From a real slapd into the real Kanidm engine, run by run: after each, everything Kanidm holds
//! is compared with what `ldapsearch` says.

use crate::changes::{self, Leaving};
use crate::support::kanidm::State;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_ldif, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, World};

#[test]
fn a_thousand_users_without_a_session_log() {
    life_of_a_directory(None);
}

#[test]
fn a_thousand_users_with_a_session_log() {
    life_of_a_directory(Some(100));
}

fn life_of_a_directory(sessionlog: Option<u32>) {
    let options = SlapdOptions {
        seed: Seed::Generated(SeedOptions::thousand()),
        sessionlog,
        ..SlapdOptions::default()
    };
    let world =
        World::with(options, crate::support::expect::GROUPS_OF_NAMES, changes::FILTER, |config| {
            config
        });
    changes::every_kind(&world, Leaving::Reported);
}

#[test]
fn into_and_out_of_the_base() {
    for sessionlog in [None, Some(100)] {
        let mut world = World::new(SlapdOptions { sessionlog, ..SlapdOptions::default() });
        world.rebase(&format!("ou=people,{SUFFIX}"));
        world.run_and_compare("first refresh", "full");
        let moved = |number, from: &str, to: &str| {
            let rdn = format!("uid={}", user_name(number));
            format!(
                "dn: {rdn},{from},{SUFFIX}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\nnewsuperior: {to},{SUFFIX}\n"
            )
        };
        world.slapd.modify(&moved(4, "ou=people", "ou=staff"));
        world.run_and_compare("moved out of the base", "incremental");
        world.slapd.modify(&user_ldif(100).replace("ou=people", "ou=staff"));
        world.run_and_compare("outside of the base", "incremental");
        world.slapd.modify(&moved(100, "ou=staff", "ou=people"));
        world.run_and_compare("moved into the base", "incremental");
    }
}

/// What stands outside is not a member, however a run comes across the group, and makes no group a
/// private one.
#[test]
fn members_outside_of_the_base() {
    let mut world = World::new(SlapdOptions::default());
    let (alone, two) = (group_dn("user00001"), group_dn("two"));
    let group = |dn: &str, members: &[String]| {
        let members: String = members.iter().map(|member| format!("member: {member}\n")).collect();
        format!("dn: {dn}\nchangetype: add\nobjectClass: groupOfNames\n{members}\n")
    };
    world.slapd.modify(&group(&alone, &[user_dn(1)]));
    world.slapd.modify(&group(&two, &[user_dn(2), alone.clone()]));
    world.rebase(&format!("ou=groups,{SUFFIX}"));
    world.run_and_compare("first refresh", "full");
    for dn in [&alone, &two] {
        world.slapd.change(dn, "add: description\ndescription: changed");
    }
    world.run_and_compare("changed", "incremental");
}

#[test]
fn groups_of_user_names() {
    for sessionlog in [None, Some(100)] {
        let seed = Seed::Generated(SeedOptions {
            groups: 10,
            private_groups: 5,
            ..SeedOptions::default()
        });
        let world = World::rfc2307(SlapdOptions { seed, sessionlog, ..SlapdOptions::default() });
        world.run_and_compare("first refresh", "full");
        let group = group_dn("posix002");
        world.slapd.change(&group, "add: memberUid\nmemberUid: user00019\nmemberUid: nobody");
        world.run_and_compare("memberUid added", "incremental");
        world.slapd.change(&group, "add: memberUid\nmemberUid: user00050");
        world.run_and_compare("a member that does not exist yet", "incremental");
        world.slapd.modify(&user_ldif(50));
        world.run_and_compare("and then does", "incremental");
        world.slapd.change(&group, "delete: memberUid\nmemberUid: user00019");
        world.run_and_compare("memberUid deleted", "incremental");
    }
}

#[test]
fn a_dry_run_lists_everything_and_sends_nothing() {
    let mut world = World::new(SlapdOptions::default());
    world.kanidm.clear_log();
    world.reconfigure(|config| config.set("person_objectclass", "somethingElse"));
    let outcome = world.tool.run(&["--dry-run"]);
    outcome.says("no person is among what is synchronised");
    world.reconfigure(|config| config.set("person_objectclass", "person"));
    let outcome = world.tool.run(&["--dry-run"]).expect_code(3);
    assert!(!outcome.stderr.contains("no person"), "{}", outcome.all());
    assert_eq!(world.kanidm.posts().len(), 0);
    assert_eq!(world.kanidm.state(ACCOUNT), State::Refresh);
    for line in [
        format!("write person {} -> user00001", user_dn(1)),
        format!("write group  {} -> nested-outer, members 2", group_dn("nested-outer")),
        format!("hold uid=zoë,ou=people,{SUFFIX}: uid: "),
    ] {
        assert!(outcome.stdout.contains(&line), "{line}\n{}", outcome.all());
    }
    outcome.says("dry run, nothing was sent");
    world.run_and_compare("the real run", "full");

    let gone = world.kanidm.entry(ACCOUNT, "user00001").unwrap().uuid;
    world.slapd.delete(&user_dn(1));
    for arguments in [&["--dry-run"][..], &["--dry-run", "--full-refresh"]] {
        let outcome = world.tool.run(arguments).expect_code(3);
        assert!(
            outcome.stdout.contains(&format!("delete person {gone} (not found in the directory)")),
            "{}",
            outcome.all()
        );
    }
}
