//! Folders that go away with the test.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder of its own, mode 0700, removed when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// `name` is for whoever looks into the temporary folder while a test runs.
    pub fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(unique(name));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that only its owner can read, and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        use std::io::Write;
        let path = self.0.join(name);
        let file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(content.as_ref()))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A name that nothing on this machine has, nor what a test left behind that was killed: process
/// ids come again, in CI the same ones even.
pub fn unique(name: &str) -> String {
    let random = RandomState::new().build_hasher().finish() as u32;
    format!("kls-{name}-{}-{random:08x}", std::process::id())
}
