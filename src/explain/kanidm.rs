//! Kanidm's state: what earlier runs have left there.
//!
//! Scope: one request for the state, and questions to it. Kanidm shows a sync account no entries,
//! so the state is all that can be told.

use uuid::Uuid;

use crate::config::client::ClientConfig;
use crate::config::fingerprint::fingerprint;
use crate::config::sync::{MappingConfig, SyncConfig};
use crate::config::{ConfigError, Warning};
use crate::kanidm::since::Since;
use crate::kanidm::transport::SyncServer as _;
use crate::settings::{self, Settings};
use crate::sync::start::{self, FullRefresh, Start};

/// Kanidm's state, or why it is not known.
pub(super) struct Kanidm {
    pub(super) start: Option<Start>,
    pub(super) unknown: Option<String>,
}

/// True, false, or not told by the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Has,
    HasNot,
    Unknown,
}

impl Kanidm {
    /// Asks Kanidm. A failure is no error: the directory alone tells most.
    pub(super) fn ask(
        sync: SyncConfig,
        client: Result<(ClientConfig, Vec<Warning>), ConfigError>,
    ) -> (SyncConfig, Kanidm) {
        let unknown = |why: String| Kanidm { start: None, unknown: Some(why) };
        let client = match client {
            Ok((client, _)) => client,
            Err(error) => return (sync, unknown(error.to_string())),
        };
        let fingerprint = fingerprint(&sync);
        let settings = Settings { sync, client, fingerprint };
        let state = settings::kanidm(&settings).and_then(|mut server| {
            server.state().map_err(|error| format!("{}: {error}", settings.client.uri))
        });
        let start = state.and_then(|state| {
            start::decide(&state, &settings.fingerprint, FullRefresh::No)
                .map_err(|error| error.to_string())
        });
        let kanidm = match start {
            Ok(start) => Kanidm { start: Some(start), unknown: None },
            Err(why) => unknown(why),
        };
        (settings.sync, kanidm)
    }

    /// Tells whether earlier runs have written an entry, by its directory UUID. It may have been a
    /// group when they did, and be a person now.
    pub(super) fn has(&self, mapping: &MappingConfig, sync_uuid: &Uuid) -> Presence {
        let Some(start) = &self.start else { return Presence::Unknown };
        if mapping.is_claimed(*sync_uuid) {
            return Presence::HasNot;
        }
        let uuid = mapping.kanidm_uuid(*sync_uuid);
        let Some(known) = &start.known else { return Presence::Unknown };
        if known.sample().any(|sampled| sampled == uuid) {
            return Presence::Has;
        }
        if !known.persons.may_have(uuid) && !known.groups.may_have(uuid) {
            return Presence::HasNot;
        }
        match &start.stored_roster {
            // `missing_from` compares UUIDs only.
            Some(roster) if roster.missing_from(&[uuid]) < roster.len() => Presence::Has,
            // Kanidm may have an older copy of an entry that it refused.
            Some(_) if !self.is_held(sync_uuid) => Presence::HasNot,
            _ => Presence::Unknown,
        }
    }

    /// True if an earlier run held the entry, or sent it without a value that waits for another one.
    pub(super) fn is_held(&self, sync_uuid: &Uuid) -> bool {
        self.start.as_ref().is_some_and(|start| start.held.contains(sync_uuid))
    }

    /// True if an earlier run sent the entry without a value.
    pub(super) fn is_sent_without(&self, sync_uuid: &Uuid) -> bool {
        self.start.as_ref().is_some_and(|start| start.dropped.contains(sync_uuid))
    }

    /// True if an administrator of Kanidm took an attribute over, as far as earlier runs know.
    pub(super) fn is_yielded(&self, attribute: &str) -> bool {
        self.start.as_ref().is_some_and(|start| start.yielded.contains(attribute))
    }

    /// The sentence about an entry. `without_token`: what it lacks because of a token.
    pub(super) fn sentence(
        &self,
        mapping: &MappingConfig,
        sync_uuid: &Uuid,
        presence: Presence,
        without_token: Option<&str>,
    ) -> Option<String> {
        let start = self.start.as_ref()?;
        let at = start.held.iter().position(|held| held == sync_uuid);
        let since = at.and_then(|at| start.held_since.get(at)).copied().unwrap_or_default();
        let run = match since {
            Since::Full => "a full refresh",
            Since::Incremental => "an incremental run",
            Since::Unknown => "an earlier run",
        };
        Some(match (self.is_held(sync_uuid), self.is_sent_without(sync_uuid), presence) {
            (true, true, _) => match without_token {
                Some(what) => format!("since {run} it is there without {what}"),
                None => format!(
                    "since {run} it is there without a value that waits for another entry"
                ),
            },
            (true, false, Presence::Has) => match &start.stored_roster {
                Some(roster) if roster.has_any(mapping.kanidm_uuid(*sync_uuid)) => {
                    format!("held since {run}; Kanidm keeps an older copy")
                }
                _ => format!(
                    "held since {run}; Kanidm has an entry with its UUID, which is empty unless a run wrote it before"
                ),
            },
            (true, false, Presence::HasNot) => format!("held since {run}; Kanidm has no copy"),
            (true, false, Presence::Unknown) => format!(
                "held since {run}; the state does not tell whether Kanidm has an older copy"
            ),
            (false, true, _) => "an earlier run sent it without a bad value".to_owned(),
            (false, false, Presence::Has) => "an earlier run wrote it".to_owned(),
            (false, false, Presence::HasNot) => "no earlier run wrote it".to_owned(),
            (false, false, Presence::Unknown) if start.known.is_none() => {
                "the state does not tell who is in Kanidm: no full refresh has ended yet".to_owned()
            }
            (false, false, Presence::Unknown) => {
                "the state does not tell whether Kanidm has it: it keeps a sample of so many entries"
                    .to_owned()
            }
        })
    }
}
