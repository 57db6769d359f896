//! Our reader against rasn-ldap, on every message of the captures and on mutations of one message
//! of each kind.
//!
//! Where both decode, they must agree on every field. Where only one does, the reason must stand in
//! one of the two tables below, and each row of them must have been met.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

mod common;

use common::{cases, decode, frames};
use ldap_content_sync::{
    Control, DecodeError, LdapMessage, LdapResult, Limits, ProtocolOp, ResultCode,
};
use rasn_ldap as ldap;
use std::collections::{BTreeMap, BTreeSet};

/// What only we decode, and why.
const ONLY_OURS: &[(&str, &str)] = &[
    (
        "result code",
        "rasn-ldap's ResultCode is closed: 118, 4096 and every other code it does not list fails the whole message",
    ),
    (
        "diagnostic",
        "rasn-ldap refuses a diagnosticMessage that is not UTF-8; we replace what is not, so that the failure is explained",
    ),
];

/// What only rasn-ldap decodes, and why we do not.
const ONLY_RASN: &[(&str, &str)] = &[
    (
        "TrailingData",
        "bytes after the last element, of the message or inside it: a message not understood wholly is refused",
    ),
    (
        "UnexpectedOperation",
        "requests, and answers to requests we never make: rasn-ldap knows all of RFC 4511",
    ),
    ("InvalidBoolean", "X.690 lets TRUE be any octet but 00; RFC 4511 §5.1 says FF"),
    ("InvalidUtf8", "an OID that is not text: rasn-ldap keeps octets"),
    (
        "InvalidInteger",
        "numbers not in their shortest form (X.690 §8.3.2), and message IDs above 2^31 - 1",
    ),
    ("Empty", "a referral or reference without a URI; RFC 4511 §4.1.10 asks for one at least"),
    ("UnexpectedTag", "strings in constructed form; RFC 4511 §5.1 has them primitive only"),
    ("IndefiniteLength", "indefinite lengths; RFC 4511 §5.1 forbids them"),
    ("LengthOctets", "lengths of more than four octets"),
];

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Verdict {
    Same,
    BothRefuse,
    OnlyOurs(&'static str),
    OnlyRasn(&'static str),
}

fn compare(bytes: &[u8]) -> Verdict {
    let ours = LdapMessage::decode(bytes, &Limits::default());
    let theirs = rasn::ber::decode::<ldap::LdapMessage>(bytes);
    match (ours, theirs) {
        (Ok(ours), Ok(mut theirs)) => {
            // 389 sends empty lists of controls; to us that is no control.
            theirs.controls = theirs.controls.filter(|controls| !controls.is_empty());
            assert_eq!(as_rasn(&ours), Some(theirs), "{bytes:02x?}");
            Verdict::Same
        }
        (Err(_), Err(_)) => Verdict::BothRefuse,
        (Ok(ours), Err(_)) => Verdict::OnlyOurs(why_only_ours(&ours, bytes)),
        (Err(error), Ok(_)) => Verdict::OnlyRasn(why_only_rasn(error, bytes)),
    }
}

fn why_only_ours(message: &LdapMessage<'_>, bytes: &[u8]) -> &'static str {
    let result = match &message.op {
        ProtocolOp::BindResponse(response) => &response.result,
        ProtocolOp::ExtendedResponse(response) => &response.result,
        ProtocolOp::SearchResultDone(result) => result,
        _ => panic!("only ours: {message:?} {bytes:02x?}"),
    };
    if rasn_code(result.code).is_none() {
        "result code"
    } else if result.diagnostic.contains(char::REPLACEMENT_CHARACTER) {
        "diagnostic"
    } else {
        panic!("only ours: {message:?} {bytes:02x?}")
    }
}

fn why_only_rasn(error: DecodeError, bytes: &[u8]) -> &'static str {
    let kind = format!("{:?}", error.kind);
    let kind = kind.split([' ', '{']).next().unwrap();
    ONLY_RASN
        .iter()
        .map(|(row, _)| *row)
        .find(|row| *row == kind)
        .unwrap_or_else(|| panic!("only rasn: {error} {bytes:02x?}"))
}

#[test]
fn every_captured_message_decodes_alike() {
    let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for case in cases() {
        for frame in frames(&case.received) {
            *verdicts.entry(compare(frame)).or_default() += 1;
        }
    }
    // 18 times 4096 e-syncRefreshRequired, twice 118 canceled.
    assert_eq!(
        verdicts.into_iter().collect::<Vec<_>>(),
        [(Verdict::Same, 3_352), (Verdict::OnlyOurs("result code"), 20)]
    );
}

#[test]
fn mutations_decode_alike_or_differ_for_a_listed_reason() {
    let mut met: BTreeSet<Verdict> = BTreeSet::new();
    let mut tried = 0;
    for seed in seeds() {
        for at in 0..seed.len() {
            let byte = seed[at];
            let values = [
                0x00,
                0x01,
                0x1f,
                0x3f,
                0x7f,
                0x80,
                0x81,
                0x85,
                0xff,
                byte ^ 0x20,
                byte ^ 0x80,
                byte.wrapping_add(1),
                byte.wrapping_sub(1),
            ];
            for value in values {
                let mut mutated = seed.clone();
                mutated[at] = value;
                met.insert(compare(&mutated));
                tried += 1;
            }
            // One element fewer or more: the byte taken out, or a byte put in.
            let mut shorter = seed.clone();
            shorter.remove(at);
            met.insert(compare(&shorter));
            let mut longer = seed.clone();
            longer.insert(at, 0);
            met.insert(compare(&longer));
        }
    }
    assert!(tried > 15_000, "{tried} mutations");
    for (row, reason) in ONLY_OURS {
        assert!(met.contains(&Verdict::OnlyOurs(row)), "not met: {row}: {reason}");
    }
    for (row, reason) in ONLY_RASN {
        assert!(met.contains(&Verdict::OnlyRasn(row)), "not met: {row}: {reason}");
    }
}

/// The smallest captured message of each kind from each server, and messages that the captures
/// lack.
fn seeds() -> Vec<Vec<u8>> {
    let mut smallest: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for case in cases() {
        for frame in frames(&case.received) {
            let message = decode(frame);
            let (folder, _) = case.name.split_once('/').unwrap();
            let controls: String = message.controls.iter().map(|control| control.oid).collect();
            let kind = format!("{folder} {} {controls}", message.op.name());
            let seed = smallest.entry(kind).or_insert_with(|| frame.to_vec());
            if frame.len() < seed.len() {
                *seed = frame.to_vec();
            }
        }
    }
    let mut seeds: Vec<Vec<u8>> = smallest.into_values().collect();
    let result = [
        &[0x0a, 0x01, 0x0a, 0x04, 0x04][..],
        b"dc=x",
        &[0x04, 0x03],
        b"why",
        &[0xa3, 0x05, 0x04, 0x03],
        b"u:v",
    ]
    .concat();
    let sasl = [&result[..], &[0x87, 0x02, 0x01, 0x02]].concat();
    let extended = [&result[..], &[0x8a, 0x05], b"1.2.3", &[0x8b, 0x02, 0xff, 0x00]].concat();
    for (tag, op) in [(0x61, sasl), (0x78, extended), (0x65, result), (0x73, vec![])] {
        seeds.push(message(tag, &op));
    }
    let reference = [0x73, 0x05, 0x04, 0x03, 0x61, 0x3a, 0x62];
    let control = [0xa0, 0x0a, 0x30, 0x08, 0x04, 0x03, 0x31, 0x2e, 0x32, 0x01, 0x01, 0xff];
    seeds.extend([
        [&[0x30, 0x16, 0x02, 0x01, 0x02][..], &reference, &control].concat(),
        // A modifyResponse; a message ID not in its shortest form; one above 2^31 - 1; indefinite
        // length; length of five octets.
        Vec::from([
            0x30, 0x0c, 0x02, 0x01, 0x02, 0x67, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00,
        ]),
        [&[0x30, 0x0b, 0x02, 0x02, 0x00, 0x02][..], &reference].concat(),
        [&[0x30, 0x0e, 0x02, 0x05, 0x00, 0x80, 0x00, 0x00, 0x00][..], &reference].concat(),
        [&[0x30, 0x80, 0x02, 0x01, 0x02][..], &reference, &[0x00, 0x00]].concat(),
        [&[0x30, 0x85, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x02, 0x01, 0x02][..], &reference].concat(),
    ]);
    seeds
}

fn message(tag: u8, op: &[u8]) -> Vec<u8> {
    let op_length = u8::try_from(op.len()).unwrap();
    [&[0x30, op_length + 5, 0x02, 0x01, 0x02, tag, op_length][..], op].concat()
}

/// Our message as rasn-ldap would hold it; none where it cannot.
fn as_rasn(message: &LdapMessage<'_>) -> Option<ldap::LdapMessage> {
    let octets = rasn::types::OctetString::from_slice;
    let op = match &message.op {
        ProtocolOp::SearchResultEntry(entry) => {
            let attributes = entry.attributes().map(|attribute| {
                let values = attribute.values().map(octets).collect();
                ldap::PartialAttribute::new(
                    attribute.description().into(),
                    rasn::types::SetOf::from_vec(values),
                )
            });
            ldap::ProtocolOp::SearchResEntry(ldap::SearchResultEntry::new(
                entry.dn().into(),
                attributes.collect(),
            ))
        }
        ProtocolOp::SearchResultReference(reference) => ldap::ProtocolOp::SearchResRef(
            ldap::SearchResultReference(reference.uris().map(Into::into).collect()),
        ),
        ProtocolOp::SearchResultDone(result) => {
            ldap::ProtocolOp::SearchResDone(ldap::SearchResultDone(result_as_rasn(result)?))
        }
        ProtocolOp::BindResponse(response) => {
            let result = result_as_rasn(&response.result)?;
            let creds = response.server_sasl_creds.map(octets);
            let (code, matched, diagnostic) =
                (result.result_code, result.matched_dn, result.diagnostic_message);
            ldap::ProtocolOp::BindResponse(ldap::BindResponse::new(
                code,
                matched,
                diagnostic,
                result.referral,
                creds,
            ))
        }
        ProtocolOp::ExtendedResponse(response) => {
            let result = result_as_rasn(&response.result)?;
            ldap::ProtocolOp::ExtendedResp(ldap::ExtendedResponse {
                result_code: result.result_code,
                matched_dn: result.matched_dn,
                diagnostic_message: result.diagnostic_message,
                referral: result.referral,
                response_name: response.name.map(|name| octets(name.as_bytes())),
                response_value: response.value.map(octets),
            })
        }
        ProtocolOp::IntermediateResponse(response) => {
            ldap::ProtocolOp::IntermediateResponse(ldap::IntermediateResponse {
                response_name: response.name.map(|name| octets(name.as_bytes())),
                response_value: response.value.map(octets),
            })
        }
    };
    let control = |control: Control<'_>| {
        ldap::Control::new(
            octets(control.oid.as_bytes()),
            control.critical,
            control.value.map(octets),
        )
    };
    let mut converted = ldap::LdapMessage::new(message.message_id, op);
    converted.controls =
        message.controls.iter().next().map(|_| message.controls.iter().map(control).collect());
    Some(converted)
}

fn result_as_rasn(result: &LdapResult<'_>) -> Option<ldap::LdapResult> {
    let mut converted = ldap::LdapResult::new(
        rasn_code(result.code)?,
        result.matched_dn.into(),
        result.diagnostic.as_ref().into(),
    );
    let referral: Vec<ldap::Uri> = result.referral.iter().map(Into::into).collect();
    converted.referral = (!referral.is_empty()).then_some(referral);
    Some(converted)
}

/// The code in rasn-ldap's closed enumeration: found by letting rasn decode it.
fn rasn_code(code: ResultCode) -> Option<ldap::ResultCode> {
    let encoded = rasn::ber::encode(&rasn::types::Integer::from(code.0)).unwrap();
    rasn::ber::decode(&[&[0x0a], &encoded[1..]].concat()).ok()
}
