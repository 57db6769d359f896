//! Peers that do not stop, and what our program holds of it: it runs with less memory than it would
//! take to hold it all.

use std::process::Command;
use std::sync::mpsc;

use serde_json::Value;
use uuid::Uuid;

use crate::bench::{Bench, REFRESH, person, prelude, uuid};
use crate::support::peer::{
    Link, Peer, done, entry, id_set, message, number, reference, sync_done, tlv,
};
use crate::support::scripted_https::{ScriptedHttps, response};
use crate::support::tool::{ConfigText, Outcome, Tool, run_command};

/// Bytes of address space: the program itself, its threads, and 4,000,000 UUIDs. Ten million would
/// not fit.
const SPACE: u64 = 600 << 20;

/// One of our runs as a process, with so much memory, on what the directory says for a refresh, and
/// a Kanidm that has nothing yet.
fn run(refresh: impl FnOnce(&mut Link) + Send + 'static) -> Outcome {
    let bench = Bench::new();
    let peer = Peer::tls(&bench.pki().localhost(), move |link| {
        for turn in prelude() {
            link.request();
            link.send(turn.concat());
        }
        link.request();
        refresh(link);
    });
    let kanidm =
        ScriptedHttps::start(&bench.pki().localhost(), |head| match head.starts_with("GET") {
            true => response("200 OK", "", "\"Refresh\""),
            false => response("500 Internal Server Error", "", "nothing is to be sent"),
        });
    let tool = Tool::new(
        &bench.config_text(peer.port),
        &ConfigText::for_kanidm(&kanidm.url(), bench.pki().ca()),
    );
    let plain = tool.command();
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--as={SPACE}"))
        .arg(plain.get_program())
        .args(plain.get_args())
        .arg("--json");
    let outcome = run_command(
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()),
    );
    assert_eq!(kanidm.requests().len(), 1, "nothing is sent: {}", outcome.all());
    outcome
}

#[track_caller]
fn assert_failed(what: &str, outcome: &Outcome, words: &str) {
    assert_eq!(outcome.code, Some(1), "{what}: {}", outcome.all());
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(
        report["error"].as_str().is_some_and(|error| error.contains(words)),
        "{what}: {}",
        outcome.all()
    );
}

/// Sends it until the client hangs up; how often.
fn without_end(link: &mut Link, bytes: &[u8]) -> usize {
    (0..).take_while(|_| link.try_send(bytes)).count()
}

#[test]
fn uuids_without_end_are_too_many() {
    for gone in [false, true] {
        let (sent, counted) = mpsc::channel();
        let outcome = run(move |link| {
            let uuids: Vec<Uuid> = (0..50_000).map(uuid).collect();
            sent.send(without_end(link, &id_set(REFRESH, gone, &uuids))).unwrap();
        });
        assert_failed("sets", &outcome, "more than 4000000 entries named in one refresh");
        let sets = counted.recv().unwrap();
        assert!(
            (80..400).contains(&sets),
            "it hung up soon after the limit, not before: {sets} sets"
        );
    }
}

const CSN: &str = "20260101000000.000000Z#000000#000#000000";

/// A refresh of one person, whose cookie makes ours look for what slapd left out of it.
fn refresh_with_csn(link: &mut Link) {
    link.send(person(REFRESH, 1, "One"));
    link.send(sync_done(REFRESH, Some(&format!("rid=000,csn={CSN}")), true));
}

/// After the refresh, the search for newer entries is answered with newer entries.
#[test]
fn a_search_without_end_is_given_up() {
    let (sent, counted) = mpsc::channel();
    let outcome = run(move |link| {
        refresh_with_csn(link);
        let base = link.request();
        link.send(
            [entry(base.id, "dc=example", &[("entryCSN", &[CSN])]), done(base.id, 0, "")].concat(),
        );
        let search = link.request();
        assert!(search.mentions("entryCSN"));
        let newer = "20260101000001.000000Z#000000#000#000000";
        let entries: Vec<u8> = (0..1_000)
            .flat_map(|n| {
                entry(
                    search.id,
                    "",
                    &[("entryUUID", &[&uuid(n).to_string()]), ("entryCSN", &[newer])],
                )
            })
            .collect();
        sent.send(without_end(link, &entries)).unwrap();
    });
    assert_failed("search", &outcome, "was answered with more than 4000000 entries");
    let batches = counted.recv().unwrap();
    assert!(
        (4_000..20_000).contains(&batches),
        "it hung up soon after the limit, not before: {batches} batches"
    );
}

#[test]
fn a_search_of_one_entry_has_one() {
    let outcome = run(|link| {
        refresh_with_csn(link);
        let search = link.request();
        without_end(link, &entry(search.id, "dc=example", &[("entryCSN", &[CSN])]));
    });
    assert_failed(
        "base",
        &outcome,
        "of the single entry \"dc=example\" was answered with several entries",
    );
}

#[test]
fn a_length_that_is_promised_takes_no_memory() {
    // 60 MiB, within the limit of 64 MiB. More than that is read past if it is an entry, and
    // refused if not.
    let outcome = run(|link| {
        link.send([0x30, 0x84, 3, 0xc0, 0, 0, 2, 1, 4]);
        link.hang_up();
    });
    assert_failed("60 MiB", &outcome, "closed the connection");
    for (operation, words) in [(0x65, "raise max_ber_size"), (0x64, "closed the connection")] {
        let outcome = run(move |link| {
            link.send([
                0x30, 0x84, 0xff, 0xff, 0xff, 0xf0, 2, 1, 4, operation, 0x84, 0xff, 0xff, 0xff,
                0xe0,
            ]);
            link.send([4, 0x84, 0xff, 0xff, 0xff, 0xd0]);
            link.hang_up();
        });
        assert_failed("4 GiB", &outcome, words);
    }
}

#[test]
fn what_is_ignored_is_not_kept() {
    // 200 MB of references, and of Sync Info that means nothing.
    let uri = format!("ldap://elsewhere.example/{}", "x".repeat(100_000));
    let unknown =
        message(REFRESH, tlv(0x79, [tlv(0x80, "1.2.3"), tlv(0x81, vec![b'x'; 100_000])].concat()));
    let refused =
        message(REFRESH, tlv(0x65, [number(10, 52), tlv(4, ""), tlv(4, "tired")].concat()));
    for ignored in [reference(REFRESH, &uri), unknown, sync_info_cookie()] {
        let end = refused.clone();
        let outcome = run(move |link| {
            (0..2_000).for_each(|_| link.send(&ignored));
            link.send(&end);
            link.stay_silent();
        });
        assert_failed("ignored", &outcome, "tired");
    }
    // And it was the end that failed: otherwise the guard has the last word.
    let outcome = run(|link| {
        link.send(sync_done(REFRESH, Some("rid=000,csn=1"), true));
        link.stay_silent();
    });
    assert_eq!(outcome.code, Some(4), "{}", outcome.all());
}

/// A cookie of the largest size.
fn sync_info_cookie() -> Vec<u8> {
    let cookie = tlv(0x80, vec![b'c'; 64 << 10]);
    message(REFRESH, tlv(0x79, [tlv(0x80, "1.3.6.1.4.1.4203.1.9.1.4"), tlv(0x81, cookie)].concat()))
}
