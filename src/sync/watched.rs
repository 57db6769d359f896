//! Heartbeats while a run waits for Kanidm, so that a monitor can tell slow from hung.
//!
//! Scope: wraps the server and the clock, and beats at each event.

use std::time::{Duration, Instant, SystemTime};

use crate::clock::Clock;
use crate::heartbeat::Heartbeat;
use crate::kanidm::error::KanidmError;
use crate::kanidm::request::RequestBody;
use crate::kanidm::state::SyncState;
use crate::kanidm::transport::SyncServer;

/// Kanidm with a heartbeat after each answer. Some parts of an upload give no other sign of life:
/// deletions, and the search for the entries at fault.
pub(super) struct WatchedServer<'a> {
    pub(super) server: &'a mut dyn SyncServer,
    pub(super) heartbeat: &'a Heartbeat,
}

impl SyncServer for WatchedServer<'_> {
    fn state(&mut self) -> Result<SyncState, KanidmError> {
        let answer = self.server.state();
        self.heartbeat.beat();
        answer
    }

    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError> {
        let answer = self.server.apply(body);
        self.heartbeat.beat();
        answer
    }
}

/// The clock with a heartbeat in each second of a pause. A run that waits to try again does not
/// hang.
pub(super) struct WatchedClock<'a> {
    pub(super) clock: &'a dyn Clock,
    pub(super) heartbeat: &'a Heartbeat,
}

impl Clock for WatchedClock<'_> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }

    fn sleep(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let slice = left.min(Duration::from_secs(1));
            self.clock.sleep(slice);
            self.heartbeat.beat();
            left = left.saturating_sub(slice);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::kanidm::request::Retention;

    /// Refuses everything.
    struct Busy;

    /// Counts the time of all pauses.
    #[derive(Default)]
    struct Pauses(Cell<Duration>);

    impl SyncServer for Busy {
        fn state(&mut self) -> Result<SyncState, KanidmError> {
            Err(KanidmError::NotKanidm { reason: "busy".into() })
        }

        fn apply(&mut self, _: &RequestBody<'_>) -> Result<(), KanidmError> {
            Err(KanidmError::NotKanidm { reason: "busy".into() })
        }
    }

    impl Clock for Pauses {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn wall(&self) -> SystemTime {
            SystemTime::now()
        }

        fn sleep(&self, time: Duration) {
            assert!(time <= Duration::from_secs(1), "quiet for {time:?}");
            self.0.set(self.0.get() + time);
        }
    }

    #[test]
    fn every_answer_and_every_second_of_a_pause_is_a_sign_of_life() {
        let beats = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&beats);
        let heartbeat = Heartbeat::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let mut server = WatchedServer { server: &mut Busy, heartbeat: &heartbeat };
        server.state().unwrap_err();
        server
            .apply(&RequestBody::new(
                &SyncState::Refresh,
                &SyncState::Refresh,
                &Retention::Ignore,
                Vec::new(),
            ))
            .unwrap_err();
        assert_eq!(beats.load(Ordering::SeqCst), 2);
        let (pauses, time) = (Pauses::default(), Duration::from_millis(7_500));
        WatchedClock { clock: &pauses, heartbeat: &heartbeat }.sleep(time);
        assert_eq!((beats.load(Ordering::SeqCst), pauses.0.get()), (10, time));
    }
}
