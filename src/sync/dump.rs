//! `--proto-dump`: the entries from LDAP and the entries for Kanidm as one JSON object. Password
//! hashes are redacted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ldap_content_sync::search::SearchResultEntry;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::observe::ReadStep;
use crate::config::sync::MappingConfig;
use crate::content::changeset::ChangeSet;
use crate::kanidm::request::Retention;

/// Replaces a secret.
const REDACTED: &str = "<redacted>";

/// Attributes that hold secrets in common schemas, in lower case. They are redacted whether the
/// configuration maps them or not.
const SECRET_ATTRIBUTES: &[&str] = &[
    "userpassword",
    "unixuserpassword",
    "authpassword",
    "ipanthash",
    "sambantpassword",
    "sambalmpassword",
    "krbprincipalkey",
    "userpkcs12",
    "oathsecret",
    "oathtokenpin",
];

/// Keys of a SCIM entry that hold secrets.
const SECRET_KEYS: &[&str] = &["password_import", "unix_password_import", "totp_import"];

/// The entries that a run receives.
#[derive(Debug)]
pub struct Dump {
    password_attribute: String,
    entries: Vec<Value>,
}

impl Dump {
    /// An empty dump. It redacts the mapped password attribute under any name.
    pub fn new(mapping: &MappingConfig) -> Self {
        Dump { password_attribute: base(&mapping.person.password), entries: Vec::new() }
    }

    /// Records one step.
    pub fn step(&mut self, step: &ReadStep<'_>) {
        match step {
            ReadStep::Received(uuid, entry) => self.entries.push(self.entry(*uuid, entry)),
            ReadStep::StartedOver => self.entries.clear(),
        }
    }

    /// The whole dump.
    pub fn finish(self, changes: &ChangeSet, retention: &Retention) -> Value {
        let retain = match retention {
            Retention::Ignore => json!("Ignore"),
            Retention::Retain(uuids) => json!({ "Retain": uuids }),
            Retention::Delete(uuids) => json!({ "Delete": uuids }),
        };
        let entries: Vec<Value> =
            changes.records().iter().map(|record| scim(&changes.json(record))).collect();
        json!({ "ldap": self.entries, "scim": { "entries": entries, "retain": retain } })
    }

    fn entry(&self, uuid: Uuid, entry: &SearchResultEntry<'_>) -> Value {
        let mut attributes = Map::new();
        for attribute in entry.attributes() {
            let values = attribute.values().map(|v| {
                if self.is_secret(attribute.description()) { json!(REDACTED) } else { text(v) }
            });
            // An attribute can come in several parts.
            if let Value::Array(all) =
                attributes.entry(attribute.description()).or_insert_with(|| json!([]))
            {
                all.extend(values);
            }
        }
        json!({ "syncuuid": uuid, "dn": entry.dn(), "attributes": attributes })
    }

    fn is_secret(&self, description: &str) -> bool {
        let base = base(description);
        base == self.password_attribute || SECRET_ATTRIBUTES.contains(&base.as_str())
    }
}

/// The name of an attribute without its options (RFC 4512 §2.5), in lower case.
fn base(description: &str) -> String {
    description.split(';').next().unwrap_or_default().to_ascii_lowercase()
}

fn text(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(value) }),
    }
}

fn scim(entry: &[u8]) -> Value {
    // Our own serialisation always parses.
    let mut value: Value = serde_json::from_slice(entry).unwrap_or_default();
    for key in SECRET_KEYS {
        if let Some(secret) = value.get_mut(key) {
            *secret = json!(REDACTED);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_do_not_make_a_secret_a_public_attribute() {
        for configured in ["myHash;x-a", "MYHASH", "myhash;x-b;x-a"] {
            let dump = Dump { password_attribute: base(configured), entries: Vec::new() };
            for secret in ["myHash;x-a", "myhash", "MyHash;x-c", "userPassword;x-a"] {
                assert!(dump.is_secret(secret), "{configured}: {secret}");
            }
            assert!(!dump.is_secret("myHashes") && !dump.is_secret("cn;x-a"), "{configured}");
        }
    }
}
