//! Listening: a persistent search (RFC 4533, mode refreshAndPersist) on a connection of its own.
//!
//! Scope: *that* the content has changed. [`ldap_content_sync::listener`] interprets the messages.
//! The search asks for no attribute. Of an entry only the DN counts: a run skips the account that we
//! bind as, and a server may write into it at each bind. The caller decides how long to listen, and
//! what a ring starts. 389 answers no second search on such a connection.

use std::time::{Duration, Instant};

use ldap_content_sync::dn;
use ldap_content_sync::request::{self, Scope, SearchRequest, SyncMode, SyncRequest};
use ldap_content_sync::{
    LdapMessage, Limits, Listener, ListenerEvent, ListenerStage, ProtocolOp, ResultCode,
};

use super::client::Directory;
use super::computed::computed_attributes;
use super::error::{DirectoryError, DirectoryProblem, DirectoryStage, quote};
use super::refresh;
use crate::config::sync::DirectoryConfig;
use crate::heartbeat::Heartbeat;

/// Maximum bytes of a message that is not an entry. A listed UUID takes 18 bytes.
const MAX_MESSAGE: usize = 1 << 20;

/// A server that states what is new for longer than so many times `ldap_timeout` is given up. So is
/// a message that takes longer.
const LONGEST: u32 = 10;

/// No attributes, RFC 4511 §4.5.1.8.
const NO_ATTRIBUTES: &[&str] = &["1.1"];

/// A persistent search in progress. Dropping it unbinds.
#[derive(Debug)]
pub struct Follow {
    directory: Directory,
    listener: Listener,
    timeout: Duration,
    /// The DN of the bind in comparison form.
    bound_as: Option<String>,
    /// The filter is on a computed attribute, so changes outside the content count.
    counts_outside: bool,
    begun: Instant,
    /// The last message of the search, or the request.
    heard: Instant,
    /// The message that has begun to arrive.
    partial: Option<Partial>,
}

/// A message whose end has not arrived.
#[derive(Clone, Copy, Debug)]
struct Partial {
    begun: Instant,
    /// The last piece, and the bytes that were here then.
    grew: Instant,
    len: usize,
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
    /// Something outside the content has changed, and the filter is on a computed attribute. With
    /// the overlay lastbind each bind of ours is such a change.
    Outside,
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
        let now = Instant::now();
        Ok(Follow {
            listener,
            timeout: cfg.timeout,
            bound_as: directory.bound_as().and_then(|dn| dn::normalize(dn).ok()),
            counts_outside: !computed_attributes(&cfg.filter).is_empty(),
            begun: now,
            heard: now,
            partial: None,
            directory,
        })
    }

    /// True once the server has stated what was new since the cookie. From now on it reports each
    /// change.
    pub fn is_listening(&self) -> bool {
        self.listener.stage() == ListenerStage::Persisting
    }

    /// The time since the last message of the search.
    pub fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// True if the next wait has to read from the connection.
    pub fn is_drained(&self) -> bool {
        !self.directory.connection.has_message()
    }

    /// Waits for a whole message, at most `wait`. Only an entry above the size limit takes longer.
    ///
    /// # Errors
    /// The server ended the search or the connection, or broke the protocol. Before it listens, it
    /// sent no message of the search for `ldap_timeout`, or did not come to an end in ten times that.
    /// A message paused for `ldap_timeout`, or took ten times that.
    pub fn wait(&mut self, wait: Duration) -> Result<Heard, DirectoryError> {
        self.message(wait).map_err(|problem| self.directory.failed(problem))
    }

    fn message(&mut self, wait: Duration) -> Result<Heard, DirectoryProblem> {
        let stage = DirectoryStage::Listen;
        self.look_at_the_clock()?;
        if !self.directory.connection.arrives_within(stage, wait)? {
            self.note_partial();
            return Ok(Heard::Nothing);
        }
        self.partial = None;
        let message = self.directory.connection.message(stage)?;
        if message.message_id != 0 {
            self.heard = Instant::now();
        }
        match self.listener.handle(&message) {
            Ok(ListenerEvent::Ring) if is_of(&message, self.bound_as.as_deref()) => {
                Ok(Heard::Quiet)
            }
            Ok(ListenerEvent::Ring) => Ok(Heard::Ring),
            Ok(ListenerEvent::Outside) if self.counts_outside => Ok(Heard::Outside),
            Ok(ListenerEvent::Outside | ListenerEvent::Quiet) => Ok(Heard::Quiet),
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

    /// Fails if the server is too slow.
    fn look_at_the_clock(&self) -> Result<(), DirectoryProblem> {
        let (timeout, longest) = (self.timeout, self.timeout.saturating_mul(LONGEST));
        let late = |trickling| {
            Err(DirectoryProblem::TimedOut { stage: DirectoryStage::Listen, timeout, trickling })
        };
        if !self.is_listening() && self.begun.elapsed() >= longest {
            return Err(DirectoryProblem::ListenNotBegun { timeout });
        }
        match self.partial {
            Some(partial) if partial.begun.elapsed() >= longest => late(true),
            Some(partial) if partial.grew.elapsed() >= timeout => late(false),
            None if !self.is_listening() && self.silence() >= timeout => late(false),
            _ => Ok(()),
        }
    }

    /// Notes how much of the next message is here.
    fn note_partial(&mut self) {
        let (now, len) = (Instant::now(), self.directory.connection.waiting());
        self.partial = match self.partial {
            _ if len == 0 => None,
            Some(partial) if partial.len == len => Some(partial),
            Some(partial) => Some(Partial { grew: now, len, ..partial }),
            None => Some(Partial { begun: now, grew: now, len }),
        };
    }
}

/// True for an entry with this DN, in comparison form.
fn is_of(message: &LdapMessage<'_>, form: Option<&str>) -> bool {
    match (&message.op, form) {
        (ProtocolOp::SearchResultEntry(entry), Some(form)) => {
            dn::normalize(entry.dn()).is_ok_and(|dn| dn == form)
        }
        _ => false,
    }
}
