//! The table of all metrics: name, help, and the facts behind each sample.
//!
//! Scope: one table for the writer and the reader, so that both agree.

use super::{Failure, Metrics};

/// All names begin with it.
pub(super) const PREFIX: &str = "kanidm_ldap_sync_";

/// A metric, which may have several samples. Every metric is a gauge: a file that one run writes
/// has no counters that survive it.
pub(super) struct Family {
    /// The name after [`PREFIX`].
    pub name: &'static str,
    /// The meaning, in one sentence.
    pub help: &'static str,
    /// The samples.
    pub samples: &'static [Sample],
}

/// A sample: the label that tells it from the others of its metric, and its place in the facts.
pub(super) struct Sample {
    pub label: Option<(&'static str, &'static str)>,
    pub place: Place,
}

/// How a sample's value is found in the facts, and put there.
pub(super) enum Place {
    Number(fn(&mut Metrics) -> &mut Option<u64>),
    Seconds(fn(&mut Metrics) -> &mut Option<f64>),
    Flag(fn(&mut Metrics) -> &mut Option<bool>),
    /// 1 for the reason of a failed run, else 0.
    Reason(Failure),
}

const fn one(place: Place) -> [Sample; 1] {
    [Sample { label: None, place }]
}

const fn family(name: &'static str, help: &'static str, samples: &'static [Sample]) -> Family {
    Family { name, help, samples }
}

const fn reason(failure: Failure, word: &'static str) -> Sample {
    Sample { label: Some(("reason", word)), place: Place::Reason(failure) }
}

use Place::{Flag, Number, Seconds};

/// The metrics, in the order of the file.
pub(super) const FAMILIES: &[Family] = &[
    family(
        "last_success_timestamp_seconds",
        "End of the last run that synchronised (exit code 0 or 3).",
        &one(Number(|m| &mut m.success.ended)),
    ),
    family(
        "success_deadline_timestamp_seconds",
        "Start of the third scheduled run after the last success. Only with --schedule.",
        &one(Number(|m| &mut m.success.deadline)),
    ),
    family(
        "entries_held",
        "Entries that the last success held back.",
        &one(Number(|m| &mut m.success.held)),
    ),
    family(
        "values_dropped",
        "Bad values that the last success left out.",
        &one(Number(|m| &mut m.success.dropped)),
    ),
    family(
        "entries_known",
        "Persons and groups in Kanidm. An incremental run tells the number before it.",
        &one(Number(|m| &mut m.success.known)),
    ),
    family(
        "last_run_timestamp_seconds",
        "End of the last run, successful or not.",
        &one(Number(|m| &mut m.run.ended)),
    ),
    family(
        "last_run_exit_code",
        "Exit code of the last run: 0 and 3 are successes, 4 is a refusal of the deletion guard.",
        &one(Number(|m| &mut m.run.exit_code)),
    ),
    family(
        "last_run_failed",
        "1 for the reason why the last run failed, else 0.",
        &[
            reason(Failure::Configuration, "configuration"),
            reason(Failure::Directory, "directory"),
            reason(Failure::InvalidEntries, "invalid_entries"),
            reason(Failure::Kanidm, "kanidm"),
            reason(Failure::Local, "local"),
            reason(Failure::Refused, "refused"),
        ],
    ),
    family(
        "last_run_full_refresh",
        "1 if the last run read the whole directory, 0 if it read the changes.",
        &one(Flag(|m| &mut m.run.full)),
    ),
    family(
        "last_run_entries_read",
        "Entries that the last run received from the directory.",
        &one(Number(|m| &mut m.run.read)),
    ),
    family(
        "last_run_entries_written",
        "Entries that the last run wrote to Kanidm.",
        &[
            Sample { label: Some(("kind", "person")), place: Number(|m| &mut m.run.persons) },
            Sample { label: Some(("kind", "group")), place: Number(|m| &mut m.run.groups) },
        ],
    ),
    family(
        "last_run_entries_deleted",
        "Entries that the last run deleted in Kanidm: at least, or about. Absent if unknown.",
        &one(Number(|m| &mut m.run.deleted)),
    ),
    family(
        "last_run_members_unresolved",
        "Members, in the groups that the last run read, that are not synchronised.",
        &one(Number(|m| &mut m.run.members_unresolved)),
    ),
    family(
        "last_run_duration_seconds",
        "Duration of the last run.",
        &one(Seconds(|m| &mut m.run.seconds)),
    ),
    family(
        "last_run_side_duration_seconds",
        "Part of the last run's duration that each side took.",
        &[
            Sample {
                label: Some(("side", "directory")),
                place: Seconds(|m| &mut m.run.directory_seconds),
            },
            Sample {
                label: Some(("side", "kanidm")),
                place: Seconds(|m| &mut m.run.kanidm_seconds),
            },
        ],
    ),
    family(
        "follower_connected",
        "1 if the service hears of changes in the directory at once. Only with follow = true.",
        &one(Flag(|m| &mut m.follower_connected)),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_sample() {
        let samples = FAMILIES.iter().flat_map(|family| family.samples);
        let reasons: Vec<_> = samples
            .filter_map(|sample| match sample.place {
                Place::Reason(failure) => Some((failure, sample.label)),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, Failure::ALL.map(|all| (all, Some(("reason", all.word())))));
    }
}
