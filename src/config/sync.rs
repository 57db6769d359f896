//! The sync config: every key of [`super::keys`], parsed into types that cannot hold a wrong value.

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

/// Reads a sync config and the secret files it names.
///
/// # Errors
/// Everything that is wrong in it at once, each with line and key.
pub fn load(path: &Path, env: Env<'_>) -> Result<(SyncConfig, Vec<Warning>), ConfigError> {
    sync_file::parse(path, &files::read_config(path)?, env)
}

/// Reads `status_bind` alone. Nothing else of the file has to be correct, and no secret is looked
/// at.
///
/// # Errors
/// The file cannot be read, is not TOML, or the value is no address.
pub fn status_bind(path: &Path) -> Result<Option<SocketAddr>, ConfigError> {
    sync_file::status_bind(path, &files::read_config(path)?)
}

/// Everything the sync config file says.
#[derive(Debug)]
pub struct SyncConfig {
    /// Kanidm's sync token.
    pub token: Secret,
    /// The file of the token, where it has one: nobody else can read it.
    pub token_file: Option<PathBuf>,
    /// When a scheduled run starts.
    pub schedule: CronSchedule,
    /// When a scheduled run ignores the cookie.
    pub full_refresh_schedule: Option<CronSchedule>,
    /// Where the status listener answers.
    pub status_bind: Option<SocketAddr>,
    /// How to reach and read the directory.
    pub directory: DirectoryConfig,
    /// How entries become SCIM entries.
    pub mapping: MappingConfig,
    /// How they are sent.
    pub upload: UploadConfig,
    /// Of the known content, how much a run may delete, in percent (0 to 100).
    pub max_delete_percent: u8,
}

/// How to reach and read the directory.
#[derive(Debug)]
pub struct DirectoryConfig {
    /// Where it is.
    pub uri: LdapUri,
    /// PEM bundle; system roots where absent.
    pub ca: Option<PathBuf>,
    /// False: the certificate is not verified (warned about on every run).
    pub verify_ca: bool,
    /// TLS client authentication: certificate chain and key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// How to authenticate.
    pub bind: Bind,
    /// RFC 4514 text, as configured.
    pub base_dn: String,
    /// The filter, parsed.
    pub filter: Filter,
    /// The filter as RFC 4515 text, in the spelling of [`Filter`]'s `Display`.
    pub filter_text: String,
    /// For every wait: connect, TLS, bind, the next message.
    pub timeout: Duration,
    /// Largest LDAP message accepted, bytes.
    pub max_message: usize,
}

/// `ldap_uri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LdapUri {
    /// `ldaps://host[:port]`, or `ldap://host[:port]` with `ldap_starttls = true`.
    Tls {
        /// Host name or address, an IPv6 literal without its brackets.
        host: String,
        /// 636 by default for ldaps, 389 for ldap.
        port: u16,
        /// StartTLS (RFC 4511 §4.14) instead of TLS from the first byte.
        starttls: bool,
    },
    /// `ldapi://%2Fpath`.
    Unix(PathBuf),
}

/// How to authenticate to the directory.
#[derive(Debug)]
pub enum Bind {
    /// Simple bind.
    Simple {
        /// RFC 4514 text.
        dn: String,
        /// Never empty.
        password: Secret,
    },
    /// SASL EXTERNAL, for ldapi and TLS client certificates.
    External,
}

/// How entries become SCIM entries.
#[derive(Debug)]
pub struct MappingConfig {
    /// Persons.
    pub person: PersonMapping,
    /// Groups.
    pub group: GroupMapping,
    /// The tables by sync UUID.
    pub entries: HashMap<Uuid, EntryConfig>,
    /// What becomes of an entry that Kanidm would refuse.
    pub invalid_entries: InvalidEntries,
}

/// `person_*` keys. Attribute names are as configured; compare without regard to case.
#[derive(Debug)]
pub struct PersonMapping {
    /// Any one of these makes an entry a person.
    pub object_classes: Vec<String>,
    /// `person_attr_user_name`.
    pub user_name: String,
    /// `person_attr_display_name`.
    pub display_name: String,
    /// `person_attr_legal_name`; nothing is sent where it is absent.
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
    /// Put before a password value, for directories that store the hash without its scheme.
    pub password_prefix: Option<String>,
    /// Send the password as the unix password too, where the person has a gidnumber.
    pub password_as_unix: bool,
    /// Map lock and expiry attributes.
    pub account_lock: bool,
}

/// `group_*` keys.
#[derive(Debug)]
pub struct GroupMapping {
    /// Any one of these makes an entry a group (persons come first).
    pub object_classes: Vec<String>,
    /// `group_attr_name`.
    pub name: String,
    /// `group_attr_description`.
    pub description: String,
    /// `group_attr_member`, 1 to [`MAX_MEMBER_ATTRIBUTES`] attributes.
    pub members: Vec<String>,
    /// `group_attr_gidnumber`.
    pub gidnumber: String,
    /// What the values of `members` are.
    pub schema: GroupSchema,
    /// `user_private_groups = "sync"`: send them. Otherwise they are skipped.
    pub send_user_private: bool,
}

/// A group has members in so many attributes at most.
pub const MAX_MEMBER_ATTRIBUTES: usize = 3;

/// What the values of the member attributes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSchema {
    /// Distinguished names.
    Rfc2307Bis,
    /// User names.
    Rfc2307,
}

/// `[<syncuuid>]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryConfig {
    /// Not synchronised, and not in Kanidm.
    pub exclude: bool,
    /// The UUID in Kanidm.
    pub map_uuid: Option<Uuid>,
    /// The name in Kanidm, in lower case and valid there.
    pub map_name: Option<String>,
    /// The number in Kanidm, in one of its ranges.
    pub map_gidnumber: Option<u32>,
}

/// `invalid_entries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidEntries {
    /// A bad value of an optional attribute is left out and the rest is sent. An entry with a bad
    /// mandatory value is held.
    DropValue,
    /// The entry is not sent: Kanidm keeps what it has. Each run tries again.
    Hold,
    /// The run stops, nothing is sent.
    Fail,
}

/// How entries are sent.
#[derive(Clone, Copy, Debug)]
pub struct UploadConfig {
    /// `kanidm_timeout`, for one request.
    pub timeout: Duration,
    /// At most this many entries a POST, at least 1.
    pub max_entries: usize,
    /// At most this many bytes a POST, at least 64 KiB.
    pub max_bytes: usize,
}

impl MappingConfig {
    /// The UUID Kanidm knows the entry by: `map_uuid` where configured. Applied to entries, Retain
    /// and Delete alike.
    pub fn kanidm_uuid(&self, sync_uuid: Uuid) -> Uuid {
        self.entries.get(&sync_uuid).and_then(|e| e.map_uuid).unwrap_or(sync_uuid)
    }

    /// Whether another entry's `map_uuid` is this entry's own UUID: in Kanidm it is that other
    /// entry's, and never this one's.
    pub fn is_claimed(&self, sync_uuid: Uuid) -> bool {
        self.kanidm_uuid(sync_uuid) == sync_uuid
            && self
                .entries
                .iter()
                .any(|(other, table)| *other != sync_uuid && table.map_uuid == Some(sync_uuid))
    }

    /// All UUIDs that [`is_claimed`](Self::is_claimed) is true of: for who asks about every entry.
    /// No two tables have one `map_uuid`.
    pub fn claimed(&self) -> HashSet<Uuid> {
        let claimed = self.entries.values().filter_map(|table| table.map_uuid);
        claimed
            .filter(|uuid| self.entries.get(uuid).is_none_or(|own| own.map_uuid.is_none()))
            .collect()
    }

    /// The UUID the directory knows an entry by, from the one in Kanidm.
    pub fn sync_uuid(&self, kanidm_uuid: Uuid) -> Uuid {
        let mapped = self.entries.iter().find(|(_, table)| table.map_uuid == Some(kanidm_uuid));
        mapped.map_or(kanidm_uuid, |(sync_uuid, _)| *sync_uuid)
    }
}
