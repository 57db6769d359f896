//! Checks after a reading: rights that the sync account has lost, and settings that do not fit.
//!
//! Scope: searches that the guard and the remarks of a run need. They change no entry.

use log::warn;
use uuid::Uuid;

use ldap_content_sync::sync_session::Cookie;

use super::attributes;
use super::guard::allowed_losses;
use super::listing;
use super::lookup::Lookup;
use super::read::{Attempt, Reading};
use super::start::Start;
use crate::config::sync::SyncConfig;
use crate::content::shown::Role;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::schema;
use crate::kanidm::request::Retention;
use crate::mapping::shown::{TOTP_KEY, roles};

/// Fills in the findings of a reading.
///
/// # Errors
/// A search failed.
pub(super) fn inspect(
    attempt: &mut Attempt<'_>,
    reading: &mut Reading,
) -> Result<(), DirectoryError> {
    let roles = roles(&attempt.config.mapping);
    let unlocked = attributes::unlocked(&roles, attempt.start, &reading.content, reading.is_full());
    let had_tokens = attempt.start.shown.holders.contains_key(TOTP_KEY);
    reading.hidden_locks = hidden_locks(&mut attempt.lookup(), &unlocked, had_tokens)?;
    match reading.is_full() {
        true => inspect_full(attempt, &roles, reading),
        false => inspect_increment(attempt, &roles, reading),
    }
}

fn inspect_full(
    attempt: &mut Attempt<'_>,
    roles: &[Role],
    reading: &mut Reading,
) -> Result<(), DirectoryError> {
    let (before, now) =
        (attempt.start.shown.memberships, attributes::memberships_of(&reading.content));
    let mut lookup = attempt.lookup();
    if attributes::memberships(before, now).is_some() {
        reading.misread_members = lookup.are_in_scope(&reading.content.out_of_scope)?;
    }
    if attributes::some_group_shows_no_member(roles, &reading.content) {
        reading.unmapped_members = lookup.unmapped_members()?;
    }
    reading.not_followed = listing::not_followed(attempt.directory, &attempt.config.directory)?;
    Ok(())
}

fn inspect_increment(
    attempt: &mut Attempt<'_>,
    roles: &[Role],
    reading: &mut Reading,
) -> Result<(), DirectoryError> {
    let (start, config) = (attempt.start, attempt.config);
    let percent = config.max_delete_percent;
    let mut lookup = attempt.lookup();
    let doubtful = attributes::doubtful(roles, &start.shown, &reading.content, percent);
    for role in lookup.shown_by_nobody(&doubtful)? {
        // Somebody may lift all locks at once, as long as the account can see that.
        let without = attributes::without_value(&role, &reading.content);
        let is_hidden =
            !role.is_lock || !hidden_locks(&mut lookup, &[(&role, without)], true)?.is_empty();
        if is_hidden {
            reading.shown_by_nobody.push(role);
        }
    }
    let (before, now) = (start.shown.memberships, attributes::memberships_of(&reading.content));
    if let Some(lost) = attributes::newly_unresolved(before, now)
        && lost.lost > allowed_losses(lost.had, percent)
    {
        let goes: &[Uuid] =
            if let Retention::Delete(uuids) = &reading.retention { uuids } else { &[] };
        reading.misread_members = lookup.are_in_scope(&reading.content.out_of_scope)?
            || hides_persons(&mut lookup, roles, start, goes, config)?;
    }
    if reading.cookie == start.cookie {
        reading.is_older = lags(attempt.directory, start)?;
    }
    Ok(())
}

/// The locks that the account cannot read any more, although nobody lifted them, and hidden TOTP
/// tokens. Each comes with the number of persons. `had_tokens`: an earlier run has seen tokens.
fn hidden_locks(
    lookup: &mut Lookup<'_>,
    unlocked: &[(&Role, Vec<Uuid>)],
    had_tokens: bool,
) -> Result<Vec<(Role, u64)>, DirectoryError> {
    let mut hidden = Vec::new();
    for (role, uuids) in unlocked {
        let uuids: Vec<Uuid> = uuids.iter().map(|uuid| lookup.mapping.sync_uuid(*uuid)).collect();
        match lookup.hidden(&role.attribute, &uuids)? {
            0 => {}
            // No entry has an attribute that the schema does not know.
            _ if !role.is_lock && !had_tokens && is_unknown(lookup.directory, &role.attribute)? => {
                warn!(
                    "{}: the directory's schema does not know {}, so no person has a TOTP token. Check the spelling, or remove the key",
                    role.key, role.attribute
                );
            }
            n => hidden.push((Role::clone(role), n as u64)),
        }
    }
    Ok(hidden)
}

fn is_unknown(directory: &mut Directory, attribute: &str) -> Result<bool, DirectoryError> {
    let unknown = schema::unknown(directory, &[attribute])?;
    Ok(unknown.is_some_and(|unknown| !unknown.is_empty()))
}

/// True if the account cannot see persons that Kanidm has, or cannot see their names. Groups would
/// then lose those members. `goes` are the entries that this run deletes.
fn hides_persons(
    lookup: &mut Lookup<'_>,
    roles: &[Role],
    start: &Start,
    goes: &[Uuid],
    config: &SyncConfig,
) -> Result<bool, DirectoryError> {
    let names: Vec<&Role> =
        roles.iter().filter(|role| role.key == "person_attr_user_name").collect();
    if !lookup.shown_by_nobody(&names)?.is_empty() {
        return Ok(true);
    }
    let Some(known) = &start.known else { return Ok(false) };
    let stay: Vec<Uuid> = known
        .persons
        .sample()
        .filter(|uuid| !goes.contains(uuid))
        .map(|uuid| config.mapping.sync_uuid(uuid))
        .collect();
    let seen = lookup.count_in_scope(&stay)?;
    let hidden = known.persons.scale(stay.len().saturating_sub(seen));
    Ok(hidden > allowed_losses(known.persons.count(), config.max_delete_percent))
}

/// True if slapd is older than an earlier run has read. slapd itself reports that only with
/// changes.
fn lags(directory: &mut Directory, start: &Start) -> Result<bool, DirectoryError> {
    let Some(stored) =
        start.cookie.as_ref().filter(|cookie| Cookie::parse(cookie).snapshot().is_some())
    else {
        return Ok(false);
    };
    let now = directory.context_csn()?;
    Ok(now.is_some_and(|now| Cookie::parse(&now).is_behind_in_full(&Cookie::parse(stored))))
}
