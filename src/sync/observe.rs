//! What a run tells whoever watches it: a progress display, or the dump of `--proto-dump`.

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

/// One step of a run.
#[derive(Debug)]
pub enum Step<'a> {
    /// An entry was received.
    Received(Uuid, &'a SearchResultEntry<'a>),
    /// What was received so far is void: the refresh starts over.
    StartedOver,
}

/// Is called with each step.
pub type Observer<'o> = dyn FnMut(Step<'_>) + 'o;
