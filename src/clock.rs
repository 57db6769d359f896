//! The clock as a trait. Tests use one that does not wait.

use std::time::{Duration, Instant, SystemTime};

/// Measures time, tells the time of day, and waits.
pub trait Clock {
    /// Monotonic time, for durations and time-outs. Steps of the wall clock do not change it.
    fn now(&self) -> Instant;
    /// The time of day. It may step in both directions.
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
