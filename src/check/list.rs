//! The list that `--check` prints: a line a step, as soon as the step is done; at a terminal as
//! many lines as it takes.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::Display;
use std::io;

use crate::env::Env;
use crate::exit::ExitCode;
use crate::log::{self, Verbosity};
use crate::terminal;

/// The lines so far, as far as they matter at the end.
#[derive(Debug)]
pub struct Checklist {
    marks: &'static Marks,
    /// Only what needs looking at is printed.
    quiet: bool,
    /// What a line may be wide, at a terminal.
    columns: Option<usize>,
    failed: bool,
    /// Why the first line that could not be written was not.
    unwritten: RefCell<Option<io::Error>>,
}

/// How lines begin.
#[derive(Debug, PartialEq, Eq)]
struct Marks {
    passed: &'static str,
    failed: &'static str,
    advice: &'static str,
    skipped: &'static str,
}

const UNICODE: Marks = Marks { passed: "✓", failed: "✗", advice: "!", skipped: "–" };
const ASCII: Marks =
    Marks { passed: "[ok]", failed: "[FAILED]", advice: "[note]", skipped: "[skipped]" };

impl Checklist {
    /// An empty list, in the characters that the locale has.
    pub fn new(verbosity: Verbosity, env: Env<'_>) -> Checklist {
        Checklist {
            marks: if is_utf8(env) { &UNICODE } else { &ASCII },
            quiet: verbosity == Verbosity::Quiet,
            columns: terminal::of_stdout(terminal::columns(env)),
            failed: false,
            unwritten: RefCell::default(),
        }
    }

    /// A step that went well.
    pub fn passed(&self, step: impl Display, detail: impl Display) {
        if !self.quiet {
            self.line(self.marks.passed, step, detail);
        }
    }

    /// A step that did not: what is wrong, and what to do.
    pub fn failed(&mut self, step: impl Display, remedy: impl Display) {
        self.failed = true;
        self.line(self.marks.failed, step, remedy);
    }

    /// Something that works, and could be better.
    pub fn advice(&self, step: impl Display, what: impl Display) {
        self.line(self.marks.advice, step, what);
    }

    /// A step that nothing can be said about.
    pub fn skipped(&self, step: impl Display, why: impl Display) {
        if !self.quiet {
            self.line(self.marks.skipped, step, why);
        }
    }

    /// Steps that depend on one that failed.
    pub fn not_tried(&self, steps: &[impl Display]) {
        steps.iter().for_each(|step| self.skipped(step, "not tried"));
    }

    /// Whether any step failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether all lines could be written. If not, that is logged.
    pub fn written(&self) -> ExitCode {
        crate::output::written(self.unwritten.take().map_or(Ok(()), Err))
    }

    fn line(&self, mark: &str, step: impl Display, text: impl Display) {
        let text = text.to_string();
        let line = if text.is_empty() { step.to_string() } else { format!("{step}: {text}") };
        // Below the text, so that the marks stand out.
        let indent = terminal::width(mark).saturating_add(1);
        let written = terminal::print(&terminal::wrapped(
            &format!("{mark} "),
            &log::escaped(&line),
            indent,
            self.columns,
        ));
        if let Err(error) = written {
            self.unwritten.borrow_mut().get_or_insert(error);
        }
    }
}

/// By the first of the variables that is set to something, as setlocale(3) does for characters.
fn is_utf8(env: Env<'_>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| env(name).filter(|value| !value.is_empty()));
    let locale = locale.map(OsString::into_encoded_bytes).unwrap_or_default().to_ascii_lowercase();
    [&b"utf-8"[..], b"utf8"]
        .iter()
        .any(|charset| locale.windows(charset.len()).any(|window| window == *charset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_about_the_marks() {
        let marks = |variables: &[(&str, &str)]| {
            let env = |name: &str| {
                variables
                    .iter()
                    .find(|(variable, _)| *variable == name)
                    .map(|(_, value)| value.into())
            };
            Checklist::new(Verbosity::Normal, &env).marks
        };
        assert_eq!(marks(&[("LANG", "de_DE.UTF-8")]), &UNICODE);
        assert_eq!(marks(&[("LANG", "C"), ("LC_CTYPE", "C.utf8")]), &UNICODE);
        assert_eq!(marks(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "POSIX")]), &ASCII);
        assert_eq!(marks(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "")]), &UNICODE);
        assert_eq!(marks(&[]), &ASCII);
    }
}
