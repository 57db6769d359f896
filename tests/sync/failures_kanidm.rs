//! Runs that fail at Kanidm, the real engine: each ends with exit code 1, says what failed, where,
//! and what to do, in the log and in the report. What fails before anything is sent leaves Kanidm
//! as it was; what fails in the middle is mended by the next run.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer as _;

use crate::failure::{
    Witness, assert_failed, assert_fails, assert_fails_with_client, assert_run_fails,
};
use crate::relay::Relay;
use crate::support::kanidm::{Fault, KanidmOptions, KanidmServer, Moment};
use crate::support::pki::Pki;
use crate::support::ports;
use crate::support::process::run;
use crate::support::scripted_https::{ScriptedHttps, response};
use crate::support::seed::{user_dn, user_ldif};
use crate::support::slapd::SlapdOptions;
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;
use crate::support::world::{ACCOUNT, World};

/// Kanidm holds what the directory holds, and the next run has something to write and something to
/// delete.
fn with_changes_to_send() -> World {
    let mut world = World::new(SlapdOptions::default());
    world.reconfigure(|config| config.set("ldap_timeout", 30).set("kanidm_timeout", 30));
    world.run_and_compare("first refresh", "full");
    change(&world);
    world
}

fn change(world: &World) {
    world.slapd.modify(&user_ldif(100));
    world.slapd.change(&user_dn(2), "replace: cn\ncn: Changed");
    world.slapd.delete(&user_dn(1));
}

fn client(world: &World) -> ConfigText {
    ConfigText::for_kanidm(&world.kanidm.url(), world.kanidm.ca())
}

#[test]
fn what_is_wrong_with_the_connection_is_named() {
    let world = with_changes_to_send();
    let client = |uri: &str| ConfigText::for_kanidm(uri, world.kanidm.ca());
    let strangers = Pki::named("Strangers");
    let ca = strangers.ca().to_str().unwrap();
    let url = world.kanidm.url();

    let words = [url.as_str(), "setting up TLS", "CA that is not trusted", "ca_path"];
    assert_fails_with_client(&world, "wrong CA", &client(&url).set("ca_path", ca), &words);
    assert_fails_with_client(&world, "the CA of nobody", &client(&url).without("ca_path"), &words);
    let [nobody] = ports::free();
    let refused = format!("https://localhost:{nobody}");
    let words =
        [refused.as_str(), "connecting to Kanidm failed", "check `uri`", "that Kanidm runs"];
    assert_fails_with_client(&world, "Kanidm is down", &client(&refused), &words);
    let nowhere = client("https://idm.invalid").set("connect_timeout", 20);
    let words = ["https://idm.invalid", "looking up the host of Kanidm", "check `uri`"];
    assert_fails_with_client(&world, "host not found", &nowhere, &words);
    let no_file = client(&url).set("ca_path", "/nonexistent/ca.pem");
    assert_fails_with_client(
        &world,
        "no CA file",
        &no_file,
        &[&url, "/nonexistent/ca.pem", "No such file"],
    );
    let ldap =
        format!("https://localhost:{}", world.slapd.starttls_uri().rsplit_once(':').unwrap().1);
    assert_fails_with_client(
        &world,
        "another kind of server",
        &client(&ldap),
        &[&ldap, "TLS handshake", "does this port speak TLS", "check"],
    );

    for (what, identity, words) in [
        ("expired certificate", strangers.expired(), ["expired on 2021-01-01", "renew it"]),
        (
            "certificate of another host",
            strangers.host(&["idm.example.net"]),
            [
                "is not for localhost; it is for idm.example.net",
                "or add localhost to the certificate",
            ],
        ),
    ] {
        let other = KanidmServer::start_with(KanidmOptions {
            identity: Some(identity),
            ..KanidmOptions::default()
        });
        let (url, client) = (other.url(), ConfigText::for_kanidm(&other.url(), strangers.ca()));
        assert_fails_with_client(
            &world,
            what,
            &client,
            &[&[url.as_str(), "setting up TLS"], &words[..]].concat(),
        );
        assert_eq!(other.log().len(), 0, "{what}: the token was not shown to it");
    }
}

#[test]
fn a_token_that_is_not_accepted_is_named() {
    let world = with_changes_to_send();
    let url = world.kanidm.url();
    let (head, tail) = world.account.token.split_at(world.account.token.len() - 8);
    let user_token = world.kanidm.user_token();
    for (what, token, words) in [
        (
            "wrong token",
            format!("{head}{}", tail.chars().rev().collect::<String>()),
            "sync token is not valid (status 401",
        ),
        ("no token at all", "token".to_owned(), "sync token is not valid (status 401"),
        ("a user's token", user_token, "not a sync token"),
    ] {
        let words = [
            url.as_str(),
            "reading the sync state",
            words,
            "operation ",
            "sync_token",
            "kanidm system sync generate-token",
        ];
        let outcome = assert_fails(
            &world,
            what,
            &world.config.clone().set("sync_token", token.as_str()),
            &words,
        );
        assert!(!outcome.all().contains(&token) || token == "token", "{what}: no token is shown");
    }
}

#[test]
fn an_answer_that_is_not_kanidms_is_named() {
    let world = with_changes_to_send();
    let identity = world.kanidm.pki().localhost();
    let url = world.kanidm.url();
    let redirect = format!("Location: {url}/scim/v1/Sync\r\n");
    let html = "<!DOCTYPE html><html><title>Sign in</title></html>";
    let interface = "not one of Kanidm's sync interface";
    for (what, answer, words) in [
        (
            "a page",
            response("200 OK", "Content-Type: text/html\r\n", html),
            [interface, "check `uri`"],
        ),
        ("nothing", response("200 OK", "", ""), [interface, "check `uri`"]),
        (
            "other JSON",
            response("200 OK", "Content-Type: application/json\r\n", "{\"status\":\"up\"}"),
            [interface, "check `uri`"],
        ),
        ("no HTTP", "220 mail.example.com ESMTP\r\n".to_owned(), [interface, "check `uri`"]),
        (
            "too much",
            response("200 OK", "", &" ".repeat(3 << 20)),
            ["larger than 2097152 bytes", "check `uri`"],
        ),
        (
            "a page that is not there",
            response("404 Not Found", "", html),
            ["status 404", "check `uri`"],
        ),
        (
            "moved",
            response("301 Moved Permanently", &redirect, ""),
            ["status 301", "redirect, which is not followed"],
        ),
        (
            "elsewhere",
            response("302 Found", &redirect, html),
            ["status 302", "redirect, which is not followed"],
        ),
        (
            "elsewhere for now",
            response("307 Temporary Redirect", &redirect, ""),
            ["status 307", "redirect, which is not followed"],
        ),
        (
            "a proxy whose Kanidm is away",
            response("502 Bad Gateway", "", html),
            ["status 502", "Kanidm is not available"],
        ),
    ] {
        let server = ScriptedHttps::start(&identity, move |_| answer.clone());
        let url = server.url();
        let words = [&[url.as_str(), "reading the sync state"], &words[..]].concat();
        assert_fails_with_client(
            &world,
            what,
            &ConfigText::for_kanidm(&url, world.kanidm.ca()),
            &words,
        );
        assert_eq!(server.requests().len(), 1, "{what}: asked once");
        assert_eq!(world.kanidm.log().len(), 0, "{what}: no redirect was followed");
    }
}

#[test]
fn a_kanidm_in_trouble_is_named() {
    let mut world = with_changes_to_send();
    let url = world.kanidm.url();
    for (what, fault, words) in [
        (
            "503",
            Fault::status(Moment::Received, 503, "no healthy upstream"),
            ["Kanidm is not available", "no healthy upstream"],
        ),
        (
            "its own 500",
            Fault::own_status(Moment::Received, 500, "\"backend\""),
            ["status 500, backend", "trouble of its own"],
        ),
        (
            "an answer lost",
            Fault::closed(Moment::Received),
            ["talking to Kanidm failed: the connection ended", "proxy in front of it"],
        ),
    ] {
        world.kanidm.fault(fault.only("GET"));
        assert_run_fails(
            &world,
            what,
            &[&[url.as_str(), "reading the sync state"], &words[..]].concat(),
        );
        assert_eq!(world.kanidm.pending_faults(), 0, "{what}");
    }

    store(&world, br#"{"kanidm-ldap-sync":99}"#);
    let words = [url.as_str(), "version 99"];
    assert_run_fails(&world, "a state of a newer version", &words);
    world.kanidm.force_refresh(ACCOUNT);

    world.reconfigure(|config| config.set("kanidm_timeout", 1));
    let pid = world.kanidm.pid().to_string();
    let signal = |name: &str| drop(run(Command::new("kill").args(["-s", name, &pid])));
    let witness = Witness::of(&world);
    for (what, url, words) in [
        ("Kanidm is silent", world.kanidm.url(), ["longer than 1 s", "Kanidm"]),
        ("something else is silent", silent(), ["longer than 1 s", "Kanidm"]),
    ] {
        signal("STOP");
        world.tool.write_client_config(
            &client(&world).set("uri", url.as_str()).set("connect_timeout", 1),
        );
        let outcome = world.tool.run(&["--json"]);
        signal("CONT");
        assert_failed(what, outcome, &[&[url.as_str()], &words[..]].concat());
    }
    world.kanidm.wait_until_idle();
    witness.assert_untouched(&world, "silent");
    world.tool.write_client_config(&client(&world));
    world.reconfigure(|config| config.set("kanidm_timeout", 30));
    world.run_and_compare("and when it is well again", "full");
}

/// A port that takes connections and never says anything, for the rest of the test.
fn silent() -> String {
    let listener = Box::leak(Box::new(TcpListener::bind(("127.0.0.1", 0)).unwrap()));
    format!("https://localhost:{}", listener.local_addr().unwrap().port())
}

/// Replaces what Kanidm has stored as the cookie.
fn store(world: &World, cookie: &[u8]) {
    let mut client = world.kanidm_client();
    let before = client.state().unwrap();
    let after = SyncState::Active { cookie: cookie.to_vec() };
    client.apply(&RequestBody::new(&before, &after, &Retention::Ignore, Vec::new())).unwrap();
}

/// What a request meets that is in trouble for a moment only: nothing is lost, nothing is done
/// twice, and the run succeeds.
#[test]
fn a_breakdown_of_a_moment_is_no_failure() {
    let world = with_changes_to_send();
    for (what, fault) in [
        ("not sent", Fault::closed(Moment::Received)),
        ("rolled back", Fault::closed(Moment::Applied)),
        ("its answer lost", Fault::closed(Moment::Committed)),
        ("503 for once", Fault::status(Moment::Received, 503, "")),
    ] {
        world.kanidm.fault(fault.only("POST"));
        world.run_and_compare(what, "incremental");
        assert_eq!(world.kanidm.pending_faults(), 0, "{what}");
        world.slapd.change(&user_dn(3), &format!("replace: cn\ncn: {what}"));
    }
}

/// A breakdown that stays ends the run, after it was tried several times, which takes some 15 s
/// each: all of them at once.
#[test]
fn a_breakdown_that_stays_is_a_failure_and_the_next_run_mends_it() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let world = with_changes_to_send();
            world.kanidm.fault(
                Fault::status(Moment::Received, 503, "no healthy upstream")
                    .only("POST")
                    .times(1000),
            );
            let witness = Witness::of(&world);
            let outcome = world.tool.run(&["--json"]);
            let words = [
                world.kanidm.url(),
                "tried several times".into(),
                "Kanidm is not available".into(),
                "status 503".into(),
            ];
            assert_failed("503 for every POST", outcome, &words.each_ref().map(String::as_str));
            witness.assert_same_content(&world, "503 for every POST");
            world.kanidm.clear_faults();
            world.run_and_compare("the next run", "incremental");
        });
        scope.spawn(|| {
            let mut world = with_changes_to_send();
            let dir = TempDir::new("kanidm");
            let options = KanidmOptions {
                database: Some(dir.path().join("kanidm.db")),
                ..KanidmOptions::default()
            };
            world.move_to(KanidmServer::start_with(options));
            world.run_and_compare("into another Kanidm", "full");
            change_again(&world);
            let witness = Witness::of(&world);
            world.kanidm.fault(Fault::death(Moment::Applied).only("POST"));
            let outcome = world.tool.run(&["--json"]);
            let words = [
                world.kanidm.url(),
                "whether a POST without an answer was applied".into(),
                "that Kanidm runs".into(),
            ];
            assert_failed("Kanidm dies", outcome, &words.each_ref().map(String::as_str));
            world.kanidm.restart();
            witness.assert_same_content(&world, "Kanidm died before it committed");
            world.run_and_compare("the next run", "incremental");
        });
        scope.spawn(|| {
            let world = with_changes_to_send();
            // The state, and nothing more. A handshake is not the same length each time, by a few
            // bytes; an answer has more than 40.
            let relay = Relay::cutting(world.kanidm.port(), bytes_of_a_dry_run(&world) + 40);
            let url = format!("https://localhost:{}", relay.port());
            world.tool.write_client_config(&client(&world).set("uri", url.as_str()));
            let outcome = world.tool.run(&["--json"]);
            assert_failed(
                "every answer lost",
                outcome,
                &[&url, "whether a POST without an answer was applied", "check that Kanidm is up"],
            );
            world.kanidm.wait_until_idle();
            world.tool.write_client_config(&client(&world));
            world.run_and_compare("the next run", "incremental");
        });
        scope.spawn(|| {
            let mut world = with_changes_to_send();
            world.reconfigure(|config| config.set("kanidm_timeout", 1));
            world.kanidm.fault(
                Fault::delay(Moment::Received, Duration::from_secs(3)).only("POST").times(1000),
            );
            let witness = Witness::of(&world);
            let outcome = world.tool.run(&["--json"]);
            let words = [world.kanidm.url(), "took longer than 1 s".into()];
            assert_failed("too slow", outcome, &words.each_ref().map(String::as_str));
            world.kanidm.clear_faults();
            world.kanidm.wait_until_idle();
            drop(witness); // Kanidm may have gone on without us: whatever it did is repeated.
            world.reconfigure(|config| config.set("kanidm_timeout", 30));
            world.run_and_compare("the next run", "incremental");
        });
    });
}

/// What Kanidm says when it is asked for the state.
fn bytes_of_a_dry_run(world: &World) -> u64 {
    let relay = Relay::to(world.kanidm.port());
    world.tool.write_client_config(
        &client(world).set("uri", format!("https://localhost:{}", relay.port())),
    );
    world.tool.run(&["--dry-run"]).expect_code(3);
    relay.passed()
}

fn change_again(world: &World) {
    world.slapd.modify(&user_ldif(101));
    world.slapd.change(&user_dn(2), "replace: cn\ncn: Changed again");
}
