//! Kanidm's own sync tool (crates.io `kanidm-ldap-sync` 1.7.4), which `tests/run` installs: what
//! people come from, and may go back to.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::tool::{Outcome, Tool, run_command};

/// Names the program, when it is not where `tests/run` puts it.
const PROGRAM: &str = "KANIDMS_LDAP_SYNC";

/// Runs it once with the configuration files of `tool`. It ends with code 0 whatever happens: what
/// it logs says how it went.
pub fn run(tool: &Tool, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(program());
    command
        .arg("--client-config")
        .arg(tool.client_config())
        .arg("--ldap-sync-config")
        .arg(tool.sync_config());
    // It does not run as root otherwise.
    command.arg("--skip-root-check").args(arguments);
    for variable in ["KANIDM_URL", "KANIDM_CA_PATH", "KANIDM_INSTANCE", "KANIDM_DEBUG", "RUST_LOG"]
    {
        command.env_remove(variable);
    }
    run_command(
        command
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os(PROGRAM) {
        return program.into();
    }
    // The first is a release build, made by the benchmark; either will do.
    let folders = ["target/kanidm-tool", "target/kanidm-tool-tests"]
        .map(|folder| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder));
    let mut programs = folders.iter().map(|folder| folder.join("bin/kanidm-ldap-sync"));
    programs.find(|program| program.exists()).unwrap_or_else(|| {
        panic!(
            "Kanidm's own sync tool is not there; ./tests/run installs it, as does: \
             cargo install --locked --root target/kanidm-tool-tests kanidm-ldap-sync@1.7.4"
        )
    })
}
