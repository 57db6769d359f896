//! Requests: byte for byte what real servers have accepted in the captures, and readable to
//! rasn-ldap.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

mod common;

use common::{cases, frames};
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::{self, Scope, SearchRequest, SyncMode, SyncRequest};
use rasn::prelude::*;
use rasn_ldap as ldap;

fn read(bytes: &[u8]) -> ldap::LdapMessage {
    rasn::ber::decode(bytes).unwrap()
}

#[test]
fn requests_are_those_that_the_servers_were_sent() {
    let (mut binds, mut searches, mut other) = (0, 0, 0);
    for case in cases() {
        for sent in frames(&case.sent) {
            let message = read(sent);
            let ours = match &message.protocol_op {
                ldap::ProtocolOp::BindRequest(bind) => {
                    binds += 1;
                    let ldap::AuthenticationChoice::Simple(password) = &bind.authentication else {
                        panic!("{}", case.name)
                    };
                    request::bind_simple(message.message_id, &bind.name, password)
                }
                ldap::ProtocolOp::SearchRequest(search) => match repeat(&message, search) {
                    Some(bytes) => {
                        searches += 1;
                        bytes
                    }
                    None => {
                        other += 1;
                        continue;
                    }
                },
                ldap::ProtocolOp::AbandonRequest(_)
                | ldap::ProtocolOp::ExtendedReq(_)
                | ldap::ProtocolOp::UnbindRequest(_) => {
                    other += 1;
                    continue;
                }
                op => panic!("{}: {op:?}", case.name),
            };
            assert_eq!(ours, sent, "{}", case.name);
        }
    }
    // Not repeated: 9 searches with ManageDsaIT, reloadHint or for one level, 6 not critical, 2 with
    // a control value that is none, 4 Abandon and 3 Cancel requests.
    assert_eq!((binds, searches, other), (261, 245, 24));
}

/// The same search by our means; none for what we never ask: one level, other
/// controls, one that is not critical or malformed.
fn repeat(message: &ldap::LdapMessage, search: &ldap::SearchRequest) -> Option<Vec<u8>> {
    let controls = message.controls.as_deref().unwrap_or_default();
    let mut sync = None;
    for control in controls {
        let value: SyncRequestValue = rasn::ber::decode(control.control_value.as_ref()?).ok()?;
        if !control.criticality || value.reload_hint {
            return None;
        }
        sync = Some(value);
    }
    let sync = sync.as_ref().map(|sync| SyncRequest {
        mode: if sync.mode == Mode::RefreshOnly {
            SyncMode::RefreshOnly
        } else {
            SyncMode::RefreshAndPersist
        },
        cookie: sync.cookie.as_deref(),
    });
    let attributes: Vec<&str> =
        search.attributes.iter().map(|attribute| attribute.as_str()).collect();
    let filter = ours(&search.filter);
    let scope = match search.scope {
        ldap::SearchRequestScope::BaseObject => Scope::Base,
        ldap::SearchRequestScope::WholeSubtree => Scope::Subtree,
        _ => return None,
    };
    let (base, size_limit, time_limit) =
        (search.base_object.as_str(), search.size_limit, search.time_limit);
    let request = SearchRequest {
        base,
        scope,
        filter: &filter,
        attributes: &attributes,
        size_limit,
        time_limit,
        types_only: false,
        sync,
    };
    Some(request::search(message.message_id, &request))
}

#[derive(AsnType, Decode)]
struct SyncRequestValue {
    mode: Mode,
    cookie: Option<OctetString>,
    #[rasn(default)]
    reload_hint: bool,
}

#[derive(AsnType, Decode, Clone, Copy, Debug, PartialEq)]
#[rasn(enumerated)]
enum Mode {
    RefreshOnly = 1,
    RefreshAndPersist = 3,
}

/// rasn's filter as ours.
fn ours(filter: &ldap::Filter) -> Filter {
    let all = |filters: &SetOf<ldap::Filter>| filters.iter().map(ours).collect();
    let both = |assertion: &ldap::AttributeValueAssertion| {
        (assertion.attribute_desc.0.clone(), assertion.assertion_value.to_vec())
    };
    match filter {
        ldap::Filter::And(filters) => Filter::And(all(filters)),
        ldap::Filter::Or(filters) => Filter::Or(all(filters)),
        ldap::Filter::Not(inner) => Filter::Not(Box::new(ours(inner))),
        ldap::Filter::EqualityMatch(assertion) => {
            let (attribute, value) = both(assertion);
            Filter::Equality { attribute, value }
        }
        ldap::Filter::GreaterOrEqual(assertion) => {
            let (attribute, value) = both(assertion);
            Filter::GreaterOrEqual { attribute, value }
        }
        ldap::Filter::LessOrEqual(assertion) => {
            let (attribute, value) = both(assertion);
            Filter::LessOrEqual { attribute, value }
        }
        ldap::Filter::ApproxMatch(assertion) => {
            let (attribute, value) = both(assertion);
            Filter::Approx { attribute, value }
        }
        ldap::Filter::Present(attribute) => Filter::Present { attribute: attribute.0.clone() },
        ldap::Filter::Substrings(substrings) => {
            let (mut initial, mut any, mut final_) = (None, Vec::new(), None);
            for part in &substrings.substrings {
                match part {
                    ldap::SubstringChoice::Initial(value) => initial = Some(value.to_vec()),
                    ldap::SubstringChoice::Any(value) => any.push(value.to_vec()),
                    ldap::SubstringChoice::Final(value) => final_ = Some(value.to_vec()),
                    other => panic!("{other:?}"),
                }
            }
            Filter::Substrings { attribute: substrings.r#type.0.clone(), initial, any, final_ }
        }
        ldap::Filter::ExtensibleMatch(assertion) => Filter::Extensible {
            rule: assertion.matching_rule.as_ref().map(|rule| rule.0.clone()),
            attribute: assertion.r#type.as_ref().map(|attribute| attribute.0.clone()),
            value: assertion.match_value.to_vec(),
            dn_attributes: assertion.dn_attributes,
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_filter_arrives_as_it_was_meant() {
    let equality = |attribute: &str, value: &[u8]| Filter::Equality {
        attribute: attribute.into(),
        value: value.into(),
    };
    let filters = [
        Filter::And(vec![]),
        Filter::Or(vec![
            equality("z", b"1"),
            equality("a", b"2"),
            Filter::And(vec![equality("m", b"\x00\xff")]),
        ]),
        Filter::Not(Box::new(Filter::Not(Box::new(equality("cn;lang-de", "Jürgen".as_bytes()))))),
        Filter::Substrings {
            attribute: "cn".into(),
            initial: Some(b"a".into()),
            any: vec![b"b".into(), b"c".into()],
            final_: Some(b"d".into()),
        },
        Filter::Substrings {
            attribute: "cn".into(),
            initial: None,
            any: vec![b"b".into()],
            final_: None,
        },
        Filter::GreaterOrEqual { attribute: "n".into(), value: b"1".into() },
        Filter::LessOrEqual { attribute: "n".into(), value: b"2".into() },
        Filter::Present { attribute: "objectClass".into() },
        Filter::Approx { attribute: "sn".into(), value: b"x".into() },
        Filter::Extensible {
            rule: Some("2.5.13.2".into()),
            attribute: Some("cn".into()),
            value: b"x".into(),
            dn_attributes: true,
        },
        Filter::Extensible {
            rule: None,
            attribute: Some("cn".into()),
            value: vec![],
            dn_attributes: false,
        },
    ];
    for filter in filters {
        let message = read(&request::search(9, &plain(&filter)));
        let ldap::ProtocolOp::SearchRequest(search) = &message.protocol_op else {
            panic!("{message:?}")
        };
        assert_eq!(ours(&search.filter), filter);
        assert_eq!(
            (message.message_id, message.controls.is_none(), search.types_only),
            (9, true, false)
        );
    }
}

fn plain(filter: &Filter) -> SearchRequest<'_> {
    let scope = Scope::Subtree;
    SearchRequest {
        base: "",
        scope,
        filter,
        attributes: &[],
        size_limit: 0,
        time_limit: 0,
        types_only: false,
        sync: None,
    }
}

#[test]
fn and_and_or_keep_their_order() {
    // 389 writes the filter into its cookie as it came.
    let text = "(|(objectClass=person)(objectClass=account)(&(z=1)(a=2)))";
    let bytes = request::search(1, &plain(&Filter::parse(text).unwrap()));
    let at =
        |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    assert!(at(b"person") < at(b"account") && at(b"\x04\x01z") < at(b"\x04\x01a"));
}

#[test]
fn a_filter_of_the_greatest_depth_is_encoded() {
    let depth = ldap_content_sync::filter::MAX_DEPTH;
    let text = format!("{}(a=b){}", "(!".repeat(depth - 1), ")".repeat(depth - 1));
    let filter = Filter::parse(&text).unwrap();
    let ldap::ProtocolOp::SearchRequest(search) =
        read(&request::search(1, &plain(&filter))).protocol_op
    else {
        panic!()
    };
    assert_eq!(ours(&search.filter), filter);
}

#[test]
fn limits_beyond_what_the_protocol_carries_are_cut_to_it() {
    let filter = Filter::Present { attribute: "a".into() };
    let message = read(&request::search(
        1,
        &SearchRequest { size_limit: u32::MAX, time_limit: 1 << 31, ..plain(&filter) },
    ));
    let ldap::ProtocolOp::SearchRequest(search) = message.protocol_op else { panic!() };
    assert_eq!((search.size_limit, search.time_limit), (i32::MAX as u32, i32::MAX as u32));
}

#[test]
fn other_requests() {
    assert_eq!(request::unbind(3), [0x30, 5, 0x02, 1, 3, 0x42, 0]);
    let start_tls =
        [&[0x30, 0x1d, 0x02, 1, 1, 0x77, 0x18, 0x80, 0x16][..], b"1.3.6.1.4.1.1466.20037"].concat();
    assert_eq!(request::start_tls(1), start_tls);
    // Empty credentials (RFC 4422 appendix A: no authorization identity of one's own); slapd asks
    // back, rc 14, where there are none.
    let external = [
        &[0x30, 0x18, 0x02, 1, 1, 0x60, 0x13, 0x02, 1, 3, 0x04, 0, 0xa3, 0x0c, 0x04, 8][..],
        b"EXTERNAL",
        &[0x04, 0],
    ]
    .concat();
    assert_eq!(request::bind_external(1), external);
}
