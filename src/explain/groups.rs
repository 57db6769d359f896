//! The groups in scope that name a person.
//!
//! Scope: one search, limited in size, and what keeps a membership from Kanidm.

use ldap_content_sync::SearchResultEntry;
use uuid::Uuid;

use super::answer::{Listed, ListedEntry};
use super::kanidm::{Kanidm, Presence};
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

/// Lists the groups that name a person. `absent` tells why Kanidm does not have the person.
///
/// # Errors
/// The directory failed.
pub(super) fn naming(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    person: &Changed,
    absent: Option<&'static str>,
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
        let uuid = sync_uuid(provider, entry);
        let note = obstacle(config, kanidm, person, uuid, entry).or(absent);
        listed.push(ListedEntry {
            name: entry.dn().to_owned(),
            resolves: note.is_none(),
            waits: false,
            note: note.map(str::to_owned),
        });
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

/// What keeps a group, or its new members, from Kanidm.
fn obstacle(
    config: &SyncConfig,
    kanidm: &Kanidm,
    person: &Changed,
    uuid: Option<Uuid>,
    entry: &SearchResultEntry<'_>,
) -> Option<&'static str> {
    let group = &config.mapping.group;
    let table = uuid.and_then(|uuid| config.mapping.entries.get(&uuid));
    let names = entry.attributes().filter(|attribute| attribute.is(&group.name));
    let is_own = |name: &str| person.user_names.iter().any(|own| own.eq_ignore_ascii_case(name));
    let has_own_name = table.is_none_or(|table| table.map_name.is_none())
        && names
            .flat_map(|attribute| attribute.values())
            .any(|name| str::from_utf8(name).is_ok_and(is_own));
    if table.is_some_and(|table| table.exclude) {
        Some("excluded by the configuration")
    } else if uuid.is_some_and(|uuid| kanidm.is_held(&uuid) && !kanidm.is_sent_without(&uuid)) {
        Some("held by an earlier run, so Kanidm keeps the members that it has of it")
    } else if uuid.is_some_and(|uuid| kanidm.has(&config.mapping, &uuid) == Presence::Has) {
        None
    } else if has_own_name {
        // Kanidm has one name for persons and groups.
        Some("its user-private group: runs skip it, or hold it for its name")
    } else {
        None
    }
}
