//! Requests, encoded with rasn-ldap.
//!
//! Scope: each function returns one whole LDAPMessage. No other file imports rasn, and no byte from
//! the network reaches this one. Elements that equal their DEFAULT are omitted (RFC 4511 §5.1).

use crate::filter::Filter;
use crate::sync_control::SYNC_REQUEST_OID;
use rasn::types::{OctetString, SequenceOf};
use rasn::{AsnType, Decode, Decoder, Encode};
use rasn_ldap as ldap;

/// Extended operation StartTLS, RFC 4511 §4.14.
pub const START_TLS_OID: &str = "1.3.6.1.4.1.1466.20037";
/// Extended operation "Who am I?", RFC 4532 §2.
pub const WHO_AM_I_OID: &str = "1.3.6.1.4.1.4203.1.11.3";

/// A search, RFC 4511 §4.5.1. Aliases are never dereferenced.
#[derive(Clone, Copy, Debug)]
pub struct SearchRequest<'a> {
    /// DN of the search base; empty for the root DSE.
    pub base: &'a str,
    /// Scope of the search.
    pub scope: Scope,
    /// Filter of the search. Encoding recurses to its depth, which [`Filter::parse`] limits.
    pub filter: &'a Filter,
    /// Attribute descriptions to return. An empty list means all user attributes.
    pub attributes: &'a [&'a str],
    /// Maximum number of entries, up to 2^31 - 1; 0 for no client-side limit.
    pub size_limit: u32,
    /// Maximum time in seconds, up to 2^31 - 1; 0 for no client-side limit.
    pub time_limit: u32,
    /// True to return attribute descriptions without values.
    pub types_only: bool,
    /// Adds the Sync Request control, which makes the search a refresh.
    pub sync: Option<SyncRequest<'a>>,
}

/// Sync Request control, RFC 4533 §2.2, critical.
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest<'a> {
    /// End of the search: after the refresh, or never.
    pub mode: SyncMode,
    /// The cookie of the last refresh, if there is one.
    pub cookie: Option<&'a [u8]>,
}

/// Mode of a Sync Request, RFC 4533 §2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// A refresh; [`crate::SyncSession`] reads it.
    RefreshOnly,
    /// A refresh and then every change; [`crate::Listener`] reads it.
    RefreshAndPersist,
}

/// Scope of a search, RFC 4511 §4.5.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The base alone.
    Base,
    /// The base and all entries below it.
    Subtree,
}

/// BindRequest with simple authentication, RFC 4511 §4.2. The result contains the password in clear
/// text.
pub fn bind_simple(id: u32, dn: &str, password: &[u8]) -> Vec<u8> {
    bind(id, dn, ldap::AuthenticationChoice::Simple(octets(password)))
}

/// BindRequest with SASL EXTERNAL (RFC 4422 appendix A). The authorisation identity is empty, so
/// the server uses the identity of the transport. The credentials are present but empty. If they
/// are absent, the server asks for them first (slapd answers saslBindInProgress).
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

/// SearchRequest, RFC 4511 §4.5.1, with the Sync Request control if `request.sync` is set.
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

/// ExtendedRequest "Who am I?", RFC 4532 §2.1. The value of the response is an authzId.
pub fn who_am_i(id: u32) -> Vec<u8> {
    let op = ldap::ExtendedRequest {
        request_name: octets(WHO_AM_I_OID.as_bytes()),
        request_value: None,
    };
    encode(&ldap::LdapMessage::new(id, ldap::ProtocolOp::ExtendedReq(op)))
}

/// UnbindRequest, RFC 4511 §4.3. The server sends no response, so close the connection next.
pub fn unbind(id: u32) -> Vec<u8> {
    encode(&ldap::LdapMessage::new(id, ldap::ProtocolOp::UnbindRequest(ldap::UnbindRequest)))
}

/// maxInt, RFC 4511 §4.1.1.
const MAX_INT: u32 = i32::MAX.cast_unsigned();

fn bind(id: u32, dn: &str, authentication: ldap::AuthenticationChoice) -> Vec<u8> {
    let op = ldap::BindRequest::new(3, dn.into(), authentication);
    encode(&ldap::LdapMessage::new(id, ldap::ProtocolOp::BindRequest(op)))
}

/// syncRequestValue, RFC 4533 §2.2. It omits reloadHint: 389 ignores it, and so does slapd in its
/// default configuration.
#[derive(AsnType, Encode, Decode)]
struct SyncRequestValue {
    mode: SyncRequestMode,
    cookie: Option<OctetString>,
}

#[derive(AsnType, Encode, Decode, Clone, Copy, PartialEq, Eq, Debug)]
#[rasn(enumerated)]
enum SyncRequestMode {
    RefreshOnly = 1,
    RefreshAndPersist = 3,
}

fn sync_request_control(sync: &SyncRequest<'_>) -> ldap::Control {
    let mode = match sync.mode {
        SyncMode::RefreshOnly => SyncRequestMode::RefreshOnly,
        SyncMode::RefreshAndPersist => SyncRequestMode::RefreshAndPersist,
    };
    let value = SyncRequestValue { mode, cookie: sync.cookie.map(octets) };
    ldap::Control::new(octets(SYNC_REQUEST_OID.as_bytes()), true, Some(encode(&value).into()))
}

/// An LDAPMessage with a search request.
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

/// Like [`ldap::Filter`], but `and` and `or` keep their order; rasn sorts a SET OF. The order does
/// not change the meaning of a filter. But 389 writes the filter into its cookie as it was sent,
/// and refuses a cookie with any other spelling. This includes a cookie that Kanidm's own tool
/// left.
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
