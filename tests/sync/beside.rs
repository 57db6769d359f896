//! docs/migrating.md, "All differences", row by row: Kanidm's own tool and this one in the same
//! trouble, on a real slapd, into the real engine. Kanidm's ends with code 0 whatever happens to a
//! run.

use std::fs;

use crate::kanidms_tool;
use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::pki::Pki;
use crate::support::seed::{Seed, SeedOptions, user_dn};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::ConfigText;
use crate::support::world::{ACCOUNT, FILTER, World};

/// Both have synchronised a small directory in which nothing is wrong.
fn world() -> World {
    let seed = Seed::Generated(SeedOptions {
        users: 20,
        groups: 4,
        specials: false,
        ..SeedOptions::default()
    });
    // As Kanidm's own tool wants it: object classes in lower case.
    let configure = |config: ConfigText| config.set("person_objectclass", "posixaccount");
    let world = World::with(
        SlapdOptions { seed, ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        configure,
    );
    theirs(&world);
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), 22, "{}", world.tool.sync_config().display());
    world
}

/// Kanidm's own tool, once; what it says.
fn theirs(world: &World) -> String {
    kanidms_tool::run(&world.tool, &[]).expect_code(0).all()
}

fn replace(world: &World, user: usize, attribute: &str, value: &str) {
    world.slapd.change(&user_dn(user), &format!("replace: {attribute}\n{attribute}: {value}"));
}

fn shell(world: &World, user: usize) -> Option<String> {
    world.kanidm.entry(ACCOUNT, &format!("user{user:05}")).unwrap().loginshell
}

/// One account has got `value`, another one a new shell: Kanidm's tool brings the second one
/// nothing, this one does, and names the first.
#[track_caller]
fn stops_everybody(attribute: &str, value: &str) {
    let world = world();
    replace(&world, 1, attribute, value);
    replace(&world, 2, "loginShell", "/bin/other");
    for _ in 0..2 {
        let said = theirs(&world);
        assert_ne!(shell(&world, 2).as_deref(), Some("/bin/other"), "{said}");
    }
    let ours = world.tool.run(&[]).expect_code(3);
    assert!(
        ours.stderr.contains("left out of") && ours.stderr.contains(&user_dn(1)),
        "{}",
        ours.stderr
    );
    assert_eq!(shell(&world, 2).as_deref(), Some("/bin/other"));
}

#[test]
fn a_bad_password_hash() {
    stops_everybody("userPassword", "{SSHA512}not-a-hash");
}

#[test]
fn a_bad_mail_address() {
    stops_everybody("mail", "not an address");
}

/// In a full refresh, by a filter that matches nobody: rights that were taken away look the same.
#[test]
fn an_answer_without_entries() {
    let mut world = world();
    world.reconfigure(|config| config.set("ldap_filter", "(objectClass=device)"));
    world.kanidm.force_refresh(ACCOUNT);
    world.tool.run(&[]).expect_code(4);
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), 22);
    let said = theirs(&world);
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), 0, "{said}");
}

#[test]
fn two_users_swap_their_names() {
    let world = world();
    let number = |name: &str| world.kanidm.entry(ACCOUNT, name).unwrap().uuid;
    let before = [number("user00001"), number("user00002")];
    let first = user_dn(1);
    let interim = first.replace("user00001", "interim");
    for (dn, name) in [(&first, "interim"), (&user_dn(2), "user00001"), (&interim, "user00002")] {
        world.slapd.rename(dn, &format!("uid={name}"));
    }
    for _ in 0..2 {
        let said = theirs(&world);
        assert_eq!([number("user00001"), number("user00002")], before, "{said}");
    }
    world.run(&[], 0);
    assert_eq!([number("user00002"), number("user00001")], before);
}

#[test]
fn a_failed_run() {
    let mut world = world();
    world.kanidm.kill();
    let said = theirs(&world);
    assert!(said.contains("Failed"), "{said}");
    world.tool.run(&[]).expect_code(1);
}

#[test]
fn a_bundle_of_two_authorities() {
    let mut world = world();
    let others = fs::read_to_string(Pki::new().ca()).unwrap();
    let bundle = world
        .tool
        .dir()
        .write("bundle.pem", others + &fs::read_to_string(world.slapd.ca()).unwrap());
    world.reconfigure(|config| config.set("ldap_ca", bundle.to_str().unwrap()));
    replace(&world, 2, "loginShell", "/bin/other");
    let said = theirs(&world);
    assert_ne!(shell(&world, 2).as_deref(), Some("/bin/other"), "{said}");
    world.run(&[], 0);
    assert_eq!(shell(&world, 2).as_deref(), Some("/bin/other"));
}

#[test]
fn a_mistake_in_the_configuration() {
    let mut world = world();
    world.reconfigure(|config| {
        config
            .set("sync_token", "TOKEN-MARKER")
            .set("ldap_sync_pw", "PASSWORD-MARKER")
            .without("ldap_sync_base_dn")
    });
    let said = kanidms_tool::run(&world.tool, &[]).all();
    assert!(said.contains("TOKEN-MARKER") && said.contains("PASSWORD-MARKER"), "{said}");
    let ours = world.tool.run(&[]).expect_code(2).all();
    assert!(ours.contains("ldap_sync_base_dn") && !ours.contains("MARKER"), "{ours}");
}
