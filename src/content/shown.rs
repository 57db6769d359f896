//! The mapped attributes that the directory shows of an entry.
//!
//! Scope: one bit for each attribute. An access rule that hides an attribute leaves no trace in the
//! answer. The guard therefore counts the entries that show it. An attribute counts as it arrives,
//! before any rule of Kanidm: a value that cannot be imported still counts. A lock attribute counts
//! if it locks the account or limits its time. `nsAccountLock: FALSE` does not count, because
//! nothing changes when it goes.

use super::changeset::Kind;

/// One bit for each attribute, in the order of the configuration keys. Lock attributes have a
/// second bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask(u32);

impl Mask {
    /// True if the entry shows the attribute of a role of its kind.
    pub fn has(self, role: &Role) -> bool {
        self.0 & (1 << role.bit) != 0
    }

    /// True if the entry has a value of a lock attribute, even one that limits nothing. For other
    /// attributes this is the same as [`Mask::has`].
    pub fn has_value(self, role: &Role) -> bool {
        self.0 & (1 << role.value_bit) != 0
    }

    /// All attributes. An entry that was not read may have any of them.
    pub(crate) const ALL: Mask = Mask(u32::MAX);

    /// The attributes of either mask.
    pub(crate) fn and(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }

    /// Builds a mask from one answer for each attribute, in order.
    pub(crate) fn of(shown: impl Iterator<Item = bool>) -> Mask {
        Mask(shown.zip(0..u32::BITS).fold(0, |mask, (shown, bit)| mask | u32::from(shown) << bit))
    }
}

/// A mapped attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The kind of entries that have it.
    pub kind: Kind,
    /// The configuration key that names the attribute, or `sync_account_lock`. Several lock
    /// attributes share that key: see [`Role::stored`].
    pub key: &'static str,
    /// The attribute as configured. Several member attributes have `or` between them.
    pub attribute: String,
    /// True if it locks accounts or limits their time.
    pub is_lock: bool,
    /// Its bit in a [`Mask`].
    pub(crate) bit: u32,
    /// The second bit of a lock attribute.
    pub(crate) value_bit: u32,
}

impl Role {
    /// The key of the role in the envelope. For locks it includes the attribute, so that a spelling
    /// error in the configuration looks like an attribute that is gone.
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

/// Separates several member attributes.
pub(crate) const SEVERAL: &str = " or ";
