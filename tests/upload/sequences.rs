//! Random directories, random changes, random trouble: whatever happened on the way, one clean run
//! makes Kanidm's content that of the directory, nothing that lives in the directory is ever
//! deleted, and nobody loses a name to a temporary one.
//!
//! `UPLOAD_SEEDS=first..end` runs other seeds than the default ones, `UPLOAD_ENGINE_SEEDS` does so
//! for the real engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kanidm_ldap_sync::content::changeset::{ChangeSet, Member};
use kanidm_ldap_sync::content::scim::{ScimGroup, ScimPerson};
use kanidm_ldap_sync::kanidm::known::Known;
use kanidm_ldap_sync::kanidm::request::Retention;
use kanidm_ldap_sync::kanidm::sketch::Sketch;
use kanidm_ldap_sync::kanidm::state::Yielded;
use kanidm_ldap_sync::kanidm::state::{Envelope, Opened, SyncState, open};
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use kanidm_ldap_sync::upload::{HeldByKanidm, Limits, Upload, UploadReport, upload};
use uuid::Uuid;

use crate::support::model::Model;
use crate::support::random::Random;
use crate::support::trouble::{TestClock, Trouble, Troubled};
use crate::world::{Seen, World};

/// An entry of the directory.
#[derive(Clone, Debug)]
struct Entry {
    person: bool,
    dn: String,
    name: String,
    mail: String,
    gid: u32,
    members: BTreeSet<Uuid>,
    /// Its password hash is one that Kanidm does not accept.
    bad: bool,
    /// When it changed last.
    changed: u64,
}

#[derive(Default)]
struct Directory {
    entries: BTreeMap<Uuid, Entry>,
    /// When each entry that is gone went.
    gone: BTreeMap<Uuid, (u64, Entry)>,
    time: u64,
    made: u32,
}

impl Directory {
    fn all(&self, person: bool) -> Vec<Uuid> {
        self.entries.iter().filter(|(_, e)| e.person == person).map(|(u, _)| *u).collect()
    }

    fn touch(&mut self, uuid: Uuid) -> Option<&mut Entry> {
        self.time += 1;
        let time = self.time;
        let entry = self.entries.get_mut(&uuid)?;
        entry.changed = time;
        Some(entry)
    }

    fn add(&mut self, person: bool) -> Uuid {
        self.made += 1;
        self.time += 1;
        let (n, kind) = (self.made, if person { "user" } else { "group" });
        let uuid = Uuid::from_u128(
            0x0e0e_0000_0000_4000_8000_0000_0000_0000
                + (u128::from(n.wrapping_mul(2_654_435_761)) << 16),
        );
        let entry = Entry {
            person,
            dn: format!("cn={kind}{n},dc=x"),
            name: format!("{kind}{n}"),
            mail: format!("{kind}{n}@x"),
            gid: 1_900_000_000 + n,
            members: BTreeSet::new(),
            bad: false,
            changed: self.time,
        };
        self.entries.insert(uuid, entry);
        uuid
    }

    fn remove(&mut self, uuid: Uuid) -> Option<Entry> {
        self.time += 1;
        let time = self.time;
        let entry = self.entries.remove(&uuid)?;
        for group in self.entries.values_mut() {
            if group.members.remove(&uuid) {
                group.changed = time;
            }
        }
        self.gone.insert(uuid, (time, entry.clone()));
        Some(entry)
    }

    /// Every entry of `who` gets the value of the next one, the last one that of the first.
    fn rotate(&mut self, who: &[Uuid], what: usize) {
        let old: Vec<Entry> = who.iter().filter_map(|u| self.entries.get(u).cloned()).collect();
        for (i, uuid) in who.iter().enumerate() {
            let from = &old[(i + 1) % old.len()];
            if let Some(entry) = self.touch(*uuid) {
                if what == 0 || what == 4 {
                    entry.name.clone_from(&from.name);
                }
                if what == 1 || what == 4 {
                    entry.dn.clone_from(&from.dn);
                }
                if what == 2 {
                    entry.mail.clone_from(&from.mail);
                }
                if what == 3 {
                    entry.gid = from.gid;
                }
            }
        }
    }

    fn change(&mut self, r: &mut Random) {
        let (persons, groups) = (self.all(true), self.all(false));
        let any: Vec<Uuid> = self.entries.keys().copied().collect();
        let Some(one) = r.pick(&any) else {
            self.add(true);
            return;
        };
        match r.below(15) {
            0 | 1 => {
                let person = !r.one_in(3);
                self.add(person);
            }
            2 => {
                self.remove(one);
            }
            // Deleted and made again: another UUID at the same DN, under the same name.
            3 => {
                if let Some(old) = self.remove(one) {
                    let new = self.add(old.person);
                    let changed = self.time;
                    self.entries.insert(new, Entry { changed, members: BTreeSet::new(), ..old });
                }
            }
            // Out of scope and back again, with the same UUID.
            4 => {
                let back: Vec<Uuid> = self.gone.keys().copied().collect();
                if let Some(uuid) = r.pick(&back) {
                    let (_, entry) = self.gone.remove(&uuid).expect("picked");
                    self.time += 1;
                    let unused = |d: &Directory, e: &Entry| {
                        d.entries
                            .values()
                            .all(|o| o.dn != e.dn && o.name != e.name && o.gid != e.gid)
                    };
                    if unused(self, &entry) {
                        self.entries.insert(
                            uuid,
                            Entry { changed: self.time, members: BTreeSet::new(), ..entry },
                        );
                    } else {
                        self.gone.insert(uuid, (self.time, entry));
                    }
                }
            }
            5..=7 => {
                let from = if r.one_in(4) { &any } else { &persons };
                let most = if r.one_in(3) { 24 } else { 4 };
                let mut who: Vec<Uuid> = (0..most).filter_map(|_| r.pick(from)).collect();
                who.sort();
                who.dedup();
                let what = r.below(5);
                let numbers = what == 2 || what == 3;
                if who.len() > 1 && !(numbers && who.iter().any(|u| !self.entries[u].person)) {
                    self.rotate(&who, what);
                }
            }
            8 => {
                self.made += 1;
                let n = self.made;
                let (name, dn) = (r.one_in(2), r.one_in(2));
                if let Some(entry) = self.touch(one) {
                    if name {
                        entry.name = format!("renamed{n}");
                    }
                    if dn {
                        entry.dn = format!("cn=moved{n},dc=x");
                    }
                }
            }
            // An address that someone else has.
            9 => {
                if let (Some(from), Some(to)) = (r.pick(&persons), r.pick(&persons)) {
                    let mail = self.entries[&from].mail.clone();
                    if let Some(entry) = self.touch(to) {
                        entry.mail = mail;
                    }
                }
            }
            10 => {
                let bad = r.one_in(2);
                if let Some(entry) = r.pick(&persons).and_then(|p| self.touch(p)) {
                    entry.bad = bad;
                }
            }
            // A name that Kanidm has already.
            11 => {
                if let Some(entry) = self.touch(one) {
                    entry.name = "admin".to_owned();
                }
                self.make_names_unique();
            }
            _ => {
                let members: BTreeSet<Uuid> = (0..r.below(6))
                    .filter_map(|_| any.get((r.next() % 64) as usize).copied())
                    .collect();
                if let Some(entry) = r.pick(&groups).and_then(|g| self.touch(g)) {
                    entry.members = members;
                }
            }
        }
    }

    fn make_names_unique(&mut self) {
        let named: Vec<Uuid> =
            self.entries.iter().filter(|(_, e)| e.name == "admin").map(|(u, _)| *u).collect();
        for uuid in named.iter().skip(1) {
            self.made += 1;
            let n = self.made;
            if let Some(entry) = self.touch(*uuid) {
                entry.name = format!("second{n}");
            }
        }
    }

    /// Nothing that Kanidm could refuse is left.
    fn mend(&mut self) {
        let mut mails = BTreeSet::new();
        for uuid in self.entries.keys().copied().collect::<Vec<_>>() {
            let entry = &self.entries[&uuid];
            let taken = !mails.insert(entry.mail.clone());
            let renamed = entry.name == "admin";
            if taken || renamed || entry.bad {
                self.made += 1;
                let n = self.made;
                if let Some(entry) = self.touch(uuid) {
                    entry.bad = false;
                    if taken {
                        entry.mail = format!("mended{n}@x");
                    }
                    if renamed {
                        entry.name = format!("mended{n}");
                    }
                }
            }
        }
    }
}

fn push(set: &mut ChangeSet, directory: &Directory, uuid: Uuid) {
    let e = &directory.entries[&uuid];
    if e.person {
        let entry = ScimPerson {
            id: uuid,
            name: &e.name,
            displayname: "Some One",
            legalname: None,
            gidnumber: Some(e.gid),
            loginshell: None,
            password_import: Some(if e.bad {
                "{BAD}"
            } else {
                "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0"
            }),
            unix_password_import: None,
            mail: [e.mail.as_str()].into_iter(),
            ssh_publickey: std::iter::empty(),
            account_valid_from: None,
            account_expire: None,
            totp_room: 0,
        };
        set.push_person(&e.dn, entry).unwrap();
    } else {
        let members =
            e.members.iter().filter_map(|m| directory.entries.get(m)).map(|m| Member::Dn(&m.dn));
        let entry = ScimGroup { id: uuid, name: &e.name, description: None, gidnumber: None };
        set.push_group(&e.dn, &entry, members).unwrap();
    }
}

/// One run as [`kanidm_ldap_sync`] makes it, without a directory server and without the guard.
fn run(
    directory: &Directory,
    server: &mut dyn SyncServer,
    limits: Limits,
    force_full: bool,
    run: u64,
) -> Result<UploadReport, String> {
    let state = server.state().unwrap();
    let base = match &state {
        SyncState::Refresh => Envelope::default(),
        SyncState::Active { cookie } => match open(cookie).unwrap() {
            Opened::Ours(envelope) => *envelope,
            Opened::Foreign(_) => panic!("not an envelope"),
        },
    };
    let since: Option<u64> =
        base.cookie.as_ref().map(|c| String::from_utf8(c.clone()).unwrap().parse().unwrap());
    let full = force_full || since.is_none() || base.unfinished.is_some_and(|u| u.full);
    let since = if full { 0 } else { since.unwrap_or(0) };
    let mut changed: BTreeSet<Uuid> = directory
        .entries
        .iter()
        .filter(|(_, e)| full || e.changed > since)
        .map(|(u, _)| *u)
        .collect();
    changed.extend(base.held.iter().filter(|u| directory.entries.contains_key(*u)));
    let groups: Vec<Uuid> = directory
        .entries
        .iter()
        .filter(|(_, e)| e.members.iter().any(|m| changed.contains(m)))
        .map(|(u, _)| *u)
        .collect();
    changed.extend(groups);
    let mut set = ChangeSet::default();
    changed.iter().for_each(|u| push(&mut set, directory, *u));
    let retention = if full {
        Retention::Retain(directory.entries.keys().copied().collect())
    } else {
        Retention::Delete(
            directory.gone.iter().filter(|(_, (when, _))| *when > since).map(|(u, _)| *u).collect(),
        )
    };
    let known = if full {
        Some(Sketch::of(directory.entries.keys().copied()))
    } else {
        base.known
            .as_ref()
            .map(|k| k.persons.updated(directory.gone.keys().copied(), changed.iter().copied()))
    };
    // The upload stores it and looks at nothing of it.
    let known = known.map(|persons| Known { persons, ..Known::default() });
    let finish = |held: &[HeldByKanidm]| Envelope {
        cookie: Some(directory.time.to_string().into_bytes()),
        fingerprint: "f".to_owned(),
        known: known.clone(),
        held: held.iter().map(|h| h.uuid).collect(),
        ..Envelope::default()
    };
    let yielded = if full { Yielded::new() } else { base.yielded.clone() };
    let run = Uuid::from_u128(0x5ca1_ab1e_0000_4000_8000_0000_0000_0000 + (u128::from(run) << 4));
    let input = Upload {
        state,
        base,
        full,
        run,
        retention,
        changes: &set,
        stubs: &[],
        ended: &[],
        tried_before: &std::collections::HashSet::new(),
        yielded,
        claimed: &[],
        everyone: &|| Some(directory.entries.keys().copied().collect()),
        finish: &finish,
        limits,
    };
    upload(server, &TestClock::default(), &input, &mut |_| {}).map_err(|e| e.to_string())
}

/// After any run, finished or not.
fn check_always(
    directory: &Directory,
    world: &mut impl World,
    recycled_before: &BTreeSet<Uuid>,
    context: &str,
) {
    for uuid in world.recycled().difference(recycled_before) {
        assert!(
            !directory.entries.contains_key(uuid),
            "{context}: {uuid} lives in the directory and was deleted"
        );
    }
}

/// After a finished run: held entries keep what they had, all others are exact.
fn check_finished(
    directory: &Directory,
    world: &mut impl World,
    report: &UploadReport,
    mails: bool,
    context: &str,
) {
    let held: BTreeMap<Uuid, &str> =
        report.held.iter().map(|h| (h.uuid, h.reason.as_str())).collect();
    let content = world.content();
    for (uuid, entry) in &content {
        assert!(directory.entries.contains_key(uuid), "{context}: {uuid} is left over");
        let temporary = entry.name.as_ref().is_some_and(|n| n.starts_with("tmp-"));
        assert!(!temporary, "{context}: {uuid} has a temporary name; held: {held:#?}");
    }
    for (uuid, wanted) in directory.entries.iter().filter(|(uuid, _)| !held.contains_key(uuid)) {
        let Some(entry) = content.get(uuid) else {
            panic!("{context}: {uuid} {wanted:?} is missing; held: {held:#?}")
        };
        let expected = Seen {
            name: Some(wanted.name.clone()),
            external_id: Some(wanted.dn.clone()),
            mail: if mails {
                wanted.person.then(|| wanted.mail.clone())
            } else {
                entry.mail.clone()
            },
            gid: wanted.person.then_some(u64::from(wanted.gid)),
            members: if held.is_empty() { wanted.members.clone() } else { entry.members.clone() },
        };
        assert_eq!(entry, &expected, "{context}: {uuid}; held: {held:#?}");
        // A held entry may be missing as a member, but nobody takes its place.
        assert!(
            entry.members.is_subset(&wanted.members),
            "{context}: {uuid} has a member that it should not have; held: {held:#?}"
        );
    }
    assert!(!held.is_empty() || content.len() == directory.entries.len(), "{context}");
}

/// Changes and runs, and a clean run at the end.
pub fn sequence(seed: u64, world: impl World) {
    let mut r = Random::seeded(seed);
    // Names, numbers and UUIDs of their own, should sequences share a Kanidm.
    let mut directory = Directory {
        made: u32::try_from(seed % 1_000_000).unwrap() * 1_000,
        ..Directory::default()
    };
    let mut server = Troubled::new(world);
    for _ in 0..5 + r.below(40) {
        directory.change(&mut r);
    }
    let runs = 1 + r.below(6);
    // From then on mails are not ours, until a full refresh after they were given back.
    let mut yielded = false;
    for n in 0..runs {
        let context = format!("seed {seed}, run {n} of {runs}");
        let limits = Limits {
            max_entries: if r.one_in(2) { 1 + r.below(8) } else { 1000 },
            max_bytes: if r.one_in(3) { 300 + r.below(3000) } else { 1 << 20 },
            timeout: Duration::from_secs(300),
            max_refused: 2_000,
        };
        for _ in 0..r.below(4) {
            let at = server.count + r.below(12) as u64;
            let what = r.pick(&Trouble::ALL).expect("there is some");
            server.trouble.insert(at, what);
        }
        server.max_entries = r.one_in(5).then(|| 60 + r.below(20));
        if r.one_in(12) {
            server.server.forget_state();
        }
        if r.one_in(10) {
            server.server.yield_mail(true);
            yielded = true;
        }
        let full = r.one_in(6);
        let before = server.server.recycled();
        let result = run(&directory, &mut server, limits, full, seed << 8 | n as u64);
        check_always(&directory, &mut server.server, &before, &context);
        if let Ok(report) = result {
            check_finished(&directory, &mut server.server, &report, !yielded, &context);
        }
        server.trouble.clear();
        for _ in 0..r.below(12) {
            directory.change(&mut r);
        }
    }
    directory.mend();
    let before = server.server.recycled();
    for uuid in &before {
        directory.remove(*uuid);
    }
    server.max_entries = None;
    server.server.yield_mail(false);
    let limits = Limits {
        max_entries: 1 + r.below(50),
        max_bytes: 1 << 20,
        timeout: Duration::from_secs(300),
        max_refused: 2_000,
    };
    let context = format!("seed {seed}, last run");
    let report = run(&directory, &mut server, limits, yielded, seed << 8 | 255)
        .unwrap_or_else(|e| panic!("{context}: {e}"));
    check_always(&directory, &mut server.server, &before, &context);
    assert!(report.held.is_empty(), "{context}: {:#?}", report.held);
    check_finished(&directory, &mut server.server, &report, true, &context);
}

/// The environment variable `variable` (`first..end`) in the place of the default.
pub fn seeds(variable: &str, default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var(variable) else { return default };
    let (from, to) = text.split_once("..").expect("first..end");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn every_sequence_converges() {
    // 8720: a group that was written before its member, in a set that had swapped DNs.
    for seed in seeds("UPLOAD_SEEDS", 0..400).chain([8720]) {
        let mut model = Model { names_conflicts: seed % 2 == 0, ..Model::default() };
        model.foreign_names.insert("admin".to_owned());
        sequence(seed, model);
    }
}
