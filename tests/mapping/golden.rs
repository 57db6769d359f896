//! A small directory of every kind of entry, and the SCIM entries it becomes: `fixtures/scim/`.
//!
//! `directory.ldif` is what the lab's generator makes for slapd with 6 users and 8 groups. When a
//! change of the bodies is wanted, `BLESS=1 cargo test --test mapping golden` writes them anew, and
//! the difference is for a person to read.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kanidm_ldap_sync::config::sync::MappingConfig;
use serde_json::json;

use crate::samples::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/scim").join(name)
}

/// The entries of an LDIF file (RFC 2849), with UUIDs in the order they stand there.
fn directory() -> Vec<TestEntry> {
    let ldif = std::fs::read_to_string(fixture("directory.ldif")).unwrap().replace("\n ", "");
    let records = ldif.split("\n\n").filter(|record| !record.is_empty());
    (1..)
        .zip(records)
        .map(|(id, record)| record.lines().map(value).fold(TestEntry::new(id, ""), add))
        .collect()
}

fn value(line: &str) -> (&str, Vec<u8>) {
    let (name, value) = line.split_once(':').unwrap();
    match value.strip_prefix(':') {
        Some(base64) => (name, STANDARD.decode(base64.trim()).unwrap()),
        None => (name, value.trim_start().as_bytes().to_vec()),
    }
}

fn add(entry: TestEntry, (name, value): (&str, Vec<u8>)) -> TestEntry {
    match name {
        "dn" => TestEntry { dn: String::from_utf8(value).unwrap(), ..entry },
        _ => entry.with(name, value),
    }
}

fn compare(cfg: &MappingConfig, name: &str) {
    let content = map(cfg, &directory());
    let actual = json!({
        "entries": sent(&content),
        "held": content.held.iter().map(|held| json!({
            "dn": held.dn,
            "problems": held.problems.iter().map(|problem| format!("{}: {}", problem.attribute, problem.rule)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "skipped": content.skipped.iter().map(|skipped| format!("{}: {}", skipped.dn, skipped.reason)).collect::<Vec<_>>(),
        "dropped": content.dropped.iter().map(|dropped| format!("{}: {}: {}", dropped.dn, dropped.attribute, dropped.rule)).collect::<Vec<_>>(),
        "out of scope": content.out_of_scope.iter().map(|member| format!("{}: {}", member.group, member.member)).collect::<Vec<_>>(),
    });
    let path = fixture(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{actual:#}\n")).unwrap();
    }
    let expected: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert!(
        actual == expected,
        "{name} differs; with BLESS=1 this test writes it anew:\n{actual:#}"
    );
}

#[test]
fn rfc2307bis_groups() {
    compare(&config(), "rfc2307bis.json");
}

#[test]
fn rfc2307_groups_and_every_person_option() {
    let mut cfg = rfc2307();
    cfg.group.object_classes = vec!["posixGroup".to_string()];
    cfg.person.display_name = "displayName".to_string();
    cfg.person.legal_name = Some("cn".to_string());
    cfg.person.password_as_unix = true;
    compare(&cfg, "rfc2307.json");
}
