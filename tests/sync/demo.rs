//! The demo is the first thing that a newcomer runs: it has to come out, to be readable, and to
//! leave nothing behind.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::process::run;
use crate::support::temp::TempDir;

/// Builds the demo where that is needed, and runs it as the README says, with `folder` for its
/// temporary files.
fn demo(folder: &Path) -> Output {
    // Built first: the compiler wants its temporary files elsewhere.
    assert!(cargo("build").status().expect("cargo runs").success());
    let mut demo = cargo("run");
    // What belongs to a real Kanidm must not reach it.
    demo.env("TMPDIR", folder)
        .env("KANIDM_URL", "https://kanidm.invalid")
        .env("KANIDM_INSTANCE", "other")
        .env("KANIDM_DEBUG", "1");
    demo.output().expect("cargo runs")
}

fn cargo(verb: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([verb, "--quiet", "--locked", "--example", "demo"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells this test about its package makes ring's build script believe that it has to
    // run again.
    let of_this_package = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| of_this_package(name)) {
        cargo.env_remove(name);
    }
    cargo
}

#[test]
fn every_step_comes_out() {
    let folder = TempDir::new("demo");
    let output = demo(folder.path());
    let (text, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{text}");

    let steps = [
        "1. A dry run",
        "nothing was sent",
        "Kanidm holds nothing",
        "2. The first refresh",
        "4 read, 4 written",
        "3. Nothing to do",
        "0 read, 0 written",
        "4. A rename",
        "ghopper    Grace B. M. Hopper",
        "5. A deletion",
        "1 deleted",
        "6. Two bad entries",
        "held back cn=idm_admins",
        "left out of uid=edsger",
        "exit code 3",
        "7. Mended",
        "edsger     Edsger Dijkstra",
        "8. An accident",
        "refused by the deletion guard, nothing was sent",
        "exit code 4",
        "Now with your servers",
    ];
    let mut rest = text.as_str();
    for step in steps {
        let at = rest
            .find(step)
            .unwrap_or_else(|| panic!("{step:?} does not come where it should:\n{text}"));
        rest = &rest[at + step.len()..];
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
    assert!(!text.contains("{SSHA512}"), "a password hash is shown");
    assert!(
        without_digits(&picture(&text)) == without_digits(include_str!("../../docs/demo.svg")),
        "docs/demo.svg shows another output: examples/demo/picture draws it anew"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something is left behind");
}

/// The picture in the README, drawn from this output.
fn picture(output: &str) -> String {
    let folder = TempDir::new("picture");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo/picture");
    String::from_utf8(run(Command::new(program).arg(folder.write("output", output)))).unwrap()
}

/// The times of two runs differ.
fn without_digits(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit(), "0")
}

#[test]
fn a_demo_that_fails_says_so() {
    let folder = TempDir::new("demo");
    let output = demo(&folder.path().join("missing"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("The demo failed: "), "{output:?}");
}
