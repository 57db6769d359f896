//! Our decoder beside others. A workspace of its own, `benches/decode`, so that theirs are in
//! nobody else's dependency tree.

use std::process::{Command, Stdio};

use crate::document::Document;

/// Builds and runs it; what it prints is a table.
pub fn measure(document: &mut Document) {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/decode/Cargo.toml");
    let mut command = Command::new("cargo");
    command
        .args(["run", "--release", "--quiet", "--locked", "--manifest-path", manifest])
        .stderr(Stdio::inherit());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{command:?} failed");
    document.put("DECODE", String::from_utf8(output.stdout).expect("text"));
}
