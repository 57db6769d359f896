//! The status socket in every state and with every kind of client, on real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use kanidm_ldap_sync::service::health::{Health, Verdict};
use kanidm_ldap_sync::service::status::{Probe, StatusListener, ask};

const HOUR: Duration = Duration::from_secs(3600);
/// Long enough that no machine is too slow; only what is broken waits this long.
const PATIENT: Duration = Duration::from_secs(60);

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn listener(health: &Health) -> StatusListener {
    StatusListener::start(anywhere(), health.clone()).unwrap()
}

fn good() -> Health {
    let health = Health::new(HOUR);
    health.run_ended(Verdict::Synchronised, Instant::now() + HOUR);
    health
}

/// All that a client that only listens gets, until the listener closes.
fn answer(listener: &StatusListener) -> String {
    let mut stream = TcpStream::connect(listener.address()).unwrap();
    stream.set_read_timeout(Some(PATIENT)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn every_state() {
    let now = Instant::now();
    let past = now.checked_sub(Duration::from_secs(2)).unwrap();

    let health = Health::new(HOUR);
    let listener = listener(&health);
    assert_eq!(answer(&listener), "Err\n", "before the first run");
    health.run_started(now);
    assert_eq!(answer(&listener), "Err\n", "during the first run");
    health.run_ended(Verdict::Synchronised, now + HOUR);
    assert_eq!(answer(&listener), "Ok\n", "after a good run");
    health.run_started(now);
    assert_eq!(answer(&listener), "Ok\n", "while the next run is under way");
    health.run_ended(Verdict::Busy, now);
    assert_eq!(answer(&listener), "Ok\n", "another run had the lock");

    for bad in [Verdict::Failed, Verdict::Held, Verdict::Refused] {
        health.run_ended(bad, now + HOUR);
        assert_eq!(answer(&listener), "Err\n", "{bad:?}");
        health.run_started(now);
        assert_eq!(answer(&listener), "Err\n", "during the run after {bad:?}");
        health.run_ended(Verdict::Synchronised, now + HOUR);
        assert_eq!(answer(&listener), "Ok\n", "recovered from {bad:?}");
    }

    health.run_ended(Verdict::Synchronised, past);
    assert_eq!(answer(&listener), "Err\n", "the last good run is too old");
    health.run_ended(Verdict::Synchronised, now + HOUR);
    health.set_patience(Duration::from_secs(1));
    health.run_started(past);
    assert_eq!(answer(&listener), "Err\n", "the run hangs");
    health.set_patience(HOUR);
    health.progress(now);
    assert_eq!(answer(&listener), "Ok\n", "the run moves again");

    let worker = health.clone();
    let died = thread::spawn(move || {
        let _attendance = worker.attend();
        panic!("the worker dies, as this test wants it to");
    });
    died.join().unwrap_err();
    assert_eq!(answer(&listener), "Err\n", "nobody makes runs any more");
}

#[test]
fn clients_that_neither_read_nor_close_hold_up_nobody() {
    let listener = listener(&good());
    let silent: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(listener.address()).unwrap()).collect();
    assert_eq!(answer(&listener), "Ok\n");
    // Those that come back to read later find their answer.
    for mut stream in silent {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "Ok\n");
    }
}

#[test]
fn clients_that_send_something_get_their_answer_too() {
    let listener = listener(&good());
    // As an HTTP health check does; also more than is ever read; also when the answer has long been
    // given.
    for (request, late) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], false),
        (&[b'x'; 300_000], false),
        (b"GET / HTTP/1.0\r\n\r\n", true),
    ] {
        let mut stream = TcpStream::connect(listener.address()).unwrap();
        if late {
            assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        }
        // Closing may overtake a long request.
        let _ = stream.write_all(request);
        let mut start = [0; 3];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"Ok\n");
    }
}

#[test]
fn clients_that_are_gone_before_the_answer_do_no_harm() {
    let listener = listener(&good());
    for n in 0..200 {
        let stream = TcpStream::connect(listener.address()).unwrap();
        if n % 2 == 0 {
            stream.shutdown(Shutdown::Both).unwrap();
        }
    }
    assert_eq!(answer(&listener), "Ok\n");
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind(anywhere()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = StatusListener::start(address, good()).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.to_string().contains("listens there"), "{error}");
}

#[test]
fn an_address_of_another_machine_is_an_error_that_says_so() {
    // TEST-NET-1, RFC 5737: nobody's.
    let error = StatusListener::start("192.0.2.1:0".parse().unwrap(), good()).unwrap_err();
    assert!(error.to_string().contains("does not have that address"), "{error}");
}

#[test]
fn a_listener_that_is_dropped_frees_its_address() {
    for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
        let first = StatusListener::start(bind.parse().unwrap(), good()).unwrap();
        let address = first.address();
        drop(first);
        let second = StatusListener::start(address, good()).unwrap();
        assert_eq!(ask(second.address(), PATIENT).exit_code, 0);
    }
}

#[test]
fn status_reports_as_a_nagios_plugin() {
    let health = good();
    let listener = listener(&health);
    let probe = ask(listener.address(), PATIENT);
    assert_eq!((probe.exit_code, &probe.line[..5]), (0, "OK - "));
    health.run_ended(Verdict::Held, Instant::now() + HOUR);
    let probe = ask(listener.address(), PATIENT);
    assert_eq!((probe.exit_code, &probe.line[..11]), (2, "CRITICAL - "));
    let address = listener.address();
    drop(listener);
    let probe = ask(address, PATIENT);
    assert_eq!((probe.exit_code, &probe.line[..10]), (3, "UNKNOWN - "));
    assert!(probe.line.contains(&address.to_string()), "{}", probe.line);
}

#[test]
fn status_asks_the_loopback_address_of_a_listener_on_all_addresses() {
    let listener = StatusListener::start("0.0.0.0:0".parse().unwrap(), good()).unwrap();
    assert_eq!(ask(listener.address(), PATIENT).exit_code, 0);
    // A machine without IPv6 has nothing to show here.
    if let Ok(listener) = StatusListener::start("[::]:0".parse().unwrap(), good()) {
        assert_eq!(ask(listener.address(), PATIENT).exit_code, 0);
    }
}

/// Asks a listener of another kind.
fn ask_another(timeout: Duration, serve: impl FnOnce(TcpStream) + Send + 'static) -> Probe {
    let other = TcpListener::bind(anywhere()).unwrap();
    let address = other.local_addr().unwrap();
    let server = thread::spawn(move || serve(other.accept().unwrap().0));
    let probe = ask(address, timeout);
    server.join().unwrap();
    probe
}

#[test]
fn anything_but_the_two_answers_is_unknown() {
    for other in ["", "Ok", "Ok\nOk\n", "Err", "SSH-2.0-OpenSSH_9.2p1\r\n", "\nOk\n"] {
        let probe =
            ask_another(PATIENT, move |mut stream| stream.write_all(other.as_bytes()).unwrap());
        assert_eq!(probe.exit_code, 3, "{other:?}: {}", probe.line);
        assert_eq!(probe.line.lines().count(), 1);
    }
}

#[test]
fn a_listener_that_says_nothing_or_never_ends_is_unknown() {
    // It is closed only when the asking side has given up.
    let until_closed =
        |mut stream: TcpStream| while stream.read(&mut [0; 16]).is_ok_and(|length| length > 0) {};
    let probe = ask_another(Duration::from_millis(50), until_closed);
    assert_eq!(probe.exit_code, 3, "{}", probe.line);
    assert!(probe.line.contains("timed out"), "{}", probe.line);

    let probe = ask_another(PATIENT, |mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    assert_eq!(probe.exit_code, 3, "{}", probe.line);
}
