//! Names, defaults and summaries of all configuration keys.
//!
//! Scope: one table, which the parser, the suggestions for unknown keys and the manual share.

/// A key of a configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name in the file.
    pub name: &'static str,
    /// Default value as TOML. `None` if the key has no default, or another key must be given.
    pub default: Option<&'static str>,
    /// Summary in a few words.
    pub summary: &'static str,
}

const fn key(name: &'static str, default: Option<&'static str>, summary: &'static str) -> Key {
    Key { name, default, summary }
}

/// Keys outside the entry tables.
pub const KEYS: &[Key] = &[
    key("sync_token", None, "the sync token of Kanidm; or sync_token_file"),
    key("sync_token_file", None, "the file that holds the sync token"),
    key(
        "schedule",
        Some("\"0 */5 * * * * *\""),
        "when a scheduled run starts: sec min hour day-of-month month day-of-week year, UTC",
    ),
    key("full_refresh_schedule", None, "when a scheduled run ignores the cookie"),
    key("status_bind", None, "address:port of the status listener"),
    key("ldap_uri", None, "ldaps://host[:port], ldap:// with ldap_starttls, or ldapi://%2Fpath"),
    key("ldap_starttls", Some("false"), "StartTLS on an ldap:// connection"),
    key("ldap_ca", None, "PEM bundle of the authorities to trust; the system's where absent"),
    key("ldap_verify_ca", Some("true"), "whether the directory's certificate is verified"),
    key("ldap_client_cert", None, "PEM certificate chain for TLS client authentication"),
    key("ldap_client_key", None, "PEM key of that certificate"),
    key("ldap_sync_dn", None, "the DN to bind with; without it SASL EXTERNAL"),
    key("ldap_sync_pw", None, "its password; or ldap_sync_pw_file"),
    key("ldap_sync_pw_file", None, "the file that holds the password"),
    key("ldap_sync_base_dn", None, "where in the directory to search"),
    key("ldap_filter", None, "what to synchronise, an RFC 4515 filter"),
    key("ldap_timeout", Some("30"), "seconds, for each wait on the directory"),
    key("kanidm_timeout", Some("300"), "seconds, for each request to Kanidm"),
    key(
        "max_ber_size",
        Some("67108864"),
        "bytes, the largest LDAP message accepted; can only raise the limit",
    ),
    key(
        "sync_password_as_unix_password",
        Some("false"),
        "send the password as the unix password too, where there is a gidnumber",
    ),
    key(
        "person_objectclass",
        Some("\"person\""),
        "what makes an entry a person, a string or a list",
    ),
    key("person_attr_user_name", Some("\"uid\""), "the attribute of the account name"),
    key("person_attr_display_name", Some("\"cn\""), "the attribute of the display name"),
    key("person_attr_legal_name", None, "the attribute of the legal name"),
    key("person_attr_gidnumber", Some("\"uidnumber\""), "the attribute of the user's number"),
    key("person_attr_login_shell", Some("\"loginshell\""), "the attribute of the login shell"),
    key("person_attr_password", Some("\"userpassword\""), "the attribute of the password hash"),
    key("person_password_prefix", None, "put before the password hash"),
    key("person_attr_mail", Some("\"mail\""), "the attribute of the mail addresses"),
    key("person_attr_ssh_public_key", Some("\"sshpublickey\""), "the attribute of the SSH keys"),
    key(
        "sync_account_lock",
        Some("true"),
        "whether locks and expiry dates of accounts are synchronised",
    ),
    key(
        "group_objectclass",
        Some("\"groupofnames\""),
        "what makes an entry a group, a string or a list",
    ),
    key("group_attr_name", Some("\"cn\""), "the attribute of the group's name"),
    key("group_attr_description", Some("\"description\""), "the attribute of its description"),
    key(
        "group_attr_member",
        Some("\"member\""),
        "the attribute of its members, a string or a list of up to three",
    ),
    key("group_attr_gidnumber", Some("\"gidnumber\""), "the attribute of its number"),
    key(
        "group_attr_schema",
        Some("\"rfc2307bis\""),
        "rfc2307bis: members are DNs; rfc2307: members are user names",
    ),
    key(
        "user_private_groups",
        Some("\"skip\""),
        "skip or sync the groups that are only their user's own",
    ),
    key(
        "invalid_entries",
        Some("\"drop-value\""),
        "drop-value, hold or fail: what becomes of what Kanidm would refuse",
    ),
    key(
        "max_delete_percent",
        Some("20"),
        "a run that would delete, or take an attribute from, more of what is known is refused",
    ),
    key("upload_max_entries", Some("10000"), "at most so many entries a request"),
    key("upload_max_bytes", Some("16777216"), "bytes, at most so large a request"),
];

/// Keys of an entry table, `[<syncuuid>]`.
pub const ENTRY_KEYS: &[Key] = &[
    key("exclude", Some("false"), "do not synchronise the entry; what Kanidm has of it is deleted"),
    key("map_uuid", None, "the UUID it has in Kanidm"),
    key("map_name", None, "the name it has in Kanidm"),
    key("map_gidnumber", None, "the number it has in Kanidm"),
];

/// Keys of Kanidm's client config, and of its instance tables, that this tool reads. The defaults
/// are those of Kanidm.
pub const CLIENT_KEYS: &[Key] = &[
    key(
        "uri",
        None,
        "where Kanidm is: https://host[:port]; http:// for a loopback address only; required, or KANIDM_URL",
    ),
    key(
        "verify_ca",
        Some("true"),
        "whether the certificate of Kanidm is verified; false warns on every run",
    ),
    key(
        "verify_hostnames",
        Some("true"),
        "whether that certificate has to name the host; false warns on every run",
    ),
    key("ca_path", None, "PEM bundle of authorities to trust beside the system's"),
    key("connect_timeout", Some("30"), "seconds, for the connection and TLS"),
];
