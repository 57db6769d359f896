//! What Kanidm should hold, worked out from the directory naively and without the mapper.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::course::Broken;
use crate::directory::{Directory, Entry, OUTSIDE, same_dn};
use crate::support::expect::Expected;

/// What a course chooses `ldap_filter` from.
pub const FILTERS: [&str; 3] = [
    "(&(|(objectClass=person)(objectClass=groupOfNames))(!(employeeType=out)))",
    "(|(objectClass=person)(objectClass=groupOfNames))",
    "(&(|(objectClass=person)(objectClass=groupOfNames))(!(employeeType=out))(!(l=place1)))",
];

/// What a course chooses `invalid_entries` from.
pub const POLICIES: [&str; 3] = ["hold", "drop-attribute", "fail"];

fn in_scope(entry: &Entry, filter: usize) -> bool {
    entry.ou != OUTSIDE && (filter == 1 || !entry.left) && (filter != 2 || entry.place != 1)
}

/// What a directory means by a configuration.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Everything that is synchronised, held entries included: nothing of this is ever to be deleted.
    pub entries: BTreeMap<Uuid, Expected>,
    /// Those that break a rule, and are held for it; by DN.
    pub held: BTreeMap<Uuid, String>,
    /// Those that want a name, number or address that another one of them wants as well.
    pub contested: BTreeSet<Uuid>,
}

impl Wanted {
    pub fn of(directory: &Directory, filter: usize, policy: usize) -> Wanted {
        let scope: Vec<&Entry> = directory.entries.values().filter(|e| in_scope(e, filter)).collect();
        let named = |dn: &str| scope.iter().copied().find(|e| same_dn(&directory.dn(e), dn));
        let private = |e: &Entry| {
            let is_owner = |p: &&&Entry| !p.group && (value(directory, p, "uid") == value(directory, e, "cn") || same_gid(directory, p, e));
            let has_only = |owner: &Entry| e.members.iter().all(|m| named(m).is_some_and(|found| found.uuid == owner.uuid));
            e.group && scope.iter().filter(is_owner).any(|owner| has_only(owner))
        };
        let scope: Vec<&Entry> = scope.iter().copied().filter(|e| !private(e)).collect();
        let mut wanted = Wanted { contested: contested(directory, &scope), ..Wanted::default() };
        for entry in &scope {
            let (mut expected, held) = expected(directory, entry, policy);
            let members = entry.members.iter().filter_map(|m| scope.iter().find(|e| same_dn(&directory.dn(e), m)));
            expected.members = members.map(|m| m.uuid).collect();
            if held {
                wanted.held.insert(entry.uuid, directory.dn(entry));
            }
            wanted.entries.insert(entry.uuid, expected);
        }
        wanted
    }
}

fn value(directory: &Directory, entry: &Entry, name: &str) -> Option<String> {
    directory.attributes(entry).into_iter().find(|(n, _)| *n == name).map(|(_, values)| values[0].clone())
}

fn same_gid(directory: &Directory, one: &Entry, other: &Entry) -> bool {
    let gid = |e: &Entry| e.gid.filter(|_| !e.broken.contains(&Broken::Gid)).map(|label| directory.gid(label));
    gid(one).is_some() && gid(one) == gid(other)
}

fn contested(directory: &Directory, scope: &[&Entry]) -> BTreeSet<Uuid> {
    let name = |e: &Entry| value(directory, e, if e.group { "cn" } else { "uid" });
    let collide = |one: &Entry, other: &Entry| {
        let mails = !one.group && !other.group && value(directory, one, "mail") == value(directory, other, "mail");
        name(one) == name(other) || same_gid(directory, one, other) || mails
    };
    scope.iter().filter(|e| scope.iter().any(|o| o.uuid != e.uuid && collide(e, o))).map(|e| e.uuid).collect()
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
        expired: entry.locked,
        password: !entry.group,
        ..Expected::default()
    };
    let mut required = broken(Broken::Name) || broken(Broken::Taken);
    let mut optional = broken(Broken::Gid) && entry.gid.is_some();
    if !entry.group {
        required |= broken(Broken::Display);
        optional |= broken(Broken::Password) || broken(Broken::Mail);
    }
    if broken(Broken::Mail) {
        expected.mail.clear();
    }
    expected.password &= !broken(Broken::Password);
    // A lock does not wait for a mail address to be mended.
    let drops = policy == 1 || (policy == 0 && entry.locked);
    (expected, required || (optional && !drops))
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

/// Compares everything but the entries that are held, or contested. `held` are those that the run names.
pub fn compare(got: &BTreeMap<Uuid, Expected>, want: &Wanted, held: &BTreeSet<Uuid>) -> Result<(), String> {
    for (uuid, entry) in got {
        if !want.entries.contains_key(uuid) {
            return Err(format!("too many: {uuid} {entry:?}"));
        }
        if entry.name.starts_with("tmp-") {
            return Err(format!("a temporary name: {uuid} {entry:?}"));
        }
    }
    for (uuid, wanted) in want.entries.iter().filter(|(uuid, _)| !held.contains(*uuid) && !want.contested.contains(*uuid)) {
        let Some(entry) = got.get(uuid) else { return Err(format!("missing: {uuid} {wanted:?}")) };
        let (mut entry, mut wanted) = (without_what_stays(entry, wanted), wanted.clone());
        // Of those that are held Kanidm may have a bare object, or nothing. But nobody takes their place.
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
