//! Entries that are nearly as large as a message may be, or larger: what our program holds of them
//! does not grow with their number.
//!
//! `WEIGHT=100 cargo test --test hostile weight -- --nocapture` has so many of them, and prints the
//! peak memory.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::bench::{Bench, REFRESH, prelude, uuid};
use crate::support::peer::{Peer, sync_done, sync_entry};
use crate::support::scripted_https::{ScriptedHttps, response};
use crate::support::temp::TempDir;
use crate::support::tool::{ConfigText, Running, Tool};

/// Bytes of each.
const SIZE: usize = 60_000_000;
/// How many there are.
fn entries(by_default: u128) -> u128 {
    std::env::var("WEIGHT").map_or(by_default, |count| count.parse().unwrap())
}

const MIB: usize = 1 << 20;

/// A dry run on so many entries, in so much memory, of addresses as well: they are given by numbers
/// from 0.
fn run(
    what: &str,
    entries: u128,
    most: usize,
    entry: impl Fn(u128) -> Vec<u8> + Send + 'static,
) -> Value {
    let (bench, folder) = (Bench::new(), TempDir::new("weight"));
    let socket = folder.path().join("ldapi");
    let (process, started) = mpsc::channel::<u32>();
    let (measured, peak) = mpsc::channel();
    let peer = Peer::unix(&socket, move |link| {
        for turn in prelude() {
            link.request();
            link.send(turn.concat());
        }
        link.request();
        let sent = (0..entries).take_while(|number| link.try_send(&entry(*number))).count();
        measured.send((sent as u128, high_water(started.recv().unwrap()))).unwrap();
        link.send(sync_done(REFRESH, Some("rid=000,csn=1"), true));
        link.stay_silent();
    });
    let kanidm =
        ScriptedHttps::start(&bench.pki().localhost(), |_| response("200 OK", "", "\"Refresh\""));
    let uri = format!("ldapi://{}", socket.display().to_string().replace('/', "%2F"));
    let config = bench
        .config_text(peer.port)
        .set("ldap_uri", uri)
        .without("ldap_ca")
        .set("group_objectclass", "group");
    let tool = Tool::new(&config, &ConfigText::for_kanidm(&kanidm.url(), bench.pki().ca()));
    let plain = tool.command();
    let mut command = Command::new("prlimit");
    // Beside what is resident: the program, its stacks, and buffers that have room for twice as
    // much.
    command
        .arg(format!("--as={}", 2 * most + 100 * MIB))
        .arg(plain.get_program())
        .args(plain.get_args());
    command
        .args(["--dry-run", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    process.send(child.id()).unwrap();
    let outcome = Running::of(child).finish_within(Duration::from_secs(600));
    let (sent, peak) = peak.recv().unwrap();
    assert_eq!(sent, entries, "{what}: {}", outcome.all());
    println!("{what}: {sent} entries of {SIZE} bytes, {} MiB at most", peak / MIB);
    assert!(peak < most, "{what}: {peak} bytes, {most} are allowed");
    serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|e| panic!("{what}: no report: {e}\n{}", outcome.all()))
}

/// Bytes that were resident at most.
fn high_water(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn lines(line: &str) -> String {
    let mut text = String::with_capacity(SIZE);
    while text.len() < SIZE {
        text.push_str(line);
    }
    text
}

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMfbnJ0VkQyXo2WdFYXuzDNQq3XFQqqvDVk3rLFJ0QXl";

/// Every attribute that its owner may write, with one long value, with many, and with what looks
/// valid.
#[test]
fn large_persons_are_not_kept() {
    let long = "x".repeat(SIZE);
    let (key, short) = (format!("{KEY} {long}"), format!("{KEY}\n"));
    let (hash, many_keys) = (format!("{{SSHA}}{long}"), lines(&short));
    let beyond = "x".repeat(70_000_000);
    let entries = entries(9);
    let report = run("persons", entries, 200 * MIB, move |number| {
        let uid = format!("user{number}");
        let grown: (&str, &[&str]) = match number % 9 {
            0 => ("sshPublicKey", &[&key]),
            1 => ("sshPublicKey", &[&many_keys]),
            2 => ("userPassword", &[&hash]),
            3 => ("mail", &[&long]),
            4 => ("mail", &["x@example.com"; 1_500_000]),
            5 => ("cn", &[&long]),
            6 => ("uid", &[&long]),
            7 => ("loginShell", &[&long]),
            _ => ("sshPublicKey", &[&beyond]),
        };
        let common: [(&str, &[&str]); 4] = [
            ("objectClass", &["person"]),
            ("uid", &[&uid]),
            ("cn", &["One"]),
            ("uidNumber", &["20000"]),
        ];
        let mut attributes: Vec<_> = common
            .into_iter()
            .filter(|(name, _)| *name != grown.0 || *name == "objectClass")
            .collect();
        attributes.push(grown);
        sync_entry(REFRESH, uuid(number), &format!("uid={uid},dc=example"), &attributes)
    });
    let named =
        report["held"].as_array().unwrap().len() + report["dropped"].as_array().unwrap().len();
    assert!(report["read"] == entries as u64 && named as u128 >= entries, "{report}");
}

/// Members that are nobody's. 1 GiB of them may wait until all persons are known, and the largest
/// groups go first.
#[test]
fn large_groups_are_kept_up_to_a_bound() {
    let members: Vec<String> =
        (0..7_500).map(|n| format!("cn=nobody{n:06},o={},dc=example", "x".repeat(7_960))).collect();
    let entries = entries(2);
    let report = run("groups", entries, 1_200 * MIB, move |number| {
        let cn = format!("group{number}");
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let attributes: [(&str, &[&str]); 3] =
            [("objectClass", &["group"]), ("cn", &[&cn]), ("member", &members)];
        sync_entry(REFRESH, uuid(number), &format!("cn={cn},dc=example"), &attributes)
    });
    let held = report["held"].as_array().unwrap().len() as u128;
    assert_eq!(held, entries.saturating_sub(17));
}
