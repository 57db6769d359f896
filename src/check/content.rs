//! The content steps of `--check`: a full refresh, read and mapped.

use std::collections::BTreeMap;

use super::directory::DirectoryStep;
use super::extra_values::ExtraValues;
use super::list::Checklist;
use crate::config::sync::SyncConfig;
use crate::content::changeset::Kind;
use crate::content::shown::Role;
use crate::directory::client::Directory;
use crate::directory::computed::computed_attributes;
use crate::mapping::shown::roles;
use crate::mapping::totp::without_dn;
use crate::mapping::{Content, Held, MISSING};
use crate::sync::read::{self, Reading};
use crate::sync::remarks::remarks;
use crate::sync::start::Start;
use crate::text::{count, remedy_of, thousands};

/// Reads and maps a full refresh. Returns the directory's cookie, which may be empty; `None` if it
/// failed, because the connection is then unusable.
pub(super) fn check(
    list: &mut Checklist,
    config: &SyncConfig,
    directory: &mut Directory,
) -> Option<Vec<u8>> {
    let roles = roles(&config.mapping);
    let mut extra = ExtraValues::new(&roles);
    let start = Start::full("--check");
    match read::read_from(directory, config, &start, &mut |step| extra.step(&step)) {
        Err(error) => {
            list.failed(DirectoryStep::Refresh, &error, &error.remedy());
            list.not_tried(&[DirectoryStep::Entries]);
            None
        }
        Ok(reading) => {
            list.passed(DirectoryStep::Refresh, &config.directory.base_dn);
            entries(list, config, &reading, &extra);
            filter(list, config, &reading);
            Some(reading.cookie.unwrap_or_default())
        }
    }
}

fn entries(list: &mut Checklist, config: &SyncConfig, reading: &Reading, extra: &ExtraValues<'_>) {
    let content = &reading.content;
    if reading.read == 0 {
        let filter = &config.directory.filter_text;
        const REMEDY: &str =
            "check ldap_filter, and that the account may read the attributes in it";
        let text = format!("none matches {filter}: {REMEDY}");
        return list.failed(DirectoryStep::Entries, text, REMEDY);
    }
    let (persons, groups) = (content.persons, content.groups);
    let text = format!(
        "{} match: {} and {} would be sent, {} held back, {} skipped",
        thousands(reading.read),
        count(persons as u64, "person"),
        count(groups as u64, "group"),
        thousands(content.held.len() as u64),
        thousands(content.skipped.len() as u64)
    );
    let nobody = (persons == 0).then(|| no_person(config, content));
    match &nobody {
        Some((why, remedy)) => {
            list.failed(DirectoryStep::Entries, format_args!("{text}; {why}: {remedy}"), remedy)
        }
        None => list.passed(DirectoryStep::Entries, text),
    }
    held(list, reading);
    attributes(list, config, content, extra);
    let others = content.of_other_classes();
    // The note about the others counts those with a user name.
    let users = others.as_ref().and_then(|_| content.users_of_other_classes());
    let remarks =
        remarks(config, reading).into_iter().filter(|remark| Some(remark) != users.as_ref());
    for remark in remarks.chain(others).collect::<Vec<_>>().iter() {
        list.advice(DirectoryStep::Entries, remark, remedy_of(remark));
    }
}

/// Why no person would be sent, and what to do.
fn no_person(config: &SyncConfig, content: &Content) -> (String, String) {
    let name = &config.mapping.person.user_name;
    let held: Vec<_> = content.held.iter().filter(|held| held.kind == Kind::Person).collect();
    let lacks_name = |held: &&Held| {
        let mut problems = held.problems.iter();
        problems.any(|problem| problem.rule == MISSING && problem.attribute == *name)
    };
    let n = count(held.len() as u64, "person");
    let of = |why: &str, remedy: &str| (why.to_owned(), remedy.to_owned());
    if held.is_empty() {
        match content.groups {
            0 => of(
                "none is a person or a group",
                "check person_objectclass, group_objectclass and ldap_filter",
            ),
            _ => of("none is a person", "check person_objectclass and ldap_filter"),
        }
    } else if held.iter().all(lacks_name) {
        (
            format!("{n} held back, because none shows {name}"),
            format!("check person_attr_user_name, and that the account may read {name}"),
        )
    } else {
        (
            format!("{n} held back, and no other person"),
            "correct what the notes below name".to_owned(),
        )
    }
}

/// The number of entries that show each mapped attribute, and the number of values if it is larger.
/// An attribute with 0 is hidden or misspelled.
fn attributes(list: &Checklist, config: &SyncConfig, content: &Content, extra: &ExtraValues<'_>) {
    let roles = roles(&config.mapping);
    let extra = extra.totals(content, |uuid| config.mapping.kanidm_uuid(uuid));
    for (kind, step) in
        [(Kind::Person, DirectoryStep::Persons), (Kind::Group, DirectoryStep::Groups)]
    {
        let all = content.shown().filter(|(_, other, _)| *other == kind).count();
        let shown = |role: &Role| {
            content.shown().filter(|(_, other, mask)| *other == kind && mask.has(role)).count()
                as u64
        };
        let of_kind = roles.iter().zip(&extra).filter(|(role, _)| role.kind == kind);
        let shown = of_kind.filter_map(|(role, extra)| {
            let entries = shown(role);
            match extra {
                // A lock attribute counts by its effect, and few accounts have one.
                _ if role.is_lock && entries == 0 => None,
                _ if role.is_lock => {
                    Some(format!("locked or limited by {} {}", role.attribute, thousands(entries)))
                }
                0 => Some(format!("{} {}", role.attribute, thousands(entries))),
                extra => {
                    let values = thousands(entries + extra);
                    Some(format!("{} {} ({values} values)", role.attribute, thousands(entries)))
                }
            }
        });
        if all > 0 {
            list.passed(
                step,
                format_args!(
                    "{} in all: {}",
                    thousands(all as u64),
                    shown.collect::<Vec<_>>().join(", ")
                ),
            );
        }
    }
}

/// Tells that each run lists the entries that match a filter on a computed attribute.
fn filter(list: &Checklist, config: &SyncConfig, reading: &Reading) {
    let computed = computed_attributes(&config.directory.filter);
    if !computed.is_empty() && reading.matched.is_some() {
        list.passed(
            DirectoryStep::Filter,
            format_args!(
                "the server computes {}: each run lists the entries that match",
                computed.join(", ")
            ),
        );
    }
}

/// Names every entry. A dry run without `--full-refresh` may be incremental, and then it names only
/// the entries that it reads.
const NAMES: &str = "--dry-run --full-refresh";

/// The reasons to hold entries or to leave out values, with numbers.
fn held(list: &Checklist, reading: &Reading) {
    let mut missing: BTreeMap<&str, u64> = BTreeMap::new();
    let mut broken: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut lacking: u64 = 0;
    for entry in &reading.content.held {
        lacking += u64::from(entry.problems.iter().any(|problem| problem.rule == MISSING));
        for problem in &entry.problems {
            let count = match problem.rule.as_str() {
                MISSING => missing.entry(&problem.attribute).or_default(),
                rule => broken.entry((&problem.attribute, without_dn(rule))).or_default(),
            };
            *count += 1;
        }
    }
    if lacking > 0 {
        let names: Vec<String> =
            missing.iter().map(|(attribute, n)| format!("{attribute} {}", thousands(*n))).collect();
        let names = names.join(", ");
        list.advice(
            DirectoryStep::Entries,
            format_args!(
                "{} lack a required attribute ({names}); {NAMES} names them",
                thousands(lacking)
            ),
            &format!("{NAMES} names them"),
        );
    }
    for ((attribute, rule), n) in broken {
        list.advice(
            DirectoryStep::Entries,
            format_args!(
                "{} would be held back for {attribute}: {rule}; {NAMES} names them",
                thousands(n)
            ),
            &format!("{NAMES} names them"),
        );
    }
    let mut dropped: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for value in &reading.content.dropped {
        *dropped.entry((&value.attribute, without_dn(&value.rule))).or_default() += 1;
    }
    for ((attribute, rule), n) in dropped {
        let values = count(n, "value");
        list.advice(
            DirectoryStep::Entries,
            format_args!(
                "{values} of {attribute} would be left out: {rule}; {NAMES} names the entries"
            ),
            &format!("{NAMES} names the entries"),
        );
    }
}
