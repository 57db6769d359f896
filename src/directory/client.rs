//! A connected, authenticated directory: searches and the refresh.
//!
//! Scope: which requests are sent, and what their answers mean. After an error other than a
//! server's refusal of a search the connection may hold answers that nobody waits for: connect
//! again.

use std::collections::HashMap;
use std::fmt;

use ldap_content_sync::dn::normalize;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::{self, Scope, SearchRequest};
use ldap_content_sync::sync_session::{Cookie, Provider};
use ldap_content_sync::{
    LdapMessage, LdapResult, Limits, ProtocolOp, ResultCode, SearchResultEntry,
};
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use super::connection::Connection;
use super::error::{DirectoryError, Problem, Stage, quote};
use super::flavour::{self, has_moved_on};
use super::refresh::{self, Refresh};
use super::root_dse::{self, RootDse};
use crate::config::sync::{Bind, DirectoryConfig, LdapUri};
use crate::heartbeat::Heartbeat;

/// How many searches [`Directory::search_each`] has under way. slapd queues 1000 of an
/// authenticated connection.
const WINDOW: usize = 64;

/// Codes that say that there is no such entry.
const NO_SUCH_ENTRY: [ResultCode; 2] = [ResultCode::NO_SUCH_OBJECT, ResultCode::INVALID_DN_SYNTAX];

/// Those, and codes that say that there is none for us: another server may have it, or the account
/// may not see it.
const NO_ENTRY: [ResultCode; 4] = [
    ResultCode::NO_SUCH_OBJECT,
    ResultCode::INVALID_DN_SYNTAX,
    ResultCode::REFERRAL,
    ResultCode::INSUFFICIENT_ACCESS_RIGHTS,
];

/// A directory that this run is connected to. Dropping it unbinds.
pub struct Directory {
    pub(super) connection: Connection,
    pub(super) limits: Limits,
    uri: LdapUri,
    pub(super) base: String,
    pub(super) filter: Filter,
    root_dse: RootDse,
    bound_as: Option<String>,
}

impl Directory {
    /// Connects, authenticates, reads the root DSE, and makes sure that the server offers content
    /// synchronisation.
    ///
    /// # Errors
    /// Whatever is in the way, with what to do about it.
    pub fn connect(cfg: &DirectoryConfig) -> Result<Directory, DirectoryError> {
        Self::connect_watched(cfg, Heartbeat::default())
    }

    /// The same, with somebody who hears of every step and every piece of data, from now on. No
    /// wait in between is longer than twice `ldap_timeout`.
    ///
    /// # Errors
    /// As [`Directory::connect`].
    pub fn connect_watched(
        cfg: &DirectoryConfig,
        heartbeat: Heartbeat,
    ) -> Result<Directory, DirectoryError> {
        Self::establish(cfg, heartbeat).map_err(|problem| problem.at(&cfg.uri))
    }

    fn establish(cfg: &DirectoryConfig, heartbeat: Heartbeat) -> Result<Directory, Problem> {
        let limits = Limits { max_message: cfg.max_message, ..Limits::default() };
        let mut directory = Directory {
            connection: Connection::open(cfg, limits, heartbeat)?,
            limits,
            uri: cfg.uri.clone(),
            base: cfg.base_dn.clone(),
            filter: cfg.filter.clone(),
            root_dse: RootDse::default(),
            bound_as: None,
        };
        directory.bind(&cfg.bind).map_err(|problem| blame_certificate(problem, cfg))?;
        directory.bound_as = match &cfg.bind {
            Bind::Simple { dn, .. } => Some(dn.clone()),
            Bind::External => directory.who_am_i()?,
        };
        directory.root_dse = directory.read_root_dse()?;
        if !directory.root_dse.offers_content_sync() {
            return Err(Problem::NoContentSync);
        }
        Ok(directory)
    }

    /// Whose dialect the server speaks.
    pub fn provider(&self) -> Provider {
        self.root_dse.provider()
    }

    /// The DN that the connection is bound as; `None` where the server does not tell.
    pub fn bound_as(&self) -> Option<&str> {
        self.bound_as.as_deref()
    }

    /// What the server says about itself.
    pub fn root_dse(&self) -> &RootDse {
        &self.root_dse
    }

    /// The server's certificate chain, its own first; empty on a unix socket.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates()
    }

    /// The attribute that holds an entry's sync UUID: `entryUUID`, `nsUniqueId` on 389.
    /// [`flavour::sync_uuid`] reads it.
    pub fn uuid_attribute(&self) -> &'static str {
        flavour::uuid_attribute(self.provider())
    }

    /// The entries with one of these sync UUIDs. Without any: no entry.
    pub fn uuid_filter(&self, uuids: &[Uuid]) -> Filter {
        flavour::uuid_filter(self.provider(), uuids)
    }

    /// Reads the content of `base_dn` and `filter` of the configuration: what changed since
    /// `cookie`, or all of it.
    ///
    /// `attributes` are what `on_entry` gets to see; on 389 `nsUniqueId` may come with them.
    /// References are not followed. What `on_entry` has got counts only when this returns
    /// [`Refresh::Done`].
    ///
    /// # Errors
    /// The refresh failed; nothing of it may be used. A directory that is older than the cookie
    /// (result code 53) is such an error: see there.
    pub fn refresh(
        &mut self,
        attributes: &[&str],
        cookie: Option<&[u8]>,
        on_entry: &mut dyn FnMut(Uuid, &SearchResultEntry<'_>),
    ) -> Result<Refresh, DirectoryError> {
        refresh::run(self, attributes, cookie.filter(|cookie| !cookie.is_empty()), on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// Whether the server has taken changes since it gave this cookie, and would not mention an
    /// entry that has come with one of them and has gone again when it is asked with the cookie:
    /// 389. slapd mentions every entry that is gone; of unknown servers nothing is known.
    ///
    /// # Errors
    /// The root DSE cannot be read.
    pub fn is_ahead_of(&mut self, cookie: &Cookie) -> Result<bool, DirectoryError> {
        let (Provider::Ds389, Cookie::New(cookie)) = (self.provider(), cookie) else {
            return Ok(false);
        };
        let dse = self.read_root_dse().map_err(|problem| problem.at(&self.uri))?;
        Ok(has_moved_on(cookie, &dse))
    }

    /// A full refresh has shown an older directory than an earlier run has read: the error that
    /// says so.
    pub fn behind(&self) -> DirectoryError {
        Problem::Behind { base: self.base.clone(), full: true }.at(&self.uri)
    }

    /// An entry does not show its UUID: the error that says so.
    pub fn uuid_hidden(&self, dn: String) -> DirectoryError {
        Problem::UuidHidden { dn, attribute: self.uuid_attribute() }.at(&self.uri)
    }

    /// The state of slapd's database in the form of a cookie, from `contextCSN` of the suffix;
    /// `None` where the account cannot read it.
    ///
    /// # Errors
    /// As [`Directory::search`].
    pub fn context_csn(&mut self) -> Result<Option<Vec<u8>>, DirectoryError> {
        let base = normalize(&self.base).unwrap_or_default();
        let is_superior = |suffix: &&String| {
            normalize(suffix)
                .is_ok_and(|suffix| base == suffix || base.ends_with(&format!(",{suffix}")))
        };
        let suffix = self
            .root_dse
            .naming_contexts
            .iter()
            .filter(is_superior)
            .max_by_key(|suffix| suffix.len());
        let suffix = suffix.unwrap_or(&self.base).clone();
        let anything = Filter::Present { attribute: "objectClass".to_owned() };
        let mut csns: Vec<String> = Vec::new();
        self.search_each(&[(suffix, Scope::Base, &anything)], &["contextCSN"], &mut |_, entry| {
            let values = entry
                .attributes()
                .filter(|attribute| attribute.is("contextCSN"))
                .flat_map(|attribute| attribute.values());
            csns.extend(values.filter_map(|value| str::from_utf8(value).ok()).map(str::to_owned));
        })?;
        Ok((!csns.is_empty()).then(|| format!("rid=000,csn={}", csns.join(";")).into_bytes()))
    }

    /// Whether the first entry below `base` that matches shows one of these attributes. The right
    /// to search by an attribute is not the right to read it.
    ///
    /// # Errors
    /// As [`Directory::search`].
    pub fn shows_any(
        &mut self,
        base: &str,
        filter: &Filter,
        attributes: &[&str],
    ) -> Result<bool, DirectoryError> {
        let mut any = false;
        let shown = |entry: &SearchResultEntry<'_>| {
            let is_left_out = entry
                .oversized()
                .is_some_and(|oversized| attributes.iter().any(|name| oversized.leaves_out(name)));
            is_left_out
                || entry.attributes().any(|found| {
                    attributes.iter().any(|name| found.is(name)) && found.values().next().is_some()
                })
        };
        self.first(base, filter, attributes, &mut |entry| any = shown(entry))?;
        Ok(any)
    }

    /// The first entry below `base` that matches.
    ///
    /// # Errors
    /// As [`Directory::search`].
    pub fn first(
        &mut self,
        base: &str,
        filter: &Filter,
        attributes: &[&str],
        on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
    ) -> Result<(), DirectoryError> {
        let search =
            SearchRequest { size_limit: 1, ..ordinary(base, Scope::Subtree, filter, attributes) };
        self.run_search(Stage::Search, &search, on_entry).map_err(|problem| problem.at(&self.uri))
    }

    /// The descriptions of the attributes that the first entry below `base` that matches has,
    /// without their values.
    ///
    /// # Errors
    /// As [`Directory::search`].
    pub fn types(
        &mut self,
        base: &str,
        filter: &Filter,
        attributes: &[&str],
    ) -> Result<Vec<String>, DirectoryError> {
        let mut types = Vec::new();
        let search = SearchRequest {
            size_limit: 1,
            types_only: true,
            ..ordinary(base, Scope::Subtree, filter, attributes)
        };
        let mut note = |entry: &SearchResultEntry<'_>| {
            types.extend(entry.attributes().map(|found| found.description().to_ascii_lowercase()))
        };
        self.run_search(Stage::Search, &search, &mut note)
            .map_err(|problem| problem.at(&self.uri))?;
        Ok(types)
    }

    /// An ordinary search. References are not followed.
    ///
    /// # Errors
    /// Every result code but success is one, a base that does not exist included.
    pub fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attributes: &[&str],
        on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
    ) -> Result<(), DirectoryError> {
        self.one_search(Stage::Search, base, scope, filter, attributes, on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// Many small searches, sent ahead of their answers. `on_entry` is told which of them an entry
    /// belongs to; their answers may come in any order. A base that does not exist, is no DN to the
    /// server, is another server's, or is nothing that the account may see, has no entry: bases are
    /// what anybody has written into a group.
    ///
    /// # Errors
    /// Every other result code than success, of any of the searches.
    pub fn search_each(
        &mut self,
        searches: &[(String, Scope, &Filter)],
        attributes: &[&str],
        on_entry: &mut dyn FnMut(usize, &SearchResultEntry<'_>),
    ) -> Result<(), DirectoryError> {
        self.windowed(searches, attributes, &NO_ENTRY, on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// The same, where nobody but the directory itself has named the bases: what it may not show,
    /// or sends elsewhere for, is an error.
    pub(super) fn many_searches(
        &mut self,
        searches: &[(String, Scope, &Filter)],
        attributes: &[&str],
        on_entry: &mut dyn FnMut(usize, &SearchResultEntry<'_>),
    ) -> Result<(), Problem> {
        self.windowed(searches, attributes, &NO_SUCH_ENTRY, on_entry)
    }

    fn windowed(
        &mut self,
        searches: &[(String, Scope, &Filter)],
        attributes: &[&str],
        no_entry: &[ResultCode],
        on_entry: &mut dyn FnMut(usize, &SearchResultEntry<'_>),
    ) -> Result<(), Problem> {
        let mut waiting = searches.iter().enumerate();
        let mut under_way: HashMap<u32, (usize, Answered)> = HashMap::with_capacity(WINDOW);
        loop {
            while under_way.len() < WINDOW
                && let Some((index, (base, scope, filter))) = waiting.next()
            {
                let search = ordinary(base, *scope, filter, attributes);
                let id =
                    self.connection.request(Stage::Search, |id| request::search(id, &search))?;
                under_way.insert(id, (index, Answered::of(&search, &self.limits)));
            }
            if under_way.is_empty() {
                return Ok(());
            }
            let message = self.connection.message(Stage::Search)?;
            let Some((index, answered)) = under_way.get_mut(&message.message_id) else {
                ignore_unsolicited(&message, Stage::Search)?;
                continue;
            };
            let base = searches.get(*index).map_or("", |(base, ..)| base.as_str());
            match search_answer(&message, Stage::Search)? {
                SearchAnswer::Entry(entry) => {
                    answered.count(Stage::Search, base)?;
                    on_entry(*index, entry);
                }
                SearchAnswer::Ignored => {}
                SearchAnswer::Done(result) => {
                    if !no_entry.contains(&result.code) {
                        succeeded(result, Stage::Search, base)?;
                    }
                    under_way.remove(&message.message_id);
                }
            }
        }
    }

    pub(super) fn one_search(
        &mut self,
        stage: Stage,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attributes: &[&str],
        on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
    ) -> Result<(), Problem> {
        self.run_search(stage, &ordinary(base, scope, filter, attributes), on_entry)
    }

    fn run_search(
        &mut self,
        stage: Stage,
        search: &SearchRequest<'_>,
        on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
    ) -> Result<(), Problem> {
        let id = self.connection.request(stage, |id| request::search(id, search))?;
        let mut answered = Answered::of(search, &self.limits);
        loop {
            let message = self.connection.message(stage)?;
            if message.message_id != id {
                ignore_unsolicited(&message, stage)?;
                continue;
            }
            match search_answer(&message, stage)? {
                SearchAnswer::Entry(entry) => {
                    if answered.count(stage, search.base)? {
                        on_entry(entry);
                    }
                }
                SearchAnswer::Ignored => {}
                // The limit of the client, reached.
                SearchAnswer::Done(result)
                    if search.size_limit > 0 && result.code == ResultCode::SIZE_LIMIT_EXCEEDED =>
                {
                    return Ok(());
                }
                SearchAnswer::Done(result) => return succeeded(result, stage, search.base),
            }
        }
    }

    fn bind(&mut self, bind: &Bind) -> Result<(), Problem> {
        let id = self.connection.request(Stage::Bind, |id| match bind {
            Bind::Simple { dn, password } => {
                request::bind_simple(id, dn, password.expose().as_bytes())
            }
            Bind::External => request::bind_external(id),
        })?;
        loop {
            let message = self.connection.message(Stage::Bind)?;
            if message.message_id != id {
                ignore_unsolicited(&message, Stage::Bind)?;
                continue;
            }
            return match &message.op {
                ProtocolOp::BindResponse(answer) if answer.result.code == ResultCode::SUCCESS => {
                    Ok(())
                }
                ProtocolOp::BindResponse(answer) => Err(Problem::BindRefused {
                    dn: match bind {
                        Bind::Simple { dn, .. } => Some(dn.clone()),
                        Bind::External => None,
                    },
                    code: answer.result.code,
                    diagnostic: quote(&answer.result.diagnostic),
                }),
                other => Err(out_of_place(&message, other, Stage::Bind)),
            };
        }
    }

    /// The DN of an account that bound without naming it. A server that does not know the operation
    /// tells nothing.
    fn who_am_i(&mut self) -> Result<Option<String>, Problem> {
        let id = self.connection.request(Stage::Bind, request::who_am_i)?;
        loop {
            let message = self.connection.message(Stage::Bind)?;
            if message.message_id != id {
                ignore_unsolicited(&message, Stage::Bind)?;
                continue;
            }
            return match &message.op {
                ProtocolOp::ExtendedResponse(answer) => {
                    let identity = answer.value.and_then(|value| str::from_utf8(value).ok());
                    Ok(identity
                        .and_then(|identity| identity.strip_prefix("dn:"))
                        .map(str::to_owned))
                }
                other => Err(out_of_place(&message, other, Stage::Bind)),
            };
        }
    }

    pub(super) fn read_root_dse(&mut self) -> Result<RootDse, Problem> {
        let mut dse = RootDse::default();
        let anything = Filter::Present { attribute: "objectClass".into() };
        self.one_search(
            Stage::RootDse,
            "",
            Scope::Base,
            &anything,
            &root_dse::ATTRIBUTES,
            &mut |entry| dse = RootDse::from_entry(entry),
        )?;
        Ok(dse)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.connection.close(request::unbind);
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("uri", &self.uri)
            .field("provider", &self.provider())
            .finish_non_exhaustive()
    }
}

/// Counts the entries that answer a search. A server that answers without end would fill memory.
struct Answered {
    entries: usize,
    most: usize,
    /// The size limit of the request. A server need not keep to it.
    wanted: usize,
}

impl Answered {
    fn of(search: &SearchRequest<'_>, limits: &Limits) -> Self {
        let wanted = usize::try_from(search.size_limit)
            .ok()
            .filter(|limit| *limit > 0)
            .unwrap_or(usize::MAX);
        Answered {
            entries: 0,
            most: if search.scope == Scope::Base { 1 } else { limits.max_uuids },
            wanted,
        }
    }

    /// Whether an entry is within the size limit.
    fn count(&mut self, stage: Stage, base: &str) -> Result<bool, Problem> {
        if self.entries == self.most {
            return Err(Problem::TooManyEntries { stage, base: base.to_owned(), most: self.most });
        }
        self.entries += 1;
        Ok(self.entries <= self.wanted)
    }
}

/// A search without limits of its own.
fn ordinary<'a>(
    base: &'a str,
    scope: Scope,
    filter: &'a Filter,
    attributes: &'a [&'a str],
) -> SearchRequest<'a> {
    SearchRequest {
        base,
        scope,
        filter,
        attributes,
        size_limit: 0,
        time_limit: 0,
        types_only: false,
        sync: None,
    }
}

/// With TLS 1.3 a client is done before the server has looked at its certificate. One that does not
/// accept it may say so in an alert, or just hang up (slapd with GnuTLS), which the client sees
/// where it waits for the answer to its first request.
fn blame_certificate(problem: Problem, cfg: &DirectoryConfig) -> Problem {
    match (problem, &cfg.client_cert) {
        (Problem::Closed { .. } | Problem::Lost { .. }, Some((certificate, _))) => {
            Problem::CertificateRejected { certificate: certificate.clone() }
        }
        (problem, _) => problem,
    }
}

/// What a message means for an ordinary search.
enum SearchAnswer<'m, 'a> {
    Entry(&'m SearchResultEntry<'a>),
    /// A reference, or an intermediate response that nobody asked for.
    Ignored,
    Done(&'m LdapResult<'a>),
}

fn search_answer<'m, 'a>(
    message: &'m LdapMessage<'a>,
    stage: Stage,
) -> Result<SearchAnswer<'m, 'a>, Problem> {
    match &message.op {
        ProtocolOp::SearchResultEntry(entry) => Ok(SearchAnswer::Entry(entry)),
        ProtocolOp::SearchResultReference(reference) => {
            log::debug!(
                "not following the reference to {}",
                reference.uris().map(quote).collect::<Vec<_>>().join(" or ")
            );
            Ok(SearchAnswer::Ignored)
        }
        ProtocolOp::IntermediateResponse(_) => Ok(SearchAnswer::Ignored),
        ProtocolOp::SearchResultDone(result) => Ok(SearchAnswer::Done(result)),
        other => Err(out_of_place(message, other, stage)),
    }
}

fn succeeded(result: &LdapResult<'_>, stage: Stage, base: &str) -> Result<(), Problem> {
    match result.code {
        ResultCode::SUCCESS => Ok(()),
        code => Err(Problem::SearchFailed {
            stage,
            base: base.to_owned(),
            code,
            diagnostic: quote(&result.diagnostic),
        }),
    }
}

/// A message that answers none of our requests: an unsolicited notification (RFC 4511 §4.4) other
/// than the Notice of Disconnection changes nothing, anything else is an error.
fn ignore_unsolicited(message: &LdapMessage<'_>, stage: Stage) -> Result<(), Problem> {
    match &message.op {
        ProtocolOp::ExtendedResponse(notice)
            if message.message_id == 0 && notice.is_notice_of_disconnection() =>
        {
            let (code, diagnostic) = (notice.result.code, quote(&notice.result.diagnostic));
            Err(Problem::Disconnected { stage, code, diagnostic })
        }
        ProtocolOp::ExtendedResponse(_) if message.message_id == 0 => Ok(()),
        other => Err(out_of_place(message, other, stage)),
    }
}

fn out_of_place(message: &LdapMessage<'_>, op: &ProtocolOp<'_>, stage: Stage) -> Problem {
    Problem::Protocol {
        stage,
        reason: format!(
            "{} with message ID {} answers no request of ours",
            op.name(),
            message.message_id
        ),
    }
}
