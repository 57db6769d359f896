//! Prometheus' own checks (Debian package prometheus).

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs promtool with this input. Panics with what it says, unless it is content.
#[track_caller]
pub fn promtool(arguments: &[&str], folder: &Path, input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (tests/run installs it)");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "promtool {arguments:?}: {}\n{input}", said.concat());
    said.concat()
}
