//! The certificate facts that messages show: subject, issuer, names, end of validity.
//!
//! Scope: reads these facts from the DER of an X.509 certificate (RFC 5280 §4.1). It verifies
//! nothing, because rustls does that. It leaves out what it cannot read. The certificate may come
//! from a stranger, so each name is cut.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, NaiveDate, Utc};
use ldap_content_sync::DecodeError;
use ldap_content_sync::ber::{BOOLEAN, INTEGER, OCTET_STRING, Reader, SEQUENCE, SET};

/// The facts about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name, else its organisation.
    pub subject: Option<String>,
    /// The issuer's common name, else its organisation.
    pub issuer: Option<String>,
    /// DNS names and addresses of the subjectAltName.
    pub names: Vec<String>,
    /// The end of the validity.
    pub not_after: Option<DateTime<Utc>>,
}

impl Certificate {
    /// Reads a certificate; `None` if the bytes are not one.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        read(der).ok()
    }

    /// Whole days until it expires; negative if it has expired.
    pub fn days_left(&self, now: DateTime<Utc>) -> Option<i64> {
        Some(self.not_after?.signed_duration_since(now).num_days())
    }

    /// `issued by Example CA, for ldap.example.com, valid until 2027-01-01 (41 days)`.
    pub fn describe(&self, now: DateTime<Utc>) -> impl fmt::Display {
        let mut text = format!("issued by {}", self.issuer.as_deref().unwrap_or("a nameless CA"));
        match self.names.as_slice() {
            [] => text.push_str(", for no name"),
            names => text.push_str(&format!(", for {}", names.join(", "))),
        }
        if let (Some(end), Some(days)) = (self.not_after, self.days_left(now)) {
            text.push_str(&format!(
                ", valid until {} ({days} day{})",
                end.date_naive(),
                if days == 1 { "" } else { "s" }
            ));
        }
        text
    }
}

const GENERALIZED_TIME: u8 = 0x18;
const UTC_TIME: u8 = 0x17;
const OID: u8 = 0x06;
/// `[0] EXPLICIT Version` and `[3] EXPLICIT Extensions`.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
/// Choices of GeneralName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

fn read(der: &[u8]) -> Result<Certificate, DecodeError> {
    let mut certificate = Reader::new(der).expect(SEQUENCE, "Certificate")?.reader();
    let mut tbs = certificate.expect(SEQUENCE, "TBSCertificate")?.reader();
    tbs.optional(VERSION, "version")?;
    tbs.expect(INTEGER, "serialNumber")?;
    tbs.expect(SEQUENCE, "signature")?;
    let issuer = name(tbs.expect(SEQUENCE, "issuer")?.reader())?;
    let mut validity = tbs.expect(SEQUENCE, "validity")?.reader();
    validity.element("notBefore")?;
    let end = validity.element("notAfter")?;
    let subject = name(tbs.expect(SEQUENCE, "subject")?.reader())?;
    tbs.expect(SEQUENCE, "subjectPublicKeyInfo")?;
    let mut names = Vec::new();
    while !tbs.is_empty() {
        let element = tbs.element("TBSCertificate")?;
        if element.tag == EXTENSIONS {
            names = alternative_names(element.reader())?;
        }
    }
    Ok(Certificate { subject, issuer, names, not_after: time(end.tag, end.contents) })
}

/// Maximum characters of a name that a message shows.
const LONGEST_NAME: usize = 100;

/// Name: a SEQUENCE of SETs of type-value pairs. Returns the common name, else the organisation.
fn name(mut name: Reader<'_>) -> Result<Option<String>, DecodeError> {
    let (mut common_name, mut organisation) = (None, None);
    while !name.is_empty() {
        let mut set = name.expect(SET, "RelativeDistinguishedName")?.reader();
        while !set.is_empty() {
            let mut pair = set.expect(SEQUENCE, "AttributeTypeAndValue")?.reader();
            let kind = pair.expect(OID, "type")?.contents;
            let value = String::from_utf8_lossy(pair.element("value")?.contents);
            let value = value.chars().take(LONGEST_NAME).collect();
            match kind {
                COMMON_NAME => common_name = Some(value),
                ORGANISATION => organisation = Some(value),
                _ => {}
            }
        }
    }
    Ok(common_name.or(organisation))
}

fn alternative_names(mut wrapped: Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let mut names = Vec::new();
    let mut extensions = wrapped.expect(SEQUENCE, "Extensions")?.reader();
    while !extensions.is_empty() {
        let mut extension = extensions.expect(SEQUENCE, "Extension")?.reader();
        let oid = extension.expect(OID, "extnID")?.contents;
        extension.optional(BOOLEAN, "critical")?;
        let value = extension.expect(OCTET_STRING, "extnValue")?;
        if oid != SUBJECT_ALT_NAME {
            continue;
        }
        let mut general = value.reader().expect(SEQUENCE, "GeneralNames")?.reader();
        while !general.is_empty() {
            let name = general.element("GeneralName")?;
            match name.tag {
                DNS_NAME => names.push(String::from_utf8_lossy(name.contents).into_owned()),
                IP_ADDRESS => {
                    names.extend(address(name.contents).map(|address| address.to_string()))
                }
                _ => {}
            }
        }
    }
    Ok(names)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// UTCTime `YYMMDDHHMMSSZ` up to 2049, GeneralizedTime `YYYYMMDDHHMMSSZ` after it (RFC 5280
/// §4.1.2.5).
fn time(tag: u8, contents: &[u8]) -> Option<DateTime<Utc>> {
    let digits = std::str::from_utf8(contents)
        .ok()?
        .strip_suffix('Z')
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i32 = year.parse().ok()?;
            (if year < 50 { year + 2000 } else { year + 1900 }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2).and_then(|part| part.parse::<u32>().ok());
    let day = NaiveDate::from_ymd_opt(year, part(0)?, part(2)?)?;
    (rest.len() == 10)
        .then(|| day.and_hms_opt(part(4)?, part(6)?, part(8)?))
        .flatten()
        .map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        CertificateParams, CertifiedIssuer, DistinguishedName, DnType, KeyPair, date_time_ymd,
    };

    fn certificate(issuer: &[(DnType, &str)], names: &[&str], end: i32) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        issuer
            .iter()
            .for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        params.not_after = date_time_ymd(end, 2, 28);
        params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap().der().to_vec()
    }

    fn day(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn issuer_names_and_days_left() {
        let der = certificate(
            &[(DnType::OrganizationName, "Example"), (DnType::CommonName, "Example CA")],
            &["ldap.example.com", "192.0.2.1", "2001:db8::1"],
            2027,
        );
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!(
            certificate.describe(day("2027-02-26T00:00:00Z")).to_string(),
            "issued by Example CA, for ldap.example.com, 192.0.2.1, 2001:db8::1, valid until 2027-02-28 (2 days)"
        );
        assert_eq!(certificate.days_left(day("2027-03-03T00:00:00Z")), Some(-3));
    }

    #[test]
    fn a_long_name_is_cut() {
        let long = "x".repeat(5000);
        let der = certificate(&[(DnType::CommonName, &long)], &["a"], 2027);
        assert_eq!(Certificate::read(&der).unwrap().issuer, Some("x".repeat(LONGEST_NAME)));
    }

    #[test]
    fn what_is_missing_is_said() {
        let der = certificate(&[(DnType::OrganizationName, "Example")], &[], 2051);
        let text =
            Certificate::read(&der).unwrap().describe(day("2051-02-27T00:00:00Z")).to_string();
        assert_eq!(text, "issued by Example, for no name, valid until 2051-02-28 (1 day)");
        let text = Certificate::read(&certificate(&[], &["a"], 2049))
            .unwrap()
            .describe(day("2049-02-28T00:00:00Z"))
            .to_string();
        assert_eq!(text, "issued by a nameless CA, for a, valid until 2049-02-28 (0 days)");
    }

    #[test]
    fn cut_or_changed_bytes_never_panic() {
        let der = certificate(
            &[(DnType::CommonName, "Example CA")],
            &["ldap.example.com", "192.0.2.1"],
            2027,
        );
        for end in 0..der.len() {
            assert_eq!(Certificate::read(&der[..end]), None, "cut at {end}");
        }
        for at in 0..der.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0xff] {
                let mut changed = der.clone();
                changed[at] = byte;
                let _ = Certificate::read(&changed);
            }
        }
        for (tag, text) in [
            (UTC_TIME, "9"),
            (UTC_TIME, "991332000000Z"),
            (GENERALIZED_TIME, "20270228000000"),
            (UTC_TIME, "2702280000Z"),
        ] {
            assert_eq!(time(tag, text.as_bytes()), None, "{text}");
        }
        assert_eq!(time(UTC_TIME, b"491231235959Z"), Some(day("2049-12-31T23:59:59Z")));
        assert_eq!(time(UTC_TIME, b"500101000000Z"), Some(day("1950-01-01T00:00:00Z")));
    }
}
