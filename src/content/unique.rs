//! Unique values: those that no two entries of Kanidm may share.
//!
//! Scope: what they are, and temporary ones.

use uuid::Uuid;

/// A value that no two entries may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unique {
    Dn(String),
    Name(String),
    Gid(u32),
    Mail(String),
}

impl Unique {
    /// A DN. Kanidm compares DNs in lower case.
    pub(crate) fn dn(dn: &str) -> Unique {
        Unique::Dn(dn.to_lowercase())
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Unique::Dn(dn) => format!("the DN {dn:?}"),
            Unique::Name(name) => format!("the name {name:?}"),
            Unique::Gid(number) => format!("the gidnumber {number}"),
            Unique::Mail(address) => format!("the mail address {address:?}"),
        }
    }

    pub(crate) fn attribute(&self) -> Attribute {
        match self {
            Unique::Dn(_) => Attribute::Dn,
            Unique::Name(_) => Attribute::Name,
            Unique::Gid(_) => Attribute::Gid,
            Unique::Mail(_) => Attribute::Mail,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attribute {
    Dn,
    Name,
    Gid,
    Mail,
}

impl Attribute {
    /// The attribute with this name in Kanidm.
    pub(crate) fn of_kanidm(name: &str) -> Option<Attribute> {
        match name {
            "sync_external_id" => Some(Attribute::Dn),
            "name" | "spn" => Some(Attribute::Name),
            "gidnumber" => Some(Attribute::Gid),
            "mail" => Some(Attribute::Mail),
            _ => None,
        }
    }
}

/// A mail address that two persons want. Only Kanidm knows which of them has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The UUID in Kanidm of the person who is sent without it.
    pub loser: Uuid,
    /// The UUID in Kanidm of the person who came first.
    pub owner: Uuid,
    /// The address.
    pub address: String,
}

/// A valid name that no other entry has.
pub(crate) fn temporary_name(uuid: Uuid) -> String {
    format!("tmp-{}", uuid.simple())
}

/// A number from 1879048192 to 2147483647. Kanidm accepts this range, and directories hardly use
/// it.
pub(crate) fn temporary_gid(uuid: Uuid) -> u32 {
    let (high, low) = uuid.as_u64_pair();
    let mixed = (high ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 36;
    1_879_048_192_u32.saturating_add(u32::try_from(mixed).unwrap_or(0))
}
