//! Grammar of cron expressions: parses text to the allowed values of each field.
//!
//! ```text
//! expression = "@yearly" | "@monthly" | "@weekly" | "@daily" | "@hourly" | 6*7 field
//! field      = item *("," item)
//! item       = base ["/" number] | name
//! base       = "*" | "?" | number ["-" number] | name "-" name      ; "?" as "*", in day fields only
//! ```
//!
//! White space separates fields and may surround numbers and names. `n/step` runs from n to the
//! field's largest value.

use std::collections::BTreeSet;

use super::Fields;
use super::error::{ScheduleError, ScheduleErrorKind};

/// Parses an expression. The caller checks that a matching day exists.
pub(super) fn parse(text: &str) -> Result<Fields, ScheduleError> {
    let trimmed = text.trim_matches(WHITE_SPACE);
    if trimmed.starts_with('@') {
        let spelled_out =
            SHORTHANDS.iter().find(|(name, _)| *name == trimmed).map(|(_, fields)| *fields);
        return fields(&mut Cursor {
            text: spelled_out.ok_or_else(ScheduleError::shorthand)?,
            position: 0,
        });
    }
    fields(&mut Cursor { text, position: 0 })
}

/// White space of the `cron` crate.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

const SHORTHANDS: [(&str, &str); 5] = [
    ("@yearly", "0 0 0 1 1 * *"),
    ("@monthly", "0 0 0 1 * * *"),
    ("@weekly", "0 0 0 * * 1 *"),
    ("@daily", "0 0 0 * * * *"),
    ("@hourly", "0 0 * * * * *"),
];

fn fields(cursor: &mut Cursor<'_>) -> Result<Fields, ScheduleError> {
    let fields = Fields {
        seconds: field(cursor, Unit::Second)?,
        minutes: field(cursor, Unit::Minute)?,
        hours: field(cursor, Unit::Hour)?,
        days_of_month: field(cursor, Unit::DayOfMonth)?,
        months: field(cursor, Unit::Month)?,
        days_of_week: field(cursor, Unit::DayOfWeek)?,
        years: if cursor.at_end() { Unit::Year.all() } else { field(cursor, Unit::Year)? },
    };
    match cursor.at_end() {
        true => Ok(fields),
        false if cursor.is_after_white_space() => {
            Err(ScheduleError::too_many(cursor.column(cursor.position)))
        }
        // The rest belongs to the seventh field, such as the `x` in `2020x`.
        false => Err(cursor.unexpected(Unit::Year)),
    }
}

fn field(cursor: &mut Cursor<'_>, unit: Unit) -> Result<BTreeSet<u32>, ScheduleError> {
    cursor.skip_white_space();
    let mut values = BTreeSet::new();
    loop {
        item(cursor, unit, &mut values)?;
        if !cursor.eat(',') {
            break;
        }
    }
    cursor.skip_white_space();
    // Reject a character that cannot begin the next field here, so that the error names this field.
    match cursor.peek() {
        Some('-' | '/' | ',') => Err(cursor.unexpected(unit)),
        _ => Ok(values),
    }
}

fn item(
    cursor: &mut Cursor<'_>,
    unit: Unit,
    values: &mut BTreeSet<u32>,
) -> Result<(), ScheduleError> {
    let at = cursor.position;
    let (start, end) = if cursor.eat('*') || (unit.takes_question_mark() && cursor.eat('?')) {
        (unit.min(), unit.max())
    } else if let Some(start) = cursor.number(unit)? {
        match cursor.eat('-') {
            true => (start, cursor.number(unit)?.ok_or_else(|| cursor.unexpected(unit))?),
            false if cursor.peek() == Some('/') => (start, unit.max()),
            false => (start, start),
        }
    } else if let Some(start) = cursor.name(unit)? {
        if !cursor.eat('-') {
            values.insert(start);
            return Ok(());
        }
        (start, cursor.name(unit)?.ok_or_else(|| cursor.unexpected(unit))?)
    } else {
        return Err(cursor.unexpected(unit));
    };
    if start > end {
        return Err(ScheduleError::new(
            unit,
            cursor.column(at),
            ScheduleErrorKind::Backwards { start, end },
        ));
    }
    let step = if cursor.eat('/') { cursor.step(unit)? } else { 1 };
    values.extend((start..=end).step_by(step));
    Ok(())
}

/// A position in the expression.
struct Cursor<'a> {
    text: &'a str,
    /// Offset in bytes.
    position: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Converts a byte offset to a column, in characters from 1. It counts from the start, so only
    /// errors use it.
    fn column(&self, position: usize) -> usize {
        self.text.get(..position).unwrap_or_default().chars().count() + 1
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.position += wanted.len_utf8();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken =
            rest.find(|c| !wanted(c)).map_or(rest, |end| rest.get(..end).unwrap_or_default());
        self.position += taken.len();
        taken
    }

    fn skip_white_space(&mut self) {
        self.take_while(|c| WHITE_SPACE.contains(&c));
    }

    /// A number in the unit's range, with white space around it. `None` if there is no digit.
    fn number(&mut self, unit: Unit) -> Result<Option<u32>, ScheduleError> {
        self.digits(|value| (unit.min()..=unit.max()).contains(&value)).map_err(
            |(column, value)| {
                ScheduleError::new(unit, column, ScheduleErrorKind::OutOfRange { value })
            },
        )
    }

    /// The number after a slash.
    fn step(&mut self, unit: Unit) -> Result<usize, ScheduleError> {
        let step =
            self.digits(|value| (1..=unit.max()).contains(&value)).map_err(|(column, value)| {
                ScheduleError::new(unit, column, ScheduleErrorKind::Step { value })
            })?;
        // The largest allowed step is 2100.
        step.and_then(|step| usize::try_from(step).ok()).ok_or_else(|| self.unexpected(unit))
    }

    /// Digits with white space around them. A number that is not allowed is the error, with its
    /// column.
    fn digits(&mut self, allowed: impl Fn(u32) -> bool) -> Result<Option<u32>, (usize, String)> {
        self.skip_white_space();
        let at = self.position;
        let digits = self.take_while(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return Ok(None);
        }
        self.skip_white_space();
        match digits.parse() {
            Ok(value) if allowed(value) => Ok(Some(value)),
            _ => Err((self.column(at), shorten(digits))),
        }
    }

    /// A name of a month or day, in any case, with white space around it. `None` if there is no
    /// letter.
    fn name(&mut self, unit: Unit) -> Result<Option<u32>, ScheduleError> {
        self.skip_white_space();
        let at = self.position;
        let name = self.take_while(|c| c.is_ascii_alphabetic());
        if name.is_empty() {
            return Ok(None);
        }
        self.skip_white_space();
        match unit.names().iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, value)) => Ok(Some(*value)),
            None => Err(ScheduleError::new(
                unit,
                self.column(at),
                ScheduleErrorKind::Name { name: shorten(name) },
            )),
        }
    }

    fn is_after_white_space(&self) -> bool {
        self.text.get(..self.position).is_some_and(|before| before.ends_with(WHITE_SPACE))
    }

    /// The error for the next character.
    fn unexpected(&self, unit: Unit) -> ScheduleError {
        if unit == Unit::DayOfWeek && self.at_end() && self.text.split_whitespace().count() == 5 {
            return ScheduleError::no_seconds(self.column(self.position));
        }
        ScheduleError::new(
            unit,
            self.column(self.position),
            self.peek()
                .map_or(ScheduleErrorKind::Missing, |found| ScheduleErrorKind::Syntax { found }),
        )
    }
}

/// Keeps an error on one readable line, whatever the file contains.
fn shorten(text: &str) -> String {
    text.chars().take(20).collect()
}

/// A field of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 59.
    Second,
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, or a name.
    Month,
    /// 1 (Sunday) to 7, or a name.
    DayOfWeek,
    /// 1970 to 2100.
    Year,
}

impl Unit {
    fn min(self) -> u32 {
        match self {
            Unit::Second | Unit::Minute | Unit::Hour => 0,
            Unit::DayOfMonth | Unit::Month | Unit::DayOfWeek => 1,
            Unit::Year => 1970,
        }
    }

    pub(super) fn max(self) -> u32 {
        match self {
            Unit::Second | Unit::Minute => 59,
            Unit::Hour => 23,
            Unit::DayOfMonth => 31,
            Unit::Month => 12,
            Unit::DayOfWeek => 7,
            Unit::Year => 2100,
        }
    }

    fn all(self) -> BTreeSet<u32> {
        (self.min()..=self.max()).collect()
    }

    fn takes_question_mark(self) -> bool {
        matches!(self, Unit::DayOfMonth | Unit::DayOfWeek)
    }

    fn names(self) -> &'static [(&'static str, u32)] {
        match self {
            Unit::Month => &MONTHS,
            Unit::DayOfWeek => &DAYS_OF_WEEK,
            _ => &[],
        }
    }

    /// The field's name and its number, from 1.
    pub(super) fn label(self) -> (&'static str, u8) {
        match self {
            Unit::Second => ("second", 1),
            Unit::Minute => ("minute", 2),
            Unit::Hour => ("hour", 3),
            Unit::DayOfMonth => ("day of month", 4),
            Unit::Month => ("month", 5),
            Unit::DayOfWeek => ("day of week", 6),
            Unit::Year => ("year", 7),
        }
    }

    pub(super) fn allowed(self) -> &'static str {
        match self {
            Unit::Second | Unit::Minute => "0 to 59",
            Unit::Hour => "0 to 23",
            Unit::DayOfMonth => "1 to 31 or ?",
            Unit::Month => "1 to 12, or JAN to DEC",
            Unit::DayOfWeek => "1 (Sunday) to 7, SUN to SAT, or ?",
            Unit::Year => "1970 to 2100",
        }
    }
}

const MONTHS: [(&str, u32); 23] = [
    ("jan", 1),
    ("january", 1),
    ("feb", 2),
    ("february", 2),
    ("mar", 3),
    ("march", 3),
    ("apr", 4),
    ("april", 4),
    ("may", 5),
    ("jun", 6),
    ("june", 6),
    ("jul", 7),
    ("july", 7),
    ("aug", 8),
    ("august", 8),
    ("sep", 9),
    ("september", 9),
    ("oct", 10),
    ("october", 10),
    ("nov", 11),
    ("november", 11),
    ("dec", 12),
    ("december", 12),
];

const DAYS_OF_WEEK: [(&str, u32); 16] = [
    ("sun", 1),
    ("sunday", 1),
    ("mon", 2),
    ("monday", 2),
    ("tue", 3),
    ("tues", 3),
    ("tuesday", 3),
    ("wed", 4),
    ("wednesday", 4),
    ("thu", 5),
    ("thurs", 5),
    ("thursday", 5),
    ("fri", 6),
    ("friday", 6),
    ("sat", 7),
    ("saturday", 7),
];
