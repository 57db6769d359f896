//! Standard output.

use std::io;

use log::error;

use crate::exit::ExitCode;

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
