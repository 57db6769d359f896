//! The metrics file: what is read from any file can be written, says the same when it is read
//! again, and makes one line of `--status`.

use std::path::Path;

use kanidm_ldap_sync::metrics::{Metrics, text};
use kanidm_ldap_sync::service::plugin::Evidence;
use kanidm_ldap_sync::service::status::Probe;

/// The bytes of a file.
pub fn run(data: &[u8]) {
    let found = String::from_utf8_lossy(data);
    let config = text::config_of(&found);
    let Some(facts) = text::read(&found) else { return };
    let written = text::write(&facts, config.as_deref().unwrap_or("/c"));
    if let Some(again) = text::config_of(&written) {
        assert_eq!(again, config.as_deref().unwrap_or("/c"));
    }
    let written = text::write(&facts, "/etc/kanidm/\"x\"} 1\n\\");
    // A reason without a run, and more decimals than are written, do not come back.
    if let Some(again) = text::read(&written) {
        assert_eq!(text::write(&again, "/etc/kanidm/\"x\"} 1\n\\"), written);
    }
    for line in written.lines() {
        assert!(line.starts_with("# ") || line.starts_with("kanidm_ldap_sync_"), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    for (exit_code, line) in [(0, "OK - a"), (2, "CRITICAL - a"), (3, "UNKNOWN - a")] {
        let probe = Probe { exit_code, line: line.to_owned() };
        let probe = probe.with_metrics(&evidence(facts.clone()));
        assert!(probe.exit_code == exit_code || (exit_code, probe.exit_code) == (0, 1));
        assert!(probe.line.lines().count() == 1 && probe.line.matches('|').count() <= 1);
    }
}

fn evidence(facts: Metrics) -> Evidence<'static> {
    let status_bind = facts.status_bind.as_ref().and_then(|bind| bind.parse().ok());
    Evidence { path: Path::new("/a|b.prom"), read: Ok(facts), status_bind, now: 1_796_000_000 }
}
