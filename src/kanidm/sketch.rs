//! A sketch of the entries that Kanidm holds, in 4 KiB: a count, and a sample of the UUIDs. The
//! same set always gives the same sample.
//!
//! Scope: a bottom-k sketch. Each UUID has a 64-bit hash. The sample keeps the UUIDs with hashes up
//! to a threshold: at first the `SIZE` smallest. It keeps UUIDs rather than hashes, so that a
//! refusal can name some of the entries that would go. With at most `SIZE` entries, the sample is
//! the whole set and every answer is exact. Beyond that an answer is an estimate. For a share p,
//! its relative standard error is about √((1 − p) / (p · sample)). The guard's 20 % with 256
//! samples is 20 % ± 2.5 points.
//!
//! The sample holds *every* known hash up to the threshold. Additions and removals below it are
//! therefore exact, and repeating them changes nothing. An addition that makes the sample larger
//! than `SIZE` lowers the threshold. Removals make the sample smaller, but never wrong, and a full
//! refresh draws a new one. The sketch forgets hashes above the threshold, so the count follows the
//! sample in proportion. After incremental runs the count is an estimate as good as the sample.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::content::names::mix;

/// Count and sample of the persons, or of the groups, that Kanidm holds.
pub type Sketch = BottomK<256>;

/// Count and sample of the entries that show one attribute. Each attribute has one, so it is
/// smaller: it estimates 20 % to ± 5 points.
pub type Holders = BottomK<64>;

/// Count and sample of a set of UUIDs. `SIZE` is the maximum number of UUIDs in the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BottomK<const SIZE: usize> {
    count: u64,
    /// Hashes up to this one are in the sample. At `u64::MAX` the sample is the whole set.
    threshold: u64,
    /// UUIDs by their hashes.
    sample: BTreeMap<u64, Uuid>,
}

impl<const SIZE: usize> Default for BottomK<SIZE> {
    fn default() -> Self {
        BottomK { count: 0, threshold: u64::MAX, sample: BTreeMap::new() }
    }
}

impl<const SIZE: usize> BottomK<SIZE> {
    /// The sketch of a set, in any order. Duplicates would make the count too high.
    pub fn of(uuids: impl IntoIterator<Item = Uuid>) -> Self {
        let mut count = 0_u64;
        let mut sketch = Self::default();
        for uuid in uuids {
            count = count.saturating_add(1);
            sketch.insert(uuid);
        }
        sketch.count = if sketch.is_exact() { sketch.sample.len() as u64 } else { count };
        sketch
    }

    /// Reads the stored parts. `None` if they contradict each other.
    pub fn from_parts(count: u64, threshold: u64, sample: &[Uuid]) -> Option<Self> {
        let by_hash: BTreeMap<u64, Uuid> = sample.iter().map(|uuid| (hash(*uuid), *uuid)).collect();
        let distinct = by_hash.len() == sample.len() && sample.len() <= SIZE;
        let within = by_hash.last_key_value().is_none_or(|(last, _)| *last <= threshold);
        let counted = if threshold == u64::MAX {
            count == sample.len() as u64
        } else {
            count >= sample.len() as u64
        };
        (distinct && within && counted).then_some(BottomK { count, threshold, sample: by_hash })
    }

    /// Adds a UUID to the sample, if it belongs there. A sample larger than `SIZE` loses its last
    /// UUID, and the threshold sinks.
    fn insert(&mut self, uuid: Uuid) {
        let hash = hash(uuid);
        if hash <= self.threshold
            && self.sample.insert(hash, uuid).is_none()
            && self.sample.len() > SIZE
        {
            self.sample.pop_last();
            self.threshold = self.sample.last_key_value().map_or(self.threshold, |(last, _)| *last);
        }
    }

    /// Returns true if the set may contain a UUID. Above the threshold the sample cannot tell, so
    /// the answer is true.
    pub fn may_have(&self, uuid: Uuid) -> bool {
        let hash = hash(uuid);
        hash > self.threshold || self.sample.contains_key(&hash)
    }

    /// Number of UUIDs in the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Hashes up to this one are in the sample.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// The sampled UUIDs, ordered by their hashes.
    pub fn sample(&self) -> impl ExactSizeIterator<Item = Uuid> {
        self.sample.values().copied()
    }

    /// True if answers are exact.
    pub fn is_exact(&self) -> bool {
        self.threshold == u64::MAX
    }

    /// Number of UUIDs in the set that are missing from `uuids`: what a Retain list deletes.
    pub fn missing_from(&self, uuids: impl IntoIterator<Item = Uuid>) -> u64 {
        let seen = self.sampled_among(uuids).len();
        self.scale(self.sample.len().saturating_sub(seen))
    }

    /// Up to `most` sampled UUIDs that are missing from `uuids`, for example the entries that a
    /// Retain list deletes.
    pub fn named_missing_from(&self, uuids: &[Uuid], most: usize) -> Vec<Uuid> {
        let seen = self.sampled_among(uuids.iter().copied());
        let mut missing: Vec<Uuid> = self.sample().filter(|uuid| !seen.contains(uuid)).collect();
        missing.sort_unstable();
        missing.truncate(most);
        missing
    }

    /// The sampled UUIDs among `uuids`.
    pub fn named_among(&self, uuids: &[Uuid]) -> impl Iterator<Item = Uuid> + use<'_, SIZE> {
        self.sampled_among(uuids.iter().copied()).into_iter()
    }

    /// Number of `uuids` that are in the set: what a Delete list deletes. At most the length of the
    /// list.
    pub fn known_among(&self, uuids: &[Uuid]) -> u64 {
        self.scale(self.sampled_among(uuids.iter().copied()).len()).min(uuids.len() as u64)
    }

    /// The set after a run that removed and then wrote entries. Written entries may be new or old.
    pub fn updated(
        &self,
        removed: impl IntoIterator<Item = Uuid>,
        written: impl IntoIterator<Item = Uuid>,
    ) -> Self {
        let mut kept = self.clone();
        for uuid in removed {
            kept.sample.remove(&hash(uuid));
        }
        let mut next = kept.clone();
        let mut new = 0_usize;
        for uuid in written {
            // The proportion refers to the old threshold. It counts UUIDs that fall out again when
            // the threshold sinks.
            let hash = hash(uuid);
            new = new.saturating_add(usize::from(
                hash <= kept.threshold && !kept.sample.contains_key(&hash),
            ));
            next.insert(uuid);
        }
        next.count =
            self.scale(kept.sample.len().saturating_add(new)).max(next.sample.len() as u64);
        next
    }

    /// The sampled UUIDs among `uuids`.
    fn sampled_among(&self, uuids: impl IntoIterator<Item = Uuid>) -> BTreeSet<Uuid> {
        let sampled = |uuid: &Uuid| {
            let hash = hash(*uuid);
            hash <= self.threshold && self.sample.get(&hash) == Some(uuid)
        };
        uuids.into_iter().filter(sampled).collect()
    }

    /// Number of UUIDs in the set for `sampled` UUIDs in the sample.
    pub fn scale(&self, sampled: usize) -> u64 {
        if self.is_exact() {
            return sampled as u64;
        }
        // The sample of a large set is empty if every sampled entry was removed. The count is then
        // the best estimate.
        let Some(size) = u128::try_from(self.sample.len()).ok().filter(|n| *n > 0) else {
            return self.count;
        };
        let scaled = (u128::from(self.count) * sampled as u128 + size / 2) / size;
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

/// The 64-bit hash of a UUID, which is part of the stored format. Both halves go through the
/// finaliser of MurmurHash3 (fmix64), one after the other. Every bit of the input affects every bit
/// of the output, so sequential UUIDs spread as well as random ones.
pub(super) fn hash(uuid: Uuid) -> u64 {
    let (high, low) = uuid.as_u64_pair();
    mix(high ^ mix(low ^ 0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u128>) -> impl Iterator<Item = Uuid> {
        range.map(|n| Uuid::from_u128(0x6ba7_b810_9dad_11d1_0000_0000_0000_0000 + n))
    }

    #[test]
    fn up_to_its_size_everything_is_exact() {
        let sketch = Sketch::of(ids(0..256));
        assert!(sketch.is_exact());
        assert_eq!(sketch.count(), 256);
        assert_eq!(sketch.missing_from(ids(3..400)), 3);
        assert_eq!(sketch.known_among(&ids(250..300).collect::<Vec<_>>()), 6);
        let sketch = sketch.updated(ids(0..10), ids(250..256));
        assert_eq!(sketch.count(), 246);
        let sketch = sketch.updated([], ids(1000..1010));
        assert_eq!((sketch.count(), sketch.is_exact()), (256, true));
    }

    #[test]
    fn one_more_than_its_size_is_still_counted() {
        let sketch = Sketch::of(ids(0..257));
        assert_eq!((sketch.count(), sketch.sample().len(), sketch.is_exact()), (257, 256, false));
        assert_eq!(Sketch::of(ids(0..256)).updated([], ids(256..257)).count(), 257);
        assert_eq!(Sketch::of(ids(0..200)).updated([], ids(100..5_000)).count(), 5_000);
    }

    #[test]
    fn order_does_not_matter() {
        let backwards: Vec<Uuid> = ids(0..5000).collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(Sketch::of(ids(0..5000)), Sketch::of(backwards));
    }

    #[test]
    fn large_sets_are_estimated() {
        let sketch = Sketch::of(ids(0..100_000));
        for (gone, tolerance) in [(0_u128, 0_u64), (20_000, 9_000), (50_000, 11_000), (100_000, 0)]
        {
            let missing = sketch.missing_from(ids(gone..100_000));
            assert!(missing.abs_diff(gone as u64) <= tolerance, "{gone} gone, {missing} estimated");
        }
        // As many entries, all of them different.
        assert_eq!(sketch.missing_from(ids(200_000..300_000)), 100_000);
        // At most the length of the list.
        assert!(sketch.known_among(&ids(0..5).collect::<Vec<_>>()) <= 5);
        assert_eq!(sketch.known_among(&ids(200_000..200_500).collect::<Vec<_>>()), 0);
    }

    #[test]
    fn incremental_runs_keep_the_sample_what_a_fresh_one_would_be() {
        let mut sketch = Sketch::of(ids(0..2_000));
        for step in 0..20_u128 {
            sketch = sketch.updated(
                ids(step * 50..step * 50 + 50),
                ids(2_000 + step * 100..2_100 + step * 100),
            );
        }
        let fresh = Sketch::of(ids(1_000..4_000));
        let expected: Vec<Uuid> =
            fresh.sample().filter(|u| hash(*u) <= sketch.threshold()).collect();
        let got: Vec<Uuid> = sketch.sample().filter(|u| hash(*u) <= fresh.threshold()).collect();
        assert_eq!(got, expected);
        assert!(sketch.count().abs_diff(3_000) < 600, "{}", sketch.count());
        assert_eq!(
            sketch.updated(ids(0..1_000), ids(3_900..4_000)),
            sketch,
            "repeating a run changes nothing"
        );
    }

    #[test]
    fn missing_entries_are_named() {
        let all: Vec<Uuid> = ids(0..100).collect();
        assert_eq!(Sketch::of(ids(0..100)).named_missing_from(&all[3..], 10), all[..3]);
        assert_eq!(Sketch::of(ids(0..100)).named_missing_from(&[], 10).len(), 10);
        assert_eq!(Sketch::of(ids(0..10_000)).named_missing_from(&all, 10).len(), 10);
    }

    #[test]
    fn contradicting_parts_are_refused() {
        let two: Vec<Uuid> = ids(1..3).collect();
        let largest = two.iter().map(|u| hash(*u)).max().unwrap();
        assert!(Sketch::from_parts(2, u64::MAX, &two).is_some());
        assert!(Sketch::from_parts(2, largest, &two).is_some());
        assert!(Sketch::from_parts(2, u64::MAX, &[two[0], two[0]]).is_none());
        assert!(Sketch::from_parts(3, u64::MAX, &two).is_none());
        assert!(Sketch::from_parts(1, largest, &two).is_none());
        assert!(Sketch::from_parts(9, largest - 1, &two).is_none());
        assert!(Sketch::from_parts(900, u64::MAX - 1, &ids(0..257).collect::<Vec<_>>()).is_none());
    }
}
