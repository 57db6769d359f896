//! Listening: a persistent search (RFC 4533, mode refreshAndPersist) on a connection of its own.
//!
//! Scope: *that* the content has changed. [`ldap_content_sync::listener`] interprets the messages.
//! The search asks for no attribute, and its entries are not looked at. The caller decides how long
//! to listen, and what a ring starts. 389 answers no second search on such a connection.

use std::time::{Duration, Instant};

use ldap_content_sync::request::{self, Scope, SearchRequest, SyncMode, SyncRequest};
use ldap_content_sync::{Limits, Listener, ListenerEvent, ListenerStage, ResultCode};

use super::client::Directory;
use super::error::{DirectoryError, DirectoryProblem, DirectoryStage, quote};
use super::refresh;
use crate::config::sync::DirectoryConfig;
use crate::heartbeat::Heartbeat;

/// Maximum bytes of a message that is not an entry. A listed UUID takes 18 bytes.
const MAX_MESSAGE: usize = 1 << 20;

/// No attributes, RFC 4511 §4.5.1.8.
const NO_ATTRIBUTES: &[&str] = &["1.1"];

/// A persistent search in progress. Dropping it unbinds.
#[derive(Debug)]
pub struct Follow {
    directory: Directory,
    listener: Listener,
    timeout: Duration,
    /// The last message, or the request.
    heard: Instant,
}

/// What a wait has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// No message.
    Nothing,
    /// A message that reports no change.
    Quiet,
    /// The content has changed, or may have.
    Ring,
    /// The server does not accept the cookie, with its reason. The search is over.
    CookieRefused(String),
}

impl Follow {
    /// Connects, binds and starts the search at `cookie`. `heartbeat` beats as in
    /// [`Directory::connect_watched`].
    ///
    /// # Errors
    /// As [`Directory::connect`].
    pub fn start(
        cfg: &DirectoryConfig,
        cookie: &[u8],
        heartbeat: Heartbeat,
    ) -> Result<Follow, DirectoryError> {
        let most = cfg.max_message.min(MAX_MESSAGE);
        let limits = Limits { max_message: most, ..Limits::default() };
        let directory = Directory::connect_with(cfg, limits, heartbeat)?;
        Self::request(directory, cfg, cookie).map_err(|problem| problem.at(&cfg.uri))
    }

    fn request(
        mut directory: Directory,
        cfg: &DirectoryConfig,
        cookie: &[u8],
    ) -> Result<Follow, DirectoryProblem> {
        let cookie = Some(cookie).filter(|cookie| !cookie.is_empty());
        let search = SearchRequest {
            base: &cfg.base_dn,
            scope: Scope::Subtree,
            filter: &cfg.filter,
            attributes: NO_ATTRIBUTES,
            size_limit: 0,
            time_limit: 0,
            types_only: false,
            sync: Some(SyncRequest { mode: SyncMode::RefreshAndPersist, cookie }),
        };
        let id = directory
            .connection
            .request(DirectoryStage::Listen, |id| request::search(id, &search))?;
        let listener = Listener::new(cookie, id, &directory.connection.limits);
        Ok(Follow { directory, listener, timeout: cfg.timeout, heard: Instant::now() })
    }

    /// True once the server has stated what was new since the cookie. From now on it reports each
    /// change.
    pub fn is_listening(&self) -> bool {
        self.listener.stage() == ListenerStage::Persisting
    }

    /// The time since the last message.
    pub fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// True if the next wait has to read from the connection.
    pub fn is_drained(&self) -> bool {
        self.directory.connection.is_drained()
    }

    /// Waits for a message, at most `wait`. Only a message that has begun takes longer, up to
    /// `ldap_timeout` between two pieces.
    ///
    /// # Errors
    /// The server ended the search or the connection, broke the protocol, or did not begin to
    /// listen within `ldap_timeout`.
    pub fn wait(&mut self, wait: Duration) -> Result<Heard, DirectoryError> {
        self.message(wait).map_err(|problem| self.directory.failed(problem))
    }

    fn message(&mut self, wait: Duration) -> Result<Heard, DirectoryProblem> {
        let stage = DirectoryStage::Listen;
        if !self.directory.connection.arrives_within(stage, wait)? {
            if !self.is_listening() && self.silence() >= self.timeout {
                return Err(DirectoryProblem::TimedOut {
                    stage,
                    timeout: self.timeout,
                    trickling: false,
                });
            }
            return Ok(Heard::Nothing);
        }
        let message = self.directory.connection.message(stage)?;
        self.heard = Instant::now();
        match self.listener.handle(&message) {
            Ok(ListenerEvent::Quiet) => Ok(Heard::Quiet),
            Ok(ListenerEvent::Ring) => Ok(Heard::Ring),
            Ok(ListenerEvent::CookieRefused { diagnostic }) => {
                Ok(Heard::CookieRefused(quote(&diagnostic)))
            }
            Ok(ListenerEvent::Ended { code, diagnostic }) => {
                let diagnostic = quote(&diagnostic);
                let base = self.directory.base.clone();
                Err(match (message.message_id, code) {
                    (0, code) => DirectoryProblem::Disconnected { stage, code, diagnostic },
                    (_, ResultCode::SUCCESS) => DirectoryProblem::ListenEnded { base },
                    (_, code) => DirectoryProblem::SearchFailed { stage, base, code, diagnostic },
                })
            }
            Err(error) => Err(refresh::problem(error, stage, &self.directory.base)),
        }
    }
}
