//! The directory steps of `--check`: from the host name to the content.

use std::fmt;

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::sync_session::Provider;
use rustls::pki_types::CertificateDer;

use super::content;
use super::list::Checklist;
use super::listen;
use crate::config::sync::{Bind, DirectoryConfig, LdapUri, SyncConfig};
use crate::directory::client::Directory;
use crate::directory::error::{DirectoryProblem, DirectoryStage};

/// The steps. Each one depends on those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DirectoryStep {
    TlsFiles,
    Name,
    Connection,
    Tls,
    Bind,
    ContentSync,
    Refresh,
    Listen,
    Entries,
    Filter,
    Persons,
    Groups,
}

/// The steps of connecting. A unix socket needs fewer.
const OVER_TCP: &[DirectoryStep] = &[
    DirectoryStep::TlsFiles,
    DirectoryStep::Name,
    DirectoryStep::Connection,
    DirectoryStep::Tls,
    DirectoryStep::Bind,
    DirectoryStep::ContentSync,
];
const OVER_UNIX: &[DirectoryStep] =
    &[DirectoryStep::Connection, DirectoryStep::Bind, DirectoryStep::ContentSync];

/// Checks the directory.
pub fn check(list: &mut Checklist, config: &SyncConfig) {
    let steps = if matches!(config.directory.uri, LdapUri::Unix(_)) { OVER_UNIX } else { OVER_TCP };
    match Directory::connect(&config.directory) {
        Ok(mut directory) => {
            let chain = directory.peer_certificates().to_vec();
            steps
                .iter()
                .for_each(|step| passed(list, *step, &config.directory, &chain, Some(&directory)));
            let provider = directory.provider();
            if provider == Provider::Ds389 && config.full_refresh_schedule.is_none() {
                recommend_full_refresh(list);
            }
            let Some(cookie) = content::check(list, config, &mut directory) else { return };
            if config.follow_interval.is_some() {
                listen::check(list, &config.directory, &cookie);
            }
            if provider == Provider::OpenLdap {
                checkpoint(list, &mut directory);
            }
        }
        Err(error) => {
            let failed = failed_step(&error.problem);
            steps.iter().filter(|step| **step < failed).for_each(|step| {
                passed(list, *step, &config.directory, &error.peer_certificates, None)
            });
            list.failed(failed, &error, &error.remedy());
            list.not_tried(
                &steps.iter().copied().filter(|step| *step > failed).collect::<Vec<_>>(),
            );
            list.not_tried(&[DirectoryStep::Refresh, DirectoryStep::Entries]);
        }
    }
}

/// Passes a step of connecting. `directory` is `None` if the connection failed later.
fn passed(
    list: &Checklist,
    step: DirectoryStep,
    config: &DirectoryConfig,
    chain: &[CertificateDer<'static>],
    directory: Option<&Directory>,
) {
    let detail = match (step, &config.uri) {
        (DirectoryStep::TlsFiles, _) => match &config.ca {
            Some(ca) => format!("trusting {}", ca.display()),
            None => "trusting the system's CA certificates".to_owned(),
        },
        (DirectoryStep::Name, LdapUri::Tls { host, .. }) => host.clone(),
        (DirectoryStep::Connection, LdapUri::Tls { port, .. }) => format!("port {port}"),
        (DirectoryStep::Connection, LdapUri::Unix(path)) => path.display().to_string(),
        (DirectoryStep::Tls, _) => {
            return super::tls(list, step, chain, config.verify_ca);
        }
        (DirectoryStep::Bind, _) => match &config.bind {
            Bind::Simple { dn, .. } => format!("as {dn}"),
            Bind::External => "SASL EXTERNAL".to_owned(),
        },
        (DirectoryStep::ContentSync, _) => directory
            .map(|directory| format!("offered by {}", server(directory)))
            .unwrap_or_default(),
        _ => String::new(),
    };
    list.passed(step, detail);
}

fn server(directory: &Directory) -> String {
    let dse = directory.root_dse();
    match (directory.provider(), &dse.vendor_version, &dse.vendor_name) {
        (_, Some(version), _) => version.clone(),
        (Provider::OpenLdap, ..) => "OpenLDAP slapd".to_owned(),
        (_, _, Some(name)) => name.clone(),
        (Provider::Ds389, ..) => "389 Directory Server".to_owned(),
        _ => "a server that does not say its name".to_owned(),
    }
}

/// The step that a connection failed in.
fn failed_step(problem: &DirectoryProblem) -> DirectoryStep {
    match problem {
        DirectoryProblem::Tls(_) => DirectoryStep::TlsFiles,
        DirectoryProblem::BadHostName { .. }
        | DirectoryProblem::HostNotFound { .. }
        | DirectoryProblem::ResolverSilent { .. } => DirectoryStep::Name,
        DirectoryProblem::NotConnected { .. } | DirectoryProblem::NoUnixSocket { .. } => {
            DirectoryStep::Connection
        }
        DirectoryProblem::TlsFailed { .. }
        | DirectoryProblem::StartTlsRefused { .. }
        | DirectoryProblem::StartTlsInjection
        | DirectoryProblem::CertificateRejected { .. } => DirectoryStep::Tls,
        DirectoryProblem::BindRefused { .. } => DirectoryStep::Bind,
        DirectoryProblem::NoContentSync
        | DirectoryProblem::ListenEnded { .. }
        | DirectoryProblem::ListenNotBegun { .. }
        | DirectoryProblem::Behind { .. }
        | DirectoryProblem::MessageTooLarge { .. }
        | DirectoryProblem::UuidHidden { .. } => DirectoryStep::ContentSync,
        DirectoryProblem::TimedOut { stage, .. }
        | DirectoryProblem::Closed { stage, .. }
        | DirectoryProblem::Lost { stage, .. }
        | DirectoryProblem::Disconnected { stage, .. }
        | DirectoryProblem::Malformed { stage, .. }
        | DirectoryProblem::Protocol { stage, .. }
        | DirectoryProblem::SearchFailed { stage, .. }
        | DirectoryProblem::TooManyEntries { stage, .. } => match stage {
            DirectoryStage::StartTls | DirectoryStage::Handshake => DirectoryStep::Tls,
            DirectoryStage::Bind => DirectoryStep::Bind,
            DirectoryStage::RootDse
            | DirectoryStage::Search
            | DirectoryStage::Refresh
            | DirectoryStage::Listen => DirectoryStep::ContentSync,
        },
    }
}

fn recommend_full_refresh(list: &Checklist) {
    const REMEDY: &str = "set it to once a day, such as \"0 30 2 * * * *\"";
    list.advice(
        "full_refresh_schedule",
        format_args!(
            "is not set: 389 Directory Server does not report entries that leave the filter, only a full refresh notices; {REMEDY}"
        ),
        REMEDY,
    );
}

/// Checks that slapd's overlay syncprov saves its progress. The setting is in `cn=config`, which
/// few accounts may read.
fn checkpoint(list: &Checklist, directory: &mut Directory) {
    const STEP: &str = "syncprov-checkpoint";
    const RISK: &str = "without it a slapd that crashed takes itself for older than it is, and refuses to go on from the cookie of the last run";
    const REMEDY: &str = "set it on the overlay syncprov, such as: syncprov-checkpoint 100 1";
    let overlays =
        Filter::Equality { attribute: "objectClass".into(), value: b"olcSyncProvConfig".to_vec() };
    let (mut found, mut lacking) = (0, Vec::new());
    let searched = directory.search(
        "cn=config",
        Scope::Subtree,
        &overlays,
        &["olcSpCheckpoint"],
        &mut |entry| {
            found += 1;
            if entry.attributes().next().is_none() {
                lacking.push(entry.dn().to_owned());
            }
        },
    );
    match searched {
        Ok(()) if found > 0 && lacking.is_empty() => list.passed(STEP, "set"),
        Ok(()) if found > 0 => {
            let text = format!("is not set on {}: {RISK}; {REMEDY}", lacking.join(" and "));
            list.advice(STEP, text, REMEDY)
        }
        _ => list.skipped(
            STEP,
            format_args!(
                "this account cannot read cn=config; make sure that it is set: {RISK}; {REMEDY}"
            ),
            REMEDY,
        ),
    }
}

impl fmt::Display for DirectoryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DirectoryStep::TlsFiles => "directory, TLS files",
            DirectoryStep::Name => "directory, name resolution",
            DirectoryStep::Connection => "directory, connection",
            DirectoryStep::Tls => "directory, TLS",
            DirectoryStep::Bind => "directory, bind",
            DirectoryStep::ContentSync => "directory, content synchronisation",
            DirectoryStep::Refresh => "directory, base and right to synchronise",
            DirectoryStep::Listen => "directory, listening for changes",
            DirectoryStep::Entries => "directory, filter and entries",
            DirectoryStep::Filter => "directory, attributes of the filter",
            DirectoryStep::Persons => "directory, attributes of persons",
            DirectoryStep::Groups => "directory, attributes of groups",
        })
    }
}
