//! Which attributes of a refused request are not unique: what engines after 1.7 say of themselves.

use std::collections::{BTreeSet, HashMap};

use kanidm_proto::scim_v1::{ScimAttr, ScimEntry, ScimSyncRequest, ScimValue};
use kanidmd_lib::filter;
use kanidmd_lib::prelude::*;

/// A value that no two entries may share: the attribute's name, and how the engine looks for the
/// value.
type Unique = (&'static str, Attribute, PartialValue);

/// The names of the attributes of which another entry has a value that `request` wants to set.
pub fn find<'a>(
    server: &mut impl QueryServerTransaction<'a>,
    request: &ScimSyncRequest,
) -> Result<Vec<&'static str>, OperationError> {
    let mut taken = BTreeSet::new();
    let mut seen: HashMap<(&'static str, String), Uuid> = HashMap::new();
    for entry in &request.entries {
        for (name, attribute, value) in unique_values(entry) {
            let twice = seen
                .insert((name, format!("{value:?}")), entry.id)
                .is_some_and(|other| other != entry.id);
            if twice
                || server
                    .internal_search(filter!(f_eq(attribute, value)))?
                    .iter()
                    .any(|other| other.get_uuid() != entry.id)
            {
                taken.insert(name);
            }
        }
    }
    Ok(taken.into_iter().collect())
}

fn unique_values(entry: &ScimEntry) -> Vec<Unique> {
    let mut values = Vec::new();
    if let Some(dn) = &entry.external_id {
        values.push(("sync_external_id", Attribute::SyncExternalId, PartialValue::new_iutf8(dn)));
    }
    if let Some(ScimValue::Simple(ScimAttr::String(name))) = entry.attrs.get("name") {
        values.push(("name", Attribute::Name, PartialValue::new_iname(name)));
    }
    if let Some(ScimValue::Simple(ScimAttr::Integer(number))) = entry.attrs.get("gidnumber")
        && let Ok(number) = u32::try_from(*number)
    {
        values.push(("gidnumber", Attribute::GidNumber, PartialValue::new_uint32(number)));
    }
    if let Some(ScimValue::MultiComplex(addresses)) = entry.attrs.get("mail") {
        for address in addresses {
            if let Some(ScimAttr::String(address)) = address.get("value") {
                values.push(("mail", Attribute::Mail, PartialValue::EmailAddress(address.clone())));
            }
        }
    }
    values
}
