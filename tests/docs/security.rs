//! docs/security.md names the test that shows each promise: they are there, and so are the fuzz
//! targets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../docs/security.md");

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Everything between backquotes, in order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn fuzz_targets() -> BTreeSet<String> {
    let files =
        fs::read_dir(path("tests/fuzz/fuzz_targets")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_test_it_names_exists() {
    assert!(tests_named_in(DOCUMENT) > 50);
}

/// How many tests a document names; panics if one is not there.
pub fn tests_named_in(document: &str) -> usize {
    let (mut named, targets) = (0, fuzz_targets());
    let mut file = None;
    for text in quoted(document) {
        let is_name = text.contains('_')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if text.ends_with(".rs") {
            let source =
                fs::read_to_string(path(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
            file = Some((text, source));
        } else if let (true, Some((name, source))) = (is_name && !targets.contains(text), &file) {
            let attribute =
                format!("#[test]\n{0}fn {text}()", if name.contains("src/") { "    " } else { "" });
            assert!(source.contains(&attribute), "{name} has no test {text}");
            named += 1;
        }
    }
    named
}

#[test]
fn every_promise_has_a_test_or_a_fuzz_target() {
    let rows = DOCUMENT
        .split("| promise | shown by |\n|---|---|\n")
        .skip(1)
        .flat_map(|rest| rest.lines().take_while(|line| line.starts_with('|')));
    let mut promises = 0;
    for row in rows {
        assert!(row.contains(".rs` `"), "nothing shows that: {row}");
        promises += 1;
    }
    assert!(promises > 30, "{promises} promises");
}

#[test]
fn the_fuzz_targets_it_names_are_those_there_are() {
    let (_, campaign) = DOCUMENT.split_once("### Fuzzing").unwrap();
    let table: BTreeSet<String> = campaign
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(table, fuzz_targets(), "rows of the campaign");
}

/// What is fuzzed is what is shipped.
#[test]
fn the_fuzz_targets_are_built_of_the_same_crates() {
    let packages = |file: &str| -> BTreeSet<(String, String)> {
        let lock: toml::Table = toml::from_str(&fs::read_to_string(path(file)).unwrap()).unwrap();
        let text = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
        lock["package"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| (text(package, "name"), text(package, "version")))
            .collect()
    };
    let (shipped, fuzzed) = (packages("Cargo.lock"), packages("tests/fuzz/Cargo.lock"));
    let names: BTreeSet<&str> = shipped.iter().map(|(name, _)| name.as_str()).collect();
    let other: Vec<_> = fuzzed
        .iter()
        .filter(|package| names.contains(package.0.as_str()) && !shipped.contains(package))
        .collect();
    assert!(
        other.is_empty(),
        "in tests/fuzz/Cargo.lock in another version than in Cargo.lock: {other:?}"
    );
}
