//! The list that `--check` prints: one line for each step, as soon as it is done. A terminal wraps
//! long lines. With `--json` it is one object at the end, which `docs/check.schema.json` describes.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io;

use serde::Serialize;

use crate::cli::Cli;
use crate::env::Env;
use crate::exit::ExitCode;
use crate::log::{self, Verbosity};
use crate::output::pretty;
use crate::terminal;
use crate::text::count;

/// The facts about the printed lines that matter at the end.
#[derive(Debug)]
pub struct Checklist {
    marks: &'static Marks,
    /// True if only problems and advice are printed.
    quiet: bool,
    /// The steps for `--json`. Without it each line is printed instead.
    steps: Option<RefCell<Vec<JsonStep>>>,
    /// Maximum width of a line, at a terminal.
    columns: Option<usize>,
    failed: u64,
    advised: Cell<u64>,
    untried: Cell<u64>,
    /// The error of the first line that could not be written.
    unwritten: RefCell<Option<io::Error>>,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum StepResult {
    Passed,
    Failed,
    Advice,
    Skipped,
}

/// A step for `--json`.
#[derive(Debug, Serialize)]
struct JsonStep {
    step: String,
    result: StepResult,
    /// What was found, without the remedy.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

/// The object for `--json`.
#[derive(Debug, Serialize)]
struct JsonCheck<'a> {
    verdict: &'static str,
    exit_code: u8,
    steps: &'a [JsonStep],
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
    pub fn new(cli: &Cli, env: Env<'_>) -> Checklist {
        Checklist {
            marks: if terminal::is_utf8(env) { &UNICODE } else { &ASCII },
            quiet: cli.verbosity == Verbosity::Quiet,
            steps: cli.json.then(RefCell::default),
            columns: terminal::of_stdout(terminal::columns(env)),
            failed: 0,
            advised: Cell::default(),
            untried: Cell::default(),
            unwritten: RefCell::default(),
        }
    }

    /// A step that passed.
    pub fn passed(&self, step: impl Display, detail: impl Display) {
        self.step(StepResult::Passed, step, detail, "");
    }

    /// A step that failed. `text` is the reason with the remedy; `remedy` is its end, if it has one.
    pub fn failed(&mut self, step: impl Display, text: impl Display, remedy: &str) {
        self.failed += 1;
        self.step(StepResult::Failed, step, text, remedy);
    }

    /// Advice on a step that works. `text` ends with `remedy`.
    pub fn advice(&self, step: impl Display, text: impl Display, remedy: &str) {
        self.advised.set(self.advised.get() + 1);
        self.step(StepResult::Advice, step, text, remedy);
    }

    /// A step without a result. `text` ends with `remedy`.
    pub fn skipped(&self, step: impl Display, text: impl Display, remedy: &str) {
        self.step(StepResult::Skipped, step, text, remedy);
    }

    /// Steps that depend on a failed one.
    pub fn not_tried(&self, steps: &[impl Display]) {
        self.untried.set(self.untried.get() + steps.len() as u64);
        steps.iter().for_each(|step| self.skipped(step, "not tried", ""));
    }

    /// True if any step failed.
    pub fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// The end: whether a run can work, and the next command. With `--json` the whole object.
    pub fn verdict(&self, code: ExitCode) {
        if let Some(steps) = &self.steps {
            let verdict = if self.failed > 0 { "not_ready" } else { "ready" };
            let check = JsonCheck { verdict, exit_code: code.code(), steps: &steps.borrow() };
            return self.print(&pretty(&check));
        }
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
        if self.quiet {
            return;
        }
        let advice = match self.advised.get() {
            0 => String::new(),
            n => format!(", with {} above ({})", count(n, "note"), self.marks.advice),
        };
        let next = "kanidm-ldap-sync --dry-run --full-refresh";
        let text = format_args!("every step passed{advice}. Next, as this user: {next}");
        self.line(self.marks.passed, "ready", text);
    }

    /// A failure if a line could not be written. Logs it.
    pub fn written(&self) -> ExitCode {
        crate::output::written(self.unwritten.take().map_or(Ok(()), Err))
    }

    fn step(&self, result: StepResult, step: impl Display, text: impl Display, remedy: &str) {
        if let Some(steps) = &self.steps {
            let step = JsonStep::new(result, step.to_string(), &text.to_string(), remedy);
            return steps.borrow_mut().push(step);
        }
        let (mark, is_news) = match result {
            StepResult::Passed => (self.marks.passed, false),
            StepResult::Skipped => (self.marks.skipped, false),
            StepResult::Failed => (self.marks.failed, true),
            StepResult::Advice => (self.marks.advice, true),
        };
        if is_news || !self.quiet {
            self.line(mark, step, text);
        }
    }

    fn line(&self, mark: &str, step: impl Display, text: impl Display) {
        let text = text.to_string();
        let line = if text.is_empty() { step.to_string() } else { format!("{step}: {text}") };
        // Wrapped lines start below the text, so that the marks stand out.
        let indent = terminal::width(mark).saturating_add(1);
        self.print(&terminal::wrapped(
            &format!("{mark} "),
            &log::escaped(&line),
            indent,
            self.columns,
        ));
    }

    fn print(&self, text: &str) {
        if let Err(error) = terminal::print(text) {
            self.unwritten.borrow_mut().get_or_insert(error);
        }
    }
}

impl JsonStep {
    /// Divides the text of a step. A text that does not end with its remedy stays whole.
    fn new(result: StepResult, step: String, text: &str, remedy: &str) -> JsonStep {
        let detail = text.strip_suffix(remedy).unwrap_or(text);
        let detail = detail.trim_end_matches([' ', ';', ':', '.', ',']).to_owned();
        JsonStep { step, result, detail, remedy: remedy.to_owned() }
    }
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
            Checklist::new(&Cli::parse([], &env).unwrap(), &env).marks
        };
        assert_eq!(marks(&[("LANG", "de_DE.UTF-8")]), &UNICODE);
        assert_eq!(marks(&[("LANG", "C"), ("LC_CTYPE", "C.utf8")]), &UNICODE);
        assert_eq!(marks(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "POSIX")]), &ASCII);
        assert_eq!(marks(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "")]), &UNICODE);
        assert_eq!(marks(&[]), &ASCII);
    }

    #[test]
    fn a_text_is_divided_before_its_remedy() {
        let step = |text, remedy| {
            let step = JsonStep::new(StepResult::Failed, "a".to_owned(), text, remedy);
            (step.detail, step.remedy)
        };
        let parts = |detail: &str, remedy: &str| (detail.to_owned(), remedy.to_owned());
        assert_eq!(step("a: b; do c", "do c"), parts("a: b", "do c"));
        assert_eq!(step("a: b. Do c", "Do c"), parts("a: b", "Do c"));
        assert_eq!(step("a: b: c", ""), parts("a: b: c", ""));
        assert_eq!(
            step("a: b. Until then c", "see the log"),
            parts("a: b. Until then c", "see the log")
        );
        assert_eq!(step("do c", "do c"), parts("", "do c"));
    }
}
