//! The entries that the members of a group name, one by one.
//!
//! Scope: the answer for people, before [`Mapper::finish`]. The resolver is that of a run.

use uuid::Uuid;

use super::mapper::Mapper;
use super::membership::{Resolver, Target};

/// A member of a received group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberTarget {
    /// The member as the group names it.
    pub member: String,
    /// The entry that it names: its DN and its directory UUID. `None` if it does not resolve.
    pub entry: Option<(String, Uuid)>,
}

impl Mapper<'_> {
    /// The members of all received groups, once the [`questions`](Self::questions) are answered.
    /// Also returns the number of values that are too long for any member.
    pub fn member_targets(&self) -> (Vec<MemberTarget>, u64) {
        let changes = &self.content.changes;
        let resolver = Resolver { answered: true, ..self.resolver() };
        let mut form = String::new();
        let mut targets = Vec::new();
        for value in self.drafts.iter().flat_map(|draft| draft.members.iter()) {
            let entry = match resolver.resolve(value, &mut form) {
                Target::Entry(position) => self
                    .index
                    .entry(position)
                    .map(|entry| (self.index.dn(changes, position).into_owned(), entry.sync_uuid)),
                Target::Unknown(_) | Target::OutOfScope => None,
            };
            let member = String::from_utf8_lossy(value).into_owned();
            targets.push(MemberTarget { member, entry });
        }
        (targets, self.drafts.iter().map(|draft| draft.members.not_kept).sum())
    }
}
