//! Side by side: our tool, Kanidm's own, and `ldapsearch`, on the same directory, in turn. Writes
//! `docs/performance.md`.
//!
//! `cargo bench --bench compare` runs all of it in some ten minutes and wants a machine that does
//! nothing else. It needs slapd, ldap-utils and GNU time (Debian packages of these names), and
//! builds Kanidm's own tool and the test server once, unless `KANIDM_LDAP_SYNC` and
//! `KANIDM_TEST_SERVER` name them. A part of it: `cargo bench --bench compare -- slapd`, or
//! `group`, `growth`, `engine`, `change`, `decode`; such a run prints its tables and leaves the document
//! alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench says what is missing by failing"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod contestants;
mod decode;
mod document;
mod engine;
mod growth;
mod measure;
mod sink;
mod slapd;
mod synthetic;
mod table;

use crate::document::Document;

/// Measures something and writes it down.
type Part = fn(&mut Document);

/// What can be measured by itself, in the order of the document.
const PARTS: [(&str, Part); 6] = [
    ("slapd", slapd::first_and_later_runs),
    ("group", slapd::large_group),
    ("growth", growth::measure),
    ("engine", engine::measure),
    ("change", engine::one_change),
    ("decode", decode::measure),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs benches too, without this argument: this one is no test.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("not a test: cargo bench --bench compare");
        return;
    }
    let wanted: Vec<&String> =
        arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    for name in &wanted {
        assert!(PARTS.iter().any(|(part, _)| part == name), "no such part: {name}");
    }
    let mut document = Document::default();
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            measure(&mut document);
        }
    }
    if wanted.is_empty() {
        document.write();
    }
}
