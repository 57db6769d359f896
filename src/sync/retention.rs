//! What goes: which entries stay in Kanidm, or which leave it, computed from what the directory
//! said.
//!
//! Scope: set arithmetic. Absence means deletion only where the whole content was stated;
//! everything else is left alone.

use std::collections::HashSet;

use uuid::Uuid;

use crate::config::sync::MappingConfig;
use crate::kanidm::request::Retention;

/// What the directory said, in its own UUIDs.
#[derive(Debug)]
pub struct Stated<'a> {
    /// The whole content, where it was stated: present sets and received entries together.
    pub present: Option<&'a [Uuid]>,
    /// What was named as deleted. An entry that was received exists, whatever a delete set said:
    /// the caller leaves it out.
    pub deleted: &'a [Uuid],
    /// What was received and is not for Kanidm: excluded, neither person nor group, a user-private
    /// group.
    pub skipped: &'a [Uuid],
}

/// Computes what goes.
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
    // An entry whose UUID is another's `map_uuid` says nothing about that other one's account:
    // neither that it stays nor that it goes.
    let taken: HashSet<Uuid> =
        mapping.entries.values().filter_map(|table| table.map_uuid).collect();
    let own = uuids.filter(|u| !taken.contains(u) || !mapping.is_claimed(**u));
    let mut out: Vec<Uuid> = own.map(|u| mapping.kanidm_uuid(*u)).collect();
    out.sort_unstable();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sync::{
        EntryConfig, GroupMapping, GroupSchema, InvalidEntries, PersonMapping,
    };

    fn u(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn mapping() -> MappingConfig {
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
        // 3 is mapped to 300, and there is an entry that has 300 of its own.
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
