//! Values of a directory entry by attribute.
//!
//! Scope: which values count. The description of an attribute must equal the configured name,
//! without regard to case. A description with options is another attribute (RFC 4512 §2.5). Servers
//! return `cn;lang-de` for `cn`, and it must not count. Blank values do not count. If Kanidm takes
//! one value and the entry has several, the first one in the server's order counts.
//!
//! An attribute can come in several parts, although RFC 4511 §4.5.2 allows each description once.
//! slapd sends one part for each run of lines in an LDIF that `slapadd -q` loaded. All parts count.

use ldap_content_sync::dn;
use ldap_content_sync::search::{Attribute, SearchResultEntry};

use crate::content::rules::{MEMBER_NAME_LENGTH, NAME, NOT_UTF8, Rule};

/// An attribute of an entry, with all its parts.
#[derive(Clone, Copy)]
pub(crate) struct Picked<'a> {
    entry: SearchResultEntry<'a>,
    first: Attribute<'a>,
    /// True if it has more than one part.
    parts: bool,
}

impl<'a> Picked<'a> {
    /// All values, in the server's order.
    pub(crate) fn values(self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Picked { entry, first, parts } = self;
        let more = parts.then(|| {
            let name = first.description();
            let same = move |other: &Attribute<'a>| other.is(name);
            entry.attributes().filter(same).skip(1).flat_map(|part| part.values())
        });
        first.values().chain(more.into_iter().flatten())
    }
}

/// Names of attributes to pick; an empty name picks none.
#[derive(Clone, Copy)]
pub(crate) struct Names<'n, const N: usize> {
    names: [&'n str; N],
    /// A bit mask of names for each first letter. An attribute is compared with only one to three
    /// of fifteen names.
    by_letter: [u32; LETTERS],
}

const LETTERS: usize = 32;

/// The bits of the first letter that are equal in upper and lower case.
fn letter(name: &[u8]) -> usize {
    name.first().map_or(0, |first| usize::from(*first) % LETTERS)
}

impl<'n, const N: usize> Names<'n, N> {
    pub(crate) fn new(names: [&'n str; N]) -> Self {
        // Each name has one bit.
        const { assert!(N <= u32::BITS as usize) };
        let mut by_letter = [0; LETTERS];
        for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if let Some(bits) = by_letter.get_mut(letter(name.as_bytes())) {
                *bits |= 1 << at;
            }
        }
        Names { names, by_letter }
    }

    /// The attribute of each name.
    pub(crate) fn pick<'a>(&self, entry: &SearchResultEntry<'a>) -> [Option<Picked<'a>>; N] {
        let mut picked: [Option<Picked<'a>>; N] = [None; N];
        for attribute in entry.attributes() {
            let mut alike =
                self.by_letter.get(letter(attribute.description_octets())).copied().unwrap_or(0);
            while alike != 0 {
                let at = alike.trailing_zeros() as usize;
                alike &= alike - 1;
                if let (Some(name), Some(slot)) = (self.names.get(at), picked.get_mut(at))
                    && attribute.is(name)
                {
                    match slot {
                        Some(picked) => picked.parts = true,
                        None => {
                            *slot = Some(Picked { entry: *entry, first: attribute, parts: false })
                        }
                    }
                }
            }
        }
        picked
    }
}

/// The values that are more than white space.
pub(crate) fn not_blank<'a>(attribute: &Picked<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    attribute.values().filter(|value| !value.iter().all(u8::is_ascii_whitespace))
}

/// The first value that is not blank.
pub(crate) fn first_text<'a>(attribute: Option<&Picked<'a>>) -> Result<Option<&'a str>, Rule> {
    let first = attribute.and_then(|attribute| not_blank(attribute).next());
    first.map(str::from_utf8).transpose().map_err(|_| NOT_UTF8)
}

/// The value that names the entry. If there are several, the one in the RDN counts, so that adding
/// or removing another value renames nobody. If none is in the RDN, the first in the server's order
/// counts.
///
/// # Errors
/// The value is not UTF-8, or is far too long to be copied.
pub(crate) fn naming_text<'a>(
    attribute: Option<&Picked<'a>>,
    name: &str,
    dn: &str,
) -> Result<Option<&'a str>, Rule> {
    let in_rdn = match attribute {
        Some(attribute) if not_blank(attribute).nth(1).is_some() => {
            let rdn = dn::Rdn::of(dn);
            not_blank(attribute)
                .find(|value| str::from_utf8(value).is_ok_and(|value| rdn.has(name, value)))
        }
        _ => None,
    };
    let text = in_rdn
        .map(|value| str::from_utf8(value).map(Some).map_err(|_| NOT_UTF8))
        .unwrap_or_else(|| first_text(attribute))?;
    if text.is_some_and(|name| name.len() > MEMBER_NAME_LENGTH) { Err(NAME) } else { Ok(text) }
}

/// Texts in one buffer, reused for every entry.
#[derive(Default)]
pub(crate) struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// Bytes of all texts.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Number of texts.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at a position; empty if there is none.
    pub(crate) fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(at).copied().unwrap_or_default();
        self.text.get(start.unwrap_or_default()..end).unwrap_or_default()
    }

    /// Linear search: there are at most [`super::MAX_VALUES`] texts, and rarely more than three.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.iter().any(|other| other == text)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.ends.iter().scan(0, |start, end| self.text.get(std::mem::replace(start, *end)..*end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_change_the_letter() {
        for (name, other) in [("mail", "MAIL"), ("Zip", "zIP"), ("a", "A")] {
            assert_eq!(letter(name.as_bytes()), letter(other.as_bytes()));
        }
        assert_eq!(letter(b""), 0);
    }

    #[test]
    fn texts_come_back_in_order() {
        let mut texts = Texts::default();
        for round in ["a", "b"] {
            texts.clear();
            assert_eq!(texts.iter().next(), None);
            texts.push(round);
            texts.push("");
            texts.push("zoë");
            assert!(texts.contains("") && texts.contains("zoë") && !texts.contains("zo"));
            assert_eq!(texts.iter().collect::<Vec<_>>(), [round, "", "zoë"]);
            assert_eq!([0, 1, 2, 3].map(|at| texts.get(at)), [round, "", "zoë", ""]);
        }
    }
}
