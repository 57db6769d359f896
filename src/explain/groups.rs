//! The groups in scope that name a person.
//!
//! Scope: one search, limited in size.

use ldap_content_sync::SearchResultEntry;
use uuid::Uuid;

use super::answer::{Listed, ListedEntry};
use super::kanidm::Kanidm;
use super::reading::{lookup, unless_refused};
use crate::config::sync::{GroupSchema, SyncConfig};
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::flavour::sync_uuid;
use crate::mapping::Changed;
use crate::sync::lookup::equality;
use crate::text::count;

/// Maximum number of groups that are listed.
const MOST: u32 = 50;

/// Lists the groups that name a person.
///
/// # Errors
/// The directory failed.
pub(super) fn naming(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    person: &Changed,
) -> Result<Listed, DirectoryError> {
    let group = &config.mapping.group;
    let mut terms = Vec::new();
    for member in &group.members {
        match group.schema {
            GroupSchema::Rfc2307Bis => terms.push(equality(member, &person.dn)),
            GroupSchema::Rfc2307 => {
                terms.extend(person.user_names.iter().map(|name| equality(member, name)))
            }
        }
    }
    if terms.is_empty() {
        return Ok(Listed { summary: "none names it".to_owned(), listed: Vec::new() });
    }
    let (provider, uuid) = (directory.provider(), directory.uuid_attribute());
    let filter = lookup(directory, config, &[]).of_classes(&group.object_classes, &terms);
    let mut listed = Vec::new();
    let mut note = |entry: &SearchResultEntry<'_>| {
        listed.push(group_entry(config, kanidm, person, sync_uuid(provider, entry), entry));
    };
    let base = &config.directory.base_dn;
    let searched = directory.some(base, &filter, &[&group.name, uuid], MOST, &mut note);
    if let Some(code) = unless_refused(searched)? {
        let summary = format!("the groups that name it cannot be searched for: {code}");
        return Ok(Listed { summary, listed: Vec::new() });
    }
    let at_least = if listed.len() >= MOST as usize { "at least " } else { "" };
    let summary = match listed.len() {
        0 => "none names it".to_owned(),
        1 => "1 group names it".to_owned(),
        n => format!("{at_least}{} name it", count(n as u64, "group")),
    };
    Ok(Listed { summary, listed })
}

/// A group that names the person, with what keeps it from Kanidm.
fn group_entry(
    config: &SyncConfig,
    kanidm: &Kanidm,
    person: &Changed,
    uuid: Option<Uuid>,
    entry: &SearchResultEntry<'_>,
) -> ListedEntry {
    let group = &config.mapping.group;
    let table = uuid.and_then(|uuid| config.mapping.entries.get(&uuid));
    let is_excluded = table.is_some_and(|table| table.exclude);
    let names = entry.attributes().filter(|attribute| attribute.is(&group.name));
    let is_own = |name: &str| person.user_names.iter().any(|own| own.eq_ignore_ascii_case(name));
    let is_private = !group.send_user_private
        && names
            .flat_map(|attribute| attribute.values())
            .any(|name| str::from_utf8(name).is_ok_and(is_own));
    let note = if is_excluded {
        Some("excluded by the configuration")
    } else if uuid.is_some_and(|uuid| kanidm.is_held(&uuid)) {
        Some("held by an earlier run")
    } else if is_private {
        Some("its user-private group, which is not synchronised unless it has other members")
    } else {
        None
    };
    ListedEntry {
        name: entry.dn().to_owned(),
        resolves: !is_excluded,
        waits: false,
        note: note.map(str::to_owned),
    }
}
