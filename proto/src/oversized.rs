//! Reads a SearchResultEntry that exceeds the size limit, piece by piece.
//!
//! Scope: one message, in pieces of any size. An oversized entry is not an error: its author could
//! otherwise stop the synchronisation of all entries. The reader checks the whole structure, as
//! [`LdapMessage::decode`] does. It keeps the message ID, the name, the controls, and each
//! attribute of at most 1/64 of the limit. The result is an [`Oversized`] entry.

mod attributes;

use std::fmt;

use attributes::Attributes;

use crate::ber::{
    DecodeError, DecodeErrorKind, Header, HeaderState, INTEGER, OCTET_STRING, Reader, SEQUENCE,
    SET, header,
};
use crate::message::{CONTROLS, ENTRY};
use crate::{LdapMessage, Limits};

/// Maximum bytes of an objectName that is kept. slapd accepts names of up to 8 KiB.
const MAX_NAME: usize = 64 << 10;
/// Maximum bytes of an attribute description.
const MAX_DESCRIPTION: usize = 64 << 10;
/// Maximum bytes of all controls together. The largest part is the cookie in the Sync State
/// control.
const MAX_CONTROLS: usize = 256 << 10;

/// An entry above the size limit, without its large attributes.
#[derive(Clone, PartialEq, Eq)]
pub struct Oversized {
    /// Bytes of the message as sent by the server.
    pub size: usize,
    /// The size limit in bytes.
    pub limit: usize,
    /// True if the name was too long. The entry then has an empty name.
    pub without_name: bool,
    left_out: Vec<String>,
    /// True if the entry had more attributes than the reader distinguishes.
    more: bool,
    message: Vec<u8>,
}

impl Oversized {
    /// Decodes the reduced message. Its entry returns `Some` from
    /// [`crate::SearchResultEntry::oversized`].
    ///
    /// # Errors
    /// As [`LdapMessage::decode`].
    pub fn decode(&self, limits: &Limits) -> Result<LdapMessage<'_>, DecodeError> {
        LdapMessage::decode_oversized(&self.message, self, limits)
    }

    /// True if the entry has, or may have, values of this attribute that were dropped.
    pub fn leaves_out(&self, attribute: &str) -> bool {
        self.more || self.left_out.iter().any(|name| name.eq_ignore_ascii_case(attribute))
    }
}

// Attribute values may be secret, so Debug shows sizes only.
impl fmt::Debug for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.message.len();
        f.debug_struct("Oversized")
            .field("size", &self.size)
            .field("kept", &kept)
            .field("left_out", &self.left_out)
            .finish()
    }
}

/// Progress after one piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The whole piece was consumed. Feed the next one.
    More,
    /// The entry is complete.
    Done {
        /// Bytes of the piece that belong to the entry.
        used: usize,
        /// The reduced entry.
        entry: Oversized,
    },
}

/// Reads one message that [`crate::frame`] refused for its size.
pub struct OversizedReader {
    limit: usize,
    step: Step,
    /// Bytes of the message read so far.
    at: usize,
    ends: Ends,
    /// The first bytes of a header that continues in the next piece.
    cut_off: Vec<u8>,
    /// Content bytes still to read into `target`.
    left: usize,
    target: Target,
    id: Vec<u8>,
    name: Vec<u8>,
    without_name: bool,
    description: Vec<u8>,
    /// Index of the current attribute in `attributes`, if its values are kept.
    current: Option<usize>,
    values: Vec<u8>,
    attributes: Attributes,
    controls: Vec<u8>,
}

/// The element that the reader expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Message,
    Id,
    Operation,
    Name,
    Attributes,
    Attribute,
    Description,
    Values,
    Value,
    Controls,
    End,
}

/// End offsets of the elements that are still open.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    message: usize,
    operation: usize,
    attributes: usize,
    attribute: usize,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Nothing,
    Id,
    Name,
    Description,
    Values,
    Controls,
}

impl Step {
    /// Tag and production of the next element. The controls are copied as a whole, and the end has
    /// no element.
    fn element(self) -> (u8, &'static str) {
        match self {
            Step::Message => (SEQUENCE, "LDAPMessage"),
            Step::Id => (INTEGER, "LDAPMessage.messageID"),
            Step::Operation => (ENTRY, "LDAPMessage.protocolOp"),
            Step::Name => (OCTET_STRING, "SearchResultEntry.objectName"),
            Step::Attributes => (SEQUENCE, "SearchResultEntry.attributes"),
            Step::Attribute => (SEQUENCE, "PartialAttribute"),
            Step::Description => (OCTET_STRING, "PartialAttribute.type"),
            Step::Values => (SET, "PartialAttribute.vals"),
            Step::Value => (OCTET_STRING, "AttributeValue"),
            Step::Controls | Step::End => (CONTROLS, "LDAPMessage.controls"),
        }
    }
}

impl fmt::Debug for OversizedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OversizedReader")
            .field("step", &self.step)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl OversizedReader {
    /// A reader for a message larger than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        OversizedReader {
            limit,
            step: Step::Message,
            at: 0,
            ends: Ends::default(),
            cut_off: Vec::new(),
            left: 0,
            target: Target::Nothing,
            id: Vec::new(),
            name: Vec::new(),
            without_name: false,
            description: Vec::new(),
            current: None,
            values: Vec::new(),
            attributes: Attributes::new(limit),
            controls: Vec::new(),
        }
    }

    /// Takes the next piece of the message.
    ///
    /// # Errors
    /// As [`LdapMessage::decode`]. Also [`DecodeErrorKind::MessageTooLarge`] for a message that is
    /// not an entry, and [`DecodeErrorKind::TooLong`] for a description or controls above their
    /// limit. Discard the reader after an error.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Progress, DecodeError> {
        let mut rest = piece;
        loop {
            self.take_contents(&mut rest);
            if self.left > 0 {
                return Ok(Progress::More);
            }
            if self.step == Step::End {
                return Ok(Progress::Done {
                    used: piece.len().saturating_sub(rest.len()),
                    entry: self.entry(),
                });
            }
            if !self.advance(&mut rest)? {
                return Ok(Progress::More);
            }
        }
    }

    fn take_contents(&mut self, rest: &mut &[u8]) {
        let count = self.left.min(rest.len());
        let Some((contents, behind)) = rest.split_at_checked(count) else { return };
        let target = match self.target {
            Target::Nothing => None,
            Target::Id => Some(&mut self.id),
            Target::Name => Some(&mut self.name),
            Target::Description => Some(&mut self.description),
            Target::Values => Some(&mut self.values),
            Target::Controls => Some(&mut self.controls),
        };
        if let Some(target) = target {
            target.extend_from_slice(contents);
        }
        *rest = behind;
        self.left = self.left.saturating_sub(count);
        self.at = self.at.saturating_add(count);
    }

    /// Reads the next header. Returns false if the header is incomplete.
    fn advance(&mut self, rest: &mut &[u8]) -> Result<bool, DecodeError> {
        match self.step {
            Step::Attribute if self.at == self.ends.attributes => self.step = Step::Controls,
            Step::Value if self.at == self.ends.attribute => {
                self.end_attribute();
                self.step = Step::Attribute;
            }
            Step::Controls if self.at == self.ends.message => self.step = Step::End,
            Step::Controls => {
                let size = self.ends.message.saturating_sub(self.at);
                self.check_size(size, MAX_CONTROLS)?;
                self.expect(size, Target::Controls, Step::End);
            }
            _ => {
                let Some(header) = self.header(rest)? else { return Ok(false) };
                self.enter(header)?;
            }
        }
        Ok(true)
    }

    fn header(&mut self, rest: &mut &[u8]) -> Result<Option<Header>, DecodeError> {
        loop {
            let (cut_off, room) = (self.cut_off.len(), self.container().saturating_sub(self.at));
            let whole = rest.get(..room).unwrap_or(rest);
            let state = header(if cut_off == 0 { whole } else { &self.cut_off });
            match state.map_err(|kind| self.error(self.production(), kind))? {
                HeaderState::Complete(header) => {
                    if cut_off == 0 {
                        *rest = rest.get(header.size..).unwrap_or_default();
                    }
                    self.cut_off.clear();
                    self.at = self.at.saturating_add(header.size);
                    return Ok(Some(header));
                }
                HeaderState::NeedMore(_) if cut_off >= room => {
                    let kind = if cut_off == 0 {
                        DecodeErrorKind::Missing
                    } else {
                        DecodeErrorKind::Truncated
                    };
                    return Err(self.error(self.production(), kind));
                }
                HeaderState::NeedMore(_) => {
                    let Some((first, behind)) = rest.split_first() else { return Ok(None) };
                    self.cut_off.push(*first);
                    *rest = behind;
                }
            }
        }
    }

    /// End offset of the element that contains the next element.
    fn container(&self) -> usize {
        match self.step {
            Step::Message => usize::MAX,
            Step::Id | Step::Operation | Step::Controls | Step::End => self.ends.message,
            Step::Name | Step::Attributes => self.ends.operation,
            Step::Attribute => self.ends.attributes,
            Step::Description | Step::Values | Step::Value => self.ends.attribute,
        }
    }

    /// Handles the header of the next element and moves to the next step.
    fn enter(&mut self, header: Header) -> Result<(), DecodeError> {
        if self.step == Step::Operation {
            self.check_operation(header)?;
        }
        self.check(header)?;
        let end = self.at.saturating_add(header.contents);
        match self.step {
            Step::Message => {
                self.ends.message = end;
                self.step = Step::Id;
            }
            Step::Id => {
                self.id = vec![INTEGER, self.id_length(header)?];
                self.expect(header.contents, Target::Id, Step::Operation);
            }
            Step::Operation => {
                self.ends.operation = end;
                self.step = Step::Name;
            }
            Step::Name => {
                self.without_name = header.contents > MAX_NAME;
                let target = if self.without_name { Target::Nothing } else { Target::Name };
                self.expect(header.contents, target, Step::Attributes);
            }
            Step::Attributes => {
                self.check_last(end, "SearchResultEntry")?;
                self.ends.attributes = end;
                self.step = Step::Attribute;
            }
            Step::Attribute => {
                self.ends.attribute = end;
                self.description.clear();
                self.step = Step::Description;
            }
            Step::Description => {
                self.check_size(header.contents, MAX_DESCRIPTION)?;
                self.expect(header.contents, Target::Description, Step::Values);
            }
            Step::Values => {
                self.check_last(end, "PartialAttribute")?;
                self.current = self.choose(header.contents)?;
                self.step = Step::Value;
            }
            Step::Value => {
                let mut target = Target::Nothing;
                if self.current.is_some() {
                    write_header(OCTET_STRING, header.contents, &mut self.values);
                    target = Target::Values;
                }
                self.expect(header.contents, target, Step::Value);
            }
            // These steps read no header.
            Step::Controls | Step::End => {}
        }
        Ok(())
    }

    fn id_length(&self, header: Header) -> Result<u8, DecodeError> {
        let length = u8::try_from(header.contents).ok().filter(|length| *length <= 4);
        length.ok_or_else(|| self.error(self.production(), DecodeErrorKind::InvalidInteger))
    }

    /// Only an entry may exceed the limit.
    fn check_operation(&self, header: Header) -> Result<(), DecodeError> {
        Reader::new(&self.id).integer("LDAPMessage.messageID")?;
        if header.tag == ENTRY {
            return Ok(());
        }
        let kind = DecodeErrorKind::MessageTooLarge { size: self.ends.message, max: self.limit };
        Err(DecodeError::new(0, "LDAPMessage", kind))
    }

    /// Returns the index of the current attribute if its values are kept.
    fn choose(&mut self, size: usize) -> Result<Option<usize>, DecodeError> {
        let invalid = |_| self.error("PartialAttribute.type", DecodeErrorKind::InvalidUtf8);
        let name = std::str::from_utf8(&self.description).map_err(invalid)?;
        Ok(self.attributes.choose(name, size))
    }

    fn end_attribute(&mut self) {
        if let Some(index) = self.current.take() {
            self.attributes.add(index, &self.description, &self.values);
        }
        self.values.clear();
    }

    fn expect(&mut self, contents: usize, target: Target, then: Step) {
        (self.left, self.target, self.step) = (contents, target, then);
    }

    /// Checks the tag of the next element, and that the element ends in its container.
    fn check(&self, header: Header) -> Result<(), DecodeError> {
        let (expected, production) = self.step.element();
        if header.tag != expected {
            let kind = DecodeErrorKind::UnexpectedTag { expected, found: header.tag };
            return Err(self.error(production, kind));
        }
        match self.at.checked_add(header.contents) {
            Some(end) if end <= self.container() => Ok(()),
            _ => Err(self.error(production, DecodeErrorKind::Truncated)),
        }
    }

    /// Checks that the next element is the last one of its container.
    fn check_last(&self, end: usize, container: &'static str) -> Result<(), DecodeError> {
        if end == self.container() {
            return Ok(());
        }
        Err(self.error(container, DecodeErrorKind::TrailingData))
    }

    fn check_size(&self, size: usize, max: usize) -> Result<(), DecodeError> {
        if size <= max {
            return Ok(());
        }
        Err(self.error(self.production(), DecodeErrorKind::TooLong { size, max }))
    }

    fn error(&self, production: &'static str, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(self.at, production, kind)
    }

    fn production(&self) -> &'static str {
        self.step.element().1
    }

    fn entry(&mut self) -> Oversized {
        let attributes = std::mem::replace(&mut self.attributes, Attributes::new(self.limit));
        let operation =
            element(ENTRY, &[&element(OCTET_STRING, &[&self.name]), &attributes.encode()]);
        let (left_out, more) = attributes.into_left_out();
        Oversized {
            size: self.ends.message,
            limit: self.limit,
            without_name: self.without_name,
            left_out,
            more,
            message: element(SEQUENCE, &[&self.id, &operation, &self.controls]),
        }
    }
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut element = Vec::with_capacity(length + 6);
    write_header(tag, length, &mut element);
    parts.iter().for_each(|part| element.extend_from_slice(part));
    element
}

fn write_header(tag: u8, length: usize, out: &mut Vec<u8>) {
    out.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x84);
            // Unreachable in practice: the decoder reads no length above 4 GiB.
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}
