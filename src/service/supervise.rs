//! The loop of `--schedule`: one run at the start, then by the cron expression and when the
//! directory rings, until a signal ends the process.
//!
//! Scope: when to run. Runs follow one another on the thread that called [`Supervisor::supervise`].
//! Closures make a run and read the configuration, and a [`Clock`] gives the time. So a test of a
//! day with all its mishaps takes no time.
//!
//! The expression uses the wall clock, which may step. So the loop reads that clock often. If it is
//! set forward over several times to run, the loop runs once. If it is set back, the loop continues
//! from the new time. The age of the last run is measured with the monotonic clock.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::health::{Health, Verdict};
use super::notify::Notifier;
use super::pace::Pace;
use super::signals::Requests;
use crate::clock::Clock;
use crate::schedule::CronSchedule;
use crate::text::utc;

/// The part of the configuration that decides when to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When a run starts.
    pub schedule: CronSchedule,
    /// When a run starts that ignores the cookie.
    pub full_refresh_schedule: Option<CronSchedule>,
    /// The sum of a run's time-outs. Its status may be late by this time, and it may go without a
    /// sign of life for this time.
    pub time_outs: Duration,
    /// Minimum time from the start of a run to the start of the next one for a ring. `None`: rings
    /// are ignored.
    pub follow_interval: Option<Duration>,
}

/// The kind of run that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunKind {
    /// The run ignores the cookie.
    pub full: bool,
    /// The run answers a ring of the directory.
    pub ring: bool,
}

/// The surroundings of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Supervisor<'a, C> {
    /// Gives the time.
    pub clock: &'a C,
    /// Records the verdicts.
    pub health: &'a Health,
    /// systemd, if any.
    pub notifier: &'a Notifier,
}

impl<C: Clock> Supervisor<'_, C> {
    /// Makes runs until `wait` returns `None`.
    ///
    /// - `worker` is passed to `run` and `reload`: the configuration and everything else that they
    ///   share.
    /// - `wait` waits for at most the given time and returns the requests of that time; see
    ///   [`super::signals::Inbox::wait`].
    /// - `run` makes a run, logs its result, and calls [`Health::progress`] on the way. If it
    ///   panics, that run has failed.
    /// - `reload` reads and validates the configuration again. On an error it must leave `worker`
    ///   as it was. This function logs the error.
    pub fn supervise<W>(
        &self,
        worker: &mut W,
        settings: Timing,
        mut wait: impl FnMut(Duration) -> Option<Requests>,
        mut run: impl FnMut(&mut W, RunKind) -> Verdict,
        mut reload: impl FnMut(&mut W) -> Result<Timing, String>,
    ) {
        let _attendance = self.health.attend();
        self.health.set_patience(settings.time_outs);
        let mut timetable = Timetable::new(settings, self.wall());
        self.notifier.ready();
        timetable.news_of_timing(None).iter().for_each(|line| log::info!("{line}"));
        self.run_once(&mut timetable, |kind| run(worker, kind));
        let alive = || self.health.progress(self.clock.now());
        alive();
        while let Some(requests) = wait(timetable.time_to_wait(self.clock.now())) {
            alive();
            if requests.reload {
                self.reload(&mut timetable, || reload(worker));
            }
            if requests.ring && timetable.settings.follow_interval.is_some() {
                timetable.pace.ring();
            }
            let due = timetable.advance(self.wall());
            let answers = timetable.ring_due_in(self.clock.now()) == Some(Duration::ZERO);
            if due || requests.run_now || answers {
                self.run_once(&mut timetable, |kind| run(worker, kind));
            } else if requests.news {
                self.tell(&timetable);
            }
            alive();
        }
    }

    fn run_once(&self, timetable: &mut Timetable, run: impl FnOnce(RunKind) -> Verdict) {
        self.health.run_started(self.clock.now());
        let ring = timetable.pace.begins(self.clock.now());
        let kind = RunKind { full: timetable.full_due, ring };
        self.notifier.status("synchronising");
        let verdict = catch_unwind(AssertUnwindSafe(|| run(kind))).unwrap_or_else(|_| {
            log::error!("the run ended in a panic, which is a defect of this program: please report it; the service goes on");
            Verdict::Failed
        });
        // Times to run that passed during the run are skipped.
        timetable.advance(self.wall());
        let now = self.clock.now();
        timetable.ran(kind, verdict, now);
        self.health.run_ended(verdict, timetable.good_until().unwrap_or(now));
        timetable.news = verdict.to_string();
        self.tell(timetable);
    }

    fn reload(&self, timetable: &mut Timetable, reload: impl FnOnce() -> Result<Timing, String>) {
        self.notifier.reloading();
        match catch_unwind(AssertUnwindSafe(reload))
            .unwrap_or_else(|_| Err("reading it ended in a panic".into()))
        {
            Ok(settings) => {
                self.health.set_patience(settings.time_outs);
                if settings.follow_interval.is_none() {
                    timetable.pace.forget();
                }
                let before = std::mem::replace(&mut timetable.settings, settings);
                if let Some(good_until) = timetable.good_until() {
                    self.health.set_good_until(good_until);
                }
                log::info!(
                    "{}",
                    timetable.outlook("the configuration was read again and is in force")
                );
                let changed = timetable.news_of_timing(Some(&before));
                changed.iter().for_each(|line| log::info!("{line}"));
                timetable.news = "configuration read again".to_owned();
                self.tell(timetable);
            }
            Err(error) => {
                log::error!(
                    "the configuration was read again and is not usable, the old one stays in force:"
                );
                error.lines().for_each(|line| log::error!("{line}"));
                timetable.news =
                    "the configuration file is not usable, the old one is in force".to_owned();
                self.tell(timetable);
            }
        }
        self.notifier.ready();
    }

    /// The line that `systemctl status` shows.
    fn tell(&self, timetable: &Timetable) {
        let news = &timetable.news;
        self.notifier.status(&match self.health.following() {
            Some(state) => timetable.outlook(format_args!("{news}; {state}")),
            None => timetable.outlook(news),
        });
    }

    fn wall(&self) -> DateTime<Utc> {
        utc(self.clock.wall())
    }
}

/// Times in messages. A schedule is in UTC, too.
const TIME: &str = "%Y-%m-%d %H:%M:%S UTC";

/// Maximum time between two looks at the wall clock, because somebody may set it.
/// [`super::health::LOOP_PATIENCE`] is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The times to run, by the wall clock.
#[derive(Debug)]
struct Timetable {
    settings: Timing,
    /// The wall clock at the last look. Every time up to here is handled.
    seen: DateTime<Utc>,
    /// True if a full refresh is due. It stays true until one succeeds.
    full_due: bool,
    /// The end of the last run that had the lock: monotonic, and by the wall clock.
    ended: Option<(Instant, DateTime<Utc>)>,
    /// When rings start runs.
    pace: Pace,
    /// The latest event, for `systemctl status`.
    news: String,
}

impl Timetable {
    fn new(settings: Timing, wall: DateTime<Utc>) -> Timetable {
        Timetable {
            settings,
            seen: wall,
            full_due: false,
            ended: None,
            pace: Pace::default(),
            news: String::new(),
        }
    }

    /// Moves the clock on. True if a schedule fired since the last call. If the clock was set back,
    /// counting starts at the new time.
    fn advance(&mut self, wall: DateTime<Utc>) -> bool {
        let seen = std::mem::replace(&mut self.seen, wall);
        let fired =
            |schedule: &CronSchedule| schedule.next_after(seen).is_some_and(|time| time <= wall);
        let full = self.settings.full_refresh_schedule.as_ref().is_some_and(fired);
        self.full_due |= full;
        full || fired(&self.settings.schedule)
    }

    fn ran(&mut self, kind: RunKind, verdict: Verdict, now: Instant) {
        self.pace.ends(verdict, now);
        if verdict != Verdict::Busy {
            self.ended = Some((now, self.seen));
        }
        if kind.full && matches!(verdict, Verdict::Synchronised | Verdict::FewHeld | Verdict::Held)
        {
            self.full_due = false;
        }
    }

    /// The next run, of either kind.
    fn next(&self) -> Option<DateTime<Utc>> {
        let full = self
            .settings
            .full_refresh_schedule
            .as_ref()
            .and_then(|schedule| schedule.next_after(self.seen));
        self.settings.schedule.next_after(self.seen).into_iter().chain(full).min()
    }

    fn time_to_wait(&self, now: Instant) -> Duration {
        let next = self.next().map_or(LONGEST_WAIT, |next| span(self.seen, next));
        next.min(self.ring_due_in(now).unwrap_or(LONGEST_WAIT)).min(LONGEST_WAIT)
    }

    /// The time until a run has to answer a ring; `None` without a ring.
    fn ring_due_in(&self, now: Instant) -> Option<Duration> {
        self.pace.due_in(self.settings.follow_interval?, now)
    }

    /// The end of the time in which the last run counts as recent: two periods after its end, plus
    /// the time that the runs then may take.
    fn good_until(&self) -> Option<Instant> {
        let (ended, wall) = self.ended?;
        let schedule = &self.settings.schedule;
        let next = schedule.next_after(wall);
        let periods = next
            .and_then(|next| schedule.next_after(next))
            .or(next)
            .map_or(Duration::ZERO, |time| span(wall, time));
        Some(ended.checked_add(periods.saturating_add(self.settings.time_outs)).unwrap_or(ended))
    }

    /// When runs start: one line for each setting that differs from `before`. At the start of the
    /// service there is none, and a run starts at once.
    fn news_of_timing(&self, before: Option<&Timing>) -> Vec<String> {
        let Timing { schedule, full_refresh_schedule: full, follow_interval: follow, .. } =
            &self.settings;
        let mut lines = Vec::new();
        if before.is_none_or(|before| before.schedule != *schedule) {
            let first = if before.is_none() { "a run starts now, and " } else { "" };
            let next = self.start_after_now(schedule);
            lines.push(format!("schedule \"{schedule}\": {first}the next run {next}"));
        }
        if before.map_or(full.is_some(), |before| before.full_refresh_schedule != *full) {
            lines.push(match full {
                Some(full) => {
                    let next = self.start_after_now(full);
                    format!("full_refresh_schedule \"{full}\": the next full refresh {next}")
                }
                None => "full_refresh_schedule is not set any more".to_owned(),
            });
        }
        if before.map_or(follow.is_some(), |before| before.follow_interval != *follow) {
            lines.push(match follow {
                Some(interval) => format!(
                    "follow: a change in the directory starts a run, at most one in {} s",
                    interval.as_secs_f64()
                ),
                None => "follow is off: changes in the directory wait for the schedule".to_owned(),
            });
        }
        lines
    }

    fn start_after_now(&self, schedule: &CronSchedule) -> String {
        match schedule.next_after(self.seen) {
            Some(next) => format!("starts at {}", next.format(TIME)),
            None => "never starts, because the schedule is over".to_owned(),
        }
    }

    /// The text for `systemctl status`.
    fn outlook(&self, news: impl fmt::Display) -> String {
        match self.next() {
            Some(next) => format!("{news}; next run at {}", next.format(TIME)),
            None => format!("{news}; the schedule is over, there is no next run"),
        }
    }
}

fn span(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    to.signed_duration_since(from).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_tells_all_times_and_a_reload_those_that_changed() {
        let timing = |schedule: &str, full: Option<&str>, follow: Option<f64>| Timing {
            schedule: CronSchedule::parse(schedule).unwrap(),
            full_refresh_schedule: full.map(|full| CronSchedule::parse(full).unwrap()),
            time_outs: Duration::ZERO,
            follow_interval: follow.map(Duration::from_secs_f64),
        };
        let wall = DateTime::from_timestamp(1_795_948_920, 0).unwrap();
        let told =
            |now: Timing, before: Option<&Timing>| Timetable::new(now, wall).news_of_timing(before);
        let (plain, full) = ("0 */5 * * * *", "0 30 2 * * *");
        let next = "starts at 2026-11-29 10:45:00 UTC";
        let first = timing(plain, None, None);
        assert_eq!(
            told(first.clone(), None),
            [format!("schedule \"{plain}\": a run starts now, and the next run {next}")]
        );
        assert_eq!(told(first.clone(), Some(&first)), [""; 0]);
        let more = timing("0 0 12 * * *", Some(full), Some(0.5));
        assert_eq!(
            told(more.clone(), Some(&first)),
            [
                "schedule \"0 0 12 * * *\": the next run starts at 2026-11-29 12:00:00 UTC",
                "full_refresh_schedule \"0 30 2 * * *\": the next full refresh starts at 2026-11-30 02:30:00 UTC",
                "follow: a change in the directory starts a run, at most one in 0.5 s",
            ]
        );
        assert_eq!(told(more.clone(), None).len(), 3);
        assert_eq!(
            told(first, Some(&more)),
            [
                format!("schedule \"{plain}\": the next run {next}"),
                "full_refresh_schedule is not set any more".to_owned(),
                "follow is off: changes in the directory wait for the schedule".to_owned(),
            ]
        );
        let over = told(timing("0 0 0 1 1 * 1999", None, None), None);
        assert!(over[0].ends_with("the next run never starts, because the schedule is over"));
    }
}
