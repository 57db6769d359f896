//! Tables of Markdown, and how figures are written in them.

use std::fmt::Write as _;

use crate::measure::Sample;

/// A table being filled.
pub struct Table(String);

impl Table {
    pub fn new(head: &[&str]) -> Table {
        let mut table = Table(String::new());
        table.row(head);
        table.0 += &"|---".repeat(head.len());
        table.0 += "|\n";
        table
    }

    pub fn row(&mut self, cells: &[impl AsRef<str>]) {
        for cell in cells {
            write!(self.0, "| {} ", cell.as_ref()).expect("a string");
        }
        self.0 += "|\n";
    }

    pub fn text(self) -> String {
        self.0
    }
}

/// Seconds.
pub fn seconds(time: f64) -> String {
    match time {
        0.1.. => format!("{time:.2} s"),
        _ => format!("{:.0} ms", time * 1000.0),
    }
}

/// A million bytes.
pub fn megabytes(bytes: f64) -> String {
    match bytes / 1e6 {
        megabytes @ 100.0.. => format!("{megabytes:.0} MB"),
        megabytes => format!("{megabytes:.1} MB"),
    }
}

/// How many times as much.
pub fn ratio(ours: f64, other: f64) -> String {
    match ours / other {
        ratio @ 0.1.. => format!("{ratio:.2} ×"),
        ratio => format!("{ratio:.3} ×"),
    }
}

/// A budget that is met or not.
pub fn verdict(ours: f64, allowed: f64) -> &'static str {
    if ours <= allowed { "met" } else { "**NOT MET**" }
}

/// Wall, CPU, peak.
pub fn cells(sample: Sample) -> [String; 3] {
    [seconds(sample.wall), seconds(sample.cpu), megabytes(sample.peak)]
}
