//! The attributes that the directory's schema knows.
//!
//! Scope: two searches, and the names in attribute type descriptions (RFC 4512 section 4.1.2). A
//! filter on an unknown attribute matches neither way, as on a hidden one. Only the schema tells
//! the two apart.

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;

use super::reading::unless_refused;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::sync::lookup::{equality, present};

const SUBSCHEMA: &str = "subschemaSubentry";
const TYPES: &str = "attributeTypes";

/// Those of `names` that the schema does not know. `None` if the account cannot read the schema.
///
/// # Errors
/// The directory failed.
pub(super) fn unknown(
    directory: &mut Directory,
    names: &[&str],
) -> Result<Option<Vec<String>>, DirectoryError> {
    let mut place: Option<String> = None;
    read(directory, "", &present("objectClass"), SUBSCHEMA, &mut |value| {
        place = place.take().or_else(|| str::from_utf8(value).ok().map(str::to_owned));
    })?;
    let Some(place) = place else { return Ok(None) };
    let mut unknown: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut is_shown = false;
    read(directory, &place, &equality("objectClass", "subschema"), TYPES, &mut |value| {
        let Ok(description) = str::from_utf8(value) else { return };
        is_shown = true;
        unknown.retain(|name| !describes(description, name));
    })?;
    Ok(is_shown.then_some(unknown))
}

/// Passes the values of an attribute of one entry. An entry that cannot be read has none.
fn read(
    directory: &mut Directory,
    dn: &str,
    filter: &Filter,
    attribute: &str,
    on_value: &mut dyn FnMut(&[u8]),
) -> Result<(), DirectoryError> {
    let mut note = |_: usize, entry: &SearchResultEntry<'_>| {
        let own = entry.attributes().filter(|found| found.is(attribute));
        own.flat_map(|found| found.values()).for_each(&mut *on_value);
    };
    let search = [(dn.to_owned(), Scope::Base, filter)];
    let searched = directory.search_each(&search, &[attribute], &mut note);
    // A refused search tells nothing, as an entry without values.
    unless_refused(searched).map(|_| ())
}

/// True if an attribute type has this name or OID. Options of the name do not count.
fn describes(description: &str, name: &str) -> bool {
    let name = name.split(';').next().unwrap_or_default();
    let text = description.trim_start_matches(['(', ' ']);
    let (oid, rest) = text.split_once(' ').unwrap_or((text, ""));
    let names = rest.trim_start().strip_prefix("NAME").unwrap_or_default().trim_start();
    let (list, most) = match names.strip_prefix('(') {
        Some(list) => (list.split(')').next().unwrap_or_default(), usize::MAX),
        None => (names, 1),
    };
    let mut names = list.split('\'').skip(1).step_by(2).take(most);
    oid.eq_ignore_ascii_case(name) || names.any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::describes;

    #[test]
    fn an_attribute_type_has_names_and_an_oid() {
        let one = "( 2.5.4.35 NAME 'userPassword' DESC 'not cn' SYNTAX 1.3 )";
        let two = "( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'x' SUP name )";
        for (description, name, expected) in [
            (one, "userpassword", true),
            (one, "2.5.4.35", true),
            (one, "userPassword;binary", true),
            (one, "not cn", false),
            (one, "userPass", false),
            (two, "CN", true),
            (two, "commonname", true),
            (two, "x", false),
            (two, "name", false),
            ("( 1.2.3 DESC ' NAME ' SYNTAX 1.3 )", "x", false),
            ("( 1.2.3 DESC 'x' )", "x", false),
            ("(2.5.4.3 NAME 'cn')", "cn", true),
            ("", "cn", false),
            ("( 1.2 NAME ( 'cn", "cn", true),
            ("( 1.2 NAME 'cn", "cn", true),
        ] {
            assert_eq!(describes(description, name), expected, "{description}: {name}");
        }
        assert!(!describes(one, ""));
    }
}
