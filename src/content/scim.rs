//! The SCIM wire types of Kanidm's `/scim/v1/Sync`.
//!
//! Scope: an entry in a request. The types borrow everything, because an entry is written once,
//! straight into the arena of [`super::changeset::ChangeSet`]. They have no fields for `schemas`
//! and `externalId`. Many entries share the same `schemas`. The arena writes `externalId` first,
//! where it can be found again without parsing.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::changeset::Kind;
use super::json::{self, Object};
use super::rules::totp::{MAX_SECRET, Totp, TotpParams};

/// `schemas` that change only the names and the time limits of a person.
pub const ACCOUNT: &[&str] = &["urn:ietf:params:scim:schemas:kanidm:sync:1:account"];
/// `schemas` of a person without a gidnumber.
pub const PERSON: &[&str] = &[
    "urn:ietf:params:scim:schemas:kanidm:sync:1:account",
    "urn:ietf:params:scim:schemas:kanidm:sync:1:person",
];
/// `schemas` of a person with a gidnumber.
pub const POSIX_PERSON: &[&str] = &[
    "urn:ietf:params:scim:schemas:kanidm:sync:1:account",
    "urn:ietf:params:scim:schemas:kanidm:sync:1:person",
    "urn:ietf:params:scim:schemas:kanidm:sync:1:posixaccount",
];
/// `schemas` of a group without a gidnumber.
pub const GROUP: &[&str] = &["urn:ietf:params:scim:schemas:kanidm:sync:1:group"];
/// `schemas` of a group with a gidnumber.
pub const POSIX_GROUP: &[&str] = &[
    "urn:ietf:params:scim:schemas:kanidm:sync:1:group",
    "urn:ietf:params:scim:schemas:kanidm:sync:1:posixgroup",
];

/// The `schemas` of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schemas {
    /// [`PERSON`]
    Person,
    /// [`POSIX_PERSON`]
    PosixPerson,
    /// [`GROUP`]
    Group,
    /// [`POSIX_GROUP`]
    PosixGroup,
}

impl Schemas {
    /// Person or group.
    pub fn kind(self) -> Kind {
        match self {
            Schemas::Person | Schemas::PosixPerson => Kind::Person,
            Schemas::Group | Schemas::PosixGroup => Kind::Group,
        }
    }

    /// The fixed start of an entry: the comma after the previous entry, and the JSON text up to the
    /// value of `externalId`. It is a quarter of an entry, and the same for many. The arena
    /// therefore does not store it.
    pub fn head(self) -> &'static [u8] {
        macro_rules! head {
            ($($schema:literal),+) => {
                concat!(",{\"schemas\":[", $("\"urn:ietf:params:scim:schemas:kanidm:sync:1:", $schema),+, "\"],\"externalId\":").as_bytes()
            };
        }
        match self {
            Schemas::Person => head!("account\",", "person"),
            Schemas::PosixPerson => head!("account\",", "person\",", "posixaccount"),
            Schemas::Group => head!("group"),
            Schemas::PosixGroup => head!("group\",", "posixgroup"),
        }
    }
}

/// The places of an entry's values in the buffer that it was written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The text of the name. A valid name needs no escapes.
    pub name: Range<usize>,
    /// The list of mail addresses. Empty if there are none.
    pub mail: Range<usize>,
    /// `password_import` with the comma before it. Empty if there is none.
    pub password: Range<usize>,
    /// The room for `totp_import`. Empty if there is none.
    pub totp_room: Range<usize>,
}

/// A person, without `schemas` and `externalId`. Values that are `None` or empty are left out.
/// Kanidm then clears the attribute, with the exceptions below. The type has no `Debug`, because it
/// holds password hashes.
pub struct ScimPerson<'a, M, K> {
    /// The UUID of the entry in Kanidm.
    pub id: Uuid,
    /// Lower-cased account name.
    pub name: &'a str,
    /// Never empty.
    pub displayname: &'a str,
    /// One line.
    pub legalname: Option<&'a str>,
    /// In one of Kanidm's ranges ([`super::rules::gidnumber_range`]). If absent, Kanidm keeps the
    /// number that it has.
    pub gidnumber: Option<u32>,
    /// Only with a gidnumber: Kanidm refuses the request otherwise.
    pub loginshell: Option<&'a str>,
    /// A hash that Kanidm imports ([`super::rules::password::check`]).
    pub password_import: Option<&'a str>,
    /// Only with a gidnumber: Kanidm refuses the request otherwise. If absent, Kanidm keeps the
    /// hash that it has.
    pub unix_password_import: Option<&'a str>,
    /// Mail addresses. The first one becomes the primary address.
    pub mail: M,
    /// OpenSSH public keys (type, base64, comment), each after its label. Labels are unique within
    /// the person.
    pub ssh_publickey: K,
    /// RFC 3339.
    pub account_valid_from: Option<&'a str>,
    /// RFC 3339.
    pub account_expire: Option<&'a str>,
    /// Bytes to keep free for `totp_import` ([`totp_room`]), which
    /// [`super::changeset::ChangeSet::write_totp`] writes.
    pub totp_room: usize,
}

impl<'a, M: Iterator<Item = &'a str>, K: Iterator<Item = (&'a str, &'a str)>> ScimPerson<'a, M, K> {
    /// The `schemas` of the person.
    pub fn schemas(&self) -> Schemas {
        if self.gidnumber.is_some() { Schemas::PosixPerson } else { Schemas::Person }
    }

    /// Writes the person as a JSON object.
    pub fn write(self, out: &mut Vec<u8>) -> Places {
        let mut object = Object::begin(out);
        object.uuid("id", self.id);
        let name = object.text("name", self.name);
        object.text("displayname", self.displayname);
        object.optional_text("legalname", self.legalname);
        object.optional_number("gidnumber", self.gidnumber);
        object.optional_text("loginshell", self.loginshell);
        let password = object.optional_text("password_import", self.password_import);
        object.optional_text("unix_password_import", self.unix_password_import);
        // Kanidm refuses empty lists.
        let mail = object.optional_list("mail", self.mail.enumerate(), |out, (at, address)| {
            let mut mail = Object::begin(out);
            if at == 0 {
                mail.yes("primary");
            }
            mail.text("value", address);
            mail.end();
        });
        object.optional_list("ssh_publickey", self.ssh_publickey, |out, (label, value)| {
            let mut key = Object::begin(out);
            key.text("label", label);
            key.text("value", value);
            key.end();
        });
        object.optional_text("account_valid_from", self.account_valid_from);
        object.optional_text("account_expire", self.account_expire);
        let totp_room = object.room(self.totp_room);
        object.end();
        Places { name, mail, password, totp_room }
    }
}

/// A token of a person. Kanidm shows its label to the person.
pub type ScimTotp<'a> = (&'a str, &'a Totp);

/// Enough bytes for `totp_import` with one token for each label, whatever the tokens are.
pub fn totp_room<'l>(labels: impl Iterator<Item = &'l str>) -> usize {
    // Keys, punctuation and numbers.
    const TOKEN: usize = 72 + MAX_SECRET.div_ceil(3) * 4;
    const LIST: usize = 20;
    labels.fold(LIST, |room, label| room.saturating_add(TOKEN + json::text(label).len()))
}

/// Writes `totp_import` with the comma before it. Labels are unique within the person.
pub(super) fn write_totp(out: &mut Vec<u8>, tokens: &[ScimTotp<'_>]) {
    let mut object = Object::begin(out);
    object.list("totp_import", tokens.iter(), |out, (label, totp)| {
        let TotpParams { algorithm, digits, step } = totp.params();
        let mut token = Object::begin(out);
        token.text("external_id", label);
        token.text("secret", &STANDARD.encode(totp.secret()));
        token.text("algo", algorithm.name());
        token.optional_number("step", Some(step));
        token.optional_number("digits", Some(digits));
        token.end();
    });
    // The opening brace becomes the comma. The object around it has the closing one.
    if let Some(brace) = out.first_mut() {
        *brace = b',';
    }
}

/// A group, without `schemas`, `externalId` and `member`, which
/// [`super::changeset::ChangeSet::push_group`] writes.
#[derive(Debug)]
pub struct ScimGroup<'a> {
    /// The UUID of the entry in Kanidm.
    pub id: Uuid,
    /// Lower-cased group name.
    pub name: &'a str,
    /// One line.
    pub description: Option<&'a str>,
    /// In one of Kanidm's ranges ([`super::rules::gidnumber_range`]).
    pub gidnumber: Option<u32>,
}

impl ScimGroup<'_> {
    /// The `schemas` of the group.
    pub fn schemas(&self) -> Schemas {
        if self.gidnumber.is_some() { Schemas::PosixGroup } else { Schemas::Group }
    }

    /// Writes the group as a JSON object.
    pub fn write(&self, out: &mut Vec<u8>) -> Places {
        let mut object = Object::begin(out);
        object.uuid("id", self.id);
        let name = object.text("name", self.name);
        object.optional_text("description", self.description);
        object.optional_number("gidnumber", self.gidnumber);
        object.end();
        Places { name, ..Places::default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn heads_hold_the_schemas() {
        for (schemas, list) in [
            (Schemas::Person, PERSON),
            (Schemas::PosixPerson, POSIX_PERSON),
            (Schemas::Group, GROUP),
            (Schemas::PosixGroup, POSIX_GROUP),
        ] {
            let entry = [schemas.head(), b"1}"].concat();
            let (comma, entry) = entry.split_first().unwrap();
            let entry: Value = serde_json::from_slice(entry).unwrap();
            assert_eq!((*comma, entry), (b',', json!({"schemas": list, "externalId": 1})));
        }
    }
}
