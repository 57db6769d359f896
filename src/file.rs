//! Opens the files that an administrator names: configuration, secrets, certificates and keys.

mod denied;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(crate) use denied::{Access, explain as explain_denied};

/// The number on x86, Arm, RISC-V, POWER and s390x.
const O_NONBLOCK: i32 = 0o4000;

/// Opens a regular file for reading. Refuses anything else at once, because a FIFO or a device can
/// block for ever. If the system denies access, the error names the user and the remedy.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path);
    let file = file.map_err(|error| denied(path, error))?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    if !kind.is_file() {
        let message = "it is not a regular file; write the text into one";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

fn denied(path: &Path, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => match explain_denied(path, Access::Read) {
            Some(text) => io::Error::new(io::ErrorKind::PermissionDenied, text),
            None => error,
        },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::within::within;
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn only_regular_files_are_opened_and_a_fifo_blocks_nobody() {
        let fifo = std::env::temp_dir().join(format!("kls-fifo-{}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for (path, words) in [
            (fifo.clone(), "not a regular file"),
            ("/dev/zero".into(), "not a regular file"),
            ("/".into(), "a directory"),
            (PathBuf::from("/nonexistent"), "No such file"),
        ] {
            let opened = within(Duration::from_secs(20), move || open(&path)).unwrap();
            let error = opened.expect("it does not block").unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        std::fs::remove_file(fifo).unwrap();
        open(&std::env::current_exe().unwrap()).unwrap();
    }
}
