//! Uploads one run to Kanidm: which POSTs, in which order.
//!
//! Scope: order and safety. The modules:
//! - `work`: what every step needs, `ledger`: what is done and left, `item` and `outgoing`: what an
//!   entry looks like when it is sent.
//! - `send`: one POST, repeated where that is safe. `batch`: its size.
//! - The steps: `delete`, `first` (leaving the state Refresh with several POSTs), `claimed`,
//!   `write`, `limit` (locks of held persons), `swaps` (values that are taken), `again` (entries
//!   that earlier runs could not write), `late` and `members` (groups that need their members
//!   again), `finish`.
//! - `bisect`: the search for few items among many. `hold`: entries that Kanidm does not accept.
//! - `yielded`: attributes that an administrator took over.
//!
//! The rules:
//! 1. Deletions go first. If the run writes anything, they have their own POSTs, so that writes can
//!    reuse the freed names and DNs. In the state Refresh, Kanidm deletes every entry that a POST
//!    does not list. One POST therefore lists every UUID.
//! 2. Persons go before groups, because Kanidm silently drops a member that it does not know. If
//!    the groups do not fit into one POST, Kanidm gets all their DNs before any of their members.
//! 3. The last POST moves the cookie. Earlier POSTs store the envelope of the previous run, marked
//!    with the id of this run and a sequence number. The mark keeps two runs from mixing. It
//!    identifies the POST that left a state, even if its answer was lost. It tells the next run to
//!    repeat an interrupted upload.
//!
//! Only two kinds of POST combine deletions with other work. In the state Refresh, a POST with the
//! whole content also deletes. In a run without writes, the POST that moves the cookie also
//! deletes. An upload may therefore end between any two POSTs, and the next run finishes the rest.

mod again;
mod batch;
mod bisect;
mod claimed;
mod delete;
mod finish;
mod first;
mod hold;
mod item;
mod late;
mod ledger;
mod limit;
mod members;
mod outgoing;
mod send;
mod swaps;
mod work;
mod write;
pub mod yielded;

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use self::finish::finish;
use self::late::repair_after_giving_up;
use self::limit::close_ended;
use self::send::Sender;
use self::swaps::collide::resolve_collisions;
use self::work::Work;
use self::write::{clear, write_all};
use crate::clock::Clock;
use crate::content::changeset::ChangeSet;
use crate::content::{Claimed, Ended};
use crate::kanidm::error::KanidmError;
use crate::kanidm::request::Retention;
use crate::kanidm::state::Yielded;
use crate::kanidm::state::{Envelope, SyncState};
use crate::kanidm::transport::SyncServer;

/// The input of an upload.
pub struct Upload<'a> {
    /// The state that Kanidm has stored when the run begins.
    pub state: SyncState,
    /// The envelope to store until the last POST: the one that was read, or the default in the
    /// state Refresh.
    pub base: Envelope,
    /// True if `changes` is the whole content. An interrupted upload of it must be repeated in
    /// full.
    pub full: bool,
    /// Random; identifies this run.
    pub run: Uuid,
    /// The deletions. Ignored in the state Refresh: there, Kanidm deletes everything that is
    /// neither in `changes` nor in `stubs`.
    pub retention: Retention,
    /// The entries to write.
    pub changes: &'a ChangeSet,
    /// Held entries: UUID in Kanidm, and DN. In the state Refresh the upload lists them, so that
    /// Kanidm keeps their content.
    pub stubs: &'a [(Uuid, String)],
    /// The persons among `stubs` whose accounts have ended.
    pub ended: &'a [EndedPerson<'a>],
    /// Entries of `changes`, by UUID in Kanidm, that earlier runs held and that have not changed
    /// since. Another refusal of them is no news.
    pub tried_before: &'a HashSet<Uuid>,
    /// Attributes that earlier runs found to be yielded to Kanidm.
    pub yielded: Yielded,
    /// Mail addresses that two persons want.
    pub claimed: &'a [Claimed],
    /// Returns the UUIDs in Kanidm of all entries that the directory shows now. An increment needs
    /// them when many values change hands. `None` if the directory does not answer.
    pub everyone: &'a dyn Fn() -> Option<Vec<Uuid>>,
    /// Builds the envelope to store at the end from the entries that Kanidm did not accept.
    pub finish: &'a dyn Fn(&[HeldByKanidm]) -> Envelope,
    /// The size limits of a POST.
    pub limits: Limits,
}

/// A held person whose account the upload closes nevertheless.
#[derive(Clone, Copy, Debug)]
pub struct EndedPerson<'a> {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The DN.
    pub dn: &'a str,
    /// When the account ended, and its names.
    pub ended: &'a Ended,
}

/// Limits of one POST and of the upload.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum entries in a POST.
    pub max_entries: usize,
    /// Maximum bytes of entries in a POST.
    pub max_bytes: usize,
    /// Maximum time of one POST. Chunks are sized to take a third of it.
    pub timeout: Duration,
    /// Maximum POSTs refused for bad data before the upload gives up. Refusals for taken values and
    /// questions are not counted.
    pub max_refused: u64,
}

impl Limits {
    /// The default of [`Limits::max_refused`]: enough to find about 200 bad entries among 60,000.
    pub const MAX_REFUSED: u64 = 4_000;
}

/// An entry that Kanidm did not accept, or did not delete. Kanidm keeps its old content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldByKanidm {
    /// Its UUID in Kanidm.
    pub uuid: Uuid,
    /// Its DN. Empty if the directory only reports that the entry is gone.
    pub dn: String,
    /// The reason in words, with a remedy if there is one.
    pub reason: String,
    /// True if Kanidm has no entry with this UUID, or if the entry belongs to another sync account.
    pub is_absent: bool,
    /// True if the rest of the entry was sent.
    pub is_partial: bool,
}

/// The result of an upload.
#[derive(Clone, Debug, Default)]
pub struct UploadReport {
    /// Number of POSTs, repeated and refused ones included.
    pub posts: u64,
    /// POSTs that Kanidm refused for their data.
    pub refused: u64,
    /// POSTs that were sent again because no answer came.
    pub repeated: u64,
    /// Bytes of all POSTs.
    pub bytes: u64,
    /// Positions in the change set of the entries that Kanidm now has.
    pub written: Vec<usize>,
    /// Entries that Kanidm did not accept, and entries without a DN that it did not delete.
    pub held: Vec<HeldByKanidm>,
    /// UUIDs in Kanidm of the persons of [`Upload::ended`] whose accounts could not be closed.
    pub open: HashSet<Uuid>,
    /// UUIDs in Kanidm of the persons of [`Upload::ended`] who are closed under a temporary name.
    pub renamed: HashSet<Uuid>,
    /// UUIDs in Kanidm of the persons among `held` whose locks and limits in time were sent.
    pub limited: HashSet<Uuid>,
    /// Number of entries that got temporary values before their own ones.
    pub staged: u64,
    /// Attributes that are yielded to Kanidm, as far as this upload knows.
    pub yielded: Yielded,
    /// The time that each step took.
    pub steps: Vec<(UploadStep, Duration)>,
    /// The envelope that Kanidm now holds.
    pub envelope: Envelope,
}

/// The steps of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadStep {
    /// Deletes the entries that are gone. In the state Refresh, lists the entries that stay.
    Delete,
    /// Writes the entries that changed.
    Write,
    /// Resolves collisions: new names, DNs, numbers or addresses that other entries have.
    Collisions,
    /// Moves the cookie, if the last write could not do so.
    Finish,
}

impl fmt::Display for UploadStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UploadStep::Delete => "deletions and the list of what stays",
            UploadStep::Write => "writes",
            UploadStep::Collisions => "collisions",
            UploadStep::Finish => "the cookie",
        })
    }
}

/// Progress of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries done, held ones included.
    pub done: usize,
    /// Entries in all.
    pub total: usize,
    /// True once Kanidm has deleted what is gone.
    pub deleted: bool,
}

/// The reason why an upload ended early. Kanidm keeps what it applied, and the next run continues.
#[derive(Debug)]
pub enum UploadError {
    /// A request failed for good.
    Kanidm {
        /// The purpose of the request.
        doing: &'static str,
        /// The error of the request.
        error: KanidmError,
    },
    /// The stored state belongs to another run, or an administrator forced a refresh.
    Interrupted,
    /// The search for the entries at fault ended because Kanidm refused too many POSTs.
    TooManyRefused {
        /// Number of refused POSTs.
        posts: u64,
        /// The entries at fault that were found before.
        held: Vec<HeldByKanidm>,
    },
    /// Kanidm accepts no entry at all.
    EverythingRefused {
        /// Number of entries that were tried.
        tried: usize,
        /// The entry that was refused last.
        last: Box<HeldByKanidm>,
    },
    /// The list of all UUIDs, which cannot be split, is too large for Kanidm.
    RefreshTooLarge {
        /// Number of UUIDs.
        entries: usize,
        /// Size of the POST in bytes.
        bytes: u64,
        /// The error of the request.
        error: KanidmError,
    },
    /// Kanidm accepted a POST that it must refuse.
    ImpossibleSuccess,
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UploadError::Kanidm { doing, error } => write!(f, "{doing}: {error}"),
            UploadError::Interrupted => {
                f.write_str("another run has changed the sync state in Kanidm meanwhile (or a refresh was forced): this one stops here")
            }
            UploadError::TooManyRefused { posts, held } => {
                write!(
                    f,
                    "Kanidm refused {posts} POSTs, so the search for the entries at fault was given up; found until then: {}",
                    held.len()
                )?;
                held.iter().take(10).try_for_each(|h| write!(f, "\n  {}: {}", h.dn, h.reason))
            }
            UploadError::EverythingRefused { tried, last } => {
                write!(f, "Kanidm refuses every entry ({tried} tried), the last one {}: {}", last.dn, last.reason)
            }
            UploadError::RefreshTooLarge { entries, bytes, error } => write!(
                f,
                "Kanidm has no sync state, so all {entries} UUIDs have to be listed in one POST ({bytes} bytes), which failed: {error}; \
                 a larger `kanidm_timeout`, or a narrower `ldap_filter` for the first run, may help"
            ),
            UploadError::ImpossibleSuccess => {
                f.write_str("Kanidm accepted an invalid POST. This version of Kanidm is not supported; the upload stops")
            }
        }
    }
}

impl UploadError {
    /// The message without entries and without Kanidm's details, for a file that everybody on the
    /// machine reads.
    pub fn without_names(&self) -> String {
        match self {
            UploadError::Kanidm { doing, error } => format!("{doing}: {}", error.without_names()),
            UploadError::TooManyRefused { posts, held } => format!(
                "Kanidm refused {posts} POSTs, so the search for the entries at fault was given up; found until then: {}",
                held.len()
            ),
            UploadError::EverythingRefused { tried, .. } => {
                format!("Kanidm refuses every entry ({tried} tried); the log has its reason")
            }
            UploadError::RefreshTooLarge { entries, bytes, error } => format!(
                "Kanidm has no sync state, so all {entries} UUIDs have to be listed in one POST ({bytes} bytes), which failed: {}",
                error.without_names()
            ),
            UploadError::Interrupted | UploadError::ImpossibleSuccess => self.to_string(),
        }
    }
}

impl std::error::Error for UploadError {}

/// Uploads `input` and reports the result. `progress` is called as entries are done.
///
/// # Errors
/// See [`UploadError`]. Entries that Kanidm does not accept are no error: the report lists them as
/// held.
pub fn upload(
    server: &mut dyn SyncServer,
    clock: &dyn Clock,
    input: &Upload<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<UploadReport, UploadError> {
    let sender = Sender::new(server, clock, input);
    let mut work = Work::new(sender, input, progress);
    match steps(&mut work) {
        Ok(()) => Ok(work.into_report()),
        Err(UploadError::TooManyRefused { posts, .. }) => {
            Err(UploadError::TooManyRefused { posts, held: work.ledger.held })
        }
        Err(error) => Err(error),
    }
}

fn steps(work: &mut Work<'_>) -> Result<(), UploadError> {
    work.timed(UploadStep::Delete, clear)?;
    let written = work.timed(UploadStep::Write, write_all);
    let refusals_ended_it = matches!(
        written,
        Err(UploadError::TooManyRefused { .. } | UploadError::EverythingRefused { .. })
    );
    if refusals_ended_it {
        work.sender.allow_as_many_again();
    }
    if written.is_ok() || refusals_ended_it {
        work.timed(UploadStep::Write, close_ended)?;
    }
    let written = written.and_then(|()| work.timed(UploadStep::Collisions, resolve_collisions));
    if let Err(UploadError::TooManyRefused { .. }) = written {
        work.timed(UploadStep::Collisions, repair_after_giving_up)?;
    }
    written?;
    work.timed(UploadStep::Finish, finish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let error = UploadError::RefreshTooLarge {
            entries: 9,
            bytes: 900,
            error: KanidmError::TimedOut {
                stage: crate::kanidm::error::Stage::Exchange,
                limit: Duration::from_secs(300),
            },
        };
        assert!(error.to_string().contains("kanidm_timeout"));
    }
}
