//! The list that `--check` prints: one line for each step, as soon as it is done. A terminal wraps
//! long lines.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fmt::Display;
use std::io;

use crate::env::Env;
use crate::exit::ExitCode;
use crate::log::{self, Verbosity};
use crate::terminal;
use crate::text::count;

/// The facts about the printed lines that matter at the end.
#[derive(Debug)]
pub struct Checklist {
    marks: &'static Marks,
    /// True if only problems and advice are printed.
    quiet: bool,
    /// Maximum width of a line, at a terminal.
    columns: Option<usize>,
    failed: u64,
    advised: Cell<u64>,
    untried: Cell<u64>,
    /// The error of the first line that could not be written.
    unwritten: RefCell<Option<io::Error>>,
}

/// The starts of lines.
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
    /// An empty list. The locale decides on the characters of the marks.
    pub fn new(verbosity: Verbosity, env: Env<'_>) -> Checklist {
        Checklist {
            marks: if is_utf8(env) { &UNICODE } else { &ASCII },
            quiet: verbosity == Verbosity::Quiet,
            columns: terminal::of_stdout(terminal::columns(env)),
            failed: 0,
            advised: Cell::default(),
            untried: Cell::default(),
            unwritten: RefCell::default(),
        }
    }

    /// A step that passed.
    pub fn passed(&self, step: impl Display, detail: impl Display) {
        if !self.quiet {
            self.line(self.marks.passed, step, detail);
        }
    }

    /// A step that failed, with the reason and the remedy.
    pub fn failed(&mut self, step: impl Display, remedy: impl Display) {
        self.failed += 1;
        self.line(self.marks.failed, step, remedy);
    }

    /// Advice on a step that works.
    pub fn advice(&self, step: impl Display, what: impl Display) {
        self.advised.set(self.advised.get() + 1);
        self.line(self.marks.advice, step, what);
    }

    /// A step without a result.
    pub fn skipped(&self, step: impl Display, why: impl Display) {
        if !self.quiet {
            self.line(self.marks.skipped, step, why);
        }
    }

    /// Steps that depend on a failed one.
    pub fn not_tried(&self, steps: &[impl Display]) {
        self.untried.set(self.untried.get() + steps.len() as u64);
        steps.iter().for_each(|step| self.skipped(step, "not tried"));
    }

    /// True if any step failed.
    pub fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// The last line: whether a run can work, and the next command.
    pub fn verdict(&self) {
        if self.failed > 0 {
            let untried = match self.untried.get() {
                0 => String::new(),
                n => format!(", {} not tried", count(n, "step")),
            };
            let text = format!(
                "{}{untried}. Do what the lines with {} say, then repeat --check",
                count(self.failed, "problem"),
                self.marks.failed
            );
            return self.line(self.marks.failed, "not ready", text);
        }
        let advice = match self.advised.get() {
            0 => String::new(),
            n => format!(", with {} above ({})", count(n, "note"), self.marks.advice),
        };
        let next = "kanidm-ldap-sync --dry-run --full-refresh";
        self.passed("ready", format_args!("every step passed{advice}. Next, as this user: {next}"));
    }

    /// A failure if a line could not be written. Logs it.
    pub fn written(&self) -> ExitCode {
        crate::output::written(self.unwritten.take().map_or(Ok(()), Err))
    }

    fn line(&self, mark: &str, step: impl Display, text: impl Display) {
        let text = text.to_string();
        let line = if text.is_empty() { step.to_string() } else { format!("{step}: {text}") };
        // Wrapped lines start below the text, so that the marks stand out.
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

/// True if the first variable that is set names UTF-8. This is the order of setlocale(3) for
/// characters.
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
