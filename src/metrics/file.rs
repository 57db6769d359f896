//! The file of the facts.
//!
//! Scope: reading it, and replacing it in one step. The folder may be one where other users write,
//! and the file system may hang. So a new file never follows a link, and every call has a limit.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Metrics, text};
use crate::file::{self, Access, explain_denied};
use crate::within::{NoResult, OneAtATime};

/// Maximum time to replace the file.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time to read it for `--status`, which also asks the socket. A monitoring system often
/// waits for ten seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum bytes to read. Our own file has about 5,000.
const MAX_SIZE: u64 = 64 * 1024;

/// Maximum characters of a path in a message that comes from the file.
const MAX_SHOWN_PATH: usize = 300;

/// The file, and how the last attempt to write it went.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    config: String,
    calls: OneAtATime,
    is_broken: bool,
    is_shared: bool,
}

impl MetricsFile {
    /// The file at `path`, about the sync config at `config`.
    pub fn new(path: &Path, config: &Path) -> MetricsFile {
        let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        MetricsFile {
            path: path.to_owned(),
            config: config.to_string_lossy().into_owned(),
            calls: OneAtATime::new(),
            is_broken: false,
            is_shared: false,
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes the facts and replaces the file. `change` gets the old facts, or empty ones if they
    /// cannot be read or are about another sync config. If it returns `None`, the file stays as it
    /// is. Logs a failure once, until the file can be written again.
    pub fn update(&mut self, change: impl FnOnce(Metrics) -> Option<Metrics> + Send + 'static) {
        let (path, config) = (self.path.clone(), self.config.clone());
        let replaced = self.calls.call(TIMEOUT, move || {
            let text = read_text(&path).unwrap_or_default();
            let other = text::config_of(&text).filter(|other| !is_same_file(other, &config));
            let old = text::read(&text).filter(|_| other.is_none()).unwrap_or_default();
            let replaced = change(old).map(|new| replace(&path, &text::write(&new, &config)));
            (replaced, other)
        });
        let replaced = replaced.map(|(replaced, other)| {
            other.into_iter().for_each(|other| self.shared(&other));
            replaced
        });
        let path = self.path.display();
        match replaced {
            Ok(None) => {}
            Ok(Some(Ok(()))) => {
                if std::mem::take(&mut self.is_broken) {
                    log::info!("metrics_file {path} is written again");
                }
            }
            Ok(Some(Err(error))) => self.broken(&reason(&error, &self.path)),
            Err(problem) => self.broken(&why_late(problem)),
        }
    }

    /// The other config's success would silence the alerts about this one.
    fn shared(&mut self, other: &str) {
        if !std::mem::replace(&mut self.is_shared, true) {
            // Somebody else may have written it.
            let other: String = other.chars().take(MAX_SHOWN_PATH).collect();
            log::warn!(
                "metrics_file {} is about the sync config {other}: its last success does not count here. If both are in use, give each its own file",
                self.path.display()
            );
        }
    }

    fn broken(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_broken, true) {
            log::warn!("metrics_file {} cannot be written: {reason}", self.path.display());
        }
    }
}

/// Why the file cannot be written, and what to do.
fn reason(error: &io::Error, path: &Path) -> String {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let shown = folder.display();
    match error.kind() {
        ErrorKind::NotFound => {
            format!("there is no folder {shown}. Create it, and restart the service")
        }
        ErrorKind::ReadOnlyFilesystem => format!(
            "{error}. In a unit of systemd: ReadWritePaths=-{shown}, and restart it after the folder was made"
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("{error}. Make room there"),
        ErrorKind::PermissionDenied => match explain_denied(folder, Access::Write) {
            Some(why) => why,
            None => format!("{error}. Allow this user to write to {shown}"),
        },
        _ => format!("{error}. See to the folder {shown}, or choose another one"),
    }
}

fn why_late(problem: NoResult) -> String {
    match problem {
        NoResult::Late => {
            format!("it takes longer than {} seconds. See to its file system", TIMEOUT.as_secs())
        }
        NoResult::EarlierHangs => "the last attempt still hangs. See to its file system".to_owned(),
        NoResult::Thread(error) => error.to_string(),
    }
}

/// Reads the facts.
///
/// # Errors
/// The file cannot be read, is too large, is not text, or has no line of ours.
pub fn read(path: &Path) -> io::Result<Metrics> {
    text::read(&read_text(path)?).ok_or_else(|| invalid("it is no file of kanidm-ldap-sync"))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    file::open(path)?.take(MAX_SIZE.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_SIZE) {
        return Err(invalid("it is too large to be the file of kanidm-ldap-sync"));
    }
    // A broken character spoils its own line only.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message.to_owned())
}

/// True also for two paths of one file.
fn is_same_file(other: &str, config: &str) -> bool {
    let real = |path: &str| fs::canonicalize(path).ok();
    other == config || real(other).is_some_and(|other| Some(other) == real(config))
}

/// [`read`], with a time limit.
///
/// # Errors
/// Those of [`read`], and a file system that hangs.
pub fn read_in_time(path: &Path) -> io::Result<Metrics> {
    let path = path.to_owned();
    OneAtATime::new().call(READ_TIMEOUT, move || read(&path)).unwrap_or_else(
        |problem| match problem {
            NoResult::Thread(error) => Err(error),
            NoResult::Late | NoResult::EarlierHangs => Err(ErrorKind::TimedOut.into()),
        },
    )
}

/// Replaces the file in one step, readable for everybody. A link at `path` is replaced, and its
/// target stays as it is.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = beside(path)?;
    let written = create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        // The umask of a service is often 077, and node-exporter is another user.
        file.set_permissions(Permissions::from_mode(0o644))?;
        drop(file);
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // Fails if it was never created.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The name for the new file: in the same folder, hidden, and not `*.prom`, which node-exporter
/// would read. Two runs at once have two names.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

/// Creates a file that is not there yet: no link is followed, and no file of somebody else is
/// written to. A process that was killed may have left one. In a container the process id repeats.
fn create(path: &Path) -> io::Result<File> {
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match create() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path =
                std::env::temp_dir().join(format!("kls-metrics-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<String> =
                entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn held(held: u64) -> Metrics {
        let mut metrics = Metrics::default();
        metrics.success.held = Some(held);
        metrics
    }

    #[test]
    fn the_file_is_replaced_and_nothing_else_is_left() {
        let folder = Folder::new("replaced");
        let path = folder.0.join("a.prom");
        let mut file = MetricsFile::new(&path, Path::new("/etc/x"));
        file.update(|old| {
            assert_eq!(old, Metrics::default());
            Some(held(1))
        });
        file.update(|old| {
            assert_eq!(old, held(1));
            Some(held(2))
        });
        file.update(|_| None);
        assert_eq!(read(&path).unwrap(), held(2));
        assert_eq!(folder.names(), ["a.prom"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    }

    /// Two configurations name one file by mistake, or the configuration was moved.
    #[test]
    fn facts_about_another_config_do_not_count() {
        let folder = Folder::new("two");
        let (path, config) = (folder.0.join("a.prom"), folder.0.join("config"));
        fs::write(&config, "").unwrap();
        symlink(&config, folder.0.join("link")).unwrap();
        let seen = |config: &Path, held_now| {
            let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
            let (inner, mut file) = (seen.clone(), MetricsFile::new(&path, config));
            file.update(move |old| {
                *inner.lock().unwrap() = old.success.held;
                Some(held(held_now))
            });
            let old = *seen.lock().unwrap();
            (old, file.is_shared)
        };
        assert_eq!(seen(&config, 1), (None, false));
        assert_eq!(seen(&folder.0.join("link"), 2), (Some(1), false), "one file, two paths");
        assert_eq!(seen(Path::new("/other"), 3), (None, true));
        assert_eq!(seen(&config, 4), (None, true));
        assert_eq!(seen(&config, 5), (Some(4), false));
    }

    #[test]
    fn links_and_leftovers_are_replaced_and_never_followed() {
        let folder = Folder::new("links");
        let (path, victim) = (folder.0.join("a.prom"), folder.0.join("victim"));
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, &path).unwrap();
        symlink(&victim, beside(&path).unwrap()).unwrap();
        MetricsFile::new(&path, Path::new("/etc/x")).update(|_| Some(held(1)));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(read(&path).unwrap(), held(1));
        assert_eq!(folder.names(), ["a.prom", "victim"]);
    }

    #[test]
    fn a_new_file_that_cannot_take_the_place_is_removed() {
        let folder = Folder::new("place");
        let path = folder.0.join("a.prom");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, "x").is_err());
        assert_eq!(folder.names(), ["a.prom"]);
    }

    #[test]
    fn files_that_are_not_ours_are_errors() {
        let folder = Folder::new("foreign");
        let path = folder.0.join("a.prom");
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::NotFound);
        let ours = text::write(&held(1), "/x");
        for (bytes, words) in [
            (b"node_time_seconds 1".to_vec(), "no file of kanidm-ldap-sync"),
            (Vec::new(), "no file of kanidm-ldap-sync"),
            (ours.repeat(1000).into_bytes(), "too large"),
        ] {
            fs::write(&path, bytes).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains(words), "{words}");
        }
        fs::write(&path, [b"\xff\xfe\n", ours.as_bytes()].concat()).unwrap();
        assert_eq!(read(&path).unwrap(), held(1));
    }

    #[test]
    fn the_reason_names_the_remedy() {
        let path = Path::new("/nonexistent/a.prom");
        for (kind, words) in [
            (ErrorKind::NotFound, "no folder /nonexistent. Create it, and restart"),
            (ErrorKind::ReadOnlyFilesystem, "ReadWritePaths=-/nonexistent, and restart it"),
            (ErrorKind::StorageFull, "Make room there"),
            (ErrorKind::PermissionDenied, "Allow this user to write to /nonexistent"),
            (ErrorKind::NotADirectory, "See to the folder /nonexistent"),
        ] {
            let text = reason(&kind.into(), path);
            assert!(text.contains(words), "{text}");
        }
    }
}
