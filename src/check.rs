//! `--check`: tries everything that a run needs, step by step, one line for each step. It sends
//! nothing to Kanidm and changes nothing.
//!
//! Scope: the order of the steps. They use the code of a run, so a step that passes here passes in
//! a run.

mod content;
mod directory;
mod extra_values;
mod kanidm;
mod list;
mod listen;

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use self::list::Checklist;
use crate::cli::Cli;
use crate::config::client::{self, ClientConfig};
use crate::config::fingerprint::fingerprint;
use crate::config::sync::{self, SyncConfig};
use crate::config::{ConfigError, Warning};
use crate::env::Env;
use crate::exit::ExitCode;
use crate::net::certificate::Certificate;
use crate::service::notify::Notifier;
use crate::service::signals;
use crate::settings::Settings;
use crate::text::{count, remedy_of, utc};

/// Runs the checks. Exit codes: 0 if all passed, 1 if the directory or Kanidm fails a step, 2 if a
/// configuration file is wrong.
pub fn run(cli: &Cli, env: Env<'_>) -> u8 {
    let mut list = Checklist::new(cli, env);
    if let Err(error) = signals::listen(signals::ProcessMode::OneShot, Notifier::default()) {
        list.failed("signals", format_args!("cannot be handled: {error}"), "");
        list.verdict(ExitCode::Failure);
        return ExitCode::Failure.code();
    }
    let (sync, client) = files(&mut list, cli, env);
    match &sync {
        Some(sync) => directory::check(&mut list, sync),
        None => list.not_tried(&["directory"]),
    }
    let usable = sync.is_some() && client.is_some();
    match sync.zip(client) {
        Some((sync, client)) => {
            let fingerprint = fingerprint(&sync);
            kanidm::check(&mut list, &Settings { sync, client, fingerprint });
        }
        None => list.not_tried(&["Kanidm"]),
    }
    let code = match (usable, list.has_failed()) {
        (false, _) => ExitCode::Usage,
        (true, true) => ExitCode::Failure,
        (true, false) => ExitCode::Success,
    };
    list.verdict(code);
    code.unless_failed(list.written()).code()
}

/// Both configuration files, and the files that they name.
fn files(
    list: &mut Checklist,
    cli: &Cli,
    env: Env<'_>,
) -> (Option<SyncConfig>, Option<ClientConfig>) {
    let path = &cli.sync_config;
    let sync = file(list, "sync config", path, sync::load(path, env));
    let path = cli.client_config.as_deref().unwrap_or(Path::new(client::DEFAULT_PATH));
    let client = file(
        list,
        "client config",
        path,
        client::load(cli.client_config.as_deref(), cli.instance.as_deref(), env),
    );
    (sync, client)
}

fn file<T>(
    list: &mut Checklist,
    step: &str,
    path: &Path,
    loaded: Result<(T, Vec<Warning>), ConfigError>,
) -> Option<T> {
    match loaded {
        Err(error) => {
            let correct = format!("correct {}", path.display());
            for line in error.to_string().lines() {
                let remedy = Some(remedy_of(line)).filter(|remedy| !remedy.is_empty());
                list.failed(step, line, remedy.unwrap_or(&correct));
            }
            None
        }
        Ok((config, warnings)) => {
            match mode(path) {
                Some(mode) => {
                    list.passed(step, format_args!("{}, mode {mode:04o}", path.display()))
                }
                None => list.passed(
                    step,
                    format_args!("{} is absent, the environment takes its place", path.display()),
                ),
            }
            for warning in &warnings {
                list.advice(step, warning, remedy_of(&warning.message));
            }
            Some(config)
        }
    }
}

/// The permission bits.
fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o7777)
}

/// A certificate with fewer days left should already be renewed.
const RENEW_DAYS: i64 = 14;

/// Passes the step in which the server's certificate was verified.
fn tls(
    list: &Checklist,
    step: impl Display + Copy,
    chain: &[CertificateDer<'static>],
    verified: bool,
) {
    let Some(certificate) = chain.first().and_then(|own| Certificate::read(own)) else {
        return list.passed(step, "");
    };
    let now = utc(SystemTime::now());
    list.passed(
        step,
        format_args!(
            "{}{}",
            certificate.describe(now),
            if verified { "" } else { "; NOT verified, as configured" }
        ),
    );
    if let Some(days) = certificate.days_left(now).filter(|days| *days < RENEW_DAYS) {
        let when = match days {
            ..0 => "has expired".to_owned(),
            _ => format!("expires in {}", count(days.unsigned_abs(), "day")),
        };
        list.advice(step, format_args!("the server's certificate {when}: renew it"), "renew it");
    }
}
