//! From directory entries to SCIM entries: pure functions without I/O.
//!
//! [`Mapper`] takes the entries of a run as they come off the wire. It checks and writes a person
//! at once. Groups wait in a compact form until [`Mapper::finish`], because their members may
//! follow them. The mapper applies every rule of Kanidm ([`crate::content::rules`]) and collects
//! all problems of all entries, so that one bad value never fails the POST of the others.
//!
//! Rule: this room never sees Kanidm, a connection, or a run.

mod group;
mod index;
mod lock;
mod mapper;
mod membership;
mod owners;
mod person;
mod positions;
pub(crate) mod prepared;
pub mod shown;
mod values;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ldap_content_sync::Oversized;
use uuid::Uuid;

use crate::content::shown::Mask;
pub use mapper::Mapper;
pub use owners::UniqueValues;
pub(crate) use person::MISSING;

use crate::config::sync::{InvalidEntries, MappingConfig};
use crate::content::changeset::{ChangeSet, Kind};
use crate::content::{Claimed, Ended};
use crate::text::thousands;

/// What a run wants to write, and what became of everything else that was received.
#[derive(Debug, Default)]
pub struct Content {
    /// The persons in the order they were received, behind them the groups.
    pub changes: ChangeSet,
    /// How many persons are in `changes`.
    pub persons: usize,
    /// How many groups are in `changes`.
    pub groups: usize,
    /// Received, and not wanted in Kanidm: what it has of them is to be deleted.
    pub skipped: Vec<Skipped>,
    /// How many of those that are skipped for their classes have a user name.
    pub unmapped_users: u64,
    /// Received, wanted, and not fit to be sent.
    pub held: Vec<Held>,
    /// Attributes left out of entries in `changes`, by policy.
    pub dropped: Vec<Dropped>,
    /// Members that are, one for each group and member.
    pub members_resolved: u64,
    /// Members that are not among the synchronised entries, one for each group and member.
    pub members_out_of_scope: u64,
    /// The first of them, for the debug log.
    pub out_of_scope: Vec<OutOfScope>,
    /// Mail addresses that a person in `changes` was denied because another one came first.
    pub claimed: Vec<Claimed>,
    /// Entries in `changes` without a value that another entry has. The other one may give it up,
    /// and nothing would say so: these are to be read again by the next run.
    pub contested: Vec<Contested>,
}

impl Content {
    /// That no member of any group is synchronised, and what to do.
    pub fn no_member(&self) -> Option<String> {
        let named = self.members_out_of_scope;
        (self.members_resolved == 0 && named > 0).then(|| {
            format!(
                "none of the {} members that groups name is synchronised. Check group_attr_schema, group_attr_member and ldap_filter",
                thousands(named)
            )
        })
    }

    /// That entries with a user name are no persons, and what to do.
    pub fn users_of_other_classes(&self) -> Option<String> {
        (self.unmapped_users > 0).then(|| {
            format!(
                "{} match the filter and have a user name, but are neither person nor group by the object classes they name. \
                 Check person_objectclass",
                thousands(self.unmapped_users)
            )
        })
    }

    /// That some entries are neither persons nor groups, and what to do.
    pub fn of_other_classes(&self) -> Option<String> {
        let n =
            self.skipped.iter().filter(|skipped| skipped.reason == SkipReason::NotMapped).count();
        (n > 0).then(|| {
            format!(
                "{} match the filter and are neither person nor group by the object classes they name. \
                 Check person_objectclass and group_objectclass",
                thousands(n as u64)
            )
        })
    }
}

/// An entry that was sent without a value that another entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contested {
    /// The UUID the entry has in Kanidm.
    pub uuid: Uuid,
    /// The UUID the entry has in the directory.
    pub sync_uuid: Uuid,
}

impl Content {
    /// Takes entries out again, by their UUIDs in the directory: they were deleted after they had
    /// been received.
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
        // What is written under the UUID of a claimed entry is another one's, who is still there.
        let own = sync_uuids.iter().filter(|uuid| !mapping.is_claimed(**uuid));
        let written: HashSet<Uuid> = own.map(|uuid| mapping.kanidm_uuid(*uuid)).collect();
        self.changes.retain(|record| !written.contains(&record.uuid));
    }

    /// Holds entries that were received more than once in one refresh: which of them is the latest
    /// is not for us to say. What is skipped stays so.
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
    /// Every person and group, held ones included: UUID in Kanidm, kind, and the attributes that
    /// the directory shows of it.
    pub fn shown(&self) -> impl Iterator<Item = (Uuid, Kind, Mask)> {
        let written =
            self.changes.records().iter().map(|record| (record.uuid, record.kind, record.shown));
        written.chain(self.held.iter().map(|held| (held.uuid, held.kind, held.shown)))
    }
}

/// How many members out of scope are remembered by name.
pub const OUT_OF_SCOPE_LISTED: usize = 1000;

/// An entry that is not wanted in Kanidm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The UUID the entry would have in Kanidm.
    pub uuid: Uuid,
    /// The UUID the entry has in the directory.
    pub sync_uuid: Uuid,
    /// As the server spells it.
    pub dn: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why an entry is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// `exclude = true` in its table.
    Excluded,
    /// None of its object classes is a person's or a group's.
    NotMapped,
    /// A group that is only its user's own (`user_private_groups = "skip"`).
    UserPrivateGroup,
    /// The account that this program binds with.
    BindDn,
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SkipReason::Excluded => "excluded by the configuration",
            SkipReason::NotMapped => "neither person nor group by its object classes",
            SkipReason::UserPrivateGroup => "user-private group",
            SkipReason::BindDn => "the sync account itself",
        })
    }
}

/// An entry that is held back: Kanidm keeps what it has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The UUID the entry has in Kanidm.
    pub uuid: Uuid,
    /// The UUID the entry has in the directory.
    pub sync_uuid: Uuid,
    /// Person or group.
    pub kind: Kind,
    /// The mapped attributes that the directory shows of it.
    pub shown: Mask,
    /// As the server spells it.
    pub dn: String,
    /// Never empty, and not much longer than [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// Of a person whose account the directory has ended, where nothing but this stands in the way
    /// of saying so.
    pub ended: Option<Ended>,
}

/// [`Problem::attribute`] of a bad DN.
const DN: &str = "dn";
/// The same, of a UUID that the configuration gives to another entry.
const MAP_UUID: &str = "map_uuid";

/// What is wrong with an entry. Never repeats a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The attribute in the directory, as configured; `dn` for the name of the entry, or the key of
    /// its table (`map_uuid`).
    pub attribute: String,
    /// What it must be.
    pub rule: String,
}

/// Values left out of an entry that was sent all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The UUID the entry has in Kanidm.
    pub uuid: Uuid,
    /// The UUID the entry has in the directory.
    pub sync_uuid: Uuid,
    /// As the server spells it.
    pub dn: String,
    /// The attribute in the directory, as configured.
    pub attribute: String,
    /// What it must be.
    pub rule: String,
}

/// A member that is not among the synchronised entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfScope {
    /// The group's DN.
    pub group: String,
    /// The member as the group names it.
    pub member: String,
}

/// What an incremental run must look up in the directory before it can tell what its groups hold:
/// answered with [`Mapper::known`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// DNs of members that are not in the run.
    pub member_dns: Vec<String>,
    /// User names of members that are not in the run, lower-cased.
    pub member_uids: Vec<String>,
    /// Names of groups that may be private to a user of this name.
    pub private_group_names: Vec<String>,
    /// There are more members than are asked about one by one.
    pub everybody: bool,
}

impl Questions {
    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        *self == Questions::default()
    }
}

/// A received entry by which groups may name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As the server spells it.
    pub dn: String,
    /// A person's names in the directory, lower-cased.
    pub user_names: Vec<String>,
}

/// No more problems of one entry's values are named: how many there are is up to its author, who
/// would fill memory and the report with them.
pub const MAX_PROBLEMS: usize = 100;

/// Of an attribute that takes many values, an entry has no more: each is compared with what other
/// entries have, how many there are is up to the entry's author, and nobody has a thousand mail
/// addresses.
pub const MAX_VALUES: usize = 1000;

/// Bytes of the members that are asked about one by one: how many a group names is up to its
/// author.
const MAX_ASKED: usize = 16 << 20;

/// Bytes of the members of all groups that wait for [`Mapper::finish`], by default and as a
/// multiple of `max_ber_size`.
pub const MAX_MEMBERS: usize = 16;

/// Collects what is wrong with one entry, as the policy has it.
struct Findings {
    policy: InvalidEntries,
    /// Why the entry is held.
    problems: Vec<Problem>,
    /// What is left out of it, once [`settle`](Self::settle) has decided; until then, what offends
    /// in optional attributes.
    drops: Vec<Problem>,
    /// One of `drops` is a value that another entry has.
    contested: bool,
    /// The mail addresses among those values, and the positions in the index of those who have
    /// them.
    claimed: Vec<(String, u32)>,
    /// Of a person that is held.
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

    /// The entry cannot do without.
    fn required(&mut self, attribute: &str, rule: impl Into<Cow<'static, str>>) {
        self.problems.push(problem(attribute, rule.into()));
    }

    /// The entry can do without, if the policy allows.
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

    /// Whether the entry is sent, by the policy. An account that ends, now or one day, is sent
    /// without what offends also where the policy holds entries: its lock must not wait for
    /// somebody to mend a mail address, which may be one of the owner's making.
    fn settle(&mut self, ends: bool) -> bool {
        let drop = self.policy == InvalidEntries::DropValue
            || (ends && self.policy == InvalidEntries::Hold);
        if !drop || !self.problems.is_empty() {
            self.problems.append(&mut self.drops);
        }
        self.problems.is_empty()
    }

    /// As [`optional`](Self::optional), for the value that is then missing.
    fn without<T>(&mut self, attribute: &str, rule: &'static str) -> Option<T> {
        self.optional(attribute, rule);
        None
    }
}

/// Why an attribute was not read.
fn too_large(oversized: &Oversized) -> String {
    let Oversized { size, limit, .. } = oversized;
    format!(
        "the entry of {size} bytes exceeds max_ber_size = {limit}, so this attribute was not read: shrink it or raise max_ber_size"
    )
}

fn problem(attribute: &str, rule: Cow<'static, str>) -> Problem {
    Problem { attribute: attribute.to_string(), rule: rule.into_owned() }
}
