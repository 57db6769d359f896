//! The thread that listens to the directory, and asks the loop for a run when the directory rings.
//!
//! Scope: when to listen, and what the service says about it. A closure connects and listens. A
//! directory that does not let us listen costs nothing but the delay, because the schedule goes on.
//! So each reason is said once in an outage, and the pauses between attempts double.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::health::Health;
use super::signals::{Inbox, Requests};
use crate::text::sentence;

/// The pauses between two attempts to listen.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// The first pause after a failure. Each later pause is twice as long.
    pub first: Duration,
    /// The longest pause. A connection that listened for this long ends the outage. Also the
    /// minimum time between two runs for changes outside the content.
    pub longest: Duration,
}

impl Pauses {
    /// A connection that listened for so many first pauses begins the pauses anew. So a proxy that
    /// cuts idle connections leaves nobody deaf for long.
    const STEADY: u32 = 10;

    fn next(self, pause: Duration) -> Duration {
        pause.saturating_mul(2).min(self.longest)
    }
}

impl Default for Pauses {
    /// One second to one minute.
    fn default() -> Self {
        Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// Maximum number of reasons that one outage has in the log. A server may give each attempt another.
const MAX_REASONS: usize = 5;

/// Maximum time between two looks at [`Line::is_over`].
pub const TICK: Duration = Duration::from_millis(500);

/// The state of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// It has no cookie that the directory accepts, and waits for a run to bring one.
    Waiting,
    /// It connects, or the directory states what is new since the cookie.
    Connecting,
    /// The directory reports each change.
    Listening,
    /// It failed, and tries again later.
    Down,
}

impl Following {
    /// The state in one word, for `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Following::Waiting => "waiting",
            Following::Connecting => "connecting",
            Following::Listening => "listening",
            Following::Down => "down",
        }
    }
}

impl fmt::Display for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Following::Waiting => "waits for a run that tells where to listen from",
            Following::Connecting => "connects to listen for changes",
            Following::Listening => "listens for changes",
            Following::Down => "cannot listen for changes",
        })
    }
}

/// Why the closure of [`Follower::start`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The connection was silent for so long that a new one has to replace it.
    Silent,
    /// The directory does not accept the cookie, with its reason.
    CookieRefused(String),
    /// Everything else, with the place.
    Failed(String),
    /// [`Line::is_over`].
    Over,
}

/// The listener. Dropping it ends the thread, at its next look at [`Line::is_over`].
#[derive(Debug)]
pub struct Follower(Arc<Line>);

/// What the loop and the listener share.
#[derive(Debug)]
pub struct Line {
    record: Mutex<Record>,
    changed: Condvar,
    inbox: Inbox,
    health: Health,
    pauses: Pauses,
}

#[derive(Debug, Default)]
struct Record {
    /// Where to listen from. Kanidm holds the content up to here.
    cookie: Option<Vec<u8>>,
    /// Runs that have ended.
    runs: u64,
    /// A ring that no run has answered.
    rung: bool,
    /// A change outside the content that no run has answered and that has not rung yet.
    outside: bool,
    /// The last ring for a change outside the content.
    outside_rang: Option<Instant>,
    /// Since when the directory reports each change.
    listening: Option<Instant>,
    /// The reasons that the log has for the outage that goes on. Empty without one.
    said: Vec<String>,
    /// The log has the first success.
    has_listened: bool,
    over: bool,
}

impl Follower {
    /// Starts the thread. `listen` connects from the cookie that it gets, and listens until
    /// something ends it. It calls [`Line::beat`] and looks at [`Line::is_over`] at least once a
    /// [`TICK`] while it listens.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        cookie: Option<Vec<u8>>,
        inbox: &Inbox,
        health: &Health,
        pauses: Pauses,
        listen: impl FnMut(&Line, &[u8]) -> Ending + Send + 'static,
    ) -> io::Result<Follower> {
        let line = Arc::new(Line {
            record: Mutex::new(Record { cookie, ..Record::default() }),
            changed: Condvar::new(),
            inbox: inbox.clone(),
            health: health.clone(),
            pauses,
        });
        let shared = Arc::clone(&line);
        thread::Builder::new().name("listener".into()).spawn(move || shared.follow(listen))?;
        Ok(Follower(line))
    }

    /// A run begins. It answers every ring so far.
    pub fn run_begins(&self) {
        let mut record = self.0.record();
        record.rung = false;
        record.outside = false;
    }

    /// A run has ended. `cookie` is where Kanidm is now; `None` if the run could not tell.
    pub fn run_ended(&self, cookie: Option<Vec<u8>>) {
        let mut record = self.0.record();
        record.runs += 1;
        record.cookie = cookie.or(record.cookie.take());
        self.0.changed.notify_all();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.record().over = true;
        self.0.changed.notify_all();
        self.0.health.set_following(None);
    }
}

impl Line {
    /// True if nobody wants to know any more.
    pub fn is_over(&self) -> bool {
        self.record().over
    }

    /// A sign of life.
    pub fn beat(&self) {
        let mut record = self.record();
        if record.over {
            return;
        }
        self.health.listener_progress(Instant::now());
        let is_steady =
            record.listening.is_some_and(|since| since.elapsed() >= self.pauses.longest);
        let was_out = is_steady && !std::mem::take(&mut record.said).is_empty();
        let is_due = |rang: Instant| rang.elapsed() >= self.pauses.longest;
        let rings = record.outside && record.outside_rang.is_none_or(is_due);
        if rings {
            record.outside = false;
            record.outside_rang = Some(Instant::now());
        }
        drop(record);
        if was_out {
            log::info!("listening for changes of the directory again, for a minute now");
        }
        if rings {
            self.ring();
        }
    }

    /// The directory reports each change from now on.
    pub fn listening(&self) {
        let mut record = self.record();
        if record.listening.is_some() {
            return;
        }
        record.listening = Some(Instant::now());
        let had_listened = std::mem::replace(&mut record.has_listened, true);
        drop(record);
        self.enter(Following::Listening);
        // Connections are replaced often. The end of an outage is said when it lasts: see
        // [`Line::beat`].
        if had_listened {
            log::debug!("listening for changes of the directory again");
        } else {
            log::info!("listening for changes of the directory");
        }
    }

    /// The directory rang. True if it rang before, and no run has begun since: then there is no
    /// hurry to hear more.
    pub fn ring(&self) -> bool {
        let mut record = self.record();
        let rung = std::mem::replace(&mut record.rung, true);
        if !rung && !record.over {
            self.inbox.request(Requests { ring: true, ..Requests::NONE });
        }
        rung
    }

    /// Something outside the content has changed, and the filter may match another entry. A bind of
    /// ours may be such a change. So it rings at most once in [`Pauses::longest`], for otherwise the
    /// runs would ring for themselves. True if a ring waits already.
    pub fn ring_outside(&self) -> bool {
        let mut record = self.record();
        let waits = std::mem::replace(&mut record.outside, true) || record.rung;
        drop(record);
        self.beat();
        waits
    }

    fn follow(&self, mut listen: impl FnMut(&Line, &[u8]) -> Ending) {
        let Pauses { first, longest } = self.pauses;
        let mut pause = first;
        let mut was_refused = false;
        while let Some(cookie) = self.cookie() {
            self.enter(Following::Connecting);
            let ending = catch_unwind(AssertUnwindSafe(|| listen(self, &cookie)))
                .unwrap_or_else(|_| Ending::Failed("the listener ended in a panic, which is a defect of this program: please report it".into()));
            let listened =
                self.record().listening.take().map_or(Duration::ZERO, |since| since.elapsed());
            if listened >= first.saturating_mul(Pauses::STEADY) {
                pause = first;
                was_refused = false;
            }
            match ending {
                Ending::Over => return,
                Ending::Silent => {
                    log::debug!("replacing the connection that listens: it was silent for long");
                }
                // Servers and proxies close connections that are old or idle.
                Ending::Failed(failure) if listened >= longest => {
                    log::debug!("replacing the connection that listened: {failure}");
                }
                // The run gets the same answer, and starts over without the cookie.
                Ending::CookieRefused(reason) if !was_refused => {
                    was_refused = true;
                    log::info!(
                        "the directory does not accept the cookie to listen from: {reason}; a run makes a new one"
                    );
                    self.await_run();
                }
                // The guard refused that run, it failed, or its cookie is no better. A server may
                // refuse each cookie, so further runs come with pauses.
                Ending::CookieRefused(reason) => {
                    self.fail(format!(
                        "the directory does not accept the cookie to listen from: {reason}"
                    ));
                    self.pause(&mut pause);
                    self.await_run();
                }
                Ending::Failed(failure) => {
                    self.fail(failure);
                    self.pause(&mut pause);
                }
            }
        }
    }

    /// The cookie to listen from. Without one it asks for runs until one brings a cookie. `None` if
    /// the listener is over.
    fn cookie(&self) -> Option<Vec<u8>> {
        let found = |record: &Record| record.over || record.cookie.is_some();
        let mut pause = self.pauses.first;
        while !found(&self.record()) {
            self.await_run();
            self.wait_until(Instant::now().checked_add(pause), found);
            pause = self.pauses.next(pause);
        }
        let record = self.record();
        record.cookie.clone().filter(|_| !record.over)
    }

    fn await_run(&self) {
        self.enter(Following::Waiting);
        let before = self.record().runs;
        self.ring();
        self.wait_until(None, |record| record.over || record.runs > before);
    }

    /// Says each reason once in an outage.
    fn fail(&self, failure: String) {
        self.enter(Following::Down);
        let mut record = self.record();
        let is_first = record.said.is_empty();
        if record.said.contains(&failure) || record.said.len() >= MAX_REASONS {
            drop(record);
            log::debug!("cannot listen for changes: {failure}");
            return;
        }
        record.said.push(failure.clone());
        drop(record);
        if is_first {
            log::warn!(
                "cannot listen for changes: {} The schedule goes on, and the service tries to listen again at least once a minute",
                sentence(&failure)
            );
        } else {
            log::warn!("still cannot listen for changes: {failure}");
        }
    }

    /// Waits, and doubles the pause.
    fn pause(&self, pause: &mut Duration) {
        self.sleep(*pause);
        *pause = self.pauses.next(*pause);
    }

    fn sleep(&self, time: Duration) {
        self.wait_until(Instant::now().checked_add(time), |record| record.over);
    }

    /// Waits until the condition holds, at most until `end`, and gives signs of life.
    fn wait_until(&self, end: Option<Instant>, holds: impl Fn(&Record) -> bool) {
        loop {
            self.beat();
            let left =
                end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()).min(TICK));
            if left.is_zero() {
                return;
            }
            let record = self.record();
            if holds(&record) {
                return;
            }
            drop(self.changed.wait_timeout(record, left).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Shows the state, unless another listener has taken over.
    fn enter(&self, state: Following) {
        let record = self.record();
        if !record.over {
            self.health.set_following(Some(state));
            self.inbox.request(Requests { news: true, ..Requests::NONE });
        }
    }

    /// A panic elsewhere leaves the record as it was.
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver};

    const SHORT: Pauses =
        Pauses { first: Duration::from_millis(1), longest: Duration::from_millis(4) };
    const LONG: Duration = Duration::from_secs(60);

    /// A follower whose attempts to listen are seen, with the cookie of each.
    fn follower(
        cookie: Option<&[u8]>,
        mut listen: impl FnMut(usize, &Line) -> Ending + Send + 'static,
    ) -> (Follower, Receiver<Vec<u8>>, Inbox, Health) {
        let (inbox, health) = (Inbox::default(), Health::new(LONG));
        let (seen, attempts) = mpsc::channel();
        let mut count = 0;
        let listen = move |line: &Line, cookie: &[u8]| {
            count += 1;
            // The test may have seen enough.
            let _ = seen.send(cookie.to_vec());
            listen(count - 1, line)
        };
        let cookie = cookie.map(<[u8]>::to_vec);
        let follower = Follower::start(cookie, &inbox, &health, SHORT, listen).unwrap();
        (follower, attempts, inbox, health)
    }

    fn until_over(line: &Line) -> Ending {
        while !line.is_over() {
            thread::sleep(Duration::from_millis(1));
        }
        Ending::Over
    }

    #[test]
    fn a_directory_that_ends_each_search_at_once_is_tried_with_pauses_and_rings_nobody() {
        let begun = Instant::now();
        let (follower, attempts, inbox, health) = follower(Some(b"c"), |count, line| {
            if count < 100 { Ending::Failed("done".to_owned()) } else { until_over(line) }
        });
        for _ in 0..=100 {
            assert_eq!(attempts.recv_timeout(LONG).unwrap(), b"c");
        }
        // 1 and 2 ms, and 98 pauses of 4 ms.
        assert!(begun.elapsed() >= Duration::from_millis(395), "{:?}", begun.elapsed());
        assert_eq!(inbox.wait(LONG), Requests { news: true, ..Requests::NONE });
        assert_eq!(health.following(), Some(Following::Connecting));
        drop(follower);
        assert_eq!(health.following(), None);
    }

    #[test]
    fn a_panic_is_one_more_failure() {
        let (_follower, attempts, ..) = follower(Some(b"c"), |count, line| {
            assert_ne!(count, 0, "a defect");
            until_over(line)
        });
        for _ in 0..2 {
            attempts.recv_timeout(LONG).unwrap();
        }
    }

    #[test]
    fn without_a_cookie_it_rings_with_pauses_until_a_run_brings_one() {
        let (follower, attempts, inbox, health) = follower(None, |_, line| until_over(line));
        // The guard may refuse each of these runs, and its ring is not kept.
        for _ in 0..4 {
            while !inbox.wait(LONG).ring {}
            assert_eq!(health.following(), Some(Following::Waiting));
            follower.run_begins();
            follower.run_ended(None);
        }
        while !inbox.wait(LONG).ring {}
        assert_eq!(inbox.wait(Duration::from_millis(20)), Requests::NONE, "no run has begun");
        assert!(attempts.try_recv().is_err());
        follower.run_ended(Some(b"new".to_vec()));
        assert_eq!(attempts.recv_timeout(LONG).unwrap(), b"new");
    }

    #[test]
    fn a_cookie_refused_again_asks_for_a_run_again_and_is_a_failure() {
        let (follower, attempts, inbox, health) =
            follower(Some(b"old"), |_, _| Ending::CookieRefused("no".to_owned()));
        // The guard refuses the run, or it fails: the cookie stays.
        for number in 0..10 {
            assert_eq!(attempts.recv_timeout(LONG).unwrap(), b"old");
            while !inbox.wait(LONG).ring {}
            assert_eq!(follower.0.record().said.len(), usize::from(number > 0));
            assert_eq!(health.following(), Some(Following::Waiting));
            follower.run_begins();
            follower.run_ended(None);
        }
    }

    #[test]
    fn another_cookie_that_is_refused_soon_asks_for_a_run_too() {
        let (inbox, health) = (Inbox::default(), Health::new(LONG));
        let (seen, attempts) = mpsc::channel();
        let mut count = 0;
        let listen = move |line: &Line, cookie: &[u8]| {
            count += 1;
            let _ = seen.send(cookie.to_vec());
            if count != 2 {
                return Ending::CookieRefused("no".to_owned());
            }
            line.listening();
            Ending::Failed("the server restarts, and forgets its cookies".to_owned())
        };
        let follower =
            Follower::start(Some(b"old".to_vec()), &inbox, &health, SHORT, listen).unwrap();
        for cookie in [b"old", b"new"] {
            assert_eq!(attempts.recv_timeout(LONG).unwrap(), cookie);
            if cookie == b"new" {
                assert_eq!(attempts.recv_timeout(LONG).unwrap(), b"new");
            }
            while !inbox.wait(LONG).ring {}
            follower.run_begins();
            follower.run_ended(Some(b"new".to_vec()));
        }
    }

    /// A server that listens for a moment before it refuses each cookie gets no run at each attempt.
    #[test]
    fn refusals_one_after_the_other_come_with_pauses() {
        let begun = Instant::now();
        let (follower, attempts, inbox, _) = follower(Some(b"c"), |_, line| {
            line.listening();
            Ending::CookieRefused("no".to_owned())
        });
        for number in 0..20_u8 {
            attempts.recv_timeout(LONG).unwrap();
            while !inbox.wait(LONG).ring {}
            follower.run_begins();
            follower.run_ended(Some(vec![number]));
        }
        // None, 1 and 2 ms, and 17 pauses of 4 ms.
        assert!(begun.elapsed() >= Duration::from_millis(71), "{:?}", begun.elapsed());
    }

    #[test]
    fn an_outage_has_each_reason_once_and_five_at_most() {
        let (follower, attempts, ..) = follower(Some(b"c"), |count, line| match count {
            0..20 => Ending::Failed(["refused", "cut"][count % 2].to_owned()),
            20..40 => Ending::Failed(format!("reason {count}")),
            _ => until_over(line),
        });
        for _ in 0..=20 {
            attempts.recv_timeout(LONG).unwrap();
        }
        assert_eq!(follower.0.record().said[..2], ["refused", "cut"]);
        for _ in 0..20 {
            attempts.recv_timeout(LONG).unwrap();
        }
        let said = follower.0.record().said.clone();
        assert_eq!(said, ["refused", "cut", "reason 20", "reason 21", "reason 22"]);
    }

    /// A proxy that cuts idle connections does so.
    #[test]
    fn a_connection_that_listened_for_long_is_replaced_without_a_warning() {
        let (follower, attempts, inbox, health) = follower(Some(b"c"), |count, line| {
            line.listening();
            if count == 3 {
                return until_over(line);
            }
            thread::sleep(SHORT.longest);
            Ending::Failed("cut off".to_owned())
        });
        for _ in 0..4 {
            attempts.recv_timeout(LONG).unwrap();
        }
        assert!(follower.0.record().said.is_empty());
        assert_ne!(health.following(), Some(Following::Down));
        assert!(!inbox.wait(Duration::ZERO).ring);
    }

    /// Each run binds, which is such a change with the overlay lastbind.
    #[test]
    fn changes_outside_the_content_ring_at_once_and_then_once_in_the_longest_pause() {
        let (inbox, health) = (Inbox::default(), Health::new(LONG));
        let (step, steps) = mpsc::channel::<()>();
        let (told, rang) = mpsc::channel();
        let listen = move |line: &Line, _: &[u8]| {
            line.listening();
            while steps.recv().is_ok() {
                let _ = told.send(line.ring_outside());
            }
            Ending::Over
        };
        let pauses = Pauses { first: SHORT.first, longest: LONG };
        let follower =
            Follower::start(Some(b"c".to_vec()), &inbox, &health, pauses, listen).unwrap();
        let ring = || {
            step.send(()).unwrap();
            rang.recv_timeout(LONG).unwrap()
        };
        assert!(!ring() && ring());
        assert!(inbox.wait(LONG).ring, "the first one");
        follower.run_begins();
        assert!(!ring() && ring(), "the bind of the run");
        follower.run_ended(Some(b"d".to_vec()));
        assert!(!inbox.wait(Duration::from_millis(20)).ring);
        // A minute later a sign of life suffices.
        follower.0.record().outside_rang = Instant::now().checked_sub(LONG);
        follower.0.beat();
        assert!(inbox.wait(Duration::ZERO).ring);
        follower.0.beat();
        assert!(!inbox.wait(Duration::ZERO).ring);
    }

    #[test]
    fn rings_count_once_until_a_run_begins() {
        let (step, steps) = mpsc::channel::<()>();
        let (told, rang) = mpsc::channel();
        let (follower, _attempts, inbox, _) = follower(Some(b"c"), move |_, line| {
            line.listening();
            while steps.recv().is_ok() {
                let _ = told.send(line.ring());
            }
            Ending::Over
        });
        let ring = || {
            step.send(()).unwrap();
            rang.recv_timeout(LONG).unwrap()
        };
        assert!(!ring() && ring() && ring());
        assert!(inbox.wait(LONG).ring);
        assert!(ring(), "the run has not begun");
        assert!(!inbox.wait(Duration::from_millis(5)).ring);
        follower.run_begins();
        assert!(!ring());
        assert!(inbox.wait(LONG).ring, "during the run");
    }

    #[test]
    fn a_silent_connection_is_replaced_at_once() {
        let (_follower, attempts, inbox, _) = follower(Some(b"c"), |count, line| {
            line.listening();
            if count < 3 { Ending::Silent } else { until_over(line) }
        });
        for _ in 0..4 {
            attempts.recv_timeout(LONG).unwrap();
        }
        assert!(!inbox.wait(Duration::ZERO).ring);
    }

    #[test]
    fn the_watchdog_sees_a_listener_that_hangs() {
        let (_follower, attempts, _, health) = follower(Some(b"c"), |_, line| until_over(line));
        attempts.recv_timeout(LONG).unwrap();
        let now = Instant::now();
        assert!(health.is_alive(now + LONG));
        assert!(!health.is_alive(now + LONG * 2), "it has not given a sign of life since");
        assert_eq!(health.condition(now + LONG * 2), super::super::health::Condition::Starting);
    }
}
