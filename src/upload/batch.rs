//! The size of a POST.
//!
//! Scope: the number of entries and bytes, within the configured limits. A POST should take a third
//! of the time-out. The cost of an entry grows with the content of Kanidm, so the size follows the
//! measured time.

use std::time::Duration;

/// The size of the next POST.
#[derive(Clone, Debug)]
pub(super) struct BatchSize {
    /// The size at the moment.
    entries: usize,
    bytes: usize,
    /// The size never exceeds these limits.
    max_entries: usize,
    max_bytes: usize,
    /// The time that a POST should take.
    target: Duration,
}

impl BatchSize {
    pub(super) fn new(max_entries: usize, max_bytes: usize, timeout: Duration) -> Self {
        let (max_entries, max_bytes) = (max_entries.max(1), max_bytes.max(1));
        BatchSize {
            entries: max_entries,
            bytes: max_bytes,
            max_entries,
            max_bytes,
            target: timeout / 3,
        }
    }

    /// Returns how many of the first `sizes` (bytes each) fit into one POST. The result is at least
    /// 1 if there are any: an entry larger than the limit goes alone.
    pub(super) fn fit(&self, sizes: impl Iterator<Item = usize>) -> usize {
        let mut bytes = 0_usize;
        let mut count = 0_usize;
        for size in sizes.take(self.entries) {
            // Each entry has a comma.
            bytes = bytes.saturating_add(size).saturating_add(1);
            if bytes > self.bytes && count > 0 {
                break;
            }
            count = count.saturating_add(1);
        }
        count
    }

    /// Adjusts the size after a POST of `count` entries that took `time`.
    pub(super) fn took(&mut self, count: usize, time: Duration) {
        if time > self.target && count > 0 {
            let fitting =
                (count as u128).saturating_mul(self.target.as_millis()) / time.as_millis().max(1);
            self.entries =
                usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, self.max_entries);
        } else if time.saturating_mul(2) < self.target && count >= self.entries {
            self.entries = self.entries.saturating_mul(2).min(self.max_entries);
            self.bytes = self.bytes.saturating_mul(2).min(self.max_bytes);
        }
    }

    /// Halves the limits after a POST of `count` entries and `bytes` bytes that was too large or
    /// too slow.
    pub(super) fn too_much(&mut self, count: usize, bytes: usize) {
        self.max_entries = (count / 2).clamp(1, self.max_entries);
        self.max_bytes = (bytes / 2).clamp(1, self.max_bytes);
        self.entries = self.entries.min(self.max_entries);
        self.bytes = self.bytes.min(self.max_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(entries: usize, bytes: usize) -> BatchSize {
        BatchSize::new(entries, bytes, Duration::from_secs(300))
    }

    #[test]
    fn limits_hold_at_their_boundary() {
        assert_eq!(size(3, 1000).fit([10; 5].into_iter()), 3);
        assert_eq!(size(100, 33).fit([10; 5].into_iter()), 3);
        assert_eq!(size(100, 32).fit([10; 5].into_iter()), 2);
        assert_eq!(
            size(100, 32).fit([5000, 10].into_iter()),
            1,
            "an entry larger than the limit goes alone"
        );
        assert_eq!(size(100, 32).fit(std::iter::empty()), 0);
    }

    #[test]
    fn size_follows_the_time_a_post_takes() {
        let mut batch = size(10_000, 1 << 24);
        batch.took(10_000, Duration::from_secs(200));
        assert_eq!(batch.entries, 5_000);
        batch.took(5_000, Duration::from_secs(80));
        assert_eq!(batch.entries, 5_000);
        batch.took(100, Duration::from_secs(1));
        assert_eq!(batch.entries, 5_000, "a small last POST says nothing about large ones");
        batch.took(5_000, Duration::from_secs(10));
        assert_eq!(batch.entries, 10_000);
        batch.took(10_000, Duration::from_secs(1));
        assert_eq!(batch.entries, 10_000, "never more than configured");
    }

    #[test]
    fn too_much_halves() {
        let mut batch = size(10_000, 1 << 24);
        batch.too_much(800, 80_000);
        assert_eq!((batch.entries, batch.bytes), (400, 40_000));
        batch.took(400, Duration::from_secs(1));
        assert_eq!((batch.entries, batch.bytes), (400, 40_000), "and it stays at that");
        batch.too_much(1, 1);
        assert_eq!((batch.entries, batch.bytes), (1, 1));
    }
}
