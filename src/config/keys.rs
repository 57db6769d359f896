//! Names and defaults of all configuration keys.
//!
//! Scope: one table for the parser and the suggestions for unknown keys. A test compares the manual
//! (`packaging/manual`) with it.

/// A key of a configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name in the file.
    pub name: &'static str,
    /// Default value as TOML. `None` if the key has no default, or another key must be given.
    pub default: Option<&'static str>,
}

const fn key(name: &'static str, default: Option<&'static str>) -> Key {
    Key { name, default }
}

/// Keys outside the entry tables.
pub const KEYS: &[Key] = &[
    key("sync_token", None),
    key("sync_token_file", None),
    key("schedule", Some("\"0 */5 * * * * *\"")),
    key("full_refresh_schedule", None),
    key("follow", Some("false")),
    key("follow_interval", Some("1")),
    key("status_bind", None),
    key("metrics_file", None),
    key("ldap_uri", None),
    key("ldap_starttls", Some("false")),
    key("ldap_ca", None),
    key("ldap_verify_ca", Some("true")),
    key("ldap_client_cert", None),
    key("ldap_client_key", None),
    key("ldap_sync_dn", None),
    key("ldap_sync_pw", None),
    key("ldap_sync_pw_file", None),
    key("ldap_sync_base_dn", None),
    key("ldap_filter", None),
    key("ldap_timeout", Some("30")),
    key("kanidm_timeout", Some("300")),
    key("max_ber_size", Some("67108864")),
    key("sync_password_as_unix_password", Some("false")),
    key("person_objectclass", Some("\"person\"")),
    key("person_attr_user_name", Some("\"uid\"")),
    key("person_attr_display_name", Some("\"cn\"")),
    key("person_attr_legal_name", None),
    key("person_attr_gidnumber", Some("\"uidnumber\"")),
    key("person_attr_login_shell", Some("\"loginshell\"")),
    key("person_attr_password", Some("\"userpassword\"")),
    key("person_password_prefix", None),
    key("person_attr_mail", Some("\"mail\"")),
    key("person_attr_ssh_public_key", Some("\"sshpublickey\"")),
    key("person_attr_totp", None),
    key("sync_account_lock", Some("true")),
    key("group_objectclass", Some("\"groupofnames\"")),
    key("group_attr_name", Some("\"cn\"")),
    key("group_attr_description", Some("\"description\"")),
    key("group_attr_member", Some("\"member\"")),
    key("group_attr_gidnumber", Some("\"gidnumber\"")),
    key("group_attr_schema", Some("\"rfc2307bis\"")),
    key("user_private_groups", Some("\"skip\"")),
    key("invalid_entries", Some("\"drop-value\"")),
    key("max_delete_percent", Some("20")),
    key("upload_max_entries", Some("10000")),
    key("upload_max_bytes", Some("16777216")),
    key("log_changes_max", Some("50")),
];

/// Keys of an entry table, `[<syncuuid>]`.
pub const ENTRY_KEYS: &[Key] = &[
    key("exclude", Some("false")),
    key("map_uuid", None),
    key("map_name", None),
    key("map_gidnumber", None),
];

/// Keys of Kanidm's client config, and of its instance tables, that this tool reads. The defaults
/// are those of Kanidm.
pub const CLIENT_KEYS: &[Key] = &[
    key("uri", None),
    key("verify_ca", Some("true")),
    key("verify_hostnames", Some("true")),
    key("ca_path", None),
    key("connect_timeout", Some("30")),
];
