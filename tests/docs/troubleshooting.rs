//! docs/troubleshooting.md: a reader finds each exit code and each kind of message, and the program
//! still says what the page quotes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kanidm_ldap_sync::exit::ExitCode;

const DOCUMENT: &str = include_str!("../../docs/troubleshooting.md");

#[test]
fn every_exit_code_is_where_a_reader_begins() {
    let table = section("By exit code");
    for (code, _) in ExitCode::ALL {
        assert!(table.contains(&format!("\n| {} | ", code.code())), "{code:?}");
    }
}

/// Each place with messages for administrators, and the section that helps with them. The places are
/// those of the table "A message" in docs/architecture.md.
#[test]
fn every_kind_of_message_has_a_section() {
    for (place, heading) in [
        ("src/config", "Configuration files"),
        ("src/schedule/error.rs", "Configuration files"),
        ("src/file/denied.rs", "Configuration files"),
        ("src/app.rs", "Configuration files"),
        ("src/directory/error.rs", "The directory: connection and bind"),
        ("src/directory/advice.rs", "The directory: reading"),
        ("src/net/tls_error.rs", "TLS"),
        ("src/sync/guard.rs", "The deletion guard"),
        ("src/kanidm/error.rs", "Kanidm"),
        ("src/kanidm/state.rs", "Kanidm"),
        ("src/mapping", "Held entries"),
        ("src/content/rules", "Held entries"),
        ("src/upload", "Held entries"),
        ("src/service/status.rs", "The service and `--status`"),
        ("src/service/supervise.rs", "The service and `--status`"),
    ] {
        let texts = sources(&root().join(place));
        let quoted = parts(section(heading));
        assert!(
            quoted.iter().any(|words| texts.contains(words)),
            "{heading:?} quotes no message of {place}"
        );
    }
}

/// A text that the program no longer says helps nobody.
#[test]
fn the_program_says_what_the_page_quotes() {
    let texts = sources(&root().join("src")) + &sources(&root().join("proto/src"));
    let quoted = quotes(DOCUMENT);
    let gone: Vec<_> = quoted.iter().filter(|words| !texts.contains(*words)).collect();
    assert!(gone.is_empty(), "{gone:#?}");
    assert!(quoted.len() > 50, "{quoted:?}");
}

/// A reader finds each word that a run says about a change, on this page and in the manual.
#[test]
fn every_word_of_a_change_is_explained() {
    let source = include_str!("../../src/sync/changes.rs");
    let (_, words) = source.split_once("\npub mod words {").unwrap();
    let (words, _) = words.split_once("\n}").unwrap();
    let words: Vec<&str> = words.split('"').skip(1).step_by(2).collect();
    assert!(words.len() > 10, "{words:?}");
    let manual = include_str!("../../packaging/manual/kanidm-ldap-sync.1");
    let page = section("What changed");
    for word in words {
        assert!(page.contains(&format!("`{word}`")), "{word}");
        assert!(manual.contains(&format!("\\fB{word}\\fR")), "{word}");
    }
}

/// They can be read in the C locale as well. `--check` has its marks in both.
#[test]
fn texts_are_ascii() {
    let sources = sources_by_line(&root().join("src"));
    let shown = sources.iter().filter(|line| !line.trim_start().starts_with("//"));
    for line in shown {
        let text = line.replace(['✓', '✗', '–'], "");
        assert!(text.split(" // ").next().unwrap_or_default().is_ascii(), "{line}");
    }
}

/// The lines of the program, without those of its tests.
fn sources_by_line(path: &Path) -> Vec<String> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.flat_map(|entry| sources_by_line(&entry.unwrap().path())).collect();
    }
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap_or_default().lines().map(str::to_owned).collect()
}

/// What the first cells of tables quote.
fn quotes(text: &str) -> BTreeSet<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    parts(&cells.collect::<Vec<_>>().join("\n"))
}

/// Everything between backquotes, divided at each …, if it has two words or more.
fn parts(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let parts = quoted.flat_map(|words| words.split('…')).map(str::trim);
    parts.filter(|words| words.split(' ').count() >= 2).map(str::to_owned).collect()
}

/// The text up to the next headline of the same level.
fn section(heading: &str) -> &'static str {
    let (_, after) = DOCUMENT.split_once(&format!("\n## {heading}\n")).expect(heading);
    after.split("\n## ").next().unwrap_or_default()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Source text with single spaces, and without the line breaks of long literals.
fn sources(path: &Path) -> String {
    let text = if path.is_dir() {
        fs::read_dir(path).unwrap().map(|entry| sources(&entry.unwrap().path())).collect()
    } else {
        fs::read_to_string(path).unwrap().replace("\\\n", " ")
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ") + "\n"
}
