//! Questions to Kanidm about taken values.
//!
//! Scope: which values Kanidm would refuse an entry, and which colliding entry has them. Kanidm
//! does not say who has a value; [`super::collide`] explains how a refusal tells. The number of
//! questions is limited, however many entries collide and however many addresses they have. A
//! collision without an answer is not solved in this run, and its entries are held.

use std::borrow::Cow;

use super::collide::{Candidate, Holder};
use crate::content::changeset::Kind;
use crate::content::scim;
use crate::content::unique::{Attribute, Unique, temporary_name};
use crate::kanidm::error::Fault;
use crate::upload::UploadError;
use crate::upload::item::Item;
use crate::upload::send::Refusal;
use crate::upload::write::{Exchange, Writer};
use serde_json::{Value, json};

/// Maximum values of an entry that are asked for one by one: DN, name, number and a few addresses.
/// The author of an entry may add any number of addresses.
const MAX_VALUES: usize = 8;

/// The answer of Kanidm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The entry can have the values.
    Free,
    /// Another entry has one of them.
    Taken,
    /// The limit of questions is reached.
    Unasked,
}

impl Writer<'_> {
    /// Finds the values that each entry cannot have.
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

    /// Finds one value that an entry cannot have, for an entry among many. Kanidm's refusal may
    /// name it. Otherwise values are asked for until the first taken one.
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
        // Names are taken most often, and DNs hardly ever.
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
        let holder = match self.exchange {
            Exchange::Whole => Holder::Another,
            Exchange::Untried | Exchange::Failed | Exchange::Partial => Holder::Unknown,
        };
        candidate.wants.iter_mut().for_each(|(_, of)| *of = holder);
        Ok(candidate)
    }

    /// Finds out which candidate has each value that another one wants.
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

    /// Asks whether Kanidm would refuse `item` these values because another entry has one of them.
    /// Several values must be mail addresses. Changes nothing.
    pub(crate) fn ask(&mut self, item: Item, values: &[Unique]) -> Result<Reply, UploadError> {
        let Some(question) = self.question(item, values) else {
            return Ok(Reply::Taken);
        };
        let question = self.without_yielded(question.to_string().as_bytes());
        let entries: Vec<Cow<'_, [u8]>> = [question, self.invalid()].map(Cow::Owned).into();
        Ok(match self.sender.question(&entries.into())? {
            None => Reply::Unasked,
            // The refusal may be about a yielded attribute, and not about the values.
            Some(refusal) if refusal.fault == Fault::Masked && self.learn_yielded()? => {
                self.ask(item, values)?
            }
            // `Fault::Other` is the refusal of the invalid entry. Any other fault is about the
            // question.
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
