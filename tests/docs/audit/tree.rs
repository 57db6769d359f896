//! The crates that are shipped, as cargo resolves them from Cargo.lock for x86_64 Linux.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::sources::{self, Counts};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// When a crate's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is part of the program.
    InProgram,
    /// The compiler loads it: it writes code that becomes part of the program.
    ProcMacro,
    /// A procedural macro or a build script is made with it.
    ForBuilding,
}

/// A crate with what the sheet says of it.
#[derive(Debug)]
pub struct Crate {
    pub name: String,
    pub version: String,
    pub licence: String,
    pub role: Role,
    pub build_script: bool,
    /// Of this repository.
    pub own: bool,
    pub counts: Counts,
}

/// Every crate that the program is built of, its build scripts and procedural macros included, in
/// the order of their names.
pub fn shipped() -> Vec<Crate> {
    let in_program = resolved("normal,no-proc-macro");
    let metadata: Value = serde_json::from_slice(&cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        TARGET,
    ]))
    .unwrap();
    let packages: BTreeMap<(&str, &str), &Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| ((text(package, "name"), text(package, "version")), package))
        .collect();
    resolved("normal,build")
        .into_iter()
        .map(|id| {
            let package = packages[&(id.0.as_str(), id.1.as_str())];
            let targets = kinds(package);
            let role = match (in_program.contains(&id), targets.contains("proc-macro")) {
                (true, _) => Role::InProgram,
                (false, true) => Role::ProcMacro,
                (false, false) => Role::ForBuilding,
            };
            let manifest = PathBuf::from(text(package, "manifest_path"));
            Crate {
                licence: text(package, "license").to_owned(),
                role,
                build_script: targets.contains("custom-build"),
                own: package["source"].is_null(),
                counts: count(manifest.parent().unwrap(), package["source"].is_null()),
                name: id.0,
                version: id.1,
            }
        })
        .collect()
}

/// What is in no `cargo tree -e normal`.
pub fn for_build_scripts_only() -> BTreeSet<String> {
    let normal = resolved("normal");
    resolved("normal,build")
        .into_iter()
        .filter(|id| !normal.contains(id))
        .map(|(name, _)| name)
        .collect()
}

/// Our own folder holds a second crate, tests and tools; of ours only what is compiled counts.
fn count(folder: &Path, own: bool) -> Counts {
    sources::count(&if own { folder.join("src") } else { folder.to_owned() })
}

/// Names and versions of the crates along these kinds of edges.
fn resolved(edges: &str) -> BTreeSet<(String, String)> {
    let arguments = [
        "tree",
        "--package",
        "kanidm-ldap-sync",
        "--target",
        TARGET,
        "--edges",
        edges,
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}",
    ];
    let lines = String::from_utf8(cargo(&arguments)).unwrap();
    lines
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            (
                words.next().unwrap().to_owned(),
                words.next().unwrap().trim_start_matches('v').to_owned(),
            )
        })
        .collect()
}

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).args(["--locked", "--offline"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_else(|| panic!("{} has no {key}", package["name"]))
}

fn kinds(package: &Value) -> BTreeSet<&str> {
    let targets = package["targets"].as_array().unwrap().iter();
    targets
        .flat_map(|target| target["kind"].as_array().unwrap())
        .map(|kind| kind.as_str().unwrap())
        .collect()
}
