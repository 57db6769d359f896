//! What is known of the runs, shared between the loop that makes them and whoever asks: the status
//! listener, the systemd watchdog.
//!
//! Only [`Condition::Good`] is good news. It takes a run that finished fully and is recent;
//! everything unknown is bad news. All instants are monotonic: a step of the wall clock neither
//! makes a stale state look fresh nor the other way round.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a run went, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 0: everything is synchronised.
    Synchronised,
    /// 1: nothing or only part was sent.
    Failed,
    /// 3: synchronised, and a few entries need attention.
    FewHeld,
    /// 3: synchronised, and many entries need attention.
    Held,
    /// 4: refused by the deletion guard.
    Refused,
    /// 5: another run had the lock. Says nothing about the state: the verdict before stands.
    Busy,
}

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No run has ended yet.
    Starting,
    /// The last run finished fully, and recently enough.
    Good,
    /// The last run finished fully, but too long ago.
    Stale,
    /// A run has not moved for longer than all its time-outs together, or the loop between runs not
    /// for [`LOOP_PATIENCE`].
    Hung,
    /// The last run failed.
    Failed,
    /// Many entries of the last run need attention.
    Held,
    /// The last run was refused by the deletion guard.
    Refused,
    /// Nobody makes runs any more.
    Gone,
}

/// The shared record. Clones look at the same one.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Record>>);

#[derive(Debug)]
struct Record {
    last: Option<Verdict>,
    /// Until when a good verdict holds.
    good_until: Instant,
    /// The latest sign of life of the loop, or of the run that it makes. None before the first.
    seen: Option<Instant>,
    running: bool,
    /// How long a run may go without a sign of life.
    patience: Duration,
    gone: bool,
}

impl Health {
    /// Nothing is known yet. `patience`: how long a run may go without a sign of life, see
    /// [`Health::set_patience`].
    pub fn new(patience: Duration) -> Health {
        Health(Arc::new(Mutex::new(Record {
            last: None,
            good_until: Instant::now(),
            seen: None,
            running: false,
            patience,
            gone: false,
        })))
    }

    /// How long a run may go without [`Health::progress`] before it counts as hung: the sum of a
    /// run's time-outs, because no single step of it can honestly take longer.
    pub fn set_patience(&self, patience: Duration) {
        self.record().patience = patience;
    }

    /// A run begins.
    pub fn run_started(&self, now: Instant) {
        let mut record = self.record();
        record.running = true;
        record.seen = Some(now);
    }

    /// The run is alive: to be called whenever a message came in or a request was answered. Cheap
    /// enough for every entry. Between runs, the loop calls it each time round.
    pub fn progress(&self, now: Instant) {
        self.record().seen = Some(now);
    }

    /// The run is over. `good_until`: when the verdict, if good, is too old to be trusted.
    pub fn run_ended(&self, verdict: Verdict, good_until: Instant) {
        let mut record = self.record();
        record.running = false;
        if verdict != Verdict::Busy {
            record.last = Some(verdict);
            record.good_until = good_until;
        }
    }

    /// Another schedule decides when the last verdict, if good, is too old to be trusted.
    pub fn set_good_until(&self, good_until: Instant) {
        self.record().good_until = good_until;
    }

    /// Ties the record to whoever makes the runs: when the guard is dropped, by returning or by a
    /// panic, the condition is [`Condition::Gone`] for good.
    pub fn attend(&self) -> Attendance {
        Attendance(self.clone())
    }

    /// What a watcher is told at `now`.
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

    /// Whether the loop itself works, however the runs went: what a watchdog that restarts the
    /// process wants to know.
    pub fn is_alive(&self, now: Instant) -> bool {
        !matches!(self.condition(now), Condition::Hung | Condition::Gone)
    }

    /// A panic elsewhere leaves the record as it was, which is still true: poisoning is of no
    /// concern.
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn is_silent(&self, now: Instant) -> bool {
        let patience = if self.running { self.patience } else { LOOP_PATIENCE };
        self.seen.is_some_and(|seen| now.saturating_duration_since(seen) > patience)
    }
}

/// How long the loop may go without a sign of life between runs: the longest wait, the longest
/// reload, and as much again for a busy machine.
pub const LOOP_PATIENCE: Duration = Duration::from_secs(90);

/// See [`Health::attend`].
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
