//! The attributes of an oversized entry: the small ones are kept, the others only named.

use super::element;
use crate::ber::{OCTET_STRING, SEQUENCE, SET};

/// Maximum number of attributes that the reader distinguishes, and maximum bytes of their
/// descriptions.
const MAX_ATTRIBUTES: usize = 64;
const MAX_ATTRIBUTE_NAME: usize = 256;

pub(super) struct Attributes {
    /// Maximum bytes of one attribute that is kept.
    max: usize,
    list: Vec<Attribute>,
    /// True if the entry had more attributes than the reader distinguishes.
    more: bool,
}

/// All parts of one attribute.
struct Attribute {
    name: String,
    /// Encoded parts in the order received. Empty once they exceed the limit.
    parts: Vec<u8>,
    size: usize,
    left_out: bool,
}

impl Attributes {
    /// For an entry larger than `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Attributes { max: limit / MAX_ATTRIBUTES, list: Vec::new(), more: false }
    }

    /// Counts a part with `size` bytes of values. Returns the index of its attribute if the part
    /// is kept. An attribute with options is dropped, because searches request attributes without
    /// options.
    pub(super) fn choose(&mut self, name: &str, size: usize) -> Option<usize> {
        if name.contains(';') {
            return None;
        }
        let index = self.find_or_add(name)?;
        let attribute = self.list.get_mut(index)?;
        attribute.size = attribute.size.saturating_add(size).saturating_add(name.len());
        if attribute.size > self.max {
            attribute.left_out = true;
            attribute.parts = Vec::new();
        }
        (!attribute.left_out).then_some(index)
    }

    fn find_or_add(&mut self, name: &str) -> Option<usize> {
        let known = self.list.iter().position(|known| known.name.eq_ignore_ascii_case(name));
        if known.is_some() {
            return known;
        }
        if self.list.len() == MAX_ATTRIBUTES || name.len() > MAX_ATTRIBUTE_NAME {
            self.more = true;
            return None;
        }
        let (name, parts) = (name.to_owned(), Vec::new());
        self.list.push(Attribute { name, parts, size: 0, left_out: false });
        self.list.len().checked_sub(1)
    }

    /// Adds a part that [`choose`](Self::choose) kept. `values` are encoded.
    pub(super) fn add(&mut self, index: usize, description: &[u8], values: &[u8]) {
        if let Some(attribute) = self.list.get_mut(index) {
            let part = [element(OCTET_STRING, &[description]), element(SET, &[values])];
            attribute.parts.extend_from_slice(&element(SEQUENCE, &[&part.concat()]));
        }
    }

    /// The kept attributes as `SearchResultEntry.attributes`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let parts: Vec<&[u8]> =
            self.list.iter().map(|attribute| attribute.parts.as_slice()).collect();
        element(SEQUENCE, &parts)
    }

    /// The names of the attributes that were left out, and whether there were more.
    pub(super) fn into_left_out(self) -> (Vec<String>, bool) {
        let left_out = self.list.into_iter().filter(|attribute| attribute.left_out);
        (left_out.map(|attribute| attribute.name).collect(), self.more)
    }
}
