//! What an upload has done so far, and what is left.
//!
//! Scope: data. The functions of the other modules read and write it.

use std::collections::HashSet;

use uuid::Uuid;

use super::HeldByKanidm;
use super::item::Item;
use super::send::Refusal;

/// The state of an upload.
#[derive(Default)]
pub(super) struct Ledger {
    // Done.
    /// Positions in the change set of the entries that Kanidm accepted.
    pub(super) written: Vec<usize>,
    /// Groups in the order they were written. Some may need their members again.
    pub(super) written_groups: Vec<Item>,
    /// Items that Kanidm knows by their DN, because it accepted them without content.
    pub(super) named: HashSet<Item>,
    /// Entries that have or had temporary values.
    pub(super) staged: HashSet<Item>,
    /// How often an entry got temporary values.
    pub(super) staged_count: u64,
    /// Entries that Kanidm did not accept.
    pub(super) held: Vec<HeldByKanidm>,
    /// The entries of the change set among `held`.
    pub(super) held_items: Vec<Item>,
    /// Entries that Kanidm did not delete. The envelope does not remember them: the directory has
    /// no entry to read again.
    pub(super) not_deleted: Vec<HeldByKanidm>,
    /// UUIDs in Kanidm of ended accounts that stay open.
    pub(super) open: HashSet<Uuid>,
    /// UUIDs in Kanidm of ended accounts that are closed under a temporary name.
    pub(super) renamed: HashSet<Uuid>,
    /// UUIDs in Kanidm of the persons among `held` whose locks and limits in time were sent.
    pub(super) limited: HashSet<Uuid>,
    /// Entries that Kanidm rejected for their own data, for the first time in this run. Conflicts
    /// are not counted.
    pub(super) refused_for_data: usize,
    /// Kanidm has deleted what is gone.
    pub(super) deleted: bool,
    /// Entries written or held, for the progress.
    pub(super) done: usize,

    // Left.
    /// Blocks of entries that were refused together because a value is taken.
    pub(super) waiting: Vec<Block>,
    /// Entries that were refused alone because a value is taken.
    pub(super) collided: Vec<(Item, Refusal)>,
    /// Number of entries written before the first of `collided` was refused.
    pub(super) written_before: usize,
    /// Entries that no earlier run could write.
    pub(super) again: Vec<Item>,
    /// True if an entry was written after groups that may have it as a member.
    pub(super) members_late: bool,
    /// True if the next run must be a full refresh.
    pub(super) repeat_in_full: bool,

    // Steps.
    /// The exchange of values among many entries. An upload tries it once.
    pub(super) exchange: Exchange,
    /// True once the ended accounts of persons that the mapping holds are closed.
    pub(super) ended_closed: bool,
    /// True once Kanidm was asked who has each claimed address.
    pub(super) claims_settled: bool,
    /// True once Kanidm was asked which attributes are yielded.
    pub(super) asked_for_yielded: bool,
    /// True once all groups exist in Kanidm under their DNs, as far as Kanidm accepts them.
    pub(super) groups_named: bool,
    /// True if Kanidm refused the DN of a held entry.
    pub(super) stub_refused: bool,
    /// True once the cookie has moved.
    pub(super) finished: bool,
}

impl Ledger {
    /// True if entries wait for a decision.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.collided.is_empty() || !self.again.is_empty()
    }

    /// True if an entry may have a temporary value in Kanidm.
    pub(super) fn has_temporary_values(&self) -> bool {
        let written: HashSet<usize> = self.written.iter().copied().collect();
        self.staged.iter().any(|item| !matches!(item, Item::Record(at) if written.contains(at)))
    }
}

/// Entries that were refused together.
pub(super) struct Block {
    pub(super) items: Vec<Item>,
    /// Number of entries that the run had written before the refusal.
    pub(super) written: usize,
}

/// How far the exchange of values among many entries came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Exchange {
    #[default]
    Untried,
    /// It was not possible.
    Failed,
    /// It has begun, or it left out entries without asking whether others have what they want.
    Partial,
    /// No entry of the run has a value that one of the remaining entries wants.
    Whole,
}
