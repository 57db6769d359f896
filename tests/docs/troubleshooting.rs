//! docs/troubleshooting.md has every message that the program can show: the texts are taken from
//! the sources, so that a new one cannot be forgotten. What counts is the longest part of a text
//! between its placeholders, or as much of it as a reader would search for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kanidm_ldap_sync::cli::{OPTIONS, VARIABLES};
use kanidm_ldap_sync::config::keys::{CLIENT_KEYS, ENTRY_KEYS, KEYS};
use kanidm_ldap_sync::exit::ExitCode;

/// Literals of fewer words are names and parts of sentences.
const WORDS: usize = 3;
/// So many characters of a text have to stand in the document, fewer only where the text is
/// shorter.
const SEARCHED: usize = 56;

/// Texts that are no messages about anything wrong: what a line of `--check` that is fine says,
/// listings, internals.
const NO_MESSAGES: &[&str] = &[
    // --check: steps, and what is fine.
    "directory, TLS files",
    "directory, name resolution",
    "directory, content synchronisation",
    "directory, base and right to synchronise",
    "directory, filter and entries",
    "directory, attributes of the filter",
    "directory, attributes of persons",
    "directory, attributes of groups",
    "half of the hash is enough",
    "the server computes {}: each run lists the entries that match",
    "Kanidm, TLS files",
    "Kanidm, name resolution",
    "Kanidm, sync token",
    "{}, mode {mode:04o}",
    "{} is absent, the environment takes its place",
    "issued by {}",
    "a nameless CA",
    ", for no name",
    ", for {}",
    ", valid until {} ({days} day{})",
    "trusting the system's CA certificates",
    "trusting {} and the system's CA certificates",
    "offered by {}",
    "a server that does not say its name",
    // Stages, which stand inside of other texts.
    "the TLS handshake",
    "reading the root DSE",
    "ldapi socket {}",
    // The parts of an upload, in a line at debug level.
    "deletions and the list of what stays",
    // The dry run's listing, the line of a run, progress.
    "write group  {dn} -> {name}, members {members}",
    "write person {dn} -> {name}",
    "delete every entry of this sync account in Kanidm that is not one of the {n} in the directory",
    "delete {deletions} in all, of which are known by name:",
    "delete {kind}{}",
    "leave out of {}: {}: {}",
    "{}: {} read, {} written ({}, {}), {deleted}, {} held, {} skipped, {mode}, {:.2} s (ldap {:.2}, kanidm {:.2})",
    "full refresh ({why})",
    "an unknown number",
    "{} entries read",
    "{} of {} entries uploaded",
    "configuration read again",
    "{news}; next run at {}",
    // The fields of a schedule, and how times are written.
    "0 0 0 1 1 * *",
    "0 0 0 1 * * *",
    "0 0 0 * * 1 *",
    "0 0 0 * * * *",
    "0 0 * * * * *",
    "day of month",
    "day of week",
    "%Y-%m-%d %H:%M:%S UTC",
    // Never seen: they stand where the compiler wants something.
    "the options table says what they do",
    "half of the hash is enough: what it finds is compared",
    "each variant shows the text its fields are read from",
    "BER encoding fails on ASN.1 constraints only, and these types have none",
    "types without constraints",
    "a state that a client never reaches",
    "kanidm-ldap-sync content 2\n",
    "members are DNs",
    "Element(tag 0x{:02x}, {} bytes)",
    "ENCRYPTED PRIVATE KEY",
    "{seconds} seconds after 1970",
];

#[test]
fn every_message_stands_in_the_document() {
    let document = plain(&read("docs/troubleshooting.md"));
    let mut missing = Vec::new();
    let mut found = 0;
    for (file, text) in messages() {
        let wanted = searched(&text);
        if document.contains(&wanted) {
            found += 1;
        } else {
            missing.push(format!("{}: {wanted:?}", file.display()));
        }
    }
    assert!(
        missing.is_empty(),
        "add them to docs/troubleshooting.md, or to NO_MESSAGES where they are none:\n{}",
        missing.join("\n")
    );
    assert!(found > 300, "{found} messages: does the search still find them?");
}

/// Those of the library that reads the command line.
#[test]
fn messages_of_lexopt_stand_in_the_document() {
    let document = plain(&read("docs/troubleshooting.md"));
    for (arguments, message) in [
        (["--instance"], "missing argument for option '--instance'"),
        (["--check=1"], "unexpected argument for option '--check': \"1\""),
        (["file"], "unexpected argument \"file\""),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_kanidm-ldap-sync")).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(message), "{said}");
        let begin = message.split(['\'', '"']).next().unwrap();
        assert!(document.contains(begin.trim_end()), "{begin}");
    }
}

/// A text that is gone from the program should not be looked for, nor excepted.
#[test]
fn every_exception_is_still_in_the_program() {
    let all: BTreeSet<String> = sources()
        .iter()
        .flat_map(|path| literals(&shipped(&fs::read_to_string(path).unwrap())))
        .map(|l| l.text)
        .collect();
    for text in NO_MESSAGES {
        assert!(all.iter().any(|literal| literal.contains(text)), "{text:?}");
    }
}

#[test]
fn every_exit_code_is_where_a_reader_begins() {
    let document = read("docs/troubleshooting.md");
    let table = document.split("## By exit code").nth(1).unwrap().split("\n## ").next().unwrap();
    for (code, _) in ExitCode::ALL {
        assert!(table.contains(&format!("\n| {} | ", code.code())), "{code:?}");
    }
}

/// So that they can be read in the C locale as well. `--check` has its marks in both.
#[test]
fn texts_are_ascii() {
    for path in sources() {
        for literal in literals(&shipped(&fs::read_to_string(&path).unwrap())) {
            assert!(
                literal.text.is_ascii() || ["✓", "✗", "–"].contains(&literal.text.as_str()),
                "{}: {:?}",
                path.display(),
                literal.text
            );
        }
    }
}

/// Where each text stands, and the text.
fn messages() -> Vec<(PathBuf, String)> {
    let tables: BTreeSet<&str> = OPTIONS
        .iter()
        .map(|option| option.help)
        .chain(VARIABLES.iter().map(|(_, help)| *help))
        .chain(ExitCode::ALL.iter().map(|(_, meaning)| *meaning))
        .chain(
            KEYS.iter()
                .chain(ENTRY_KEYS)
                .chain(CLIENT_KEYS)
                .flat_map(|key| [Some(key.summary), key.default])
                .flatten(),
        )
        .collect();
    let mut messages = Vec::new();
    for path in sources() {
        for literal in literals(&shipped(&fs::read_to_string(&path).unwrap())) {
            let text = literal.text.as_str();
            // What is logged for whoever looks for the cause himself, and reasons in attributes,
            // are not messages to look up.
            let inside = ["debug!(", "trace!(", "reason = "]
                .iter()
                .any(|opening| literal.before.trim_end().ends_with(opening));
            let is_help = text.starts_with("Copies persons and groups") || tables.contains(text);
            let no_message = is_help
                || NO_MESSAGES
                    .iter()
                    .any(|known| text == *known || (known.len() > 30 && text.contains(known)));
            if !inside
                && !no_message
                && text.split_whitespace().count() >= WORDS
                && searched(text).split(' ').count() >= WORDS
            {
                messages.push((path.strip_prefix(root()).unwrap().to_owned(), literal.text));
            }
        }
    }
    messages
}

/// The part of a text that a reader would search for.
fn searched(text: &str) -> String {
    let parts = text.split('{').enumerate().map(|(i, part)| {
        if i == 0 { part } else { part.split_once('}').map_or(part, |(_, rest)| rest) }
    });
    let longest = parts.map(plain).max_by_key(String::len).unwrap_or_default();
    match longest.char_indices().nth(SEARCHED).map(|(end, _)| &longest[..end]) {
        // Up to the end of a word.
        Some(start) => start.rsplit_once(' ').map_or(start, |(words, _)| words).to_owned(),
        None => longest,
    }
}

/// Without what Markdown adds, without the punctuation that joins texts, and with single spaces.
fn plain(text: &str) -> String {
    let words = text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ");
    words.trim_matches([' ', ';', ':', ',', '.', '(', ')']).to_owned()
}

// ---- sources ----

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// Every source file of the program.
fn sources() -> Vec<PathBuf> {
    let mut folders = vec![root().join("src"), root().join("proto/src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|extension| extension == "rs") => {
                    files.push(path)
                }
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// A source file without its tests, which stand at its end.
fn shipped(source: &str) -> String {
    source.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// A string literal, and the source before it, as far as the line and the one above.
struct Literal {
    before: String,
    text: String,
}

/// The string literals of Rust source. No more of the language than that takes: comments,
/// characters and raw strings.
fn literals(source: &str) -> Vec<Literal> {
    let mut literals = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let at = source.len() - rest.len();
        let before = || {
            source[..at]
                .lines()
                .rev()
                .take(2)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .join(" ")
        };
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some(raw) = rest.strip_prefix("r\"").or_else(|| rest.strip_prefix("br\"")) {
            let (text, after) = raw.split_once('"').expect("a raw string ends");
            literals.push(Literal { before: before(), text: text.to_owned() });
            rest = after;
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            let (text, after) = raw.split_once("\"#").expect("a raw string ends");
            literals.push(Literal { before: before(), text: text.to_owned() });
            rest = after;
        } else if c == '"' {
            let (text, after) = string(&rest[1..]);
            literals.push(Literal { before: before(), text });
            rest = after;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            rest = character(quoted).unwrap_or(quoted);
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    literals
}

/// What follows a character literal; a lifetime is none.
fn character(quoted: &str) -> Option<&str> {
    match quoted.strip_prefix('\\') {
        Some(escape) => escape
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == '\'')
            .map(|(end, _)| &escape[end + 1..]),
        None => quoted[quoted.chars().next()?.len_utf8()..].strip_prefix('\''),
    }
}

/// A string up to its closing quote, and what follows it.
fn string(mut rest: &str) -> (String, &str) {
    let mut text = String::new();
    loop {
        let c = rest.chars().next().expect("a string ends");
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return (text, rest),
            '\\' if rest.starts_with('\n') => rest = rest.trim_start(),
            '\\' => {
                let escape = rest.chars().next().expect("an escape is complete");
                rest = &rest[escape.len_utf8()..];
                text.push(match escape {
                    'n' => '\n',
                    other => other,
                });
            }
            c => text.push(c),
        }
    }
}

#[test]
fn the_reader_of_sources_finds_literals_and_nothing_else() {
    let source = r##"
        // "a comment"
        fn f<'a>(c: char) -> &'a str { if c == '"' || c == '\'' || c == '\u{1b}' { "one \"quoted\" \
            text" } else { r#"raw "text""# } }
    "##;
    let texts: Vec<String> = literals(source).into_iter().map(|literal| literal.text).collect();
    assert_eq!(texts, ["one \"quoted\" text", "raw \"text\""]);
    assert_eq!(
        searched("{a} is short; {b:?} is the longer of the two: {}"),
        "is the longer of the two"
    );
}
