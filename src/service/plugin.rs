//! `--status` as a monitoring plugin: completes the answer of the socket with the metrics file.
//!
//! Scope: words and exit codes. The socket decides between OK and CRITICAL. The file adds ages,
//! numbers, the reason of a failure, and WARNING. A file that is stale or of another service is
//! reported and not used.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::status::Probe;
use crate::metrics::{Metrics, are_few};
use crate::text::{of_unix, span};

/// What `--status` knows besides the answer of the socket.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// `metrics_file`.
    pub path: &'a Path,
    /// The facts in it.
    pub read: io::Result<Metrics>,
    /// `status_bind`, which tells a file of another service.
    pub status_bind: Option<SocketAddr>,
    /// The time, in seconds since 1970.
    pub now: u64,
}

/// Without a schedule in the file, facts of an older run are stale.
const STALE_SECONDS: u64 = 86_400;

const OK: u8 = 0;
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;

impl Probe {
    /// This answer of the socket, completed from the metrics file.
    pub fn with_metrics(self, evidence: &Evidence<'_>) -> Probe {
        let now = evidence.now;
        match (&evidence.read, self.exit_code) {
            (Err(error), _) => self.without(evidence, format_args!("cannot be read: {error}")),
            (Ok(facts), _) if let Some(why) = foreign(facts, evidence) => {
                self.without(evidence, why)
            }
            (Ok(facts), OK) if is_stale(facts, facts.success.deadline, now) => {
                self.stale(evidence, facts)
            }
            // Runs may fail for long, but each one replaces the file.
            (Ok(facts), CRITICAL) if is_stale(facts, facts.run.current_until, now) => {
                self.stale(evidence, facts)
            }
            (Ok(facts), OK) => good(facts, now),
            (Ok(facts), CRITICAL) => {
                let line = format!("CRITICAL - {}", reason(facts, now));
                Probe { exit_code: CRITICAL, line: with_numbers(&line, facts, now) }
            }
            (Ok(facts), _) => {
                let line = format!("{}; {}", self.line, last_success(facts, now));
                Probe { line: with_numbers(&line, facts, now), ..self }
            }
        }
    }

    /// A service that cannot write the file, or makes no runs.
    fn stale(self, evidence: &Evidence<'_>, facts: &Metrics) -> Probe {
        let age = facts.run.ended.map(|ended| span(evidence.now.saturating_sub(ended)));
        let age = age.map(|age| format!("{age} ago")).unwrap_or("never".to_owned());
        self.without(
            evidence,
            format_args!("is stale, its last run ended {age}; see the service's log"),
        )
    }

    /// Names the file that is not used, and why.
    fn without(self, evidence: &Evidence<'_>, why: impl fmt::Display) -> Probe {
        self.with_note(format_args!("metrics_file {} {why}", evidence.path.display()))
    }

    /// This answer with a note in parentheses.
    pub fn with_note(self, note: impl fmt::Display) -> Probe {
        Probe { line: one_line(&format!("{} ({note})", self.line)), ..self }
    }
}

/// Why the facts are not those of this service, or not usable. They may be old.
fn foreign(facts: &Metrics, evidence: &Evidence<'_>) -> Option<String> {
    let ours = evidence.status_bind.map(|bind| bind.to_string());
    match (&facts.status_bind, &ours) {
        (Some(other), Some(ours)) if other != ours => {
            return Some(format!("is of another service, whose status_bind is {other}"));
        }
        (None, Some(_)) => return Some("is of a configuration without status_bind".to_owned()),
        _ => {}
    }
    let future = facts.is_of_the_future(evidence.now);
    future.then(|| "is from the future; was the clock wrong?".to_owned())
}

/// True if the service would have written newer facts. `until` is the time that its schedule gives.
fn is_stale(facts: &Metrics, until: Option<u64>, now: u64) -> bool {
    match (facts.run.ended, until) {
        (None, _) => true,
        (Some(_), Some(until)) => now > until,
        (Some(ended), None) => now.saturating_sub(ended) > STALE_SECONDS,
    }
}

/// The synchronisation works.
fn good(facts: &Metrics, now: u64) -> Probe {
    let (held, dropped) = waiting(facts);
    let success = last_success(facts, now);
    let (exit_code, line) = match (held, dropped) {
        (0, 0) => (OK, format!("OK - {success}, no entry waits")),
        _ => (
            WARNING,
            format!(
                "WARNING - {success}, but {} and {}; the log of kanidm-ldap-sync names them",
                held_back(held),
                left_out(dropped)
            ),
        ),
    };
    // Changes arrive later, and the synchronisation works: no state of its own.
    let deaf = match facts.follower_connected {
        Some(false) => "; changes wait for the schedule (not listening)",
        Some(true) | None => "",
    };
    Probe { exit_code, line: with_numbers(&format!("{line}{deaf}"), facts, now) }
}

/// Why the synchronisation does not work.
fn reason(facts: &Metrics, now: u64) -> String {
    let success = last_success(facts, now);
    let ago = |time: Option<u64>| span(now.saturating_sub(time.unwrap_or(now)));
    let ended = ago(facts.run.ended);
    let error = facts.run.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let (held, dropped) = waiting(facts);
    let concerned = facts.success.concerned.unwrap_or(held);
    match facts.run.exit_code {
        // A service that has just started, or hangs, does not work for another reason.
        Some(3) if !are_few(concerned, facts.success.known.unwrap_or_default()) => {
            format!(
                "too many entries need attention: {} and {}; the log of kanidm-ldap-sync names them; {success}",
                held_back(held),
                left_out(dropped)
            )
        }
        Some(0 | 3) | None => format!(
            "the service has no recent good run; the log of kanidm-ldap-sync says why; {success}"
        ),
        Some(4) => {
            format!("the deletion guard refused the last run, {ended} ago; {success}{error}")
        }
        Some(_) => format!("the last run failed, {ended} ago; {success}{error}"),
    }
}

fn last_success(facts: &Metrics, now: u64) -> String {
    match facts.success.ended {
        Some(ended) => {
            let age = span(now.saturating_sub(ended));
            format!("last success {age} ago ({})", of_unix(ended).format("%Y-%m-%d %H:%M:%S UTC"))
        }
        None => "no success yet".to_owned(),
    }
}

fn waiting(facts: &Metrics) -> (u64, u64) {
    (facts.success.held.unwrap_or_default(), facts.success.dropped.unwrap_or_default())
}

fn held_back(held: u64) -> String {
    format!(
        "{} held back",
        if held == 1 { "1 entry is".to_owned() } else { format!("{held} entries are") }
    )
}

fn left_out(dropped: u64) -> String {
    format!(
        "{} left out",
        if dropped == 1 { "1 value is".to_owned() } else { format!("{dropped} values are") }
    )
}

/// The line with its performance data: `'label'=value[unit];[warning];[critical];[minimum]`. A
/// warning threshold of 0 means that more than 0 is a warning.
fn with_numbers(line: &str, facts: &Metrics, now: u64) -> String {
    let numbers = [
        facts.success.ended.map(|ended| format!("age={}s;;;0", now.saturating_sub(ended))),
        facts.success.held.map(|held| format!("held={held};0;;0")),
        facts.success.dropped.map(|dropped| format!("dropped={dropped};0;;0")),
        facts.success.known.map(|known| format!("known={known};;;0")),
    ];
    let numbers: Vec<String> = numbers.into_iter().flatten().collect();
    let line = one_line(line);
    if numbers.is_empty() { line } else { format!("{line} | {}", numbers.join(" ")) }
}

/// A plugin's text ends at the first `|` and at the first line break.
fn one_line(line: &str) -> String {
    crate::log::escaped(line).replace('|', "/")
}
