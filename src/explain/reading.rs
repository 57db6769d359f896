//! Reading one entry and mapping it as a run does.
//!
//! Scope: the searches that an incremental run makes for one entry, in their order.

use std::collections::BTreeMap;

use ldap_content_sync::sync_session::Provider;
use ldap_content_sync::{ResultCode, SearchResultEntry};
use uuid::Uuid;

use crate::config::sync::{PersonMapping, SyncConfig};
use crate::content::changeset::Kind;
use crate::directory::client::Directory;
use crate::directory::error::{DirectoryError, DirectoryProblem};
use crate::directory::sight::Sight;
use crate::mapping::limits::{Limit, limits};
use crate::mapping::{Changed, Content, MAX_MEMBERS, Mapper, MemberTarget, Questions};
use crate::sync::lookup::Lookup;
use crate::sync::tokens::read_tokens;

/// Maximum number of members that are looked up. A larger group would take as long as a run.
pub(super) const MOST_MEMBERS: usize = 1_000;

/// slapd's mark of the last change of an entry.
pub(super) const ENTRY_CSN: &str = "entryCSN";

/// An entry, as the directory shows it and as a run maps it.
pub(super) struct Reading {
    pub(super) raw: Raw,
    pub(super) content: Content,
    pub(super) changed: Option<Changed>,
    /// The members of a group, and the number of values that are too long for any member.
    pub(super) targets: (Vec<MemberTarget>, u64),
    /// Number of members that were not looked up.
    pub(super) not_asked: usize,
    /// Why other entries with the same values were not searched for.
    pub(super) not_searched: Option<String>,
}

/// The entry as the directory shows it.
#[derive(Default)]
pub(super) struct Raw {
    /// Values by attribute, in lower case.
    values: BTreeMap<String, Vec<Vec<u8>>>,
    pub(super) kind: Option<Kind>,
    pub(super) limits: Vec<Limit>,
    pub(super) csn: Option<String>,
    /// The size and the limit of an entry that is too large.
    pub(super) oversized: Option<(usize, usize)>,
}

impl Reading {
    /// What Kanidm gets this person without, because a TOTP token does not exist or cannot be sent.
    pub(super) fn without_token(&self, person: &PersonMapping) -> Option<&'static str> {
        let is_left_out = |attribute: &str| {
            self.content.dropped.iter().any(|dropped| dropped.attribute == attribute)
        };
        let totp = person.totp.as_deref().filter(|totp| is_left_out(totp))?;
        match totp != person.password && is_left_out(&person.password) {
            true => Some("the token and the password"),
            false => Some("one of its tokens"),
        }
    }
}

impl Raw {
    fn of(mapper: &Mapper<'_>, config: &SyncConfig, entry: &SearchResultEntry<'_>) -> Raw {
        let mut raw = Raw {
            kind: mapper.kind_of(entry),
            limits: limits(&config.mapping.person, entry),
            oversized: entry.oversized().map(|oversized| (oversized.size, oversized.limit)),
            ..Raw::default()
        };
        for attribute in entry.attributes() {
            let name = attribute.description().to_ascii_lowercase();
            let values = attribute.values().map(<[u8]>::to_vec);
            raw.values.entry(name).or_default().extend(values);
        }
        let csn = raw.values(ENTRY_CSN).first().and_then(|csn| str::from_utf8(csn).ok());
        raw.csn = csn.map(str::to_owned);
        raw
    }

    /// The values of an attribute.
    pub(super) fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.values.get(&attribute.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }
}

/// Reads and maps an entry. With `owners`, values that another person in scope has count as taken,
/// as they do in a run that holds this entry. `None` if the entry has gone meanwhile.
///
/// # Errors
/// The directory failed.
pub(super) fn read(
    directory: &mut Directory,
    config: &SyncConfig,
    (dn, uuid): (&str, Uuid),
    owners: bool,
) -> Result<Option<Reading>, DirectoryError> {
    let attributes = attributes(directory, config);
    let attributes: Vec<&str> = attributes.iter().map(String::as_str).collect();
    let mut mapper = mapper(directory, config);
    let mut not_searched = None;
    if owners {
        let found = lookup(directory, config, &attributes).owners(&[uuid], &mut mapper);
        if let Some(code) = unless_refused(found)? {
            not_searched =
                Some(format!("other entries with the same values cannot be searched for: {code}"));
        }
    }
    let mut raw = Raw::default();
    let sight = directory.sight(dn, &attributes, &mut |entry| {
        raw = Raw::of(&mapper, config, entry);
        mapper.entry(uuid, entry);
    })?;
    if sight != Sight::Visible {
        return Ok(None);
    }
    let mut questions = mapper.questions();
    let not_asked = limit(&mut questions);
    lookup(directory, config, &attributes).answer(&questions, &mut mapper)?;
    read_tokens(directory, &mut mapper)?;
    let changed = mapper.changed(true).next();
    let targets = mapper.member_targets();
    Ok(Some(Reading { raw, content: mapper.finish(), changed, targets, not_asked, not_searched }))
}

/// The result code of a search that the server refused, for example because an attribute has no
/// index. The rest of the answer needs no such search.
pub(super) fn unless_refused(
    searched: Result<(), DirectoryError>,
) -> Result<Option<ResultCode>, DirectoryError> {
    match searched {
        Ok(()) => Ok(None),
        Err(error) => match *error.problem {
            DirectoryProblem::SearchFailed { code, .. } => Ok(Some(code)),
            _ => Err(error),
        },
    }
}

/// A mapper for entries that are not part of a run.
pub(super) fn mapper<'c>(directory: &Directory, config: &'c SyncConfig) -> Mapper<'c> {
    Mapper::new(&config.mapping, false)
        .preparing(directory.provider() != Provider::Ds389)
        .bound_as(directory.bound_as())
        .with_member_bytes(config.directory.max_message.saturating_mul(MAX_MEMBERS))
}

pub(super) fn lookup<'a>(
    directory: &'a mut Directory,
    config: &'a SyncConfig,
    attributes: &'a [&'a str],
) -> Lookup<'a> {
    Lookup { directory, config: &config.directory, mapping: &config.mapping, attributes }
}

/// The mapped attributes, the UUID, and slapd's mark of the last change.
pub(super) fn attributes(directory: &Directory, config: &SyncConfig) -> Vec<String> {
    let mut attributes = Mapper::attributes(&config.mapping);
    attributes.push(directory.uuid_attribute().to_owned());
    attributes.extend((directory.provider() == Provider::OpenLdap).then(|| ENTRY_CSN.to_owned()));
    attributes
}

/// Keeps the first questions. Returns the number of the others.
fn limit(questions: &mut Questions) -> usize {
    let asked = questions.member_dns.len().saturating_add(questions.member_uids.len());
    questions.member_dns.truncate(MOST_MEMBERS);
    questions.member_uids.truncate(MOST_MEMBERS);
    questions.everybody = false;
    asked.saturating_sub(MOST_MEMBERS)
}
