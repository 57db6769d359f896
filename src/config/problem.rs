//! What can be wrong with a configuration file, and what is worth a warning.

use std::fmt;
use std::path::PathBuf;

/// Everything that is wrong with one configuration file. Displayed as one line a problem:
/// `file:line: key: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// At least one, in the order of their lines.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong. It never repeats a value of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; none where the file cannot be read, or where something is missing in it.
    pub line: Option<usize>,
    /// The key, with its table where it stands in one.
    pub key: Option<String>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl ConfigError {
    /// A problem with the file as a whole.
    pub(super) fn whole(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        ConfigError {
            path: path.into(),
            problems: vec![Problem { line: None, key: None, message: message.into() }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if let Some(key) = &problem.key {
                write!(f, ": {key}")?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Something that works but should not stay so. Reported on every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file it is about.
    pub path: PathBuf,
    /// What, and what to do.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}
