//! Entries that slapd omits from a refresh because they change during it.
//!
//! Scope: OpenLDAP. The form of the cookie identifies it, because a root DSE may hide the server's
//! product. A refresh shows the directory as of its final cookie. slapd neither sends an entry with
//! a newer `entryCSN` nor lists it as present. Where absence means deletion, Kanidm would lose that
//! entry. After a crash it would lose everything that slapd has changed since its last checkpoint.
//! Plain searches therefore find and read such entries.

use std::collections::HashSet;

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::sync_session::{Cookie, NextCookie, RefreshOutcome, Snapshot};
use uuid::Uuid;

use super::client::Directory;
use super::error::{DirectoryProblem, DirectoryStage};
use super::flavour::sync_uuid;
use super::refresh::read_again;

const ENTRY_CSN: &str = "entryCSN";

/// Adds the omitted entries to the received and present ones. An outcome that only names
/// deletions stays unchanged.
pub(super) fn complete(
    directory: &mut Directory,
    attributes: &[&str],
    outcome: &mut RefreshOutcome,
    on_entry: &mut dyn FnMut(Uuid, &SearchResultEntry<'_>),
) -> Result<(), DirectoryProblem> {
    let (Some(present), NextCookie::New(cookie)) = (&outcome.present, &outcome.cookie) else {
        return Ok(());
    };
    let Some(snapshot) = Cookie::parse(cookie).snapshot() else { return Ok(()) };
    let candidates = candidates(directory, &snapshot)?;
    let missing: Vec<Uuid> =
        candidates.into_iter().filter(|uuid| present.binary_search(uuid).is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    log::debug!(
        "{} entries were changed during the refresh and left out of it: reading them",
        missing.len()
    );
    let found: HashSet<Uuid> = read_again(directory, attributes, missing, on_entry)?;
    if let Some(present) = &mut outcome.present {
        present.extend(found);
        present.sort_unstable();
    }
    Ok(())
}

/// The entries of the content that slapd may have omitted. All entries of the content if the
/// account cannot read `entryCSN`.
fn candidates(
    directory: &mut Directory,
    snapshot: &Snapshot<'_>,
) -> Result<Vec<Uuid>, DirectoryProblem> {
    let (base, provider, uuid_attribute) =
        (directory.base.clone(), directory.provider(), directory.uuid_attribute());
    let mut filter = directory.filter.clone();
    let by_csn = shows_csn(directory, &base)?;
    if by_csn {
        let newer = Filter::GreaterOrEqual {
            attribute: ENTRY_CSN.to_owned(),
            value: snapshot.oldest().as_bytes().to_vec(),
        };
        filter = Filter::And(vec![filter, newer]);
    }
    let (mut found, mut nameless) = (Vec::new(), None);
    directory.one_search(
        DirectoryStage::Refresh,
        &base,
        Scope::Subtree,
        &filter,
        &[uuid_attribute, ENTRY_CSN],
        &mut |entry| {
            if !by_csn || csn(entry).is_none_or(|csn| snapshot.leaves_out(csn)) {
                match sync_uuid(provider, entry) {
                    Some(uuid) => found.push(uuid),
                    None => nameless = Some(entry.dn().to_owned()),
                }
            }
        },
    )?;
    match nameless {
        Some(dn) => Err(DirectoryProblem::UuidHidden { dn, attribute: uuid_attribute }),
        None => Ok(found),
    }
}

/// True if the base entry shows its `entryCSN`, so that a search by it is reliable. An account
/// without access to the base gets false.
fn shows_csn(directory: &mut Directory, base: &str) -> Result<bool, DirectoryProblem> {
    let filter = Filter::Present { attribute: ENTRY_CSN.to_owned() };
    let mut shown = false;
    let search = [(base.to_owned(), Scope::Base, &filter)];
    directory.many_searches(&search, &[ENTRY_CSN], &mut |_, entry| shown = csn(entry).is_some())?;
    Ok(shown)
}

fn csn<'a>(entry: &SearchResultEntry<'a>) -> Option<&'a str> {
    let attribute = entry.attributes().find(|attribute| attribute.is(ENTRY_CSN))?;
    std::str::from_utf8(attribute.values().next()?).ok()
}
