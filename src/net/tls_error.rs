//! TLS errors as text for the administrator: unusable files of the configuration, and problems with
//! the peer or its certificate.
//!
//! Scope: texts. No message contains a byte of a key file.

use std::path::{Path, PathBuf};
use std::{error, fmt, io};

use chrono::DateTime;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{
    AlertDescription, CertificateError, InconsistentKeys, InvalidMessage, PeerIncompatible,
};

use super::certificate::Certificate;

/// An unusable TLS configuration. Every variant about a file names its path.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file is damaged PEM.
    BadPem {
        /// The file.
        path: PathBuf,
        /// The error, without any content of the file.
        reason: String,
    },
    /// The file holds no certificate in PEM.
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No certificate of the file is usable as a CA.
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Reason why the last one was refused.
        reason: String,
    },
    /// The file holds no private key in PEM.
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is protected by a pass phrase.
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key belongs to another certificate.
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Certificate and key cannot be used together.
    ClientAuth {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The reason from rustls.
        reason: String,
    },
    /// The system has no usable CA certificates.
    NoSystemRoots {
        /// Errors of the search for them.
        reasons: Vec<String>,
    },
    /// rustls rejects the configuration.
    Setup {
        /// The reason from rustls.
        reason: String,
    },
}

impl TlsError {
    pub(crate) fn from_client_auth(certificate: &Path, key: &Path, error: &rustls::Error) -> Self {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::KeyMismatch { certificate, key }
            }
            other => TlsError::ClientAuth { certificate, key, reason: other.to_string() },
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Read { path, source } => {
                write!(
                    f,
                    "cannot read {}: {source}; check the path in the configuration",
                    path.display()
                )
            }
            TlsError::BadPem { path, reason } => write!(f, "{}: {reason}", path.display()),
            TlsError::NoCertificate { path } => {
                write!(
                    f,
                    "{} holds no certificate in PEM form (a section \"-----BEGIN CERTIFICATE-----\"); check the path",
                    path.display()
                )
            }
            TlsError::BadCertificate { path, reason } => {
                write!(
                    f,
                    "{}: no certificate in it is usable as a CA: {reason}; put the CA that issued the server's certificate into it",
                    path.display()
                )
            }
            TlsError::NoKey { path } => write!(
                f,
                "{} holds no private key in PEM form (a section \"PRIVATE KEY\", \"RSA PRIVATE KEY\" or \"EC PRIVATE KEY\"); check the path",
                path.display()
            ),
            TlsError::EncryptedKey { path } => write!(
                f,
                "the private key in {} is protected by a pass phrase, and a service cannot ask for it; store the key without one: \
                 openssl pkey -in OLD -out NEW, readable by this service alone",
                path.display()
            ),
            TlsError::KeyMismatch { certificate, key } => write!(
                f,
                "the private key in {} does not belong to the first certificate in {}; put the client's own certificate first",
                key.display(),
                certificate.display()
            ),
            TlsError::ClientAuth { certificate, key, reason } => write!(
                f,
                "the client certificate in {} cannot be used with the private key in {}: {reason}; \
                 keys may be RSA (2048 bits and more), ECDSA (P-256, P-384) or Ed25519",
                certificate.display(),
                key.display()
            ),
            TlsError::NoSystemRoots { reasons } => {
                f.write_str("this system has no usable CA certificates")?;
                for reason in reasons {
                    write!(f, "; {reason}")?;
                }
                f.write_str("; install them (package ca-certificates) or configure a CA file")
            }
            TlsError::Setup { reason } => write!(f, "TLS cannot be set up: {reason}"),
        }
    }
}

impl error::Error for TlsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            TlsError::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A server's certificate chain that no trusted CA has issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntrustedChain {
    subject: String,
    issuer: String,
    /// Issuer of the last certificate of the chain.
    last_issuer: String,
    /// True if the server sent no intermediate certificates.
    is_alone: bool,
}

impl UntrustedChain {
    /// `None` if a certificate cannot be read.
    pub(super) fn read(
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Option<UntrustedChain> {
        const NAMELESS: &str = "(no name)";
        let last = Certificate::read(intermediates.last().unwrap_or(own))?;
        let own = Certificate::read(own)?;
        let name = |name: Option<String>| name.unwrap_or_else(|| NAMELESS.to_owned());
        Some(UntrustedChain {
            // Modern certificates may have host names only.
            subject: name(own.subject.or_else(|| own.names.into_iter().next())),
            issuer: name(own.issuer),
            last_issuer: name(last.issuer),
            is_alone: intermediates.is_empty(),
        })
    }

    fn explain(&self, ca_key: &str) -> String {
        let UntrustedChain { subject, issuer, last_issuer, is_alone } = self;
        let intermediates =
            if *is_alone { ", or let the server send its intermediate certificates" } else { "" };
        format!(
            "the server's certificate (subject {subject:?}, issuer {issuer:?}) is issued by a CA that is not trusted here; \
             add the certificate of the CA {last_issuer:?} to {ca_key}{intermediates}"
        )
    }
}

impl fmt::Display for UntrustedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explain("the trusted CAs"))
    }
}

impl error::Error for UntrustedChain {}

/// Describes a TLS failure of the peer or its certificate, and the remedy. `ca_key` is the
/// configuration key for the CA: `ldap_ca`, or `ca_path` for Kanidm.
pub fn explain(error: &rustls::Error, ca_key: &str) -> String {
    match error {
        rustls::Error::InvalidCertificate(certificate) => explain_certificate(certificate, ca_key),
        rustls::Error::AlertReceived(alert) => explain_alert(*alert, ca_key == "ldap_ca"),
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => {
            "the answer is not TLS: the port speaks something else, perhaps plain LDAP; check the port"
                .into()
        }
        rustls::Error::PeerIncompatible(reason) => explain_incompatible(reason),
        other => format!("TLS failed: {other}; see the server's log"),
    }
}

fn explain_certificate(error: &CertificateError, ca_key: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!(
            "the server's certificate is issued by a CA that is not trusted here; add the CA to {ca_key}, \
             and let the server send its intermediate certificates"
        ),
        CertificateError::Other(other) if other.0.is::<UntrustedChain>() => {
            other.0.downcast_ref::<UntrustedChain>().map_or_else(String::new, |c| c.explain(ca_key))
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "a certificate of the server's chain expired on {}, now it is {}; renew it on the server, or correct this machine's clock",
            date(*not_after),
            date(*time)
        ),
        CertificateError::Expired => "a certificate of the server's chain has expired; renew it on the server".into(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "a certificate of the server's chain is only valid from {}, now it is {}; correct the clock of this machine or of the issuer",
            date(*not_before),
            date(*time)
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let asked = expected.to_str();
            let names = match presented.as_slice() {
                [] => "no name at all in its subjectAltName (its common name does not count)".into(),
                names => names.iter().map(|name| plain_name(name)).collect::<Vec<_>>().join(", "),
            };
            format!(
                "the server's certificate is not for {asked}; it is for {names}; use a name from the certificate in the URI, \
                 or add {asked} to the certificate"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate may not be used by a TLS server: its extendedKeyUsage lacks serverAuth; issue another one".into()
        }
        CertificateError::BadSignature => {
            format!("a certificate of the server's chain is not signed by the CA it names: {ca_key} may hold an older CA of that name; replace it")
        }
        // rustls wraps webpki's error in an opaque type. Only its Debug text tells the cases apart.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server uses a CA certificate as its own (basicConstraints CA:TRUE, the default of `openssl req -x509`); \
             give the server a certificate with CA:FALSE, signed by that CA"
                .into()
        }
        CertificateError::Other(other) if format!("{other:?}").contains("UnsupportedCertVersion") => {
            "the server's certificate is of X.509 version 1, which cannot name hosts; issue one of version 3 with a subjectAltName".into()
        }
        other => format!("the server's certificate is not acceptable: {other}; issue another one"),
    }
}

/// webpki spells presented names as `DnsName("ldap.example.com")` and `IpAddress(127.0.0.1)`.
fn plain_name(presented: &str) -> &str {
    let inner =
        presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(presented);
    inner.trim_matches('"')
}

fn explain_alert(alert: AlertDescription, is_directory: bool) -> String {
    match alert {
        AlertDescription::CertificateRequired if !is_directory => {
            "the server asks for a client certificate, and there is none for Kanidm; check `uri`, and any proxy in front of Kanidm".into()
        }
        AlertDescription::CertificateRequired => {
            "the server asks for a client certificate; set ldap_client_cert and ldap_client_key"
                .into()
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => {
            format!(
                "the server does not accept our client certificate (TLS alert {alert:?}); see ldap_client_cert, and the CA that the server trusts"
            )
        }
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.2 nor TLS 1.3; allow one of them on the server".into(),
        AlertDescription::HandshakeFailure => {
            "the server found no TLS parameters in common, or asks for a client certificate \
             (TLS alert HandshakeFailure); allow TLS 1.2 with ECDHE, or TLS 1.3, on the server"
                .into()
        }
        other => format!("the server ended TLS with the alert {other:?}; see the server's log"),
    }
}

fn explain_incompatible(reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 => {
            "the server speaks neither TLS 1.2 nor TLS 1.3; allow one of them on the server".into()
        }
        other => format!(
            "the server's TLS has nothing in common with ours: {other:?}; allow TLS 1.2 with ECDHE, or TLS 1.3, on the server"
        ),
    }
}

/// `2026-11-23 12:53 UTC`.
fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => {
            let text = time.naive_utc().to_string();
            format!("{} UTC", text.get(..16).unwrap_or(&text))
        }
        None => format!("{seconds} seconds after 1970"),
    }
}
