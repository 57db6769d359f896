//! The thread that listens to the directory, and asks the loop for a run when the directory rings.
//!
//! Scope: when to listen, and what the service says about it. A closure connects and listens. A
//! directory that does not let us listen costs nothing but the delay, because the schedule goes on.
//! So a failure is said once, and tried again with pauses that double.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::health::Health;
use super::signals::{Inbox, Requests};

/// The first pause after a failure. Each later pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause. A connection that listened for this long ends the outage.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Maximum time between two looks at [`Line::is_over`].
pub const TICK: Duration = Duration::from_millis(500);

/// The state of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// It has no cookie to start from, and waits for a run to bring one.
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
            Following::Waiting => "listens for changes after the next run",
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
}

#[derive(Debug, Default)]
struct Record {
    /// Where to listen from. Kanidm holds the content up to here.
    cookie: Option<Vec<u8>>,
    /// Runs that have ended.
    runs: u64,
    /// A ring that no run has answered.
    rung: bool,
    /// Since when the directory reports each change.
    listening: Option<Instant>,
    /// A failure was said, and the outage goes on.
    is_out: bool,
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
        listen: impl FnMut(&Line, &[u8]) -> Ending + Send + 'static,
    ) -> io::Result<Follower> {
        let line = Arc::new(Line {
            record: Mutex::new(Record { cookie, ..Record::default() }),
            changed: Condvar::new(),
            inbox: inbox.clone(),
            health: health.clone(),
        });
        let shared = Arc::clone(&line);
        thread::Builder::new().name("listener".into()).spawn(move || shared.follow(listen))?;
        Ok(Follower(line))
    }

    /// A run begins. It answers every ring so far.
    pub fn run_begins(&self) {
        self.0.record().rung = false;
    }

    /// A run has ended. `cookie` is where Kanidm is now; `None` if the run failed.
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
        let is_steady = record.listening.is_some_and(|since| since.elapsed() >= LONGEST_PAUSE);
        if is_steady && std::mem::take(&mut record.is_out) {
            log::info!("listening for changes of the directory again, for a minute now");
        }
    }

    /// The directory reports each change from now on.
    pub fn listening(&self) {
        let mut record = self.record();
        if record.listening.is_some() {
            return;
        }
        record.listening = Some(Instant::now());
        let was_out = record.is_out;
        drop(record);
        self.enter(Following::Listening);
        // After an outage it is said when it lasts: see [`Line::beat`].
        if was_out {
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

    fn follow(&self, mut listen: impl FnMut(&Line, &[u8]) -> Ending) {
        let mut pause = FIRST_PAUSE;
        let mut was_refused = false;
        while let Some(cookie) = self.cookie() {
            self.enter(Following::Connecting);
            let ending = catch_unwind(AssertUnwindSafe(|| listen(self, &cookie)))
                .unwrap_or_else(|_| Ending::Failed("the listener ended in a panic, which is a defect of this program: please report it".into()));
            let listened = self.record().listening.take().map(|since| since.elapsed());
            if listened.is_some_and(|listened| listened >= LONGEST_PAUSE) {
                pause = FIRST_PAUSE;
                was_refused = false;
            }
            let failure = match ending {
                Ending::Over => return,
                Ending::Silent => {
                    log::debug!("replacing the connection that listens: it was silent for long");
                    continue;
                }
                // The run gets the same answer, and starts over without the cookie.
                Ending::CookieRefused(reason) if !was_refused => {
                    was_refused = true;
                    log::info!(
                        "the directory does not accept the cookie to listen from: {reason}; a run makes a new one"
                    );
                    self.await_run();
                    continue;
                }
                Ending::CookieRefused(reason) => {
                    format!("the directory does not accept the cookie to listen from: {reason}")
                }
                Ending::Failed(failure) => failure,
            };
            self.fail(&failure);
            self.sleep(pause);
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// The cookie to listen from. Without one it asks for a run, and waits until a run brings one.
    /// `None` if the listener is over.
    fn cookie(&self) -> Option<Vec<u8>> {
        let found = |record: &Record| record.over || record.cookie.is_some();
        if !found(&self.record()) {
            self.enter(Following::Waiting);
            self.ring();
            self.wait_until(None, found);
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

    fn fail(&self, failure: &str) {
        self.enter(Following::Down);
        if std::mem::replace(&mut self.record().is_out, true) {
            log::debug!("cannot listen for changes: {failure}");
        } else {
            log::warn!(
                "cannot listen for changes: {failure}. The schedule goes on, and the service tries to listen again at least once a minute"
            );
        }
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
