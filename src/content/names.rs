//! Hashes of the names that groups use for an entry.
//!
//! Scope: telling whether an entry still has the names that it had in an earlier run, and whether a
//! group named it in vain. Both hashes are part of the stored state.

use super::changeset::Kind;

/// A short hash of the kind, the DN as the server spells it, and the user names in any order. Two
/// sets of names have the same mark once in 65,536 times.
pub fn mark<'n>(kind: Kind, dn: &str, user_names: impl Iterator<Item = &'n str>) -> u16 {
    let kind = match kind {
        Kind::Person => 1,
        Kind::Group => 2,
    };
    let names = user_names.map(|name| hash(3, name)).fold(0, u64::wrapping_add);
    let [high, low, ..] = mix(hash(kind, dn) ^ names).to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Maximum number of names of unresolved members that are remembered.
pub const MAX_MISSED: usize = 20_000;

/// A hash of one name in comparison form: the DN of an entry, or the user name of a person.
pub fn short(form: &str) -> u32 {
    let [a, b, c, d, ..] = hash(4, form).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn hash(seed: u64, text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    rest.iter().zip(&mut last).for_each(|(octet, to)| *to = *octet);
    let words = words.iter().chain([&last]).map(|word| u64::from_be_bytes(*word));
    words.fold(mix(seed ^ text.len() as u64), |hash, word| mix(hash ^ word))
}

/// The finaliser of MurmurHash3 (fmix64): every bit of the input affects every bit of the output.
pub(crate) fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_part_counts_and_the_order_of_names_does_not() {
        let of = |kind, dn, names: &[&str]| mark(kind, dn, names.iter().copied());
        let marks = [
            of(Kind::Person, "uid=a,dc=x", &["a", "b"]),
            of(Kind::Group, "uid=a,dc=x", &["a", "b"]),
            of(Kind::Person, "uid=b,dc=x", &["a", "b"]),
            of(Kind::Person, "uid=a,dc=x", &["a"]),
            of(Kind::Person, "uid=a,dc=x", &["ab"]),
            of(Kind::Person, "uid=a,dc=x", &[]),
            of(Kind::Person, "uid=a,dc=", &["x", "a", "b"]),
        ];
        assert_eq!(marks.iter().collect::<HashSet<_>>().len(), marks.len());
        assert_eq!(marks[0], of(Kind::Person, "uid=a,dc=x", &["b", "a"]));
        assert_eq!(marks[0], 25_187, "it is stored, so it never changes");
    }

    #[test]
    fn a_name_keeps_its_hash() {
        assert_eq!(short("uid=a,dc=x"), 1_088_686_538, "it is stored, so it never changes");
        assert_ne!(short("uid=a,dc=x"), short("uid=b,dc=x"));
    }

    #[test]
    fn marks_spread() {
        let marks: HashSet<u16> = (0..10_000)
            .map(|n| mark(Kind::Person, &format!("uid=user{n}"), [].into_iter()))
            .collect();
        // Of 10,000 balls in 65,536 boxes, about 720 fall on another.
        assert!(marks.len() > 9_000, "{}", marks.len());
    }
}
