//! A borrowing cursor over BER elements. It copies nothing and reports bytes that stay unread.

use super::{
    BOOLEAN, DecodeError, DecodeErrorKind, ENUMERATED, Header, HeaderState, INTEGER, OCTET_STRING,
    header,
};
use std::fmt;

/// Reads elements one after another from a slice. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    input: &'a [u8],
    /// Offset of the end of `input` in the outermost decoded slice. Errors report offsets in that
    /// slice.
    end: usize,
}

/// One element: its tag and its contents.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    /// Identifier octet. Its tag number is below 31.
    pub tag: u8,
    /// Contents octets.
    pub contents: &'a [u8],
    /// Offset of the end of the contents in the outermost decoded slice, for errors.
    end: usize,
}

impl<'a> Reader<'a> {
    /// A reader over the whole of `input`. Offsets count from its start.
    pub fn new(input: &'a [u8]) -> Self {
        Reader { input, end: input.len() }
    }

    /// Runs `read` over the whole of `input`. Bytes that it leaves unread are an error of
    /// `production`.
    ///
    /// # Errors
    /// The errors of `read`, and [`DecodeErrorKind::TrailingData`].
    pub fn read_all<T>(
        self,
        production: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut reader = self;
        let value = read(&mut reader)?;
        reader.finish(production)?;
        Ok(value)
    }

    /// True if all input has been read.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Offset of the next unread byte.
    pub fn offset(&self) -> usize {
        self.end.saturating_sub(self.input.len())
    }

    /// Tag of the next element; `None` at the end.
    pub fn peek_tag(&self) -> Option<u8> {
        self.input.first().copied()
    }

    /// The next element, with any tag.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Missing`] at the end of the input, a malformed header, or contents that
    /// extend past the input.
    #[inline]
    pub fn element(&mut self, production: &'static str) -> Result<Element<'a>, DecodeError> {
        let Header { tag, size, contents } = match header(self.input) {
            Ok(HeaderState::Complete(header)) => header,
            Ok(HeaderState::NeedMore(_)) if self.input.is_empty() => {
                return Err(self.error(production, DecodeErrorKind::Missing));
            }
            Ok(HeaderState::NeedMore(_)) => {
                return Err(self.error(production, DecodeErrorKind::Truncated));
            }
            Err(kind) => return Err(self.error(production, kind)),
        };
        let cut = self
            .input
            .split_at_checked(size)
            .and_then(|(_, after)| after.split_at_checked(contents));
        let Some((contents, rest)) = cut else {
            return Err(self.error(production, DecodeErrorKind::Truncated));
        };
        self.input = rest;
        Ok(Element { tag, contents, end: self.end.saturating_sub(rest.len()) })
    }

    /// The next element. It must have `tag`.
    ///
    /// # Errors
    /// The errors of [`Reader::element`], and [`DecodeErrorKind::UnexpectedTag`].
    #[inline]
    pub fn expect(
        &mut self,
        tag: u8,
        production: &'static str,
    ) -> Result<Element<'a>, DecodeError> {
        match self.peek_tag() {
            Some(found) if found != tag => {
                Err(self.error(production, DecodeErrorKind::UnexpectedTag { expected: tag, found }))
            }
            _ => self.element(production),
        }
    }

    /// The next element if it has `tag`. Otherwise the reader does not move.
    ///
    /// # Errors
    /// The errors of [`Reader::element`].
    #[inline]
    pub fn optional(
        &mut self,
        tag: u8,
        production: &'static str,
    ) -> Result<Option<Element<'a>>, DecodeError> {
        if self.peek_tag() == Some(tag) { self.element(production).map(Some) } else { Ok(None) }
    }

    /// An OCTET STRING.
    ///
    /// # Errors
    /// The errors of [`Reader::expect`].
    #[inline]
    pub fn octets(&mut self, production: &'static str) -> Result<&'a [u8], DecodeError> {
        self.expect(OCTET_STRING, production).map(|element| element.contents)
    }

    /// An OCTET STRING with UTF-8 contents (LDAPString, LDAPDN, LDAPOID).
    ///
    /// # Errors
    /// The errors of [`Reader::expect`], and [`DecodeErrorKind::InvalidUtf8`].
    #[inline]
    pub fn string(&mut self, production: &'static str) -> Result<&'a str, DecodeError> {
        self.expect(OCTET_STRING, production)?.string(production)
    }

    /// An INTEGER in 0 ..= 2^31 - 1 (RFC 4511 §4.1.1, maxInt).
    ///
    /// # Errors
    /// The errors of [`Reader::expect`], and [`DecodeErrorKind::InvalidInteger`].
    pub fn integer(&mut self, production: &'static str) -> Result<u32, DecodeError> {
        self.expect(INTEGER, production)?.number(production)
    }

    /// An ENUMERATED in 0 ..= 2^31 - 1.
    ///
    /// # Errors
    /// The errors of [`Reader::expect`], and [`DecodeErrorKind::InvalidInteger`].
    pub fn enumerated(&mut self, production: &'static str) -> Result<u32, DecodeError> {
        self.expect(ENUMERATED, production)?.number(production)
    }

    /// A BOOLEAN, or `default` if the next element has another tag. A server may send a value that
    /// equals its default.
    ///
    /// # Errors
    /// The errors of [`Reader::element`], and [`DecodeErrorKind::InvalidBoolean`].
    pub fn boolean_or(
        &mut self,
        default: bool,
        production: &'static str,
    ) -> Result<bool, DecodeError> {
        match self.optional(BOOLEAN, production)? {
            None => Ok(default),
            Some(element) => match element.contents {
                [0x00] => Ok(false),
                [0xff] => Ok(true),
                _ => Err(element.error(production, DecodeErrorKind::InvalidBoolean)),
            },
        }
    }

    /// Checks that all input has been read.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TrailingData`].
    #[inline]
    pub fn finish(&self, production: &'static str) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.error(production, DecodeErrorKind::TrailingData))
        }
    }

    /// An error at the next unread byte.
    pub fn error(&self, production: &'static str, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(self.offset(), production, kind)
    }

    /// The next element of input that was already read once without error. Iterators over validated
    /// input use it: they end at the end of the input and have no error to report.
    #[inline]
    pub(crate) fn validated(&mut self) -> Option<Element<'a>> {
        self.element("").ok()
    }
}

impl<'a> Element<'a> {
    /// A reader over the contents.
    #[inline]
    pub fn reader(&self) -> Reader<'a> {
        Reader { input: self.contents, end: self.end }
    }

    /// The contents as UTF-8.
    ///
    /// # Errors
    /// [`DecodeErrorKind::InvalidUtf8`].
    #[inline]
    pub fn string(&self, production: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.contents)
            .map_err(|_| self.error(production, DecodeErrorKind::InvalidUtf8))
    }

    /// Checks that the contents are UTF-8. Nearly all strings are ASCII, and the ASCII check is
    /// faster.
    ///
    /// # Errors
    /// [`DecodeErrorKind::InvalidUtf8`].
    #[inline]
    pub fn check_string(&self, production: &'static str) -> Result<(), DecodeError> {
        if self.contents.is_ascii() { Ok(()) } else { self.string(production).map(drop) }
    }

    /// The contents as a number in 0 ..= 2^31 - 1. They must have the shortest form (X.690 §8.3.2).
    ///
    /// # Errors
    /// [`DecodeErrorKind::InvalidInteger`].
    pub fn number(&self, production: &'static str) -> Result<u32, DecodeError> {
        match *self.contents {
            [a] if a < 0x80 => Ok(u32::from(a)),
            [a, b] if a < 0x80 && (a != 0 || b >= 0x80) => Ok(u32::from_be_bytes([0, 0, a, b])),
            [a, b, c] if a < 0x80 && (a != 0 || b >= 0x80) => Ok(u32::from_be_bytes([0, a, b, c])),
            [a, b, c, d] if a < 0x80 && (a != 0 || b >= 0x80) => {
                Ok(u32::from_be_bytes([a, b, c, d]))
            }
            _ => Err(self.error(production, DecodeErrorKind::InvalidInteger)),
        }
    }

    /// An error at the start of the contents.
    pub fn error(&self, production: &'static str, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(self.end.saturating_sub(self.contents.len()), production, kind)
    }
}

// Contents may be attribute values, so Debug shows their place and size only.
impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({}..{})", self.offset(), self.end)
    }
}

impl fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Element(tag 0x{:02x}, {} bytes)", self.tag, self.contents.len())
    }
}
