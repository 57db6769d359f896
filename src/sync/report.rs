//! What a run did: for people (one line, and a line for each entry that needs one), and as JSON.
//!
//! Scope: facts and their wording. No value of an attribute is in a report, only its name and the
//! rule it breaks.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::guard::Deletions;
use crate::text::count;
use crate::text::thousands;

/// How the directory was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With the cookie: what changed since the last run.
    Incremental,
    /// Everything, and why.
    Full(String),
}

/// An entry that is not sent and keeps what Kanidm has of it.
#[derive(Clone, Debug, Serialize)]
pub struct HeldEntry {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// Its DN in the directory.
    pub dn: String,
    /// Every rule it breaks, or what Kanidm answered.
    pub problems: Vec<ReportProblem>,
}

/// One reason to hold an entry or to drop an attribute of it.
#[derive(Clone, Debug, Serialize)]
pub struct ReportProblem {
    /// The attribute as the directory names it; absent where the entry as a whole is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// What is wrong, in words. Never a value of a password.
    pub rule: String,
}

/// An entry that is not for Kanidm.
#[derive(Clone, Debug, Serialize)]
pub struct SkippedEntry {
    /// The UUID it would have in Kanidm.
    pub uuid: Uuid,
    /// Its DN in the directory.
    pub dn: String,
    /// Why.
    pub reason: String,
}

/// A value that was left out by `invalid_entries = "drop-value"`.
#[derive(Clone, Debug, Serialize)]
pub struct DroppedAttribute {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The entry's DN in the directory.
    pub dn: String,
    /// What was dropped and why.
    #[serde(flatten)]
    pub problem: ReportProblem,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Nothing was sent.
    pub dry_run: bool,
    /// How the directory was read.
    pub mode: Mode,
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
    /// Entries that are not for Kanidm.
    pub skipped: Vec<SkippedEntry>,
    /// Values left out.
    pub dropped: Vec<DroppedAttribute>,
    /// Persons and groups that Kanidm has, or had before a run whose number is not known.
    pub known: u64,
    /// Members of groups that are not among what is synchronised.
    pub members_out_of_scope: u64,
    /// The directory is older than what was read before, and has nothing new.
    pub directory_is_older: bool,
    /// POSTs sent to Kanidm, repeated and refused ones included.
    pub posts: u64,
    /// Wall time of the whole run.
    pub total: Duration,
    /// Of it, waiting for and reading the directory.
    pub ldap: Duration,
    /// Of it, waiting for Kanidm.
    pub kanidm: Duration,
}

/// So many entries may need attention while the status is good, or 1 % of the known ones, up to
/// [`MOST_FEW`].
const FEW: u64 = 10;
const MOST_FEW: u64 = 100;

impl Report {
    /// Exit code 3: some entries are held back, or were sent without a bad value.
    pub fn needs_attention(&self) -> bool {
        !self.held.is_empty() || !self.dropped.is_empty()
    }

    /// Whether so few entries need attention that the status socket still answers `Ok`.
    pub fn concerns_few(&self) -> bool {
        self.concerned() <= FEW.max((self.known / 100).min(MOST_FEW))
    }

    fn concerned(&self) -> u64 {
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
            true => "few enough for a good status",
            false => "too many for a good status",
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
    /// The line a run: `synchronised: 10,482 read, 12 written (10 persons, 2 groups), …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match &self.mode {
            Mode::Incremental => "incremental".to_owned(),
            Mode::Full(why) => format!("full refresh ({why})"),
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

/// `--json`: one object a run. docs/report.schema.json describes it.
#[derive(Debug, Serialize)]
pub struct JsonReport<'a> {
    /// The exit code of the process, or what it would be for this run alone.
    pub exit_code: u8,
    /// `synchronised`, `dry_run` or `failed`.
    pub result: &'static str,
    /// What failed and where, for a run that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The entries at fault, for a run that failed because of them.
    #[serde(rename = "held", skip_serializing_if = "<[_]>::is_empty")]
    pub at_fault: &'a [HeldEntry],
    /// What the run did, for one that did not fail.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub run: Option<JsonRun<'a>>,
}

/// The part of [`JsonReport`] of a run that did not fail.
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
    /// The report for `--json`.
    pub fn json(&self, exit_code: u8) -> JsonReport<'_> {
        let (mode, mode_reason) = match &self.mode {
            Mode::Incremental => ("incremental", None),
            Mode::Full(why) => ("full", Some(why.as_str())),
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
        let run = JsonRun {
            mode,
            mode_reason,
            read: self.read,
            written: JsonWritten { persons: self.persons, groups: self.groups },
            deleted,
            held: &self.held,
            skipped: &self.skipped,
            dropped: &self.dropped,
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
            run: Some(run),
        }
    }
}

/// Seconds with milliseconds: what a person reads, and no false precision.
fn seconds(d: Duration) -> f64 {
    (d.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            dry_run: false,
            mode: Mode::Incremental,
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
             That is too many for a good status (10 entries, or 1 percent up to 100)"
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
