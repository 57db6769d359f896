//! The logger: one line on stderr for each record.
//!
//! Scope: records of this crate only. Libraries log anything they like, and ureq logs request
//! headers with the token in them. No level prints those.
//!
//! For the journal of systemd, a line starts with the priority (`<6>`, sd-daemon(3)) and has no
//! time, because the journal adds it. On a terminal a line starts with its level, except for
//! information. If `COLUMNS` tells its width, a long line is wrapped and indented. In any other output a line starts with the
//! time (RFC 3339, UTC) and the level.
//!
//! Control characters in a message may come from a directory, so they are escaped. One record is
//! one line, and no message controls the terminal.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::terminal;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Also the result of each run.
    #[default]
    Normal,
    /// Also the details.
    Debug,
}

impl Verbosity {
    fn filter(self) -> LevelFilter {
        match self {
            Verbosity::Quiet => LevelFilter::Warn,
            Verbosity::Normal => LevelFilter::Info,
            Verbosity::Debug => LevelFilter::Debug,
        }
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With the priority, for the journal.
    Journal,
    /// With time and level, for files.
    Plain,
    /// With the level as a word, for a person at a terminal of this many columns, if they are known.
    /// There are no colours, so `NO_COLOR` has nothing to turn off.
    Terminal(Option<usize>),
}

impl Style {
    /// Chooses the style by `JOURNAL_STREAM`, which systemd sets to the device and inode of stderr.
    /// Child processes inherit the variable, so it counts only while stderr still has these
    /// numbers.
    pub fn detect(journal_stream: Option<&str>) -> Style {
        let stderr = std::fs::metadata("/proc/self/fd/2")
            .map(|stderr| format!("{}:{}", stderr.dev(), stderr.ino()));
        match (journal_stream, stderr) {
            (Some(stream), Ok(stderr)) if stream == stderr => Style::Journal,
            _ => Style::Plain,
        }
    }
}

/// Starts logging to stderr. Only the first call in a process counts.
pub fn init(verbosity: Verbosity, style: Style) {
    if log::set_boxed_logger(Box::new(Stderr { style })).is_ok() {
        log::set_max_level(verbosity.filter());
    }
}

/// Spaces before the wrapped lines on a terminal.
pub(crate) const INDENT: usize = 2;

/// One record as a line, with its line break.
pub fn line(style: Style, level: Level, now: SystemTime, message: &str) -> String {
    let message = escaped(message);
    match style {
        Style::Journal => format!("<{}>{message}\n", priority(level)),
        Style::Plain => format!("{} {level:<5} {message}\n", timestamp(now)),
        Style::Terminal(columns) => terminal::wrapped(word(level), &message, INDENT, columns),
    }
}

/// True if the last line on the terminal is one of [`progress`]. Only changed with stderr locked.
static PROGRESS: AtomicBool = AtomicBool::new(false);

/// Moves to the start of the line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";

/// Writes a line on the terminal that the next call or record replaces. `None` clears it. Only call
/// it if stderr is a terminal.
pub fn progress(text: Option<&str>) {
    let mut stderr = std::io::stderr().lock();
    if PROGRESS.swap(text.is_some(), Ordering::Relaxed) || text.is_some() {
        let _ = write!(stderr, "{CLEAR_LINE}{}", text.unwrap_or_default());
    }
}

/// The targets of this crate: a library and a program of the same name.
const OUR_TARGET: &str = "kanidm_ldap_sync";

struct Stderr {
    style: Style,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata
            .target()
            .strip_prefix(OUR_TARGET)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line =
                line(self.style, record.level(), SystemTime::now(), &record.args().to_string());
            let mut stderr = std::io::stderr().lock();
            let clear = if PROGRESS.swap(false, Ordering::Relaxed) { CLEAR_LINE } else { "" };
            // Without stderr there is no way to report the error.
            let _ = stderr.write_all(format!("{clear}{line}").as_bytes());
        }
    }

    fn flush(&self) {}
}

/// The priorities of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// The words that command-line programs use.
fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info => "",
        Level::Debug | Level::Trace => "debug: ",
    }
}

/// `2026-07-01T12:00:00Z`.
fn timestamp(now: SystemTime) -> String {
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default();
    let time: DateTime<Utc> = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    format!("{time:?}")
}

/// True if a character can do more than be visible. Control characters can (U+009B starts a
/// sequence as ESC [ does), and so can separators of lines and paragraphs. Others change the
/// direction of the text around them.
fn drives_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Equal JSON that a terminal can show. JSON requires an escape only for the first 32 characters,
/// and it has line breaks outside strings.
pub fn escaped_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // All of these characters have four hex digits.
        if c > ' ' && drives_a_terminal(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)))
        } else {
            text.push(c)
        }
    }
    text
}

/// A text with its control characters escaped: always one line, whatever a directory put into it.
pub fn escaped(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for c in message.chars() {
        if drives_a_terminal(c) { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_begins_as_its_reader_needs_it() {
        let noon = UNIX_EPOCH + Duration::from_millis(1_782_907_200_999);
        assert_eq!(
            line(Style::Plain, Level::Info, noon, "done"),
            "2026-07-01T12:00:00Z INFO  done\n"
        );
        assert_eq!(
            line(Style::Plain, Level::Error, noon, "failed"),
            "2026-07-01T12:00:00Z ERROR failed\n"
        );
        let priorities = [
            (Level::Error, "<3>x\n"),
            (Level::Warn, "<4>x\n"),
            (Level::Info, "<6>x\n"),
            (Level::Debug, "<7>x\n"),
        ];
        for (level, expected) in priorities {
            assert_eq!(line(Style::Journal, level, noon, "x"), expected);
        }
        let words = [
            (Level::Error, "error: x\n"),
            (Level::Warn, "warning: x\n"),
            (Level::Info, "x\n"),
            (Level::Debug, "debug: x\n"),
        ];
        for (level, expected) in words {
            assert_eq!(line(Style::Terminal(Some(80)), level, noon, "x"), expected);
        }
        assert_eq!(
            line(Style::Terminal(Some(12)), Level::Error, noon, "one two three"),
            "error: one\n  two three\n"
        );
    }

    #[test]
    fn a_message_cannot_forge_a_line_or_drive_a_terminal() {
        let forged =
            line(Style::Journal, Level::Info, UNIX_EPOCH, "cn=a\n<3>forged\u{1b}[2J\u{9b}é");
        assert_eq!(forged, "<6>cn=a\\n<3>forged\\u{1b}[2J\\u{9b}é\n");
    }

    #[test]
    fn a_message_does_not_turn_its_direction() {
        let turned =
            "a\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{7f}b";
        let shown = escaped(turned);
        assert_eq!(
            shown,
            r"a\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{7f}b"
        );
        // Characters that join letters and emojis are text.
        assert_eq!(escaped("\u{200c}\u{200d}ש"), "\u{200c}\u{200d}ש");
    }

    #[test]
    fn json_that_is_shown_drives_no_terminal_and_is_the_same_value() {
        let value = serde_json::json!({ "\u{9b}key": "\u{1b}[2J\u{7f}\u{80}\u{9b}\u{202e}\u{2028}\u{61c}é\\\"\n" });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = escaped_json(&json);
            assert!(shown.chars().all(|c| c == '\n' || !drives_a_terminal(c)), "{shown:?}");
            assert!(shown.contains(r"\u009b") && shown.contains('é'), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

    #[test]
    fn only_our_own_records_are_printed() {
        let enabled = |target| {
            Stderr { style: Style::Plain }
                .enabled(&Metadata::builder().level(Level::Error).target(target).build())
        };
        for ours in ["kanidm_ldap_sync", "kanidm_ldap_sync::sync::run"] {
            assert!(enabled(ours), "{ours}");
        }
        for other in ["ureq", "ureq_proto::client", "rustls::conn", "kanidm_ldap_sync_x", ""] {
            assert!(!enabled(other), "{other}");
        }
    }

    #[test]
    fn the_journal_is_recognised_by_its_stream() {
        let stderr = std::fs::metadata("/proc/self/fd/2").unwrap();
        assert_eq!(
            Style::detect(Some(&format!("{}:{}", stderr.dev(), stderr.ino()))),
            Style::Journal
        );
        assert_eq!(Style::detect(Some("1:1")), Style::Plain);
        assert_eq!(Style::detect(None), Style::Plain);
    }
}
