//! What Kanidm should hold, worked out from the directory naively and without the mapper.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::course::Broken;
use crate::directory::{Directory, Entry, OUTSIDE, normal};
use crate::support::expect::Expected;

/// What a course chooses `ldap_filter` from.
pub const FILTERS: [&str; 3] = [
    "(&(|(objectClass=person)(objectClass=groupOfNames))(!(employeeType=out)))",
    "(|(objectClass=person)(objectClass=groupOfNames))",
    "(&(|(objectClass=person)(objectClass=groupOfNames))(!(employeeType=out))(!(l=place1)))",
];

/// What a course chooses `invalid_entries` from.
pub const POLICIES: [&str; 3] = ["hold", "drop-value", "fail"];

fn in_scope(entry: &Entry, filter: usize) -> bool {
    entry.ou != OUTSIDE && (filter == 1 || !entry.left) && (filter != 2 || entry.place != 1)
}

/// What a directory means by a configuration.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Everything that is synchronised, held entries included: nothing of this is ever to be
    /// deleted.
    pub entries: BTreeMap<Uuid, Expected>,
    /// Those that break a rule, and are held for it; by DN.
    pub held: BTreeMap<Uuid, String>,
    /// Those that want a name, number or address that another one of them wants as well.
    pub contested: BTreeSet<Uuid>,
    /// Groups that are only their user's own, and when each changed last: not synchronised.
    pub private: BTreeMap<Uuid, u64>,
}

/// An entry in scope, with what others may name it by or may want as well.
struct Seen<'d> {
    entry: &'d Entry,
    /// In a form that compares.
    dn: String,
    name: Option<String>,
    gid: Option<u64>,
    mail: Option<String>,
}

impl Wanted {
    pub fn of(directory: &Directory, filter: usize, policy: usize) -> Wanted {
        let seen = |entry| Seen {
            entry,
            dn: normal(&directory.dn(entry)),
            name: value(directory, entry, if entry.group { "cn" } else { "uid" }),
            gid: entry
                .gid
                .filter(|_| !entry.broken.contains(&Broken::Gid))
                .map(|label| directory.gid(label)),
            mail: value(directory, entry, "mail"),
        };
        let scope: Vec<Seen<'_>> =
            directory.entries.values().filter(|e| in_scope(e, filter)).map(seen).collect();
        let by_dn: BTreeMap<String, &Seen<'_>> = scope.iter().map(|e| (e.dn.clone(), e)).collect();
        let private =
            |e: &Seen<'_>| e.entry.group && scope.iter().any(|owner| is_private(e, owner, &by_dn));
        let privates: BTreeMap<Uuid, u64> =
            scope.iter().filter(|e| private(e)).map(|e| (e.entry.uuid, e.entry.changed)).collect();
        let mut wanted = Wanted { private: privates, ..Wanted::default() };
        let sent: Vec<&Seen<'_>> =
            scope.iter().filter(|e| !wanted.private.contains_key(&e.entry.uuid)).collect();
        wanted.contested = contested(&sent);
        for Seen { entry, .. } in sent {
            let (mut expected, held) = expected(directory, entry, policy);
            let members =
                entry.members.iter().filter_map(|m| by_dn.get(&normal(m))).map(|m| m.entry.uuid);
            expected.members = members.filter(|uuid| !wanted.private.contains_key(uuid)).collect();
            if held {
                wanted.held.insert(entry.uuid, directory.dn(entry));
            }
            wanted.entries.insert(entry.uuid, expected);
        }
        wanted
    }
}

fn value(directory: &Directory, entry: &Entry, name: &str) -> Option<String> {
    directory
        .attributes(entry)
        .into_iter()
        .find(|(n, _)| *n == name)
        .map(|(_, values)| values[0].clone())
}

/// Only its user's own: the same name, and no other member.
fn is_private(group: &Seen<'_>, owner: &Seen<'_>, by_dn: &BTreeMap<String, &Seen<'_>>) -> bool {
    let same = group.name == owner.name;
    let is_owner = |member: &String| {
        by_dn.get(&normal(member)).is_some_and(|found| found.entry.uuid == owner.entry.uuid)
    };
    !owner.entry.group && same && group.entry.members.iter().all(is_owner)
}

fn contested(scope: &[&Seen<'_>]) -> BTreeSet<Uuid> {
    let mut holders: BTreeMap<(&str, String), Vec<Uuid>> = BTreeMap::new();
    for e in scope {
        let values = [
            ("name", e.name.clone()),
            ("gid", e.gid.map(|gid| gid.to_string())),
            ("mail", e.mail.clone()),
        ];
        for (kind, value) in values.into_iter().filter_map(|(kind, value)| Some((kind, value?))) {
            holders.entry((kind, value)).or_default().push(e.entry.uuid);
        }
    }
    holders.into_values().filter(|holders| holders.len() > 1).flatten().collect()
}

/// An entry without its members, and whether it is held.
fn expected(directory: &Directory, entry: &Entry, policy: usize) -> (Expected, bool) {
    let text = |name: &str| value(directory, entry, name);
    let broken = |what: Broken| entry.broken.contains(&what);
    let mut expected = Expected {
        group: entry.group,
        external_id: directory.dn(entry).to_lowercase(),
        name: text(if entry.group { "cn" } else { "uid" }).unwrap_or_default(),
        displayname: text("cn").filter(|_| !entry.group),
        description: text("description"),
        gidnumber: entry.gid.filter(|_| !broken(Broken::Gid)).map(|label| directory.gid(label)),
        loginshell: text("loginshell"),
        mail: text("mail").into_iter().collect(),
        expired: entry.locked || entry.is_marked(),
        password: !entry.group,
        ..Expected::default()
    };
    let mut required = broken(Broken::Name) || broken(Broken::Taken);
    let mut optional = broken(Broken::Gid) && entry.gid.is_some();
    if !entry.group {
        // Nor does a lock wait for a display name.
        let ends = entry.locked || entry.is_marked();
        required |= broken(Broken::Display) && !ends;
        optional |= broken(Broken::Display) && ends;
        if broken(Broken::Display) && ends {
            expected.displayname = Some(expected.name.clone());
        }
        // Of a locked password nobody says that it is wrong.
        optional |= (broken(Broken::Password) && !entry.is_marked()) || broken(Broken::Mail);
    }
    if broken(Broken::Mail) || entry.is_junk("mail") {
        expected.mail.clear();
    }
    if entry.is_junk("loginshell") {
        expected.loginshell = None;
    }
    optional |= entry.junk.is_some();
    expected.password &=
        !entry.is_junk("userpassword") && !broken(Broken::Password) && !entry.is_marked();
    // A lock does not wait for a mail address to be mended.
    let drops = policy == 1 || (policy == 0 && (entry.locked || entry.is_marked()));
    (expected, required || (optional && !drops))
}

/// The persons who may log in to Kanidm and whom the directory does not let in: locked, or not in
/// scope at all.
pub fn let_in(
    got: &BTreeMap<Uuid, Expected>,
    directory: &Directory,
    filter: usize,
) -> BTreeSet<Uuid> {
    let may = |uuid: &Uuid| {
        let entry =
            directory.entries.values().find(|entry| entry.uuid == *uuid && in_scope(entry, filter));
        entry.is_some_and(|entry| !entry.locked && !entry.is_marked())
    };
    let open = got
        .iter()
        .filter(|(_, entry)| !entry.group && !entry.name.is_empty() && !entry.expired)
        .map(|(uuid, _)| *uuid);
    open.filter(|uuid| !may(uuid)).collect()
}

/// Kanidm keeps a number, a shell and a password that the directory does not have any more.
fn without_what_stays(got: &Expected, want: &Expected) -> Expected {
    let mut got = got.clone();
    if want.gidnumber.is_none() {
        got.gidnumber = None;
        got.loginshell.clone_from(&want.loginshell);
    }
    got.password &= want.password;
    got
}

/// Compares everything but the entries that are held, or contested. `held` are those that the run
/// names.
pub fn compare(
    got: &BTreeMap<Uuid, Expected>,
    want: &Wanted,
    held: &BTreeSet<Uuid>,
) -> Result<(), String> {
    for (uuid, entry) in got {
        if !want.entries.contains_key(uuid) {
            return Err(format!("too many: {uuid} {entry:?}"));
        }
        // But for a locked account whose own name cannot be had.
        if entry.name.starts_with("tmp-") && !(entry.expired && held.contains(uuid)) {
            return Err(format!("a temporary name: {uuid} {entry:?}"));
        }
    }
    for (uuid, wanted) in want
        .entries
        .iter()
        .filter(|(uuid, _)| !held.contains(*uuid) && !want.contested.contains(*uuid))
    {
        let Some(entry) = got.get(uuid) else { return Err(format!("missing: {uuid} {wanted:?}")) };
        let (mut entry, mut wanted) = (without_what_stays(entry, wanted), wanted.clone());
        // Of those that are held Kanidm may have a bare object, or nothing. But nobody takes their
        // place, not even one that is held.
        if !entry.members.is_subset(&wanted.members) {
            return Err(format!(
                "{uuid} has a member that it should not have:\n   got {entry:?}\n  want {wanted:?}"
            ));
        }
        entry.members.retain(|m| !held.contains(m));
        wanted.members.retain(|m| !held.contains(m));
        if wanted.gidnumber.is_none() {
            entry.loginshell.clone_from(&wanted.loginshell);
        }
        if entry != wanted {
            return Err(format!("differs: {uuid}\n   got {entry:?}\n  want {wanted:?}"));
        }
    }
    Ok(())
}
