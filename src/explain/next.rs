//! The last sentence: what the next run does with an entry, and why.
//!
//! Scope: words for a decision that a run makes from the same facts.

use super::answer::Outcome;
use super::kanidm::Presence;
use crate::sync::start::Start;

/// What matters for the next run.
pub(super) struct Facts<'a> {
    pub(super) fate: Fate,
    /// Another entry wants a value that this one wants, and neither is known to have it.
    pub(super) is_contested: bool,
    pub(super) presence: Presence,
    /// An earlier run held it, or sent it without a value that waits for another entry.
    pub(super) was_held: bool,
    /// An earlier run sent it without a value.
    pub(super) was_sent_without: bool,
    /// What Kanidm has it without because of a token ([`Reading::without_token`]).
    ///
    /// [`Reading::without_token`]: super::reading::Reading::without_token
    pub(super) without_token: Option<&'static str>,
    /// It is locked, and earlier runs wrote it as open.
    pub(super) misses_lock: bool,
    /// True if it has changed since the last run; `None` if the directory does not tell.
    pub(super) changed: Option<bool>,
    /// Why the next run sends it again for the change of another entry.
    pub(super) sent_again: Option<&'static str>,
    /// True if the directory reports entries that leave the filter or the base.
    pub(super) reports_leaving: bool,
    /// True if each run lists who matches the filter.
    pub(super) lists_matching: bool,
    /// True if the configuration has a `full_refresh_schedule`.
    pub(super) is_scheduled: bool,
    /// `None` if Kanidm's state is not known.
    pub(super) start: Option<&'a Start>,
    /// True if `invalid_entries` lets a held entry fail the run.
    pub(super) fails_run: bool,
}

/// What the rules make of an entry.
pub(super) enum Fate {
    /// The directory does not show it.
    Gone,
    /// It is not in scope: outside the base, or rejected by the filter.
    Outside(String),
    /// The directory cannot decide the filter; reason and remedy.
    Undecided(String, String),
    /// The mapping skips it; reason, and perhaps a remedy.
    Skipped(String, Option<String>),
    /// A TOTP token, or its parameters.
    Token(String),
    /// It cannot be sent; reason and remedy.
    Held(String, String),
    /// It can be sent; the text names values that are left out.
    Fits(Option<String>),
}

const DELETES: &str = "deletes it from Kanidm, if the deletion guard agrees";
const DELETES_PRESENT: &str =
    "deletes it from Kanidm, if Kanidm has it and the deletion guard agrees";
const DELETES_WRITTEN: &str =
    "deletes it from Kanidm, if an earlier run wrote it and the deletion guard agrees";
const VISIBLE: &str = "If it should be visible, give the account the right to read it";

/// The result and the sentence.
pub(super) fn verdict(facts: &Facts<'_>) -> (Outcome, String) {
    match &facts.fate {
        Fate::Gone => (Outcome::NotFound, format!("{}. {VISIBLE}", leaves(facts))),
        Fate::Outside(reason) => not_in_scope(&[reason, &leaves(facts)]),
        Fate::Undecided(reason, remedy) => not_in_scope(&[reason, remedy, &undecided(facts)]),
        Fate::Skipped(reason, remedy) => {
            let leaves = leaves(facts);
            let words: Vec<&str> =
                [reason.as_str(), &leaves].into_iter().chain(remedy.as_deref()).collect();
            not_in_scope(&words)
        }
        Fate::Token(reason) if facts.presence == Presence::Has => {
            not_in_scope(&[reason, &leaves(facts)])
        }
        Fate::Token(reason) => not_in_scope(&[reason]),
        Fate::Held(reason, remedy) => (Outcome::Held, holds(facts, reason, remedy)),
        Fate::Fits(without) => {
            let (outcome, sentence) = writes(facts);
            let goes = match facts.is_contested {
                true => "It may go",
                false if outcome == Outcome::Waits => "It would go",
                false if is_left(facts) => "It went",
                false => "It goes",
            };
            let without = without.as_ref().map(|text| format!("{goes} without a value: {text}. "));
            (outcome, without.unwrap_or_default() + &sentence)
        }
    }
}

fn not_in_scope(sentences: &[&str]) -> (Outcome, String) {
    (Outcome::NotInScope, format!("Not in scope: {}", sentences.join(". ")))
}

/// The headline: where the entry is, and what is unusual about its account.
pub(super) fn headline(result: Outcome, remarks: &[String]) -> String {
    let word = match result {
        Outcome::InKanidm => "In Kanidm",
        Outcome::WillBeInKanidm => "On its way to Kanidm",
        Outcome::InScope => "In scope and valid",
        Outcome::Waits => "Waits",
        Outcome::Held | Outcome::NotInScope | Outcome::NotFound | Outcome::Failed => {
            return String::new();
        }
    };
    format!("{word}{}. ", remarks.concat())
}

/// True if the next run leaves an entry as an earlier run wrote it.
fn is_left(facts: &Facts<'_>) -> bool {
    let is_incremental = facts.start.is_some_and(|start| start.full_because.is_none());
    is_incremental
        && facts.presence == Presence::Has
        && facts.changed == Some(false)
        && facts.sent_again.is_none()
        && !facts.was_held
}

/// How the next run reads.
fn full_because(facts: &Facts<'_>) -> Option<String> {
    let why = facts.start?.full_because.as_ref()?;
    Some(format!("The next run is a full refresh ({why})"))
}

/// For an entry that does not belong in Kanidm.
fn leaves(facts: &Facts<'_>) -> String {
    if facts.start.is_none() {
        return "If an earlier run wrote it, a full refresh deletes it from Kanidm".to_owned();
    }
    // An entry that has not changed left by an access rule, or with its parent.
    let reports = facts.reports_leaving || matches!(facts.fate, Fate::Skipped(..) | Fate::Token(_));
    let is_noticed = facts.lists_matching || (reports && facts.changed != Some(false));
    match (facts.presence, full_because(facts)) {
        (Presence::HasNot, _) => "The next run ignores it".to_owned(),
        (Presence::Has, Some(full)) => format!("{full} and {DELETES}"),
        (Presence::Unknown, Some(full)) => {
            format!("{full}. If Kanidm has the entry, that run {DELETES}")
        }
        (presence, None) if matches!(facts.fate, Fate::Gone) => {
            let has = if presence == Presence::Has { "Kanidm has it" } else { "If Kanidm has it" };
            let link = if presence == Presence::Has { ":" } else { "," };
            format!(
                "{has}{link} a run {DELETES}, once the directory reports its deletion, or with a full refresh"
            )
        }
        (Presence::Has, None) if is_noticed => format!("The next run {DELETES}"),
        (Presence::Has, None) => format!("Kanidm still has it. {}", noticed_by(facts)),
        (Presence::Unknown, None) if is_noticed => {
            format!("If Kanidm has it, the next run {DELETES}")
        }
        (Presence::Unknown, None) => format!("Kanidm may still have it. {}", noticed_by(facts)),
    }
}

/// Which run notices that an entry has left without a report of the directory.
fn noticed_by(facts: &Facts<'_>) -> String {
    // A skipped entry is among the UUIDs of such a run.
    match facts.reports_leaving && matches!(facts.fate, Fate::Outside(_)) {
        true => format!(
            "A full refresh notices that, and so does a run that gets all UUIDs: {}",
            how(facts)
        ),
        false => format!("Only a full refresh notices that: {}", how(facts)),
    }
}

/// For an entry that the filter loses as long as the account lacks a right. No remedy here deletes
/// it.
fn undecided(facts: &Facts<'_>) -> String {
    let deletes = match (facts.presence, facts.start) {
        (Presence::HasNot, _) => return "The next run ignores it".to_owned(),
        (Presence::Has, _) => DELETES,
        (Presence::Unknown, None) => DELETES_WRITTEN,
        (Presence::Unknown, Some(_)) => DELETES_PRESENT,
    };
    if let Some(full) = full_because(facts) {
        return format!("{full}, which {deletes}");
    }
    let is_reported = facts.reports_leaving && facts.changed == Some(true);
    if facts.start.is_some() && (facts.lists_matching || is_reported) {
        return format!("Until then the next run {deletes}");
    }
    let run = match facts.reports_leaving {
        true => "a full refresh, or a run that gets all UUIDs,",
        false => "a full refresh",
    };
    format!("Until then {run} {deletes}")
}

/// How to get a full refresh.
fn how(facts: &Facts<'_>) -> &'static str {
    match facts.is_scheduled {
        true => "full_refresh_schedule brings one, or run once with --full-refresh",
        false => "run once with --full-refresh",
    }
}

fn holds(facts: &Facts<'_>, reason: &str, remedy: &str) -> String {
    if facts.fails_run {
        return format!(
            "Held: {reason}. The next run that reads it fails and sends nothing (invalid_entries = \"fail\"). {remedy}"
        );
    }
    if facts.is_contested {
        let decision = match facts.start {
            Some(start) if start.full_because.is_none() => {
                "If the other entry has the value in Kanidm, the next run holds this one"
            }
            _ => {
                "A full refresh writes the first of the two that the directory sends, and holds the other"
            }
        };
        return format!("Held, or the other one: {reason}. {decision}. Correct one of the two");
    }
    let copy = match facts.presence {
        Presence::Has => "keeps what it has of it",
        Presence::HasNot => "does not get it",
        Presence::Unknown => "keeps what it has of it, if anything",
    };
    let since = match (facts.start, facts.was_held) {
        (None, _) => "The next run that reads it holds it",
        (Some(_), true) => "An earlier run held it already, and the next run holds it again",
        (Some(_), false) => "No earlier run has held it; the next run that reads it does",
    };
    format!("Held: {reason}. {since}: Kanidm {copy}. {remedy}")
}

/// For an entry that can be sent.
fn writes(facts: &Facts<'_>) -> (Outcome, String) {
    use Presence::{Has, HasNot, Unknown};
    if facts.start.is_none() {
        let text = "A full refresh writes it; an incremental run writes it if it has changed since the run before";
        return (Outcome::InScope, text.to_owned());
    }
    let is_there = facts.presence == Has;
    let sent = if is_there { Outcome::InKanidm } else { Outcome::WillBeInKanidm };
    if let Some(full) = full_because(facts) {
        return (sent, format!("{full} and writes it"));
    }
    if facts.was_held && facts.was_sent_without {
        let text = match facts.without_token {
            Some(what) => format!("Kanidm has it without {what}. Each run tries again"),
            None => "Kanidm has it without a value that waits for another entry. Each run reads it again, and writes the value when it can".to_owned(),
        };
        return (Outcome::InKanidm, text);
    }
    if facts.was_held {
        return was_held(facts);
    }
    match (facts.changed, facts.presence) {
        (Some(true), _) => {
            (sent, "It has changed since the last run: the next run writes it".to_owned())
        }
        (_, Has) if let Some(why) = facts.sent_again => (sent, why.to_owned()),
        (Some(false), Has) if facts.misses_lock => (
            sent,
            format!(
                "It has not changed since the last run, and no run is known to have written the lock. Only a full refresh brings it: {}",
                how(facts)
            ),
        ),
        (Some(false), Has) => {
            (sent, "The next run leaves it as it is: it has not changed since the last one".to_owned())
        }
        (None, Has) => (
            sent,
            "The next run writes it if it has changed since the last one, and otherwise leaves it as it is"
                .to_owned(),
        ),
        (_, HasNot) if facts.lists_matching => {
            (sent, "The next run lists who matches the filter, and writes it".to_owned())
        }
        (Some(false), HasNot) => (
            Outcome::Waits,
            format!(
                "No run has written it, and it has not changed since the last run: it came into view \
                 later, for example by another access rule. Only a full refresh reads it: {}",
                how(facts)
            ),
        ),
        (None, HasNot) => (
            sent,
            "The next run writes it if it has changed since the last one. If it is not in Kanidm \
             after that run, run once with --full-refresh"
                .to_owned(),
        ),
        (_, Unknown) => (
            Outcome::InScope,
            "The next run writes it if it has changed since the last one, and otherwise leaves it as it is"
                .to_owned(),
        ),
    }
}

/// For an entry that an earlier run held, and whose values break no rule now.
fn was_held(facts: &Facts<'_>) -> (Outcome, String) {
    match facts.changed {
        _ if matches!(facts.fate, Fate::Fits(Some(_))) => (
            Outcome::WillBeInKanidm,
            "An earlier run held it. The next run tries it again without that value".to_owned(),
        ),
        Some(true) => (
            Outcome::WillBeInKanidm,
            "An earlier run held it. It has changed since, and breaks no rule now: the next run writes it"
                .to_owned(),
        ),
        _ => (
            Outcome::Held,
            "Held by an earlier run. Its values break no rule that this program knows: either Kanidm refused it, \
             or it was corrected since. The next run tries it again, and its log names Kanidm's reason: search it for \"held back\" and the DN"
                .to_owned(),
        ),
    }
}
