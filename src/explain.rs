//! `--explain WHO`: one entry, from the directory to Kanidm, and what the next run does with it.
//!
//! Scope: the order of the steps. The directory evaluates the filter, and the mapper of a run
//! applies the rules, so the answer agrees with a run. It sends nothing, takes no lock, and reads
//! only the entry, its groups, members and tokens, and the schema where an attribute is missing.

mod account;
mod again;
pub(crate) mod answer;
mod attributes;
mod entry;
mod fate;
mod filter;
mod find;
mod groups;
mod kanidm;
mod members;
mod next;
mod reading;
mod text;
mod value;

use ldap_content_sync::sync_session::Provider;

use self::answer::{Answer, Explanation, Outcome};
use self::find::{Found, Who};
use self::kanidm::{Kanidm, Presence};
use self::next::{Facts, Fate};
use crate::cli::Cli;
use crate::config::client;
use crate::config::sync::{self, SyncConfig};
use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::env::Env;
use crate::exit::ExitCode;
use crate::service::notify::Notifier;
use crate::service::signals;

pub(crate) use self::text::render;

/// Explains the entry that the command line names.
pub(crate) fn run(cli: &Cli, env: Env<'_>) -> Answer {
    let who = cli.explain.as_deref().unwrap_or_default();
    let (config, warnings) = match sync::load(&cli.sync_config, env) {
        Ok(loaded) => loaded,
        Err(error) => return Answer::failed(who, ExitCode::Usage, error.to_string()),
    };
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    if let Err(error) = signals::listen(signals::ProcessMode::OneShot, Notifier::default()) {
        let why = format!("cannot handle signals: {error}");
        return Answer::failed(who, ExitCode::Failure, why);
    }
    let client = client::load(cli.client_config.as_deref(), cli.instance.as_deref(), env);
    let (config, kanidm) = Kanidm::ask(config, client);
    explain(&config, &kanidm, who)
        .unwrap_or_else(|error| Answer::failed(who, ExitCode::Failure, error.to_string()))
}

fn explain(config: &SyncConfig, kanidm: &Kanidm, who: &str) -> Result<Answer, DirectoryError> {
    let mut directory = Directory::connect(&config.directory)?;
    let who_is = Who::parse(who);
    let Found { targets, mut notes, refused } = find::find(&mut directory, config, &who_is)?;
    if let Some(refused) = refused {
        return Ok(Answer::failed(who, ExitCode::Failure, refused));
    }
    let mut entries = Vec::new();
    for target in &targets {
        entries.push(entry::explain(&mut directory, config, kanidm, target)?);
    }
    let result = decisive(&entries);
    if let (None, Who::Uuid(uuid)) = (result, &who_is)
        && config.mapping.entries.contains_key(&config.mapping.sync_uuid(*uuid))
    {
        notes.push("the configuration has a table for this UUID".to_owned());
    }
    if let (None, Who::Name(name)) = (result, &who_is)
        && name.contains('@')
    {
        let note = "for a name of the form NAME@DOMAIN, as Kanidm shows it, ask for NAME alone";
        notes.push(note.to_owned());
    }
    let next = result.is_none().then(|| gone(config, kanidm, &directory, &who_is));
    let result = result.unwrap_or(Outcome::NotFound);
    let asked = kanidm.unknown.as_ref().map(|why| format!("Kanidm's state is not known: {why}"));
    Ok(Answer {
        exit_code: result.exit_code().code(),
        result,
        error: None,
        who: who.to_owned(),
        entries,
        notes,
        kanidm: asked,
        next,
    })
}

/// The result of several entries: the worst one. Many directories have a group for each user, so
/// groups count only if nobody else has the name. An entry of another class counts only if it is
/// alone. An entry whose classes are hidden may be a person.
fn decisive(entries: &[Explanation]) -> Option<Outcome> {
    let rank = |entry: &Explanation| match entry.kind {
        "group" => 1_u8,
        "neither" if !entry.object_classes.is_empty() => 0,
        _ => 2,
    };
    let highest = entries.iter().map(rank).max()?;
    let deciding = entries.iter().filter(|entry| rank(entry) == highest);
    deciding.map(|entry| entry.result).max_by_key(|result| result.severity())
}

/// What the next run does with an entry that the directory does not show. Only a UUID finds it in
/// Kanidm's state.
fn gone(config: &SyncConfig, kanidm: &Kanidm, directory: &Directory, who: &Who) -> String {
    let uuid = match who {
        Who::Uuid(uuid) => Some(config.mapping.sync_uuid(*uuid)),
        _ => None,
    };
    let facts = Facts {
        fate: Fate::Gone,
        is_contested: false,
        presence: uuid.map_or(Presence::Unknown, |uuid| kanidm.has(&config.mapping, &uuid)),
        was_held: uuid.is_some_and(|uuid| kanidm.is_held(&uuid)),
        was_sent_without: false,
        without_token: None,
        misses_lock: false,
        changed: None,
        sent_again: None,
        reports_leaving: directory.provider() != Provider::Ds389,
        lists_matching: false,
        is_scheduled: config.full_refresh_schedule.is_some(),
        start: kanidm.start.as_ref(),
        fails_run: false,
    };
    next::verdict(&facts).1
}
