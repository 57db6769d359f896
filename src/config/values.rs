//! Values of the configuration that need more than a TOML type.
//!
//! Scope: one function for each kind of value. No error repeats the value.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ldap_content_sync::dn;
use ldap_content_sync::filter::{Filter, is_attribute_description};
use toml::de::DeValue;
use uuid::Uuid;

use super::document::{integer, wrong_type};
use super::secret::Secret;
use super::sync::MAX_MEMBER_ATTRIBUTES;
use crate::content::rules;

/// Parses a number of bytes, or a string such as `16 MiB`.
pub(super) fn byte_size(value: &DeValue<'_>) -> Result<usize, String> {
    const WANTED: &str = "a number of bytes, or a string such as \"16 MiB\"";
    if let Some(number) = integer(value) {
        return usize::try_from(number).map_err(|_| format!("must be {WANTED}"));
    }
    let text = value.as_str().ok_or_else(|| wrong_type(WANTED, value))?;
    let (digits, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: usize = match unit.trim_matches(' ') {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("must be {WANTED}; the units are B, KiB, MiB and GiB")),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("must be {WANTED}"))
}

/// Parses `follow_interval`: seconds, which may be a fraction.
pub(super) fn interval(value: &DeValue<'_>) -> Result<Duration, String> {
    const WANTED: &str = "a number of seconds from 0.1 to 86400";
    let seconds = match value {
        DeValue::Integer(_) => {
            integer(value).and_then(|number| u32::try_from(number).ok()).map(f64::from)
        }
        DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
        _ => return Err(wrong_type(WANTED, value)),
    };
    seconds
        .filter(|seconds| (0.1..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("must be {WANTED}"))
}

/// Parses `ldap_filter`. The whole filter may be in double quotes.
pub(super) fn filter(text: &str) -> Result<Filter, String> {
    let text = text.trim();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Filter::parse(inner).map_err(|e| format!("is not an RFC 4515 filter: {e}"))
}

/// Checks a DN. The result keeps the configured spelling.
pub(super) fn distinguished_name(text: &str) -> Result<String, String> {
    dn::normalize(text)
        .map(|_| text.to_owned())
        .map_err(|e| format!("is not a distinguished name: {e}"))
}

/// Checks an attribute description. Patterns such as `*` are refused, because only mapped
/// attributes are requested.
pub(super) fn attribute(name: &str) -> Result<String, &'static str> {
    const WANTED: &str = "must be the name of one attribute, such as uid";
    // In a search request, 1.1 means no attributes (RFC 4511 §4.5.1.8).
    (is_attribute_description(name) && name != "1.1").then(|| name.to_owned()).ok_or(WANTED)
}

/// Checks the attribute with the DNs of TOTP tokens. The attribute with the secrets would put them
/// into messages that name a token.
pub(super) fn token_attribute(name: &str) -> Result<String, &'static str> {
    match attribute(name)? {
        name if name.eq_ignore_ascii_case("oathSecret") => Err(
            "must be the attribute of a person that has the DN of its token, such as oathTOTPToken: oathSecret is read from there",
        ),
        name => Ok(name),
    }
}

/// Checks the member attributes and removes duplicates.
pub(super) fn member_attributes(names: &[&str]) -> Result<Vec<String>, &'static str> {
    const WANTED: &str =
        "must be the name of one attribute, such as member, or a list of up to three";
    let mut attributes: Vec<String> = Vec::new();
    for name in names {
        let name = attribute(name).map_err(|_| WANTED)?;
        if !attributes.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            attributes.push(name);
        }
    }
    if attributes.len() <= MAX_MEMBER_ATTRIBUTES { Ok(attributes) } else { Err(WANTED) }
}

/// Standard object classes and their subclasses (RFC 4519, RFC 2798). slapd matches an entry by the
/// superclasses of its classes, even if the entry does not name them.
const SUBCLASSES: [(&str, &[&str]); 2] = [
    ("person", &["organizationalPerson", "inetOrgPerson"]),
    ("organizationalPerson", &["inetOrgPerson"]),
];

/// Checks object class names and adds the standard subclasses.
pub(super) fn object_classes(names: &[&str]) -> Result<Vec<String>, &'static str> {
    const WANTED: &str = "must be the name of an object class, such as person, or a list of them";
    let valid = |name: &&&str| !name.contains(';') && is_attribute_description(name);
    let mut classes: Vec<String> = names
        .iter()
        .map(|name| Some(name).filter(valid).map(|name| (*name).to_owned()))
        .collect::<Option<_>>()
        .ok_or(WANTED)?;
    for (class, derived) in SUBCLASSES {
        let is_named = |classes: &[String], class: &str| {
            classes.iter().any(|other| other.eq_ignore_ascii_case(class))
        };
        if is_named(&classes, class) {
            let more = derived
                .iter()
                .filter(|class| !is_named(&classes, class))
                .map(|class| (*class).to_owned());
            classes.extend(more.collect::<Vec<_>>());
        }
    }
    Ok(classes)
}

/// Checks that a sync token is valid in an HTTP header.
pub(super) fn token(text: &str) -> Result<Secret, &'static str> {
    match text {
        "" => Err("holds no token. Make one: kanidm system sync generate-token"),
        _ if text.starts_with("token:") => {
            Err("begins with the word token, as kanidm prints it: keep only the part after it")
        }
        _ if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Secret::new(text.to_owned())),
        _ => Err(
            "holds white space or other characters that no token has. Copy the token alone, on one line",
        ),
    }
}

/// Checks a bind password. An empty password makes an unauthenticated bind, which succeeds without
/// proving an identity (RFC 4513 §5.1.2).
pub(super) fn password(text: &str) -> Result<Secret, &'static str> {
    if text.is_empty() {
        Err("must not be an empty password")
    } else {
        Ok(Secret::new(text.to_owned()))
    }
}

/// Parses `status_bind`: address and port. A host name is resolved.
pub(super) fn listener(text: &str) -> Result<SocketAddr, &'static str> {
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|_| "must be an address and a port, such as 127.0.0.1:12345 or [::1]:12345")?;
    addresses
        .next()
        .ok_or("is a name without an address. Write an address, such as 127.0.0.1:12345")
}

/// Checks `metrics_file`. A service has another working directory than a shell, and node-exporter
/// reads no file with another suffix.
pub(super) fn metrics_file(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    let is_prom = path.extension().is_some_and(|extension| extension == "prom");
    (path.is_absolute() && is_prom && !text.ends_with('/')).then(|| path.to_owned()).ok_or(
        "must be a whole path that ends in .prom, such as /var/lib/prometheus/node-exporter/kanidm-ldap-sync.prom",
    )
}

/// Parses a sync UUID: an entryUUID, or an nsUniqueId of 389, which has other dashes.
pub(super) fn sync_uuid(text: &str) -> Option<Uuid> {
    let dashes =
        |at: &[usize]| text.bytes().enumerate().all(|(i, b)| (b == b'-') == at.contains(&i));
    let known_shape = match text.len() {
        36 => dashes(&[8, 13, 18, 23]),
        35 => dashes(&[8, 17, 26]),
        _ => false,
    };
    known_shape.then(|| Uuid::try_parse(&text.replace('-', "")).ok()).flatten()
}

/// Parses `map_uuid`.
pub(super) fn kanidm_uuid(text: &str) -> Result<Uuid, &'static str> {
    let uuid = Uuid::try_parse(text).map_err(|_| "must be a UUID")?;
    // Kanidm reserves 00000000-0000-0000-… for its own entries.
    if uuid.as_u128() >> 64 == 0 {
        Err("is a UUID that Kanidm keeps for its own entries. Choose another one")
    } else {
        Ok(uuid)
    }
}

/// Checks `map_name` in lower case, as Kanidm stores it.
pub(super) fn kanidm_name(text: &str) -> Result<String, &'static str> {
    let name = text.to_lowercase();
    rules::name(&name).map(|()| name)
}

/// Checks `map_gidnumber`.
pub(super) fn kanidm_gidnumber(number: u64) -> Result<u32, &'static str> {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    rules::gidnumber_range(number).map(|()| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_sync_uuid() {
        let uuid = Uuid::try_parse("ac60034b-3498-11ed-a50d-919b4b1a5ec0").ok();
        assert_eq!(sync_uuid("ac60034b-3498-11ed-a50d-919b4b1a5ec0"), uuid);
        assert_eq!(sync_uuid("AC60034B-349811ed-a50d919b-4b1a5ec0"), uuid);
        for other in [
            "",
            "ac60034b349811eda50d919b4b1a5ec0",
            "ac60034b-349811ed-a50d919b-4b1a5eg0",
            "ac60034b-349811ed-a50d919b4b1a5ec-0",
            "ldap_uri",
        ] {
            assert_eq!(sync_uuid(other), None, "{other}");
        }
    }

    #[test]
    fn metrics_files() {
        for path in ["/a.prom", "/var/lib/x y/kanidm.ldap.prom"] {
            assert_eq!(metrics_file(path), Ok(path.into()));
        }
        for refused in
            ["", "a.prom", "./a.prom", "/a", "/a.prom.txt", "/.prom", "/a.prom/", "/a.PROM"]
        {
            assert!(metrics_file(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn intervals() {
        let read = |text: &str| {
            DeValue::parse(text)
                .map_err(|e| e.to_string())
                .and_then(|value| interval(value.get_ref()))
        };
        for (text, ms) in
            [("1", 1000), ("0.1", 100), ("1.5", 1500), ("5e-1", 500), ("86400", 86_400_000)]
        {
            assert_eq!(read(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for refused in ["0", "0.0999", "-1", "86400.1", "1e300", "inf", "nan", "'1'", "true"] {
            let error = read(refused).unwrap_err();
            assert!(error.contains("a number of seconds from 0.1 to 86400"), "{refused}: {error}");
        }
    }

    #[test]
    fn byte_sizes() {
        let size = |text: &str| {
            DeValue::parse(text)
                .map_err(|e| e.to_string())
                .and_then(|value| byte_size(value.get_ref()))
        };
        assert_eq!(size("1024"), Ok(1024));
        assert_eq!(size("0x10"), Ok(16));
        assert_eq!(size("'1024'"), Ok(1024));
        assert_eq!(size("'16 MiB'"), Ok(16 << 20));
        assert_eq!(size("'64KiB'"), Ok(64 << 10));
        assert_eq!(size("'2 GiB'"), Ok(2 << 30));
        for refused in [
            "-1",
            "1.5",
            "true",
            "''",
            "'MiB'",
            "'1 MB'",
            "'1 mib'",
            "'-1'",
            "'1e3'",
            "'99999999999999999999'",
            "'99999999999 GiB'",
        ] {
            assert!(size(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_filter_may_stand_in_quotes_as_a_whole() {
        let plain = Filter::parse("(cn=a)").map_err(|e| e.to_string());
        assert_eq!(filter("(cn=a)"), plain);
        assert_eq!(filter(" \"(cn=a)\" "), plain);
        assert!(filter("\"(cn=a)").is_err());
    }
}
