//! The attributes that a configuration maps, as [`Role`]s.
//!
//! Scope: the bits of [`crate::content::shown::Mask`] and the configuration keys.

use super::{group, lock, person};
use crate::config::sync::MappingConfig;
use crate::content::changeset::Kind;
use crate::content::shown::{Role, SEVERAL};

/// Number of lock attributes, with the password as the last one, because its value may carry a lock
/// mark. Each has two bits. All bits for "limits the account" come before those for "has a value".
const LOCKS: u32 = lock::ATTRIBUTES.len() as u32 + 1;

/// The keys of person attributes, in the order of their bits.
pub(crate) const PERSON_KEYS: [&str; person::FIELDS - 1 - lock::ATTRIBUTES.len()] = [
    "person_attr_user_name",
    "person_attr_display_name",
    "person_attr_legal_name",
    "person_attr_gidnumber",
    "person_attr_login_shell",
    PASSWORD_KEY,
    "person_attr_mail",
    "person_attr_ssh_public_key",
    TOTP_KEY,
];

/// The key of the attribute that holds passwords.
pub const PASSWORD_KEY: &str = "person_attr_password";
/// The key of the attribute that names TOTP tokens.
pub const TOTP_KEY: &str = "person_attr_totp";
/// The key of the attributes that lock accounts or limit their time.
pub const LOCK_KEY: &str = "sync_account_lock";

/// The keys of group attributes other than the members, in the order of their bits.
pub(crate) const GROUP_KEYS: [&str; 3] =
    ["group_attr_name", "group_attr_description", "group_attr_gidnumber"];
/// The key of the attributes that hold members.
pub const MEMBER_KEY: &str = "group_attr_member";

/// The roles that a configuration maps.
pub fn roles(cfg: &MappingConfig) -> Vec<Role> {
    let [_, persons @ ..] = person::names(&cfg.person);
    let locked_password = if cfg.person.account_lock { cfg.person.password.as_str() } else { "" };
    let person_keys = PERSON_KEYS.into_iter().chain(std::iter::repeat(LOCK_KEY));
    let group_keys = GROUP_KEYS.into_iter().chain([MEMBER_KEY]);
    let [name, description, gidnumber, ..] = group::names(&cfg.group);
    let members = cfg.group.members.join(SEVERAL);
    let role = |kind| {
        move |((bit, key), attribute): ((u32, &'static str), &str)| {
            let is_lock = key == LOCK_KEY;
            let value_bit = if is_lock { bit + LOCKS } else { bit };
            Role { kind, key, attribute: attribute.to_owned(), is_lock, bit, value_bit }
        }
    };
    let persons = (0..)
        .zip(person_keys)
        .zip(persons.into_iter().chain([locked_password]))
        .map(role(Kind::Person));
    let groups =
        (0..).zip(group_keys).zip([name, description, gidnumber, &members]).map(role(Kind::Group));
    persons.chain(groups).filter(|role| !role.attribute.is_empty()).collect()
}
