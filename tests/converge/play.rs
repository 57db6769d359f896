//! Plays a course, and looks after every step at what has become of Kanidm.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use kanidm_ldap_sync::config::fingerprint::fingerprint;
use kanidm_ldap_sync::config::sync::{SyncConfig, load};
use kanidm_ldap_sync::directory::follow::{Follow, Heard};
use kanidm_ldap_sync::heartbeat::Heartbeat;
use kanidm_ldap_sync::sync::changes::{Action, MAX_JSON, words};
use kanidm_ldap_sync::sync::guard::{Deletions, GuardReason, GuardRefusal};
use kanidm_ldap_sync::sync::report::HeldEntry;
use kanidm_ldap_sync::sync::run::{Job, Outcome, RunError, run};
use kanidm_ldap_sync::sync::start::FullRefresh;
use uuid::Uuid;

use crate::course::{Change, Course, Event, Label, Run};
use crate::directory::{BASE, Directory, HIDEABLE};
use crate::oracle::{FILTERS, POLICIES, Wanted, compare, let_in};
use crate::server::Server;
use crate::support::expect::{Expected, held_by_kanidm};
use crate::support::inside::Inside;
use crate::support::model::Model;
use crate::support::process::PATIENCE;
use crate::support::random::Random;
use crate::support::temp::TempDir;
use crate::support::trouble::{TestClock, Trouble, Troubled};

/// A label that no drawn one reaches.
const UNUSED: Label = 1_500;

/// Whether somebody follows the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    No,
    /// Each ring makes a run, and before the clean run at the end Kanidm has what it should have.
    Yes,
}

/// Plays a course against a model of its own. How many runs there were, or what was wrong.
pub fn on_model(course: &Course, follows: Follows) -> Result<usize, String> {
    let mut model = Model { names_conflicts: course.names_conflicts, ..Model::default() };
    model.foreign_names.insert("idm_admin".to_owned());
    on(course, model, 1, follows)
}

/// Plays a course against an empty sync account. `number` tells its values from those of other
/// courses.
pub fn on(
    course: &Course,
    kanidm: impl Inside,
    number: u64,
    follows: Follows,
) -> Result<usize, String> {
    let dir = TempDir::new("converge");
    let server = Server::start(
        Directory::new(course.server, course.refint, number),
        &dir.path().join("ldapi"),
    );
    let mut play = Play {
        server,
        dir,
        kanidm: Troubled::new(kanidm),
        filter: 0,
        policy: 0,
        runs: 0,
        forgotten: false,
        time_before: 0,
        interrupted: false,
        failed: false,
        following: (follows == Follows::Yes).then(|| Following {
            follow: None,
            cookie: None,
            heard: 0,
            rung: false,
            held: BTreeSet::new(),
            random: Random::seeded(course.events.len() as u64),
        }),
    };
    let played = catch_unwind(AssertUnwindSafe(|| play.all(course)));
    played.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("?")))
    })?;
    Ok(play.runs)
}

struct Play<K> {
    // Ended before the folder with its socket goes.
    server: Server,
    dir: TempDir,
    kanidm: Troubled<K>,
    filter: usize,
    policy: usize,
    runs: usize,
    /// Nobody remembers who was locked.
    forgotten: bool,
    /// When the latest run began.
    time_before: u64,
    /// A run has deleted some, and what it remembers still counts them.
    interrupted: bool,
    /// True after a run that failed while it sent something.
    failed: bool,
    following: Option<Following>,
}

/// Somebody who listens to the directory.
struct Following {
    follow: Option<Follow>,
    /// Where the last run that went through has brought Kanidm.
    cookie: Option<Vec<u8>>,
    /// Messages of the persist stage.
    heard: usize,
    /// A ring that no run has answered.
    rung: bool,
    /// What the last run held.
    held: BTreeSet<Uuid>,
    random: Random,
}

impl<K: Inside> Play<K> {
    fn all(&mut self, course: &Course) -> Result<(), String> {
        for (n, event) in course.events.iter().enumerate() {
            match event {
                Event::Change(change) => {
                    let before = self.wanted();
                    self.server.change(change);
                    self.look_for_unseen(&before);
                }
                Event::Filter(filter) => {
                    // Entries that the new filter does not take may have DNs that groups name.
                    self.server.directory().unseen |= !course.refint;
                    self.filter = *filter;
                }
                Event::Policy(policy) => self.policy = *policy,
                Event::ForceRefresh => {
                    self.kanidm.server.forget_state();
                    self.forgotten = true;
                }
                Event::Run(run) => {
                    self.troubled_run(run).map_err(|e| format!("event {n}, {run:?}: {e}"))?
                }
            }
            self.follow(event).map_err(|e| format!("following event {n}: {e}"))?;
        }
        self.followed().map_err(|e| format!("followed to the end: {e}"))?;
        let clean =
            Run { max_entries: 1 + course.events.len() % 50, max_bytes: 1 << 20, ..Run::default() };
        match self.finished_run(&clean) {
            Ok(_) => {}
            // Nothing can be listed, and an empty list would delete everything.
            Err(error)
                if error.contains("Kanidm refuses every entry") && self.all_are_in_the_bin() => {}
            Err(error) => return Err(format!("the clean run: {error}")),
        }
        let before = self.wanted();
        self.mend();
        self.look_for_unseen(&before);
        let outcome = self
            .finished_run(&clean)
            .map_err(|e| format!("the run after everything was mended: {e}"))?;
        if !outcome.report.held.is_empty() {
            return Err(format!("held though everything was mended: {:?}", outcome.report.held));
        }
        let outcome = self.finished_run(&clean).map_err(|e| format!("the run after that: {e}"))?;
        if outcome.report.posts > 0 {
            return Err(format!(
                "nothing has changed, and it takes {} POSTs",
                outcome.report.posts
            ));
        }
        Ok(())
    }

    /// Hears what the directory says of an event, and answers a ring with a run, which may fail.
    fn follow(&mut self, event: &Event) -> Result<(), String> {
        let Some(mut following) = self.following.take() else { return Ok(()) };
        // An administrator who changes these lets the service run (SIGHUP, SIGUSR1).
        following.rung |=
            matches!(event, Event::Filter(_) | Event::Policy(_) | Event::ForceRefresh);
        let result = self.hear(&mut following);
        let again = following.random.one_in(5);
        let trouble = following.random.one_in(4);
        self.following = Some(following);
        result?;
        if again {
            // The connection ends.
            self.server.cut();
            self.following.as_mut().expect("set").follow = None;
        }
        let trouble = if trouble {
            vec![(0, Trouble::AnswerLost), (1, Trouble::KilledAfter)]
        } else {
            vec![]
        };
        self.answer(&Run { max_entries: 1_000, max_bytes: 1 << 20, trouble, ..Run::default() })
    }

    fn hear(&mut self, following: &mut Following) -> Result<(), String> {
        if following.follow.is_none() {
            let Some(cookie) = &following.cookie else {
                // It waits for a run that brings a cookie, and asks for one.
                following.rung = true;
                return Ok(());
            };
            let config = self.config(&Run { max_entries: 1, max_bytes: 1, ..Run::default() });
            let mut follow = Follow::start(&config.directory, cookie, Heartbeat::default())
                .map_err(|e| e.to_string())?;
            following.heard = 0;
            while !follow.is_listening() {
                match follow.wait(PATIENCE) {
                    Ok(Heard::Ring | Heard::Outside) => following.rung = true,
                    Ok(Heard::Quiet) => {}
                    Ok(Heard::CookieRefused(_)) => {
                        following.rung = true;
                        return Ok(());
                    }
                    Ok(Heard::Nothing) => return Err("it does not listen".to_owned()),
                    // An older directory: the schedule brings the run that says so.
                    Err(_) => return Ok(()),
                }
            }
            following.follow = Some(follow);
        }
        let Some(follow) = &mut following.follow else { return Ok(()) };
        while following.heard < self.server.told() {
            match follow.wait(PATIENCE).map_err(|e| e.to_string())? {
                Heard::Ring | Heard::Outside => following.rung = true,
                // A change outside the content.
                Heard::Quiet => {}
                other => return Err(format!("{other:?} in the persist stage")),
            }
            following.heard += 1;
        }
        Ok(())
    }

    /// Answers a ring.
    fn answer(&mut self, run: &Run) -> Result<(), String> {
        if self.following.as_ref().is_some_and(|following| following.rung) {
            // It stays if the run fails: see `once`.
            self.troubled_run(run).map_err(|e| format!("the run for a ring: {e}"))?;
        }
        Ok(())
    }

    /// Without any more change, the rings so far bring Kanidm what the directory has.
    fn followed(&mut self) -> Result<(), String> {
        if self.following.is_none() {
            return Ok(());
        }
        let run = Run { max_entries: 1_000, max_bytes: 1 << 20, ..Run::default() };
        for _ in 0..6 {
            let mut following = self.following.take().expect("set");
            let result = self.hear(&mut following);
            let rung = following.rung;
            self.following = Some(following);
            result?;
            if !rung {
                break;
            }
            match self.once(&run, false, false)? {
                // Nobody accepts what comes of an access rule by mistake.
                Err(RunError::Refused(_)) if !self.server.directory().hidden.is_empty() => {
                    return Ok(());
                }
                Err(RunError::Refused(_)) => drop(self.once(&run, false, true)?),
                Err(RunError::Invalid { .. }) if self.policy == 2 => return Ok(()),
                Ok(_) | Err(_) => {}
            }
        }
        let following = self.following.as_ref().expect("set");
        if following.rung {
            return Err("rings without end".to_owned());
        }
        let hidden = !self.server.directory().hidden.is_empty();
        if hidden || self.server.directory().unseen || self.server.directory().dark {
            return Ok(());
        }
        // Entries that the last run held wait for the next one.
        let held = following.held.clone();
        compare(&self.content(), &self.wanted(), &held)
    }

    /// A run that may fail for its trouble, or be refused, and what must hold afterwards in any
    /// case.
    fn troubled_run(&mut self, what: &Run) -> Result<(), String> {
        let accept = match self.once(what, what.full, false)? {
            // Nobody accepts what comes of an access rule by mistake.
            Err(RunError::Refused(_)) if !self.server.directory().hidden.is_empty() => {
                return Ok(());
            }
            Err(RunError::Refused(_)) => true,
            other => return self.judge(what, other),
        };
        let result =
            self.once(&Run { meanwhile: Vec::new(), ..what.clone() }, what.full, accept)?;
        self.judge(what, result)
    }

    fn judge(&mut self, what: &Run, result: Result<Outcome, RunError>) -> Result<(), String> {
        match result {
            Ok(outcome) if what.meanwhile.is_empty() => self.check(&outcome),
            Ok(_) => Ok(()),
            Err(RunError::Upload(_)) if !what.trouble.is_empty() || what.slow.is_some() => Ok(()),
            Err(RunError::Invalid { .. }) if self.policy == 2 => {
                let wanted = self.wanted();
                let cause = !wanted.held.is_empty()
                    || !wanted.contested.is_empty()
                    || !what.meanwhile.is_empty();
                if cause {
                    Ok(())
                } else {
                    Err("it says that entries are invalid, and none is".to_owned())
                }
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// A run without trouble. A refusal of the guard is answered with `--accept-deletes`; where an
    /// increment cannot see what has happened, it is a full refresh.
    fn finished_run(&mut self, what: &Run) -> Result<Outcome, String> {
        for attribute in 0..HIDEABLE.len() {
            self.server.change(&Change::Hide(attribute, false));
        }
        let full = self.server.directory().unseen || self.server.directory().dark;
        let result = match self.once(what, full, false)? {
            Err(RunError::Refused(_)) => self.once(what, full, true)?,
            other => other,
        };
        match result {
            Ok(outcome) => {
                self.check(&outcome)?;
                Ok(outcome)
            }
            Err(RunError::Invalid { .. })
                if self.policy == 2
                    && !self.wanted().held.is_empty() | !self.wanted().contested.is_empty() =>
            {
                self.policy = 0;
                self.finished_run(what)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// One run. Whatever becomes of it: nothing that the directory has, and that is wanted, is
    /// deleted.
    fn once(
        &mut self,
        what: &Run,
        full: bool,
        accept_deletes: bool,
    ) -> Result<Result<Outcome, RunError>, String> {
        self.runs += 1;
        self.time_before = self.server.directory().time;
        let (before, bin) = (self.content(), self.kanidm.server.recycled());
        let wanted = self.wanted();
        let result = self.run(what, full, accept_deletes);
        self.look_for_unseen(&wanted);
        let deleted: BTreeSet<Uuid> =
            self.kanidm.server.recycled().difference(&bin).copied().collect();
        self.check_deleted(what, &wanted, &deleted)?;
        if let Err(RunError::Refused(refusal)) = &result {
            if accept_deletes || !deleted.is_empty() {
                return Err(format!("refused all the same: {refusal}"));
            }
            self.check_refusal(what, &before, &wanted, refusal)?;
        }
        let after_failure = self.failed;
        self.failed = match &result {
            Ok(_) => false,
            Err(RunError::Upload(_)) => true,
            Err(_) => self.failed,
        };
        self.interrupted = match &result {
            // An interrupted run counts what Kanidm did not take; it is counted as long as it is
            // held.
            Ok(outcome) => self.interrupted && !outcome.report.held.is_empty(),
            Err(RunError::Upload(_)) => true,
            Err(_) => self.interrupted,
        };
        if let Ok(outcome) = &result {
            self.check_changes(&before, &deleted, after_failure, outcome)?;
            self.look_who_may_log_in(&before, outcome)?;
            self.note_seen(what, outcome.reading.is_full());
        }
        Ok(result)
    }

    /// The run itself, with its trouble and the changes that come meanwhile.
    fn run(&mut self, what: &Run, full: bool, accept_deletes: bool) -> Result<Outcome, RunError> {
        let config = self.config(what);
        self.server.directory().meanwhile.clone_from(&what.meanwhile);
        if let Some(following) = &mut self.following {
            // Every ring so far: later ones come during the run.
            following.rung = false;
        }
        self.kanidm.trouble =
            what.trouble.iter().map(|(at, trouble)| (self.kanidm.count + at, *trouble)).collect();
        self.kanidm.max_entries = what.slow;
        let fingerprint = fingerprint(&config);
        let job = Job {
            config: &config,
            fingerprint: &fingerprint,
            full_refresh: if full { FullRefresh::Scheduled } else { FullRefresh::No },
            accept_deletes,
            dry_run: false,
            max_changes: MAX_JSON,
            heartbeat: Heartbeat::default(),
        };
        let clock = &TestClock::default();
        let result = run(&job, &mut self.kanidm, clock, &mut |_| {}, &mut |_| {});
        self.kanidm.trouble.clear();
        self.kanidm.max_entries = None;
        self.kanidm.deliver_late();
        // A change that came too late for the refresh.
        let late = std::mem::take(&mut self.server.directory().meanwhile);
        late.iter().for_each(|change| self.server.change(change));
        if let Some(following) = &mut self.following {
            match &result {
                Ok(outcome) => {
                    let cookie = outcome.reading.cookie.clone();
                    following.cookie = cookie.or(following.cookie.take());
                    following.held = outcome.report.held.iter().map(|held| held.uuid).collect();
                }
                Err(RunError::Refused(_)) => {}
                Err(_) => following.rung = true,
            }
        }
        result
    }

    /// Nobody was deleted who was wanted before the run and still is.
    fn check_deleted(
        &mut self,
        what: &Run,
        wanted: &Wanted,
        deleted: &BTreeSet<Uuid>,
    ) -> Result<(), String> {
        let still_wanted = self.wanted();
        // A group with a user's name looks like that user's own when its members are hidden. It has
        // no name in Kanidm: the user has it.
        let no_members = self.server.directory().hidden.contains("member");
        let is_users = |group: &Expected| {
            group.group && wanted.entries.values().any(|e| !e.group && e.name == group.name)
        };
        // So does a group whose name a person takes while the run reads: it sees the group before
        // that, and the person after.
        let renamed = !what.meanwhile.is_empty();
        let is_memberless =
            |uuid: &Uuid| wanted.entries[uuid].group && wanted.entries[uuid].members.is_empty();
        let looks_private = |uuid: &Uuid| {
            (no_members && is_users(&wanted.entries[uuid])) || (renamed && is_memberless(uuid))
        };
        let was_wanted = |uuid: &&Uuid| {
            wanted.entries.contains_key(uuid) && still_wanted.entries.contains_key(uuid)
        };
        match deleted.iter().filter(was_wanted).find(|uuid| !looks_private(uuid)) {
            Some(uuid) => Err(format!(
                "{uuid} is in the directory, and was deleted: {:?}",
                wanted.entries[uuid]
            )),
            None => Ok(()),
        }
    }

    /// Every deletion and every change is in the report once, and each word is true.
    fn check_changes(
        &mut self,
        before: &BTreeMap<Uuid, Expected>,
        deleted: &BTreeSet<Uuid>,
        after_failure: bool,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let after = self.content();
        let changes = &outcome.report.changes;
        let of = |action| {
            let of_action = changes.listed.iter().filter(move |change| change.action == action);
            of_action.map(|change| change.uuid).collect::<BTreeSet<Uuid>>()
        };
        let (gone, written, held) = (of(Action::Deleted), of(Action::Changed), of(Action::Held));
        let complain = |what: &str, uuid: &Uuid| {
            Err(format!(
                "{what}: {uuid}\n  before: {:?}\n  after: {:?}\n  changes: {changes:?}\n  held: {:?}",
                before.get(uuid),
                after.get(uuid),
                outcome.report.held
            ))
        };
        let was_there = |uuid: &Uuid| before.get(uuid).is_some_and(|entry| !entry.name.is_empty());
        let is_known = outcome.report.deleted != Deletions::Unknown
            && changes.nameless == Deletions::Exactly(0);
        if let Some(uuid) =
            deleted.iter().find(|uuid| is_known && was_there(uuid) && !gone.contains(uuid))
        {
            return complain("deleted without a word", uuid);
        }
        if let Some(uuid) = gone.iter().find(|uuid| after.contains_key(uuid)) {
            return complain("said to be deleted", uuid);
        }
        let changed = |(uuid, entry): &(&Uuid, &Expected)| {
            // A held entry that a group names may get its new DN, and nothing else. An object
            // without a name is not a person yet.
            let old = before.get(uuid).cloned().unwrap_or_default();
            let (external_id, members) = (entry.external_id.clone(), entry.members.clone());
            // Kanidm takes an entry that is deleted out of its groups.
            let old = Expected { external_id, members, ..old };
            !entry.name.is_empty() && old != **entry
        };
        // The report names a held entry anyway, whatever Kanidm took of it.
        let held_still: BTreeSet<Uuid> =
            outcome.report.held.iter().map(|entry| entry.uuid).collect();
        let is_named = |uuid: &Uuid| {
            written.contains(uuid) || held.contains(uuid) || held_still.contains(uuid)
        };
        if let Some((uuid, _)) = after.iter().filter(changed).find(|(uuid, _)| !is_named(uuid)) {
            return complain("changed without a word", uuid);
        }
        let mut once = BTreeSet::new();
        for change in &changes.listed {
            if !once.insert(change.uuid) {
                return complain("named twice", &change.uuid);
            }
            let has_ended = after.get(&change.uuid).map(|entry| entry.expired);
            let is_false = |word: &&&str| match **word {
                words::NEW => was_there(&change.uuid) && !after_failure,
                words::LOCKED | words::STILL_LOCKED => has_ended == Some(false),
                words::UNLOCKED => has_ended == Some(true),
                _ => false,
            };
            if let Some(word) = change.words.iter().find(is_false) {
                return complain(word, &change.uuid);
            }
            let had_ended = before.get(&change.uuid).map(|entry| entry.expired);
            let says = |word| change.words.contains(&word);
            match (had_ended, has_ended) {
                (Some(false), Some(true)) if !says(words::LOCKED) && !says(words::STILL_LOCKED) => {
                    return complain("locked without a word", &change.uuid);
                }
                (Some(true), Some(false))
                    if !after_failure
                        && outcome.report.deleted != Deletions::Unknown
                        // A refused entry leaves the roster.
                        && !says(words::UNLOCKED)
                        && !says(words::LET_GO) =>
                {
                    return complain("unlocked without a word", &change.uuid);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A refusal has a cause: many go, all of a kind, or something is hidden.
    fn check_refusal(
        &mut self,
        what: &Run,
        before: &BTreeMap<Uuid, Expected>,
        wanted: &Wanted,
        refusal: &GuardRefusal,
    ) -> Result<(), String> {
        let few = [false, true].into_iter().all(|group| {
            let of_kind = || before.iter().filter(move |(_, entry)| entry.group == group);
            let goes = of_kind().filter(|(uuid, _)| !wanted.entries.contains_key(uuid)).count();
            let all =
                wanted.entries.values().all(|entry| entry.group != group) && of_kind().count() > 0;
            goes <= 3 && !all
        });
        let directory = self.server.directory();
        // Nobody knows what a bare object was to become.
        let few = few
            && !directory.hidden.contains("member")
            && !directory.unseen
            && !self.interrupted
            && before.values().all(|entry| !entry.name.is_empty());
        let of_deletions = |reason: &GuardReason| {
            matches!(
                reason,
                GuardReason::Nothing { .. }
                    | GuardReason::NobodyLeft { .. }
                    | GuardReason::TooMany { .. }
            )
        };
        let of_locks = |reason: &GuardReason| matches!(reason, GuardReason::HiddenLock { .. });
        if few
            && !wanted.entries.is_empty()
            && refusal.reasons.iter().all(of_deletions)
            && what.meanwhile.is_empty()
        {
            return Err(format!("refused, though only few of {} go: {refusal}", before.len()));
        }
        if directory.hidden.is_empty() && refusal.reasons.iter().any(of_locks) {
            return Err(format!("nothing is hidden: {refusal}"));
        }
        Ok(())
    }

    /// Notes what a full refresh has seen.
    fn note_seen(&mut self, what: &Run, full: bool) {
        let mut directory = self.server.directory();
        directory.unseen &= !full;
        if full && directory.hidden.is_empty() && what.meanwhile.is_empty() {
            directory.dark = false;
            self.forgotten = false;
        }
        directory.unseen |= !what.meanwhile.is_empty() && full;
    }

    /// After a run that went through: nobody whom the directory has locked, or does not have. A
    /// lock that was never seen cannot be known; one that was stays.
    fn look_who_may_log_in(
        &mut self,
        before: &BTreeMap<Uuid, Expected>,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let content = self.content();
        let directory = self.server.directory();
        // Whoever left unnoticed is noticed by the next full refresh. Of changes during the run
        // nobody knows.
        if directory.unseen || directory.time != self.time_before {
            return Ok(());
        }
        let says_so = |held: &&HeldEntry| {
            held.problems
                .iter()
                .any(|problem| problem.rule.contains("Kanidm keeps the state it has"))
        };
        let said: BTreeSet<Uuid> =
            outcome.report.held.iter().filter(says_so).map(|held| held.uuid).collect();
        let forgotten = self.forgotten;
        let was_closed =
            |uuid: &Uuid| !forgotten && before.get(uuid).is_some_and(|entry| entry.expired);
        let could_see =
            |uuid: &Uuid| (directory.hidden.is_empty() && !directory.dark) || was_closed(uuid);
        let let_in = let_in(&content, &directory, self.filter);
        match let_in.iter().find(|uuid| !said.contains(uuid) && could_see(uuid)) {
            None => Ok(()),
            Some(uuid) => {
                let entry = directory.entries.values().find(|entry| entry.uuid == *uuid);
                Err(format!(
                    "{uuid} may log in, and may not: {entry:?}\n  held: {:?}",
                    outcome.report.held
                ))
            }
        }
    }

    /// A user's own group whose user is gone, or has another name, is a group like any other; but
    /// nothing has happened to the group.
    fn look_for_unseen(&mut self, before: &Wanted) {
        let now = self.wanted();
        let mut directory = self.server.directory();
        let groups: Vec<(Uuid, u64)> =
            directory.entries.values().map(|e| (e.uuid, e.changed)).collect();
        directory.unseen |= groups.iter().any(|(uuid, changed)| {
            before.private.get(uuid) == Some(changed) && now.entries.contains_key(uuid)
        });
    }

    /// After a run that went through: entries that are held keep what they had, all others are
    /// exact.
    fn check(&mut self, outcome: &Outcome) -> Result<(), String> {
        if self.server.directory().unseen || self.server.directory().dark {
            return Ok(());
        }
        let wanted = self.wanted();
        let held: BTreeSet<Uuid> = outcome.report.held.iter().map(|h| h.uuid).collect();
        if let Some((_, dn)) = wanted.held.iter().find(|(uuid, _)| !held.contains(uuid)) {
            return Err(format!(
                "{dn} breaks a rule and is not held; held: {:?}",
                outcome.report.held
            ));
        }
        compare(&self.content(), &wanted, &held)
            .map_err(|e| format!("{e}\n  held: {:?}", outcome.report.held))
    }

    fn all_are_in_the_bin(&mut self) -> bool {
        let (wanted, bin) = (self.wanted(), self.kanidm.server.recycled());
        wanted.entries.keys().all(|uuid| bin.contains(uuid))
    }

    fn content(&mut self) -> BTreeMap<Uuid, Expected> {
        held_by_kanidm(&self.kanidm.server.entries(), &BTreeMap::new())
    }

    fn wanted(&self) -> Wanted {
        Wanted::of(&self.server.directory(), self.filter, self.policy)
    }

    /// Nothing is left that Kanidm could refuse.
    fn mend(&mut self) {
        let bin = self.kanidm.server.recycled();
        let mut next = UNUSED;
        let mut directory = self.server.directory();
        let labels: Vec<(Label, bool, bool)> = directory
            .entries
            .iter()
            .map(|(label, e)| {
                (*label, bin.contains(&e.uuid), !e.broken.is_empty() || e.junk.is_some())
            })
            .collect();
        for (label, masked, broken) in labels {
            // The recycle bin keeps a UUID from coming back.
            if masked {
                directory.change(&Change::Delete(label));
            } else if broken {
                directory.change(&Change::Mend(label));
            }
        }
        let (filter, policy) = (self.filter, self.policy);
        loop {
            let contested = Wanted::of(&directory, filter, policy).contested;
            let Some((label, group)) = directory
                .entries
                .iter()
                .find(|(_, e)| contested.contains(&e.uuid))
                .map(|(l, e)| (*l, e.group))
            else {
                return;
            };
            next += 1;
            directory.change(&Change::Name(label, next));
            directory.change(&Change::Gid(label, next));
            if !group {
                directory.change(&Change::Mail(label, next));
            }
        }
    }

    fn config(&self, what: &Run) -> SyncConfig {
        let socket = self.dir.path().join("ldapi").to_str().unwrap().replace('/', "%2F");
        let text = format!(
            "sync_token = \"a-token-that-nobody-looks-at\"\nldap_uri = \"ldapi://{socket}\"\nldap_sync_dn = \"cn=sync,{BASE}\"\n\
             ldap_sync_pw = \"secret\"\nldap_sync_base_dn = \"{BASE}\"\nldap_filter = \"{}\"\ninvalid_entries = \"{}\"\n",
            FILTERS[self.filter], POLICIES[self.policy]
        );
        let mut config =
            load(&self.dir.write("ldap-sync", text), &|_| None).unwrap_or_else(|e| panic!("{e}")).0;
        // Less than the smallest that can be configured.
        (config.upload.max_entries, config.upload.max_bytes) = (what.max_entries, what.max_bytes);
        config
    }
}
