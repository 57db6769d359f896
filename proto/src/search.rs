//! Search responses: entries and references (RFC 4511 §4.5.2).
//!
//! Scope: SearchResultEntry and SearchResultReference. SearchResultDone is a plain
//! [`crate::LdapResult`].
//!
//! Decoding checks every attribute and value once and stores slices of the input. It allocates and
//! copies nothing. The accessors walk over the checked bytes again, so they cannot fail.

use crate::ber::{DecodeError, Element, OCTET_STRING, Reader, SEQUENCE, SET};
use crate::oversized::Oversized;
use crate::result::Uris;
use std::fmt;

/// SearchResultEntry.
#[derive(Clone, Copy)]
pub struct SearchResultEntry<'a> {
    dn: &'a str,
    attributes: Reader<'a>,
    oversized: Option<&'a Oversized>,
}

impl<'a> SearchResultEntry<'a> {
    pub(crate) fn decode(op: Element<'a>) -> Result<Self, DecodeError> {
        op.reader().read_all("SearchResultEntry", |reader| {
            let dn = reader.string("SearchResultEntry.objectName")?;
            let attributes = reader.expect(SEQUENCE, "SearchResultEntry.attributes")?.reader();
            let mut unchecked = attributes;
            while !unchecked.is_empty() {
                check_attribute(&mut unchecked)?;
            }
            Ok(SearchResultEntry { dn, attributes, oversized: None })
        })
    }

    /// Name of the entry, in the server's spelling.
    pub fn dn(&self) -> &'a str {
        self.dn
    }

    /// Set if the entry exceeded the size limit. The entry is then incomplete.
    pub fn oversized(&self) -> Option<&'a Oversized> {
        self.oversized
    }

    pub(crate) fn note_oversized(&mut self, oversized: &'a Oversized) {
        self.oversized = Some(oversized);
    }

    /// The attributes, in the server's order. One type may occur several times with different
    /// options.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + Clone + use<'a> {
        let mut reader = self.attributes;
        std::iter::from_fn(move || Attribute::validated(&mut reader))
    }
}

// Attribute values may be secret, so Debug shows names and sizes only.
impl fmt::Debug for SearchResultEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchResultEntry")
            .field("dn", &self.dn)
            .field("attributes", &DebugAttributes(self))
            .finish()
    }
}

struct DebugAttributes<'e, 'a>(&'e SearchResultEntry<'a>);

impl fmt::Debug for DebugAttributes<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.attributes()).finish()
    }
}

/// Checks one PartialAttribute, RFC 4511 §4.1.7.
#[inline]
fn check_attribute(attributes: &mut Reader<'_>) -> Result<(), DecodeError> {
    attributes.expect(SEQUENCE, "PartialAttribute")?.reader().read_all(
        "PartialAttribute",
        |reader| {
            reader
                .expect(OCTET_STRING, "PartialAttribute.type")?
                .check_string("PartialAttribute.type")?;
            let mut values = reader.expect(SET, "PartialAttribute.vals")?.reader();
            while !values.is_empty() {
                values.expect(OCTET_STRING, "AttributeValue")?;
            }
            Ok(())
        },
    )
}

/// An attribute of an entry: PartialAttribute, RFC 4511 §4.1.7.
#[derive(Clone, Copy)]
pub struct Attribute<'a> {
    /// UTF-8, checked when the entry was decoded.
    description: &'a [u8],
    values: Reader<'a>,
}

impl<'a> Attribute<'a> {
    #[inline]
    fn validated(attributes: &mut Reader<'a>) -> Option<Self> {
        let mut reader = attributes.validated()?.reader();
        let description = reader.validated()?.contents;
        let values = reader.validated()?.reader();
        Some(Attribute { description, values })
    }

    /// Attribute description: the type, and options after `;` (`cn;lang-de`). Compare it
    /// case-insensitively.
    pub fn description(&self) -> &'a str {
        std::str::from_utf8(self.description).unwrap_or_default()
    }

    /// The octets of [`Self::description`].
    #[inline]
    pub fn description_octets(&self) -> &'a [u8] {
        self.description
    }

    /// True if the attribute description equals `name`, ignoring ASCII case.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        // Most servers return the spelling of the request.
        self.description == name.as_bytes()
            || self.description.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The values, in the server's order. There may be none.
    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut reader = self.values;
        std::iter::from_fn(move || reader.validated().map(|element| element.contents))
    }
}

impl fmt::Debug for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} values)", self.description(), self.values().count())
    }
}

/// SearchResultReference: URIs at which the client may continue the search. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchResultReference<'a>(Uris<'a>);

impl<'a> SearchResultReference<'a> {
    pub(crate) fn decode(op: Element<'a>) -> Result<Self, DecodeError> {
        Uris::decode(op, "SearchResultReference").map(SearchResultReference)
    }

    /// The URIs. Each leads to the same content.
    pub fn uris(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.0.iter()
    }
}
