//! The owners of unique values.

use super::index::{Index, IndexEntry, State};
use crate::content::changeset::ChangeSet;

/// Answers whether a value is free.
#[derive(Clone, Copy)]
pub(super) struct Claims<'i> {
    pub(super) index: &'i Index,
    pub(super) changes: &'i ChangeSet,
}

impl Claims<'_> {
    pub(super) fn name(&self, name: &str) -> Option<String> {
        let owner = self.index.find_name(self.changes, name, owns)?;
        Some(self.taken(owner))
    }

    pub(super) fn gidnumber(&self, number: u32) -> Option<String> {
        let owner = self.index.find_gidnumber(number, owns)?;
        Some(self.taken(owner))
    }

    pub(super) fn mail(&self, mail: &str) -> Option<(String, u32)> {
        self.index.find_mail(self.changes, mail).map(|owner| (self.taken(owner), owner))
    }

    /// The owner of a DN in comparison form.
    pub(super) fn dn(&self, form: &str) -> Option<String> {
        let owner = self.index.find_dn(self.changes, form)?;
        self.index
            .entry(owner)
            .filter(|e| matches!(e.state, State::Sent | State::Draft | State::Held))
            .map(|_| self.taken(owner))
    }

    fn taken(&self, owner: u32) -> String {
        format!("must be unique, and is the same as that of {}", self.index.dn(self.changes, owner))
    }
}

/// True if no other entry can have the values of this one.
fn owns(entry: &IndexEntry) -> bool {
    matches!(entry.state, State::Sent | State::Owner)
}
