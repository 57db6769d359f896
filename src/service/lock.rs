//! One run at a time: an advisory lock on an existing file, so that no file remains on disk.
//!
//! Scope: the lock of one run. A user who can open a file can hold its lock. So the lock is taken
//! only on a file that other users cannot open: the sync config, else the sync token file. If other
//! users can open both, the run continues without a lock. Kanidm's state then tells two runs apart,
//! and the later one fails.
//!
//! A service does not hold the lock between runs. So an administrator can run `--full-refresh` by
//! hand next to `--schedule`. If another file replaces the configuration, the next run locks that
//! file. The kernel drops the lock when the process ends.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::file;

/// The lock. Dropping it releases the lock.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock on the first private file, without waiting for another run. Reading rights on
    /// the file are enough. Returns `None` if no file is private, so that there is no lock to take.
    ///
    /// # Errors
    /// [`LockError::Busy`] ends a process with exit code 5, [`LockError::Io`] with 1.
    pub fn acquire(config: &Path, token_file: Option<&Path>) -> Result<Option<RunLock>, LockError> {
        for path in std::iter::once(config).chain(token_file) {
            let io_error = |source| LockError::Io { path: path.to_owned(), source };
            let file = file::open(path).map_err(io_error)?;
            let mode = file.metadata().map_err(io_error)?.permissions().mode();
            if mode & OTHERS_OPEN != 0 {
                continue;
            }
            return match file.try_lock() {
                Ok(()) => Ok(Some(RunLock { _file: file })),
                Err(TryLockError::WouldBlock) => Err(LockError::Busy { path: path.to_owned() }),
                Err(TryLockError::Error(source)) => Err(io_error(source)),
            };
        }
        Ok(None)
    }
}

/// Users other than the owner and the group can open the file for reading or writing. Either is
/// enough to lock it.
const OTHERS_OPEN: u32 = 0o006;

/// Why a run may not start.
#[derive(Debug)]
pub enum LockError {
    /// Another run has the lock.
    Busy {
        /// The locked file.
        path: PathBuf,
    },
    /// The file cannot be opened or locked.
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Busy { path } => {
                write!(f, "another run with {} is under way; wait for it to end", path.display())
            }
            LockError::Io { path, source } => {
                write!(
                    f,
                    "{} cannot be locked: {source}; it must be readable, and on a file system that has locks",
                    path.display()
                )
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

    /// A file of this test with this mode.
    fn made(name: &str, mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("kls-{name}-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        chmod(&path, mode);
        path
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn one_at_a_time_with_reading_rights_only() {
        let path = made("lock", 0o400);
        let acquire = || RunLock::acquire(&path, None);

        let first = acquire().unwrap();
        assert!(first.is_some());
        let second = acquire().unwrap_err();
        assert!(matches!(second, LockError::Busy { .. }), "{second:?}");
        assert!(second.to_string().contains("another run"), "{second}");
        // A reload reads the configuration meanwhile, and must not drop the lock. Closing the file
        // would drop a POSIX record lock.
        fs::read(&path).unwrap();
        assert!(matches!(acquire(), Err(LockError::Busy { .. })));
        drop(first);
        acquire().unwrap();

        fs::remove_file(&path).unwrap();
        let missing = acquire().unwrap_err();
        assert!(matches!(missing, LockError::Io { .. }), "{missing:?}");
        assert!(missing.to_string().contains("kls-lock-"), "{missing}");
    }

    /// Another user holds the lock of a file that everybody can open.
    #[test]
    fn a_file_that_others_can_open_is_not_locked() {
        let (config, token) = (made("lock-config", 0o644), made("lock-token", 0o600));
        let held = [&config, &token].map(|path| File::open(path).unwrap());
        held[0].lock().unwrap();
        for mode in [0o644, 0o642, 0o646] {
            chmod(&config, mode);
            assert!(RunLock::acquire(&config, None).unwrap().is_none(), "{mode:o}");
            let lock = RunLock::acquire(&config, Some(&token)).unwrap();
            assert!(
                lock.is_some() && held[1].try_lock().is_err(),
                "{mode:o}: the token's file is locked"
            );
        }
        chmod(&config, 0o640);
        assert!(
            matches!(RunLock::acquire(&config, Some(&token)), Err(LockError::Busy { path }) if path == config)
        );
        chmod(&config, 0o644);
        chmod(&token, 0o644);
        assert!(RunLock::acquire(&config, Some(&token)).unwrap().is_none());
        [config, token].iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}
