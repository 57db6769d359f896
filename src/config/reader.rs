//! Takes typed values out of a sync config: texts, secrets, times, choices.
//!
//! Scope: one key at a time. [`super::sync_file`] knows which keys exist and how they depend on
//! each other.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;

use super::document::{Problems, Section};
use super::files::{self, Text};
use super::secret::Secret;
use super::{Warning, values};
use crate::env::Env;
use crate::schedule::CronSchedule;

/// Maximum of every configured time-out, in seconds.
const MAX_TIMEOUT: u64 = 86_400;

/// State of reading one file.
pub(super) struct Reader<'d> {
    pub(super) keys: Section<'d>,
    pub(super) problems: Problems,
    pub(super) warnings: Vec<Warning>,
    pub(super) path: &'d Path,
    pub(super) env: Env<'d>,
}

impl Reader<'_> {
    /// Reads a secret from the config itself or from its own file.
    pub(super) fn secret(
        &mut self,
        key: &str,
        file_key: &str,
        check: fn(&str) -> Result<Secret, &'static str>,
    ) -> Given {
        let given = [key, file_key].map(|key| self.keys.has(key));
        let inline = self.keys.text_or_empty(key, &mut self.problems);
        let file = self.keys.text(file_key, &mut self.problems);
        let mut read_from = None;
        let secret = match (given, inline, file) {
            ([false, false], ..) => return Given::No,
            ([true, true], _, Some(file)) => {
                self.problems.add(&file, format!("{key} is set as well: keep one of them"));
                None
            }
            (_, Some(inline), None) => inline.try_map(&mut self.problems, check),
            (_, None, Some(file)) => {
                let path = file.try_map(&mut self.problems, |path| files::expand(path, self.env));
                let text = path.and_then(|at| {
                    read_from = Some(at.value.clone());
                    at.try_map(&mut self.problems, |path| files::read_secret(&path))
                });
                text.and_then(|at| at.try_map(&mut self.problems, |text| check(&text)))
            }
            _ => None,
        };
        secret.map_or(Given::Wrong, |at| Given::Yes(at.value, read_from))
    }

    /// Takes an optional key.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        take: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.keys.has(key) { take(self, key).map(Some) } else { Some(None) }
    }

    /// Takes a required string and converts it.
    pub(super) fn required<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        make: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.keys.has(key) {
            self.problems.missing(key, "is required");
        }
        self.text(key, make)
    }

    pub(super) fn text<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        make: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.keys.text(key, &mut self.problems)?;
        text.try_map(&mut self.problems, make).map(|at| at.value)
    }

    pub(super) fn attribute(&mut self, key: &str) -> Option<String> {
        self.text(key, values::attribute)
    }

    pub(super) fn file(&mut self, key: &str) -> Option<PathBuf> {
        let env = self.env;
        self.text(key, |path| files::expand(path, env))
    }

    pub(super) fn schedule(&mut self, key: &str) -> Option<CronSchedule> {
        self.text(key, |text| {
            let schedule = CronSchedule::parse(text)?;
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|since| i64::try_from(since.as_secs()).ok());
            schedule
                .fires_after(
                    now.and_then(|now| DateTime::from_timestamp(now, 0)).unwrap_or_default(),
                )
                .map(|()| schedule)
        })
    }

    pub(super) fn seconds(&mut self, key: &str) -> Option<Duration> {
        self.keys
            .integer(key, 1..=MAX_TIMEOUT, &mut self.problems)
            .map(|at| Duration::from_secs(at.value))
    }

    pub(super) fn member_attributes(&mut self, key: &str) -> Option<Vec<String>> {
        let names = self.keys.texts(key, &mut self.problems)?;
        names
            .try_map(&mut self.problems, |names| values::member_attributes(&names))
            .map(|at| at.value)
    }

    pub(super) fn object_classes(&mut self, key: &str) -> Option<Vec<String>> {
        let names = self.keys.texts(key, &mut self.problems)?;
        names.try_map(&mut self.problems, |names| values::object_classes(&names)).map(|at| at.value)
    }

    /// Takes one of a fixed set of words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.text(key, |word| choose(word, choices))
    }

    pub(super) fn warn_of_open_secrets(&mut self, file: &Text) {
        if file.open_to_others() && (self.keys.has("sync_token") || self.keys.has("ldap_sync_pw")) {
            let (path, mode) = (self.path.display(), file.mode);
            self.warn(&format!(
                "holds a secret, but has mode {mode:04o}: other users can read or write it. Run: chmod o-rw {path}"
            ));
        }
    }

    /// Warns about an open key file. A key that cannot be read is reported by the TLS set-up.
    pub(super) fn warn_of_an_open_key(&mut self, key: &Path) {
        if let Some(mode) = files::mode_for_others(key) {
            let key = key.display();
            self.warn(&format!(
                "ldap_client_key: {key} has mode {mode:04o}: other users can read or write it. Run: chmod o-rw {key}"
            ));
        }
    }

    pub(super) fn warn(&mut self, message: &str) {
        self.warnings.push(Warning { path: self.path.to_owned(), message: message.to_owned() });
    }
}

/// Reads one of a fixed set of words.
pub(super) fn choose<T: Copy>(word: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let chosen = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    chosen.ok_or_else(|| {
        format!(
            "must be one of {}",
            choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        )
    })
}

/// State of a secret in the config.
#[derive(PartialEq, Eq)]
pub(super) enum Given {
    No,
    /// Invalid; the problem is already recorded.
    Wrong,
    /// Valid, with the file that it came from.
    Yes(Secret, Option<PathBuf>),
}

impl Given {
    pub(super) fn secret(self) -> Option<Secret> {
        match self {
            Given::Yes(secret, _) => Some(secret),
            Given::No | Given::Wrong => None,
        }
    }

    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Given::Yes(_, file) => file.clone(),
            Given::No | Given::Wrong => None,
        }
    }
}
