//! The entries that a run deletes, and how many they are.
//!
//! Scope: Kanidm does not tell what it holds. The number comes from the sample of known entries.

use uuid::Uuid;

use super::guard::{Deletions, NAMED};
use crate::kanidm::request::Retention;
use crate::kanidm::sketch::Sketch;

/// Bounds at most this far apart say more than an estimate from a sample.
const CLOSE: u64 = 10;

/// The number of entries that `retention` deletes. `named` is the number that the directory
/// reported as deleted. A Delete list also has received entries that are out of scope, which Kanidm
/// may never have had.
///
/// A Retain list may have UUIDs that Kanidm never had: new entries and, in a present phase,
/// unchanged entries that are out of scope. So the list gives only a lower bound. The sample of the
/// known entries gives the estimate.
pub fn deletions(retention: &Retention, known: Option<&Sketch>, named: usize) -> Deletions {
    match (retention, known) {
        (Retention::Ignore, _) => Deletions::Exactly(0),
        (Retention::Retain(_), None) => Deletions::Unknown,
        (Retention::Retain(uuids), Some(known)) => {
            let missing = known.missing_from(uuids.iter().copied());
            if known.is_exact() {
                return Deletions::Exactly(missing);
            }
            let least = known.count().saturating_sub(uuids.len() as u64);
            bounded(least, known.count(), missing)
        }
        // Without known entries the number that the directory reported counts.
        (Retention::Delete(_), None) => Deletions::Exactly(named as u64),
        (Retention::Delete(uuids), Some(known)) => {
            let among = known.known_among(uuids);
            if known.is_exact() {
                Deletions::Exactly(among)
            } else {
                bounded(0, uuids.len() as u64, among)
            }
        }
    }
}

/// True if a run leaves no known entry of a kind and brings no new one. `comes` is the number of
/// entries of the kind in the run, held ones included. In a full refresh no other entry remains.
pub fn all_go(known: &Sketch, deletions: Deletions, comes: usize, full: bool) -> bool {
    let left = if full { 0 } else { known.count().saturating_sub(deletions.at_least()) };
    known.count() > 0 && left == 0 && comes == 0
}

/// Up to [`NAMED`] of the entries that a run deletes, as far as their UUIDs are known.
pub fn named(retention: &Retention, known: Option<&Sketch>) -> Vec<Uuid> {
    match (retention, known) {
        (Retention::Ignore, _) | (Retention::Retain(_), None) => Vec::new(),
        (Retention::Retain(uuids), Some(known)) => known.named_missing_from(uuids, NAMED),
        (Retention::Delete(uuids), None) => uuids.iter().take(NAMED).copied().collect(),
        (Retention::Delete(uuids), Some(known)) => known.named_among(uuids).take(NAMED).collect(),
    }
}

fn bounded(least: u64, most: u64, estimate: u64) -> Deletions {
    match most - least {
        0 => Deletions::Exactly(least),
        1..=CLOSE => Deletions::Between(least, most),
        _ => Deletions::About(estimate.clamp(least, most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u128>) -> Vec<Uuid> {
        range.map(Uuid::from_u128).collect()
    }

    #[test]
    fn small_directories_are_exact() {
        let known = Sketch::of(ids(0..100));
        assert_eq!(
            deletions(&Retention::Retain(ids(7..120)), Some(&known), 0),
            Deletions::Exactly(7)
        );
        assert_eq!(
            deletions(&Retention::Delete(ids(95..120)), Some(&known), 0),
            Deletions::Exactly(5)
        );
        assert_eq!(named(&Retention::Retain(ids(2..100)), Some(&known)), ids(0..2));
    }

    #[test]
    fn close_bounds_beat_the_sample() {
        let known = Sketch::of(ids(0..10_000));
        assert_eq!(
            deletions(&Retention::Delete(ids(0..1)), Some(&known), 1),
            Deletions::Between(0, 1)
        );
        assert_eq!(
            deletions(&Retention::Retain(Vec::new()), Some(&known), 0),
            Deletions::Exactly(10_000)
        );
    }

    #[test]
    fn uuids_that_kanidm_never_had_hide_no_deletion() {
        // A present phase: persons that an ACL hides now, and as many private groups that Kanidm
        // never had.
        let known = Sketch::of(ids(0..1_050));
        let present: Vec<Uuid> = ids(1_000..1_050).into_iter().chain(ids(5_000..6_000)).collect();
        let found = deletions(&Retention::Retain(present), Some(&known), 0);
        assert!(matches!(found, Deletions::About(900..)), "{found:?}");
    }

    #[test]
    fn the_last_of_a_kind_go_only_where_none_comes() {
        let known = Sketch::of(ids(0..5));
        for (gone, comes, full, all) in [
            (5, 0, false, true),
            (5, 2, false, false),
            (4, 0, false, false),
            (0, 0, false, false),
            (5, 0, true, true),
            (5, 1, true, false),
        ] {
            assert_eq!(
                all_go(&known, Deletions::Exactly(gone), comes, full),
                all,
                "{gone} {comes} {full}"
            );
        }
        assert!(!all_go(&Sketch::default(), Deletions::Exactly(0), 0, true), "there was none");
    }

    #[test]
    fn a_directory_reloaded_with_new_uuids_is_seen_though_the_count_is_the_same() {
        let known = Sketch::of(ids(0..10_000));
        assert_eq!(
            deletions(&Retention::Retain(ids(50_000..60_000)), Some(&known), 0),
            Deletions::About(10_000)
        );
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert_eq!(deletions(&Retention::Retain(ids(0..5)), None, 5), Deletions::Unknown);
        assert_eq!(
            deletions(&Retention::Delete(ids(0..5)), None, 3),
            Deletions::Exactly(3),
            "two were received and are not wanted"
        );
        assert_eq!(deletions(&Retention::Ignore, None, 5), Deletions::Exactly(0));
    }
}
