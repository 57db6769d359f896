//! The step of `--check` for `follow`: a persistent search, up to the point at which the directory
//! reports each change.

use super::directory::DirectoryStep;
use super::list::Checklist;
use crate::config::sync::DirectoryConfig;
use crate::directory::error::DirectoryError;
use crate::directory::follow::{Follow, Heard};
use crate::heartbeat::Heartbeat;
use crate::text::sentence;

/// Listens from the cookie of the refresh that `--check` has made.
pub(super) fn check(list: &mut Checklist, config: &DirectoryConfig, cookie: &[u8]) {
    const STEP: DirectoryStep = DirectoryStep::Listen;
    match listen(config, cookie) {
        Ok(None) => list.passed(STEP, "the directory reports each change"),
        Ok(Some(reason)) => {
            list.failed(STEP, format_args!("{} {UNTIL}", sentence(&reason)), SEE_LOG)
        }
        Err(error) => {
            let text = sentence(&error.to_string());
            list.failed(STEP, format_args!("{text} {UNTIL}"), &error.remedy());
        }
    }
}

const SEE_LOG: &str = "see its log";

const UNTIL: &str = "Until it works, changes wait for the schedule";

/// The reason for a failure without an error of its own, if any.
fn listen(config: &DirectoryConfig, cookie: &[u8]) -> Result<Option<String>, DirectoryError> {
    let mut follow = Follow::start(config, cookie, Heartbeat::default())?;
    while !follow.is_listening() {
        if let Heard::CookieRefused(reason) = follow.wait(config.timeout)? {
            return Ok(Some(format!(
                "the directory does not accept the cookie that it has just given: {reason}; see its log"
            )));
        }
    }
    Ok(None)
}
