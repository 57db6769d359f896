//! The number of values of attributes with more than one, such as mail and member.
//!
//! Scope: counts while the directory is read. A reading itself only keeps which attributes an entry
//! shows.

use std::collections::HashMap;

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

use crate::content::changeset::Kind;
use crate::content::shown::Role;
use crate::mapping::Content;
use crate::sync::observe::ReadStep;

/// Counts the values after the first one of each entry and role.
pub struct ExtraValues<'r> {
    roles: &'r [Role],
    /// Directory UUID, index of the role, and the number. Most entries have none.
    found: Vec<(Uuid, usize, u64)>,
}

impl<'r> ExtraValues<'r> {
    /// Nothing counted yet.
    pub fn new(roles: &'r [Role]) -> Self {
        ExtraValues { roles, found: Vec::new() }
    }

    /// Counts one step of the reading.
    pub fn step(&mut self, step: &ReadStep<'_>) {
        match step {
            ReadStep::Received(uuid, entry) => self.entry(*uuid, entry),
            ReadStep::StartedOver => self.found.clear(),
        }
    }

    fn entry(&mut self, uuid: Uuid, entry: &SearchResultEntry<'_>) {
        for (index, role) in self.roles.iter().enumerate() {
            let values: usize = entry
                .attributes()
                .filter(|found| role.attributes().any(|name| found.is(name)))
                .map(|found| found.values().count())
                .sum();
            if values > 1 {
                self.found.push((uuid, index, (values - 1) as u64));
            }
        }
    }

    /// The numbers for each role. An entry counts for the roles of its own kind.
    pub fn totals(&self, content: &Content, kanidm_uuid: impl Fn(Uuid) -> Uuid) -> Vec<u64> {
        let kinds: HashMap<Uuid, Kind> =
            content.shown().map(|(uuid, kind, _)| (uuid, kind)).collect();
        let mut totals = vec![0; self.roles.len()];
        for (uuid, index, extra) in &self.found {
            let kind = kinds.get(&kanidm_uuid(*uuid));
            if let (Some(role), Some(total)) = (self.roles.get(*index), totals.get_mut(*index))
                && kind == Some(&role.kind)
            {
                *total += extra;
            }
        }
        totals
    }
}
