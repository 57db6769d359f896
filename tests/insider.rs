//! An insider may write attributes of the own entry: keys, mail addresses, the password. Whatever
//! the values are, everybody else's changes arrive with the same run. On a real slapd and the real
//! Kanidm engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use support::expect::GROUPS_OF_NAMES;
use support::seed::{Seed, SeedOptions, group_dn, user_dn, user_name};
use support::slapd::SlapdOptions;
use support::tool::ConfigText;
use support::world::{ACCOUNT, FILTER, Ran, World};

/// After a first refresh. The insider is the first user.
fn world(configure: impl FnOnce(ConfigText) -> ConfigText) -> World {
    let seed = Seed::Generated(SeedOptions { users: 12, groups: 4, specials: false, ..SeedOptions::default() });
    let world = World::with(SlapdOptions { seed, sessionlog: Some(100), ..SlapdOptions::default() }, GROUPS_OF_NAMES, FILTER, configure);
    world.run(&[], 0);
    world
}

fn modify(world: &World, dn: &str, change: &str) {
    world.slapd.modify(&format!("dn: {dn}\nchangetype: modify\n{change}\n"));
}

fn says(ran: &Ran, words: &str) {
    assert!(ran.outcome.stderr.contains(words), "{words}\n{}", ran.outcome.stderr);
}

/// A run after another user's lock, which arrives whatever the insider did.
fn run_with_a_lock(world: &World, code: i32) -> Ran {
    let lock = "replace: userPassword\nuserPassword: !{SSHA}locked\n";
    modify(world, &user_dn(2), lock);
    let ran = world.run(&[], code);
    assert!(world.kanidm.entry(ACCOUNT, &user_name(2)).unwrap().account_expire.is_some(), "{}", ran.outcome.stderr);
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
        modify(&world, &user_dn(1), &format!("replace: userPassword\nuserPassword: {hash}\n"));
        says(&run_with_a_lock(&world, 3), "userpassword: the hash costs too much at each login");
        assert!(!world.kanidm.verify_password(&user_name(1), "Passw0rd-user00001"), "the password before it ends");
        assert!(!world.kanidm.verify_password(&user_name(1), "any other"));
    }
}

/// A held entry's values are asked for in the directory; a filter of megabytes closes the connection.
#[test]
fn long_values_stop_nobody() {
    let world = world(|config| config.set("invalid_entries", "hold"));
    let long = "x".repeat(1_000_000);
    let mails: String = (0..9).map(|n| format!("mail: {n}{long}@example.com\n")).collect();
    modify(&world, &user_dn(4), &format!("add: sshPublicKey\nsshPublicKey: no key\n-\nadd: mail\n{mails}"));
    says(&run_with_a_lock(&world, 3), "of at most 254 characters");
    // slapd takes DNs of up to 8 KiB.
    let members: String = (0..200).map(|n| format!("member: cn={n}{},{}\n", &long[..7_900], user_dn(4))).collect();
    modify(&world, &group_dn("team001"), &format!("add: member\n{members}"));
    modify(&world, &user_dn(2), "replace: userPassword\nuserPassword: {SSHA}sLRx2RD53fUcGsJIySAwPUKAJAGpm4TW1v7ZIg==\n");
    run_with_a_lock(&world, 3);
}

/// The same where groups have user names.
#[test]
fn a_long_memberuid_stops_nobody() {
    let seed = Seed::Generated(SeedOptions { users: 12, groups: 4, specials: false, ..SeedOptions::default() });
    let world = World::rfc2307(SlapdOptions { seed, sessionlog: Some(100), ..SlapdOptions::default() });
    world.run(&[], 0);
    let names: String = (0..9).map(|n| format!("memberUid: {n}{}\n", "x".repeat(1_000_000))).collect();
    let dn = group_dn("proj001");
    world.slapd.modify(&format!("dn: {dn}\nchangetype: add\nobjectClass: posixGroup\ncn: proj001\ngidNumber: 341000\n{names}\n"));
    run_with_a_lock(&world, 0);
}
