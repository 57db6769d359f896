//! Reads configuration files and secret files.
//!
//! Scope: size limits, the prefix `%d`, and permissions that let other users read a secret.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::ConfigError;
use crate::env::Env;
use crate::file;

/// Maximum bytes of a configuration file.
const MAX_CONFIG: u64 = 16 * 1024 * 1024;
/// Maximum bytes of a file with a token or password.
const MAX_SECRET: u64 = 64 * 1024;

/// The text of a file, erased from memory when dropped, and the file's mode.
pub(super) struct Text {
    pub text: Zeroizing<String>,
    /// The permission bits.
    pub mode: u32,
}

impl Text {
    /// True if users other than the owner and the group can read or write the file.
    pub fn open_to_others(&self) -> bool {
        self.mode & OTHERS_OPEN != 0
    }
}

const OTHERS_OPEN: u32 = 0o006;

/// The permission bits, if other users can read or write the file. `None` also if its metadata
/// cannot be read.
pub(super) fn mode_for_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & OTHERS_OPEN != 0).then_some(mode)
}

/// Reads a configuration file.
pub(super) fn read_config(path: &Path) -> Result<Text, ConfigError> {
    read(path, MAX_CONFIG).map_err(|e| ConfigError::whole(path, format!("cannot be read: {e}")))
}

/// Reads the file of a `*_file` key and removes the final line break. The error contains the path
/// only if the file exists, because the configuration may contain the secret itself instead of a
/// path.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = read(path, MAX_SECRET).map_err(|e| format!("the file cannot be read: {e}"))?;
    if file.open_to_others() {
        let (path, mode) = (path.display(), file.mode);
        return Err(format!(
            "{path} has mode {mode:04o}: other users can read or write it. Run: chmod o-rw {path}"
        ));
    }
    let secret = file.text.strip_suffix('\n').unwrap_or(&file.text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    Ok(Zeroizing::new(secret.to_owned()))
}

/// Expands a configured path. `%d/NAME` is a systemd credential: `$CREDENTIALS_DIRECTORY/NAME`.
pub(super) fn expand(path: &str, env: Env<'_>) -> Result<PathBuf, &'static str> {
    let credential = match path.strip_prefix("%d") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => return Ok(PathBuf::from(path)),
    };
    let directory = env("CREDENTIALS_DIRECTORY").filter(|directory| !directory.is_empty());
    match directory {
        Some(directory) if !credential.is_empty() => Ok(Path::new(&directory).join(credential)),
        Some(_) => Err("needs the name of a credential after %d, such as %d/sync-token"),
        None => Err(
            "%d is systemd's credentials directory, and CREDENTIALS_DIRECTORY is not set. Add LoadCredential= to the unit, or write the whole path",
        ),
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Text> {
    let file = file::open(path)?;
    let metadata = file.metadata()?;
    // Reserve the whole size: a growing buffer would leave copies of a secret in memory.
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(size.saturating_add(1)));
    file.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > limit) {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {limit} bytes"),
        ));
    }
    Ok(Text { text, mode: metadata.permissions().mode() & 0o7777 })
}
