//! Groups until their members can be resolved: one draft each, the member values in one buffer.
//!
//! Scope: reading a group. Names and numbers are checked for uniqueness at the end, because persons come first, in whatever order they
//! were received.

use std::ops::Range;

use ldap_content_sync::search::{Attribute, SearchResultEntry};
use uuid::Uuid;

use super::person::{self, MISSING};
use super::{Findings, validate, values};
use crate::config::sync::{EntryConfig, GroupMapping};

/// A group as received.
pub(super) struct Draft {
    pub(super) sync_uuid: Uuid,
    /// Position in the index, which has DN and name.
    pub(super) entry: u32,
    pub(super) gidnumber: Option<u32>,
    pub(super) description: Option<Box<str>>,
    pub(super) members: Range<usize>,
    pub(super) findings: Findings,
}

/// The attributes a group is made of: name, description, member, number.
pub(super) fn names(cfg: &GroupMapping) -> [&str; 4] {
    [&cfg.name, &cfg.description, &cfg.member, &cfg.gidnumber]
}

/// What a group says of itself; the name is written to `name`.
pub(super) fn read(
    cfg: &GroupMapping,
    table: Option<&EntryConfig>,
    entry: &SearchResultEntry<'_>,
    name: &mut String,
    members: &mut Members,
    mut findings: Findings,
) -> (Option<u32>, Option<Box<str>>, Range<usize>, Findings) {
    let [name_values, description, member, gidnumber] = values::pick(entry, &names(cfg));
    read_name(cfg, name_values.as_ref(), table, name, &mut findings);
    let description = person::read_text(description.as_ref()).unwrap_or_else(|rule| findings.without(&cfg.description, rule));
    let gidnumber = read_gidnumber(cfg, gidnumber.as_ref(), table, &mut findings);
    let members = members.add(member.as_ref());
    (gidnumber, description.map(Into::into), members, findings)
}

fn read_name(cfg: &GroupMapping, values: Option<&Attribute<'_>>, table: Option<&EntryConfig>, name: &mut String, findings: &mut Findings) {
    let mapped = table.and_then(|table| table.map_name.as_deref());
    let attribute = name_attribute(cfg, table);
    match mapped.map_or_else(|| values::first_text(values), |name| Ok(Some(name))) {
        Err(rule) => findings.required(attribute, rule),
        Ok(text) => {
            person::lower_case(text.unwrap_or_default(), name);
            if name.is_empty() {
                findings.required(attribute, MISSING);
            } else if let Err(rule) = validate::name(name) {
                findings.required(attribute, rule);
            }
        }
    }
}

fn read_gidnumber(cfg: &GroupMapping, values: Option<&Attribute<'_>>, table: Option<&EntryConfig>, findings: &mut Findings) -> Option<u32> {
    let number = match table.and_then(|table| table.map_gidnumber) {
        Some(number) => validate::gidnumber_range(number).map(|()| number),
        None => values::first_text(values).transpose()?.and_then(validate::gidnumber),
    };
    number.map_err(|rule| findings.optional(gidnumber_attribute(cfg, table), rule)).ok()
}

/// Where the name comes from.
pub(super) fn name_attribute<'c>(cfg: &'c GroupMapping, table: Option<&EntryConfig>) -> &'c str {
    if table.is_some_and(|table| table.map_name.is_some()) { "map_name" } else { &cfg.name }
}

/// Where the number comes from.
pub(super) fn gidnumber_attribute<'c>(cfg: &'c GroupMapping, table: Option<&EntryConfig>) -> &'c str {
    if table.is_some_and(|table| table.map_gidnumber.is_some()) { "map_gidnumber" } else { &cfg.gidnumber }
}

/// Member values one behind the other, each behind its length.
#[derive(Default)]
pub(super) struct Members {
    bytes: Vec<u8>,
}

impl Members {
    /// Adds the values that are not blank.
    fn add(&mut self, values: Option<&Attribute<'_>>) -> Range<usize> {
        let start = self.bytes.len();
        for value in values.iter().copied().flat_map(values::not_blank) {
            // Longer than four gigabytes is longer than a message.
            let Ok(length) = u32::try_from(value.len()) else { continue };
            self.bytes.extend_from_slice(&length.to_ne_bytes());
            self.bytes.extend_from_slice(value);
        }
        start..self.bytes.len()
    }

    /// The values of one group.
    pub(super) fn of(&self, members: &Range<usize>) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.get(members.clone()).unwrap_or_default();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let (value, behind) = behind.split_at_checked(usize::try_from(u32::from_ne_bytes(*length)).ok()?)?;
            rest = behind;
            Some(value)
        })
    }
}
