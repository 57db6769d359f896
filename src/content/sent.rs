//! The values that Kanidm gets, as text for people.
//!
//! Scope: reading an entry of [`super::changeset`]. It never returns a password hash.

use serde_json::{Map, Value};

/// An entry that is written for Kanidm. It has no `Debug`, because it may hold a password hash.
pub struct Sent(Map<String, Value>);

impl Sent {
    /// Reads the JSON of an entry.
    pub fn read(json: &[u8]) -> Sent {
        Sent(serde_json::from_slice(json).unwrap_or_default())
    }

    /// The values of an attribute: texts and numbers as they are, addresses, the labels of keys. A
    /// password hash is named, never shown.
    pub fn texts(&self, attribute: &str) -> Vec<String> {
        let Some(value) = self.0.get(attribute) else { return Vec::new() };
        match (attribute, value) {
            ("password_import", _) => vec!["a password hash".to_owned()],
            ("unix_password_import", _) => vec!["a hash for the unix password".to_owned()],
            (_, Value::String(text)) => vec![text.clone()],
            (_, Value::Number(number)) => vec![number.to_string()],
            (_, Value::Array(items)) => items.iter().filter_map(item).collect(),
            _ => Vec::new(),
        }
    }
}

/// The label of a key, or the address of a mailbox.
fn item(item: &Value) -> Option<String> {
    let text = |key| item.get(key).and_then(Value::as_str).map(str::to_owned);
    text("label").or_else(|| text("value")).or_else(|| text("external_id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_and_a_hash_is_none() {
        let sent = Sent::read(
            br#"{"name":"a","gidnumber":7,"mail":[{"primary":true,"value":"a@b"}],
            "ssh_publickey":[{"label":"rsa:x","value":"ssh-rsa AAAA secret"}],
            "password_import":"{SSHA}hash","unix_password_import":"{SSHA}hash"}"#,
        );
        let texts = |attribute| sent.texts(attribute).join(" ");
        assert_eq!(texts("name") + " " + &texts("gidnumber"), "a 7");
        assert_eq!(texts("mail") + " " + &texts("ssh_publickey"), "a@b rsa:x");
        assert_eq!(texts("password_import"), "a password hash");
        assert_eq!(texts("unix_password_import"), "a hash for the unix password");
        assert_eq!(texts("loginshell"), "");
        assert!(Sent::read(b"no json").texts("name").is_empty());
    }
}
