//! What was asked of `/scim/v1/Sync` since the start, so that a test can count requests and see
//! what they held.

use std::sync::{Arc, Mutex, PoisonError};

use kanidm_proto::scim_v1::{ScimSyncRequest, ScimSyncRetentionMode, ScimSyncState};
use serde::Serialize;

/// One request. What is not known yet, or never came to pass, is absent.
#[derive(Clone, Default, Serialize)]
pub struct Line {
    pub method: String,
    pub path: String,
    /// Bytes of the body, when all of it was read.
    pub body_bytes: Option<usize>,
    /// What a POST asked for, when it could be parsed.
    pub sync: Option<SyncLine>,
    /// Whether the engine committed it.
    pub committed: bool,
    /// The status answered; absent when the connection was closed without an answer.
    pub status: Option<u16>,
    /// The body answered, when it was an error.
    pub error: Option<String>,
    /// The fault the request met.
    pub fault: Option<crate::fault::Fault>,
    /// Whether nothing more will happen for this request.
    pub finished: bool,
}

/// What one POST asked for.
#[derive(Clone, Serialize)]
pub struct SyncLine {
    /// As on the wire: `"Refresh"` or `{"Active":{"cookie":…}}`.
    pub from_state: ScimSyncState,
    pub to_state: ScimSyncState,
    pub entries: usize,
    /// Entries without a schema: they make an object, or keep the content of one.
    pub stubs: usize,
    /// `Ignore`, `Retain` or `Delete`.
    pub retain: &'static str,
    /// UUIDs in the list of `Retain` or `Delete`.
    pub retain_count: usize,
}

impl SyncLine {
    pub fn of(request: &ScimSyncRequest) -> SyncLine {
        let (retain, retain_count) = match &request.retain {
            ScimSyncRetentionMode::Ignore => ("Ignore", 0),
            ScimSyncRetentionMode::Retain(uuids) => ("Retain", uuids.len()),
            ScimSyncRetentionMode::Delete(uuids) => ("Delete", uuids.len()),
        };
        SyncLine {
            from_state: request.from_state.clone(),
            to_state: request.to_state.clone(),
            entries: request.entries.len(),
            stubs: request.entries.iter().filter(|entry| entry.schemas.is_empty()).count(),
            retain,
            retain_count,
        }
    }
}

/// All requests in the order they began.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Arc<Mutex<Line>>>>>);

impl Journal {
    /// A new line, for as long as anything is done for its request.
    pub fn begin(&self, method: &str, path: &str) -> Entry {
        let line = Arc::new(Mutex::new(Line {
            method: method.into(),
            path: path.into(),
            ..Line::default()
        }));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&line));
        Entry(Arc::new(Pen(line)))
    }

    pub fn lines(&self) -> Vec<Line> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(|line| line.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The right to write to one line. When the last clone goes, the line is finished: a client that
/// hung up does not end what the engine does with its request.
#[derive(Clone)]
pub struct Entry(Arc<Pen>);

impl Entry {
    pub fn note(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

struct Pen(Arc<Mutex<Line>>);

impl Drop for Pen {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finished = true;
    }
}
