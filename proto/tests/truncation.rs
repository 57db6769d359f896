//! Every captured message cut at every byte: the frame reader asks for more, the decoder says what
//! is missing, and nothing panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

mod common;

use common::{cases, frames};
use ldap_content_sync::ber::Reader;
use ldap_content_sync::sync_control::{SyncDone, SyncInfo, SyncState};
use ldap_content_sync::{Frame, LdapMessage, Limits, ProtocolOp, frame};
use std::collections::BTreeSet;

/// Each message of the captures once, the entries among them only up to a size, to keep the test
/// short.
fn distinct() -> Vec<Vec<u8>> {
    let mut seen = BTreeSet::new();
    for case in cases() {
        seen.extend(
            frames(&case.received)
                .into_iter()
                .filter(|frame| frame.len() < 700)
                .map(<[u8]>::to_vec),
        );
    }
    assert!(seen.len() > 300, "{} messages", seen.len());
    seen.into_iter().collect()
}

#[test]
fn a_cut_stream_asks_for_the_rest_of_the_message() {
    let max = Limits::default().max_message;
    for message in distinct() {
        for cut in 0..message.len() {
            let Frame::NeedMore { at_least } = frame(&message[..cut], max).unwrap() else {
                panic!("complete at {cut}: {message:02x?}")
            };
            assert!(
                (cut + 1..=message.len()).contains(&at_least),
                "cut at {cut} asks for {at_least} of {}",
                message.len()
            );
            assert!(LdapMessage::decode(&message[..cut], &Limits::default()).is_err());
        }
        assert_eq!(frame(&message, max), Ok(Frame::Complete { len: message.len() }));
        let followed = [&message[..], &message[..1]].concat();
        assert_eq!(frame(&followed, max), Ok(Frame::Complete { len: message.len() }));
    }
}

#[test]
fn a_message_that_ends_inside_an_element_is_an_error() {
    // The lengths of the message and of its operation are shortened with the cut, so that what is
    // inside meets the end.
    for message in distinct() {
        let (id, op, after) = parts(&message);
        for cut in 0..op.contents.len() {
            let shortened = wrap(0x30, &[&id, &wrap(op.tag, &op.contents[..cut])[..]].concat());
            if LdapMessage::decode(&shortened, &Limits::default()).is_ok() {
                // Only optional elements at the end may be missing.
                assert!(
                    matches!(op.tag, 0x61 | 0x78 | 0x79 | 0x73),
                    "tag {:02x} cut at {cut} of {}",
                    op.tag,
                    op.contents.len()
                );
            }
        }
        for cut in 1..after.len() {
            let shortened = [&id, &wrap(op.tag, op.contents)[..], &after[..cut]].concat();
            assert!(
                LdapMessage::decode(&wrap(0x30, &shortened), &Limits::default()).is_err(),
                "controls cut at {cut}"
            );
        }
    }
}

#[test]
fn a_cut_synchronisation_value_is_an_error() {
    let limits = Limits::default();
    let mut values = 0;
    for message in distinct() {
        let decoded = LdapMessage::decode(&message, &limits).unwrap();
        for control in decoded.controls.iter() {
            let value = control.value.unwrap();
            values += 1;
            for cut in 0..value.len() {
                assert!(SyncState::decode(&value[..cut], &limits).is_err());
                assert!(SyncDone::decode(&value[..cut], &limits).is_err());
            }
        }
        if let ProtocolOp::IntermediateResponse(response) = &decoded.op {
            let value = response.value.unwrap();
            values += 1;
            for cut in 0..value.len() {
                assert!(SyncInfo::decode(&value[..cut], &limits).is_err());
            }
        }
    }
    assert!(values > 300, "{values} values");
}

struct Op<'a> {
    tag: u8,
    contents: &'a [u8],
}

/// The message ID with its header, the operation, and what follows it.
fn parts(message: &[u8]) -> (Vec<u8>, Op<'_>, Vec<u8>) {
    let mut reader = Reader::new(message).element("").unwrap().reader();
    let id = reader.element("").unwrap();
    let op = reader.element("").unwrap();
    let after = if reader.is_empty() {
        Vec::new()
    } else {
        wrap(0xa0, reader.element("").unwrap().contents)
    };
    (wrap(id.tag, id.contents), Op { tag: op.tag, contents: op.contents }, after)
}

fn wrap(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
    [&[tag, 0x82, length[0], length[1]], contents].concat()
}
