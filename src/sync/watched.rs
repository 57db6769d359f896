//! Heartbeats while a run waits for Kanidm, so that a monitor can tell slow from hung.
//!
//! Scope: wraps the two traits of [`crate::kanidm::transport`] and beats at each event.

use std::time::Duration;

use crate::heartbeat::Heartbeat;
use crate::kanidm::error::KanidmError;
use crate::kanidm::request::RequestBody;
use crate::kanidm::state::SyncState;
use crate::kanidm::transport::{Clock, SyncServer};

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
    pub(super) clock: &'a mut dyn Clock,
    pub(super) heartbeat: &'a Heartbeat,
}

impl Clock for WatchedClock<'_> {
    fn now(&mut self) -> Duration {
        self.clock.now()
    }

    fn sleep(&mut self, time: Duration) {
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::kanidm::request::Retention;

    /// Refuses everything and has its own time.
    #[derive(Default)]
    struct Busy {
        slept: Duration,
    }

    impl SyncServer for Busy {
        fn state(&mut self) -> Result<SyncState, KanidmError> {
            Err(KanidmError::NotKanidm { reason: "busy".into() })
        }

        fn apply(&mut self, _: &RequestBody<'_>) -> Result<(), KanidmError> {
            Err(KanidmError::NotKanidm { reason: "busy".into() })
        }
    }

    impl Clock for Busy {
        fn now(&mut self) -> Duration {
            self.slept
        }

        fn sleep(&mut self, time: Duration) {
            assert!(time <= Duration::from_secs(1), "quiet for {time:?}");
            self.slept += time;
        }
    }

    #[test]
    fn every_answer_and_every_second_of_a_pause_is_a_sign_of_life() {
        let beats = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&beats);
        let heartbeat = Heartbeat::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let mut busy = Busy::default();
        let mut server = WatchedServer { server: &mut busy, heartbeat: &heartbeat };
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
        WatchedClock { clock: &mut busy, heartbeat: &heartbeat }
            .sleep(Duration::from_millis(7_500));
        assert_eq!((beats.load(Ordering::SeqCst), busy.slept), (10, Duration::from_millis(7_500)));
    }
}
