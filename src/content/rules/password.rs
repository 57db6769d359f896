//! Rules for password hashes.
//!
//! Scope: the formats that Kanidm's `Password::try_from(&str)` reads (libs/crypto, 1.7). The checks
//! are as strict as Kanidm for each format, base64 padding included, because one hash that it
//! cannot read fails a whole request. They only look at the shape of a hash. No rule or error
//! repeats any part of it.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{
    GeneralPurposeConfig, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD,
};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::Rule;

const NO_SCHEME: Rule = "must be a password hash with its scheme, such as {SSHA512}...: this is clear text or an unknown format";
const LOCKED: Rule =
    "must be a password hash: a locked or disabled password (! or *) cannot be imported";
const SCHEME: Rule = "the hash scheme is unknown to Kanidm, which imports (S)SHA, (S)SHA256, (S)SHA512, PBKDF2, ARGON2 (argon2id), CRYPT ($1$, $5$, $6$)";
const SASL: Rule = "{SASL} delegates the check to another server: Kanidm needs the hash itself";
const MD5: Rule = "Kanidm does not import {MD5} and {SMD5}";
const CRYPT: Rule = "Kanidm imports {CRYPT} of the kinds $1$, $5$ and $6$ only: not DES, bcrypt or yescrypt, and not a locked hash";
const MALFORMED: Rule = "the hash is damaged: it does not follow the format of its scheme";
const ARGON2ID: Rule = "Kanidm imports argon2id only, not argon2i and argon2d";

const COSTLY: Rule = "the hash costs too much at each login: Kanidm would run out of memory or time. The most is 256 MiB, 16 passes \
                      and 16 lanes of ARGON2, and 5,000,000 rounds of PBKDF2 and CRYPT";

/// Maximum cost of a login. The author of a password hash chooses its cost, and Kanidm pays it. The
/// limits are several times the usual values. OpenLDAP's ARGON2 takes 64 MiB and 2 passes, 389's
/// PBKDF2 100,000 rounds, Django's PBKDF2 1,200,000, passlib's CRYPT 656,000.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;
const MAX_ROUNDS: u64 = 5_000_000;

/// Maximum bytes of a value. The longest value of any scheme is a third of it. Bytes after the
/// digest count as salt.
const MAX_LENGTH: usize = 1024;

const SHA1_LENGTH: usize = 20;
const SHA256_LENGTH: usize = 32;
const SHA512_LENGTH: usize = 64;
/// Minimum bytes of PBKDF2 keys that Kanidm accepts.
const MIN_PBKDF2_SHA1_KEY: usize = 19;
const MIN_PBKDF2_SHA2_KEY: usize = 32;

/// passlib's base64 ignores the bits after the last octet.
const PBKDF2_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Buffers for decoding, reused for every hash.
#[derive(Default)]
pub struct Scratch {
    text: String,
    bytes: Vec<u8>,
}

// The buffers hold parts of hashes.
impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch { .. }")
    }
}

/// True if a value says that its password is locked: `!` or `*` before the hash or before its
/// scheme. `usermod -L` and LDAP Account Manager write it so. No hash begins with these characters,
/// but a password in clear text may.
pub fn is_locked(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let (scheme, hash) = match value
        .strip_prefix(b"{")
        .and_then(|rest| Some((rest, rest.iter().position(|b| *b == b'}')?)))
    {
        Some((rest, end)) => (rest.get(..end), rest.get(end + 1..).unwrap_or_default()),
        None => (None, value),
    };
    let marks = hash.iter().take_while(|b| matches!(b, b'!' | b'*')).count();
    let after_marks = hash.get(marks..).unwrap_or_default();
    let is_hash = match scheme {
        Some(scheme) => !scheme.eq_ignore_ascii_case(b"CLEARTEXT"),
        None => {
            matches!(after_marks, [] | [b'{' | b'$', ..] | [b'L', b'K', ..]) || is_des(after_marks)
        }
    };
    marks > 0 && is_hash
}

/// Recognises a traditional crypt(3) hash, which has no scheme.
fn is_des(hash: &[u8]) -> bool {
    hash.len() == 13 && hash.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/'))
}

/// A well-formed hash that no password has. Kanidm replaces a unix password, but cannot remove it.
///
/// # Errors
/// The system gives no random octets.
pub fn unusable_hash() -> Result<String, ring::error::Unspecified> {
    const SALT_LENGTH: usize = 16;
    let mut octets = [0; SHA512_LENGTH + SALT_LENGTH];
    SystemRandom::new().fill(&mut octets)?;
    Ok(format!("{{SSHA512}}{}", STANDARD.encode(octets)))
}

/// Checks that Kanidm imports a password.
pub fn check(password: &str, scratch: &mut Scratch) -> Result<(), Rule> {
    if super::text(password).is_err() || password.len() > MAX_LENGTH {
        return Err(MALFORMED);
    }
    if is_locked(password.as_bytes()) {
        return Err(LOCKED);
    }
    if let Some(django) = password.strip_prefix("pbkdf2_sha256$") {
        return check_django(django, scratch);
    }
    if let Some(hash) = password.strip_prefix("ipaNTHash: ") {
        let decoded = scratch.decode(&URL_SAFE_NO_PAD, hash).is_ok()
            || scratch.decode(&URL_SAFE, hash).is_ok();
        return well_formed(decoded);
    }
    if let Some(hash) = password.strip_prefix("sambaNTPassword: ") {
        return well_formed(
            hash.len().is_multiple_of(2) && hash.bytes().all(|b| b.is_ascii_hexdigit()),
        );
    }
    match password.strip_prefix('{') {
        Some(rest) => {
            let (scheme, hash) = rest.split_once('}').ok_or(MALFORMED)?;
            check_scheme(scheme, hash, scratch)
        }
        None => Err(NO_SCHEME),
    }
}

/// Checks `{scheme}hash`, RFC 2307 §5.3. Schemes compare without regard to case.
fn check_scheme(scheme: &str, hash: &str, scratch: &mut Scratch) -> Result<(), Rule> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("ssha512") {
        // This scheme alone must have a salt, so the value is longer than the digest.
        return scratch
            .decode(&STANDARD, hash)
            .and_then(|length| well_formed(length > SHA512_LENGTH));
    }
    let digest = |length: usize, salted: bool, scratch: &mut Scratch| {
        let decoded = scratch.decode(&STANDARD, hash)?;
        well_formed(if salted { decoded >= length } else { decoded == length })
    };
    if is("ssha") {
        digest(SHA1_LENGTH, true, scratch)
    } else if is("crypt") {
        check_crypt(hash)
    } else if is("sha") {
        digest(SHA1_LENGTH, false, scratch)
    } else if is("sha256") {
        digest(SHA256_LENGTH, false, scratch)
    } else if is("ssha256") {
        digest(SHA256_LENGTH, true, scratch)
    } else if is("sha512") {
        digest(SHA512_LENGTH, false, scratch)
    } else if is("pbkdf2") || is("pbkdf2-sha1") {
        check_pbkdf2(hash, MIN_PBKDF2_SHA1_KEY, scratch)
    } else if is("pbkdf2-sha256") || is("pbkdf2-sha512") {
        check_pbkdf2(hash, MIN_PBKDF2_SHA2_KEY, scratch)
    } else if is("argon2") {
        check_argon2(hash, scratch)
    } else if is("sasl") {
        Err(SASL)
    } else if is("md5") || is("smd5") {
        Err(MD5)
    } else {
        Err(SCHEME)
    }
}

fn check_crypt(hash: &str) -> Result<(), Rule> {
    if let Some(md5) = hash.strip_prefix("$1$") {
        return well_formed(md5.contains('$'));
    }
    let sha2 = hash.strip_prefix("$5$").or_else(|| hash.strip_prefix("$6$")).ok_or(CRYPT)?;
    match sha2.strip_prefix("rounds=") {
        None => Ok(()),
        Some(rest) => check_cost(rest.split('$').next().unwrap_or_default()),
    }
}

/// Checks Django's `pbkdf2_sha256$cost$salt$hash`, without its first part.
fn check_django(rest: &str, scratch: &mut Scratch) -> Result<(), Rule> {
    let [cost, _salt, hash] = parts(rest).ok_or(MALFORMED)?;
    check_cost(cost)?;
    let length = scratch.decode(&STANDARD, hash)?;
    well_formed(length >= MIN_PBKDF2_SHA2_KEY)
}

/// Checks the `cost$salt$hash` of OpenLDAP and passlib. Their base64 has `.` for `+` and no
/// padding.
fn check_pbkdf2(rest: &str, shortest_key: usize, scratch: &mut Scratch) -> Result<(), Rule> {
    let [cost, salt, hash] = parts(rest).ok_or(MALFORMED)?;
    check_cost(cost)?;
    scratch.decode_passlib(salt)?;
    let length = scratch.decode_passlib(hash)?;
    well_formed(length >= shortest_key)
}

fn check_cost(cost: &str) -> Result<(), Rule> {
    match cost.parse::<u64>() {
        Ok(rounds) if rounds <= MAX_ROUNDS => Ok(()),
        Ok(_) => Err(COSTLY),
        // The number has more than 64 bits.
        Err(_) if !cost.is_empty() && cost.bytes().all(|b| b.is_ascii_digit()) => Err(COSTLY),
        Err(_) => Err(MALFORMED),
    }
}

/// Splits a text into exactly three parts at dollar signs.
fn parts(text: &str) -> Option<[&str; 3]> {
    let mut parts = text.split('$');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

/// Checks the PHC string format, `$argon2id$v=19$m=65536,t=2,p=1$salt$hash`. The version is
/// optional.
fn check_argon2(phc: &str, scratch: &mut Scratch) -> Result<(), Rule> {
    let mut fields = phc.split('$');
    if fields.next() != Some("") {
        return Err(MALFORMED);
    }
    match fields.next() {
        Some("argon2id") => {}
        Some("argon2i" | "argon2d") => return Err(ARGON2ID),
        _ => return Err(MALFORMED),
    }
    let mut next = fields.next();
    if let Some(version) =
        next.and_then(|field| field.strip_prefix("v=")).filter(|version| !version.contains(','))
    {
        if !matches!(version, "16" | "19") {
            return Err(MALFORMED);
        }
        next = fields.next();
    }
    let (Some(params), Some(salt), Some(hash), None) =
        (next, fields.next(), fields.next(), fields.next())
    else {
        return Err(MALFORMED);
    };
    let salt_in_limits =
        (PHC_SALT_LENGTH).contains(&salt.len()) && scratch.decode(&STANDARD_NO_PAD, salt).is_ok();
    let hash_in_limits = scratch
        .decode(&STANDARD_NO_PAD, hash)
        .is_ok_and(|length| PHC_HASH_LENGTH.contains(&length));
    well_formed(has_argon2_costs(params) && salt_in_limits && hash_in_limits)?;
    if is_affordable(params) { Ok(()) } else { Err(COSTLY) }
}

fn is_affordable(params: &str) -> bool {
    params.split(',').filter_map(|pair| pair.split_once('=')).all(|(name, value)| {
        let at_most = match name {
            "m" => MAX_MEMORY_KIB,
            "t" => MAX_PASSES,
            "p" => MAX_LANES,
            _ => return true,
        };
        value.parse::<u32>().is_ok_and(|cost| cost <= at_most)
    })
}

/// Characters of an encoded salt, and octets of a decoded hash.
const PHC_SALT_LENGTH: std::ops::RangeInclusive<usize> = 4..=64;
const PHC_HASH_LENGTH: std::ops::RangeInclusive<usize> = 10..=64;

/// True if the parameters are well-formed `name=value` pairs with decimal `m`, `t` and `p`.
fn has_argon2_costs(params: &str) -> bool {
    const MAX_PARAMS_LENGTH: usize = 127;
    let pairs = || params.split(',').filter_map(|pair| pair.split_once('='));
    let cost = |wanted: &str| {
        pairs().find(|(name, _)| *name == wanted).is_some_and(|(_, value)| is_phc_decimal(value))
    };
    params.len() <= MAX_PARAMS_LENGTH
        && params.split(',').all(|pair| {
            pair.split_once('=')
                .is_some_and(|(name, value)| is_phc_name(name) && is_phc_value(value))
        })
        && ["m", "t", "p"].into_iter().all(cost)
}

fn is_phc_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_phc_value(value: &str) -> bool {
    value.len() <= 64
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'+' | b'.' | b'-'))
}

/// True for a decimal number without a sign and without leading zeros.
fn is_phc_decimal(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_digit())
        && (value == "0" || !value.starts_with('0'))
        && value.parse::<u32>().is_ok()
}

fn well_formed(yes: bool) -> Result<(), Rule> {
    if yes { Ok(()) } else { Err(MALFORMED) }
}

impl Scratch {
    /// Decodes base64 and returns the number of octets.
    fn decode(&mut self, base64: &GeneralPurpose, text: &str) -> Result<usize, Rule> {
        self.bytes.clear();
        base64.decode_vec(text, &mut self.bytes).map_err(|_| MALFORMED)?;
        Ok(self.bytes.len())
    }

    fn decode_passlib(&mut self, text: &str) -> Result<usize, Rule> {
        let mut standard = std::mem::take(&mut self.text);
        standard.clear();
        standard.extend(text.chars().map(|c| if c == '.' { '+' } else { c }));
        let padding = match standard.len() % 4 {
            2 => "==",
            3 => "=",
            _ => "",
        };
        standard.push_str(padding);
        let decoded = self.decode(&PBKDF2_BASE64, &standard);
        self.text = standard;
        decoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD as B64;

    fn check(password: &str) -> Result<(), Rule> {
        super::check(password, &mut Scratch::default())
    }

    fn digest(scheme: &str, octets: usize) -> String {
        format!("{{{scheme}}}{}", B64.encode(vec![7; octets]))
    }

    #[test]
    fn digests_by_length() {
        // Scheme, minimum length, maximum length.
        for (scheme, shortest, longest) in [
            ("SHA", 20, 20),
            ("SHA256", 32, 32),
            ("SHA512", 64, 64),
            ("SSHA", 20, 100),
            ("SSHA256", 32, 100),
            ("SSHA512", 65, 100),
            ("ssha", 20, 100),
            ("sSha512", 65, 100),
        ] {
            assert_eq!(check(&digest(scheme, shortest)), Ok(()), "{scheme}");
            assert_eq!(check(&digest(scheme, longest)), Ok(()), "{scheme}");
            assert_eq!(check(&digest(scheme, shortest - 1)), Err(MALFORMED), "{scheme}");
            if longest < 100 {
                assert_eq!(check(&digest(scheme, longest + 1)), Err(MALFORMED), "{scheme}");
            }
        }
    }

    #[test]
    fn base64_is_strict_where_kanidm_is() {
        // 65 octets end in one padded group: no padding, no trailing bits, no spaces.
        let good = digest("SSHA512", 65);
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(good.trim_end_matches('=')), Err(MALFORMED));
        assert_eq!(check(&good.replace("c=", "d=")), Err(MALFORMED));
        assert_eq!(check(&format!("{good} ")), Err(MALFORMED));
        assert_eq!(check(&format!("{good}\n")), Err(MALFORMED));
    }

    #[test]
    fn pbkdf2() {
        let key = |octets| {
            B64.encode(vec![7; octets]).replace('+', ".").trim_end_matches('=').to_string()
        };
        for (scheme, shortest) in
            [("PBKDF2", 19), ("PBKDF2-SHA1", 19), ("PBKDF2-SHA256", 32), ("PBKDF2-SHA512", 32)]
        {
            assert_eq!(
                check(&format!("{{{scheme}}}10000$c2FsdA${}", key(shortest))),
                Ok(()),
                "{scheme}"
            );
            assert_eq!(
                check(&format!("{{{scheme}}}10000$c2FsdA${}", key(shortest - 1))),
                Err(MALFORMED),
                "{scheme}"
            );
        }
        let hash = key(32);
        for good in [
            format!("{{PBKDF2}}1$...$%{hash}").replace("$%", "$"),
            format!("{{PBKDF2}}1$c2FsdA==${hash}"),
            format!("{{PBKDF2}}1$c2FsdB${hash}"),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        for bad in [
            format!("{{PBKDF2}}x$c2FsdA${hash}"),
            format!("{{PBKDF2}}$c2FsdA${hash}"),
            format!("{{PBKDF2}}-1$c2FsdA${hash}"),
            format!("{{PBKDF2}}1${hash}"),
            format!("{{PBKDF2}}1$c2FsdA${hash}$"),
            format!("{{PBKDF2}}1$c2Fsd${hash}"),
            format!("{{PBKDF2}}1$c2!sdA${hash}"),
            format!("{{PBKDF2-SHA384}}1$c2FsdA${hash}"),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
        let django = B64.encode([7; 32]);
        assert_eq!(check(&format!("pbkdf2_sha256$36000$any salt!${django}")), Ok(()));
        assert_eq!(
            check(&format!("pbkdf2_sha256$36000$salt${}", B64.encode([7; 31]))),
            Err(MALFORMED)
        );
        assert_eq!(check(&format!("pbkdf2_sha256$x$salt${django}")), Err(MALFORMED));
        assert_eq!(check(&format!("pbkdf2_sha256$36000${django}")), Err(MALFORMED));
    }

    #[test]
    fn argon2() {
        let salt = "c2FsdHNhbHQ";
        let hash = STANDARD_NO_PAD.encode([7; 32]);
        for good in [
            format!("{{ARGON2}}$argon2id$v=19$m=65536,t=2,p=1${salt}${hash}"),
            format!("{{argon2}}$argon2id$m=65536,t=2,p=1${salt}${hash}"),
            format!("{{ARGON2}}$argon2id$v=16$m=1,t=0,p=1,data=x${salt}${hash}"),
            format!(
                "{{ARGON2}}$argon2id$v=19$m=1,t=1,p=1$c2Fs${}",
                STANDARD_NO_PAD.encode([7; 10])
            ),
            format!(
                "{{ARGON2}}$argon2id$v=19$m=1,t=1,p=1$c2Fs${}",
                STANDARD_NO_PAD.encode([7; 64])
            ),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        assert_eq!(
            check(&format!("{{ARGON2}}$argon2i$v=19$m=65536,t=2,p=1${salt}${hash}")),
            Err(ARGON2ID)
        );
        assert_eq!(
            check(&format!("{{ARGON2}}$argon2d$v=19$m=65536,t=2,p=1${salt}${hash}")),
            Err(ARGON2ID)
        );
        for bad in [
            "{ARGON2}".to_string(),
            format!("{{ARGON2}}argon2id$v=19$m=65536,t=2,p=1${salt}${hash}"),
            format!("{{ARGON2}}$argon2id$v=18$m=65536,t=2,p=1${salt}${hash}"),
            format!("{{ARGON2}}$argon2id$v=19$m=65536,t=2${salt}${hash}"),
            format!("{{ARGON2}}$argon2id$v=19$m=065536,t=2,p=1${salt}${hash}"),
            format!("{{ARGON2}}$argon2id$v=19$m=4294967296,t=2,p=1${salt}${hash}"),
            format!("{{ARGON2}}$argon2id$v=19$m=65536,t=2,p=1$c2F${hash}"),
            format!("{{ARGON2}}$argon2id$v=19$m=65536,t=2,p=1${salt}"),
            format!("{{ARGON2}}$argon2id$v=19$m=65536,t=2,p=1${salt}${hash}$"),
            format!(
                "{{ARGON2}}$argon2id$v=19$m=65536,t=2,p=1${salt}${}",
                STANDARD_NO_PAD.encode([7; 9])
            ),
            format!(
                "{{ARGON2}}$argon2id$v=19$m=65536,t=2,p=1${salt}${}",
                STANDARD_NO_PAD.encode([7; 65])
            ),
        ] {
            assert_eq!(check(&bad), Err(MALFORMED), "{bad}");
        }
    }

    #[test]
    fn marks_of_a_lock() {
        for locked in [
            "!",
            "*",
            "!!",
            " !\n",
            "*LK*",
            "!{SSHA}AAAA",
            "!$6$s$h",
            "!saO0Bm9VHuTZM",
            "{SSHA}!AAAA",
            "{CRYPT}*",
            "{CRYPT}!$6$s$h",
            "{}!",
        ] {
            assert!(is_locked(locked.as_bytes()), "{locked:?}");
        }
        for other in [
            "",
            "x",
            "{SSHA}AAAA",
            "{CRYPT}$6$s$h!",
            "!Summer 2026",
            "*secret*",
            "{CLEARTEXT}!secret",
            "{SSHA",
            "a!",
        ] {
            assert!(!is_locked(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn unusable_hashes_are_well_formed_and_differ() {
        let hashes = [unusable_hash().unwrap(), unusable_hash().unwrap()];
        assert_ne!(hashes[0], hashes[1]);
        for hash in hashes {
            assert_eq!(check(&hash), Ok(()));
        }
    }

    /// Each cost at its limit, and above it.
    #[test]
    fn what_costs_too_much() {
        let hash = STANDARD_NO_PAD.encode([7; 32]);
        let argon2 = |m: u64, t: u64, p: u64| {
            format!("{{ARGON2}}$argon2id$v=19$m={m},t={t},p={p}$c2FsdHNhbHQ${hash}")
        };
        let key = B64.encode([7; 32]).replace('+', ".").trim_end_matches('=').to_string();
        let pbkdf2 = |rounds: u64| format!("{{PBKDF2-SHA256}}{rounds}$c2FsdA${key}");
        let django = |rounds: u64| format!("pbkdf2_sha256${rounds}$salt${}", B64.encode([7; 32]));
        let crypt = |kind: u8, rounds: u64| format!("{{CRYPT}}${kind}$rounds={rounds}$salt$hash");
        for good in [
            argon2(262_144, 16, 16),
            argon2(65_536, 2, 1),
            pbkdf2(5_000_000),
            django(5_000_000),
            crypt(5, 5_000_000),
            crypt(6, 656_000),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        let over_64_bits = "{PBKDF2-SHA256}99999999999999999999$c2FsdA$".to_owned() + &key;
        for bad in [
            argon2(262_145, 1, 1),
            argon2(4_294_967_295, 1, 1),
            argon2(65_536, 17, 1),
            argon2(65_536, 2, 17),
            pbkdf2(5_000_001),
            pbkdf2(u64::MAX),
            over_64_bits,
            django(5_000_001),
            crypt(5, 5_000_001),
            crypt(6, 999_999_999),
        ] {
            assert_eq!(check(&bad), Err(COSTLY), "{bad}");
        }
        assert_eq!(check(&format!("{{SSHA}}{}", "x".repeat(1016))), Ok(()));
        assert_eq!(check(&format!("{{SSHA}}{}", "x".repeat(1020))), Err(MALFORMED));
        assert_eq!(check("{CRYPT}$6$rounds=many$salt$hash"), Err(MALFORMED));
    }

    #[test]
    fn the_other_formats() {
        for good in [
            "{CRYPT}$6$labsalt0$xyz",
            "{crypt}$5$s$h",
            "{CRYPT}$1$s$h",
            "{CRYPT}$6$",
            "ipaNTHash: iEb36u6PsRetBr3YMLdYbA",
            "ipaNTHash: iEb36u6PsRetBr3YMLdYbA==",
            "sambaNTPassword: 8846F7EAEE8FB117AD06BDD830B7586C",
            "sambaNTPassword: 8846f7eaee8fb117ad06bdd830b7586c",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, rule) in [
            ("", NO_SCHEME),
            ("secret", NO_SCHEME),
            ("$6$salt$hash", NO_SCHEME),
            ("x", NO_SCHEME),
            ("!", LOCKED),
            ("*", LOCKED),
            ("!!", LOCKED),
            ("!{SSHA}AAAA", LOCKED),
            ("!secret", NO_SCHEME),
            ("{SASL}user@REALM", SASL),
            ("{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==", MD5),
            ("{SMD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==", MD5),
            ("{CLEARTEXT}secret", SCHEME),
            ("{BCRYPT}$2b$12$abc", SCHEME),
            ("{}x", SCHEME),
            ("{SSHA", MALFORMED),
            ("{CRYPT}!", LOCKED),
            ("{CRYPT}*", LOCKED),
            ("{SSHA}!AAAA", LOCKED),
            ("!{CRYPT}$6$s$h", LOCKED),
            ("{CRYPT}ab0123456789.", CRYPT),
            ("{CRYPT}$2b$12$abc", CRYPT),
            ("{CRYPT}$y$j9T$abc", CRYPT),
            ("{CRYPT}!$6$s$h", LOCKED),
            ("{CRYPT}$1$nohash", MALFORMED),
            ("{CRYPT}$6$s$h\n", MALFORMED),
            ("ipaNTHash: iEb36u6P+RetBr3YMLdYbA", MALFORMED),
            ("sambaNTPassword: 8846F7EAEE8FB117AD06BDD830B7586", MALFORMED),
            ("sambaNTPassword: 8846F7EAEE8FB117AD06BDD830B7586G", MALFORMED),
        ] {
            assert_eq!(check(bad), Err(rule), "{bad}");
        }
    }
}
