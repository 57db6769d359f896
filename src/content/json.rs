//! A JSON writer for entries.
//!
//! Scope: objects, texts, numbers and lists, written straight into a buffer. serde_json checks a
//! text octet by octet, which took a fifth of the time for a person. Nearly every text needs no
//! escapes. A loop that the compiler turns into vector instructions finds these texts, and they are
//! copied whole. Only the others go to serde_json.

use std::ops::Range;

use uuid::Uuid;

/// Writes a text with its quotes.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    // Without an early end, the loop checks many octets at once.
    let escaped =
        text.bytes().fold(false, |found, b| found | (b < b' ') | (b == b'"') | (b == b'\\'));
    if escaped {
        // Writing a text into memory cannot fail.
        let _ = serde_json::to_writer(out, text);
    } else {
        write_plain(out, text.as_bytes());
    }
}

/// A text with its quotes.
pub fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().saturating_add(2));
    write_text(&mut out, text);
    out
}

fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// An object that is being written. Its keys must need no escapes.
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Begins the object.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Writes a text, and returns its place in the buffer, without the quotes.
    pub fn text(&mut self, key: &'static str, value: &str) -> Range<usize> {
        let out = self.key(key);
        let start = out.len() + 1;
        write_text(out, value);
        start..out.len() - 1
    }

    /// Writes a text, or nothing for `None`. Returns the place of key and text, with the comma
    /// before them.
    pub fn optional_text(&mut self, key: &'static str, value: Option<&str>) -> Range<usize> {
        let start = self.out.len();
        if let Some(value) = value {
            self.text(key, value);
        }
        start..self.out.len()
    }

    /// Keeps room for keys that are written later. Blanks between the keys of an object mean
    /// nothing.
    pub fn room(&mut self, bytes: usize) -> Range<usize> {
        let start = self.out.len();
        self.out.resize(start.saturating_add(bytes), b' ');
        start..self.out.len()
    }

    /// Writes a number, or nothing for `None`.
    pub fn optional_number(&mut self, key: &'static str, value: Option<u32>) {
        if let Some(value) = value {
            self.key(key).extend_from_slice(value.to_string().as_bytes());
        }
    }

    /// Writes `true`.
    pub fn yes(&mut self, key: &'static str) {
        self.key(key).extend_from_slice(b"true");
    }

    /// Writes a UUID as text.
    pub fn uuid(&mut self, key: &'static str, value: Uuid) {
        write_plain(
            self.key(key),
            value.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
        );
    }

    /// Writes a list. `write` writes each item.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) {
        let out = self.key(key);
        out.push(b'[');
        for (at, item) in items.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(out, item);
        }
        out.push(b']');
    }

    /// Writes a list, or nothing if it has no items. Returns its place in the buffer.
    pub fn optional_list<T>(
        &mut self,
        key: &'static str,
        items: impl Iterator<Item = T>,
        write: impl FnMut(&mut Vec<u8>, T),
    ) -> Range<usize> {
        let (mut items, start) = (items.peekable(), self.out.len());
        if items.peek().is_some() {
            self.list(key, items, write);
        }
        start..self.out.len()
    }

    /// Ends the object.
    pub fn end(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        write_plain(self.out, key.as_bytes());
        self.out.push(b':');
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_serde_json_makes_of_them() {
        let every_ascii: String = (0..128_u8).map(char::from).collect();
        let long = "x".repeat(1000);
        for text in [
            "",
            "plain",
            "\"",
            "\\",
            "a\nb",
            "\u{1}",
            "\u{7f}",
            "Zoë 太郎",
            "end\"",
            &every_ascii,
            &long,
        ] {
            let mut out = Vec::new();
            write_text(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn objects() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "1");
        object.optional_text("b", None);
        object.optional_number("c", Some(7));
        object.yes("d");
        object.uuid("e", Uuid::from_u128(1));
        object.list("f", ["x", "y"].into_iter(), write_text);
        object.list("g", std::iter::empty(), write_text);
        object.optional_list("h", std::iter::empty(), write_text);
        object.end();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            r#"{"a":"1","c":7,"d":true,"e":"00000000-0000-0000-0000-000000000001","f":["x","y"],"g":[]}"#
        );
    }
}
