//! The HTTPS client against a scripted server: what goes over the wire, and what becomes of every
//! way in which it can fail.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use kanidm_ldap_sync::config::client::ClientConfig;
use kanidm_ldap_sync::config::secret::Secret;
use kanidm_ldap_sync::kanidm::client::KanidmClient;
use kanidm_ldap_sync::kanidm::error::{Class, KanidmError, Stage};
use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use kanidm_ldap_sync::net::tls::{Roots, TlsOptions, client_config};

use crate::support::pki::{Identity, Pki};
use crate::support::web::{Link, Web, answer, head, request};

const TOKEN: &str = "eyJhbGciOi.the-token";

struct Trust {
    pki: Pki,
    verify_ca: bool,
    verify_hostnames: bool,
    host: &'static str,
    timeout: Duration,
}

impl Trust {
    fn new() -> Trust {
        Trust {
            pki: Pki::new(),
            verify_ca: true,
            verify_hostnames: true,
            host: "localhost",
            timeout: Duration::from_secs(20),
        }
    }

    fn client(&self, port: u16) -> KanidmClient {
        self.client_trusting(port, &self.pki)
    }

    fn client_trusting(&self, port: u16, pki: &Pki) -> KanidmClient {
        let (verify_ca, verify_hostnames) = (self.verify_ca, self.verify_hostnames);
        let tls = client_config(&TlsOptions {
            roots: Roots::Bundle(pki.ca()),
            verify_ca,
            verify_hostnames,
            client_cert: None,
        })
        .unwrap();
        let uri = format!("https://{}:{port}", self.host);
        let config = ClientConfig {
            uri,
            verify_ca,
            verify_hostnames,
            ca_path: None,
            connect_timeout: Duration::from_secs(2),
        };
        KanidmClient::new(&config, Secret::new(TOKEN.to_owned()), self.timeout, tls)
    }
}

fn body(bytes: usize) -> RequestBody<'static> {
    let to = SyncState::Active { cookie: b"to".to_vec() };
    let entry = format!("{{\"padding\":\"{}\"}}", "x".repeat(bytes));
    RequestBody::new(
        &SyncState::Refresh,
        &to,
        &Retention::Ignore,
        vec![Cow::Owned(entry.into_bytes())],
    )
}

fn stage(error: &KanidmError) -> Option<Stage> {
    match error {
        KanidmError::Transport { stage, .. } | KanidmError::TimedOut { stage, .. } => Some(*stage),
        _ => None,
    }
}

#[test]
fn requests_carry_token_length_and_body_over_one_connection() {
    let trust = Trust::new();
    let post = body(300_000);
    let expected = post.to_vec();
    let web = Web::one(&trust.pki.localhost(), move |link| {
        let (head, _) = request(link);
        assert!(head.starts_with("GET /scim/v1/Sync HTTP/1.1\r\n"), "{head}");
        assert!(
            head.to_lowercase()
                .contains(&format!("authorization: bearer {}\r\n", TOKEN.to_lowercase()))
                && head.contains(TOKEN)
        );
        assert!(head.to_lowercase().contains("user-agent: kanidm-ldap-sync/"), "{head}");
        answer(link, "200 OK", "", r#"{"Active":{"cookie":"YWJj"}}"#);
        let (head, body) = request(link);
        assert!(head.starts_with("POST /scim/v1/Sync HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/json\r\n"));
        assert!(!head.to_lowercase().contains("transfer-encoding"));
        assert!(body == expected, "the body arrives as it is");
        answer(link, "200 OK", "", "null");
    });
    let mut client = trust.client(web.port);
    assert_eq!(client.state(), Ok(SyncState::Active { cookie: b"abc".to_vec() }));
    assert_eq!(client.apply(&post), Ok(()));
    assert!(!format!("{client:?}").contains("the-token"));
    web.finish();
}

#[test]
fn a_connection_that_went_stale_is_replaced() {
    let trust = Trust::new();
    let once = |link: &mut Link| {
        request(link);
        answer(link, "200 OK", "", "\"Refresh\"");
        link.conn.send_close_notify();
        let _ = link.flush();
        let _ = link.sock.shutdown(Shutdown::Both);
    };
    let web = Web::start(&trust.pki.localhost(), vec![Box::new(once), Box::new(once)]);
    let mut client = trust.client(web.port);
    assert_eq!(client.state(), Ok(SyncState::Refresh));
    // The first script is through once the second connection is possible; the close has arrived by
    // then or makes the first try fail.
    let second = client.state().or_else(|_| client.state());
    assert_eq!(second, Ok(SyncState::Refresh));
    web.finish();
}

#[test]
fn certificates_are_verified_as_configured() {
    let mut trust = Trust::new();
    let stranger = Pki::new();
    let serve = |link: &mut Link| {
        // Refused handshakes end here.
        let mut byte = [0];
        if link.read(&mut byte).is_ok_and(|n| n > 0) {
            head(link);
            answer(link, "200 OK", "", "\"Refresh\"");
        }
    };
    let get = |trust: &Trust, identity: &Identity, pki: &Pki| {
        let web = Web::one(identity, serve);
        let result = trust.client_trusting(web.port, pki).state();
        web.finish();
        result
    };
    let good = trust.pki.localhost();
    let other_name = trust.pki.host(&["kanidm.example.com"]);
    assert_eq!(get(&trust, &good, &trust.pki), Ok(SyncState::Refresh));
    for (identity, pki) in
        [(&good, &stranger), (&other_name, &trust.pki), (&trust.pki.expired(), &trust.pki)]
    {
        let error = get(&trust, identity, pki).unwrap_err();
        assert_eq!((stage(&error), error.class()), (Some(Stage::Tls), Class::Fatal), "{error}");
    }
    trust.verify_hostnames = false;
    assert_eq!(get(&trust, &other_name, &trust.pki), Ok(SyncState::Refresh));
    assert!(get(&trust, &other_name, &stranger).is_err(), "the chain is verified all the same");
    trust.verify_ca = false;
    assert_eq!(get(&trust, &other_name, &stranger), Ok(SyncState::Refresh));
}

#[test]
fn nobody_there_is_retryable_and_says_where() {
    let mut trust = Trust::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = trust.client(port).state().unwrap_err();
    assert_eq!((stage(&error), error.class()), (Some(Stage::Connect), Class::Retryable), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    trust.host = "no-such-host.invalid";
    let error = trust.client(port).state().unwrap_err();
    assert_eq!(stage(&error), Some(Stage::Resolve), "{error}");
}

#[test]
fn a_silent_server_is_not_waited_for() {
    let mut trust = Trust::new();
    // Takes the connection and says nothing, not even in TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let error = trust.client(listener.local_addr().unwrap().port()).state().unwrap_err();
    assert_eq!((stage(&error), error.class()), (Some(Stage::Connect), Class::Retryable), "{error}");
    // Takes the request and says nothing.
    trust.timeout = Duration::from_secs(1);
    let web = Web::one(&trust.pki.localhost(), |link| {
        request(link);
        let mut byte = [0];
        let _ = link.read(&mut byte);
    });
    let mut client = trust.client(web.port);
    let error = client.apply(&body(10)).unwrap_err();
    assert_eq!((stage(&error), error.class()), (Some(Stage::Exchange), Class::TimedOut), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "far less than without limits");
    drop(client);
    web.finish();
}

#[test]
fn a_redirect_is_not_followed() {
    let trust = Trust::new();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!(
        "location: https://localhost:{}/scim/v1/Sync\r\n",
        elsewhere.local_addr().unwrap().port()
    );
    let web = Web::one(&trust.pki.localhost(), move |link| {
        request(link);
        answer(link, "307 Temporary Redirect", &location, "");
    });
    let error = trust.client(web.port).apply(&body(10)).unwrap_err();
    assert!(error.to_string().contains("redirect"), "{error}");
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "the token goes nowhere else"
    );
    web.finish();
}

#[test]
fn an_answer_that_comes_before_the_body_is_sent_counts() {
    let trust = Trust::new();
    let web = Web::one(&trust.pki.localhost(), |link| {
        head(link);
        answer(link, "413 Payload Too Large", "x-kanidm-opid: op-7\r\n", "length limit exceeded");
        // The rest of the body is never read.
        let _ = link.sock.shutdown(Shutdown::Read);
        thread::sleep(Duration::from_millis(200));
    });
    let error = trust.client(web.port).apply(&body(60_000_000)).unwrap_err();
    assert_eq!(error.class(), Class::TooLarge, "{error}");
    assert!(error.to_string().contains("op-7"), "{error}");
    web.finish();
}

#[test]
fn an_answer_is_not_read_for_ever() {
    let trust = Trust::new();
    let web = Web::one(&trust.pki.localhost(), |link| {
        request(link);
        let _ = link.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let junk = vec![b' '; 64 * 1024];
        while link.write_all(&junk).is_ok() {}
    });
    let error = trust.client(web.port).state().unwrap_err();
    assert!(
        matches!(&error, KanidmError::NotKanidm { reason } if reason.contains("larger than")),
        "{error}"
    );
    web.finish();
}

#[test]
fn what_is_not_kanidm_is_said_to_be_so() {
    let trust = Trust::new();
    for (reply, wanted) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", "no sync state"),
        ("SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n", "not one of Kanidm's"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "404"),
    ] {
        let web = Web::one(&trust.pki.localhost(), move |link| {
            request(link);
            link.write_all(reply.as_bytes()).unwrap();
        });
        let error = trust.client(web.port).state().unwrap_err();
        assert_eq!(error.class(), Class::Fatal, "{error}");
        assert!(
            error.to_string().contains(wanted) && !error.to_string().contains("the-token"),
            "{error}"
        );
        web.finish();
    }
}

#[test]
fn a_connection_that_breaks_may_have_been_enough() {
    let trust = Trust::new();
    let web = Web::one(&trust.pki.localhost(), |link| {
        request(link);
    });
    let error = trust.client(web.port).apply(&body(10)).unwrap_err();
    assert_eq!(
        (stage(&error), error.class()),
        (Some(Stage::Exchange), Class::Retryable),
        "{error}"
    );
    web.finish();
}
