//! Signals. SIGTERM and SIGINT end the process at once, whatever it is doing; SIGHUP and SIGUSR1
//! become [`Requests`] for the loop.
//!
//! A run spends its time in blocking reads and writes that a flag could not interrupt within a
//! second. It does not have to: a run that is cut off leaves nothing behind (Kanidm applies a POST
//! wholly or not at all, and its state moves with the last one), so the signal thread ends the
//! process itself. Handlers are installed also because the kernel ignores the default action of
//! these signals for process 1.

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
pub enum Mode {
    /// A single run. SIGTERM and SIGINT end it with exit code 1 (part of it may have been sent, the
    /// next run repairs it); SIGHUP and SIGUSR1 keep the system's default, which ends it too.
    OneShot,
    /// `--schedule`. SIGTERM and SIGINT are how a service ends: exit code 0.
    Scheduled,
}

/// Installs the handlers and the thread that serves them. To be called before anything that may
/// take long.
///
/// # Errors
/// The handlers cannot be installed or the thread cannot be started.
pub fn listen(mode: Mode, notifier: Notifier) -> io::Result<Inbox> {
    let inbox = Inbox::default();
    let mut signals = Signals::new(match mode {
        Mode::OneShot => &[SIGTERM, SIGINT][..],
        Mode::Scheduled => &[SIGTERM, SIGINT, SIGHUP, SIGUSR1][..],
    })?;
    let outbox = inbox.clone();
    let serve = move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => outbox.request(Requests { reload: true, run_now: false }),
                SIGUSR1 => outbox.request(Requests { reload: false, run_now: true }),
                _ => end(signal, mode, &notifier),
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(serve)?;
    Ok(inbox)
}

fn end(signal: i32, mode: Mode, notifier: &Notifier) -> ! {
    let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
    notifier.stopping();
    // Whoever reads our stderr may have stopped doing so, and the run may hold its lock while it
    // waits for them. Saying goodbye must not keep the process alive, so a thread of its own tries.
    let (said, goodbye) = mpsc::channel();
    let farewell = move || {
        crate::log::progress(None);
        log::info!("{name}: stopping");
        // The receiver has given up at most.
        let _ = said.send(());
    };
    if thread::Builder::new().name("farewell".into()).spawn(farewell).is_ok() {
        let _ = goodbye.recv_timeout(FAREWELL);
    }
    process::exit(match mode {
        Mode::OneShot => 1,
        Mode::Scheduled => 0,
    })
}

/// Well within the second that a stop may take.
const FAREWELL: Duration = Duration::from_millis(300);

/// What the loop is asked to do. Asking twice before it is done is asking once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Read the configuration again (SIGHUP).
    pub reload: bool,
    /// Run without waiting for the schedule (SIGUSR1).
    pub run_now: bool,
}

impl Requests {
    /// Nothing is asked for.
    pub const NONE: Requests = Requests { reload: false, run_now: false };
}

/// Where requests wait until the loop takes them. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<(Mutex<Requests>, Condvar)>);

impl Inbox {
    /// Adds to what is asked for and wakes the loop.
    pub fn request(&self, more: Requests) {
        let (pending, changed) = &*self.0;
        let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.reload |= more.reload;
        pending.run_now |= more.run_now;
        changed.notify_all();
    }

    /// Waits until something is asked for, at most `timeout`, and takes it.
    pub fn wait(&self, timeout: Duration) -> Requests {
        let (pending, changed) = &*self.0;
        let pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut pending, _) = changed
            .wait_timeout_while(pending, timeout, |pending| *pending == Requests::NONE)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pending)
    }
}
