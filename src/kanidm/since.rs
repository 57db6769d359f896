//! The kind of run that first held an entry.
//!
//! Scope: one letter for each held entry in the envelope. It only informs people, so a list that
//! does not fit means "unknown" and never damage.

/// The kind of run since which an entry is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// A full refresh.
    Full,
    /// An incremental run.
    Incremental,
    /// A run of a version that did not note it.
    #[default]
    Unknown,
}

/// The stored form: empty if nothing is known.
pub(super) fn pack<'s>(since: impl Iterator<Item = &'s Since>) -> String {
    let letter = |since: &Since| match since {
        Since::Full => 'f',
        Since::Incremental => 'i',
        Since::Unknown => '-',
    };
    let letters: String = since.map(letter).collect();
    if letters.bytes().all(|letter| letter == b'-') { String::new() } else { letters }
}

/// Reads the stored form for so many held entries.
pub(super) fn unpack(letters: &str, held: usize) -> Vec<Since> {
    let since = letters.bytes().map(|letter| match letter {
        b'f' => Since::Full,
        b'i' => Since::Incremental,
        _ => Since::Unknown,
    });
    if letters.len() == held { since.collect() } else { vec![Since::Unknown; held] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_back_and_others_mean_unknown() {
        let since = [Since::Full, Since::Incremental, Since::Unknown];
        assert_eq!(pack(since.iter()), "fi-");
        assert_eq!(unpack("fi-", 3), since);
        assert_eq!(pack([Since::Unknown; 2].iter()), "");
        for wrong in ["", "f", "fi", "ffff", "x\u{e9}"] {
            assert_eq!(unpack(wrong, 3), [Since::Unknown; 3], "{wrong}");
        }
    }
}
