//! How long a wait may take.
//!
//! A step (connect, handshake, sending a request) has `timeout` in all. A message has `timeout`
//! between one piece of it and the next, and ten times that from the first byte waited for to its
//! last: a slow link can carry a message of many megabytes, and a peer that trickles byte by byte
//! still cannot hold us for ever.

use std::time::{Duration, Instant};

/// A message may take this many times the configured time-out as long as bytes keep coming.
const MESSAGE_FACTOR: u32 = 10;

/// The end of a wait. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// Between one piece of progress and the next.
    idle: Duration,
    /// Whether progress makes the wait longer than `idle`.
    message: bool,
    /// In all. `None` where the clock cannot express it: the configured time-out is that long.
    end: Option<Instant>,
}

impl Deadline {
    /// `timeout` in all.
    pub(crate) fn step(timeout: Duration) -> Self {
        Deadline { idle: timeout, message: false, end: Instant::now().checked_add(timeout) }
    }

    /// `timeout` without progress, ten times that in all.
    pub(crate) fn message(timeout: Duration) -> Self {
        let total = timeout.saturating_mul(MESSAGE_FACTOR);
        Deadline { idle: timeout, message: true, end: Instant::now().checked_add(total) }
    }

    /// How long the next single wait may take. `None`: the time is over.
    pub(crate) fn next_wait(&self) -> Option<Duration> {
        let left = match self.end {
            Some(end) => end.saturating_duration_since(Instant::now()),
            None => self.idle,
        };
        let wait = left.min(self.idle);
        (!wait.is_zero()).then_some(wait)
    }

    /// Whether a message came to its end in all, rather than to one of silence.
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
        // Whatever the message may take in all, one wait is never longer than the time-out.
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
