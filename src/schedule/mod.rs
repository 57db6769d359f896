//! Cron expressions: when the next run starts. All times are UTC, so there is no daylight saving
//! time to stumble over.
//!
//! An expression means here exactly what it means to the Rust `cron` crate, which Kanidm's own sync
//! tool uses (tests/schedule_differential.rs holds the two side by side): `sec min hour
//! day-of-month month day-of-week [year]`, Sunday is 1, the years are 1970 to 2100, and
//! **day-of-month and day-of-week both have to match**, which differs from Unix cron, where either
//! is enough.

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

/// The values each field allows; none of the sets is empty.
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
    /// Names the field, the column and what is allowed there. An expression that matches no day of
    /// the years 1970 to 2100, such as 30 February, is an error too.
    pub fn parse(text: &str) -> Result<CronSchedule, ScheduleError> {
        let schedule = CronSchedule { source: text.trim().to_owned(), fields: parse::parse(text)? };
        match schedule.fields.first_day_from(NaiveDate::default()) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::never_fires()),
        }
    }

    /// The first time it fires strictly after `after`, whole seconds; `None` when it never fires
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

    /// Refuses an expression whose years are over: configuration is read with this, so that a
    /// service cannot wait for ever.
    ///
    /// # Errors
    /// [`ScheduleErrorKind::NeverFires`] when nothing fires after `now`.
    pub fn fires_after(&self, now: DateTime<Utc>) -> Result<(), ScheduleError> {
        self.next_after(now).map(|_| ()).ok_or_else(ScheduleError::never_fires)
    }
}

impl fmt::Display for CronSchedule {
    /// The expression as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Fields {
    /// The first day from `start` on that matches. At most 131 years of twelve months are looked
    /// at, so rare dates are cheap as well.
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

    /// The first matching day of one month; days that the month does not have are passed over.
    fn first_day_in(&self, year: u32, month: u32, start_day: u32) -> Option<NaiveDate> {
        let year = i32::try_from(year).ok()?;
        self.days_of_month
            .range(start_day..)
            .filter_map(|&day| NaiveDate::from_ymd_opt(year, month, day))
            .find(|date| self.days_of_week.contains(&date.weekday().number_from_sunday()))
    }

    /// The first matching time of day from `start` on.
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
