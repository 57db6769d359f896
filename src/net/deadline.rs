//! Deadlines for network waits.
//!
//! Scope: time only, no I/O. A step (connect, handshake, sending a request) may take `timeout` in
//! total. A message may pause for `timeout` between two pieces and may take ten times `timeout` in
//! total. This lets a slow link carry a message of many megabytes. A peer that sends byte by byte
//! still cannot hold the client for ever.

use std::time::{Duration, Instant};

/// Factor between the configured time-out and the total time for a message.
const MESSAGE_FACTOR: u32 = 10;

/// The end of a wait. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// Maximum time without progress.
    idle: Duration,
    /// True for a message, which may outlast `idle` while bytes arrive.
    message: bool,
    /// End of the total time. `None` if the clock cannot represent it, because the time-out is too
    /// long.
    end: Option<Instant>,
}

impl Deadline {
    /// A deadline of `timeout` in total.
    pub(crate) fn step(timeout: Duration) -> Self {
        Deadline { idle: timeout, message: false, end: Instant::now().checked_add(timeout) }
    }

    /// A deadline of `timeout` without progress, and ten times `timeout` in total.
    pub(crate) fn message(timeout: Duration) -> Self {
        let total = timeout.saturating_mul(MESSAGE_FACTOR);
        Deadline { idle: timeout, message: true, end: Instant::now().checked_add(total) }
    }

    /// Maximum length of the next single wait. `None` after the deadline.
    pub(crate) fn next_wait(&self) -> Option<Duration> {
        let left = match self.end {
            Some(end) => end.saturating_duration_since(Instant::now()),
            None => self.idle,
        };
        let wait = left.min(self.idle);
        (!wait.is_zero()).then_some(wait)
    }

    /// True if a message used up its total time while bytes kept arriving.
    pub(crate) fn outlived_progress(&self) -> bool {
        self.message && self.end.is_some_and(|end| end <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_a_message_outlives_one_timeout() {
        let timeout = Duration::from_secs(3600);
        let step = Deadline {
            end: Instant::now().checked_sub(Duration::from_secs(1)),
            ..Deadline::step(timeout)
        };
        assert_eq!(step.next_wait(), None);
        // A single wait never exceeds the time-out, whatever the total time.
        assert_eq!(Deadline::message(timeout).next_wait(), Some(timeout));
        let message = Deadline::message(timeout);
        assert!(message.end.unwrap() > Instant::now() + timeout * 9);
    }

    #[test]
    fn a_timeout_beyond_the_clock_is_no_panic() {
        assert_eq!(Deadline::step(Duration::MAX).next_wait(), Some(Duration::MAX));
        assert_eq!(Deadline::message(Duration::MAX).next_wait(), Some(Duration::MAX));
    }
}
