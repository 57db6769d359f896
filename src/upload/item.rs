//! Items of a POST.
//!
//! Scope: one item, and the form in which it is sent: with its content, or as a stub without
//! content.

use std::borrow::Cow;

use uuid::Uuid;

use super::Upload;
use crate::content::changeset::{Kind, Record};
use crate::content::json;
use crate::kanidm::request::COMMA;

/// An item to send, by its position in the change set or in the list of held entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Record(usize),
    Held(usize),
}

/// The form in which an item is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The content of the entry. A held entry has no content here, so this is its DN.
    Full,
    /// Only the DN. The entry then exists in Kanidm, groups can name it as a member, and it keeps
    /// its content.
    Named,
    /// Only the UUID. The entry then exists in Kanidm and keeps its content and its DN.
    Bare,
}

impl Item {
    /// The record of the item; `None` for a held entry.
    pub(super) fn record<'a>(self, input: &Upload<'a>) -> Option<&'a Record> {
        match self {
            Item::Record(at) => input.changes.records().get(at),
            Item::Held(_) => None,
        }
    }

    /// Person or group; `None` for a held entry, whose kind is not known.
    pub(super) fn kind(self, input: &Upload<'_>) -> Option<Kind> {
        self.record(input).map(|r| r.kind)
    }

    /// A temporary gidnumber that no other item of the run gets. `first` is the first number of the
    /// run. The range is 1879048192 to 2147483647, which Kanidm accepts and directories hardly use.
    pub(super) fn temporary_gid(self, first: u32) -> u32 {
        const RANGE: u32 = 1 << 28;
        const START: u32 = 1_879_048_192;
        let (Item::Record(at) | Item::Held(at)) = self;
        let number = first.wrapping_add(u32::try_from(at).unwrap_or_default()) % RANGE;
        START.saturating_add(number)
    }

    /// The UUID of the item in Kanidm.
    pub(super) fn uuid(self, input: &Upload<'_>) -> Uuid {
        match self {
            Item::Record(_) => self.record(input).map(|r| r.uuid),
            Item::Held(at) => input.stubs.get(at).map(|(uuid, _)| *uuid),
        }
        .unwrap_or_default()
    }

    /// The DN of the item.
    pub(super) fn dn(self, input: &Upload<'_>) -> String {
        match self {
            Item::Record(_) => self.record(input).map(|r| input.changes.external_id(r)),
            Item::Held(at) => input.stubs.get(at).map(|(_, dn)| dn.clone()),
        }
        .unwrap_or_default()
    }

    /// The bytes before [`rest`](Self::rest): a comma, and the fixed head of an entry with content.
    pub(super) fn head(self, input: &Upload<'_>, form: Form) -> &'static [u8] {
        match self.record(input) {
            Some(record) if form == Form::Full => input.changes.head(record),
            _ => COMMA,
        }
    }

    /// The bytes after [`head`](Self::head). Content is borrowed, not copied.
    pub(super) fn rest<'a>(self, input: &Upload<'a>, form: Form) -> Cow<'a, [u8]> {
        match self.record(input) {
            Some(record) if form == Form::Full => Cow::Borrowed(input.changes.rest(record)),
            _ => self.render(input, form),
        }
    }

    /// The item as a JSON object.
    pub(super) fn render<'a>(self, input: &Upload<'a>, form: Form) -> Cow<'a, [u8]> {
        let dn = match self.record(input) {
            Some(record) if form == Form::Full => return Cow::Owned(input.changes.json(record)),
            Some(record) => Cow::Borrowed(input.changes.external_id_json(record)),
            None => Cow::Owned(json::text(&self.dn(input))),
        };
        Cow::Owned(stub(self.uuid(input), (form != Form::Bare).then_some(&dn)))
    }
}

/// A JSON object without content. `external_id` is JSON.
pub(super) fn stub(uuid: Uuid, external_id: Option<&[u8]>) -> Vec<u8> {
    const REST: &[u8] = b"\"schemas\":[],\"id\":\"";
    const UUID: usize = 36;
    // Speed matters: a list of all UUIDs makes each stub twice, once to measure the length.
    // `format!` takes five times as long.
    let mut json = Vec::with_capacity(external_id.map_or(0, <[u8]>::len) + REST.len() + UUID + 20);
    json.push(b'{');
    if let Some(id) = external_id {
        json.extend_from_slice(b"\"externalId\":");
        json.extend_from_slice(id);
        json.push(b',');
    }
    json.extend_from_slice(REST);
    json.extend_from_slice(
        uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
    );
    json.extend_from_slice(b"\"}");
    json
}
