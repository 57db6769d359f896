//! Attributes whose values a server computes, so that they change while the entry counts as
//! unchanged.
//!
//! Scope: finding such attributes in a filter. Content synchronisation does not report an entry
//! that starts or stops to match a filter through them. The run must then list the matching entries
//! itself. 389 writes `memberOf` into the entry, but does not report entries that leave a filter.

use ldap_content_sync::filter::Filter;

/// Attributes that are computed, or written without a new `entryCSN`. Sources: the overlays
/// memberof, dynlist and ppolicy of OpenLDAP, plugins and roles of 389, and the entry's place in
/// the tree.
const COMPUTED: &[&str] = &[
    "memberOf",
    "isMemberOf",
    "nsRole",
    "entryDN",
    "hasSubordinates",
    "numSubordinates",
    "pwdAccountLockedTime",
    "pwdFailureTime",
    "pwdGraceUseTime",
    "pwdLastSuccess",
    "authTimestamp",
];

/// Attributes that the server maintains but changes only with the entry itself.
const STEADY: &[&str] = &[
    "objectClass",
    "structuralObjectClass",
    "entryUUID",
    "nsUniqueId",
    "entryCSN",
    "createTimestamp",
    "creatorsName",
    "modifyTimestamp",
    "modifiersName",
];

/// The computed attributes in a filter, each once, in the spelling of its first occurrence.
pub fn computed_attributes(filter: &Filter) -> Vec<String> {
    let mut found = attributes(filter);
    found.retain(|name| is_among(COMPUTED, name));
    found
}

/// The attributes in a filter that are in neither list. The caller must ask the server if it
/// computes one of them.
pub fn other_attributes(filter: &Filter) -> Vec<String> {
    let mut found = attributes(filter);
    found.retain(|name| !name.is_empty() && !is_among(COMPUTED, name) && !is_among(STEADY, name));
    found
}

/// Every attribute in a filter, without options. `entryDN` where the filter matches against the DN.
fn attributes(filter: &Filter) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    collect(filter, &mut |attribute, dn_attributes| {
        let name =
            if dn_attributes { "entryDN" } else { attribute.split(';').next().unwrap_or_default() };
        if !is_among(&found, name) {
            found.push(name.to_owned());
        }
    });
    found
}

fn is_among<S: AsRef<str>>(names: &[S], name: &str) -> bool {
    names.iter().any(|other| other.as_ref().eq_ignore_ascii_case(name))
}

/// Calls `found` with each attribute, and with true if its part of the filter also matches the DN.
fn collect(filter: &Filter, found: &mut impl FnMut(&str, bool)) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().for_each(|part| collect(part, found))
        }
        Filter::Not(part) => collect(part, found),
        Filter::Equality { attribute, .. }
        | Filter::Substrings { attribute, .. }
        | Filter::GreaterOrEqual { attribute, .. }
        | Filter::LessOrEqual { attribute, .. }
        | Filter::Present { attribute }
        | Filter::Approx { attribute, .. } => found(attribute, false),
        Filter::Extensible { attribute, dn_attributes, .. } => {
            found(attribute.as_deref().unwrap_or_default(), *dn_attributes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computed_attributes_are_found_wherever_a_filter_names_them() {
        for (filter, found) in [
            ("(objectClass=person)", &[][..]),
            ("(memberOf=cn=vpn,dc=x)", &["memberOf"]),
            ("(&(objectClass=person)(!(|(uid=x)(MEMBEROF=*))))", &["MEMBEROF"]),
            ("(|(memberOf=cn=a)(memberof=cn=b)(nsRole=cn=c))", &["memberOf", "nsRole"]),
            ("(memberOf;x-hidden=cn=a)", &["memberOf"]),
            ("(memberOf:1.2.3:=cn=a)", &["memberOf"]),
            ("(ou:dn:=people)", &["entryDN"]),
            ("(pwdAccountLockedTime>=20200101000000Z)", &["pwdAccountLockedTime"]),
        ] {
            assert_eq!(computed_attributes(&Filter::parse(filter).unwrap()), found, "{filter}");
        }
        let mixed = Filter::parse(
            "(&(objectClass=person)(memberOf=*)(!(employeeType=out))(pwdReset=TRUE)(entryUUID=*))",
        )
        .unwrap();
        assert_eq!(other_attributes(&mixed), ["employeeType", "pwdReset"]);
    }
}
