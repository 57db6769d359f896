//! The mapped attributes of one entry: shown, sent, or left out by a rule.
//!
//! Scope: lines for people. The mapper has decided.

use std::collections::BTreeMap;

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;

use super::answer::AttributeLine;
use super::kanidm::Kanidm;
use super::reading::{Raw, Reading};
use super::value;
use crate::config::sync::SyncConfig;
use crate::content::account::STILL_OPEN;
use crate::content::sent::Sent;
use crate::content::shown::Role;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::schema;
use crate::mapping::shown::{MEMBER_KEY, TOTP_KEY, roles};
use crate::sync::lookup::present;

/// Maximum number of values of an attribute that are shown.
const VALUES: usize = 5;

/// Kanidm's attributes for each configuration key.
const SENT: &[(&str, &[&str])] = &[
    ("person_attr_user_name", &["name"]),
    ("person_attr_display_name", &["displayname"]),
    ("person_attr_legal_name", &["legalname"]),
    ("person_attr_gidnumber", &["gidnumber"]),
    ("person_attr_login_shell", &["loginshell"]),
    ("person_attr_password", &["password_import", "unix_password_import"]),
    ("person_attr_mail", &["mail"]),
    ("person_attr_ssh_public_key", &["ssh_publickey"]),
    (TOTP_KEY, &["totp_import"]),
    ("group_attr_name", &["name"]),
    ("group_attr_description", &["description"]),
    ("group_attr_gidnumber", &["gidnumber"]),
];

pub(super) const YIELDED: &str =
    "an administrator of Kanidm took the attribute over (yielded), so runs leave it out";

/// Why the directory shows no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The entry has none.
    Absent,
    /// It has one that the account may search and not read.
    Unreadable,
    /// The account may not search by it.
    Hidden,
    /// The schema does not know it.
    Unknown,
    /// Hidden or unknown: the account cannot read the schema.
    Undefined,
}

impl Absence {
    /// True if the account may lack a right.
    fn is_hidden(self) -> bool {
        matches!(self, Absence::Unreadable | Absence::Hidden | Absence::Undefined)
    }

    /// The remark on an attribute without a value.
    fn note(self) -> Option<&'static str> {
        match self {
            Absence::Absent => None,
            Absence::Unreadable => Some("it has a value that the sync account may not read"),
            Absence::Hidden => Some("hidden from the sync account"),
            Absence::Unknown => Some(UNKNOWN),
            Absence::Undefined => {
                Some("hidden from the sync account, or not known to the directory's schema")
            }
        }
    }
}

/// The remark on an attribute that no entry can have.
pub(super) const UNKNOWN: &str = "the directory's schema does not know it";

/// The mapped attributes of an entry.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<AttributeLine>,
    /// Problems that belong to none of them.
    pub(super) problems: Vec<String>,
    /// Attributes that the account may not read, and those that the schema does not know.
    pub(super) hidden: Vec<String>,
    pub(super) unknown: Vec<String>,
}

/// The lines of an entry.
///
/// # Errors
/// The directory failed.
pub(super) fn lines(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    dn: &str,
    reading: &Reading,
) -> Result<Lines, DirectoryError> {
    let Some(kind) = reading.raw.kind else {
        return Ok(Lines { problems: problems(reading), ..Lines::default() });
    };
    let roles = roles(&config.mapping);
    let of_kind: Vec<&Role> = roles
        .iter()
        .filter(|role| role.kind == kind && !role.is_lock && role.key != MEMBER_KEY)
        .collect();
    let names: Vec<&str> = of_kind.iter().map(|role| role.attribute.as_str()).collect();
    let absent = absences(directory, dn, &reading.raw, &names)?;
    let sent = sent(reading);
    let known = Known { sent: sent.as_ref(), kanidm, absent: &absent };
    let mut left: Vec<(String, String)> = named_problems(reading);
    let lines = of_kind.iter().map(|role| line(role, reading, &known, &mut left)).collect();
    let problems = left.into_iter().map(|(attribute, rule)| format!("{attribute}: {rule}"));
    let of = |is_wanted: fn(Absence) -> bool| {
        let wanted = absent.iter().filter(move |(_, absence)| is_wanted(**absence));
        wanted.map(|(name, _)| name.clone()).collect()
    };
    Ok(Lines {
        lines,
        problems: problems.collect(),
        hidden: of(Absence::is_hidden),
        unknown: of(|absence| absence == Absence::Unknown),
    })
}

/// What is known about the attributes of an entry.
struct Known<'k> {
    /// The entry as Kanidm gets it.
    sent: Option<&'k Sent>,
    kanidm: &'k Kanidm,
    absent: &'k BTreeMap<String, Absence>,
}

fn line(
    role: &Role,
    reading: &Reading,
    known: &Known<'_>,
    left: &mut Vec<(String, String)>,
) -> AttributeLine {
    let (key, attribute) = (role.key, role.attribute.as_str());
    let values = reading.raw.values(attribute);
    let origin = match key {
        "person_attr_user_name" | "group_attr_name" => "map_name",
        "person_attr_gidnumber" | "group_attr_gidnumber" => "map_gidnumber",
        _ => attribute,
    };
    let is_own = |(name, _): &(String, String)| name == attribute || name == origin;
    let problems: Vec<String> =
        left.iter().filter(|own| is_own(own)).map(|(_, rule)| rule.clone()).collect();
    left.retain(|problem| !is_own(problem));
    let targets = SENT.iter().find(|(own, _)| *own == key).map_or(&[][..], |(_, targets)| targets);
    let is_yielded = targets.iter().any(|target| known.kanidm.is_yielded(target));
    let sent = known.sent.filter(|_| !is_yielded);
    let kanidm = sent.iter().flat_map(|sent| targets.iter().flat_map(|target| sent.texts(target)));
    let absence = known.absent.get(attribute).and_then(|absence| absence.note());
    let note = if is_yielded { Some(YIELDED) } else { absence };
    AttributeLine {
        key,
        attribute: attribute.to_owned(),
        values: values
            .iter()
            .take(VALUES)
            .map(|value| value::shown(key, attribute, value))
            .collect(),
        more: values.len().saturating_sub(VALUES),
        kanidm: kanidm.map(|text| value::sent(key, attribute, &text)).collect(),
        problems,
        note: note.map(str::to_owned),
    }
}

/// The entry as Kanidm gets it; `None` if it is not sent.
pub(super) fn sent(reading: &Reading) -> Option<Sent> {
    let changes = &reading.content.changes;
    changes.records().first().map(|record| Sent::read(&changes.json(record)))
}

/// Attribute and rule of each problem, each once.
fn named_problems(reading: &Reading) -> Vec<(String, String)> {
    let content = &reading.content;
    let held = content.held.iter().flat_map(|held| &held.problems);
    let held = held.filter(|problem| problem.rule != STILL_OPEN);
    let held = held.map(|problem| (problem.attribute.clone(), problem.rule.clone()));
    let dropped = content.dropped.iter();
    let dropped = dropped.map(|dropped| (dropped.attribute.clone(), dropped.rule.clone()));
    let mut all: Vec<(String, String)> = Vec::new();
    for problem in held.chain(dropped) {
        if !all.contains(&problem) {
            all.push(problem);
        }
    }
    all
}

/// Each problem as text.
pub(super) fn problems(reading: &Reading) -> Vec<String> {
    let all = named_problems(reading).into_iter();
    all.map(|(attribute, rule)| format!("{attribute}: {rule}")).collect()
}

/// Asks the directory about each attribute that shows no value: a filter on an attribute that the
/// account may not search, or that the schema does not know, matches neither way.
pub(super) fn absences(
    directory: &mut Directory,
    dn: &str,
    raw: &Raw,
    names: &[&str],
) -> Result<BTreeMap<String, Absence>, DirectoryError> {
    // The large attributes of an entry that is too large are not read.
    let without = |name: &&&str| raw.values(name).is_empty() && raw.oversized.is_none();
    let absent: Vec<&str> = names.iter().filter(without).copied().collect();
    let filters: Vec<Filter> = absent
        .iter()
        .flat_map(|name| [present(name), Filter::Not(Box::new(present(name)))])
        .collect();
    let searches: Vec<(String, Scope, &Filter)> =
        filters.iter().map(|filter| (dn.to_owned(), Scope::Base, filter)).collect();
    let mut found = vec![false; searches.len()];
    directory.search_each(&searches, &["1.1"], &mut |index, _| {
        if let Some(found) = found.get_mut(index) {
            *found = true;
        }
    })?;
    let absence = |pair: &[bool]| match pair {
        [true, _] => Absence::Unreadable,
        [_, true] => Absence::Absent,
        _ => Absence::Undefined,
    };
    let mut absences: BTreeMap<String, Absence> =
        absent.iter().map(|name| (*name).to_owned()).zip(found.chunks(2).map(absence)).collect();
    let undefined = |(_, absence): &(&String, &mut Absence)| **absence == Absence::Undefined;
    let names: Vec<String> =
        absences.iter_mut().filter(undefined).map(|(name, _)| name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Ok(absences);
    }
    if let Some(unknown) = schema::unknown(directory, &names)? {
        for (name, absence) in absences.iter_mut().filter(undefined) {
            *absence = match unknown.contains(name) {
                true => Absence::Unknown,
                false => Absence::Hidden,
            };
        }
    }
    Ok(absences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::shown::{GROUP_KEYS, PERSON_KEYS};

    /// Without a row an attribute that is sent looks like one that is not.
    #[test]
    fn each_key_has_a_row() {
        let rows: Vec<&str> = SENT.iter().map(|(key, _)| *key).collect();
        assert_eq!(rows, [&PERSON_KEYS[..], &GROUP_KEYS[..]].concat());
        assert!(SENT.iter().all(|(_, targets)| !targets.is_empty()));
    }
}
