//! Reading configuration files and the files secrets stand in: size limits, `%d`, and who else can
//! read them.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::ConfigError;
use crate::env::Env;
use crate::file;

/// A configuration file is not larger.
const MAX_CONFIG: u64 = 16 * 1024 * 1024;
/// A file with a token or password is not larger.
const MAX_SECRET: u64 = 64 * 1024;

/// A file's text, wiped when dropped, and its mode.
pub(super) struct Text {
    pub text: Zeroizing<String>,
    /// The permission bits.
    pub mode: u32,
}

impl Text {
    /// Whether users who are neither the owner nor in the group can read or write the file.
    pub fn open_to_others(&self) -> bool {
        self.mode & OTHERS_OPEN != 0
    }
}

const OTHERS_OPEN: u32 = 0o006;

/// The permission bits of a file that is open to others. None: it is not, or cannot be looked at.
pub(super) fn mode_for_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & OTHERS_OPEN != 0).then_some(mode)
}

/// Reads a configuration file.
pub(super) fn read_config(path: &Path) -> Result<Text, ConfigError> {
    read(path, MAX_CONFIG).map_err(|e| ConfigError::whole(path, format!("cannot be read: {e}")))
}

/// Reads the file of a `*_file` key, without the line break at its end. The error does not repeat
/// the path unless the file exists: what stands in the configuration in its place could be the
/// secret itself.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = read(path, MAX_SECRET).map_err(|e| format!("the file cannot be read: {e}"))?;
    if file.open_to_others() {
        let (path, mode) = (path.display(), file.mode);
        return Err(format!(
            "{path} has mode {mode:04o}: other users can read or write it; change it with: chmod o-rw {path}"
        ));
    }
    let secret = file.text.strip_suffix('\n').unwrap_or(&file.text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    Ok(Zeroizing::new(secret.to_owned()))
}

/// A path of the configuration: `%d/NAME` is a credential of systemd,
/// `$CREDENTIALS_DIRECTORY/NAME`.
pub(super) fn expand(path: &str, env: Env<'_>) -> Result<PathBuf, &'static str> {
    let credential = match path.strip_prefix("%d") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => return Ok(PathBuf::from(path)),
    };
    let directory = env("CREDENTIALS_DIRECTORY").filter(|directory| !directory.is_empty());
    match directory {
        Some(directory) if !credential.is_empty() => Ok(Path::new(&directory).join(credential)),
        Some(_) => Err("names no file in %d, the credentials directory"),
        None => Err(
            "%d is systemd's credentials directory, but CREDENTIALS_DIRECTORY is not set: the service needs LoadCredential=",
        ),
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Text> {
    let file = file::open(path)?;
    let metadata = file.metadata()?;
    // Room for all of it at once: a buffer that grows would leave copies behind that nobody wipes.
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
