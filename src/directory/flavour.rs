//! Differences between servers outside the sync protocol: the attribute with the sync UUID, its
//! spelling, and 389's changelog.
//!
//! Scope: pure functions. [`ldap_content_sync::sync_session`] handles the differences of the
//! refresh itself.

use ldap_content_sync::SearchResultEntry;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::sync_session::{Cookie, Provider};
use uuid::Uuid;

use super::root_dse::RootDse;

/// 389 reports at most this many deletions and loses the rest. A run with this many may be
/// incomplete.
pub(super) const DS389_DELETIONS: usize = 50;

/// The attribute with the sync UUID.
pub(super) fn uuid_attribute(provider: Provider) -> &'static str {
    match provider {
        Provider::Ds389 => "nsUniqueId",
        Provider::OpenLdap | Provider::Rfc4533 => "entryUUID",
    }
}

/// Parses a value of the UUID attribute.
pub(super) fn parse_uuid(provider: Provider, value: &[u8]) -> Option<Uuid> {
    match provider {
        Provider::Ds389 => parse_ns_unique_id(value),
        Provider::OpenLdap | Provider::Rfc4533 => Uuid::try_parse_ascii(value).ok(),
    }
}

/// The sync UUID of an entry that was read with [`super::client::Directory::uuid_attribute`].
/// `None` if that attribute is missing or is no UUID. This is a free function so that callers can
/// use it during a search, which borrows the directory.
pub fn sync_uuid(provider: Provider, entry: &SearchResultEntry<'_>) -> Option<Uuid> {
    let name = uuid_attribute(provider);
    let attribute = entry.attributes().find(|attribute| attribute.is(name))?;
    parse_uuid(provider, attribute.values().next()?)
}

/// Writes a UUID as a value of the UUID attribute.
pub(super) fn spell_uuid(provider: Provider, uuid: Uuid) -> String {
    match provider {
        Provider::Ds389 => spell_ns_unique_id(uuid),
        Provider::OpenLdap | Provider::Rfc4533 => uuid.hyphenated().to_string(),
    }
}

/// Filter for entries with one of these UUIDs.
pub(super) fn uuid_filter(provider: Provider, uuids: &[Uuid]) -> Filter {
    let equality = |uuid: &Uuid| Filter::Equality {
        attribute: uuid_attribute(provider).to_owned(),
        value: spell_uuid(provider, *uuid).into_bytes(),
    };
    Filter::Or(uuids.iter().map(equality).collect())
}

/// 389 places the dashes differently: `ac60034b-349811ed-a50d919b-4b1a5ec0`.
fn parse_ns_unique_id(value: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(value).ok()?;
    let groups: Vec<&str> = text.split('-').collect();
    let [a, b, c, d] = groups.as_slice() else { return None };
    if [a, b, c, d].iter().any(|group| group.len() != 8) {
        return None;
    }
    Uuid::try_parse(&groups.concat()).ok()
}

fn spell_ns_unique_id(uuid: Uuid) -> String {
    let number = uuid.as_u128();
    let group = |shift: u32| (number >> shift) as u32;
    format!("{:08x}-{:08x}-{:08x}-{:08x}", group(96), group(64), group(32), group(0))
}

/// Reason why 389's changelog cannot continue from the cookie; `None` if it can. The server does
/// not report a trimmed or recreated changelog. It sends only the changes that it still has.
///
/// One case stays undetected: a recreated changelog that has grown past the cookie's number without
/// being trimmed.
pub(super) fn changelog_gap(cookie: &[u8], dse: &RootDse) -> Option<String> {
    let Some(seen) = Cookie::parse(cookie).change_number() else {
        // Asking the server is no alternative: 389 never answers a cookie with a NUL.
        return Some("the cookie is not one of 389 Directory Server".into());
    };
    let (Some(first), Some(last)) = (dse.first_change_number, dse.last_change_number) else {
        return Some(
            "the root DSE does not show firstchangenumber and lastchangenumber, so it cannot be told whether the changelog still \
             reaches back to the last run: is the Retro Changelog plugin enabled, and may the account read the root DSE?"
                .into(),
        );
    };
    if first > seen.saturating_add(1) {
        Some(format!(
            "the changelog was trimmed: it begins with change {first}, the last run had read up to {seen}"
        ))
    } else if seen > last {
        Some(format!(
            "the changelog was made anew: it ends with change {last}, the last run had read up to {seen}"
        ))
    } else {
        None
    }
}

/// True if 389 has recorded changes since the cookie.
pub(super) fn has_moved_on(cookie: &[u8], dse: &RootDse) -> bool {
    Cookie::parse(cookie)
        .change_number()
        .zip(dse.last_change_number)
        .is_some_and(|(seen, last)| last > seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: Uuid = Uuid::from_u128(0xac60034b_3498_11ed_a50d_919b4b1a5ec0);

    #[test]
    fn ns_unique_id_both_ways() {
        assert_eq!(spell_uuid(Provider::Ds389, UUID), "ac60034b-349811ed-a50d919b-4b1a5ec0");
        assert_eq!(parse_uuid(Provider::Ds389, b"ac60034b-349811ed-a50d919b-4b1a5ec0"), Some(UUID));
        assert_eq!(parse_uuid(Provider::Ds389, b"AC60034B-349811ED-A50D919B-4B1A5EC0"), Some(UUID));
        for wrong in [
            "",
            "ac60034b-3498-11ed-a50d-919b4b1a5ec0",
            "ac60034b-349811ed-a50d919b-4b1a5ec",
            "ac60034b-349811ed-a50d919b",
        ] {
            assert_eq!(parse_uuid(Provider::Ds389, wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse_uuid(Provider::Ds389, b"\xff\xfe"), None);
        // Small numbers keep their leading zeros.
        assert_eq!(
            parse_uuid(Provider::Ds389, spell_uuid(Provider::Ds389, Uuid::from_u128(7)).as_bytes()),
            Some(Uuid::from_u128(7))
        );
    }

    #[test]
    fn entry_uuid_both_ways() {
        for provider in [Provider::OpenLdap, Provider::Rfc4533] {
            assert_eq!(parse_uuid(provider, spell_uuid(provider, UUID).as_bytes()), Some(UUID));
        }
    }

    #[test]
    fn the_filter_names_every_uuid() {
        let filter = uuid_filter(Provider::Ds389, &[UUID, Uuid::from_u128(7)]);
        let value =
            |text: &str| Filter::Equality { attribute: "nsUniqueId".into(), value: text.into() };
        let expected = [
            value("ac60034b-349811ed-a50d919b-4b1a5ec0"),
            value("00000000-00000000-00000000-00000007"),
        ];
        assert_eq!(filter, Filter::Or(expected.into()));
    }

    #[test]
    fn the_changelog_reaches_back_or_not() {
        let dse = |first, last| RootDse {
            first_change_number: first,
            last_change_number: last,
            ..RootDse::default()
        };
        let gap = |number: &str, first, last| {
            changelog_gap(
                format!("h:636#cn=sync:dc=x:(a=#1)#{number}").as_bytes(),
                &dse(Some(first), Some(last)),
            )
            .is_some()
        };
        // (number of the cookie, first and last number of the changelog, true if changes are
        // missing)
        for (number, first, last, missing) in [
            ("42", 1, 42, false),
            ("42", 43, 50, false),
            ("42", 44, 50, true),
            ("42", 1, 41, true),
            ("42", 0, 0, true),
            ("0", 1, 9, false),
            ("18446744073709551615", u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(gap(number, first, last), missing, "{number} with {first} to {last}");
        }
        for no_number in ["", "x", "-1", "18446744073709551616"] {
            assert!(gap(no_number, 1, 100), "{no_number}");
        }
        let cookie = b"h:636#cn=sync:dc=x:f#42";
        assert!(changelog_gap(cookie, &dse(None, Some(50))).is_some());
        assert!(changelog_gap(cookie, &dse(Some(1), None)).is_some());
        assert!(changelog_gap(b"h\0#42", &dse(Some(1), Some(50))).is_some());
        let slapds = b"rid=000,csn=20261123125319.541811Z#000000#000#000000";
        assert!(
            changelog_gap(slapds, &dse(Some(1), Some(50)))
                .is_some_and(|why| why.contains("not one of 389"))
        );
        assert!(changelog_gap(b"\xff#42", &dse(Some(1), Some(50))).is_some());
    }
}
