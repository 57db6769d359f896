//! What the envelope remembers of the content, so that the next run can tell what it would take
//! away.
//!
//! Scope: counts and samples, no decision. Persons and groups are apart: a directory of ten persons
//! and a thousand groups must not lose its ten persons within an allowance for a thousand.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::sketch::{Holders, Sketch};
use crate::content::changeset::Kind;

/// The entries that Kanidm holds for us, by kind, under their UUIDs in Kanidm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Persons.
    pub persons: Sketch,
    /// Groups.
    pub groups: Sketch,
}

impl Known {
    /// The entries of one kind.
    pub fn of(&self, kind: Kind) -> &Sketch {
        match kind {
            Kind::Person => &self.persons,
            Kind::Group => &self.groups,
        }
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.persons.count().saturating_add(self.groups.count())
    }

    /// Whether every entry is in one of the samples.
    pub fn is_exact(&self) -> bool {
        self.persons.is_exact() && self.groups.is_exact()
    }

    /// Every sampled entry.
    pub fn sample(&self) -> impl Iterator<Item = Uuid> {
        self.persons.sample().chain(self.groups.sample())
    }

    /// Up to `most` sampled entries that are missing from `uuids`.
    pub fn named_missing_from(&self, uuids: &[Uuid], most: usize) -> Vec<Uuid> {
        let mut missing = self.persons.named_missing_from(uuids, most);
        missing.extend(self.groups.named_missing_from(uuids, most.saturating_sub(missing.len())));
        missing
    }
}

/// What the directory showed of the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The entries that showed each mapped attribute, by the key of
    /// [`crate::content::shown::Role`]. An attribute that nobody showed is absent.
    pub holders: BTreeMap<String, Holders>,
    /// Counted in the last full refresh.
    pub memberships: Memberships,
}

/// Members of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Memberships {
    /// Members that are synchronised entries.
    pub resolved: u64,
    /// Members that are not.
    pub unresolved: u64,
}
