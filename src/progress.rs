//! Progress of a long run, for a person at a terminal. Anywhere else nothing is shown.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use crate::log;
use crate::sync::observe::ReadStep;
use crate::text::thousands;
use crate::upload::Progress;

/// Shorter runs show nothing, and the line changes no more often than this.
const INTERVAL: Duration = Duration::from_millis(500);

/// One line on stderr that is written over again and again.
#[derive(Debug)]
pub struct Display {
    terminal: bool,
    last: Instant,
    received: u64,
}

impl Default for Display {
    fn default() -> Self {
        Display::new()
    }
}

impl Display {
    /// Shows something if stderr is a terminal that can clear a line.
    pub fn new() -> Self {
        let can_clear =
            std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        Display {
            terminal: can_clear && std::io::stderr().is_terminal(),
            last: Instant::now(),
            received: 0,
        }
    }

    /// A step of reading.
    pub fn read(&mut self, step: &ReadStep<'_>) {
        match step {
            ReadStep::Received(..) => self.received += 1,
            ReadStep::StartedOver => self.received = 0,
        }
        // The clock is not asked for every one of a million entries.
        if self.received.is_multiple_of(256) {
            let received = self.received;
            self.show(|| format!("{} entries read", thousands(received)));
        }
    }

    /// A step of the upload.
    pub fn uploaded(&mut self, progress: Progress) {
        self.show(|| {
            format!(
                "{} of {} entries uploaded",
                thousands(progress.done as u64),
                thousands(progress.total as u64)
            )
        });
    }

    /// Clears the line.
    pub fn finish(&mut self) {
        if self.terminal {
            log::progress(None);
        }
    }

    fn show(&mut self, text: impl FnOnce() -> String) {
        if self.terminal && self.last.elapsed() >= INTERVAL {
            self.last = Instant::now();
            log::progress(Some(&text()));
        }
    }
}
