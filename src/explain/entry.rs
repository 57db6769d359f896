//! One entry: all questions in their order, and the answers in one place.

use ldap_content_sync::sync_session::Provider;
use uuid::Uuid;

use super::answer::{Account, Explanation, FilterPart, Listed, Outcome};
use super::attributes::Lines;
use super::find::Target;
use super::kanidm::{Kanidm, Presence};
use super::next::{Facts, Fate};
use super::reading::{self, Raw, Reading};
use super::{account, again, attributes, fate, filter, groups, members, next, value};
use crate::config::sync::{EntryConfig, InvalidEntries, SyncConfig};
use crate::content::changeset::Kind;
use crate::directory::client::Directory;
use crate::directory::computed::computed_attributes;
use crate::directory::error::DirectoryError;
use crate::text::thousands;

/// Maximum number of object classes that are named.
const CLASSES: usize = 30;

/// Explains an entry.
///
/// # Errors
/// The directory failed.
pub(super) fn explain(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    target: &Target,
) -> Result<Explanation, DirectoryError> {
    let filter = filter::ask(directory, &target.dn, &config.directory.filter)?;
    let Some(uuid) = target.uuid else {
        let attribute = directory.uuid_attribute();
        let why = format!(
            "The sync account cannot read {attribute} of this entry, so no run can name it: give the account the right to read it"
        );
        return Ok(unread(target, filter, why));
    };
    let Some(Claimed { reading, changed, is_contested, rivals }) =
        read(directory, config, kanidm, (&target.dn, uuid))?
    else {
        let why = "The entry has gone, or moved, while it was read: ask again".to_owned();
        return Ok(unread(target, filter, why));
    };
    let presence = kanidm.has(&config.mapping, &uuid);
    let lines = attributes::lines(directory, config, kanidm, &target.dn, &reading)?;
    let account = account::account(directory, config, kanidm, &target.dn, &reading)?;
    let fate = fate::fate(directory, config, target, (&filter, &reading, &lines))?;
    let absent = absent(&fate, presence);
    let (groups, members) = listed(directory, config, kanidm, &reading, absent)?;
    let without_token = reading.without_token(&config.mapping.person);
    let facts = Facts {
        fate,
        is_contested,
        presence,
        was_held: kanidm.is_held(&uuid),
        was_sent_without: kanidm.is_sent_without(&uuid),
        without_token,
        misses_lock: account.as_ref().is_some_and(|account| account.misses_lock),
        changed,
        sent_again: match changed {
            Some(true) => None,
            _ => again::sent_again(directory, config, kanidm, &reading)?,
        },
        reports_leaving: directory.provider() != Provider::Ds389,
        lists_matching: !computed_attributes(&config.directory.filter).is_empty(),
        is_scheduled: config.full_refresh_schedule.is_some(),
        start: kanidm.start.as_ref(),
        fails_run: config.mapping.invalid_entries == InvalidEntries::Fail,
    };
    let (result, next) = next::verdict(&facts);
    let headline = next::headline(result, &remarks(config, account.as_ref(), &lines));
    Ok(Explanation {
        dn: target.dn.clone(),
        uuid: Some(uuid.to_string()),
        kanidm_uuid: Some(config.mapping.kanidm_uuid(uuid).to_string()),
        result,
        below_base: target.below_base,
        filter,
        kind: kind(&reading.raw),
        object_classes: classes(&reading.raw),
        classes: classes_sentence(config, &reading.raw),
        table: table(config, &uuid),
        attributes: lines.lines,
        account,
        groups,
        members,
        problems: lines
            .problems
            .into_iter()
            .chain(rivals)
            .chain(reading.not_searched.clone())
            .chain(too_large(&reading.raw))
            .collect(),
        kanidm: kanidm.sentence(&config.mapping, &uuid, presence, without_token),
        headline,
        next,
    })
}

/// Why Kanidm gets no membership of this person.
fn absent(fate: &Fate, presence: Presence) -> Option<&'static str> {
    match fate {
        Fate::Fits(_) => None,
        Fate::Held(..) if presence == Presence::HasNot => {
            Some("the person is held, and Kanidm does not have it")
        }
        Fate::Held(..) => None,
        _ => Some("the person is not in scope, so Kanidm does not get the membership"),
    }
}

/// The groups of a person, or the members of a group.
fn listed(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    reading: &Reading,
    absent: Option<&'static str>,
) -> Result<(Option<Listed>, Option<Listed>), DirectoryError> {
    let has_member = !reading.targets.0.is_empty() || reading.targets.1 > 0;
    Ok(match (reading.raw.kind, &reading.changed) {
        (Some(Kind::Person), Some(person)) => {
            (Some(groups::naming(directory, config, kanidm, person, absent)?), None)
        }
        (Some(Kind::Group), _) if has_member => {
            (None, Some(members::listed(directory, config, kanidm, reading)?))
        }
        _ => (None, None),
    })
}

/// An entry with its claim to the values that only one entry can have.
struct Claimed {
    reading: Reading,
    /// True if it has changed since the last run; `None` if the directory does not tell.
    changed: Option<bool>,
    /// True if another entry has such a value, and nobody can tell yet which of the two gets it.
    is_contested: bool,
    /// Values that this entry has in Kanidm, and another one has in the directory.
    rivals: Vec<String>,
}

/// Reads and maps the entry, alone and as one of those that want its values. `None` if it has gone
/// meanwhile.
fn read(
    directory: &mut Directory,
    config: &SyncConfig,
    kanidm: &Kanidm,
    (dn, uuid): (&str, Uuid),
) -> Result<Option<Claimed>, DirectoryError> {
    let Some(among) = reading::read(directory, config, (dn, uuid), true)? else { return Ok(None) };
    let changed = again::has_changed(directory, kanidm, &among.raw)?;
    let problems = attributes::problems(&among);
    if kanidm.is_held(&uuid) || problems.is_empty() {
        let rivals = Vec::new();
        return Ok(Some(Claimed { reading: among, changed, is_contested: false, rivals }));
    }
    let Some(alone) = reading::read(directory, config, (dn, uuid), false)? else { return Ok(None) };
    let own = attributes::problems(&alone);
    let rivals: Vec<String> =
        problems.into_iter().filter(|problem| !own.contains(problem)).collect();
    let is_full = kanidm.start.as_ref().is_some_and(|start| start.full_because.is_some());
    let is_there = kanidm.has(&config.mapping, &uuid) == Presence::Has;
    // Kanidm keeps a value for the one who has it. An increment does not read an unchanged entry,
    // so such an entry keeps its values. A changed one may want the value of another entry.
    if rivals.is_empty() || (is_there && !is_full && changed == Some(false)) {
        let rivals = rivals
            .into_iter()
            .map(|rule| format!("{rule}. The entry that has the value in Kanidm keeps it"))
            .collect();
        return Ok(Some(Claimed { reading: alone, changed, is_contested: false, rivals }));
    }
    let is_contested = alone.content.held.is_empty() || among.content.held.is_empty();
    Ok(Some(Claimed { reading: among, changed, is_contested, rivals: Vec::new() }))
}

/// An entry that was not read.
fn unread(target: &Target, filter: FilterPart, why: String) -> Explanation {
    Explanation {
        dn: target.dn.clone(),
        uuid: None,
        kanidm_uuid: None,
        result: Outcome::NotInScope,
        below_base: target.below_base,
        filter,
        kind: "neither",
        object_classes: Vec::new(),
        classes: "not read".to_owned(),
        table: Vec::new(),
        attributes: Vec::new(),
        account: None,
        groups: None,
        members: None,
        problems: Vec::new(),
        kanidm: None,
        headline: String::new(),
        next: why,
    }
}

/// Remarks for the headline.
fn remarks(config: &SyncConfig, account: Option<&Account>, lines: &Lines) -> Vec<String> {
    let remark = account.and_then(|account| account.remark.as_ref());
    let locked = remark.map(|remark| format!(", and {remark}"));
    let password = &config.mapping.person.password;
    let is_hidden = account.is_some() && lines.hidden.contains(password);
    let hidden = is_hidden.then(|| {
        format!(
            ", but the sync account cannot read {password}: give it that right, or no password is copied"
        )
    });
    locked.into_iter().chain(hidden).collect()
}

fn kind(raw: &Raw) -> &'static str {
    match raw.kind {
        Some(Kind::Person) => "person",
        Some(Kind::Group) => "group",
        None => "neither",
    }
}

pub(super) fn classes(raw: &Raw) -> Vec<String> {
    raw.values("objectClass").iter().filter_map(|class| value::class(class)).take(CLASSES).collect()
}

/// The kind and the object classes that decide about it.
pub(super) fn classes_sentence(config: &SyncConfig, raw: &Raw) -> String {
    let own = classes(raw);
    let among = |wanted: &[String]| {
        let has = |name: &&String| own.iter().any(|class| class.eq_ignore_ascii_case(name));
        wanted.iter().filter(has).cloned().collect::<Vec<_>>().join(", ")
    };
    let (person, group) = (&config.mapping.person, &config.mapping.group);
    let (as_person, as_group) = (among(&person.object_classes), among(&group.object_classes));
    match (raw.kind, as_group.is_empty()) {
        (Some(Kind::Person), true) => format!("person, by {as_person}"),
        (Some(Kind::Person), false) => {
            format!(
                "person, by {as_person}; it has a class of groups, too ({as_group}), and persons come first"
            )
        }
        (Some(Kind::Group), _) => format!("group, by {as_group}"),
        (None, _) if own.is_empty() => {
            "neither person nor group: the sync account cannot read objectClass".to_owned()
        }
        (None, _) => format!(
            "neither person nor group: its classes are {}; person_objectclass is {}, group_objectclass is {}",
            own.join(", "),
            person.object_classes.join(" or "),
            group.object_classes.join(" or ")
        ),
    }
}

/// The keys of the entry's table.
fn table(config: &SyncConfig, uuid: &Uuid) -> Vec<String> {
    let mut keys = Vec::new();
    if let Some(EntryConfig { exclude, map_uuid, map_name, map_gidnumber }) =
        config.mapping.entries.get(uuid)
    {
        keys.extend(exclude.then(|| "exclude = true".to_owned()));
        keys.extend(map_uuid.map(|uuid| format!("map_uuid = {uuid}")));
        keys.extend(map_name.as_ref().map(|name| format!("map_name = {name}")));
        keys.extend(map_gidnumber.map(|number| format!("map_gidnumber = {number}")));
    }
    if config.mapping.is_claimed(*uuid) {
        keys.push("the UUID of this entry is the map_uuid of another table".to_owned());
    }
    keys
}

fn too_large(raw: &Raw) -> Option<String> {
    let (size, limit) = raw.oversized?;
    Some(format!(
        "the entry has {} bytes, more than max_ber_size = {}: its large attributes were not read",
        thousands(size as u64),
        thousands(limit as u64)
    ))
}
