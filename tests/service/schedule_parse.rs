//! Cron expressions by example: what they mean, and what is said of those that mean nothing.

use chrono::{DateTime, Utc};
use kanidm_ldap_sync::schedule::{CronSchedule, ScheduleErrorKind, Unit};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The first times after `start`, as `YYYY-MM-DD HH:MM:SS`.
fn firings(expression: &str, start: &str, count: usize) -> Vec<String> {
    let schedule = CronSchedule::parse(expression).unwrap();
    std::iter::successors(schedule.next_after(at(start)), |time| schedule.next_after(*time))
        .take(count)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string())
        .collect()
}

#[test]
fn times_by_example() {
    for (expression, start, expected) in [
        // The default of `schedule`.
        (
            "0 */5 * * * * *",
            "2026-06-01T10:04:59.999Z",
            &["2026-06-01 10:05:00", "2026-06-01 10:10:00"][..],
        ),
        // Strictly after.
        ("0 */5 * * * *", "2026-06-01T10:05:00Z", &["2026-06-01 10:10:00"]),
        ("*/20 * * * * *", "2026-12-31T23:59:30Z", &["2026-12-31 23:59:40", "2027-01-01 00:00:00"]),
        // Sunday is 1: 2 to 6 are the working days.
        ("0 30 8 * * 2-6", "2026-06-05T09:00:00Z", &["2026-06-08 08:30:00", "2026-06-09 08:30:00"]),
        ("0 30 8 * * Mon-FRIDAY", "2026-06-05T09:00:00Z", &["2026-06-08 08:30:00"]),
        ("@weekly", "2026-06-05T09:00:00Z", &["2026-06-07 00:00:00", "2026-06-14 00:00:00"]),
        // Both the day of the month and the day of the week have to match.
        (
            "0 0 12 13 * FRI",
            "2026-01-01T00:00:00Z",
            &[
                "2026-02-13 12:00:00",
                "2026-03-13 12:00:00",
                "2026-11-13 12:00:00",
                "2027-08-13 12:00:00",
            ],
        ),
        (
            "0 0 0 31 * ?",
            "2026-01-31T00:00:00Z",
            &["2026-03-31 00:00:00", "2026-05-31 00:00:00", "2026-07-31 00:00:00"],
        ),
        ("0 0 0 29 FEB *", "2026-01-01T00:00:00Z", &["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        // The last year there is, 2100, is not a leap year.
        ("0 0 0 29 2 *", "2096-02-29T00:00:00Z", &[]),
        (
            "0 0 0 29 2 WED",
            "2026-01-01T00:00:00Z",
            &["2040-02-29 00:00:00", "2068-02-29 00:00:00", "2096-02-29 00:00:00"],
        ),
        (
            "0 0 0 1,15 1-3,12 * 2027-2028/1",
            "2027-12-02T00:00:00Z",
            &["2027-12-15 00:00:00", "2028-01-01 00:00:00"],
        ),
        ("59 59 23 31 12 ? 2100", "2026-01-01T00:00:00Z", &["2100-12-31 23:59:59"]),
        ("0 0 20/2 * * *", "2026-06-01T20:30:00Z", &["2026-06-01 22:00:00", "2026-06-02 20:00:00"]),
        ("@hourly", "1969-07-20T20:17:40Z", &["1970-01-01 00:00:00"]),
        ("* * * * * *", "2100-12-31T23:59:59Z", &[]),
        ("* * * * * *", "9999-12-31T23:59:59Z", &[]),
    ] {
        let count = expected.len().max(1);
        assert_eq!(firings(expression, start, count), expected, "{expression:?} after {start}");
    }
}

#[test]
fn errors_point_at_the_field() {
    use ScheduleErrorKind::{
        Backwards, Missing, Name, NeverFires, NoSeconds, OutOfRange, Shorthand, Step, Syntax,
        TooMany,
    };
    let number = |text: &str| OutOfRange { value: text.to_owned() };
    for (expression, field, column, kind) in [
        ("", Some(Unit::Second), 1, Missing),
        ("0", Some(Unit::Minute), 2, Missing),
        // The five fields of Unix cron.
        ("*/5 * * * *", None, 12, NoSeconds),
        ("0 60 * * * *", Some(Unit::Minute), 3, number("60")),
        ("0 0 24 * * *", Some(Unit::Hour), 5, number("24")),
        ("0 0 0 0 * *", Some(Unit::DayOfMonth), 7, number("0")),
        ("0 0 0 1,32 * *", Some(Unit::DayOfMonth), 9, number("32")),
        ("0 0 0 * 13 *", Some(Unit::Month), 9, number("13")),
        ("0 0 0 * * 0", Some(Unit::DayOfWeek), 11, number("0")),
        ("0 0 0 * * * 1969", Some(Unit::Year), 13, number("1969")),
        ("0 0 0 * * * 2101", Some(Unit::Year), 13, number("2101")),
        ("99999999999 0 0 * * *", Some(Unit::Second), 1, number("99999999999")),
        ("0 0 0 * Janvier *", Some(Unit::Month), 9, Name { name: "Janvier".into() }),
        ("0 0 Mon * * *", Some(Unit::Hour), 5, Name { name: "Mon".into() }),
        ("0 30-10 * * * *", Some(Unit::Minute), 3, Backwards { start: 30, end: 10 }),
        ("0 0 0 * * SAT-SUN", Some(Unit::DayOfWeek), 11, Backwards { start: 7, end: 1 }),
        ("0 */0 * * * *", Some(Unit::Minute), 5, Step { value: "0".into() }),
        ("0 */60 * * * *", Some(Unit::Minute), 5, Step { value: "60".into() }),
        ("0 0/ * * * *", Some(Unit::Minute), 6, Syntax { found: '*' }),
        ("0 0 0 * * MON/2", Some(Unit::DayOfWeek), 14, Syntax { found: '/' }),
        ("0 0 0 * * MON-3", Some(Unit::DayOfWeek), 15, Syntax { found: '3' }),
        ("0 0 0 L * *", Some(Unit::DayOfMonth), 7, Name { name: "L".into() }),
        ("0 1, * * * *", Some(Unit::Minute), 6, Syntax { found: '*' }),
        ("0 ? * * * *", Some(Unit::Minute), 3, Syntax { found: '?' }),
        ("0 ünf * * * *", Some(Unit::Minute), 3, Syntax { found: 'ü' }),
        ("0 0 0 1 1 ", None, 11, NoSeconds),
        ("0 0 0 1", Some(Unit::Month), 8, Missing),
        ("0 0 0 * * * * *", None, 15, TooMany),
        ("0 0 0 * * * 2030 5", None, 18, TooMany),
        ("0 0 0 * * * 2030x", Some(Unit::Year), 17, Syntax { found: 'x' }),
        ("@daily x", None, 1, Shorthand),
        ("@reboot", None, 1, Shorthand),
        ("0 0 0 30 2 *", None, 1, NeverFires),
        ("0 0 0 29 2 * 2026-2027", None, 1, NeverFires),
        ("0 0 0 29 2 MON 2028", None, 1, NeverFires),
    ] {
        let error = CronSchedule::parse(expression).expect_err(expression);
        assert_eq!(
            (error.field, error.column, &error.kind),
            (field, column, &kind),
            "{expression:?}"
        );
    }
}

#[test]
fn errors_read_well() {
    let message = |expression: &str| CronSchedule::parse(expression).unwrap_err().to_string();
    assert_eq!(
        message("0 61 * * * *"),
        "minute (field 2, column 3): 61 is out of range; allowed are 0 to 59"
    );
    assert_eq!(
        message("0 0 0 * * 0"),
        "day of week (field 6, column 11): 0 is out of range; allowed are 1 (Sunday) to 7, SUN to SAT, or ?"
    );
    assert_eq!(
        message("0 */90 * * * *"),
        "minute (field 2, column 5): a step of 90 is out of range; allowed are 1 to 59"
    );
    let fields = "The fields are: second minute hour day-of-month month day-of-week [year]";
    assert_eq!(
        message("*/5 * * * *"),
        format!(
            "five fields, as in a crontab, but a schedule begins with the seconds: put 0 in front, \
             and count the days of the week from 1 (Sunday). {fields}"
        )
    );
    assert_eq!(
        message("0 0 0 * * * * *"),
        format!("an eighth field: remove it (column 15). {fields}")
    );
    assert_eq!(
        message("0 0 0 L- * *"),
        "day of month (field 4, column 7): the name \"L\" is not known; allowed are 1 to 31 or ?"
    );
    assert_eq!(
        message("0 ; * * * *"),
        format!(
            "minute (field 2, column 3): unexpected ';'; allowed are 0 to 59, *, lists (1,2), \
             ranges (1-5), steps (*/5). {fields}"
        )
    );
    // Long input is cut.
    assert!(message(&"9".repeat(10_000)).len() < 200);
}

#[test]
fn a_schedule_whose_years_are_over_is_refused_when_the_service_starts() {
    let schedule = CronSchedule::parse("0 0 0 * * * 2024-2025").unwrap();
    schedule.fires_after(at("2025-12-30T23:59:59Z")).unwrap();
    let error = schedule.fires_after(at("2026-01-01T00:00:00Z")).unwrap_err();
    assert_eq!(error.kind, ScheduleErrorKind::NeverFires);
}

#[test]
fn an_expression_is_shown_as_it_was_written() {
    assert_eq!(
        CronSchedule::parse("  0  */5 * * * MON\n").unwrap().to_string(),
        "0  */5 * * * MON"
    );
}
