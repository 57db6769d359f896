//! A service that makes one run after another, good ones and bad ones, and holds no more afterwards
//! than before: threads, open files, memory.
//!
//! `tests/run` makes 240 runs. The long version is not part of it; it takes some minutes:
//!
//! ```sh
//! SOAK_RUNS=10000 cargo test --test sync soak:: -- --nocapture
//! ```
//!
//! Directory and Kanidm are light ones in this process, over real TLS, so that what is measured is
//! our program.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use uuid::Uuid;

use crate::support::model::Model;
use crate::support::peer::{
    self, Link, Peer, SLAPD, Script, bind_response, done, id_set, sync_done, sync_entry,
};
use crate::support::pki::Pki;
use crate::support::process::PATIENCE;
use crate::support::tool::{ConfigText, Tool};

/// Without `SOAK_RUNS`.
const RUNS: usize = 240;

/// Runs until everything is there that stays: buffers of the allocator, mostly.
const WARM_UP: usize = 80;

/// kB by which the resident memory may differ, however many runs there are.
const SLACK: usize = 3 * 1024;

/// Between two runs: the one of the runs, the signals', the status listener's.
const THREADS: usize = 3;

/// What happens to a run, by its number: these, or nothing is to be done.
const KINDS: usize = 8;
const CHANGE: usize = 1;
const DELETION: usize = 2;
const HELD: usize = 3;
const CUT: usize = 4;
const BIND_REFUSED: usize = 5;
const NO_TLS: usize = 6;
const KANIDM_AWAY: usize = 7;

#[test]
fn a_service_holds_no_more_after_many_runs() {
    let runs = std::env::var("SOAK_RUNS")
        .map_or(RUNS, |runs| runs.parse().expect("SOAK_RUNS is a number"));
    assert!(runs > WARM_UP, "SOAK_RUNS is more than {WARM_UP}");
    let pki = Pki::new();
    let number = Arc::new(AtomicUsize::new(0));
    let directory = Peer::tls_series(
        &pki.localhost(),
        (0..=runs).filter(|run| run % KINDS != KANIDM_AWAY).map(script).collect(),
    );
    let kanidm = kanidm(&pki, Arc::clone(&number));
    let sync =
        ConfigText::for_directory(&format!("ldaps://localhost:{}", directory.port), pki.ca())
            .set("ldap_sync_base_dn", "dc=example")
            .set("person_objectclass", "person")
            .set("user_private_groups", "sync")
            .set("sync_token", "a-token-of-some-length")
            .set("schedule", "0 0 0 1 1 * 2099")
            .set("status_bind", "127.0.0.1:0");
    let tool =
        Tool::new(&sync, &ConfigText::for_kanidm(&format!("https://localhost:{kanidm}"), pki.ca()));
    let service = Service::start(&tool);

    let begin = Instant::now();
    service.wait_for_runs(1);
    let (mut first, mut fewest) = (None, usize::MAX);
    for run in 1..=runs {
        number.store(run, Ordering::SeqCst);
        service.signal("USR1");
        service.wait_for_runs(run + 1);
        if run <= WARM_UP {
            // The last connection of a run may not be closed yet. After one of so many it is.
            fewest = fewest.min(service.held().files);
        }
        if run == WARM_UP {
            first = Some(service.settled(fewest));
        }
        if run == runs || run % (runs / 10).max(1) == 0 {
            println!("{run} runs, {:.0} s: {:?}", begin.elapsed().as_secs_f64(), service.held());
        }
    }
    let first = first.expect("warmed up");
    let last = service.settled(fewest);
    println!("after {WARM_UP} runs: {first:?}\nafter {runs} runs: {last:?}");
    assert!(last.resident <= first.resident + SLACK, "memory: {first:?}, {last:?}");
    // All kinds of run came to what they were meant to.
    let (good, bad) = *service.ended.0.lock().unwrap();
    let failing = (0..=runs)
        .filter(|run| [CUT, BIND_REFUSED, NO_TLS, KANIDM_AWAY].contains(&(run % KINDS)))
        .count();
    assert_eq!((good, bad), (runs + 1 - failing, failing), "{}", service.log());
}

/// What the directory does in a run.
fn script(run: usize) -> Script {
    let cookie = format!("rid=000,csn={run}");
    Box::new(move |link: &mut Link| match run % KINDS {
        _ if run == 0 => {
            link.begin(SLAPD);
            let id = link.request().id;
            link.send(
                (1..=9)
                    .flat_map(|number| person(id, number, &format!("user{number}"), "Some One"))
                    .collect::<Vec<u8>>(),
            );
            link.send(sync_done(id, Some(&cookie), true));
            link.stay_silent();
        }
        BIND_REFUSED => {
            let id = link.request().id;
            link.send(bind_response(id, 49, "no"));
            link.stay_silent();
        }
        NO_TLS => link.cut(),
        kind => {
            link.begin(SLAPD);
            let id = link.request().id;
            let changed = person(
                id,
                1 + run as u128 % 5,
                &format!("user{}", 1 + run % 5),
                &format!("Some One {run}"),
            );
            let new = 10_000 + run as u128;
            match kind {
                CHANGE => link.send(changed),
                // One that came a while ago goes, another one comes.
                DELETION => {
                    link.send(id_set(id, true, &[uuid(new - KINDS as u128)]));
                    link.send(person(id, new, &format!("new{run}"), "Some One"));
                }
                HELD => link.send(person(id, 8, "not/a/name", "Some One")),
                CUT => {
                    link.send(changed);
                    return link.cut();
                }
                _ => {}
            }
            link.send(sync_done(id, Some(&cookie), true));
            // Whatever is looked up beside it finds nothing.
            while let Some(request) = link.next_request().filter(|request| request.tag == 0x63) {
                link.send(done(request.id, 0, ""));
            }
        }
    })
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number << 64 | 1)
}

fn person(id: u32, number: u128, name: &str, displayname: &str) -> Vec<u8> {
    let attributes: [(&str, &[&str]); 3] =
        [("objectClass", &["person"]), ("uid", &[name]), ("cn", &[displayname])];
    sync_entry(id, uuid(number), &format!("cn=person {number},dc=example"), &attributes)
}

/// Kanidm's interface before the model; its port. It is away in some of the runs.
fn kanidm(pki: &Pki, number: Arc<AtomicUsize>) -> u16 {
    let config = peer::server_config(&pki.localhost(), None, rustls::ALL_VERSIONS);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut model = Model::default();
        for socket in listener.incoming().flatten() {
            serve(socket, &config, &mut model, &number);
        }
    });
    port
}

/// Answers the requests of one connection, until the client ends it.
fn serve(socket: TcpStream, config: &Arc<ServerConfig>, model: &mut Model, number: &AtomicUsize) {
    let mut link = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), socket);
    while let Some((head, body)) = request(&mut link) {
        let (status, text) = match head.starts_with("POST") {
            _ if number.load(Ordering::SeqCst) % KINDS == KANIDM_AWAY => (503, String::new()),
            true => model.post(&body),
            false => (200, model.state_text()),
        };
        let answer = format!(
            "HTTP/1.1 {status} X\r\nx-kanidm-opid: op\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        if link.write_all(answer.as_bytes()).and_then(|()| link.flush()).is_err() {
            return;
        }
    }
}

fn request(link: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        link.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    link.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    threads: usize,
    files: usize,
    /// kB.
    resident: usize,
}

/// `--schedule`, killed when dropped.
struct Service {
    child: Child,
    /// Runs that went through, and that failed.
    ended: Arc<(Mutex<(usize, usize)>, Condvar)>,
    /// The end of what it has logged.
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Service {
    fn start(tool: &Tool) -> Service {
        let mut command = tool.command();
        command.arg("--schedule").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let ended = Arc::new((Mutex::new((0, 0)), Condvar::new()));
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (counted, kept) = (Arc::clone(&ended), Arc::clone(&log));
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let (good, bad) = (line.contains("synchronised: "), line.contains(" ERROR "));
                let mut kept = kept.lock().unwrap();
                kept.push_back(line);
                if kept.len() > 50 {
                    kept.pop_front();
                }
                drop(kept);
                let mut counts = counted.0.lock().unwrap();
                *counts = (counts.0 + usize::from(good), counts.1 + usize::from(bad));
                counted.1.notify_all();
            }
        });
        Service { child, ended, log }
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args(["-s", name, &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    #[track_caller]
    fn wait_for_runs(&self, runs: usize) {
        let ended = self.ended.0.lock().unwrap();
        let (ended, timeout) = self
            .ended
            .1
            .wait_timeout_while(ended, PATIENCE, |(good, bad)| *good + *bad < runs)
            .unwrap();
        drop(ended); // or the assertion would poison it
        assert!(!timeout.timed_out(), "run {runs} does not end\n{}", self.log());
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().iter().map(|line| format!("{line}\n")).collect()
    }

    fn held(&self) -> Held {
        let process = self.child.id();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let field = |name: &str| -> usize {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        Held { threads: field("Threads:"), files, resident: field("VmRSS:") }
    }

    /// What it holds once the last run has let go of everything.
    #[track_caller]
    fn settled(&self, files: usize) -> Held {
        let begin = Instant::now();
        loop {
            let now = self.held();
            if now.threads <= THREADS && now.files <= files {
                return now;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "it does not let go of {now:?}: {THREADS} threads, {files} files\n{}",
                self.log()
            );
            thread::yield_now();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
