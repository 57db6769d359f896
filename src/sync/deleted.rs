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
    /// The DNs of those that the directory still has, by UUID in Kanidm. Empty in a real run.
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
        // If the last run failed, its deletions are missing from the sample, and not from the roster.
        let nameless = match (&reading.retention, roster) {
            (Retention::Ignore, _) => Deletions::Exactly(0),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kanidm::known::Known;
    use crate::kanidm::roster::Roster;
    use crate::kanidm::sketch::Sketch;
    use crate::sync::changes::tests::reading;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    /// Kanidm has the persons 1 to `persons` and the group 100,000.
    fn start(persons: u128, has_roster: bool) -> Start {
        let persons = || (1..=persons).map(id);
        let groups = || std::iter::once(id(100_000));
        let roster = Roster::of(persons().chain(groups()).map(|uuid| (uuid, 0)));
        Start {
            known: Some(Known { persons: Sketch::of(persons()), groups: Sketch::of(groups()) }),
            stored_roster: roster.filter(|_| has_roster),
            ..Start::default()
        }
    }

    /// The UUIDs that are named, how many have a kind, and how many are not named.
    fn going(
        start: &Start,
        retention: Retention,
        planned: Deletions,
    ) -> (Vec<u128>, usize, Deletions) {
        let reading = Reading { retention, ..reading(Default::default()) };
        let going = Going::new(start, &reading, planned);
        let mut uuids: Vec<u128> = going.entries.iter().map(|entry| entry.uuid.as_u128()).collect();
        uuids.sort_unstable();
        let kinds = going.entries.iter().filter(|entry| entry.kind.is_some()).count();
        (uuids, kinds, going.nameless)
    }

    const NONE: Deletions = Deletions::Exactly(0);

    #[test]
    fn a_small_directory_names_everything() {
        for has_roster in [true, false] {
            let start = start(10, has_roster);
            let planned = Deletions::Exactly(2);
            let list = [1, 100_000, 200_000].map(id).to_vec();
            let delete = going(&start, Retention::Delete(list), planned);
            assert_eq!(delete, (vec![1, 100_000], 2, NONE), "200,000 never was there");
            let stay = (3..=10).chain([100_000, 300_000]).map(id).collect();
            assert_eq!(going(&start, Retention::Retain(stay), planned), (vec![1, 2], 2, NONE));
            assert_eq!(going(&start, Retention::Ignore, NONE), (vec![], 0, NONE));
        }
    }

    #[test]
    fn the_roster_names_a_deletion_list_of_a_large_directory_and_counts_the_rest() {
        let start = start(2_000, true);
        let delete = Retention::Delete((1..=40).chain([300_000]).map(id).collect());
        let (uuids, kinds, nameless) = going(&start, delete, Deletions::About(13));
        assert_eq!((uuids, nameless), ((1..=40).collect(), NONE));
        assert!(kinds < 40, "only the sample has kinds");
        let stay = (41..=2_000).chain([100_000]).map(id).collect();
        let (uuids, kinds, nameless) = going(&start, Retention::Retain(stay), Deletions::About(13));
        assert_eq!((kinds, nameless), (uuids.len(), Deletions::Exactly(40 - uuids.len() as u64)));
    }

    #[test]
    fn without_a_roster_the_rest_is_an_estimate() {
        let start = start(2_000, false);
        let stay = (301..=2_000).chain([100_000]).map(id).collect();
        let (uuids, _, nameless) = going(&start, Retention::Retain(stay), Deletions::About(290));
        assert!(!uuids.is_empty() && uuids.iter().all(|n| *n <= 300));
        assert_eq!(nameless, Deletions::About(290 - uuids.len() as u64));
    }

    /// The deletions of a failed run are missing from the sample that it left.
    #[test]
    fn the_roster_has_what_a_failed_run_deleted() {
        let mut start = start(10, true);
        start.known.as_mut().unwrap().persons = Sketch::of((2..=10).map(id));
        assert_eq!(going(&start, Retention::Delete(vec![id(1)]), NONE), (vec![1], 0, NONE));
        let stay = (2..=10).chain([100_000]).map(id).collect();
        assert_eq!(
            going(&start, Retention::Retain(stay), NONE),
            (vec![], 0, Deletions::Exactly(1))
        );
    }

    #[test]
    fn without_an_earlier_run_the_list_of_the_directory_counts() {
        let start = Start::default();
        let reading =
            Reading { retention: Retention::Delete(vec![id(1)]), ..reading(Default::default()) };
        let list = Going::new(&start, &reading, Deletions::Exactly(1));
        assert_eq!((list.entries.len(), list.nameless, list.is_known), (1, NONE, false));
        let reading = Reading { retention: Retention::Retain(vec![id(1)]), ..reading };
        let list = Going::new(&start, &reading, Deletions::Unknown);
        assert_eq!((list.entries.len(), list.nameless), (0, NONE));
    }
}
