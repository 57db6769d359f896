//! An insider may write attributes of the own entry: keys, mail addresses, the password. Whatever
//! the values are, everybody else's changes arrive with the same run. On a real slapd and the real
//! Kanidm engine.

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::seed::{Seed, SeedOptions, group_dn, user_dn, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::ConfigText;
use crate::support::world::{ACCOUNT, FILTER, Ran, World};

/// After a first refresh. The insider is the first user.
fn world(configure: impl FnOnce(ConfigText) -> ConfigText) -> World {
    let seed = Seed::Generated(SeedOptions {
        users: 12,
        groups: 4,
        specials: false,
        ..SeedOptions::default()
    });
    let world = World::with(
        SlapdOptions { seed, sessionlog: Some(100), ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        configure,
    );
    world.run(&[], 0);
    world
}

/// A run after another user's lock, which arrives whatever the insider did.
fn run_with_a_lock(world: &World, code: i32) -> Ran {
    run_with_another_lock(world, &[], code)
}

fn run_with_another_lock(world: &World, arguments: &[&str], code: i32) -> Ran {
    let lock = "replace: userPassword\nuserPassword: !{SSHA}locked\n";
    world.slapd.change(&user_dn(2), lock);
    let ran = world.run(arguments, code);
    assert!(
        world.kanidm.entry(ACCOUNT, &user_name(2)).unwrap().account_expire.is_some(),
        "{}",
        ran.outcome.stderr
    );
    ran
}

/// Kanidm computes whatever the hash asks for: 4 TiB of memory end the server.
#[test]
fn a_hash_that_would_exhaust_kanidm_is_left_out() {
    let argon2 = "$c2FsdHNhbHQ$BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    for hash in [
        format!("{{ARGON2}}$argon2id$v=19$m=4294967295,t=1,p=1{argon2}"),
        format!("{{ARGON2}}$argon2id$v=19$m=65536,t=4294967295,p=1{argon2}"),
        "{PBKDF2-SHA256}99999999999$c2FsdA$BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc".to_owned(),
        "{CRYPT}$6$rounds=999999999$saltsalt$hash".to_owned(),
    ] {
        let world = world(|config| config);
        world.slapd.change(&user_dn(1), &format!("replace: userPassword\nuserPassword: {hash}"));
        run_with_a_lock(&world, 3)
            .outcome
            .says("userpassword: the hash costs too much at each login");
        assert!(
            !world.kanidm.verify_password(&user_name(1), "Passw0rd-user00001"),
            "the password before it ends"
        );
        assert!(!world.kanidm.verify_password(&user_name(1), "any other"));
    }
}

/// A held entry's values are asked for in the directory; a filter of megabytes closes the
/// connection.
#[test]
fn long_values_stop_nobody() {
    let world = world(|config| config.set("invalid_entries", "hold"));
    let long = "x".repeat(1_000_000);
    let mails: String = (0..9).map(|n| format!("mail: {n}{long}@example.com\n")).collect();
    world.slapd.change(
        &user_dn(4),
        &format!("add: sshPublicKey\nsshPublicKey: no key\n-\nadd: mail\n{mails}"),
    );
    run_with_a_lock(&world, 3).outcome.says("of at most 254 characters");
    // slapd takes DNs of up to 8 KiB.
    let members: String =
        (0..200).map(|n| format!("member: cn={n}{},{}\n", &long[..7_900], user_dn(4))).collect();
    world.slapd.change(&group_dn("team001"), &format!("add: member\n{members}"));
    world.slapd.change(
        &user_dn(2),
        "replace: userPassword\nuserPassword: {SSHA}sLRx2RD53fUcGsJIySAwPUKAJAGpm4TW1v7ZIg==\n",
    );
    run_with_a_lock(&world, 3);
}

/// The same where groups have user names.
#[test]
fn a_long_memberuid_stops_nobody() {
    let seed = Seed::Generated(SeedOptions {
        users: 12,
        groups: 4,
        specials: false,
        ..SeedOptions::default()
    });
    let world =
        World::rfc2307(SlapdOptions { seed, sessionlog: Some(100), ..SlapdOptions::default() });
    world.run(&[], 0);
    let names: String =
        (0..9).map(|n| format!("memberUid: {n}{}\n", "x".repeat(1_000_000))).collect();
    let dn = group_dn("proj001");
    world.slapd.modify(&format!("dn: {dn}\nchangetype: add\nobjectClass: posixGroup\ncn: proj001\ngidNumber: 341000\n{names}\n"));
    run_with_a_lock(&world, 0);
}

/// Several writes, each of a size that slapd takes, make an entry that is larger than any message.
fn grow(world: &World, dn: &str, attribute: &str) {
    for n in 0..6 {
        world
            .slapd
            .change(dn, &format!("add: {attribute}\n{attribute}: {n}{}\n", "x".repeat(11_500_000)));
    }
}

/// The entry is read without the attribute: its keys go, and its own lock arrives.
#[test]
fn an_entry_larger_than_any_message_stops_nobody() {
    let world = world(|config| config);
    grow(&world, &user_dn(4), "sshPublicKey");
    let ran = run_with_a_lock(&world, 3);
    ran.outcome.says("exceeds max_ber_size = 67108864, so this attribute was not read");
    let grown = |world: &World| world.kanidm.entry(ACCOUNT, &user_name(4)).unwrap();
    assert_eq!((grown(&world).ssh_publickey.len(), grown(&world).account_expire), (0, None));
    let dropped = ran.report["dropped"].as_array().unwrap();
    assert!(dropped.len() == 1 && dropped[0]["dn"] == user_dn(4), "{dropped:?}");
    // It is named by a run with nothing to do, and is still there after a full one.
    let lock =
        "add: objectClass\nobjectClass: shadowAccount\n-\nadd: shadowExpire\nshadowExpire: 0\n";
    world.slapd.change(&user_dn(4), lock);
    world.run(&[], 3).outcome.says("so this attribute was not read");
    assert!(grown(&world).account_expire.is_some());
    world.run(&[], 3).outcome.says("so this attribute was not read");
    world.run(&["--full-refresh"], 3).outcome.says("so this attribute was not read");
    world.slapd.change(&user_dn(4), "delete: sshPublicKey");
    world.run(&[], 0);
}

/// A password may carry the mark of a lock: without it the entry is held, and another lock arrives.
#[test]
fn a_password_larger_than_any_message_unlocks_nobody() {
    let world = world(|config| config);
    world.slapd.change(&user_dn(1), "replace: userPassword\nuserPassword: !{SSHA}locked");
    world.run(&[], 0);
    let expire = |world: &World| world.kanidm.entry(ACCOUNT, &user_name(1)).unwrap().account_expire;
    assert!(expire(&world).is_some());
    grow(&world, &user_dn(1), "userPassword");
    for arguments in [&[][..], &[], &["--full-refresh"]] {
        world.run(arguments, 3).outcome.says("held back uid=user00001");
        assert!(expire(&world).is_some());
    }
    world.slapd.change(
        &user_dn(1),
        "add: objectClass\nobjectClass: shadowAccount\n-\nadd: shadowExpire\nshadowExpire: 0\n",
    );
    let ran = run_with_a_lock(&world, 3);
    assert!(!ran.outcome.stderr.contains("held back"), "{}", ran.outcome.stderr);
}

/// A name that Kanidm does not take, or that is one of its own, holds the entry. The lock that
/// follows arrives all the same.
#[test]
fn a_name_keeps_no_account_open() {
    for (name, rule) in [
        ("1st", "uid: must"),
        ("admin", "the name \"admin\" is that of an account or group of Kanidm's own"),
    ] {
        let world = world(|config| config);
        let uuid = world.kanidm.entry(ACCOUNT, &user_name(1)).unwrap().uuid;
        let entry = |world: &World| {
            world.kanidm.entries(ACCOUNT).into_iter().find(|entry| entry.uuid == uuid).unwrap()
        };
        world.slapd.rename(&user_dn(1), &format!("uid={name}"));
        world.run(&[], 3).outcome.says(rule);
        assert_eq!((entry(&world).name, entry(&world).account_expire), (Some(user_name(1)), None));
        let dn = user_dn(1).replace(&format!("uid={}", user_name(1)), &format!("uid={name}"));
        world.slapd.change(&dn, "replace: userPassword\nuserPassword: !{SSHA}locked");
        run_with_a_lock(&world, 3)
            .outcome
            .says("the account is locked in Kanidm, by a temporary name");
        assert_eq!(
            (entry(&world).name, entry(&world).account_expire.is_some()),
            (Some(format!("tmp-{}", uuid.simple())), true)
        );
        world.run(&["--full-refresh"], 3);
        assert!(entry(&world).account_expire.is_some());
        world.slapd.rename(&dn, "uid=first");
        world.run(&[], 0);
        assert_eq!(
            (entry(&world).name.as_deref(), entry(&world).account_expire.is_some()),
            (Some("first"), true)
        );
    }
}

/// While Kanidm's administrator keeps the end dates, a lock of a held person cannot arrive. It
/// arrives with the first run afterwards, though the directory has not changed.
#[test]
fn a_lock_of_a_held_person_arrives_as_soon_as_kanidm_accepts_it() {
    let world = world(|config| config);
    let uuid = world.kanidm.entry(ACCOUNT, &user_name(1)).unwrap().uuid;
    let entry = |world: &World| {
        world.kanidm.entries(ACCOUNT).into_iter().find(|entry| entry.uuid == uuid).unwrap()
    };
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=1st\ndeleteoldrdn: 1\n",
        user_dn(1)
    ));
    world.kanidm.yield_attributes(ACCOUNT, &["account_expire"]);
    let dn = user_dn(1).replace(&format!("uid={}", user_name(1)), "uid=1st");
    world.slapd.change(&dn, "replace: userPassword\nuserPassword: !{SSHA}locked");
    world.run(&[], 3).outcome.says("Kanidm keeps the state it has");
    assert_eq!((entry(&world).name, entry(&world).account_expire), (Some(user_name(1)), None));
    world.kanidm.yield_attributes(ACCOUNT, &[]);
    world.run(&[], 3).outcome.says("the account is locked in Kanidm");
    assert!(entry(&world).account_expire.is_some());
    world.run(&[], 3).outcome.says("the account is locked in Kanidm");
}

/// A group without its members would be an empty one.
#[test]
fn a_group_larger_than_any_message_keeps_its_members() {
    let world = world(|config| config);
    let members = |world: &World| world.kanidm.entry(ACCOUNT, "team001").unwrap().member.len();
    let before = members(&world);
    assert!(before > 0);
    // slapd takes DNs of up to 8 KiB.
    let long = "x".repeat(7_900);
    for n in 0..7 {
        let members: String =
            (0..1_300).map(|m| format!("member: cn={n}-{m}{long},{}\n", user_dn(1))).collect();
        world.slapd.change(&group_dn("team001"), &format!("add: member\n{members}"));
    }
    for arguments in [&[][..], &["--full-refresh"]] {
        run_with_another_lock(&world, arguments, 3).outcome.says("held back cn=team001");
        assert_eq!(members(&world), before);
    }
}
