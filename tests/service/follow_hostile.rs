//! `follow` with a directory that does not play along: the schedule goes on, one line says why, and
//! nothing is tried in a busy loop.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kanidm_ldap_sync::directory::follow::{Follow, Heard};
use kanidm_ldap_sync::heartbeat::Heartbeat;
use kanidm_ldap_sync::service::follow::{Ending, Follower as FollowerThread, Line, Pauses, TICK};
use kanidm_ldap_sync::service::health::Health;
use kanidm_ldap_sync::service::signals::Inbox;

use crate::service::{NEVER, Service, config, no_more, person, signal, status_address, wait_until};
use crate::support::kanidm::KanidmServer;
use crate::support::peer::{
    self, Link, Peer, SLAPD, done, notice, refreshed, sync_done, unsolicited,
};
use crate::support::pki::Pki;
use crate::support::process::PATIENCE;
use crate::support::tool::{ConfigText, Tool};
use crate::support::world::ACCOUNT;

const OUT: &str = "cannot listen for changes: ";
const LISTENING: &str = "listening for changes of the directory";
const RAN: &str = "synchronised: ";

/// What the directory does with a connection that listens: the message ID of its search.
type Listening = fn(&mut Link, u32);

/// A scripted directory, a real Kanidm and the service between them.
struct Follower {
    kanidm: KanidmServer,
    /// Persons in the directory.
    persons: Arc<AtomicU32>,
    /// Connections that listened.
    listened: Arc<AtomicU32>,
    service: Service,
    tool: Tool,
    _peer: Peer,
    _pki: Pki,
    begun: Instant,
}

impl Follower {
    fn start(listening: Listening, schedule: &str) -> Follower {
        let (pki, kanidm) = (Pki::new(), KanidmServer::start());
        let token = kanidm.create_sync_account(ACCOUNT).token;
        let (persons, listened) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicU32::new(0)));
        let shared = (Arc::clone(&persons), Arc::clone(&listened));
        let peer = Peer::tls_each(&pki.localhost(), move |link| {
            link.begin(SLAPD);
            let search = link.request();
            if search.is_persistent() {
                assert!(search.mentions("1.1"), "no attributes");
                shared.1.fetch_add(1, Ordering::SeqCst);
                return listening(link, search.id);
            }
            for number in 1..=shared.0.load(Ordering::SeqCst) {
                link.send(person(search.id, number.into(), &format!("person{number}")));
            }
            let cookie = "rid=000,csn=20260101000000.000000Z#000000#000#000000";
            link.send(sync_done(search.id, Some(cookie), true));
            no_more(link);
        });
        let status: SocketAddr = status_address();
        let config = config(&peer, &pki, &token, status)
            .set("schedule", schedule)
            .set("follow", true)
            .set("follow_interval", 0.1);
        let tool = Tool::new(&config, &ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()));
        let service = Service::start(&tool, status);
        let begun = Instant::now();
        let (_peer, _pki) = (peer, pki);
        Follower { kanidm, persons, listened, service, tool, _peer, _pki, begun }
    }

    fn has(&self, number: u32) -> bool {
        self.kanidm.entry(ACCOUNT, &format!("person{number}")).is_some()
    }

    /// Adds a person to the directory, and waits until Kanidm has it.
    #[track_caller]
    fn add_a_person(&self) {
        let number = self.persons.fetch_add(1, Ordering::SeqCst) + 1;
        wait_until(|| self.has(number), || format!("no person {number}\n{}", self.service.log()));
    }

    /// Connections so far: the pauses between two are 1, 2, 4 … seconds.
    #[track_caller]
    fn assert_no_busy_loop(&self, what: &str) {
        let listened = self.listened.load(Ordering::SeqCst);
        let most = 1 + (self.begun.elapsed().as_secs() + 1).ilog2() + 1;
        assert!(listened <= most, "{what}: {listened} connections, not {most}");
    }
}

fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
    f64::from(ticks) / 100.0
}

fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_connection_that_ends_badly_is_said_once_and_the_schedule_goes_on() {
    let cases: [(&str, Listening, &str); 9] = [
        (
            "cut",
            |link, id| {
                link.send(refreshed(id));
                link.cut();
            },
            "cut the connection off during the wait for changes",
        ),
        (
            "reset",
            |link, id| {
                link.send(refreshed(id));
                link.reset();
            },
            "during the wait for changes",
        ),
        ("hang", |link, _| link.stay_silent(), "the wait for changes timed out"),
        (
            "hang in a message",
            |link, id| {
                link.send(refreshed(id));
                link.send(&refreshed(id)[..9]);
                link.stay_silent();
            },
            "the wait for changes timed out",
        ),
        (
            "garbage",
            |link, id| {
                link.send(refreshed(id));
                link.send([0xff; 500]);
                link.stay_silent();
            },
            "during the wait for changes the server sent what is not LDAP",
        ),
        (
            "a message of two gigabytes",
            |link, _| {
                link.send([0x30, 0x84, 0x7f, 0xff, 0xff, 0xf0, 2, 1, 4, 0x79]);
                link.send(vec![0; 1 << 16]);
                link.stay_silent();
            },
            "exceeds the limit of 1048576 bytes",
        ),
        (
            "done at once",
            |link, id| link.send(done(id, 0, "")),
            "the server ended the wait for changes below \"dc=example\"",
        ),
        (
            "refused",
            |link, id| link.send(done(id, 53, "too many")),
            "unwillingToPerform (53), \"too many\"",
        ),
        (
            "stopped",
            |link, id| {
                link.send(refreshed(id));
                link.send(notice(52, "going down"));
            },
            "the server ended the connection during the wait for changes, giving as its reason",
        ),
    ];
    for (what, listening, words) in cases {
        let follower = Follower::start(listening, "* * * * * *");
        follower.service.wait_for(OUT, 1);
        follower.service.wait_for(words, 1);
        follower.add_a_person();
        follower.service.wait_for(RAN, follower.service.said(RAN) + 1);
        follower.service.assert_said_once();
        assert!(follower.service.said(LISTENING) <= 1, "{what}: {}", follower.service.log());
        assert_eq!(follower.service.status(), "Ok\n", "{what}");
        follower.assert_no_busy_loop(what);
    }
}

#[test]
fn an_endless_stream_of_rings_costs_neither_a_processor_nor_memory() {
    let follower = Follower::start(
        |link, id| {
            link.send(refreshed(id));
            let rings: Vec<u8> = (0..500).flat_map(|_| person(id, 1, "person1")).collect();
            while link.try_send(&rings) {}
        },
        NEVER,
    );
    let pid = follower.service.child.id();
    follower.service.wait_for(RAN, 3);
    let (before, processor, begun) = (memory_kib(pid), processor_seconds(pid), Instant::now());
    follower.add_a_person();
    follower.service.wait_for(RAN, 25);
    let (grown, took) = (memory_kib(pid).saturating_sub(before), begun.elapsed().as_secs_f64());
    let processor = processor_seconds(pid) - processor;
    let runs = follower.service.said(RAN);
    println!("{runs} runs in {took:.1} s, {processor:.2} s of processor, {grown} KiB grown");
    assert!(grown < 8 * 1024, "{grown} KiB");
    assert!(processor < took * 0.7, "{processor} s of {took} s");
    assert!(runs as f64 <= follower.begun.elapsed().as_secs_f64() * 10.0 + 2.0);
    assert_eq!(follower.service.said(OUT), 0, "{}", follower.service.log());
}

/// Notices that belong to no request, before it listens and after.
#[test]
fn an_endless_stream_of_quiet_messages_costs_no_processor() {
    fn chatter(link: &mut Link) {
        let quiet: Vec<u8> = (0..500).flat_map(|_| unsolicited("1.2.3", 0, "")).collect();
        while link.try_send(&quiet) {}
    }
    let cases: [(Listening, &str); 2] = [
        (|link, _| chatter(link), "the wait for changes timed out: the server was silent for 1 s"),
        (
            |link, id| {
                link.send(refreshed(id));
                chatter(link);
            },
            LISTENING,
        ),
    ];
    for (listening, words) in cases {
        let follower = Follower::start(listening, "* * * * * *");
        let pid = follower.service.child.id();
        follower.service.wait_for(words, 1);
        let (processor, begun) = (processor_seconds(pid), Instant::now());
        follower.service.wait_for(RAN, follower.service.said(RAN) + 6);
        let took = begun.elapsed().as_secs_f64();
        let processor = processor_seconds(pid) - processor;
        println!("{words}: {processor:.2} s of processor in {took:.1} s");
        assert!(processor < took * 0.4, "{words}: {processor} s of {took} s");
        follower.assert_no_busy_loop(words);
    }
}

#[test]
fn a_refused_cookie_makes_one_run_and_then_more_with_pauses() {
    let follower = Follower::start(|link, id| link.send(done(id, 4096, "no")), NEVER);
    follower.service.wait_for("does not accept the cookie to listen from: no; a run", 1);
    follower.service.wait_for(OUT, 1);
    wait_until(|| follower.listened.load(Ordering::SeqCst) >= 4, || follower.service.log());
    // The first run of the service, and one for each connection.
    let runs = follower.service.said(RAN);
    assert!((4..=5).contains(&runs), "{}", follower.service.log());
    follower.service.assert_said_once();
    follower.assert_no_busy_loop("refused");
}

/// The pauses are a thousandth of those of the service, everything else is real.
#[test]
fn a_search_that_ends_at_once_a_hundred_times_is_tried_with_pauses() {
    let (pki, listened) = (Pki::new(), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&listened);
    let peer = Peer::tls_each(&pki.localhost(), move |link| {
        link.begin(SLAPD);
        let search = link.request();
        count.fetch_add(1, Ordering::SeqCst);
        link.send(done(search.id, 0, ""));
        link.stay_silent();
    });
    let directory = peer::config("localhost", &peer, Some(pki.ca()));
    let pauses = Pauses { first: Duration::from_millis(1), longest: Duration::from_millis(60) };
    let (inbox, health) = (Inbox::default(), Health::new(PATIENCE));
    let begun = Instant::now();
    let listen = move |line: &Line, cookie: &[u8]| {
        let mut follow = match Follow::start(&directory, cookie, Heartbeat::default()) {
            Ok(follow) => follow,
            Err(error) => return Ending::Failed(error.to_string()),
        };
        while !line.is_over() {
            line.beat();
            match follow.wait(TICK) {
                Ok(heard) => assert_eq!(heard, Heard::Nothing),
                Err(error) => return Ending::Failed(error.to_string()),
            }
        }
        Ending::Over
    };
    let follower = FollowerThread::start(Some(b"c".to_vec()), &inbox, &health, pauses, listen);
    wait_until(
        || listened.load(Ordering::SeqCst) >= 100,
        || format!("{} connections", listened.load(Ordering::SeqCst)),
    );
    // 1, 2, 4, 8, 16 and 32 ms, and 93 pauses of 60 ms.
    assert!(begun.elapsed() >= Duration::from_millis(63 + 93 * 60), "{:?}", begun.elapsed());
    assert!(!inbox.wait(Duration::ZERO).ring);
    drop(follower.unwrap());
}

#[test]
fn a_reload_listens_anew_and_sigterm_ends_both_threads() {
    let mut follower = Follower::start(
        |link, id| {
            link.send(refreshed(id));
            link.stay_silent();
        },
        NEVER,
    );
    follower.service.wait_for(LISTENING, 1);
    follower.service.signal("HUP");
    follower.service.wait_for(LISTENING, 2);
    assert_eq!(follower.listened.load(Ordering::SeqCst), 2);

    // Without `follow` nobody listens.
    let text = fs::read_to_string(follower.tool.sync_config()).unwrap();
    fs::write(follower.tool.sync_config(), text.replace("follow = true", "follow = false"))
        .unwrap();
    follower.service.signal("HUP");
    follower.service.wait_for("is in force", 2);
    fs::write(follower.tool.sync_config(), text).unwrap();
    follower.service.signal("HUP");
    follower.service.wait_for(LISTENING, 3);
    assert_eq!(follower.listened.load(Ordering::SeqCst), 3);

    signal(follower.service.child.id(), "TERM");
    assert_eq!(crate::service::stopped(&mut follower.service.child), Some(0));
}
