//! Values of the directory as text for people.
//!
//! Scope: what may be shown. A password is its scheme and its length, whatever attribute it is in.

use ldap_content_sync::filter::is_attribute_description;

use crate::content::rules::{password, scheme};
use crate::mapping::shown::{PASSWORD_KEY, TOTP_KEY};
use crate::mapping::totp::token_dn;

/// Maximum characters of a value.
const SHOWN: usize = 100;

/// Attributes that hold secrets in some directory, in lower case. A configuration can map any.
const SECRET: &[&str] = &[
    "userpassword",
    "unicodepwd",
    "sambantpassword",
    "sambalmpassword",
    "sambapasswordhistory",
    "krbprincipalkey",
    "ipanthash",
    "authpassword",
    "pwdhistory",
    "passwordhistory",
    "oathsecret",
    "nsds5replicacredentials",
    "olcrootpw",
];

/// True if the values of an attribute are never shown.
pub(super) fn is_secret(key: &str, attribute: &str) -> bool {
    let name = attribute.split(';').next().unwrap_or_default().to_ascii_lowercase();
    key == PASSWORD_KEY || SECRET.contains(&name.as_str())
}

/// A value of an attribute.
pub(super) fn shown(key: &str, attribute: &str, value: &[u8]) -> String {
    if is_secret(key, attribute) || scheme::scheme(value).is_some() {
        hash(value)
    } else if key == "person_attr_ssh_public_key" {
        ssh_key(value)
    } else if key == TOTP_KEY && token_dn(value).is_err() {
        // Somebody may have written a secret there.
        format!("{} bytes, not a DN", value.len())
    } else {
        text(value)
    }
}

fn hash(value: &[u8]) -> String {
    let scheme = scheme::scheme(value).unwrap_or_else(|| "no well-known scheme".to_owned());
    let locked = if password::is_locked(value) { ", with a lock mark" } else { "" };
    format!("{scheme}, {} bytes{locked}", value.len())
}

/// Type, comment and length of the first key.
fn ssh_key(value: &[u8]) -> String {
    let bytes = value.len();
    let Ok(text) = str::from_utf8(value) else { return format!("{bytes} bytes, not UTF-8") };
    let mut words = text.trim().lines().next().unwrap_or_default().split_whitespace();
    let is_type = |word: &&str| {
        word.len() <= 64 && ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
    };
    let Some(kind) = words.next().filter(is_type) else {
        return format!("{bytes} bytes that do not begin with the type of a key");
    };
    let comment: Vec<&str> = words.skip(1).collect();
    match comment.is_empty() {
        true => format!("{kind}, {bytes} bytes"),
        false => format!("{kind}, {bytes} bytes, comment {}", quoted(&comment.join(" "))),
    }
}

fn text(value: &[u8]) -> String {
    match str::from_utf8(value) {
        Ok(text) => quoted(text),
        Err(_) => format!("{} bytes, not UTF-8", value.len()),
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => {
            format!("\"{}\"... ({} bytes)", text.get(..end).unwrap_or_default(), text.len())
        }
        None => format!("\"{text}\""),
    }
}

/// A value that Kanidm gets.
pub(super) fn sent(key: &str, attribute: &str, text: &str) -> String {
    let is_hash = scheme::scheme(text.as_bytes()).is_some();
    if (is_secret(key, attribute) && key != PASSWORD_KEY) || is_hash {
        return "a value that is not shown".to_owned();
    }
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The name of an object class, if it is one.
pub(super) fn class(value: &[u8]) -> Option<String> {
    str::from_utf8(value).ok().filter(|text| is_attribute_description(text)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_scheme_and_length() {
        for (key, attribute, value, told) in [
            (PASSWORD_KEY, "userPassword", "{SSHA}abc", "{SSHA}, 9 bytes"),
            (PASSWORD_KEY, "x", "hunter2", "no well-known scheme, 7 bytes"),
            (PASSWORD_KEY, "x", "{hunter2}", "no well-known scheme, 9 bytes"),
            (PASSWORD_KEY, "x", "{CRYPT}!$6$a", "{CRYPT} $6$, 12 bytes, with a lock mark"),
            (
                "person_attr_display_name",
                "userPassword",
                "hunter2",
                "no well-known scheme, 7 bytes",
            ),
            ("person_attr_display_name", "description", "{SSHA}abc", "{SSHA}, 9 bytes"),
            ("person_attr_mail", "SambaNTPassword", "0CB6", "no well-known scheme, 4 bytes"),
            (TOTP_KEY, "oathTOTPToken", "JBSWY3DPEHPK3PXP", "16 bytes, not a DN"),
            (TOTP_KEY, "x", "JBSWY3DPEHPK3PXPJBSWY3DPEE======", "32 bytes, not a DN"),
            (TOTP_KEY, "oathTOTPToken", "cn=t,dc=x", "\"cn=t,dc=x\""),
        ] {
            assert_eq!(shown(key, attribute, value.as_bytes()), told);
        }
        assert_eq!(
            sent("person_attr_display_name", "userPassword", "hunter2"),
            "a value that is not shown"
        );
        assert_eq!(
            sent("person_attr_display_name", "cn", "{SSHA}abc"),
            "a value that is not shown"
        );
        assert_eq!(sent(PASSWORD_KEY, "userPassword", "a password hash"), "a password hash");
    }

    #[test]
    fn keys_and_texts() {
        let key = |text: &str| shown("person_attr_ssh_public_key", "k", text.as_bytes());
        assert_eq!(key("ssh-rsa AAAA me@host"), "ssh-rsa, 20 bytes, comment \"me@host\"");
        assert_eq!(key("ssh-rsa AAAA"), "ssh-rsa, 12 bytes");
        assert_eq!(
            key("-----BEGIN OPENSSH PRIVATE KEY-----\nabc"),
            "39 bytes that do not begin with the type of a key"
        );
        assert_eq!(shown("person_attr_mail", "mail", &[0xff]), "1 bytes, not UTF-8");
        let long = "x".repeat(101);
        assert_eq!(text(long.as_bytes()), format!("\"{}\"... (101 bytes)", "x".repeat(100)));
    }
}
