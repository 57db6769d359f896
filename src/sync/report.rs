//! The report of a run: one line and a line for each problem entry for people, and JSON.
//!
//! Scope: facts and their wording. A report never has the value of an attribute, only its name and
//! the rule that the value breaks.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::changes::{Change, Changes};
use super::guard::Deletions;
use crate::metrics::are_few;
use crate::text::count;
use crate::text::thousands;

/// How the run read the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// With the cookie: the changes since the last run.
    Incremental,
    /// The whole content, and why.
    Full(String),
}

/// An entry that the run did not send. Kanidm keeps its version of it.
#[derive(Clone, Debug, Serialize)]
pub struct HeldEntry {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The DN in the directory.
    pub dn: String,
    /// Every rule that the entry breaks, or Kanidm's answer.
    pub problems: Vec<ReportProblem>,
}

/// One reason to hold an entry or to drop an attribute of it.
#[derive(Clone, Debug, Serialize)]
pub struct ReportProblem {
    /// The attribute as the directory names it; absent if the problem is the entry as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// The problem in words. Never a value of a password.
    pub rule: String,
}

/// An entry that does not belong in Kanidm.
#[derive(Clone, Debug, Serialize)]
pub struct SkippedEntry {
    /// The UUID that it would have in Kanidm.
    pub uuid: Uuid,
    /// The DN in the directory.
    pub dn: String,
    /// Why the run skipped it.
    pub reason: String,
}

/// A value that the run left out because of `invalid_entries = "drop-value"`.
#[derive(Clone, Debug, Serialize)]
pub struct DroppedAttribute {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The DN in the directory.
    pub dn: String,
    /// The attribute and the reason.
    #[serde(flatten)]
    pub problem: ReportProblem,
}

/// The facts about a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// True if the run sent nothing on purpose.
    pub dry_run: bool,
    /// How the run read the directory.
    pub mode: ReadMode,
    /// Entries received from the directory.
    pub read: u64,
    /// Persons written.
    pub persons: u64,
    /// Groups written.
    pub groups: u64,
    /// Entries deleted.
    pub deleted: Deletions,
    /// Entries held back.
    pub held: Vec<HeldEntry>,
    /// Entries that do not belong in Kanidm.
    pub skipped: Vec<SkippedEntry>,
    /// Values left out.
    pub dropped: Vec<DroppedAttribute>,
    /// The entries that were written, deleted or newly held, as far as they are listed.
    pub changes: Changes,
    /// Persons and groups that Kanidm has. An incremental run reports the number before the run, if
    /// it is known.
    pub known: u64,
    /// Group members that are not synchronised, one for each group and member.
    pub members_out_of_scope: u64,
    /// True if the directory has nothing new and is older than an earlier run has read.
    pub directory_is_older: bool,
    /// POSTs sent to Kanidm, including repeated and refused ones.
    pub posts: u64,
    /// Wall time of the whole run.
    pub total: Duration,
    /// The part of `total` that the directory took.
    pub ldap: Duration,
    /// The part of `total` that Kanidm took.
    pub kanidm: Duration,
}

impl Report {
    /// True if entries are held back or were sent without a bad value: exit code 3.
    pub fn needs_attention(&self) -> bool {
        !self.held.is_empty() || !self.dropped.is_empty()
    }

    /// True if so few entries need attention that the status socket still answers `Ok`.
    pub fn concerns_few(&self) -> bool {
        are_few(self.concerned(), self.known)
    }

    /// The number of entries that need attention.
    pub fn concerned(&self) -> u64 {
        let held = self.held.iter().map(|entry| entry.uuid);
        held.chain(self.dropped.iter().map(|entry| entry.uuid)).collect::<HashSet<_>>().len() as u64
    }

    /// The entries that need attention, in one sentence.
    pub fn attention(&self) -> String {
        let sent = self.dropped.iter().map(|entry| entry.uuid).collect::<HashSet<_>>().len();
        let parts = [(self.held.len(), "held back"), (sent, "sent without a bad value")];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{} {what}", entries(*n as u64)))
            .collect();
        let few = match self.concerns_few() {
            true => "few enough for Ok on the status port",
            false => "too many for Ok on the status port",
        };
        format!(
            "{}; they are named above. That is {few} (10 entries, or 1 percent up to 100)",
            parts.join(", ")
        )
    }
}

fn entries(n: u64) -> String {
    format!("{} {}", thousands(n), if n == 1 { "entry" } else { "entries" })
}

impl fmt::Display for Report {
    /// The one line of a run: `synchronised: 10,482 read, 12 written (10 persons, 2 groups), …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match &self.mode {
            ReadMode::Incremental => "incremental".to_owned(),
            ReadMode::Full(why) => format!("full refresh ({why})"),
        };
        let deleted = match self.deleted {
            Deletions::Unknown => "deletions unknown".to_owned(),
            known => format!("{known} deleted"),
        };
        write!(
            f,
            "{}: {} read, {} written ({}, {}), {deleted}, {} held, {} skipped, {mode}, {:.2} s (ldap {:.2}, kanidm {:.2})",
            if self.dry_run {
                "dry run, nothing was sent; would have synchronised"
            } else {
                "synchronised"
            },
            thousands(self.read),
            thousands(self.persons + self.groups),
            count(self.persons, "person"),
            count(self.groups, "group"),
            thousands(self.held.len() as u64),
            thousands(self.skipped.len() as u64),
            self.total.as_secs_f64(),
            self.ldap.as_secs_f64(),
            self.kanidm.as_secs_f64(),
        )
    }
}

impl fmt::Display for ReportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.attribute {
            Some(attribute) => write!(f, "{attribute}: {}", self.rule),
            None => f.write_str(&self.rule),
        }
    }
}

/// The object that `--json` prints for each run. `docs/report.schema.json` describes it.
#[derive(Debug, Serialize)]
pub struct JsonReport<'a> {
    /// The exit code of the process. In `--schedule`, the code that this run alone would give.
    pub exit_code: u8,
    /// `synchronised`, `dry_run` or `failed`.
    pub result: &'static str,
    /// The failure and its place, if the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The entries that made the run fail, if any did.
    #[serde(rename = "held", skip_serializing_if = "<[_]>::is_empty")]
    pub at_fault: &'a [HeldEntry],
    /// The state of the listener, in a service that follows the directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub following: Option<&'static str>,
    /// The facts about a run that did not fail.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub run: Option<JsonRun<'a>>,
}

/// The part of [`JsonReport`] for a run that did not fail.
#[derive(Debug, Serialize)]
pub struct JsonRun<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode_reason: Option<&'a str>,
    read: u64,
    written: JsonWritten,
    deleted: JsonDeleted,
    held: &'a [HeldEntry],
    skipped: &'a [SkippedEntry],
    dropped: &'a [DroppedAttribute],
    changes: &'a [Change],
    changes_left_out: u64,
    members_out_of_scope: u64,
    directory_is_older: bool,
    posts: u64,
    seconds: JsonSeconds,
}

#[derive(Debug, Serialize)]
struct JsonWritten {
    persons: u64,
    groups: u64,
}

#[derive(Debug, Serialize)]
struct JsonDeleted {
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<u64>,
}

#[derive(Debug, Serialize)]
struct JsonSeconds {
    total: f64,
    ldap: f64,
    kanidm: f64,
}

impl Report {
    /// True if the run had nothing to do.
    pub fn is_empty(&self) -> bool {
        let none = self.read == 0 && self.persons == 0 && self.groups == 0;
        none && self.deleted == Deletions::Exactly(0) && self.held.is_empty()
    }

    /// The report for `--json`.
    pub fn json(&self, exit_code: u8) -> JsonReport<'_> {
        let (mode, mode_reason) = match &self.mode {
            ReadMode::Incremental => ("incremental", None),
            ReadMode::Full(why) => ("full", Some(why.as_str())),
        };
        let deleted = match self.deleted {
            Deletions::Exactly(n) => {
                JsonDeleted { at_least: Some(n), at_most: Some(n), about: None }
            }
            Deletions::Between(a, b) => {
                JsonDeleted { at_least: Some(a), at_most: Some(b), about: None }
            }
            Deletions::About(n) => JsonDeleted { at_least: None, at_most: None, about: Some(n) },
            Deletions::Unknown => JsonDeleted { at_least: None, at_most: None, about: None },
        };
        let (changes, changes_left_out) = self.changes.for_json();
        let run = JsonRun {
            mode,
            mode_reason,
            read: self.read,
            written: JsonWritten { persons: self.persons, groups: self.groups },
            deleted,
            held: &self.held,
            skipped: &self.skipped,
            dropped: &self.dropped,
            changes,
            changes_left_out,
            members_out_of_scope: self.members_out_of_scope,
            directory_is_older: self.directory_is_older,
            posts: self.posts,
            seconds: JsonSeconds {
                total: seconds(self.total),
                ldap: seconds(self.ldap),
                kanidm: seconds(self.kanidm),
            },
        };
        JsonReport {
            exit_code,
            result: if self.dry_run { "dry_run" } else { "synchronised" },
            error: None,
            at_fault: &[],
            following: None,
            run: Some(run),
        }
    }
}

/// Seconds with three decimals, because more would be false precision.
fn seconds(d: Duration) -> f64 {
    (d.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            dry_run: false,
            mode: ReadMode::Incremental,
            read: 10_482,
            persons: 10,
            groups: 2,
            deleted: Deletions::Exactly(1),
            held: Vec::new(),
            skipped: vec![
                SkippedEntry {
                    uuid: Uuid::nil(),
                    dn: "cn=a".into(),
                    reason: "excluded".into()
                };
                3
            ],
            dropped: Vec::new(),
            changes: Changes::default(),
            known: 500,
            members_out_of_scope: 0,
            directory_is_older: false,
            posts: 2,
            total: Duration::from_millis(210),
            ldap: Duration::from_millis(30),
            kanidm: Duration::from_millis(180),
        }
    }

    #[test]
    fn the_line_a_run_is_the_documented_one() {
        assert_eq!(
            report().to_string(),
            "synchronised: 10,482 read, 12 written (10 persons, 2 groups), 1 deleted, 0 held, 3 skipped, incremental, 0.21 s (ldap 0.03, kanidm 0.18)"
        );
    }

    #[test]
    fn ten_entries_or_one_percent_are_few() {
        let held = |n| Report {
            held: (0..n)
                .map(|n| HeldEntry {
                    uuid: Uuid::from_u128(n),
                    dn: String::new(),
                    problems: Vec::new(),
                })
                .collect(),
            ..report()
        };
        assert!(!report().needs_attention());
        assert!(held(10).needs_attention() && held(10).concerns_few() && !held(11).concerns_few());
        assert!(Report { known: 1_100, ..held(11) }.concerns_few());
        assert!(Report { known: 100_000, ..held(100) }.concerns_few());
        assert!(!Report { known: 100_000, ..held(101) }.concerns_few());
        let dropped = |n| DroppedAttribute {
            uuid: Uuid::from_u128(n),
            dn: String::new(),
            problem: ReportProblem { attribute: None, rule: String::new() },
        };
        let report = Report { dropped: vec![dropped(0), dropped(0), dropped(11)], ..held(10) };
        assert!(!report.concerns_few(), "an entry counts once");
        assert_eq!(
            report.attention(),
            "10 entries held back, 2 entries sent without a bad value; they are named above. \
             That is too many for Ok on the status port (10 entries, or 1 percent up to 100)"
        );
    }

    #[test]
    fn json_says_the_same() {
        let json = serde_json::to_value(report().json(0)).unwrap();
        assert_eq!(json["exit_code"], 0);
        assert_eq!(json["result"], "synchronised");
        assert_eq!(json["written"]["persons"], 10);
        assert_eq!(json["deleted"]["at_most"], 1);
        assert_eq!(json["skipped"][2]["reason"], "excluded");
        assert_eq!(json["seconds"]["total"], 0.21);
        assert!(json.get("error").is_none());
    }
}
