//! Errors of the directory side, with the place, the reason and advice.
//!
//! Scope: texts for the administrator. No message contains a password or an attribute value. Text
//! from the server is quoted with control characters removed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{error, fmt, io};

use ldap_content_sync::{DecodeError, DecodeErrorKind, ResultCode};
use rustls::pki_types::CertificateDer;

use super::advice::{
    BEHIND_IN_FULL, bind_advice, end_advice, external_advice, notice_advice, search_advice,
    silence_advice,
};
use super::connection::WireError;
use crate::config::sync::LdapUri;
use crate::file::{Access, explain_denied};
use crate::net::tls_error::{TlsError, explain};
use crate::text::remedy_of;

/// A failure and the directory it concerns.
#[derive(Debug)]
pub struct DirectoryError {
    /// `ldap_uri` as it was parsed.
    pub uri: String,
    /// The failure. Boxed to keep results small.
    pub problem: Box<DirectoryProblem>,
    /// The server's certificate chain, leaf first. Empty if the failure came before the end of the
    /// TLS handshake, or after the start of the run.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

/// Kinds of failures of the directory.
#[derive(Debug)]
pub enum DirectoryProblem {
    /// The TLS files cannot be used.
    Tls(TlsError),
    /// The host is not valid as a name in a certificate.
    BadHostName {
        /// The host of `ldap_uri`.
        host: String,
    },
    /// The name has no address.
    HostNotFound {
        /// The host of `ldap_uri`.
        host: String,
        /// The resolver's error.
        reason: io::Error,
    },
    /// The resolver did not answer.
    ResolverSilent {
        /// The host of `ldap_uri`.
        host: String,
        /// `ldap_timeout`.
        timeout: Duration,
    },
    /// No address accepted the connection.
    NotConnected {
        /// Every address tried, with its error.
        attempts: Vec<(SocketAddr, io::Error)>,
        /// `ldap_timeout`.
        timeout: Duration,
    },
    /// The unix socket accepted no connection.
    NoUnixSocket {
        /// The socket.
        path: PathBuf,
        /// The I/O error.
        reason: io::Error,
    },
    /// The server did not answer.
    TimedOut {
        /// The stage that waited.
        stage: DirectoryStage,
        /// `ldap_timeout`.
        timeout: Duration,
        /// True if bytes kept arriving, but the message was incomplete after ten times the
        /// time-out.
        trickling: bool,
    },
    /// The server ended the connection.
    Closed {
        /// The stage that waited.
        stage: DirectoryStage,
        /// True if the server sent TLS close_notify. Otherwise the connection just ended.
        announced: bool,
    },
    /// The connection broke.
    Lost {
        /// The stage in progress.
        stage: DirectoryStage,
        /// The I/O error.
        reason: io::Error,
    },
    /// TLS failed.
    TlsFailed {
        /// The stage in progress.
        stage: DirectoryStage,
        /// The reason with advice.
        reason: String,
    },
    /// The server refused StartTLS.
    StartTlsRefused {
        /// The server's result code.
        code: ResultCode,
        /// The server's diagnostic message.
        diagnostic: String,
    },
    /// Unencrypted data after the response to StartTLS.
    StartTlsInjection,
    /// Notice of Disconnection, RFC 4511 §4.4.1.
    Disconnected {
        /// The stage in progress.
        stage: DirectoryStage,
        /// The server's result code.
        code: ResultCode,
        /// The server's diagnostic message.
        diagnostic: String,
    },
    /// A message that is not an entry exceeds `max_ber_size`.
    MessageTooLarge {
        /// Bytes announced.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A message is not LDAP.
    Malformed {
        /// The stage in progress.
        stage: DirectoryStage,
        /// The decoding error.
        reason: DecodeError,
    },
    /// A valid message that is not allowed at this stage.
    Protocol {
        /// The stage in progress.
        stage: DirectoryStage,
        /// The violation of the protocol.
        reason: String,
    },
    /// The server refused the bind.
    BindRefused {
        /// The bind DN; `None` for SASL EXTERNAL.
        dn: Option<String>,
        /// The result code.
        code: ResultCode,
        /// The server's diagnostic message.
        diagnostic: String,
    },
    /// The server ended the connection during the bind, and the client certificate may be the
    /// reason.
    CertificateRejected {
        /// `ldap_client_cert`.
        certificate: PathBuf,
    },
    /// The server ended a search with an error.
    SearchFailed {
        /// The stage of the search.
        stage: DirectoryStage,
        /// The search base.
        base: String,
        /// The result code.
        code: ResultCode,
        /// The server's diagnostic message.
        diagnostic: String,
    },
    /// The server answered a search with more entries than allowed.
    TooManyEntries {
        /// The stage of the search.
        stage: DirectoryStage,
        /// The search base.
        base: String,
        /// Maximum number of entries.
        most: usize,
    },
    /// The server's state is older than the cookie of the request, or than the cookie of an earlier
    /// run.
    Behind {
        /// The search base.
        base: String,
        /// True for a refresh without a cookie.
        full: bool,
    },
    /// The server ended a persistent search with success.
    ListenEnded {
        /// The search base.
        base: String,
    },
    /// The server did not come to the end of what is new since the cookie, in ten times the
    /// time-out.
    ListenNotBegun {
        /// `ldap_timeout`.
        timeout: Duration,
    },
    /// The root DSE does not announce content synchronisation.
    NoContentSync,
    /// An entry exists, but a search by its UUID does not find it.
    UuidHidden {
        /// DN of the entry.
        dn: String,
        /// Attribute with the UUID.
        attribute: &'static str,
    },
}

/// The stage in progress when a failure occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryStage {
    /// StartTLS, up to its response.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// The bind.
    Bind,
    /// Reading the root DSE.
    RootDse,
    /// A plain search.
    Search,
    /// The refresh, RFC 4533.
    Refresh,
    /// The persistent search, RFC 4533.
    Listen,
}

impl DirectoryProblem {
    /// Adds the directory to the failure.
    pub(super) fn at(self, uri: &LdapUri) -> DirectoryError {
        DirectoryError { uri: spell(uri), problem: Box::new(self), peer_certificates: Vec::new() }
    }

    /// Converts a failure of the connection.
    pub(super) fn from_wire(error: WireError, stage: DirectoryStage, timeout: Duration) -> Self {
        match error {
            WireError::Io(reason) => DirectoryProblem::Lost { stage, reason },
            WireError::TimedOut { trickling } => {
                DirectoryProblem::TimedOut { stage, timeout, trickling }
            }
            WireError::Closed { announced } => DirectoryProblem::Closed { stage, announced },
            WireError::Tls(error) => {
                DirectoryProblem::TlsFailed { stage, reason: explain(&error, "ldap_ca") }
            }
            WireError::Frame(reason) => DirectoryProblem::from_decode(reason, stage),
        }
    }

    /// Converts a decoding error.
    pub(super) fn from_decode(reason: DecodeError, stage: DirectoryStage) -> Self {
        match reason.kind {
            DecodeErrorKind::MessageTooLarge { size, max } => {
                DirectoryProblem::MessageTooLarge { size, limit: max }
            }
            _ => DirectoryProblem::Malformed { stage, reason },
        }
    }
}

/// Quotes text from a server: one line of at most 300 characters, without control characters that
/// could affect a terminal.
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
            DirectoryProblem::Tls(reason) => Some(reason),
            DirectoryProblem::Malformed { reason, .. } => Some(reason),
            DirectoryProblem::HostNotFound { reason, .. }
            | DirectoryProblem::NoUnixSocket { reason, .. }
            | DirectoryProblem::Lost { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for DirectoryStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DirectoryStage::StartTls => "StartTLS",
            DirectoryStage::Handshake => "the TLS handshake",
            DirectoryStage::Bind => "the bind",
            DirectoryStage::RootDse => "reading the root DSE",
            DirectoryStage::Search => "a search",
            DirectoryStage::Refresh => "the refresh",
            DirectoryStage::Listen => "the wait for changes",
        })
    }
}

impl fmt::Display for DirectoryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_failure(f)?;
        f.write_str(self.advice())
    }
}

impl DirectoryError {
    /// What to do, in our own words. Empty if the message does not say it.
    pub fn remedy(&self) -> String {
        let problem = &*self.problem;
        match problem {
            DirectoryProblem::NoContentSync | DirectoryProblem::StartTlsInjection => {
                let text = problem.to_string();
                text.split_once("; ").map(|(_, remedy)| remedy.to_owned()).unwrap_or_default()
            }
            // The server's words are at the end, unless advice follows them.
            _ if !problem.advice().is_empty() => {
                let advice = problem.advice();
                advice.split_once("; ").map_or(advice, |(_, remedy)| remedy).trim().to_owned()
            }
            DirectoryProblem::Disconnected { .. }
            | DirectoryProblem::BindRefused { .. }
            | DirectoryProblem::SearchFailed { .. }
            | DirectoryProblem::Protocol { .. }
            | DirectoryProblem::StartTlsRefused { .. } => String::new(),
            DirectoryProblem::UuidHidden { attribute, .. } => give_rights(attribute),
            _ => remedy_of(&problem.to_string()).to_owned(),
        }
    }
}

impl DirectoryProblem {
    /// What failed and why.
    fn fmt_failure(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(reason) => write!(f, "{reason}"),
            Self::BadHostName { host } => write!(
                f,
                "{host:?} is neither a DNS name nor an IP address, so no certificate can name it"
            ),
            Self::HostNotFound { host, reason } => write!(f, "host {host} not found: {reason}"),
            Self::ResolverSilent { host, timeout } => {
                write!(f, "looking up host {host} got no answer within {}", seconds(*timeout))
            }
            Self::NotConnected { attempts, timeout } => fmt_attempts(f, attempts, *timeout),
            Self::NoUnixSocket { path, reason } => fmt_unix(f, path, reason),
            Self::TimedOut { stage, timeout, trickling } => {
                fmt_timed_out(f, *stage, *timeout, *trickling)
            }
            Self::Closed { stage, announced: true } => {
                write!(f, "the server closed the connection during {stage}")
            }
            Self::Closed { stage, announced: false } => {
                write!(f, "the server cut the connection off during {stage}")
            }
            Self::Lost { stage, reason } => {
                write!(f, "the connection broke during {stage}: {reason}")
            }
            Self::TlsFailed { stage: DirectoryStage::Handshake, reason } => f.write_str(reason),
            Self::TlsFailed { stage, reason } => write!(f, "during {stage}: {reason}"),
            Self::StartTlsRefused { code, diagnostic } => {
                write!(f, "the server does not agree to StartTLS: {}", said(*code, diagnostic))
            }
            Self::StartTlsInjection => f.write_str(START_TLS_INJECTION),
            Self::Disconnected { stage, code, diagnostic } => {
                let said = said(*code, diagnostic);
                write!(
                    f,
                    "the server ended the connection during {stage}, giving as its reason: {said}"
                )
            }
            Self::MessageTooLarge { size, limit } => fmt_too_large(f, *size, *limit),
            Self::Malformed { stage, reason } => {
                write!(f, "during {stage} the server sent what is not LDAP: {reason}")
            }
            Self::Protocol { stage, reason } => {
                write!(f, "during {stage} the server broke the protocol: {reason}")
            }
            Self::BindRefused { dn, code, diagnostic } => {
                let who = dn.as_deref().unwrap_or("SASL EXTERNAL");
                write!(f, "the bind as {who} was refused: {}", said(*code, diagnostic))
            }
            Self::CertificateRejected { certificate } => fmt_certificate(f, certificate),
            Self::SearchFailed { stage, base, code, diagnostic } => {
                write!(f, "{stage} below {base:?} failed: {}", said(*code, diagnostic))
            }
            Self::TooManyEntries { stage, base, most } => fmt_too_many(f, *stage, base, *most),
            Self::Behind { base, full } => fmt_behind(f, base, *full),
            Self::ListenEnded { base } => {
                write!(
                    f,
                    "the server ended the wait for changes below {base:?}, and gave no reason"
                )
            }
            Self::ListenNotBegun { timeout } => write!(
                f,
                "{} timed out: after ten times {} (ldap_timeout) the server still states what was new",
                DirectoryStage::Listen,
                seconds(*timeout)
            ),
            Self::NoContentSync => f.write_str(NO_CONTENT_SYNC),
            Self::UuidHidden { dn, attribute } => fmt_uuid_hidden(f, dn, attribute),
        }
    }

    /// What to do, where the text of the failure does not say it.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::BadHostName { .. } => "; check ldap_uri",
            Self::HostNotFound { .. } => {
                "; check the host in ldap_uri and this machine's name resolution"
            }
            Self::ResolverSilent { .. } => {
                "; check this machine's name resolution (/etc/resolv.conf)"
            }
            Self::TimedOut { stage, trickling: false, .. } => silence_advice(*stage),
            Self::Closed { stage, .. } | Self::Lost { stage, .. } => end_advice(*stage),
            Self::StartTlsRefused { .. } => {
                "; nothing was sent in clear; set up TLS on the server, or use ldaps://"
            }
            Self::Disconnected { stage, .. } => notice_advice(*stage),
            Self::ListenEnded { .. } | Self::ListenNotBegun { .. } => "; see its log",
            Self::Malformed { .. } => "; is this an LDAP server?",
            Self::BindRefused { dn: Some(_), code, .. } => bind_advice(*code),
            Self::BindRefused { dn: None, code, .. } => external_advice(*code),
            Self::SearchFailed { stage, code, .. } => search_advice(*code, *stage),
            Self::Behind { full: true, .. } => BEHIND_IN_FULL,
            Self::Behind { full: false, .. } => {
                search_advice(ResultCode::UNWILLING_TO_PERFORM, DirectoryStage::Refresh)
            }
            _ => "",
        }
    }
}

const START_TLS_INJECTION: &str = "unencrypted data came after the answer to StartTLS: somebody on the path may be trying to slip in answers; \
     use ldaps:// and examine the network";

const NO_CONTENT_SYNC: &str = "the server does not offer content synchronisation (RFC 4533, control 1.3.6.1.4.1.4203.1.9.1.1); \
     OpenLDAP: load the module syncprov and add the overlay to the database; \
     389 Directory Server: enable the plugins \"Retro Changelog\" and \"Content Synchronization\" and restart it; \
     if that is done, let the sync account read the root DSE";

fn fmt_timed_out(
    f: &mut fmt::Formatter<'_>,
    stage: DirectoryStage,
    timeout: Duration,
    trickling: bool,
) -> fmt::Result {
    let timeout = seconds(timeout);
    if !trickling {
        return write!(f, "{stage} timed out: the server was silent for {timeout} (ldap_timeout)");
    }
    write!(
        f,
        "{stage} timed out: a message was still incomplete after ten times {timeout} (ldap_timeout); the connection is too slow, \
         or a device on the path holds data back: check the MTU"
    )
}

fn fmt_too_large(f: &mut fmt::Formatter<'_>, size: usize, limit: usize) -> fmt::Result {
    write!(
        f,
        "a message of {size} bytes exceeds the limit of {limit} bytes, and is no entry: \
         raise max_ber_size to more than {size}"
    )
}

fn fmt_certificate(f: &mut fmt::Formatter<'_>, certificate: &Path) -> fmt::Result {
    write!(
        f,
        "the server ended the connection during the bind: it may not accept the client certificate in {}, \
         because it is expired, or issued by a CA that the server does not trust; see the server's log",
        certificate.display()
    )
}

fn fmt_behind(f: &mut fmt::Formatter<'_>, base: &str, full: bool) -> fmt::Result {
    let refresh = if full { "full refresh" } else { "refresh" };
    write!(f, "the {refresh} below {base:?} showed an older state than an earlier run has read")
}

fn fmt_uuid_hidden(f: &mut fmt::Formatter<'_>, dn: &str, attribute: &str) -> fmt::Result {
    write!(f, "the entry {dn:?} cannot be found by its {attribute}: {}", give_rights(attribute))
}

fn give_rights(attribute: &str) -> String {
    format!(
        "give the sync account the rights to search and to read {attribute} on every entry below the base"
    )
}

fn fmt_too_many(
    f: &mut fmt::Formatter<'_>,
    stage: DirectoryStage,
    base: &str,
    most: usize,
) -> fmt::Result {
    if most == 1 {
        return write!(
            f,
            "{stage} of the single entry {base:?} was answered with several entries, so the server breaks the protocol; check ldap_uri"
        );
    }
    write!(
        f,
        "{stage} below {base:?} was answered with more than {most} entries, the limit of this tool. \
         Check that ldap_uri names the right server, or narrow ldap_sync_base_dn"
    )
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
    f.write_str("; is the server running, is the port right, does a firewall block it?")
}

fn fmt_unix(f: &mut fmt::Formatter<'_>, file: &Path, reason: &io::Error) -> fmt::Result {
    let path = file.display();
    match reason.kind() {
        io::ErrorKind::NotFound => write!(
            f,
            "there is no socket {path}; is the server running, and does it listen on ldapi?"
        ),
        io::ErrorKind::PermissionDenied => {
            write!(f, "no permission to connect to the socket {path}")?;
            match explain_denied(file, Access::Connect) {
                Some(why) => write!(f, ": {why}"),
                None => f.write_str("; check the rights of the socket and of its folder"),
            }
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

/// The result code, and the server's diagnostic message if it is not empty.
fn said(code: ResultCode, diagnostic: &str) -> String {
    if diagnostic.is_empty() { code.to_string() } else { format!("{code}, \"{diagnostic}\"") }
}
