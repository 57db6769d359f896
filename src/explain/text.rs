//! The answer as text.
//!
//! Scope: lines and marks. The words of each line come from the other modules.

use super::answer::{Answer, AttributeLine, Explanation, FilterPart, Listed, Matches};
use super::attributes::UNKNOWN;
use super::filter;
use crate::cli::Cli;
use crate::env::Env;
use crate::log::{self, Verbosity};
use crate::terminal;

/// Maximum number of parts of one list in the filter that are printed.
const PARTS: usize = 20;
/// The column of a line's text.
const COLUMN: usize = 18;

/// The starts of lines.
struct Marks {
    yes: &'static str,
    no: &'static str,
    unknown: &'static str,
    waits: &'static str,
}

const UNICODE: Marks = Marks { yes: "✓", no: "✗", unknown: "?", waits: "!" };
const ASCII: Marks = Marks { yes: "[yes]", no: "[NO]", unknown: "[?]", waits: "[!]" };

/// The lines so far.
struct Page {
    text: String,
    marks: &'static Marks,
    columns: Option<usize>,
}

/// The whole answer. `--quiet` keeps only the last sentence of each entry.
pub(crate) fn render(answer: &Answer, cli: &Cli, env: Env<'_>) -> String {
    let marks = if terminal::is_utf8(env) { &UNICODE } else { &ASCII };
    let columns = terminal::of_stdout(cli.columns);
    let mut page = Page { text: String::new(), marks, columns };
    let notes = |page: &mut Page| {
        let notes = answer.notes.iter().chain(&answer.kanidm);
        notes.for_each(|note| page.line(0, &sentence(note)));
    };
    if !answer.entries.is_empty() && cli.verbosity != Verbosity::Quiet {
        notes(&mut page);
    }
    for entry in &answer.entries {
        if !page.text.is_empty() && cli.verbosity != Verbosity::Quiet {
            page.text.push('\n');
        }
        match cli.verbosity {
            Verbosity::Quiet => page.line(0, &format!("{} {}", entry.dn, last(entry))),
            _ => page.entry(entry),
        }
    }
    if answer.entries.is_empty() && answer.error.is_none() {
        if cli.verbosity != Verbosity::Quiet {
            notes(&mut page);
        }
        let next = answer.next.iter().map(|next| format!(". {next}")).collect::<String>();
        page.line(0, &format!("=> Not found{next}"));
    }
    page.text
}

/// The last line of an entry.
fn last(entry: &Explanation) -> String {
    format!("=> {}{}", entry.headline, entry.next)
}

impl Page {
    fn entry(&mut self, entry: &Explanation) {
        self.line(0, &entry.dn);
        match (&entry.uuid, &entry.kanidm_uuid) {
            (Some(uuid), Some(other)) if uuid != other => {
                self.item("UUID", &format!("{uuid}, in Kanidm {other} (map_uuid)"))
            }
            (Some(uuid), _) => self.item("UUID", &format!("{uuid}, in Kanidm the same")),
            (None, _) => self.item("UUID", "hidden from the sync account"),
        }
        let (mark, place) = match entry.below_base {
            true => (self.marks.yes, "below ldap_sync_base_dn"),
            false => (self.marks.no, "outside ldap_sync_base_dn"),
        };
        self.item("base", &format!("{mark} {place}"));
        self.filter("filter", COLUMN, &entry.filter);
        let mark = if entry.kind == "neither" { self.marks.no } else { self.marks.yes };
        self.item("object classes", &format!("{mark} {}", entry.classes));
        let table = match entry.table.is_empty() {
            true => "the configuration has no table for it".to_owned(),
            false => entry.table.join(", "),
        };
        self.item("configuration", &table);
        entry.attributes.iter().for_each(|line| self.attribute(line));
        for problem in &entry.problems {
            self.item("problem", &format!("{} {problem}", self.marks.no));
        }
        if let Some(account) = &entry.account {
            self.item("account", &account.state);
            account.because.iter().for_each(|text| self.line(COLUMN, text));
        }
        entry.groups.iter().for_each(|listed| self.listed("groups", listed));
        entry.members.iter().for_each(|listed| self.listed("members", listed));
        entry.kanidm.iter().for_each(|text| self.item("Kanidm", text));
        self.line(0, &last(entry));
    }

    fn attribute(&mut self, line: &AttributeLine) {
        let is_bad = !line.problems.is_empty();
        let mark = match (is_bad, &line.note, line.values.is_empty()) {
            (true, ..) => self.marks.no,
            (false, Some(note), true) if note == UNKNOWN => "-",
            (false, Some(_), _) => self.marks.unknown,
            (false, None, true) => "-",
            (false, None, false) => self.marks.yes,
        };
        let mut text = match line.values.is_empty() {
            true => "no value".to_owned(),
            false => line.values.join(", "),
        };
        if line.more > 0 {
            text.push_str(&format!(", and {} more", line.more));
        }
        if !line.kanidm.is_empty() {
            text.push_str(&format!(" -> {}", line.kanidm.join(", ")));
        } else if !line.values.is_empty() && !is_bad {
            text.push_str(" -> not sent");
        }
        self.item(&line.attribute, &format!("{mark} {text}"));
        let rules = line.problems.iter().map(|rule| format!("{}: {rule}", line.attribute));
        rules.chain(line.note.clone()).for_each(|text| self.line(COLUMN, &text));
    }

    fn filter(&mut self, label: &str, indent: usize, part: &FilterPart) {
        let mark = match part.matches {
            Matches::Yes => self.marks.yes,
            Matches::No => self.marks.no,
            Matches::Undefined => self.marks.unknown,
            Matches::NotAsked => "-",
        };
        let rejects = match (part.rejects, part.matches) {
            (true, Matches::Undefined) => {
                "   <- rejects it: hidden from the account, or not in the schema"
            }
            (true, _) => "   <- rejects it",
            (false, _) => "",
        };
        // A part that matches needs no details.
        let is_whole = part.matches == Matches::Yes;
        let words = if is_whole { filter::whole(part) } else { part.text.clone() };
        let text = format!("{mark} {words}{rejects}");
        match label.is_empty() {
            false => self.item(label, &text),
            true => self.line(indent, &text),
        }
        if is_whole {
            return;
        }
        // The parts that reject come first where not all are printed.
        let mut parts: Vec<&FilterPart> = part.parts.iter().collect();
        if parts.len() > PARTS {
            parts.sort_by_key(|part| part.matches == Matches::Yes);
        }
        let deeper = indent.saturating_add(2);
        parts.iter().take(PARTS).for_each(|part| self.filter("", deeper, part));
        if parts.len() > PARTS {
            self.line(deeper, &format!("- and {} more parts", parts.len().saturating_sub(PARTS)));
        }
    }

    fn listed(&mut self, label: &str, listed: &Listed) {
        self.item(label, &listed.summary);
        for entry in &listed.listed {
            let mark = match (entry.resolves, entry.waits) {
                (true, _) => self.marks.yes,
                (false, true) => self.marks.waits,
                (false, false) => self.marks.no,
            };
            let note = entry.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            self.line(COLUMN, &format!("{mark} {}{note}", entry.name));
        }
    }

    fn item(&mut self, label: &str, text: &str) {
        let width = COLUMN.saturating_sub(2);
        let start = format!("  {:<width$}", log::escaped(label));
        let gap = if terminal::width(&start) > COLUMN { " " } else { "" };
        self.wrapped(&format!("{start}{gap}"), text, COLUMN);
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.wrapped(&" ".repeat(indent), text, indent.saturating_add(2));
    }

    fn wrapped(&mut self, start: &str, text: &str, indent: usize) {
        self.text.push_str(&terminal::wrapped(start, &log::escaped(text), indent, self.columns));
    }
}

/// A note with a capital, unless it begins with a DN.
fn sentence(note: &str) -> String {
    let first = note.split(' ').next().unwrap_or_default();
    let mut chars = note.chars();
    match chars.next() {
        Some(c) if !first.contains('=') => c.to_uppercase().chain(chars).collect(),
        _ => note.to_owned(),
    }
}
