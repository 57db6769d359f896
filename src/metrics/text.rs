//! The facts as text: Prometheus' exposition format, version 0.0.4.
//!
//! Scope: the writer, and a reader for the writer's own output. The reader also gets files that a
//! crash has cut or that somebody else wrote. It takes each line that it knows, and skips the rest.

use std::fmt::Write as _;

use super::families::{FAMILIES, PREFIX, Place, Sample};
use super::{Failure, Metrics};
use crate::log::escaped;

/// Comments of the file. Prometheus skips them.
const STATUS_BIND: &str = "# status_bind: ";
const ERROR: &str = "# last error: ";
const CURRENT_UNTIL: &str = "# current until: ";
const CONCERNED: &str = "# entries that need attention: ";

/// Maximum characters of the error.
const MAX_ERROR: usize = 400;

/// The text of the file. `config` is the path of the sync config: it becomes a label, because two
/// files with the same series make node-exporter refuse both.
pub fn write(metrics: &Metrics, config: &str) -> String {
    let config = label_value(config);
    let mut text = String::from("# Written by kanidm-ldap-sync after each run.\n");
    let texts = [(STATUS_BIND, &metrics.status_bind), (ERROR, &metrics.run.error)];
    for (comment, value) in texts {
        if let Some(value) = value {
            let _ = writeln!(text, "{comment}{}", one_line(value));
        }
    }
    let numbers =
        [(CURRENT_UNTIL, metrics.run.current_until), (CONCERNED, metrics.success.concerned)];
    for (comment, value) in numbers {
        if let Some(value) = value {
            let _ = writeln!(text, "{comment}{value}");
        }
    }
    family(&mut text, "build_info", "Version of kanidm-ldap-sync. The value is always 1.");
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(text, "{PREFIX}build_info{{config=\"{config}\",version=\"{version}\"}} 1");
    // The places of the table lead into a value that can be changed.
    let mut facts = metrics.clone();
    for of in FAMILIES {
        let samples: Vec<(&Sample, String)> = of
            .samples
            .iter()
            .filter_map(|sample| Some((sample, value(&mut facts, &sample.place)?)))
            .collect();
        if !samples.is_empty() {
            family(&mut text, of.name, of.help);
        }
        for (sample, value) in samples {
            let label = sample.label.map(|(name, is)| format!(",{name}=\"{is}\""));
            let label = label.unwrap_or_default();
            let _ = writeln!(text, "{PREFIX}{}{{config=\"{config}\"{label}}} {value}", of.name);
        }
    }
    text
}

fn family(text: &mut String, name: &str, help: &str) {
    let _ = write!(text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} gauge\n");
}

fn value(facts: &mut Metrics, place: &Place) -> Option<String> {
    match place {
        Place::Number(number) => number(facts).map(|number| number.to_string()),
        Place::Seconds(seconds) => seconds(facts).map(|seconds| format!("{seconds:.3}")),
        Place::Flag(flag) => flag(facts).map(|flag| u8::from(flag).to_string()),
        // A run that has not ended has no reason either.
        Place::Reason(failure) => {
            facts.run.ended.map(|_| u8::from(facts.run.failure == Some(*failure)).to_string())
        }
    }
}

/// The value of a label between double quotes.
fn label_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The first line, cut to its maximum, without characters that drive a terminal.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    escaped(line).chars().take(MAX_ERROR).collect()
}

/// The facts in a text. `None` if no line of it is ours. A line that [`write()`] does not write is
/// skipped. If a line comes twice, the last one counts.
pub fn read(text: &str) -> Option<Metrics> {
    let mut metrics = Metrics::default();
    let mut found = false;
    for line in text.lines() {
        if let Some(address) = line.strip_prefix(STATUS_BIND) {
            metrics.status_bind = Some(one_line(address));
        } else if let Some(error) = line.strip_prefix(ERROR) {
            metrics.run.error = Some(one_line(error));
        } else if let Some(until) = line.strip_prefix(CURRENT_UNTIL) {
            store(&mut metrics.run.current_until, whole(until));
        } else if let Some(concerned) = line.strip_prefix(CONCERNED) {
            store(&mut metrics.success.concerned, whole(concerned));
        } else if let Some((place, value)) = sample(line) {
            found |= put(&mut metrics, place, value);
        }
    }
    found.then_some(metrics)
}

/// The path of the sync config that a text of [`write()`] is about.
pub fn config_of(text: &str) -> Option<String> {
    let mut lines = text.lines().filter(|line| sample(line).is_some());
    let (_, rest) = lines.next()?.split_once("{config=\"")?;
    let mut path = String::new();
    let mut escape = false;
    for c in rest.chars() {
        match c {
            '"' if !escape => return Some(path),
            '\\' if !escape => {
                escape = true;
                continue;
            }
            'n' if escape => path.push('\n'),
            c => path.push(c),
        }
        escape = false;
    }
    None
}

/// The place and the value of a line: `kanidm_ldap_sync_NAME{config="…",LABEL="…"} VALUE`.
fn sample(line: &str) -> Option<(&'static Place, &str)> {
    let (name, rest) = line.strip_prefix(PREFIX)?.split_once("{config=\"")?;
    // The labels of ours hold neither braces nor blanks, so the last brace ends them.
    let (labels, value) = rest.rsplit_once("} ")?;
    let own = after_label_value(labels)?;
    let family = FAMILIES.iter().find(|family| family.name == name)?;
    let matches = |label: Option<(&str, &str)>| match label {
        Some((label, is)) => own.strip_prefix(',') == Some(&format!("{label}=\"{is}\"")),
        None => own.is_empty(),
    };
    let sample = family.samples.iter().find(|sample| matches(sample.label))?;
    Some((&sample.place, value))
}

/// The text after the closing quote of a label's value.
fn after_label_value(text: &str) -> Option<&str> {
    let mut escape = false;
    let end = text.find(|c: char| {
        let ends = c == '"' && !escape;
        escape = c == '\\' && !escape;
        ends
    })?;
    text.get(end.saturating_add(1)..)
}

/// Stores a value. False if it is none that [`write()`] writes.
fn put(metrics: &mut Metrics, place: &Place, value: &str) -> bool {
    match place {
        Place::Number(number) => store(number(metrics), whole(value)),
        Place::Seconds(seconds) => store(seconds(metrics), decimal(value)),
        Place::Flag(flag) => store(flag(metrics), is_one(value)),
        Place::Reason(failure) => {
            if is_one(value) == Some(true) {
                metrics.run.failure = Some::<Failure>(*failure);
            }
            is_one(value).is_some()
        }
    }
}

fn store<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_valid = value.is_some();
    if is_valid {
        *place = value;
    }
    is_valid
}

fn whole(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn decimal(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_plain.then(|| text.parse().ok()).flatten().filter(|seconds: &f64| seconds.is_finite())
}

fn is_one(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{LastRun, Success};

    /// Something in every field.
    fn full() -> Metrics {
        Metrics {
            status_bind: Some("127.0.0.1:12345".to_owned()),
            success: Success {
                ended: Some(1_796_000_000),
                deadline: Some(1_796_000_900),
                held: Some(1),
                dropped: Some(2),
                concerned: Some(3),
                known: Some(1_049),
            },
            run: LastRun {
                ended: Some(1_796_000_300),
                current_until: Some(1_796_001_200),
                exit_code: Some(4),
                failure: Some(Failure::Refused),
                error: Some("refused: \"x\" {a=\"b\"} 1 would go".to_owned()),
                full: Some(true),
                read: Some(1_052),
                persons: Some(998),
                groups: Some(51),
                deleted: Some(7),
                members_unresolved: Some(3),
                seconds: Some(1.25),
                directory_seconds: Some(0.25),
                kanidm_seconds: Some(1.0),
            },
            follower_connected: Some(false),
        }
    }

    /// Paths that try to break out of the label.
    const PATHS: [&str; 4] = ["/etc/kanidm/ldap-sync", "/a\"} 7\n# b", "/\\", "/ä} 1 \\\""];

    #[test]
    fn the_reader_reads_what_the_writer_writes() {
        let mut empty = full();
        empty.run = LastRun { ended: Some(1), exit_code: Some(1), ..LastRun::default() };
        empty.follower_connected = None;
        for metrics in [full(), empty] {
            for path in PATHS {
                let text = write(&metrics, path);
                assert_eq!(read(&text).as_ref(), Some(&metrics), "{text}");
                assert_eq!(config_of(&text).as_deref(), Some(path), "{text}");
            }
        }
    }

    #[test]
    fn every_fact_has_a_line() {
        let text = write(&full(), "/c");
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        let samples: usize = FAMILIES.iter().map(|family| family.samples.len()).sum();
        assert_eq!(lines, samples + 1, "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("# HELP ")).count(), 17);
        // An absent fact has neither a sample nor a head.
        let text = write(&Metrics::default(), "/c");
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn an_error_is_one_line_without_control_characters() {
        let mut metrics = full();
        metrics.run.error = Some(format!("\u{1b}[2J{}\n# TYPE a b", "ä".repeat(1000)));
        let text = write(&metrics, "/c");
        let line = text.lines().find(|line| line.starts_with(ERROR)).unwrap();
        assert!(line.starts_with("# last error: \\u{1b}[2Jää"), "{line}");
        assert_eq!(line.chars().count(), ERROR.len() + MAX_ERROR);
        assert!(!text.contains("TYPE a b"), "{text}");
    }

    #[test]
    fn whatever_is_cut_or_foreign_is_skipped() {
        let text = write(&full(), PATHS[1]);
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let _ = read(&text[..end]);
            assert!(config_of(&text[..end]).is_none_or(|path| path == PATHS[1]));
        }
        for line in [
            "",
            "# status_bind: 127.0.0.1:1",
            "# current until: -1",
            "# entries that need attention: 99999999999999999999",
            "node_time_seconds 1.7e9",
            "kanidm_ldap_sync_entries_held 7",
            "kanidm_ldap_sync_entries_held{config=\"a\"}",
            "kanidm_ldap_sync_entries_held{config=\"a\"} -7",
            "kanidm_ldap_sync_entries_held{config=\"a\"} +7",
            "kanidm_ldap_sync_entries_held{config=\"a\"} 7.5",
            "kanidm_ldap_sync_entries_held{config=\"a\"} 7 1796000000",
            "kanidm_ldap_sync_entries_held{config=\"a\"} 99999999999999999999",
            "kanidm_ldap_sync_entries_held{config=\"a\",x=\"y\"} 7",
            "kanidm_ldap_sync_entries_held{config=\"a} 7",
            "kanidm_ldap_sync_unknown{config=\"a\"} 7",
            "kanidm_ldap_sync_last_run_duration_seconds{config=\"a\"} NaN",
            "kanidm_ldap_sync_last_run_duration_seconds{config=\"a\"} .",
            "kanidm_ldap_sync_follower_connected{config=\"a\"} 2",
            "kanidm_ldap_sync_last_run_failed{config=\"a\",reason=\"whim\"} 1",
            "kanidm_ldap_sync_last_run_failed{config=\"a\",reason=\"local\"} yes",
        ] {
            assert_eq!(read(line), None, "{line}");
            let mixed = format!("{line}\nkanidm_ldap_sync_entries_held{{config=\"a\"}} 3\n\0\0");
            assert_eq!(read(&mixed).unwrap().success.held, Some(3), "{line}");
        }
    }
}
