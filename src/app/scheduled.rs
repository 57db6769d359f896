//! `--schedule` and `--status`: the settings and the run as the service's loop wants them.

use log::error;

use super::{Settings, report_failure, synchronise};
use crate::cli::Cli;
use crate::config::{self, Env};
use crate::error::ExitCode;
use crate::service::clock::SystemClock;
use crate::service::health::{Health, Verdict};
use crate::service::notify::{self, Notifier};
use crate::service::signals;
use crate::service::status::{self, Probe, StatusListener};
use crate::service::supervise::{self, Supervisor};

/// Stays and runs by the schedule.
pub fn run(cli: &Cli, env: Env<'_>) -> u8 {
    let notifier = Notifier::from_environment();
    let inbox = match signals::listen(signals::Mode::Scheduled, notifier.clone()) {
        Ok(inbox) => inbox,
        Err(error) => return report_failure(cli, ExitCode::Failure, &format!("cannot handle signals: {error}")),
    };
    let mut settings = match Settings::load(cli, env) {
        Ok(settings) => settings,
        Err(error) => return report_failure(cli, ExitCode::Usage, &error.to_string()),
    };
    let clock = SystemClock;
    let health = Health::new(settings.time_outs());
    let _listener = match settings.sync.status_bind.map(|bind| StatusListener::start(bind, health.clone())).transpose() {
        Ok(listener) => listener,
        Err(error) => return report_failure(cli, ExitCode::Failure, &error.to_string()),
    };
    if let Err(error) = notify::watch(&notifier, &health) {
        return report_failure(cli, ExitCode::Failure, &format!("cannot start the watchdog thread: {error}"));
    }
    let supervisor = Supervisor { clock: &clock, health: &health, notifier: &notifier };
    let schedule = service_settings(&settings);
    supervisor.supervise(
        &mut settings,
        schedule,
        |timeout| Some(inbox.wait(timeout)),
        |settings, kind| {
            let full = cli.full_refresh || kind.full;
            let code = synchronise(cli, settings, full, &mut || health.progress(std::time::Instant::now()));
            verdict(code)
        },
        |settings| {
            let new = Settings::load(cli, env).map_err(|error| error.to_string())?;
            if new.sync.status_bind != settings.sync.status_bind {
                error!("status_bind has changed: that takes a restart; the listener stays where it is");
            }
            *settings = new;
            Ok(service_settings(settings))
        },
    );
    ExitCode::Success.code()
}

fn service_settings(settings: &Settings) -> supervise::Settings {
    supervise::Settings {
        schedule: settings.sync.schedule.clone(),
        full_refresh_schedule: settings.sync.full_refresh_schedule.clone(),
        time_outs: settings.time_outs(),
    }
}

fn verdict(code: ExitCode) -> Verdict {
    match code {
        ExitCode::Success => Verdict::Synchronised,
        ExitCode::Held => Verdict::Held,
        ExitCode::Refused => Verdict::Refused,
        ExitCode::Busy => Verdict::Busy,
        ExitCode::Failure | ExitCode::Usage => Verdict::Failed,
    }
}

/// Asks the service that runs with the same configuration.
pub fn status(cli: &Cli, env: Env<'_>) -> u8 {
    let probe = match config::sync::load(&cli.sync_config, env) {
        Err(error) => Probe::unknown(error.to_string().lines().next().unwrap_or_default()),
        Ok((sync, _)) => match sync.status_bind {
            Some(bind) => status::ask(bind, status::ASK_TIMEOUT),
            None => Probe::unknown(format_args!("{}: status_bind is not set", cli.sync_config.display())),
        },
    };
    super::print(&format!("{}\n", probe.line));
    probe.exit_code
}
