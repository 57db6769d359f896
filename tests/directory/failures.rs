//! A directory that fails: at each step of the conversation, in each way. What the user is told
//! names the place, the cause and a remedy, and never the password.

use std::sync::mpsc;
use std::time::Duration;

use kanidm_ldap_sync::config::secret::Secret;
use kanidm_ldap_sync::config::sync::{Bind, DirectoryConfig, LdapUri};
use kanidm_ldap_sync::directory::client::Directory;
use kanidm_ldap_sync::directory::error::{DirectoryProblem, DirectoryStage};
use kanidm_ldap_sync::directory::refresh::Refresh;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use uuid::Uuid;

use crate::support::peer::{
    self, Link, Peer, SLAPD, bind_response, done, entry, message, notice, sync_done, sync_entry,
    tlv, unsolicited,
};
use crate::support::pki::Pki;

const PASSWORD: &str = "marker-bind-password";

/// Long enough for every step of a healthy conversation on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

struct Failure {
    problem: DirectoryProblem,
    text: String,
}

/// Connects to a peer with this script, and refreshes where that goes well.
fn fails(script: impl FnOnce(&mut Link) + Send + 'static) -> Failure {
    fails_with(|_| {}, script)
}

fn fails_with(
    adapt: impl FnOnce(&mut DirectoryConfig),
    script: impl FnOnce(&mut Link) + Send + 'static,
) -> Failure {
    let pki = Pki::new();
    let peer = Peer::tls(&pki.localhost(), script);
    let mut cfg = peer::config("localhost", &peer, Some(pki.ca()));
    adapt(&mut cfg);
    run(&mut cfg)
}

fn run(cfg: &mut DirectoryConfig) -> Failure {
    cfg.bind =
        Bind::Simple { dn: "cn=sync,dc=example".into(), password: Secret::new(PASSWORD.into()) };
    let outcome = Directory::connect(cfg)
        .and_then(|mut directory| directory.refresh(&["cn"], None, &mut |_, _| {}));
    let error = match outcome {
        Err(error) => error,
        Ok(outcome) => panic!("no failure, but {outcome:?}"),
    };
    let text = error.to_string();
    assert!(!text.contains(PASSWORD) && !format!("{error:?}").contains(PASSWORD), "{text}");
    assert!(text.starts_with("ldaps://"), "where: {text}");
    Failure { problem: *error.problem, text }
}

fn silent(script: impl FnOnce(&mut Link) + Send + 'static) -> Failure {
    fails_with(|cfg| cfg.timeout = SHORT, script)
}

#[test]
fn a_host_without_address() {
    let pki = Pki::new();
    let peer = Peer::plain(|_| {});
    let failure = run(&mut peer::config("no-such-host.invalid", &peer, Some(pki.ca())));
    // A resolver that is out of reach may also keep silent.
    assert!(
        matches!(
            failure.problem,
            DirectoryProblem::HostNotFound { .. } | DirectoryProblem::ResolverSilent { .. }
        ),
        "{}",
        failure.text
    );
    assert!(failure.text.contains("no-such-host.invalid"));
    let failure = run(&mut peer::config("not a host", &peer, Some(pki.ca())));
    assert!(matches!(failure.problem, DirectoryProblem::BadHostName { .. }), "{}", failure.text);
}

#[test]
fn a_refused_connection_names_the_address() {
    let pki = Pki::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let peer = Peer::plain(|_| {});
    let mut cfg = peer::config("127.0.0.1", &peer, Some(pki.ca()));
    cfg.uri = LdapUri::Tls { host: "127.0.0.1".into(), port, starttls: false };
    let failure = run(&mut cfg);
    assert!(
        failure.text.contains(&format!("no connection: 127.0.0.1:{port} refused it")),
        "{}",
        failure.text
    );
    cfg.uri = LdapUri::Tls { host: "::1".into(), port, starttls: false };
    let failure = run(&mut cfg);
    assert!(
        failure.text.starts_with(&format!("ldaps://[::1]:{port}: no connection: [::1]:{port}")),
        "{}",
        failure.text
    );
}

#[test]
fn silence_ends_at_every_step() {
    let pki = Pki::new();
    let peer = Peer::plain(Link::stay_silent);
    let mut cfg = peer::config("localhost", &peer, Some(pki.ca()));
    cfg.timeout = Duration::from_millis(300);
    assert_silence(&run(&mut cfg), DirectoryStage::Handshake, "does this port speak TLS");

    assert_silence(&silent(Link::stay_silent), DirectoryStage::Bind, "is this an LDAP server");

    let after_bind = silent(|link| {
        let bind = link.request();
        link.send(bind_response(bind.id, 0, ""));
        link.stay_silent();
    });
    assert_silence(&after_bind, DirectoryStage::RootDse, "raise ldap_timeout");

    let after_root_dse = silent(|link| {
        link.begin(SLAPD);
        link.stay_silent();
    });
    assert_silence(
        &after_root_dse,
        DirectoryStage::Refresh,
        "389 Directory Server never answers a sync request that it does not understand",
    );

    let inside_an_entry = silent(|link| {
        link.begin(SLAPD);
        let search = link.request();
        let whole = sync_entry(search.id, Uuid::from_u128(1), "cn=a", &[("cn", &["a"])]);
        link.send(&whole[..whole.len() / 2]);
        link.stay_silent();
    });
    assert_silence(
        &inside_an_entry,
        DirectoryStage::Refresh,
        "the server was silent for 2 s (ldap_timeout)",
    );
}

fn assert_silence(failure: &Failure, expected: DirectoryStage, words: &str) {
    assert!(
        matches!(failure.problem, DirectoryProblem::TimedOut { stage, .. } if stage == expected),
        "{}",
        failure.text
    );
    assert!(failure.text.contains(words), "{}", failure.text);
}

#[test]
fn a_trickle_does_not_last_for_ever() {
    let failure = fails_with(
        |cfg| cfg.timeout = Duration::from_millis(400),
        |link| {
            let bind = link.request();
            // A message of a million bytes, two at a time: no single wait is long.
            link.send([0x30, 0x83, 0x0f, 0xff, 0x00, 2, 1, u8::try_from(bind.id).unwrap()]);
            while link.try_send(&[0, 0]) {
                std::thread::sleep(Duration::from_millis(20));
            }
        },
    );
    assert!(
        matches!(failure.problem, DirectoryProblem::TimedOut { stage: DirectoryStage::Bind, .. }),
        "{}",
        failure.text
    );
}

#[test]
fn a_slow_message_may_take_longer_than_one_timeout() {
    let pki = Pki::new();
    let peer = Peer::tls(&pki.localhost(), |link| {
        link.begin(SLAPD);
        let search = link.request();
        let whole = [
            sync_entry(search.id, Uuid::from_u128(1), "cn=a", &[]),
            sync_done(search.id, Some("c"), true),
        ]
        .concat();
        for piece in whole.chunks(whole.len().div_ceil(5)) {
            link.send(piece);
            std::thread::sleep(SHORT / 4);
        }
        link.stay_silent();
    });
    let mut cfg = peer::config("localhost", &peer, Some(pki.ca()));
    cfg.timeout = SHORT;
    let mut directory = Directory::connect(&cfg).unwrap();
    assert!(matches!(directory.refresh(&[], None, &mut |_, _| {}), Ok(Refresh::Done(_))));
}

#[test]
fn the_end_of_the_connection_is_no_end_of_a_refresh() {
    let entries = |link: &mut Link| {
        link.begin(SLAPD);
        let search = link.request();
        link.send(sync_entry(search.id, Uuid::from_u128(1), "cn=a", &[]));
    };
    let announced = fails(move |link| {
        entries(link);
        link.hang_up();
    });
    assert!(
        matches!(
            announced.problem,
            DirectoryProblem::Closed { stage: DirectoryStage::Refresh, announced: true }
        ),
        "{}",
        announced.text
    );
    assert!(
        announced.text.contains("closed the connection")
            && announced.text.contains("what was read is void"),
        "{}",
        announced.text
    );

    let cut = fails(move |link| {
        entries(link);
        link.cut();
    });
    assert!(
        matches!(
            cut.problem,
            DirectoryProblem::Closed { stage: DirectoryStage::Refresh, announced: false }
        ),
        "{}",
        cut.text
    );

    let inside = fails(move |link| {
        entries(link);
        link.send([0x30, 0x84, 0, 0, 1]);
        link.hang_up();
    });
    assert!(
        matches!(
            inside.problem,
            DirectoryProblem::Closed { stage: DirectoryStage::Refresh, announced: true }
        ),
        "{}",
        inside.text
    );
}

#[test]
fn a_connection_that_ends_at_each_other_step() {
    let at_accept = fails_plain(Link::cut);
    assert!(matches!(
        at_accept.problem,
        DirectoryProblem::Closed { stage: DirectoryStage::Handshake, .. }
            | DirectoryProblem::Lost { stage: DirectoryStage::Handshake, .. }
    ));
    assert!(
        at_accept.text.contains("for StartTLS use ldap:// with ldap_starttls = true"),
        "{}",
        at_accept.text
    );

    let at_bind = fails(|link| {
        link.request();
        link.cut();
    });
    assert!(
        matches!(at_bind.problem, DirectoryProblem::Closed { stage: DirectoryStage::Bind, .. }),
        "{}",
        at_bind.text
    );
}

/// The same without TLS on the other side.
fn fails_plain(script: impl FnOnce(&mut Link) + Send + 'static) -> Failure {
    let pki = Pki::new();
    let peer = Peer::plain(script);
    run(&mut peer::config("localhost", &peer, Some(pki.ca())))
}

#[test]
fn a_server_that_says_goodbye_is_quoted() {
    let failure = fails(|link| {
        link.begin(SLAPD);
        link.request();
        link.send(notice(52, "shutting\u{1b}[31m down\n"));
    });
    assert!(matches!(
        failure.problem,
        DirectoryProblem::Disconnected { stage: DirectoryStage::Refresh, .. }
    ));
    // What the server says cannot drive the terminal.
    assert!(
        failure.text.contains("unavailable (52), \"shutting [31m down\"; what was read is void; the next run starts again"),
        "{}",
        failure.text
    );
    for stage in [DirectoryStage::Bind, DirectoryStage::RootDse] {
        let failure = fails(move |link| {
            let bind = link.request();
            if stage == DirectoryStage::RootDse {
                link.send(bind_response(bind.id, 0, ""));
                link.request();
            }
            link.send(notice(80, ""));
        });
        assert!(
            failure.text.contains(&format!("during {stage}, giving as its reason: other (80)")),
            "{}",
            failure.text
        );
    }
}

#[test]
fn a_refused_bind_says_what_to_check() {
    for (code, expected) in [
        (49, "invalidCredentials (49), \"no\"; check ldap_sync_dn and its password"),
        (32, "no entry with the DN of ldap_sync_dn"),
        (34, "not a DN to this server"),
        (7, "SASL EXTERNAL needs ldapi:// or a client certificate"),
        (19, "locked after too many failed binds"),
        (53, "may be inactivated"),
        (13, "security settings ask for more"),
        (51, "the next run tries again"),
        (12345, "unknown result code (12345), \"no\""),
    ] {
        let failure = fails(move |link| {
            let bind = link.request();
            assert!(bind.mentions(PASSWORD), "it is sent, and only under TLS");
            link.send(bind_response(bind.id, code, "no"));
        });
        assert!(
            failure.text.contains("bind as cn=sync,dc=example was refused: "),
            "{}",
            failure.text
        );
        assert!(failure.text.contains(expected), "{code}: {}", failure.text);
    }
}

#[test]
fn a_refused_refresh_says_what_to_do() {
    for (code, expected) in [
        (32, "the base does not exist, or this account may not see it"),
        (34, "not a DN to this server: check ldap_sync_base_dn"),
        (50, "cn=features,cn=config"),
        (4, "size=unlimited time=unlimited"),
        (3, "nsTimeLimit: -1"),
        (11, "nsLookThroughLimit: -1"),
        (53, "run once with --full-refresh"),
        (12, "the overlay syncprov has to be on the database that holds the base"),
        (10, "set ldap_uri to the one that does"),
        (52, "the next run tries again"),
        (1, "operationsError (1), \"because\"; see the server's log"),
        (4096, "although this is one"),
    ] {
        let failure = fails(move |link| {
            link.begin(SLAPD);
            let search = link.request();
            // The entries before it do not make a size limit any better.
            link.send(sync_entry(search.id, Uuid::from_u128(1), "cn=a", &[]));
            link.send(done(search.id, code, "because"));
        });
        assert!(
            failure.text.contains("the refresh below \"dc=example\" failed: "),
            "{}",
            failure.text
        );
        assert!(failure.text.contains(expected), "{code}: {}", failure.text);
    }
}

#[test]
fn a_server_without_content_synchronisation() {
    let failure = fails(|link| {
        link.begin(&[("objectClass", &["OpenLDAProotDSE"]), ("supportedControl", &["1.2.3"])])
    });
    assert!(matches!(failure.problem, DirectoryProblem::NoContentSync));
    assert!(
        failure.text.contains("overlay") && failure.text.contains("Content Synchronization"),
        "{}",
        failure.text
    );

    let hidden = fails(|link| {
        let bind = link.request();
        link.send(bind_response(bind.id, 0, ""));
        let search = link.request();
        link.send(done(search.id, 0, ""));
    });
    assert!(matches!(hidden.problem, DirectoryProblem::NoContentSync), "{}", hidden.text);
}

#[test]
fn a_message_beyond_the_limit_names_the_key_to_raise_unless_it_is_an_entry() {
    let limit = 100_000;
    let of_size = move |id, size: usize| {
        let value = "x".repeat(size);
        let excess = sync_entry(id, Uuid::from_u128(1), "cn=a", &[("cn", &[&value])]).len() - size;
        sync_entry(id, Uuid::from_u128(1), "cn=a", &[("cn", &[&value[excess..]])])
    };
    let failure = fails_with(
        move |cfg| cfg.max_message = limit,
        move |link| {
            link.begin(SLAPD);
            let search = link.request();
            link.send(done(search.id, 0, &"x".repeat(limit)));
            link.stay_silent();
        },
    );
    assert!(
        matches!(failure.problem, DirectoryProblem::MessageTooLarge { size, limit: l } if (size, l) == (100_026, limit)),
        "{}",
        failure.text
    );
    assert!(failure.text.contains("raise max_ber_size to more than 100026"), "{}", failure.text);

    let pki = Pki::new();
    let peer = Peer::tls(&pki.localhost(), move |link| {
        link.begin(SLAPD);
        let search = link.request();
        let largest = of_size(search.id, limit);
        assert_eq!(largest.len(), limit);
        link.send(largest);
        link.send(of_size(search.id, limit + 1));
        link.send(sync_done(search.id, Some("c"), true));
        link.stay_silent();
    });
    let mut cfg = peer::config("localhost", &peer, Some(pki.ca()));
    cfg.max_message = limit;
    let mut received = Vec::new();
    let outcome = Directory::connect(&cfg).unwrap().refresh(&[], None, &mut |_, entry| {
        let bytes = entry.attributes().flat_map(|a| a.values()).map(<[u8]>::len).sum::<usize>();
        received.push((
            bytes > limit - 200,
            entry.dn().to_owned(),
            entry.oversized().map(|oversized| oversized.leaves_out("cn")),
        ));
    });
    assert!(matches!(outcome, Ok(Refresh::Done(_))));
    assert_eq!(received, [(true, "cn=a".to_owned(), None), (false, "cn=a".to_owned(), Some(true))]);
}

#[test]
fn an_entry_beyond_the_limit_that_is_malformed_is_an_error() {
    for (what, inside) in [("a value", tlv(5, "")), ("an end", vec![0x30])] {
        let failure = fails_with(
            |cfg| cfg.max_message = 1_000,
            move |link| {
                link.begin(SLAPD);
                let search = link.request();
                let attribute = tlv(
                    0x30,
                    [tlv(4, "cn"), tlv(0x31, [tlv(4, "x".repeat(2_000)), inside].concat())]
                        .concat(),
                );
                link.send(message(
                    search.id,
                    tlv(0x64, [tlv(4, "cn=a"), tlv(0x30, attribute)].concat()),
                ));
                link.stay_silent();
            },
        );
        assert!(
            matches!(
                failure.problem,
                DirectoryProblem::Malformed { stage: DirectoryStage::Refresh, .. }
            ),
            "{what}: {}",
            failure.text
        );
    }
}

#[test]
fn what_is_not_ldap_is_said_to_be_that() {
    let html = fails(|link| {
        link.request();
        link.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        link.stay_silent();
    });
    assert!(
        matches!(html.problem, DirectoryProblem::Malformed { stage: DirectoryStage::Bind, .. }),
        "{}",
        html.text
    );
    assert!(html.text.contains("is this an LDAP server?"));
    let damaged = fails(|link| {
        let bind = link.request();
        link.send(message(bind.id, tlv(0x61, [10, 1])));
    });
    assert!(
        matches!(damaged.problem, DirectoryProblem::Malformed { stage: DirectoryStage::Bind, .. }),
        "{}",
        damaged.text
    );
}

#[test]
fn answers_to_nothing_are_errors() {
    for (stage, answer) in [
        (DirectoryStage::Bind, bind_response(77, 0, "")),
        (DirectoryStage::Bind, bind_response(0, 0, "")),
        (DirectoryStage::Bind, done(2, 0, "")),
        (DirectoryStage::RootDse, entry(77, "", SLAPD)),
        (DirectoryStage::RootDse, bind_response(3, 0, "")),
        (DirectoryStage::Refresh, sync_entry(77, Uuid::from_u128(1), "cn=a", &[])),
        (DirectoryStage::Refresh, bind_response(4, 0, "")),
        // No content synchronisation in it at all.
        (DirectoryStage::Refresh, entry(4, "cn=a", &[])),
        (DirectoryStage::Refresh, done(4, 0, "")),
    ] {
        let failure = fails(move |link| {
            match stage {
                DirectoryStage::Bind => {}
                DirectoryStage::RootDse => {
                    let bind = link.request();
                    link.send(bind_response(bind.id, 0, ""));
                }
                _ => link.begin(SLAPD),
            }
            let id = link.request().id;
            assert_eq!(
                id,
                match stage {
                    DirectoryStage::Bind => 2,
                    DirectoryStage::RootDse => 3,
                    _ => 4,
                },
                "the IDs above are the right ones"
            );
            link.send(&answer);
            link.stay_silent();
        });
        assert!(
            matches!(failure.problem, DirectoryProblem::Protocol { stage: s, .. } if s == stage),
            "{}",
            failure.text
        );
    }
}

#[test]
fn other_unsolicited_notifications_are_passed_over() {
    let pki = Pki::new();
    let peer = Peer::tls(&pki.localhost(), |link| {
        let aside = || unsolicited("1.3.6.1.1.21.4", 0, "aside");
        let bind = link.request();
        link.send([aside(), bind_response(bind.id, 0, ""), aside()].concat());
        link.root_dse(SLAPD);
        let search = link.request();
        link.send([aside(), sync_done(search.id, Some("c"), true), aside()].concat());
        let search = link.request();
        link.send([aside(), done(search.id, 0, "")].concat());
        link.stay_silent();
    });
    let mut directory =
        Directory::connect(&peer::config("localhost", &peer, Some(pki.ca()))).unwrap();
    assert!(matches!(directory.refresh(&[], None, &mut |_, _| {}), Ok(Refresh::Done(_))));
    let anything = Filter::Present { attribute: "cn".into() };
    directory.search("dc=example", Scope::Subtree, &anything, &[], &mut |_| {}).unwrap();
}

#[test]
fn a_peer_that_reads_nothing_blocks_no_one() {
    let pki = Pki::new();
    let (gave_up, until_then) = mpsc::channel::<()>();
    let peer = Peer::tls(&pki.localhost(), move |link| {
        link.begin(SLAPD);
        until_then.recv().unwrap_err();
    });
    let mut cfg = peer::config("localhost", &peer, Some(pki.ca()));
    cfg.timeout = SHORT;
    // More than the sockets of both sides hold.
    cfg.filter = Filter::Equality { attribute: "cn".into(), value: vec![b'x'; 64 << 20] };
    let failure = run(&mut cfg);
    drop(gave_up);
    assert!(
        matches!(
            failure.problem,
            DirectoryProblem::TimedOut { stage: DirectoryStage::Refresh, .. }
        ),
        "{}",
        failure.text
    );
}
