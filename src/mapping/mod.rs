//! From directory entries to SCIM entries: pure functions without I/O.
//!
//! [`Mapper`] takes the entries of a run as they arrive. It checks and writes a person at once.
//! Groups wait in a compact form until [`Mapper::finish`], because their members may arrive after
//! them. The mapper applies every rule of Kanidm ([`crate::content::rules`]) and collects all
//! problems of all entries. So one bad value never fails the POST of the others.
//!
//! Scope: this module never sees Kanidm, a connection, or a run.

mod claims;
mod group;
mod index;
pub mod limits;
mod lock;
mod mapper;
mod membership;
mod naming;
mod owners;
mod person;
mod positions;
pub(crate) mod prepared;
mod questions;
pub mod shown;
mod targets;
pub mod totp;
mod unread;
mod values;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ldap_content_sync::Oversized;
use uuid::Uuid;

use crate::content::shown::Mask;
pub use mapper::Mapper;
pub use owners::UniqueValues;
pub use questions::{Changed, Questions};
pub use targets::MemberTarget;

use crate::config::sync::{InvalidEntries, MappingConfig};
use crate::content::changeset::{ChangeSet, Kind};
use crate::content::{Claimed, Ended};
use crate::text::thousands;

/// The changes that a run wants to write, and the fate of every other received entry.
#[derive(Debug, Default)]
pub struct Content {
    /// The persons in the order in which they arrived, then the groups.
    pub changes: ChangeSet,
    /// Number of persons in `changes`.
    pub persons: usize,
    /// Number of groups in `changes`.
    pub groups: usize,
    /// UUIDs in Kanidm of the persons in `changes` whose accounts are closed now: they have ended,
    /// or begin later.
    pub ended: HashSet<Uuid>,
    /// Received entries that do not belong in Kanidm. Kanidm deletes what it has of them.
    pub skipped: Vec<Skipped>,
    /// Number of entries that are skipped for their classes but have a user name.
    pub unmapped_users: u64,
    /// Received entries that belong in Kanidm but cannot be sent.
    pub held: Vec<Held>,
    /// Attributes that the policy left out of entries in `changes`.
    pub dropped: Vec<Dropped>,
    /// Members that resolve, one for each group and member.
    pub members_resolved: u64,
    /// Members that are not synchronised, one for each group and member.
    pub members_out_of_scope: u64,
    /// The first [`OUT_OF_SCOPE_LISTED`] of them, for the debug log.
    pub out_of_scope: Vec<OutOfScope>,
    /// Hashes of the names of these members, at most one more than
    /// [`MAX_MISSED`](crate::content::names::MAX_MISSED).
    pub missed: HashSet<u32>,
    /// Mail addresses that a person in `changes` did not get because another entry came first.
    pub claimed: Vec<Claimed>,
    /// Entries in `changes` without a value that another entry decides about: it has the value, or
    /// it is a TOTP token that cannot be sent. No server reports a change of this entry when the
    /// other one changes. So the next run reads these entries again.
    pub contested: Vec<Contested>,
    /// Number of persons with a password and TOTP tokens.
    pub with_tokens: u64,
    /// Those that are without their password in Kanidm, because the account cannot read a token.
    /// Directory UUIDs.
    pub hidden_tokens: Vec<Uuid>,
}

impl Content {
    /// A sentence with a remedy, if no member of any group is synchronised.
    pub fn no_member(&self) -> Option<String> {
        let named = self.members_out_of_scope;
        (self.members_resolved == 0 && named > 0).then(|| {
            format!(
                "none of the {} members that groups name is synchronised. Check group_attr_schema, group_attr_member and ldap_filter",
                thousands(named)
            )
        })
    }

    /// A sentence with a remedy, if entries with a user name are no persons.
    pub fn users_of_other_classes(&self) -> Option<String> {
        let are = |subject, matches, has, is, name| {
            format!(
                "{subject} {matches} the filter and {has} a user name, but {is} neither person nor group \
                 by the object classes {name}. Check person_objectclass"
            )
        };
        match self.unmapped_users {
            0 => None,
            1 => Some(are("1 entry".to_owned(), "matches", "has", "is", "it names")),
            n => {
                Some(are(format!("{} entries", thousands(n)), "match", "have", "are", "they name"))
            }
        }
    }

    /// A sentence with a remedy, if some entries are neither persons nor groups. It tells the number
    /// of [`Content::users_of_other_classes`] too.
    pub fn of_other_classes(&self) -> Option<String> {
        let n =
            self.skipped.iter().filter(|skipped| skipped.reason == SkipReason::NotMapped).count();
        let who = match n {
            0 => return None,
            1 => "1 entry matches the filter and is neither person nor group by the object classes it names".to_owned(),
            _ => format!(
                "{} entries match the filter and are neither person nor group by the object classes they name",
                thousands(n as u64)
            ),
        };
        let users = match (n, self.unmapped_users) {
            (_, 0) => String::new(),
            (1, _) => "; it has a user name".to_owned(),
            (_, 1) => "; 1 of them has a user name".to_owned(),
            (n, users) => format!("; {} of them have a user name", thousands(users.min(n as u64))),
        };
        Some(format!("{who}{users}. Check person_objectclass and group_objectclass"))
    }
}

/// An entry that was sent without a value that another entry decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contested {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The UUID in the directory.
    pub sync_uuid: Uuid,
}

impl Content {
    /// Removes entries that were deleted after they arrived. Directory UUIDs.
    pub fn forget(&mut self, sync_uuids: &[Uuid], mapping: &MappingConfig) {
        if sync_uuids.is_empty() {
            return;
        }
        let gone: HashSet<&Uuid> = sync_uuids.iter().collect();
        self.skipped.retain(|entry| !gone.contains(&entry.sync_uuid));
        self.held.retain(|entry| !gone.contains(&entry.sync_uuid));
        self.contested.retain(|entry| !gone.contains(&entry.sync_uuid));
        self.dropped.retain(|entry| !gone.contains(&entry.sync_uuid));
        let gone_in_kanidm: HashSet<Uuid> =
            sync_uuids.iter().map(|uuid| mapping.kanidm_uuid(*uuid)).collect();
        self.claimed.retain(|claim| !gone_in_kanidm.contains(&claim.loser));
        // A record with the UUID of a claimed entry belongs to another entry, which still exists.
        let own = sync_uuids.iter().filter(|uuid| !mapping.is_claimed(**uuid));
        let written: HashSet<Uuid> = own.map(|uuid| mapping.kanidm_uuid(*uuid)).collect();
        self.changes.retain(|record| !written.contains(&record.uuid));
    }

    /// Holds entries that the refresh sent more than once, because nobody can tell which version is
    /// the latest. Skipped entries stay skipped.
    pub fn hold(&mut self, twice: Vec<Held>, mapping: &MappingConfig) {
        let skipped: HashSet<Uuid> = self.skipped.iter().map(|entry| entry.sync_uuid).collect();
        let mut twice: Vec<Held> =
            twice.into_iter().filter(|entry| !skipped.contains(&entry.sync_uuid)).collect();
        let received: HashMap<Uuid, (Kind, Mask)> = match twice.is_empty() {
            true => HashMap::new(),
            false => self.shown().map(|(uuid, kind, shown)| (uuid, (kind, shown))).collect(),
        };
        for entry in &mut twice {
            if let Some((kind, shown)) = received.get(&entry.uuid) {
                (entry.kind, entry.shown) = (*kind, *shown);
            }
        }
        self.forget(&twice.iter().map(|entry| entry.sync_uuid).collect::<Vec<_>>(), mapping);
        self.held.extend(twice);
    }
}

impl Content {
    /// Every person and group, held ones included: the UUID in Kanidm, the kind, and the attributes
    /// that the directory shows.
    pub fn shown(&self) -> impl Iterator<Item = (Uuid, Kind, Mask)> {
        let written =
            self.changes.records().iter().map(|record| (record.uuid, record.kind, record.shown));
        written.chain(self.held.iter().map(|held| (held.uuid, held.kind, held.shown)))
    }
}

/// Maximum members out of scope that are remembered by name.
pub const OUT_OF_SCOPE_LISTED: usize = 1000;

/// An entry that does not belong in Kanidm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The UUID that the entry would have in Kanidm.
    pub uuid: Uuid,
    /// The UUID in the directory.
    pub sync_uuid: Uuid,
    /// The DN as the server spells it.
    pub dn: String,
    /// Why the entry is skipped.
    pub reason: SkipReason,
}

/// Why an entry does not belong in Kanidm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// `exclude = true` in the entry's table.
    Excluded,
    /// The entry has no object class of a person or a group.
    NotMapped,
    /// A TOTP token, or the parameters of tokens. Persons name it.
    Token,
    /// The private group of one user (`user_private_groups = "skip"`).
    UserPrivateGroup,
    /// The account that this program binds as.
    BindDn,
}

impl SkipReason {
    /// The reason in words.
    pub fn text(self) -> &'static str {
        match self {
            SkipReason::Excluded => "excluded by the configuration",
            SkipReason::NotMapped => "neither person nor group by its object classes",
            SkipReason::Token => "TOTP token",
            SkipReason::UserPrivateGroup => "user-private group",
            SkipReason::BindDn => "the sync account itself",
        }
    }
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// An entry that is held. Kanidm keeps its version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The UUID in the directory.
    pub sync_uuid: Uuid,
    /// Person or group.
    pub kind: Kind,
    /// The mapped attributes that the directory shows.
    pub shown: Mask,
    /// The DN as the server spells it.
    pub dn: String,
    /// Never empty, and not much longer than [`MAX_PROBLEMS`].
    pub problems: Vec<EntryProblem>,
    /// The end of a person's account, if the directory has ended it and the run can close it
    /// although the person is held.
    pub ended: Option<Ended>,
}

/// [`EntryProblem::attribute`] of a bad DN.
const DN: &str = "dn";
/// [`EntryProblem::attribute`] of a UUID that the configuration gives to another entry.
const MAP_UUID: &str = "map_uuid";

/// One problem of an entry. Never has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProblem {
    /// The attribute in the directory, as configured; `dn` for the DN, or the key of the entry's
    /// table (`map_uuid`).
    pub attribute: String,
    /// The rule that the value breaks.
    pub rule: String,
}

/// A value left out of an entry that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// The UUID in the directory.
    pub sync_uuid: Uuid,
    /// The DN as the server spells it.
    pub dn: String,
    /// The attribute in the directory, as configured.
    pub attribute: String,
    /// The rule that the value breaks.
    pub rule: String,
}

/// A group member that is not synchronised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfScope {
    /// The DN of the group.
    pub group: String,
    /// The member as the group names it.
    pub member: String,
}

pub(crate) const MISSING: &str = "is missing";

/// Maximum problems reported for the values of one entry. The author of the entry decides how many
/// there are, and could otherwise fill memory and the report.
pub const MAX_PROBLEMS: usize = 100;

/// Maximum values of an attribute. Each value is compared with those of other entries, and the
/// author decides how many there are. Nobody has a thousand mail addresses.
pub const MAX_VALUES: usize = 1000;

/// Limit for the members of all groups that wait for [`Mapper::finish`]: bytes, as a multiple of
/// `max_ber_size`.
pub const MAX_MEMBERS: usize = 16;

/// The problems of one entry, handled as the policy says.
struct Findings {
    policy: InvalidEntries,
    /// Problems that hold the entry.
    problems: Vec<EntryProblem>,
    /// Values that [`settle`](Self::settle) leaves out. Before that: problems of optional
    /// attributes.
    drops: Vec<EntryProblem>,
    /// True if another entry has one of the values in `drops`.
    contested: bool,
    /// The mail addresses among those values, with the positions of their owners in the index.
    claimed: Vec<(String, u32)>,
    /// The end of a held person's account.
    ended: Option<Ended>,
}

impl Findings {
    fn new(policy: InvalidEntries) -> Self {
        Findings {
            policy,
            problems: Vec::new(),
            drops: Vec::new(),
            contested: false,
            claimed: Vec::new(),
            ended: None,
        }
    }

    /// Adds a problem with an attribute that the entry needs.
    fn required(&mut self, attribute: &str, rule: impl Into<Cow<'static, str>>) {
        self.problems.push(problem(attribute, rule.into()));
    }

    /// Adds a problem with an attribute that the entry does not need, if the policy allows.
    fn optional(&mut self, attribute: &str, rule: impl Into<Cow<'static, str>>) {
        if self.drops.len() < MAX_PROBLEMS {
            self.drops.push(problem(attribute, rule.into()));
        }
    }

    /// As [`optional`](Self::optional), for a value that another entry has.
    fn taken(&mut self, attribute: &str, rule: String) {
        self.contested = true;
        self.optional(attribute, rule);
    }

    /// As [`taken`](Self::taken), for a mail address.
    fn claimed(&mut self, attribute: &str, rule: String, address: &str, owner: u32) {
        if self.claimed.len() < MAX_PROBLEMS {
            self.claimed.push((address.to_owned(), owner));
        }
        self.taken(attribute, rule);
    }

    /// Decides by the policy whether the entry is sent.
    ///
    /// The policy `hold` still sends an account that ends, now or later, without its bad values. A
    /// lock must not wait until somebody corrects a mail address, which the owner of the account
    /// may have caused.
    fn settle(&mut self, ends: bool) -> bool {
        let drop = self.policy == InvalidEntries::DropValue
            || (ends && self.policy == InvalidEntries::Hold);
        if !drop || !self.problems.is_empty() {
            self.problems.append(&mut self.drops);
        }
        self.problems.is_empty()
    }

    /// As [`optional`](Self::optional). Returns `None` in place of the bad value.
    fn without<T>(&mut self, attribute: &str, rule: &'static str) -> Option<T> {
        self.optional(attribute, rule);
        None
    }
}

/// The reason why an attribute was not read.
fn too_large(oversized: &Oversized) -> String {
    let Oversized { size, limit, .. } = oversized;
    format!(
        "the entry of {size} bytes exceeds max_ber_size = {limit}, so this attribute was not read: shrink it or raise max_ber_size"
    )
}

fn problem(attribute: &str, rule: Cow<'static, str>) -> EntryProblem {
    EntryProblem { attribute: attribute.to_string(), rule: rule.into_owned() }
}
