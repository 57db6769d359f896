//! Values of a directory entry by attribute.
//!
//! Scope: picking. An attribute counts when its description is the configured name, without regard
//! to case. One with options is another attribute (RFC 4512 §2.5): servers return `cn;lang-de` when
//! asked for `cn`, and it must neither win nor be added. Blank values are none. Where Kanidm takes
//! one value and the entry has several, the first counts, in the order of the server.
//!
//! An attribute can come in several parts: slapd sends one for each run of lines that the LDIF had
//! that was loaded by `slapadd -q`, though RFC 4511 §4.5.2 has each description once. All parts
//! count.

use ldap_content_sync::dn;
use ldap_content_sync::search::{Attribute, SearchResultEntry};

use crate::content::rules::{MEMBER_NAME_LENGTH, NAME, NOT_UTF8, Rule};

/// An attribute of an entry, all its parts together.
#[derive(Clone, Copy)]
pub(crate) struct Picked<'a> {
    entry: SearchResultEntry<'a>,
    first: Attribute<'a>,
    /// It has more parts than the first.
    parts: bool,
}

impl<'a> Picked<'a> {
    /// All values, in the order of the server.
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

/// Names of attributes to be picked; an empty name picks none.
#[derive(Clone, Copy)]
pub(crate) struct Names<'n, const N: usize> {
    names: [&'n str; N],
    /// For each first letter a bit for each name that begins with it: of fifteen names, one to
    /// three are compared with an attribute's.
    by_letter: [u32; LETTERS],
}

const LETTERS: usize = 32;

/// Of the first letter, what is the same in upper and lower case.
fn letter(name: &[u8]) -> usize {
    name.first().map_or(0, |first| usize::from(*first) % LETTERS)
}

impl<'n, const N: usize> Names<'n, N> {
    pub(crate) fn new(names: [&'n str; N]) -> Self {
        // A bit each.
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

/// The values that hold more than white space.
pub(crate) fn not_blank<'a>(attribute: &Picked<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    attribute.values().filter(|value| !value.iter().all(u8::is_ascii_whitespace))
}

/// The first value that is not blank.
pub(crate) fn first_text<'a>(attribute: Option<&Picked<'a>>) -> Result<Option<&'a str>, Rule> {
    let first = attribute.and_then(|attribute| not_blank(attribute).next());
    first.map(str::from_utf8).transpose().map_err(|_| NOT_UTF8)
}

/// The value that names the entry: of several the one in the RDN, so that another value that is
/// added or removed renames nobody. Without such a value the first counts, in the server's order.
/// A name that is far too long is not copied any further.
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

/// Texts one behind the other in one buffer, used again for every entry.
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

    /// From end to end: there are no more than [`super::MAX_VALUES`], and hardly ever more than
    /// three.
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
        }
    }
}
