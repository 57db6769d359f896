//! Errors and warnings of configuration files.

use std::fmt;
use std::path::PathBuf;

/// All problems of one configuration file. `Display` writes one line for each problem: `file:line:
/// key: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// At least one problem, in the order of their lines.
    pub problems: Vec<ConfigProblem>,
}

/// One problem. It never repeats a value of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Line number from 1. `None` if the file cannot be read, or if a key is missing.
    pub line: Option<usize>,
    /// The key, with its table if it has one.
    pub key: Option<String>,
    /// The reason and the correction.
    pub message: String,
}

impl ConfigError {
    /// A problem of the whole file.
    pub(super) fn whole(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        ConfigError {
            path: path.into(),
            problems: vec![ConfigProblem { line: None, key: None, message: message.into() }],
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

/// A setting that works but should change. Every run reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file with the setting.
    pub path: PathBuf,
    /// The risk and the correction.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}
