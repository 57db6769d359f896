//! A directory that hangs at each step of the conversation, a Kanidm that hangs, and the service
//! itself when it does: the status says so, and a run that is merely slow is not called hung.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use uuid::Uuid;

use crate::service::{
    NEVER, Service, config, no_more, one_person, person, status_address, status_at, stopped,
    until_refresh, wait_until,
};
use crate::support::kanidm::KanidmServer;
use crate::support::peer::{Link, Peer, Script, bind_response, done, entry, id_set, sync_done};
use crate::support::pki::Pki;
use crate::support::temp::TempDir;
use crate::support::tool::{ConfigText, Tool};
use crate::support::world::ACCOUNT;

/// What a directory does before it falls silent.
pub type Prelude = fn(&mut Link);

/// What the log then says, and that.
pub const HANGS: [(&str, Prelude); 5] = [
    ("the TLS handshake timed out", Link::forget_tls),
    ("the bind timed out", |link| {
        link.request();
    }),
    ("reading the root DSE timed out", |link| {
        let bind = link.request();
        link.send(bind_response(bind.id, 0, ""));
        link.request();
    }),
    ("the refresh timed out", |link| {
        until_refresh(link);
    }),
    ("the refresh timed out", |link| {
        let id = until_refresh(link);
        let message = person(id, 1, "one");
        link.send(&message[..message.len() / 2]);
    }),
];

fn client(kanidm: &KanidmServer) -> ConfigText {
    ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()).set("connect_timeout", 1)
}

#[test]
fn a_directory_that_hangs_at_any_step_fails_the_run_and_not_the_service() {
    let (pki, kanidm) = (Pki::new(), KanidmServer::start());
    let token = kanidm.create_sync_account(ACCOUNT).token;
    // All at once: each waits for its time-out of a second.
    let started = HANGS.map(|(words, hang)| {
        let hang: Script = Box::new(move |link| {
            hang(link);
            link.stay_silent();
        });
        let peer = Peer::tls_series(&pki.localhost(), vec![hang, Box::new(one_person)]);
        let status = status_address();
        let tool = Tool::new(
            &config(&peer, &pki, &token, status).set("kanidm_timeout", 20),
            &client(&kanidm),
        );
        (words, Service::start(&tool, status), tool, peer)
    });
    for (words, service, _tool, _peer) in &started {
        service.wait_for_status("Err\n");
        service.wait_for(words, 1);
        assert_eq!(service.status(), "Err\n", "{words}");
    }
    // One after the other: two runs at once into one sync account would be in each other's way.
    for (_, service, _tool, _peer) in &started {
        service.run_now("synchronised: ");
        service.wait_for_status("Ok\n");
    }
}

#[test]
fn a_kanidm_that_hangs_fails_the_run_and_not_the_service() {
    let (pki, kanidm) = (Pki::new(), KanidmServer::start());
    let token = kanidm.create_sync_account(ACCOUNT).token;
    let peer = Peer::tls_series(&pki.localhost(), vec![Box::new(one_person) as Script]);
    let status = status_address();
    let tool =
        Tool::new(&config(&peer, &pki, &token, status).set("kanidm_timeout", 2), &client(&kanidm));
    crate::service::signal(kanidm.pid(), "STOP");
    let service = Service::start(&tool, status);
    service.wait_for("reading the sync state from Kanidm", 1);
    assert_eq!(service.status(), "Err\n");
    crate::service::signal(kanidm.pid(), "CONT");
    service.run_now("synchronised: ");
    service.wait_for_status("Ok\n");
}

/// Patience is two of `ldap_timeout`, `kanidm_timeout` and `connect_timeout`: six seconds. The run
/// takes longer, moving all the time: in one message that trickles, in messages that are no
/// entries, and in the answers to what is looked up beside the refresh.
#[test]
fn a_run_that_moves_is_not_hung() {
    const PAUSE: Duration = Duration::from_millis(400);
    let slow: Script = Box::new(|link| {
        let id = until_refresh(link);
        let message = person(id, 2, "two");
        for piece in message.chunks(message.len() / 4) {
            link.send(piece);
            thread::sleep(PAUSE);
        }
        for _ in 0..12 {
            link.send(id_set(id, false, &[Uuid::from_u128(1 << 64 | 1)]));
            thread::sleep(PAUSE);
        }
        link.send(sync_done(
            id,
            Some("rid=000,csn=20260102000000.000000Z#000000#000#000000"),
            true,
        ));
        while let Some(search) = link.next_request().filter(|request| request.tag == 0x63) {
            for number in 0..4 {
                link.send(entry(
                    search.id,
                    &format!("cn=other {number},dc=example"),
                    &[("objectClass", &["other"])],
                ));
                thread::sleep(PAUSE);
            }
            link.send(done(search.id, 0, ""));
        }
    });
    let (pki, kanidm) = (Pki::new(), KanidmServer::start());
    let token = kanidm.create_sync_account(ACCOUNT).token;
    let peer = Peer::tls_series(&pki.localhost(), vec![Box::new(one_person), slow]);
    let status = status_address();
    let tool = Tool::new(&config(&peer, &pki, &token, status), &client(&kanidm));
    let service = Service::start(&tool, status);
    service.wait_for("synchronised: ", 1);
    service.wait_for_status("Ok\n");
    service.signal("USR1");
    let begin = Instant::now();
    wait_until(
        || {
            thread::sleep(Duration::from_millis(50));
            assert_eq!(service.status(), "Ok\n", "after {:?}", begin.elapsed());
            service.said("synchronised: ") == 2
        },
        || service.log(),
    );
    // Else this has shown nothing.
    assert!(begin.elapsed() > Duration::from_secs(7), "{:?}", begin.elapsed());
}

/// The one thing without a time-out: a log that nobody reads.
#[test]
fn a_run_that_hangs_is_said_to() {
    let (pki, kanidm) = (Pki::new(), KanidmServer::start());
    let token = kanidm.create_sync_account(ACCOUNT).token;
    // Some 150 bytes each, and a pipe holds 64 KiB.
    let many_held: Script = Box::new(|link| {
        let id = until_refresh(link);
        link.send(person(id, 1, "one"));
        (2..2_000).for_each(|number| link.send(person(id, number, "not a name")));
        link.send(sync_done(
            id,
            Some("rid=000,csn=20260102000000.000000Z#000000#000#000000"),
            true,
        ));
        no_more(link);
    });
    let peer = Peer::tls_series(&pki.localhost(), vec![Box::new(one_person), many_held]);
    let status = status_address();
    let tool = Tool::new(&config(&peer, &pki, &token, status), &client(&kanidm));
    let mut running = tool.spawn(&["--schedule"]);
    let ask = || status_at(status);
    wait_until(|| ask() == "Ok\n", || "no good run".to_owned());
    running.signal("USR1");
    // No verdict is given: the run is not over, and the one before is good for decades.
    wait_until(|| ask() == "Err\n", || "a run that hangs is called good".to_owned());
    // And it can still be stopped.
    running.signal("TERM");
    assert_eq!(stopped(running.child()), Some(0));
    let mut log = String::new();
    running.child().stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("held back") && log.matches("synchronised: ").count() == 1, "{log}");
}

/// A directory that accepts nothing, and whose queue of connections somebody has filled: connect(2)
/// waits for ever.
#[test]
fn a_full_ldapi_socket_leaves_one_thread_behind() {
    let kanidm = KanidmServer::start();
    let token = kanidm.create_sync_account(ACCOUNT).token;
    let folder = TempDir::new("ldapi");
    let path = folder.path().join("ldapi");
    let address = SockAddr::unix(&path).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let _filler = UnixStream::connect(&path).unwrap();
    let next = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    next.set_nonblocking(true).unwrap();
    assert_eq!(
        next.connect(&address).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "the queue is full"
    );

    let status = status_address();
    let uri = format!("ldapi://{}", path.to_str().unwrap().replace('/', "%2F"));
    let config = ConfigText::for_directory(&uri, &path)
        .without("ldap_ca")
        .without("ldap_sync_dn")
        .without("ldap_sync_pw");
    let config = config
        .set("sync_token", token)
        .set("schedule", NEVER)
        .set("status_bind", status.to_string())
        .set("ldap_timeout", 1);
    let tool = Tool::new(&config, &client(&kanidm));
    let service = Service::start(&tool, status);
    let holds =
        |what: &str| fs::read_dir(format!("/proc/{}/{what}", service.child.id())).unwrap().count();
    service.wait_for("has accepted no connection for 1 s", 1);
    let after_one = (holds("task"), holds("fd"));
    (0..10).for_each(|_| service.run_now("the connection of an earlier run is still not accepted"));
    // A run that is about to end holds a few more, of which these ten would be too many.
    wait_until(
        || holds("task") <= after_one.0 && holds("fd") <= after_one.1,
        || "each run leaves something behind".to_owned(),
    );
    assert_eq!(service.said("has accepted no connection"), 1);

    // The server is gone, and so is who waits for it.
    drop(listener);
    wait_until(|| holds("task") == after_one.0 - 1, || "the thread does not end".to_owned());
    service.run_now("nobody listens on the socket");
}
