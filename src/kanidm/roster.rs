//! The entries that Kanidm has, each with the names that groups use for it.
//!
//! Scope: a set small enough for the envelope. No group lacks an entry as a member if Kanidm has the
//! entry under its present names, and no group was sent without it ([`super::missed`]). An
//! incremental run then needs none of the groups that name it. For any other entry it reads and
//! sends these groups, because Kanidm silently drops a member that it does not know.
//!
//! Each entry takes six octets: 32 bits of a hash of its UUID in Kanidm, and 16 bits of a hash of
//! its names. Among 50,000 entries, a new one is taken for a known one once in 5,000 million times.
//! One more bit tells whether a run wrote the account as closed. Only the words of the report use it.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

use super::sketch::hash;

/// Entries with their names. At most [`Roster::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Sorted: the hash of the UUID in bits 16 to 47, that of the names below. A `u64` for each.
    rows: Vec<u64>,
    /// The hashes of the UUIDs of ended accounts. Only an account that a run wrote as ended counts.
    ended: BTreeSet<u64>,
}

/// The size of an entry in the stored form.
const ROW: usize = 6;
const NAMES: u32 = u16::BITS;
const OCTET: usize = u8::BITS as usize;

impl Roster {
    /// Maximum number of entries. More would make every request large.
    pub const MAX: usize = 50_000;

    /// The roster of these entries: UUID in Kanidm, and the mark of the
    /// names ([`crate::content::names`]). `None` if there are
    /// more than [`Roster::MAX`].
    pub fn of(entries: impl IntoIterator<Item = (Uuid, u16)>) -> Option<Roster> {
        let most = entries.into_iter().take(Self::MAX.saturating_add(1));
        Roster::sorted(most.map(|(uuid, names)| row(uuid, names)).collect())
    }

    /// True if Kanidm has the entry under these names.
    pub fn has(&self, uuid: Uuid, names: u16) -> bool {
        self.rows.binary_search(&row(uuid, names)).is_ok()
    }

    /// True if Kanidm has the entry, under any names.
    pub fn has_any(&self, uuid: Uuid) -> bool {
        self.has_id(id(uuid))
    }

    fn has_id(&self, id: u64) -> bool {
        let at = self.rows.partition_point(|row| row >> NAMES < id);
        self.rows.get(at).is_some_and(|row| row >> NAMES == id)
    }

    /// True if the account of the entry had ended when a run last wrote it.
    pub fn has_ended(&self, uuid: Uuid) -> bool {
        self.ended.contains(&id(uuid))
    }

    /// Notes that the accounts of these entries have ended. Entries that Kanidm does not have are
    /// ignored.
    pub fn with_ended(mut self, uuids: impl IntoIterator<Item = Uuid>) -> Roster {
        let ended: Vec<u64> = uuids.into_iter().map(id).filter(|id| self.has_id(*id)).collect();
        self.ended.extend(ended);
        self
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many entries are not among `uuids`: what a Retain list deletes.
    pub fn missing_from(&self, uuids: &[Uuid]) -> usize {
        let stay: HashSet<u64> = uuids.iter().map(|uuid| id(*uuid)).collect();
        self.rows.iter().filter(|row| !stay.contains(&(**row >> NAMES))).count()
    }

    /// The roster after a run. `None` if it becomes too large.
    ///
    /// - `stay`: the entries that the run keeps. `None` keeps all.
    /// - `gone`: entries that the run deletes.
    /// - `written`: entries that it writes, with their names. Their accounts count as open until
    ///   [`Roster::with_ended`] says otherwise.
    pub fn updated(
        &self,
        stay: Option<&[Uuid]>,
        gone: &[Uuid],
        written: &[(Uuid, u16)],
    ) -> Option<Roster> {
        let ids = |uuids: &[Uuid]| uuids.iter().map(|uuid| id(*uuid)).collect::<HashSet<u64>>();
        let stay = stay.map(ids);
        let mut replaced = ids(gone);
        replaced.extend(written.iter().map(|(uuid, _)| id(*uuid)));
        let stays = |row: &&u64| {
            let id = **row >> NAMES;
            !replaced.contains(&id) && stay.as_ref().is_none_or(|stay| stay.contains(&id))
        };
        let kept = self.rows.iter().filter(stays).copied();
        let written = written.iter().map(|(uuid, names)| row(*uuid, *names));
        let mut roster = Roster::sorted(kept.chain(written).collect())?;
        let stays = |id: &&u64| !replaced.contains(id) && roster.has_id(**id);
        roster.ended = self.ended.iter().filter(stays).copied().collect();
        Some(roster)
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let octets = |row: &u64| {
            let [_, _, octets @ ..] = row.to_be_bytes();
            octets
        };
        self.rows.iter().flat_map(octets).collect()
    }

    /// Reads the stored form. `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Roster> {
        let (rows, rest) = bytes.as_chunks::<ROW>();
        let row =
            |[a, b, c, d, e, f]: &[u8; ROW]| u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]);
        let rows: Vec<u64> = rows.iter().map(row).collect();
        let is_valid = rest.is_empty() && rows.len() <= Self::MAX && rows.is_sorted();
        is_valid.then_some(Roster { rows, ended: BTreeSet::new() })
    }

    /// The stored form of the ended accounts: one bit for each entry, in the order of
    /// [`Roster::to_bytes`]. Zeros at the end are left out.
    pub fn ended_to_bytes(&self) -> Vec<u8> {
        let has_ended = |row: &u64| self.ended.contains(&(row >> NAMES));
        let octet = |rows: &[u64]| {
            rows.iter()
                .zip(0..)
                .fold(0, |octet, (row, bit)| octet | u8::from(has_ended(row)) << bit)
        };
        let mut octets: Vec<u8> = self.rows.chunks(OCTET).map(octet).collect();
        octets.truncate(octets.iter().rposition(|octet| *octet != 0).map_or(0, |at| at + 1));
        octets
    }

    /// Reads the stored form of the ended accounts. `None` if it is none of this roster.
    pub fn with_ended_from_bytes(mut self, octets: &[u8]) -> Option<Roster> {
        let is_set =
            |at: usize| octets.get(at / OCTET).is_some_and(|octet| octet >> (at % OCTET) & 1 == 1);
        let rows = self.rows.iter().enumerate().filter(|(at, _)| is_set(*at));
        self.ended = rows.map(|(_, row)| row >> NAMES).collect();
        (octets.len() <= self.rows.len().div_ceil(OCTET)).then_some(self)
    }

    fn sorted(mut rows: Vec<u64>) -> Option<Roster> {
        rows.sort_unstable();
        rows.dedup();
        (rows.len() <= Self::MAX).then_some(Roster { rows, ended: BTreeSet::new() })
    }
}

fn row(uuid: Uuid, names: u16) -> u64 {
    (id(uuid) << NAMES) | u64::from(names)
}

/// 32 bits of the hash of a UUID.
fn id(uuid: Uuid) -> u64 {
    hash(uuid) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u16 = 1;
    const B: u16 = 2;

    fn uuid(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    fn of(count: usize) -> Option<Roster> {
        Roster::of((0..count).map(|n| (uuid(n), A)))
    }

    #[test]
    fn an_entry_is_known_by_its_uuid_and_its_names() {
        let roster = of(3).unwrap();
        assert!(roster.has(uuid(2), A));
        assert!(!roster.has(uuid(2), B) && !roster.has(uuid(3), A));
        assert_eq!(roster.missing_from(&[uuid(0), uuid(2), uuid(9)]), 1);
    }

    #[test]
    fn a_run_replaces_removes_and_adds() {
        let roster = of(4).unwrap();
        let after = roster.updated(None, &[uuid(0)], &[(uuid(1), B), (uuid(9), A)]).unwrap();
        let known = |n, names| after.has(uuid(n), names);
        assert!(!known(0, A) && !known(1, A));
        assert!(known(1, B) && known(2, A) && known(3, A) && known(9, A));
        let after = roster.updated(Some(&[uuid(2)]), &[], &[(uuid(9), A)]).unwrap();
        assert_eq!(after.len(), 2);
        assert!(after.has(uuid(2), A) && after.has(uuid(9), A));
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let roster = of(1_000).unwrap();
        let bytes = roster.to_bytes();
        assert_eq!(bytes.len(), 6_000);
        assert_eq!(Roster::from_bytes(&bytes), Some(roster));
        assert_eq!(Roster::from_bytes(&[]), Some(Roster::default()));
        for damaged in [&bytes[..5_999], &[bytes[6..].to_vec(), bytes[..6].to_vec()].concat()] {
            assert_eq!(Roster::from_bytes(damaged), None);
        }
    }

    #[test]
    fn ended_accounts_are_remembered_until_they_are_written_or_gone() {
        let roster = of(20).unwrap().with_ended([uuid(2), uuid(3), uuid(4), uuid(99)]);
        let ended = |roster: &Roster| -> Vec<usize> {
            (0..100).filter(|n| roster.has_ended(uuid(*n))).collect()
        };
        assert_eq!(ended(&roster), [2, 3, 4], "nobody who is not there");
        assert!(roster.has_any(uuid(2)) && !roster.has_any(uuid(99)));
        let after = roster.updated(None, &[uuid(3)], &[(uuid(4), B)]).unwrap();
        assert_eq!(ended(&after), [2]);
        let stay: Vec<Uuid> = (3..20).map(uuid).collect();
        assert_eq!(ended(&roster.updated(Some(&stay), &[], &[]).unwrap()), [3, 4]);

        let bytes = roster.ended_to_bytes();
        assert!(bytes.len() <= 3, "{bytes:?}");
        let bare = of(20).unwrap();
        assert_eq!(bare.ended_to_bytes(), [0_u8; 0], "as an earlier version wrote it");
        assert_eq!(bare.clone().with_ended_from_bytes(&bytes), Some(roster));
        assert_eq!(bare.clone().with_ended_from_bytes(&[]), Some(bare.clone()));
        assert_eq!(
            bare.clone().with_ended_from_bytes(&[255, 255, 15]).map(|all| ended(&all).len()),
            Some(20)
        );
        assert_eq!(bare.with_ended_from_bytes(&[0; 4]), None);
    }

    #[test]
    fn too_many_entries_have_no_roster() {
        let most = of(Roster::MAX).unwrap();
        assert!(of(Roster::MAX + 1).is_none());
        assert!(most.updated(None, &[], &[(uuid(Roster::MAX), A)]).is_none());
        assert!(most.updated(None, &[uuid(0)], &[(uuid(Roster::MAX), A)]).is_some());
        assert_eq!(Roster::from_bytes(&vec![0; (Roster::MAX + 1) * ROW]), None);
    }
}
