//! The command line.
//!
//! Scope: one table of options for parsing and `--help`. A test compares the manual page and the
//! completions (`packaging/manual`) with it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;

use crate::config;
use crate::env::Env;
use crate::exit::ExitCode;
use crate::log::Verbosity;
use crate::terminal;

/// The sync config, unless the command line names another.
pub const DEFAULT_SYNC_CONFIG: &str = "/etc/kanidm/ldap-sync";

/// The parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cli {
    /// The mode.
    pub mode: Mode,
    /// Kanidm's client config; `None` for the default one, which may be absent.
    pub client_config: Option<PathBuf>,
    /// The sync config.
    pub sync_config: PathBuf,
    /// The instance in the client config.
    pub instance: Option<String>,
    /// The entry to explain: a DN, a UUID or a name.
    pub explain: Option<String>,
    /// Ignore the cookie in this run.
    pub full_refresh: bool,
    /// Let this run exceed the deletion guard.
    pub accept_deletes: bool,
    /// Print the report of the run as JSON on stdout.
    pub json: bool,
    /// How much is logged.
    pub verbosity: Verbosity,
    /// Allow root.
    pub skip_root_check: bool,
    /// The width of terminals (`COLUMNS`), if it is known.
    pub columns: Option<usize>,
}

/// The mode of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Synchronise once.
    #[default]
    Once,
    /// Synchronise without sending.
    DryRun,
    /// Run by the schedule until a signal ends the process.
    Schedule,
    /// Test everything that a run needs, step by step.
    Check,
    /// Explain one entry.
    Explain,
    /// Ask the status listener of a scheduled service.
    Status,
    /// Print the entries from LDAP and the entries for Kanidm.
    ProtoDump,
    /// Print the options.
    Help,
    /// Print the version.
    Version,
}

impl Cli {
    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    /// The first invalid argument, or options that exclude each other.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        env: Env<'_>,
    ) -> Result<Cli, CliError> {
        let mut given = Given::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            let option = match argument {
                Arg::Short(short) => {
                    by_short(short).ok_or_else(|| CliError::unknown(&format!("-{short}")))?
                }
                Arg::Long(long) => {
                    by_long(long).ok_or_else(|| CliError::unknown(&format!("--{long}")))?
                }
                Arg::Value(value) => {
                    return Err(CliError(format!("unexpected argument {value:?}")));
                }
            };
            let value = if option.value.is_some() { Some(parser.value()?) } else { None };
            given.add(option, value)?;
        }
        given.into_cli(env)
    }
}

/// Why a command line is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError(String);

impl CliError {
    fn unknown(option: &str) -> Self {
        let known = OPTIONS.iter().flat_map(|option| option.long.iter().copied());
        let hint = option.strip_prefix("--").and_then(|long| config::suggest(long, known));
        CliError(format!(
            "unknown option {option:?}{}",
            hint.map(|near| format!("; did you mean --{near}?")).unwrap_or_default()
        ))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (--help lists the options)", self.0)
    }
}

impl std::error::Error for CliError {}

impl From<lexopt::Error> for CliError {
    fn from(error: lexopt::Error) -> Self {
        CliError(error.to_string())
    }
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct CliOption {
    /// Its effect.
    pub action: Action,
    /// Its letters.
    pub short: &'static [char],
    /// Its names, without the dashes.
    pub long: &'static [&'static str],
    /// The name of its value, if it has one.
    pub value: Option<&'static str>,
    /// Its line in `--help`.
    pub help: &'static str,
}

/// The effect of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the options table says what they do")]
pub enum Action {
    ClientConfig,
    SyncConfig,
    Instance,
    Mode(Mode),
    FullRefresh,
    AcceptDeletes,
    Json,
    Verbosity(Verbosity),
    SkipRootCheck,
}

const fn flag(
    action: Action,
    short: &'static [char],
    long: &'static [&'static str],
    help: &'static str,
) -> CliOption {
    CliOption { action, short, long, value: None, help }
}

const fn valued(
    action: Action,
    short: &'static [char],
    long: &'static [&'static str],
    value: &'static str,
    help: &'static str,
) -> CliOption {
    CliOption { action, short, long, value: Some(value), help }
}

/// The options, in the order of `--help`.
pub const OPTIONS: &[CliOption] = &[
    valued(
        Action::ClientConfig,
        &['c'],
        &["client-config"],
        "PATH",
        "Kanidm client config [default: /etc/kanidm/config]",
    ),
    valued(
        Action::SyncConfig,
        &['i', 'l'],
        &["ldap-sync-config"],
        "PATH",
        "sync config [default: /etc/kanidm/ldap-sync]",
    ),
    valued(Action::Instance, &['I'], &["instance"], "NAME", "instance table of the client config"),
    flag(
        Action::Mode(Mode::DryRun),
        &['n'],
        &["dry-run"],
        "read, map, validate and guard; print what would be sent; send nothing",
    ),
    flag(
        Action::Mode(Mode::Schedule),
        &[],
        &["schedule"],
        "stay and run by the cron expression; status_bind answers",
    ),
    flag(Action::FullRefresh, &[], &["full-refresh"], "ignore the cookie for this run"),
    flag(Action::AcceptDeletes, &[], &["accept-deletes"], "let this run exceed the deletion guard"),
    flag(
        Action::Mode(Mode::Check),
        &[],
        &["check"],
        "test configuration, files, directory and Kanidm one by one",
    ),
    valued(
        Action::Mode(Mode::Explain),
        &[],
        &["explain"],
        "WHO",
        "tell why the entry (DN, UUID or name) is in Kanidm or not",
    ),
    flag(
        Action::Mode(Mode::Status),
        &[],
        &["status"],
        "ask the configured status_bind; exit 0 to 3 as a Nagios plugin",
    ),
    flag(
        Action::Json,
        &[],
        &["json"],
        "the answer of a run, --check or --explain as JSON on stdout",
    ),
    flag(Action::Verbosity(Verbosity::Debug), &['d'], &["debug"], "log more [also: KANIDM_DEBUG]"),
    flag(
        Action::Verbosity(Verbosity::Quiet),
        &['q'],
        &["quiet"],
        "log only warnings and errors, for cron",
    ),
    flag(
        Action::Mode(Mode::ProtoDump),
        &['p'],
        &["proto-dump"],
        "print LDAP input and SCIM request as JSON; send nothing",
    ),
    flag(Action::SkipRootCheck, &['s'], &["skip-root-check"], "run as root all the same"),
    flag(Action::Mode(Mode::Help), &['h'], &["help"], "print this help"),
    flag(Action::Mode(Mode::Version), &['V'], &["version"], "print the version"),
];

/// The environment variables and their purpose.
pub const VARIABLES: &[(&str, &str)] = &[
    ("KANIDM_URL", "where Kanidm is, in place of the client config's uri"),
    ("KANIDM_CA_PATH", "PEM bundle, in place of the client config's ca_path"),
    ("KANIDM_INSTANCE", "as --instance"),
    ("KANIDM_DEBUG", "as --debug, unless it is empty, 0, false, no or off"),
];

/// The text of `--version`.
pub fn version() -> String {
    format!("kanidm-ldap-sync {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text of `--help`, at most 80 columns wide.
pub fn help() -> String {
    let mut text = String::from(
        "Copies persons and groups from an LDAP directory into Kanidm, incrementally.\n\n\
         Usage: kanidm-ldap-sync [OPTIONS]\n\nOptions:\n",
    );
    for option in OPTIONS {
        list_item(&mut text, &synopsis(option), option.help, 29);
    }
    text.push_str("\nEnvironment:\n");
    for (name, help) in VARIABLES {
        list_item(&mut text, name, help, 20);
    }
    text.push_str("\nExit codes:\n");
    for (code, meaning) in ExitCode::ALL {
        list_item(&mut text, &code.code().to_string(), meaning, 5);
    }
    text
}

/// `-i, -l, --ldap-sync-config PATH`.
fn synopsis(option: &CliOption) -> String {
    let names: Vec<String> = option
        .short
        .iter()
        .map(|c| format!("-{c}"))
        .chain(option.long.iter().map(|long| format!("--{long}")))
        .collect();
    let indent = if option.short.is_empty() { "    " } else { "" };
    let value = option.value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("{indent}{}{value}", names.join(", "))
}

/// A term and its meaning, which starts at `column`, in lines of at most 80 columns.
fn list_item(text: &mut String, term: &str, meaning: &str, column: usize) {
    let mut start = format!("  {term:<width$}", width = column.saturating_sub(2));
    if term.len() + 3 > column {
        text.push_str(&start);
        text.push('\n');
        start = " ".repeat(column);
    }
    text.push_str(&terminal::wrapped(&start, meaning, column, Some(80)));
}

fn by_short(short: char) -> Option<&'static CliOption> {
    OPTIONS.iter().find(|option| option.short.contains(&short))
}

fn by_long(long: &str) -> Option<&'static CliOption> {
    OPTIONS.iter().find(|option| option.long.contains(&long))
}

/// The options found so far.
#[derive(Default)]
struct Given(Vec<(&'static CliOption, Option<OsString>)>);

impl Given {
    /// Adds an option. Refuses a second value for it, because nobody could tell which one counts.
    fn add(&mut self, option: &'static CliOption, value: Option<OsString>) -> Result<(), CliError> {
        if value.is_some() && self.has(option.action) {
            return Err(CliError(format!("{} is given twice", name(option))));
        }
        self.0.push((option, value));
        Ok(())
    }

    fn into_cli(self, env: Env<'_>) -> Result<Cli, CliError> {
        let mode = self.mode()?;
        if !matches!(mode, Mode::Help | Mode::Version) {
            self.refuse_conflicts(mode)?;
        }
        Ok(Cli {
            mode,
            client_config: self.value(Action::ClientConfig).map(PathBuf::from),
            sync_config: self
                .value(Action::SyncConfig)
                .unwrap_or(OsStr::new(DEFAULT_SYNC_CONFIG))
                .into(),
            instance: self.text(Action::Instance)?,
            explain: self.who(mode)?,
            full_refresh: self.has(Action::FullRefresh),
            accept_deletes: self.has(Action::AcceptDeletes),
            json: self.has(Action::Json),
            verbosity: self.verbosity(env)?,
            skip_root_check: self.has(Action::SkipRootCheck),
            columns: terminal::columns(env),
        })
    }

    /// The one requested mode. Help wins over all others, then the version. `-p` sends nothing, so
    /// `-n` next to it changes nothing.
    fn mode(&self) -> Result<Mode, CliError> {
        let modes: Vec<(&CliOption, Mode)> = self
            .0
            .iter()
            .filter_map(|(option, _)| Some((*option, option.action.mode()?)))
            .collect();
        let asked = |mode: Mode| modes.iter().any(|(_, asked)| *asked == mode);
        if let Some(mode) = [Mode::Help, Mode::Version].into_iter().find(|mode| asked(*mode)) {
            return Ok(mode);
        }
        let dump = asked(Mode::ProtoDump);
        let mut distinct = modes.into_iter().filter(|(_, mode)| !(dump && *mode == Mode::DryRun));
        let Some((first, mode)) = distinct.next() else { return Ok(Mode::Once) };
        match distinct.find(|(_, other)| *other != mode) {
            Some((second, _)) => Err(conflict(first, second)),
            None => Ok(mode),
        }
    }

    /// Refuses options about one run in a mode with no run or with several. Refuses two kinds of
    /// output on stdout.
    fn refuse_conflicts(&self, mode: Mode) -> Result<(), CliError> {
        let excluded: &[Action] = match mode {
            Mode::Schedule => &[Action::FullRefresh, Action::AcceptDeletes],
            Mode::Check | Mode::Explain => &[Action::FullRefresh, Action::AcceptDeletes],
            Mode::Status => &[Action::FullRefresh, Action::AcceptDeletes, Action::Json],
            Mode::ProtoDump => &[Action::Json],
            Mode::Once | Mode::DryRun | Mode::Help | Mode::Version => &[],
        };
        let of_mode = self.0.iter().find(|(option, _)| option.action == Action::Mode(mode));
        let other = self.0.iter().find(|(option, _)| excluded.contains(&option.action));
        match (of_mode, other) {
            (Some((of_mode, _)), Some((other, _))) => Err(conflict(of_mode, other)),
            _ => Ok(()),
        }
    }

    fn verbosity(&self, env: Env<'_>) -> Result<Verbosity, CliError> {
        let [debug, quiet] = [Verbosity::Debug, Verbosity::Quiet]
            .map(|verbosity| self.has(Action::Verbosity(verbosity)));
        match (debug, quiet) {
            (true, true) => Err(CliError("--debug and --quiet exclude each other".to_owned())),
            (true, false) => Ok(Verbosity::Debug),
            (false, true) => Ok(Verbosity::Quiet),
            (false, false) => Ok(if env("KANIDM_DEBUG").is_some_and(|value| is_on(&value)) {
                Verbosity::Debug
            } else {
                Verbosity::Normal
            }),
        }
    }

    fn who(&self, mode: Mode) -> Result<Option<String>, CliError> {
        let who = self.text(Action::Mode(Mode::Explain))?;
        let is_blank = |who: &String| who.trim().is_empty();
        match mode == Mode::Explain && who.as_ref().is_none_or(is_blank) {
            true => Err(CliError("--explain needs a DN, a UUID or a name".to_owned())),
            false => Ok(who),
        }
    }

    fn text(&self, action: Action) -> Result<Option<String>, CliError> {
        let given = self.0.iter().find(|(option, _)| option.action == action);
        let Some((option, Some(value))) = given else { return Ok(None) };
        value
            .to_str()
            .map(|value| Some(value.to_owned()))
            .ok_or_else(|| CliError(format!("{} is not UTF-8 text", name(option))))
    }

    fn has(&self, action: Action) -> bool {
        self.0.iter().any(|(option, _)| option.action == action)
    }

    fn value(&self, action: Action) -> Option<&OsStr> {
        self.0
            .iter()
            .find(|(option, _)| option.action == action)
            .and_then(|(_, value)| value.as_deref())
    }
}

impl Action {
    fn mode(self) -> Option<Mode> {
        match self {
            Action::Mode(mode) => Some(mode),
            _ => None,
        }
    }
}

/// The option as errors name it.
fn name(option: &CliOption) -> String {
    option.long.first().map(|long| format!("--{long}")).unwrap_or_default()
}

fn conflict(a: &CliOption, b: &CliOption) -> CliError {
    CliError(format!("{} and {} exclude each other", name(a), name(b)))
}

/// True for a truth value of the environment, as Kanidm's tools read it.
fn is_on(value: &OsStr) -> bool {
    let value = value.to_string_lossy().to_ascii_lowercase();
    !matches!(value.as_str(), "" | "0" | "n" | "no" | "f" | "false" | "off")
}
