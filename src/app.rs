//! The program, from the command line to the exit code.
//!
//! Scope: the order of the steps. Each step is a module of its own.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

use log::{Level, error, info, log, warn};

use crate::cli::{self, Cli, Mode};
use crate::clock::SystemClock;
use crate::config::ConfigError;
use crate::env::Env;
use crate::exit::ExitCode;
use crate::heartbeat::Heartbeat;
use crate::log::{self as logging, Style, Verbosity};
use crate::metrics::Failure;
use crate::output::{pretty, written};
use crate::progress::ProgressLine;
use crate::service::lock::{LockError, RunLock};
use crate::service::notify::Notifier;
use crate::service::signals;
use crate::settings::{Settings, kanidm};
use crate::sync::changes::MAX_JSON;
use crate::sync::dump::Dump;
use crate::sync::observe::ReadStep;
use crate::sync::report::{HeldEntry, JsonReport};
use crate::sync::run::{self, Job, Outcome, RunError};
use crate::sync::start::FullRefresh;
use crate::terminal;

mod follow;
mod record;
mod remember;
mod scheduled;

use record::{Recorder, RunFacts};
use remember::Remembering;

/// Runs the program. `arguments` do not include its own name.
pub fn main(arguments: impl IntoIterator<Item = OsString>, env: Env<'static>) -> u8 {
    let cli = match Cli::parse(arguments, env) {
        Ok(cli) => cli,
        Err(error) => {
            init_logging(Verbosity::Normal, Mode::Once, env);
            error!("{error}");
            return ExitCode::Usage.code();
        }
    };
    init_logging(cli.verbosity, cli.mode, env);
    match cli.mode {
        Mode::Help => print(&cli::help()).code(),
        Mode::Version => print(&cli::version()).code(),
        Mode::Status => scheduled::status(&cli),
        Mode::Schedule => as_user(&cli, || scheduled::run(&cli, env)),
        Mode::Explain => as_user(&cli, || explain(&cli, env)),
        Mode::Check => as_user(&cli, || crate::check::run(&cli, env)),
        Mode::Once | Mode::DryRun | Mode::ProtoDump => as_user(&cli, || once(&cli, env)),
    }
}

fn init_logging(verbosity: Verbosity, mode: Mode, env: Env<'_>) {
    let stream = env("JOURNAL_STREAM").and_then(|s| s.into_string().ok());
    let style = match Style::detect(stream.as_deref()) {
        // A service always logs the time, because in a container its output may be a terminal.
        Style::Plain if mode != Mode::Schedule && io::stderr().is_terminal() => {
            Style::Terminal(terminal::columns(env))
        }
        style => style,
    };
    logging::init(verbosity, style);
}

/// Writes an answer to standard output. Returns a failure if that fails.
pub(crate) fn print(text: &str) -> ExitCode {
    written(terminal::print(text))
}

/// Refuses to run as root. So the configuration files need no rights that the service does not
/// have.
fn as_user(cli: &Cli, then: impl FnOnce() -> u8) -> u8 {
    if is_root() && !cli.skip_root_check {
        error!(
            "refusing to run as root. Run: runuser -u kanidm-ldap-sync -- kanidm-ldap-sync ... (in a container: --skip-root-check)"
        );
        return ExitCode::Usage.code();
    }
    then()
}

/// Checks the effective user id, which the kernel shows as the owner of /proc/self.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// A single run.
fn once(cli: &Cli, env: Env<'_>) -> u8 {
    let settings = match Settings::load(cli, env) {
        Ok(settings) => settings,
        Err(error) => return wrong_configuration(cli, &error),
    };
    if let Err(error) = signals::listen(signals::ProcessMode::OneShot, Notifier::from_environment())
    {
        return report_failure(cli, ExitCode::Failure, &format!("cannot handle signals: {error}"));
    }
    let full = if cli.full_refresh { FullRefresh::AskedFor } else { FullRefresh::No };
    let watch = Watch {
        heartbeat: Heartbeat::default(),
        following: &|| None,
        answers_a_ring: false,
        recorder: &RefCell::new(Recorder::new(cli, &settings.sync)),
    };
    let ended = synchronise(cli, &settings, full, watch);
    ended.code.unless_failed(ended.answered).code()
}

/// Ends a process that has no valid configuration.
fn wrong_configuration(cli: &Cli, error: &ConfigError) -> u8 {
    let message = error.to_string();
    record::wrong_configuration(cli, &message);
    report_failure(cli, ExitCode::Usage, &message)
}

/// Explains one entry.
fn explain(cli: &Cli, env: Env<'_>) -> u8 {
    let answer = crate::explain::run(cli, env);
    answer.error.iter().flat_map(|error| error.lines()).for_each(|line| error!("{line}"));
    let text = match cli.json {
        true => pretty(&answer),
        false => crate::explain::render(&answer, cli, env),
    };
    match print(&text) {
        ExitCode::Success => answer.exit_code,
        failed => failed.code(),
    }
}

/// The service around a run.
struct Watch<'a> {
    /// Beats with each bit of progress.
    heartbeat: Heartbeat,
    /// Tells the state of the listener, if there is one.
    following: &'a dyn Fn() -> Option<&'static str>,
    /// The directory has asked for the run. It may do so every second, and for nothing.
    answers_a_ring: bool,
    /// Tells monitoring the result.
    recorder: &'a RefCell<Recorder>,
}

/// Makes one run under the lock, and logs and prints its result.
fn synchronise(cli: &Cli, settings: &Settings, full: FullRefresh, watch: Watch<'_>) -> Ended {
    let lock = RunLock::acquire(&cli.sync_config, settings.sync.token_file.as_deref());
    if let Err(error @ LockError::Busy { .. }) = &lock {
        // The other run tells monitoring its own result.
        let message = error.to_string();
        return failure(cli, ExitCode::Busy, Failure::Local, message, (watch.following)());
    }
    record::around(watch.recorder, watch.following, || locked(cli, settings, full, &watch, &lock))
}

/// The run itself.
fn locked(
    cli: &Cli,
    settings: &Settings,
    full: FullRefresh,
    watch: &Watch<'_>,
    lock: &Result<Option<RunLock>, LockError>,
) -> Ended {
    let following = watch.following;
    match lock {
        Ok(Some(_)) => {}
        Ok(None) => {
            let config = cli.sync_config.display();
            warn!(
                "{config}: a second run is not kept out, because other users could hold the lock; change it with: chmod o-rw {config}"
            );
        }
        Err(error) => {
            let message = error.to_string();
            return failure(cli, ExitCode::Failure, Failure::Local, message, following());
        }
    }
    let mut server = match kanidm(settings) {
        Ok(server) => Remembering::new(server),
        Err(error) => {
            return failure(cli, ExitCode::Failure, Failure::Kanidm, error, following());
        }
    };
    let job = Job {
        config: &settings.sync,
        fingerprint: &settings.fingerprint,
        full_refresh: full,
        accept_deletes: cli.accept_deletes,
        dry_run: matches!(cli.mode, Mode::DryRun | Mode::ProtoDump),
        max_changes: max_changes(cli, settings),
        heartbeat: watch.heartbeat.clone(),
    };
    let mut dump = (cli.mode == Mode::ProtoDump).then(|| Dump::new(&settings.sync.mapping));
    // Two closures share it, and they are never called at the same time.
    let display = RefCell::new(ProgressLine::new());
    let outcome = run::run(
        &job,
        &mut server,
        &SystemClock,
        &mut |step: ReadStep<'_>| {
            display.borrow_mut().read(&step);
            if let Some(dump) = &mut dump {
                dump.step(&step);
            }
        },
        &mut |progress| display.borrow_mut().uploaded(progress),
    );
    display.borrow_mut().finish();
    match outcome {
        Ok(outcome) => success(cli, outcome, dump, following(), watch.answers_a_ring),
        Err(error) => {
            Ended { cookie: server.cookie(), ..failed(cli, settings, &error, following()) }
        }
    }
}

/// How many changed entries somebody wants to see: in the log, or in the report.
fn max_changes(cli: &Cli, settings: &Settings) -> usize {
    let logged = settings.sync.log_changes_max;
    match cli.mode {
        Mode::ProtoDump => 0,
        _ if cli.json => logged.max(MAX_JSON),
        // The preview names each entry.
        Mode::DryRun => 0,
        _ => logged,
    }
}

/// The end of a run.
struct Ended {
    /// The result of the synchronisation, for monitoring and the status of a service.
    code: ExitCode,
    /// A failure if standard output took no answer. Only a single run fails without it.
    answered: ExitCode,
    /// With [`ExitCode::Held`]: true if so few entries need attention that the status stays good.
    concerns_few: bool,
    /// The directory's cookie that Kanidm holds now; `None` if the run did not learn it.
    cookie: Option<Vec<u8>>,
    /// The facts for monitoring.
    facts: RunFacts,
}

impl Ended {
    fn failed(code: ExitCode, failure: Failure, message: String) -> Ended {
        let facts = RunFacts::Failed(failure, message);
        Ended { code, answered: ExitCode::Success, concerns_few: false, cookie: None, facts }
    }
}

fn success(
    cli: &Cli,
    outcome: Outcome,
    dump: Option<Dump>,
    following: Option<&'static str>,
    answers_a_ring: bool,
) -> Ended {
    let report = &outcome.report;
    let code = if report.needs_attention() { ExitCode::Held } else { ExitCode::Success };
    let mut out = String::new();
    match (cli.mode, cli.json) {
        (Mode::ProtoDump, _) => {
            if let Some(dump) = dump {
                out = pretty(
                    &dump.finish(&outcome.reading.content.changes, &outcome.reading.retention),
                );
            }
        }
        (_, true) => out = pretty(&JsonReport { following, ..report.json(code.code()) }),
        (_, false) => {
            let columns = terminal::of_stdout(cli.columns);
            out.extend(outcome.preview.iter().map(|line| {
                terminal::wrapped("", &logging::escaped(line), logging::INDENT, columns)
            }));
        }
    }
    let answered = print(&out);
    if report.needs_attention() {
        info!("{}", report.attention());
    }
    let level = if answers_a_ring && report.is_empty() { Level::Debug } else { Level::Info };
    log!(level, "{report}");
    let facts = RunFacts::of(report);
    let concerns_few = report.concerns_few();
    Ended { code, answered, concerns_few, cookie: outcome.reading.cookie, facts }
}

fn failed(
    cli: &Cli,
    settings: &Settings,
    error: &RunError,
    following: Option<&'static str>,
) -> Ended {
    // Errors of the directory name their server themselves.
    let place =
        if error.is_kanidms() { format!("{}: ", settings.client.uri) } else { String::new() };
    let (code, message) = (error.exit_code(), format!("{place}{error}"));
    report_failure_of(cli, code, &message, &error.held(), following);
    Ended::failed(code, record::reason(error), format!("{place}{}", error.without_names()))
}

fn failure(
    cli: &Cli,
    code: ExitCode,
    failure: Failure,
    message: String,
    following: Option<&'static str>,
) -> Ended {
    report_failure_of(cli, code, &message, &[], following);
    Ended::failed(code, failure, message)
}

/// Reports a failure once: in the log, and with `--json` also as the report.
fn report_failure(cli: &Cli, code: ExitCode, message: &str) -> u8 {
    report_failure_of(cli, code, message, &[], None)
}

fn report_failure_of(
    cli: &Cli,
    code: ExitCode,
    message: &str,
    at_fault: &[HeldEntry],
    following: Option<&'static str>,
) -> u8 {
    message.lines().for_each(|line| error!("{line}"));
    if cli.json {
        print(&pretty(&JsonReport {
            exit_code: code.code(),
            result: "failed",
            error: Some(message.to_owned()),
            at_fault,
            following,
            run: None,
        }));
    }
    code.code()
}
