//! docs/audit.md lists every crate that is shipped, as Cargo.lock pins it. `BLESS=1 cargo test --test
//! docs audit` writes the table anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const HEAD: &str = "| crate | version | licence | in the program | runs during the build |\n|---|---|---|---|---|\n";

/// The crates along these kinds of edges, as `name vVERSION`.
fn tree(edges: &str) -> BTreeSet<String> {
    let text = cargo(&format!(
        "tree --package kanidm-ldap-sync --target {TARGET} --edges {edges} --prefix none --no-dedupe --format {{p}}"
    ));
    let words = text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    words.collect()
}

fn cargo(arguments: &str) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments.split(' ')).args(["--locked", "--offline"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One row for each crate of others. Build scripts and procedural macros run during the build.
fn table() -> (String, BTreeSet<String>) {
    let (all, in_program) = (tree("normal,build"), tree("normal,no-proc-macro"));
    let metadata: Value = serde_json::from_str(&cargo(&format!(
        "metadata --format-version 1 --filter-platform {TARGET}"
    )))
    .unwrap();
    let (mut rows, mut build_scripts) = (HEAD.to_owned(), BTreeSet::new());
    for package in metadata["packages"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let id = format!("{} v{}", text("name"), text("version"));
        if package["source"].is_null() || !all.contains(&id) {
            continue;
        }
        let kinds = package["targets"].to_string();
        let runs = if kinds.contains("custom-build") {
            build_scripts.insert(text("name").to_owned());
            "build script"
        } else if kinds.contains("proc-macro") {
            "procedural macro"
        } else {
            ""
        };
        let (name, version, licence) = (text("name"), text("version"), text("license"));
        let shipped = if in_program.contains(&id) { "yes" } else { "" };
        writeln!(rows, "| `{name}` | {version} | {licence} | {shipped} | {runs} |").unwrap();
    }
    (rows, build_scripts)
}

#[test]
fn the_sheet_lists_what_is_shipped() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md");
    let sheet = fs::read_to_string(&path).unwrap();
    let (before, rest) = sheet.split_once(HEAD).expect("the table");
    let (_, after) = rest.split_once("\n\n").expect("the end of the table");
    let (table, build_scripts) = table();
    let crates = format!("One binary of {} crates", tree("normal").len());
    assert!(crate::guide::README.contains(&crates), "the README does not say: {crates}");
    let fresh = format!("{before}{table}\n{after}");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    assert!(
        fresh == sheet || env::var_os("BLESS").is_some(),
        "docs/audit.md is not what Cargo.lock ships; with BLESS=1 this test writes it:\n{table}"
    );
    let (_, scripts) = sheet.split_once("\n## Build scripts\n").unwrap();
    for name in build_scripts {
        assert!(scripts.contains(&format!("`{name}`")), "what does the build script of {name} do?");
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
    let sheet = include_str!("../../docs/audit.md");
    let rows = sheet.split_once("\n## Direct dependencies\n").unwrap().1.lines();
    let rows = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), direct.iter().collect::<Vec<_>>());
}
