//! Kanidm's client config (`/etc/kanidm/config`): the address of Kanidm and how to verify it.
//!
//! Scope: the keys that this tool needs. The file belongs to Kanidm, whose other tools read it too,
//! so unknown keys are ignored. An instance is a separate table. As in Kanidm's tools, it inherits
//! nothing from the keys outside tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{Document, Problems, Section};
use super::{ConfigError, ConfigProblem, Warning, files, suggest, uri};
use crate::env::Env;

/// Path of the file, unless the command line names another.
pub const DEFAULT_PATH: &str = "/etc/kanidm/config";
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum of every configured time-out, in seconds.
const MAX_TIMEOUT: u64 = 86_400;

/// The address of Kanidm and how to verify it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// `https://host[:port]`, without a trailing slash; `http://` only for a loopback address.
    pub uri: String,
    /// False: the certificate is not verified. Every run warns about it.
    pub verify_ca: bool,
    /// False: the host name is not verified. Every run warns about it.
    pub verify_hostnames: bool,
    /// PEM bundle of CA certificates, in addition to the system's roots.
    pub ca_path: Option<PathBuf>,
    /// Time-out for the TCP connection and the TLS handshake.
    pub connect_timeout: Duration,
}

/// Reads the client config from `path`, or from [`DEFAULT_PATH`] if `path` is `None`.
///
/// The environment overrides the file: `KANIDM_URL`, `KANIDM_CA_PATH` and, if `instance` is `None`,
/// `KANIDM_INSTANCE`. The default file may be missing if `KANIDM_URL` is set.
///
/// # Errors
/// All problems of the keys read, each with line and key.
pub fn load(
    path: Option<&Path>,
    instance: Option<&str>,
    env: Env<'_>,
) -> Result<(ClientConfig, Vec<Warning>), ConfigError> {
    let variable = |name: &str| env(name).filter(|value| !value.is_empty());
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    let text = match files::read_config(file) {
        Err(_) if path.is_none() && variable("KANIDM_URL").is_some() && !file.exists() => {
            String::new()
        }
        text => text?.text.to_string(),
    };
    let instance = match (instance, variable("KANIDM_INSTANCE")) {
        (Some(name), _) => Some(name.to_owned()),
        (None, Some(name)) => Some(
            name.into_string()
                .map_err(|_| ConfigError::whole("KANIDM_INSTANCE", "is not UTF-8 text"))?,
        ),
        (None, None) => None,
    };
    let mut settings =
        Settings::read(file, &text, instance.as_deref(), variable("KANIDM_URL").is_some())?;
    if let Some(url) = variable("KANIDM_URL") {
        let url = url.to_str().ok_or("is not UTF-8 text").and_then(uri::kanidm);
        settings.uri = Some(url.map_err(|message| ConfigError::whole("KANIDM_URL", message))?);
    }
    if let Some(path) = variable("KANIDM_CA_PATH") {
        settings.ca_path = Some(path.into());
    }
    let Some(uri) = settings.uri else {
        let problem = ConfigProblem {
            line: None,
            key: Some("uri".to_owned()),
            message: "is required (or KANIDM_URL)".to_owned(),
        };
        return Err(ConfigError { path: file.to_owned(), problems: vec![problem] });
    };
    let config = ClientConfig {
        uri,
        verify_ca: settings.verify_ca.unwrap_or(true),
        verify_hostnames: settings.verify_hostnames.unwrap_or(true),
        ca_path: settings.ca_path,
        connect_timeout: settings.connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
    };
    let warnings = warnings(&config)
        .map(|message| Warning { path: file.to_owned(), message: message.to_owned() })
        .collect();
    Ok((config, warnings))
}

fn warnings(config: &ClientConfig) -> impl Iterator<Item = &'static str> {
    let verify_ca = "verify_ca = false: an attacker on the network can pose as Kanidm and get the sync token and every password hash. Put Kanidm's CA into ca_path instead";
    let verify_hostnames = "verify_hostnames = false: the owner of any trusted certificate can pose as Kanidm. Use a name of Kanidm's certificate in uri instead";
    [(config.verify_ca, verify_ca), (config.verify_hostnames, verify_hostnames)]
        .into_iter()
        .filter(|(on, _)| !on)
        .map(|(_, text)| text)
}

/// The settings of one table, before defaults.
#[derive(Default)]
struct Settings {
    uri: Option<String>,
    verify_ca: Option<bool>,
    verify_hostnames: Option<bool>,
    ca_path: Option<PathBuf>,
    connect_timeout: Option<Duration>,
}

impl Settings {
    /// Reads the table of an instance, or the keys outside tables. If the URI comes from the
    /// environment, the table may be missing.
    fn read(
        path: &Path,
        text: &str,
        instance: Option<&str>,
        uri_given: bool,
    ) -> Result<Settings, ConfigError> {
        let error = |problems| ConfigError { path: path.to_owned(), problems };
        let document = Document::parse(text).map_err(|problem| error(vec![problem]))?;
        let mut root = document.root();
        let Some(name) = instance else { return Settings::section(root).map_err(error) };
        let mut tables = root.tables(|table| Some(table.to_owned()));
        match tables.iter().position(|(table, _)| table == name) {
            Some(at) => Settings::section(tables.swap_remove(at).1.value).map_err(error),
            None if uri_given => Ok(Settings::default()),
            None => {
                let names = tables.iter().map(|(table, _)| table.as_str());
                let hint = suggest(name, names)
                    .map(|near| format!("; did you mean {near}?"))
                    .unwrap_or_default();
                Err(ConfigError::whole(
                    path,
                    format!("has no table [{name}] for that instance{hint}"),
                ))
            }
        }
    }

    fn section(mut keys: Section<'_>) -> Result<Settings, Vec<ConfigProblem>> {
        let mut problems = Problems::default();
        let uri =
            keys.text("uri", &mut problems).and_then(|at| at.try_map(&mut problems, uri::kanidm));
        let settings = Settings {
            uri: uri.map(|at| at.value),
            verify_ca: keys.flag("verify_ca", &mut problems).map(|at| at.value),
            verify_hostnames: keys.flag("verify_hostnames", &mut problems).map(|at| at.value),
            ca_path: keys.text("ca_path", &mut problems).map(|at| at.value.into()),
            connect_timeout: keys
                .integer("connect_timeout", 1..=MAX_TIMEOUT, &mut problems)
                .map(|at| Duration::from_secs(at.value)),
        };
        for at in keys.rest().filter(|at| !at.value.is_table()) {
            log::debug!("client config, line {}: {} is not for this tool", at.line, at.key);
        }
        let problems = problems.into_list();
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }
}
