//! Kanidm: from the name of its host to what it remembers of the last run.

use std::fmt;

use super::list::Checklist;
use crate::kanidm::error::{KanidmError, Stage};
use crate::kanidm::state::SyncState;
use crate::kanidm::transport::SyncServer as _;
use crate::settings;
use crate::settings::Settings;
use crate::sync::start::{self, FullRefresh};
use crate::text::thousands;

/// What is tried, each depending on those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    TlsFiles,
    Name,
    Connection,
    Tls,
    Token,
    State,
}

const STEPS: [Step; 6] =
    [Step::TlsFiles, Step::Name, Step::Connection, Step::Tls, Step::Token, Step::State];

/// Checks all of it. The state is read, nothing is sent.
pub fn check(list: &mut Checklist, settings: &Settings) {
    // On a loopback address it may be without TLS.
    let steps: Vec<Step> = STEPS
        .into_iter()
        .filter(|step| *step != Step::Tls || settings.client.uri.starts_with("https:"))
        .collect();
    let fail = |list: &mut Checklist, failed: Step, error: &dyn fmt::Display| {
        steps
            .iter()
            .filter(|step| **step < failed)
            .for_each(|step| passed(list, *step, settings, &[]));
        list.failed(failed, error);
        list.not_tried(&steps.iter().copied().filter(|step| *step > failed).collect::<Vec<_>>());
    };
    let mut server = match settings::kanidm(settings) {
        Ok(server) => server,
        Err(error) => return fail(list, Step::TlsFiles, &error),
    };
    match server.state() {
        Err(error) => fail(list, failed_step(&error), &error),
        Ok(stored) => {
            let chain = server.peer_certificates();
            steps
                .iter()
                .filter(|step| **step < Step::State)
                .for_each(|step| passed(list, *step, settings, &chain));
            state(list, &stored, &settings.fingerprint);
        }
    }
}

fn passed(
    list: &Checklist,
    step: Step,
    settings: &Settings,
    chain: &[rustls::pki_types::CertificateDer<'static>],
) {
    let client = &settings.client;
    let detail = match step {
        Step::TlsFiles => match &client.ca_path {
            Some(ca) => format!("trusting {} and the system's CA certificates", ca.display()),
            None => "trusting the system's CA certificates".to_owned(),
        },
        Step::Connection => client.uri.clone(),
        Step::Tls => {
            return super::tls(list, step, chain, client.verify_ca && client.verify_hostnames);
        }
        Step::Name | Step::Token | Step::State => String::new(),
    };
    list.passed(step, detail);
}

/// The step that a request failed in.
fn failed_step(error: &KanidmError) -> Step {
    match error {
        KanidmError::Transport { stage, .. } | KanidmError::TimedOut { stage, .. } => match stage {
            Stage::Resolve => Step::Name,
            Stage::Connect => Step::Connection,
            Stage::Tls => Step::Tls,
            Stage::Exchange => Step::Token,
        },
        KanidmError::Refused(_) | KanidmError::NotKanidm { .. } => Step::Token,
    }
}

/// What the next run will make of what Kanidm remembers.
fn state(list: &mut Checklist, stored: &SyncState, fingerprint: &str) {
    match start::decide(stored, fingerprint, FullRefresh::No) {
        Err(error) => list.failed(Step::State, error),
        Ok(start) => {
            let next = match &start.full_because {
                Some(why) => format!("the next run reads everything: {why}"),
                None => "the next run reads what has changed since the last one".to_owned(),
            };
            let held = match start.held.len() {
                0 => String::new(),
                n => format!("; {} held back since earlier runs", thousands(n as u64)),
            };
            list.passed(Step::State, format_args!("{next}{held}"));
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::TlsFiles => "Kanidm, TLS files",
            Step::Name => "Kanidm, name resolution",
            Step::Connection => "Kanidm, connection",
            Step::Tls => "Kanidm, TLS",
            Step::Token => "Kanidm, sync token",
            Step::State => "Kanidm, state",
        })
    }
}
