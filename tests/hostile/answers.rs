//! HTTP answers that are slow, cut short, too large, or lies; and servers that are not who they
//! were.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::Duration;

use kanidm_ldap_sync::config::client::ClientConfig;
use kanidm_ldap_sync::config::secret::Secret;
use kanidm_ldap_sync::kanidm::client::KanidmClient;
use kanidm_ldap_sync::kanidm::error::KanidmError;
use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer as _;
use kanidm_ldap_sync::net::tls::{Roots, TlsOptions, client_config};

use crate::support::pki::Pki;
use crate::support::web::{Link, Script, Web, answer, request};

const TOKEN: &str = "eyJhbGciOi.marker-of-the-token";

/// What every healthy exchange stays below, be the machine ever so busy.
const AMPLE: Duration = Duration::from_secs(30);

fn client(pki: &Pki, port: u16, timeout: Duration) -> KanidmClient {
    let options = TlsOptions {
        roots: Roots::Bundle(pki.ca()),
        verify_ca: true,
        verify_hostnames: true,
        client_cert: None,
    };
    let uri = format!("https://localhost:{port}");
    let config = ClientConfig {
        uri,
        verify_ca: true,
        verify_hostnames: true,
        ca_path: None,
        connect_timeout: timeout,
    };
    KanidmClient::new(
        &config,
        Secret::new(TOKEN.to_owned()),
        timeout,
        client_config(&options).unwrap(),
    )
}

fn body() -> RequestBody<'static> {
    let to = SyncState::Active { cookie: b"to".to_vec() };
    RequestBody::new(&SyncState::Refresh, &to, &Retention::Ignore, vec![Cow::Borrowed(&b"{}"[..])])
}

/// Answers one request with these bytes, and ends the connection in good order.
fn saying(bytes: Vec<u8>) -> impl FnOnce(&mut Link) + Send + 'static {
    move |link| {
        request(link);
        // The client may have seen enough before it has all of it.
        let _ = link.write_all(&bytes);
        link.conn.send_close_notify();
        let _ = link.flush();
        let _ = link.sock.shutdown(Shutdown::Write);
        let _ = link.sock.read_to_end(&mut Vec::new());
    }
}

fn with_length(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn get(pki: &Pki, bytes: impl Into<Vec<u8>>) -> Result<SyncState, KanidmError> {
    let web = Web::one(&pki.localhost(), saying(bytes.into()));
    let result = client(pki, web.port, AMPLE).state();
    web.finish();
    result
}

fn post(pki: &Pki, bytes: impl Into<Vec<u8>>) -> Result<(), KanidmError> {
    let web = Web::one(&pki.localhost(), saying(bytes.into()));
    let result = client(pki, web.port, AMPLE).apply(&body());
    web.finish();
    result
}

#[track_caller]
fn assert_says(what: &str, error: &KanidmError, words: &str) {
    let text = error.to_string();
    assert!(text.contains(words) && text.len() < 700, "{what}: {words:?} is not in: {text}");
    assert!(!text.contains("marker") && !format!("{error:?}").contains("marker"), "{what}: {text}");
    assert!(text.chars().all(|c| !c.is_control()), "{what}: {text:?}");
}

/// Where the answer is to be found all the same.
#[test]
fn answers_that_are_unusual_and_right() {
    let pki = Pki::new();
    let state = "\"Refresh\"";
    for (what, bytes) in [
        ("another content type", with_length("content-type: text/html\r\n", state)),
        ("no reason phrase", with_length("", state).replace("200 OK", "200")),
        ("white space around it", with_length("", " \r\n\"Refresh\"\t\n")),
        ("an early hint first", format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{}", with_length("", state))),
        ("a processing first", format!("HTTP/1.1 102 Processing\r\n\r\n{}", with_length("", state))),
        ("a continue that nobody asked for", format!("HTTP/1.1 100 Continue\r\n\r\n{}", with_length("", state))),
        ("chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\"\r\n8;x=y\r\nRefresh\"\r\n0\r\n\r\n".to_owned()),
        ("up to the end of the connection", format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{state}")),
        ("HTTP/1.0", format!("HTTP/1.0 200 OK\r\n\r\n{state}")),
        ("more than it says it is", with_length("", state) + "more"),
    ] {
        let result = get(&pki, bytes);
        assert_eq!(result, Ok(SyncState::Refresh), "{what}");
    }
}

#[test]
fn answers_that_are_no_state_are_refused() {
    let pki = Pki::new();
    let state = "\"Refresh\"";
    let chunked =
        |chunks: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
    let deep = "[".repeat(200_000);
    let large_header = format!("x-large: {}\r\n", "x".repeat(1 << 20));
    let not_kanidm = "not one of Kanidm's sync interface";
    let ended = "talking to Kanidm failed";
    for (what, bytes, words) in [
        ("nothing at all", String::new(), ended),
        ("half a status line", "HTTP/1.1 20".to_owned(), "Kanidm"),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-le".to_owned(), "Kanidm"),
        ("no body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_owned(), ended),
        ("half a body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n\"Refr".to_owned(), ended),
        (
            "a longer body promised",
            "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n\"Refresh\"".to_owned(),
            ended,
        ),
        (
            "a shorter body promised",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\"Refresh\"".to_owned(),
            not_kanidm,
        ),
        (
            "a negative length",
            "HTTP/1.1 200 OK\r\ncontent-length: -9\r\n\r\n\"Refresh\"".to_owned(),
            not_kanidm,
        ),
        (
            "a length beyond 64 bits",
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{state}", "9".repeat(40)),
            not_kanidm,
        ),
        ("lengths that differ", with_length("content-length: 3\r\n", state), "Kanidm"),
        ("a chunk cut short", chunked("9\r\n\"Refr"), ended),
        ("chunks without an end", chunked("9\r\n\"Refresh\"\r\n"), ended),
        ("a chunk of no number", chunked("xyz\r\n\"Refresh\"\r\n0\r\n\r\n"), "Kanidm"),
        (
            "a chunk of all there is",
            chunked("ffffffffffffffff\r\n\"Refresh\"\r\n0\r\n\r\n"),
            "Kanidm",
        ),
        ("a head of a megabyte", with_length(&large_header, state), not_kanidm),
        ("ten thousand headers", with_length(&"a: b\r\n".repeat(10_000), state), not_kanidm),
        ("another protocol", "HTTP/9.9 200 OK\r\n\r\n\"Refresh\"".to_owned(), not_kanidm),
        (
            "another protocol, upgraded to",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n\"Refresh\"".to_owned(),
            "101",
        ),
        ("nothing new", "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(), "304"),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "204"),
        (
            "a part",
            "HTTP/1.1 206 Partial Content\r\ncontent-length: 9\r\n\r\n\"Refresh\"".to_owned(),
            "206",
        ),
        ("a status of no class", "HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n".to_owned(), "999"),
        (
            "a status of two digits",
            "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
            not_kanidm,
        ),
        ("compressed", with_length("content-encoding: gzip\r\n", "\u{1f}\u{8b}\u{8}"), not_kanidm),
        ("brackets without end", with_length("", &deep), not_kanidm),
        ("objects without end", with_length("", &"{\"Active\":".repeat(100_000)), not_kanidm),
        ("a state of another kind", with_length("", "\"Paused\""), not_kanidm),
        ("two states", with_length("", "\"Refresh\"\"Refresh\""), not_kanidm),
        ("a cookie that is none", with_length("", r#"{"Active":{"cookie":"***"}}"#), not_kanidm),
        ("a cookie that is a number", with_length("", r#"{"Active":{"cookie":5}}"#), not_kanidm),
        ("no cookie", with_length("", r#"{"Active":{}}"#), not_kanidm),
    ] {
        let result = get(&pki, bytes);
        let error = result.expect_err(what);
        assert_says(what, &error, words);
    }
}

/// A 200 alone is not Kanidm's word that something was stored: that is `null`.
#[test]
fn a_post_is_applied_only_when_kanidm_says_so() {
    let pki = Pki::new();
    for (what, bytes) in [
        ("Kanidm's", with_length("", "null")),
        ("with white space", with_length("", "null\n")),
        ("after a continue", format!("HTTP/1.1 100 Continue\r\n\r\n{}", with_length("", "null"))),
    ] {
        assert_eq!(post(&pki, bytes), Ok(()), "{what}");
    }
    let not_kanidm = "not one of Kanidm's sync interface";
    for (what, bytes, words) in [
        (
            "a page to sign in",
            with_length("content-type: text/html\r\n", "<html>Welcome</html>"),
            not_kanidm,
        ),
        ("nothing", with_length("", ""), not_kanidm),
        ("a state", with_length("", "\"Refresh\""), not_kanidm),
        ("the request", with_length("", "{\"entries\":[]}"), not_kanidm),
        (
            "half of it",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnu".to_owned(),
            "talking to Kanidm failed",
        ),
        (
            "accepted for later",
            "HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\nnull".to_owned(),
            "202",
        ),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "204"),
        (
            "terminal codes",
            "HTTP/1.1 400 Bad\r\ncontent-length: 9\r\n\r\n\u{1b}]0;x\u{7}\n\r\n".to_owned(),
            "400",
        ),
        (
            "the token",
            format!(
                "HTTP/1.1 400 Bad\r\nx-kanidm-opid: {TOKEN}\r\ncontent-length: {}\r\n\r\n{TOKEN}",
                TOKEN.len()
            ),
            "400",
        ),
    ] {
        let error = post(&pki, bytes).expect_err(what);
        assert_says(what, &error, words);
    }
}

/// So many bytes at a time, with pauses, until the client hangs up or it is over.
fn trickle(link: &mut Link, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        if link.write_all(&[*byte]).and_then(|()| link.flush()).is_err() {
            return;
        }
        thread::sleep(pause);
    }
}

#[test]
fn a_slow_answer_counts_and_an_endless_one_does_not() {
    let pki = Pki::new();
    let web = Web::one(&pki.localhost(), |link| {
        request(link);
        trickle(
            link,
            with_length("x-slow: yes\r\n", "\"Refresh\"").as_bytes(),
            Duration::from_millis(2),
        );
    });
    assert_eq!(client(&pki, web.port, AMPLE).state(), Ok(SyncState::Refresh));
    web.finish();

    // Each of them would go on for ten minutes and more.
    let pause = Duration::from_millis(20);
    let endless: [(&str, Script); 4] = [
        (
            "a head",
            Box::new(move |link| {
                trickle(link, "HTTP/1.1 200 OK\r\nx: ".repeat(2_000).as_bytes(), pause)
            }),
        ),
        (
            "a body",
            Box::new(move |link| {
                trickle(link, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", Duration::ZERO);
                trickle(link, &[b' '; 100_000], pause);
            }),
        ),
        (
            "early hints",
            Box::new(move |link| {
                while link
                    .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                    .and_then(|()| link.flush())
                    .is_ok()
                {
                    thread::sleep(pause);
                }
            }),
        ),
        (
            "silence",
            Box::new(|link| {
                let _ = link.sock.read_to_end(&mut Vec::new());
            }),
        ),
    ];
    for (what, script) in endless {
        let web = Web::one(&pki.localhost(), move |link| {
            request(link);
            script(link);
        });
        let error = client(&pki, web.port, Duration::from_secs(1)).state().expect_err(what);
        assert_says(what, &error, "longer than 1 s");
        web.finish();
    }
}

/// Whoever sits on the path can do this without any certificate.
#[test]
fn a_handshake_that_trickles_ends() {
    let pki = Pki::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        // A TLS record of 16,000 bytes, of which each comes in time.
        let mut record = vec![0x16, 3, 3, 0x3e, 0x80, 2, 0, 0x3e, 0x7c];
        record.resize(16_000, 0);
        for byte in record {
            if socket.write_all(&[byte]).is_err() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    });
    let error = client(&pki, port, Duration::from_secs(1)).state().unwrap_err();
    assert_says("a handshake", &error, "longer than 1 s");
    assert!(server.join().unwrap(), "the client hung up before the end");
}

#[test]
fn a_server_that_becomes_another_one_is_not_talked_to() {
    let (pki, strangers) = (Pki::new(), Pki::named("Strangers"));
    // The same client, that has spoken with the right one before.
    for (what, identity, words) in [
        ("of another authority", strangers.localhost(), "CA that is not trusted"),
        ("expired", pki.expired(), "expired on 2021-01-01"),
        ("of another host", pki.host(&["idm.example.net"]), "it is for idm.example.net"),
    ] {
        let right: Script = Box::new(|link| {
            request(link);
            answer(link, "200 OK", "connection: close\r\n", "\"Refresh\"");
        });
        let wrong: Script = Box::new(move |link| {
            let mut byte = [0];
            assert!(link.read(&mut byte).is_err(), "nothing is said to it, the token least of all");
        });
        let web = Web::changing(vec![(pki.localhost(), right), (identity, wrong)]);
        let mut client = client(&pki, web.port, AMPLE);
        assert_eq!(client.state(), Ok(SyncState::Refresh), "{what}");
        let error = client.apply(&body()).expect_err(what);
        assert_says(what, &error, words);
        web.finish();
    }
}

/// The connection is kept after an answer. What comes on it unasked is no answer to the next
/// request.
#[test]
fn an_answer_before_its_question_is_not_believed() {
    let pki = Pki::new();
    let first: Script = Box::new(|link| {
        request(link);
        let unasked = with_length("", "null");
        link.write_all(format!("{}{unasked}", with_length("", "\"Refresh\"")).as_bytes()).unwrap();
        link.flush().unwrap();
        let _ = link.read_to_end(&mut Vec::new());
    });
    let second: Script = Box::new(|link| {
        request(link);
        answer(link, "503 Service Unavailable", "", "");
    });
    let web = Web::start(&pki.localhost(), vec![first, second]);
    let mut client = client(&pki, web.port, AMPLE);
    assert_eq!(client.state(), Ok(SyncState::Refresh));
    let error = client.apply(&body()).expect_err("an answer that was there already");
    assert_says("unasked", &error, "Kanidm");
    drop(client);
    drop(web);
}
