//! The steps of a reading, for observers: a progress display, and the dump of `--proto-dump`.
//!
//! Scope: the type of a step and of an observer.

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

/// One step of a reading.
#[derive(Debug)]
pub enum ReadStep<'a> {
    /// The directory sent an entry.
    Received(Uuid, &'a SearchResultEntry<'a>),
    /// All entries received so far are void: the reading starts over.
    StartedOver,
}

/// Called with each step.
pub type Observer<'o> = dyn FnMut(ReadStep<'_>) + 'o;
