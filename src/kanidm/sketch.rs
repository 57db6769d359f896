//! What Kanidm is known to hold, in 2 KiB: a count, and a sample of the UUIDs that is the same sample whoever draws it.
//!
//! Each UUID is hashed to 64 bits; kept are the hashes up to a threshold, at first the [`SIZE`] smallest (a bottom-k sketch). With at most
//! [`SIZE`] entries the sample is everything and every answer is exact. Beyond that an answer is an estimate with a relative standard error
//! of about √((1 − p) / (p · sample)) for a share p: for the guard's 20 % and 256 samples, 20 % ± 2.5 points.
//!
//! The sample holds *every* known hash up to the threshold, so additions and removals below it are exact, and repeating them changes nothing.
//! An addition that makes it larger than [`SIZE`] lowers the threshold. Removals only make the sample smaller, never wrong; a full refresh
//! draws a new one. Above the threshold nothing is remembered, so the count follows the sample in proportion: after incremental runs it is
//! an estimate as good as the sample.

use std::collections::BTreeSet;

use uuid::Uuid;

/// How many hashes a sketch keeps.
pub const SIZE: usize = 256;

/// Count and sample of a set of UUIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    count: u64,
    /// Hashes up to this one are in the sample. `u64::MAX`: the sample is everything.
    threshold: u64,
    /// Sorted, no duplicates.
    sample: Vec<u64>,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { count: 0, threshold: u64::MAX, sample: Vec::new() }
    }
}

impl Sketch {
    /// The sketch of a set; any order, no UUID twice (the count would be too high).
    pub fn of(uuids: impl IntoIterator<Item = Uuid>) -> Self {
        let mut count = 0_u64;
        let mut smallest = BTreeSet::new();
        let mut threshold = u64::MAX;
        for uuid in uuids {
            count = count.saturating_add(1);
            let hash = hash(uuid);
            if hash <= threshold && smallest.insert(hash) && smallest.len() > SIZE {
                smallest.pop_last();
                threshold = smallest.last().copied().unwrap_or(threshold);
            }
        }
        let sample: Vec<u64> = smallest.into_iter().collect();
        let count = if threshold == u64::MAX { sample.len() as u64 } else { count };
        Sketch { count, threshold, sample }
    }

    /// From its stored parts; `None` when they contradict each other.
    pub fn from_parts(count: u64, threshold: u64, sample: Vec<u64>) -> Option<Self> {
        let sorted = sample.is_sorted_by(|a, b| a < b);
        let within = sample.last().is_none_or(|last| *last <= threshold);
        let counted = if threshold == u64::MAX { count == sample.len() as u64 } else { count >= sample.len() as u64 };
        (sorted && within && counted && sample.len() <= SIZE).then_some(Sketch { count, threshold, sample })
    }

    /// How many UUIDs the set has.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Hashes up to this one are in the sample.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// The sampled hashes, ascending.
    pub fn sample(&self) -> &[u64] {
        &self.sample
    }

    /// Whether answers are exact.
    pub fn is_exact(&self) -> bool {
        self.threshold == u64::MAX
    }

    /// How many of the set are missing from `uuids`: what a Retain list deletes.
    pub fn missing_from(&self, uuids: impl IntoIterator<Item = Uuid>) -> u64 {
        let seen = self.sampled_among(uuids);
        self.scale(self.sample.len().saturating_sub(seen))
    }

    /// How many of `uuids` are in the set: what a Delete list deletes. Never more than it lists.
    pub fn known_among(&self, uuids: &[Uuid]) -> u64 {
        self.scale(self.sampled_among(uuids.iter().copied())).min(uuids.len() as u64)
    }

    /// The set after a run that removed and then wrote entries; whether a written one is new need not be known.
    pub fn updated(&self, removed: impl IntoIterator<Item = Uuid>, written: impl IntoIterator<Item = Uuid>) -> Self {
        let mut sample: BTreeSet<u64> = self.sample.iter().copied().collect();
        for uuid in removed {
            sample.remove(&hash(uuid));
        }
        // Eviction waits until the end: the proportion between sample and set holds at the old threshold.
        sample.extend(written.into_iter().map(hash).filter(|h| *h <= self.threshold));
        let count = self.scale(sample.len());
        let mut threshold = self.threshold;
        while sample.len() > SIZE {
            sample.pop_last();
            threshold = sample.last().copied().unwrap_or(threshold);
        }
        Sketch { count, threshold, sample: sample.into_iter().collect() }
    }

    fn sampled_among(&self, uuids: impl IntoIterator<Item = Uuid>) -> usize {
        let mut seen = vec![false; self.sample.len()];
        for uuid in uuids {
            let hash = hash(uuid);
            if hash <= self.threshold
                && let Ok(at) = self.sample.binary_search(&hash)
                && let Some(flag) = seen.get_mut(at)
            {
                *flag = true;
            }
        }
        seen.iter().filter(|s| **s).count()
    }

    /// From the sample to the set.
    fn scale(&self, sampled: usize) -> u64 {
        if self.is_exact() {
            return sampled as u64;
        }
        // An empty sample of a large set: every sampled entry was removed. Nothing better is known than the count itself.
        let Some(size) = u128::try_from(self.sample.len()).ok().filter(|n| *n > 0) else {
            return self.count;
        };
        let scaled = (u128::from(self.count) * sampled as u128 + size / 2) / size;
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

/// The 64-bit hash of a UUID: both halves through the finaliser of MurmurHash3 (fmix64), one after the other. Part of the stored format.
/// Every bit of the input moves every bit of the output, so sequential UUIDs are spread as well as random ones.
fn hash(uuid: Uuid) -> u64 {
    let (high, low) = uuid.as_u64_pair();
    fmix64(high ^ fmix64(low ^ 0x9e37_79b9_7f4a_7c15))
}

fn fmix64(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
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
        for (gone, tolerance) in [(0_u128, 0_u64), (20_000, 9_000), (50_000, 11_000), (100_000, 0)] {
            let missing = sketch.missing_from(ids(gone..100_000));
            assert!(missing.abs_diff(gone as u64) <= tolerance, "{gone} gone, {missing} estimated");
        }
        // As many entries, every one another.
        assert_eq!(sketch.missing_from(ids(200_000..300_000)), 100_000);
        // Never more than the list has.
        assert!(sketch.known_among(&ids(0..5).collect::<Vec<_>>()) <= 5);
        assert_eq!(sketch.known_among(&ids(200_000..200_500).collect::<Vec<_>>()), 0);
    }

    #[test]
    fn incremental_runs_keep_the_sample_what_a_fresh_one_would_be() {
        let mut sketch = Sketch::of(ids(0..2_000));
        for step in 0..20_u128 {
            sketch = sketch.updated(ids(step * 50..step * 50 + 50), ids(2_000 + step * 100..2_100 + step * 100));
        }
        let fresh = Sketch::of(ids(1_000..4_000));
        let expected: Vec<u64> = fresh.sample().iter().copied().filter(|h| *h <= sketch.threshold()).collect();
        let got: Vec<u64> = sketch.sample().iter().copied().filter(|h| *h <= fresh.threshold()).collect();
        assert_eq!(got, expected);
        assert!(sketch.count().abs_diff(3_000) < 600, "{}", sketch.count());
        assert_eq!(sketch.updated(ids(0..1_000), ids(3_900..4_000)), sketch, "repeating a run changes nothing");
    }

    #[test]
    fn contradicting_parts_are_refused() {
        assert!(Sketch::from_parts(2, u64::MAX, vec![1, 2]).is_some());
        assert!(Sketch::from_parts(2, u64::MAX, vec![2, 1]).is_none());
        assert!(Sketch::from_parts(2, u64::MAX, vec![1, 1]).is_none());
        assert!(Sketch::from_parts(3, u64::MAX, vec![1, 2]).is_none());
        assert!(Sketch::from_parts(1, 10, vec![1, 2]).is_none());
        assert!(Sketch::from_parts(9, 10, vec![1, 12]).is_none());
        assert!(Sketch::from_parts(900, u64::MAX - 1, (0..257).collect()).is_none());
    }
}
