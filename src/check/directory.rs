//! The directory steps of `--check`: from the host name to the content of a full refresh.

use std::collections::BTreeMap;
use std::fmt;

use ldap_content_sync::filter::Filter;
use ldap_content_sync::request::Scope;
use ldap_content_sync::sync_session::Provider;
use rustls::pki_types::CertificateDer;

use super::extra_values::ExtraValues;
use super::list::Checklist;
use crate::config::sync::{Bind, DirectoryConfig, LdapUri, SyncConfig};
use crate::content::changeset::Kind;
use crate::content::shown::Role;
use crate::directory::client::Directory;
use crate::directory::computed::computed_attributes;
use crate::directory::error::{DirectoryProblem, DirectoryStage};
use crate::mapping::shown::roles;
use crate::mapping::{Content, Held, MISSING};
use crate::sync::read::{self, Reading};
use crate::sync::run::remarks;
use crate::sync::start::Start;
use crate::text::count;
use crate::text::thousands;

/// The steps. Each one depends on those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DirectoryStep {
    TlsFiles,
    Name,
    Connection,
    Tls,
    Bind,
    ContentSync,
    Refresh,
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
            if content(list, config, &mut directory) && provider == Provider::OpenLdap {
                checkpoint(list, &mut directory);
            }
        }
        Err(error) => {
            let failed = failed_step(&error.problem);
            steps.iter().filter(|step| **step < failed).for_each(|step| {
                passed(list, *step, &config.directory, &error.peer_certificates, None)
            });
            list.failed(failed, &error);
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
            DirectoryStage::RootDse | DirectoryStage::Search | DirectoryStage::Refresh => {
                DirectoryStep::ContentSync
            }
        },
    }
}

/// Reads and maps a full refresh. Returns false if it failed, because the connection is then
/// unusable.
fn content(list: &mut Checklist, config: &SyncConfig, directory: &mut Directory) -> bool {
    let roles = roles(&config.mapping);
    let mut extra = ExtraValues::new(&roles);
    let start = Start::full("--check");
    match read::read_from(directory, config, &start, &mut |step| extra.step(&step)) {
        Err(error) => {
            list.failed(DirectoryStep::Refresh, &error);
            list.not_tried(&[DirectoryStep::Entries]);
            false
        }
        Ok(reading) => {
            list.passed(DirectoryStep::Refresh, &config.directory.base_dn);
            entries(list, config, &reading, &extra);
            filter(list, config, &reading);
            true
        }
    }
}

fn entries(list: &mut Checklist, config: &SyncConfig, reading: &Reading, extra: &ExtraValues<'_>) {
    let content = &reading.content;
    if reading.read == 0 {
        let filter = &config.directory.filter_text;
        return list.failed(
            DirectoryStep::Entries,
            format_args!("none matches {filter}: check ldap_filter, and that the account may read the attributes in it"),
        );
    }
    let (persons, groups) = (content.persons, content.groups);
    let text = format!(
        "{} match: {} and {} would be sent, {} held back, {} skipped",
        thousands(reading.read),
        count(persons as u64, "person"),
        count(groups as u64, "group"),
        thousands(content.held.len() as u64),
        thousands(content.skipped.len() as u64)
    );
    let nobody = (persons == 0).then(|| no_person(config, content));
    match &nobody {
        Some(why) if groups == 0 => {
            list.failed(DirectoryStep::Entries, format_args!("{text}; {why}"));
        }
        _ => list.passed(DirectoryStep::Entries, text),
    }
    if let (Some(why), true) = (nobody, groups > 0) {
        list.advice(DirectoryStep::Entries, why);
    }
    held(list, reading);
    attributes(list, config, content, extra);
    remarks(config, reading).iter().for_each(|remark| list.advice(DirectoryStep::Entries, remark));
    if let Some(text) = content.of_other_classes() {
        list.advice(DirectoryStep::Entries, text);
    }
}

/// Why no person would be sent, and what to do.
fn no_person(config: &SyncConfig, content: &Content) -> String {
    let name = &config.mapping.person.user_name;
    let held: Vec<_> = content.held.iter().filter(|held| held.kind == Kind::Person).collect();
    let lacks_name = |held: &&Held| {
        let mut problems = held.problems.iter();
        problems.any(|problem| problem.rule == MISSING && problem.attribute == *name)
    };
    let n = count(held.len() as u64, "person");
    if held.is_empty() {
        "none is a person: check person_objectclass and ldap_filter".to_owned()
    } else if held.iter().all(|held| lacks_name(held)) {
        format!(
            "{n} held back, because none shows {name}: check person_attr_user_name, and that the account may read {name}"
        )
    } else {
        format!("{n} held back, and no other person: correct what the notes below name")
    }
}

/// The number of entries that show each mapped attribute, and the number of values if it is larger.
/// An attribute with 0 is hidden or misspelled.
fn attributes(list: &Checklist, config: &SyncConfig, content: &Content, extra: &ExtraValues<'_>) {
    let roles = roles(&config.mapping);
    let extra = extra.totals(content, |uuid| config.mapping.kanidm_uuid(uuid));
    for (kind, step) in
        [(Kind::Person, DirectoryStep::Persons), (Kind::Group, DirectoryStep::Groups)]
    {
        let all = content.shown().filter(|(_, other, _)| *other == kind).count();
        let shown = |role: &Role| {
            content.shown().filter(|(_, other, mask)| *other == kind && mask.has(role)).count()
                as u64
        };
        let of_kind = roles.iter().zip(&extra).filter(|(role, _)| role.kind == kind);
        let shown = of_kind.map(|(role, extra)| {
            let entries = shown(role);
            let values = match extra {
                // A lock attribute counts by its effect.
                0 => String::new(),
                _ if role.is_lock => String::new(),
                extra => format!(" ({} values)", thousands(entries + extra)),
            };
            format!("{} {}{values}", role.attribute, thousands(entries))
        });
        if all > 0 {
            list.passed(
                step,
                format_args!(
                    "{} in all: {}",
                    thousands(all as u64),
                    shown.collect::<Vec<_>>().join(", ")
                ),
            );
        }
    }
}

/// Tells that each run lists the entries that match a filter on a computed attribute.
fn filter(list: &Checklist, config: &SyncConfig, reading: &Reading) {
    let computed = computed_attributes(&config.directory.filter);
    if !computed.is_empty() && reading.matched.is_some() {
        list.passed(
            DirectoryStep::Filter,
            format_args!(
                "the server computes {}: each run lists the entries that match",
                computed.join(", ")
            ),
        );
    }
}

/// Names every entry. A dry run without `--full-refresh` may be incremental, and then it names only
/// the entries that it reads.
const NAMES: &str = "--dry-run --full-refresh";

/// The reasons to hold entries or to leave out values, with numbers.
fn held(list: &Checklist, reading: &Reading) {
    let mut missing: BTreeMap<&str, u64> = BTreeMap::new();
    let mut broken: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut lacking: u64 = 0;
    for entry in &reading.content.held {
        lacking += u64::from(entry.problems.iter().any(|problem| problem.rule == MISSING));
        for problem in &entry.problems {
            let count = match problem.rule.as_str() {
                MISSING => missing.entry(&problem.attribute).or_default(),
                rule => broken.entry((&problem.attribute, rule)).or_default(),
            };
            *count += 1;
        }
    }
    if lacking > 0 {
        let names: Vec<String> =
            missing.iter().map(|(attribute, n)| format!("{attribute} {}", thousands(*n))).collect();
        let names = names.join(", ");
        list.advice(
            DirectoryStep::Entries,
            format_args!(
                "{} lack a required attribute ({names}); {NAMES} names them",
                thousands(lacking)
            ),
        );
    }
    for ((attribute, rule), n) in broken {
        list.advice(
            DirectoryStep::Entries,
            format_args!(
                "{} would be held back for {attribute}: {rule}; {NAMES} names them",
                thousands(n)
            ),
        );
    }
    let mut dropped: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for value in &reading.content.dropped {
        *dropped.entry((&value.attribute, &value.rule)).or_default() += 1;
    }
    for ((attribute, rule), n) in dropped {
        let values = count(n, "value");
        list.advice(
            DirectoryStep::Entries,
            format_args!(
                "{values} of {attribute} would be left out: {rule}; {NAMES} names the entries"
            ),
        );
    }
}

fn recommend_full_refresh(list: &Checklist) {
    list.advice(
        "full_refresh_schedule",
        "is not set: 389 Directory Server does not report entries that leave the filter, only a full refresh notices; \
         set it to once a day, such as \"0 30 2 * * * *\"",
    );
}

/// Checks that slapd's overlay syncprov saves its progress. The setting is in `cn=config`, which
/// few accounts may read.
fn checkpoint(list: &Checklist, directory: &mut Directory) {
    const STEP: &str = "syncprov-checkpoint";
    const REMEDY: &str = "without it a slapd that crashed takes itself for older than it is, and refuses to go on from the cookie of the last run; \
                          set it on the overlay syncprov, such as: syncprov-checkpoint 100 1";
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
            list.advice(STEP, format_args!("is not set on {}: {REMEDY}", lacking.join(" and ")))
        }
        _ => list.skipped(
            STEP,
            format_args!("this account cannot read cn=config; make sure that it is set: {REMEDY}"),
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
            DirectoryStep::Entries => "directory, filter and entries",
            DirectoryStep::Filter => "directory, attributes of the filter",
            DirectoryStep::Persons => "directory, attributes of persons",
            DirectoryStep::Groups => "directory, attributes of groups",
        })
    }
}
