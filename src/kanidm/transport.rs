//! The traits that separate the upload from the outside: the server and the clock. Tests replace
//! them with a model of Kanidm, and with a clock that does not wait.

use std::time::{Duration, Instant};

use super::error::KanidmError;
use super::request::RequestBody;
use super::state::SyncState;

/// Kanidm's `/scim/v1/Sync`.
pub trait SyncServer {
    /// GET: reads the state that Kanidm stores.
    ///
    /// # Errors
    /// No answer, or an answer that is not a state.
    fn state(&mut self) -> Result<SyncState, KanidmError>;

    /// POST: applied completely or not at all.
    ///
    /// # Errors
    /// Kanidm refuses the POST, or does not answer. Without an answer the POST may have been
    /// applied.
    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError>;
}

/// The time that the upload sees.
pub trait Clock {
    /// Monotonic. Only differences have a meaning.
    fn now(&mut self) -> Duration;
    /// Waits before a retry.
    fn sleep(&mut self, time: Duration);
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}
