//! What rings on a persistent search of real servers, and what does not.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use kanidm_ldap_sync::config;
use kanidm_ldap_sync::config::sync::{DirectoryConfig, SyncConfig};
use kanidm_ldap_sync::directory::client::Directory;
use kanidm_ldap_sync::directory::follow::{Follow, Heard};
use kanidm_ldap_sync::directory::refresh::Refresh;
use kanidm_ldap_sync::heartbeat::Heartbeat;
use ldap_content_sync::NextCookie;
use uuid::Uuid;

use crate::support::ds389::{Ds389, Ds389Options};
use crate::support::ldap::LdapClient;
use crate::support::peer::{self, Link, Peer, SLAPD, id_set, refreshed, unsolicited};
use crate::support::pki::Pki;
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

/// The rings of a change.
fn rings(follow: &mut Follow, admin: &LdapClient, marked: &str, change: &str) -> usize {
    rings_of(follow, admin, marked, || admin.modify(change))[0]
}

/// The rings of an act, and the changes outside the content that it tells. Another change, which
/// rings once, comes after it and is not counted.
fn rings_of(
    follow: &mut Follow,
    admin: &LdapClient,
    marked: &str,
    act: impl FnOnce(),
) -> [usize; 2] {
    act();
    admin.modify(&modify(marked, "replace: description\ndescription: a marker"));
    let (mut rings, mut outside, mut heard) = (0, 0, Instant::now());
    // The order of the messages is that of the changes, so the last ring is that of the marker.
    while rings == 0 || heard.elapsed() < Duration::from_millis(500) {
        assert!(heard.elapsed() < PATIENCE, "no ring");
        match follow.wait(Duration::from_millis(50)).unwrap() {
            Heard::Ring => rings += 1,
            Heard::Outside => outside += 1,
            Heard::Quiet | Heard::Nothing => continue,
            other => panic!("{other:?}"),
        }
        heard = Instant::now();
    }
    [rings - 1, outside]
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
fn slapd_rings_for_every_change_of_the_content_and_no_other() {
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
        let unit = format!("ou=more,{SUFFIX}");
        let add =
            format!("dn: {unit}\nchangetype: add\nobjectClass: organizationalUnit\nou: more\n");
        for (what, change) in [
            ("added", add),
            ("modified", modify(&unit, "add: description\ndescription: x")),
            ("renamed", rename(&unit, "ou=other")),
            ("deleted", delete(&format!("ou=other,{SUFFIX}"))),
        ] {
            let rings = rings(&mut follow, &admin, &user_dn(20), &change);
            assert_eq!(rings, 0, "an entry outside the filter {what}");
        }
        // A change that nobody has listened to is told at the start.
        drop(follow);
        assert!(listen(&config, &before).1 > 0);
        assert_eq!(listen(&config, &cookie(&config)).1, 0);
    }
}

#[test]
fn slapd_rings_for_what_leaves_the_filter_or_the_base() {
    for sessionlog in [None, Some(100)] {
        let slapd =
            Slapd::start(SlapdOptions { seed: seed(), sessionlog, ..SlapdOptions::default() });
        let admin = slapd.admin();
        let text = ConfigText::for_slapd(&slapd)
            .set("ldap_sync_base_dn", format!("ou=people,{SUFFIX}"))
            .set("ldap_filter", "(&(objectClass=posixAccount)(!(employeeType=out)))");
        let narrow = config(text);
        let (mut follow, _) = listen(&narrow, &cookie(&narrow));
        let employee = |kind: &str| {
            modify(&user_dn(7), &format!("replace: employeeType\nemployeeType: {kind}"))
        };
        let moved = |from: &str, to: &str| {
            let from = format!("uid=user00008,ou={from},{SUFFIX}");
            format!("{}newsuperior: ou={to},{SUFFIX}\n", rename(&from, "uid=user00008"))
        };
        for (what, change, expected) in [
            ("an entry leaves the filter", employee("out"), 1),
            ("it changes outside", modify(&user_dn(7), "replace: cn\ncn: Outside"), 0),
            ("it comes back", employee("in"), 1),
            ("an entry leaves the base", moved("people", "groups"), 1),
            ("it comes back", moved("groups", "people"), 1),
            ("an entry deleted", delete(&user_dn(10)), 1),
        ] {
            let rings = rings(&mut follow, &admin, &user_dn(20), &change);
            assert_eq!(rings, expected, "{what}");
        }
    }
}

#[test]
fn slapd_tells_a_change_outside_when_the_filter_is_on_memberof() {
    let slapd =
        Slapd::start(SlapdOptions { seed: seed(), memberof: true, ..SlapdOptions::default() });
    let (admin, group) = (slapd.admin(), group_dn("team001"));
    let members = |verb: &str, number: usize| {
        modify(&group, &format!("{verb}: member\nmember: {}", user_dn(number)))
    };
    for (filter, of_the_group) in [
        (format!("(|(memberOf={group})(uid=user00020))"), [0, 1]),
        (format!("(|(memberOf={group})(uid=user00020)(cn=team*))"), [1, 0]),
    ] {
        let config = config(ConfigText::for_slapd(&slapd).set("ldap_filter", &*filter));
        let (mut follow, _) = listen(&config, &cookie(&config));
        for (what, change, expected) in [
            ("a member added", members("add", 19), of_the_group),
            ("a member removed", members("delete", 19), of_the_group),
            ("a unit changed", modify(SUFFIX, "replace: description\ndescription: y"), [0, 1]),
        ] {
            let rings = rings_of(&mut follow, &admin, &user_dn(20), || admin.modify(&change));
            assert_eq!(rings, expected, "{filter}: {what}");
        }
        if of_the_group == [0, 1] {
            continue;
        }
        let rings = rings_of(&mut follow, &admin, &user_dn(20), || admin.modify(&delete(&group)));
        assert_eq!(rings, [1, 0], "a group of the content deleted");
    }
    let group = group_dn("team003");
    let filter = format!("(|(memberOf={group})(uid=user00020))");
    let config = config(ConfigText::for_slapd(&slapd).set("ldap_filter", filter));
    let (mut follow, _) = listen(&config, &cookie(&config));
    let rings = rings_of(&mut follow, &admin, &user_dn(20), || admin.modify(&delete(&group)));
    assert_eq!(rings, [0, 0], "a group outside deleted");
}

/// A run binds, so its ring would start the next run.
#[test]
fn a_bind_that_slapd_notes_rings_for_others_and_not_for_us() {
    let extra_database = "lastbind on\n".to_owned();
    let slapd =
        Slapd::start(SlapdOptions { seed: seed(), extra_database, ..SlapdOptions::default() });
    let admin = slapd.admin();
    admin.change(&user_dn(1), "replace: userPassword\nuserPassword: secret");
    let accounts = "(|(objectClass=posixAccount)(objectClass=groupOfNames))";
    let rows = [
        (accounts, [0, 0]),
        // The account that we bind as is in the content.
        ("(objectClass=*)", [0, 0]),
        // A run may be due, so the service makes one in a minute at most.
        ("(|(memberOf=cn=none)(objectClass=posixAccount))", [0, 1]),
    ];
    for (filter, expected) in rows {
        let config = config(ConfigText::for_slapd(&slapd).set("ldap_filter", filter));
        let first = cookie(&config);
        let (mut follow, _) = listen(&config, &first);
        let rings = rings_of(&mut follow, &admin, &user_dn(20), || {
            let before = cookie(&config);
            // slapd notes the time in seconds.
            while cookie(&config) == before {}
        });
        assert_eq!(rings[0], expected[0], "{filter}");
        assert_eq!(rings[1] > 0, expected[1] > 0, "{filter}: {}", rings[1]);
        let user = LdapClient { bind_dn: user_dn(1), password: "secret".into(), ..slapd.admin() };
        let rings = rings_of(&mut follow, &admin, &user_dn(20), || drop(user.root_dse(&["1.1"])));
        assert_eq!(rings, [1, 0], "{filter}: the bind of somebody in the content");
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
fn a_bind_that_389_notes_rings_for_others_and_not_for_us() {
    let mut ds389 = Ds389::start(Ds389Options { seed: seed(), ..Ds389Options::default() });
    let admin = ds389.admin();
    let plugin = "cn=Account Policy Plugin,cn=plugins,cn=config";
    admin.change(plugin, "replace: nsslapd-pluginEnabled\nnsslapd-pluginEnabled: on");
    let policy = format!("cn=config,{plugin}");
    admin.change(&policy, "replace: alwaysRecordLogin\nalwaysRecordLogin: yes");
    admin.change(&user_dn(1), "replace: userPassword\nuserPassword: secret-of-a-user");
    ds389.stop();
    ds389.restart();
    let config = config(ConfigText::for_ds389(&ds389).set("ldap_filter", "(objectClass=*)"));
    let (mut follow, _) = listen(&config, &cookie(&config));
    let rings = rings_of(&mut follow, &admin, &user_dn(20), || {
        let before = cookie(&config);
        // 389 notes the time in seconds.
        while cookie(&config) == before {}
    });
    assert_eq!(rings, [0, 0], "we");
    let password = "secret-of-a-user".into();
    let user = LdapClient { bind_dn: user_dn(1), password, ..ds389.admin() };
    let rings = rings_of(&mut follow, &admin, &user_dn(20), || drop(user.root_dse(&["1.1"])));
    assert_eq!(rings, [1, 0], "somebody else");
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

/// The configuration that leads to a scripted directory, which waits until the listener is gone.
fn scripted(
    timeout: Duration,
    listening: impl FnOnce(&mut Link, u32) + Send + 'static,
) -> (DirectoryConfig, Peer, Pki) {
    let pki = Pki::new();
    let peer = Peer::tls(&pki.localhost(), move |link| {
        link.begin(SLAPD);
        let id = link.request().id;
        listening(link, id);
        link.stay_silent();
    });
    let cfg = DirectoryConfig { timeout, ..peer::config("localhost", &peer, Some(pki.ca())) };
    (cfg, peer, pki)
}

#[test]
fn a_server_that_never_comes_to_listen_is_given_up() {
    type Message = fn(u32) -> Vec<u8>;
    let cases: [(Message, &str); 2] = [
        // Messages that belong to no search are no sign of it.
        (
            |_| unsolicited("1.2.3", 0, ""),
            "the wait for changes timed out: the server was silent for 1 s (ldap_timeout)",
        ),
        (
            |id| id_set(id, false, &[Uuid::from_u128(1)]),
            "the wait for changes timed out: after ten times 1 s (ldap_timeout) the server still states what was new; see its log",
        ),
    ];
    for (message, expected) in cases {
        let (cfg, _peer, _pki) = scripted(Duration::from_secs(1), move |link, id| {
            while link.try_send(&message(id)) {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut follow = Follow::start(&cfg, b"c", Heartbeat::default()).unwrap();
        let error = loop {
            if let Err(error) = follow.wait(Duration::from_millis(100)) {
                break error.to_string();
            }
            assert!(!follow.is_listening());
        };
        assert!(error.contains(expected), "{error}");
    }
}

/// The listener looks in between whether it is still wanted.
#[test]
fn a_message_that_trickles_does_not_hold_the_listener() {
    let (step, steps) = mpsc::channel::<()>();
    let (cfg, _peer, _pki) = scripted(PATIENCE, move |link, id| {
        link.send(refreshed(id));
        let ring = id_set(id, true, &[Uuid::from_u128(1)]);
        for byte in ring.chunks(1) {
            link.send(byte);
            // A test that has failed waits for nothing.
            let _ = steps.recv();
        }
    });
    let mut follow = Follow::start(&cfg, b"c", Heartbeat::default()).unwrap();
    assert_eq!(follow.wait(PATIENCE).unwrap(), Heard::Quiet);
    for _ in 0..3 {
        assert_eq!(follow.wait(Duration::from_millis(20)).unwrap(), Heard::Nothing);
        step.send(()).unwrap();
    }
    drop(step);
    let begun = Instant::now();
    while follow.wait(Duration::from_millis(20)).unwrap() != Heard::Ring {
        assert!(begun.elapsed() < PATIENCE, "the message does not arrive");
    }
}

#[test]
fn a_message_that_does_not_end_is_given_up() {
    for (trickles, expected) in [
        (false, "the server was silent for 1 s (ldap_timeout)"),
        (true, "a message was still incomplete after ten times 1 s (ldap_timeout)"),
    ] {
        let (cfg, _peer, _pki) = scripted(Duration::from_secs(1), move |link, id| {
            link.send(refreshed(id));
            let ring = id_set(id, true, &[Uuid::from_u128(1); 100]);
            for byte in ring.chunks(1) {
                if !link.try_send(byte) || !trickles {
                    return;
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        let mut follow = Follow::start(&cfg, b"c", Heartbeat::default()).unwrap();
        let error = loop {
            if let Err(error) = follow.wait(Duration::from_millis(100)) {
                break error.to_string();
            }
        };
        assert!(error.contains(expected), "{error}");
    }
}
