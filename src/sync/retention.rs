//! Retention: the entries that Kanidm keeps or deletes, computed from the directory's answer.
//!
//! Scope: set arithmetic. An absent entry is deleted only if the directory stated its whole
//! content. In every other case absence means nothing.

use std::collections::HashSet;

use uuid::Uuid;

use crate::config::sync::MappingConfig;
use crate::kanidm::request::Retention;

/// The directory's answer, in directory UUIDs.
#[derive(Debug)]
pub struct Stated<'a> {
    /// The whole content if the directory stated it: present sets and received entries together.
    pub present: Option<&'a [Uuid]>,
    /// Entries that the directory reported as deleted. A received entry exists, whatever a delete
    /// set says, so the caller removes it here.
    pub deleted: &'a [Uuid],
    /// Received entries that do not belong in Kanidm: excluded ones, user-private groups, and
    /// entries that are neither person nor group.
    pub skipped: &'a [Uuid],
}

/// Computes the retention.
pub fn retention(stated: &Stated<'_>, mapping: &MappingConfig) -> Retention {
    let skipped: HashSet<&Uuid> = stated.skipped.iter().collect();
    match stated.present {
        Some(present) => {
            Retention::Retain(mapped(present.iter().filter(|u| !skipped.contains(u)), mapping))
        }
        None => {
            let goes = mapped(stated.deleted.iter().chain(stated.skipped), mapping);
            if goes.is_empty() { Retention::Ignore } else { Retention::Delete(goes) }
        }
    }
}

fn mapped<'a>(uuids: impl Iterator<Item = &'a Uuid>, mapping: &MappingConfig) -> Vec<Uuid> {
    // A `map_uuid` may give the UUID of one entry to another entry. The first entry then says
    // nothing about the account of the second.
    let taken: HashSet<Uuid> =
        mapping.entries.values().filter_map(|table| table.map_uuid).collect();
    let own = uuids.filter(|u| !taken.contains(u) || !mapping.is_claimed(**u));
    let mut out: Vec<Uuid> = own.map(|u| mapping.kanidm_uuid(*u)).collect();
    out.sort_unstable();
    out.dedup();
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::sync::{
        EntryConfig, GroupMapping, GroupSchema, InvalidEntries, PersonMapping,
    };

    fn u(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    pub(crate) fn mapping() -> MappingConfig {
        let text = || String::new();
        MappingConfig {
            person: PersonMapping {
                object_classes: Vec::new(),
                user_name: text(),
                display_name: text(),
                legal_name: None,
                gidnumber: text(),
                login_shell: text(),
                password: text(),
                mail: text(),
                ssh_public_key: text(),
                totp: None,
                password_prefix: None,
                password_as_unix: false,
                account_lock: true,
            },
            group: GroupMapping {
                object_classes: Vec::new(),
                name: text(),
                description: text(),
                members: Vec::new(),
                gidnumber: text(),
                schema: GroupSchema::Rfc2307Bis,
                send_user_private: false,
            },
            entries: [(u(3), EntryConfig { map_uuid: Some(u(300)), ..EntryConfig::default() })]
                .into(),
            invalid_entries: InvalidEntries::Hold,
        }
    }

    fn stated<'a>(
        present: Option<&'a [Uuid]>,
        deleted: &'a [Uuid],
        skipped: &'a [Uuid],
    ) -> Stated<'a> {
        Stated { present, deleted, skipped }
    }

    #[test]
    fn what_is_present_stays_under_its_mapped_uuid() {
        let present = [u(3), u(1), u(2), u(1)];
        assert_eq!(
            retention(&stated(Some(&present), &[], &[]), &mapping()),
            Retention::Retain(vec![u(1), u(2), u(300)])
        );
    }

    #[test]
    fn what_is_present_but_skipped_goes() {
        let present = [u(1), u(2)];
        assert_eq!(
            retention(&stated(Some(&present), &[], &[u(2)]), &mapping()),
            Retention::Retain(vec![u(1)])
        );
    }

    #[test]
    fn deletions_and_what_is_skipped_go_under_their_mapped_uuids() {
        assert_eq!(
            retention(&stated(None, &[u(1), u(3)], &[u(9)]), &mapping()),
            Retention::Delete(vec![u(1), u(9), u(300)])
        );
    }

    #[test]
    fn an_entry_whose_uuid_is_anothers_map_uuid_neither_keeps_nor_deletes_its_account() {
        // 3 is mapped to 300, and another entry has 300 of its own.
        assert_eq!(retention(&stated(None, &[u(300)], &[u(300)]), &mapping()), Retention::Ignore);
        assert_eq!(
            retention(&stated(Some(&[u(300), u(1)]), &[], &[]), &mapping()),
            Retention::Retain(vec![u(1)])
        );
        assert_eq!(
            retention(&stated(Some(&[u(300), u(3)]), &[], &[u(300)]), &mapping()),
            Retention::Retain(vec![u(300)])
        );
    }

    #[test]
    fn silence_deletes_nothing() {
        assert_eq!(retention(&stated(None, &[], &[]), &mapping()), Retention::Ignore);
    }
}
