//! The health of the service. The loop that makes the runs records it; the status listener and the
//! systemd watchdog read it.
//!
//! Scope: verdicts and times. Only [`Condition::Good`] is good news: the last run finished
//! completely and recently. Everything unknown is bad news. All instants are monotonic, so a step
//! of the wall clock cannot make an old run look recent, or a recent one old.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::follow::Following;

/// The result of a run, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 0: everything is synchronised.
    Synchronised,
    /// 1: nothing or only part was sent.
    Failed,
    /// 3: synchronised, but a few entries need attention.
    FewHeld,
    /// 3: synchronised, but many entries need attention.
    Held,
    /// 4: the deletion guard refused.
    Refused,
    /// 5: another run had the lock. The verdict before stays valid, because this one says nothing
    /// about the state.
    Busy,
}

/// The condition that a watcher reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No run has ended yet.
    Starting,
    /// The last run finished completely and recently.
    Good,
    /// The last run finished completely, but too long ago.
    Stale,
    /// A run gave no sign of life for longer than all its time-outs together. Between runs: the
    /// loop gave none for [`LOOP_PATIENCE`].
    Hung,
    /// The last run failed.
    Failed,
    /// Many entries of the last run need attention.
    Held,
    /// The deletion guard refused the last run.
    Refused,
    /// The loop has ended, so no more runs come.
    Gone,
}

/// The shared record. Clones share one record.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Record>>);

#[derive(Debug)]
struct Record {
    last: Option<Verdict>,
    /// The end of the time for which a good verdict counts.
    good_until: Instant,
    /// The last sign of life of the loop or its run; `None` before the first.
    seen: Option<Instant>,
    running: bool,
    /// Maximum time without a sign of life during a run.
    patience: Duration,
    gone: bool,
    /// The listener, if the service follows the directory, and its last sign of life.
    following: Option<(Following, Instant)>,
}

impl Health {
    /// An empty record. `patience` is the maximum time without a sign of life during a run; see
    /// [`Health::set_patience`].
    pub fn new(patience: Duration) -> Health {
        Health(Arc::new(Mutex::new(Record {
            last: None,
            good_until: Instant::now(),
            seen: None,
            running: false,
            patience,
            gone: false,
            following: None,
        })))
    }

    /// Sets how long a run may go without [`Health::progress`] before it counts as hung. The value
    /// is the sum of a run's time-outs, because no single step can take longer.
    pub fn set_patience(&self, patience: Duration) {
        self.record().patience = patience;
    }

    /// A run begins.
    pub fn run_started(&self, now: Instant) {
        let mut record = self.record();
        record.running = true;
        record.seen = Some(now);
    }

    /// A sign of life. A run calls this after each message and each answer, and it is cheap enough
    /// for every entry. The loop calls it once in each iteration.
    pub fn progress(&self, now: Instant) {
        self.record().seen = Some(now);
    }

    /// A run has ended. A good verdict counts until `good_until`.
    pub fn run_ended(&self, verdict: Verdict, good_until: Instant) {
        let mut record = self.record();
        record.running = false;
        if verdict != Verdict::Busy {
            record.last = Some(verdict);
            record.good_until = good_until;
        }
    }

    /// Changes the time until which a good verdict counts, because the schedule has changed.
    pub fn set_good_until(&self, good_until: Instant) {
        self.record().good_until = good_until;
    }

    /// The state of the listener; `None` if the service does not follow the directory. It never
    /// changes the condition, because the schedule goes on without it.
    pub fn following(&self) -> Option<Following> {
        self.record().following.map(|(state, _)| state)
    }

    /// Sets the state of the listener, which is also a sign of life.
    pub fn set_following(&self, state: Option<Following>) {
        self.record().following = state.map(|state| (state, Instant::now()));
    }

    /// A sign of life of the listener. It gives one at least every second, and during a connection
    /// one within the patience of a run.
    pub fn listener_progress(&self, now: Instant) {
        if let Some((_, seen)) = &mut self.record().following {
            *seen = now;
        }
    }

    /// Ties the record to the loop. When the loop returns or panics, it drops the guard, and the
    /// condition is [`Condition::Gone`] for good.
    pub fn attend(&self) -> Attendance {
        Attendance(self.clone())
    }

    /// The condition at `now`.
    pub fn condition(&self, now: Instant) -> Condition {
        let record = self.record();
        match record.last {
            _ if record.gone => Condition::Gone,
            _ if record.is_silent(now) => Condition::Hung,
            None | Some(Verdict::Busy) => Condition::Starting,
            Some(Verdict::Failed) => Condition::Failed,
            Some(Verdict::Held) => Condition::Held,
            Some(Verdict::Refused) => Condition::Refused,
            Some(Verdict::Synchronised | Verdict::FewHeld) if now > record.good_until => {
                Condition::Stale
            }
            Some(Verdict::Synchronised | Verdict::FewHeld) => Condition::Good,
        }
    }

    /// True if the loop and the listener work, whatever the runs did. A watchdog that restarts the
    /// process asks this.
    pub fn is_alive(&self, now: Instant) -> bool {
        !matches!(self.condition(now), Condition::Hung | Condition::Gone)
            && !self.record().is_deaf(now)
    }

    /// A panic elsewhere leaves the record as it was, and still true. So poisoning does not matter.
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn is_silent(&self, now: Instant) -> bool {
        let patience = if self.running { self.patience } else { LOOP_PATIENCE };
        self.seen.is_some_and(|seen| now.saturating_duration_since(seen) > patience)
    }

    /// True if the listener gave no sign of life for longer than a connection can take.
    fn is_deaf(&self, now: Instant) -> bool {
        let patience = self.patience.max(LOOP_PATIENCE);
        self.following.is_some_and(|(_, seen)| now.saturating_duration_since(seen) > patience)
    }
}

/// Maximum time without a sign of life between runs: the longest wait, the longest reload, and as
/// much again for a busy machine.
pub const LOOP_PATIENCE: Duration = Duration::from_secs(90);

/// The guard of [`Health::attend`].
#[derive(Debug)]
pub struct Attendance(Health);

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.record().gone = true;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Synchronised => "synchronised",
            Verdict::Failed => "failed",
            Verdict::FewHeld => "synchronised, but a few entries need attention",
            Verdict::Held => "synchronised, but many entries need attention",
            Verdict::Refused => "refused by the deletion guard",
            Verdict::Busy => "another run is under way",
        })
    }
}
