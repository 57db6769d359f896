//! The directory's cookie that Kanidm held when a run began. After a run that failed the service
//! listens from there.
//!
//! Scope: wraps the server of a run, and keeps the state that it answers.

use crate::kanidm::error::KanidmError;
use crate::kanidm::request::RequestBody;
use crate::kanidm::state::{self, Opened, SyncState};
use crate::kanidm::transport::SyncServer;

/// Kanidm, with its answer to the question for the state.
pub(super) struct Remembering<S> {
    server: S,
    state: Option<SyncState>,
}

impl<S: SyncServer> Remembering<S> {
    pub(super) fn new(server: S) -> Self {
        Remembering { server, state: None }
    }

    /// The directory's cookie in the last state. `None` without one, or if the state is unusable.
    pub(super) fn cookie(self) -> Option<Vec<u8>> {
        let SyncState::Active { cookie } = self.state? else { return None };
        match state::open(&cookie) {
            Ok(Opened::Foreign(cookie)) => Some(cookie),
            Ok(Opened::Ours(envelope)) => envelope.cookie,
            Err(_) => None,
        }
    }
}

impl<S: SyncServer> SyncServer for Remembering<S> {
    fn state(&mut self) -> Result<SyncState, KanidmError> {
        let state = self.server.state()?;
        self.state = Some(state.clone());
        Ok(state)
    }

    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError> {
        self.server.apply(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kanidm::state::Envelope;

    /// Answers with this state.
    struct Kanidm(Option<SyncState>);

    impl SyncServer for Kanidm {
        fn state(&mut self) -> Result<SyncState, KanidmError> {
            self.0.clone().ok_or_else(|| KanidmError::NotKanidm { reason: "down".into() })
        }

        fn apply(&mut self, _: &RequestBody<'_>) -> Result<(), KanidmError> {
            Ok(())
        }
    }

    #[test]
    fn the_cookie_comes_from_any_state_that_has_one() {
        let ours = |cookie: Option<&[u8]>| {
            Envelope { cookie: cookie.map(<[u8]>::to_vec), ..Envelope::default() }.to_state()
        };
        let foreign = |cookie: &[u8]| SyncState::Active { cookie: cookie.to_vec() };
        for (state, cookie) in [
            (None, None),
            (Some(SyncState::Refresh), None),
            (Some(ours(None)), None),
            (Some(ours(Some(b"csn"))), Some(&b"csn"[..])),
            (Some(foreign(b"csn of another tool")), Some(b"csn of another tool")),
            (Some(foreign(br#"{"kanidm-ldap-sync":99}"#)), None),
        ] {
            let mut server = Remembering::new(Kanidm(state));
            assert_eq!(server.state().ok(), server.state);
            assert_eq!(server.cookie().as_deref(), cookie);
        }
        assert_eq!(Remembering::new(Kanidm(None)).cookie(), None, "the run did not get so far");
    }
}
