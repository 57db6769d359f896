//! The TOTP tokens that persons name: reading them after the refresh.
//!
//! Scope: searches by DN, many at once, for a limited number of persons. [`crate::mapping::totp`]
//! knows what tokens mean. Without `person_attr_totp`, or without persons that have tokens, no
//! search is made.

use std::collections::HashMap;

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::{ResultCode, SearchResultEntry};

use crate::content::rules::totp::TotpParams;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::mapping::Mapper;
use crate::mapping::totp::{
    PARAMS_ATTRIBUTES, TOKEN_ATTRIBUTES, TokenEntry, TokenProblem, Tokens, read_params, token,
};

/// Maximum persons whose tokens are in memory at the same time.
const BATCH: usize = 2_000;

/// Maximum parameters that are remembered for the next batch. Most sites have one for all tokens.
const MAX_PARAMS: usize = 1_000;

type Params = Option<Result<TotpParams, TokenProblem>>;

/// Reads the tokens of all persons that the run writes, and answers the mapper.
///
/// # Errors
/// The connection failed. A token that does not exist, that the account may not see, or for which
/// the server has no answer, concerns only the persons that name it.
pub(crate) fn read_tokens(
    directory: &mut Directory,
    mapper: &mut Mapper<'_>,
) -> Result<(), DirectoryError> {
    let mut params: HashMap<String, Params> = HashMap::new();
    while let Some(batch) = mapper.next_tokens(BATCH) {
        let entries = read_each(directory, &batch.dns, TOKEN_ATTRIBUTES, TokenEntry::read)?;
        if params.len() > MAX_PARAMS {
            params.clear();
        }
        let mut named: Vec<String> = entries
            .iter()
            .flatten()
            .flatten()
            .filter_map(TokenEntry::params)
            .filter(|dn| !params.contains_key(*dn))
            .map(str::to_owned)
            .collect();
        named.sort_unstable();
        named.dedup();
        let read = read_each(directory, &named, PARAMS_ATTRIBUTES, read_params)?;
        params.extend(named.into_iter().zip(read.into_iter().map(|read| match read? {
            Ok(read) => Some(read),
            Err(code) => Some(Err(TokenProblem::Unanswered(code))),
        })));

        let params_of = |entry: &Option<TokenEntry>| {
            entry.as_ref()?.params().and_then(|dn| params.get(dn).copied().flatten())
        };
        let read: Tokens = batch
            .dns
            .iter()
            .zip(entries)
            .map(|(dn, entry)| {
                let entry = entry.transpose().map_err(TokenProblem::Unanswered);
                let token = entry.and_then(|entry| {
                    let params = params_of(&entry);
                    token(entry, params)
                });
                (dn.clone(), token)
            })
            .collect();
        mapper.answer_tokens(batch, &read);
    }
    Ok(())
}

/// Reads entries by DN. `None` for one that does not exist or is invisible to the account. A result
/// code for one that the server could not read: its author may name a DN of another, broken server.
fn read_each<T>(
    directory: &mut Directory,
    dns: &[String],
    attributes: &[&str],
    read: impl Fn(&SearchResultEntry<'_>) -> T,
) -> Result<Vec<Option<Result<T, ResultCode>>>, DirectoryError> {
    let any = Filter::Present { attribute: "objectClass".to_owned() };
    let searches: Vec<(String, Scope, &Filter)> =
        dns.iter().map(|dn| (dn.clone(), Scope::Base, &any)).collect();
    let mut found: Vec<Option<Result<T, ResultCode>>> = dns.iter().map(|_| None).collect();
    let mut failed: Vec<(usize, ResultCode)> = Vec::new();
    directory.search_each_apart(
        &searches,
        attributes,
        &mut |at, entry| {
            if let Some(found) = found.get_mut(at) {
                *found = Some(Ok(read(entry)));
            }
        },
        &mut |at, code| failed.push((at, code)),
    )?;
    for (at, code) in failed {
        if let Some(found) = found.get_mut(at) {
            *found = Some(Err(code));
        }
    }
    Ok(found)
}
