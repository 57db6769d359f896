//! LDAPResult and its result codes (RFC 4511 §4.1.9).
//!
//! Scope: LDAPResult, and the responses that extend it: BindResponse (§4.2.2) and ExtendedResponse
//! (§4.12).

use crate::ber::{DecodeError, DecodeErrorKind, Element, Reader};
use std::borrow::Cow;
use std::fmt;

/// OID of the Notice of Disconnection, an unsolicited notification (RFC 4511 §4.4.1).
pub const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";

/// A result code. The type is open, because RFC 4511 lets servers and extensions define more codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResultCode(pub u32);

macro_rules! result_codes {
    ($($constant:ident = $number:literal, $name:literal;)*) => {
        impl ResultCode {
            $(#[doc = concat!("`", $name, "`, ", $number, ".")]
            pub const $constant: ResultCode = ResultCode($number);)*

            /// The name from the RFC; `None` for an unknown code.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

result_codes! {
    SUCCESS = 0, "success";
    OPERATIONS_ERROR = 1, "operationsError";
    PROTOCOL_ERROR = 2, "protocolError";
    TIME_LIMIT_EXCEEDED = 3, "timeLimitExceeded";
    SIZE_LIMIT_EXCEEDED = 4, "sizeLimitExceeded";
    COMPARE_FALSE = 5, "compareFalse";
    COMPARE_TRUE = 6, "compareTrue";
    AUTH_METHOD_NOT_SUPPORTED = 7, "authMethodNotSupported";
    STRONGER_AUTH_REQUIRED = 8, "strongerAuthRequired";
    REFERRAL = 10, "referral";
    ADMIN_LIMIT_EXCEEDED = 11, "adminLimitExceeded";
    UNAVAILABLE_CRITICAL_EXTENSION = 12, "unavailableCriticalExtension";
    CONFIDENTIALITY_REQUIRED = 13, "confidentialityRequired";
    SASL_BIND_IN_PROGRESS = 14, "saslBindInProgress";
    NO_SUCH_ATTRIBUTE = 16, "noSuchAttribute";
    UNDEFINED_ATTRIBUTE_TYPE = 17, "undefinedAttributeType";
    INAPPROPRIATE_MATCHING = 18, "inappropriateMatching";
    CONSTRAINT_VIOLATION = 19, "constraintViolation";
    ATTRIBUTE_OR_VALUE_EXISTS = 20, "attributeOrValueExists";
    INVALID_ATTRIBUTE_SYNTAX = 21, "invalidAttributeSyntax";
    NO_SUCH_OBJECT = 32, "noSuchObject";
    ALIAS_PROBLEM = 33, "aliasProblem";
    INVALID_DN_SYNTAX = 34, "invalidDNSyntax";
    ALIAS_DEREFERENCING_PROBLEM = 36, "aliasDereferencingProblem";
    INAPPROPRIATE_AUTHENTICATION = 48, "inappropriateAuthentication";
    INVALID_CREDENTIALS = 49, "invalidCredentials";
    INSUFFICIENT_ACCESS_RIGHTS = 50, "insufficientAccessRights";
    BUSY = 51, "busy";
    UNAVAILABLE = 52, "unavailable";
    UNWILLING_TO_PERFORM = 53, "unwillingToPerform";
    LOOP_DETECT = 54, "loopDetect";
    NAMING_VIOLATION = 64, "namingViolation";
    OBJECT_CLASS_VIOLATION = 65, "objectClassViolation";
    NOT_ALLOWED_ON_NON_LEAF = 66, "notAllowedOnNonLeaf";
    NOT_ALLOWED_ON_RDN = 67, "notAllowedOnRDN";
    ENTRY_ALREADY_EXISTS = 68, "entryAlreadyExists";
    OBJECT_CLASS_MODS_PROHIBITED = 69, "objectClassModsProhibited";
    AFFECTS_MULTIPLE_DSAS = 71, "affectsMultipleDSAs";
    OTHER = 80, "other";
    CANCELED = 118, "canceled";
    NO_SUCH_OPERATION = 119, "noSuchOperation";
    TOO_LATE = 120, "tooLate";
    CANNOT_CANCEL = 121, "cannotCancel";
    ASSERTION_FAILED = 122, "assertionFailed";
    AUTHORIZATION_DENIED = 123, "authorizationDenied";
    SYNC_REFRESH_REQUIRED = 4096, "e-syncRefreshRequired";
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name().unwrap_or("unknown result code"), self.0)
    }
}

/// The result of an operation, RFC 4511 §4.1.9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapResult<'a> {
    /// The result code.
    pub code: ResultCode,
    /// For a name that does not exist, its nearest existing superior. Mostly empty.
    pub matched_dn: &'a str,
    /// Human-readable text, often empty. Bytes that are not UTF-8 are replaced, because an
    /// administrator needs the text even from a faulty server.
    pub diagnostic: Cow<'a, str>,
    /// URIs of a `referral`; empty for other result codes.
    pub referral: Uris<'a>,
}

impl<'a> LdapResult<'a> {
    /// Decodes a response that is a plain LDAPResult.
    pub(crate) fn decode(op: Element<'a>, production: &'static str) -> Result<Self, DecodeError> {
        op.reader().read_all(production, Self::components)
    }

    /// Decodes the COMPONENTS OF LDAPResult. The caller decodes the components after them.
    fn components(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let code = ResultCode(reader.enumerated("LDAPResult.resultCode")?);
        let matched_dn = reader.string("LDAPResult.matchedDN")?;
        let diagnostic = String::from_utf8_lossy(reader.octets("LDAPResult.diagnosticMessage")?);
        let referral = match reader.optional(0xa3, "LDAPResult.referral")? {
            Some(element) => Uris::decode(element, "LDAPResult.referral")?,
            None => Uris::default(),
        };
        Ok(LdapResult { code, matched_dn, diagnostic, referral })
    }
}

/// BindResponse, RFC 4511 §4.2.2.
#[derive(Clone, PartialEq, Eq)]
pub struct BindResponse<'a> {
    /// The result of the bind.
    pub result: LdapResult<'a>,
    /// Challenge of the SASL mechanism.
    pub server_sasl_creds: Option<&'a [u8]>,
}

impl<'a> BindResponse<'a> {
    pub(crate) fn decode(op: Element<'a>) -> Result<Self, DecodeError> {
        op.reader().read_all("BindResponse", |reader| {
            let result = LdapResult::components(reader)?;
            let server_sasl_creds = reader
                .optional(0x87, "BindResponse.serverSaslCreds")?
                .map(|element| element.contents);
            Ok(BindResponse { result, server_sasl_creds })
        })
    }
}

// Debug omits the credentials.
impl fmt::Debug for BindResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let creds = self.server_sasl_creds.map(<[u8]>::len);
        f.debug_struct("BindResponse")
            .field("result", &self.result)
            .field("server_sasl_creds_bytes", &creds)
            .finish()
    }
}

/// ExtendedResponse, RFC 4511 §4.12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedResponse<'a> {
    /// The result of the operation.
    pub result: LdapResult<'a>,
    /// OID of the response.
    pub name: Option<&'a str>,
    /// Value of the response.
    pub value: Option<&'a [u8]>,
}

impl<'a> ExtendedResponse<'a> {
    pub(crate) fn decode(op: Element<'a>) -> Result<Self, DecodeError> {
        op.reader().read_all("ExtendedResponse", |reader| {
            let result = LdapResult::components(reader)?;
            let name = match reader.optional(0x8a, "ExtendedResponse.responseName")? {
                Some(element) => Some(element.string("ExtendedResponse.responseName")?),
                None => None,
            };
            let value = reader
                .optional(0x8b, "ExtendedResponse.responseValue")?
                .map(|element| element.contents);
            Ok(ExtendedResponse { result, name, value })
        })
    }

    /// True if the response has the OID of the Notice of Disconnection (RFC 4511 §4.4.1). The
    /// caller checks that its message ID is 0.
    pub fn is_notice_of_disconnection(&self) -> bool {
        self.name == Some(NOTICE_OF_DISCONNECTION)
    }
}

/// A validated list of URIs, from a referral or a search result reference.
#[derive(Clone, Copy, Default)]
pub struct Uris<'a>(Option<Reader<'a>>);

impl<'a> Uris<'a> {
    /// Decodes SEQUENCE SIZE (1..MAX) OF URI.
    pub(crate) fn decode(list: Element<'a>, production: &'static str) -> Result<Self, DecodeError> {
        let mut reader = list.reader();
        if reader.is_empty() {
            return Err(reader.error(production, DecodeErrorKind::Empty));
        }
        while !reader.is_empty() {
            reader.string(production)?;
        }
        Ok(Uris(Some(list.reader())))
    }

    /// The URIs, in the server's order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let mut reader = self.0.unwrap_or_else(|| Reader::new(&[]));
        std::iter::from_fn(move || reader.validated()?.string("").ok())
    }
}

impl fmt::Debug for Uris<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Uris<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Uris<'_> {}
