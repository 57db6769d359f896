//! What rings on a persistent search of real servers, and what does not.

use std::time::{Duration, Instant};

use kanidm_ldap_sync::config;
use kanidm_ldap_sync::config::sync::SyncConfig;
use kanidm_ldap_sync::directory::client::Directory;
use kanidm_ldap_sync::directory::follow::{Follow, Heard};
use kanidm_ldap_sync::directory::refresh::Refresh;
use kanidm_ldap_sync::heartbeat::Heartbeat;
use ldap_content_sync::NextCookie;

use crate::support::ds389::{Ds389, Ds389Options};
use crate::support::ldap::LdapClient;
use crate::support::process::PATIENCE;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_ldif};
use crate::support::slapd::{Slapd, SlapdOptions};
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;

fn seed() -> Seed {
    Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() })
}

fn config(text: ConfigText) -> SyncConfig {
    let dir = TempDir::new("follow");
    let path = dir.write("sync.toml", text.set("sync_token", "x.y.z").text());
    config::sync::load(&path, &|_| None).unwrap().0
}

/// The cookie of a full refresh.
fn cookie(config: &SyncConfig) -> Vec<u8> {
    let mut directory = Directory::connect(&config.directory).unwrap();
    match directory.refresh(&["uid"], None, &mut |_, _| {}).unwrap() {
        Refresh::Done(outcome) => match outcome.cookie {
            NextCookie::New(cookie) => cookie,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// A listener, and the rings until it listens.
fn listen(config: &SyncConfig, cookie: &[u8]) -> (Follow, usize) {
    let mut follow = Follow::start(&config.directory, cookie, Heartbeat::default()).unwrap();
    let (begun, mut rings) = (Instant::now(), 0);
    while !follow.is_listening() {
        assert!(begun.elapsed() < PATIENCE, "it does not listen");
        rings += usize::from(follow.wait(Duration::from_millis(100)).unwrap() == Heard::Ring);
    }
    (follow, rings)
}

/// The rings of a change. Another change, which rings once, comes after it and is not counted.
fn rings(follow: &mut Follow, admin: &LdapClient, marked: &str, change: &str) -> usize {
    admin.modify(change);
    admin.modify(&modify(marked, "replace: description\ndescription: a marker"));
    let (mut rings, mut heard) = (0, Instant::now());
    // The order of the messages is that of the changes, so the last ring is that of the marker.
    while rings == 0 || heard.elapsed() < Duration::from_millis(500) {
        assert!(heard.elapsed() < PATIENCE, "no ring");
        if follow.wait(Duration::from_millis(50)).unwrap() == Heard::Ring {
            rings += 1;
            heard = Instant::now();
        }
    }
    rings - 1
}

fn modify(dn: &str, what: &str) -> String {
    format!("dn: {dn}\nchangetype: modify\n{what}\n")
}

fn rename(dn: &str, rdn: &str) -> String {
    format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\n")
}

fn delete(dn: &str) -> String {
    format!("dn: {dn}\nchangetype: delete\n")
}

/// The changes that every server reports.
fn every_change_rings(follow: &mut Follow, admin: &LdapClient, lock: &str) {
    let add = user_ldif(50).replacen("objectClass", "changetype: add\nobjectClass", 1);
    let member = |verb: &str| format!("{verb}: member\nmember: {}", user_dn(50));
    let changes = [
        ("an entry added", add),
        ("a value changed", modify(&user_dn(1), "replace: cn\ncn: Another")),
        ("a value set again", modify(&user_dn(1), "replace: cn\ncn: Another")),
        ("a password changed", modify(&user_dn(2), "replace: userPassword\nuserPassword: {SSHA}x")),
        ("an account locked", modify(&user_dn(3), lock)),
        ("a member added", modify(&group_dn("team001"), &member("add"))),
        ("a member removed", modify(&group_dn("team001"), &member("delete"))),
        ("an entry renamed", rename(&user_dn(4), "uid=renamed")),
        ("an entry deleted", delete(&user_dn(5))),
    ];
    for (what, change) in changes {
        let rings = rings(follow, admin, &user_dn(20), &change);
        // 389 changes the entry once more after a password.
        assert!(rings == 1 || (rings == 2 && what == "a password changed"), "{what}: {rings}");
    }
}

#[test]
fn slapd_rings_for_every_change_of_the_content_and_most_others() {
    for sessionlog in [None, Some(100)] {
        let slapd =
            Slapd::start(SlapdOptions { seed: seed(), sessionlog, ..SlapdOptions::default() });
        let config = config(ConfigText::for_slapd(&slapd));
        let before = cookie(&config);
        let (mut follow, at_the_start) = listen(&config, &before);
        assert_eq!(at_the_start, 0, "nothing has changed since the cookie");
        let admin = slapd.admin();
        every_change_rings(
            &mut follow,
            &admin,
            "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z",
        );
        // An entry that does not match: a new cookie, but not when it is deleted.
        let unit = format!("ou=more,{SUFFIX}");
        let add =
            format!("dn: {unit}\nchangetype: add\nobjectClass: organizationalUnit\nou: more\n");
        for (what, change, expected) in [
            ("added", add, 1),
            ("modified", modify(&unit, "add: description\ndescription: x"), 1),
            ("renamed", rename(&unit, "ou=other"), 1),
            ("deleted", delete(&format!("ou=other,{SUFFIX}")), 0),
        ] {
            let rings = rings(&mut follow, &admin, &user_dn(20), &change);
            assert_eq!(rings, expected, "an entry outside the filter {what}");
        }
        // A change that nobody has listened to is told at the start.
        drop(follow);
        assert!(listen(&config, &before).1 > 0);
        assert_eq!(listen(&config, &cookie(&config)).1, 0);
    }
}

#[test]
fn slapd_rings_for_the_group_when_the_filter_is_on_memberof() {
    let slapd =
        Slapd::start(SlapdOptions { seed: seed(), memberof: true, ..SlapdOptions::default() });
    let (admin, group) = (slapd.admin(), group_dn("team001"));
    let members = |verb: &str, number: usize| {
        modify(&group, &format!("{verb}: member\nmember: {}", user_dn(number)))
    };
    let filter = format!("(|(memberOf={group})(uid=user00020))");
    let config = config(ConfigText::for_slapd(&slapd).set("ldap_filter", filter));
    let (mut follow, _) = listen(&config, &cookie(&config));
    for (what, change, expected) in [
        ("a member added", members("add", 19), 1),
        ("a member removed", members("delete", 19), 1),
        (
            "another group changed",
            modify(&group_dn("team003"), "replace: description\ndescription: y"),
            1,
        ),
        ("the group deleted", delete(&group), 0),
    ] {
        assert_eq!(rings(&mut follow, &admin, &user_dn(20), &change), expected, "{what}");
    }
}

/// slapd counts a persistent search as an operation in progress.
#[test]
fn slapds_idle_timeout_does_not_end_a_persistent_search() {
    let extra_global = "idletimeout 1\n".to_owned();
    let slapd =
        Slapd::start(SlapdOptions { seed: seed(), extra_global, ..SlapdOptions::default() });
    let config = config(ConfigText::for_slapd(&slapd));
    let (mut follow, _) = listen(&config, &cookie(&config));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(follow.wait(Duration::from_millis(100)).unwrap(), Heard::Nothing);
    }
    slapd.modify(&modify(&user_dn(1), "replace: cn\ncn: Late"));
    assert_eq!(follow.wait(PATIENCE).unwrap(), Heard::Ring);
}

#[test]
fn ds389_rings_for_every_change_of_the_content_and_no_other() {
    let ds389 = Ds389::start(Ds389Options { seed: seed(), ..Ds389Options::default() });
    let admin = ds389.admin();
    let everything = config(ConfigText::for_ds389(&ds389));
    let before = cookie(&everything);
    let (mut follow, at_the_start) = listen(&everything, &before);
    assert_eq!(at_the_start, 0, "nothing has changed since the cookie");
    every_change_rings(&mut follow, &admin, "replace: nsAccountLock\nnsAccountLock: true");
    drop(follow);
    assert!(listen(&everything, &before).1 > 0);

    let text = ConfigText::for_ds389(&ds389)
        .set("ldap_sync_base_dn", format!("ou=people,{SUFFIX}"))
        .set("ldap_filter", "(&(objectClass=posixAccount)(!(employeeType=out)))");
    let narrow = config(text);
    let (mut follow, _) = listen(&narrow, &cookie(&narrow));
    let moved = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=user00008\ndeleteoldrdn: 1\nnewsuperior: ou=groups,{SUFFIX}\n",
        user_dn(8)
    );
    let employee =
        |kind: &str| modify(&user_dn(7), &format!("replace: employeeType\nemployeeType: {kind}"));
    for (what, change, expected) in [
        // The refresh does not report it, so the run that it starts finds nothing.
        ("an entry leaves the filter", employee("out"), 1),
        ("it changes outside", modify(&user_dn(7), "replace: cn\ncn: Outside"), 0),
        ("it comes back", employee("in"), 1),
        ("an entry leaves the base", moved, 1),
        (
            "another entry changes",
            modify(&group_dn("team001"), "replace: description\ndescription: y"),
            0,
        ),
    ] {
        assert_eq!(rings(&mut follow, &admin, &user_dn(20), &change), expected, "{what}");
    }
}

#[test]
fn ds389_allows_ten_persistent_searches_and_frees_those_that_are_gone() {
    let ds389 = Ds389::start(Ds389Options { seed: seed(), ..Ds389Options::default() });
    let config = config(ConfigText::for_ds389(&ds389));
    let cookie = cookie(&config);
    let listeners: Vec<Follow> = (0..10).map(|_| listen(&config, &cookie).0).collect();
    let try_listen = || {
        let mut follow = Follow::start(&config.directory, &cookie, Heartbeat::default()).unwrap();
        while !follow.is_listening() {
            follow.wait(Duration::from_millis(100)).map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(follow)
    };
    let refused = try_listen().unwrap_err();
    assert!(refused.contains("Too many active synchronization sessions"), "{refused}");
    drop(listeners);
    let begun = Instant::now();
    for _ in 0..20 {
        while try_listen().is_err() {
            assert!(begun.elapsed() < PATIENCE, "the connections that are gone still count");
        }
    }
}
