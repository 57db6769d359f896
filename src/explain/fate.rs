//! What the rules make of an entry, and the remedy.
//!
//! Scope: words for the verdicts of the filter and the mapper.

use super::answer::{FilterPart, Matches};
use super::attributes::{self, Absence, Lines};
use super::entry::{classes, classes_sentence};
use super::filter;
use super::find::Target;
use super::next::Fate;
use super::reading::{Raw, Reading};
use crate::config::sync::SyncConfig;
use crate::content::account::STILL_OPEN;
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::mapping::{EntryProblem, MISSING, SkipReason};

/// What the rules make of the entry.
///
/// # Errors
/// The directory failed.
pub(super) fn fate(
    directory: &mut Directory,
    config: &SyncConfig,
    target: &Target,
    (filter, reading, lines): (&FilterPart, &Reading, &Lines),
) -> Result<Fate, DirectoryError> {
    let content = &reading.content;
    let outside = match filter.matches {
        _ if !target.below_base => {
            let base = &config.directory.base_dn;
            Some(format!("it is outside ldap_sync_base_dn = {base}"))
        }
        Matches::Yes => None,
        _ => {
            let parts = filter::rejecting(filter).join(" and ");
            Some(format!("ldap_filter rejects it: {parts}"))
        }
    };
    let skipped = content.skipped.first().map(|skipped| skipped.reason);
    Ok(match (outside, skipped) {
        (outside, Some(SkipReason::Token)) => {
            let token = "it is a TOTP token or its parameters, and runs read it for the persons that name it";
            Fate::Token(match outside {
                Some(outside) => format!("{outside}, and {token}"),
                None => format!("{token}. A change of it makes the next run send these persons"),
            })
        }
        (Some(reason), _) if target.below_base && filter.matches == Matches::Undefined => {
            let names = filter::undecided(filter);
            Fate::Undecided(reason, decidable(directory, &target.dn, &names)?)
        }
        (Some(reason), _) => Fate::Outside(reason),
        (None, Some(reason)) => skipped_because(config, reading, reason),
        (None, None) if !content.held.is_empty() => {
            Fate::Held(joined(&attributes::problems(reading)), remedy(reading, lines))
        }
        (None, None) => {
            let dropped = attributes::problems(reading);
            Fate::Fits((!dropped.is_empty()).then(|| joined(&dropped)))
        }
    })
}

fn skipped_because(config: &SyncConfig, reading: &Reading, reason: SkipReason) -> Fate {
    let text = match reason {
        SkipReason::Excluded => "its table in the configuration has exclude = true",
        SkipReason::NotMapped => {
            let remedy = class_remedy(&classes(&reading.raw));
            return Fate::Skipped(classes_sentence(config, &reading.raw), Some(remedy));
        }
        SkipReason::UserPrivateGroup => {
            "it is the private group of the user with its name (user_private_groups)"
        }
        SkipReason::Token => "it is a TOTP token or its parameters",
        SkipReason::BindDn => "it is the sync account itself",
    };
    Fate::Skipped(text.to_owned(), None)
}

/// How an entry with these object classes becomes a person or a group.
fn class_remedy(classes: &[String]) -> String {
    match classes.iter().find(|class| !class.eq_ignore_ascii_case("top")) {
        Some(class) => format!(
            "If it should be in Kanidm, add {class} to person_objectclass or group_objectclass, or correct the entry"
        ),
        None if classes.is_empty() => {
            "Give the sync account the right to read objectClass".to_owned()
        }
        None => "If it should be in Kanidm, correct the entry".to_owned(),
    }
}

/// How the directory can decide a filter on these attributes.
fn decidable(
    directory: &mut Directory,
    dn: &str,
    names: &[&str],
) -> Result<String, DirectoryError> {
    // 389 has a right to search that is apart from the right to read.
    let absences = attributes::absences(directory, dn, &Raw::default(), names)?;
    let of = |is_wanted: fn(Option<&Absence>) -> bool| {
        let wanted = names.iter().filter(|name| is_wanted(absences.get(**name)));
        wanted.copied().collect::<Vec<_>>().join(" and ")
    };
    let hidden = of(|absence| matches!(absence, Some(Absence::Hidden | Absence::Undefined)));
    let unknown = of(|absence| absence == Some(&Absence::Unknown));
    let others =
        of(|absence| matches!(absence, None | Some(Absence::Absent | Absence::Unreadable)));
    let sentences = [
        (&hidden, format!("The account may not search by {hidden}: give it that right")),
        (&unknown, format!("The directory's schema does not know {unknown}: correct ldap_filter")),
        (
            &others,
            format!("The directory cannot compare {others} with the value: correct ldap_filter"),
        ),
    ];
    let sentences = sentences.into_iter().filter(|(names, _)| !names.is_empty());
    let sentences: Vec<String> = sentences.map(|(_, sentence)| sentence).collect();
    Ok(match sentences.is_empty() {
        true => "The account may not search by one of its attributes, or the schema does not know it: give the right, or correct ldap_filter".to_owned(),
        false => sentences.join(". "),
    })
}

/// What lets a held entry go.
fn remedy(reading: &Reading, lines: &Lines) -> String {
    let held = reading.content.held.iter().flat_map(|held| &held.problems);
    let problems: Vec<&EntryProblem> = held.filter(|own| own.rule != STILL_OPEN).collect();
    let is_missing =
        |name: &&String| problems.iter().any(|own| own.rule == MISSING && own.attribute == **name);
    let [hidden, unknown] = [&lines.hidden, &lines.unknown]
        .map(|names| names.iter().filter(is_missing).map(String::as_str).collect::<Vec<_>>());
    let is_other = |problem: &&EntryProblem| {
        let name = problem.attribute.as_str();
        problem.rule != MISSING || !(hidden.contains(&name) || unknown.contains(&name))
    };
    let mut sentences = Vec::new();
    if !hidden.is_empty() {
        sentences.push(format!("Give the sync account the right to read {}", hidden.join(", ")));
    }
    if !unknown.is_empty() {
        let names = unknown.join(", ");
        sentences.push(format!(
            "Correct the configuration: the directory's schema does not know {names}"
        ));
    }
    if problems.iter().copied().any(|problem| is_other(&problem)) {
        sentences.push("Correct the entry in the directory".to_owned());
    }
    sentences.join(". ")
}

/// The first problems in one sentence. The author of the entry decides how many there are.
fn joined(problems: &[String]) -> String {
    const SHOWN: usize = 5;
    let first: Vec<&str> = problems.iter().take(SHOWN).map(String::as_str).collect();
    match problems.len().saturating_sub(SHOWN) {
        0 => first.join("; "),
        more => format!("{}; and {more} more", first.join("; ")),
    }
}
