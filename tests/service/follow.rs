//! `follow`: each kind of change in a real directory reaches the real Kanidm engine without any tick
//! of the schedule, and a restarted directory is listened to again.

use std::net::SocketAddr;

use crate::service::{NEVER, Service, status_address};
use crate::support::ds389::Ds389Options;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_ldif, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, Between, World, World389};

/// What the service logs when the directory reports each change.
const LISTENING: &str = "listening for changes of the directory";

fn seed() -> Seed {
    Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() })
}

/// No run by the schedule; one run for each burst of changes.
fn followed(between: &mut Between) -> (Service, SocketAddr) {
    let status = status_address();
    between.reconfigure(|config| {
        config
            .set("schedule", NEVER)
            .set("status_bind", status.to_string())
            .set("follow", true)
            .set("follow_interval", 0.1)
    });
    let service = Service::start(&between.tool, status);
    service.wait_for(LISTENING, 1);
    between.follows("the first run");
    (service, status)
}

/// Adds, modifies, locks, renames, deletes; adds and removes a member; changes a password.
fn each_kind_of_change(world: &Between, lock: &str, unlock: &str) {
    let modify = |dn: &str, what: &str| {
        world.admin.modify(&format!("dn: {dn}\nchangetype: modify\n{what}\n"));
    };
    let person = |number: usize| world.kanidm.entry(ACCOUNT, &user_name(number));
    let expires = |number: usize| person(number).unwrap().account_expire;

    world.admin.modify(&user_ldif(50).replacen("objectClass", "changetype: add\nobjectClass", 1));
    world.follows("added");
    assert!(person(50).is_some());

    modify(&user_dn(1), "replace: cn\ncn: Another Name");
    world.follows("modified");
    assert_eq!(person(1).unwrap().displayname.as_deref(), Some("Another Name"));

    assert_eq!(expires(2), None);
    modify(&user_dn(2), lock);
    world.follows("locked");
    wait(world, "locked", || expires(2).is_some());
    modify(&user_dn(2), unlock);
    wait(world, "unlocked", || expires(2).is_none());

    let rename = "changetype: modrdn\nnewrdn: uid=renamed\ndeleteoldrdn: 1\n";
    world.admin.modify(&format!("dn: {}\n{rename}", user_dn(3)));
    wait(world, "renamed", || world.kanidm.entry(ACCOUNT, "renamed").is_some());
    assert!(person(3).is_none());

    let members = |name: &str| world.kanidm.entry(ACCOUNT, name).unwrap().member;
    let dn = group_dn("team001");
    modify(&dn, &format!("add: member\nmember: {}", user_dn(50)));
    let newcomer = person(50).unwrap().uuid;
    wait(world, "a member added", || members("team001").contains(&newcomer));
    modify(&dn, &format!("delete: member\nmember: {}", user_dn(50)));
    wait(world, "a member removed", || !members("team001").contains(&newcomer));

    assert!(!world.kanidm.verify_unix_password(&user_name(4), "changed-1"));
    // {SSHA} of changed-1 with the salt "salt".
    modify(&user_dn(4), "replace: userPassword\nuserPassword: changed-1");
    let _ = SUFFIX;

    world.admin.modify(&format!("dn: {}\nchangetype: delete\n", user_dn(5)));
    wait(world, "deleted", || person(5).is_none());
}

#[track_caller]
fn wait(_: &Between, what: &str, condition: impl FnMut() -> bool) {
    crate::service::wait_until(condition, || what.to_owned());
}

#[test]
fn each_kind_of_change_on_slapd() {
    for sessionlog in [None, Some(100)] {
        let options = SlapdOptions { seed: seed(), sessionlog, ..SlapdOptions::default() };
        let mut world = World::new(options);
        let (service, _) = followed(&mut world);
        each_kind_of_change(
            &world,
            "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z",
            "delete: pwdAccountLockedTime",
        );
        println!("{}", service.log());
    }
}

#[test]
fn each_kind_of_change_on_ds389() {
    let mut world = World389::new(Ds389Options { seed: seed(), ..Ds389Options::default() });
    let (service, _) = followed(&mut world);
    each_kind_of_change(
        &world,
        "replace: nsAccountLock\nnsAccountLock: true",
        "delete: nsAccountLock",
    );
    println!("{}", service.log());
}
