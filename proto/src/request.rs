//! Requests, encoded with rasn-ldap: the only file that imports rasn. No byte from the network
//! comes here.
//!
//! Every function returns one whole LDAPMessage. Elements that equal their DEFAULT are left out
//! (RFC 4511 §5.1).

use crate::filter::Filter;
use crate::sync_control::SYNC_REQUEST_OID;
use rasn::types::{OctetString, SequenceOf};
use rasn::{AsnType, Decode, Decoder, Encode};
use rasn_ldap as ldap;

/// Extended operation StartTLS, RFC 4511 §4.14.
pub const START_TLS_OID: &str = "1.3.6.1.4.1.1466.20037";
/// RFC 4532 §2.
pub const WHO_AM_I_OID: &str = "1.3.6.1.4.1.4203.1.11.3";

/// A search, RFC 4511 §4.5.1. Aliases are never dereferenced.
#[derive(Clone, Copy, Debug)]
pub struct SearchRequest<'a> {
    /// DN where the search starts; empty for the root DSE.
    pub base: &'a str,
    /// How far it reaches.
    pub scope: Scope,
    /// What entries must match. Its depth is limited where it is parsed; encoding recurses as deep.
    pub filter: &'a Filter,
    /// Attribute descriptions to return; none means all user attributes.
    pub attributes: &'a [&'a str],
    /// Entries at most, up to 2^31 - 1; 0 for no limit of the client.
    pub size_limit: u32,
    /// Seconds at most, up to 2^31 - 1; 0 for no limit of the client.
    pub time_limit: u32,
    /// Attribute descriptions without their values.
    pub types_only: bool,
    /// Makes it a refresh.
    pub sync: Option<SyncRequest<'a>>,
}

/// Sync Request control, RFC 4533 §2.2: mode refreshOnly, critical.
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest<'a> {
    /// The cookie of the last refresh.
    pub cookie: Option<&'a [u8]>,
}

/// Scope of a search, RFC 4511 §4.5.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The base alone.
    Base,
    /// The base and all below it.
    Subtree,
}

/// BindRequest with simple authentication, RFC 4511 §4.2. The result holds the password in clear.
pub fn bind_simple(id: u32, dn: &str, password: &[u8]) -> Vec<u8> {
    bind(id, dn, ldap::AuthenticationChoice::Simple(octets(password)))
}

/// BindRequest with SASL EXTERNAL (RFC 4422 appendix A) and an empty authorisation identity: the
/// server takes the one of the transport. The credentials are there and empty: without any, the
/// server asks for them first (slapd answers saslBindInProgress).
pub fn bind_external(id: u32) -> Vec<u8> {
    bind(
        id,
        "",
        ldap::AuthenticationChoice::Sasl(ldap::SaslCredentials::new(
            "EXTERNAL".into(),
            Some(octets(b"")),
        )),
    )
}

/// SearchRequest, RFC 4511 §4.5.1, with the controls it asks for.
pub fn search(id: u32, request: &SearchRequest<'_>) -> Vec<u8> {
    let op = OrderedSearchRequest {
        base_object: request.base.into(),
        scope: match request.scope {
            Scope::Base => ldap::SearchRequestScope::BaseObject,
            Scope::Subtree => ldap::SearchRequestScope::WholeSubtree,
        },
        deref_aliases: ldap::SearchRequestDerefAliases::NeverDerefAliases,
        size_limit: request.size_limit.min(MAX_INT),
        time_limit: request.time_limit.min(MAX_INT),
        types_only: request.types_only,
        filter: filter(request.filter),
        attributes: request.attributes.iter().map(|&attribute| attribute.into()).collect(),
    };
    let controls = request.sync.as_ref().map(|sync| vec![sync_request_control(sync)]);
    encode(&SearchMessage { message_id: id, protocol_op: op, controls })
}

/// ExtendedRequest StartTLS, RFC 4511 §4.14.
pub fn start_tls(id: u32) -> Vec<u8> {
    let op = ldap::ExtendedRequest {
        request_name: octets(START_TLS_OID.as_bytes()),
        request_value: None,
    };
    encode(&ldap::LdapMessage::new(id, ldap::ProtocolOp::ExtendedReq(op)))
}

/// ExtendedRequest "Who am I?", RFC 4532 §2.1. The value of the answer is an authzId.
pub fn who_am_i(id: u32) -> Vec<u8> {
    let op = ldap::ExtendedRequest {
        request_name: octets(WHO_AM_I_OID.as_bytes()),
        request_value: None,
    };
    encode(&ldap::LdapMessage::new(id, ldap::ProtocolOp::ExtendedReq(op)))
}

/// UnbindRequest, RFC 4511 §4.3. It has no answer: the connection is closed next.
pub fn unbind(id: u32) -> Vec<u8> {
    encode(&ldap::LdapMessage::new(id, ldap::ProtocolOp::UnbindRequest(ldap::UnbindRequest)))
}

/// maxInt, RFC 4511 §4.1.1.
const MAX_INT: u32 = i32::MAX.cast_unsigned();

fn bind(id: u32, dn: &str, authentication: ldap::AuthenticationChoice) -> Vec<u8> {
    let op = ldap::BindRequest::new(3, dn.into(), authentication);
    encode(&ldap::LdapMessage::new(id, ldap::ProtocolOp::BindRequest(op)))
}

/// syncRequestValue, RFC 4533 §2.2. Without reloadHint, which neither slapd in its default
/// configuration nor 389 heeds.
#[derive(AsnType, Encode, Decode)]
struct SyncRequestValue {
    mode: SyncRequestMode,
    cookie: Option<OctetString>,
}

#[derive(AsnType, Encode, Decode, Clone, Copy, PartialEq, Eq, Debug)]
#[rasn(enumerated)]
enum SyncRequestMode {
    RefreshOnly = 1,
}

fn sync_request_control(sync: &SyncRequest<'_>) -> ldap::Control {
    let value =
        SyncRequestValue { mode: SyncRequestMode::RefreshOnly, cookie: sync.cookie.map(octets) };
    ldap::Control::new(octets(SYNC_REQUEST_OID.as_bytes()), true, Some(encode(&value).into()))
}

/// LDAPMessage with a search request.
#[derive(AsnType, Encode, Decode)]
struct SearchMessage {
    message_id: ldap::MessageId,
    protocol_op: OrderedSearchRequest,
    #[rasn(tag(0))]
    controls: Option<ldap::Controls>,
}

/// [`ldap::SearchRequest`] with [`OrderedFilter`].
#[derive(AsnType, Encode, Decode)]
#[rasn(tag(application, 3))]
struct OrderedSearchRequest {
    base_object: ldap::LdapDn,
    scope: ldap::SearchRequestScope,
    deref_aliases: ldap::SearchRequestDerefAliases,
    size_limit: u32,
    time_limit: u32,
    types_only: bool,
    filter: OrderedFilter,
    attributes: ldap::AttributeSelection,
}

/// [`ldap::Filter`], whose `and` and `or` keep the order of the configuration: rasn sorts a SET OF.
/// To a server the order means nothing, but 389 spells the filter in its cookie as it came, and
/// refuses the cookie with any other spelling, that of Kanidm's own tool included.
#[derive(AsnType, Encode, Decode)]
#[rasn(choice)]
enum OrderedFilter {
    #[rasn(tag(0))]
    And(SequenceOf<OrderedFilter>),
    #[rasn(tag(1))]
    Or(SequenceOf<OrderedFilter>),
    #[rasn(tag(2))]
    Not(Box<OrderedFilter>),
    #[rasn(tag(3))]
    EqualityMatch(ldap::AttributeValueAssertion),
    #[rasn(tag(4))]
    Substrings(ldap::SubstringFilter),
    #[rasn(tag(5))]
    GreaterOrEqual(ldap::AttributeValueAssertion),
    #[rasn(tag(6))]
    LessOrEqual(ldap::AttributeValueAssertion),
    #[rasn(tag(7))]
    Present(ldap::AttributeDescription),
    #[rasn(tag(8))]
    ApproxMatch(ldap::AttributeValueAssertion),
    #[rasn(tag(9))]
    ExtensibleMatch(ldap::MatchingRuleAssertion),
}

fn filter(from: &Filter) -> OrderedFilter {
    let assertion = |attribute: &str, value: &[u8]| {
        ldap::AttributeValueAssertion::new(attribute.into(), octets(value))
    };
    match from {
        Filter::And(filters) => OrderedFilter::And(filters.iter().map(filter).collect()),
        Filter::Or(filters) => OrderedFilter::Or(filters.iter().map(filter).collect()),
        Filter::Not(inner) => OrderedFilter::Not(Box::new(filter(inner))),
        Filter::Equality { attribute, value } => {
            OrderedFilter::EqualityMatch(assertion(attribute, value))
        }
        Filter::Substrings { attribute, initial, any, final_ } => {
            let initial = initial.iter().map(|part| ldap::SubstringChoice::Initial(octets(part)));
            let any = any.iter().map(|part| ldap::SubstringChoice::Any(octets(part)));
            let final_ = final_.iter().map(|part| ldap::SubstringChoice::Final(octets(part)));
            let parts = initial.chain(any).chain(final_).collect();
            OrderedFilter::Substrings(ldap::SubstringFilter::new(attribute.as_str().into(), parts))
        }
        Filter::GreaterOrEqual { attribute, value } => {
            OrderedFilter::GreaterOrEqual(assertion(attribute, value))
        }
        Filter::LessOrEqual { attribute, value } => {
            OrderedFilter::LessOrEqual(assertion(attribute, value))
        }
        Filter::Present { attribute } => OrderedFilter::Present(attribute.as_str().into()),
        Filter::Approx { attribute, value } => {
            OrderedFilter::ApproxMatch(assertion(attribute, value))
        }
        Filter::Extensible { rule, attribute, value, dn_attributes } => {
            let rule = rule.as_deref().map(Into::into);
            let attribute = attribute.as_deref().map(Into::into);
            OrderedFilter::ExtensibleMatch(ldap::MatchingRuleAssertion::new(
                rule,
                attribute,
                octets(value),
                *dn_attributes,
            ))
        }
    }
}

fn octets(bytes: &[u8]) -> OctetString {
    OctetString::from_slice(bytes)
}

fn encode(value: &impl Encode) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "BER encoding fails on ASN.1 constraints only, and these types have none"
    )]
    rasn::ber::encode(value).expect("types without constraints")
}
