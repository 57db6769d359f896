//! Entries beyond the limit: what the reader makes of them, however they arrive, is what the
//! decoder would have made of the whole.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

mod common;
#[path = "common/mutate.rs"]
mod mutate;

use std::collections::BTreeSet;

use common::{cases, frames};
use ldap_content_sync::oversized::{OversizedReader, Progress};
use ldap_content_sync::{
    DecodeError, DecodeErrorKind, Frame, LdapMessage, Limits, Oversized, ProtocolOp,
    SearchResultEntry, frame,
};
use mutate::{CHANGES, Node};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// So large that every attribute of the captures is kept, or so small that none is.
const LIMITS: [usize; 2] = [1 << 20, 1];

fn read(message: &[u8], limit: usize) -> Result<Progress, DecodeError> {
    OversizedReader::new(limit).feed(message)
}

fn whole(message: &[u8], limit: usize) -> Oversized {
    match read(message, limit).unwrap() {
        Progress::Done { used, entry } if used == message.len() => entry,
        other => panic!("{other:?}"),
    }
}

/// The entries of the captures, each once.
fn entries() -> Vec<Vec<u8>> {
    let is_entry = |message: &&[u8]| {
        matches!(
            LdapMessage::decode(message, &Limits::default()).unwrap().op,
            ProtocolOp::SearchResultEntry(_)
        )
    };
    let mut seen = BTreeSet::new();
    for case in cases() {
        seen.extend(
            frames(&case.received)
                .into_iter()
                .filter(|frame| frame.len() < 700)
                .filter(is_entry)
                .map(<[u8]>::to_vec),
        );
    }
    assert!(seen.len() > 100, "{} entries", seen.len());
    seen.into_iter().collect()
}

fn entry<'a>(message: &'a LdapMessage<'_>) -> SearchResultEntry<'a> {
    let ProtocolOp::SearchResultEntry(entry) = message.op else { panic!("{message:?}") };
    entry
}

/// Name, attributes without options and their values, controls.
type Content = (u32, String, Vec<(String, Vec<Vec<u8>>)>, String);

fn content(message: &LdapMessage<'_>) -> Content {
    let plain =
        entry(message).attributes().filter(|attribute| !attribute.description().contains(';'));
    let attributes = plain.map(|attribute| {
        (attribute.description().to_owned(), attribute.values().map(<[u8]>::to_vec).collect())
    });
    (
        message.message_id,
        entry(message).dn().to_owned(),
        attributes.collect(),
        format!("{:?}", message.controls),
    )
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], contents].concat()
}

fn attribute(name: &str, values: &[&[u8]]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| tlv(4, value)).collect();
    tlv(0x30, &[tlv(4, name.as_bytes()), tlv(0x31, &values)].concat())
}

fn message(dn: &str, attributes: &[Vec<u8>], controls: &[u8]) -> Vec<u8> {
    let operation = tlv(0x64, &[tlv(4, dn.as_bytes()), tlv(0x30, &attributes.concat())].concat());
    tlv(0x30, &[&[2, 1, 7], &operation[..], controls].concat())
}

#[test]
fn what_is_small_is_kept_as_it_is() {
    let limits = Limits::default();
    for bytes in entries() {
        let kept = whole(&bytes, 1 << 20);
        assert_eq!(
            content(&kept.decode(&limits).unwrap()),
            content(&LdapMessage::decode(&bytes, &limits).unwrap())
        );
        assert!(!kept.leaves_out("cn") && !kept.without_name);
        // And without a single attribute: name and controls are there.
        let bare = whole(&bytes, 1);
        let (id, dn, attributes, controls) = content(&bare.decode(&limits).unwrap());
        let (all_id, all_dn, all, all_controls) =
            content(&LdapMessage::decode(&bytes, &limits).unwrap());
        assert_eq!((id, dn, controls), (all_id, all_dn, all_controls));
        assert!(
            attributes.is_empty()
                && all.iter().all(|(name, _)| bare.leaves_out(&name.to_uppercase()))
        );
        assert_eq!((bare.size, bare.limit), (bytes.len(), 1));
    }
}

#[test]
fn pieces_of_any_size_make_the_same_entry() {
    for bytes in entries() {
        for limit in LIMITS {
            let expected = whole(&bytes, limit);
            let followed = [&bytes[..], b"next"].concat();
            for cut in 0..bytes.len() {
                let mut reader = OversizedReader::new(limit);
                assert_eq!(reader.feed(&bytes[..cut]), Ok(Progress::More), "cut at {cut}");
                let used = bytes.len() - cut;
                assert_eq!(
                    reader.feed(&followed[cut..]),
                    Ok(Progress::Done { used, entry: expected.clone() }),
                    "cut at {cut}"
                );
            }
            let mut reader = OversizedReader::new(limit);
            let done = bytes
                .chunks(1)
                .map(|byte| reader.feed(byte).unwrap())
                .find(|progress| *progress != Progress::More);
            assert_eq!(done, Some(Progress::Done { used: 1, entry: expected }));
        }
    }
}

/// A message that is malformed is an error here where it is one there, whether its attributes are
/// kept or not.
#[test]
fn a_changed_entry_is_refused_where_the_decoder_refuses_it() {
    let (mut accepted, mut refused) = (0, 0);
    for bytes in entries().iter().step_by(7) {
        let node = Node::parse(bytes).unwrap();
        for (number, change) in
            (0..node.count()).flat_map(|number| CHANGES.iter().map(move |change| (number, *change)))
        {
            let changed = node.changed(number, change);
            for limit in LIMITS {
                let (mut reader, whole) = (OversizedReader::new(limit), read(&changed, limit));
                let error = changed.chunks(3).find_map(|piece| reader.feed(piece).err());
                assert_eq!(error, whole.as_ref().err().copied(), "{number} {change:?}");
                match (whole, LdapMessage::decode(&changed, &Limits::default())) {
                    (Ok(Progress::Done { used, entry: kept }), Ok(message))
                        if used == changed.len() =>
                    {
                        accepted += 1;
                        let kept = kept.decode(&Limits::default()).unwrap();
                        assert_eq!(
                            (kept.message_id, entry(&kept).dn()),
                            (message.message_id, entry(&message).dn()),
                            "{number} {change:?}"
                        );
                    }
                    (Err(error), Ok(message)) => {
                        assert!(
                            matches!(error.kind, DecodeErrorKind::MessageTooLarge { .. }),
                            "{number} {change:?}: {error}"
                        );
                        assert!(
                            !matches!(message.op, ProtocolOp::SearchResultEntry(_)),
                            "{number} {change:?}"
                        );
                    }
                    // What is wrong with the controls shows when what is left is decoded.
                    (Ok(Progress::Done { used, entry }), Err(_)) if used == changed.len() => {
                        assert!(entry.decode(&Limits::default()).is_err(), "{number} {change:?}");
                    }
                    // The message itself is longer than its bytes.
                    (Ok(Progress::More), Err(_)) => {
                        assert!(matches!(frame(&changed, usize::MAX), Ok(Frame::NeedMore { .. })))
                    }
                    (_, Err(_)) => refused += 1,
                    (Ok(progress), Ok(_)) => panic!("{number} {change:?}: {progress:?}"),
                }
            }
        }
    }
    assert!(accepted > 1_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn only_the_large_attribute_goes() {
    let limits = Limits::default();
    let (limit, large) = (64 << 10, vec![b'x'; 1_025]);
    let half = &large[..600];
    let attributes = [
        attribute("uid", &[b"user"]),
        attribute("sshPublicKey", &[&large]),
        // In two parts, each of them small enough.
        attribute("mail", &[half]),
        attribute("MAIL", &[half]),
        attribute("cn", &[b"One", half]),
        attribute("cn;lang-de", &[&large]),
    ];
    let bytes = message("uid=user", &attributes, &[]);
    let kept = whole(&bytes, limit);
    let message = kept.decode(&limits).unwrap();
    let (_, dn, attributes, _) = content(&message);
    assert_eq!(dn, "uid=user");
    let values = |name: &str| {
        attributes.iter().find(|(other, _)| other == name).map(|(_, values)| values.len())
    };
    assert_eq!(
        (values("uid"), values("cn"), values("mail"), values("sshPublicKey")),
        (Some(1), Some(2), None, None)
    );
    let left_out = ["uid", "cn", "Mail", "sshpublickey"].map(|name| kept.leaves_out(name));
    assert_eq!(left_out, [false, false, true, true]);
    assert_eq!(entry(&message).oversized().map(|oversized| oversized.size), Some(bytes.len()));
    assert!(!format!("{kept:?}").contains("xxx"));
}

#[test]
fn names_and_controls_are_kept_up_to_a_bound() {
    let limits = Limits::default();
    let long = "x".repeat((64 << 10) + 1);
    for (dn, kept_dn) in [(&long[1..], &long[1..]), (&long[..], "")] {
        let kept = whole(&message(dn, &[], &[]), 1);
        assert_eq!(
            (entry(&kept.decode(&limits).unwrap()).dn(), kept.without_name),
            (kept_dn, kept_dn.is_empty())
        );
    }
    let description = message("", &[attribute(&long, &[])], &[]);
    assert!(matches!(read(&description, 1).unwrap_err().kind, DecodeErrorKind::TooLong { .. }));
    let controls = message("", &[], &vec![0; (256 << 10) + 1]);
    assert!(matches!(read(&controls, 1).unwrap_err().kind, DecodeErrorKind::TooLong { .. }));
    // More attributes than are told apart: of those that are not there, none is known to be absent.
    let many: Vec<Vec<u8>> =
        (0..65).map(|number| attribute(&format!("a{number}"), &[b"x"])).collect();
    let (few, many) =
        (whole(&message("", &many[1..], &[]), 1 << 20), whole(&message("", &many, &[]), 1 << 20));
    assert_eq!((few.leaves_out("b"), many.leaves_out("b")), (false, true));
}

/// The headers say a gigabyte, and a hundred megabytes of values come.
#[test]
fn what_passes_through_is_not_kept() {
    let header =
        |tag: u8, less: u32| [&[tag, 0x84], &((1_u32 << 30) - less).to_be_bytes()[..]].concat();
    let start =
        [header(0x30, 0), vec![2, 1, 7], header(0x64, 9), tlv(4, b"cn=x"), header(0x30, 25)];
    let start = [start.concat(), header(0x30, 31), tlv(4, b"mail"), header(0x31, 47)].concat();
    let value = tlv(4, &vec![b'x'; 1 << 16]);
    let mut reader = OversizedReader::new(64 << 20);
    HEAP.reset_peak_usage();
    assert_eq!(reader.feed(&start), Ok(Progress::More));
    (0..1_600).for_each(|_| assert_eq!(reader.feed(&value), Ok(Progress::More)));
    // Other tests run at the same time.
    assert!(HEAP.peak_usage() < 20 << 20, "{} bytes", HEAP.peak_usage());
    assert!(!format!("{reader:?}").contains("120, 120"), "values may be secret");
}
