//! The sync config: every problem has its place, none repeats a secret, and what is accepted holds
//! what it promises.

use crate::file;
use kanidm_ldap_sync::config::ConfigError;
use kanidm_ldap_sync::config::fingerprint::fingerprint;
use kanidm_ldap_sync::config::sync;
use std::ffi::OsString;

/// Stands where the seeds have a secret: an error, a warning or a Debug text that shows it has
/// shown a secret.
pub const MARKER: &str = "M4rk3rS3cr3t";

/// The text of a file.
pub fn run(data: &[u8]) {
    // Files named in it are opened; pipes and terminals would be waited for.
    if data.windows(5).any(|window| window == b"/dev/" || window == b"/proc" || window == b"stdin")
    {
        return;
    }
    let path = file::holding(data);
    let env =
        |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| OsString::from("/nonexistent"));
    match sync::load(path, &env) {
        Ok((config, warnings)) => {
            assert!(!config.token.expose().is_empty());
            assert!(
                config.max_delete_percent <= 100
                    && config.upload.max_entries >= 1
                    && config.upload.max_bytes >= 64 << 10
            );
            assert!(
                config.directory.max_message >= 64 << 20 && !config.directory.timeout.is_zero()
            );
            assert_eq!(fingerprint(&config).len(), 64);
            assert!(
                !holds_marked_secret(data) || !format!("{config:?}{warnings:?}").contains(MARKER)
            );
            assert!(sync::status_bind(path).is_ok_and(|bind| bind == config.status_bind));
            assert!(sync::metrics_file(path).is_ok_and(|file| file == config.metrics_file));
        }
        Err(error) => check(&error, data),
    }
    if let Err(error) = sync::status_bind(path) {
        check(&error, data);
    }
    if let Err(error) = sync::metrics_file(path) {
        check(&error, data);
    }
}

/// Problems are there, in the file, and shown without what could be a secret.
pub fn check(error: &ConfigError, file: &[u8]) {
    let lines = 1 + file.iter().filter(|byte| **byte == b'\n').count();
    assert!(!error.problems.is_empty());
    assert!(
        error
            .problems
            .iter()
            .all(|problem| problem.line.is_none_or(|line| (1..=lines).contains(&line))
                && !problem.message.is_empty())
    );
    let shown = format!("{error}\n{error:?}");
    assert!(!holds_marked_secret(file) || !shown.contains(MARKER), "{shown}");
}

/// Whether the marker stands where a secret stands and nowhere else: in a key, or in the path of a
/// file, it may be shown.
fn holds_marked_secret(file: &[u8]) -> bool {
    let text = String::from_utf8_lossy(file);
    let many_lines = text.contains("'''") || text.contains("\"\"\"");
    let before = text.split(MARKER).count() - 1;
    let marked = ["sync_token", "ldap_sync_pw"]
        .map(|key| text.matches(&format!("\n{key} = \"{MARKER}")).count());
    !many_lines && before > 0 && marked.iter().sum::<usize>() == before
}
