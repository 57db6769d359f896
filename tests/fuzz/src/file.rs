//! One file in a folder of this process, written anew for each input: the configuration is read
//! through the functions that read it in a run, not through others beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Writes the file, readable by its owner only, and says where it is.
pub fn holding(text: &[u8]) -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let path = FILE.get_or_init(|| {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        // Memory where there is a file system in memory.
        let parent = Some(PathBuf::from("/dev/shm"))
            .filter(|shm| shm.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        let folder = parent.join(format!("kanidm-ldap-sync-fuzz-{}", std::process::id()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).unwrap();
        let file = folder.join("config");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file
    });
    fs::write(path, text).unwrap();
    path
}
