//! The refresh: the content of the configured base and filter, whole or as changes since a cookie.
//!
//! Scope: asking for it, and mending what 389 leaves out. What its messages mean is
//! [`ldap_content_sync::sync_session`]'s.

use std::collections::{HashMap, HashSet};

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::{self, Scope, SearchRequest, SyncRequest};
use ldap_content_sync::sync_session::{
    Cookie, Provider, RefreshOutcome, SessionError, SyncEvent, SyncSession,
};
use uuid::Uuid;

use super::client::Directory;
use super::error::{Problem, Stage, quote};
use super::flavour::{DS389_DELETIONS, changelog_gap, sync_uuid};
use super::left_out;

/// UUIDs in one filter when entries are read again: some 7 kB of request.
const BATCH: usize = 100;

/// How a refresh ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Well.
    Done(RefreshOutcome),
    /// The cookie is of no use: refresh again without one. What was received until here is void.
    Required {
        /// Why, for the log.
        reason: String,
    },
}

type OnEntry<'f> = &'f mut dyn FnMut(Uuid, &SearchResultEntry<'_>);

/// See [`Directory::refresh`]. The cookie is not empty.
pub(super) fn run(
    directory: &mut Directory,
    attributes: &[&str],
    cookie: Option<&[u8]>,
    on_entry: OnEntry<'_>,
) -> Result<Refresh, Problem> {
    match (directory.provider(), cookie) {
        (Provider::Ds389, Some(cookie)) => ds389_changes(directory, attributes, cookie, on_entry),
        _ => plain(directory, attributes, cookie, on_entry),
    }
}

/// One refresh by RFC 4533.
fn plain(
    directory: &mut Directory,
    attributes: &[&str],
    cookie: Option<&[u8]>,
    on_entry: OnEntry<'_>,
) -> Result<Refresh, Problem> {
    let sync = Some(SyncRequest { cookie });
    let search = SearchRequest {
        base: &directory.base,
        scope: Scope::Subtree,
        filter: &directory.filter,
        attributes,
        size_limit: 0,
        time_limit: 0,
        types_only: false,
        sync,
    };
    let id = directory.connection.request(Stage::Refresh, |id| request::search(id, &search))?;
    let mut session = SyncSession::new(directory.provider(), cookie, id, &directory.limits);
    let mut outcome = loop {
        let message = directory.connection.message(Stage::Refresh)?;
        match session.handle(&message) {
            Ok(SyncEvent::Entry { uuid, entry }) => on_entry(uuid, &entry),
            Ok(SyncEvent::Ignored) => {}
            Ok(SyncEvent::RefreshRequired { diagnostic }) => {
                return Ok(Refresh::Required {
                    reason: format!(
                        "the server does not accept the cookie: {}",
                        quote(&diagnostic)
                    ),
                });
            }
            Ok(SyncEvent::Finished(RefreshOutcome { cookie: Cookie::Unusable, .. })) => {
                return Ok(Refresh::Required {
                    reason: "the server does not know the cookie".into(),
                });
            }
            Ok(SyncEvent::Finished(outcome)) => break outcome,
            Err(error) => return Err(problem(error, &directory.base)),
        }
    };
    left_out::complete(directory, attributes, &mut outcome, on_entry)?;
    Ok(Refresh::Done(outcome))
}

/// Changes on 389. They come without operational attributes, whatever was asked for, so that a
/// locked account would look unlocked: the entries are read again. Changes that its changelog has
/// lost are noticed through the root DSE, before and, as it may be trimmed at any time, after.
fn ds389_changes(
    directory: &mut Directory,
    attributes: &[&str],
    cookie: &[u8],
    on_entry: OnEntry<'_>,
) -> Result<Refresh, Problem> {
    if let Some(reason) = changelog_gap(cookie, &directory.read_root_dse()?) {
        return Ok(Refresh::Required { reason });
    }
    let mut changed: HashMap<Uuid, String> = HashMap::new();
    let refresh = plain(directory, attributes, Some(cookie), &mut |uuid, entry| {
        changed.insert(uuid, entry.dn().to_owned());
    })?;
    let Refresh::Done(mut outcome) = refresh else { return Ok(refresh) };
    if outcome.deletions_reported >= DS389_DELETIONS {
        let reported = outcome.deletions_reported;
        let reason = format!(
            "389 Directory Server reports {reported} deletions, and of {DS389_DELETIONS} or more it loses some"
        );
        return Ok(Refresh::Required { reason });
    }
    if let Some(reason) = changelog_gap(cookie, &directory.read_root_dse()?) {
        return Ok(Refresh::Required { reason });
    }
    let found = read_again(directory, attributes, changed.keys().copied().collect(), on_entry)?;
    changed.retain(|uuid, _| !found.contains(uuid));
    confirm_gone(directory, &changed)?;
    outcome.deleted.retain(|uuid| !found.contains(uuid));
    outcome.deleted.extend(changed.into_keys());
    outcome.deleted.sort_unstable();
    outcome.deleted.dedup();
    Ok(Refresh::Done(outcome))
}

/// Reads the entries with these UUIDs that are in the content now, and says which they are.
pub(super) fn read_again(
    directory: &mut Directory,
    attributes: &[&str],
    uuids: Vec<Uuid>,
    on_entry: OnEntry<'_>,
) -> Result<HashSet<Uuid>, Problem> {
    let uuid_attribute = directory.uuid_attribute();
    let mut attributes = attributes.to_vec();
    if !attributes.iter().any(|name| name.eq_ignore_ascii_case(uuid_attribute)) {
        attributes.push(uuid_attribute);
    }
    let mut found = HashSet::with_capacity(uuids.len());
    let base = directory.base.clone();
    for batch in uuids.chunks(BATCH) {
        let filter = Filter::And(vec![directory.filter.clone(), directory.uuid_filter(batch)]);
        let provider = directory.provider();
        let mut nameless = None;
        // Not search_each: a base that has vanished must be an error here, or every entry would
        // count as gone.
        directory.one_search(
            Stage::Refresh,
            &base,
            Scope::Subtree,
            &filter,
            &attributes,
            &mut |entry| match sync_uuid(provider, entry) {
                Some(uuid) if !batch.contains(&uuid) => {}
                Some(uuid) => {
                    found.insert(uuid);
                    on_entry(uuid, entry);
                }
                None => nameless = Some(entry.dn().to_owned()),
            },
        )?;
        if let Some(dn) = nameless {
            return Err(Problem::UuidHidden { dn, attribute: uuid_attribute });
        }
    }
    Ok(found)
}

/// Entries that came with the changes and were not found by their UUID are gone, or left the
/// content, in the meantime. Or the account may not search by that attribute, and nothing is gone
/// at all: so they are looked for by name as well.
fn confirm_gone(directory: &mut Directory, missing: &HashMap<Uuid, String>) -> Result<(), Problem> {
    let (provider, uuid_attribute) = (directory.provider(), directory.uuid_attribute());
    let filter = directory.filter.clone();
    let (uuids, searches): (Vec<Uuid>, Vec<_>) =
        missing.iter().map(|(uuid, dn)| (*uuid, (dn.clone(), Scope::Base, &filter))).unzip();
    let mut hidden = None;
    directory.many_searches(&searches, &[uuid_attribute], &mut |index, entry| {
        // Another entry may have taken the name.
        let other =
            sync_uuid(provider, entry).is_some_and(|found| uuids.get(index) != Some(&found));
        if !other {
            hidden = Some(entry.dn().to_owned());
        }
    })?;
    match hidden {
        Some(dn) => Err(Problem::UuidHidden { dn, attribute: uuid_attribute }),
        None => Ok(()),
    }
}

fn problem(error: SessionError, base: &str) -> Problem {
    let stage = Stage::Refresh;
    match error {
        SessionError::Failed { code, diagnostic, .. } => Problem::SearchFailed {
            stage,
            base: base.to_owned(),
            code,
            diagnostic: quote(&diagnostic),
        },
        SessionError::Disconnected { code, diagnostic } => {
            Problem::Disconnected { stage, code, diagnostic: quote(&diagnostic) }
        }
        SessionError::Behind => Problem::Behind { base: base.to_owned(), full: false },
        other => Problem::Protocol { stage, reason: quote(&other.to_string()) },
    }
}
