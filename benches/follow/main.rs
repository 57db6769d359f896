//! How soon a followed directory's change is in Kanidm: slapd and 389, with an engine that answers
//! at once and with the real engine of the tests. Prints the tables of `docs/performance.md`.
//!
//! `cargo bench --bench follow` takes a quarter of an hour and wants a machine that does nothing
//! else. 389 needs root. A part of it: `cargo bench --bench follow -- slapd`, or `ds389`, `idle`,
//! `burst`. `CHANGES=20` makes fewer changes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench says what is missing by failing"
)]

#[path = "../compare/sink.rs"]
#[allow(dead_code, reason = "this bench uses a part")]
mod sink;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::sink::Sink;
use crate::support::ds389::Ds389Options;
use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::ldap::LdapClient;
use crate::support::pki::Pki;
use crate::support::seed::{Seed, SeedOptions, user_dn, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{ConfigText, Tool};
use crate::support::world::{ACCOUNT, Between, FILTER, World, World389};

/// Accounts of the directory, in groups of their own kind.
const USERS: usize = 1000;
const BURST: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("not a test: cargo bench --bench follow");
        return;
    }
    let wanted: Vec<&String> =
        arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let parts: [(&str, fn()); 4] =
        [("slapd", slapd), ("ds389", ds389), ("burst", burst), ("idle", idle)];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            part();
        }
    }
}

fn seed() -> Seed {
    Seed::Generated(SeedOptions {
        users: USERS,
        groups: 50,
        specials: false,
        ..SeedOptions::default()
    })
}

fn slapd_world() -> World {
    let options =
        SlapdOptions { seed: seed(), sessionlog: Some(10_000), ..SlapdOptions::default() };
    World::with(options, GROUPS_OF_NAMES, FILTER, following)
}

fn ds389_world() -> World389 {
    World389::with(Ds389Options { seed: seed(), ..Ds389Options::default() }, FILTER, following)
}

/// No run by the schedule. The interval is small, so that the changes may come one after the other.
fn following(config: ConfigText) -> ConfigText {
    config.set("schedule", "0 0 0 1 1 * 2099").set("follow", true).set("follow_interval", 0.1)
}

fn slapd() {
    let world = slapd_world();
    single_changes("slapd", &world);
}

fn ds389() {
    let world = ds389_world();
    single_changes("389", &world);
}

fn single_changes(directory: &str, world: &Between) {
    // Kanidm that answers at once.
    let pki = Pki::new();
    let sink = Sink::start(&pki.localhost());
    world.tool.write_client_config(&ConfigText::for_kanidm(&sink.url(), pki.ca()));
    let service = Service::start(&world.tool);
    sink.take_posts();
    let times = changes(world, 1, &|_, _| !sink.take_posts().is_empty());
    report(directory, "answers at once", times);
    drop(service);

    let (url, ca) = (world.kanidm.url(), world.kanidm.ca().to_owned());
    world.tool.write_client_config(&ConfigText::for_kanidm(&url, &ca));
    let service = Service::start(&world.tool);
    let times = changes(world, 2, &|number, name| {
        let entry = world.kanidm.entry(ACCOUNT, &user_name(number));
        entry.is_some_and(|entry| entry.displayname.as_deref() == Some(name))
    });
    report(directory, "the real engine", times);
    drop(service);
}

/// The times from the directory's answer until `arrived`, sorted.
fn changes(world: &Between, round: usize, arrived: &dyn Fn(usize, &str) -> bool) -> Vec<Duration> {
    let count = std::env::var("CHANGES").map_or(200, |text| text.parse().unwrap());
    let mut client = Modify::start(&world.admin);
    let mut times = Vec::new();
    for change in 0..count {
        let number = 1 + change % USERS;
        let name = format!("Round {round} Change {change}");
        client.change(&user_dn(number), &name);
        let begun = Instant::now();
        while !arrived(number, &name) {
            assert!(begun.elapsed() < PATIENCE, "change {change} does not arrive");
            thread::sleep(Duration::from_micros(500));
        }
        times.push(begun.elapsed());
        // Past the interval, and each time at another place in it.
        thread::sleep(Duration::from_millis(200 + (change as u64 * 37) % 100));
    }
    times.sort();
    times
}

fn report(directory: &str, engine: &str, times: Vec<Duration>) {
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_millis();
    println!(
        "| {directory} | {engine} | {} | {} ms | {} ms | {} ms | {} ms |",
        times.len(),
        times[0].as_millis(),
        at(50),
        at(99),
        times[times.len() - 1].as_millis()
    );
}

/// Changes in a burst, with the default interval of a second: runs, and the exact content.
fn burst() {
    let with_a_second = |config: ConfigText| config.set("follow_interval", 1);
    let mut world = slapd_world();
    world.reconfigure(with_a_second);
    burst_of("slapd", &world);
    drop(world);
    let mut world = ds389_world();
    world.reconfigure(with_a_second);
    burst_of("389", &world);
}

fn burst_of(directory: &str, world: &Between) {
    let service = Service::start(&world.tool);
    world.follows("the first run");
    let before = service.runs();
    let mut client = Modify::start(&world.admin);
    let begun = Instant::now();
    for change in 0..BURST {
        client.change(&user_dn(1 + change * 7 % USERS), &format!("Burst {change}"));
    }
    let changed = begun.elapsed();
    world.follows("the burst");
    println!(
        "| {directory} | {BURST} | {:.1} s | {} | {:.1} s later, exact |",
        changed.as_secs_f64(),
        service.runs() - before,
        (begun.elapsed() - changed).as_secs_f64()
    );
}

/// Processor time and memory of a minute in which nothing changes, with and without a listener.
fn idle() {
    let mut world = slapd_world();
    // So that both services have nothing to do at their start.
    world.run(&[], 0);
    for follow in [false, true] {
        world.reconfigure(|config| config.set("follow", follow));
        let service = Service::start(&world.tool);
        world.follows("the first run");
        thread::sleep(Duration::from_secs(2));
        let pid = service.child.id();
        let before = processor(pid);
        thread::sleep(Duration::from_secs(60));
        println!(
            "| follow = {follow} | {:.1} ms | {} KiB now, {} KiB at most |",
            (processor(pid) - before).as_secs_f64() * 1000.0,
            memory(pid, "VmRSS:"),
            memory(pid, "VmHWM:")
        );
    }
}

/// The time on a processor of all threads, to the nanosecond.
fn processor(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let times = threads.map(|thread| {
        let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(times.sum())
}

fn memory(pid: u32, what: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// The service with its log. Killed when dropped.
struct Service {
    child: Child,
    log: std::path::PathBuf,
}

impl Service {
    /// Starts it, and waits until it listens, if it is to.
    fn start(tool: &Tool) -> Service {
        let log = tool.dir().path().join(format!("log-{:?}", Instant::now()));
        let follows = fs::read_to_string(tool.sync_config()).unwrap().contains("follow = true");
        let child = tool
            .command()
            .args(["--schedule"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let service = Service { child, log };
        let sign = if follows { "listening for changes of" } else { "synchronised: " };
        let begun = Instant::now();
        while !service.text().contains(sign) {
            assert!(begun.elapsed() < PATIENCE, "{}", service.text());
            thread::sleep(Duration::from_millis(5));
        }
        service
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn runs(&self) -> usize {
        self.text().matches("synchronised: ").count()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An `ldapmodify` that stays: a change returns with the directory's answer.
struct Modify {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Modify {
    fn start(admin: &LdapClient) -> Modify {
        let mut child = Command::new("stdbuf")
            .args(["-oL", "ldapmodify", "-v", "-x", "-H", &admin.uri, "-D", &admin.bind_dn])
            .args(["-w", &admin.password])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("stdbuf and ldapmodify run");
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Modify { child, stdin, stdout: BufReader::new(stdout) }
    }

    fn change(&mut self, dn: &str, name: &str) {
        write!(self.stdin, "dn: {dn}\nchangetype: modify\nreplace: cn\ncn: {name}\n\n").unwrap();
        let mut line = String::new();
        while line.trim() != "modify complete" {
            line.clear();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "ldapmodify has ended");
        }
    }
}

impl Drop for Modify {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
