//! Who has what no two entries may share, beyond the entries of a run.
//!
//! Scope: an incremental run receives an entry that was held back, but not the one that has its
//! name, number or mail address: that has not changed. It is looked up and made known here, so that
//! the held entry stays held without Kanidm refusing it in every run.

use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

use super::index::{Kind, State};
use super::mapper::Mapper;
use super::values::Picked;
use super::{group, person, values};
use crate::content::rules;

/// Values that no two entries in Kanidm may share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UniqueValues {
    /// Names, lower-cased.
    pub names: Vec<String>,
    /// Numbers.
    pub gidnumbers: Vec<u32>,
    /// Mail addresses.
    pub mails: Vec<String>,
}

impl Mapper<'_> {
    /// Adds the values of an entry that no other may have.
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
            Kind::Person => {
                gidnumber = person::identity(&self.cfg.person, entry.dn(), &values, &mut name);
                unique.mails.extend(valid_mails(person::mail(&values)).map(str::to_owned));
            }
            Kind::Group => gidnumber = group::identity(&self.cfg.group, entry, &mut name),
            Kind::Other => {}
        }
        if let Some(mapped) = table.and_then(|table| table.map_name.as_deref()) {
            person::lower_case(mapped, &mut name);
        }
        // No other name is ever Kanidm's, however long it is.
        unique.names.extend(Some(name).filter(|name| rules::name(name).is_ok()));
        unique.gidnumbers.extend(table.and_then(|table| table.map_gidnumber).or(gidnumber));
    }

    /// Takes a person in scope who is not part of this run and has such a value: as long as that is
    /// so, no other entry can have it.
    pub fn owner(&mut self, sync_uuid: Uuid, entry: &SearchResultEntry<'_>) {
        let values = self.pick(entry);
        if self.kind(&values) != Kind::Person || self.index.find_uuid(&sync_uuid).is_some() {
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
