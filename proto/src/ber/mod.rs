//! The subset of X.690 BER that RFC 4511 §5.1 allows: definite lengths, primitive strings, TRUE as
//! FF, tag numbers below 31.
//!
//! Scope: finding message boundaries ([`frame()`]) and reading elements ([`Reader`]). The modules
//! above know the meaning of the elements.
//!
//! A length may use more octets than it needs (`84 00 00 00 05`): X.690 §8.1.3.5 allows this form
//! and several servers send it. A length has at most [`MAX_LENGTH_OCTETS`] octets.

mod error;
mod frame;
mod reader;

pub use error::{DecodeError, DecodeErrorKind};
pub use frame::{Frame, frame};
pub use reader::{Element, Reader};

/// Universal BOOLEAN.
pub const BOOLEAN: u8 = 0x01;
/// Universal INTEGER.
pub const INTEGER: u8 = 0x02;
/// Universal OCTET STRING, primitive.
pub const OCTET_STRING: u8 = 0x04;
/// Universal ENUMERATED.
pub const ENUMERATED: u8 = 0x0a;
/// Universal SEQUENCE and SEQUENCE OF.
pub const SEQUENCE: u8 = 0x30;
/// Universal SET and SET OF.
pub const SET: u8 = 0x31;

/// Maximum octets of a long-form length after its first octet. Four octets reach 4 GiB, far above
/// every limit.
pub const MAX_LENGTH_OCTETS: usize = 4;

/// Tag and length at the start of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) tag: u8,
    /// Bytes of tag and length.
    pub(crate) size: usize,
    /// Bytes of the contents that follow.
    pub(crate) contents: usize,
}

/// Result of reading a tag and length from the start of an input.
pub(crate) enum HeaderState {
    Complete(Header),
    /// The header is incomplete. It needs this many bytes.
    NeedMore(usize),
}

/// Reads a tag and a length. The contents may still be missing.
#[inline]
pub(crate) fn header(input: &[u8]) -> Result<HeaderState, DecodeErrorKind> {
    let Some((&tag, rest)) = input.split_first() else { return Ok(HeaderState::NeedMore(2)) };
    if tag & 0x1f == 0x1f {
        return Err(DecodeErrorKind::HighTagNumber { tag });
    }
    let Some((&first, rest)) = rest.split_first() else { return Ok(HeaderState::NeedMore(2)) };
    if first < 0x80 {
        return Ok(HeaderState::Complete(Header { tag, size: 2, contents: usize::from(first) }));
    }
    let octets = usize::from(first & 0x7f);
    if octets == 0 {
        return Err(DecodeErrorKind::IndefiniteLength);
    }
    if octets > MAX_LENGTH_OCTETS {
        return Err(DecodeErrorKind::LengthOctets { octets });
    }
    let size = octets + 2;
    let Some(digits) = rest.get(..octets) else { return Ok(HeaderState::NeedMore(size)) };
    // At most four octets, so the value fits 32 bits.
    let contents = digits.iter().fold(0u32, |value, &digit| (value << 8) | u32::from(digit));
    let contents =
        usize::try_from(contents).map_err(|_| DecodeErrorKind::LengthOctets { octets })?;
    Ok(HeaderState::Complete(Header { tag, size, contents }))
}
