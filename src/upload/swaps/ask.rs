//! Which values Kanidm would refuse an entry, and which of the entries that collide has them.
//!
//! Scope: the questions `collide` is made of, and their number. Kanidm tells nobody who has a
//! value; how it is asked all the same stands there. However many entries collide, and however many
//! addresses one of them has, the answers stop at some point and the run goes on: what was not
//! asked is not solved in this run, and held.

use std::borrow::Cow;

use super::collide::{Candidate, Holder};
use crate::content::changeset::Kind;
use crate::content::scim;
use crate::content::unique::{Attribute, Unique, temporary_name};
use crate::kanidm::error::Fault;
use crate::upload::UploadError;
use crate::upload::item::Item;
use crate::upload::send::Refusal;
use crate::upload::write::Writer;
use serde_json::{Value, json};

/// So many values of an entry are asked for one by one: DN, name, number and a few addresses. How
/// many more it has is up to its author.
const MAX_VALUES: usize = 8;

/// What Kanidm says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The entry can have the values.
    Free,
    /// Another entry has one of them.
    Taken,
    /// No more is asked in this run.
    Unasked,
}

impl Writer<'_> {
    /// Which of its values each entry cannot have.
    pub(crate) fn candidates(
        &mut self,
        waiting: Vec<(Item, Refusal)>,
    ) -> Result<Vec<Candidate>, UploadError> {
        let mut candidates = Vec::with_capacity(waiting.len());
        for (item, refusal) in waiting {
            let values = self.values(item);
            let (one_by_one, rest) =
                values.split_at_checked(MAX_VALUES).unwrap_or((values.as_slice(), &[]));
            let (mut wants, mut wants_more) = (Vec::new(), false);
            for value in one_by_one {
                match self.ask(item, std::slice::from_ref(value))? {
                    Reply::Free => {}
                    Reply::Taken => wants.push(value.clone()),
                    Reply::Unasked => wants_more = true,
                }
            }
            wants_more |= !rest.is_empty() && self.ask(item, rest)? != Reply::Free;
            candidates.push(Candidate::new(item, refusal, values, wants, wants_more));
        }
        Ok(candidates)
    }

    /// One of many: what it cannot have is taken from Kanidm's answer, or asked for until the first
    /// value is found.
    pub(crate) fn candidate_of_many(
        &mut self,
        item: Item,
        refusal: Refusal,
    ) -> Result<Candidate, UploadError> {
        let values = self.values(item);
        let named: Vec<Attribute> =
            refusal.answer.conflicting().filter_map(Attribute::of_kanidm).collect();
        let mut may_be: Vec<&Unique> = values
            .iter()
            .filter(|value| named.is_empty() || named.contains(&value.attribute()))
            .collect();
        // Names are taken most often, DNs hardly ever.
        may_be.sort_by_key(|value| value.attribute() == Attribute::Dn);
        may_be.truncate(MAX_VALUES);
        let mut wants = Vec::new();
        match may_be.as_slice() {
            [value] => wants.push((*value).clone()),
            several => {
                for value in several {
                    if self.ask(item, std::slice::from_ref(*value))? == Reply::Taken {
                        wants.push((*value).clone());
                        break;
                    }
                }
            }
        }
        let mut candidate = Candidate::new(item, refusal, values, wants, true);
        // After an exchange it is known that nobody of this run has it.
        let holder = if self.exchange_tried && !self.exchange_failed {
            Holder::Another
        } else {
            Holder::Unknown
        };
        candidate.wants.iter_mut().for_each(|(_, of)| *of = holder);
        Ok(candidate)
    }

    /// Who of them has what the others want.
    pub(crate) fn find_holders(&mut self, candidates: &mut [Candidate]) -> Result<(), UploadError> {
        let items: Vec<Item> = candidates.iter().map(|c| c.item).collect();
        for candidate in candidates {
            for (value, holder) in &mut candidate.wants {
                *holder = self.holder(&items, candidate.item, value)?;
            }
        }
        Ok(())
    }

    fn holder(
        &mut self,
        items: &[Item],
        wanting: Item,
        value: &Unique,
    ) -> Result<Holder, UploadError> {
        for (i, item) in items.iter().enumerate().filter(|(_, item)| **item != wanting) {
            match self.ask(*item, std::slice::from_ref(value))? {
                Reply::Free => return Ok(Holder::Candidate(i)),
                Reply::Taken => {}
                Reply::Unasked => return Ok(Holder::Unknown),
            }
        }
        Ok(Holder::Another)
    }

    /// Whether Kanidm would refuse `item` these values because an entry other than `item` has one
    /// of them. Several values have to be mail addresses. Changes nothing.
    pub(crate) fn ask(&mut self, item: Item, values: &[Unique]) -> Result<Reply, UploadError> {
        let Some(question) = self.question(item, values) else {
            return Ok(Reply::Taken);
        };
        let entries: Vec<Cow<'_, [u8]>> =
            [question.to_string().into_bytes(), self.invalid()].map(Cow::Owned).into();
        Ok(match self.sender.question(&entries.into())? {
            None => Reply::Unasked,
            // Anything but a clean bill means that this entry is not the one.
            Some(refusal) if refusal.fault != Fault::Other => Reply::Taken,
            Some(_) => Reply::Free,
        })
    }

    fn question(&self, item: Item, values: &[Unique]) -> Option<Value> {
        let uuid = self.uuid(item);
        if let [Unique::Dn(dn)] = values {
            return Some(json!({"externalId": dn, "schemas": [], "id": uuid}));
        }
        let person = item.kind(self.input)? == Kind::Person;
        let posix = matches!(values, [Unique::Gid(_)]);
        let schemas = match (person, posix) {
            (true, false) => scim::PERSON,
            (true, true) => scim::POSIX_PERSON,
            (false, false) => scim::GROUP,
            (false, true) => scim::POSIX_GROUP,
        };
        let mut entry = json!({"externalId": format!("tmp-{uuid}"), "schemas": schemas, "id": uuid, "name": temporary_name(uuid)});
        let object = entry.as_object_mut()?;
        if person {
            object.insert("displayname".to_owned(), "-".into());
        }
        match values {
            [Unique::Name(name)] => object.insert("name".to_owned(), name.as_str().into()),
            [Unique::Gid(number)] => object.insert("gidnumber".to_owned(), (*number).into()),
            mails if person => {
                let address = |value: &Unique| match value {
                    Unique::Mail(address) => Some(json!({"value": address})),
                    Unique::Dn(_) | Unique::Name(_) | Unique::Gid(_) => None,
                };
                let mut mails = mails.iter().map(address).collect::<Option<Vec<Value>>>()?;
                mails.first_mut()?.as_object_mut()?.insert("primary".to_owned(), true.into());
                object.insert("mail".to_owned(), mails.into())
            }
            _ => return None,
        };
        Some(entry)
    }
}
