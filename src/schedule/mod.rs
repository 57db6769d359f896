//! Cron expressions: computes the next start time from an expression.
//!
//! Scope: text to times, without a thread or a clock. All times are UTC, so daylight saving time
//! does not matter.
//!
//! An expression means the same as in the Rust `cron` crate, which Kanidm's own sync tool uses. The
//! test `tests/service/schedule_differential.rs` compares both. The fields are `sec min hour day-of-month
//! month day-of-week [year]`. Sunday is 1, and the years are 1970 to 2100. **Both day-of-month and
//! day-of-week must match**; in Unix cron either is enough.

mod error;
mod parse;

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};

pub use error::{ScheduleError, ScheduleErrorKind};
pub use parse::Unit;

/// A parsed cron expression. It fires at least once between 1970 and 2100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronSchedule {
    source: String,
    fields: Fields,
}

/// The allowed values of each field. No set is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    seconds: BTreeSet<u32>,
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    days_of_month: BTreeSet<u32>,
    months: BTreeSet<u32>,
    /// 1 is Sunday.
    days_of_week: BTreeSet<u32>,
    years: BTreeSet<u32>,
}

impl CronSchedule {
    /// Parses an expression of six or seven fields, or `@yearly`, `@monthly`, `@weekly`, `@daily`,
    /// `@hourly`.
    ///
    /// # Errors
    /// The error names the field, the column and the allowed values. An expression is also invalid
    /// if it matches no day from 1970 to 2100, such as 30 February.
    pub fn parse(text: &str) -> Result<CronSchedule, ScheduleError> {
        let schedule = CronSchedule { source: text.trim().to_owned(), fields: parse::parse(text)? };
        match schedule.fields.first_day_from(NaiveDate::default()) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::never_fires()),
        }
    }

    /// The first time strictly after `after`, in whole seconds. `None` if the schedule never fires
    /// again.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let from = after.checked_add_signed(TimeDelta::seconds(1))?;
        let today = from.date_naive();
        let first = self.fields.first_day_from(today)?;
        if first == today
            && let Some(time) = self.fields.first_time_from(from.time())
        {
            return Some(today.and_time(time).and_utc());
        }
        let day =
            if first == today { self.fields.first_day_from(today.succ_opt()?)? } else { first };
        Some(day.and_time(self.fields.first_time_from(NaiveTime::MIN)?).and_utc())
    }

    /// Rejects an expression that never fires after `now`. The configuration reader calls it, so
    /// that a service does not wait for ever.
    ///
    /// # Errors
    /// [`ScheduleErrorKind::NeverFires`].
    pub fn fires_after(&self, now: DateTime<Utc>) -> Result<(), ScheduleError> {
        self.next_after(now).map(|_| ()).ok_or_else(ScheduleError::never_fires)
    }
}

impl fmt::Display for CronSchedule {
    /// Writes the expression as it was parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Fields {
    /// The first matching day from `start`. Checks at most 131 years of twelve months, so rare
    /// dates are cheap too.
    fn first_day_from(&self, start: NaiveDate) -> Option<NaiveDate> {
        let start_year = u32::try_from(start.year()).unwrap_or(0);
        for &year in self.years.range(start_year..) {
            let start_month = if year == start_year { start.month() } else { 1 };
            for &month in self.months.range(start_month..) {
                let start_day =
                    if (year, month) == (start_year, start.month()) { start.day() } else { 1 };
                if let Some(date) = self.first_day_in(year, month, start_day) {
                    return Some(date);
                }
            }
        }
        None
    }

    /// The first matching day of one month. Skips days that the month does not have.
    fn first_day_in(&self, year: u32, month: u32, start_day: u32) -> Option<NaiveDate> {
        let year = i32::try_from(year).ok()?;
        self.days_of_month
            .range(start_day..)
            .filter_map(|&day| NaiveDate::from_ymd_opt(year, month, day))
            .find(|date| self.days_of_week.contains(&date.weekday().number_from_sunday()))
    }

    /// The first matching time of day from `start`.
    fn first_time_from(&self, start: NaiveTime) -> Option<NaiveTime> {
        for &hour in self.hours.range(start.hour()..) {
            let start_minute = if hour == start.hour() { start.minute() } else { 0 };
            for &minute in self.minutes.range(start_minute..) {
                let start_second = if (hour, minute) == (start.hour(), start.minute()) {
                    start.second()
                } else {
                    0
                };
                if let Some(&second) = self.seconds.range(start_second..).next() {
                    return NaiveTime::from_hms_opt(hour, minute, second);
                }
            }
        }
        None
    }
}
