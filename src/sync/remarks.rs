//! The log lines of a run that did not fail: entries that need attention, and odd things about the
//! directory or the configuration.

use log::{debug, warn};

use super::read::Reading;
use super::report::{HeldEntry, ReadMode, Report};
use crate::config::sync::{GroupSchema, InvalidEntries, SyncConfig};
use crate::content::changeset::Kind;
use crate::kanidm::state::{MAX_HELD, Yielded};
use crate::mapping::Content;
use crate::mapping::shown::{PASSWORD_KEY, roles};
use crate::text::count;
use crate::upload::UploadReport;
use crate::upload::yielded::words;

/// Logs everything that an administrator should know about a run.
pub(super) fn log(
    config: &SyncConfig,
    report: &Report,
    reading: &Reading,
    uploaded: &UploadReport,
    yielded_before: &Yielded,
) {
    // Each yielded attribute is news once. A yielded account_expire makes locks ineffective, so
    // every run that writes warns of it.
    let is_news = uploaded.yielded != *yielded_before;
    if !uploaded.yielded.is_empty() && (is_news || uploaded.yielded.contains("account_expire")) {
        warn!("{}", words(&uploaded.yielded));
    }
    log_entries(report);
    if uploaded.envelope.held.len() > MAX_HELD {
        warn!(
            "{} entries are held back, more than the {MAX_HELD} that Kanidm remembers for the next run: it reads the whole directory again. \
             Mend the mapping or the directory",
            uploaded.envelope.held.len()
        );
    }
    if config.mapping.invalid_entries == InvalidEntries::Hold {
        warn_of_what_waits(&reading.content);
    }
    log_out_of_scope(&reading.content);
    warn_of_nobody(reading);
    remarks(config, reading).iter().for_each(|remark| warn!("{remark}"));
}

/// Logs one line for each entry that an administrator should look at.
fn log_entries(report: &Report) {
    report.held.iter().for_each(log_held);
    for dropped in &report.dropped {
        warn!("left out of {} ({}): {}", dropped.dn, dropped.uuid, dropped.problem);
    }
    for skipped in &report.skipped {
        debug!("skipped {} ({}): {}", skipped.dn, skipped.uuid, skipped.reason);
    }
    if let ReadMode::Full(why) = &report.mode {
        debug!("full refresh: {why}");
    }
}

/// Warns that `invalid_entries = "hold"` also delays revocations.
fn warn_of_what_waits(content: &Content) {
    let held = |kind| content.held.iter().filter(|held| held.kind == kind).count() as u64;
    for (kind, one, keeps) in [
        (Kind::Person, "person", "their old passwords, SSH keys and addresses"),
        (Kind::Group, "group", "their old members"),
    ] {
        let n = held(kind);
        if n > 0 {
            warn!(
                "{} held back: {keeps} stay valid in Kanidm until the entries are mended. \
                 invalid_entries = \"drop-value\" leaves out only what is wrong",
                count(n, one)
            );
        }
    }
}

/// Logs the members that are not synchronised, at debug level.
fn log_out_of_scope(content: &Content) {
    for stranger in &content.out_of_scope {
        debug!(
            "not a member in Kanidm, because it is not synchronised: {} of {}",
            stranger.member, stranger.group
        );
    }
}

/// One sentence for each odd thing that an administrator should know about the directory or the
/// configuration.
pub(crate) fn remarks(config: &SyncConfig, reading: &Reading) -> Vec<String> {
    let mut remarks: Vec<String> =
        reading.not_followed.iter().map(|attribute| not_followed(attribute)).collect();
    remarks.extend(
        reading
            .unmapped_members
            .iter()
            .map(|(attribute, groups)| unmapped_members(config, attribute, *groups)),
    );
    if reading.is_full() {
        remarks.extend(reading.content.no_member());
        if reading.content.persons > 0 {
            remarks.extend(reading.content.users_of_other_classes());
            remarks.extend(no_password(config, &reading.content));
        }
    }
    if reading.is_older {
        remarks.push(
            "the directory is older than what was read before: it lags behind its provider, or was restored. \
             Its newer changes arrive when it has caught up"
                .to_owned(),
        );
    }
    remarks
}

/// An attribute for passwords that no person shows.
fn no_password(config: &SyncConfig, content: &Content) -> Option<String> {
    let roles = roles(&config.mapping);
    let password = roles.iter().find(|role| role.key == PASSWORD_KEY)?;
    let mut persons = content.shown().filter(|(_, kind, _)| *kind == Kind::Person);
    if persons.any(|(_, _, mask)| mask.has(password)) {
        return None;
    }
    let attribute = &password.attribute;
    Some(format!(
        "none of the {} shows {attribute}: nobody can log in with the password of the directory. \
         Check person_attr_password, and that the account may read {attribute}",
        count(content.persons as u64, "person")
    ))
}

/// Groups that have members only in an attribute that is not read.
fn unmapped_members(config: &SyncConfig, attribute: &str, groups: u64) -> String {
    let mapping = &config.mapping.group;
    let holds_names = attribute == "memberUid";
    let names = mapping.schema == GroupSchema::Rfc2307;
    let remedy = match (holds_names, names) {
        (true, true) | (false, false) => {
            let all: Vec<String> = mapping.members.iter().map(String::as_str).chain([attribute]).map(|name| format!("{name:?}")).collect();
            format!("group_attr_member = [{}] reads both", all.join(", "))
        }
        (true, false) => {
            "group_attr_schema = \"rfc2307\" with group_attr_member = \"memberUid\" reads user names instead of DNs".to_owned()
        }
        (false, true) => {
            format!("group_attr_schema = \"rfc2307bis\" with group_attr_member = {attribute:?} reads DNs instead of user names")
        }
    };
    let verb = if groups == 1 { "has" } else { "have" };
    format!(
        "{} {verb} members only in {attribute}, which is not mapped. {remedy}",
        count(groups, "group")
    )
}

/// An attribute of the filter that incremental runs do not follow.
fn not_followed(attribute: &str) -> String {
    format!(
        "ldap_filter names {attribute}, which the server maintains: who comes into the filter or leaves it by {attribute} alone \
         is not noticed before the next full refresh. Set full_refresh_schedule, or filter on another attribute"
    )
}

/// Warns if no person is in scope: almost nobody wants groups alone.
fn warn_of_nobody(reading: &Reading) {
    let content = &reading.content;
    if reading.is_full()
        && content.persons == 0
        && content.held.is_empty()
        && let Some(others) = content.of_other_classes()
    {
        warn!("no person is among what is synchronised: {others}");
    }
}

pub(super) fn log_held(held: &HeldEntry) {
    let problems: Vec<String> = held.problems.iter().map(ToString::to_string).collect();
    warn!("held back {} ({}): {}", held.dn, held.uuid, problems.join("; "));
}
