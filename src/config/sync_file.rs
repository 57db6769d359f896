//! The keys of the sync config: takes each key once and collects all problems.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::document::{At, Document, Problems};
use super::files::Text;
use super::keys::{ENTRY_KEYS, KEYS, Key};
use super::reader::{Given, Reader, choose};
use super::sync::*;
use super::{ConfigError, ConfigProblem, Warning, uri, values};
use crate::env::Env;

/// Kanidm answers larger requests with 413.
const KANIDM_MAX_BODY: u64 = 32 * 1024 * 1024;
/// Minimum of `upload_max_bytes`: one large group must fit.
const MIN_UPLOAD_BYTES: u64 = 64 * 1024;
/// Maximum of `log_changes_max`. A run keeps this many changes in memory.
const MAX_LOGGED: u64 = 10_000;
/// Minimum of the limit for LDAP messages. `max_ber_size` can only raise it.
const MIN_MESSAGE: usize = 64 * 1024 * 1024;

/// A table with another name belongs to no entry.
const NO_UUID: &str = "malformed UUID: each table is named for one entry, by its entryUUID (8-4-4-4-12 hexadecimal digits), \
                       on 389 by its nsUniqueId (8-8-8-8). Copy it from the directory";

/// Parses the text of a sync config and reads the secret files that it names.
pub(super) fn parse(
    path: &Path,
    file: &Text,
    env: Env<'_>,
) -> Result<(SyncConfig, Vec<Warning>), ConfigError> {
    let error = |problems: Vec<ConfigProblem>| ConfigError { path: path.to_owned(), problems };
    let defaults = default_text();
    let defaults = Document::parse(&defaults).map_err(|problem| error(vec![problem]))?;
    let document = Document::parse(&file.text).map_err(|problem| error(vec![problem]))?;
    let mut reader = Reader {
        keys: document.root().over(defaults.root()),
        problems: Problems::default(),
        warnings: Vec::new(),
        path,
        env,
    };
    reader.warn_of_open_secrets(file);
    let config = reader.config();
    reader.keys.refuse_rest(KEYS.iter().map(|key| key.name), Some(NO_UUID), &mut reader.problems);
    match (config, reader.problems.into_list()) {
        (Some(config), problems) if problems.is_empty() => Ok((config, reader.warnings)),
        (_, problems) => Err(error(problems)),
    }
}

/// Reads `status_bind` from the text of a sync config. Other keys may be invalid.
pub(super) fn status_bind(path: &Path, file: &Text) -> Result<Option<SocketAddr>, ConfigError> {
    only("status_bind", values::listener, path, file)
}

/// Reads `metrics_file` from the text of a sync config. Other keys may be invalid.
pub(super) fn metrics_file(path: &Path, file: &Text) -> Result<Option<PathBuf>, ConfigError> {
    only("metrics_file", values::metrics_file, path, file)
}

/// Reads one key.
fn only<T>(
    key: &str,
    make: fn(&str) -> Result<T, &'static str>,
    path: &Path,
    file: &Text,
) -> Result<Option<T>, ConfigError> {
    let error = |problems: Vec<ConfigProblem>| ConfigError { path: path.to_owned(), problems };
    let document = Document::parse(&file.text).map_err(|problem| error(vec![problem]))?;
    let mut problems = Problems::default();
    let value =
        document.root().text(key, &mut problems).and_then(|at| at.try_map(&mut problems, make));
    let problems = problems.into_list();
    if problems.is_empty() { Ok(value.map(|at| at.value)) } else { Err(error(problems)) }
}

/// The defaults of the key table as a TOML document.
fn default_text() -> String {
    KEYS.iter()
        .filter_map(|Key { name, default, .. }| {
            default.map(|default| format!("{name} = {default}\n"))
        })
        .collect()
}

/// Every function takes all of its keys before it fails, so that all problems are found.
impl Reader<'_> {
    fn config(&mut self) -> Option<SyncConfig> {
        let token = self.secret("sync_token", "sync_token_file", values::token);
        if token == Given::No {
            self.problems.missing(
                "sync_token",
                "is required (or sync_token_file). Make a token: kanidm system sync generate-token",
            );
        }
        let schedule = self.schedule("schedule");
        let full_refresh_schedule = self.optional("full_refresh_schedule", Self::schedule);
        let follow = self.keys.flag("follow", &mut self.problems);
        let follow_interval = self
            .keys
            .take("follow_interval")
            .and_then(|at| at.try_map(&mut self.problems, values::interval));
        let status_bind =
            self.optional("status_bind", |reader, key| reader.text(key, values::listener));
        let metrics_file =
            self.optional("metrics_file", |reader, key| reader.text(key, values::metrics_file));
        let directory = self.directory();
        let mapping = self.mapping();
        let upload = self.upload();
        let max_delete_percent =
            self.keys.integer("max_delete_percent", 0..=100, &mut self.problems);
        let log_changes_max =
            self.keys.integer("log_changes_max", 0..=MAX_LOGGED, &mut self.problems);
        Some(SyncConfig {
            token_file: token.file(),
            token: token.secret()?,
            schedule: schedule?,
            full_refresh_schedule: full_refresh_schedule?,
            follow_interval: Some(follow_interval?.value)
                .filter(|_| follow.is_some_and(|at| at.value)),
            status_bind: status_bind?,
            metrics_file: metrics_file?,
            directory: directory?,
            mapping: mapping?,
            upload: upload?,
            max_delete_percent: u8::try_from(max_delete_percent?.value).ok()?,
            log_changes_max: usize::try_from(log_changes_max?.value).ok()?,
        })
    }

    fn directory(&mut self) -> Option<DirectoryConfig> {
        let starttls = self.keys.flag("ldap_starttls", &mut self.problems);
        let uri = self.required("ldap_uri", |uri| {
            uri::ldap(uri, starttls.as_ref().is_some_and(|at| at.value))
        });
        let ca = self.optional("ldap_ca", Self::file);
        let verify_ca = self.keys.flag("ldap_verify_ca", &mut self.problems);
        if verify_ca.as_ref().is_some_and(|at| !at.value) {
            self.warn(
                "ldap_verify_ca = false: an attacker on the network can pose as the directory, get the bind password and decide who has which account. Put the directory's CA into ldap_ca instead",
            );
        }
        let client_cert = self.client_cert();
        let bind = self.bind(uri.as_ref(), matches!(client_cert, Some(Some(_))));
        let base_dn = self.required("ldap_sync_base_dn", values::distinguished_name);
        let filter = self.required("ldap_filter", values::filter);
        let timeout = self.seconds("ldap_timeout");
        let max_message = self
            .keys
            .take("max_ber_size")
            .and_then(|at| at.try_map(&mut self.problems, values::byte_size));
        let filter = filter?;
        Some(DirectoryConfig {
            uri: uri?,
            ca: ca?,
            verify_ca: verify_ca?.value,
            client_cert: client_cert?,
            bind: bind?,
            base_dn: base_dn?,
            filter_text: filter.to_string(),
            filter,
            timeout: timeout?,
            max_message: max_message?.value.max(MIN_MESSAGE),
        })
    }

    /// Client certificate and key. Both must be set, or neither.
    fn client_cert(&mut self) -> Option<Option<(PathBuf, PathBuf)>> {
        const PAIR: [&str; 2] = ["ldap_client_cert", "ldap_client_key"];
        let given = PAIR.map(|key| self.keys.has(key));
        let [cert, key] = PAIR.map(|key| self.optional(key, Self::file));
        match given {
            [true, false] => self.problems.missing(PAIR[1], "is required with ldap_client_cert"),
            [false, true] => self.problems.missing(PAIR[0], "is required with ldap_client_key"),
            _ => {
                if let Some(Some(key)) = &key {
                    self.warn_of_an_open_key(key);
                }
                return Some(cert?.zip(key?));
            }
        }
        None
    }

    fn bind(&mut self, uri: Option<&LdapUri>, client_cert: bool) -> Option<Bind> {
        let dn_given = self.keys.has("ldap_sync_dn");
        let dn = self
            .optional("ldap_sync_dn", |reader, key| reader.text(key, values::distinguished_name));
        let password = self.secret("ldap_sync_pw", "ldap_sync_pw_file", values::password);
        match (dn_given, password) {
            (true, Given::No) => self.problems.missing("ldap_sync_pw", "is required with ldap_sync_dn (or ldap_sync_pw_file)"),
            (false, Given::Yes(..) | Given::Wrong) => self.problems.missing("ldap_sync_dn", "is required with a password"),
            (true, password) => return Some(Bind::Simple { dn: dn??, password: password.secret()? }),
            // If the URI is wrong, its requirements are unknown, so no further problem is added.
            (false, Given::No) if client_cert || !matches!(uri, Some(LdapUri::Tls { .. })) => return Some(Bind::External),
            (false, Given::No) => self.problems.missing(
                "ldap_sync_dn",
                "is required, with ldap_sync_pw or ldap_sync_pw_file: only ldapi:// and TLS client certificates need no password",
            ),
        }
        None
    }

    fn mapping(&mut self) -> Option<MappingConfig> {
        let person = self.person();
        let group = self.group();
        let entries = self.entries();
        let policies = [
            ("drop-value", InvalidEntries::DropValue),
            ("hold", InvalidEntries::Hold),
            ("fail", InvalidEntries::Fail),
        ];
        let invalid_entries = self.text("invalid_entries", |word| match word {
            // Older name of drop-value.
            "drop-attribute" => Ok(InvalidEntries::DropValue),
            word => choose(word, &policies),
        });
        Some(MappingConfig {
            person: person?,
            group: group?,
            entries,
            invalid_entries: invalid_entries?,
        })
    }

    fn person(&mut self) -> Option<PersonMapping> {
        let object_classes = self.object_classes("person_objectclass");
        let user_name = self.attribute("person_attr_user_name");
        let display_name = self.attribute("person_attr_display_name");
        let legal_name = self.optional("person_attr_legal_name", Self::attribute);
        let gidnumber = self.attribute("person_attr_gidnumber");
        let login_shell = self.attribute("person_attr_login_shell");
        let password = self.attribute("person_attr_password");
        let mail = self.attribute("person_attr_mail");
        let ssh_public_key = self.attribute("person_attr_ssh_public_key");
        let totp = self
            .optional("person_attr_totp", |reader, key| reader.text(key, values::token_attribute));
        let password_prefix = self.keys.text_or_empty("person_password_prefix", &mut self.problems);
        let password_as_unix = self.keys.flag("sync_password_as_unix_password", &mut self.problems);
        let account_lock = self.keys.flag("sync_account_lock", &mut self.problems);
        Some(PersonMapping {
            object_classes: object_classes?,
            user_name: user_name?,
            display_name: display_name?,
            legal_name: legal_name?,
            gidnumber: gidnumber?,
            login_shell: login_shell?,
            password: password?,
            mail: mail?,
            ssh_public_key: ssh_public_key?,
            totp: totp?,
            password_prefix: password_prefix
                .map(|at| at.value.to_owned())
                .filter(|prefix| !prefix.is_empty()),
            password_as_unix: password_as_unix?.value,
            account_lock: account_lock?.value,
        })
    }

    fn group(&mut self) -> Option<GroupMapping> {
        let member_given = self.keys.given("group_attr_member");
        let object_classes = self.object_classes("group_objectclass");
        let name = self.attribute("group_attr_name");
        let description = self.attribute("group_attr_description");
        let members = self.member_attributes("group_attr_member");
        let gidnumber = self.attribute("group_attr_gidnumber");
        let schema = self.choice(
            "group_attr_schema",
            &[("rfc2307bis", GroupSchema::Rfc2307Bis), ("rfc2307", GroupSchema::Rfc2307)],
        );
        let send_user_private =
            self.choice("user_private_groups", &[("skip", false), ("sync", true)]);
        if schema == Some(GroupSchema::Rfc2307) && !member_given {
            self.warn(
                "group_attr_schema = \"rfc2307\" keeps member names in memberUid, but group_attr_member is not set, so groups stay empty. Set group_attr_member = \"memberuid\"",
            );
        }
        Some(GroupMapping {
            object_classes: object_classes?,
            name: name?,
            description: description?,
            members: members?,
            gidnumber: gidnumber?,
            schema: schema?,
            send_user_private: send_user_private?,
        })
    }

    fn upload(&mut self) -> Option<UploadConfig> {
        let timeout = self.seconds("kanidm_timeout");
        let max_entries =
            self.keys.integer("upload_max_entries", 1..=1_000_000, &mut self.problems);
        let max_bytes = self
            .keys
            .take("upload_max_bytes")
            .and_then(|at| at.try_map(&mut self.problems, upload_bytes));
        Some(UploadConfig {
            timeout: timeout?,
            max_entries: usize::try_from(max_entries?.value).ok()?,
            max_bytes: max_bytes?.value,
        })
    }

    /// The entry tables by sync UUID. A table with another name stays and is reported.
    fn entries(&mut self) -> HashMap<Uuid, EntryConfig> {
        let mut entries = HashMap::new();
        let mut mapped: BTreeMap<Uuid, usize> = BTreeMap::new();
        for (uuid, mut table) in self.keys.tables(values::sync_uuid) {
            let keys = &mut table.value;
            let exclude = keys.flag("exclude", &mut self.problems);
            let map_uuid = keys
                .text("map_uuid", &mut self.problems)
                .and_then(|at| at.try_map(&mut self.problems, values::kanidm_uuid));
            let map_name = keys
                .text("map_name", &mut self.problems)
                .and_then(|at| at.try_map(&mut self.problems, values::kanidm_name));
            let map_gidnumber = keys
                .integer("map_gidnumber", 0..=u64::from(u32::MAX), &mut self.problems)
                .and_then(|at| at.try_map(&mut self.problems, values::kanidm_gidnumber));
            if let Some(at) = &map_uuid
                && let Some(line) = mapped.insert(at.value, at.line)
            {
                self.problems.add(at, format!("is the map_uuid of another table too, in line {line}. Change one: no two entries can have one UUID"));
            }
            let entry = EntryConfig {
                exclude: exclude.is_some_and(|at| at.value),
                map_uuid: map_uuid.map(|at| at.value),
                map_name: map_name.map(|at| at.value),
                map_gidnumber: map_gidnumber.map(|at| at.value),
            };
            let at = At { key: table.key, line: table.line, value: () };
            table.value.refuse_rest(
                ENTRY_KEYS.iter().map(|key| key.name),
                None,
                &mut self.problems,
            );
            if entries.insert(uuid, entry).is_some() {
                self.problems.add(&at, "is the second table of this entry, whose UUID is the same in another spelling. Merge the two tables");
            }
        }
        entries
    }
}

/// Parses `upload_max_bytes`.
fn upload_bytes(value: &toml::de::DeValue<'_>) -> Result<usize, String> {
    let bytes = values::byte_size(value)?;
    match u64::try_from(bytes) {
        Ok(MIN_UPLOAD_BYTES..=KANIDM_MAX_BODY) => Ok(bytes),
        _ => Err("must be from 64 KiB to 32 MiB, the largest request Kanidm takes".to_owned()),
    }
}
