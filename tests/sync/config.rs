//! The sync config: what is understood, what is refused and how it is named, and that no secret is
//! ever repeated.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kanidm_ldap_sync::config::fingerprint::fingerprint;
use kanidm_ldap_sync::config::keys::{ENTRY_KEYS, KEYS};
use kanidm_ldap_sync::config::sync::{
    self, Bind, EntryConfig, GroupSchema, InvalidEntries, LdapUri, SyncConfig,
};
use kanidm_ldap_sync::config::{ConfigError, Warning};
use uuid::Uuid;

use crate::support::temp::TempDir;

const TOKEN: &str = "sync_token = 't'\n";
const BIND: &str = "ldap_sync_dn = 'cn=sync,dc=x'\nldap_sync_pw = 'p'\n";
const WHERE: &str =
    "ldap_uri = 'ldaps://host'\nldap_sync_base_dn = 'dc=x'\nldap_filter = '(cn=*)'\n";
const UUID: &str = "ac60034b-3498-11ed-a50d-919b4b1a5ec0";
const UUID_389: &str = "ac60034b-349811ed-a50d919b-4b1a5ec0";

/// A file with this mode.
pub fn file(folder: &TempDir, name: &str, mode: u32, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.write(name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn load_with(
    text: &str,
    credentials: Option<&Path>,
) -> Result<(SyncConfig, Vec<Warning>), ConfigError> {
    let folder = TempDir::new("load");
    let env = |name: &str| {
        (name == "CREDENTIALS_DIRECTORY").then(|| credentials.map(OsString::from)).flatten()
    };
    sync::load(&file(&folder, "ldap-sync", 0o640, text), &env)
}

fn load(text: &str) -> Result<(SyncConfig, Vec<Warning>), ConfigError> {
    load_with(text, None)
}

fn good(text: &str) -> SyncConfig {
    load(text).unwrap_or_else(|e| panic!("{text}\n{e}")).0
}

/// The smallest config there is, and more keys before its end.
fn minimal(more: &str) -> String {
    format!("{TOKEN}{BIND}{WHERE}{more}\n")
}

/// The problems as `line key: message`, line 0 where there is none.
fn problems(text: &str) -> Vec<String> {
    let error = load(text).expect_err(text);
    error
        .problems
        .iter()
        .map(|p| {
            format!("{} {}: {}", p.line.unwrap_or(0), p.key.as_deref().unwrap_or("-"), p.message)
        })
        .collect()
}

#[track_caller]
fn assert_problem(text: &str, place: &str, message: &str) {
    let problems = problems(text);
    assert!(
        problems.len() == 1
            && problems[0].starts_with(&format!("{place}: "))
            && problems[0].contains(message),
        "{text}\n{problems:#?}"
    );
}

#[test]
fn defaults() {
    let config = good(&minimal(""));
    assert_eq!(config.token.expose(), "t");
    assert!(config.full_refresh_schedule.is_none() && config.status_bind.is_none());
    assert_eq!(config.follow_interval, None);
    assert_eq!(config.max_delete_percent, 20);
    assert_eq!(config.log_changes_max, 50);
    let directory = &config.directory;
    assert_eq!(directory.uri, LdapUri::Tls { host: "host".into(), port: 636, starttls: false });
    assert_eq!(
        (directory.ca.as_ref(), directory.verify_ca, directory.client_cert.as_ref()),
        (None, true, None)
    );
    assert_eq!((directory.base_dn.as_str(), directory.filter_text.as_str()), ("dc=x", "(cn=*)"));
    assert_eq!((directory.timeout, directory.max_message), (Duration::from_secs(30), 64 << 20));
    assert!(
        matches!(&directory.bind, Bind::Simple { dn, password } if dn == "cn=sync,dc=x" && password.expose() == "p")
    );
    let person = &config.mapping.person;
    assert_eq!(person.object_classes, ["person", "organizationalPerson", "inetOrgPerson"]);
    let attributes = [
        &person.user_name,
        &person.display_name,
        &person.gidnumber,
        &person.login_shell,
        &person.password,
        &person.mail,
        &person.ssh_public_key,
    ];
    assert_eq!(
        attributes,
        ["uid", "cn", "uidnumber", "loginshell", "userpassword", "mail", "sshpublickey"]
    );
    assert_eq!((person.legal_name.as_ref(), person.password_prefix.as_ref()), (None, None));
    assert_eq!((person.password_as_unix, person.account_lock), (false, true));
    let group = &config.mapping.group;
    assert_eq!(group.object_classes, ["groupofnames"]);
    assert_eq!(
        [&group.name, &group.description, &group.members[0], &group.gidnumber],
        ["cn", "description", "member", "gidnumber"]
    );
    assert_eq!((group.schema, group.send_user_private), (GroupSchema::Rfc2307Bis, false));
    assert_eq!(
        (config.mapping.invalid_entries, config.mapping.entries.len()),
        (InvalidEntries::DropValue, 0)
    );
    let upload = config.upload;
    assert_eq!(
        (upload.timeout, upload.max_entries, upload.max_bytes),
        (Duration::from_secs(300), 10_000, 16 << 20)
    );
}

#[test]
fn every_key_does_what_it_says() {
    let text = format!(
        "{TOKEN}{BIND}
        schedule = '@hourly'
        full_refresh_schedule = '0 30 2 * * *'
        follow = true
        follow_interval = 0.25
        status_bind = '[::1]:12345'
        ldap_uri = 'ldap://[::1]'
        ldap_starttls = true
        ldap_ca = '/ca.pem'
        ldap_verify_ca = false
        ldap_client_cert = '/c.pem'
        ldap_client_key = '/k.pem'
        ldap_sync_base_dn = 'ou=People, dc=x'
        ldap_filter = '''
            (|  ( objectClass = person )
                ( cn = \"my (own) value\" ) )'''
        ldap_timeout = 5
        kanidm_timeout = 60
        max_ber_size = '128 MiB'
        sync_password_as_unix_password = true
        person_objectclass = ['inetOrgPerson', '1.2.3']
        person_attr_user_name = 'a'
        person_attr_display_name = 'b'
        person_attr_legal_name = 'l'
        person_attr_gidnumber = 'c'
        person_attr_login_shell = 'd'
        person_attr_password = 'e'
        person_password_prefix = '{{CRYPT}}'
        person_attr_mail = 'f'
        person_attr_ssh_public_key = 'g'
        sync_account_lock = false
        group_objectclass = 'posixGroup'
        group_attr_name = 'h'
        group_attr_description = 'i'
        group_attr_member = 'memberUid'
        group_attr_gidnumber = 'j'
        group_attr_schema = 'rfc2307'
        user_private_groups = 'sync'
        invalid_entries = 'drop-attribute'
        max_delete_percent = 100
        upload_max_entries = 1
        upload_max_bytes = '64 KiB'
        log_changes_max = 0
        [{UUID}]
        exclude = true
        map_uuid = '0b7f3c52-6a0e-4b7e-9d6f-2f1f0a3a9c11'
        map_name = 'Renamed'
        map_gidnumber = 20001
        ['0b7f3c52-6a0e-4b7e-9d6f-2f1f0a3a9c11']\n"
    );
    let config = good(&text);
    assert_ne!(config.schedule, good(&minimal("")).schedule);
    assert!(config.full_refresh_schedule.is_some());
    assert_eq!(config.follow_interval, Some(Duration::from_millis(250)));
    assert_eq!(config.status_bind.unwrap().to_string(), "[::1]:12345");
    let directory = &config.directory;
    assert_eq!(directory.uri, LdapUri::Tls { host: "::1".into(), port: 389, starttls: true });
    assert_eq!((directory.ca.as_deref(), directory.verify_ca), (Some(Path::new("/ca.pem")), false));
    assert_eq!(directory.client_cert, Some(("/c.pem".into(), "/k.pem".into())));
    assert_eq!(directory.base_dn, "ou=People, dc=x");
    assert_eq!(directory.filter_text, "(|(objectClass=person)(cn=my \\28own\\29 value))");
    assert_eq!((directory.timeout, directory.max_message), (Duration::from_secs(5), 128 << 20));
    let person = &config.mapping.person;
    assert_eq!(person.object_classes, ["inetOrgPerson", "1.2.3"]);
    let attributes = [
        &person.user_name,
        &person.display_name,
        &person.gidnumber,
        &person.login_shell,
        &person.password,
        &person.mail,
        &person.ssh_public_key,
    ];
    assert_eq!(attributes, ["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(
        (person.legal_name.as_deref(), person.password_prefix.as_deref()),
        (Some("l"), Some("{CRYPT}"))
    );
    assert_eq!((person.password_as_unix, person.account_lock), (true, false));
    let group = &config.mapping.group;
    assert_eq!(group.object_classes, ["posixGroup"]);
    assert_eq!(
        [&group.name, &group.description, &group.members[0], &group.gidnumber],
        ["h", "i", "memberUid", "j"]
    );
    assert_eq!((group.schema, group.send_user_private), (GroupSchema::Rfc2307, true));
    assert_eq!(
        (config.mapping.invalid_entries, config.max_delete_percent),
        (InvalidEntries::DropValue, 100)
    );
    assert_eq!(config.log_changes_max, 0);
    let upload = config.upload;
    assert_eq!(
        (upload.timeout, upload.max_entries, upload.max_bytes),
        (Duration::from_secs(60), 1, 64 << 10)
    );
    let renamed = Uuid::try_parse("0b7f3c52-6a0e-4b7e-9d6f-2f1f0a3a9c11").unwrap();
    let expected = EntryConfig {
        exclude: true,
        map_uuid: Some(renamed),
        map_name: Some("renamed".into()),
        map_gidnumber: Some(20001),
    };
    assert_eq!(config.mapping.entries.get(&Uuid::try_parse(UUID).unwrap()), Some(&expected));
    assert_eq!(config.mapping.entries.get(&renamed), Some(&EntryConfig::default()));
    assert_eq!(config.mapping.kanidm_uuid(Uuid::try_parse(UUID).unwrap()), renamed);
}

/// A value of a type that no key has, at every key of the table: each is read, and each error names
/// key and line.
#[test]
fn every_key_is_read_and_named() {
    for key in KEYS {
        let others: String = minimal("")
            .lines()
            .filter(|line| !line.starts_with(&format!("{} ", key.name)))
            .fold(String::new(), |text, line| text + line + "\n");
        let text = format!("{others}\n{} = 1979-05-27\n", key.name);
        let line = text.lines().count();
        assert!(
            problems(&text).iter().any(|p| p.starts_with(&format!("{line} {}: ", key.name))),
            "{}: {:?}",
            key.name,
            problems(&text)
        );
    }
    for key in ENTRY_KEYS {
        let text = minimal(&format!("[{UUID}]\n{} = 1979-05-27", key.name));
        assert_problem(&text, &format!("8 [{UUID}] {}", key.name), "must be");
    }
}

#[test]
fn the_defaults_of_the_table_are_the_defaults() {
    let spelled_out: String =
        KEYS.iter().filter_map(|key| Some(format!("{} = {}\n", key.name, key.default?))).collect();
    assert_eq!(format!("{:?}", good(&minimal(&spelled_out))), format!("{:?}", good(&minimal(""))));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        load("").unwrap_err().problems.iter().filter_map(|p| p.key.clone()).collect::<Vec<_>>(),
        ["sync_token", "ldap_uri", "ldap_sync_base_dn", "ldap_filter"]
    );
    assert_problem(&format!("{TOKEN}{WHERE}"), "0 ldap_sync_dn", "is required");
    assert_problem(
        &format!("{TOKEN}{WHERE}ldap_sync_dn = 'cn=a'"),
        "0 ldap_sync_pw",
        "is required",
    );
    assert_problem(&format!("{TOKEN}{WHERE}ldap_sync_pw = 'p'"), "0 ldap_sync_dn", "is required");
    assert_problem(&minimal("ldap_client_cert = '/c'"), "0 ldap_client_key", "is required");
    assert_problem(&minimal("ldap_client_key = '/k'"), "0 ldap_client_cert", "is required");
}

#[test]
fn everything_that_is_wrong_is_named_at_once_in_order() {
    let text =
        minimal("ldap_timeout = 0\nunknown = 1\nperson_objectclass = []\nmax_delete_percent = 101");
    let places: Vec<String> =
        problems(&text).iter().map(|p| p.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(
        places,
        ["7 ldap_timeout", "8 unknown", "9 person_objectclass", "10 max_delete_percent"]
    );
    let folder = TempDir::new("display");
    let path = file(&folder, "ldap-sync", 0o600, &text);
    let error = sync::load(&path, &|_| None).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 4);
    assert!(
        error.starts_with(&format!(
            "{}:7: ldap_timeout: must be a number from 1 to 86400\n",
            path.display()
        )),
        "{error}"
    );
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    assert_problem(
        &minimal("ldap_filer = 'x'"),
        "7 ldap_filer",
        "unknown key; did you mean ldap_filter?",
    );
    assert_problem(&minimal("zebra = 'x'"), "7 zebra", "unknown key");
    assert_problem(
        &minimal(&format!("[{UUID}]\nmap_nam = 'x'")),
        &format!("8 [{UUID}] map_nam"),
        "did you mean map_name?",
    );
    assert_problem(
        &minimal(&format!("[{UUID}]\nzebra = 'x'")),
        &format!("8 [{UUID}] zebra"),
        "exclude, map_uuid, map_name, map_gidnumber",
    );
    assert_problem(&minimal("[person]\nx = 1"), "7 person", "malformed UUID");
    assert_problem(
        &minimal("[ac60034b-3498-11ed-a50d-919b4b1a5ec]"),
        "7 ac60034b-3498-11ed-a50d-919b4b1a5ec",
        "malformed UUID: each table is named for one entry",
    );
    assert_problem(&minimal(&format!("{UUID} = true")), &format!("7 {UUID}"), "unknown key");
    assert_problem(&minimal("\"two words\" = 1"), "7 (not a key name)", "unknown key");
}

#[test]
fn values_that_cannot_be_are_refused() {
    for (line, key, message) in [
        ("schedule = '* * *'", "schedule", "field"),
        ("schedule = '0 0 0 30 2 *'", "schedule", "never"),
        ("schedule = '0 0 0 1 1 * 1999'", "schedule", "never"),
        ("full_refresh_schedule = ''", "full_refresh_schedule", "empty"),
        ("follow = 1", "follow", "true or false"),
        ("follow_interval = 0.05", "follow_interval", "from 0.1 to 86400"),
        ("status_bind = '12345'", "status_bind", "address and a port"),
        ("ldap_ca = ''", "ldap_ca", "empty"),
        ("ldap_ca = '%d/ca'", "ldap_ca", "CREDENTIALS_DIRECTORY"),
        ("ldap_timeout = -1", "ldap_timeout", "1 to"),
        ("ldap_timeout = 1.5", "ldap_timeout", "number"),
        ("ldap_timeout = '30'", "ldap_timeout", "number"),
        ("kanidm_timeout = 86401", "kanidm_timeout", "1 to"),
        ("max_ber_size = '64 MB'", "max_ber_size", "MiB"),
        ("max_ber_size = -1", "max_ber_size", "bytes"),
        ("person_objectclass = ['a', 1]", "person_objectclass", "list of strings"),
        ("person_objectclass = ['a', '']", "person_objectclass", "empty"),
        ("group_objectclass = 'a b'", "group_objectclass", "object class"),
        ("person_attr_mail = '*'", "person_attr_mail", "one attribute"),
        ("person_attr_mail = '+'", "person_attr_mail", "one attribute"),
        ("person_attr_mail = '1.1'", "person_attr_mail", "one attribute"),
        ("group_attr_schema = 'rfc2308'", "group_attr_schema", "rfc2307bis, rfc2307"),
        ("user_private_groups = 'keep'", "user_private_groups", "skip, sync"),
        ("invalid_entries = 'drop'", "invalid_entries", "drop-value, hold, fail"),
        ("group_attr_member = ['a', 'b', 'c', 'd']", "group_attr_member", "up to three"),
        ("sync_account_lock = 'true'", "sync_account_lock", "true or false"),
        ("upload_max_entries = 0", "upload_max_entries", "1 to"),
        ("upload_max_bytes = 65535", "upload_max_bytes", "64 KiB"),
        ("upload_max_bytes = '33 MiB'", "upload_max_bytes", "32 MiB"),
    ] {
        assert_problem(&minimal(line), &format!("7 {key}"), message);
    }
    for (line, key, message) in [
        ("exclude = 1", "exclude", "true or false"),
        ("map_uuid = 'x'", "map_uuid", "UUID"),
        ("map_uuid = '00000000-0000-0000-0000-ffff00000001'", "map_uuid", "own entries"),
        ("map_name = 'a b'", "map_name", "must be"),
        ("map_name = 'root'", "map_name", "reserved"),
        ("map_gidnumber = 999", "map_gidnumber", "1000"),
        ("map_gidnumber = 4294967296", "map_gidnumber", "from 0 to"),
    ] {
        assert_problem(
            &minimal(&format!("[{UUID}]\n{line}")),
            &format!("8 [{UUID}] {key}"),
            message,
        );
    }
    let with = |uri: &str, base: &str, filter: &str| {
        format!(
            "{TOKEN}{BIND}ldap_uri = '{uri}'\nldap_sync_base_dn = '{base}'\nldap_filter = '{filter}'"
        )
    };
    assert_problem(&with("ldap://h", "dc=x", "(a=b)"), "4 ldap_uri", "in clear");
    assert_problem(&with("ldaps://h", "dc", "(a=b)"), "5 ldap_sync_base_dn", "at character 3");
    assert_problem(
        &with("ldaps://h", "dc=x", "(a=b"),
        "6 ldap_filter",
        "at character 5: expected a closing parenthesis",
    );
    assert_problem(
        &with("ldaps://h", "dc=x", "cn=a"),
        "6 ldap_filter",
        "at character 1: expected an opening parenthesis",
    );
}

#[test]
fn bounds_are_inclusive() {
    let config = good(&minimal(
        "max_delete_percent = 0\nldap_timeout = 86400\nupload_max_bytes = '32 MiB'\nupload_max_entries = 1000000\nlog_changes_max = 10000",
    ));
    assert_eq!(config.log_changes_max, 10_000);
    assert_eq!(
        (config.max_delete_percent, config.upload.max_bytes, config.upload.max_entries),
        (0, 32 << 20, 1_000_000)
    );
}

#[test]
fn the_message_limit_can_only_be_raised() {
    // Kanidm's own tool documents the key in kilobytes, and people have written it so.
    assert_eq!(good(&minimal("max_ber_size = 1024000")).directory.max_message, 64 << 20);
    assert_eq!(good(&minimal("max_ber_size = 67108865")).directory.max_message, (64 << 20) + 1);
}

#[test]
fn without_a_password_the_bind_is_external_where_that_can_be() {
    let external = |text: &str| matches!(good(text).directory.bind, Bind::External);
    let rest = "ldap_sync_base_dn = 'dc=x'\nldap_filter = '(a=b)'\n";
    assert!(external(&format!("{TOKEN}{rest}ldap_uri = 'ldapi://%2Frun%2Fldapi'")));
    assert!(external(&format!(
        "{TOKEN}{rest}ldap_uri = 'ldaps://h'\nldap_client_cert = '/c'\nldap_client_key = '/k'"
    )));
    assert!(!external(&format!("{TOKEN}{BIND}{rest}ldap_uri = 'ldapi://%2Frun%2Fldapi'")));
}

#[test]
fn both_spellings_of_a_uuid_are_one_entry() {
    for spelling in
        [UUID.to_owned(), UUID_389.to_owned(), format!("\"{UUID}\""), UUID.to_uppercase()]
    {
        let config = good(&minimal(&format!("[{spelling}]\nexclude = true")));
        assert!(
            config
                .mapping
                .entries
                .get(&Uuid::try_parse(UUID).unwrap())
                .is_some_and(|entry| entry.exclude),
            "{spelling}"
        );
    }
    assert_problem(
        &minimal(&format!("[{UUID}]\n[{UUID_389}]")),
        &format!("8 [{UUID_389}]"),
        "second table",
    );
}

#[test]
fn no_two_entries_get_one_uuid() {
    let other = "0b7f3c52-6a0e-4b7e-9d6f-2f1f0a3a9c11";
    let text = minimal(&format!(
        "[{UUID}]\nmap_uuid = '{other}'\n[11111111-3498-11ed-a50d-919b4b1a5ec0]\nmap_uuid = '{other}'"
    ));
    assert_problem(&text, "10 [11111111-3498-11ed-a50d-919b4b1a5ec0] map_uuid", "line 8");
}

#[test]
fn secrets_come_from_files_and_credentials() {
    let folder = TempDir::new("secrets");
    let token = file(&folder, "token", 0o600, "to-ken\n");
    file(&folder, "password", 0o400, "pass word \r\n");
    let text = format!(
        "sync_token_file = '{}'\n{WHERE}ldap_sync_dn = 'cn=a'\nldap_sync_pw_file = '%d/password'\n",
        token.display()
    );
    let (config, warnings) = load_with(&text, Some(folder.path())).unwrap();
    assert_eq!(config.token.expose(), "to-ken");
    assert!(
        matches!(&config.directory.bind, Bind::Simple { password, .. } if password.expose() == "pass word "),
        "only the line break is cut"
    );
    assert_eq!(warnings, []);
    let error = load(&text).unwrap_err().to_string();
    assert!(
        error.contains("ldap_sync_pw_file") && error.contains("CREDENTIALS_DIRECTORY"),
        "{error}"
    );
}

#[test]
fn secret_files_that_are_not_right_are_refused() {
    let folder = TempDir::new("secret-files");
    let cases = [
        (file(&folder, "open", 0o644, "t"), "mode 0644"),
        (file(&folder, "writable", 0o602, "t"), "mode 0602"),
        (file(&folder, "empty", 0o600, "\n"), "no token"),
        (file(&folder, "lines", 0o600, "a\nb\n"), "white space"),
        (file(&folder, "printed", 0o600, "token: eyJhbGci\n"), "begins with the word token"),
        (file(&folder, "binary", 0o600, [0xff, 0xfe]), "cannot be read"),
        (file(&folder, "large", 0o600, "x".repeat(65 * 1024)), "larger than 65536 bytes"),
        (folder.path().join("missing"), "cannot be read"),
        (folder.path().to_owned(), "directory"),
    ];
    for (path, message) in cases {
        let text = format!("{BIND}{WHERE}sync_token_file = '{}'\n", path.display());
        assert_problem(&text, "6 sync_token_file", message);
    }
    let password = file(&folder, "no-password", 0o600, "\n");
    assert_problem(
        &format!(
            "{TOKEN}{WHERE}ldap_sync_dn = 'cn=a'\nldap_sync_pw_file = '{}'\n",
            password.display()
        ),
        "6 ldap_sync_pw_file",
        "empty",
    );
    assert_problem(
        &format!("{TOKEN}{WHERE}ldap_sync_dn = 'cn=a'\nldap_sync_pw = ''\n"),
        "6 ldap_sync_pw",
        "empty",
    );
    assert_problem(
        &minimal("sync_token_file = '/x'"),
        "7 sync_token_file",
        "sync_token is set as well: keep one",
    );
    assert_problem(
        &minimal("ldap_sync_pw_file = '/x'"),
        "7 ldap_sync_pw_file",
        "ldap_sync_pw is set as well: keep one",
    );
}

#[test]
fn what_should_not_stay_so_is_warned_about() {
    let folder = TempDir::new("warnings");
    let warnings = |mode: u32, text: &str| -> Vec<String> {
        let path = file(&folder, "ldap-sync", mode, text);
        sync::load(&path, &|_| None)
            .unwrap_or_else(|e| panic!("{e}"))
            .1
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(warnings(0o640, &minimal("")), Vec::<String>::new());
    let open = warnings(0o644, &minimal(""));
    assert!(
        open.len() == 1 && open[0].contains("mode 0644") && open[0].contains("ldap-sync: "),
        "{open:?}"
    );
    let token = file(&folder, "token", 0o600, "t");
    let no_secret = format!(
        "sync_token_file = '{}'\nldap_uri = 'ldapi://%2Fx'\nldap_sync_base_dn = 'dc=x'\nldap_filter = '(a=b)'\n",
        token.display()
    );
    assert_eq!(warnings(0o644, &no_secret), Vec::<String>::new());
    for (mode, warned) in [(0o640, false), (0o644, true), (0o642, true)] {
        let key = file(&folder, "key", mode, "k").display().to_string();
        let said = warnings(
            0o600,
            &minimal(&format!("ldap_client_cert = '/c'\nldap_client_key = '{key}'")),
        );
        let words = format!("ldap_client_key: {key} has mode {mode:04o}");
        assert!(
            said.len() == usize::from(warned) && said.iter().all(|line| line.contains(&words)),
            "{mode:o}: {said:?}"
        );
    }
    assert_eq!(
        warnings(0o600, &minimal("ldap_client_cert = '/c'\nldap_client_key = '/nonexistent'")),
        Vec::<String>::new()
    );
    assert!(warnings(0o600, &minimal("ldap_verify_ca = false"))[0].contains("ldap_verify_ca"));
    assert!(
        warnings(0o600, &minimal("group_attr_schema = 'rfc2307'"))[0].contains("group_attr_member")
    );
    assert_eq!(
        warnings(0o600, &minimal("group_attr_schema = 'rfc2307'\ngroup_attr_member = 'member'")),
        Vec::<String>::new()
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = TempDir::new("unreadable");
    for (path, message) in [
        (folder.path().join("missing"), "No such file"),
        (folder.path().to_owned(), "directory"),
        (file(&folder, "binary", 0o600, [0xff]), "UTF-8"),
        (file(&folder, "large", 0o600, vec![b'\n'; 16 * 1024 * 1024 + 1]), "larger than"),
    ] {
        let error = sync::load(&path, &|_| None).unwrap_err().to_string();
        assert!(
            error.starts_with(&path.display().to_string()) && error.contains(message),
            "{error}"
        );
    }
}

/// Wherever a secret may be put by mistake, no error, warning or debug output repeats it.
#[test]
fn no_message_repeats_a_secret() {
    const MARKER: &str = "Marker5ecret";
    let mut texts: Vec<String> = vec![
        // Broken TOML around it.
        format!("sync_token = {MARKER}\n"),
        format!("sync_token = \"{MARKER}\n"),
        format!("sync_token = '{MARKER}\n"),
        format!("sync_token = \"{MARKER}\" {MARKER}\n"),
        format!("sync_token = \"\"\"{MARKER}\n"),
        format!("sync_token = \"{MARKER}\\q\"\n"),
        format!("sync_token = \"{MARKER}\"\nsync_token = \"{MARKER}\"\n"),
        format!("sync_token \"{MARKER}\"\n"),
        format!("sync_token : \"{MARKER}\"\n"),
        format!("sync_token = [\"{MARKER}\"\n"),
        format!("sync_token = {{ a = \"{MARKER}\" \n"),
        format!("\"{MARKER}\"\n"),
        format!("{MARKER}\n"),
        format!("= \"{MARKER}\"\n"),
        format!("[sync_token]\nx = \"{MARKER}\"\n"),
        format!("sync_token = \"{MARKER}\"\n[sync_token]\n"),
    ];
    let values = [
        format!("'{MARKER}'"),
        format!("['{MARKER}']"),
        format!("{{ a = '{MARKER}' }}"),
        format!("'{MARKER} with spaces'"),
        format!("'{MARKER}\\n'"),
    ];
    // A schedule is quoted in its error as far as it is a word of its grammar; no secret is.
    for key in KEYS
        .iter()
        .map(|key| key.name)
        .filter(|name| !name.ends_with("schedule"))
        .chain(["ldap_sync_pass", "token"])
    {
        texts.extend(values.iter().map(|value| format!("{key} = {value}\n")));
        texts.extend(values.iter().map(|value| minimal(&format!("{key} = {value}\n"))));
    }
    for key in ENTRY_KEYS.iter().map(|key| key.name).chain(["map_nome"]) {
        texts.extend(values.iter().map(|value| minimal(&format!("[{UUID}]\n{key} = {value}\n"))));
    }
    let mut refused = 0;
    for text in texts {
        match load(&text) {
            Ok((config, warnings)) => {
                assert!(
                    text.contains("prefix")
                        || text.contains("_attr_")
                        || text.contains("objectclass")
                        || text.contains("ldap_ca")
                        || text.contains("map_name"),
                    "{text}"
                );
                let shown = format!("{:?}{warnings:?}", (&config.token, &config.directory.bind));
                assert!(!shown.contains(MARKER), "{text}\n{shown}");
            }
            Err(error) => {
                refused += 1;
                assert!(
                    !format!("{error}{error:?}").to_lowercase().contains(&MARKER.to_lowercase()),
                    "{text}\n{error}"
                );
            }
        }
    }
    assert!(refused > 200, "{refused}");
    let (config, _) = load(&format!(
        "sync_token = '{MARKER}'\n{WHERE}ldap_sync_dn = 'cn=a'\nldap_sync_pw = '{MARKER}'\n"
    ))
    .unwrap();
    assert!(!format!("{config:?}{config:#?}").contains(MARKER));
}

#[test]
fn the_fingerprint_changes_with_the_content_and_with_nothing_else() {
    let base = fingerprint(&good(&minimal("")));
    assert_eq!(base.len(), 64);
    for same in [
        "schedule = '@daily'",
        "ldap_timeout = 1",
        "kanidm_timeout = 1",
        "max_ber_size = '1 GiB'",
        "upload_max_entries = 5",
        "max_delete_percent = 5",
        "status_bind = '127.0.0.1:1'",
        "ldap_verify_ca = false",
        "ldap_ca = '/x'",
        "person_attr_user_name = 'UID'",
        "person_objectclass = ['PERSON', 'person']",
        "group_objectclass = 'groupOfNames'",
        "sync_account_lock = true",
        "person_password_prefix = ''",
    ] {
        assert_eq!(fingerprint(&good(&minimal(same))), base, "{same}");
    }
    let entry = |line: &str| format!("[{UUID}]\n{line}");
    let mut seen = vec![base.clone()];
    for other in [
        "person_objectclass = 'a'",
        "person_objectclass = ['person', 'a']",
        "person_attr_user_name = 'a'",
        "person_attr_display_name = 'a'",
        "person_attr_legal_name = 'a'",
        "person_attr_gidnumber = 'a'",
        "person_attr_login_shell = 'a'",
        "person_attr_password = 'a'",
        "person_attr_mail = 'a'",
        "person_attr_ssh_public_key = 'a'",
        "person_password_prefix = 'a'",
        "sync_password_as_unix_password = true",
        "sync_account_lock = false",
        "group_objectclass = 'a'",
        "group_attr_name = 'a'",
        "group_attr_description = 'a'",
        "group_attr_member = 'a'",
        "group_attr_gidnumber = 'a'",
        "group_attr_schema = 'rfc2307'",
        "user_private_groups = 'sync'",
        "group_attr_member = ['a', 'b']",
        "invalid_entries = 'fail'",
        "invalid_entries = 'hold'",
        &entry(""),
        &entry("exclude = true"),
        &entry("map_name = 'a'"),
        &entry("map_gidnumber = 2000"),
        &entry("map_uuid = '0b7f3c52-6a0e-4b7e-9d6f-2f1f0a3a9c11'"),
    ] {
        let fingerprint = fingerprint(&good(&minimal(other)));
        assert!(!seen.contains(&fingerprint), "{other}");
        seen.push(fingerprint);
    }
    let with = |base: &str, filter: &str, token: &str, host: &str| {
        fingerprint(&good(&format!(
            "sync_token = '{token}'\n{BIND}ldap_uri = 'ldaps://{host}'\nldap_sync_base_dn = '{base}'\nldap_filter = '{filter}'"
        )))
    };
    assert_eq!(with("DC = X", " ( cn = * ) ", "other", "elsewhere"), base);
    assert_ne!(with("dc=y", "(cn=*)", "t", "host"), base);
    assert_ne!(with("dc=x", "(cn=a)", "t", "host"), base);
    // The format is kept from version to version: another value here makes every installation
    // refresh in full once.
    assert_eq!(base, FINGERPRINT_OF_MINIMAL);
}

const FINGERPRINT_OF_MINIMAL: &str =
    "898aefc7c5d8fa687bc89d81a48c5764b3f485135824610adc454e5c2ffbf650";

#[test]
fn the_example_holds_every_key_with_its_default() {
    let example =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kanidm-ldap-sync"))
            .unwrap();
    for key in KEYS.iter().chain(ENTRY_KEYS) {
        let uncommented = |line: &str| {
            line.trim_start_matches("# ")
                .strip_prefix(key.name)
                .and_then(|rest| rest.strip_prefix(" = "))
                .map(str::to_owned)
        };
        let value = example
            .lines()
            .find_map(uncommented)
            .unwrap_or_else(|| panic!("{} is not in the example", key.name));
        let commented_default = key.default.filter(|_| KEYS.iter().any(|k| k.name == key.name));
        assert!(commented_default.is_none_or(|default| default == value), "{} = {value}", key.name);
    }
    let secrets = TempDir::new("example");
    file(&secrets, "ldap-sync.token", 0o400, "t\n");
    file(&secrets, "ldap-sync.password", 0o400, "p\n");
    let here = example.replace("/etc/kanidm", secrets.path().to_str().unwrap());
    // An administrator may append a key.
    let (config, warnings) = load_with(&format!("{here}ldap_timeout = 31\n"), None)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.directory.timeout, warnings), (Duration::from_secs(31), vec![]));
    // The tables of single entries, uncommented.
    let (_, tables) = here.split_once("# ---- Single entries").unwrap();
    let tables: String = tables
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let (config, _) = load_with(&(here + &tables), None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.mapping.entries.len(), 2);
    // Every commented key is one that could be put in force as it stands.
    for line in example.lines().filter(|line| line.starts_with("# ") && line.contains(" = ")) {
        let setting = line.trim_start_matches("# ");
        let Some(key) = KEYS.iter().find(|key| setting.starts_with(&format!("{} = ", key.name)))
        else {
            continue;
        };
        let partner = match key.name {
            "sync_token" | "ldap_sync_pw" => continue,
            "ldap_starttls" => "",
            "ldap_client_cert" => "ldap_client_key = '/k'\n",
            "ldap_client_key" => "ldap_client_cert = '/c'\n",
            _ => "",
        };
        good(&minimal(&format!("{partner}{setting}")));
    }
}
