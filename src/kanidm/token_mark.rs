//! A mark of the TOTP tokens that a person was sent without.
//!
//! Scope: telling whether the same tokens are still bad. No server reports a change of the person
//! when one of its tokens is repaired. The envelope has one mark for each entry that was sent
//! without a value, in the same order.
//!
//! The mark is made of the DNs and the rules in the report, never of a secret. Two sets of bad
//! tokens have the same mark by chance once in two thousand million times.

use crate::content::names;

/// The mark of one person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenMark(u32);

/// The bit of a person without password.
const NO_PASSWORD: u32 = 1;

impl TokenMark {
    /// The mark of these problems with tokens, in any order.
    pub fn of<'r>(rules: impl Iterator<Item = &'r str>, is_without_password: bool) -> TokenMark {
        let rules = rules.map(names::short).fold(0, u32::wrapping_add);
        TokenMark(rules & !NO_PASSWORD | if is_without_password { NO_PASSWORD } else { 0 })
    }

    /// True if the person was sent without its password, because no token could be sent.
    pub fn is_without_password(self) -> bool {
        self.0 & NO_PASSWORD != 0
    }
}

/// The stored form: empty if no person has such a token.
pub(super) fn to_bytes(marks: impl Iterator<Item = TokenMark>) -> Vec<u8> {
    let bytes: Vec<u8> = marks.flat_map(|mark| mark.0.to_be_bytes()).collect();
    if bytes.iter().all(|byte| *byte == 0) { Vec::new() } else { bytes }
}

/// Reads the stored form for so many entries. `None` if it does not fit.
pub(super) fn from_bytes(bytes: &[u8], entries: usize) -> Option<Vec<TokenMark>> {
    if bytes.is_empty() {
        return Some(vec![TokenMark::default(); entries]);
    }
    let (marks, rest) = bytes.as_chunks::<4>();
    let fits = rest.is_empty() && marks.len() == entries;
    fits.then(|| marks.iter().map(|mark| TokenMark(u32::from_be_bytes(*mark))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_and_the_password_count_and_the_order_does_not() {
        let of = |rules: &[&str], without| TokenMark::of(rules.iter().copied(), without);
        let marks = [
            of(&[], false),
            of(&["a"], false),
            of(&["b"], false),
            of(&["a", "b"], false),
            of(&["a"], true),
        ];
        for (at, mark) in marks.iter().enumerate() {
            assert!(marks.iter().skip(at + 1).all(|other| other != mark), "{at}");
            assert_eq!(mark.is_without_password(), at == 4);
        }
        assert_eq!(of(&["b", "a"], false), marks[3]);
        assert_eq!(marks[0], TokenMark::default());
    }

    #[test]
    fn marks_come_back_and_others_are_damage() {
        let marks = [TokenMark(7), TokenMark(0), TokenMark(u32::MAX)];
        let bytes = to_bytes(marks.into_iter());
        assert_eq!(from_bytes(&bytes, 3).unwrap(), marks);
        assert!(to_bytes([TokenMark(0); 2].into_iter()).is_empty());
        assert_eq!(from_bytes(&[], 2).unwrap(), [TokenMark(0); 2]);
        for (bytes, entries) in [(&bytes[..], 2), (&bytes[..], 4), (&bytes[..11], 3)] {
            assert_eq!(from_bytes(bytes, entries), None);
        }
    }
}
