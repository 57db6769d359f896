//! The two seams of the upload: the server and the clock. Tests put a model of Kanidm and a clock
//! that does not wait behind them.

use std::time::{Duration, Instant};

use super::error::KanidmError;
use super::request::RequestBody;
use super::state::SyncState;

/// Kanidm's `/scim/v1/Sync`.
pub trait SyncServer {
    /// GET: the state Kanidm has stored.
    ///
    /// # Errors
    /// No answer, or one that is not a state.
    fn state(&mut self) -> Result<SyncState, KanidmError>;

    /// POST: applied as a whole or not at all.
    ///
    /// # Errors
    /// Kanidm's refusal, or no answer: then it is not known whether the POST was applied.
    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError>;
}

/// Time as the upload sees it.
pub trait Clock {
    /// Monotonic; only differences mean anything.
    fn now(&mut self) -> Duration;
    /// Waits before a retry.
    fn sleep(&mut self, time: Duration);
}

/// The machine's clock.
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
