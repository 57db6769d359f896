//! Standard output.

use std::io;

use log::error;

use crate::exit::ExitCode;

/// Says why an answer was not written.
pub(crate) fn written(answer: io::Result<()>) -> ExitCode {
    match answer {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            error!("standard output cannot be written: {error}; make room there, or redirect it");
            ExitCode::Failure
        }
    }
}
