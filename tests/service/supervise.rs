//! The loop of `--schedule` through days on a fake clock: nothing here sleeps.

use std::cell::{Cell, RefCell};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use kanidm_ldap_sync::clock::Clock;
use kanidm_ldap_sync::schedule::CronSchedule;
use kanidm_ldap_sync::service::follow::Following;
use kanidm_ldap_sync::service::health::{Condition, Health, LOOP_PATIENCE, Verdict};
use kanidm_ldap_sync::service::notify::Notifier;
use kanidm_ldap_sync::service::signals::{Inbox, Requests};
use kanidm_ldap_sync::service::supervise::{RunKind, Supervisor, Timing};

use crate::support::random::Random;
use crate::support::temp::TempDir;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const TIME_OUTS: Duration = Duration::from_secs(330);
const RELOAD: Requests = Requests { reload: true, ..Requests::NONE };
const RUN_NOW: Requests = Requests { run_now: true, ..Requests::NONE };

/// A world whose time passes only when somebody waits in it.
struct World {
    origin: Instant,
    /// Monotonic time since the world began.
    elapsed: Cell<Duration>,
    wall: Cell<SystemTime>,
    /// What is still to happen, in order: when, and what.
    script: RefCell<Vec<(Duration, Incident)>>,
    runs: RefCell<Vec<Run>>,
    /// What was asked for during a run.
    asked: Cell<Requests>,
}

#[derive(Clone, Copy)]
enum Incident {
    Forward(Duration),
    Back(Duration),
    Ask(Requests),
}

#[derive(Clone, Debug, PartialEq)]
struct Run {
    /// Monotonic.
    at: Duration,
    /// By the wall clock.
    wall: String,
    full: bool,
}

impl Clock for World {
    fn now(&self) -> Instant {
        self.origin + self.elapsed.get()
    }

    fn wall(&self) -> SystemTime {
        self.wall.get()
    }

    fn sleep(&self, duration: Duration) {
        let end = self.elapsed.get() + duration;
        while let Some(incident) = self.incident_before(end) {
            match incident {
                Incident::Forward(step) => self.wall.set(self.wall.get() + step),
                Incident::Back(step) => self.wall.set(self.wall.get() - step),
                Incident::Ask(requests) => {
                    let inbox = Inbox::default();
                    inbox.request(self.asked.get());
                    inbox.request(requests);
                    self.asked.set(inbox.wait(Duration::ZERO));
                }
            }
        }
        self.pass_until(end);
    }
}

impl World {
    fn new(wall: &str) -> World {
        let wall: DateTime<Utc> = wall.parse().unwrap();
        let wall = UNIX_EPOCH + Duration::from_nanos(wall.timestamp_nanos_opt().unwrap() as u64);
        World {
            origin: Instant::now(),
            elapsed: Cell::default(),
            wall: Cell::new(wall),
            script: RefCell::default(),
            runs: RefCell::default(),
            asked: Cell::new(Requests::NONE),
        }
    }

    fn script(self, incidents: &[(Duration, Incident)]) -> World {
        self.script.replace(incidents.to_vec());
        self
    }

    /// The next incident if it comes before `end`; time passes up to it.
    fn incident_before(&self, end: Duration) -> Option<Incident> {
        let mut script = self.script.borrow_mut();
        if script.first()?.0 > end {
            return None;
        }
        let (at, incident) = script.remove(0);
        self.pass_until(at);
        Some(incident)
    }

    fn pass_until(&self, time: Duration) {
        let passed = time.saturating_sub(self.elapsed.get());
        self.elapsed.set(self.elapsed.get() + passed);
        self.wall.set(self.wall.get() + passed);
    }

    /// As the inbox of the signals: requests end the wait, steps of the clock go unnoticed.
    fn wait(&self, timeout: Duration, end: Duration) -> Option<Requests> {
        if self.elapsed.get() >= end {
            return None;
        }
        let asked = self.asked.replace(Requests::NONE);
        if asked != Requests::NONE {
            return Some(asked);
        }
        let until = self.elapsed.get() + timeout;
        while let Some(incident) = self.incident_before(until) {
            match incident {
                Incident::Forward(step) => self.wall.set(self.wall.get() + step),
                Incident::Back(step) => self.wall.set(self.wall.get() - step),
                Incident::Ask(requests) => return Some(requests),
            }
        }
        self.pass_until(until);
        Some(Requests::NONE)
    }

    fn note_run(&self, kind: RunKind) {
        let wall = DateTime::from_timestamp(
            self.wall.get().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64,
            0,
        )
        .unwrap();
        self.runs.borrow_mut().push(Run {
            at: self.elapsed.get(),
            wall: wall.format("%d %H:%M:%S").to_string(),
            full: kind.full,
        });
    }

    /// Supervises until `end`; each run takes what `run` says and has its verdict.
    fn supervise(
        &self,
        settings: Timing,
        end: Duration,
        health: &Health,
        mut run: impl FnMut(usize, RunKind) -> (Duration, Verdict),
    ) {
        let reload = |_: &mut usize| Err("no new configuration".to_owned());
        self.supervise_with_reload(settings, end, health, &mut run, reload);
    }

    fn supervise_with_reload(
        &self,
        settings: Timing,
        end: Duration,
        health: &Health,
        run: &mut dyn FnMut(usize, RunKind) -> (Duration, Verdict),
        reload: impl FnMut(&mut usize) -> Result<Timing, String>,
    ) {
        let supervisor = Supervisor { clock: self, health, notifier: &Notifier::default() };
        let count_and_run = |count: &mut usize, kind| {
            self.note_run(kind);
            *count += 1;
            let (duration, verdict) = run(*count - 1, kind);
            self.sleep(duration);
            verdict
        };
        supervisor.supervise(
            &mut 0,
            settings,
            |timeout| self.wait(timeout, end),
            count_and_run,
            reload,
        );
    }

    fn walls(&self) -> Vec<String> {
        self.runs.borrow().iter().map(|run| run.wall.clone()).collect()
    }

    fn fulls(&self) -> Vec<bool> {
        self.runs.borrow().iter().map(|run| run.full).collect()
    }
}

fn settings(schedule: &str, full: Option<&str>) -> Timing {
    Timing {
        schedule: CronSchedule::parse(schedule).unwrap(),
        full_refresh_schedule: full.map(|text| CronSchedule::parse(text).unwrap()),
        time_outs: TIME_OUTS,
        follow_interval: None,
    }
}

fn fine(_: usize, _: RunKind) -> (Duration, Verdict) {
    (Duration::from_millis(210), Verdict::Synchronised)
}

#[test]
fn a_day_runs_at_the_start_and_then_by_the_expression() {
    // The day central European clocks are set forward: the schedule is UTC and does not care.
    let world = World::new("2026-03-29T00:01:30Z");
    world.supervise(settings("0 */5 * * * * *", None), DAY, &Health::new(TIME_OUTS), fine);
    let expected =
        (0..288).map(|n| format!("29 {:02}:{:02}:00", (n + 1) * 5 / 60 % 24, (n + 1) * 5 % 60));
    let expected: Vec<String> = expected
        .map(|wall| if wall == "29 00:00:00" { "30 00:00:00".into() } else { wall })
        .collect();
    let walls = world.walls();
    assert_eq!(walls[0], "29 00:01:30");
    assert_eq!(walls[1..], expected);
}

#[test]
fn runs_that_outlast_their_period_do_not_pile_up() {
    let world = World::new("2026-06-01T10:00:00Z");
    world.supervise(settings("0 */5 * * * *", None), HOUR, &Health::new(TIME_OUTS), |_, _| {
        (12 * MINUTE, Verdict::Synchronised)
    });
    assert_eq!(
        world.walls(),
        ["01 10:00:00", "01 10:15:00", "01 10:30:00", "01 10:45:00", "01 11:00:00"]
    );
}

#[test]
fn a_clock_set_forward_runs_once_for_all_it_skipped() {
    let world =
        World::new("2026-06-01T10:01:00Z").script(&[(10 * MINUTE, Incident::Forward(3 * HOUR))]);
    world.supervise(settings("0 */5 * * * *", None), 20 * MINUTE, &Health::new(TIME_OUTS), fine);
    // Noticed within half a minute.
    let expected =
        ["01 10:01:00", "01 10:05:00", "01 10:10:00", "01 13:11:00", "01 13:15:00", "01 13:20:00"];
    assert_eq!(world.walls()[..3], expected[..3]);
    let noticed = world.runs.borrow()[3].at;
    assert!(
        noticed >= 10 * MINUTE && noticed <= 10 * MINUTE + Duration::from_secs(30),
        "{noticed:?}"
    );
    assert_eq!(world.walls()[4..], expected[4..]);
}

#[test]
fn a_clock_set_back_does_not_make_it_wait_for_the_old_time() {
    let world =
        World::new("2026-06-01T10:01:00Z").script(&[(11 * MINUTE, Incident::Back(6 * HOUR))]);
    world.supervise(settings("0 */5 * * * *", None), 20 * MINUTE, &Health::new(TIME_OUTS), fine);
    assert_eq!(
        world.walls(),
        ["01 10:01:00", "01 10:05:00", "01 10:10:00", "01 04:15:00", "01 04:20:00"]
    );
}

#[test]
fn a_clock_set_during_a_run_does_no_harm_either() {
    let world = World::new("2026-06-01T10:00:00Z")
        .script(&[(MINUTE, Incident::Back(HOUR)), (11 * MINUTE, Incident::Forward(5 * HOUR))]);
    world.supervise(
        settings("0 */10 * * * *", None),
        30 * MINUTE,
        &Health::new(TIME_OUTS),
        |_, _| (2 * MINUTE, Verdict::Synchronised),
    );
    // 10:00 + 2 min, an hour back: 09:02; the run at 09:10 ends at 14:12.
    assert_eq!(world.walls(), ["01 10:00:00", "01 09:10:00", "01 14:20:00", "01 14:30:00"]);
}

/// A machine without a battery for its clock starts in 1970.
#[test]
fn a_clock_that_comes_from_1970_to_today_runs_at_once() {
    let world =
        World::new("1970-01-01T00:00:10Z").script(&[(MINUTE, Incident::Forward(20_000 * DAY))]);
    world.supervise(settings("0 0 3 * * *", None), 3 * MINUTE, &Health::new(TIME_OUTS), fine);
    assert_eq!(world.runs.borrow().len(), 2);
}

/// Any number of steps, anywhere: runs never stop, and never storm.
#[test]
fn random_steps_all_day_neither_stop_nor_storm() {
    let mut random = Random::from_environment();
    let mut below = |limit: u64| random.below(limit as usize) as u64;
    for _ in 0..50 {
        let mut incidents: Vec<(Duration, Incident)> = (0..40)
            .map(|_| {
                let (at, step) =
                    (Duration::from_secs(below(86_400)), Duration::from_millis(below(20_000_000)));
                (at, if below(2) == 0 { Incident::Forward(step) } else { Incident::Back(step) })
            })
            .collect();
        incidents.sort_by_key(|(at, _)| *at);
        let world = World::new("2026-06-01T10:00:00Z").script(&incidents);
        let slow = 90_000;
        let durations: Vec<Duration> =
            (0..1_000).map(|_| Duration::from_millis(below(slow))).collect();
        let duration = |count: usize| durations[count % durations.len()];
        world.supervise(
            settings("0 */5 * * * *", None),
            DAY,
            &Health::new(TIME_OUTS),
            |count, _| (duration(count), Verdict::Synchronised),
        );
        let runs = world.runs.borrow();
        for (pair, count) in runs.windows(2).zip(0..) {
            let gap = pair[1].at - pair[0].at;
            // Each step back may start the wait for the next time again, and is noticed half a
            // minute late at most.
            let steps =
                incidents.iter().filter(|(at, _)| pair[0].at <= *at && *at <= pair[1].at).count()
                    as u32;
            let longest = duration(count) + (5 * MINUTE + Duration::from_secs(30)) * (steps + 1);
            assert!(gap <= longest, "{gap:?} between {pair:?} with {steps} steps");
        }
        assert!(runs.len() <= 1 + 288 + incidents.len(), "{} runs", runs.len());
    }
}

#[test]
fn full_refreshes_have_a_schedule_of_their_own() {
    let world = World::new("2026-06-01T00:30:00Z");
    world.supervise(
        settings("0 0 * * * *", Some("0 30 2 * * *")),
        4 * HOUR,
        &Health::new(TIME_OUTS),
        fine,
    );
    let expected =
        ["01 00:30:00", "01 01:00:00", "01 02:00:00", "01 02:30:00", "01 03:00:00", "01 04:00:00"];
    assert_eq!(world.walls()[..6], expected);
    assert_eq!(world.fulls()[..6], [false, false, false, true, false, false]);
}

#[test]
fn both_schedules_at_once_make_one_full_run() {
    let world = World::new("2026-06-01T00:30:00Z");
    world.supervise(
        settings("0 0 * * * *", Some("0 0 2 * * *")),
        3 * HOUR,
        &Health::new(TIME_OUTS),
        fine,
    );
    assert_eq!(world.walls()[..4], ["01 00:30:00", "01 01:00:00", "01 02:00:00", "01 03:00:00"]);
    assert_eq!(world.fulls()[..4], [false, false, true, false]);
}

#[test]
fn a_full_refresh_stays_due_until_one_gets_through() {
    let verdicts = [
        Verdict::Synchronised,
        Verdict::Failed,
        Verdict::Refused,
        Verdict::Busy,
        Verdict::Held,
        Verdict::Synchronised,
    ];
    let world = World::new("2026-06-01T01:30:00Z");
    world.supervise(
        settings("0 0 * * * *", Some("0 0 2 * * *")),
        5 * HOUR,
        &Health::new(TIME_OUTS),
        |count, _| (MINUTE, verdicts[count.min(verdicts.len() - 1)]),
    );
    assert_eq!(world.fulls()[..6], [false, true, true, true, true, false]);
}

#[test]
fn a_full_refresh_that_came_due_during_a_run_is_not_lost() {
    let world = World::new("2026-06-01T02:00:00Z");
    world.supervise(
        settings("0 0 * * * *", Some("0 0 3 * * *")),
        4 * HOUR,
        &Health::new(TIME_OUTS),
        |count, _| (if count == 0 { 90 * MINUTE } else { MINUTE }, Verdict::Synchronised),
    );
    assert_eq!(world.walls()[..3], ["01 02:00:00", "01 04:00:00", "01 05:00:00"]);
    assert_eq!(world.fulls()[..3], [false, true, false]);
}

#[test]
fn a_run_can_be_asked_for() {
    let world = World::new("2026-06-01T02:10:00Z").script(&[(10 * MINUTE, Incident::Ask(RUN_NOW))]);
    world.supervise(settings("0 0 * * * *", None), HOUR, &Health::new(TIME_OUTS), fine);
    assert_eq!(world.walls(), ["01 02:10:00", "01 02:20:00", "01 03:00:00"]);
}

#[test]
fn a_new_configuration_takes_effect_and_a_broken_one_does_not() {
    let ask = Incident::Ask(RELOAD);
    let world = World::new("2026-06-01T02:10:00Z").script(&[
        (20 * MINUTE, ask),
        (2 * HOUR, ask),
        (3 * HOUR, ask),
    ]);
    let mut answers = vec![Err("ldap_uri: line 3".to_owned()), Ok(settings("0 15 * * * *", None))];
    let reload =
        |_: &mut usize| if answers.is_empty() { panic!("a defect") } else { answers.remove(0) };
    world.supervise_with_reload(
        settings("0 0 * * * *", None),
        4 * HOUR,
        &Health::new(TIME_OUTS),
        &mut fine,
        reload,
    );
    assert_eq!(
        world.walls(),
        ["01 02:10:00", "01 03:00:00", "01 04:00:00", "01 04:15:00", "01 05:15:00"]
    );
}

#[test]
fn a_panic_fails_the_run_and_the_service_goes_on() {
    let health = Health::new(TIME_OUTS);
    let world = World::new("2026-06-01T02:10:00Z");
    let mut seen = Vec::new();
    world.supervise(settings("0 0 * * * *", None), 3 * HOUR, &health, |count, kind| {
        seen.push(health.condition(world.now()));
        if count == 0 {
            panic!("a defect");
        }
        fine(count, kind)
    });
    assert_eq!(seen[..3], [Condition::Starting, Condition::Failed, Condition::Good]);
}

#[test]
fn the_condition_follows_the_runs() {
    let health = Health::new(TIME_OUTS);
    let world = World::new("2026-06-01T02:10:00Z");
    let verdicts = [
        Verdict::Failed,
        Verdict::Held,
        Verdict::Refused,
        Verdict::Synchronised,
        Verdict::Busy,
        Verdict::Synchronised,
    ];
    let mut seen = Vec::new();
    world.supervise(settings("0 0 * * * *", None), 5 * HOUR, &health, |count, _| {
        seen.push(health.condition(world.now()));
        (MINUTE, verdicts[count.min(5)])
    });
    use Condition::{Failed, Gone, Good, Held, Refused, Starting};
    // A run that found the lock taken says nothing: the state before stands.
    assert_eq!(seen, [Starting, Failed, Held, Refused, Good, Good]);
    assert_eq!(health.condition(world.now()), Gone, "the loop has ended");
}

#[test]
fn a_good_state_lasts_two_periods_and_the_time_outs_by_the_monotonic_clock() {
    // From 02:01 the second time to run is 04:00.
    let (lasts, moment) = (119 * MINUTE + TIME_OUTS, Duration::from_secs(1));
    for step in [None, Some(Incident::Forward(4 * HOUR)), Some(Incident::Back(4 * HOUR))] {
        let health = Health::new(TIME_OUTS);
        let world = World::new("2026-06-01T02:00:00Z");
        let mut seen = Vec::new();
        // The second run, whenever it comes, never ends: what is seen of the first one's state is
        // asked from within it.
        world.supervise(settings("0 0 * * * *", None), 2 * HOUR, &health, |count, _| {
            if count == 0 {
                if let Some(step) = step {
                    // After the run has ended.
                    world.script.borrow_mut().push((MINUTE + moment, step));
                }
                return (MINUTE, Verdict::Synchronised);
            }
            let ended = world.origin + MINUTE;
            health.progress(ended + lasts + moment);
            seen.extend([
                health.condition(ended + lasts),
                health.condition(ended + lasts + moment),
            ]);
            (2 * HOUR, Verdict::Synchronised)
        });
        assert_eq!(seen[..2], [Condition::Good, Condition::Stale]);
    }
}

/// Somebody holds the lock from the second run on. The state of the first is good for two periods
/// and the time-outs, and not longer.
#[test]
fn a_lock_that_stays_taken_is_no_good_news() {
    for first in [Verdict::Synchronised, Verdict::Busy] {
        let health = Health::new(TIME_OUTS);
        let world = World::new("2026-06-01T02:00:00Z");
        let mut seen = Vec::new();
        world.supervise(settings("0 0 * * * *", None), 4 * HOUR, &health, |count, _| {
            seen.push(health.condition(world.now()));
            (MINUTE, if count == 0 { first } else { Verdict::Busy })
        });
        use Condition::{Good, Stale, Starting};
        let expected =
            if first == Verdict::Busy { [Starting; 4] } else { [Starting, Good, Good, Stale] };
        assert_eq!(seen[..4], expected, "{first:?}");
    }
}

#[test]
fn a_run_that_does_not_move_is_hung_however_recent_the_last_one_is() {
    let health = Health::new(TIME_OUTS);
    let world = World::new("2026-06-01T02:00:00Z");
    let mut seen = Vec::new();
    world.supervise(settings("0 0 * * * *", None), 2 * HOUR, &health, |count, _| {
        if count == 1 {
            let (start, moment) = (world.now(), Duration::from_secs(1));
            seen.extend([
                health.condition(start + TIME_OUTS),
                health.condition(start + TIME_OUTS + moment),
            ]);
            assert!(!health.is_alive(start + TIME_OUTS + moment));
            health.progress(start + TIME_OUTS);
            seen.extend([
                health.condition(start + 2 * TIME_OUTS),
                health.condition(start + 2 * TIME_OUTS + moment),
            ]);
        }
        (MINUTE, Verdict::Synchronised)
    });
    assert_eq!(seen, [Condition::Good, Condition::Hung, Condition::Good, Condition::Hung]);
}

/// The watchdog is fed by the loop's own life: between runs, too, and not for longer than the loop
/// comes round.
#[test]
fn a_loop_that_does_not_come_round_is_hung() {
    let (moment, health) = (Duration::from_secs(1), Health::new(DAY));
    let world = World::new("2026-06-01T00:00:00Z").script(&[(30 * MINUTE, Incident::Ask(RELOAD))]);
    let supervisor = Supervisor { clock: &world, health: &health, notifier: &Notifier::default() };
    let stuck = |at: Instant| {
        assert!(health.is_alive(at + LOOP_PATIENCE), "it may take so long");
        assert_eq!(health.condition(at + LOOP_PATIENCE + moment), Condition::Hung);
        assert!(!health.is_alive(at + LOOP_PATIENCE + moment));
    };
    let (mut waits, mut reloads) = (0, 0);
    let wait = |timeout| {
        waits += 1;
        stuck(world.now());
        // From its one sign of life to the next one.
        assert!(timeout < LOOP_PATIENCE);
        let requests = world.wait(timeout, HOUR);
        assert!(health.is_alive(world.now()));
        requests
    };
    let reload = |(): &mut ()| {
        reloads += 1;
        stuck(world.now());
        Err("it hangs".to_owned())
    };
    supervisor.supervise(
        &mut (),
        settings("0 0 3 * * *", None),
        wait,
        |(), _| Verdict::Synchronised,
        reload,
    );
    assert!(waits > 100 && reloads == 1, "{waits} waits, {reloads} reloads");
}

#[test]
fn a_reload_changes_how_long_the_last_run_is_recent() {
    // The first run is at 00:00, the reload at 00:02.
    let conditions = |before: &str, after: &str, end: Duration| {
        let world =
            World::new("2026-06-01T00:00:00Z").script(&[(2 * MINUTE, Incident::Ask(RELOAD))]);
        let health = Health::new(TIME_OUTS);
        let supervisor =
            Supervisor { clock: &world, health: &health, notifier: &Notifier::default() };
        let mut seen = Vec::new();
        let wait = |timeout| {
            seen.push(health.condition(world.now()));
            world.wait(timeout, end)
        };
        supervisor.supervise(
            &mut (),
            settings(before, None),
            wait,
            |(), _| Verdict::Synchronised,
            |()| Ok(settings(after, None)),
        );
        seen
    };
    let daily = conditions("0 */5 * * * *", "0 0 3 * * *", 2 * HOUR);
    assert!(daily.iter().all(|condition| *condition == Condition::Good), "{daily:?}");
    // The other way round the run of the night would do for two days; no run comes, because the
    // year is over.
    let frequent = conditions("0 0 3 * * *", "0 */5 * * * * 2025", HOUR);
    assert_eq!(frequent.last(), Some(&Condition::Stale));
}

#[test]
fn systemd_is_told_of_the_start_each_run_and_a_reload() {
    let folder = TempDir::new("supervise");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let notifier = Notifier::to(path.as_os_str()).unwrap();
    let world = World::new("2026-06-01T02:10:00Z").script(&[(10 * MINUTE, Incident::Ask(RELOAD))]);
    let supervisor =
        Supervisor { clock: &world, health: &Health::new(TIME_OUTS), notifier: &notifier };
    let new = || Ok(settings("0 0 4 * * *", None));
    supervisor.supervise(
        &mut (),
        settings("0 0 3 * * *", None),
        |timeout| world.wait(timeout, HOUR),
        |(), _| Verdict::Held,
        |()| new(),
    );
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 1024];
    let messages = std::iter::from_fn(|| {
        socket
            .recv(&mut buffer)
            .ok()
            .map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned())
    });
    // But for the time of the reload.
    let messages: Vec<String> =
        messages.map(|message| message.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        messages,
        [
            "READY=1",
            "STATUS=synchronising",
            "STATUS=synchronised, but many entries need attention; next run at 2026-06-01 03:00:00 UTC",
            "RELOADING=1",
            "STATUS=configuration read again; next run at 2026-06-01 04:00:00 UTC",
            "READY=1",
        ]
    );
}

#[test]
fn a_schedule_that_is_over_leaves_the_service_to_its_signals() {
    let world = World::new("2026-12-31T23:58:30Z").script(&[(DAY, Incident::Ask(RUN_NOW))]);
    world.supervise(settings("0 * * * * * 2026", None), 2 * DAY, &Health::new(TIME_OUTS), fine);
    assert_eq!(world.walls(), ["31 23:58:30", "31 23:59:00", "01 23:58:30"]);
}

/// Rings at these milliseconds. Each run takes `run`.
fn rung(
    rings: impl IntoIterator<Item = u64>,
    interval: Option<Duration>,
    run: impl FnMut(usize, RunKind) -> (Duration, Verdict),
) -> Vec<u64> {
    let ask = Incident::Ask(Requests { ring: true, ..Requests::NONE });
    let rings: Vec<_> = rings.into_iter().map(|at| (Duration::from_millis(at), ask)).collect();
    let world = World::new("2026-11-23T00:00:00Z").script(&rings);
    let timing = Timing { follow_interval: interval, ..settings("0 0 0 1 1 * 2099", None) };
    world.supervise(timing, 20 * MINUTE, &Health::new(TIME_OUTS), run);
    // The first run is that of the start.
    world.runs.borrow().iter().skip(1).map(|run| run.at.as_millis() as u64).collect()
}

#[test]
fn a_ring_starts_a_run_at_once_and_then_one_each_interval() {
    let second = Some(Duration::from_secs(1));
    let took = |ms: u64| move |_, _| (Duration::from_millis(ms), Verdict::Synchronised);
    let nothing: [u64; 0] = [];
    assert_eq!(rung([5000, 9000], second, took(10)), [5000, 9000]);
    assert_eq!(rung([5000, 9000], None, took(10)), nothing, "nobody follows");
    // The run of the start counts too.
    assert_eq!(rung([500], second, took(10)), [1000]);
    assert_eq!(rung([5000, 5002, 5300, 5900], second, took(10)), [5000, 6000]);
    assert_eq!(rung([5000, 5002, 5300], second, took(3000)), [5000, 8000], "during the run");
    assert_eq!(rung([5000, 5050], Some(Duration::from_millis(100)), took(10)), [5000, 5100]);
    // A thousand rings a second for a minute.
    let runs = rung(5000..65_000, second, took(10));
    assert_eq!(runs.len(), 61);
    assert!(runs.windows(2).all(|pair| pair[1] - pair[0] == 1000), "{runs:?}");
}

#[test]
fn a_ring_whose_run_failed_is_tried_again_until_one_succeeds() {
    let second = Some(Duration::from_secs(1));
    let fails = |bad: Verdict, times: usize| {
        move |number: usize, _| {
            let failed = (1..=times).contains(&number);
            (Duration::ZERO, if failed { bad } else { Verdict::Synchronised })
        }
    };
    let expected = [5000, 6000, 8000, 12_000];
    assert_eq!(rung([5000], second, fails(Verdict::Failed, 3)), expected);
    assert_eq!(rung([5000], second, fails(Verdict::Busy, 3)), expected);
    // A steady stream of rings does not make it more often.
    assert_eq!(rung((5000..12_000).step_by(50), second, fails(Verdict::Failed, 3)), expected);
    assert_eq!(rung([5000], second, fails(Verdict::Refused, 3)), [5000], "the guard");
}

#[test]
fn systemd_is_told_of_the_listener() {
    let folder = TempDir::new("supervise");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let notifier = Notifier::to(path.as_os_str()).unwrap();
    let news = Incident::Ask(Requests { news: true, ..Requests::NONE });
    let world = World::new("2026-06-01T02:10:00Z").script(&[(MINUTE, news), (2 * MINUTE, news)]);
    let health = Health::new(TIME_OUTS);
    let supervisor = Supervisor { clock: &world, health: &health, notifier: &notifier };
    let states = [None, Some(Following::Listening), Some(Following::Down)];
    supervisor.supervise(
        &mut (),
        settings("0 0 3 * * *", None),
        |timeout| {
            let asked = world.wait(timeout, 5 * MINUTE);
            let minute = world.elapsed.get().as_secs() / 60;
            health.set_following(states[usize::try_from(minute.min(2)).unwrap()]);
            asked
        },
        |(), _| Verdict::Synchronised,
        |()| panic!("nobody asks for it"),
    );
    // The loop and the listener have their own verdicts.
    assert_eq!(health.following(), Some(Following::Down));
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 1024];
    let mut told = String::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        told += &format!("{}\n", String::from_utf8_lossy(&buffer[..length]));
    }
    let next = "next run at 2026-06-01 03:00:00 UTC";
    for state in ["", "; listens for changes", "; cannot listen for changes"] {
        assert!(told.contains(&format!("STATUS=synchronised{state}; {next}\n")), "{state}: {told}");
    }
}
