//! The lock state of a person, and where it comes from.
//!
//! Scope: words. The mapper has combined the values.

use super::answer::Account;
use super::attributes::{Absence, YIELDED, absences, sent};
use super::kanidm::Kanidm;
use super::reading::Reading;
use crate::config::sync::SyncConfig;
use crate::content::account::{BEGINNING, STILL_OPEN, has_ended, rfc3339};
use crate::content::body::EXPIRE;
use crate::content::changeset::Kind;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::mapping::limits::Effect;
use crate::mapping::shown::roles;

/// Kanidm's attribute for the time at which an account begins.
const BEGIN: &str = "account_valid_from";
const OPEN: &str = "open";
const LOCKED: &str = "locked";
/// Maximum number of limits that are named.
const LIMITS: usize = 20;

/// The state and its origin; `None` for other entries.
///
/// # Errors
/// The directory failed.
pub(super) fn account(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    dn: &str,
    reading: &Reading,
) -> Result<Option<Account>, DirectoryError> {
    if reading.raw.kind != Some(Kind::Person) {
        return Ok(None);
    }
    if !config.mapping.person.account_lock {
        let state = "locks are not copied (sync_account_lock = false)".to_owned();
        return Ok(Some(Account { state, because: Vec::new(), remark: None, misses_lock: false }));
    }
    let mut because: Vec<String> = reading.raw.limits.iter().map(ToString::to_string).collect();
    because.dedup();
    because.truncate(LIMITS);
    let is_yielded = |key| kanidm.is_yielded(key);
    because.extend([EXPIRE, BEGIN].into_iter().any(is_yielded).then(|| YIELDED.to_owned()));
    let locks = roles(&config.mapping);
    let names: Vec<&str> = locks
        .iter()
        .filter(|role| role.is_lock && role.attribute != config.mapping.person.password)
        .map(|role| role.attribute.as_str())
        .collect();
    let absent = absences(directory, dn, &reading.raw, &names)?;
    let hidden = |kind| {
        let of_kind = absent.iter().filter(move |(_, absence)| **absence == kind);
        of_kind.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    // Nobody can set an attribute that the schema does not know.
    let [unreadable, out_of_sight, undefined] =
        [Absence::Unreadable, Absence::Hidden, Absence::Undefined].map(hidden);
    for (names, why) in [
        (&unreadable, "set, but the sync account may not read it"),
        (&out_of_sight, "hidden from the sync account, so a lock there is not copied"),
        (&undefined, "hidden, or not known to the directory's schema, which is no fault"),
    ] {
        because.extend((!names.is_empty()).then(|| format!("{names}: {why}")));
    }
    let mut held = reading.content.held.iter().flat_map(|held| &held.problems);
    because.extend(held.any(|problem| problem.rule == STILL_OPEN).then(|| STILL_OPEN.to_owned()));
    let mut state = state(reading);
    if !(unreadable.is_empty() && out_of_sight.is_empty()) && state.starts_with(OPEN) {
        state.push_str(", as far as the sync account can see");
    }
    let is_there = !is_yielded(EXPIRE) && has_ended_there(kanidm, reading) == Some(true);
    let misses_lock =
        state == LOCKED && !is_yielded(EXPIRE) && has_ended_there(kanidm, reading) == Some(false);
    let remark = remark(reading, &state, is_there);
    Ok(Some(Account { state, because, remark, misses_lock }))
}

/// What the headline says about an account that is not open: `locked there (nsAccountLock)`.
///
/// `there` is Kanidm.
fn remark(reading: &Reading, state: &str, is_there: bool) -> Option<String> {
    reading.content.changes.records().first()?;
    let is_closed = |effect: &Effect| match effect {
        Effect::Locks => true,
        Effect::Ends(end) => has_ended(end),
        Effect::Begins(begin) => !has_ended(begin),
        Effect::Passes | Effect::None | Effect::Unclear(_) => false,
    };
    let closing = reading.raw.limits.iter().filter(|limit| is_closed(&limit.effect));
    let mut names: Vec<&str> = closing.map(|limit| limit.attribute.as_str()).collect();
    names.dedup();
    names.truncate(LIMITS);
    if names.is_empty() {
        return None;
    }
    let place = if is_there { "there" } else { "in the directory" };
    Some(format!("{state} {place} ({})", names.join(", ")))
}

/// Tells whether an earlier run wrote the end of the account. An access rule can have hidden the
/// lock from that run.
fn has_ended_there(kanidm: &Kanidm, reading: &Reading) -> Option<bool> {
    let record = reading.content.changes.records().first()?;
    let roster = kanidm.start.as_ref()?.stored_roster.as_ref()?;
    roster.has_any(record.uuid).then(|| roster.has_ended(record.uuid))
}

fn state(reading: &Reading) -> String {
    let content = &reading.content;
    let is_unclear =
        reading.raw.limits.iter().any(|limit| matches!(limit.effect, Effect::Unclear(_)));
    if let Some(ended) = content.held.iter().find_map(|held| held.ended.as_ref()) {
        let end = ended_at(&ended.account_expire);
        return format!("{end}; the run closes the account even while the entry is held");
    }
    if !content.held.is_empty() {
        return match is_unclear {
            true => "unclear, so the entry is held".to_owned(),
            false => "as it is in Kanidm, while the entry is held".to_owned(),
        };
    }
    let Some(sent) = sent(reading) else { return "not sent".to_owned() };
    let [expire, begin] = [EXPIRE, BEGIN].map(|key| sent.texts(key).into_iter().next());
    match (expire, begin) {
        (Some(expire), Some(begin)) if begin >= expire && !has_ended(&expire) => {
            format!("never open: it ends at {expire}, before it begins at {begin}")
        }
        (Some(expire), Some(begin)) if !has_ended(&expire) && !has_ended(&begin) => {
            format!("closed until {begin}, then open until {expire}")
        }
        (Some(expire), _) => ended_at(&expire),
        (None, Some(begin)) if has_ended(&begin) => format!("open since {begin}"),
        (None, Some(begin)) => format!("closed until {begin}"),
        (None, None) => OPEN.to_owned(),
    }
}

fn ended_at(expire: &str) -> String {
    match expire {
        _ if expire == rfc3339(BEGINNING) => LOCKED.to_owned(),
        _ if has_ended(expire) => format!("ended at {expire}"),
        _ => format!("open until {expire}"),
    }
}
