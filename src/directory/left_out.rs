//! What slapd leaves out of a refresh without a word: entries that are changed while it is under
//! way.
//!
//! Scope: OpenLDAP, known by the form of its cookies: a root DSE may hide what server it is. A
//! refresh shows the directory as of the cookie that it ends with. An entry whose `entryCSN` is
//! newer is neither sent nor named as present, and where absence means deletion it would be deleted
//! from Kanidm; so would everything that a slapd has changed since its last checkpoint, after a
//! crash. Such entries are looked for, and read, by ordinary searches.

use std::collections::HashSet;

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::sync_session::{Cookie, RefreshOutcome, Snapshot};
use uuid::Uuid;

use super::client::Directory;
use super::error::{Problem, Stage};
use super::flavour::sync_uuid;
use super::refresh::read_again;

const ENTRY_CSN: &str = "entryCSN";

/// Adds them to what the refresh has received, and to what is present. Nothing to do where only
/// deletions that are named count.
pub(super) fn complete(
    directory: &mut Directory,
    attributes: &[&str],
    outcome: &mut RefreshOutcome,
    on_entry: &mut dyn FnMut(Uuid, &SearchResultEntry<'_>),
) -> Result<(), Problem> {
    let (Some(present), Cookie::New(cookie)) = (&outcome.present, &outcome.cookie) else {
        return Ok(());
    };
    let Some(snapshot) = Snapshot::of(cookie) else { return Ok(()) };
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

/// The entries of the content that may have been left out. Where the account may not see
/// `entryCSN`: all there are.
fn candidates(directory: &mut Directory, snapshot: &Snapshot<'_>) -> Result<Vec<Uuid>, Problem> {
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
        Stage::Refresh,
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
        Some(dn) => Err(Problem::UuidHidden { dn, attribute: uuid_attribute }),
        None => Ok(found),
    }
}

/// Whether the account may search by `entryCSN`, to judge by the base. One that may not even see
/// the base may not, either.
fn shows_csn(directory: &mut Directory, base: &str) -> Result<bool, Problem> {
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
