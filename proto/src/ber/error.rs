//! Errors of the decoder: the place in the input, the ASN.1 production and the reason.

use std::fmt;

/// Received bytes that violate the protocol.
///
/// The offset counts from the start of the decoded slice. [`crate::LdapMessage::decode`] takes a
/// whole message. The decoders of [`crate::sync_control`] take the value of a control or of an
/// intermediate response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset of the faulty element, or of the place where an element is missing.
    pub offset: usize,
    /// The ASN.1 production being read, as RFC 4511 or RFC 4533 names it.
    pub production: &'static str,
    /// The reason.
    pub kind: DecodeErrorKind,
}

/// Reason why received bytes cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// The input ends where an element was expected.
    Missing,
    /// The element announces more bytes than its container holds, or its header is cut off.
    Truncated,
    /// The tag of the element differs from that of the production.
    UnexpectedTag {
        /// The tag of the production.
        expected: u8,
        /// The tag in the input.
        found: u8,
    },
    /// A protocolOp that no server sends, or the response to a request that this client never
    /// makes.
    UnexpectedOperation {
        /// The tag of the protocolOp.
        tag: u8,
    },
    /// A tag number of 31 or more. LDAP uses none.
    HighTagNumber {
        /// First octet of the tag.
        tag: u8,
    },
    /// The indefinite form of a length, which RFC 4511 §5.1 forbids.
    IndefiniteLength,
    /// A length with more than four octets, or the reserved first octet FF.
    LengthOctets {
        /// Length octets announced.
        octets: usize,
    },
    /// A message larger than the limit.
    MessageTooLarge {
        /// Bytes announced, header included.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// More elements than the limit.
    TooMany {
        /// The limit.
        max: usize,
    },
    /// A string longer than the limit.
    TooLong {
        /// Bytes found.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Bytes remain after the last element of the production.
    TrailingData,
    /// An INTEGER or ENUMERATED that is empty, negative, not in its shortest form or out of range
    /// for the production.
    InvalidInteger,
    /// A BOOLEAN whose contents are not the single octet 00 or FF.
    InvalidBoolean,
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A syncUUID that is not 16 octets.
    InvalidUuid,
    /// A SEQUENCE OF without elements where RFC 4511 requires at least one.
    Empty,
}

impl DecodeError {
    /// An error in `production` at `offset`.
    pub(crate) fn new(offset: usize, production: &'static str, kind: DecodeErrorKind) -> Self {
        DecodeError { offset, production, kind }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.production, self.offset, self.kind)
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing => f.write_str("missing"),
            Self::Truncated => f.write_str("reaches beyond the end of what holds it"),
            Self::UnexpectedTag { expected, found } => {
                write!(f, "tag 0x{found:02x} where 0x{expected:02x} was expected")
            }
            Self::UnexpectedOperation { tag } => match operation_name(tag) {
                Some(name) => write!(f, "unexpected operation {name} (tag 0x{tag:02x})"),
                None => write!(f, "unknown operation (tag 0x{tag:02x})"),
            },
            Self::HighTagNumber { tag } => write!(f, "tag 0x{tag:02x} has a number of 31 or more"),
            Self::IndefiniteLength => f.write_str("indefinite length"),
            Self::LengthOctets { octets } => write!(f, "length of {octets} octets"),
            Self::MessageTooLarge { size, max } => {
                write!(f, "message of {size} bytes, the limit is {max}")
            }
            Self::TooMany { max } => write!(f, "more than {max} elements"),
            Self::TooLong { size, max } => write!(f, "{size} bytes, the limit is {max}"),
            Self::TrailingData => f.write_str("bytes left over at the end"),
            Self::InvalidInteger => {
                f.write_str("not a number of the expected range in its shortest form")
            }
            Self::InvalidBoolean => f.write_str("not a BOOLEAN of one octet 00 or FF"),
            Self::InvalidUtf8 => f.write_str("not UTF-8"),
            Self::InvalidUuid => f.write_str("not a UUID of 16 octets"),
            Self::Empty => f.write_str("empty"),
        }
    }
}

/// Names of the RFC 4511 operations that this client does not decode.
fn operation_name(tag: u8) -> Option<&'static str> {
    Some(match tag {
        0x60 => "bindRequest",
        0x42 => "unbindRequest",
        0x63 => "searchRequest",
        0x66 => "modifyRequest",
        0x67 => "modifyResponse",
        0x68 => "addRequest",
        0x69 => "addResponse",
        0x4a => "delRequest",
        0x6b => "delResponse",
        0x6c => "modDNRequest",
        0x6d => "modDNResponse",
        0x6e => "compareRequest",
        0x6f => "compareResponse",
        0x50 => "abandonRequest",
        0x77 => "extendedReq",
        _ => return None,
    })
}
