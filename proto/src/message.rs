//! LDAPMessage and Controls (RFC 4511 §4.1.1 and §4.1.11), as a server sends them.
//!
//! Scope: decoding one framed message. RFC 4511 §4 tells a client to ignore unknown trailing
//! components of a SEQUENCE. This decoder refuses them: no standard or known server sends any. A
//! message that is only partly understood must not lead to deleted accounts. Every reader here
//! consumes all of its input.

use crate::Limits;
use crate::ber::{DecodeError, DecodeErrorKind, Element, Reader, SEQUENCE};
use crate::oversized::Oversized;
use crate::result::{BindResponse, ExtendedResponse, LdapResult};
use crate::search::{SearchResultEntry, SearchResultReference};
use std::fmt;

/// Tag of searchResEntry.
pub(crate) const ENTRY: u8 = 0x64;
/// Tag of the controls of a message.
pub(crate) const CONTROLS: u8 = 0xa0;

/// A message from a server. It borrows the decoded bytes.
#[derive(Clone, Debug)]
pub struct LdapMessage<'a> {
    /// ID of the request that the message answers; 0 for an unsolicited notification.
    pub message_id: u32,
    /// The operation.
    pub op: ProtocolOp<'a>,
    /// Controls attached to the message.
    pub controls: Controls<'a>,
}

/// Operations that a server sends to this client.
#[derive(Clone, Debug)]
pub enum ProtocolOp<'a> {
    /// Answer to a bind, RFC 4511 §4.2.2.
    BindResponse(BindResponse<'a>),
    /// An entry, RFC 4511 §4.5.2.
    SearchResultEntry(SearchResultEntry<'a>),
    /// A continuation reference, RFC 4511 §4.5.3.
    SearchResultReference(SearchResultReference<'a>),
    /// End of a search, RFC 4511 §4.5.2.
    SearchResultDone(LdapResult<'a>),
    /// Answer to an extended operation, or an unsolicited notification, RFC 4511 §4.12 and §4.4.
    ExtendedResponse(ExtendedResponse<'a>),
    /// An intermediate response, RFC 4511 §4.13. SyncInfo is one.
    IntermediateResponse(IntermediateResponse<'a>),
}

impl<'a> LdapMessage<'a> {
    /// Decodes exactly one message, as delimited by [`crate::frame`].
    ///
    /// # Errors
    /// Anything that RFC 4511 forbids, unread bytes in any production, operations that a server
    /// does not send, and data above `limits`.
    pub fn decode(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        if bytes.len() > limits.max_message {
            let kind =
                DecodeErrorKind::MessageTooLarge { size: bytes.len(), max: limits.max_message };
            return Err(DecodeError::new(0, "LDAPMessage", kind));
        }
        Self::decode_any(bytes, limits)
    }

    /// Decodes the reduced message of an entry that exceeded the size limit.
    pub(crate) fn decode_oversized(
        bytes: &'a [u8],
        oversized: &'a Oversized,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut message = Self::decode_any(bytes, limits)?;
        if let ProtocolOp::SearchResultEntry(entry) = &mut message.op {
            entry.note_oversized(oversized);
        }
        Ok(message)
    }

    fn decode_any(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let message = Reader::new(bytes)
            .read_all("LDAPMessage", |reader| reader.expect(SEQUENCE, "LDAPMessage"))?;
        message.reader().read_all("LDAPMessage", |reader| {
            let message_id = reader.integer("LDAPMessage.messageID")?;
            let at = reader.offset();
            let op = ProtocolOp::decode(reader.element("LDAPMessage.protocolOp")?, at)?;
            let controls = match reader.optional(CONTROLS, "LDAPMessage.controls")? {
                Some(list) => Controls::decode(list, limits)?,
                None => Controls::default(),
            };
            Ok(LdapMessage { message_id, op, controls })
        })
    }
}

impl<'a> ProtocolOp<'a> {
    fn decode(op: Element<'a>, offset: usize) -> Result<Self, DecodeError> {
        Ok(match op.tag {
            0x61 => Self::BindResponse(BindResponse::decode(op)?),
            ENTRY => Self::SearchResultEntry(SearchResultEntry::decode(op)?),
            0x65 => Self::SearchResultDone(LdapResult::decode(op, "SearchResultDone")?),
            0x73 => Self::SearchResultReference(SearchResultReference::decode(op)?),
            0x78 => Self::ExtendedResponse(ExtendedResponse::decode(op)?),
            0x79 => Self::IntermediateResponse(IntermediateResponse::decode(op)?),
            tag => {
                return Err(DecodeError::new(
                    offset,
                    "LDAPMessage.protocolOp",
                    DecodeErrorKind::UnexpectedOperation { tag },
                ));
            }
        })
    }

    /// Name of the operation in RFC 4511, for error messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BindResponse(_) => "bindResponse",
            Self::SearchResultEntry(_) => "searchResEntry",
            Self::SearchResultReference(_) => "searchResRef",
            Self::SearchResultDone(_) => "searchResDone",
            Self::ExtendedResponse(_) => "extendedResp",
            Self::IntermediateResponse(_) => "intermediateResponse",
        }
    }
}

/// IntermediateResponse, RFC 4511 §4.13.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IntermediateResponse<'a> {
    /// OID of the response.
    pub name: Option<&'a str>,
    /// Value of the response.
    pub value: Option<&'a [u8]>,
}

impl<'a> IntermediateResponse<'a> {
    fn decode(op: Element<'a>) -> Result<Self, DecodeError> {
        op.reader().read_all("IntermediateResponse", |reader| {
            let name = match reader.optional(0x80, "IntermediateResponse.responseName")? {
                Some(element) => Some(element.string("IntermediateResponse.responseName")?),
                None => None,
            };
            let value = reader
                .optional(0x81, "IntermediateResponse.responseValue")?
                .map(|element| element.contents);
            Ok(IntermediateResponse { name, value })
        })
    }
}

impl fmt::Debug for IntermediateResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.value.map(<[u8]>::len);
        f.debug_struct("IntermediateResponse")
            .field("name", &self.name)
            .field("value_bytes", &bytes)
            .finish()
    }
}

/// The controls of a message. An empty list equals an absent one.
#[derive(Clone, Copy, Default)]
pub struct Controls<'a>(Option<Reader<'a>>);

impl<'a> Controls<'a> {
    fn decode(list: Element<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = list.reader();
        let mut count = 0;
        while !reader.is_empty() {
            if count == limits.max_controls {
                return Err(
                    reader.error("Controls", DecodeErrorKind::TooMany { max: limits.max_controls })
                );
            }
            Control::decode(&mut reader)?;
            count += 1;
        }
        Ok(Controls(Some(list.reader())))
    }

    /// The controls, in the server's order.
    pub fn iter(&self) -> impl Iterator<Item = Control<'a>> + Clone + use<'a> {
        let mut reader = self.0.unwrap_or_else(|| Reader::new(&[]));
        std::iter::from_fn(move || Control::decode(&mut reader).ok())
    }
}

impl fmt::Debug for Controls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A control, RFC 4511 §4.1.11.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Control<'a> {
    /// controlType, a dotted-decimal OID.
    pub oid: &'a str,
    /// criticality. It has no meaning on a response.
    pub critical: bool,
    /// controlValue. An absent value differs from an empty one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Control<'a> {
    fn decode(list: &mut Reader<'a>) -> Result<Self, DecodeError> {
        list.expect(SEQUENCE, "Control")?.reader().read_all("Control", |reader| {
            let oid = reader.string("Control.controlType")?;
            let critical = reader.boolean_or(false, "Control.criticality")?;
            let value =
                if reader.is_empty() { None } else { Some(reader.octets("Control.controlValue")?) };
            Ok(Control { oid, critical, value })
        })
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.value.map(<[u8]>::len);
        f.debug_struct("Control")
            .field("oid", &self.oid)
            .field("critical", &self.critical)
            .field("value_bytes", &bytes)
            .finish()
    }
}
