//! URIs of the configuration: `ldap_uri`, and Kanidm's `uri`.
//!
//! Scope: the part of RFC 3986 that they need. No error repeats the URI.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::sync::LdapUri;

const LDAPS_PORT: u16 = 636;
const LDAP_PORT: u16 = 389;

const CLEAR: &str = "ldap:// would carry the bind password and every password hash over the network in clear: use ldaps://, or set \
                     ldap_starttls = true";
const SOCKET: &str =
    "needs the path of the socket, its slashes written %2F, such as ldapi://%2Frun%2Fslapd%2Fldapi";

/// Parses `ldap_uri`, with the value of `ldap_starttls`.
pub(super) fn ldap(uri: &str, starttls: bool) -> Result<LdapUri, &'static str> {
    let (scheme, authority, rest) =
        split(uri).ok_or("must begin with ldaps://, ldap:// or ldapi://")?;
    if !matches!(rest, "" | "/") {
        return Err("must end after host and port: base and filter have their own keys");
    }
    match (scheme.as_str(), starttls) {
        ("ldaps", true) => {
            Err("ldaps:// is TLS from the first byte: leave ldap_starttls out, or use ldap://")
        }
        ("ldapi", true) => Err("ldapi:// is a local socket: leave ldap_starttls out"),
        ("ldap", false) => Err(CLEAR),
        ("ldapi", false) => socket_path(authority).map(LdapUri::Unix).ok_or(SOCKET),
        ("ldaps" | "ldap", _) => {
            let (host, port) = host_and_port(authority)?;
            Ok(LdapUri::Tls {
                host,
                port: port.unwrap_or(if starttls { LDAP_PORT } else { LDAPS_PORT }),
                starttls,
            })
        }
        _ => Err("must begin with ldaps://, ldap:// or ldapi://"),
    }
}

/// Parses Kanidm's `uri` and removes a final slash.
pub(super) fn kanidm(uri: &str) -> Result<String, &'static str> {
    let (scheme, authority, rest) = split(uri).ok_or("must begin with https://")?;
    if !matches!(rest, "" | "/") {
        return Err("must end after host and port, because Kanidm answers at the root of its host");
    }
    let (host, port) = host_and_port(authority)?;
    match scheme.as_str() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        "http" => {
            return Err(
                "must begin with https://: http:// would carry the token in clear, and is for loopback addresses only",
            );
        }
        _ => return Err("must begin with https://"),
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(port
        .map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

/// Splits a URI into its scheme in lower case, its authority and the rest.
fn split(uri: &str) -> Option<(String, &str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    Some((scheme.to_ascii_lowercase(), authority, rest))
}

/// Parses `host [":" port]`. An IPv6 address must be in brackets; the result has none.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    const HOST: &str =
        "needs a host name or an address (IPv6 in brackets), and at most a port after it";
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (literal, rest) = rest.split_once(']').ok_or(HOST)?;
            let address: Ipv6Addr =
                literal.parse().map_err(|_| "needs a valid IPv6 address between its brackets")?;
            (address.to_string(), rest)
        }
        None => {
            let (host, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let valid = !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
            (valid.then(|| host.to_ascii_lowercase()).ok_or(HOST)?, rest)
        }
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((host, None)),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => Err("needs a port from 1 to 65535 after the colon"),
            Ok(port) => Ok((host, Some(port))),
        },
        _ => Err(HOST),
    }
}

/// Decodes a percent-encoded absolute path of a socket.
fn socket_path(encoded: &str) -> Option<PathBuf> {
    let mut octets = Vec::new();
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let (digits, tail) = tail.split_first_chunk::<2>()?;
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    let path = String::from_utf8(octets).ok()?;
    (path.starts_with('/') && !path.contains('\0')).then(|| PathBuf::from(path))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(host: &str, port: u16, starttls: bool) -> Result<LdapUri, &'static str> {
        Ok(LdapUri::Tls { host: host.into(), port, starttls })
    }

    #[test]
    fn ldap_uris() {
        assert_eq!(ldap("ldaps://ldap.example.com", false), tls("ldap.example.com", 636, false));
        assert_eq!(
            ldap("LDAPS://LDAP.example.com:1636/", false),
            tls("ldap.example.com", 1636, false)
        );
        assert_eq!(ldap("ldap://ldap.example.com", true), tls("ldap.example.com", 389, true));
        assert_eq!(ldap("ldaps://192.0.2.1", false), tls("192.0.2.1", 636, false));
        assert_eq!(ldap("ldaps://[2001:DB8::1]", false), tls("2001:db8::1", 636, false));
        assert_eq!(ldap("ldap://[::1]:3890", true), tls("::1", 3890, true));
        assert_eq!(
            ldap("ldapi://%2Frun%2fslapd%2Fldapi", false),
            Ok(LdapUri::Unix("/run/slapd/ldapi".into()))
        );
        assert_eq!(
            ldap("ldapi://%2Ftmp%2Fa%20b%25/", false),
            Ok(LdapUri::Unix("/tmp/a b%".into()))
        );
        for refused in [
            "",
            "ldap.example.com",
            "ldaps:",
            "ldaps://",
            "ldaps:///",
            "ldaps://:636",
            "ldaps://host:",
            "ldaps://host:0",
            "ldaps://host:65536",
            "ldaps://host:+636",
            "ldaps://host:6x",
            "ldaps://user@host",
            "ldaps://user:pw@host",
            "ldaps://host/dc=example",
            "ldaps://host?x",
            "ldaps://::1",
            "ldaps://[::1",
            "ldaps://[::1]636",
            "ldaps://[192.0.2.1]",
            "ldaps://[fe80::1%25eth0]",
            "ldaps://hö.example",
            "http://host",
            "ldapi://",
            "ldapi:///run/ldapi",
            "ldapi://run%2Fldapi",
            "ldapi://%2Frun%2",
            "ldapi://%2Frun%zz",
            "ldapi://%2Frun%+1",
            "ldapi://%2F%00",
        ] {
            assert!(ldap(refused, false).is_err(), "{refused}");
        }
    }

    #[test]
    fn nothing_goes_in_clear() {
        assert!(
            ldap("ldap://ldap.example.com", false)
                .is_err_and(|e| e.contains("in clear") && e.contains("ldap_starttls"))
        );
        assert!(ldap("ldaps://ldap.example.com", true).is_err());
        assert!(ldap("ldapi://%2Frun%2Fldapi", true).is_err());
    }

    #[test]
    fn kanidm_uris() {
        assert_eq!(kanidm("https://idm.example.com/").as_deref(), Ok("https://idm.example.com"));
        assert_eq!(
            kanidm("HTTPS://IDM.example.com:8443").as_deref(),
            Ok("https://idm.example.com:8443")
        );
        assert_eq!(
            kanidm("https://[2001:db8::1]:8443").as_deref(),
            Ok("https://[2001:db8::1]:8443")
        );
        for loopback in [
            "http://localhost:8080",
            "http://127.0.0.1",
            "http://127.1.2.3:80",
            "http://[::1]:8080",
        ] {
            assert_eq!(kanidm(loopback).as_deref(), Ok(loopback));
        }
        for refused in [
            "",
            "idm.example.com",
            "http://idm.example.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "https://idm.example.com/sub",
            "https://idm.example.com?x",
            "https://token@idm.example.com",
            "ftp://localhost",
            "https://",
        ] {
            assert!(kanidm(refused).is_err(), "{refused}");
        }
    }
}
