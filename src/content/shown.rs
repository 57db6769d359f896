//! Which mapped attributes the directory shows of an entry.
//!
//! Scope: one bit an attribute. An access rule that hides an attribute leaves no trace in the answer, so the guard counts who shows it. The
//! attribute counts as it comes, before any rule of Kanidm: a value that cannot be imported is there all the same. Lock attributes count
//! where they lock the account or limit its time: `nsAccountLock: FALSE` takes nothing away when it goes.

use super::changeset::Kind;

/// A bit for each attribute, in the order of the configuration keys. Lock attributes have a second bit.
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
    pub(crate) const ALL: Mask = Mask(u32::MAX);

    /// The attributes of both.
    pub(crate) fn and(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }

    /// From what is asked of each attribute, in order.
    pub(crate) fn of(shown: impl Iterator<Item = bool>) -> Mask {
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
    /// Its bit in a [`Mask`].
    pub(crate) bit: u32,
    /// Lock attributes have a second one.
    pub(crate) value_bit: u32,
}

impl Role {
    /// By what the envelope knows the role. The attribute is part of it for locks only: so a spelling
    /// error in the configuration is seen as an attribute that is gone.
    pub fn stored(&self) -> String {
        if self.is_lock {
            format!("{} {}", self.key, self.attribute.to_ascii_lowercase())
        } else {
            self.key.to_owned()
        }
    }

    /// The attributes, if the key names several.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attribute.split(SEVERAL)
    }
}

/// Between the attributes of members.
pub(crate) const SEVERAL: &str = " or ";
