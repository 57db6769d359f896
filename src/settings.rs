//! The two configuration files as the program uses them, and the client for Kanidm that they
//! describe.

use std::time::Duration;

use log::warn;

use crate::cli::Cli;
use crate::config::client::ClientConfig;
use crate::config::fingerprint::fingerprint;
use crate::config::sync::SyncConfig;
use crate::config::{self, ConfigError, Warning};
use crate::env::Env;
use crate::kanidm::client::KanidmClient;
use crate::net::tls::{self, Roots, TlsOptions};

/// Both files, read and validated.
pub(crate) struct Settings {
    pub sync: SyncConfig,
    pub client: ClientConfig,
    pub fingerprint: String,
}

impl Settings {
    /// Reads and validates both files, and logs the warnings.
    pub fn load(cli: &Cli, env: Env<'_>) -> Result<Settings, ConfigError> {
        let (settings, warnings) = Settings::read(cli, env)?;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        Ok(settings)
    }

    /// Reads and validates both files.
    pub fn read(cli: &Cli, env: Env<'_>) -> Result<(Settings, Vec<Warning>), ConfigError> {
        let (sync, mut warnings) = config::sync::load(&cli.sync_config, env)?;
        let (client, more) =
            config::client::load(cli.client_config.as_deref(), cli.instance.as_deref(), env)?;
        warnings.extend(more);
        let fingerprint = fingerprint(&sync);
        Ok((Settings { sync, client, fingerprint }, warnings))
    }

    /// Maximum time without a sign of life during a run. The longest silent waits are two of
    /// `ldap_timeout` (name resolution, then connecting) and one request to Kanidm. The sum of all
    /// leaves room for the work in between.
    pub fn time_outs(&self) -> Duration {
        self.sync
            .directory
            .timeout
            .saturating_mul(2)
            .saturating_add(self.sync.upload.timeout)
            .saturating_add(self.client.connect_timeout)
    }
}

/// The client for Kanidm that the settings describe.
pub(crate) fn kanidm(settings: &Settings) -> Result<KanidmClient, String> {
    let client = &settings.client;
    let roots = client.ca_path.as_deref().map_or(Roots::System, Roots::SystemPlus);
    let options = TlsOptions {
        roots,
        verify_ca: client.verify_ca,
        verify_hostnames: client.verify_hostnames,
        client_cert: None,
    };
    let tls = tls::client_config(&options)
        .map_err(|error| format!("TLS for Kanidm at {}: {error}", client.uri))?;
    Ok(KanidmClient::new(client, settings.sync.token.clone(), settings.sync.upload.timeout, tls))
}
