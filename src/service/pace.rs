//! When a ring of the directory may start a run.
//!
//! Scope: times. The first ring starts a run at once. Two runs begin at least one interval apart,
//! and all rings between them count as one. A ring whose run failed is kept, and its next run comes
//! after a pause that doubles: otherwise each ring would add a failed run to the log.

use std::time::{Duration, Instant};

use super::health::Verdict;

/// The first pause after a failed run. Each later pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The rings that no run has answered, and the time of the next run for them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    rung: bool,
    /// True if the run in progress answers a ring.
    answering: bool,
    began: Option<Instant>,
    /// The pause after a failed run; `None` after any other.
    pause: Option<Duration>,
    ended: Option<Instant>,
}

impl Pace {
    /// The directory rang.
    pub(super) fn ring(&mut self) {
        self.rung = true;
    }

    /// Nobody listens to the directory any more.
    pub(super) fn forget(&mut self) {
        *self = Pace::default();
    }

    /// The time until a run has to answer a ring; `None` without a ring.
    pub(super) fn due_in(&self, interval: Duration, now: Instant) -> Option<Duration> {
        let left = |since: Option<Instant>, wait: Duration| {
            since.map_or(Duration::ZERO, |since| {
                wait.saturating_sub(now.saturating_duration_since(since))
            })
        };
        let pause = self.pause.unwrap_or_default();
        self.rung.then(|| left(self.began, interval).max(left(self.ended, pause)))
    }

    /// A run begins, for whatever reason. It answers all rings so far. True if there are any.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        self.began = Some(now);
        self.answering = std::mem::take(&mut self.rung);
        self.answering
    }

    /// The run has ended.
    pub(super) fn ends(&mut self, verdict: Verdict, now: Instant) {
        self.ended = Some(now);
        let answering = std::mem::take(&mut self.answering);
        match verdict {
            Verdict::Synchronised | Verdict::FewHeld | Verdict::Held => self.pause = None,
            Verdict::Failed | Verdict::Busy | Verdict::Refused => {
                let longer = |pause: Duration| pause.saturating_mul(2).min(LONGEST_PAUSE);
                self.pause = Some(self.pause.map_or(FIRST_PAUSE, longer));
                // The guard refuses the same changes again until somebody acts.
                self.rung |= answering && verdict != Verdict::Refused;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Busy, Failed, Held, Refused, Synchronised};

    const INTERVAL: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn rings_start_a_run_at_once_and_then_one_each_interval() {
        let origin = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.due_in(INTERVAL, origin), None);
        pace.ring();
        assert_eq!(pace.due_in(INTERVAL, origin), Some(Duration::ZERO));
        pace.begins(origin);
        assert_eq!(pace.due_in(INTERVAL, origin), None);
        pace.ring();
        pace.ring();
        pace.ends(Synchronised, origin + ms(300));
        assert_eq!(pace.due_in(INTERVAL, origin + ms(300)), Some(ms(700)));
        assert_eq!(pace.due_in(INTERVAL, origin + ms(1000)), Some(Duration::ZERO));
        pace.begins(origin + ms(1000));
        pace.ends(Held, origin + ms(5000));
        assert_eq!(pace.due_in(INTERVAL, origin + ms(5000)), None, "one run answers all rings");
        pace.ring();
        assert_eq!(pace.due_in(INTERVAL, origin + ms(5000)), Some(Duration::ZERO), "a long run");
    }

    #[test]
    fn a_ring_whose_run_failed_is_kept_with_growing_pauses() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.ring();
        let pauses: Vec<u64> = (0..8)
            .map(|number| {
                pace.begins(now);
                pace.ends(if number % 2 == 0 { Failed } else { Busy }, now);
                pace.due_in(ms(100), now).unwrap().as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.begins(now);
        pace.ends(Synchronised, now);
        assert_eq!(pace.due_in(INTERVAL, now), None);
        pace.ring();
        assert_eq!(pace.due_in(INTERVAL, now), Some(INTERVAL), "the pause is over");
    }

    #[test]
    fn a_refusal_of_the_guard_waits_for_the_next_ring_and_a_failure_without_one_for_the_schedule() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.begins(now);
        pace.ends(Failed, now);
        assert_eq!(pace.due_in(INTERVAL, now), None);
        pace.ring();
        assert_eq!(pace.due_in(ms(100), now), Some(ms(1000)));
        pace.begins(now);
        pace.ends(Refused, now);
        assert_eq!(pace.due_in(INTERVAL, now), None);
        pace.ring();
        assert_eq!(pace.due_in(INTERVAL, now), Some(ms(2000)));
        pace.forget();
        assert_eq!(pace.due_in(INTERVAL, now), None);
    }
}
