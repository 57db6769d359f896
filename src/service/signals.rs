//! Signals: SIGTERM and SIGINT end the process at once. SIGHUP and SIGUSR1 become [`Requests`] for
//! the loop. The listener ([`super::follow`]) adds its own.
//!
//! Scope: handlers and the thread that serves them. A run spends its time in blocking reads and
//! writes, which a flag could not interrupt within a second. So the signal thread ends the process
//! itself. This is safe: Kanidm applies a POST completely or not at all, and its state changes only
//! with the last one.
//!
//! Handlers are also needed because the kernel ignores the default action of these signals for
//! process 1.

use std::io;
use std::process;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::notify::Notifier;

/// How the process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessMode {
    /// A single run. SIGTERM and SIGINT end it with exit code 1: it may have sent a part, which the
    /// next run repairs. SIGHUP and SIGUSR1 keep the system's default, which ends the process, too.
    OneShot,
    /// `--schedule`. SIGTERM and SIGINT end it with exit code 0, because they are the usual end of
    /// a service.
    Scheduled,
}

/// Installs the handlers and starts the thread that serves them. Call it before anything that may
/// take long.
///
/// # Errors
/// The handlers cannot be installed, or the thread cannot be started.
pub fn listen(mode: ProcessMode, notifier: Notifier) -> io::Result<Inbox> {
    let inbox = Inbox::default();
    let mut signals = Signals::new(match mode {
        ProcessMode::OneShot => &[SIGTERM, SIGINT][..],
        ProcessMode::Scheduled => &[SIGTERM, SIGINT, SIGHUP, SIGUSR1][..],
    })?;
    let outbox = inbox.clone();
    let serve = move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => outbox.request(Requests { reload: true, ..Requests::NONE }),
                SIGUSR1 => outbox.request(Requests { run_now: true, ..Requests::NONE }),
                _ => end(signal, mode, &notifier),
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(serve)?;
    Ok(inbox)
}

fn end(signal: i32, mode: ProcessMode, notifier: &Notifier) -> ! {
    let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
    notifier.stopping();
    // The reader of stderr may have stopped reading, while the run holds the lock of stderr and
    // waits. The farewell must not keep the process alive, so another thread tries it.
    let (said, goodbye) = mpsc::channel();
    let farewell = move || {
        crate::log::progress(None);
        log::info!("{name}: stopping");
        // The receiver may have given up already.
        let _ = said.send(());
    };
    if thread::Builder::new().name("farewell".into()).spawn(farewell).is_ok() {
        let _ = goodbye.recv_timeout(FAREWELL);
    }
    process::exit(match mode {
        ProcessMode::OneShot => 1,
        ProcessMode::Scheduled => 0,
    })
}

/// A stop may take a second; this is well below.
const FAREWELL: Duration = Duration::from_millis(300);

/// The requests to the loop. A repeated request counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Read the configuration again (SIGHUP).
    pub reload: bool,
    /// Run without waiting for the schedule (SIGUSR1).
    pub run_now: bool,
    /// The directory has changed, or may have.
    pub ring: bool,
    /// The state of the listener has changed.
    pub news: bool,
}

impl Requests {
    /// True if there is no request.
    pub const NONE: Requests = Requests { reload: false, run_now: false, ring: false, news: false };
}

/// Keeps requests until the loop takes them. Clones share one inbox.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<(Mutex<Requests>, Condvar)>);

impl Inbox {
    /// Adds requests and wakes the loop.
    pub fn request(&self, more: Requests) {
        let (pending, changed) = &*self.0;
        let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.reload |= more.reload;
        pending.run_now |= more.run_now;
        pending.ring |= more.ring;
        pending.news |= more.news;
        changed.notify_all();
    }

    /// Waits for a request, at most `timeout`, and takes it.
    pub fn wait(&self, timeout: Duration) -> Requests {
        let (pending, changed) = &*self.0;
        let pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut pending, _) = changed
            .wait_timeout_while(pending, timeout, |pending| *pending == Requests::NONE)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pending)
    }
}
