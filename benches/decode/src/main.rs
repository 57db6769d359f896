//! How fast entries are decoded: by our reader, by rasn-ldap, and by ldap3_proto, which Kanidm's
//! own tool uses; the same bytes, in turn.
//!
//! `cargo run --release --manifest-path benches/decode/Cargo.toml`. The bytes are those of a
//! slapd's first refresh (`fixtures/captures/slapd-log100/01-initial.ber`), its entries only, over
//! and over. Each decoder gets a whole message and does with it what it does before its caller sees
//! the values; ours, which borrows and checks, then walks through every value once.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ldap_content_sync::{Frame, LdapMessage, Limits, ProtocolOp, frame};
use tokio_util::codec::Decoder as _;

const CAPTURE: &[u8] = include_bytes!("../../../fixtures/captures/slapd-log100/01-initial.ber");
/// How often the capture is decoded in a round.
const PASSES: usize = 2_000;
const ROUNDS: usize = 7;

/// A decoder takes one message, which it knows.
type Decode = fn(&[u8]);

const DECODERS: [(&str, Decode); 3] =
    [("ldap-content-sync (ours)", ours), ("rasn-ldap 0.30", rasn), ("ldap3_proto 0.5.2", ldap3)];

fn main() {
    let entries = entries(CAPTURE);
    let bytes: usize = entries.iter().map(|entry| entry.len()).sum();
    let mut times: [Vec<Duration>; DECODERS.len()] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, decode), times) in DECODERS.iter().zip(&mut times) {
            let begun = Instant::now();
            (0..PASSES).for_each(|_| entries.iter().for_each(|entry| decode(entry)));
            times.push(begun.elapsed());
        }
    }
    println!(
        "{} entries of {} bytes on average; medians of {ROUNDS} rounds\n",
        entries.len(),
        bytes / entries.len()
    );
    println!("| decoder | an entry | entries a second |\n|---|---|---|");
    for ((name, _), times) in DECODERS.iter().zip(&mut times) {
        times.sort_unstable();
        let entry = times[ROUNDS / 2].as_secs_f64() / (PASSES * entries.len()) as f64;
        println!("| {name} | {:.2} µs | {:.0} |", entry * 1e6, 1.0 / entry);
    }
}

fn ours(message: &[u8]) {
    let message = LdapMessage::decode(message, &Limits::default()).expect("a message");
    let ProtocolOp::SearchResultEntry(entry) = &message.op else { panic!("an entry") };
    for attribute in entry.attributes() {
        black_box(attribute.description());
        attribute.values().for_each(|value| {
            black_box(value);
        });
    }
    black_box(message.controls.iter().count());
}

fn rasn(message: &[u8]) {
    black_box(rasn::ber::decode::<rasn_ldap::LdapMessage>(message).expect("a message"));
}

fn ldap3(message: &[u8]) {
    // The copy into its kind of buffer is what its caller has to do as well.
    let mut buffer = BytesMut::from(message);
    black_box(
        ldap3_proto::LdapCodec::default()
            .decode(&mut buffer)
            .expect("a message")
            .expect("a whole one"),
    );
}

/// The messages that are entries.
fn entries(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    while let Ok(Frame::Complete { len }) = frame(stream, stream.len()) {
        let (message, rest) = stream.split_at(len);
        let decoded = LdapMessage::decode(message, &Limits::default()).expect("a message");
        if matches!(decoded.op, ProtocolOp::SearchResultEntry(_)) {
            entries.push(message);
        }
        stream = rest;
    }
    assert!(!entries.is_empty());
    entries
}
