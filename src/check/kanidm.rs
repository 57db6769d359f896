//! The Kanidm steps of `--check`: from the host name to the stored state.

use std::fmt;

use super::list::Checklist;
use crate::kanidm::error::{KanidmError, Stage};
use crate::kanidm::state::SyncState;
use crate::kanidm::transport::SyncServer as _;
use crate::settings;
use crate::settings::Settings;
use crate::sync::start::{self, FullRefresh};
use crate::text::{remedy_of, thousands};

/// The steps. Each one depends on those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum KanidmStep {
    TlsFiles,
    Name,
    Connection,
    Tls,
    Token,
    State,
}

const STEPS: [KanidmStep; 6] = [
    KanidmStep::TlsFiles,
    KanidmStep::Name,
    KanidmStep::Connection,
    KanidmStep::Tls,
    KanidmStep::Token,
    KanidmStep::State,
];

/// Checks Kanidm. Reads the state and sends nothing.
pub fn check(list: &mut Checklist, settings: &Settings) {
    // A loopback address may be without TLS.
    let steps: Vec<KanidmStep> = STEPS
        .into_iter()
        .filter(|step| *step != KanidmStep::Tls || settings.client.uri.starts_with("https:"))
        .collect();
    let mut server = match settings::kanidm(settings) {
        Ok(server) => server,
        Err(error) => {
            return fail(list, &steps, KanidmStep::TlsFiles, &error, remedy_of(&error));
        }
    };
    let answer = server.state();
    let chain = server.peer_certificates();
    let failed = answer.as_ref().map_or_else(failed_step, |_| KanidmStep::State);
    steps
        .iter()
        .filter(|step| **step < failed)
        .for_each(|step| passed(list, *step, settings, &chain));
    match answer {
        Err(error) => fail(list, &steps, failed, &error, error.remedy()),
        Ok(stored) => state(list, &stored, &settings.fingerprint),
    }
}

/// Fails a step. The later ones are not tried.
fn fail(
    list: &mut Checklist,
    steps: &[KanidmStep],
    failed: KanidmStep,
    error: &dyn fmt::Display,
    remedy: &str,
) {
    list.failed(failed, error, remedy);
    list.not_tried(&steps.iter().copied().filter(|step| *step > failed).collect::<Vec<_>>());
}

fn passed(
    list: &Checklist,
    step: KanidmStep,
    settings: &Settings,
    chain: &[rustls::pki_types::CertificateDer<'static>],
) {
    let client = &settings.client;
    let detail = match step {
        KanidmStep::TlsFiles => match &client.ca_path {
            Some(ca) => format!("trusting {} and the system's CA certificates", ca.display()),
            None => "trusting the system's CA certificates".to_owned(),
        },
        KanidmStep::Connection => client.uri.clone(),
        KanidmStep::Tls => {
            return super::tls(list, step, chain, client.verify_ca && client.verify_hostnames);
        }
        KanidmStep::Name | KanidmStep::Token | KanidmStep::State => String::new(),
    };
    list.passed(step, detail);
}

/// The step that a request failed in.
fn failed_step(error: &KanidmError) -> KanidmStep {
    match error {
        KanidmError::Transport { stage, .. } | KanidmError::TimedOut { stage, .. } => match stage {
            Stage::Resolve => KanidmStep::Name,
            Stage::Connect => KanidmStep::Connection,
            Stage::Tls => KanidmStep::Tls,
            Stage::Exchange => KanidmStep::Token,
        },
        KanidmError::Refused(_) | KanidmError::NotKanidm { .. } => KanidmStep::Token,
    }
}

/// Tells what the next run makes of the stored state.
fn state(list: &mut Checklist, stored: &SyncState, fingerprint: &str) {
    match start::decide(stored, fingerprint, FullRefresh::No) {
        Err(error) => list.failed(KanidmStep::State, &error, error.remedy()),
        Ok(start) => {
            let next = match &start.full_because {
                Some(why) => format!("the next run reads everything: {why}"),
                None => "the next run reads what has changed since the last one".to_owned(),
            };
            let held = match start.held.len() {
                0 => String::new(),
                n => format!("; {} held back since earlier runs", thousands(n as u64)),
            };
            list.passed(KanidmStep::State, format_args!("{next}{held}"));
        }
    }
}

impl fmt::Display for KanidmStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KanidmStep::TlsFiles => "Kanidm, TLS files",
            KanidmStep::Name => "Kanidm, name resolution",
            KanidmStep::Connection => "Kanidm, connection",
            KanidmStep::Tls => "Kanidm, TLS",
            KanidmStep::Token => "Kanidm, sync token",
            KanidmStep::State => "Kanidm, state",
        })
    }
}
