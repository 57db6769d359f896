//! The entries that a run changed in Kanidm, each with words for what is known about the change.
//!
//! Scope: a pure function from the facts of a run to a bounded list, and the line of each entry. A
//! change has names and words, and never the value of an attribute.

use std::collections::{HashMap, HashSet};
use std::fmt;

use log::info;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::deleted::Going;
use super::envelope::yielded;
use super::guard::Deletions;
use super::read::Reading;
use super::start::Start;
use crate::config::sync::MappingConfig;
use crate::content::body::EXPIRE;
use crate::content::changeset::{Kind, Record};
use crate::content::shown::Mask;
use crate::mapping::{Held, SkipReason};
use crate::upload::UploadReport;

/// Maximum changes in the JSON report.
pub const MAX_JSON: usize = 1_000;

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Kanidm deleted it.
    Deleted,
    /// Kanidm took what the run sent. The content may be the same as before.
    Changed,
    /// The run did not send it.
    Held,
}

/// One entry that a run wrote, deleted or held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happened.
    pub action: Action,
    /// Person or group; `None` if the run knows only the UUID.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "kind_word")]
    pub kind: Option<Kind>,
    /// The name in Kanidm, if the run sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The DN in the directory, if the directory showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    /// The UUID in Kanidm.
    pub uuid: Uuid,
    /// What is known about the change. May be empty.
    pub words: Vec<&'static str>,
}

/// Words of a [`Change`]. Scripts compare them, so they stay as they are.
pub mod words {
    /// No earlier run has brought the entry to Kanidm.
    pub const NEW: &str = "new";
    /// The DN or a user name is another one.
    pub const RENAMED: &str = "renamed or moved";
    /// The account is closed, and no earlier run is known to have written that.
    pub const LOCKED: &str = "locked";
    /// The account is closed, and an earlier run wrote that.
    pub const STILL_LOCKED: &str = "still locked";
    /// An earlier run wrote the account as closed, and this run did not.
    pub const UNLOCKED: &str = "unlocked";
    /// An earlier run held the entry, or sent it without a value that waited for another entry.
    pub const LET_GO: &str = "let go";
    /// The run left out a value that another entry has, or a bad TOTP token.
    pub const WITHOUT_VALUE: &str = "without a value that waits for another entry";
    /// No earlier run held the entry.
    pub const NEWLY_HELD: &str = "newly held";
    /// Kanidm took the end date of the held person, and nothing else.
    pub const LIMITED: &str = "limits in time sent";
    /// The entry has not changed. It names an entry that is new or renamed.
    pub const FOR_MEMBERS: &str = "sent again for its members";
    /// The person has not changed. One of its TOTP tokens has.
    pub const FOR_TOKEN: &str = "sent again for its TOTP token";
    /// A full refresh sends each entry, changed or not.
    pub const IN_FULL: &str = "sent by the full refresh";
    /// The directory still has the entry. Only a dry run looks.
    pub const LEFT: &str = "no longer in scope";
    /// No earlier run left a list of the entries in Kanidm.
    pub const PERHAPS: &str = "if Kanidm had it";
}

/// The changes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Deletions, persons, groups, in this order.
    pub listed: Vec<Change>,
    /// Number of further changes.
    pub left_out: u64,
    /// The deletions among `left_out` that have no known UUID.
    pub nameless: Deletions,
}

/// The facts of a run.
pub(super) struct Facts<'a> {
    pub(super) start: &'a Start,
    pub(super) reading: &'a Reading,
    pub(super) mapping: &'a MappingConfig,
    /// The deletions of the plan.
    pub(super) going: &'a Going,
    /// `None` in a dry run.
    pub(super) uploaded: Option<&'a UploadReport>,
}

/// The changes of a run that did not fail, or those that a dry run would make. At most `most` are
/// listed.
pub(super) fn changes(facts: &Facts<'_>, most: usize) -> Changes {
    let nothing_was_sent = facts.uploaded.is_some_and(|uploaded| uploaded.posts == 0);
    if most == 0 || nothing_was_sent {
        return Changes::default();
    }
    let known = Earlier::new(facts);
    let mut list = List { changes: Changes::default(), most };
    known.deletions(&mut list);
    for kind in [Kind::Person, Kind::Group] {
        known.written(kind, &mut list);
        known.held(kind, &mut list);
    }
    list.changes
}

/// The deletions of a run that failed after Kanidm had made them.
pub(super) fn deletions(facts: &Facts<'_>, most: usize) -> Changes {
    let mut list = List { changes: Changes::default(), most };
    Earlier::new(facts).deletions(&mut list);
    list.changes
}

/// A list with a maximum.
struct List {
    changes: Changes,
    most: usize,
}

impl List {
    fn room(&self) -> usize {
        self.most.saturating_sub(self.changes.listed.len())
    }

    /// Adds as many of `all` as fit. `count`: how many they are.
    fn add(&mut self, count: usize, all: impl Iterator<Item = Change>) {
        let room = self.room();
        self.changes.listed.extend(all.take(room));
        self.changes.left_out =
            self.changes.left_out.saturating_add(count.saturating_sub(room) as u64);
    }
}

/// The facts, and the sets that every entry is compared with. All UUIDs are those of Kanidm.
struct Earlier<'a> {
    facts: &'a Facts<'a>,
    /// Entries that an earlier run held, or sent without a value that waited for another entry.
    held: HashSet<Uuid>,
    /// Those of `held` that earlier runs sent.
    sent: HashSet<Uuid>,
    /// Those of `held` that have not changed since.
    unchanged: HashSet<Uuid>,
    /// Entries that this run sent without a value that waits for another entry.
    without_value: HashSet<Uuid>,
    /// True if the run may say something about locks. Kanidm ignores what the run sends if an
    /// administrator took `account_expire` over.
    tells_locks: bool,
}

impl<'a> Earlier<'a> {
    fn new(facts: &'a Facts<'a>) -> Self {
        let Facts { start, reading, mapping, uploaded, .. } = facts;
        let in_kanidm =
            |uuids: &[Uuid]| uuids.iter().map(|uuid| mapping.kanidm_uuid(*uuid)).collect();
        let contested = reading.content.contested.iter().map(|entry| entry.uuid);
        let partial = uploaded.iter().flat_map(|uploaded| &uploaded.held);
        let partial = partial.filter(|held| held.is_partial).map(|held| held.uuid);
        let is_yielded = match uploaded {
            Some(uploaded) => uploaded.yielded.contains(EXPIRE),
            None => yielded(start, reading).contains(EXPIRE),
        };
        Earlier {
            facts,
            held: in_kanidm(&start.held),
            sent: in_kanidm(&start.dropped),
            unchanged: in_kanidm(&reading.read_again),
            without_value: contested.chain(partial).collect(),
            tells_locks: !is_yielded,
        }
    }

    fn deletions(&self, list: &mut List) {
        let going = self.facts.going;
        let refused = self.facts.uploaded.iter().flat_map(|uploaded| &uploaded.held);
        let refused: HashSet<Uuid> = refused.map(|held| held.uuid).collect();
        let deleted = || going.entries.iter().filter(|entry| !refused.contains(&entry.uuid));
        let skipped = &self.facts.reading.content.skipped;
        let skipped: HashMap<Uuid, (&str, SkipReason)> =
            skipped.iter().map(|entry| (entry.uuid, (entry.dn.as_str(), entry.reason))).collect();
        list.add(
            deleted().count(),
            deleted().map(|entry| {
                let (uuid, kind) = (entry.uuid, entry.kind);
                let still_there = going.names.get(&uuid).map(|dn| (dn.as_str(), words::LEFT));
                let reason = skipped.get(&uuid).map(|(dn, reason)| (*dn, reason.text()));
                let (dn, why) = reason.or(still_there).unzip();
                let perhaps = (!going.is_known).then_some(words::PERHAPS);
                let words = why.into_iter().chain(perhaps).collect();
                let dn = dn.map(str::to_owned);
                Change { action: Action::Deleted, kind, name: None, dn, uuid, words }
            }),
        );
        list.changes.nameless = going.nameless;
        list.changes.left_out = list.changes.left_out.saturating_add(going.nameless.at_least());
    }

    /// The entries that Kanidm took, in the order of the change set.
    fn written(&self, kind: Kind, list: &mut List) {
        let records = self.facts.reading.content.changes.records();
        let is_of_kind = |at: &usize| records.get(*at).is_some_and(|record| record.kind == kind);
        let room = list.room();
        let (count, mut first): (usize, Vec<usize>) = match self.facts.uploaded {
            Some(uploaded) => {
                let of_kind = || uploaded.written.iter().copied().filter(is_of_kind);
                (of_kind().count(), of_kind().take(room).collect())
            }
            None => {
                let of_kind = || (0..records.len()).filter(is_of_kind);
                (of_kind().count(), of_kind().take(room).collect())
            }
        };
        first.sort_unstable();
        list.add(count, first.iter().filter_map(|at| records.get(*at)).map(|r| self.change(r)));
    }

    fn change(&self, record: &Record) -> Change {
        let changes = &self.facts.reading.content.changes;
        Change {
            action: Action::Changed,
            kind: Some(record.kind),
            name: Some(changes.name(record).to_owned()),
            dn: Some(changes.external_id(record)),
            uuid: record.uuid,
            words: self.words(record),
        }
    }

    fn words(&self, record: &Record) -> Vec<&'static str> {
        let reading = self.facts.reading;
        let is_without_value = self.without_value.contains(&record.uuid);
        let is_let_go = self.held.contains(&record.uuid) && !is_without_value;
        let words = [
            self.name_word(record),
            self.lock_word(record.uuid, reading.content.ended.contains(&record.uuid)),
            is_let_go.then_some(words::LET_GO),
            is_without_value.then_some(words::WITHOUT_VALUE),
        ];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        if !words.is_empty() {
            return words;
        }
        let sync_uuid = self.facts.mapping.sync_uuid(record.uuid);
        if reading.is_full() {
            vec![words::IN_FULL]
        } else if reading.for_members.contains(&sync_uuid) {
            vec![match record.kind {
                Kind::Person => words::FOR_TOKEN,
                Kind::Group => words::FOR_MEMBERS,
            }]
        } else {
            Vec::new()
        }
    }

    fn name_word(&self, record: &Record) -> Option<&'static str> {
        match &self.facts.start.stored_roster {
            Some(roster) if roster.has(record.uuid, record.names) => None,
            Some(roster) if roster.has_any(record.uuid) => Some(words::RENAMED),
            // A held entry leaves the roster, although Kanidm may have it.
            Some(_) if !self.held.contains(&record.uuid) => Some(words::NEW),
            _ => {
                let known = self.facts.start.known.as_ref()?;
                let may_have = [Kind::Person, Kind::Group]
                    .iter()
                    .any(|kind| known.of(*kind).may_have(record.uuid));
                (!may_have).then_some(words::NEW)
            }
        }
    }

    fn lock_word(&self, uuid: Uuid, has_ended: bool) -> Option<&'static str> {
        let had_ended =
            self.facts.start.stored_roster.as_ref().is_some_and(|roster| roster.has_ended(uuid));
        match (had_ended, has_ended) {
            _ if !self.tells_locks => None,
            (false, true) => Some(words::LOCKED),
            (true, true) => Some(words::STILL_LOCKED),
            (true, false) => Some(words::UNLOCKED),
            (false, false) => None,
        }
    }

    /// The entries that this run holds and no earlier run held, and those whose locks it sent.
    fn held(&self, kind: Kind, list: &mut List) {
        let by_us = self.facts.reading.content.held.iter().filter(|held| held.kind == kind);
        let by_us: Vec<Change> = by_us.filter_map(|held| self.held_by_us(held)).collect();
        list.add(by_us.len(), by_us.into_iter());
        let refused = self.facts.uploaded.iter().flat_map(|uploaded| &uploaded.held);
        let refused = refused.filter(|held| !held.is_partial && !held.dn.is_empty());
        let refused: HashSet<Uuid> = refused.map(|held| held.uuid).collect();
        if refused.is_empty() {
            return;
        }
        let records = self.facts.reading.content.changes.records().iter();
        let refused: Vec<Change> = records
            .filter(|record| record.kind == kind && refused.contains(&record.uuid))
            .filter_map(|record| self.refused(record))
            .collect();
        list.add(refused.len(), refused.into_iter());
    }

    fn newly_held(&self, uuid: Uuid) -> Option<&'static str> {
        let is_new = !self.held.contains(&uuid) || self.sent.contains(&uuid);
        is_new.then_some(words::NEWLY_HELD)
    }

    fn held_by_us(&self, held: &Held) -> Option<Change> {
        let is_closed = held.ended.is_some()
            && self.facts.uploaded.is_some_and(|uploaded| !uploaded.open.contains(&held.uuid));
        let locked = is_closed.then_some(words::LOCKED);
        let words = self.words_of_held(held.uuid, locked);
        (!words.is_empty()).then(|| Change {
            action: Action::Held,
            // An entry that was not understood at all has no kind.
            kind: (held.shown != Mask::ALL).then_some(held.kind),
            name: held.ended.as_ref().and_then(|ended| ended.name.clone()),
            dn: Some(held.dn.clone()),
            uuid: held.uuid,
            words,
        })
    }

    fn refused(&self, record: &Record) -> Option<Change> {
        let uuid = record.uuid;
        let is_limited =
            self.facts.uploaded.is_some_and(|uploaded| uploaded.limited.contains(&uuid));
        let limit = match self.facts.reading.content.ended.contains(&uuid) {
            true => words::LOCKED,
            false => words::LIMITED,
        };
        let words = self.words_of_held(uuid, is_limited.then_some(limit));
        (!words.is_empty()).then(|| Change { action: Action::Held, words, ..self.change(record) })
    }

    /// `limit`: what Kanidm took of the held entry. It is news if the entry has changed, or if the
    /// roster tells that no earlier run has sent it.
    fn words_of_held(&self, uuid: Uuid, limit: Option<&'static str>) -> Vec<&'static str> {
        let newly_held = self.newly_held(uuid);
        let roster = self.facts.start.stored_roster.as_ref();
        let is_news = match roster.filter(|roster| roster.has_any(uuid)) {
            Some(roster) if limit == Some(words::LOCKED) => !roster.has_ended(uuid),
            _ => newly_held.is_some() || !self.unchanged.contains(&uuid),
        };
        let limit = limit.filter(|_| is_news && self.tells_locks);
        newly_held.into_iter().chain(limit).collect()
    }
}

impl Default for Changes {
    fn default() -> Self {
        Changes { listed: Vec::new(), left_out: 0, nameless: Deletions::Exactly(0) }
    }
}

impl Changes {
    /// Logs a line for each change, if there are at most `most`.
    pub(super) fn log(&self, most: usize) {
        self.lines(most).iter().for_each(|line| info!("{line}"));
    }

    /// A line for each change, or none if there are more than `most`. In the journal, the UUID
    /// finds all lines of an entry.
    fn lines(&self, most: usize) -> Vec<String> {
        let total = self.left_out.saturating_add(self.listed.len() as u64);
        if total > most as u64 {
            return Vec::new();
        }
        let (deleted, others): (Vec<&Change>, Vec<&Change>) =
            self.listed.iter().partition(|change| change.action == Action::Deleted);
        let nameless = (self.nameless != Deletions::Exactly(0))
            .then(|| format!("deleted entries without a known UUID: {}", self.nameless));
        let deleted = deleted.iter().map(ToString::to_string);
        deleted.chain(nameless).chain(others.iter().map(ToString::to_string)).collect()
    }

    /// The changes for the JSON report, and how many are left out.
    pub(super) fn for_json(&self) -> (&[Change], u64) {
        let (listed, rest) = self.listed.split_at(self.listed.len().min(MAX_JSON));
        (listed, self.left_out.saturating_add(rest.len() as u64))
    }
}

impl fmt::Display for Change {
    /// `changed person user1 (uid=user1,ou=people,dc=example,dc=com): locked; UUID 1234-…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.action {
            Action::Deleted => "deleted",
            Action::Changed => "changed",
            Action::Held => "held",
        })?;
        write!(f, " {}", self.kind.map_or("entry", word))?;
        match (&self.name, &self.dn) {
            (Some(name), Some(dn)) => write!(f, " {name} ({dn})")?,
            (Some(one), None) | (None, Some(one)) => write!(f, " {one}")?,
            (None, None) => {}
        }
        if !self.words.is_empty() {
            write!(f, ": {}", self.words.join(", "))?;
        }
        write!(f, "; UUID {}", self.uuid)
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Person => "person",
        Kind::Group => "group",
    }
}

fn kind_word<S: Serializer>(kind: &Option<Kind>, to: S) -> Result<S::Ok, S::Error> {
    kind.map(word).serialize(to)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::sync::EntryConfig;
    use crate::content::Ended;
    use crate::content::scim::{ScimGroup, ScimPerson};
    use crate::kanidm::known::Known;
    use crate::kanidm::request::Retention;
    use crate::kanidm::roster::Roster;
    use crate::kanidm::sketch::Sketch;
    use crate::mapping::{Content, Contested, EntryProblem, Skipped};
    use crate::sync::report::ReadMode;
    use crate::sync::retention::tests::mapping;
    use crate::upload::HeldByKanidm;

    const MARK: u16 = 7;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn map_to(n: u128) -> EntryConfig {
        EntryConfig { map_uuid: Some(id(n)), ..EntryConfig::default() }
    }

    /// A run that wrote the persons 1 to 3 and the group 4, and knows nothing of earlier runs.
    struct Run {
        start: Start,
        reading: Reading,
        going: Going,
        uploaded: Option<UploadReport>,
        mapping: MappingConfig,
    }

    impl Run {
        fn new() -> Run {
            let mut content = Content::default();
            for n in 1..=3 {
                let person = ScimPerson {
                    id: id(n),
                    name: &format!("user{n}"),
                    displayname: "User",
                    legalname: None,
                    gidnumber: None,
                    loginshell: None,
                    password_import: Some("{SSHA512}secret"),
                    unix_password_import: None,
                    mail: ["secret@example.com"].into_iter(),
                    ssh_publickey: std::iter::empty(),
                    account_valid_from: None,
                    account_expire: None,
                    totp_room: 0,
                };
                content.changes.push_person(&format!("uid=user{n}"), person).unwrap();
                content.changes.mark_last(Mask::default(), MARK);
            }
            let group = ScimGroup { id: id(4), name: "team", description: None, gidnumber: None };
            content.changes.push_group("cn=team", &group, std::iter::empty()).unwrap();
            content.changes.mark_last(Mask::default(), MARK);
            Run {
                start: Start::default(),
                reading: reading(content),
                going: Going::default(),
                // The order in which Kanidm took them.
                uploaded: Some(UploadReport {
                    posts: 1,
                    written: vec![3, 1, 0, 2],
                    ..UploadReport::default()
                }),
                // The group has another UUID in the directory.
                mapping: MappingConfig {
                    entries: HashMap::from([(id(44), map_to(4))]),
                    ..mapping()
                },
            }
        }

        /// An earlier run has written everything, and user2 as ended.
        fn after_another() -> Run {
            let mut run = Run::new();
            let roster = Roster::of((1..=4).map(|n| (id(n), MARK))).unwrap();
            run.start.stored_roster = Some(roster.with_ended([id(2)]));
            run.start.known =
                Some(Known { persons: Sketch::of((1..=3).map(id)), groups: Sketch::of([id(4)]) });
            run
        }

        fn changes(&self, most: usize) -> Changes {
            let Run { start, reading, going, uploaded, mapping } = self;
            changes(&Facts { start, reading, mapping, going, uploaded: uploaded.as_ref() }, most)
        }

        #[track_caller]
        fn assert(&self, expected: &[&str]) {
            let lines = self.changes(50).lines(50);
            let lines: Vec<String> = lines
                .iter()
                .map(|line| line.replace("00000000-0000-0000-0000-00000000000", ""))
                .collect();
            assert_eq!(lines, expected);
        }

        fn refuse(&mut self, n: u128, dn: &str, is_partial: bool) {
            self.uploaded.as_mut().unwrap().held.push(HeldByKanidm {
                uuid: id(n),
                dn: dn.to_owned(),
                reason: "secret".to_owned(),
                is_absent: false,
                is_partial,
            });
        }
    }

    pub(crate) fn reading(content: Content) -> Reading {
        Reading {
            content,
            retention: Retention::Ignore,
            mode: ReadMode::Incremental,
            cookie: None,
            deleted: 0,
            not_found: Vec::new(),
            read_again: Vec::new(),
            for_members: HashSet::new(),
            read: 4,
            shown_by_nobody: Vec::new(),
            hidden_locks: Vec::new(),
            matched: None,
            not_followed: Vec::new(),
            unmapped_members: Vec::new(),
            misread_members: false,
            is_older: false,
        }
    }

    fn held(n: u128, kind: Kind, ended: Option<&str>) -> Held {
        Held {
            uuid: id(n),
            sync_uuid: id(n),
            kind,
            shown: Mask::default(),
            dn: format!("uid=odd{n}"),
            problems: vec![EntryProblem { attribute: "uid".into(), rule: "is bad".into() }],
            ended: ended.map(|name| Ended {
                name: Some(name.to_owned()),
                displayname: "-".to_owned(),
                account_expire: "1970-01-01T00:00:00Z".to_owned(),
            }),
        }
    }

    #[test]
    fn without_an_earlier_run_nothing_is_claimed() {
        Run::new().assert(&[
            "changed person user1 (uid=user1); UUID 1",
            "changed person user2 (uid=user2); UUID 2",
            "changed person user3 (uid=user3); UUID 3",
            "changed group team (cn=team); UUID 4",
        ]);
        let mut first = Run::new();
        first.reading.mode = ReadMode::Full("Kanidm has no state yet".to_owned());
        first.uploaded.as_mut().unwrap().written = vec![0];
        first.assert(&["changed person user1 (uid=user1): sent by the full refresh; UUID 1"]);
    }

    #[test]
    fn the_roster_tells_new_renamed_and_unlocked() {
        let mut run = Run::after_another();
        let roster = Roster::of([(id(2), MARK), (id(3), MARK + 1), (id(4), MARK)]).unwrap();
        run.start.stored_roster = Some(roster.with_ended([id(2)]));
        run.reading.for_members.insert(id(44));
        run.assert(&[
            "changed person user1 (uid=user1): new; UUID 1",
            "changed person user2 (uid=user2): unlocked; UUID 2",
            "changed person user3 (uid=user3): renamed or moved; UUID 3",
            "changed group team (cn=team): sent again for its members; UUID 4",
        ]);
    }

    #[test]
    fn without_a_roster_the_sample_tells_who_is_new() {
        let mut run = Run::after_another();
        run.start.stored_roster = None;
        run.start.known.as_mut().unwrap().persons = Sketch::of([id(1), id(2)]);
        run.uploaded.as_mut().unwrap().written = vec![0, 2];
        run.assert(&[
            "changed person user1 (uid=user1); UUID 1",
            "changed person user3 (uid=user3): new; UUID 3",
        ]);
        // Above the threshold of the sample nothing is known.
        let many = Sketch::of((100..2_000).map(id));
        let unknown = (0..3).filter(|at| many.may_have(id(at + 1))).count();
        run.start.known.as_mut().unwrap().persons = many;
        run.uploaded.as_mut().unwrap().written = vec![0, 1, 2];
        let lines = run.changes(50).lines(50);
        assert_eq!(lines.iter().filter(|line| !line.contains(": new")).count(), unknown);
        assert!(unknown > 0, "the test must show it");
    }

    #[test]
    fn a_lock_is_told_once() {
        let mut run = Run::after_another();
        run.reading.content.ended = [id(1), id(2)].into();
        run.uploaded.as_mut().unwrap().written = vec![0, 1];
        run.assert(&[
            "changed person user1 (uid=user1): locked; UUID 1",
            "changed person user2 (uid=user2): still locked; UUID 2",
        ]);
        // Kanidm ignores the end date then.
        run.uploaded.as_mut().unwrap().yielded = BTreeSet::from([EXPIRE.to_owned()]);
        run.assert(&[
            "changed person user1 (uid=user1); UUID 1",
            "changed person user2 (uid=user2); UUID 2",
        ]);
    }

    #[test]
    fn held_entries_are_named_when_it_begins_and_when_it_ends() {
        let mut run = Run::after_another();
        run.start.held = vec![id(1), id(2), id(8), id(9)];
        run.start.dropped = vec![id(9)];
        // 2 and 9 lack a value that another entry has; 2 lacks it again.
        run.reading.content.contested = vec![Contested { uuid: id(2), sync_uuid: id(2) }];
        run.reading.content.held = vec![
            held(6, Kind::Person, None),
            held(7, Kind::Group, None),
            held(8, Kind::Person, None),
            held(9, Kind::Person, None),
            Held { shown: Mask::ALL, ..held(5, Kind::Person, None) },
        ];
        run.refuse(3, "uid=user3", false);
        run.refuse(1, "uid=user1", true);
        run.uploaded.as_mut().unwrap().written = vec![0, 1];
        run.start.held.push(id(44));
        run.uploaded.as_mut().unwrap().written.push(3);
        run.assert(&[
            "changed person user1 (uid=user1): without a value that waits for another entry; UUID 1",
            "changed person user2 (uid=user2): unlocked, without a value that waits for another entry; UUID 2",
            "held person uid=odd6: newly held; UUID 6",
            "held person uid=odd9: newly held; UUID 9",
            "held entry uid=odd5: newly held; UUID 5",
            "held person user3 (uid=user3): newly held; UUID 3",
            "changed group team (cn=team): let go; UUID 4",
            "held group uid=odd7: newly held; UUID 7",
        ]);
    }

    /// The run closes such accounts each time, and says so once.
    #[test]
    fn a_held_person_whose_account_is_closed_is_named() {
        let mut run = Run::after_another();
        run.uploaded.as_mut().unwrap().written.clear();
        run.start.held = vec![id(1), id(2), id(3), id(8)];
        let ended = |n| held(n, Kind::Person, Some("odd"));
        run.reading.content.held = (1..=3).chain([7, 8]).map(ended).collect();
        run.uploaded.as_mut().unwrap().open = [id(3)].into();
        run.reading.read_again = vec![id(1), id(8)];
        run.assert(&[
            "held person odd (uid=odd1): locked; UUID 1",
            "held person odd (uid=odd7): newly held, locked; UUID 7",
        ]);
        run.reading.read_again = vec![id(1)];
        let lines = run.changes(50).lines(50);
        assert!(lines.last().unwrap().contains("uid=odd8): locked"), "it has changed: {lines:?}");
        run.uploaded = None;
        let lines = run.changes(50).lines(50);
        let planned = "held person odd (uid=odd7): newly held; UUID";
        assert!(lines.iter().any(|line| line.starts_with(planned)), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains(" locked")), "{lines:?}");
    }

    /// Kanidm refuses such persons, and takes their end dates.
    #[test]
    fn a_refused_person_whose_limits_are_sent_is_named() {
        let mut run = Run::after_another();
        run.start.stored_roster = Roster::of([(id(1), MARK)]);
        run.start.held = vec![id(2), id(3)];
        run.reading.content.ended = [id(1), id(2)].into();
        run.uploaded.as_mut().unwrap().written.clear();
        (1..=3).for_each(|n| run.refuse(n, &format!("uid=user{n}"), false));
        run.assert(&["held person user1 (uid=user1): newly held; UUID 1"]);
        run.uploaded.as_mut().unwrap().limited = [1, 2, 3].map(id).into();
        run.assert(&[
            "held person user1 (uid=user1): newly held, locked; UUID 1",
            "held person user2 (uid=user2): locked; UUID 2",
            "held person user3 (uid=user3): limits in time sent; UUID 3",
        ]);
        run.reading.read_again = vec![id(2), id(3)];
        run.assert(&["held person user1 (uid=user1): newly held, locked; UUID 1"]);
        run.uploaded.as_mut().unwrap().yielded = BTreeSet::from([EXPIRE.to_owned()]);
        run.assert(&["held person user1 (uid=user1): newly held; UUID 1"]);
    }

    #[test]
    fn deletions_come_first_and_say_what_is_known() {
        let mut run = Run::after_another();
        run.uploaded.as_mut().unwrap().written = vec![0];
        run.refuse(13, "", false);
        let entry = |kind, n| super::super::deleted::GoingEntry { uuid: id(n), kind };
        run.going.is_known = true;
        run.going.entries = vec![
            entry(Some(Kind::Person), 5),
            entry(Some(Kind::Group), 6),
            entry(Some(Kind::Person), 7),
            entry(None, 8),
            entry(None, 13),
        ];
        run.going.names = HashMap::from([(id(6), "cn=left".to_owned())]);
        run.going.nameless = Deletions::Exactly(2);
        run.reading.content.skipped = vec![Skipped {
            uuid: id(7),
            sync_uuid: id(7),
            dn: "uid=out".to_owned(),
            reason: SkipReason::Excluded,
        }];
        run.assert(&[
            "deleted person; UUID 5",
            "deleted group cn=left: no longer in scope; UUID 6",
            "deleted person uid=out: excluded by the configuration; UUID 7",
            "deleted entry; UUID 8",
            "deleted entries without a known UUID: 2",
            "changed person user1 (uid=user1); UUID 1",
        ]);
        run.going.is_known = false;
        assert!(run.changes(50).lines(50)[0].contains("deleted person: if Kanidm had it;"));
    }

    #[test]
    fn more_than_the_maximum_are_counted() {
        let run = Run::after_another();
        for (most, listed, left_out) in [(50, 4, 0), (4, 4, 0), (3, 3, 1), (1, 1, 3)] {
            let changes = run.changes(most);
            assert_eq!((changes.listed.len(), changes.left_out), (listed, left_out));
            let lines = if left_out == 0 { listed } else { 0 };
            assert_eq!(changes.lines(most).len(), lines, "at most {most}");
        }
        assert_eq!(run.changes(0), Changes::default(), "0 switches it off");
        assert_eq!(run.changes(1_000).lines(3), [""; 0], "listed for the report only");
        let idle = Run { uploaded: Some(UploadReport::default()), ..Run::after_another() };
        assert_eq!(idle.changes(50), Changes::default(), "nothing was sent");
        let (listed, left_out) = (vec![run.changes(50).listed; 300].concat(), 5);
        let changes = Changes { listed, left_out, ..Changes::default() };
        let (listed, left_out) = changes.for_json();
        assert_eq!((listed.len(), left_out), (MAX_JSON, 205));
    }

    #[test]
    fn a_dry_run_lists_everything_that_it_would_write() {
        let run = Run { uploaded: None, ..Run::after_another() };
        let written: Vec<Uuid> = run.changes(50).listed.iter().map(|change| change.uuid).collect();
        assert_eq!(written, [1, 2, 3, 4].map(id));
    }

    #[test]
    fn no_change_shows_a_value() {
        let mut run = Run::after_another();
        run.refuse(3, "uid=user3", false);
        let changes = run.changes(50);
        let json = serde_json::to_string(&changes.listed).unwrap();
        assert!(!format!("{json}{changes:?}{:?}", changes.lines(50)).contains("secret"));
    }
}
