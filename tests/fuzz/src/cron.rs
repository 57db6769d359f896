//! Cron expressions beside the `cron` crate, whose semantics ours promises.

use chrono::{DateTime, TimeDelta, Utc};
use kanidm_ldap_sync::schedule::{CronSchedule, ScheduleErrorKind};
use std::str::FromStr;

/// Four bytes for an instant, then the text of an expression.
pub fn run(data: &[u8]) {
    let Some((seconds, text)) = data.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let ours = CronSchedule::parse(text);
    if let Err(error) = &ours {
        assert!(
            error.column >= 1
                && error.column <= text.chars().count() + 1
                && error.to_string().len() < 400
        );
    }
    // The years an expression can name, and some beyond.
    let mut instant: DateTime<Utc> =
        DateTime::from_timestamp(i64::from(u32::from_be_bytes(*seconds)), 0).unwrap();
    let theirs = cron::Schedule::from_str(text);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(CronSchedule::parse(&ours.to_string()).as_ref(), Ok(&ours));
            for _ in 0..3 {
                let next = ours.next_after(instant);
                assert_eq!(next, theirs.after(&instant).next(), "{text:?} after {instant:?}");
                let Some(next) = next else { break };
                assert!(next > instant);
                instant = next;
            }
        }
        (Err(error), Ok(theirs)) if error.kind == ScheduleErrorKind::NeverFires => {
            let start = DateTime::UNIX_EPOCH - TimeDelta::seconds(1);
            assert_eq!(theirs.after(&start).next(), None, "{text:?} does fire");
        }
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{text:?}: ours {ours:?}, theirs {theirs:?}"),
    }
}
