//! The scheme of a password hash, for messages.
//!
//! Scope: recognising well-known schemes. Any other text may be a password in clear text, so no
//! part of it is a scheme.

/// Schemes in braces, in upper case.
const IN_BRACES: &[&str] = &[
    "SHA",
    "SSHA",
    "SHA256",
    "SSHA256",
    "SHA384",
    "SSHA384",
    "SHA512",
    "SSHA512",
    "MD5",
    "SMD5",
    "CRYPT",
    "PBKDF2",
    "PBKDF2-SHA1",
    "PBKDF2-SHA256",
    "PBKDF2-SHA512",
    "PBKDF2_SHA256",
    "ARGON2",
    "SASL",
    "CLEARTEXT",
    "BCRYPT",
    "GOST-YESCRYPT",
];
/// Starts of hashes without braces.
const PLAIN: &[&str] = &[
    "$1$",
    "$2a$",
    "$2b$",
    "$2y$",
    "$5$",
    "$6$",
    "$y$",
    "$7$",
    "$argon2id$",
    "$argon2i$",
    "$argon2d$",
    "pbkdf2_sha256$",
    "ipaNTHash: ",
    "sambaNTPassword: ",
];

/// The schemes of a hash, such as `{CRYPT} $6$`. `None` if the value has no well-known one.
pub fn scheme(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let Some(rest) = value.strip_prefix(b"{") else { return plain(value).map(str::to_owned) };
    let end = rest.iter().position(|octet| *octet == b'}')?;
    let (name, hash) = rest.split_at_checked(end)?;
    let known = IN_BRACES.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
    let hash = hash.strip_prefix(b"}").unwrap_or_default();
    let hash = hash.trim_ascii_start();
    let unlocked = hash.iter().position(|octet| !matches!(octet, b'!' | b'*')).unwrap_or(0);
    match plain(hash.get(unlocked..).unwrap_or_default()) {
        Some(inner) if *known != "CLEARTEXT" => Some(format!("{{{known}}} {inner}")),
        _ => Some(format!("{{{known}}}")),
    }
}

fn plain(value: &[u8]) -> Option<&'static str> {
    PLAIN.iter().copied().find(|start| value.starts_with(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::scheme;

    #[test]
    fn a_scheme_is_told_and_nothing_else() {
        for (value, told) in [
            ("{SSHA512}abc", Some("{SSHA512}")),
            (" {ssha}abc", Some("{SSHA}")),
            ("{CRYPT}$6$salt$hash", Some("{CRYPT} $6$")),
            ("{CRYPT}!$6$salt$hash", Some("{CRYPT} $6$")),
            ("{CLEARTEXT}$6$mine", Some("{CLEARTEXT}")),
            ("{CRYPT}des-hash", Some("{CRYPT}")),
            ("$argon2id$v=19", Some("$argon2id$")),
            ("hunter2", None),
            ("{hunter2}", None),
            ("{SSHA", None),
            ("$ecret$", None),
            ("", None),
        ] {
            assert_eq!(scheme(value.as_bytes()).as_deref(), told, "{value}");
        }
        assert_eq!(scheme(&[0xff, b'{']), None);
    }
}
