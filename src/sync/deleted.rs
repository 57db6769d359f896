//! The entries that a run deletes, as far as their UUIDs are known.
//!
//! Scope: the plan. Kanidm does not tell what it holds, so the entries come from the sample and the
//! roster that an earlier run left. [`super::estimate`] has the numbers for the guard.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::guard::Deletions;
use super::preview;
use super::read::Reading;
use super::start::Start;
use crate::content::changeset::Kind;
use crate::kanidm::request::Retention;

/// The entries that a run deletes.
#[derive(Debug)]
pub(super) struct Going {
    /// Those whose UUIDs are known.
    pub(super) entries: Vec<GoingEntry>,
    /// Number of the others. An estimate if Kanidm holds too many entries for a roster.
    pub(super) nameless: Deletions,
    /// True if Kanidm is known to have the entries.
    pub(super) is_known: bool,
    /// The DNs of those that the directory still has, by UUID in Kanidm.
    pub(super) names: HashMap<Uuid, String>,
}

/// An entry that a run deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoingEntry {
    /// The UUID in Kanidm.
    pub(super) uuid: Uuid,
    /// `None` if it is not known.
    pub(super) kind: Option<Kind>,
}

impl Default for Going {
    fn default() -> Self {
        Going {
            entries: Vec::new(),
            nameless: Deletions::Exactly(0),
            is_known: false,
            names: HashMap::new(),
        }
    }
}

impl Going {
    /// The deletions of a plan. `planned` is their number.
    pub(super) fn new(start: &Start, reading: &Reading, planned: Deletions) -> Going {
        let (known, roster) = (start.known.as_ref(), start.stored_roster.as_ref());
        let entry = |(kind, uuid)| GoingEntry { uuid, kind };
        let mut entries: Vec<GoingEntry> =
            preview::going(reading, known).into_iter().map(entry).collect();
        let is_exact = known.is_some_and(|known| known.is_exact());
        let nameless = match (&reading.retention, roster) {
            (Retention::Ignore, _) => Deletions::Exactly(0),
            _ if is_exact => Deletions::Exactly(0),
            (Retention::Delete(uuids), Some(roster)) => {
                let sampled: HashSet<Uuid> = entries.iter().map(|entry| entry.uuid).collect();
                let others = uuids.iter().filter(|uuid| roster.has_any(**uuid));
                let others = others.filter(|uuid| !sampled.contains(uuid));
                entries.extend(others.map(|uuid| GoingEntry { uuid: *uuid, kind: None }));
                Deletions::Exactly(0)
            }
            (Retention::Retain(uuids), Some(roster)) => {
                let others = roster.missing_from(uuids).saturating_sub(entries.len());
                Deletions::Exactly(others as u64)
            }
            (_, None) => match planned.at_least().saturating_sub(entries.len() as u64) {
                0 => Deletions::Exactly(0),
                others => Deletions::About(others),
            },
        };
        Going { entries, nameless, is_known: known.is_some(), names: HashMap::new() }
    }
}
