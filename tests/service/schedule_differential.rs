//! Our cron parser beside the `cron` crate, whose semantics it promises: thousands of random
//! expressions, sound and broken, and instants. `SEED=n cargo test --test service differential`
//! repeats a run.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use kanidm_ldap_sync::schedule::{CronSchedule, ScheduleErrorKind};

use crate::support::random::Random;

impl Random {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low + 1) as usize) as u64
    }

    fn instant(&mut self) -> DateTime<Utc> {
        // 1960 to 2110: before, within and after the years an expression can name. Ends of years
        // and of February come up on purpose.
        let any = self.between(0, 150 * 31_557_600) as i64 - 10 * 31_557_600;
        let seconds = match self.below(4) {
            0 => DateTime::from_str(&format!("{}-12-31T23:59:59Z", self.between(1970, 2100)))
                .map(|t: DateTime<Utc>| t.timestamp())
                .unwrap(),
            1 => DateTime::from_str(&format!(
                "{}-02-28T23:59:5{}Z",
                self.between(1970, 2100),
                self.below(10)
            ))
            .map(|t: DateTime<Utc>| t.timestamp())
            .unwrap(),
            _ => any,
        };
        DateTime::from_timestamp(
            seconds,
            if self.one_in(2) { 0 } else { self.below(1_000_000_000) as u32 },
        )
        .unwrap()
    }

    fn expression(&mut self) -> String {
        if self.one_in(100) {
            return self
                .of(&[
                    "@yearly",
                    "@monthly",
                    "@weekly",
                    "@daily",
                    "@hourly",
                    " @daily ",
                    "@DAILY",
                    "@annually",
                    "@",
                ])
                .to_owned();
        }
        let months = [
            "jan",
            "February",
            "MAR",
            "apr",
            "May",
            "june",
            "jul",
            "AUG",
            "september",
            "oct",
            "Nov",
            "dec",
        ];
        let days = ["SUN", "monday", "Tues", "wed", "thurs", "fri", "Sat"];
        let mut fields = vec![
            self.field(0, 59, &[], false),
            self.field(0, 59, &[], false),
            self.field(0, 23, &[], false),
            self.field(1, 31, &[], true),
            self.field(1, 12, &months, false),
            self.field(1, 7, &days, true),
        ];
        if self.one_in(3) {
            let low = self.between(1970, 2100);
            fields.push(match self.below(3) {
                0 => self.field(1970, 2100, &[], false),
                1 => low.to_string(),
                _ => format!("{low}-{}", self.between(low, 2100)),
            });
        }
        let mut text = fields.join(if self.one_in(20) { " \t" } else { " " });
        if self.one_in(8) {
            self.damage(&mut text);
        }
        text
    }

    fn field(&mut self, min: u64, max: u64, names: &[&str], any: bool) -> String {
        // Mostly open fields: otherwise hardly an expression would fire more than once.
        if self.one_in(2) {
            return if any && self.one_in(3) { "?".to_owned() } else { "*".to_owned() };
        }
        let items = if self.one_in(3) { self.between(2, 4) } else { 1 };
        let separator = if self.one_in(30) { " , " } else { "," };
        (0..items).map(|_| self.item(min, max, names)).collect::<Vec<_>>().join(separator)
    }

    fn item(&mut self, min: u64, max: u64, names: &[&str]) -> String {
        // Now and then one beyond the limit, or a range that runs backwards.
        let limit = if self.one_in(60) { max + 1 } else { max };
        let low = if self.one_in(60) && min > 0 { min - 1 } else { self.between(min, limit) };
        let high = if self.one_in(40) {
            self.between(min, limit)
        } else {
            self.between(low, limit.max(low))
        };
        let longest = if self.one_in(10) { max + 1 } else { 9 };
        let step = if self.one_in(40) { 0 } else { self.between(1, longest) };
        match self.below(if names.is_empty() { 6 } else { 9 }) {
            0 | 1 => low.to_string(),
            2 => format!("{low}-{high}"),
            3 => format!("{low}-{high}/{step}"),
            4 => format!("{low}/{step}"),
            5 => format!("*/{step}"),
            6 => self.of(names).to_owned(),
            7 => {
                let start = self.below(names.len());
                let end = self.between(start as u64, names.len() as u64 - 1) as usize;
                format!("{}-{}", names[start], names[end])
            }
            _ => format!("{}-{}/{step}", self.of(names), self.of(names)),
        }
    }

    /// One character put in, taken out or replaced.
    fn damage(&mut self, text: &mut String) {
        let at = self.below(text.len());
        let with = self.of(&[
            "", " ", "*", "?", "/", "-", ",", "0", "9", "x", "mon", "@", "\n", "ä", "L", "#",
        ]);
        text.replace_range(at..at + self.below(2), with);
    }
}

#[test]
fn accepts_and_fires_as_the_cron_crate_does() {
    let mut random = Random::from_environment();
    let (mut sound, mut broken, mut fired) = (0, 0, 0);
    for _ in 0..20_000 {
        let text = random.expression();
        let (ours, theirs) = match (CronSchedule::parse(&text), cron::Schedule::from_str(&text)) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (Err(error), Ok(theirs)) if error.kind == ScheduleErrorKind::NeverFires => {
                assert_eq!(theirs.after(&DateTime::UNIX_EPOCH).next(), None, "{text:?} does fire");
                continue;
            }
            (Err(_), Err(_)) => {
                broken += 1;
                continue;
            }
            (ours, theirs) => panic!("{text:?}: ours {ours:?}, theirs {theirs:?}"),
        };
        sound += 1;
        for _ in 0..3 {
            let mut instant = random.instant().max(DateTime::UNIX_EPOCH - TimeDelta::seconds(1));
            for _ in 0..3 {
                let next = ours.next_after(instant);
                assert_eq!(next, theirs.after(&instant).next(), "{text:?} after {instant:?}");
                let Some(next) = next else { break };
                fired += 1;
                instant = next;
            }
        }
    }
    println!("{sound} sound, {broken} broken, fired {fired} times");
    assert!(
        sound > 5_000 && broken > 1_000 && fired > 20_000,
        "the generator lost its variety: {sound}, {broken}, {fired}"
    );
}
