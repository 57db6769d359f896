//! The entries that match a filter, as check sums of a few kilobytes.
//!
//! Scope: comparing two sets of UUIDs. A server that computes an attribute (memberOf) does not
//! report entries that begin or cease to match a filter on it. A list of all matching UUIDs is
//! cheap to read, but the list of the previous run does not fit into the envelope. UUIDs are
//! therefore spread over buckets, and the envelope keeps one sum for each bucket. If a sum differs,
//! an entry of that bucket came or left. The run reads the entries that are now in the bucket
//! again: a few for each change.

use uuid::Uuid;

/// Minimum and maximum number of buckets, 4 bytes each. With 20,000 entries, a bucket has five.
const MIN_BUCKETS: usize = 64;
const MAX_BUCKETS: usize = 4096;

/// The sums of a set of UUIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets(Vec<u32>);

impl Buckets {
    /// The sums of a set, in any order and without duplicates. A bucket has about one entry, until
    /// the set needs more than 4,096 buckets.
    pub fn of(uuids: &[Uuid]) -> Buckets {
        Self::sized(uuids.len().next_power_of_two().clamp(MIN_BUCKETS, MAX_BUCKETS), uuids)
    }

    fn sized(buckets: usize, uuids: &[Uuid]) -> Buckets {
        let mut sums = vec![0; buckets];
        for uuid in uuids {
            let (bucket, check) = place(*uuid, buckets);
            if let Some(sum) = sums.get_mut(bucket) {
                *sum = u32::wrapping_add(*sum, check);
            }
        }
        Buckets(sums)
    }

    /// Returns the UUIDs of `now` in buckets that have changed; `None` if no bucket has. An empty
    /// list means that entries only left.
    pub fn changed(&self, now: &[Uuid]) -> Option<Vec<Uuid>> {
        let sums = Self::sized(self.0.len(), now);
        if sums == *self {
            return None;
        }
        let is_same = |bucket: usize| self.0.get(bucket) == sums.0.get(bucket);
        Some(now.iter().copied().filter(|uuid| !is_same(place(*uuid, self.0.len()).0)).collect())
    }

    /// The stored form: 4 bytes for each bucket, least significant byte first.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|sum| sum.to_le_bytes()).collect()
    }

    /// Reads the stored form. `None` if the length is not that of a possible number of buckets.
    pub fn from_bytes(bytes: &[u8]) -> Option<Buckets> {
        let (sums, rest) = bytes.as_chunks::<4>();
        let possible =
            sums.len().is_power_of_two() && (MIN_BUCKETS..=MAX_BUCKETS).contains(&sums.len());
        (rest.is_empty() && possible)
            .then(|| Buckets(sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect()))
    }
}

/// The bucket of a UUID, and its share of the sum. Both are part of the stored format.
#[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough")]
fn place(uuid: Uuid, buckets: usize) -> (usize, u32) {
    let hash = super::sketch::hash(uuid);
    // A share of zero would hide the entry.
    ((hash as usize) & (buckets.saturating_sub(1)), (hash >> 32) as u32 | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u128>) -> Vec<Uuid> {
        range.map(|n| Uuid::from_u128(0x6ba7_b810_9dad_11d1_0000_0000_0000_0000 + n)).collect()
    }

    #[test]
    fn the_same_set_has_not_changed_in_whatever_order() {
        for n in [0, 1, 63, 5_000] {
            let backwards: Vec<Uuid> = ids(0..n).into_iter().rev().collect();
            assert_eq!(Buckets::of(&ids(0..n)).changed(&backwards), None);
        }
    }

    #[test]
    fn whoever_comes_or_leaves_is_seen_among_few() {
        for n in [1, 100, 20_000_u128] {
            let before = Buckets::of(&ids(0..n));
            let mut came = ids(0..n);
            came.push(Uuid::from_u128(7));
            let read = before.changed(&came).unwrap();
            assert!(read.contains(&Uuid::from_u128(7)) && read.len() < 25, "{n}: {}", read.len());
            let read = before.changed(&ids(1..n)).unwrap();
            assert!(read.len() < 25, "{n}: {}", read.len());
        }
    }

    #[test]
    fn every_single_change_of_many_is_seen() {
        let before = Buckets::of(&ids(0..5_000));
        for gone in 0..5_000 {
            let left: Vec<Uuid> = ids(0..gone).into_iter().chain(ids(gone + 1..5_000)).collect();
            assert!(before.changed(&left).is_some(), "{gone}");
        }
    }

    #[test]
    fn its_size_is_bounded_and_it_comes_back() {
        for (n, bytes) in [(0, 256), (65, 512), (100_000, 16_384)] {
            let buckets = Buckets::of(&ids(0..n));
            assert_eq!(buckets.to_bytes().len(), bytes);
            assert_eq!(Buckets::from_bytes(&buckets.to_bytes()), Some(buckets));
        }
        for wrong in [0, 4, 255, 257, 384, 32_768] {
            assert_eq!(Buckets::from_bytes(&vec![0; wrong]), None, "{wrong}");
        }
    }
}
