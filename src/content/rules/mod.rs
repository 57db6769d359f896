//! Kanidm's rules for values, checked before anything is sent. One bad value fails a whole request,
//! and the answer does not name the entry.
//!
//! Scope: names, texts, numbers and mail addresses. [`password`], [`ssh_key`] and [`totp`] have
//! modules of their own. Each function checks one value and returns the rule that it breaks, in words for the
//! operator. A rule never repeats the value.

pub mod password;
pub mod scheme;
pub mod ssh_key;
pub mod totp;

use std::borrow::Cow;

use uuid::Uuid;

/// The rule that a value breaks.
pub type Rule = &'static str;

pub(crate) const NOT_UTF8: Rule = "must be UTF-8 text";
pub(crate) const NAME: Rule =
    "must be 1 to 64 of the characters a-z 0-9 - _ . and begin with a letter";
const NAME_UUID: Rule = "must not be a UUID";
const NAME_RESERVED: Rule = "is reserved by Kanidm";
const CONTROL: Rule = "must not contain line breaks or other control characters";
const NUMBER: Rule = "must be a decimal number from 0 to 4294967295";
const NUMBER_RANGE: Rule = "must be in 1000-60000, 60578-61183, 65520-65533 or 65536-2147483647: the other numbers belong to the system";
const MAIL: Rule = "must be an ASCII e-mail address of the HTML5 syntax, without spaces, of at most 254 characters";

/// Names that Kanidm refuses although they follow the syntax.
const RESERVED_NAMES: &[&str] = &["root", "dn=token"];

/// Numbers that neither the system nor systemd claims. Kanidm refuses all others.
const GIDNUMBERS: &[std::ops::RangeInclusive<u32>] =
    &[1000..=60000, 60578..=61183, 65520..=65533, 65536..=2_147_483_647];

/// Maximum characters of a name.
const MAX_NAME_LENGTH: usize = 64;

/// Maximum bytes of a text: a display name, a description, a shell, a password hash.
pub const TEXT_LENGTH: usize = 8 * 1024;
pub(crate) const TOO_LONG: Rule = "must be at most 8192 bytes";

/// Maximum bytes of a mail address: RFC 5321 §4.5.3.1.3 without its angle brackets.
const MAX_MAIL_LENGTH: usize = 254;

/// Maximum bytes of a member's user name. No user has a longer one, so it is not looked up.
pub const MEMBER_NAME_LENGTH: usize = 256;

/// Maximum bytes of a member's DN.
pub const MEMBER_DN_LENGTH: usize = 8 * 1024;

/// Maximum bytes of a DNS label, RFC 1035 §2.3.4.
const MAX_LABEL_LENGTH: usize = 63;

/// Checks an account or group name that is lower-cased already.
pub fn name(name: &str) -> Result<(), Rule> {
    let follows_syntax = name.len() <= MAX_NAME_LENGTH
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    if RESERVED_NAMES.contains(&name) {
        Err(NAME_RESERVED)
    } else if Uuid::try_parse(name).is_ok() {
        Err(NAME_UUID)
    } else if follows_syntax {
        Ok(())
    } else {
        Err(NAME)
    }
}

/// Checks a display name or a description. Line breaks and tabs become spaces.
pub fn one_line(value: &str) -> Result<Cow<'_, str>, Rule> {
    if text(value).is_ok() {
        return Ok(Cow::Borrowed(value));
    }
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\t' | '\x0b' | '\x0c');
    let parts: Vec<&str> =
        value.split(is_break).map(str::trim).filter(|part| !part.is_empty()).collect();
    let folded = parts.join(" ");
    if folded.is_empty() { Err(CONTROL) } else { text(&folded).map(|()| Cow::Owned(folded)) }
}

/// Checks a shell or a DN: any text on one line.
pub fn text(text: &str) -> Result<(), Rule> {
    // Without an early end, the loop checks many octets at once.
    if text.bytes().fold(false, |found, b| found | b.is_ascii_control()) {
        Err(CONTROL)
    } else {
        Ok(())
    }
}

/// Reads a user or group number as a directory stores it: INTEGER of RFC 4517 §3.3.16.
pub fn gidnumber(text: &str) -> Result<u32, Rule> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NUMBER);
    }
    let number = text.parse().map_err(|_| NUMBER)?;
    gidnumber_range(number).map(|()| number)
}

/// Checks that Kanidm accepts a number.
pub fn gidnumber_range(number: u32) -> Result<(), Rule> {
    if GIDNUMBERS.iter().any(|range| range.contains(&number)) { Ok(()) } else { Err(NUMBER_RANGE) }
}

/// Checks an e-mail address by the syntax of HTML5, except that Kanidm allows no `/` in the local
/// part.
pub fn mail(address: &str) -> Result<(), Rule> {
    if address.len() > MAX_MAIL_LENGTH {
        return Err(MAIL);
    }
    // Searching for an octet is several times faster than for a character.
    let mut parts = address.as_bytes().splitn(2, |b| *b == b'@');
    let local =
        parts.next().is_some_and(|local| !local.is_empty() && local.iter().all(is_local_part));
    let domain =
        parts.next().is_some_and(|domain| domain.split(|b| *b == b'.').all(is_domain_label));
    if local && domain { Ok(()) } else { Err(MAIL) }
}

fn is_local_part(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || b".!#$%&'*+=?^_`{|}~-".contains(b)
}

fn is_domain_label(label: &[u8]) -> bool {
    (1..=MAX_LABEL_LENGTH).contains(&label.len())
        && label.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && !label.starts_with(b"-")
        && !label.ends_with(b"-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "a".repeat(64);
        for good in [
            "a",
            "a1",
            "a-b_c.d",
            "z.",
            "rooted",
            "admin",
            "abcdefabcdefabcdefabcdefabcdefag",
            &longest,
        ] {
            assert_eq!(name(good), Ok(()), "{good}");
        }
        let too_long = "a".repeat(65);
        for bad in [
            "", "1abc", "-a", ".a", "_a", "a@b", "a b", "a ", "host$", "Abc", "zoë", "a\n", "a/b",
            &too_long,
        ] {
            assert_eq!(name(bad), Err(NAME), "{bad:?}");
        }
        assert_eq!(name("root"), Err(NAME_RESERVED));
        assert_eq!(name("dn=token"), Err(NAME_RESERVED));
        for uuid in [
            "abcdefab-cdef-abcd-efab-cdefabcdefab",
            "abcdefabcdefabcdefabcdefabcdefab",
            "urn:uuid:abcdefab-cdef-abcd-efab-cdefabcdefab",
        ] {
            assert_eq!(name(uuid), Err(NAME_UUID), "{uuid}");
        }
    }

    #[test]
    fn texts() {
        for good in ["x", " leading", "Zoë «Brontë»", "a\u{85}b", "tilde ~"] {
            assert_eq!(text(good), Ok(()), "{good:?}");
        }
        for bad in ["a\nb", "a\r", "\t", "a\0", "\u{1b}[0m", "a\u{7f}", "a\u{1f}"] {
            assert_eq!(text(bad), Err(CONTROL), "{bad:?}");
        }
    }

    #[test]
    fn lines_are_folded_into_one() {
        for (value, folded) in [
            ("one", "one"),
            ("Sales\nWest", "Sales West"),
            ("a\t b \r\n\r\n c\n", "a b c"),
            ("end\n", "end"),
            (" lead", " lead"),
        ] {
            assert_eq!(one_line(value).as_deref(), Ok(folded), "{value:?}");
        }
        for bad in ["a\0b\n", "\u{1b}[0m", "\x0b"] {
            assert_eq!(one_line(bad), Err(CONTROL), "{bad:?}");
        }
    }

    #[test]
    fn numbers_at_every_boundary() {
        for good in [
            1000,
            60000,
            60578,
            61183,
            65520,
            65533,
            65536,
            524_287,
            524_288,
            1_879_048_191,
            1_879_048_192,
            2_147_483_647,
        ] {
            assert_eq!(gidnumber(&good.to_string()), Ok(good));
        }
        for bad in
            [0, 1, 999, 60001, 60577, 61184, 65519, 65534, 65535, 2_147_483_648_u32, u32::MAX]
        {
            assert_eq!(gidnumber(&bad.to_string()), Err(NUMBER_RANGE), "{bad}");
        }
        for bad in [
            "",
            "-1",
            "+1000",
            "1000 ",
            "0x400",
            "1e4",
            "4294967296",
            "99999999999999999999",
            "１０００",
        ] {
            assert_eq!(gidnumber(bad), Err(NUMBER), "{bad:?}");
        }
        assert_eq!(gidnumber("0001000"), Ok(1000));
    }

    #[test]
    fn mail_addresses() {
        let label = "a".repeat(63);
        let longest_label = format!("a@{label}.example");
        for good in [
            "a@b",
            "a.b+c@example.com",
            "!#$%&'*+=?^_`{|}~-.@x",
            "A@Lab.Example.NET",
            "a@1.2",
            "a@b-c",
            "..@x",
            &longest_label,
        ] {
            assert_eq!(mail(good), Ok(()), "{good}");
        }
        let long_label = format!("a@{label}a.example");
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b.",
            "a@.b",
            "a@-b",
            "a@b-",
            "a@b-.c",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a@b ",
            " a@b",
            "a@b\n",
            "a/b@c",
            "zoë@b",
            "a@bü",
            "\"a\"@b",
            "a@[127.0.0.1]",
            "a@b_c",
            &long_label,
        ] {
            assert_eq!(mail(bad), Err(MAIL), "{bad:?}");
        }
    }
}
