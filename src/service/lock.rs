//! One run at a time for a sync config: an advisory lock on the configuration file itself, so that nothing is left behind on disk.
//!
//! The lock is taken for a run, not for the life of a service: beside `--schedule` an administrator can still run `--full-refresh` by hand, and
//! a configuration that was replaced by another file is locked as that file from the next run on. The kernel drops the lock with the process.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Held for as long as it lives.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock, or says at once that somebody else has it. Reading rights on the file are enough.
    ///
    /// # Errors
    /// [`LockError::Busy`] ends a process with exit code 5, [`LockError::Io`] with 1.
    pub fn acquire(config: &Path) -> Result<RunLock, LockError> {
        let io_error = |source| LockError::Io { path: config.to_owned(), source };
        let file = File::open(config).map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Busy { path: config.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io_error(source)),
        }
    }
}

/// Why a run may not start.
#[derive(Debug)]
pub enum LockError {
    /// Another run has the lock.
    Busy {
        /// The sync config.
        path: PathBuf,
    },
    /// The file cannot be opened or locked.
    Io {
        /// The sync config.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Busy { path } => write!(f, "another run with {} is under way; wait for it to end", path.display()),
            LockError::Io { path, source } => {
                write!(f, "{} cannot be locked: {source}; it must be readable, and on a file system that has locks", path.display())
            }
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LockError::Busy { .. } => None,
            LockError::Io { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_at_a_time_with_reading_rights_only() {
        let path = std::env::temp_dir().join(format!("kls-lock-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();

        let first = RunLock::acquire(&path).unwrap();
        let second = RunLock::acquire(&path).unwrap_err();
        assert!(matches!(second, LockError::Busy { .. }), "{second:?}");
        assert!(second.to_string().contains("another run"), "{second}");
        // Reading the configuration meanwhile, as a reload does, must not drop the lock (a POSIX record lock would be lost here).
        fs::read(&path).unwrap();
        assert!(matches!(RunLock::acquire(&path), Err(LockError::Busy { .. })));
        drop(first);
        RunLock::acquire(&path).unwrap();

        fs::remove_file(&path).unwrap();
        let missing = RunLock::acquire(&path).unwrap_err();
        assert!(matches!(missing, LockError::Io { .. }), "{missing:?}");
        assert!(missing.to_string().contains("kls-lock-"), "{missing}");
    }
}
