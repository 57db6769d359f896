//! Decides if the next increment reads an entry: for its own change, or for that of another entry.
//!
//! Scope: marks of the last change, compared with the cookie. slapd marks each entry (`entryCSN`);
//! 389 only tells whether anything has changed.

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::sync_session::{Cookie, NextCookie, Provider, cookie_of_context};

use super::find::below;
use super::kanidm::{Kanidm, Presence};
use super::reading::{ENTRY_CSN, MOST_MEMBERS, Raw, Reading};
use crate::config::sync::SyncConfig;
use crate::content::changeset::Kind;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::sync::lookup::present;

/// Maximum number of other entries that are asked for their last change.
const MOST: usize = MOST_MEMBERS;
/// The parameters that a token names.
const PARAMS: &str = "oathTOTPParams";

/// True if the entry has changed since the last run; `None` if the directory does not tell.
///
/// # Errors
/// The directory failed.
pub(super) fn has_changed(
    directory: &mut Directory,
    kanidm: &Kanidm,
    raw: &Raw,
) -> Result<Option<bool>, DirectoryError> {
    let Some(cookie) = kanidm.start.as_ref().and_then(|start| start.cookie.as_ref()) else {
        return Ok(None);
    };
    if directory.provider() == Provider::Ds389 {
        let is_ahead = directory.is_ahead_of(&NextCookie::New(cookie.clone()))?;
        return Ok((!is_ahead).then_some(false));
    }
    Ok(raw.csn.as_deref().and_then(|csn| is_newer(cookie, csn)))
}

/// True if a mark of slapd is newer than the cookie.
fn is_newer(cookie: &[u8], csn: &str) -> Option<bool> {
    let stored = Cookie::parse(cookie);
    let own = cookie_of_context(&[csn])?;
    let is_known = stored.clone().snapshot().is_some() && Cookie::parse(&own).snapshot().is_some();
    is_known.then(|| stored.is_behind_in_full(&Cookie::parse(&own)))
}

/// Why the next run sends an entry again that has not changed itself.
///
/// # Errors
/// The directory failed.
pub(super) fn sent_again(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    reading: &Reading,
) -> Result<Option<&'static str>, DirectoryError> {
    let (others, why) = match reading.raw.kind {
        Some(Kind::Person) => (
            tokens(directory, config, reading)?,
            "One of its TOTP tokens has changed since the last run: the next run sends it again",
        ),
        Some(Kind::Group) => (
            newcomers(config, kanidm, reading),
            "It has a member that is new or has changed: the next run sends it again for its members",
        ),
        None => return Ok(None),
    };
    Ok(any_changed(directory, config, kanidm, &others)?.then_some(why))
}

/// The tokens of a person, and the parameters of these tokens.
fn tokens(
    directory: &mut Directory,
    config: &SyncConfig,
    reading: &Reading,
) -> Result<Vec<String>, DirectoryError> {
    let Some(totp) = &config.mapping.person.totp else { return Ok(Vec::new()) };
    let mut dns: Vec<String> = texts(reading.raw.values(totp)).take(MOST).collect();
    let any = present("objectClass");
    let searches: Vec<(String, Scope, &Filter)> =
        dns.iter().map(|dn| (dn.clone(), Scope::Base, &any)).collect();
    let mut params = Vec::new();
    directory.search_each(&searches, &[PARAMS], &mut |_, entry| {
        let own = entry.attributes().filter(|attribute| attribute.is(PARAMS));
        let values: Vec<Vec<u8>> =
            own.flat_map(|attribute| attribute.values().map(<[u8]>::to_vec)).take(1).collect();
        params.extend(texts(&values));
    })?;
    dns.append(&mut params);
    Ok(dns)
}

fn texts(values: &[Vec<u8>]) -> impl Iterator<Item = String> {
    let texts = values.iter().filter_map(|value| str::from_utf8(value).ok());
    texts.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The members of a group that Kanidm does not have, and that no run has held. Without a roster a
/// run takes each changed member for new.
fn newcomers(config: &SyncConfig, kanidm: &Kanidm, reading: &Reading) -> Vec<String> {
    let entries = reading.targets.0.iter().filter_map(|target| target.entry.as_ref());
    let has_roster = kanidm.start.as_ref().is_some_and(|start| start.stored_roster.is_some());
    let is_new = |uuid| {
        let has = kanidm.has(&config.mapping, uuid);
        !kanidm.is_held(uuid) && (has == Presence::HasNot || !has_roster)
    };
    entries.filter(|(_, uuid)| is_new(uuid)).map(|(dn, _)| dn.clone()).take(MOST).collect()
}

/// True if one of these entries is in scope and has changed since the last run.
fn any_changed(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    dns: &[String],
) -> Result<bool, DirectoryError> {
    let cookie = kanidm.start.as_ref().and_then(|start| start.cookie.as_ref());
    let Some(cookie) = cookie.filter(|_| directory.provider() == Provider::OpenLdap) else {
        return Ok(false);
    };
    let below = below(directory, config);
    let filter = &config.directory.filter;
    let searches: Vec<(String, Scope, &Filter)> =
        dns.iter().map(|dn| (dn.clone(), Scope::Base, filter)).collect();
    let mut is_newer_one = false;
    directory.search_each(&searches, &[ENTRY_CSN], &mut |_, entry| {
        let own = entry.attributes().filter(|attribute| attribute.is(ENTRY_CSN));
        let csn = own.flat_map(|attribute| attribute.values()).next();
        let csn = csn.and_then(|csn| str::from_utf8(csn).ok());
        let is_changed = csn.and_then(|csn| is_newer(cookie, csn)) == Some(true);
        is_newer_one |= is_changed && below.has(entry.dn());
    })?;
    Ok(is_newer_one)
}
