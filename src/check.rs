//! `--check`: everything a run needs, tried one by one.

use crate::cli::Cli;
use crate::config::Env;
use crate::error::ExitCode;

/// Runs the checks.
pub fn run(_cli: &Cli, _env: Env<'_>) -> u8 {
    ExitCode::Failure.code()
}
