//! The SCIM wire types of Kanidm's `/scim/v1/Sync`: what an entry looks like in a request.
//!
//! Everything borrows: an entry is serialised once, straight into the arena of [`crate::sync::changeset::ChangeSet`].
//! `externalId` is not a field here: the arena writes it first, where it can be found again without parsing.

use serde::{Serialize, Serializer};
use uuid::Uuid;

/// `schemas` of a person without a gidnumber.
pub const PERSON: &[&str] = &["urn:ietf:params:scim:schemas:kanidm:sync:1:account", "urn:ietf:params:scim:schemas:kanidm:sync:1:person"];
/// `schemas` of a person with a gidnumber.
pub const POSIX_PERSON: &[&str] = &[
    "urn:ietf:params:scim:schemas:kanidm:sync:1:account",
    "urn:ietf:params:scim:schemas:kanidm:sync:1:person",
    "urn:ietf:params:scim:schemas:kanidm:sync:1:posixaccount",
];
/// `schemas` of a group without a gidnumber.
pub const GROUP: &[&str] = &["urn:ietf:params:scim:schemas:kanidm:sync:1:group"];
/// `schemas` of a group with a gidnumber.
pub const POSIX_GROUP: &[&str] =
    &["urn:ietf:params:scim:schemas:kanidm:sync:1:group", "urn:ietf:params:scim:schemas:kanidm:sync:1:posixgroup"];

/// A person, without its `externalId`. What is `None` is left out, and Kanidm clears it. No `Debug`: it holds password hashes.
#[derive(Serialize)]
pub struct ScimPerson<'a, M: Serialize, K: Serialize> {
    /// [`PERSON`] or [`POSIX_PERSON`].
    pub schemas: &'static [&'static str],
    /// The UUID the entry has in Kanidm.
    pub id: Uuid,
    /// Lower-cased account name.
    pub name: &'a str,
    /// Never empty.
    pub displayname: &'a str,
    /// One line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legalname: Option<&'a str>,
    /// In one of Kanidm's ranges ([`crate::mapping::validate::gidnumber_range`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gidnumber: Option<u32>,
    /// Only with a gidnumber: Kanidm refuses the request otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loginshell: Option<&'a str>,
    /// A hash that Kanidm imports ([`crate::mapping::password::check`]). Absent, Kanidm keeps the one it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_import: Option<&'a str>,
    /// Only with a gidnumber: Kanidm refuses the request otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_password_import: Option<&'a str>,
    /// A sequence of [`ScimMail`], not empty: Kanidm refuses empty lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<M>,
    /// A sequence of [`ScimSshKey`], not empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_publickey: Option<K>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_valid_from: Option<&'a str>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_expire: Option<&'a str>,
}

/// A sequence that is serialised as it is made.
pub struct Sequence<I>(pub I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Sequence<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// One mail address; the first of a person is its primary one.
#[derive(Debug, Serialize)]
pub struct ScimMail<'a> {
    /// For one address of a person, the first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub primary: bool,
    /// The address.
    pub value: &'a str,
}

/// One OpenSSH public key.
#[derive(Debug, Serialize)]
pub struct ScimSshKey<'a> {
    /// Unique within the person.
    pub label: &'a str,
    /// Type, base64, comment.
    pub value: &'a str,
}

/// A group, without its `externalId` and without its `member`, which [`crate::sync::changeset::ChangeSet::push_group`] writes.
#[derive(Debug, Serialize)]
pub struct ScimGroup<'a> {
    /// [`GROUP`] or [`POSIX_GROUP`].
    pub schemas: &'static [&'static str],
    /// The UUID the entry has in Kanidm.
    pub id: Uuid,
    /// Lower-cased group name.
    pub name: &'a str,
    /// One line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
    /// In one of Kanidm's ranges ([`crate::mapping::validate::gidnumber_range`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gidnumber: Option<u32>,
}

/// An object without content: makes the entry where it is missing, and leaves the content of an existing one untouched.
#[derive(Debug, Serialize)]
pub struct ScimStub {
    /// Empty.
    pub schemas: [&'static str; 0],
    /// The UUID the entry has in Kanidm.
    pub id: Uuid,
}
