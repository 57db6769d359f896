//! Who watches a run: a progress display, or the dump of `--proto-dump`.

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

/// Is told of what a run reads.
pub trait Observer {
    /// An entry was received.
    fn entry(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>);
    /// What was received so far is void: the refresh starts over.
    fn restart(&mut self);
}

/// Watches nothing.
#[derive(Debug)]
pub struct Nobody;

impl Observer for Nobody {
    fn entry(&mut self, _: Uuid, _: &SearchResultEntry<'_>) {}
    fn restart(&mut self) {}
}
