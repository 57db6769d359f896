//! Values of a directory entry by attribute.
//!
//! Scope: picking. An attribute counts when its description is the configured name, without regard to case. One with options is another
//! attribute (RFC 4512 §2.5): servers return `cn;lang-de` when asked for `cn`, and it must neither win nor be added. Blank values are none.
//! Where Kanidm takes one value and the entry has several, the first counts, in the order of the server.
//!
//! An attribute can come in several parts: slapd sends one for each run of lines that the LDIF had that was loaded by `slapadd -q`, though
//! RFC 4511 §4.5.2 has each description once. All parts count.

use ldap_content_sync::search::{Attribute, SearchResultEntry};

use super::validate::{NOT_UTF8, Rule};

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
    /// The [`mark`] of each: one comparison rules out nearly every name that an attribute does not have.
    marks: [u16; N],
}

impl<'n, const N: usize> Names<'n, N> {
    pub(crate) fn new(names: [&'n str; N]) -> Self {
        Names { names, marks: names.map(|name| mark(name.as_bytes())) }
    }

    /// The attribute of each name.
    pub(crate) fn pick<'a>(&self, entry: &SearchResultEntry<'a>) -> [Option<Picked<'a>>; N] {
        let mut picked: [Option<Picked<'a>>; N] = [None; N];
        for attribute in entry.attributes() {
            let mark = mark(attribute.description_octets());
            for (of_name, (name, slot)) in self.marks.iter().zip(self.names.iter().zip(&mut picked)) {
                if *of_name == mark && attribute.is(name) && !name.is_empty() {
                    match slot {
                        Some(picked) => picked.parts = true,
                        None => *slot = Some(Picked { entry: *entry, first: attribute, parts: false }),
                    }
                }
            }
        }
        picked
    }
}

/// The same for names that are the same without regard to case: the length, and the first letter.
fn mark(name: &[u8]) -> u16 {
    let [.., length] = name.len().to_be_bytes();
    u16::from_be_bytes([length, name.first().map_or(0, u8::to_ascii_lowercase)])
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

    /// From end to end: there are no more than [`super::MAX_VALUES`], and hardly ever more than three.
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
    fn names_without_regard_to_case_have_one_mark() {
        assert_eq!(mark(b"objectClass"), mark(b"OBJECTCLASS"));
        assert_ne!(mark(b"mail"), mark(b"mai"));
        assert_ne!(mark(b"mail"), mark(b"nail"));
        assert_eq!([mark(b""), mark(&[b'x'; 256])], [0, u16::from(b'x')]);
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
