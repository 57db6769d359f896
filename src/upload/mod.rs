//! What a run sends to Kanidm, in which order, in how many POSTs.
//!
//! Scope: order and safety. The parts: `send` (one POST, which may have to be repeated), `first`
//! (out of the state Refresh), `delete`, `write` (chunks, and finding the entries at fault),
//! `bisect` (the search for the few of many), `collide` (values that are taken), `exchange` (many
//! entries that pass values round), `again` (what earlier runs could not write), `ask` (who has
//! which value).
//!
//! 1. Deletions go first, in POSTs of their own where something is written after them, so that
//!    names and DNs they free can be used again. From the state Refresh, which deletes whatever is
//!    not listed, this is one POST that lists every UUID.
//! 2. Persons, then groups: a member that does not exist yet is dropped without a word, so when
//!    groups do not fit into one POST they are all made known before the first of them gets its
//!    members.
//! 3. The last POST moves the cookie. Those before it store the envelope of the run before, marked
//!    with this run's id and a number of their own: two runs cannot mix, a POST whose answer was
//!    lost is recognised by the state it left, and whatever is interrupted is repeated.
//!
//! A POST deletes before anything is written, but for two that do all there is to do at once: from
//! the state Refresh the one that brings the whole content, and in a run that has nothing to write
//! the one that moves the cookie. So an upload may end between any two POSTs: the next run finishes
//! what it left.

mod again;
mod batch;
mod bisect;
mod claimed;
mod delete;
mod first;
mod item;
mod limit;
mod members;
mod send;
mod swaps;
mod write;
pub mod yielded;

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use self::send::Sender;
use self::write::Writer;
use crate::content::changeset::ChangeSet;
use crate::content::{Claimed, Ended};
use crate::kanidm::error::KanidmError;
use crate::kanidm::request::Retention;
use crate::kanidm::state::Yielded;
use crate::kanidm::state::{Envelope, SyncState};
use crate::kanidm::transport::{Clock, SyncServer};

/// Everything an upload needs to know.
pub struct Upload<'a> {
    /// What Kanidm had stored when the run began.
    pub state: SyncState,
    /// What the envelope says until the last POST: the one that was read, or the default from the
    /// state Refresh.
    pub base: Envelope,
    /// Whether `changes` are the whole content: an interrupted one has to be repeated in full.
    pub full: bool,
    /// Random, tells this run from any other.
    pub run: Uuid,
    /// What to delete. Ignored in the state Refresh, where everything is deleted that is neither in
    /// `changes` nor in `stubs`.
    pub retention: Retention,
    /// What to write.
    pub changes: &'a ChangeSet,
    /// Held entries (UUID in Kanidm, DN): in the state Refresh they are listed, so that Kanidm
    /// keeps what it has of them.
    pub stubs: &'a [(Uuid, String)],
    /// Of these, the persons whose accounts have ended.
    pub ended: &'a [EndedPerson<'a>],
    /// Entries of `changes` (UUIDs in Kanidm) that were held before and have not changed since:
    /// refusing them once more says nothing new.
    pub tried_before: &'a HashSet<Uuid>,
    /// Attributes that are known to be yielded to Kanidm.
    pub yielded: Yielded,
    /// Mail addresses that two persons want.
    pub claimed: &'a [Claimed],
    /// UUIDs in Kanidm of all entries that the directory shows now, for an increment in which many
    /// values change hands. Nothing if the directory does not answer.
    pub everyone: &'a dyn Fn() -> Option<Vec<Uuid>>,
    /// The envelope to store at the end, given the entries that Kanidm did not accept.
    pub finish: &'a dyn Fn(&[HeldByKanidm]) -> Envelope,
    /// How much at once.
    pub limits: Limits,
}

/// A person who is held, and whose account is to be closed all the same.
#[derive(Clone, Copy, Debug)]
pub struct EndedPerson<'a> {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The DN.
    pub dn: &'a str,
    /// Since when.
    pub ended: &'a Ended,
}

/// How much at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries a POST.
    pub max_entries: usize,
    /// Bytes of entries a POST.
    pub max_bytes: usize,
    /// For one POST; chunks are made to take a third of it.
    pub timeout: Duration,
    /// Maximum POSTs refused for bad data before the upload gives up. Refusals for taken values and
    /// questions are not counted.
    pub max_refused: u64,
}

impl Limits {
    /// The default of [`Limits::max_refused`]: enough to find some 200 bad entries among 60,000.
    pub const MAX_REFUSED: u64 = 4_000;
}

/// An entry that Kanidm did not accept, or did not delete. What Kanidm had of it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldByKanidm {
    /// Its UUID in Kanidm.
    pub uuid: Uuid,
    /// Its DN; empty where the directory says no more than that it is gone.
    pub dn: String,
    /// Why, in words, with what to do where something can be done.
    pub reason: String,
    /// Kanidm has no entry of this UUID, or not one of this sync account.
    pub is_absent: bool,
    /// Everything else of the entry was sent.
    pub is_partial: bool,
}

/// What an upload did.
#[derive(Clone, Debug, Default)]
pub struct UploadReport {
    /// POSTs sent, repeated and refused ones included.
    pub posts: u64,
    /// Of these, refused for their data.
    pub refused: u64,
    /// Of these, sent again because no answer came.
    pub repeated: u64,
    /// Bytes of all POSTs.
    pub bytes: u64,
    /// Entries of the change set that Kanidm now has, by position.
    pub written: Vec<usize>,
    /// Entries that Kanidm did not accept, and, without a DN, those that it did not delete.
    pub held: Vec<HeldByKanidm>,
    /// Of [`Upload::ended`], those that could not be closed, by UUID in Kanidm.
    pub open: HashSet<Uuid>,
    /// Entries that got a temporary name on the way to their new one.
    pub staged: u64,
    /// Attributes that are yielded to Kanidm, as far as this upload knows.
    pub yielded: Yielded,
    /// How long each step took.
    pub steps: Vec<(Step, Duration)>,
    /// The envelope that Kanidm now holds.
    pub envelope: Envelope,
}

/// The steps of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Entries that are gone, and from the state Refresh the list of those that are not.
    Delete,
    /// Entries that changed.
    Write,
    /// Entries whose new names, DNs, numbers or addresses collide with others.
    Collisions,
    /// The POST that moves the cookie, where it could not be part of the last write.
    Finish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Delete => "deletions and the list of what stays",
            Step::Write => "writes",
            Step::Collisions => "collisions",
            Step::Finish => "the cookie",
        })
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries done, held ones included.
    pub done: usize,
    /// Entries in all.
    pub total: usize,
}

/// Why an upload ended early. What was applied stays; the next run continues.
#[derive(Debug)]
pub enum UploadError {
    /// A request failed for good.
    Kanidm {
        /// What it was for.
        doing: &'static str,
        /// What happened.
        error: KanidmError,
    },
    /// The stored state is another run's (or an administrator forced a refresh).
    Interrupted,
    /// So many POSTs were refused that the search for the entries at fault was given up.
    TooManyRefused {
        /// How many.
        posts: u64,
        /// Entries found to be at fault until then.
        held: Vec<HeldByKanidm>,
    },
    /// Nothing at all is accepted.
    EverythingRefused {
        /// How many entries were tried.
        tried: usize,
        /// The reason of the last.
        last: Box<HeldByKanidm>,
    },
    /// The list of all UUIDs, which has to be one POST, is more than Kanidm takes.
    RefreshTooLarge {
        /// How many UUIDs.
        entries: usize,
        /// How large the POST was, bytes.
        bytes: u64,
        /// What happened.
        error: KanidmError,
    },
    /// A POST that can only fail was answered with success.
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
                f.write_str("Kanidm accepted a POST that is not valid; this Kanidm is not one that is known, so the upload stops")
            }
        }
    }
}

impl std::error::Error for UploadError {}

/// Sends it.
///
/// # Errors
/// See [`UploadError`]; entries that Kanidm does not accept are not an error, they are reported as
/// held.
pub fn upload(
    server: &mut dyn SyncServer,
    clock: &mut dyn Clock,
    input: &Upload<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<UploadReport, UploadError> {
    let sender = Sender::new(server, clock, input);
    let mut writer = Writer::new(sender, input, progress);
    writer.timed(Step::Delete, Writer::clear)?;
    let written = writer.timed(Step::Write, Writer::write_all);
    if matches!(written, Ok(()) | Err(UploadError::TooManyRefused { .. })) {
        writer.timed(Step::Write, Writer::close_ended)?;
    }
    let written = written.and_then(|()| writer.timed(Step::Collisions, Writer::resolve_collisions));
    if let Err(error @ UploadError::TooManyRefused { .. }) = written {
        writer.timed(Step::Collisions, Writer::settle_what_was_given_up)?;
        return Err(error);
    }
    written?;
    writer.timed(Step::Finish, Writer::finish)?;
    Ok(writer.into_report())
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
