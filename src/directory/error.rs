//! What can go wrong with the directory, in words: what, where, and what to do about it.
//!
//! Scope: texts for the operator. No message holds a password or an attribute value; what the
//! server says is quoted, made harmless.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{error, fmt, io};

use ldap_content_sync::{DecodeError, DecodeErrorKind, ResultCode};

use super::advice::{
    BEHIND_IN_FULL, bind_advice, end_advice, external_advice, notice_advice, search_advice,
    silence_advice,
};
use super::connection::WireError;
use crate::config::sync::LdapUri;
use crate::net::tls_error::{TlsError, explain};

/// A failure, and the directory it happened with.
#[derive(Debug)]
pub struct DirectoryError {
    /// `ldap_uri` as it was understood.
    pub uri: String,
    /// What went wrong. Boxed: a result should not be the size of its rarest error.
    pub problem: Box<Problem>,
}

/// What went wrong.
#[derive(Debug)]
pub enum Problem {
    /// The TLS files cannot be used.
    Tls(TlsError),
    /// The host cannot be a name in a certificate.
    BadHostName {
        /// The host of `ldap_uri`.
        host: String,
    },
    /// The name has no address.
    HostNotFound {
        /// The host of `ldap_uri`.
        host: String,
        /// What the resolver says.
        reason: io::Error,
    },
    /// The resolver did not answer.
    ResolverSilent {
        /// The host of `ldap_uri`.
        host: String,
        /// `ldap_timeout`.
        timeout: Duration,
    },
    /// No address took the connection.
    NotConnected {
        /// Every address tried, and why it failed.
        attempts: Vec<(SocketAddr, io::Error)>,
        /// `ldap_timeout`.
        timeout: Duration,
    },
    /// The unix socket took no connection.
    NoUnixSocket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The server did not answer.
    TimedOut {
        /// What was waited for.
        stage: Stage,
        /// `ldap_timeout`.
        timeout: Duration,
        /// Bytes kept coming, but the message was not complete in ten times that.
        trickling: bool,
    },
    /// The server ended the connection.
    Closed {
        /// What was waited for.
        stage: Stage,
        /// It said so by TLS close_notify; otherwise the connection just ended.
        announced: bool,
    },
    /// The connection broke.
    Lost {
        /// What was under way.
        stage: Stage,
        /// How.
        reason: io::Error,
    },
    /// TLS failed.
    TlsFailed {
        /// What was under way.
        stage: Stage,
        /// In words, with what to do.
        reason: String,
    },
    /// The server does not agree to StartTLS.
    StartTlsRefused {
        /// Its result code.
        code: ResultCode,
        /// Its words.
        diagnostic: String,
    },
    /// Unencrypted data came behind the answer to StartTLS.
    StartTlsInjection,
    /// Notice of Disconnection, RFC 4511 §4.4.1.
    Disconnected {
        /// What was under way.
        stage: Stage,
        /// The server's reason.
        code: ResultCode,
        /// Its words.
        diagnostic: String,
    },
    /// A message that is no entry exceeds `max_ber_size`.
    MessageTooLarge {
        /// Bytes it announces.
        size: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// A message is not LDAP.
    Malformed {
        /// What was under way.
        stage: Stage,
        /// What is wrong and where.
        reason: DecodeError,
    },
    /// A message that has no place here.
    Protocol {
        /// What was under way.
        stage: Stage,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refused the bind.
    BindRefused {
        /// The bind DN; `None` for SASL EXTERNAL.
        dn: Option<String>,
        /// The result code.
        code: ResultCode,
        /// The server's words.
        diagnostic: String,
    },
    /// The server ended the connection during the bind, and there is a client certificate that may
    /// be why.
    CertificateRejected {
        /// `ldap_client_cert`
        certificate: PathBuf,
    },
    /// The server ended a search with an error.
    SearchFailed {
        /// Which one.
        stage: Stage,
        /// The search base.
        base: String,
        /// The result code.
        code: ResultCode,
        /// The server's words.
        diagnostic: String,
    },
    /// The server answered a search with more entries than it may have.
    TooManyEntries {
        /// Which one.
        stage: Stage,
        /// The search base.
        base: String,
        /// How many it may have.
        most: usize,
    },
    /// The server answered for an older state than the cookie it was sent, or than the one of an
    /// earlier run.
    Behind {
        /// The search base.
        base: String,
        /// No cookie was sent.
        full: bool,
    },
    /// The root DSE does not announce content synchronisation.
    NoContentSync,
    /// An entry cannot be found by its UUID although it is there.
    UuidHidden {
        /// The entry.
        dn: String,
        /// The attribute that holds the UUID.
        attribute: &'static str,
    },
}

/// What was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// StartTLS, up to its answer.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// The bind.
    Bind,
    /// Reading the root DSE.
    RootDse,
    /// An ordinary search.
    Search,
    /// The refresh, RFC 4533.
    Refresh,
}

impl Problem {
    /// The error that users see.
    pub(super) fn at(self, uri: &LdapUri) -> DirectoryError {
        DirectoryError { uri: spell(uri), problem: Box::new(self) }
    }

    /// A failure of the wire in words.
    pub(super) fn from_wire(error: WireError, stage: Stage, timeout: Duration) -> Self {
        match error {
            WireError::Io(reason) => Problem::Lost { stage, reason },
            WireError::TimedOut { trickling } => Problem::TimedOut { stage, timeout, trickling },
            WireError::Closed { announced } => Problem::Closed { stage, announced },
            WireError::Tls(error) => {
                Problem::TlsFailed { stage, reason: explain(&error, "ldap_ca") }
            }
            WireError::Frame(reason) => Problem::from_decode(reason, stage),
        }
    }

    /// A message that cannot be decoded.
    pub(super) fn from_decode(reason: DecodeError, stage: Stage) -> Self {
        match reason.kind {
            DecodeErrorKind::MessageTooLarge { size, max } => {
                Problem::MessageTooLarge { size, limit: max }
            }
            _ => Problem::Malformed { stage, reason },
        }
    }
}

/// What a server says, in one line of bounded length that cannot drive a terminal.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut line: String =
        text.trim().chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        line.push_str("...");
    }
    line
}

fn spell(uri: &LdapUri) -> String {
    match uri {
        LdapUri::Unix(path) => format!("ldapi socket {}", path.display()),
        LdapUri::Tls { host, port, starttls } => {
            let scheme = if *starttls { "ldap" } else { "ldaps" };
            if host.contains(':') {
                format!("{scheme}://[{host}]:{port}")
            } else {
                format!("{scheme}://{host}:{port}")
            }
        }
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.uri, self.problem)
    }
}

impl error::Error for DirectoryError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &*self.problem {
            Problem::Tls(reason) => Some(reason),
            Problem::Malformed { reason, .. } => Some(reason),
            Problem::HostNotFound { reason, .. }
            | Problem::NoUnixSocket { reason, .. }
            | Problem::Lost { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::StartTls => "StartTLS",
            Stage::Handshake => "the TLS handshake",
            Stage::Bind => "the bind",
            Stage::RootDse => "reading the root DSE",
            Stage::Search => "a search",
            Stage::Refresh => "the refresh",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Tls(reason) => reason.fmt(f),
            Problem::BadHostName { host } => {
                write!(f, "{host:?} is neither a DNS name nor an IP address, so no certificate can be for it; check ldap_uri")
            }
            Problem::HostNotFound { host, reason } => {
                write!(f, "host {host} not found: {reason}; check the host in ldap_uri and this machine's name resolution")
            }
            Problem::ResolverSilent { host, timeout } => write!(
                f,
                "looking up host {host} got no answer within {}; check this machine's name resolution (/etc/resolv.conf)",
                seconds(*timeout)
            ),
            Problem::NotConnected { attempts, timeout } => fmt_attempts(f, attempts, *timeout),
            Problem::NoUnixSocket { path, reason } => fmt_unix(f, path, reason),
            Problem::TimedOut { stage, timeout, trickling: true } => write!(
                f,
                "{stage} timed out: a message was still incomplete after ten times {}; the connection is too slow, \
                 or something on the path holds data back; ldap_timeout sets the time",
                seconds(*timeout)
            ),
            Problem::TimedOut { stage, timeout, .. } => {
                write!(f, "{stage} timed out: the server was silent for {} (ldap_timeout)", seconds(*timeout))?;
                f.write_str(silence_advice(*stage))
            }
            Problem::Closed { stage, announced } => {
                let how = if *announced { "closed the connection" } else { "cut the connection off" };
                write!(f, "the server {how} during {stage}")?;
                f.write_str(end_advice(*stage))
            }
            Problem::Lost { stage, reason } => {
                write!(f, "the connection broke during {stage}: {reason}")?;
                f.write_str(end_advice(*stage))
            }
            Problem::TlsFailed { stage: Stage::Handshake, reason } => f.write_str(reason),
            Problem::TlsFailed { stage, reason } => write!(f, "during {stage}: {reason}"),
            Problem::StartTlsRefused { code, diagnostic } => {
                write!(f, "the server does not agree to StartTLS: {}", said(*code, diagnostic))?;
                f.write_str("; nothing was sent in clear; set up TLS on the server, or use ldaps://")
            }
            Problem::StartTlsInjection => f.write_str(
                "unencrypted data came behind the answer to StartTLS: somebody on the path may be trying to slip in answers; \
                 the connection was given up; use ldaps:// and examine the network",
            ),
            Problem::Disconnected { stage, code, diagnostic } => {
                write!(f, "the server ended the connection during {stage}, giving as its reason: {}", said(*code, diagnostic))?;
                f.write_str(notice_advice(*stage))
            }
            Problem::MessageTooLarge { size, limit } => write!(
                f,
                "a message of {size} bytes exceeds the limit of {limit} bytes, and is no entry: raise max_ber_size to more than {size}"
            ),
            Problem::Malformed { stage, reason } => {
                write!(f, "during {stage} the server sent what is not LDAP: {reason}; is this an LDAP server?")
            }
            Problem::Protocol { stage, reason } => write!(f, "during {stage} the server broke the protocol: {reason}"),
            Problem::BindRefused { dn, code, diagnostic } => {
                let who = dn.as_deref().unwrap_or("SASL EXTERNAL");
                write!(f, "the bind as {who} was refused: {}", said(*code, diagnostic))?;
                f.write_str(if dn.is_some() { bind_advice(*code) } else { external_advice(*code) })
            }
            Problem::CertificateRejected { certificate } => write!(
                f,
                "the server ended the connection during the bind, as some do that do not accept the client certificate; \
                 is the one in {} expired, or issued by a CA that the server does not trust? the server's log may say so",
                certificate.display()
            ),
            Problem::SearchFailed { stage, base, code, diagnostic } => {
                write!(f, "{stage} below {base:?} failed: {}", said(*code, diagnostic))?;
                f.write_str(search_advice(*code, *stage))
            }
            Problem::TooManyEntries { stage, base, most: 1 } => {
                write!(f, "{stage} of the single entry {base:?} was answered with several entries: the server breaks the protocol")
            }
            Problem::TooManyEntries { stage, base, most } => write!(
                f,
                "{stage} below {base:?} was answered with more than {most} entries, the limit of this tool. \
                 Check that ldap_uri names the right server, or narrow ldap_sync_base_dn"
            ),
            Problem::Behind { base, full } => {
                let refresh = if *full { "full refresh" } else { "refresh" };
                write!(f, "the {refresh} below {base:?} showed an older state than an earlier run has read")?;
                f.write_str(if *full { BEHIND_IN_FULL } else { search_advice(ResultCode::UNWILLING_TO_PERFORM, Stage::Refresh) })
            }
            Problem::NoContentSync => f.write_str(
                "the server does not offer content synchronisation (RFC 4533, control 1.3.6.1.4.1.4203.1.9.1.1); \
                 OpenLDAP: load the module syncprov and add the overlay to the database; \
                 389 Directory Server: enable the plugins \"Retro Changelog\" and \"Content Synchronization\" and restart it; \
                 and the sync account has to be allowed to read the root DSE",
            ),
            Problem::UuidHidden { dn, attribute } => write!(
                f,
                "the entry {dn:?} cannot be found by its {attribute}: give the sync account the rights to search and to read \
                 {attribute} on every entry below the base"
            ),
        }
    }
}

fn fmt_attempts(
    f: &mut fmt::Formatter<'_>,
    attempts: &[(SocketAddr, io::Error)],
    timeout: Duration,
) -> fmt::Result {
    f.write_str("no connection: ")?;
    for (index, (address, reason)) in attempts.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        match reason.kind() {
            io::ErrorKind::ConnectionRefused => write!(f, "{separator}{address} refused it")?,
            io::ErrorKind::TimedOut => write!(
                f,
                "{separator}{address} did not answer in its share of {}",
                seconds(timeout)
            )?,
            _ => write!(f, "{separator}{address}: {reason}")?,
        }
    }
    f.write_str("; is the server running, is the port right, does a firewall stand between?")
}

fn fmt_unix(f: &mut fmt::Formatter<'_>, path: &std::path::Path, reason: &io::Error) -> fmt::Result {
    let path = path.display();
    match reason.kind() {
        io::ErrorKind::NotFound => write!(
            f,
            "there is no socket {path}; is the server running, and does it listen on ldapi?"
        ),
        io::ErrorKind::PermissionDenied => {
            write!(f, "no permission to connect to the socket {path}")
        }
        io::ErrorKind::ConnectionRefused => {
            write!(f, "nobody listens on the socket {path}; is the server running?")
        }
        io::ErrorKind::TimedOut => {
            write!(
                f,
                "cannot connect to the socket {path}: {reason}; the server hangs or is overloaded: restart it"
            )
        }
        _ => write!(f, "cannot connect to the socket {path}: {reason}"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// The result code, and what the server says about it where it says something.
fn said(code: ResultCode, diagnostic: &str) -> String {
    if diagnostic.is_empty() { code.to_string() } else { format!("{code}, \"{diagnostic}\"") }
}
