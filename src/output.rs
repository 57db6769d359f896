//! Standard output.

use std::io;

use log::error;
use serde::Serialize;

use crate::exit::ExitCode;
use crate::log::escaped_json;

/// The exit code for an answer on standard output. Logs why it could not be written.
pub(crate) fn written(answer: io::Result<()>) -> ExitCode {
    match answer {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            error!("standard output cannot be written: {error}; make room there, or redirect it");
            ExitCode::Failure
        }
    }
}

/// A value as JSON for standard output, with its last line break.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    // Serialising strings, numbers and lists cannot fail.
    serde_json::to_string_pretty(value).map(|text| escaped_json(&text) + "\n").unwrap_or_default()
}
