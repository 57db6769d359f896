//! `--schedule` and `--status`: connects the settings and the run to the loop of the service.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::record::Recorder;
use super::{Ended, Watch, follow, report_failure, synchronise, wrong_configuration};
use crate::cli::Cli;
use crate::clock::SystemClock;
use crate::config;
use crate::env::Env;
use crate::exit::ExitCode;
use crate::heartbeat::Heartbeat;
use crate::metrics;
use crate::service::follow::{Follower, Following, Pauses};
use crate::service::health::{Health, Verdict};
use crate::service::notify::{self, Notifier};
use crate::service::plugin::Evidence;
use crate::service::signals::{self, Inbox};
use crate::service::status::{self, Probe, StatusError, StatusListener};
use crate::service::supervise::{Supervisor, Timing};
use crate::settings::Settings;
use crate::sync::start::FullRefresh;
use crate::text::unix;
use crate::within::{NoResult, OneAtATime};

/// Runs by the schedule until a signal ends the process.
pub fn run(cli: &Cli, env: Env<'static>) -> u8 {
    let notifier = Notifier::from_environment();
    let inbox = match signals::listen(signals::ProcessMode::Scheduled, notifier.clone()) {
        Ok(inbox) => inbox,
        Err(error) => {
            return report_failure(
                cli,
                ExitCode::Failure,
                &format!("cannot handle signals: {error}"),
            );
        }
    };
    let settings = match Settings::load(cli, env) {
        Ok(settings) => settings,
        Err(error) => return wrong_configuration(cli, &error),
    };
    let health = Health::new(settings.time_outs());
    let listener = match Listener::start(settings.sync.status_bind, &health) {
        Ok(listener) => listener,
        Err(error) => return report_failure(cli, ExitCode::Failure, &error.to_string()),
    };
    if let Err(error) = notify::watch(&notifier, &health) {
        return report_failure(
            cli,
            ExitCode::Failure,
            &format!("cannot start the watchdog thread: {error}"),
        );
    }
    let heart = health.clone();
    let heartbeat = Heartbeat::new(move || heart.progress(Instant::now()));
    let supervisor = Supervisor { clock: &SystemClock, health: &health, notifier: &notifier };
    let timing = timing(&settings);
    let recorder = Rc::new(RefCell::new(Recorder::new(cli, &settings.sync)));
    supervisor.supervise(
        &mut Service {
            settings: Arc::new(settings),
            listener,
            reading: OneAtATime::new(),
            inbox: inbox.clone(),
            follower: None,
            cookie: None,
            recorder: Rc::clone(&recorder),
        },
        timing,
        |timeout| {
            let requests = inbox.wait(timeout);
            if requests.news {
                recorder.borrow_mut().follower(health.following());
            }
            Some(requests)
        },
        |service, kind| {
            let full = if kind.full { FullRefresh::Scheduled } else { FullRefresh::No };
            service.run_begins();
            let following = || health.following().map(Following::word);
            let watch = Watch {
                heartbeat: heartbeat.clone(),
                following: &following,
                answers_a_ring: kind.ring,
                recorder: &recorder,
            };
            let ended = synchronise(cli, &service.settings, full, watch);
            let verdict = verdict(&ended);
            service.run_ended(ended.cookie, &health);
            verdict
        },
        |service| service.reload(cli, env, &health),
    );
    ExitCode::Success.code()
}

/// Everything that depends on the configuration. SIGHUP replaces it.
struct Service {
    settings: Arc<Settings>,
    listener: Listener,
    reading: OneAtATime,
    inbox: Inbox,
    /// Listens to the directory, if the configuration says so.
    follower: Option<Follower>,
    /// Where Kanidm was after the last run that could tell.
    cookie: Option<Vec<u8>>,
    /// Writes `metrics_file`.
    recorder: Rc<RefCell<Recorder>>,
}

/// Maximum time to read the configuration again.
const RELOAD_TIME: Duration = Duration::from_secs(10);

impl Service {
    /// Takes over a new configuration, if all of it is usable. The files may be on a mount that
    /// hangs, so a thread reads them. Moving the listener takes at most [`status::ASK_TIMEOUT`].
    fn reload(&mut self, cli: &Cli, env: Env<'static>, health: &Health) -> Result<Timing, String> {
        let reader = cli.clone();
        let read = self.reading.call(RELOAD_TIME, move || Settings::read(&reader, env));
        let (settings, warnings) =
            read.map_err(why_not_read)?.map_err(|error| error.to_string())?;
        warnings.iter().for_each(|warning| log::warn!("{warning}"));
        self.listener
            .move_to(settings.sync.status_bind, health)
            .map_err(|error| error.to_string())?;
        self.settings = Arc::new(settings);
        self.recorder.borrow_mut().reconfigure(cli, &self.settings.sync);
        self.follow(health);
        Ok(timing(&self.settings))
    }

    fn run_begins(&self) {
        if let Some(follower) = &self.follower {
            follower.run_begins();
        }
    }

    /// Listens from where the run has brought Kanidm. The first run starts the listener, even if it
    /// failed.
    fn run_ended(&mut self, cookie: Option<Vec<u8>>, health: &Health) {
        self.cookie = cookie.or(self.cookie.take());
        match &self.follower {
            Some(follower) => follower.run_ended(self.cookie.clone()),
            None => self.follow(health),
        }
    }

    /// Listens anew, or no more, as the configuration says. The old listener closes its connection
    /// on its own.
    fn follow(&mut self, health: &Health) {
        self.follower = None;
        if self.settings.sync.follow_interval.is_none() {
            return;
        }
        let (settings, heart) = (Arc::clone(&self.settings), health.clone());
        let heartbeat = Heartbeat::new(move || heart.listener_progress(Instant::now()));
        let listen =
            move |line: &_, cookie: &_| follow::listen(&settings, heartbeat.clone(), line, cookie);
        let cookie = self.cookie.clone();
        match Follower::start(cookie, &self.inbox, health, Pauses::default(), listen) {
            Ok(follower) => self.follower = Some(follower),
            Err(error) => log::error!(
                "cannot start the thread that listens for changes: {error}; the schedule goes on; reload or restart the service to try again"
            ),
        }
    }
}

fn why_not_read(problem: NoResult) -> String {
    match problem {
        NoResult::Late => format!(
            "its files cannot be read within {} seconds; look for a file system that hangs, then reload again",
            RELOAD_TIME.as_secs()
        ),
        NoResult::EarlierHangs => {
            "an earlier reload still hangs; mend the file system that does, or restart the service"
                .to_owned()
        }
        NoResult::Thread(error) => error.to_string(),
    }
}

/// The status listener, if any, and its `status_bind`.
struct Listener {
    bind: Option<SocketAddr>,
    listener: Option<StatusListener>,
}

impl Listener {
    fn start(bind: Option<SocketAddr>, health: &Health) -> Result<Listener, StatusError> {
        Ok(Listener {
            bind,
            listener: bind.map(|bind| StatusListener::start(bind, health.clone())).transpose()?,
        })
    }

    /// Listens on another address, or on the old one if that fails. For a moment nothing listens,
    /// because all addresses and one of them cannot be bound at once.
    fn move_to(&mut self, bind: Option<SocketAddr>, health: &Health) -> Result<(), StatusError> {
        if bind == self.bind {
            return Ok(());
        }
        self.listener = None;
        match Listener::start(bind, health) {
            Ok(moved) => {
                *self = moved;
                Ok(())
            }
            Err(error) => {
                match Listener::start(self.bind, health) {
                    Ok(back) => *self = back,
                    // The next reload tries the address that the configuration has then.
                    Err(gone) => {
                        log::error!(
                            "{gone}; the status listener is gone until the configuration is read again"
                        );
                        self.bind = None;
                    }
                }
                Err(error)
            }
        }
    }
}

fn timing(settings: &Settings) -> Timing {
    Timing {
        schedule: settings.sync.schedule.clone(),
        full_refresh_schedule: settings.sync.full_refresh_schedule.clone(),
        time_outs: settings.time_outs(),
        follow_interval: settings.sync.follow_interval,
    }
}

fn verdict(ended: &Ended) -> Verdict {
    match ended.code {
        ExitCode::Held if ended.concerns_few => Verdict::FewHeld,
        ExitCode::Success => Verdict::Synchronised,
        ExitCode::Held => Verdict::Held,
        ExitCode::Refused => Verdict::Refused,
        ExitCode::Busy => Verdict::Busy,
        ExitCode::Failure | ExitCode::Usage => Verdict::Failed,
    }
}

/// Asks the service that runs with the same configuration, and completes the answer from
/// `metrics_file`. It reads only these two keys, so the caller needs none of the secrets.
pub fn status(cli: &Cli) -> u8 {
    let bind = config::sync::status_bind(&cli.sync_config);
    let probe = match &bind {
        Err(error) => Probe::unknown(error.to_string().lines().next().unwrap_or_default()),
        Ok(Some(bind)) => status::ask(*bind, status::ASK_TIMEOUT),
        Ok(None) => Probe::unknown(format_args!(
            "{}: status_bind is not set. Add status_bind = \"127.0.0.1:12345\" and restart the service",
            cli.sync_config.display()
        )),
    };
    let probe = match config::sync::metrics_file(&cli.sync_config) {
        Ok(Some(path)) => probe.with_metrics(&Evidence {
            path: &path,
            read: metrics::file::read_in_time(&path),
            status_bind: bind.as_ref().ok().copied().flatten(),
            now: unix(SystemTime::now()),
        }),
        Err(error) if bind.is_ok() => {
            probe.with_note(error.to_string().lines().next().unwrap_or_default())
        }
        // A file that cannot be read is the reason for UNKNOWN already.
        Ok(None) | Err(_) => probe,
    };
    // The exit code has the answer, too.
    super::print(&format!("{}\n", probe.line));
    probe.exit_code
}
