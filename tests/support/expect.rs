//! What Kanidm should hold, worked out a second time and naively from what `ldapsearch` says: the
//! oracle of the end-to-end tests.
//!
//! It shares no code with the mapper: its own DN comparison, its own rules, written for reading,
//! not for speed.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::kanidm::KanidmEntry;
use super::ldap::LdapEntry;

/// An entry as far as the directory decides it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub group: bool,
    /// Lower-cased, as Kanidm compares it.
    pub external_id: String,
    pub name: String,
    pub displayname: Option<String>,
    pub description: Option<String>,
    pub gidnumber: Option<u64>,
    pub loginshell: Option<String>,
    /// The primary address first, the others sorted.
    pub mail: Vec<String>,
    /// Type and blob of each key.
    pub ssh_keys: BTreeSet<String>,
    pub expired: bool,
    pub password: bool,
    /// The DNs of TOTP tokens, as the person names them.
    pub totp: BTreeSet<String>,
    pub members: BTreeSet<Uuid>,
}

/// How groups are read.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    pub object_class: &'static str,
    pub member: &'static str,
    /// Members are user names.
    pub rfc2307: bool,
}

pub const GROUPS_OF_NAMES: Groups =
    Groups { object_class: "groupofnames", member: "member", rfc2307: false };
pub const POSIX_GROUPS: Groups =
    Groups { object_class: "posixgroup", member: "memberuid", rfc2307: true };

/// The content of a directory as Kanidm should hold it, by the UUID in `uuid_attribute`, and the
/// entries that cannot be sent.
pub fn content(
    entries: &[LdapEntry],
    uuid_attribute: &str,
    groups: Groups,
) -> (BTreeMap<Uuid, Expected>, BTreeMap<Uuid, String>) {
    let mut wanted = BTreeMap::new();
    let mut held = BTreeMap::new();
    let mut by_dn = BTreeMap::new();
    let mut by_name = BTreeMap::new();
    for entry in entries {
        let Some(expected) = person(entry).or_else(|| group(entry, groups)) else { continue };
        let uuid = uuid(entry.text(uuid_attribute).expect("an operational UUID"));
        if !good_name(&expected.name) {
            held.insert(uuid, entry.dn.clone());
            continue;
        }
        by_dn.insert(dn_key(&entry.dn), uuid);
        if !expected.group {
            by_name.insert(expected.name.clone(), uuid);
        }
        wanted.insert(uuid, expected);
    }
    for entry in entries.iter().filter(|e| has_class(e, groups.object_class)) {
        let found =
            entry.texts(groups.member).into_iter().filter_map(|member| match groups.rfc2307 {
                true => by_name.get(&member.to_lowercase()),
                false => by_dn.get(&dn_key(member)),
            });
        if let Some(expected) = wanted.get_mut(&uuid(entry.text(uuid_attribute).unwrap())) {
            expected.members = found.copied().collect();
        }
    }
    let persons: Vec<(Uuid, Expected)> =
        wanted.iter().filter(|(_, e)| !e.group).map(|(u, e)| (*u, e.clone())).collect();
    wanted.retain(|_, e| {
        !e.group || !persons.iter().any(|(owner, person)| is_private(e, *owner, person))
    });
    (wanted, held)
}

/// Only its user's own: the same name, and no other member.
fn is_private(group: &Expected, owner: Uuid, person: &Expected) -> bool {
    group.name == person.name && group.members.iter().all(|member| *member == owner)
}

/// What the test server says it holds, in the same form.
///
/// Of the entries that cannot be sent it may have bare objects, or what it had before: those are
/// left out, as members too.
pub fn held_by_kanidm(
    entries: &[KanidmEntry],
    held: &BTreeMap<Uuid, String>,
) -> BTreeMap<Uuid, Expected> {
    let sent = entries.iter().filter(|e| !held.contains_key(&e.uuid));
    let mut found: BTreeMap<Uuid, Expected> = sent.map(|e| (e.uuid, from_kanidm(e))).collect();
    found.values_mut().for_each(|e| e.members.retain(|member| !held.contains_key(member)));
    found
}

/// Compares entry by entry and names the first differences.
pub fn assert_same(got: &BTreeMap<Uuid, Expected>, want: &BTreeMap<Uuid, Expected>, what: &str) {
    let mut wrong = Vec::new();
    for (uuid, want) in want {
        match got.get(uuid) {
            None => wrong.push(format!("missing: {} {}", want.external_id, uuid)),
            Some(entry) if entry != want => {
                let strangers: Vec<&str> = entry
                    .members
                    .difference(&want.members)
                    .map(|m| got[m].external_id.as_str())
                    .collect();
                wrong.push(format!("differs: {uuid}\n   got {entry:?}\n  want {want:?}\n  too many members: {strangers:?}"));
            }
            Some(_) => {}
        }
    }
    wrong.extend(
        got.iter()
            .filter(|(uuid, _)| !want.contains_key(uuid))
            .map(|(uuid, e)| format!("too many: {} {uuid}", e.external_id)),
    );
    assert!(
        wrong.is_empty(),
        "{what}: {} differences\n{}",
        wrong.len(),
        wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
    );
}

fn person(entry: &LdapEntry) -> Option<Expected> {
    if !has_class(entry, "posixAccount") {
        return None;
    }
    let gidnumber = entry.text("uidnumber").map(|n| n.parse().unwrap());
    let mut mail: Vec<String> = entry.texts("mail").iter().map(|m| (*m).to_owned()).collect();
    if let Some(others) = mail.get_mut(1..) {
        others.sort();
    }
    Some(Expected {
        group: false,
        external_id: entry.dn.to_lowercase(),
        name: entry.text("uid").unwrap_or_default().to_lowercase(),
        displayname: entry.text("cn").map(str::to_owned),
        description: None,
        gidnumber,
        loginshell: gidnumber.and_then(|_| entry.text("loginshell")).map(str::to_owned),
        mail,
        ssh_keys: entry.texts("sshpublickey").into_iter().map(key_without_comment).collect(),
        expired: locked(entry),
        password: entry.text("userpassword").is_some(),
        totp: entry.texts("oathtotptoken").into_iter().map(str::to_owned).collect(),
        members: BTreeSet::new(),
    })
}

fn group(entry: &LdapEntry, groups: Groups) -> Option<Expected> {
    has_class(entry, groups.object_class).then(|| Expected {
        group: true,
        external_id: entry.dn.to_lowercase(),
        name: entry.text("cn").unwrap_or_default().to_lowercase(),
        description: entry.text("description").map(str::to_owned),
        gidnumber: entry.text("gidnumber").map(|n| n.parse().unwrap()),
        ..Expected::default()
    })
}

/// The lock attributes of the seed data: both servers' own, and shadowExpire in 1970.
fn locked(entry: &LdapEntry) -> bool {
    entry.text("pwdaccountlockedtime") == Some("000001010000Z")
        || entry.text("nsaccountlock").is_some_and(|v| v.eq_ignore_ascii_case("true"))
        || entry.text("shadowexpire") == Some("1")
}

fn from_kanidm(entry: &KanidmEntry) -> Expected {
    Expected {
        group: entry.classes.iter().any(|c| c == "group"),
        external_id: entry.external_id.clone().unwrap_or_default().to_lowercase(),
        name: entry.name.clone().unwrap_or_default(),
        displayname: entry.displayname.clone(),
        description: entry.description.clone(),
        gidnumber: entry.gidnumber.map(u64::from),
        loginshell: entry.loginshell.clone(),
        mail: entry.mail.iter().map(|m| m.value.clone()).collect(),
        ssh_keys: entry.ssh_publickey.values().map(|key| key_without_comment(key)).collect(),
        expired: entry.account_expire.as_ref().is_some_and(|t| t.starts_with("1970-")),
        password: entry.has_password,
        totp: entry.totp.iter().cloned().collect(),
        members: entry.member.iter().copied().collect(),
    }
}

fn uuid(text: &str) -> Uuid {
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    Uuid::parse_str(&hex).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn has_class(entry: &LdapEntry, class: &str) -> bool {
    entry.texts("objectclass").iter().any(|c| c.eq_ignore_ascii_case(class))
}

fn good_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && name.len() <= 64
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
}

fn key_without_comment(key: &str) -> String {
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// A DN as a set of name=value pairs an RDN, unescaped and lower-cased.
fn dn_key(dn: &str) -> Vec<BTreeSet<String>> {
    let mut rdns = vec![BTreeSet::new()];
    let mut bytes = dn.bytes().peekable();
    let mut part = Vec::new();
    // Trailing spaces that were written plainly do not count; escaped ones do.
    let mut significant = 0;
    let finish = |rdns: &mut Vec<BTreeSet<String>>, part: &mut Vec<u8>, significant: &mut usize| {
        part.truncate(*significant);
        *significant = 0;
        let text = String::from_utf8(std::mem::take(part)).unwrap().to_lowercase();
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        rdns.last_mut().unwrap().insert(format!("{}={value}", name.trim()));
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                let first = bytes.next().unwrap();
                let second = bytes
                    .peek()
                    .copied()
                    .filter(|_| first.is_ascii_hexdigit())
                    .filter(u8::is_ascii_hexdigit);
                match second {
                    Some(second) => {
                        bytes.next();
                        let hex = [first, second];
                        part.push(
                            u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap(),
                        );
                    }
                    None => part.push(first),
                }
                significant = part.len();
            }
            b',' => {
                finish(&mut rdns, &mut part, &mut significant);
                rdns.push(BTreeSet::new());
            }
            b'+' => finish(&mut rdns, &mut part, &mut significant),
            b' ' if part.is_empty() || part.last() == Some(&b'=') => {}
            b' ' => part.push(b' '),
            other => {
                part.push(other);
                significant = part.len();
            }
        }
    }
    finish(&mut rdns, &mut part, &mut significant);
    rdns
}
