//! `follow`: connects the listener of the service to the directory.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::directory::error::DirectoryError;
use crate::directory::follow::{Follow, Heard};
use crate::heartbeat::Heartbeat;
use crate::service::follow::{Ending, Line, TICK};
use crate::settings::Settings;

/// A connection that is silent for so long is replaced. A peer that is gone does not say so.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);

/// Pause of the listener after messages that tell nothing new: rings while one waits for its run,
/// and quiet messages. An endless stream of them would cost a processor.
const REST: Duration = Duration::from_millis(50);

/// Listens from `cookie` until something ends it.
pub(super) fn listen(
    settings: &Arc<Settings>,
    heartbeat: Heartbeat,
    line: &Line,
    cookie: &[u8],
) -> Ending {
    until_the_end(settings, heartbeat, line, cookie)
        .unwrap_or_else(|error| Ending::Failed(error.to_string()))
}

fn until_the_end(
    settings: &Settings,
    heartbeat: Heartbeat,
    line: &Line,
    cookie: &[u8],
) -> Result<Ending, DirectoryError> {
    let mut follow = Follow::start(&settings.sync.directory, cookie, heartbeat)?;
    while !line.is_over() {
        line.beat();
        let heard = follow.wait(TICK)?;
        if follow.is_listening() {
            line.listening();
        }
        let is_news = match heard {
            Heard::Ring => !line.ring(),
            Heard::Outside => !line.ring_outside(),
            Heard::Quiet => false,
            Heard::Nothing if follow.silence() >= LONGEST_SILENCE => return Ok(Ending::Silent),
            Heard::Nothing => true,
            Heard::CookieRefused(reason) => return Ok(Ending::CookieRefused(reason)),
        };
        if !is_news && follow.is_drained() {
            thread::sleep(REST);
        }
    }
    Ok(Ending::Over)
}
