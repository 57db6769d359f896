//! Entries as they go out: as the mapping made them, less what Kanidm cannot take.
//!
//! Scope: the bytes and the values of an item. Yielded attributes are left out, and persons get the
//! addresses that they may have ([`super::claimed`]).

use std::borrow::Cow;
use std::collections::HashMap;

use uuid::Uuid;

use super::Upload;
use super::claimed::MailChange;
use super::item::{Form, Item};
use crate::content::body::Body;
use crate::content::unique::{Attribute, Unique};
use crate::kanidm::request::{COMMA, Entries};
use crate::kanidm::state::Yielded;

/// How entries are sent.
pub(super) struct Outgoing<'a> {
    input: &'a Upload<'a>,
    /// Attributes that are left out of every entry.
    pub(super) yielded: Yielded,
    /// Changes for persons whose addresses other persons want, by UUID in Kanidm.
    pub(super) mails: HashMap<Uuid, MailChange>,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(input: &'a Upload<'a>) -> Self {
        Outgoing { input, yielded: input.yielded.clone(), mails: HashMap::new() }
    }

    /// The entries of a POST.
    pub(super) fn entries<'e>(&'e self, items: &'e [Item], form: Form) -> Entries<'e> {
        let input = self.input;
        if self.is_as_mapped(form) {
            return Entries::with_heads(
                items.len(),
                move |at| items.get(at).map_or(COMMA, |item| item.head(input, form)),
                move |at| items.get(at).map(|item| item.rest(input, form)).unwrap_or_default(),
            );
        }
        let rendered = move |item: &Item| self.rendered(*item, form);
        Entries::new(items.len(), move |at| items.get(at).map(rendered).unwrap_or_default())
    }

    /// One entry as JSON.
    pub(super) fn rendered(&self, item: Item, form: Form) -> Cow<'a, [u8]> {
        let entry = item.render(self.input, form);
        let is_unchanged =
            self.yielded.is_empty() && !self.mails.contains_key(&item.uuid(self.input));
        if is_unchanged || self.is_as_mapped(form) {
            entry
        } else {
            Cow::Owned(self.adapted(item).to_bytes())
        }
    }

    /// The values of an entry that no other entry may have.
    pub(super) fn values(&self, item: Item) -> Vec<Unique> {
        let Some(record) = item.record(self.input) else {
            return vec![Unique::dn(&item.dn(self.input))];
        };
        let is_yielded = |value: &Unique| match value.attribute() {
            Attribute::Dn => false,
            Attribute::Name => self.yielded.contains("name"),
            Attribute::Gid => self.yielded.contains("gidnumber"),
            Attribute::Mail => self.yielded.contains("mail"),
        };
        let mut values = self.input.changes.unique_values(record);
        if let Some(change) = self.mails.get(&record.uuid) {
            values.retain(|value| value.attribute() != Attribute::Mail);
            let mails = change.applied_to(self.input.changes.mails(record));
            values.extend(mails.into_iter().map(|mail| Unique::Mail(mail.to_owned())));
        }
        values.retain(|value| !is_yielded(value));
        values
    }

    /// The size of an entry in bytes.
    pub(super) fn size(&self, item: Item, form: Form) -> usize {
        match item.record(self.input) {
            // Rendering each entry to measure it would be slow: there may be many.
            Some(record) if form == Form::Full => self.input.changes.json_len(record),
            _ => item.render(self.input, form).len(),
        }
    }

    /// An entry with its content.
    pub(super) fn adapted(&self, item: Item) -> Body {
        let body = Body::read(&item.render(self.input, Form::Full));
        let change = item.record(self.input).and_then(|record| {
            Some((self.mails.get(&record.uuid)?, self.input.changes.mails(record)))
        });
        let body = match change {
            Some((change, mails)) => body.with_mails(&change.applied_to(mails)),
            None => body,
        };
        self.without_yielded(body)
    }

    /// An entry without the attributes that are known to be yielded.
    pub(super) fn without_yielded(&self, body: Body) -> Body {
        body.without(&self.yielded)
    }

    /// True if entries are sent exactly as the mapping made them.
    fn is_as_mapped(&self, form: Form) -> bool {
        form != Form::Full || (self.yielded.is_empty() && self.mails.is_empty())
    }
}
