//! Finding the entry that an administrator means.
//!
//! Scope: the argument, the search below the base, then in the rest of the directory, then what can
//! be told about an entry that is not there.

use ldap_content_sync::dn;
use ldap_content_sync::filter::Filter;
use ldap_content_sync::sync_session::Provider;
use ldap_content_sync::{ResultCode, SearchResultEntry};
use uuid::Uuid;

use super::reading::{mapper, unless_refused};
use crate::config::sync::{Bind, EntryConfig, SyncConfig};
use crate::content::changeset::Kind;
use crate::directory::client::Directory;
use crate::directory::error::{DirectoryError, DirectoryProblem};
use crate::directory::flavour::sync_uuid;
use crate::directory::sight::Sight;
use crate::mapping::Mapper;
use crate::sync::lookup::{Below, equality};

/// Maximum number of entries that are explained.
const MOST: u32 = 5;
/// Maximum number of naming contexts that are searched.
const CONTEXTS: usize = 20;
/// Codes of servers that refuse searches without an index.
const LIMITS: [ResultCode; 4] = [
    ResultCode::TIME_LIMIT_EXCEEDED,
    ResultCode::SIZE_LIMIT_EXCEEDED,
    ResultCode::ADMIN_LIMIT_EXCEEDED,
    ResultCode::UNWILLING_TO_PERFORM,
];
/// Maximum depth of a DN whose superiors are looked for.
const DEPTH: usize = 32;

/// The argument of `--explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A UUID of the directory or of Kanidm.
    Uuid(Uuid),
    Dn(String),
    Name(String),
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) dn: String,
    /// The UUID in the directory; `None` if the account cannot read it.
    pub(super) uuid: Option<Uuid>,
    pub(super) below_base: bool,
    /// True for a group by its object classes.
    is_group: bool,
}

/// The entries, and remarks about the search.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) targets: Vec<Target>,
    pub(super) notes: Vec<String>,
    /// Why nobody can tell whether there is an entry, if no search found one.
    pub(super) refused: Option<String>,
}

impl Who {
    /// A UUID in any spelling, a DN, or else a name.
    pub(super) fn parse(text: &str) -> Who {
        let text = text.trim();
        let of_389 = || {
            let groups: Vec<&str> = text.split('-').collect();
            let is_389 = groups.len() == 4 && groups.iter().all(|group| group.len() == 8);
            is_389.then(|| Uuid::try_parse(&groups.concat()).ok()).flatten()
        };
        match Uuid::try_parse(text).ok().or_else(of_389) {
            Some(uuid) => Who::Uuid(uuid),
            None if text.contains('=') && dn::normalize(text).is_ok() => Who::Dn(text.to_owned()),
            None => Who::Name(text.to_owned()),
        }
    }
}

/// Finds the entries.
///
/// # Errors
/// The directory failed, or has no such base.
pub(super) fn find(
    directory: &mut Directory,
    config: &SyncConfig,
    who: &Who,
) -> Result<Found, DirectoryError> {
    match who {
        Who::Dn(dn) => by_dn(directory, config, dn),
        Who::Uuid(uuid) => {
            let mut uuids = vec![*uuid, config.mapping.sync_uuid(*uuid)];
            uuids.dedup();
            let filter = directory.uuid_filter(&uuids);
            by_filter(directory, config, vec![filter], Key::Uuid)
        }
        Who::Name(name) => {
            let terms = name_terms(directory, config, name);
            by_filter(directory, config, terms, Key::Name)
        }
    }
}

/// The entries with this name in the directory, and those that a table gives it.
fn name_terms(directory: &Directory, config: &SyncConfig, name: &str) -> Vec<Filter> {
    let (person, group) = (&config.mapping.person.user_name, &config.mapping.group.name);
    let mut terms = vec![equality(person, name)];
    if !group.eq_ignore_ascii_case(person) {
        terms.push(equality(group, name));
    }
    let is_mapped = |table: &EntryConfig| {
        table.map_name.as_deref().is_some_and(|mapped| mapped.eq_ignore_ascii_case(name))
    };
    let tables = config.mapping.entries.iter().filter(|(_, table)| is_mapped(table));
    let mapped: Vec<Uuid> = tables.map(|(uuid, _)| *uuid).collect();
    if !mapped.is_empty() {
        terms.push(directory.uuid_filter(&mapped));
    }
    terms
}

fn by_dn(
    directory: &mut Directory,
    config: &SyncConfig,
    dn: &str,
) -> Result<Found, DirectoryError> {
    let mut found = Found::default();
    let below = below(directory, config);
    let attributes = ["objectClass", directory.uuid_attribute()];
    let (provider, mapper) = (directory.provider(), mapper(directory, config));
    let sight = directory.sight(dn, &attributes, &mut |entry| {
        found.targets.push(target(provider, &mapper, &below, entry));
    })?;
    let account = account(directory, config);
    match sight {
        Sight::Visible => {}
        Sight::Hidden => found.notes.push(hidden(dn, &account)),
        Sight::Referred => found.notes.push(format!(
            "{dn} belongs to another server: this directory refers to it, and no run follows references"
        )),
        Sight::Nothing => {
            found.notes.push(format!(
                "{dn} does not exist, or is hidden from the sync account {account}"
            ));
            found.notes.extend(nearest(directory, dn)?);
            found.notes.extend(superior(dn).is_none().then(|| {
                "a DN names every superior of an entry; to search by name, give the name alone"
                    .to_owned()
            }));
            let scope = &config.directory.base_dn;
            found.notes.extend((!below.has(dn)).then(|| {
                format!("it would be outside ldap_sync_base_dn = {scope}, and not be synchronised")
            }));
        }
    }
    Ok(found)
}

fn hidden(dn: &str, account: &str) -> String {
    format!(
        "the directory has {dn}, and hides it from the sync account {account}: give that account the right to read it"
    )
}

/// Takes out entries that the account can find by a name and cannot read, because their objectClass
/// is hidden.
fn remove_hidden(
    directory: &mut Directory,
    config: &SyncConfig,
    found: &mut Found,
) -> Result<(), DirectoryError> {
    for target in std::mem::take(&mut found.targets) {
        match directory.sight(&target.dn, &["1.1"], &mut |_| {})? {
            Sight::Hidden => found.notes.push(hidden(&target.dn, &account(directory, config))),
            _ => found.targets.push(target),
        }
    }
    Ok(())
}

/// What a filter searches by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Uuid,
    Name,
}

/// Searches below the base, then everywhere. A group below the base may have the name of a user
/// who is elsewhere.
fn by_filter(
    directory: &mut Directory,
    config: &SyncConfig,
    terms: Vec<Filter>,
    key: Key,
) -> Result<Found, DirectoryError> {
    let mut found = Found::default();
    let filter = &any_of(terms.clone());
    let base = config.directory.base_dn.clone();
    let below = below(directory, config);
    let what = if key == Key::Uuid { "UUID" } else { "name" };
    if let Some(refused) = search_each(directory, config, &base, &terms, &mut found)? {
        match found.targets.is_empty() {
            true => return Ok(Found { refused: Some(refused), ..found }),
            false => found.notes.push(refused),
        }
    }
    let is_user_missing = found.targets.iter().all(|target| target.is_group);
    if found.targets.is_empty() || (key == Key::Name && is_user_missing) {
        let contexts = directory.root_dse().naming_contexts.clone();
        for context in contexts.iter().filter(|context| !below.has(context)).take(CONTEXTS) {
            let searched = search(directory, config, context, filter, &mut found);
            let refused = unless_refused(searched)?;
            found.notes.extend(
                refused.map(|code| format!("{context} cannot be searched by this account: {code}")),
            );
        }
        if contexts.is_empty() {
            let note = "the root DSE shows no namingContexts, so only the base was searched";
            found.notes.push(note.to_owned());
        }
    }
    let is_any = !found.targets.is_empty();
    remove_hidden(directory, config, &mut found)?;
    if !is_any {
        found.notes.insert(
            0,
            format!(
                "no entry with this {what} exists in the directory, or it is hidden from the sync account {}; searched with {filter}",
                account(directory, config)
            ),
        );
    }
    if found.targets.len() > 1 {
        let at_least = if found.targets.len() >= MOST as usize { "at least " } else { "" };
        found.notes.push(format!(
            "{at_least}{} entries have this {what}; give a DN to choose one",
            found.targets.len()
        ));
    }
    Ok(found)
}

/// The terms as one filter.
fn any_of(mut terms: Vec<Filter>) -> Filter {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        last => Filter::Or(terms.into_iter().chain(last).collect()),
    }
}

/// The result code with which a server refuses a search that has no index. Any other failure is
/// one.
fn unless_limited(
    searched: Result<(), DirectoryError>,
) -> Result<Option<ResultCode>, DirectoryError> {
    match searched {
        Ok(()) => Ok(None),
        Err(error) => match *error.problem {
            DirectoryProblem::SearchFailed { code, .. } if LIMITS.contains(&code) => Ok(Some(code)),
            _ => Err(error),
        },
    }
}

/// Searches by all terms at once. If the server refuses that, searches by each alone: the others
/// may have an index. Returns which terms it refuses.
fn search_each(
    directory: &mut Directory,
    config: &SyncConfig,
    base: &str,
    terms: &[Filter],
    found: &mut Found,
) -> Result<Option<String>, DirectoryError> {
    let searched = search(directory, config, base, &any_of(terms.to_vec()), found);
    if unless_limited(searched)?.is_none() {
        return Ok(None);
    }
    let mut refused = Vec::new();
    for term in terms {
        if let Some(code) = unless_limited(search(directory, config, base, term, found))? {
            refused.push(format!("{base} cannot be searched by {term}: {code}"));
        }
    }
    Ok((!refused.is_empty()).then(|| {
        let all = refused.join("; ");
        format!("{all}. Give the DN of the entry, or let the directory index the attribute")
    }))
}

fn search(
    directory: &mut Directory,
    config: &SyncConfig,
    base: &str,
    filter: &Filter,
    found: &mut Found,
) -> Result<(), DirectoryError> {
    let attributes = ["objectClass", directory.uuid_attribute()];
    let (provider, below) = (directory.provider(), below(directory, config));
    let mapper = mapper(directory, config);
    let targets = &mut found.targets;
    directory.some(base, filter, &attributes, MOST, &mut |entry| {
        if targets.len() < MOST as usize && targets.iter().all(|other| other.dn != entry.dn()) {
            targets.push(target(provider, &mapper, &below, entry));
        }
    })
}

fn target(
    provider: Provider,
    mapper: &Mapper<'_>,
    below: &Below,
    entry: &SearchResultEntry<'_>,
) -> Target {
    Target {
        dn: entry.dn().to_owned(),
        uuid: sync_uuid(provider, entry),
        below_base: below.has(entry.dn()),
        is_group: mapper.kind_of(entry) == Some(Kind::Group),
    }
}

pub(super) fn below(directory: &Directory, config: &SyncConfig) -> Below {
    Below::new(&config.directory.base_dn, directory.provider() != Provider::Ds389)
}

/// The sync account as messages name it.
pub(super) fn account(directory: &Directory, config: &SyncConfig) -> String {
    match (directory.bound_as(), &config.directory.bind) {
        (Some(dn), _) => dn.to_owned(),
        (None, Bind::Simple { dn, .. }) => dn.clone(),
        (None, Bind::External) => "of SASL EXTERNAL".to_owned(),
    }
}

/// The nearest superior that the account can see.
fn nearest(directory: &mut Directory, dn: &str) -> Result<Option<String>, DirectoryError> {
    let mut child = dn;
    for _ in 0..DEPTH {
        let Some(superior) = superior(child) else { return Ok(None) };
        let seen = directory.sight(superior, &["1.1"], &mut |_| {})?;
        let text = match (seen, child == dn) {
            (Sight::Visible, true) => {
                format!("{superior} exists and is visible: check the spelling of the first part")
            }
            (Sight::Visible, false) => format!(
                "{superior} exists and is visible; {child} does not exist, or is hidden, too: check its spelling"
            ),
            (Sight::Referred, _) => format!("{superior} belongs to another server"),
            (Sight::Hidden, _) => format!(
                "{superior} exists, and is hidden from this account: give it the right to read the entries below it"
            ),
            (Sight::Nothing, _) => {
                child = superior;
                continue;
            }
        };
        return Ok(Some(text));
    }
    Ok(None)
}

/// The DN without its first RDN. `None` if it has no other.
fn superior(dn: &str) -> Option<&str> {
    let (mut is_escaped, mut is_quoted) = (false, false);
    for (at, c) in dn.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' | ';' if !is_quoted => {
                let rest = dn.get(at..)?.get(1..)?.trim_start();
                return Some(rest).filter(|rest| !rest.is_empty());
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_a_uuid_a_dn_or_a_name() {
        let uuid = Uuid::from_u128(0xac60034b_3498_11ed_a50d_919b4b1a5ec0);
        for text in [
            "ac60034b-3498-11ed-a50d-919b4b1a5ec0",
            "AC60034B349811EDA50D919B4B1A5EC0",
            "ac60034b-349811ed-a50d919b-4b1a5ec0",
            " urn:uuid:ac60034b-3498-11ed-a50d-919b4b1a5ec0 ",
        ] {
            assert_eq!(Who::parse(text), Who::Uuid(uuid), "{text}");
        }
        assert_eq!(Who::parse("uid=a, dc=x"), Who::Dn("uid=a, dc=x".to_owned()));
        for name in
            ["alice", "zo\u{eb}", "a b", "=", "a,b", "ac60034b-349811ed-a50d919b-4b1a5ecx", ""]
        {
            assert_eq!(Who::parse(name), Who::Name(name.to_owned()));
        }
    }

    #[test]
    fn the_superior_of_a_dn() {
        for (dn, expected) in [
            ("uid=a,ou=b,dc=c", Some("ou=b,dc=c")),
            ("cn=a\\,b, dc=c", Some("dc=c")),
            ("cn=\"a,b\",dc=c", Some("dc=c")),
            ("cn=zo\u{eb}\\c3\\ab;dc=c", Some("dc=c")),
            ("dc=c", None),
            ("dc=c,", None),
            ("", None),
        ] {
            assert_eq!(superior(dn), expected, "{dn}");
        }
    }
}
