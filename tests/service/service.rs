//! A running service, and directories made for it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::support::peer::{Link, Peer, SLAPD, done, sync_done, sync_entry};
use crate::support::pki::Pki;
pub use crate::support::ports::own_address as status_address;
use crate::support::process::PATIENCE;
use crate::support::tool::{ConfigText, Outcome, Tool, run_command};

/// A schedule that never comes into the way of a test: what runs was asked to.
pub const NEVER: &str = "0 0 0 1 1 * 2099";

/// `kanidm-ldap-sync --schedule`, killed when dropped.
pub struct Service {
    pub child: Child,
    log: Arc<Mutex<String>>,
    status: SocketAddr,
}

impl Service {
    /// Starts it; `status` is what its configuration says.
    pub fn start(tool: &Tool, status: SocketAddr) -> Service {
        Service::spawn(tool.command().arg("--schedule"), status)
    }

    /// Starts it by another command, such as one with more environment, or one that starts it in a
    /// namespace.
    pub fn spawn(command: &mut Command, status: SocketAddr) -> Service {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut stderr, written) =
            (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|length| length > 0) {
                written.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Service { child, log, status }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// How often this stands in the log.
    pub fn said(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Why the service could not listen for changes, as often as it said so.
    pub fn reasons(&self) -> Vec<String> {
        let of_line = |line: &str| {
            let (_, reason) = line.split_once("cannot listen for changes: ")?;
            Some(reason.split(". The schedule goes on").next()?.to_owned())
        };
        self.log().lines().filter_map(of_line).collect()
    }

    /// Each reason is said once in an outage.
    #[track_caller]
    pub fn assert_said_once(&self) {
        let reasons = self.reasons();
        let different: BTreeSet<&String> = reasons.iter().collect();
        assert_eq!(different.len(), reasons.len(), "{}", self.log());
        assert!((1..=5).contains(&reasons.len()), "{}", self.log());
    }

    /// Waits until this stands in the log so many times.
    #[track_caller]
    pub fn wait_for(&self, text: &str, times: usize) {
        wait_until(
            || self.said(text) >= times,
            || format!("{text:?} does not come {times} times\n{}", self.log()),
        );
    }

    /// What the status socket answers; empty while nobody listens there.
    pub fn status(&self) -> String {
        status_at(self.status)
    }

    /// Waits until the status socket answers so.
    #[track_caller]
    pub fn wait_for_status(&self, status: &str) {
        wait_until(
            || self.status() == status,
            || format!("the status does not become {status:?}\n{}", self.log()),
        );
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Asks for a run and waits for its end: `ends` stands once more in the log.
    #[track_caller]
    pub fn run_now(&self, ends: &str) {
        let before = self.said(ends);
        self.signal("USR1");
        self.wait_for(ends, before + 1);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        wait_until(|| self.child.try_wait().unwrap().is_some(), || "it does not end".to_owned());
        self.child.wait().unwrap()
    }

    /// Ends it by this signal; the exit code, which has to come within about a second.
    #[track_caller]
    pub fn stop(&mut self, name: &str) -> Option<i32> {
        self.signal(name);
        stopped(&mut self.child)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code of a process that was told to end. A second is what it may take; on a busy machine
/// a test grants more, and far less than any time-out that could end the process instead.
#[track_caller]
pub fn stopped(child: &mut Child) -> Option<i32> {
    let told = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            println!("ended {} ms after the signal", told.elapsed().as_millis());
            return status.code();
        }
        assert!(told.elapsed() < Duration::from_secs(8), "it does not end");
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn signal(process: u32, name: &str) {
    assert!(
        Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap().success()
    );
}

pub fn status_at(address: SocketAddr) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_string(&mut text).unwrap();
    }
    text
}

/// `--status`.
pub fn ask(tool: &Tool) -> Outcome {
    run_command(tool.command().arg("--status"))
}

#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool, failure: impl Fn() -> String) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{}", failure());
        thread::sleep(Duration::from_millis(5));
    }
}

/// The configuration for a scripted directory: no run but those asked for, and short time-outs.
pub fn config(peer: &Peer, pki: &Pki, token: &str, status: SocketAddr) -> ConfigText {
    ConfigText::for_directory(&format!("ldaps://localhost:{}", peer.port), pki.ca())
        .set("ldap_sync_base_dn", "dc=example")
        .set("person_objectclass", "person")
        .set("sync_token", token)
        .set("schedule", NEVER)
        .set("status_bind", status.to_string())
        .set("ldap_timeout", 1)
        .set("kanidm_timeout", 3)
}

/// A person of a scripted directory.
pub fn person(id: u32, number: u128, uid: &str) -> Vec<u8> {
    let attributes: [(&str, &[&str]); 3] =
        [("objectClass", &["person"]), ("uid", &[uid]), ("cn", &["Some One"])];
    sync_entry(
        id,
        Uuid::from_u128(number << 64 | 1),
        &format!("cn=person {number},dc=example"),
        &attributes,
    )
}

/// Answers everything up to the refresh, and says what its message ID is.
pub fn until_refresh(link: &mut Link) -> u32 {
    link.begin(SLAPD);
    let refresh = link.request();
    assert!(refresh.is_refresh());
    refresh.id
}

/// A run that finds one person.
pub fn one_person(link: &mut Link) {
    let id = until_refresh(link);
    link.send(person(id, 1, "one"));
    link.send(sync_done(id, Some("rid=000,csn=20260101000000.000000Z#000000#000#000000"), false));
    no_more(link);
}

/// Whatever is looked up beside the refresh, there is none of it.
pub fn no_more(link: &mut Link) {
    while let Some(search) = link.next_request().filter(|request| request.tag == 0x63) {
        link.send(done(search.id, 0, ""));
    }
}
