//! A TOML document whose keys know their lines.
//!
//! Scope: typed access that collects all problems instead of stopping at the first.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::problem::ConfigProblem;
use super::suggest::suggest;

/// Maximum length of a key in messages. Longer keys, and keys with unusual characters, may be a
/// secret in the wrong place.
const MAX_SHOWN_KEY: usize = 40;

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(Vec<ConfigProblem>);

impl Problems {
    /// Adds a problem of a key.
    pub fn add<T>(&mut self, at: &At<T>, message: impl fmt::Display) {
        self.0.push(ConfigProblem {
            line: Some(at.line),
            key: Some(at.key.clone()),
            message: message.to_string(),
        });
    }

    /// Adds a problem of a missing key.
    pub fn missing(&mut self, key: &str, message: impl fmt::Display) {
        self.0.push(ConfigProblem {
            line: None,
            key: Some(key.to_owned()),
            message: message.to_string(),
        });
    }

    /// All problems in the order of their lines. Missing keys come last.
    pub fn into_list(mut self) -> Vec<ConfigProblem> {
        self.0.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        self.0
    }
}

/// A value of the file with its position.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// Name of the key, with its table.
    pub key: String,
    /// Line number from 1; 0 for a default value.
    pub line: usize,
    pub value: T,
}

impl<T> At<T> {
    /// Converts the value. An error becomes a problem of this key.
    pub fn try_map<U, E: fmt::Display>(
        self,
        problems: &mut Problems,
        f: impl FnOnce(T) -> Result<U, E>,
    ) -> Option<At<U>> {
        let At { key, line, value } = self;
        match f(value) {
            Ok(value) => Some(At { key, line, value }),
            Err(e) => {
                problems.add(&At { key, line, value: () }, e);
                None
            }
        }
    }
}

/// A parsed file.
pub(super) struct Document<'t> {
    table: DeTable<'t>,
    lines: Lines,
}

impl<'t> Document<'t> {
    /// Parses TOML. Errors contain only static parts of the parser's messages, never text of the
    /// file.
    pub fn parse(text: &'t str) -> Result<Document<'t>, ConfigProblem> {
        let lines = Lines::new(text);
        match DeTable::parse(text) {
            Ok(table) => Ok(Document { table: table.into_inner(), lines }),
            Err(e) => {
                let line = e.span().map(|span| lines.line(&span));
                Err(ConfigProblem {
                    line,
                    key: None,
                    message: format!("this is not TOML: {}", e.message()),
                })
            }
        }
    }

    /// The top-level keys and tables.
    pub fn root(&self) -> Section<'_> {
        Section::new(&self.table, None, &self.lines)
    }
}

/// The keys of one table.
pub(super) struct Section<'d> {
    /// Name of the table; `None` for the root.
    name: Option<String>,
    /// Values not yet taken.
    values: BTreeMap<&'d str, At<&'d DeValue<'d>>>,
    lines: &'d Lines,
}

impl<'d> Section<'d> {
    fn new(table: &'d DeTable<'d>, name: Option<String>, lines: &'d Lines) -> Self {
        let full = |key: &str| {
            name.as_ref().map_or_else(|| shown(key), |table| format!("[{table}] {}", shown(key)))
        };
        let values = table
            .iter()
            .map(|(key, value)| {
                let text: &str = key.get_ref();
                (
                    text,
                    At { key: full(text), line: lines.line(&key.span()), value: value.get_ref() },
                )
            })
            .collect();
        Section { name, values, lines }
    }

    /// Adds defaults for keys that this section does not have.
    pub fn over(mut self, defaults: Section<'d>) -> Self {
        for (key, at) in defaults.values {
            self.values.entry(key).or_insert(At { line: 0, ..at });
        }
        self
    }

    /// True if a key exists and is not yet taken.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// True if a key comes from the file, not from the defaults, and is not yet taken.
    pub fn given(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|at| at.line > 0)
    }

    /// Takes a value of any type.
    pub fn take(&mut self, key: &str) -> Option<At<&'d DeValue<'d>>> {
        self.values.remove(key)
    }

    /// Takes a non-empty string.
    pub fn text(&mut self, key: &str, problems: &mut Problems) -> Option<At<&'d str>> {
        self.take(key)?.try_map(problems, |value| match value.as_str() {
            Some("") => Err("must not be empty".to_owned()),
            Some(text) => Ok(text),
            None => Err(wrong_type("a string", value)),
        })
    }

    /// Takes a string, which may be empty.
    pub fn text_or_empty(&mut self, key: &str, problems: &mut Problems) -> Option<At<&'d str>> {
        self.take(key)?
            .try_map(problems, |value| value.as_str().ok_or_else(|| wrong_type("a string", value)))
    }

    /// Takes a non-empty string, or a non-empty list of non-empty strings.
    pub fn texts(&mut self, key: &str, problems: &mut Problems) -> Option<At<Vec<&'d str>>> {
        const WANTED: &str = "a string or a list of strings";
        self.take(key)?.try_map(problems, |value| {
            let texts: Option<Vec<&str>> = match value {
                DeValue::String(text) => Some(vec![text]),
                DeValue::Array(list) => list.iter().map(|value| value.get_ref().as_str()).collect(),
                _ => None,
            };
            match texts {
                None => Err(wrong_type(WANTED, value)),
                Some(texts) if texts.is_empty() || texts.contains(&"") => {
                    Err("must not be empty".to_owned())
                }
                Some(texts) => Ok(texts),
            }
        })
    }

    /// Takes a boolean.
    pub fn flag(&mut self, key: &str, problems: &mut Problems) -> Option<At<bool>> {
        self.take(key)?.try_map(problems, |value| {
            value.as_bool().ok_or_else(|| wrong_type("true or false", value))
        })
    }

    /// Takes an integer within a range.
    pub fn integer(
        &mut self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Option<At<u64>> {
        self.take(key)?.try_map(problems, |value| {
            let number = integer(value).ok_or_else(|| wrong_type("a number", value))?;
            let number = u64::try_from(number).ok().filter(|number| range.contains(number));
            number.ok_or_else(|| {
                format!("must be a number from {} to {}", range.start(), range.end())
            })
        })
    }

    /// Takes the tables whose names `read_name` accepts, in the order of their lines.
    pub fn tables<K>(
        &mut self,
        read_name: impl Fn(&str) -> Option<K>,
    ) -> Vec<(K, At<Section<'d>>)> {
        let mut tables = Vec::new();
        let lines = self.lines;
        self.values.retain(|name, at| match (at.value.as_table(), read_name(name)) {
            (Some(table), Some(key)) => {
                let section = Section::new(table, Some(shown(name)), lines);
                tables.push((
                    key,
                    At { key: format!("[{}]", shown(name)), line: at.line, value: section },
                ));
                false
            }
            _ => true,
        });
        tables.sort_by_key(|(_, table)| table.line);
        tables
    }

    /// Reports every key that was not taken. A table is reported with `table_problem`, another key
    /// as unknown.
    pub fn refuse_rest<'k>(
        self,
        known: impl Iterator<Item = &'k str> + Clone,
        table_problem: Option<&str>,
        problems: &mut Problems,
    ) {
        for (key, at) in &self.values {
            if let (true, Some(problem)) = (at.value.is_table(), table_problem) {
                problems.add(at, problem);
                continue;
            }
            let hint = match suggest(key, known.clone()) {
                Some(known) => format!("; did you mean {known}?"),
                None if self.name.is_some() => {
                    format!("; a table can hold {}", known.clone().collect::<Vec<_>>().join(", "))
                }
                None => String::new(),
            };
            problems.add(at, format!("unknown key{hint}"));
        }
    }

    /// The values that were not taken.
    pub fn rest(&self) -> impl Iterator<Item = &At<&'d DeValue<'d>>> {
        self.values.values()
    }
}

/// Parses an integer in any TOML notation.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The text names types only, because the value may be a secret.
pub(super) fn wrong_type(wanted: &str, value: &DeValue<'_>) -> String {
    format!("must be {wanted}, but is of type {}", value.type_str())
}

/// The spelling of a key in messages.
fn shown(key: &str) -> String {
    let plain = key.len() <= MAX_SHOWN_KEY
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if plain && !key.is_empty() { key.to_owned() } else { "(not a key name)".to_owned() }
}

/// Offsets of the line breaks.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Lines(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect())
    }

    /// The line number, from 1, at which a span begins.
    fn line(&self, span: &Range<usize>) -> usize {
        self.0.partition_point(|line_break| *line_break < span.start) + 1
    }
}
