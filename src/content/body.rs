//! Entries as JSON trees: those that differ from the change set, and those that no directory has.
//!
//! Scope: taking an entry apart, changing it, and building invented entries. Large runs send the
//! bytes of [`super::changeset`] as they are. A tree is slower, and only needed where Kanidm refuses
//! something.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::account::{Ended, has_ended};
use super::changeset::Kind;
use super::scim::{ACCOUNT, GROUP, PERSON, POSIX_GROUP, POSIX_PERSON};
use super::unique::{Unique, temporary_gid, temporary_name};

/// The attribute that ends an account.
pub const EXPIRE: &str = "account_expire";
const LIMITS: [&str; 2] = [EXPIRE, "account_valid_from"];
/// What Kanidm requires of a person with the schema `account` alone.
const REQUIRED: [&str; 4] = ["externalId", "id", "name", "displayname"];

/// An entry. It has no `Debug`, because it may hold a password hash.
#[derive(Clone)]
pub struct Body(Map<String, Value>);

impl Body {
    /// Takes an entry apart. An entry of [`super::changeset`] is never refused.
    pub fn read(json: &[u8]) -> Body {
        Body(serde_json::from_slice(json).unwrap_or_default())
    }

    /// The entry as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// Removes attributes.
    pub fn without(mut self, attributes: &BTreeSet<String>) -> Body {
        self.0.retain(|key, _| !attributes.contains(key));
        self
    }

    /// Reduces a person to its time limits and the attributes that Kanidm requires with them.
    /// `None` if the person has no limit.
    pub fn only_limits(mut self) -> Option<Body> {
        if !LIMITS.iter().any(|key| self.0.contains_key(*key)) {
            return None;
        }
        self.0.retain(|key, _| LIMITS.contains(&key.as_str()) || REQUIRED.contains(&key.as_str()));
        Some(self.with("schemas", ACCOUNT))
    }

    /// True if the account of a person has ended.
    pub fn has_ended(&self) -> bool {
        self.0.get(EXPIRE).and_then(Value::as_str).is_some_and(has_ended)
    }

    /// Replaces the DN.
    pub fn with_external_id(self, external_id: &str) -> Body {
        self.with("externalId", external_id)
    }

    /// Replaces the name.
    pub fn with_name(self, name: &str) -> Body {
        self.with("name", name)
    }

    /// Replaces the number of an entry that has one.
    pub fn with_other_number(self, number: u32) -> Body {
        if self.0.contains_key("gidnumber") { self.with("gidnumber", number) } else { self }
    }

    /// Replaces the mail addresses. The first one becomes the primary address.
    pub fn with_mails(mut self, addresses: &[&str]) -> Body {
        // Kanidm refuses an empty list.
        if addresses.is_empty() {
            self.0.remove("mail");
            return self;
        }
        let mail = |(at, address): (usize, &&str)| {
            if at == 0 {
                json!({"primary": true, "value": address})
            } else {
                json!({"value": address})
            }
        };
        self.with("mail", addresses.iter().enumerate().map(mail).collect::<Vec<Value>>())
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Body {
        self.0.insert(key.to_owned(), value.into());
        self
    }
}

/// Invented entries, and entries without mapped content.
impl Body {
    /// A person whose account has ended, without mapped content.
    pub fn closed(uuid: Uuid, dn: &str, name: &str, ended: &Ended) -> Body {
        Body::new(ACCOUNT, uuid)
            .with_external_id(dn)
            .with_name(name)
            .with("displayname", ended.displayname.as_str())
            .with(EXPIRE, ended.account_expire.as_str())
    }

    /// An entry with these values, and otherwise with values that no other entry has. A DN is left
    /// out. `None` for the mail addresses of a group.
    pub(crate) fn with_values(uuid: Uuid, kind: Kind, values: &[&Unique]) -> Option<Body> {
        let has_number = values.iter().any(|value| matches!(value, Unique::Gid(_)));
        let schemas = match (kind, has_number) {
            (Kind::Person, false) => PERSON,
            (Kind::Person, true) => POSIX_PERSON,
            (Kind::Group, false) => GROUP,
            (Kind::Group, true) => POSIX_GROUP,
        };
        let mut body = Body::new(schemas, uuid);
        if kind == Kind::Person {
            body = body.with("displayname", "-");
        }
        let mut mails = Vec::new();
        for value in values {
            body = match value {
                Unique::Dn(_) => body,
                Unique::Name(name) => body.with_name(name),
                Unique::Gid(number) => body.with("gidnumber", *number),
                Unique::Mail(address) => {
                    mails.push(address.as_str());
                    body
                }
            };
        }
        if kind == Kind::Group && !mails.is_empty() {
            return None;
        }
        Some(body.with_mails(&mails))
    }

    /// An entry that Kanidm refuses after all other checks, the comparison of values included: it
    /// has no display name.
    pub fn without_display_name(uuid: Uuid) -> Body {
        Body::new(PERSON, uuid)
    }

    /// An entry that Kanidm refuses when it reads the attributes: one has a value of the wrong type.
    /// It is an attribute that cannot be yielded.
    pub fn unreadable(uuid: Uuid) -> Body {
        let mut body = Body::new(PERSON, uuid).with("password_import", 0);
        body.0.remove("name");
        body
    }

    /// One entry for each attribute that this program sends and that can be yielded, with only this
    /// attribute. Imported passwords cannot be yielded.
    pub fn of_each_attribute(uuid: Uuid) -> Vec<(&'static str, Body)> {
        let person = [
            ("name", json!(temporary_name(uuid))),
            ("displayname", json!("-")),
            ("legalname", json!("-")),
            ("mail", json!([{"primary": true, "value": format!("{uuid}@example.com")}])),
            (
                "ssh_publickey",
                json!([{"label": "-", "value": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"}]),
            ),
            ("gidnumber", json!(temporary_gid(uuid))),
            ("loginshell", json!("/bin/sh")),
            ("account_valid_from", json!("1970-01-01T00:00:00Z")),
            (EXPIRE, json!("1970-01-01T00:00:00Z")),
        ];
        let group = [
            ("description", json!("-")),
            ("member", json!([{"external_id": format!("tmp-{uuid}-nobody")}])),
        ];
        let person = person.into_iter().map(|(key, value)| (POSIX_PERSON, key, value));
        let group = group.into_iter().map(|(key, value)| (POSIX_GROUP, key, value));
        let body = |(n, (schemas, key, value)): (u128, (&[&str], &'static str, Value))| {
            let mut body = Body::new(schemas, Uuid::from_u128(uuid.as_u128() ^ n));
            body.0.remove("name");
            (key, body.with(key, value))
        };
        (1..).zip(person.chain(group)).map(body).collect()
    }

    /// Entries that every Kanidm refuses, even if a later version drops one of its checks. They have
    /// values of the wrong type, lack mandatory attributes, and use a number that Kanidm reserves.
    pub fn wrong_in_every_way(run: Uuid) -> [Body; 3] {
        let uuid = |n: u128| Uuid::from_u128(run.as_u128() ^ n);
        [
            Body::new(GROUP, uuid(1))
                .with("name", true)
                .with("description", json!([]))
                .with("member", "none"),
            Body::unreadable(uuid(2)),
            Body::new(POSIX_PERSON, uuid(3))
                .with_name("-")
                .with("displayname", "")
                .with("gidnumber", 0),
        ]
    }

    /// An entry with a name and a DN that no other entry has.
    fn new(schemas: &[&str], uuid: Uuid) -> Body {
        Body(Map::new())
            .with("schemas", schemas)
            .with("id", uuid.to_string())
            .with_external_id(&format!("tmp-{uuid}"))
            .with_name(&temporary_name(uuid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::scim::ScimPerson;

    fn text(body: &Body) -> String {
        String::from_utf8(body.to_bytes()).unwrap()
    }

    #[test]
    fn the_first_address_is_the_primary_one() {
        let person = || Body::read(br#"{"id":"1","mail":[{"primary":true,"value":"a@x"}]}"#);
        assert_eq!(
            text(&person().with_mails(&["c@x", "d@x"])),
            r#"{"id":"1","mail":[{"primary":true,"value":"c@x"},{"value":"d@x"}]}"#
        );
        assert_eq!(text(&person().with_mails(&[])), r#"{"id":"1"}"#);
    }

    #[test]
    fn limits_go_without_the_rest() {
        let person = Body::read(
            br#"{"schemas":["a"],"externalId":"uid=a","id":"1","name":"a","displayname":"A","mail":[],"account_expire":"2020-01-01T00:00:00Z"}"#,
        );
        let limits = person.only_limits().unwrap();
        assert!(limits.has_ended());
        let ended = Ended {
            name: None,
            displayname: "A".into(),
            account_expire: "2020-01-01T00:00:00Z".into(),
        };
        let closed = Body::closed(Uuid::nil(), "uid=a", "a", &ended).with("id", "1");
        assert_eq!(text(&limits), text(&closed));
        assert!(Body::read(br#"{"name":"a"}"#).only_limits().is_none());
    }

    #[test]
    fn every_attribute_that_is_sent_has_its_entry() {
        let attributes: BTreeSet<&str> =
            Body::of_each_attribute(Uuid::nil()).iter().map(|(attribute, _)| *attribute).collect();
        let mut sent = Vec::new();
        let person = ScimPerson {
            id: Uuid::nil(),
            name: "a",
            displayname: "a",
            legalname: Some("a"),
            gidnumber: Some(2000),
            loginshell: Some("a"),
            password_import: None,
            unix_password_import: None,
            mail: ["a@b.c"].into_iter(),
            ssh_publickey: [("a", "b")].into_iter(),
            account_valid_from: Some("a"),
            account_expire: Some("a"),
            totp_room: 0,
        };
        person.write(&mut sent);
        let keys = Body::read(&sent).0;
        for key in keys.keys().map(String::as_str).chain(["description", "member"]) {
            assert!(key == "id" || attributes.contains(key), "{key}");
        }
    }
}
