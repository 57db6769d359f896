//! Exit codes.

use std::process;

/// The result of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Synchronised, or nothing to do.
    Success = 0,
    /// Failed: nothing or only part was sent. The next run repairs it.
    Failure = 1,
    /// The command line or a configuration file is wrong, or the user is root.
    Usage = 2,
    /// Synchronised, but entries are held, or were sent without a bad value.
    Held = 3,
    /// The deletion guard refused; nothing was sent.
    Refused = 4,
    /// Another run is under way.
    Busy = 5,
}

impl ExitCode {
    /// All codes with their words in `--help`.
    pub const ALL: [(ExitCode, &'static str); 6] = [
        (ExitCode::Success, "synchronised, or nothing to do"),
        (ExitCode::Failure, "failed: nothing or only part was sent; the next run repairs it"),
        (ExitCode::Usage, "the command line or a configuration file is wrong, or running as root"),
        (ExitCode::Held, "synchronised, but entries need attention; they are named"),
        (ExitCode::Refused, "refused by the deletion guard; nothing was sent"),
        (ExitCode::Busy, "another run is under way"),
    ];

    /// This code, unless it is a good one and the answer could not be written.
    pub fn unless_failed(self, answer: ExitCode) -> ExitCode {
        match self {
            ExitCode::Success | ExitCode::Held if answer != ExitCode::Success => answer,
            own => own,
        }
    }

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        process::ExitCode::from(code.code())
    }
}
