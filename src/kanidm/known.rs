//! The memory of the content, kept in the envelope. The next run reads it to see what it would
//! remove.
//!
//! Scope: counts and samples, no decision. Persons and groups are counted separately. Otherwise a
//! directory of ten persons and a thousand groups could lose its ten persons within an allowance
//! for a thousand entries.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::sketch::{Holders, Sketch};
use crate::content::changeset::Kind;

/// The entries that Kanidm holds for this sync account, by kind, under their UUIDs in Kanidm.
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

    /// Number of entries.
    pub fn count(&self) -> u64 {
        self.persons.count().saturating_add(self.groups.count())
    }

    /// True if the samples contain every entry.
    pub fn is_exact(&self) -> bool {
        self.persons.is_exact() && self.groups.is_exact()
    }

    /// All sampled entries.
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

/// The part of the content that the directory shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The entries that showed each mapped attribute, by the key of
    /// [`crate::content::shown::Role`]. An attribute that no entry showed is absent.
    pub holders: BTreeMap<String, Holders>,
    /// Counts of the last full refresh.
    pub memberships: Memberships,
}

/// Counts of group members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Memberships {
    /// Members that are synchronised entries.
    pub resolved: u64,
    /// Members that are not synchronised.
    pub unresolved: u64,
}
