//! A directory in memory: its entries, and when each changed.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::course::{Broken, Change, Label, ServerKind, Value};

/// The base of the configuration.
pub const BASE: &str = "dc=x";
/// The ou that is not below it.
pub const OUTSIDE: usize = 3;
/// A password hash that Kanidm takes.
const PASSWORD: &str = "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0";

/// Attributes that an access rule may hide.
pub const HIDEABLE: [&str; 5] =
    ["userpassword", "mail", "member", "pwdaccountlockedtime", "nsaccountlock"];

/// An attribute, and values of it.
type Junk = (&'static str, fn() -> Vec<String>);

/// What somebody may write who may write into the own entry.
pub const JUNK: [Junk; 9] = [
    ("mail", || vec![format!("{}@d.example", "x".repeat(300))]),
    ("mail", || (0..2_000).map(|n| format!("many{n}@d.example")).collect()),
    ("mail", || vec!["a\u{0}b@d.example".to_owned(), "x".repeat(100_000)]),
    ("userpassword", || {
        vec!["{ARGON2}$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc".to_owned()]
    }),
    ("userpassword", || vec![format!("{{SSHA}}{}", "x".repeat(100_000))]),
    ("userpassword", || vec!["{CRYPT}$6$rounds=999999999$salt$hash".to_owned()]),
    ("sshpublickey", || (0..50).map(|n| format!("no key {n}")).collect()),
    ("sshpublickey", || vec![format!("ssh-rsa {}", "A".repeat(100_000))]),
    ("loginshell", || vec!["/bin/\u{1}".to_owned()]),
];

/// One entry. Of every value it holds the label that the value belongs to.
#[derive(Clone, Debug)]
pub struct Entry {
    pub uuid: Uuid,
    pub group: bool,
    pub rdn: Label,
    pub ou: usize,
    pub name: Label,
    pub mail: Label,
    /// Groups have none, unless they are a user's own.
    pub gid: Option<Label>,
    pub display: u64,
    /// DNs, as they were entered.
    pub members: Vec<String>,
    /// Where it is, for the filter that asks for that.
    pub place: Label,
    /// An employeeType that the default filter does not take.
    pub left: bool,
    pub locked: bool,
    /// Locked by a mark in the password.
    pub marked: bool,
    pub alias: Option<Label>,
    pub broken: BTreeSet<Broken>,
    /// One of [`JUNK`], in the place of what the attribute held.
    pub junk: Option<usize>,
    /// The number of the change that touched it last.
    pub changed: u64,
}

/// What is gone or was changed, and when: slapd's session log, 389's changelog.
#[derive(Clone, Debug)]
pub struct Logged {
    pub time: u64,
    pub uuid: Uuid,
}

#[derive(Clone, Debug)]
pub struct Directory {
    pub kind: ServerKind,
    refint: bool,
    /// Keeps the values of several directories apart, should they share a Kanidm.
    pub number: u64,
    pub entries: BTreeMap<Label, Entry>,
    used: BTreeSet<Label>,
    ous: [Label; 4],
    /// Counts the changes.
    pub time: u64,
    pub log: Vec<Logged>,
    /// Changes after this one are in the log.
    pub log_from: u64,
    /// Happens after the next refresh was answered.
    pub meanwhile: Vec<Change>,
    /// Something has happened that no increment shows, and only a full refresh settles.
    pub unseen: bool,
    /// DNs that one entry has taken over from another.
    taken_over: Vec<String>,
    /// What an access rule hides.
    pub hidden: BTreeSet<&'static str>,
    /// Some of what Kanidm holds may come from entries that did not show everything.
    pub dark: bool,
}

impl Entry {
    /// Whether the entry's owner has overwritten this attribute with nonsense.
    pub fn is_junk(&self, attribute: &str) -> bool {
        self.junk.is_some_and(|kind| JUNK[kind].0 == attribute)
    }

    /// Whether a mark in the password locks the account. Whoever overwrites the password overwrites
    /// the mark.
    pub fn is_marked(&self) -> bool {
        self.marked && !self.is_junk("userpassword")
    }
}

impl Directory {
    pub fn new(kind: ServerKind, refint: bool, number: u64) -> Directory {
        Directory {
            kind,
            refint,
            number,
            entries: BTreeMap::new(),
            used: BTreeSet::new(),
            ous: [0, 1, 2, 3],
            time: 1,
            log: Vec::new(),
            log_from: 0,
            meanwhile: Vec::new(),
            unseen: false,
            taken_over: Vec::new(),
            hidden: BTreeSet::new(),
            dark: false,
        }
    }

    pub fn name(&self, label: Label) -> String {
        format!("n{}-{label}", self.number)
    }

    pub fn mail(&self, label: Label) -> String {
        format!("m{label}@d{}.example", self.number)
    }

    pub fn gid(&self, label: Label) -> u64 {
        100_000 + self.number * 2_000 + u64::from(label)
    }

    pub fn dn(&self, entry: &Entry) -> String {
        self.dn_at(entry.rdn, entry.ou)
    }

    fn dn_at(&self, rdn: Label, ou: usize) -> String {
        let suffix = if ou == OUTSIDE { "dc=elsewhere" } else { BASE };
        format!("cn=e{}-{rdn},ou=o{},{suffix}", self.number, self.ous[ou])
    }

    pub fn uuid(&self, label: Label) -> Uuid {
        let spread = u128::from(u32::from(label).wrapping_mul(2_654_435_761));
        Uuid::from_u128(
            0x0c0c_0000_0000_4000_8000_0000_0000_0000
                + (u128::from(self.number) << 80)
                + (spread << 8),
        )
    }

    /// The user attributes, in lower case.
    pub fn attributes(&self, entry: &Entry) -> Vec<(&'static str, Vec<String>)> {
        let broken = |what| entry.broken.contains(&what);
        let one = |text: &str| vec![text.to_owned()];
        let name = match () {
            () if broken(Broken::Name) => format!("1{}", self.name(entry.name)),
            () if broken(Broken::Taken) => "idm_admin".to_owned(),
            () => self.name(entry.name),
        };
        let gid = entry.gid.map(|label| {
            if broken(Broken::Gid) { "7".to_owned() } else { self.gid(label).to_string() }
        });
        let names = |name| {
            [name]
                .into_iter()
                .chain(entry.alias.map(|alias| format!("{}-alias", self.name(alias))))
                .collect()
        };
        let mut attributes = vec![("l", vec![format!("place{}", entry.place)])];
        if entry.left {
            attributes.push(("employeetype", one("out")));
        }
        if entry.group {
            attributes.extend([
                ("objectclass", vec!["top".to_owned(), "groupOfNames".to_owned()]),
                ("cn", names(name)),
            ]);
            attributes.push(("description", vec![format!("The text {}", entry.display)]));
            attributes.push(("member", entry.members.clone()));
            attributes.extend(gid.map(|gid| ("gidnumber", vec![gid])));
        } else {
            attributes.extend([
                ("objectclass", vec!["top".to_owned(), "person".to_owned()]),
                ("uid", names(name)),
            ]);
            if !broken(Broken::Display) {
                attributes.push(("cn", vec![format!("Some One {}", entry.display)]));
            }
            let mark = if entry.marked { "!" } else { "" };
            let hash = if broken(Broken::Password) { "{BAD}x" } else { PASSWORD };
            attributes.push(("userpassword", vec![format!("{mark}{hash}")]));
            attributes.push((
                "mail",
                vec![if broken(Broken::Mail) {
                    "nobody".to_owned()
                } else {
                    self.mail(entry.mail)
                }],
            ));
            attributes.extend(gid.map(|gid| ("uidnumber", vec![gid])));
            attributes.push(("loginshell", one("/bin/sh")));
        }
        if let Some((name, values)) = entry.junk.filter(|_| !entry.group).map(|kind| JUNK[kind]) {
            attributes.retain(|(other, _)| *other != name);
            attributes.push((name, values()));
        }
        attributes.retain(|(_, values)| !values.is_empty());
        attributes
    }

    /// The operational ones.
    pub fn operational(&self, entry: &Entry) -> Vec<(&'static str, Vec<String>)> {
        let lock = match self.kind {
            ServerKind::Slapd(_) => ("pwdaccountlockedtime", "000001010000Z"),
            ServerKind::Ds389 => ("nsaccountlock", "TRUE"),
        };
        let lock = entry.locked.then(|| (lock.0, vec![lock.1.to_owned()]));
        let hex = entry.uuid.simple().to_string();
        let uuid = match self.kind {
            ServerKind::Slapd(_) => ("entryuuid", entry.uuid.to_string()),
            ServerKind::Ds389 => {
                ("nsuniqueid", [&hex[..8], &hex[8..16], &hex[16..24], &hex[24..]].join("-"))
            }
        };
        lock.into_iter().chain([(uuid.0, vec![uuid.1])]).collect()
    }

    /// The entry with that DN, however it is spelled.
    pub fn find(&self, dn: &str) -> Option<&Entry> {
        self.entries.values().find(|entry| same_dn(&self.dn(entry), dn))
    }

    fn touch(&mut self, label: Label, edit: impl FnOnce(&mut Entry)) {
        let time = self.time + 1;
        let Some(entry) = self.entries.get_mut(&label) else { return };
        edit(entry);
        entry.changed = time;
        let uuid = entry.uuid;
        self.note(uuid);
    }

    fn note(&mut self, uuid: Uuid) {
        self.time += 1;
        self.log.push(Logged { time: self.time, uuid });
        if let ServerKind::Slapd(size) = self.kind
            && self.log.len() > size.unwrap_or(0)
        {
            self.log_from = self.log.remove(0).time;
        }
    }

    fn add(&mut self, label: Label, group: bool) -> bool {
        let entry = Entry {
            uuid: self.uuid(label),
            group,
            rdn: label,
            ou: usize::from(group),
            name: label,
            mail: label,
            gid: (!group).then_some(label),
            display: 0,
            members: Vec::new(),
            place: label % 3,
            left: false,
            locked: false,
            marked: false,
            alias: None,
            broken: BTreeSet::new(),
            junk: None,
            changed: 0,
        };
        self.insert(label, entry)
    }

    fn insert(&mut self, label: Label, entry: Entry) -> bool {
        // A UUID never comes back for another entry.
        if self.used.contains(&label) || self.find(&self.dn(&entry)).is_some() {
            return false;
        }
        self.used.insert(label);
        self.entries.insert(label, entry);
        self.touch(label, |_| {});
        true
    }

    /// Applies a change, if the directory allows it.
    pub fn change(&mut self, change: &Change) {
        match change.clone() {
            Change::Person(label) => {
                self.add(label, false);
            }
            Change::Group(label) => {
                self.add(label, true);
            }
            Change::PrivateGroup(label, person) => {
                let Some(owner) = self.entries.get(&person).filter(|e| !e.group) else { return };
                let (name, gid, dn) = (owner.name, owner.gid, self.dn(owner));
                if self.add(label, true) {
                    self.touch(label, |e| {
                        (e.name, e.gid) = (name, gid);
                        e.members = vec![dn];
                    });
                }
            }
            Change::Delete(label) => {
                self.delete(label);
            }
            Change::Recreate(label, new) => {
                if !self.used.contains(&new)
                    && let Some(old) = self.delete(label)
                {
                    self.insert(new, Entry { uuid: self.uuid(new), ..old });
                }
            }
            Change::Display(label) => {
                let time = self.time;
                self.touch(label, |e| e.display = time);
            }
            Change::Mail(label, of) => self.touch(label, |e| e.mail = of),
            Change::Gid(label, of) => self.touch(label, |e| e.gid = e.gid.map(|_| of)),
            Change::Name(label, of) => self.touch(label, |e| e.name = of),
            Change::Rename(label, of) => self.place(label, |e| e.rdn = of),
            Change::Move(label, ou) => self.place(label, |e| e.ou = ou),
            Change::Rotate(what, labels) => self.rotate(what, labels),
            Change::RenameOu(ou, name) => self.rename_ou(ou, name),
            Change::Members(label, members) => {
                let members = members
                    .iter()
                    .filter_map(|m| self.entries.get(m))
                    .map(|m| self.dn(m))
                    .collect();
                self.set_members(label, members);
            }
            Change::OddMember(label, member) => {
                if let Some(member) = self.entries.get(&member) {
                    let odd = self.dn(member).replacen("cn=", "CN = ", 1).replace(',', " , ");
                    self.set_members(label, vec![odd]);
                }
            }
            Change::MemberDn(label, of) => {
                let dn = self.dn_at(of, usize::from(of % 2 == 1));
                let mut members =
                    self.entries.get(&label).map(|e| e.members.clone()).unwrap_or_default();
                if !members.contains(&dn) {
                    members.push(dn);
                    self.set_members(label, members);
                }
            }
            Change::Leave(label) => {
                self.unseen |= self.kind == ServerKind::Ds389;
                self.touch(label, |e| e.left = true);
            }
            Change::Enter(label) => self.touch(label, |e| e.left = false),
            Change::Lock(label, locked) => self.touch(label, |e| e.locked = locked && !e.group),
            Change::Mark(label, marked) => self.touch(label, |e| e.marked = marked && !e.group),
            Change::Alias(label, alias) => self.touch(label, |e| e.alias = Some(alias)),
            Change::GroupGid(label, of) => self.touch(label, |e| {
                if e.group {
                    e.gid = Some(of);
                }
            }),
            Change::Hide(attribute, hide) => {
                let attribute = HIDEABLE[attribute];
                self.dark |= if hide {
                    self.hidden.insert(attribute)
                } else {
                    self.hidden.remove(attribute)
                };
            }
            Change::Break(label, what) => self.touch(label, |e| {
                e.broken.insert(what);
            }),
            Change::Insider(label, kind) => {
                self.touch(label, |e| e.junk = Some(kind).filter(|_| !e.group))
            }
            Change::Mend(label) => self.touch(label, |e| {
                e.broken.clear();
                e.junk = None;
            }),
            Change::Restart => {
                self.log.clear();
                self.log_from = self.time;
            }
        }
    }

    fn set_members(&mut self, label: Label, mut members: Vec<String>) {
        members.sort();
        members.dedup();
        self.touch(label, |e| {
            if e.group {
                e.members = members;
            }
        });
    }

    fn delete(&mut self, label: Label) -> Option<Entry> {
        let entry = self.entries.remove(&label)?;
        let dn = self.dn(&entry);
        self.note(entry.uuid);
        // Groups name it, and Kanidm may still know it as the DN of the entry that had it before.
        self.unseen |= !self.refint
            && self.taken_over.iter().any(|other| same_dn(other, &dn))
            && self.entries.values().any(|e| e.members.iter().any(|member| same_dn(member, &dn)));
        if self.refint {
            self.entries
                .values_mut()
                .for_each(|group| group.members.retain(|member| !same_dn(member, &dn)));
        }
        Some(entry)
    }

    /// Gives an entry another DN, if that is free.
    fn place(&mut self, label: Label, edit: impl FnOnce(&mut Entry)) {
        let Some(mut entry) = self.entries.get(&label).cloned() else { return };
        let old = self.dn(&entry);
        edit(&mut entry);
        let new = self.dn(&entry);
        if same_dn(&old, &new) || self.find(&new).is_some() {
            return;
        }
        self.entries.insert(label, entry);
        self.touch(label, |_| {});
        self.follow(&[(old, new)], true);
    }

    /// What groups make of members with other DNs. `unseen`: where they make nothing of it, no
    /// increment shows what that leads to, because nobody in scope has the old DN and is sent:
    /// Kanidm goes on knowing the member until the group is sent.
    fn follow(&mut self, renamed: &[(String, String)], unseen: bool) {
        for group in self.entries.values_mut() {
            for member in &mut group.members {
                let Some((_, new)) = renamed.iter().find(|(old, _)| same_dn(old, member)) else {
                    continue;
                };
                if self.refint {
                    member.clone_from(new);
                } else {
                    self.unseen |= unseen;
                }
            }
        }
    }

    fn rename_ou(&mut self, ou: usize, name: Label) {
        if self.ous.contains(&name) {
            return;
        }
        let dns = |d: &Directory| {
            d.entries.values().filter(|e| e.ou == ou).map(|e| d.dn(e)).collect::<Vec<_>>()
        };
        let old = dns(self);
        self.ous[ou] = name;
        let new = dns(self);
        self.time += 1;
        if old.is_empty() {
            return;
        }
        self.unseen = true;
        self.follow(&old.into_iter().zip(new).collect::<Vec<_>>(), true);
    }

    fn rotate(&mut self, what: Value, mut labels: Vec<Label>) {
        let numbers = matches!(what, Value::Mail | Value::Gid);
        let mut seen = BTreeSet::new();
        labels.retain(|l| {
            self.entries.get(l).is_some_and(|e| !(numbers && e.group)) && seen.insert(*l)
        });
        let old: Vec<Entry> = labels.iter().map(|l| self.entries[l].clone()).collect();
        let mut renamed = Vec::new();
        for (i, label) in labels.iter().enumerate() {
            let from = &old[(i + 1) % old.len()];
            self.touch(*label, |e| match what {
                Value::Name => e.name = from.name,
                Value::Dn => (e.rdn, e.ou) = (from.rdn, from.ou),
                Value::Mail => e.mail = from.mail,
                Value::Gid => e.gid = from.gid,
                Value::NameAndDn => (e.name, e.rdn, e.ou) = (from.name, from.rdn, from.ou),
            });
            renamed.push((self.dn(&old[i]), self.dn(from)));
        }
        if matches!(what, Value::Dn | Value::NameAndDn) && labels.len() > 1 {
            self.taken_over.extend(renamed.iter().map(|(_, new)| new.clone()));
            let all_sent = old.iter().all(|e| !e.left && e.ou != OUTSIDE && e.broken.is_empty());
            self.follow(&renamed, !all_sent);
        }
    }
}

/// DNs here have no escapes.
pub fn same_dn(one: &str, other: &str) -> bool {
    normal(one) == normal(other)
}

/// Of two DNs that are the same, the same.
pub fn normal(dn: &str) -> String {
    dn.chars().filter(|c| *c != ' ').collect::<String>().to_lowercase()
}
