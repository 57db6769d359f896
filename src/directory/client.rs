//! A connected and authenticated directory: searches and the refresh.
//!
//! Scope: the requests and the meaning of their responses. After an error the connection may
//! contain unread responses, so connect again. Only a search that the server refused leaves it
//! usable.

use std::fmt;

use ldap_content_sync::dn::normalize;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::{self, Scope, SearchRequest};
use ldap_content_sync::sync_session::{NextCookie, Provider, cookie_of_context};
use ldap_content_sync::{Limits, ResultCode, SearchResultEntry};
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use super::bind::bind;
use super::connection::Connection;
use super::error::{DirectoryError, DirectoryProblem, DirectoryStage};
use super::flavour::{self, has_moved_on};
use super::refresh::{self, Refresh};
use super::root_dse::{self, RootDse};
use super::search::{self, NO_ENTRY, NO_SUCH_ENTRY, ordinary};
use crate::config::sync::{DirectoryConfig, LdapUri};
use crate::heartbeat::Heartbeat;

/// A connected directory. Dropping it unbinds.
pub struct Directory {
    pub(super) connection: Connection,
    uri: LdapUri,
    pub(super) base: String,
    pub(super) filter: Filter,
    root_dse: RootDse,
    bound_as: Option<String>,
}

impl Directory {
    /// Connects, authenticates and reads the root DSE. Checks that the server offers content
    /// synchronisation.
    ///
    /// # Errors
    /// The failed stage, with advice for the administrator.
    pub fn connect(cfg: &DirectoryConfig) -> Result<Directory, DirectoryError> {
        Self::connect_watched(cfg, Heartbeat::default())
    }

    /// Like [`Directory::connect`]. The heartbeat also beats from now on at every step and every
    /// piece of data. The time between two beats is at most twice `ldap_timeout`.
    ///
    /// # Errors
    /// As [`Directory::connect`].
    pub fn connect_watched(
        cfg: &DirectoryConfig,
        heartbeat: Heartbeat,
    ) -> Result<Directory, DirectoryError> {
        let limits = Limits { max_message: cfg.max_message, ..Limits::default() };
        Self::connect_with(cfg, limits, heartbeat)
    }

    /// Like [`Directory::connect_watched`], with other limits.
    pub(super) fn connect_with(
        cfg: &DirectoryConfig,
        limits: Limits,
        heartbeat: Heartbeat,
    ) -> Result<Directory, DirectoryError> {
        let mut directory =
            Self::open(cfg, limits, heartbeat).map_err(|problem| problem.at(&cfg.uri))?;
        match directory.authenticate(cfg) {
            Ok(()) => Ok(directory),
            Err(problem) => {
                let peer_certificates = directory.peer_certificates().to_vec();
                Err(DirectoryError { peer_certificates, ..problem.at(&cfg.uri) })
            }
        }
    }

    /// Connects, with TLS.
    fn open(
        cfg: &DirectoryConfig,
        limits: Limits,
        heartbeat: Heartbeat,
    ) -> Result<Directory, DirectoryProblem> {
        Ok(Directory {
            connection: Connection::open(cfg, limits, heartbeat)?,
            uri: cfg.uri.clone(),
            base: cfg.base_dn.clone(),
            filter: cfg.filter.clone(),
            root_dse: RootDse::default(),
            bound_as: None,
        })
    }

    /// Binds and reads the root DSE.
    fn authenticate(&mut self, cfg: &DirectoryConfig) -> Result<(), DirectoryProblem> {
        self.bound_as = bind(&mut self.connection, cfg)?;
        self.root_dse = self.read_root_dse()?;
        if !self.root_dse.offers_content_sync() {
            return Err(DirectoryProblem::NoContentSync);
        }
        Ok(())
    }

    /// The server's dialect of RFC 4533.
    pub fn provider(&self) -> Provider {
        self.root_dse.provider()
    }

    /// The DN of the bind; `None` if the server does not reveal it.
    pub fn bound_as(&self) -> Option<&str> {
        self.bound_as.as_deref()
    }

    /// The root DSE of the server.
    pub fn root_dse(&self) -> &RootDse {
        &self.root_dse
    }

    /// The server's certificate chain, leaf first. Empty on a unix socket.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates()
    }

    /// Attribute with an entry's sync UUID: `nsUniqueId` on 389, otherwise `entryUUID`.
    /// [`flavour::sync_uuid`] reads it.
    pub fn uuid_attribute(&self) -> &'static str {
        flavour::uuid_attribute(self.provider())
    }

    /// Filter for entries with one of these sync UUIDs. Without UUIDs it matches no entry.
    pub fn uuid_filter(&self, uuids: &[Uuid]) -> Filter {
        flavour::uuid_filter(self.provider(), uuids)
    }

    /// Reads the configured content (`base_dn` and `filter`): the changes since `cookie`, or all of
    /// it.
    ///
    /// `on_entry` gets the requested `attributes`; on 389 it may also get `nsUniqueId`. References
    /// are not followed. The entries are valid only if this returns [`Refresh::Done`].
    ///
    /// # Errors
    /// The refresh failed; discard everything received. This includes a directory that is older
    /// than the cookie ([`DirectoryProblem::Behind`], or result code 53).
    pub fn refresh(
        &mut self,
        attributes: &[&str],
        cookie: Option<&[u8]>,
        on_entry: &mut dyn FnMut(Uuid, &SearchResultEntry<'_>),
    ) -> Result<Refresh, DirectoryError> {
        refresh::run(self, attributes, cookie.filter(|cookie| !cookie.is_empty()), on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// True if 389 has recorded changes since this cookie.
    ///
    /// An entry may have been created and deleted by these changes. A refresh with the cookie then
    /// reports no deletion on 389. slapd reports every deletion, so the result is false. It is also
    /// false for unknown servers.
    ///
    /// # Errors
    /// The root DSE cannot be read.
    pub fn is_ahead_of(&mut self, cookie: &NextCookie) -> Result<bool, DirectoryError> {
        let (Provider::Ds389, NextCookie::New(cookie)) = (self.provider(), cookie) else {
            return Ok(false);
        };
        let dse = self.read_root_dse().map_err(|problem| problem.at(&self.uri))?;
        Ok(has_moved_on(cookie, &dse))
    }

    /// Error for a full refresh that showed an older state than an earlier run has read.
    pub fn behind(&self) -> DirectoryError {
        DirectoryProblem::Behind { base: self.base.clone(), full: true }.at(&self.uri)
    }

    /// Adds this directory to a failure.
    pub(super) fn failed(&self, problem: DirectoryProblem) -> DirectoryError {
        problem.at(&self.uri)
    }

    /// Error for an entry that does not show its UUID.
    pub fn uuid_hidden(&self, dn: String) -> DirectoryError {
        DirectoryProblem::UuidHidden { dn, attribute: self.uuid_attribute() }.at(&self.uri)
    }

    /// The state of slapd's database as a cookie, from `contextCSN` of the suffix. `None` if the
    /// account cannot read it.
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
        Ok(cookie_of_context(&csns.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// True if the first matching entry below `base` shows one of these attributes. An account may
    /// have the right to search by an attribute without the right to read it.
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

    /// Passes the first matching entry below `base` to `on_entry`.
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
        search::one(&mut self.connection, DirectoryStage::Search, &search, on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// Passes at most `most` matching entries below `base` to `on_entry`.
    ///
    /// # Errors
    /// As [`Directory::search`].
    pub fn some(
        &mut self,
        base: &str,
        filter: &Filter,
        attributes: &[&str],
        most: u32,
        on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
    ) -> Result<(), DirectoryError> {
        let search = SearchRequest {
            size_limit: most,
            ..ordinary(base, Scope::Subtree, filter, attributes)
        };
        search::one(&mut self.connection, DirectoryStage::Search, &search, on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// Attribute descriptions of the first matching entry below `base`, in lower case and without
    /// values.
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
        search::one(&mut self.connection, DirectoryStage::Search, &search, &mut note)
            .map_err(|problem| problem.at(&self.uri))?;
        Ok(types)
    }

    /// A plain search. References are not followed.
    ///
    /// # Errors
    /// Every result code except success, including that of a base that does not exist.
    pub fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attributes: &[&str],
        on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
    ) -> Result<(), DirectoryError> {
        self.one_search(DirectoryStage::Search, base, scope, filter, attributes, on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// Many small searches, sent without waiting for responses. `on_entry` gets the index of the
    /// search. Responses may come in any order.
    ///
    /// A base yields no entry if it does not exist, is no valid DN for the server, belongs to
    /// another server or is invisible to the account. Such bases are normal, because they come from
    /// member values that users entered.
    ///
    /// # Errors
    /// Any other result code except success, from any search.
    pub fn search_each(
        &mut self,
        searches: &[(String, Scope, &Filter)],
        attributes: &[&str],
        on_entry: &mut dyn FnMut(usize, &SearchResultEntry<'_>),
    ) -> Result<(), DirectoryError> {
        let mut is_answer = |_, code| NO_ENTRY.contains(&code);
        search::many(&mut self.connection, searches, attributes, &mut is_answer, on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// Like [`Self::search_each`], but any other result code fails its own search only.
    /// `on_failure` gets the index of that search. It may have passed an entry to `on_entry`.
    ///
    /// # Errors
    /// The connection failed, or the server did not answer in time.
    pub fn search_each_apart(
        &mut self,
        searches: &[(String, Scope, &Filter)],
        attributes: &[&str],
        on_entry: &mut dyn FnMut(usize, &SearchResultEntry<'_>),
        on_failure: &mut dyn FnMut(usize, ResultCode),
    ) -> Result<(), DirectoryError> {
        let mut is_answer = |index, code| {
            if !NO_ENTRY.contains(&code) {
                on_failure(index, code);
            }
            true
        };
        search::many(&mut self.connection, searches, attributes, &mut is_answer, on_entry)
            .map_err(|problem| problem.at(&self.uri))
    }

    /// Like [`Self::search_each`], for bases that the directory itself reported. A referral or
    /// missing access rights are then an error.
    pub(super) fn many_searches(
        &mut self,
        searches: &[(String, Scope, &Filter)],
        attributes: &[&str],
        on_entry: &mut dyn FnMut(usize, &SearchResultEntry<'_>),
    ) -> Result<(), DirectoryProblem> {
        let mut is_answer = |_, code| NO_SUCH_ENTRY.contains(&code);
        search::many(&mut self.connection, searches, attributes, &mut is_answer, on_entry)
    }

    pub(super) fn one_search(
        &mut self,
        stage: DirectoryStage,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attributes: &[&str],
        on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
    ) -> Result<(), DirectoryProblem> {
        let search = ordinary(base, scope, filter, attributes);
        search::one(&mut self.connection, stage, &search, on_entry)
    }

    pub(super) fn read_root_dse(&mut self) -> Result<RootDse, DirectoryProblem> {
        let mut dse = RootDse::default();
        let anything = Filter::Present { attribute: "objectClass".into() };
        self.one_search(
            DirectoryStage::RootDse,
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
