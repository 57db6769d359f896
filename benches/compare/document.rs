//! `docs/performance.md`: the words are those of `template.md`, the figures those of this run.

use std::path::Path;
use std::process::Command;

use crate::contestants::KANIDM_TOOL;

const TEMPLATE: &str = include_str!("template.md");

/// The tables so far, by the names that stand between at signs in the template.
#[derive(Default)]
pub struct Document(Vec<(String, String)>);

impl Document {
    /// Adds a table, in place of an earlier one of this name, and prints it.
    pub fn put(&mut self, name: &str, table: String) {
        println!("{name}\n{table}");
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.to_owned(), table));
    }

    /// Writes the document. Panics where the template asks for what was not measured.
    pub fn write(mut self) {
        self.put("MACHINE", machine());
        let text = self.0.iter().fold(TEMPLATE.to_owned(), |text, (name, table)| {
            text.replace(&format!("@{name}@"), table.trim_end())
        });
        let missing = text.lines().find(|line| line.starts_with('@') && line.ends_with('@'));
        assert_eq!(missing, None, "not measured");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("written: {}", path.display());
    }
}

/// When, on what, with which versions.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let memory = read("/proc/meminfo")
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<f64>().ok());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let lines = [
        ("date", first_line("date", &["-u", "+%F"])),
        (
            "machine",
            format!("{model}, {cores} cores, {:.0} GiB", memory.unwrap_or(0.0) / 1024.0 / 1024.0),
        ),
        // Without what a builder of kernels calls his own.
        (
            "Linux",
            read("/proc/sys/kernel/osrelease")
                .trim()
                .split('-')
                .next()
                .unwrap_or_default()
                .to_owned(),
        ),
        (
            "this tool",
            format!(
                "{} (the version that was measured), release profile, {}",
                env!("CARGO_PKG_VERSION"),
                first_line("rustc", &["-V"])
            ),
        ),
        ("Kanidm's own tool", format!("{KANIDM_TOOL}, release profile, `cargo install --locked`")),
        ("slapd, `ldapsearch`", first_line("slapd", &["-VV"])),
    ];
    lines.iter().map(|(what, is)| format!("- {what}: {is}\n")).collect()
}

/// The first line a program writes, to whichever output.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}
