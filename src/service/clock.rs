//! The clock, as a trait: what waits or reads the time is tested on a fake one, so that no test
//! sleeps.

use std::time::{Duration, Instant, SystemTime};

/// Time to measure with, time to show, and waiting.
pub trait Clock {
    /// Monotonic: for durations and time-outs; steps of the wall clock do not touch it.
    fn now(&self) -> Instant;
    /// What the machine takes the time of day to be. It may step in both directions.
    fn wall(&self) -> SystemTime;
    /// Blocks for `duration`.
    fn sleep(&self, duration: Duration);
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
