//! Progress of a long run, for a person at a terminal. Any other output shows nothing.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use crate::log;
use crate::sync::observe::ReadStep;
use crate::text::thousands;
use crate::upload::Progress;

/// Minimum time before the line appears, and between two changes of it.
const INTERVAL: Duration = Duration::from_millis(500);

/// One line on stderr that each update replaces.
#[derive(Debug)]
pub struct ProgressLine {
    terminal: bool,
    last: Instant,
    received: u64,
}

impl Default for ProgressLine {
    fn default() -> Self {
        ProgressLine::new()
    }
}

impl ProgressLine {
    /// Shows the line if stderr is a terminal that can clear a line.
    pub fn new() -> Self {
        let can_clear =
            std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        ProgressLine {
            terminal: can_clear && std::io::stderr().is_terminal(),
            last: Instant::now(),
            received: 0,
        }
    }

    /// A step of the reading.
    pub fn read(&mut self, step: &ReadStep<'_>) {
        match step {
            ReadStep::Received(..) => self.received += 1,
            ReadStep::StartedOver => self.received = 0,
        }
        // Reads the clock only for some of a million entries, because that takes time.
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
