//! A Kanidm whose answers get lost, and a clock that does not wait.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use kanidm_ldap_sync::clock::Clock;
use kanidm_ldap_sync::kanidm::error::{Answer, KanidmError, Stage};
use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What happens to one POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// Applied or refused as usual, and no answer arrives.
    AnswerLost,
    /// Does not arrive.
    Unreachable,
    /// Answered with 503.
    Unavailable,
    /// Answered with 403, by something in front of it.
    Forbidden,
    /// Answered with 408, not applied.
    TooSlow,
    /// Times out and is applied when the next POST arrives.
    AppliedLate,
    /// The client dies before it is sent.
    KilledBefore,
    /// The client dies before the answer arrives.
    KilledAfter,
}

impl Trouble {
    pub const ALL: [Trouble; 8] = [
        Trouble::AnswerLost,
        Trouble::Unreachable,
        Trouble::Unavailable,
        Trouble::Forbidden,
        Trouble::TooSlow,
        Trouble::AppliedLate,
        Trouble::KilledBefore,
        Trouble::KilledAfter,
    ];
}

/// A server with trouble on the way to it.
#[derive(Default)]
pub struct Troubled<S> {
    pub server: S,
    /// By number of the POST, counted from 0.
    pub trouble: BTreeMap<u64, Trouble>,
    /// POSTs so far.
    pub count: u64,
    /// Entries of a POST; more is 408.
    pub max_entries: Option<usize>,
    late: Option<Vec<u8>>,
}

impl<S> Troubled<S> {
    pub fn new(server: S) -> Self {
        Troubled { server, trouble: BTreeMap::new(), count: 0, max_entries: None, late: None }
    }
}

impl<S: SyncServer> Troubled<S> {
    /// What is still on its way arrives.
    #[allow(dead_code, reason = "not every test waits for it")]
    pub fn deliver_late(&mut self) {
        if let Some(late) = self.late.take() {
            let _ = self.server.apply(&parsed(&late));
        }
    }
}

/// How a killed client shows: nothing is tried after it.
fn killed() -> KanidmError {
    KanidmError::NotKanidm { reason: "killed".to_owned() }
}

impl<S: SyncServer> SyncServer for Troubled<S> {
    fn state(&mut self) -> Result<SyncState, KanidmError> {
        self.server.state()
    }

    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError> {
        let trouble = self.trouble.get(&self.count).copied();
        self.count += 1;
        self.deliver_late();
        if self.max_entries.is_some_and(|max| body.entries() > max) {
            return Err(KanidmError::Refused(Answer::new(408, b"", None)));
        }
        match trouble {
            None => self.server.apply(body),
            Some(Trouble::Unreachable) => Err(KanidmError::Transport {
                stage: Stage::Connect,
                reason: "connection refused".to_owned(),
            }),
            Some(Trouble::Unavailable) => {
                Err(KanidmError::Refused(Answer::new(503, b"<html>", None)))
            }
            Some(Trouble::Forbidden) => {
                Err(KanidmError::Refused(Answer::new(403, b"<html>too many requests</html>", None)))
            }
            Some(Trouble::TooSlow) => Err(KanidmError::Refused(Answer::new(408, b"", None))),
            Some(Trouble::KilledBefore) => Err(killed()),
            Some(Trouble::AppliedLate) => {
                self.late = Some(body.to_vec());
                Err(KanidmError::TimedOut {
                    stage: Stage::Exchange,
                    limit: Duration::from_secs(300),
                })
            }
            Some(Trouble::AnswerLost) => {
                let _ = self.server.apply(body);
                Err(KanidmError::Transport {
                    stage: Stage::Exchange,
                    reason: "connection reset".to_owned(),
                })
            }
            Some(Trouble::KilledAfter) => {
                let _ = self.server.apply(body);
                Err(killed())
            }
        }
    }
}

/// A body that outlives the upload it is from.
fn parsed(bytes: &[u8]) -> RequestBody<'static> {
    let request: Value = serde_json::from_slice(bytes).unwrap();
    let state = |key: &str| SyncState::from_json(request[key].to_string().as_bytes()).unwrap();
    let list = |key: &str| -> Option<Vec<Uuid>> {
        let uuids = request["retain"].get(key)?.as_array()?;
        uuids.iter().map(|u| Uuid::parse_str(u.as_str()?).ok()).collect()
    };
    let retain = list("Retain")
        .map(Retention::Retain)
        .or(list("Delete").map(Retention::Delete))
        .unwrap_or_default();
    let entries: Vec<Cow<'static, [u8]>> = request["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| Cow::Owned(e.to_string().into_bytes()))
        .collect();
    RequestBody::new(&state("from_state"), &state("to_state"), &retain, entries)
}

/// A clock that does not wait. Each look at it takes a millisecond.
#[derive(Debug)]
pub struct TestClock {
    start: Instant,
    time: Cell<Duration>,
}

impl Default for TestClock {
    fn default() -> Self {
        TestClock { start: Instant::now(), time: Cell::default() }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        self.sleep(Duration::from_millis(1));
        self.start + self.time.get()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, time: Duration) {
        self.time.set(self.time.get() + time);
    }
}
