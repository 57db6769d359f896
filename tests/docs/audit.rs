//! The audit sheet says what there is: every crate that is shipped, in its version, with what a
//! reviewer wants to know before reading it. `BLESS=1 cargo test --test docs audit` writes the tables of
//! docs/audit.md anew.

mod sources;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;
use std::{env, fs};

use self::sources::Counts;
use self::tree::{Crate, Role};

const SHEET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md");

/// Counted once for both tests: it takes a while.
fn shipped() -> &'static [Crate] {
    static SHIPPED: LazyLock<Vec<Crate>> = LazyLock::new(tree::shipped);
    &SHIPPED
}

#[test]
fn the_tables_are_what_is_shipped() {
    let crates = shipped();
    // Our own two change with every commit, and are to be read as a whole.
    let (program, build): (Vec<&Crate>, Vec<&Crate>) =
        crates.iter().filter(|one| !one.own).partition(|one| one.role == Role::InProgram);
    let sheet = fs::read_to_string(SHEET).unwrap();
    let fresh = replaced(
        &replaced(&sheet, "in the program", &table(&program)),
        "while it is built",
        &table(&build),
    );
    if env::var_os("BLESS").is_some() {
        return fs::write(SHEET, &fresh).unwrap();
    }
    assert!(
        fresh == sheet,
        "docs/audit.md is not what Cargo.lock ships; with BLESS=1 this test writes it anew:\n{fresh}"
    );
}

/// What the sheet says beside its tables, and what would be a defect if it came about.
#[test]
fn what_the_sheet_says_of_them_is_so() {
    let crates = shipped();
    let with = |what: &dyn Fn(&Crate) -> bool| {
        crates.iter().filter(|one| what(one)).map(|one| one.name.as_str()).collect::<BTreeSet<_>>()
    };
    assert_eq!(
        with(&|one| one.counts.foreign_files > 0),
        BTreeSet::from(["cc", "ring", "signal-hook"]),
        "crates with code in another language"
    );
    assert_eq!(
        with(&|one| one.own && one.counts.unsafe_tokens > 0),
        BTreeSet::new(),
        "our own crates with unsafe code"
    );
    let sheet = fs::read_to_string(SHEET).unwrap();
    let explained = section(&sheet, "Build scripts");
    let beginning = sheet.split("\n## ").next().unwrap().replace('\n', " ");
    let only = tree::for_build_scripts_only()
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>();
    let (last, others) = only.split_last().unwrap();
    let told = format!("the rest, {} and {last}, serve build scripts only.", others.join(", "));
    assert!(beginning.contains(&told), "docs/audit.md does not say: {told}");
    for name in with(&|one| one.build_script) {
        assert!(
            explained.contains(&format!("`{name}`")),
            "docs/audit.md does not say what the build script of {name} does"
        );
    }
}

#[test]
fn every_direct_dependency_has_its_row() {
    let mut direct = BTreeSet::new();
    for manifest in [include_str!("../../Cargo.toml"), include_str!("../../proto/Cargo.toml")] {
        let manifest: toml::Table = toml::from_str(manifest).unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap().iter();
        let foreign = dependencies.filter(|(_, value)| value.get("path").is_none());
        direct.extend(foreign.map(|(name, _)| name.clone()));
    }
    let sheet = fs::read_to_string(SHEET).unwrap();
    let rows = section(&sheet, "Direct dependencies").lines();
    let rows = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), direct.iter().collect::<Vec<_>>());
}

fn table(crates: &[&Crate]) -> String {
    let mut rows = vec![
        "| crate | version | licence | lines | `unsafe` | C, assembly | runs while it is built |"
            .to_owned(),
        "|---|---|---|--:|--:|--:|---|".to_owned(),
    ];
    rows.extend(crates.iter().map(|one| {
        let name = format!("`{}` | {} | {}", one.name, one.version, one.licence);
        let runs = match (one.build_script, one.role) {
            (true, _) => "build script",
            (false, Role::ProcMacro) => "procedural macro",
            (false, _) => "",
        };
        row(&name, one.counts, runs)
    }));
    let sum = crates.iter().map(|one| one.counts).fold(Counts::default(), Counts::plus);
    rows.push(row(&format!("**{} crates** | |", crates.len()), sum, ""));
    rows.join("\n")
}

fn row(name: &str, counts: Counts, runs: &str) -> String {
    let (lines, unsafe_tokens, foreign) =
        (counts.lines, number(counts.unsafe_tokens), number(counts.foreign_files));
    format!("| {name} | {lines} | {unsafe_tokens} | {foreign} | {runs} |")
}

/// Zeros would hide the others.
fn number(number: usize) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// The text with what stands between the markers of `name` replaced.
fn replaced(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("\n<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{table}{end}{after}")
}

fn section<'a>(text: &'a str, headline: &str) -> &'a str {
    let after = text
        .split_once(&format!("\n## {headline}\n"))
        .unwrap_or_else(|| panic!("no section {headline}"))
        .1;
    after.split("\n## ").next().unwrap()
}

/// The counting itself, on sources where the answer is known.
#[test]
fn unsafe_is_counted_in_code_only() {
    let cases: [(&str, usize); 9] = [
        ("unsafe fn f() { unsafe { g() } }", 2),
        ("// unsafe\n/* unsafe */ /// unsafe\nfn f() { \"unsafe\"; r#\"unsafe\"#; }", 0),
        ("#![forbid(unsafe_code)] #[unsafe(no_mangle)] fn f() {}", 1),
        ("macro_rules! m { () => { unsafe { g() } } }", 1),
        ("#[cfg(test)] mod tests { fn f() { unsafe { g() } } } unsafe impl S for T {}", 1),
        ("#[cfg(test)] #[allow(x)] fn f() { unsafe {} } fn g() { unsafe {} }", 1),
        ("#[cfg(test)] use x::y; unsafe trait T {}", 1),
        ("#[cfg(not(test))] fn f() { unsafe {} }", 1),
        ("#[cfg(all(test, feature = \"x\"))] mod t { unsafe {} }", 0),
    ];
    for (code, expected) in cases {
        assert_eq!(sources::unsafe_tokens(code).expect(code), expected, "{code}");
    }
    assert!(sources::unsafe_tokens("unsafe fn f( {").is_err());
}

/// Files that only tests have do not count; the sheet's folder names are cargo's.
#[test]
fn only_files_of_the_library_and_its_build_script_count() {
    for (path, counted) in [
        ("src/lib.rs", true),
        ("build.rs", true),
        ("src/a/b.rs", true),
        ("src/tests.rs", false),
        ("src/a/tests/b.rs", false),
        ("tests/a.rs", false),
        ("benches/a.rs", false),
        ("examples/a.rs", false),
        ("src/latest.rs", true),
    ] {
        assert_eq!(sources::is_shipped(Path::new(path)), counted, "{path}");
    }
}
