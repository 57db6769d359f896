//! The origin of an account's lock and time limits, for people.
//!
//! Scope: one entry and one value at a time. `lock.rs` has the rules, and combines the values.

use std::fmt;

use ldap_content_sync::search::SearchResultEntry;

use super::lock::{self, Bound};
use super::person;
use super::values::{self, Names};
use crate::config::sync::PersonMapping;
use crate::content::account::{BEGINNING, has_ended, rfc3339};
use crate::content::rules::password;

/// A value that may lock the account or limit its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The attribute.
    pub attribute: String,
    /// What the value does.
    pub effect: Effect,
}

/// The effect of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It locks the account for good.
    Locks,
    /// The account ends at this time (RFC 3339).
    Ends(String),
    /// The account begins at this time (RFC 3339).
    Begins(String),
    /// A lock-out by the server that passes, and is not copied.
    Passes,
    /// It limits nothing.
    None,
    /// It cannot be read, and holds the entry.
    Unclear(&'static str),
}

/// The values of the lock attributes of a person, and the lock marks of passwords. Empty if locks
/// are not synchronised.
pub fn limits(cfg: &PersonMapping, entry: &SearchResultEntry<'_>) -> Vec<Limit> {
    if !cfg.account_lock {
        return Vec::new();
    }
    let picked = Names::new(person::names(cfg)).pick(entry);
    let mut limits = Vec::new();
    let (_, locks) = picked.split_at(picked.len().saturating_sub(lock::ATTRIBUTES.len()));
    for (name, picked) in lock::ATTRIBUTES.iter().zip(locks) {
        let values = picked.iter().flat_map(values::not_blank).take(super::MAX_PROBLEMS);
        limits.extend(
            values
                .map(|value| Limit { attribute: (*name).to_owned(), effect: effect(name, value) }),
        );
    }
    let [_, _, _, _, _, _, passwords, ..] = &picked;
    let is_marked = passwords.iter().flat_map(values::not_blank).any(password::is_locked);
    limits.extend(
        is_marked.then(|| Limit { attribute: cfg.password.clone(), effect: Effect::Locks }),
    );
    limits
}

fn effect(name: &str, value: &[u8]) -> Effect {
    match lock::read(name, value) {
        Ok(Some(Bound::Until(BEGINNING))) => Effect::Locks,
        Ok(Some(Bound::Until(end))) => Effect::Ends(rfc3339(end)),
        Ok(Some(Bound::From(begin))) => Effect::Begins(rfc3339(begin)),
        Ok(None) if name == "pwdAccountLockedTime" => Effect::Passes,
        Ok(None) if name == "sambaAcctFlags" && value.contains(&b'L') => Effect::Passes,
        Ok(None) => Effect::None,
        Err(rule) => Effect::Unclear(rule),
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attribute = &self.attribute;
        match &self.effect {
            Effect::Locks => write!(f, "{attribute} locks the account"),
            Effect::Ends(end) if has_ended(end) => {
                write!(f, "{attribute} ended the account at {end}")
            }
            Effect::Ends(end) => write!(f, "{attribute} ends the account at {end}"),
            Effect::Begins(begin) => write!(f, "{attribute} opens the account at {begin}"),
            Effect::Passes => write!(
                f,
                "{attribute} is a lock-out by the directory that passes: it is not copied"
            ),
            Effect::None => write!(f, "{attribute} limits nothing"),
            Effect::Unclear(rule) => write!(f, "{attribute}: {rule}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_value_has_its_effect() {
        for (name, value, told) in [
            ("nsAccountLock", "TRUE", "nsAccountLock locks the account"),
            ("nsAccountLock", "FALSE", "nsAccountLock limits nothing"),
            ("nsAccountLock", "yes", "nsAccountLock: must be TRUE or FALSE"),
            ("shadowExpire", "0", "shadowExpire locks the account"),
            ("shadowExpire", "1", "shadowExpire ended the account at 1970-01-02T00:00:00Z"),
            (
                "pwdEndTime",
                "99981231235959Z",
                "pwdEndTime ends the account at 9998-12-31T23:59:59Z",
            ),
            (
                "pwdStartTime",
                "20240101000000Z",
                "pwdStartTime opens the account at 2024-01-01T00:00:00Z",
            ),
            (
                "pwdAccountLockedTime",
                "20240101000000Z",
                "pwdAccountLockedTime is a lock-out by the directory that passes: it is not copied",
            ),
            ("pwdAccountLockedTime", "000001010000Z", "pwdAccountLockedTime locks the account"),
        ] {
            let limit =
                Limit { attribute: name.to_owned(), effect: effect(name, value.as_bytes()) };
            assert_eq!(limit.to_string(), told);
        }
    }
}
