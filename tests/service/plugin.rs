//! `--status` with every kind of metrics file: words, exit codes, performance data.

use std::io::{Error, ErrorKind};
use std::path::Path;

use kanidm_ldap_sync::metrics::{LastRun, Metrics, Success};
use kanidm_ldap_sync::service::plugin::Evidence;
use kanidm_ldap_sync::service::status::Probe;

const NOW: u64 = 1_796_000_000;
const HOUR: u64 = 3_600;
const BIND: &str = "127.0.0.1:12345";

/// A service whose last run was good, five minutes ago.
fn well() -> Metrics {
    Metrics {
        status_bind: Some(BIND.to_owned()),
        success: Success {
            ended: Some(NOW - 300),
            deadline: Some(NOW + HOUR),
            held: Some(0),
            dropped: Some(0),
            concerned: None,
            known: Some(1_049),
        },
        run: LastRun { ended: Some(NOW - 300), exit_code: Some(0), ..LastRun::default() },
        follower_connected: None,
    }
}

fn held(held: u64, dropped: u64) -> Metrics {
    let mut facts = well();
    facts.success.held = Some(held);
    facts.success.dropped = Some(dropped);
    facts.success.concerned = Some(held + dropped);
    facts.run.exit_code = Some(3);
    facts
}

fn failed(code: u64, error: &str) -> Metrics {
    let mut facts = held(1, 2);
    facts.success.ended = Some(NOW - 3 * HOUR);
    facts.run.exit_code = Some(code);
    facts.run.error = Some(error.to_owned());
    facts
}

/// The answers of the socket.
fn ok() -> Probe {
    Probe { exit_code: 0, line: "OK - as before".to_owned() }
}

fn bad() -> Probe {
    Probe { exit_code: 2, line: "CRITICAL - as before".to_owned() }
}

fn silent() -> Probe {
    Probe::unknown("no answer")
}

fn asked(probe: Probe, facts: Metrics) -> (u8, String) {
    let evidence = Evidence {
        path: Path::new("/m.prom"),
        read: Ok(facts),
        status_bind: BIND.parse().ok(),
        now: NOW,
    };
    let probe = probe.with_metrics(&evidence);
    (probe.exit_code, probe.line)
}

#[test]
fn every_answer_with_facts() {
    let numbers = |age: u64, held: u64, dropped: u64| {
        format!(" | age={age}s;;;0 held={held};0;;0 dropped={dropped};0;;0 known=1049;;;0")
    };
    let mut never = failed(1, "Kanidm: refused");
    never.success = Success::default();
    for (probe, facts, code, text, numbers) in [
        (
            ok(),
            well(),
            0,
            "OK - last success 5 minutes ago (2026-11-30 00:48:20 UTC), no entry waits",
            numbers(300, 0, 0),
        ),
        (
            ok(),
            held(1, 0),
            1,
            "WARNING - last success 5 minutes ago (2026-11-30 00:48:20 UTC), but 1 entry is held back and 0 values are left out; the log of kanidm-ldap-sync names them",
            numbers(300, 1, 0),
        ),
        (
            ok(),
            held(0, 12),
            1,
            "WARNING - last success 5 minutes ago (2026-11-30 00:48:20 UTC), but 0 entries are held back and 12 values are left out; the log of kanidm-ldap-sync names them",
            numbers(300, 0, 12),
        ),
        // A run by hand failed after the good run of the service.
        (
            ok(),
            failed(1, "x"),
            1,
            "WARNING - last success 3 hours ago (2026-11-29 21:53:20 UTC), but 1 entry is held back and 2 values are left out; the log of kanidm-ldap-sync names them",
            numbers(3 * HOUR, 1, 2),
        ),
        (
            bad(),
            failed(1, "ldaps://a: refused|\u{1b}x"),
            2,
            "CRITICAL - the last run failed, 5 minutes ago; last success 3 hours ago (2026-11-29 21:53:20 UTC): ldaps://a: refused/\\u{1b}x",
            numbers(3 * HOUR, 1, 2),
        ),
        (
            bad(),
            failed(4, "7 persons would go"),
            2,
            "CRITICAL - the deletion guard refused the last run, 5 minutes ago; last success 3 hours ago (2026-11-29 21:53:20 UTC): 7 persons would go",
            numbers(3 * HOUR, 1, 2),
        ),
        (
            bad(),
            never,
            2,
            "CRITICAL - the last run failed, 5 minutes ago; no success yet: Kanidm: refused",
            String::new(),
        ),
        (
            bad(),
            held(10, 1),
            2,
            "CRITICAL - too many entries need attention: 10 entries are held back and 1 value is left out; the log of kanidm-ldap-sync names them; last success 5 minutes ago (2026-11-30 00:48:20 UTC)",
            numbers(300, 10, 1),
        ),
        (
            bad(),
            held(10, 0),
            2,
            "CRITICAL - the service has no recent good run; the log of kanidm-ldap-sync says why; last success 5 minutes ago (2026-11-30 00:48:20 UTC)",
            numbers(300, 10, 0),
        ),
        (
            silent(),
            held(1, 2),
            3,
            "UNKNOWN - no answer; last success 5 minutes ago (2026-11-30 00:48:20 UTC)",
            numbers(300, 1, 2),
        ),
    ] {
        assert_eq!(asked(probe, facts), (code, format!("{text}{numbers}")));
    }
}

/// The rule of the socket: 10 entries, or 1 percent of all, up to 100. An entry counts once.
#[test]
fn too_many_entries_are_those_that_the_socket_counts() {
    for (concerned, known, are_many) in [
        (Some(10), Some(500), false),
        (Some(11), Some(500), true),
        (Some(100), Some(10_000), false),
        (Some(101), Some(10_000), true),
        (Some(100), Some(u64::MAX), false),
        (Some(101), Some(u64::MAX), true),
        (Some(11), None, true),
        (None, Some(500), true),
    ] {
        let mut facts = held(60, 60);
        (facts.success.concerned, facts.success.known) = (concerned, known);
        let (code, line) = asked(bad(), facts);
        assert_eq!(code, 2);
        let says_so = line.starts_with("CRITICAL - too many entries need attention: 60 entries");
        assert_eq!(says_so, are_many, "{concerned:?} of {known:?}: {line}");
    }
}

#[test]
fn a_listener_that_is_not_connected_is_named_without_another_state() {
    const DEAF: &str = "; changes wait for the schedule (not listening)";
    let text = |probe: Probe, mut facts: Metrics, connected| {
        facts.follower_connected = connected;
        let (code, line) = asked(probe, facts);
        (code, line.split_once(" | ").unwrap().0.to_owned())
    };
    for facts in [well(), held(1, 2)] {
        let (code, line) = text(ok(), facts.clone(), None);
        assert_eq!(text(ok(), facts.clone(), Some(true)), (code, line.clone()));
        assert_eq!(text(ok(), facts, Some(false)), (code, line + DEAF));
    }
    // Something worse is said alone. Without a service, the file has the last word of an old one.
    for probe in [bad(), silent()] {
        let line = text(probe.clone(), failed(1, "x"), None);
        assert_eq!(text(probe, failed(1, "x"), Some(false)), line);
    }
}

#[test]
fn a_file_that_is_stale_or_foreign_is_reported_and_not_used() {
    let changed = |change: fn(&mut Metrics)| {
        let mut facts = held(5, 5);
        change(&mut facts);
        facts
    };
    for (facts, words) in [
        (
            changed(|m| m.status_bind = Some("[::1]:9".to_owned())),
            "is of another service, whose status_bind is [::1]:9",
        ),
        (changed(|m| m.status_bind = None), "is of a configuration without status_bind"),
        (changed(|m| m.run.ended = Some(NOW + 61)), "is from the future"),
        (changed(|m| m.success.ended = Some(NOW + 61)), "is from the future"),
    ] {
        for (probe, code) in [(ok(), 0), (bad(), 2), (silent(), 3)] {
            let line = format!("{} (metrics_file /m.prom {words}", probe.line);
            let (exit_code, text) = asked(probe, facts.clone());
            assert!(exit_code == code && text.starts_with(&line), "{text}");
        }
    }
    // A success may be old after a failure. With a good answer of the socket there is a newer one.
    for stale in [
        changed(|m| m.success.deadline = Some(NOW - 1)),
        changed(|m| (m.success.deadline, m.run.ended) = (None, Some(NOW - 25 * HOUR))),
        changed(|m| m.run.ended = None),
    ] {
        let (code, text) = asked(ok(), stale);
        let line = "OK - as before (metrics_file /m.prom is stale, its last run ended ";
        assert!(code == 0 && text.starts_with(line), "{text}");
    }
    // The file cannot be written since an old run. The service fails now, for another reason.
    for outdated in [
        changed(|m| {
            *m = failed(1, "the certificate has expired");
            (m.run.ended, m.run.current_until) = (Some(NOW - 20 * HOUR), Some(NOW - 1));
        }),
        changed(|m| {
            *m = failed(4, "7 persons would go");
            (m.run.ended, m.run.current_until) = (Some(NOW - 25 * HOUR), None);
        }),
        changed(|m| (m.run.ended, m.run.current_until) = (Some(NOW - 2 * HOUR), Some(NOW - HOUR))),
    ] {
        let (code, text) = asked(bad(), outdated);
        let line = "CRITICAL - as before (metrics_file /m.prom is stale, its last run ended ";
        assert!(code == 2 && text.starts_with(line), "{text}");
    }
    let unreadable = Evidence {
        path: Path::new("/a|b.prom"),
        read: Err(Error::from(ErrorKind::NotFound)),
        status_bind: None,
        now: NOW,
    };
    let probe = bad().with_metrics(&unreadable);
    assert_eq!(probe.exit_code, 2);
    assert_eq!(
        probe.line,
        "CRITICAL - as before (metrics_file /a/b.prom cannot be read: entity not found)"
    );
}
