//! Who matched the filter, in a few kilobytes: a check sum for each of many buckets of UUIDs.
//!
//! Scope: comparing two sets. Servers that compute attributes (memberOf) do not report who comes
//! into a filter on one, or leaves it. A list of all matching UUIDs is cheap, but the list of the
//! run before does not fit into the envelope of a large directory. So UUIDs are spread over
//! buckets, and only the sum of each bucket is kept. A bucket with another sum than before has
//! somebody who came or left; the entries in it now are read again, a few for each change.

use uuid::Uuid;

/// Fewest and most buckets: 4 bytes each. With 20,000 entries a bucket has five.
const SMALLEST: usize = 64;
const LARGEST: usize = 4096;

/// The sums of a set of UUIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets(Vec<u32>);

impl Buckets {
    /// The sums of a set; any order, no UUID twice. About one entry for each bucket, where
    /// possible.
    pub fn of(uuids: &[Uuid]) -> Buckets {
        Self::sized(uuids.len().next_power_of_two().clamp(SMALLEST, LARGEST), uuids)
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

    /// The UUIDs of `now` whose buckets have changed; `None` if no bucket has. An empty answer says
    /// that somebody left.
    pub fn changed(&self, now: &[Uuid]) -> Option<Vec<Uuid>> {
        let sums = Self::sized(self.0.len(), now);
        if sums == *self {
            return None;
        }
        let is_same = |bucket: usize| self.0.get(bucket) == sums.0.get(bucket);
        Some(now.iter().copied().filter(|uuid| !is_same(place(*uuid, self.0.len()).0)).collect())
    }

    /// Four bytes a bucket, the least significant first.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|sum| sum.to_le_bytes()).collect()
    }

    /// From those bytes; `None` where they are not a possible number of buckets.
    pub fn from_bytes(bytes: &[u8]) -> Option<Buckets> {
        let (sums, rest) = bytes.as_chunks::<4>();
        let possible = sums.len().is_power_of_two() && (SMALLEST..=LARGEST).contains(&sums.len());
        (rest.is_empty() && possible)
            .then(|| Buckets(sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect()))
    }
}

/// The bucket of a UUID, and what it adds to the sum. Part of the stored format.
#[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough")]
fn place(uuid: Uuid, buckets: usize) -> (usize, u32) {
    let hash = super::sketch::hash(uuid);
    // A sum of zeros would not show the entry.
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
