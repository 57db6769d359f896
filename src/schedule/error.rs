//! Errors of cron expressions.
//!
//! Scope: texts that name the field, the column, the reason and the allowed values.

use std::fmt;

use super::parse::Unit;

/// Reason why a cron expression is invalid, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// The faulty field; `None` if the error concerns the whole expression.
    pub field: Option<Unit>,
    /// Column in the expression, in characters from 1.
    pub column: usize,
    /// The reason.
    pub kind: ScheduleErrorKind,
}

/// Kinds of schedule errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleErrorKind {
    /// An unknown shorthand with `@`.
    Shorthand,
    /// The expression ends before this field.
    Missing,
    /// Five fields, as in a crontab: the seconds are missing.
    NoSeconds,
    /// An eighth field.
    TooMany,
    /// A character that the grammar does not allow here.
    Syntax {
        /// The character.
        found: char,
    },
    /// A number out of the field's range.
    OutOfRange {
        /// The number as written.
        value: String,
    },
    /// An unknown name.
    Name {
        /// The name as written.
        name: String,
    },
    /// A range whose end is smaller than its start.
    Backwards {
        /// First value.
        start: u32,
        /// Last value.
        end: u32,
    },
    /// A step of 0, or above the field's largest value.
    Step {
        /// The step as written.
        value: String,
    },
    /// No day matches all fields.
    NeverFires,
}

impl ScheduleError {
    pub(super) fn new(field: Unit, column: usize, kind: ScheduleErrorKind) -> Self {
        ScheduleError { field: Some(field), column, kind }
    }

    pub(super) fn shorthand() -> Self {
        ScheduleError { field: None, column: 1, kind: ScheduleErrorKind::Shorthand }
    }

    pub(super) fn too_many(column: usize) -> Self {
        ScheduleError { field: None, column, kind: ScheduleErrorKind::TooMany }
    }

    pub(super) fn no_seconds(column: usize) -> Self {
        ScheduleError { field: None, column, kind: ScheduleErrorKind::NoSeconds }
    }

    pub(super) fn never_fires() -> Self {
        ScheduleError { field: None, column: 1, kind: ScheduleErrorKind::NeverFires }
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(unit) = self.field else {
            self.kind.fmt(f)?;
            return match self.kind {
                ScheduleErrorKind::TooMany => write!(f, " (column {}). {FIELDS}", self.column),
                ScheduleErrorKind::NoSeconds => write!(f, ". {FIELDS}"),
                _ => Ok(()),
            };
        };
        let (name, number) = unit.label();
        write!(f, "{name} (field {number}, column {}): {}", self.column, self.kind)?;
        match &self.kind {
            ScheduleErrorKind::Step { .. } => write!(f, "; allowed are 1 to {}", unit.max()),
            _ => write!(f, "; allowed are {}", unit.allowed()),
        }?;
        match &self.kind {
            ScheduleErrorKind::Missing | ScheduleErrorKind::Syntax { .. } => {
                write!(f, ", *, lists (1,2), ranges (1-5), steps (*/5). {FIELDS}")
            }
            _ => Ok(()),
        }
    }
}

/// The fields, as the last sentence of a message.
const FIELDS: &str = "The fields are: second minute hour day-of-month month day-of-week [year]";

impl fmt::Display for ScheduleErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScheduleErrorKind::Shorthand => f.write_str(
                "unknown shorthand; allowed are @yearly, @monthly, @weekly, @daily, @hourly",
            ),
            ScheduleErrorKind::Missing => f.write_str("the expression ends here"),
            ScheduleErrorKind::Syntax { found } => write!(f, "unexpected {found:?}"),
            ScheduleErrorKind::NoSeconds => f.write_str(
                "five fields, as in a crontab, but a schedule begins with the seconds: put 0 in front, \
                 and count the days of the week from 1 (Sunday)",
            ),
            ScheduleErrorKind::TooMany => f.write_str("an eighth field: remove it"),
            ScheduleErrorKind::OutOfRange { value } => write!(f, "{value} is out of range"),
            ScheduleErrorKind::Name { name } => write!(f, "the name \"{name}\" is not known"),
            ScheduleErrorKind::Backwards { start, end } => {
                write!(f, "the range {start}-{end} runs backwards: write the lower end first")
            }
            ScheduleErrorKind::Step { value } => write!(f, "a step of {value} is out of range"),
            ScheduleErrorKind::NeverFires => f.write_str(
                "the schedule never fires (no day, or none in the future, matches every field)",
            ),
        }
    }
}

impl std::error::Error for ScheduleError {}
