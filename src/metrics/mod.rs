//! The facts about the last run and the last success, for monitoring.
//!
//! Scope: a struct of facts, its text in Prometheus' exposition format ([`text`]), and the file
//! that holds it ([`mod@file`]). The struct is read back from the file, because a failed run keeps what
//! the last success has told.

mod families;
pub mod file;
pub mod text;

/// Facts that a later run replaces, and facts that only a later success replaces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// The address of the service's status listener. It tells `--status` whose file this is.
    pub status_bind: Option<String>,
    /// The last success; a failed run leaves it as it is.
    pub success: Success,
    /// The last run.
    pub run: LastRun,
    /// True if the listener of `follow` hears of changes. `None` without `follow`.
    pub follower_connected: Option<bool>,
}

/// The state that the last successful run has left. Times are Unix times in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// The end of the run.
    pub ended: Option<u64>,
    /// The start of the third scheduled run after it. Without any success: after the first run.
    /// Only a service has a schedule.
    pub deadline: Option<u64>,
    /// Entries held back.
    pub held: Option<u64>,
    /// Bad values left out.
    pub dropped: Option<u64>,
    /// Entries that are held back or lack a value. Each counts once.
    pub concerned: Option<u64>,
    /// Persons and groups that Kanidm has.
    pub known: Option<u64>,
}

/// The last run, successful or not. A failed run has no counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastRun {
    /// The end of the run, as Unix time in seconds.
    pub ended: Option<u64>,
    /// The start of the third scheduled run after it. Later, the file is stale. Only a service has
    /// a schedule.
    pub current_until: Option<u64>,
    /// The exit code of the run.
    pub exit_code: Option<u64>,
    /// Why the run failed, if it did.
    pub failure: Option<Failure>,
    /// The first line of the error, if the run failed.
    pub error: Option<String>,
    /// True for a full refresh, false for an incremental run.
    pub full: Option<bool>,
    /// Entries received from the directory.
    pub read: Option<u64>,
    /// Persons written.
    pub persons: Option<u64>,
    /// Groups written.
    pub groups: Option<u64>,
    /// Entries deleted: the lower bound, or the estimate. `None` if unknown.
    pub deleted: Option<u64>,
    /// Members of the groups in the run that are not synchronised.
    pub members_unresolved: Option<u64>,
    /// Wall time of the run.
    pub seconds: Option<f64>,
    /// The part of `seconds` that the directory took.
    pub directory_seconds: Option<f64>,
    /// The part of `seconds` that Kanidm took.
    pub kanidm_seconds: Option<f64>,
}

/// True if so few of the known entries need attention that the status stays good: 10, or 1 percent
/// up to 100.
pub fn are_few(concerned: u64, known: u64) -> bool {
    concerned <= (known / 100).clamp(10, 100)
}

/// Why a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A configuration file is wrong.
    Configuration,
    /// The directory could not be read.
    Directory,
    /// `invalid_entries = "fail"`, and some entries are invalid.
    InvalidEntries,
    /// Kanidm does not answer, or refuses.
    Kanidm,
    /// The machine: the lock, random numbers, or a defect of this program.
    Local,
    /// The deletion guard refused.
    Refused,
}

impl Failure {
    /// All reasons.
    pub const ALL: [Failure; 6] = [
        Failure::Configuration,
        Failure::Directory,
        Failure::InvalidEntries,
        Failure::Kanidm,
        Failure::Local,
        Failure::Refused,
    ];

    /// The reason as the value of a label.
    pub fn word(self) -> &'static str {
        match self {
            Failure::Configuration => "configuration",
            Failure::Directory => "directory",
            Failure::InvalidEntries => "invalid_entries",
            Failure::Kanidm => "kanidm",
            Failure::Local => "local",
            Failure::Refused => "refused",
        }
    }
}

impl Metrics {
    /// The facts after a run that succeeded. A single run has no deadline. Next to a service it
    /// leaves what only the service knows. A deadline in the past tells that the service is gone.
    pub fn succeeded(self, run: LastRun, success: Success) -> Metrics {
        let run = self.next_to_a_service(run);
        let left = self.success.deadline.filter(|deadline| Some(*deadline) > success.ended);
        let is_alone = success.deadline.is_none() && left.is_none();
        Metrics {
            success: Success { deadline: success.deadline.or(left), ..success },
            run,
            follower_connected: self.follower_connected.filter(|_| !is_alone),
            ..self
        }
    }

    /// The facts after a run that failed. `deadline` follows from the schedule and the last success.
    /// It never replaces an earlier one, because a failure renews nothing.
    pub fn failed(self, run: LastRun, deadline: Option<u64>) -> Metrics {
        let run = self.next_to_a_service(run);
        let earliest = [self.success.deadline, deadline].into_iter().flatten().min();
        let success = Success { deadline: earliest, ..self.success };
        Metrics { success, run, ..self }
    }

    /// A single run has no schedule. Next to a service that is alive, the service's counts.
    fn next_to_a_service(&self, run: LastRun) -> LastRun {
        let left = self.run.current_until.filter(|until| Some(*until) > run.ended);
        LastRun { current_until: run.current_until.or(left), ..run }
    }

    /// True if facts come from the future, as after a clock that was wrong.
    pub fn is_of_the_future(&self, now: u64) -> bool {
        let latest = now.saturating_add(MAX_STEP);
        [self.success.ended, self.run.ended].into_iter().flatten().any(|time| time > latest)
    }

    /// Drops all facts that come from the future. A success in the future would silence every alert
    /// about its age.
    pub fn until(self, now: u64) -> Metrics {
        if self.is_of_the_future(now) { Metrics::default() } else { self }
    }
}

/// A clock may be set back by so many seconds, and its facts still count.
const MAX_STEP: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_run_leaves_the_deadline_of_a_service_that_is_alive() {
        let success =
            |ended, deadline| Success { ended: Some(ended), deadline, ..Success::default() };
        let service = Metrics {
            success: success(10, Some(40)),
            follower_connected: Some(true),
            ..Metrics::default()
        };
        let after = |ended, deadline| {
            let new = service.clone().succeeded(LastRun::default(), success(ended, deadline));
            (new.success.deadline, new.follower_connected)
        };
        assert_eq!(after(39, None), (Some(40), Some(true)));
        assert_eq!(after(40, None), (None, None));
        assert_eq!(after(20, Some(50)), (Some(50), Some(true)));
        let failed =
            |before: &Metrics| before.clone().failed(LastRun::default(), Some(70)).success.deadline;
        assert_eq!(failed(&service), Some(40), "a failure renews nothing");
        assert_eq!(failed(&Metrics::default()), Some(70));
        let longer = service.clone().failed(LastRun::default(), Some(30)).success.deadline;
        assert_eq!(longer, Some(30), "a shorter schedule counts at once");
        let single = service.failed(LastRun::default(), None).success.deadline;
        assert_eq!(single, Some(40));
    }

    #[test]
    fn a_single_run_leaves_the_time_until_which_a_service_is_current() {
        let run = |ended, until| LastRun {
            ended: Some(ended),
            current_until: until,
            ..LastRun::default()
        };
        let service = Metrics { run: run(10, Some(40)), ..Metrics::default() };
        for (ended, until, expected) in
            [(39, None, Some(40)), (40, None, None), (20, Some(30), Some(30))]
        {
            let failed = service.clone().failed(run(ended, until), None);
            let succeeded = service.clone().succeeded(run(ended, until), Success::default());
            assert_eq!(
                (failed.run.current_until, succeeded.run.current_until),
                (expected, expected)
            );
        }
    }

    #[test]
    fn facts_from_the_future_are_dropped() {
        let of = |success, run| Metrics {
            success: Success { ended: success, ..Success::default() },
            run: LastRun { ended: run, ..LastRun::default() },
            ..Metrics::default()
        };
        let facts = of(Some(99), Some(100));
        assert_eq!(facts.clone().until(100), facts);
        assert_eq!(facts.clone().until(40), facts, "a clock was set back a little");
        assert_eq!(facts.clone().until(39), Metrics::default());
        assert_eq!(of(Some(161), Some(100)).until(100), Metrics::default());
    }
}
