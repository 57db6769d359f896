//! The names by which groups named members that a run could not resolve.
//!
//! Scope: a set small enough for the envelope. Such a group was sent without the member, so an entry
//! that comes to one of these names may lack groups, although Kanidm has the entry. An incremental
//! run then reads the groups that name it, as it does for an entry that is not on the
//! [roster](super::roster).
//!
//! Each name takes four octets. An entry that has the hash of another name by chance costs a search.

use crate::content::names::MAX_MISSED;

/// Hashes of names ([`crate::content::names::short`]). At most [`MAX_MISSED`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed(Vec<u32>);

impl Missed {
    /// The set of these hashes. `None` if there are more than [`MAX_MISSED`].
    pub fn of(hashes: impl IntoIterator<Item = u32>) -> Option<Missed> {
        let mut hashes: Vec<u32> = hashes.into_iter().collect();
        hashes.sort_unstable();
        hashes.dedup();
        (hashes.len() <= MAX_MISSED).then_some(Missed(hashes))
    }

    /// True if a group named a member so.
    pub fn has(&self, hash: u32) -> bool {
        self.0.binary_search(&hash).is_ok()
    }

    /// The set with more hashes. `None` if it becomes too large.
    pub fn with(&self, more: impl IntoIterator<Item = u32>) -> Option<Missed> {
        Missed::of(self.0.iter().copied().chain(more))
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| hash.to_be_bytes()).collect()
    }

    /// Reads the stored form. `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Missed> {
        let (hashes, rest) = bytes.as_chunks::<4>();
        let hashes: Vec<u32> = hashes.iter().map(|hash| u32::from_be_bytes(*hash)).collect();
        let is_valid = rest.is_empty() && hashes.len() <= MAX_MISSED && hashes.is_sorted();
        is_valid.then_some(Missed(hashes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_added_and_come_back_as_they_were() {
        let missed = Missed::of([7, 3, 7]).unwrap().with([9]).unwrap();
        assert!([3, 7, 9].into_iter().all(|hash| missed.has(hash)) && !missed.has(8));
        let bytes = missed.to_bytes();
        assert_eq!(bytes.len(), 12);
        assert_eq!(Missed::from_bytes(&bytes), Some(missed));
        assert_eq!(Missed::from_bytes(&[]), Some(Missed::default()));
        for damaged in [&bytes[..11], &[bytes[4..].to_vec(), bytes[..4].to_vec()].concat()] {
            assert_eq!(Missed::from_bytes(damaged), None);
        }
    }

    #[test]
    fn too_many_names_are_no_set() {
        let most = Missed::of(0..MAX_MISSED as u32).unwrap();
        assert!(most.with([1]).is_some() && most.with([u32::MAX]).is_none());
        assert_eq!(Missed::from_bytes(&vec![0; (MAX_MISSED + 1) * 4]), None);
    }
}
