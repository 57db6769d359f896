//! Why a run failed, and its exit code.

use std::fmt;

use super::guard::GuardRefusal;
use super::report::HeldEntry;
use super::summary::held_by_kanidm;
use crate::directory::error::DirectoryError;
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
