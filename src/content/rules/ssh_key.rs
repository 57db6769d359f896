//! Rules for OpenSSH public keys, and the labels of keys.
//!
//! Scope: one key in each line, as in `authorized_keys` (sshd(8)) but without options. The checks
//! accept what the `sshkeys` crate in Kanidm parses, with three exceptions on the safe side:
//! - Certificates are refused: Kanidm accepts them, and then cannot read them back.
//! - An empty RSA or DSA number is refused: it crashes Kanidm's parser.
//! - Spaces before the key are removed.
//!
//! Kanidm wants a label for each key of a person. The label consists of the type and the start of
//! the key's SHA-256 fingerprint. It therefore stays the same when other keys change. `ssh-keygen
//! -l` shows the same fingerprint, with `+` and `/` for `-` and `_`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};

use super::Rule;

const TYPE: Rule = "must be an OpenSSH public key: type, base64, comment; the types are RSA, DSA, ECDSA, Ed25519 and their security key kinds";
const OPTIONS: Rule = "must be an OpenSSH public key without options before it";
const CERTIFICATE: Rule = "must be an OpenSSH public key, not a certificate";
const TOO_LONG: Rule = "must be an OpenSSH public key of at most 16384 bytes";
const DAMAGED: Rule = "the key is damaged: its base64 part does not hold a key of its type";

/// The fields after the type in the binary form of a key: RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709
/// §4, OpenSSH's PROTOCOL.u2f.
#[derive(Clone, Copy)]
enum Field {
    /// A number that is not empty.
    Number,
    /// The name of a NIST curve.
    Curve,
    /// Any octets.
    Octets,
    /// UTF-8 text.
    Text,
}

use Field::{Curve, Number, Octets, Text};

/// A type, its name in labels, and its fields.
type KeyType = (&'static str, &'static str, &'static [Field]);

const KEY_TYPES: &[KeyType] = &[
    ("ssh-ed25519", "ed25519", &[Octets]),
    ("ssh-rsa", "rsa", &[Number, Number]),
    ("ecdsa-sha2-nistp256", "ecdsa", &[Curve, Octets]),
    ("ecdsa-sha2-nistp384", "ecdsa", &[Curve, Octets]),
    ("ecdsa-sha2-nistp521", "ecdsa", &[Curve, Octets]),
    ("sk-ssh-ed25519@openssh.com", "ed25519-sk", &[Octets, Text]),
    ("sk-ecdsa-sha2-nistp256@openssh.com", "ecdsa-sk", &[Curve, Octets, Text]),
    ("ssh-dss", "dsa", &[Number, Number, Number, Number]),
];

const CURVES: &[&[u8]] = &[b"nistp256", b"nistp384", b"nistp521"];

/// Octets of the fingerprint in a label (96 bits), and the number of their characters.
const FINGERPRINT_OCTETS: usize = 12;
const FINGERPRINT_CHARS: usize = FINGERPRINT_OCTETS / 3 * 4;

/// Maximum bytes of a line, as in sshd.
const MAX_LINE_LENGTH: usize = 16 * 1024;

/// Checks one line (trimmed, not empty) and appends its label to `label`. `blob` is a buffer.
pub fn check(line: &str, blob: &mut Vec<u8>, label: &mut String) -> Result<(), Rule> {
    if line.len() > MAX_LINE_LENGTH {
        return Err(TOO_LONG);
    }
    let (type_name, rest) = split_word(line);
    let (_, short, fields) = KEY_TYPES
        .iter()
        .find(|(name, ..)| *name == type_name)
        .ok_or_else(|| not_a_type(type_name, rest))?;
    let (data, _comment) = split_word(rest);
    blob.clear();
    STANDARD.decode_vec(data, blob).map_err(|_| DAMAGED)?;
    if !holds_key(blob, type_name, fields) {
        return Err(DAMAGED);
    }
    write_label(short, blob, label)
}

/// Splits off the first word. Returns it and the text after the space.
fn split_word(text: &str) -> (&str, &str) {
    // A space ends nearly every word. Searching for its octet is several times faster than for a
    // character.
    match text
        .bytes()
        .position(|b| b <= b' ' || !b.is_ascii())
        .and_then(|at| text.split_at_checked(at))
    {
        Some((word, rest)) if rest.starts_with(' ') => (word, rest.trim_start()),
        _ => text
            .split_once(char::is_whitespace)
            .map_or((text, ""), |(word, rest)| (word, rest.trim_start())),
    }
}

fn not_a_type(word: &str, rest: &str) -> Rule {
    let is_type = |word: &str| KEY_TYPES.iter().any(|(name, ..)| *name == word);
    if word.ends_with("-cert-v01@openssh.com") {
        CERTIFICATE
    } else if rest.split_whitespace().any(is_type) {
        OPTIONS
    } else {
        TYPE
    }
}

/// Checks the type and the fields. Kanidm ignores any octets after the fields.
fn holds_key(blob: &[u8], type_name: &str, fields: &[Field]) -> bool {
    let mut rest = blob;
    if read_octets(&mut rest) != Some(type_name.as_bytes()) {
        return false;
    }
    fields.iter().all(|field| {
        read_octets(&mut rest).is_some_and(|octets| match field {
            Number => !octets.is_empty(),
            Curve => CURVES.contains(&octets),
            Octets => true,
            Text => str::from_utf8(octets).is_ok(),
        })
    })
}

/// Reads a `string` of RFC 4251 §5: a length of four octets, then so many octets.
fn read_octets<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (octets, after) =
        after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    Some(octets)
}

fn write_label(short: &str, blob: &[u8], label: &mut String) -> Result<(), Rule> {
    let digest = digest(&SHA256, blob);
    let mut encoded = [0; FINGERPRINT_CHARS];
    let begin = digest.as_ref().get(..FINGERPRINT_OCTETS).unwrap_or_default();
    URL_SAFE_NO_PAD.encode_slice(begin, &mut encoded).map_err(|_| DAMAGED)?;
    label.push_str(short);
    label.push('-');
    label.push_str(str::from_utf8(&encoded).map_err(|_| DAMAGED)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMfbnJ0VkQyXo2WdFYXuzDNQq3XFQqqvDVk3rLFJ0QXl";

    fn string(octets: &[u8]) -> Vec<u8> {
        [&u32::try_from(octets.len()).unwrap().to_be_bytes(), octets].concat()
    }

    fn key(type_name: &str, fields: &[&[u8]]) -> String {
        let mut blob = string(type_name.as_bytes());
        fields.iter().for_each(|field| blob.extend(string(field)));
        format!("{type_name} {}", STANDARD.encode(blob))
    }

    fn label(line: &str) -> Result<String, Rule> {
        let mut label = String::new();
        check(line, &mut Vec::new(), &mut label).map(|()| label)
    }

    #[test]
    fn every_type() {
        for (line, short) in [
            (key("ssh-ed25519", &[&[1; 32]]), "ed25519-"),
            (key("ssh-rsa", &[&[1, 0, 1], &[0, 200]]), "rsa-"),
            (key("ssh-dss", &[&[1], &[2], &[3], &[4]]), "dsa-"),
            (key("ecdsa-sha2-nistp256", &[b"nistp256", &[4; 65]]), "ecdsa-"),
            (key("ecdsa-sha2-nistp384", &[b"nistp384", &[4; 97]]), "ecdsa-"),
            (key("ecdsa-sha2-nistp521", &[b"nistp521", &[4; 133]]), "ecdsa-"),
            (key("sk-ssh-ed25519@openssh.com", &[&[1; 32], b"ssh:"]), "ed25519-sk-"),
            (
                key("sk-ecdsa-sha2-nistp256@openssh.com", &[b"nistp256", &[4; 65], b"ssh:"]),
                "ecdsa-sk-",
            ),
        ] {
            let label = label(&line).unwrap();
            let fingerprint = label.strip_prefix(short).unwrap();
            assert_eq!(fingerprint.len(), 16, "{line}");
        }
    }

    #[test]
    fn label_depends_on_the_key_alone() {
        // `ssh-keygen -lf` says SHA256:2W7PCpfIdXproKLq…
        let plain = label(ED25519).unwrap();
        assert_eq!(plain, "ed25519-2W7PCpfIdXproKLq");
        assert_eq!(label(&format!("{ED25519} user@host with  spaces")).unwrap(), plain);
        assert_eq!(label(&format!("{ED25519}\t  other")).unwrap(), plain);
        assert_ne!(label(&key("ssh-ed25519", &[&[1; 32]])).unwrap(), plain);
    }

    #[test]
    fn refused() {
        let data = ED25519.strip_prefix("ssh-ed25519 ").unwrap();
        for (line, rule) in [
            ("garbage".to_string(), TYPE),
            ("ssh-foo AAAA".to_string(), TYPE),
            (data.to_string(), TYPE),
            ("SSH-ED25519 AAAA".to_string(), TYPE),
            (format!("no-pty,command=\"x y\" {ED25519}"), OPTIONS),
            (key("ssh-ed25519-cert-v01@openssh.com", &[&[1; 32]]), CERTIFICATE),
            ("ssh-ed25519".to_string(), DAMAGED),
            ("ssh-ed25519 !!!!".to_string(), DAMAGED),
            (format!("ssh-rsa {data}"), DAMAGED),
            (format!("ssh-ed25519 {}", data.trim_end_matches('l')), DAMAGED),
            (key("ssh-ed25519", &[]), DAMAGED),
            (key("ssh-rsa", &[&[1, 0, 1]]), DAMAGED),
            (key("ssh-rsa", &[&[], &[1]]), DAMAGED),
            (key("ecdsa-sha2-nistp256", &[b"nistp257", &[4; 65]]), DAMAGED),
            (key("sk-ssh-ed25519@openssh.com", &[&[1; 32], &[0xff]]), DAMAGED),
        ] {
            assert_eq!(label(&line), Err(rule), "{line}");
        }
    }

    #[test]
    fn a_key_cut_anywhere_is_refused() {
        let blob = [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&[9; 20])].concat();
        for cut in 0..blob.len() {
            assert_eq!(
                label(&format!("ssh-rsa {}", STANDARD.encode(&blob[..cut]))),
                Err(DAMAGED),
                "{cut}"
            );
        }
        assert!(label(&format!("ssh-rsa {}", STANDARD.encode(&blob))).is_ok());
    }
}
