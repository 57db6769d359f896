//! Which mapped attributes the directory shows of an entry.
//!
//! Scope: one bit an attribute. An access rule that hides an attribute leaves no trace in the
//! answer, so the guard counts who shows it. Counted is the attribute as it comes, before any rule
//! of Kanidm: a value that cannot be imported is there all the same. Lock attributes count where
//! they lock the account or limit its time: `nsAccountLock: FALSE` takes nothing away when it goes.

use super::{group, lock, person};
use crate::config::sync::MappingConfig;
use crate::sync::changeset::Kind;

/// A bit for each attribute, in the order of `person::names` after the object class, or of
/// `group::names`. Lock attributes have a second bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask(u32);

impl Mask {
    /// Whether the entry shows the attribute of a role of its kind.
    pub fn has(self, role: &Role) -> bool {
        self.0 & (1 << role.bit) != 0
    }

    /// Whether the entry has a value of a lock attribute, be it one that limits nothing. The same as
    /// [`Mask::has`] for other attributes.
    pub fn has_value(self, role: &Role) -> bool {
        self.0 & (1 << role.value_bit) != 0
    }

    /// Every attribute: of an entry that was not read it is not known that it lacks any.
    pub(super) const ALL: Mask = Mask(u32::MAX);

    /// The attributes of both.
    pub(super) fn and(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }

    /// From what is asked of each attribute, in order.
    pub(super) fn of(shown: impl Iterator<Item = bool>) -> Mask {
        Mask(shown.zip(0..u32::BITS).fold(0, |mask, (shown, bit)| mask | u32::from(shown) << bit))
    }
}

/// A mapped attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Of persons or of groups.
    pub kind: Kind,
    /// The configuration key that names the attribute, or `sync_account_lock`. With `attribute`
    /// where there are several: [`Role::stored`].
    pub key: &'static str,
    /// The attribute as configured; several of members, with `or` between them.
    pub attribute: String,
    /// It locks accounts or limits their time.
    pub is_lock: bool,
    bit: u32,
    value_bit: u32,
}

impl Role {
    /// By what the envelope knows the role. The attribute is part of it for locks only: so a spelling
    /// error in the configuration is seen as an attribute that is gone.
    pub fn stored(&self) -> String {
        if self.is_lock { format!("{} {}", self.key, self.attribute.to_ascii_lowercase()) } else { self.key.to_owned() }
    }

    /// The attributes, if the key names several.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attribute.split(SEVERAL)
    }
}

/// Between the attributes of members.
const SEVERAL: &str = " or ";

/// How many bits the locks have: first whether they limit anything, then as many that say whether
/// they have a value. The last is the password, whose value may carry the mark of a lock.
const LOCKS: u32 = lock::ATTRIBUTES.len() as u32 + 1;

const PERSON_KEYS: [&str; person::FIELDS - 1 - lock::ATTRIBUTES.len()] = [
    "person_attr_user_name",
    "person_attr_display_name",
    "person_attr_legal_name",
    "person_attr_gidnumber",
    "person_attr_login_shell",
    "person_attr_password",
    "person_attr_mail",
    "person_attr_ssh_public_key",
];

/// The key of the attributes that lock accounts or limit their time.
pub const LOCK_KEY: &str = "sync_account_lock";

const GROUP_KEYS: [&str; 3] = ["group_attr_name", "group_attr_description", "group_attr_gidnumber"];
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
    let persons = (0..).zip(person_keys).zip(persons.into_iter().chain([locked_password])).map(role(Kind::Person));
    let groups = (0..).zip(group_keys).zip([name, description, gidnumber, &members]).map(role(Kind::Group));
    persons.chain(groups).filter(|role| !role.attribute.is_empty()).collect()
}
