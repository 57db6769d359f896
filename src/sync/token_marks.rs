//! Marks of the TOTP tokens that persons were sent without.
//!
//! Scope: from the report of a run to the marks of the envelope. [`TokenMark`] is one of them.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::config::sync::MappingConfig;
use crate::kanidm::token_mark::TokenMark;
use crate::mapping::Dropped;
use crate::mapping::totp::takes_password;

/// The marks of the entries in `dropped` that have a problem with a token. Directory UUIDs.
pub(super) fn token_marks(
    mapping: &MappingConfig,
    dropped: &[Dropped],
) -> HashMap<Uuid, TokenMark> {
    let Some(attribute) = mapping.person.totp.as_deref() else { return HashMap::new() };
    let mut rules: BTreeMap<Uuid, (Vec<&str>, bool)> = BTreeMap::new();
    for entry in dropped {
        let of_token = entry.attribute == attribute;
        let of_password = takes_password(&entry.rule);
        if of_token || of_password {
            let (rules, is_without_password) = rules.entry(entry.sync_uuid).or_default();
            rules.extend(of_token.then_some(entry.rule.as_str()));
            *is_without_password |= of_password;
        }
    }
    rules
        .into_iter()
        .map(|(uuid, (rules, without))| (uuid, TokenMark::of(rules.into_iter(), without)))
        .collect()
}
