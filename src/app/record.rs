//! `metrics_file`: what a run tells monitoring.
//!
//! Scope: from the result of a run to the facts of [`crate::metrics`]. A dry run records nothing.

use std::cell::RefCell;
use std::iter::successors;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::Ended;
use crate::cli::{Cli, Mode};
use crate::config;
use crate::config::sync::SyncConfig;
use crate::exit::ExitCode;
use crate::metrics::file::MetricsFile;
use crate::metrics::{Failure, LastRun, Metrics, Success};
use crate::schedule::CronSchedule;
use crate::service::follow::Following;
use crate::sync::guard::Deletions;
use crate::sync::report::{ReadMode, Report};
use crate::sync::run::RunError;
use crate::text::{of_unix, unix};

/// The result of a run, for monitoring.
#[derive(Clone, Debug)]
pub(super) enum RunFacts {
    /// The run synchronised.
    Done(Box<LastRun>, Success),
    /// The run failed, with its error.
    Failed(Failure, String),
}

impl RunFacts {
    /// The facts of a run that did not fail.
    pub(super) fn of(report: &Report) -> RunFacts {
        let seconds = |time: Duration| Some(time.as_secs_f64());
        let run = LastRun {
            full: Some(matches!(report.mode, ReadMode::Full(_))),
            read: Some(report.read),
            persons: Some(report.persons),
            groups: Some(report.groups),
            deleted: Some(report.deleted)
                .filter(|deleted| *deleted != Deletions::Unknown)
                .map(Deletions::at_least),
            members_unresolved: Some(report.members_out_of_scope),
            seconds: seconds(report.total),
            directory_seconds: seconds(report.ldap),
            kanidm_seconds: seconds(report.kanidm),
            ..LastRun::default()
        };
        let success = Success {
            held: Some(report.held.len() as u64),
            dropped: Some(report.dropped.len() as u64),
            concerned: Some(report.concerned()),
            known: Some(report.known),
            ..Success::default()
        };
        RunFacts::Done(Box::new(run), success)
    }
}

/// Why a run failed.
pub(super) fn reason(error: &RunError) -> Failure {
    match error {
        RunError::NoRandom => Failure::Local,
        RunError::State(_) | RunError::Stored(_) | RunError::Upload(_) => Failure::Kanidm,
        RunError::Directory(_) => Failure::Directory,
        RunError::Invalid { .. } => Failure::InvalidEntries,
        RunError::Refused(_) => Failure::Refused,
    }
}

/// Writes the result of each run to `metrics_file`, if it is set.
#[derive(Debug)]
pub(super) struct Recorder {
    file: Option<MetricsFile>,
    status_bind: Option<SocketAddr>,
    /// `None` for a single run.
    schedule: Option<CronSchedule>,
}

impl Recorder {
    /// As the configuration says.
    pub(super) fn new(cli: &Cli, config: &SyncConfig) -> Recorder {
        let is_dry = matches!(cli.mode, Mode::DryRun | Mode::ProtoDump);
        let path = config.metrics_file.as_deref().filter(|_| !is_dry);
        Recorder {
            file: path.map(|path| MetricsFile::new(path, &cli.sync_config)),
            status_bind: config.status_bind,
            schedule: (cli.mode == Mode::Schedule).then(|| config.schedule.clone()),
        }
    }

    /// Takes over a new configuration. A file that is known to be broken is not reported again. A
    /// new schedule has another deadline: the old one may pass long before the next run.
    pub(super) fn reconfigure(&mut self, cli: &Cli, config: &SyncConfig) {
        let old = std::mem::replace(self, Recorder::new(cli, config));
        let path = |file: &Option<MetricsFile>| file.as_ref().map(|file| file.path().to_owned());
        if path(&old.file) == path(&self.file) {
            self.file = old.file;
        }
        let Some(schedule) = self.schedule.clone().filter(|new| old.schedule.as_ref() != Some(new))
        else {
            return;
        };
        let Some(file) = &mut self.file else { return };
        file.update(move |old| {
            let after = old.success.ended.or(old.run.ended)?;
            let deadline = third_start(&schedule, after);
            let current_until = old.run.ended.and_then(|ended| third_start(&schedule, ended));
            let run = LastRun { current_until, ..old.run };
            Some(Metrics { success: Success { deadline, ..old.success }, run, ..old })
        });
    }

    /// Records the state of the listener of `follow`, which may change between runs.
    pub(super) fn follower(&mut self, state: Option<Following>) {
        let connected = state.map(|state| state == Following::Listening);
        let Some(file) = &mut self.file else { return };
        file.update(move |old| {
            let is_news = old.run.ended.is_some() && old.follower_connected != connected;
            is_news.then_some(Metrics { follower_connected: connected, ..old })
        });
    }

    /// Records the result of a run. `connected` tells the state of the listener, if there is one.
    fn record(&mut self, code: ExitCode, facts: RunFacts, took: Duration, connected: Option<bool>) {
        let ended = unix(SystemTime::now());
        let schedule = self.schedule.clone();
        let third =
            move |after| schedule.as_ref().and_then(|schedule| third_start(schedule, after));
        let status_bind = self.status_bind.map(|bind| bind.to_string());
        let is_service = self.schedule.is_some();
        let Some(file) = &mut self.file else { return };
        file.update(move |old| {
            let old = old.until(ended);
            let deadline = third(ended);
            let stamped = |run| LastRun {
                ended: Some(ended),
                current_until: deadline,
                exit_code: Some(code.code().into()),
                ..run
            };
            let mut new = match facts {
                RunFacts::Done(run, success) => old
                    .succeeded(stamped(*run), Success { ended: Some(ended), deadline, ..success }),
                RunFacts::Failed(failure, message) => {
                    let run = LastRun {
                        failure: Some(failure),
                        error: Some(message),
                        seconds: Some(took.as_secs_f64()),
                        ..LastRun::default()
                    };
                    // The schedule may have changed since the last success.
                    let deadline = old.success.ended.map_or(deadline, third);
                    old.failed(stamped(run), deadline)
                }
            };
            new.status_bind = status_bind;
            // A single run next to a service leaves what only the service knows.
            if is_service {
                new.follower_connected = connected;
            }
            Some(new)
        });
    }
}

/// The start of the third scheduled run after a time, or of the last one.
fn third_start(schedule: &CronSchedule, after: u64) -> Option<u64> {
    let first = schedule.next_after(of_unix(after));
    let starts = successors(first, |start| schedule.next_after(*start));
    starts.take(3).last().and_then(|start| u64::try_from(start.timestamp()).ok())
}

/// Makes a run and records its result, also if it panics. `following` is the state of the listener
/// in one word.
pub(super) fn around(
    recorder: &RefCell<Recorder>,
    following: &dyn Fn() -> Option<&'static str>,
    run: impl FnOnce() -> Ended,
) -> Ended {
    let begun = Instant::now();
    let record = |code, facts| {
        let connected = following().map(|word| word == Following::Listening.word());
        recorder.borrow_mut().record(code, facts, begun.elapsed(), connected);
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(ended) => {
            record(ended.code, ended.facts.clone());
            ended
        }
        Err(panic) => {
            let message = "the run ended in a panic, which is a defect of kanidm-ldap-sync";
            record(ExitCode::Failure, RunFacts::Failed(Failure::Local, message.to_owned()));
            resume_unwind(panic)
        }
    }
}

/// Records that a run could not begin. The rest of the configuration may still tell where.
pub(super) fn wrong_configuration(cli: &Cli, message: &str) {
    let of_a_run = matches!(cli.mode, Mode::Once | Mode::Schedule);
    let path: Option<PathBuf> = config::sync::metrics_file(&cli.sync_config).ok().flatten();
    let Some(path) = path.filter(|_| of_a_run) else { return };
    let mut recorder = Recorder {
        file: Some(MetricsFile::new(&path, &cli.sync_config)),
        status_bind: config::sync::status_bind(&cli.sync_config).ok().flatten(),
        schedule: None,
    };
    let facts = RunFacts::Failed(Failure::Configuration, message.to_owned());
    recorder.record(ExitCode::Usage, facts, Duration::ZERO, None);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::metrics::file::read;

    fn recorder(file: Option<&Path>, schedule: &str) -> Recorder {
        Recorder {
            file: file.map(|path| MetricsFile::new(path, Path::new("/c"))),
            status_bind: None,
            schedule: Some(CronSchedule::parse(schedule).unwrap()),
        }
    }

    #[test]
    fn a_run_that_panics_has_failed() {
        let path = std::env::temp_dir().join(format!("kls-panic-{}.prom", std::process::id()));
        let recorder = RefCell::new(recorder(Some(&path), "@hourly"));
        let run = || around(&recorder, &|| Some("listening"), || panic!("a defect"));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "the panic goes on");
        let facts = read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((facts.run.exit_code, facts.run.failure), (Some(1), Some(Failure::Local)));
        assert_eq!(facts.follower_connected, Some(true));
        assert!(facts.run.error.unwrap().contains("ended in a panic"));
        assert!(recorder.try_borrow_mut().is_ok(), "the next run records its result");
    }

    /// The file of a service after a run that failed now. `change` sets the facts before it.
    fn after_a_failure(
        name: &str,
        schedule: &str,
        change: fn(&mut Metrics, u64),
    ) -> (Metrics, u64) {
        let path = std::env::temp_dir().join(format!("kls-{name}-{}.prom", std::process::id()));
        let mut recorder = recorder(Some(&path), schedule);
        let now = unix(SystemTime::now());
        recorder.file.as_mut().unwrap().update(move |mut facts| {
            facts.run.ended = Some(now - 3_600);
            change(&mut facts, now);
            Some(facts)
        });
        let failed = || RunFacts::Failed(Failure::Kanidm, "down".to_owned());
        recorder.record(ExitCode::Failure, failed(), Duration::ZERO, None);
        let facts = read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (facts, now)
    }

    /// The service was restarted with a shorter schedule, and its runs fail from then on.
    #[test]
    fn a_failure_under_a_shorter_schedule_moves_the_deadline() {
        let days = |facts: &mut Metrics, now| {
            (facts.success.ended, facts.success.deadline) = (Some(now - 3_600), Some(now + 86_400));
        };
        let (facts, now) = after_a_failure("shorter", "0 * * * * *", days);
        let third = now - 3_600 - now % 60 + 180;
        assert_eq!(facts.success.deadline, Some(third));
        assert_eq!(facts.success.ended, Some(now - 3_600));
        let (facts, now) = after_a_failure("longer", "@yearly", days);
        assert_eq!(facts.success.deadline, Some(now + 86_400), "a failure renews nothing");
        let never = |facts: &mut Metrics, now| facts.success.deadline = Some(now + 86_400);
        let (facts, now) = after_a_failure("never", "0 * * * * *", never);
        assert!(facts.success.deadline.is_some_and(|at| at < now + 86_400), "{facts:?}");
    }

    #[test]
    fn a_run_of_a_service_tells_how_long_its_facts_are_current() {
        let (facts, _) = after_a_failure("current", "0 * * * * *", |_, _| ());
        let third = facts.run.ended.map(|ended| ended - ended % 60 + 180);
        assert_eq!(facts.run.current_until, third);
    }

    #[test]
    fn the_deadline_is_the_third_start_or_the_last_one() {
        const NOW: u64 = 1_795_948_920; // 10:42 UTC
        let after_now = |schedule| third_start(&CronSchedule::parse(schedule).unwrap(), NOW);
        assert_eq!(after_now("0 */5 * * * *"), Some(NOW + 13 * 60));
        assert_eq!(after_now("0 45,50 10 29 11 * 2026"), Some(NOW + 8 * 60));
        assert_eq!(after_now("0 0 0 1 1 * 1999"), None);
        assert_eq!(third_start(&CronSchedule::parse("@daily").unwrap(), u64::MAX), None);
    }
}
