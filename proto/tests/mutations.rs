//! Every capture, changed: bits flipped, lengths grown, shrunk and made indefinite, tags replaced,
//! elements dropped, doubled and swapped, cut at every byte. Each ends in a value or an error,
//! without a panic, within the limits, and in memory that is bounded by the bytes that have come,
//! whatever they announce.
//!
//! By default a sample that takes seconds; its seed is printed, `SEED=n` repeats it.
//! `MUTATIONS=all` tries everything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

mod common;
#[path = "common/mutate.rs"]
mod mutate;

use common::{Case, cases, frames};
use ldap_content_sync::sync_control::{SyncDone, SyncInfo, SyncState};
use ldap_content_sync::{Frame, LdapMessage, Limits, ProtocolOp, SyncEvent, SyncSession, frame};
use mutate::{CHANGES, Node};
use peak_alloc::PeakAlloc;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The heap is counted for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that reporting the outcome of another test may take meanwhile.
const SLACK: usize = 64 << 10;

/// Small enough to be met.
const LIMITS: Limits =
    Limits { max_message: 1 << 20, max_controls: 8, max_uuids: 2_000, max_cookie: 1_000 };

#[test]
fn a_changed_message_is_a_value_or_an_error_and_costs_no_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = Random::seeded();
    let (mut values, mut errors) = (0_u64, 0_u64);
    for message in distinct() {
        for changed in changes(&message, &mut random, 200) {
            // Decoding borrows; only a diagnostic text that is not UTF-8 is copied, each bad octet
            // as three.
            let (decoded, peak) = counted(|| decode(&changed));
            assert!(
                peak <= 3 * changed.len() + SLACK,
                "{peak} bytes for {} bytes: {changed:02x?}",
                changed.len()
            );
            *if decoded { &mut values } else { &mut errors } += 1;
        }
    }
    println!("{values} values, {errors} errors");
    assert!(
        values > 5_000 && errors > 20_000,
        "the changes lost their variety: {values} values, {errors} errors"
    );
}

#[test]
fn a_refresh_with_a_changed_message_ends_or_fails_in_bounded_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = Random::seeded();
    let (mut ended, mut failed) = (0_u64, 0_u64);
    for case in cases() {
        let messages = frames(&case.received);
        for _ in 0..random.runs(12) {
            let at = random.below(messages.len());
            let changed = changes(messages[at], &mut random, 1).pop().unwrap();
            let stream =
                [&messages[..at].concat(), &changed[..], &messages[at + 1..].concat()].concat();
            let (finished, peak) = counted(|| refresh(&case, &stream));
            // 16 bytes a UUID that took 18 to send, kept in lists that grow by doubling, and sorted
            // once more at the end.
            assert!(
                peak <= 12 * stream.len() + SLACK,
                "{}: {peak} bytes for {} bytes",
                case.name,
                stream.len()
            );
            *if finished { &mut ended } else { &mut failed } += 1;
        }
    }
    println!("{ended} refreshes ended, {failed} did not");
    assert!(
        ended > 200 && failed > 1_000,
        "the changes lost their variety: {ended} ended, {failed} did not"
    );
}

#[test]
fn a_length_reserves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // An entry, a set of UUIDs and a control, each said to be 64 MiB large, or as large as a length
    // can say.
    let announced: [&[u8]; 6] = [
        &[0x30, 0x84, 0x04, 0, 0, 0],
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x0b, 0x02, 1, 1, 0x64, 0x84, 0x03, 0xff, 0xff, 0xff, 0x04, 0],
        &[
            0x30, 0x0f, 0x02, 1, 1, 0x79, 0x0a, 0x81, 0x08, 0xa3, 0x84, 0x03, 0xff, 0xff, 0xff,
            0x31, 0,
        ],
        &[0x30, 0x0c, 0x02, 1, 1, 0x65, 0x07, 0x0a, 1, 0, 0x04, 0, 0x04, 0x84],
        &[0x30, 0x10, 0x02, 1, 1, 0x65, 0x07, 0x0a, 1, 0, 0x04, 0, 0x04, 0, 0xa0, 0x84, 0x03, 0xff],
    ];
    for bytes in announced {
        let (_, peak) = counted(|| {
            let _ = frame(bytes, Limits::default().max_message);
            decode(bytes);
        });
        assert!(peak <= SLACK, "{peak} bytes for {bytes:02x?}");
    }
}

/// Runs `work`; what it returns, and how far the heap rose meanwhile.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let result = work();
    (result, HEAP.peak_usage().saturating_sub(before))
}

/// Each distinct shape of message in the captures, by operation and length, large ones left out.
fn distinct() -> Vec<Vec<u8>> {
    let mut seen = BTreeMap::new();
    for case in cases() {
        for message in frames(&case.received).into_iter().filter(|message| message.len() < 1_500) {
            seen.entry((common::decode(message).op.name(), message.len()))
                .or_insert_with(|| message.to_vec());
        }
    }
    assert!(seen.len() > 150, "{} messages", seen.len());
    seen.into_values().collect()
}

/// Changed messages: about `sample` of them, or all there are.
fn changes(message: &[u8], random: &mut Random, sample: usize) -> Vec<Vec<u8>> {
    let tree = Node::parse(message).expect("a captured message");
    let (elements, bits) = (tree.count() * CHANGES.len(), message.len() * 8);
    let one = |number: usize| -> Vec<u8> {
        let mut changed = message.to_vec();
        if number < bits {
            changed[number / 8] ^= 1 << (number % 8);
        } else if number < bits + message.len() {
            changed.truncate(number - bits);
        } else {
            let number = number - bits - message.len();
            changed = tree.changed(number / CHANGES.len(), CHANGES[number % CHANGES.len()]);
        }
        changed
    };
    let total = bits + message.len() + elements;
    match random.everything && sample > 1 {
        true => (0..total).map(one).collect(),
        // A kind of change first, so that short lists of elements come up as often as long ones of
        // bits.
        false => (0..sample)
            .map(|_| match random.below(4) {
                0 => one(random.below(bits)),
                1 => one(bits + random.below(message.len())),
                _ => one(bits + message.len() + random.below(elements)),
            })
            .collect(),
    }
}

/// Decodes a message and its synchronisation values, and looks at everything in it; whether it is
/// one.
fn decode(bytes: &[u8]) -> bool {
    match frame(bytes, LIMITS.max_message) {
        Ok(Frame::Complete { len }) => assert!(len <= bytes.len().min(LIMITS.max_message)),
        Ok(Frame::NeedMore { at_least }) => assert!(at_least > bytes.len()),
        Err(error) => assert!(error.offset <= bytes.len()),
    }
    let message = match LdapMessage::decode(bytes, &LIMITS) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.offset <= bytes.len());
            return false;
        }
    };
    assert!(message.controls.iter().count() <= LIMITS.max_controls);
    if let ProtocolOp::SearchResultEntry(entry) = &message.op {
        let values = entry.attributes().flat_map(|attribute| attribute.values()).map(<[u8]>::len);
        assert!(entry.dn().len() + values.sum::<usize>() < bytes.len());
    }
    let cookies = [
        SyncState::find(&message.controls, &LIMITS).ok().flatten().and_then(|state| state.cookie),
        SyncDone::find(&message.controls, &LIMITS).ok().flatten().and_then(|done| done.cookie),
    ];
    assert!(cookies.iter().all(|cookie| cookie.unwrap_or_default().len() <= LIMITS.max_cookie));
    if let ProtocolOp::IntermediateResponse(response) = &message.op
        && let Ok(Some(SyncInfo::SyncIdSet { uuids, .. })) =
            SyncInfo::from_intermediate(response, &LIMITS)
    {
        assert!(uuids.len() <= LIMITS.max_uuids && uuids.iter().count() == uuids.len());
    }
    true
}

/// Reads a stream as a client does, from the answer to its search on; whether the refresh came to
/// an end.
fn refresh(case: &Case, mut stream: &[u8]) -> bool {
    let mut session = None;
    while let Ok(Frame::Complete { len }) = frame(stream, LIMITS.max_message) {
        let (bytes, rest) = stream.split_at(len);
        stream = rest;
        let Ok(message) = LdapMessage::decode(bytes, &LIMITS) else { return false };
        if session.is_none()
            && matches!(message.op, ProtocolOp::BindResponse(_) | ProtocolOp::ExtendedResponse(_))
        {
            continue;
        }
        let session = session.get_or_insert_with(|| {
            SyncSession::new(case.provider, Some(b"cookie"), message.message_id, &LIMITS)
        });
        match session.handle(&message) {
            Ok(SyncEvent::Entry { .. } | SyncEvent::Ignored) => {}
            Ok(SyncEvent::RefreshRequired { .. }) => return true,
            Ok(SyncEvent::Finished(outcome)) => {
                let named = outcome.deleted.len() + outcome.present.unwrap_or_default().len();
                assert!(named <= LIMITS.max_uuids, "{named} entries");
                return true;
            }
            Err(_) => return false,
        }
    }
    false
}

/// xorshift64*: enough to vary input, and the same everywhere for the same seed.
struct Random {
    state: u64,
    everything: bool,
}

impl Random {
    fn seeded() -> Random {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1,
        };
        println!("SEED={seed}");
        Random {
            state: seed,
            everything: std::env::var("MUTATIONS").is_ok_and(|value| value == "all"),
        }
    }

    /// Runs of a capture: more when everything is wanted.
    fn runs(&self, sample: usize) -> usize {
        if self.everything { 100 * sample } else { sample }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) as usize % limit
    }
}
