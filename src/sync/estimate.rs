//! How many entries a run deletes, and which: worked out from what is known to be in Kanidm, which does not tell.

use uuid::Uuid;

use super::guard::{Deletions, NAMED};
use crate::kanidm::request::Retention;
use crate::kanidm::sketch::Sketch;

/// Bounds this close say more than an estimate from a sample.
const CLOSE: u64 = 10;

/// How many entries `retention` deletes. `written` is how many of those that stay may be new to Kanidm.
pub fn deletions(retention: &Retention, known: Option<&Sketch>, written: usize) -> Deletions {
    match (retention, known) {
        (Retention::Ignore, _) => Deletions::Exactly(0),
        (Retention::Retain(_), None) => Deletions::Unknown,
        (Retention::Retain(uuids), Some(known)) => {
            let missing = known.missing_from(uuids.iter().copied());
            if known.is_exact() {
                return Deletions::Exactly(missing);
            }
            let (before, after) = (known.count(), uuids.len() as u64);
            let least = before.saturating_sub(after);
            let most = before.saturating_add(written as u64).saturating_sub(after).min(before);
            bounded(least, most.max(least), missing)
        }
        // Nothing tells which of them Kanidm has: as if it had them all.
        (Retention::Delete(uuids), None) => Deletions::Exactly(uuids.len() as u64),
        (Retention::Delete(uuids), Some(known)) => {
            let among = known.known_among(uuids);
            if known.is_exact() { Deletions::Exactly(among) } else { bounded(0, uuids.len() as u64, among) }
        }
    }
}

/// Some of those that go, where they can be named.
pub fn named(retention: &Retention, known: Option<&Sketch>) -> Vec<Uuid> {
    match (retention, known) {
        (Retention::Ignore, _) | (Retention::Retain(_), None) => Vec::new(),
        (Retention::Retain(uuids), Some(known)) => known.named_missing_from(uuids, NAMED),
        (Retention::Delete(uuids), _) => uuids.iter().take(NAMED).copied().collect(),
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
        assert_eq!(deletions(&Retention::Retain(ids(7..120)), Some(&known), 20), Deletions::Exactly(7));
        assert_eq!(deletions(&Retention::Delete(ids(95..120)), Some(&known), 0), Deletions::Exactly(5));
        assert_eq!(named(&Retention::Retain(ids(2..100)), Some(&known)), ids(0..2));
    }

    #[test]
    fn close_bounds_beat_the_sample() {
        let known = Sketch::of(ids(0..10_000));
        assert_eq!(deletions(&Retention::Retain(ids(3..10_000)), Some(&known), 0), Deletions::Exactly(3));
        assert_eq!(deletions(&Retention::Retain(ids(3..10_000)), Some(&known), 2), Deletions::Between(3, 5));
        assert_eq!(deletions(&Retention::Delete(ids(0..1)), Some(&known), 0), Deletions::Between(0, 1));
    }

    #[test]
    fn a_directory_reloaded_with_new_uuids_is_seen_though_the_count_is_the_same() {
        let known = Sketch::of(ids(0..10_000));
        assert_eq!(deletions(&Retention::Retain(ids(50_000..60_000)), Some(&known), 10_000), Deletions::About(10_000));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert_eq!(deletions(&Retention::Retain(ids(0..5)), None, 5), Deletions::Unknown);
        assert_eq!(deletions(&Retention::Delete(ids(0..5)), None, 0), Deletions::Exactly(5));
        assert_eq!(deletions(&Retention::Ignore, None, 5), Deletions::Exactly(0));
    }
}
