//! Owners of unique values that are not among the entries of a run.
//!
//! Scope: an incremental run receives a held entry again, but not the unchanged entry that has its
//! name, number or mail address. The run looks up that owner and makes it known here. So the held
//! entry stays held, and Kanidm need not refuse it in every run.

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

use super::index::{EntryKind, State};
use super::mapper::Mapper;
use super::naming::lower_case;
use super::values::Picked;
use super::{group, person, values};
use crate::content::rules;

/// Values that no two entries in Kanidm may share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UniqueValues {
    /// Names, in lower case.
    pub names: Vec<String>,
    /// Numbers.
    pub gidnumbers: Vec<u32>,
    /// Mail addresses.
    pub mails: Vec<String>,
}

impl Mapper<'_> {
    /// Adds the unique values of an entry.
    pub fn unique_values(
        &self,
        sync_uuid: Uuid,
        entry: &SearchResultEntry<'_>,
        unique: &mut UniqueValues,
    ) {
        let values = self.pick(entry);
        let table = self.table(sync_uuid);
        let mut name = String::new();
        let mut gidnumber = None;
        match self.kind(&values) {
            EntryKind::Person => {
                gidnumber = person::identity(&self.cfg.person, entry.dn(), &values, &mut name);
                unique.mails.extend(valid_mails(person::mail(&values)).map(str::to_owned));
            }
            EntryKind::Group => gidnumber = group::identity(&self.cfg.group, entry, &mut name),
            EntryKind::Other => {}
        }
        if let Some(mapped) = table.and_then(|table| table.map_name.as_deref()) {
            lower_case(mapped, &mut name);
        }
        // Kanidm accepts no other name, whatever its length.
        unique.names.extend(Some(name).filter(|name| rules::name(name).is_ok()));
        unique.gidnumbers.extend(table.and_then(|table| table.map_gidnumber).or(gidnumber));
    }

    /// Takes a person in scope that is not part of this run and owns such a value. Until the owner
    /// gives it up, no other entry can have it.
    pub fn owner(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) {
        let values = self.pick(entry);
        if self.kind(&values) != EntryKind::Person || self.index.find_uuid(&sync_uuid).is_some() {
            return;
        }
        self.known(sync_uuid, entry);
        if let Some(position) = self.index.find_uuid(&sync_uuid) {
            self.set_state(position, State::Owner);
            valid_mails(person::mail(&values))
                .for_each(|mail| self.index.add_known_mail(position, mail));
        }
    }
}

fn valid_mails<'a>(mail: Option<Picked<'a>>) -> impl Iterator<Item = &'a str> {
    let texts = mail
        .into_iter()
        .flat_map(|mail| values::not_blank(&mail))
        .filter_map(|value| str::from_utf8(value).ok());
    texts.map(str::trim).filter(|mail| rules::mail(mail).is_ok())
}
