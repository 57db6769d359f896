//! Why a cron expression is refused: what, where, and what is allowed there.

use std::fmt;

use super::parse::Unit;

/// Why an expression is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// The field at fault; `None` where it is the expression as a whole.
    pub field: Option<Unit>,
    /// Where in the expression, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: ScheduleErrorKind,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleErrorKind {
    /// Something begins with `@` that is not known.
    Shorthand,
    /// The expression ends where the field should stand.
    Missing,
    /// A character that cannot stand here.
    Syntax {
        /// The character.
        found: char,
    },
    /// A number the field does not allow.
    OutOfRange {
        /// As written.
        value: String,
    },
    /// A name the field does not know.
    Name {
        /// As written.
        name: String,
    },
    /// A range that ends before it starts.
    Backwards {
        /// First value.
        start: u32,
        /// Last value.
        end: u32,
    },
    /// A step of 0, or larger than the field's largest value.
    Step {
        /// As written.
        value: String,
    },
    /// No day matches all of the fields.
    NeverFires,
}

impl ScheduleError {
    pub(super) fn new(field: Unit, column: usize, kind: ScheduleErrorKind) -> Self {
        ScheduleError { field: Some(field), column, kind }
    }

    pub(super) fn shorthand() -> Self {
        ScheduleError { field: None, column: 1, kind: ScheduleErrorKind::Shorthand }
    }

    pub(super) fn never_fires() -> Self {
        ScheduleError { field: None, column: 1, kind: ScheduleErrorKind::NeverFires }
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(unit) = self.field else { return write!(f, "{}", self.kind) };
        let (name, number) = unit.label();
        write!(f, "{name} (field {number}, column {}): {}", self.column, self.kind)?;
        match &self.kind {
            ScheduleErrorKind::Step { .. } => write!(f, "; allowed are 1 to {}", unit.max()),
            _ => write!(f, "; allowed are {}", unit.allowed()),
        }?;
        match &self.kind {
            ScheduleErrorKind::Missing | ScheduleErrorKind::Syntax { .. } => f.write_str(
                ", *, lists (1,2), ranges (1-5), steps (*/5); the fields are: second minute hour day-of-month month day-of-week [year]",
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ScheduleErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScheduleErrorKind::Shorthand => f.write_str(
                "unknown shorthand; allowed are @yearly, @monthly, @weekly, @daily, @hourly",
            ),
            ScheduleErrorKind::Missing => f.write_str("the expression ends here"),
            ScheduleErrorKind::Syntax { found } => write!(f, "{found:?} cannot stand here"),
            ScheduleErrorKind::OutOfRange { value } => write!(f, "{value} is out of range"),
            ScheduleErrorKind::Name { name } => write!(f, "the name \"{name}\" is not known"),
            ScheduleErrorKind::Backwards { start, end } => {
                write!(f, "the range {start}-{end} runs backwards")
            }
            ScheduleErrorKind::Step { value } => write!(f, "a step of {value} is out of range"),
            ScheduleErrorKind::NeverFires => f.write_str(
                "the schedule never fires (no day, or none in the future, matches every field)",
            ),
        }
    }
}

impl std::error::Error for ScheduleError {}
