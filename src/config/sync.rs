//! Types of the sync config. They cannot hold an invalid value.
//!
//! Scope: one field for each key of the file. `sync_file` fills them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ldap_content_sync::filter::Filter;
use uuid::Uuid;

use super::secret::Secret;
use super::{ConfigError, Warning, files, sync_file};
use crate::env::Env;
use crate::schedule::CronSchedule;

/// Reads a sync config and the secret files that it names.
///
/// # Errors
/// All problems of the file, each with line and key.
pub fn load(path: &Path, env: Env<'_>) -> Result<(SyncConfig, Vec<Warning>), ConfigError> {
    sync_file::parse(path, &files::read_config(path)?, env)
}

/// Reads only `status_bind`. The rest of the file may be invalid, and no secret is read.
///
/// # Errors
/// The file cannot be read or is not TOML, or the value is not an address.
pub fn status_bind(path: &Path) -> Result<Option<SocketAddr>, ConfigError> {
    sync_file::status_bind(path, &files::read_config(path)?)
}

/// Reads only `metrics_file`, as [`status_bind`] does.
///
/// # Errors
/// The file cannot be read or is not TOML, or the value is not a valid path.
pub fn metrics_file(path: &Path) -> Result<Option<PathBuf>, ConfigError> {
    sync_file::metrics_file(path, &files::read_config(path)?)
}

/// All settings of the sync config.
#[derive(Debug)]
pub struct SyncConfig {
    /// Kanidm's sync token.
    pub token: Secret,
    /// File of the token, if it comes from a file. Other users cannot read it.
    pub token_file: Option<PathBuf>,
    /// Start times of scheduled runs.
    pub schedule: CronSchedule,
    /// Start times of scheduled runs that ignore the cookie.
    pub full_refresh_schedule: Option<CronSchedule>,
    /// With `--schedule`, a change in the directory starts a run. The value is the minimum time
    /// between the starts of two such runs. `None` without `follow`.
    pub follow_interval: Option<Duration>,
    /// Address of the status listener.
    pub status_bind: Option<SocketAddr>,
    /// File for the facts about the last run, for Prometheus.
    pub metrics_file: Option<PathBuf>,
    /// Connection to the directory and its content.
    pub directory: DirectoryConfig,
    /// Rules that map entries to SCIM entries.
    pub mapping: MappingConfig,
    /// Limits of the upload.
    pub upload: UploadConfig,
    /// Maximum share of the known content that a run may delete, in percent (0 to 100).
    pub max_delete_percent: u8,
    /// Maximum number of changed entries that a run logs by name.
    pub log_changes_max: usize,
}

/// Connection to the directory and its content.
#[derive(Debug)]
pub struct DirectoryConfig {
    /// Address of the directory.
    pub uri: LdapUri,
    /// PEM bundle of CA certificates. `None` for the system's roots.
    pub ca: Option<PathBuf>,
    /// False: the certificate is not verified. Every run warns about it.
    pub verify_ca: bool,
    /// Certificate chain and private key for TLS client authentication, as PEM files.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Authentication to the directory.
    pub bind: Bind,
    /// Search base as RFC 4514 text, in the configured spelling.
    pub base_dn: String,
    /// The parsed filter.
    pub filter: Filter,
    /// The filter as RFC 4515 text, as [`Filter`]'s `Display` writes it.
    pub filter_text: String,
    /// Time-out of every wait: connect, TLS, bind, next message.
    pub timeout: Duration,
    /// Maximum size of a received LDAP message in bytes.
    pub max_message: usize,
}

/// `ldap_uri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LdapUri {
    /// `ldaps://host[:port]`, or `ldap://host[:port]` with `ldap_starttls = true`.
    Tls {
        /// Host name or address. An IPv6 address has no brackets.
        host: String,
        /// Port. The default is 636 for ldaps and 389 for ldap.
        port: u16,
        /// StartTLS (RFC 4511 §4.14) instead of TLS from the first byte.
        starttls: bool,
    },
    /// `ldapi://%2Fpath`.
    Unix(PathBuf),
}

/// Authentication to the directory.
#[derive(Debug)]
pub enum Bind {
    /// Simple bind.
    Simple {
        /// Bind DN as RFC 4514 text.
        dn: String,
        /// Password, never empty.
        password: Secret,
    },
    /// SASL EXTERNAL, for ldapi and TLS client certificates.
    External,
}

/// Rules that map entries to SCIM entries.
#[derive(Debug)]
pub struct MappingConfig {
    /// Persons.
    pub person: PersonMapping,
    /// Groups.
    pub group: GroupMapping,
    /// Entry tables by sync UUID.
    pub entries: HashMap<Uuid, EntryConfig>,
    /// Treatment of entries that Kanidm would refuse.
    pub invalid_entries: InvalidEntries,
}

/// `person_*` keys. Attribute names have the configured spelling. Compare them case-insensitively.
#[derive(Debug)]
pub struct PersonMapping {
    /// An entry with any of these object classes is a person.
    pub object_classes: Vec<String>,
    /// `person_attr_user_name`.
    pub user_name: String,
    /// `person_attr_display_name`.
    pub display_name: String,
    /// `person_attr_legal_name`. If it is `None`, no legal name is sent.
    pub legal_name: Option<String>,
    /// `person_attr_gidnumber`.
    pub gidnumber: String,
    /// `person_attr_login_shell`.
    pub login_shell: String,
    /// `person_attr_password`.
    pub password: String,
    /// `person_attr_mail`.
    pub mail: String,
    /// `person_attr_ssh_public_key`.
    pub ssh_public_key: String,
    /// `person_attr_totp`: the DNs of TOTP tokens. If it is `None`, no token is read.
    pub totp: Option<String>,
    /// Prefix for password values, for directories that store a hash without its scheme.
    pub password_prefix: Option<String>,
    /// True to send the password also as the unix password, for persons with a gidnumber.
    pub password_as_unix: bool,
    /// True to map lock and expiry attributes.
    pub account_lock: bool,
}

/// `group_*` keys.
#[derive(Debug)]
pub struct GroupMapping {
    /// An entry with any of these object classes is a group, unless it is a person.
    pub object_classes: Vec<String>,
    /// `group_attr_name`.
    pub name: String,
    /// `group_attr_description`.
    pub description: String,
    /// `group_attr_member`, 1 to [`MAX_MEMBER_ATTRIBUTES`] attributes.
    pub members: Vec<String>,
    /// `group_attr_gidnumber`.
    pub gidnumber: String,
    /// Type of the values of `members`.
    pub schema: GroupSchema,
    /// True for `user_private_groups = "sync"`. Otherwise such groups are skipped.
    pub send_user_private: bool,
}

/// Maximum number of member attributes of a group.
pub const MAX_MEMBER_ATTRIBUTES: usize = 3;

/// Type of the values of the member attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSchema {
    /// Distinguished names.
    Rfc2307Bis,
    /// User names.
    Rfc2307,
}

/// An entry table, `[<syncuuid>]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryConfig {
    /// True to exclude the entry. Kanidm then does not have it.
    pub exclude: bool,
    /// The UUID in Kanidm.
    pub map_uuid: Option<Uuid>,
    /// The name in Kanidm: in lower case, and valid there.
    pub map_name: Option<String>,
    /// The gidnumber in Kanidm, in a range that Kanidm allows.
    pub map_gidnumber: Option<u32>,
}

/// `invalid_entries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidEntries {
    /// A bad value of an optional attribute is dropped, and the rest of the entry is sent. An entry
    /// with a bad mandatory value is held.
    DropValue,
    /// The entry is not sent, and Kanidm keeps its current version. Each run tries again.
    Hold,
    /// The run fails and sends nothing.
    Fail,
}

/// Limits of the upload.
#[derive(Clone, Copy, Debug)]
pub struct UploadConfig {
    /// `kanidm_timeout`, the time-out of one request.
    pub timeout: Duration,
    /// Maximum number of entries in a POST, at least 1.
    pub max_entries: usize,
    /// Maximum bytes of a POST, at least 64 KiB.
    pub max_bytes: usize,
}

impl MappingConfig {
    /// The entry's UUID in Kanidm: its `map_uuid`, or else its sync UUID. Entries, Retain and
    /// Delete all use it.
    pub fn kanidm_uuid(&self, sync_uuid: Uuid) -> Uuid {
        self.entries.get(&sync_uuid).and_then(|e| e.map_uuid).unwrap_or(sync_uuid)
    }

    /// True if another entry has this entry's sync UUID as its `map_uuid`. In Kanidm the UUID then
    /// belongs to the other entry only.
    pub fn is_claimed(&self, sync_uuid: Uuid) -> bool {
        self.kanidm_uuid(sync_uuid) == sync_uuid
            && self
                .entries
                .iter()
                .any(|(other, table)| *other != sync_uuid && table.map_uuid == Some(sync_uuid))
    }

    /// All UUIDs for which [`is_claimed`](Self::is_claimed) is true, for callers that check every
    /// entry. It relies on `map_uuid` being unique among the tables.
    pub fn claimed(&self) -> HashSet<Uuid> {
        let claimed = self.entries.values().filter_map(|table| table.map_uuid);
        claimed
            .filter(|uuid| self.entries.get(uuid).is_none_or(|own| own.map_uuid.is_none()))
            .collect()
    }

    /// The sync UUID of an entry with this UUID in Kanidm.
    pub fn sync_uuid(&self, kanidm_uuid: Uuid) -> Uuid {
        let mapped = self.entries.iter().find(|(_, table)| table.map_uuid == Some(kanidm_uuid));
        mapped.map_or(kanidm_uuid, |(sync_uuid, _)| *sync_uuid)
    }
}
