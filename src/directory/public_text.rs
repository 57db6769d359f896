//! The text of a failure for a file that everybody on the machine reads.
//!
//! Scope: no DN, no search base and no text of the server. The log has the whole message. A new
//! kind of failure must decide here whether its message is public.

use super::error::{DirectoryError, DirectoryProblem};

/// Replaces what the public text leaves out.
const DETAILS: &str = "(details in the log of kanidm-ldap-sync)";

impl DirectoryError {
    /// The message without names of entries and without the server's words.
    pub fn without_names(&self) -> String {
        format!("{}: {}", self.uri, self.problem.without_names())
    }
}

impl DirectoryProblem {
    fn without_names(&self) -> String {
        match self.unnamed() {
            Some(failure) => format!("{failure} {DETAILS}{}", self.advice()),
            None => self.to_string(),
        }
    }

    /// The failure in few words. `None` if the whole message is public.
    fn unnamed(&self) -> Option<String> {
        Some(match self {
            // Paths and hosts of the configuration, numbers, and errors of this machine. Names in
            // certificates are public.
            Self::Tls(_)
            | Self::BadHostName { .. }
            | Self::HostNotFound { .. }
            | Self::ResolverSilent { .. }
            | Self::NotConnected { .. }
            | Self::NoUnixSocket { .. }
            | Self::TimedOut { .. }
            | Self::Closed { .. }
            | Self::Lost { .. }
            | Self::TlsFailed { .. }
            | Self::StartTlsInjection
            | Self::MessageTooLarge { .. }
            | Self::Malformed { .. }
            | Self::CertificateRejected { .. }
            | Self::ListenNotBegun { .. }
            | Self::NoContentSync => return None,
            Self::StartTlsRefused { code, .. } => {
                format!("the server does not agree to StartTLS: {code}")
            }
            Self::Disconnected { stage, code, .. } => {
                format!("the server ended the connection during {stage}: {code}")
            }
            Self::Protocol { stage, .. } => format!("during {stage} the server broke the protocol"),
            Self::BindRefused { code, .. } => format!("the bind was refused: {code}"),
            Self::SearchFailed { stage, code, .. } => format!("{stage} failed: {code}"),
            Self::TooManyEntries { stage, .. } => {
                format!("{stage} was answered with too many entries")
            }
            Self::Behind { .. } => {
                "the refresh showed an older state than an earlier run has read".to_owned()
            }
            Self::ListenEnded { .. } => "the server ended the wait for changes".to_owned(),
            Self::UuidHidden { attribute, .. } => {
                format!("an entry cannot be found by its {attribute}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::time::Duration;

    use ldap_content_sync::{DecodeError, LdapMessage, Limits, ResultCode};

    use super::super::error::DirectoryStage as Stage;
    use super::*;
    use crate::net::tls_error::TlsError;

    const ALICE: &str = "uid=alice";

    /// The number of a kind, and whether its message has a text that may name an entry. A new kind
    /// gets the next number, and [`all`] one more problem.
    fn kind(problem: &DirectoryProblem) -> (usize, bool) {
        use DirectoryProblem::*;
        match problem {
            Tls(_) => (0, false),
            BadHostName { .. } => (1, false),
            HostNotFound { .. } => (2, false),
            ResolverSilent { .. } => (3, false),
            NotConnected { .. } => (4, false),
            NoUnixSocket { .. } => (5, false),
            TimedOut { .. } => (6, false),
            Closed { .. } => (7, false),
            Lost { .. } => (8, false),
            TlsFailed { .. } => (9, false),
            StartTlsRefused { .. } => (10, true),
            StartTlsInjection => (11, false),
            Disconnected { .. } => (12, true),
            MessageTooLarge { .. } => (13, false),
            Malformed { .. } => (14, false),
            Protocol { .. } => (15, true),
            BindRefused { .. } => (16, true),
            CertificateRejected { .. } => (17, false),
            SearchFailed { .. } => (18, true),
            TooManyEntries { .. } => (19, true),
            Behind { .. } => (20, true),
            ListenEnded { .. } => (21, true),
            NoContentSync => (22, false),
            UuidHidden { .. } => (23, true),
            ListenNotBegun { .. } => (24, false),
        }
    }

    fn all() -> Vec<DirectoryProblem> {
        use DirectoryProblem::*;
        let (alice, host) = (|| ALICE.to_owned(), || "ldap.example.com".to_owned());
        let (code, timeout) = (ResultCode::BUSY, Duration::from_secs(30));
        let (stage, reason) = (Stage::Search, || Error::from(ErrorKind::ConnectionReset));
        vec![
            Tls(TlsError::NoCertificate { path: "/etc/ca.pem".into() }),
            BadHostName { host: host() },
            HostNotFound { host: host(), reason: reason() },
            ResolverSilent { host: host(), timeout },
            NotConnected { attempts: Vec::new(), timeout },
            NoUnixSocket { path: "/run/ldapi".into(), reason: reason() },
            TimedOut { stage, timeout, trickling: false },
            Closed { stage, announced: true },
            Lost { stage, reason: reason() },
            TlsFailed { stage, reason: "the certificate has expired".to_owned() },
            StartTlsRefused { code, diagnostic: alice() },
            StartTlsInjection,
            Disconnected { stage, code, diagnostic: alice() },
            MessageTooLarge { size: 9, limit: 3 },
            Malformed { stage, reason: malformed() },
            Protocol { stage, reason: alice() },
            BindRefused { dn: Some(alice()), code, diagnostic: alice() },
            CertificateRejected { certificate: "/etc/c.pem".into() },
            SearchFailed { stage, base: alice(), code, diagnostic: alice() },
            TooManyEntries { stage, base: alice(), most: 1 },
            Behind { base: alice(), full: true },
            ListenEnded { base: alice() },
            NoContentSync,
            UuidHidden { dn: alice(), attribute: "entryUUID" },
            ListenNotBegun { timeout },
        ]
    }

    fn malformed() -> DecodeError {
        LdapMessage::decode(b"", &Limits::default()).unwrap_err()
    }

    #[test]
    fn no_problem_names_an_entry() {
        let problems = all();
        let numbers: Vec<usize> = problems.iter().map(|problem| kind(problem).0).collect();
        assert_eq!(numbers, (0..25).collect::<Vec<_>>());
        for problem in &problems {
            let (whole, public) = (problem.to_string(), problem.without_names());
            let has_names = kind(problem).1;
            assert_eq!(whole.contains(ALICE), has_names, "{whole}");
            assert_eq!(public.contains(DETAILS), has_names, "{public}");
            assert_eq!(public == whole, !has_names, "{public}");
            assert!(!public.contains(ALICE), "{public}");
        }
    }

    #[test]
    fn a_public_text_has_stage_code_and_advice() {
        let problem = DirectoryProblem::SearchFailed {
            stage: Stage::Search,
            base: ALICE.to_owned(),
            code: ResultCode::BUSY,
            diagnostic: String::new(),
        };
        assert_eq!(
            problem.without_names(),
            "a search failed: busy (51) (details in the log of kanidm-ldap-sync); the server takes no requests at the moment; the next run tries again"
        );
    }
}
