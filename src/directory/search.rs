//! Plain searches on a connection: one, or many at once.
//!
//! Scope: requests, their limits and their answers. References are not followed.

use std::collections::HashMap;

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::{self, Scope, SearchRequest};
use ldap_content_sync::{
    LdapMessage, LdapResult, Limits, ProtocolOp, ResultCode, SearchResultEntry,
};

use super::connection::{Connection, ignore_unsolicited, out_of_place};
use super::error::{DirectoryProblem, DirectoryStage, quote};

/// Maximum number of concurrent searches in [`many`]. slapd queues 1000 requests of an
/// authenticated connection.
const WINDOW: usize = 64;

/// Result codes for an entry that does not exist.
pub(super) const NO_SUCH_ENTRY: [ResultCode; 2] =
    [ResultCode::NO_SUCH_OBJECT, ResultCode::INVALID_DN_SYNTAX];

/// Result codes for an entry that does not exist, belongs to another server, or is invisible to the
/// account.
pub(super) const NO_ENTRY: [ResultCode; 4] = [
    ResultCode::NO_SUCH_OBJECT,
    ResultCode::INVALID_DN_SYNTAX,
    ResultCode::REFERRAL,
    ResultCode::INSUFFICIENT_ACCESS_RIGHTS,
];

/// Runs one search.
pub(super) fn one(
    connection: &mut Connection,
    stage: DirectoryStage,
    search: &SearchRequest<'_>,
    on_entry: &mut dyn FnMut(&SearchResultEntry<'_>),
) -> Result<(), DirectoryProblem> {
    let id = connection.request(stage, |id| request::search(id, search))?;
    let mut answered = Answered::of(search, &connection.limits);
    connection.answers(id, stage, |message| match search_answer(message, stage)? {
        SearchAnswer::Entry(entry) => {
            if answered.count(stage, search.base)? {
                on_entry(entry);
            }
            Ok(None)
        }
        SearchAnswer::Ignored => Ok(None),
        // The size limit of the request was reached.
        SearchAnswer::Done(result)
            if search.size_limit > 0 && result.code == ResultCode::SIZE_LIMIT_EXCEEDED =>
        {
            Ok(Some(()))
        }
        SearchAnswer::Done(result) => succeeded(result, stage, search.base).map(Some),
    })
}

/// Runs many searches without waiting for each. `on_entry` gets the index of the search.
/// `is_answer` gets the index and the result code of a search that fails. If it returns true, the
/// others go on.
pub(super) fn many(
    connection: &mut Connection,
    searches: &[(String, Scope, &Filter)],
    attributes: &[&str],
    is_answer: &mut dyn FnMut(usize, ResultCode) -> bool,
    on_entry: &mut dyn FnMut(usize, &SearchResultEntry<'_>),
) -> Result<(), DirectoryProblem> {
    const STAGE: DirectoryStage = DirectoryStage::Search;
    let mut waiting = searches.iter().enumerate();
    let mut under_way: HashMap<u32, (usize, Answered)> = HashMap::with_capacity(WINDOW);
    loop {
        while under_way.len() < WINDOW
            && let Some((index, (base, scope, filter))) = waiting.next()
        {
            let search = ordinary(base, *scope, filter, attributes);
            let id = connection.request(STAGE, |id| request::search(id, &search))?;
            under_way.insert(id, (index, Answered::of(&search, &connection.limits)));
        }
        if under_way.is_empty() {
            return Ok(());
        }
        let message = connection.message(STAGE)?;
        let Some((index, answered)) = under_way.get_mut(&message.message_id) else {
            ignore_unsolicited(&message, STAGE)?;
            continue;
        };
        let base = searches.get(*index).map_or("", |(base, ..)| base.as_str());
        match search_answer(&message, STAGE)? {
            SearchAnswer::Entry(entry) => {
                answered.count(STAGE, base)?;
                on_entry(*index, entry);
            }
            SearchAnswer::Ignored => {}
            SearchAnswer::Done(result) => {
                if result.code != ResultCode::SUCCESS && !is_answer(*index, result.code) {
                    succeeded(result, STAGE, base)?;
                }
                under_way.remove(&message.message_id);
            }
        }
    }
}

/// Counts the entries of a search. A server that sends entries without end would fill the memory.
struct Answered {
    entries: usize,
    most: usize,
    /// The size limit of the request. A server may ignore it.
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

    /// Counts one entry. Returns true if it is within the size limit.
    fn count(&mut self, stage: DirectoryStage, base: &str) -> Result<bool, DirectoryProblem> {
        if self.entries == self.most {
            return Err(DirectoryProblem::TooManyEntries {
                stage,
                base: base.to_owned(),
                most: self.most,
            });
        }
        self.entries += 1;
        Ok(self.entries <= self.wanted)
    }
}

/// A search without size or time limit.
pub(super) fn ordinary<'a>(
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

/// Meaning of a message for a plain search.
enum SearchAnswer<'m, 'a> {
    Entry(&'m SearchResultEntry<'a>),
    /// A reference, or an unrequested intermediate response.
    Ignored,
    Done(&'m LdapResult<'a>),
}

fn search_answer<'m, 'a>(
    message: &'m LdapMessage<'a>,
    stage: DirectoryStage,
) -> Result<SearchAnswer<'m, 'a>, DirectoryProblem> {
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
        _ => Err(out_of_place(message, stage)),
    }
}

fn succeeded(
    result: &LdapResult<'_>,
    stage: DirectoryStage,
    base: &str,
) -> Result<(), DirectoryProblem> {
    match result.code {
        ResultCode::SUCCESS => Ok(()),
        code => Err(DirectoryProblem::SearchFailed {
            stage,
            base: base.to_owned(),
            code,
            diagnostic: quote(&result.diagnostic),
        }),
    }
}
