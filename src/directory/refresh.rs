//! The refresh: reads the configured content, either all of it or the changes since a cookie.
//!
//! Scope: the request, and the repair of 389's omissions. [`ldap_content_sync::sync_session`]
//! interprets the messages.

use std::collections::{HashMap, HashSet};

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::{self, Scope, SearchRequest, SyncMode, SyncRequest};
use ldap_content_sync::sync_session::{
    NextCookie, Provider, RefreshOutcome, SessionError, SyncEvent, SyncSession,
};
use uuid::Uuid;

use super::client::Directory;
use super::error::{DirectoryProblem, DirectoryStage, quote};
use super::flavour::{DS389_DELETIONS, changelog_gap, sync_uuid};
use super::left_out;

/// Maximum UUIDs in one filter when entries are read again. A request then has about 7 kB.
const BATCH: usize = 100;

/// Result of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The refresh is complete.
    Done(RefreshOutcome),
    /// The cookie is unusable. Discard everything received and refresh without a cookie.
    Required {
        /// The reason, for the log.
        reason: String,
    },
}

type OnEntry<'f> = &'f mut dyn FnMut(Uuid, &SearchResultEntry<'_>);

/// Implements [`Directory::refresh`]. The cookie must not be empty.
pub(super) fn run(
    directory: &mut Directory,
    attributes: &[&str],
    cookie: Option<&[u8]>,
    on_entry: OnEntry<'_>,
) -> Result<Refresh, DirectoryProblem> {
    match (directory.provider(), cookie) {
        (Provider::Ds389, Some(cookie)) => ds389_changes(directory, attributes, cookie, on_entry),
        _ => plain(directory, attributes, cookie, on_entry),
    }
}

/// One refresh by RFC 4533, without the repairs for 389.
fn plain(
    directory: &mut Directory,
    attributes: &[&str],
    cookie: Option<&[u8]>,
    on_entry: OnEntry<'_>,
) -> Result<Refresh, DirectoryProblem> {
    let sync = Some(SyncRequest { mode: SyncMode::RefreshOnly, cookie });
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
    let id =
        directory.connection.request(DirectoryStage::Refresh, |id| request::search(id, &search))?;
    let mut session =
        SyncSession::new(directory.provider(), cookie, id, &directory.connection.limits);
    let mut outcome = loop {
        let message = directory.connection.message(DirectoryStage::Refresh)?;
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
            Ok(SyncEvent::Finished(RefreshOutcome { cookie: NextCookie::Unusable, .. })) => {
                return Ok(Refresh::Required {
                    reason: "the server does not know the cookie".into(),
                });
            }
            Ok(SyncEvent::Finished(outcome)) => break outcome,
            Err(error) => return Err(problem(error, DirectoryStage::Refresh, &directory.base)),
        }
    };
    left_out::complete(directory, attributes, &mut outcome, on_entry)?;
    Ok(Refresh::Done(outcome))
}

/// Reads changes from 389. 389 sends them without operational attributes, so a locked account would
/// look unlocked. The entries are therefore read again. The root DSE reveals changes that the
/// changelog has lost. It is read before and after the refresh, because 389 may trim the changelog
/// at any time.
fn ds389_changes(
    directory: &mut Directory,
    attributes: &[&str],
    cookie: &[u8],
    on_entry: OnEntry<'_>,
) -> Result<Refresh, DirectoryProblem> {
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

/// Reads those of the entries that are in the content now. Returns their UUIDs.
pub(super) fn read_again(
    directory: &mut Directory,
    attributes: &[&str],
    uuids: Vec<Uuid>,
    on_entry: OnEntry<'_>,
) -> Result<HashSet<Uuid>, DirectoryProblem> {
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
        // Unlike search_each, this search fails if the base is missing. Otherwise every entry would
        // count as deleted.
        directory.one_search(
            DirectoryStage::Refresh,
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
            return Err(DirectoryProblem::UuidHidden { dn, attribute: uuid_attribute });
        }
    }
    Ok(found)
}

/// Checks that entries are gone if they came with the changes but a search by UUID missed them.
/// Either they were deleted or left the content in the meantime, or the account may not search by
/// the UUID attribute. A search by name tells the cases apart.
fn confirm_gone(
    directory: &mut Directory,
    missing: &HashMap<Uuid, String>,
) -> Result<(), DirectoryProblem> {
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
        Some(dn) => Err(DirectoryProblem::UuidHidden { dn, attribute: uuid_attribute }),
        None => Ok(()),
    }
}

pub(super) fn problem(error: SessionError, stage: DirectoryStage, base: &str) -> DirectoryProblem {
    match error {
        SessionError::Failed { code, diagnostic, .. } => DirectoryProblem::SearchFailed {
            stage,
            base: base.to_owned(),
            code,
            diagnostic: quote(&diagnostic),
        },
        SessionError::Disconnected { code, diagnostic } => {
            DirectoryProblem::Disconnected { stage, code, diagnostic: quote(&diagnostic) }
        }
        SessionError::Behind => DirectoryProblem::Behind { base: base.to_owned(), full: false },
        other => DirectoryProblem::Protocol { stage, reason: quote(&other.to_string()) },
    }
}
