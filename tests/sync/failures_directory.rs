//! Runs that fail at the directory, a real slapd: each ends with exit code 1, says what failed,
//! where, and what to do, in the log and in the report, and the real Kanidm engine at the other end
//! is not sent anything.

use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::state::{self, Envelope, Opened, SyncState};
use kanidm_ldap_sync::kanidm::transport::SyncServer as _;

use crate::failure::{Witness, assert_failed_run, assert_fails, assert_run_fails};
use crate::relay::Relay;
use crate::support::pki::Pki;
use crate::support::ports;
use crate::support::seed::{SUFFIX, SYNC_PASSWORD, Seed, SeedOptions, user_dn, user_ldif};
use crate::support::server_tls::ServerTls;
use crate::support::slapd::{Slapd, SlapdOptions};
use crate::support::world::World;

/// Kanidm holds what the directory holds, and no failure may change that.
fn synchronised(options: SlapdOptions) -> World {
    let mut world = World::new(options);
    world.reconfigure(|config| config.set("ldap_timeout", 30).set("kanidm_timeout", 30));
    world.run_and_compare("first refresh", "full");
    world
}

#[test]
fn what_is_wrong_with_the_connection_is_named() {
    let world = synchronised(SlapdOptions::default());
    let config = || world.config.clone();
    let uri = world.slapd.uri();
    let strangers = Pki::named("Strangers");
    let [nobody] = ports::free();
    let refused = format!("ldaps://localhost:{nobody}");

    let other_ca = config().set("ldap_ca", strangers.ca().to_str().unwrap());
    assert_fails(&world, "wrong CA", &other_ca, &[&uri, "CA that is not trusted", "ldap_ca"]);
    let namesake = Pki::new();
    let older_ca = config().set("ldap_ca", namesake.ca().to_str().unwrap());
    assert_fails(
        &world,
        "an older CA of the same name",
        &older_ca,
        &[&uri, "older CA of that name", "ldap_ca"],
    );
    assert_fails(
        &world,
        "the CA of nobody",
        &config().without("ldap_ca"),
        &[&uri, "CA that is not trusted", "ldap_ca"],
    );
    // A host that cannot exist (RFC 6761 §6.4). Where there is no name service at all, the words
    // are the same.
    let nowhere = config().set("ldap_uri", "ldaps://ldap.invalid").set("ldap_timeout", 20);
    assert_fails(
        &world,
        "host not found",
        &nowhere,
        &["ldaps://ldap.invalid:636", "host ldap.invalid", "name resolution"],
    );
    let words = [refused.as_str(), "127.0.0.1", "refused it", "is the server running"];
    assert_fails(&world, "connection refused", &config().set("ldap_uri", refused.as_str()), &words);
    let plain = world.slapd.starttls_uri().replace("ldap://", "ldaps://");
    let words = [plain.as_str(), "the TLS handshake", "does this port speak TLS"];
    assert_fails(
        &world,
        "the port of plain LDAP",
        &config().set("ldap_uri", plain.as_str()),
        &words,
    );
    let no_file = config().set("ldap_ca", "/nonexistent/ca.pem");
    assert_fails(&world, "no CA file", &no_file, &[&uri, "/nonexistent/ca.pem", "No such file"]);
    let not_pem = world.tool.dir().write("not.pem", "no certificate");
    let not_pem = not_pem.to_str().unwrap();
    assert_fails(
        &world,
        "a CA file without a certificate",
        &config().set("ldap_ca", not_pem),
        &[not_pem, "no certificate"],
    );

    for (what, identity, words) in [
        ("expired certificate", strangers.expired(), ["expired on 2021-01-01", "renew it"]),
        (
            "certificate of the future",
            strangers.not_yet_valid(),
            ["only valid from 2090-01-01", "clock"],
        ),
        (
            "certificate of another host",
            strangers.host(&["ldap.example.net"]),
            ["is not for localhost", "it is for ldap.example.net"],
        ),
    ] {
        let seed = Seed::Generated(SeedOptions {
            users: 0,
            groups: 0,
            specials: false,
            ..SeedOptions::default()
        });
        let slapd = Slapd::start(SlapdOptions {
            seed,
            tls: Some(ServerTls::new(&strangers, identity)),
            ..SlapdOptions::default()
        });
        let (uri, ca) = (slapd.uri(), slapd.ca().to_str().unwrap());
        let config = config().set("ldap_uri", uri.as_str()).set("ldap_ca", ca);
        assert_fails(&world, what, &config, &[&[uri.as_str()], &words[..]].concat());
    }
}

#[test]
fn what_the_directory_refuses_is_named() {
    let mut world = synchronised(SlapdOptions::default());
    let config = world.config.clone();
    let uri = world.slapd.uri();
    let as_account = |name: &str| config.clone().set("ldap_sync_dn", format!("cn={name},{SUFFIX}"));

    let words = [
        &uri,
        "cn=sync,dc=example,dc=com",
        "invalidCredentials (49)",
        "check ldap_sync_dn and its password",
    ];
    assert_fails(
        &world,
        "wrong bind password",
        &config.clone().set("ldap_sync_pw", "wrong"),
        &words,
    );
    let words = [&uri, "cn=nobody,dc=example,dc=com", "invalidCredentials (49)"];
    assert_fails(&world, "no such account", &as_account("nobody"), &words);
    let missing = config.clone().set("ldap_sync_base_dn", format!("ou=missing,{SUFFIX}"));
    let words = [
        &uri,
        "ou=missing,dc=example,dc=com",
        "noSuchObject (32)",
        "check ldap_sync_base_dn",
        "read access",
    ];
    assert_fails(&world, "base missing", &missing, &words);
    // slapd looks at rights and limits only where there is something to send, and at the limit
    // where it is more than that: ten.
    for number in 1..=11 {
        world.slapd.change(&user_dn(number), "replace: cn\ncn: Changed");
    }
    // As configured, an increment; with another filter, everything.
    for filter in ["(|(objectClass=posixAccount)(objectClass=groupOfNames))", "(objectClass=*)"] {
        let with = |name: &str| as_account(name).set("ldap_filter", filter);
        let words =
            [&uri, "the refresh", "noSuchObject (32)", "may not see it", "read access to the base"];
        assert_fails(&world, &format!("no rights, {filter}"), &with("noright"), &words);
        let words =
            [&uri, "the refresh", "sizeLimitExceeded (4)", "limits dn.exact", "nsSizeLimit"];
        assert_fails(&world, &format!("size limit, {filter}"), &with("limited"), &words);
    }
    let elsewhere = config.clone().set("ldap_sync_base_dn", "dc=elsewhere");
    assert_fails(
        &world,
        "another server's base",
        &elsewhere,
        &[&uri, "dc=elsewhere", "check ldap_sync_base_dn"],
    );

    world.tool.write_sync_config(&config);
    world.run_and_compare("and with nothing wrong", "incremental");

    world.slapd.reconfigure(|options| options.syncprov = false);
    let words =
        [&uri, "does not offer content synchronisation", "syncprov", "Content Synchronization"];
    assert_run_fails(&world, "no syncprov", &words);
    world.slapd.reconfigure(|options| options.extra_global = "moduleload syncprov".to_owned());
    let words = [
        &uri,
        "unavailableCriticalExtension (12)",
        "overlay syncprov",
        "on the database that holds the base",
    ];
    assert_run_fails(&world, "syncprov on no database", &words);
}

#[test]
fn a_directory_that_is_older_than_the_cookie_is_not_believed() {
    let mut world = synchronised(SlapdOptions::default());
    let uri = world.slapd.uri();
    let words = [
        uri.as_str(),
        "unwillingToPerform (53)",
        "older than what was synchronised before",
        "--full-refresh",
    ];
    let backup = world.slapd.dump();
    world.slapd.modify(&user_ldif(100));
    world.run_and_compare("after the backup", "incremental");
    world.slapd.reload(Seed::Verbatim(backup));
    assert_run_fails(&world, "restored from a backup", &words);
    assert_run_fails(&world, "and it stays so", &words);
    let ran = world.run(&["--full-refresh"], 3);
    assert_eq!(ran.report["deleted"]["at_least"], 1, "{}", ran.report);
    world.run_and_compare("the way out that was named", "incremental");

    store_cookie(&world, b"rid=000,csn=20990101000000.000000Z#000000#000#000000");
    assert_run_fails(&world, "a cookie from the future", &words);
}

/// Replaces the directory's cookie in what Kanidm has stored.
fn store_cookie(world: &World, cookie: &[u8]) {
    let mut client = world.kanidm_client();
    let before = client.state().unwrap();
    let SyncState::Active { cookie: stored } = &before else { panic!("{before:?}") };
    let Ok(Opened::Ours(envelope)) = state::open(stored) else { panic!("not our envelope") };
    let after = Envelope { cookie: Some(cookie.to_vec()), ..*envelope }.to_state();
    client.apply(&RequestBody::new(&before, &after, &Retention::Ignore, Vec::new())).unwrap();
}

#[test]
fn a_directory_that_falls_silent_is_given_up() {
    let mut world = large();
    let config = world.config.clone().set("ldap_timeout", 1);
    world.slapd.pause();
    let words = [
        world.slapd.uri(),
        "the TLS handshake timed out".to_owned(),
        "silent for 1 s (ldap_timeout)".to_owned(),
    ];
    assert_fails(&world, "silent at connect", &config, &words.each_ref().map(String::as_str));
    world.slapd.resume();

    let (relay, witness, run) = in_the_middle(&world, 1);
    world.slapd.pause();
    relay.release();
    let words = ["the refresh timed out", "silent for 1 s (ldap_timeout)", "raise ldap_timeout"];
    assert_failed_run(&world, "silent in the middle", &witness, run, &words);
    world.slapd.resume();
}

#[test]
fn a_directory_that_ends_while_it_is_read_deletes_nothing() {
    for signal in ["KILL", "TERM"] {
        let mut world = large();
        let (relay, witness, run) = in_the_middle(&world, 30);
        match signal {
            "KILL" => world.slapd.kill(),
            _ => world.slapd.stop(),
        }
        relay.release();
        // One that is stopped may find the time for a Notice of Disconnection.
        let words = [
            "the connection",
            "during the refresh",
            "what was read is void",
            "the next run starts again",
        ];
        assert_failed_run(&world, signal, &witness, run, &words);
    }
}

/// Large enough that it does not fit into the buffers of a connection, so that slapd is still at it
/// when a part has been read. Kanidm holds the persons; the next run is about to read everything.
fn large() -> World {
    let groups: String = (0..40)
        .map(|number| {
            let text = "x".repeat(300_000);
            format!("dn: cn=large{number:02},ou=groups,{SUFFIX}\nobjectClass: groupOfNames\nmember: {SUFFIX}\ndescription: {text}\n\n")
        })
        .collect();
    let users: String = (1..=30).map(user_ldif).collect();
    let mut world = World::new(SlapdOptions {
        seed: Seed::Content(users + &groups),
        ..SlapdOptions::default()
    });
    world.reconfigure(|config| config.set("ldap_filter", "(objectClass=posixAccount)"));
    world.run(&[], 0);
    assert_eq!(world.kanidm.entries(crate::support::world::ACCOUNT).len(), 30);
    world.reconfigure(|config| config.set("ldap_filter", "(objectClass=*)"));
    world
}

/// A run that has read a part of the directory and gets no further until the relay is released.
fn in_the_middle(
    world: &World,
    ldap_timeout: i64,
) -> (Relay, Witness, crate::support::tool::Running) {
    let relay = Relay::holding(world.slapd.ldaps_port(), 2_000_000);
    let uri = format!("ldaps://localhost:{}", relay.port());
    world.tool.write_sync_config(
        &world.config.clone().set("ldap_uri", uri).set("ldap_timeout", ldap_timeout),
    );
    let witness = Witness::of(world);
    let run = world.tool.spawn(&["--json"]);
    relay.wait_until_held();
    (relay, witness, run)
}

/// Wherever the connection ends, handshake, bind, present phase or entries, the run fails; from
/// where it ended nothing can be told.
#[test]
fn a_connection_cut_at_any_place_is_a_failed_run() {
    let world = synchronised(SlapdOptions::default());
    world.slapd.delete(&user_dn(1));
    world.slapd.change(&user_dn(2), "replace: cn\ncn: Changed");
    let through = |relay: &Relay| {
        world.config.clone().set("ldap_uri", format!("ldaps://localhost:{}", relay.port()))
    };
    let whole = Relay::to(world.slapd.ldaps_port());
    world.tool.write_sync_config(&through(&whole));
    world.tool.run(&["--dry-run"]).expect_code(3);
    let bytes = whole.passed();
    // The handshake is not the same length each time; and the server may say goodbye in 24 bytes:
    // the last answer ends before those.
    for at in (1..12).map(|part| bytes * part / 12).chain([bytes - 120]) {
        let relay = Relay::cutting(world.slapd.ldaps_port(), at);
        let uri = format!("ldaps://localhost:{}", relay.port());
        assert_fails(
            &world,
            &format!("cut at byte {at} of {bytes}"),
            &through(&relay),
            &[&uri, "connection"],
        );
    }
    world.tool.write_sync_config(&world.config);
    world.run_and_compare("the next run repairs it", "incremental");
}

#[test]
fn the_password_is_not_asked_of_a_directory_that_is_not_the_right_one() {
    let world = synchronised(SlapdOptions::default());
    let plain = format!("ldap://localhost:{}", world.slapd.ldaps_port());
    let config = world
        .config
        .clone()
        .set("ldap_uri", plain.as_str())
        .set("ldap_starttls", true)
        .set("ldap_timeout", 1);
    assert_fails(&world, "StartTLS on the port of ldaps", &config, &[&plain, "StartTLS"]);
    let empty = world.config.clone().set("ldap_sync_pw", format!("{SYNC_PASSWORD} "));
    assert_fails(&world, "a blank behind the password", &empty, &["invalidCredentials (49)"]);
}
