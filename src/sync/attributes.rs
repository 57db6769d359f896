//! Losses of attributes: compares the entries that showed an attribute before with those that show
//! it now.
//!
//! Scope: an access rule or a spelling error in the configuration hides an attribute without a
//! trace. Such entries come without the attribute and without an error. Deleted entries do not
//! count as losing their attributes.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::guard::{AttributeLoss, Lost, allowed_losses};
use super::start::Start;
use crate::content::changeset::Kind;
use crate::content::shown::{Mask, Role};
use crate::kanidm::known::{Memberships, Shown};
use crate::kanidm::request::Retention;
use crate::kanidm::sketch::Holders;
use crate::mapping::Content;
use crate::mapping::shown::{MEMBER_KEY, TOTP_KEY};

/// The losses of a full refresh, for each attribute.
pub fn losses(roles: &[Role], before: &Shown, content: &Content) -> Vec<AttributeLoss> {
    let mut now: HashMap<Uuid, Option<(Kind, Mask)>> =
        before.holders.values().flat_map(Holders::sample).map(|uuid| (uuid, None)).collect();
    for (uuid, kind, mask) in content.shown() {
        if let Some(sampled) = now.get_mut(&uuid) {
            *sampled = Some((kind, mask));
        }
    }
    let lacks = |uuid: &Uuid, role: &Role| match now.get(uuid) {
        Some(Some((kind, mask))) => *kind == role.kind && !mask.has(role),
        _ => false,
    };
    let loss = |role: &Role| {
        let holders = before.holders.get(&role.stored())?;
        let lost = holders.scale(holders.sample().filter(|uuid| lacks(uuid, role)).count());
        (lost > 0).then(|| loss_of(role, Lost { had: holders.count(), lost }))
    };
    roles.iter().filter_map(loss).collect()
}

/// The loss of one attribute by every entry that had it.
pub fn loss_of_all(role: &Role, before: &Shown) -> AttributeLoss {
    let had = before.holders.get(&role.stored()).map_or(0, Holders::count);
    loss_of(role, Lost { had, lost: had })
}

fn loss_of(role: &Role, lost: Lost) -> AttributeLoss {
    AttributeLoss { kind: role.kind, attribute: role.attribute.clone(), key: role.key, lost }
}

/// Attributes that entries had and that no entry of an increment shows. The caller searches the
/// directory for any entry that still shows them. An attribute with few holders counts only if the
/// increment received one of them.
pub fn doubtful<'r>(
    roles: &'r [Role],
    before: &Shown,
    content: &Content,
    percent: u8,
) -> Vec<&'r Role> {
    let received: HashSet<Uuid> = content.shown().map(|(uuid, ..)| uuid).collect();
    let is_concerned = |had: &Holders| {
        had.count() > allowed_losses(had.count(), percent)
            || had.sample().any(|uuid| received.contains(&uuid))
    };
    let mut doubtful: Vec<&Role> = roles
        .iter()
        .filter(|role| before.holders.get(&role.stored()).is_some_and(is_concerned))
        .collect();
    for (_, kind, mask) in content.shown() {
        doubtful.retain(|role| role.kind != kind || !mask.has(role));
    }
    doubtful.retain(|role| content.shown().any(|(_, kind, _)| kind == role.kind));
    doubtful
}

/// Persons that an attribute locked or limited, and that do not show it now. Either somebody took it
/// away, or the directory hides it. Also every person without a TOTP token, if tokens are mapped: a
/// hidden one lets the person in by the password alone. Kanidm UUIDs.
pub fn unlocked<'r>(
    roles: &'r [Role],
    start: &Start,
    content: &Content,
    full: bool,
) -> Vec<(&'r Role, Vec<Uuid>)> {
    let no_holders = Holders::default();
    // Samples are small. The roster tells of every account in a directory of some size.
    let roster = start.stored_roster.as_ref();
    let was_closed = |uuid: &Uuid| {
        !content.ended.contains(uuid) && roster.is_some_and(|roster| roster.has_ended(*uuid))
    };
    let mut unlocked = Vec::new();
    for role in roles.iter().filter(|role| role.is_lock || role.key == TOTP_KEY) {
        let holders = match start.shown.holders.get(&role.stored()) {
            Some(holders) => holders,
            None if role.is_lock => continue,
            None => &no_holders,
        };
        let sampled: HashSet<Uuid> = holders.sample().collect();
        // An increment has few entries, so it asks about every person that may have been locked.
        let may_be_another = |uuid: &Uuid| match full {
            true => was_closed(uuid),
            false => holders.may_have(*uuid),
        };
        let was_locked = |uuid: &Uuid| {
            !role.is_lock || sampled.contains(uuid) || (!holders.is_exact() && may_be_another(uuid))
        };
        let shows_nothing = |(uuid, kind, mask): &(Uuid, Kind, Mask)| {
            *kind == role.kind && !mask.has_value(role) && was_locked(uuid)
        };
        let uuids: Vec<Uuid> =
            content.shown().filter(shows_nothing).map(|(uuid, ..)| uuid).collect();
        if !uuids.is_empty() {
            unlocked.push((role, uuids));
        }
    }
    unlocked
}

/// Up to ten entries of an increment that show no value of an attribute.
pub fn without_value(role: &Role, content: &Content) -> Vec<Uuid> {
    const FEW: usize = 10;
    let lacks = |(_, kind, mask): &(Uuid, Kind, Mask)| *kind == role.kind && !mask.has_value(role);
    content.shown().filter(lacks).take(FEW).map(|(uuid, ..)| uuid).collect()
}

/// True if a group has no member in any of the mapped attributes.
pub fn some_group_shows_no_member(roles: &[Role], content: &Content) -> bool {
    let members: Vec<&Role> = roles.iter().filter(|role| role.key == MEMBER_KEY).collect();
    content
        .shown()
        .any(|(_, kind, mask)| kind == Kind::Group && !members.iter().any(|role| mask.has(role)))
}

/// Memberships that resolved at the last full refresh and do not resolve now. A loss counts only if
/// fewer members resolve and more do not. A member that left its group does not count.
pub fn memberships(before: Memberships, now: Memberships) -> Option<Lost> {
    let gone = before.resolved.saturating_sub(now.resolved);
    let lost = gone.min(now.unresolved.saturating_sub(before.unresolved));
    (lost > 0).then_some(Lost { had: before.resolved, lost })
}

/// Unresolved members of an increment beyond those of the last full refresh. At least this many are
/// new.
pub fn newly_unresolved(before: Memberships, now: Memberships) -> Option<Lost> {
    let lost = now.unresolved.saturating_sub(before.unresolved).min(before.resolved);
    (lost > 0).then_some(Lost { had: before.resolved, lost })
}

/// The memberships of this reading, by whether they resolve.
pub fn memberships_of(content: &Content) -> Memberships {
    Memberships { resolved: content.members_resolved, unresolved: content.members_out_of_scope }
}

/// The state to remember after a full refresh.
pub fn after_full(roles: &[Role], content: &Content) -> Shown {
    let holders = |role: &Role| (role.stored(), Holders::of(received(content, role, true)));
    let holders = roles.iter().map(holders).filter(|(_, holders)| holders.count() > 0).collect();
    Shown { holders, memberships: memberships_of(content) }
}

/// The state to remember after an increment: received entries are counted again, deleted ones are
/// removed.
pub fn after_increment(
    roles: &[Role],
    before: &Shown,
    content: &Content,
    retention: &Retention,
) -> Shown {
    let mut holders = before.holders.clone();
    for role in roles {
        let old = holders.remove(&role.stored()).unwrap_or_default();
        let gone: Vec<Uuid> = match retention {
            Retention::Ignore => Vec::new(),
            Retention::Delete(uuids) => uuids.clone(),
            Retention::Retain(uuids) => old.named_missing_from(uuids, usize::MAX),
        };
        let new = old.updated(
            gone.into_iter().chain(received(content, role, false)),
            received(content, role, true),
        );
        if new.count() > 0 {
            holders.insert(role.stored(), new);
        }
    }
    Shown { holders, memberships: before.memberships }
}

/// The received entries that show the attribute, or those that do not.
fn received<'c>(
    content: &'c Content,
    role: &'c Role,
    showing: bool,
) -> impl Iterator<Item = Uuid> + 'c {
    let wanted =
        move |(_, kind, mask): &(Uuid, Kind, Mask)| *kind == role.kind && mask.has(role) == showing;
    content.shown().filter(wanted).map(|(uuid, ..)| uuid)
}
