//! Who matches a filter on a computed attribute, which content synchronisation does not report.
//!
//! Scope: one cheap search of every increment with such a filter. The list is compared with what
//! the run before remembered ([`Buckets`]): it tells whom to read, and who is left counts as
//! present. Everybody else is deleted as after any refresh.

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use uuid::Uuid;

use crate::config::sync::DirectoryConfig;
use crate::directory::client::Directory;
use crate::directory::computed::{computed_attributes, other_attributes};
use crate::directory::error::DirectoryError;
use crate::directory::flavour::sync_uuid;
use crate::kanidm::buckets::Buckets;

/// Reading so many entries by their UUIDs costs no more than a full refresh of twice as many.
const MANY: usize = 2_000;

/// What a list of the matching entries says.
#[derive(Debug)]
pub struct Listing {
    /// Everybody who matches, sorted.
    pub matching: Vec<Uuid>,
    /// For the next run.
    pub buckets: Buckets,
    /// What has changed since the run before.
    pub change: Change,
}

/// How the list compares with the one before.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nobody came, nobody left.
    None,
    /// Somebody came or left: those who came are among these.
    Among(Vec<Uuid>),
    /// So much, or so little is known, that all has to be read.
    TooMuch(String),
}

/// Lists who matches, if the filter of the configuration names a computed attribute. `before` is
/// what an increment compares with; a full refresh compares with nothing and has read nearly all.
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
        _ if full => Change::Among(matching.clone()),
        None => Change::TooMuch(format!(
            "the last run did not note who matched {}",
            computed.join(", ")
        )),
        Some(None) => Change::None,
        Some(Some(among)) if among.len() > MANY.max(matching.len() / 2) => Change::TooMuch(
            format!("many entries have come into the filter on {}", computed.join(", ")),
        ),
        Some(Some(among)) => Change::Among(among),
    };
    Ok(Some(Listing { buckets: Buckets::of(&matching), matching, change }))
}

/// The attributes of the filter that the server maintains by itself and that no run follows:
/// operational ones, which an entry does not show among its user attributes.
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
        // It may come by another name than the filter's.
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
