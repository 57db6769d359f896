//! The loop of `--schedule`: a run at the start, then by the expression, until a signal ends the
//! process.
//!
//! Runs happen one after the other on the thread that called [`Supervisor::supervise`]. What a run
//! is, and how configuration is read, are closures; time comes from a [`Clock`], so that a day with
//! all its mishaps takes no time to test.
//!
//! The expression speaks of the wall clock, which may step. Hence the loop never waits long without
//! looking at it: set forward over one or more times to run, it runs once; set back, it goes on
//! from the new time. How old the last run is, is measured with the monotonic clock.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::clock::Clock;
use super::health::{Health, Verdict};
use super::notify::Notifier;
use super::signals::Requests;
use crate::schedule::CronSchedule;
use crate::text::utc;

/// What the configuration says about when to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When a run starts.
    pub schedule: CronSchedule,
    /// When one starts that ignores the cookie.
    pub full_refresh_schedule: Option<CronSchedule>,
    /// The sum of a run's own time-outs: what its status may be late by, and how long it may go
    /// without a sign of life.
    pub time_outs: Duration,
}

/// What kind of run is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunKind {
    /// Ignore the cookie.
    pub full: bool,
}

/// The surroundings of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Supervisor<'a, C> {
    /// Where time comes from.
    pub clock: &'a C,
    /// Where the verdicts are recorded.
    pub health: &'a Health,
    /// systemd, if any.
    pub notifier: &'a Notifier,
}

impl<C: Clock> Supervisor<'_, C> {
    /// Makes runs until `wait` returns `None`.
    ///
    /// - `worker` is handed to `run` and `reload`: the configuration and whatever else they share.
    /// - `wait` waits for at most the time given and returns what was asked for meanwhile: see
    ///   [`super::signals::Inbox::wait`].
    /// - `run` makes a run, logs how it went, and calls [`Health::progress`] on the way. If it
    ///   panics, that run has failed.
    /// - `reload` reads and validates the configuration again; on an error `worker` must be as it
    ///   was. The error is logged here.
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
        self.run_once(&mut timetable, |kind| run(worker, kind));
        let alive = || self.health.progress(self.clock.now());
        alive();
        while let Some(requests) = wait(timetable.time_to_wait()) {
            alive();
            if requests.reload {
                self.reload(&mut timetable, || reload(worker));
            }
            let due = timetable.advance(self.wall());
            if due || requests.run_now {
                self.run_once(&mut timetable, |kind| run(worker, kind));
            }
            alive();
        }
    }

    fn run_once(&self, timetable: &mut Timetable, run: impl FnOnce(RunKind) -> Verdict) {
        let kind = RunKind { full: timetable.full_due };
        self.health.run_started(self.clock.now());
        self.notifier.status("synchronising");
        let verdict = catch_unwind(AssertUnwindSafe(|| run(kind))).unwrap_or_else(|_| {
            log::error!("the run ended in a panic, which is a defect of this program: please report it; the service goes on");
            Verdict::Failed
        });
        // Times to run that passed meanwhile are not made up for.
        timetable.advance(self.wall());
        let now = self.clock.now();
        timetable.ran(kind, verdict, now);
        self.health.run_ended(verdict, timetable.good_until().unwrap_or(now));
        self.notifier.status(&timetable.outlook(verdict));
    }

    fn reload(&self, timetable: &mut Timetable, reload: impl FnOnce() -> Result<Timing, String>) {
        self.notifier.reloading();
        match catch_unwind(AssertUnwindSafe(reload))
            .unwrap_or_else(|_| Err("reading it ended in a panic".into()))
        {
            Ok(settings) => {
                self.health.set_patience(settings.time_outs);
                timetable.settings = settings;
                if let Some(good_until) = timetable.good_until() {
                    self.health.set_good_until(good_until);
                }
                log::info!(
                    "{}",
                    timetable.outlook("the configuration was read again and is in force")
                );
                self.notifier.status(&timetable.outlook("configuration read again"));
            }
            Err(error) => {
                log::error!(
                    "the configuration was read again and is not usable, the old one stays in force: {error}"
                );
                self.notifier.status(
                    &timetable
                        .outlook("the configuration file is not usable, the old one is in force"),
                );
            }
        }
        self.notifier.ready();
    }

    fn wall(&self) -> DateTime<Utc> {
        utc(self.clock.wall())
    }
}

/// The wall clock is looked at this often at least, because it may have been set.
/// [`super::health::LOOP_PATIENCE`] is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// When to run, by the wall clock.
#[derive(Debug)]
struct Timetable {
    settings: Timing,
    /// The wall clock when it was last looked at: what fires up to here is dealt with.
    seen: DateTime<Utc>,
    /// A full refresh is due: it stays so until one gets through.
    full_due: bool,
    /// When the last run ended that says how things are: monotonic, and by the wall clock.
    ended: Option<(Instant, DateTime<Utc>)>,
}

impl Timetable {
    fn new(settings: Timing, wall: DateTime<Utc>) -> Timetable {
        Timetable { settings, seen: wall, full_due: false, ended: None }
    }

    /// Takes notice of the time; true when something fired since it was last done. After the clock
    /// was set back that is counted from the new time.
    fn advance(&mut self, wall: DateTime<Utc>) -> bool {
        let seen = std::mem::replace(&mut self.seen, wall);
        let fired =
            |schedule: &CronSchedule| schedule.next_after(seen).is_some_and(|time| time <= wall);
        let full = self.settings.full_refresh_schedule.as_ref().is_some_and(fired);
        self.full_due |= full;
        full || fired(&self.settings.schedule)
    }

    fn ran(&mut self, kind: RunKind, verdict: Verdict, now: Instant) {
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

    fn time_to_wait(&self) -> Duration {
        self.next().map_or(LONGEST_WAIT, |next| span(self.seen, next).min(LONGEST_WAIT))
    }

    /// Until when the last run may be called recent: two periods from its end, that is until the
    /// time after the next, and what the runs then may take.
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

    /// For `systemctl status`.
    fn outlook(&self, news: impl fmt::Display) -> String {
        match self.next() {
            Some(next) => format!("{news}; next run at {}", next.format("%Y-%m-%d %H:%M:%S UTC")),
            None => format!("{news}; the schedule is over, there is no next run"),
        }
    }
}

fn span(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    to.signed_duration_since(from).to_std().unwrap_or_default()
}
