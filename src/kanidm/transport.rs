//! The trait between the upload and Kanidm. Tests replace the server with a model.

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
