//! The members of a group, and why some do not resolve.
//!
//! Scope: the reasons. The mapper has resolved the members.

use std::collections::{BTreeMap, HashMap, HashSet};

use ldap_content_sync::dn;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::{ResultCode, SearchResultEntry};

use super::answer::{Listed, ListedEntry};
use super::find::below;
use super::kanidm::{Kanidm, Presence};
use super::reading::{MOST_MEMBERS, Reading, mapper, unless_refused};
use crate::config::sync::{GroupSchema, SyncConfig};
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::flavour::sync_uuid;
use crate::mapping::MemberTarget;
use crate::sync::lookup::{equality, present};
use crate::text::thousands;

/// Maximum number of members that are listed, those that do not resolve first.
const LISTED: usize = 50;

const NOT_THERE: &str = "does not exist, or is hidden from the sync account";

/// Lists the members of a group.
///
/// # Errors
/// The directory failed.
pub(super) fn listed(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    reading: &Reading,
) -> Result<Listed, DirectoryError> {
    let (all, too_long) = &reading.targets;
    let is_cut = reading.not_asked > 0;
    // The look-ups have the order of the members.
    let targets = if is_cut { all.get(..MOST_MEMBERS).unwrap_or(all) } else { all };
    let (resolved, lost): (Vec<&MemberTarget>, Vec<&MemberTarget>) =
        targets.iter().partition(|target| target.entry.is_some());
    let named: Vec<&str> = lost.iter().take(LISTED).map(|target| target.member.as_str()).collect();
    let reasons = reasons(directory, config, &named)?;
    let lost = named.iter().zip(reasons).map(|(member, reason)| ListedEntry {
        name: (*member).to_owned(),
        resolves: false,
        waits: false,
        note: Some(reason),
    });
    let mut entries: Vec<ListedEntry> = lost.collect();
    let resolved = resolved.iter().map(|target| with_remark(config, kanidm, target));
    let (resolved, waiting): (Vec<ListedEntry>, Vec<ListedEntry>) =
        resolved.partition(|entry| entry.resolves);
    let (resolve, waits) = (resolved.len(), waiting.len());
    let room = LISTED.saturating_sub(entries.len());
    entries.extend(waiting.into_iter().chain(resolved).take(room));
    let count = thousands((all.len() as u64).saturating_add(*too_long));
    let resolve = thousands(resolve as u64);
    let mut summary = match is_cut {
        true => format!(
            "{count} named; of the first {}, {resolve} resolve",
            thousands(targets.len() as u64)
        ),
        false => format!("{count} named, {resolve} resolve"),
    };
    if waits > 0 {
        summary.push_str(&format!(", {} not in Kanidm yet", thousands(waits as u64)));
    }
    if entries.len() < targets.len() {
        summary.push_str(&format!("; {} are listed", entries.len()));
    }
    Ok(Listed { summary, listed: entries })
}

/// A member whose entry is known, with what earlier runs did with it.
fn with_remark(config: &SyncConfig, kanidm: &Kanidm, target: &MemberTarget) -> ListedEntry {
    let of_entry = target.entry.as_ref().and_then(|(_, uuid)| remark(config, kanidm, uuid));
    let (waits, note) = of_entry.unzip();
    let waits = waits.unwrap_or_default();
    let note = note.map(str::to_owned);
    ListedEntry { name: target.member.clone(), resolves: !waits, waits, note }
}

/// A remark, and true if Kanidm does not have the member. It drops such a member from the group.
fn remark(
    config: &SyncConfig,
    kanidm: &Kanidm,
    sync_uuid: &uuid::Uuid,
) -> Option<(bool, &'static str)> {
    let has = kanidm.has(&config.mapping, sync_uuid);
    match (kanidm.is_held(sync_uuid), kanidm.is_sent_without(sync_uuid), has) {
        (true, false, Presence::HasNot) => {
            Some((true, "held by an earlier run, so Kanidm does not have it"))
        }
        (true, false, _) => Some((false, "held by an earlier run")),
        (false, _, Presence::HasNot) => Some((true, "no earlier run has written it yet")),
        _ => None,
    }
}

/// Why each of these members does not resolve.
fn reasons(
    directory: &mut Directory,
    config: &SyncConfig,
    members: &[&str],
) -> Result<Vec<String>, DirectoryError> {
    if config.mapping.group.schema == GroupSchema::Rfc2307Bis {
        return reasons_of_dns(directory, config, members);
    }
    let dns = match dns_of_names(directory, config, members)? {
        Ok(dns) => dns,
        Err(code) => {
            let reason = format!("cannot be looked up: {code}");
            return Ok(vec![reason; members.len()]);
        }
    };
    let found: Vec<&str> = dns.values().map(String::as_str).collect();
    let of_dns: HashMap<&str, String> =
        found.iter().copied().zip(reasons_of_dns(directory, config, &found)?).collect();
    let reason = |member: &&str| match dns.get(&member.trim().to_ascii_lowercase()) {
        Some(dn) => {
            let reason = of_dns.get(dn.as_str()).map_or("is not synchronised", String::as_str);
            format!("{dn} {reason}")
        }
        None => "no entry has this user name, or it is hidden from the sync account".to_owned(),
    };
    Ok(members.iter().map(reason).collect())
}

/// The DNs of the persons with these user names, by name in lower case, or the code with which the
/// server refused the search.
fn dns_of_names(
    directory: &mut Directory,
    config: &SyncConfig,
    members: &[&str],
) -> Result<Result<BTreeMap<String, String>, ResultCode>, DirectoryError> {
    let name = config.mapping.person.user_name.as_str();
    let mut dns = BTreeMap::new();
    if members.is_empty() {
        return Ok(Ok(dns));
    }
    let asked: HashSet<String> =
        members.iter().map(|member| member.trim().to_ascii_lowercase()).collect();
    let filter = Filter::Or(asked.iter().map(|member| equality(name, member)).collect());
    let most = u32::try_from(LISTED.saturating_mul(2)).unwrap_or(u32::MAX);
    let mut note = |entry: &SearchResultEntry<'_>| {
        let own = entry.attributes().filter(|attribute| attribute.is(name));
        for value in own.flat_map(|attribute| attribute.values()) {
            let text = String::from_utf8_lossy(value).trim().to_ascii_lowercase();
            if asked.contains(&text) {
                dns.insert(text, entry.dn().to_owned());
            }
        }
    };
    let base = &config.directory.base_dn;
    let refused = unless_refused(directory.some(base, &filter, &[name], most, &mut note))?;
    Ok(refused.map_or(Ok(dns), Err))
}

/// What a search by DN told.
#[derive(Clone, Default)]
struct Told {
    is_visible: bool,
    matches: bool,
    dn: String,
}

fn reasons_of_dns(
    directory: &mut Directory,
    config: &SyncConfig,
    members: &[&str],
) -> Result<Vec<String>, DirectoryError> {
    let below = below(directory, config);
    let (provider, anything) = (directory.provider(), present("objectClass"));
    // Enough to tell the kind and the names. A member may be a large group itself.
    let (person, group) = (&config.mapping.person, &config.mapping.group);
    let attributes = ["objectClass", &person.user_name, &group.name, directory.uuid_attribute()];
    let both = |dn: &&str| {
        [&anything, &config.directory.filter].map(|filter| ((*dn).to_owned(), Scope::Base, filter))
    };
    let searches: Vec<(String, Scope, &Filter)> = members.iter().flat_map(both).collect();
    let mut mapper = mapper(directory, config);
    let mut told = vec![Told::default(); members.len()];
    directory.search_each(&searches, &attributes, &mut |index, entry| {
        let Some(told) = told.get_mut(index / 2) else { return };
        match index % 2 {
            0 => {
                (told.is_visible, told.dn) = (true, entry.dn().to_owned());
                if let Some(uuid) = sync_uuid(provider, entry) {
                    mapper.entry(uuid, entry);
                }
            }
            _ => told.matches = true,
        }
    })?;
    let content = mapper.finish();
    let skipped: HashMap<&str, String> = content
        .skipped
        .iter()
        .map(|skipped| (skipped.dn.as_str(), skipped.reason.to_string()))
        .collect();
    let reason = |(member, told): (&&str, &Told)| {
        if dn::normalize(member).map_or(true, |form| form.is_empty()) {
            "is not a distinguished name (group_attr_schema decides how members are read)"
                .to_owned()
        } else if !told.is_visible {
            NOT_THERE.to_owned()
        } else if !below.has(&told.dn) {
            "is outside ldap_sync_base_dn".to_owned()
        } else if let Some(reason) = skipped.get(told.dn.as_str()) {
            format!("is skipped: {reason}")
        } else if !told.matches {
            "is rejected by ldap_filter".to_owned()
        } else {
            "is not synchronised".to_owned()
        }
    };
    Ok(members.iter().zip(&told).map(reason).collect())
}
