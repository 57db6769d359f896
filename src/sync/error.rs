//! Why a run failed, and its exit code.

use std::fmt;

use super::guard::GuardRefusal;
use super::report::HeldEntry;
use super::summary::held_by_kanidm;
use crate::directory::error::{DirectoryError, DirectoryProblem};
use crate::exit::ExitCode;
use crate::kanidm::error::KanidmError;
use crate::kanidm::state::StateError;
use crate::upload::UploadError;

/// Why a run failed.
#[derive(Debug)]
pub enum RunError {
    /// Kanidm did not return its state.
    State(KanidmError),
    /// The system gives no random numbers.
    NoRandom,
    /// The state that Kanidm has stored cannot be used.
    Stored(StateError),
    /// The directory could not be read.
    Directory(DirectoryError),
    /// `invalid_entries = "fail"`, and some entries are invalid.
    Invalid {
        /// All invalid entries.
        held: Vec<HeldEntry>,
    },
    /// The deletion guard refused.
    Refused(GuardRefusal),
    /// The upload ended early.
    Upload(UploadError),
}

impl RunError {
    /// The entries that made the run fail, if any did.
    pub fn held(&self) -> Vec<HeldEntry> {
        match self {
            RunError::Invalid { held } => held.clone(),
            RunError::Upload(UploadError::TooManyRefused { held, .. }) => {
                held.iter().map(held_by_kanidm).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The error without the entries that it names, for a file that everybody on the machine reads.
    pub fn without_names(&self) -> String {
        match self {
            RunError::Refused(refusal) => refusal.without_names().to_string(),
            RunError::Upload(UploadError::EverythingRefused { tried, .. }) => {
                format!("Kanidm refuses every entry ({tried} tried); the log has its reason")
            }
            RunError::Directory(DirectoryError { uri, problem, .. })
                if let DirectoryProblem::UuidHidden { attribute, .. } = &**problem =>
            {
                format!("{uri}: an entry cannot be found by its {attribute}; the log names it")
            }
            other => other.to_string(),
        }
    }

    /// True if the failure is on Kanidm's side.
    pub fn is_kanidms(&self) -> bool {
        matches!(self, RunError::State(_) | RunError::Stored(_) | RunError::Upload(_))
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            RunError::Refused(_) => ExitCode::Refused,
            _ => ExitCode::Failure,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::NoRandom => f.write_str(
                "no random numbers: the system's random device does not answer. Check /dev/urandom",
            ),
            RunError::State(error) => write!(f, "reading the sync state from Kanidm: {error}"),
            RunError::Stored(error) => error.fmt(f),
            RunError::Directory(error) => error.fmt(f),
            RunError::Invalid { held } => write!(
                f,
                "{} entries are not valid for Kanidm and invalid_entries = \"fail\": nothing was sent; they are named above. \
                 Mend them in the directory, set invalid_entries to \"drop-value\", or exclude them, which deletes them in Kanidm",
                held.len()
            ),
            RunError::Refused(refusal) => refusal.fmt(f),
            RunError::Upload(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::upload::HeldByKanidm;

    /// Only the tool's own lock means "busy". Here the run has read the directory, but its changes
    /// are not in Kanidm.
    #[test]
    fn a_run_that_another_one_cut_off_has_failed() {
        assert_eq!(RunError::Upload(UploadError::Interrupted).exit_code(), ExitCode::Failure);
    }

    #[test]
    fn the_error_for_everybody_names_no_entry() {
        use super::super::guard::{Deletions, Gone, GuardReason};
        let named = vec![Gone { uuid: Uuid::nil(), dn: Some("uid=alice".to_owned()) }];
        let last = HeldByKanidm {
            uuid: Uuid::nil(),
            dn: "uid=alice".to_owned(),
            reason: "alice is taken".to_owned(),
            is_absent: false,
            is_partial: false,
        };
        let errors = [
            RunError::Refused(GuardRefusal {
                reasons: vec![GuardReason::TooMany {
                    kind: None,
                    deletions: Deletions::Exactly(9),
                    allowed: 3,
                    percent: 20,
                    known: Some(20),
                    named,
                }],
            }),
            RunError::Upload(UploadError::EverythingRefused { tried: 7, last: Box::new(last) }),
            RunError::Directory(DirectoryError {
                uri: "ldaps://a".to_owned(),
                problem: Box::new(DirectoryProblem::UuidHidden {
                    dn: "uid=alice".to_owned(),
                    attribute: "entryUUID",
                }),
                peer_certificates: Vec::new(),
            }),
        ];
        for (error, words) in errors.iter().zip(["9 of 20", "(7 tried)", "by its entryUUID"]) {
            let text = error.without_names();
            assert!(text.contains(words) && !text.contains("alice"), "{text}");
            assert!(error.to_string().contains("alice"));
        }
    }

    #[test]
    fn entries_at_fault_are_named_also_where_the_search_for_them_was_given_up() {
        let held: Vec<HeldByKanidm> = (0..12)
            .map(|n| HeldByKanidm {
                uuid: Uuid::from_u128(n),
                dn: format!("uid={n}"),
                reason: "taken".to_owned(),
                is_absent: false,
                is_partial: false,
            })
            .collect();
        let error = RunError::Upload(UploadError::TooManyRefused { posts: 9, held });
        let named = error.held();
        let last = named.last().map(|h| (h.uuid, h.dn.as_str(), h.problems[0].rule.as_str()));
        assert_eq!((named.len(), last), (12, Some((Uuid::from_u128(11), "uid=11", "taken"))));
    }
}
