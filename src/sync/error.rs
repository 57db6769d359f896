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

    /// The error without the entries that it names, for a file that everybody on the machine reads.
    pub fn without_names(&self) -> String {
        match self {
            RunError::Refused(refusal) => refusal.without_names().to_string(),
            RunError::State(error) => {
                format!("reading the sync state from Kanidm: {}", error.without_names())
            }
            RunError::Directory(error) => error.without_names(),
            RunError::Upload(error) => error.without_names(),
            RunError::NoRandom | RunError::Stored(_) | RunError::Invalid { .. } => self.to_string(),
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
    use crate::directory::error::{DirectoryProblem, DirectoryStage};
    use crate::kanidm::error::Answer;
    use crate::upload::HeldByKanidm;

    /// Only the tool's own lock means "busy". Here the run has read the directory, but its changes
    /// are not in Kanidm.
    #[test]
    fn a_run_that_another_one_cut_off_has_failed() {
        assert_eq!(RunError::Upload(UploadError::Interrupted).exit_code(), ExitCode::Failure);
    }

    /// The number of a kind. A new kind gets the next number, and [`all`] one more error. Each kind
    /// of the directory has its own test in `directory/public_text.rs`.
    fn kind(error: &RunError) -> usize {
        match error {
            RunError::NoRandom => 0,
            RunError::State(_) => 1,
            RunError::Stored(_) => 2,
            RunError::Directory(_) => 3,
            RunError::Invalid { .. } => 4,
            RunError::Refused(_) => 5,
            RunError::Upload(error) => match error {
                UploadError::Kanidm { .. } => 6,
                UploadError::Interrupted => 7,
                UploadError::TooManyRefused { .. } => 8,
                UploadError::EverythingRefused { .. } => 9,
                UploadError::RefreshTooLarge { .. } => 10,
                UploadError::ImpossibleSuccess => 11,
            },
        }
    }

    /// Every kind of error, with words of its public text, and true if the whole message names an
    /// entry.
    fn all() -> Vec<(RunError, &'static str, bool)> {
        let alice = || "uid=alice".to_owned();
        let last = || HeldByKanidm {
            uuid: Uuid::nil(),
            dn: alice(),
            reason: "alice is taken".to_owned(),
            is_absent: false,
            is_partial: false,
        };
        let refused = || {
            let body = br#"{"invalidattribute":"uid=alice"}"#;
            KanidmError::Refused(Answer::new(400, body, None))
        };
        let held = vec![HeldEntry { uuid: Uuid::nil(), dn: alice(), problems: Vec::new() }];
        let busy = DirectoryError {
            uri: "ldaps://a".to_owned(),
            problem: Box::new(DirectoryProblem::SearchFailed {
                stage: DirectoryStage::Search,
                base: alice(),
                code: ldap_content_sync::ResultCode::BUSY,
                diagnostic: alice(),
            }),
            peer_certificates: Vec::new(),
        };
        let upload = RunError::Upload;
        let listed = UploadError::RefreshTooLarge { entries: 5, bytes: 6, error: refused() };
        vec![
            (RunError::NoRandom, "no random numbers", false),
            (RunError::State(refused()), "sync state from Kanidm: Kanidm refused: ", true),
            (RunError::Stored(StateError::Newer { version: 9 }), "newer", false),
            (RunError::Directory(busy), "ldaps://a: a search failed: busy (51) (details", true),
            (RunError::Invalid { held }, "1 entries are not valid", false),
            (RunError::Refused(refusal()), "9 of 20", true),
            (
                upload(UploadError::Kanidm { doing: "x", error: refused() }),
                "x: Kanidm refused",
                true,
            ),
            (upload(UploadError::Interrupted), "another run", false),
            (
                upload(UploadError::TooManyRefused { posts: 8, held: vec![last()] }),
                "found until then: 1",
                true,
            ),
            (
                upload(UploadError::EverythingRefused { tried: 7, last: Box::new(last()) }),
                "(7 tried)",
                true,
            ),
            (upload(listed), "all 5 UUIDs", true),
            (upload(UploadError::ImpossibleSuccess), "an invalid POST", false),
        ]
    }

    fn refusal() -> GuardRefusal {
        use super::super::guard::{Deletions, Gone, GuardReason};
        GuardRefusal {
            reasons: vec![GuardReason::TooMany {
                kind: None,
                deletions: Deletions::Exactly(9),
                allowed: 3,
                percent: 20,
                known: Some(20),
                named: vec![Gone { uuid: Uuid::nil(), dn: Some("uid=alice".to_owned()) }],
            }],
        }
    }

    #[test]
    fn the_error_for_everybody_names_no_entry() {
        let all = all();
        let kinds: Vec<usize> = all.iter().map(|(error, ..)| kind(error)).collect();
        assert_eq!(kinds, (0..12).collect::<Vec<_>>());
        for (error, words, has_names) in &all {
            assert_eq!(error.to_string().contains("alice"), *has_names, "{error}");
            let public = error.without_names();
            assert!(public.contains(words) && !public.contains("alice"), "{public}");
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
