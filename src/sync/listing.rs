//! The entries that match a filter on a computed attribute. Content synchronisation does not report
//! when they change.
//!
//! Scope: one cheap search in every increment with such a filter. The result is compared with the
//! [`Buckets`] of the run before. The difference tells which entries to read, and the result
//! replaces the present set. Every other entry is deleted, as after any refresh.

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use uuid::Uuid;

use crate::config::sync::DirectoryConfig;
use crate::directory::client::Directory;
use crate::directory::computed::{computed_attributes, other_attributes};
use crate::directory::error::DirectoryError;
use crate::directory::flavour::sync_uuid;
use crate::kanidm::buckets::Buckets;

/// Reading this many entries by UUID costs no more than a full refresh of twice as many.
const MANY: usize = 2_000;

/// The entries that match the filter.
#[derive(Debug)]
pub struct Listing {
    /// Every matching entry, sorted.
    pub matching: Vec<Uuid>,
    /// The same for the next run to compare with.
    pub buckets: Buckets,
    /// The difference to the run before.
    pub change: ListingChange,
}

/// How a listing differs from the one before.
#[derive(Debug, PartialEq, Eq)]
pub enum ListingChange {
    /// No entry came or left.
    None,
    /// Entries came or left. Those that came are among these.
    Among(Vec<Uuid>),
    /// Everything has to be read: too many entries changed, or no earlier listing is known.
    TooMuch(String),
}

/// Lists the matching entries if the configured filter names a computed attribute. An increment
/// compares them with `before`. A full refresh compares with nothing, because it has read nearly
/// all of them.
///
/// # Errors
/// The search failed.
pub fn list(
    directory: &mut Directory,
    config: &DirectoryConfig,
    before: Option<&Buckets>,
    full: bool,
) -> Result<Option<Listing>, DirectoryError> {
    let computed = computed_attributes(&config.filter);
    if computed.is_empty() {
        return Ok(None);
    }
    let matching = matching(directory, &config.base_dn, &config.filter)?;
    let change = match before.map(|before| before.changed(&matching)) {
        _ if full => ListingChange::Among(matching.clone()),
        None => ListingChange::TooMuch(format!(
            "the last run did not note who matched {}",
            computed.join(", ")
        )),
        Some(None) => ListingChange::None,
        Some(Some(among)) if among.len() > MANY.max(matching.len() / 2) => ListingChange::TooMuch(
            format!("many entries have come into the filter on {}", computed.join(", ")),
        ),
        Some(Some(among)) => ListingChange::Among(among),
    };
    Ok(Some(Listing { buckets: Buckets::of(&matching), matching, change }))
}

/// The operational attributes of the filter that no run follows: the server maintains them, and an
/// entry does not show them among its user attributes.
///
/// # Errors
/// A search failed.
pub fn not_followed(
    directory: &mut Directory,
    config: &DirectoryConfig,
) -> Result<Vec<String>, DirectoryError> {
    let mut found = Vec::new();
    for name in other_attributes(&config.filter) {
        let filter =
            Filter::And(vec![config.filter.clone(), Filter::Present { attribute: name.clone() }]);
        let types = directory.types(&config.base_dn, &filter, &[&name])?;
        // The server may return it under another name than the filter uses.
        let user_attributes = directory.types(&config.base_dn, &filter, &["*"])?;
        if !types.is_empty() && !types.iter().any(|name| user_attributes.contains(name)) {
            found.push(name);
        }
    }
    Ok(found)
}

/// The UUIDs of all entries that an ordinary search finds, sorted.
///
/// # Errors
/// The search failed, or an entry hides its UUID.
pub fn matching(
    directory: &mut Directory,
    base: &str,
    filter: &Filter,
) -> Result<Vec<Uuid>, DirectoryError> {
    let (provider, uuid_attribute) = (directory.provider(), directory.uuid_attribute());
    let (mut found, mut nameless) = (Vec::new(), None);
    directory.search(
        base,
        Scope::Subtree,
        filter,
        &[uuid_attribute],
        &mut |entry| match sync_uuid(provider, entry) {
            Some(uuid) => found.push(uuid),
            None => nameless = Some(entry.dn().to_owned()),
        },
    )?;
    if let Some(dn) = nameless {
        return Err(directory.uuid_hidden(dn));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
