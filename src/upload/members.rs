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

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::item::{Form, Item};
use super::send::{Leave, Sent, failed};
use super::write::Writer;
use super::{Upload, UploadError};
use crate::content::changeset::Kind;
use crate::kanidm::request::Retention;

/// The members of a group. Other keys pass through unchanged.
#[derive(Deserialize, Serialize)]
struct GroupContent {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    member: Vec<Member>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize, Serialize)]
struct Member {
    external_id: String,
}

impl GroupContent {
    fn names_one_of(&self, dns: &BTreeSet<String>) -> bool {
        self.member.iter().any(|m| dns.contains(&m.external_id.to_lowercase()))
    }
}

/// Returns the held entries that a group of this run names.
pub(super) fn held_and_named(input: &Upload<'_>) -> Vec<Item> {
    if input.stubs.is_empty() {
        return Vec::new();
    }
    let groups = input.changes.records().iter().filter(|r| r.kind == Kind::Group);
    let contents =
        groups.filter_map(|r| serde_json::from_slice::<GroupContent>(&input.changes.json(r)).ok());
    let named: BTreeSet<String> =
        contents.flat_map(|g| g.member).map(|m| m.external_id.to_lowercase()).collect();
    (0..input.stubs.len())
        .map(Item::Held)
        .filter(|item| named.contains(&item.dn(input).to_lowercase()))
        .collect()
}

impl Writer<'_> {
    /// Sends groups again that name held members. `groups` are written already. Members without
    /// their DN in Kanidm get it first. If Kanidm refuses the DN, the group is sent without that
    /// member.
    pub(super) fn settle_held_members(&mut self, groups: &[Item]) -> Result<(), UploadError> {
        let stubs =
            (0..self.input.stubs.len()).map(Item::Held).filter(|item| !self.has_its_dn(*item));
        let mut held: Vec<Item> = self.held.iter().copied().chain(stubs).collect();
        if held.is_empty() || groups.is_empty() {
            return Ok(());
        }
        let mut contents: Vec<(Item, GroupContent)> = Vec::new();
        for group in groups {
            if let Ok(content) =
                serde_json::from_slice::<GroupContent>(&self.rendered(*group, Form::Full))
            {
                contents.push((*group, content));
            }
        }
        let named: BTreeSet<String> = contents
            .iter()
            .flat_map(|(_, g)| &g.member)
            .map(|m| m.external_id.to_lowercase())
            .collect();
        held.retain(|item| named.contains(&self.dn(*item).to_lowercase()));
        if held.is_empty() {
            return Ok(());
        }
        self.attempt_in_chunks(&held, Form::Named, false)?;
        let dns: BTreeSet<String> = held.iter().map(|item| self.dn(*item).to_lowercase()).collect();
        let missing: BTreeSet<String> = held
            .iter()
            .filter(|item| !self.has_its_dn(**item))
            .map(|item| self.dn(*item).to_lowercase())
            .collect();
        for (group, mut content) in
            contents.into_iter().filter(|(_, content)| content.names_one_of(&dns))
        {
            if content.names_one_of(&missing) {
                log::debug!(
                    "{}: members that are held, and whose DN Kanidm does not take, are left out for now",
                    self.dn(group)
                );
                content.member.retain(|m| !missing.contains(&m.external_id.to_lowercase()));
            }
            let entry = serde_json::to_vec(&content).unwrap_or_default();
            match self.sender.send_whole(
                &vec![Cow::Owned(entry)].into(),
                &Retention::Ignore,
                Leave::Interim,
            )? {
                Sent::Applied(_) => {}
                other => {
                    return Err(failed("writing a group without members that are held", other));
                }
            }
        }
        Ok(())
    }
}
