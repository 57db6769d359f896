//! HTTPS client for Kanidm's `/scim/v1/Sync`.
//!
//! Scope: one request, its answer, and decoded errors. The upload decides about repeats. The client
//! follows no redirect and ignores the proxy of the environment, so the token only goes to the host
//! in the client config. It keeps one connection open between requests.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use ureq::config::Config;
use ureq::http::Response;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Body, SendBody, Timeout};

use super::connector::{PeerChain, ResolveFailed, SystemResolver, TlsConnector, TlsFailed};
use super::error::{Answer, KanidmError, Stage};
use super::request::RequestBody;
use super::state::SyncState;
use super::transport::SyncServer;
use crate::config::client::ClientConfig;
use crate::config::secret::Secret;
use crate::net::tls::{TlsClient, explain};

/// Maximum bytes of an answer that are read. The largest state has 1.2 MB: 10,000 held entries, as
/// many without a value, and a roster of 50,000.
pub(super) const MAX_ANSWER: u64 = 2 * 1024 * 1024;

/// Bytes. Tokens of Kanidm have about 200.
const MIN_TOKEN_LENGTH: usize = 16;

/// Kanidm, over HTTPS.
pub struct KanidmClient {
    agent: Agent,
    url: String,
    token: Secret,
    timeout: Duration,
    connect_timeout: Duration,
    chain: PeerChain,
}

impl fmt::Debug for KanidmClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KanidmClient").field("url", &self.url).finish_non_exhaustive()
    }
}

impl KanidmClient {
    /// `timeout` is the limit for a whole request, and `tls` decides which certificates are
    /// trusted. Connects at the first request.
    pub fn new(config: &ClientConfig, token: Secret, timeout: Duration, tls: TlsClient) -> Self {
        let settings = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .timeout_resolve(Some(config.connect_timeout))
            .timeout_connect(Some(config.connect_timeout))
            .timeout_global(Some(timeout))
            .build();
        let chain = PeerChain::default();
        let connector =
            ().chain(TcpConnector::default()).chain(TlsConnector::new(tls, chain.clone()));
        KanidmClient {
            agent: Agent::with_parts(settings, connector, SystemResolver::default()),
            url: format!("{}/scim/v1/Sync", config.uri.trim_end_matches('/')),
            token,
            timeout,
            connect_timeout: config.connect_timeout,
            chain,
        }
    }

    /// The certificate chain of the server, its own certificate first. Empty before the first
    /// connection, and without TLS.
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.chain.get()
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token.expose())
    }

    /// Returns the body of a 200; every other answer is an error.
    fn answer(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, KanidmError> {
        let response = result.map_err(|e| self.transport_error(e))?;
        let status = response.status().as_u16();
        let operation_id = response
            .headers()
            .get("x-kanidm-opid")
            .and_then(|v| v.to_str().ok())
            .map(|id| self.without_token(id));
        log::debug!(
            "Kanidm answers {status}, operation {}",
            operation_id.as_deref().unwrap_or("unknown")
        );
        let mut body = Vec::new();
        let read = response
            .into_body()
            .into_reader()
            .take(MAX_ANSWER.saturating_add(1))
            .read_to_end(&mut body);
        if status != 200 {
            // The status counts, even if the body could not be read.
            let body = self.without_token(&String::from_utf8_lossy(&body));
            return Err(KanidmError::Refused(Answer::new(status, body.as_bytes(), operation_id)));
        }
        read.map_err(|e| self.transport_error(e.into()))?;
        if body.len() as u64 > MAX_ANSWER {
            return Err(KanidmError::NotKanidm {
                reason: format!("it is larger than {MAX_ANSWER} bytes"),
            });
        }
        Ok(body)
    }

    /// Removes the token from text that is shown. A proxy may send the request back in its answer,
    /// token included.
    fn without_token(&self, answer: &str) -> String {
        match self.token.expose() {
            // No real token is that short. Replacing it would only spoil the text.
            short if short.len() < MIN_TOKEN_LENGTH => answer.to_owned(),
            token => answer.replace(token, "<token>"),
        }
    }

    fn transport_error(&self, error: ureq::Error) -> KanidmError {
        let (stage, reason) = match error {
            ureq::Error::Timeout(reached) => {
                let (stage, limit) = match reached {
                    Timeout::Resolve => (Stage::Resolve, self.connect_timeout),
                    Timeout::Connect => (Stage::Connect, self.connect_timeout),
                    _ => (Stage::Exchange, self.timeout),
                };
                return KanidmError::TimedOut { stage, limit };
            }
            ureq::Error::HostNotFound => (Stage::Resolve, "host not found".to_owned()),
            ureq::Error::Other(e) => match e.downcast_ref::<TlsFailed>() {
                Some(TlsFailed(tls)) => (Stage::Tls, explain(tls, "ca_path")),
                None if e.is::<ResolveFailed>() => (Stage::Resolve, e.to_string()),
                None => (Stage::Exchange, e.to_string()),
            },
            ureq::Error::Tls(reason) => (Stage::Tls, reason.to_owned()),
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                (Stage::Exchange, "the connection ended before the answer did".to_owned())
            }
            ureq::Error::Io(e) => (io_stage(&e), e.to_string()),
            ureq::Error::ConnectionFailed => (Stage::Connect, "no connection".to_owned()),
            e @ (ureq::Error::Http(_)
            | ureq::Error::Protocol(_)
            | ureq::Error::BadUri(_)
            | ureq::Error::LargeResponseHeader(..)) => {
                return KanidmError::NotKanidm { reason: e.to_string() };
            }
            e => (Stage::Exchange, e.to_string()),
        };
        KanidmError::Transport { stage, reason }
    }
}

fn io_stage(error: &std::io::Error) -> Stage {
    use std::io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable,
    };
    match error.kind() {
        ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable => {
            Stage::Connect
        }
        _ => Stage::Exchange,
    }
}

impl SyncServer for KanidmClient {
    fn state(&mut self) -> Result<SyncState, KanidmError> {
        let result = self.agent.get(&self.url).header("Authorization", self.bearer()).call();
        let body = self.answer(result)?;
        SyncState::from_json(&body).map_err(|reason| KanidmError::NotKanidm { reason })
    }

    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError> {
        log::debug!("POST to Kanidm: {} entries, {} bytes", body.entries(), body.byte_len());
        let mut reader = body.reader();
        let result = self
            .agent
            .post(&self.url)
            .header("Authorization", self.bearer())
            .header("Content-Type", "application/json")
            .header("Content-Length", body.byte_len())
            .send(SendBody::from_reader(&mut reader));
        match self.answer(result)?.trim_ascii() {
            b"null" => Ok(()),
            // A proxy may answer with its login page. Nothing shows that Kanidm has seen the
            // request.
            _ => Err(KanidmError::NotKanidm {
                reason: "it does not say that the request was applied".to_owned(),
            }),
        }
    }
}
