//! Held members of groups.
//!
//! Scope: groups never get the wrong member. A group names a member by its DN. While that member is
//! held, Kanidm may know another entry by the same DN:
//! - an entry that moved away in the directory and is held itself, or
//! - an entry that gives the DN up in the POST that brings the group. Kanidm finds this entry by
//!   the old DN until another entry takes the DN.
//!
//! Held entries therefore get their DN in Kanidm, and no content, before groups name them. If
//! Kanidm refuses the DN, groups leave the member out until the entry is accepted.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::item::{Form, Item};
use super::send::{Leave, Sent, failed};
use super::work::Work;
use super::write::attempt_in_chunks;
use super::{Upload, UploadError};
use crate::content::changeset::Kind;
use crate::content::members::{external_ids, retain};
use crate::kanidm::request::Retention;

/// DNs in lower case, as Kanidm compares them.
type Dns = BTreeSet<String>;

/// Returns the held entries that a group of this run names.
pub(super) fn held_and_named(input: &Upload<'_>) -> Vec<Item> {
    if input.stubs.is_empty() {
        return Vec::new();
    }
    let mut named = Dns::new();
    for record in input.changes.records().iter().filter(|record| record.kind == Kind::Group) {
        add_members(&mut named, &input.changes.json(record));
    }
    (0..input.stubs.len())
        .map(Item::Held)
        .filter(|item| named.contains(&item.dn(input).to_lowercase()))
        .collect()
}

fn add_members(named: &mut Dns, group: &[u8]) {
    named.extend(external_ids(group).map(|id| id.to_lowercase()));
}

/// Sends groups again that name held members. `groups` are written already. Members without their
/// DN in Kanidm get it first. If Kanidm refuses the DN, the group is sent without that member.
pub(super) fn settle_held_members(work: &mut Work<'_>, groups: &[Item]) -> Result<(), UploadError> {
    let stubs = (0..work.input.stubs.len()).map(Item::Held).filter(|item| !work.has_its_dn(*item));
    let mut held: Vec<Item> = work.ledger.held_items.iter().copied().chain(stubs).collect();
    if held.is_empty() || groups.is_empty() {
        return Ok(());
    }
    let mut named = Dns::new();
    for group in groups {
        add_members(&mut named, &work.outgoing.rendered(*group, Form::Full));
    }
    held.retain(|item| named.contains(&work.dn(*item).to_lowercase()));
    if held.is_empty() {
        return Ok(());
    }
    attempt_in_chunks(work, &held, Form::Named, false)?;
    let dn = |item: &Item| work.dn(*item).to_lowercase();
    let dns: Dns = held.iter().map(dn).collect();
    let missing: Dns = held.iter().filter(|item| !work.has_its_dn(**item)).map(dn).collect();
    groups.iter().try_for_each(|group| send_without(work, *group, &dns, &missing))
}

/// Sends a group that names one of `held`, without the members in `missing`.
fn send_without(
    work: &mut Work<'_>,
    group: Item,
    held: &Dns,
    missing: &Dns,
) -> Result<(), UploadError> {
    let content = work.outgoing.rendered(group, Form::Full);
    let names_one_of =
        |dns: &Dns| external_ids(&content).any(|id| dns.contains(&id.to_lowercase()));
    if !names_one_of(held) {
        return Ok(());
    }
    let content = if names_one_of(missing) {
        log::debug!(
            "{}: members that are held, and whose DN Kanidm does not take, are left out for now",
            work.dn(group)
        );
        Cow::Owned(retain(&content, |id| !missing.contains(&id.to_lowercase())))
    } else {
        content
    };
    match work.sender.send_whole(&vec![content].into(), &Retention::Ignore, Leave::Interim)? {
        Sent::Applied(_) => Ok(()),
        other => Err(failed("writing a group without members that are held", other)),
    }
}
