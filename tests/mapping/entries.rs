//! One entry at a time: what becomes of it under every rule and policy.

use kanidm_ldap_sync::config::sync::{EntryConfig, InvalidEntries, MappingConfig};
use kanidm_ldap_sync::content::rules::password;
use kanidm_ldap_sync::mapping::{Content, MAX_PROBLEMS, MAX_VALUES, Mapper, SkipReason};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::samples::*;

const SSHA: &str = "{SSHA}sLRx2RD53fUcGsJIySAwPUKAJAGpm4TW1v7ZIg==";
const KEY_A: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMfbnJ0VkQyXo2WdFYXuzDNQq3XFQqqvDVk3rLFJ0QXl";
const KEY_B: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

fn policy(invalid_entries: InvalidEntries) -> MappingConfig {
    MappingConfig { invalid_entries, ..config() }
}

#[test]
fn a_person_with_everything() {
    let mut cfg = config();
    cfg.person.legal_name = Some("displayName".to_string());
    cfg.person.password_as_unix = true;
    let entry = person(7, "Alice")
        .with("uidNumber", "20001")
        .with("loginShell", "/bin/bash")
        .with("userPassword", SSHA)
        .with("mail", "alice@example.com")
        .with("mail", "Alice@Example.NET")
        .with("sshPublicKey", format!("{KEY_A} alice@host"))
        .with("displayname", "Alice Liddell")
        .with("pwdEndTime", "20301231235959Z")
        .with("pwdStartTime", "20200101000000Z");
    assert_eq!(
        only(&map(&cfg, &[entry])),
        json!({
            "externalId": "uid=Alice,ou=people,dc=example,dc=com",
            "schemas": [
                "urn:ietf:params:scim:schemas:kanidm:sync:1:account",
                "urn:ietf:params:scim:schemas:kanidm:sync:1:person",
                "urn:ietf:params:scim:schemas:kanidm:sync:1:posixaccount",
            ],
            "id": "00000000-0000-0000-0000-000000000007",
            "name": "alice",
            "displayname": "Person Alice",
            "legalname": "Alice Liddell",
            "gidnumber": 20001,
            "loginshell": "/bin/bash",
            "password_import": SSHA,
            "unix_password_import": SSHA,
            "mail": [{"primary": true, "value": "alice@example.com"}, {"value": "Alice@Example.NET"}],
            "ssh_publickey": [{"label": "ed25519-2W7PCpfIdXproKLq", "value": format!("{KEY_A} alice@host")}],
            "account_valid_from": "2020-01-01T00:00:00Z",
            "account_expire": "2030-12-31T23:59:59Z",
        })
    );
}

#[test]
fn a_person_with_what_is_required_only() {
    assert_eq!(
        only(&map(&config(), &[person(7, "bob")])),
        json!({
            "externalId": "uid=bob,ou=people,dc=example,dc=com",
            "schemas": ["urn:ietf:params:scim:schemas:kanidm:sync:1:account", "urn:ietf:params:scim:schemas:kanidm:sync:1:person"],
            "id": "00000000-0000-0000-0000-000000000007",
            "name": "bob",
            "displayname": "Person bob",
        })
    );
}

#[test]
fn shell_and_unix_password_need_a_number() {
    let mut cfg = config();
    cfg.person.password_as_unix = true;
    let sent = only(&map(
        &cfg,
        &[person(1, "bob").with("loginShell", "/bin/sh").with("userPassword", SSHA)],
    ));
    assert_eq!(sent["password_import"], SSHA);
    assert_eq!(
        (&sent["loginshell"], &sent["unix_password_import"], &sent["gidnumber"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    // A shell that is not sent cannot be wrong.
    assert_eq!(map(&cfg, &[person(1, "bob").with("loginShell", "/bin/sh\n")]).persons, 1);
}

#[test]
fn attributes_match_without_regard_to_case_and_options_make_another() {
    let entry = TestEntry::new(1, "uid=bob,dc=x")
        .with("OBJECTCLASS", "PERSON")
        .with("cn;lang-de", "Herr Bob")
        .with("UID", "bob")
        .with("Cn", "Mr Bob")
        .with("CN;lang-fr", "M. Bob")
        .with("mail;x-old", "old@example.com");
    let sent = only(&map(&config(), &[entry]));
    assert_eq!((&sent["displayname"], &sent["mail"]), (&json!("Mr Bob"), &Value::Null));
}

#[test]
fn an_attribute_with_options_is_mapped_where_it_is_configured() {
    let mut cfg = config();
    cfg.person.display_name = "cn;lang-de".to_string();
    assert_eq!(
        only(&map(&cfg, &[person(1, "bob").with("cn;LANG-DE", "Herr Bob")]))["displayname"],
        "Herr Bob"
    );
}

#[test]
fn the_first_value_counts_and_blank_ones_are_none() {
    let entry = person(1, "x")
        .set("uid", " ")
        .with("uid", "bob")
        .with("uid", "robert")
        .set("cn", "")
        .with("cn", "First")
        .with("cn", "Second");
    let sent = only(&map(
        &config(),
        &[entry.with("mail", "\t ").with("userPassword", "").with("sshPublicKey", "\n")],
    ));
    assert_eq!((&sent["name"], &sent["displayname"]), (&json!("bob"), &json!("First")));
    for absent in ["mail", "password_import", "ssh_publickey"] {
        assert_eq!(sent[absent], Value::Null, "{absent}");
    }
}

#[test]
fn one_ldap_attribute_may_fill_several_fields() {
    let mut cfg = config();
    cfg.person.display_name = "UID".to_string();
    let sent = only(&map(&cfg, &[person(1, "bob")]));
    assert_eq!((&sent["name"], &sent["displayname"]), (&json!("bob"), &json!("bob")));
    let requested = Mapper::attributes(&cfg);
    assert_eq!(requested.iter().filter(|name| name.eq_ignore_ascii_case("uid")).count(), 1);
}

#[test]
fn requested_attributes_are_the_mapped_ones() {
    let mut requested = Mapper::attributes(&config());
    requested.sort();
    let expected = [
        "cn",
        "description",
        "gidnumber",
        "krbPrincipalExpiration",
        "loginshell",
        "mail",
        "member",
        "nsAccountLock",
        "objectClass",
        "pwdAccountLockedTime",
        "pwdEndTime",
        "pwdStartTime",
        "sambaAcctFlags",
        "shadowExpire",
        "sshpublickey",
        "uid",
        "uidnumber",
        "userpassword",
    ];
    assert_eq!(requested, expected);
    let mut cfg = config();
    cfg.person.account_lock = false;
    cfg.person.legal_name = Some("displayName".to_string());
    assert!(!Mapper::attributes(&cfg).contains(&"nsAccountLock".to_string()));
    assert!(Mapper::attributes(&cfg).contains(&"displayName".to_string()));
}

#[test]
fn any_of_several_object_classes_will_do() {
    let mut cfg = config();
    cfg.person.object_classes = vec!["inetOrgPerson".to_string(), "posixAccount".to_string()];
    let content = map(
        &cfg,
        &[
            person(1, "a"),
            person(2, "b").with("objectClass", "POSIXACCOUNT"),
            person(3, "c").with("objectClass", "groupOfNames").with("objectClass", "inetorgperson"),
            TestEntry::new(4, "ou=people,dc=example,dc=com")
                .with("objectClass", "organizationalUnit"),
            TestEntry::new(5, "cn=bare,dc=example,dc=com"),
        ],
    );
    assert_eq!(
        sent(&content).iter().map(|entry| entry["name"].clone()).collect::<Vec<_>>(),
        ["b", "c"]
    );
    assert_eq!((content.persons, content.groups), (2, 0));
    assert_eq!(
        content.skipped.iter().map(|skipped| skipped.reason).collect::<Vec<_>>(),
        [SkipReason::NotMapped; 3]
    );
}

#[test]
fn tables_exclude_and_rename_persons_and_groups() {
    let mut cfg = config();
    let table = |id: u128, table: EntryConfig| (Uuid::from_u128(id), table);
    cfg.entries.extend([
        table(1, EntryConfig { exclude: true, ..EntryConfig::default() }),
        table(
            2,
            EntryConfig {
                map_uuid: Some(Uuid::from_u128(0xb)),
                map_name: Some("Robert".to_string()),
                map_gidnumber: Some(30000),
                exclude: false,
            },
        ),
        table(3, EntryConfig { exclude: true, ..EntryConfig::default() }),
        table(
            4,
            EntryConfig {
                map_uuid: Some(Uuid::from_u128(0xd)),
                map_name: Some("Crew".to_string()),
                map_gidnumber: Some(30001),
                exclude: false,
            },
        ),
    ]);
    let content = map(
        &cfg,
        &[
            person(1, "alice"),
            person(2, "bob").with("uidNumber", "99"),
            group(3, "old"),
            group(4, "team")
                .with("member", "uid=bob,ou=people,dc=example,dc=com")
                .with("member", "uid=alice,ou=people,dc=example,dc=com"),
        ],
    );
    let bob = named(&content, "robert");
    assert_eq!((&bob["id"], &bob["gidnumber"]), (&json!(Uuid::from_u128(0xb)), &json!(30000)));
    let crew = named(&content, "crew");
    assert_eq!((&crew["id"], &crew["gidnumber"]), (&json!(Uuid::from_u128(0xd)), &json!(30001)));
    assert_eq!(members(&content, "crew"), ["uid=bob,ou=people,dc=example,dc=com"]);
    assert_eq!(
        content
            .skipped
            .iter()
            .map(|skipped| (skipped.sync_uuid.as_u128(), skipped.reason))
            .collect::<Vec<_>>(),
        [(1, SkipReason::Excluded), (3, SkipReason::Excluded)]
    );
    assert_eq!(content.members_out_of_scope, 1);
}

#[test]
fn a_mapped_name_helps_an_entry_whose_own_is_refused() {
    let cfg =
        with_table(1, EntryConfig { map_name: Some("bob".to_string()), ..EntryConfig::default() });
    assert_eq!(only(&map(&cfg, &[person(1, "1 bob!")]))["name"], "bob");
    assert_eq!(only(&map(&cfg, &[person(1, "x").without("uid")]))["name"], "bob");
    let cfg = with_table(
        1,
        EntryConfig {
            map_name: Some("b b".to_string()),
            map_gidnumber: Some(99),
            ..EntryConfig::default()
        },
    );
    let problems = problems(&map(&cfg, &[person(1, "bob")]));
    assert_eq!(
        problems.iter().map(|(attribute, _)| attribute.as_str()).collect::<Vec<_>>(),
        ["map_name", "map_gidnumber"]
    );
}

/// Attribute, a value that breaks a rule, a word of the rule, and whether the entry can do without.
const BROKEN: &[(&str, &[u8], &str, bool)] = &[
    ("uid", b"1abc", "begin with a letter", false),
    ("uid", b"a@b", "begin with a letter", false),
    ("uid", b"root", "reserved", false),
    ("uid", b"abcdefabcdefabcdefabcdefabcdefab", "UUID", false),
    ("uid", b"\xff", "UTF-8", false),
    ("uid", b" ", "missing", false),
    ("cn", b"two\0lines", "control", false),
    ("cn", b"\xff", "UTF-8", false),
    ("cn", b"", "missing", false),
    ("uidNumber", b"999", "1000-60000", true),
    ("uidNumber", b"65534", "1000-60000", true),
    ("uidNumber", b"many", "decimal", true),
    ("mail", b"someone at home", "e-mail", true),
    ("mail", b"zo\xc3\xab@example.com", "ASCII", true),
    ("mail", b"a @example.com", "without spaces", true),
    ("mail", b"\xff", "UTF-8", true),
    ("userPassword", b"marker-clear-text", "scheme", true),
    ("userPassword", b"{SASL}marker@REALM", "SASL", true),
    ("userPassword", b"{CRYPT}marker", "CRYPT", true),
    ("userPassword", b"\xff", "UTF-8", true),
    (
        "sshPublicKey",
        b"no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
        "options",
        true,
    ),
    ("sshPublicKey", b"garbage", "OpenSSH", true),
    ("sshPublicKey", b"\xff", "UTF-8", true),
    ("loginShell", b"/bin/\x1bsh", "control", true),
    ("nsAccountLock", b"perhaps", "TRUE or FALSE", false),
    ("shadowExpire", b"soon", "days", false),
    ("pwdEndTime", b"soon", "GeneralizedTime", false),
    ("pwdStartTime", b"soon", "GeneralizedTime", false),
    ("krbPrincipalExpiration", b"soon", "GeneralizedTime", false),
    ("pwdAccountLockedTime", b"soon", "GeneralizedTime", false),
    ("sambaAcctFlags", b"U", "in brackets", false),
];

fn broken(attribute: &str, value: &[u8]) -> [TestEntry; 3] {
    let number = |entry: TestEntry| {
        entry.with("uidNumber", "20000").with("loginShell", "/bin/sh").set(attribute, value)
    };
    [person(1, "good"), number(person(2, "bad")), person(3, "fine")]
}

#[test]
fn one_broken_value_holds_its_entry_and_no_other() {
    for cfg in [policy(InvalidEntries::Hold), policy(InvalidEntries::Fail)] {
        for (attribute, value, rule, _) in BROKEN {
            let content = map(&cfg, &broken(attribute, value));
            assert_eq!(sent(&content).len(), 2, "{attribute}: {rule}");
            let problems = problems(&content);
            assert!(
                problems
                    .iter()
                    .any(|(at, text)| at.eq_ignore_ascii_case(attribute) && text.contains(rule)),
                "{attribute}: {problems:?}"
            );
            assert_eq!(
                (content.held[0].sync_uuid, content.held[0].dn.as_str()),
                (Uuid::from_u128(2), "uid=bad,ou=people,dc=example,dc=com")
            );
        }
    }
}

#[test]
fn drop_value_sends_the_entry_without_what_is_optional() {
    for (attribute, value, rule, optional) in BROKEN {
        let content = map(&policy(InvalidEntries::DropValue), &broken(attribute, value));
        assert_eq!(sent(&content).len(), if *optional { 3 } else { 2 }, "{attribute}: {rule}");
        assert_eq!(content.held.len(), usize::from(!optional));
        let dropped: Vec<_> = content
            .dropped
            .iter()
            .map(|dropped| (dropped.uuid.as_u128(), dropped.attribute.to_ascii_lowercase()))
            .collect();
        let expected =
            optional.then(|| (2, attribute.to_ascii_lowercase())).into_iter().collect::<Vec<_>>();
        assert_eq!(dropped, expected, "{attribute}: {rule}");
    }
}

#[test]
fn dropping_takes_the_offending_value_and_what_depends_on_it() {
    let mut cfg = policy(InvalidEntries::DropValue);
    cfg.person.password_as_unix = true;
    let entry = person(1, "bob")
        .with("mail", "bad mail")
        .with("mail", "good@example.com")
        .with("sshPublicKey", "garbage")
        .with("sshPublicKey", KEY_B)
        .with("uidNumber", "5")
        .with("loginShell", "/bin/sh")
        .with("userPassword", SSHA);
    let sent = only(&map(&cfg, &[entry]));
    assert_eq!(sent["mail"], json!([{"primary": true, "value": "good@example.com"}]));
    assert_eq!(sent["ssh_publickey"].as_array().unwrap().len(), 1);
    assert_eq!(sent["password_import"], SSHA);
    assert_eq!(
        (&sent["gidnumber"], &sent["loginshell"], &sent["unix_password_import"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(sent["schemas"].as_array().unwrap().len(), 2);
}

#[test]
fn all_problems_of_an_entry_are_named_at_once_and_no_value_is() {
    let mut entry = person(1, "marker!").set("cn", "marker\0").with("nsAccountLock", "marker");
    for (attribute, value) in [
        ("mail", "marker mail"),
        ("userPassword", "marker-password"),
        ("sshPublicKey", "marker key"),
        ("uidNumber", "marker9"),
    ] {
        entry = entry.with(attribute, value);
    }
    for cfg in [policy(InvalidEntries::Hold), policy(InvalidEntries::DropValue)] {
        let content = map(&cfg, std::slice::from_ref(&entry));
        let problems = problems(&content);
        for attribute in
            ["uid", "cn", "nsAccountLock", "mail", "userpassword", "sshpublickey", "uidnumber"]
        {
            assert!(problems.iter().any(|(at, _)| at == attribute), "{attribute}: {problems:?}");
        }
        assert!(problems.iter().all(|(_, rule)| !rule.contains("marker")), "{problems:?}");
        assert!(content.dropped.is_empty());
    }
}

#[test]
fn broken_groups() {
    let check = |entry: TestEntry, attribute: &str, optional: bool| {
        let held = map(&config(), std::slice::from_ref(&entry));
        assert_eq!(
            problems(&held).iter().map(|(at, _)| at.as_str()).collect::<Vec<_>>(),
            [attribute]
        );
        let dropped = map(&policy(InvalidEntries::DropValue), &[entry]);
        assert_eq!(
            (dropped.groups, dropped.dropped.len()),
            (usize::from(optional), usize::from(optional)),
            "{attribute}"
        );
    };
    check(group(1, "no good"), "cn", false);
    check(group(1, "x").without("cn"), "cn", false);
    check(group(1, "x").with("description", "two\0lines"), "description", true);
    check(group(1, "x").with("gidNumber", "0"), "gidnumber", true);
    let mut control = group(1, "x");
    control.dn = "cn=a\tb,dc=x".to_string();
    check(control, "dn", false);
}

#[test]
fn passwords_take_a_prefix_and_the_first_hash_kanidm_knows() {
    let mut cfg = config();
    let several = person(1, "bob")
        .with("userPassword", "{SASL}bob@REALM")
        .with("userPassword", SSHA)
        .with("userPassword", "{CRYPT}$6$a$b");
    assert_eq!(only(&map(&cfg, std::slice::from_ref(&several)))["password_import"], SSHA);
    cfg.person.password_prefix = Some("ipaNTHash: ".to_string());
    let sent = only(&map(&cfg, &[person(1, "bob").with("userPassword", "iEb36u6PsRetBr3YMLdYbA")]));
    assert_eq!(sent["password_import"], "ipaNTHash: iEb36u6PsRetBr3YMLdYbA");
    assert_eq!(problems(&map(&cfg, &[several])).len(), 1);
}

#[test]
fn ssh_key_labels_stay_when_another_key_goes() {
    let label = |content: &Content, key: &str| {
        let keys = only(content)["ssh_publickey"].as_array().unwrap().clone();
        keys.iter()
            .find(|entry| entry["value"].as_str().unwrap().starts_with(key))
            .map(|entry| entry["label"].clone())
    };
    let both = map(
        &config(),
        &[person(1, "bob")
            .with("sshPublicKey", KEY_A)
            .with("sshPublicKey", format!("  {KEY_B} b@host\n"))],
    );
    let one = map(&config(), &[person(1, "bob").with("sshPublicKey", KEY_B)]);
    assert_eq!(label(&both, KEY_B), label(&one, KEY_B));
    assert_ne!(label(&both, KEY_A), label(&both, KEY_B));
    assert_eq!(label(&one, KEY_A), None);
}

#[test]
fn a_value_of_several_lines_is_several_keys_and_a_key_twice_is_one() {
    let entry = person(1, "bob")
        .with("sshPublicKey", format!("{KEY_A} first\r\n\n{KEY_B}\n"))
        .with("sshPublicKey", format!("{KEY_A} again"));
    let sent = only(&map(&config(), &[entry]));
    let values: Vec<_> =
        sent["ssh_publickey"].as_array().unwrap().iter().map(|key| key["value"].clone()).collect();
    assert_eq!(values, [format!("{KEY_A} first"), KEY_B.to_string()]);
}

#[test]
fn a_mail_address_twice_is_one() {
    let entry = person(1, "bob")
        .with("mail", "b@example.com")
        .with("mail", "a@example.com")
        .with("mail", "b@example.com");
    let sent = only(&map(&config(), &[entry]));
    assert_eq!(
        sent["mail"],
        json!([{"primary": true, "value": "b@example.com"}, {"value": "a@example.com"}])
    );
}

/// How many values an entry has is up to its author: so must not be how many problems are kept and
/// shown.
#[test]
fn very_many_bad_values_are_named_as_a_few() {
    let table = [
        // (attribute, value, problems beside those of the attribute)
        ("mail", "@", 0),
        ("sshPublicKey", "no key", 0),
        ("shadowExpire", "soon", 1),
    ];
    for (attribute, value, others) in table {
        let entry = (0..MAX_VALUES)
            .fold(person(1, "bob"), |entry, n| entry.with(attribute, format!("{value}{n}")));
        let content = map(&config(), std::slice::from_ref(&entry));
        assert_eq!(problems(&content).len(), MAX_PROBLEMS + others, "{attribute}");
        let content = map(&policy(InvalidEntries::DropValue), &[entry]);
        let named = content.dropped.len()
            + content.held.iter().map(|held| held.problems.len()).sum::<usize>();
        assert_eq!(named, MAX_PROBLEMS + others, "{attribute}");
    }
}

/// So must not be what comparing them with those of others takes.
#[test]
fn of_very_many_values_none_is_sent() {
    let mails = |count: usize| {
        (0..count)
            .fold(person(1, "bob"), |entry, n| entry.with("mail", format!("a{n}@example.com")))
    };
    // Each line of a value is a key.
    let keys = |count: usize| {
        person(1, "bob")
            .with("sshPublicKey", KEY_A)
            .with("sshPublicKey", vec![KEY_A; count - 1].join("\n"))
    };
    for (attribute, field, with) in [
        ("mail", "mail", &mails as &dyn Fn(usize) -> TestEntry),
        ("sshpublickey", "ssh_publickey", &keys),
    ] {
        assert!(only(&map(&config(), &[with(MAX_VALUES)]))[field].is_array(), "{attribute}");
        let content = map(&config(), &[with(MAX_VALUES + 1)]);
        assert_eq!(
            problems(&content),
            [(attribute.to_string(), "must have at most 1000 values, and has 1001".to_string())]
        );
        let content = map(&policy(InvalidEntries::DropValue), &[with(MAX_VALUES + 1)]);
        assert_eq!(
            (&only(&content)[field], content.dropped.len()),
            (&Value::Null, 1),
            "{attribute}"
        );
    }
}

#[test]
fn the_earliest_end_of_an_account_counts() {
    let expire = |entry: TestEntry| only(&map(&config(), &[entry]))["account_expire"].clone();
    let bob = person(1, "bob")
        .with("shadowExpire", "19723")
        .with("pwdEndTime", "20230601000000Z")
        .with("krbPrincipalExpiration", "20250101000000Z");
    assert_eq!(expire(bob.clone()), "2023-06-01T00:00:00Z");
    assert_eq!(expire(bob.clone().without("pwdEndTime")), "2024-01-01T00:00:00Z");
    assert_eq!(expire(bob.clone().with("nsaccountlock", "TRUE")), "1970-01-01T00:00:00Z");
    assert_eq!(expire(bob.with("pwdAccountLockedTime", "000001010000Z")), "1970-01-01T00:00:00Z");
    let open = person(1, "bob")
        .with("nsAccountLock", "false")
        .with("shadowExpire", "-1")
        .with("shadowExpire", "")
        .with("pwdAccountLockedTime", "20240101000000Z");
    assert_eq!(expire(open), Value::Null);
}

#[test]
fn locks_are_not_read_where_they_are_not_wanted() {
    let mut cfg = config();
    cfg.person.account_lock = false;
    let sent = only(&map(
        &cfg,
        &[person(1, "bob").with("nsAccountLock", "true").with("shadowExpire", "soon")],
    ));
    assert_eq!(sent["account_expire"], Value::Null);
}

#[test]
fn a_locked_account_that_is_held_says_so() {
    let says = |entry: TestEntry| {
        problems(&map(&config(), &[entry]))
            .iter()
            .any(|(_, rule)| rule.contains("Kanidm keeps the state it has"))
    };
    let held = person(1, "bob").with("mail", "bad mail");
    assert!(!says(held.clone()));
    assert!(!says(held.clone().with("nsAccountLock", "false")));
    assert!(says(held.with("pwdStartTime", "20240101000000Z")));
    assert!(says(person(1, "1bob").with("pwdEndTime", "90000101000000Z")));
    assert!(says(person(1, "bob").with("nsAccountLock", "perhaps")));
    assert!(says(TestEntry {
        dn: "cn=\u{1}".to_owned(),
        ..person(1, "bob").with("nsAccountLock", "true")
    }));
    // The upload closes these.
    for (ended, at) in [
        (("nsAccountLock", "true"), "1970-01-01T00:00:00Z"),
        (("pwdEndTime", "20240101000000Z"), "2024-01-01T00:00:00Z"),
    ] {
        let entry = person(1, "1bob").with(ended.0, ended.1);
        assert!(!says(entry.clone()));
        let ended = map(&config(), &[entry]).held[0].ended.clone().unwrap();
        assert_eq!(
            (ended.account_expire.as_str(), ended.displayname.as_str()),
            (at, "Person 1bob")
        );
    }
    assert_eq!(map(&config(), &[person(1, "1bob")]).held[0].ended, None);
}

/// Values that need no complaint.
#[test]
fn what_can_be_put_right_is_put_right() {
    let key = format!("# laptop\n\n{KEY_B}\n  # end\n");
    let entry = person(1, "bob")
        .set("cn", "Bob\n Builder\t")
        .with("mail", " bob@example.com ")
        .with("mail", "bob@example.com")
        .with("userPassword", format!("{SSHA} \n"))
        .with("sshPublicKey", key);
    let content = map(&config(), &[entry]);
    let sent = only(&content);
    assert!(content.dropped.is_empty());
    assert_eq!(
        (&sent["displayname"], &sent["password_import"]),
        (&json!("Bob Builder"), &json!(SSHA))
    );
    assert_eq!(sent["mail"], json!([{"primary": true, "value": "bob@example.com"}]));
    assert_eq!(sent["ssh_publickey"].as_array().unwrap().len(), 1);
}

/// Each way to write a lock into the password, and of two values one that is locked.
#[test]
fn a_mark_in_the_password_locks_the_account() {
    let hash = SSHA.strip_prefix("{SSHA}").unwrap();
    for locked in [
        format!("!{SSHA}"),
        format!("{{SSHA}}!{hash}"),
        "{CRYPT}!$6$s$h".into(),
        "{CRYPT}*".into(),
        "!!".into(),
        "*".into(),
    ] {
        let entry = person(1, "bob").with("uidNumber", "20000").with("userPassword", &locked);
        let content = map(&config(), std::slice::from_ref(&entry));
        let sent = only(&content);
        assert_eq!(sent["account_expire"], "1970-01-01T00:00:00Z", "{locked}");
        assert!(content.dropped.is_empty() && sent.get("password_import").is_none(), "{locked}");
        assert_eq!(
            only(&map(&config(), &[entry.clone().with("userPassword", SSHA)]))["account_expire"],
            "1970-01-01T00:00:00Z"
        );

        let mut cfg = policy(InvalidEntries::DropValue);
        cfg.person.account_lock = false;
        let content = map(&cfg, &[entry]);
        assert_eq!(
            (only(&content).get("account_expire"), content.dropped.len()),
            (None, 1),
            "{locked}"
        );
    }
    let mut cfg = config();
    cfg.person.password_prefix = Some("{CRYPT}".to_owned());
    let sent = only(&map(&cfg, &[person(1, "bob").with("userPassword", "!$6$s$h")]));
    assert_eq!(sent["account_expire"], "1970-01-01T00:00:00Z");
}

#[test]
fn a_unix_password_that_is_gone_is_replaced() {
    let mut cfg = policy(InvalidEntries::DropValue);
    let unusable = password::unusable_hash().unwrap();
    let unix = |cfg: &MappingConfig, entry: &TestEntry| {
        let mut mapper = Mapper::new(cfg, true).with_unusable_hash(Some(&unusable));
        feed(&mut mapper, entry);
        let content = mapper.finish();
        only(&content).get("unix_password_import").map(|hash| hash.as_str().unwrap().to_owned())
    };
    let bob = person(1, "bob").with("uidNumber", "20000");
    assert_eq!(unix(&cfg, &bob), None);
    cfg.person.password_as_unix = true;
    assert_eq!(unix(&cfg, &bob).as_ref(), Some(&unusable));
    assert_eq!(unix(&cfg, &bob.clone().with("userPassword", "{SASL}x")).as_ref(), Some(&unusable));
    assert_eq!(unix(&cfg, &bob.clone().with("userPassword", SSHA)).as_deref(), Some(SSHA));
    assert_eq!(unix(&cfg, &person(1, "bob")), None, "nothing without a number");
}

/// The value in the RDN is the name, and another value that comes or goes renames nobody.
#[test]
fn of_several_names_the_one_in_the_rdn_counts() {
    for names in [&["alias", "login"][..], &["login", "alias"], &["login"], &["z", "login", "a"]] {
        let entry = names
            .iter()
            .fold(person(1, "login").without("uid"), |entry, name| entry.with("uid", *name));
        assert_eq!(only(&map(&config(), &[entry]))["name"], "login", "{names:?}");
    }
    let by_cn = |names: &[&str]| {
        names.iter().fold(person(1, "x").without("uid"), |entry, name| entry.with("uid", *name))
    };
    let by_cn = |names| TestEntry { dn: "cn=Some One,dc=x".to_owned(), ..by_cn(names) };
    assert_eq!(only(&map(&config(), &[by_cn(&["first", "second"])]))["name"], "first");
    let group = group(1, "wheel").set("cn", "Administrators").with("cn", "wheel");
    assert_eq!(only(&map(&config(), &[group]))["name"], "wheel");
}

#[test]
fn the_sync_account_itself_is_not_sent() {
    let cfg = config();
    let entry = TestEntry::new(1, "cn=Sync,dc=x").with("objectClass", "person").with("cn", "sync");
    let mut mapper = Mapper::new(&cfg, true).bound_as(Some("CN = sync, DC=x"));
    feed(&mut mapper, &entry);
    let content = mapper.finish();
    assert_eq!((content.skipped[0].reason, content.held.len()), (SkipReason::BindDn, 0));
}

#[test]
fn a_lock_does_not_wait_for_a_bad_mail_address_to_be_mended() {
    for (policy, goes) in [
        (InvalidEntries::Hold, true),
        (InvalidEntries::DropValue, true),
        (InvalidEntries::Fail, false),
    ] {
        let cfg = MappingConfig { invalid_entries: policy, ..config() };
        let locked = person(1, "bob")
            .with("mail", "bad mail")
            .with("userPassword", "{CRYPT}!$6$x")
            .with("nsAccountLock", "TRUE");
        let content = map(&cfg, &[locked]);
        assert_eq!((content.persons == 1, content.held.is_empty()), (goes, goes), "{policy:?}");
        if goes {
            let person = &sent(&content)[0];
            assert_eq!(person["account_expire"], "1970-01-01T00:00:00Z");
            assert!(
                person.get("mail").is_none() && person.get("password_import").is_none(),
                "{person}"
            );
            assert_eq!(
                content.dropped.len(),
                1,
                "the address is named, the locked password is no mistake"
            );
        }
    }
}

#[test]
fn an_end_date_does_not_wait_for_a_bad_mail_address_to_be_mended() {
    // Whoever leaves today must not stay for a mail address of his own making; that the date may
    // lie ahead changes nothing.
    for (attribute, value, end) in [
        ("shadowExpire", "20000", "2024-10-04T00:00:00Z"),
        ("pwdEndTime", "20991231000000Z", "2099-12-31T00:00:00Z"),
        ("krbPrincipalExpiration", "20240101000000Z", "2024-01-01T00:00:00Z"),
    ] {
        let content =
            map(&config(), &[person(1, "bob").with("mail", "bad mail").with(attribute, value)]);
        assert_eq!(
            (only(&content)["account_expire"].clone(), only(&content).get("mail")),
            (end.into(), None),
            "{attribute}"
        );
        assert_eq!((content.held.len(), content.dropped.len()), (0, 1), "{attribute}: it is named");
    }
}

#[test]
fn the_first_of_two_keeps_what_must_be_unique() {
    let alice = person(1, "alice").with("uidNumber", "20000").with("mail", "a@example.com");
    let same_name = TestEntry::new(2, "uid=alice,ou=staff,dc=example,dc=com")
        .with("objectClass", "person")
        .with("uid", "ALICE")
        .with("cn", "A");
    for (second, attribute) in [
        (same_name, "uid"),
        (person(2, "bob").with("uidNumber", "20000"), "uidnumber"),
        (person(2, "bob").with("mail", "b@example.com").with("mail", "a@example.com"), "mail"),
        (
            TestEntry {
                dn: "UID=Alice, OU=People, DC=example, DC=com".to_string(),
                ..person(2, "bob")
            },
            "dn",
        ),
    ] {
        let content = map(&config(), &[alice.clone(), second, person(3, "carol")]);
        assert_eq!(sent(&content).len(), 2, "{attribute}");
        let problems = problems(&content);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].0, attribute);
        assert!(problems[0].1.contains("uid=alice,ou=people,dc=example,dc=com"), "{problems:?}");
        assert_eq!(content.held[0].sync_uuid, Uuid::from_u128(2));
    }
    // Kanidm compares mail addresses exactly.
    assert_eq!(map(&config(), &[alice, person(2, "bob").with("mail", "A@example.com")]).persons, 2);
}

#[test]
fn what_is_held_claims_nothing() {
    let content = map(
        &config(),
        &[person(1, "bob").with("mail", "bad mail").with("uidNumber", "20000"), {
            TestEntry { dn: "uid=bob,ou=staff,dc=x".to_string(), ..person(2, "bob") }
                .with("uidNumber", "20000")
        }],
    );
    assert_eq!(
        (content.persons, content.held.len(), content.held[0].sync_uuid),
        (1, 1, Uuid::from_u128(1))
    );
}

#[test]
fn drop_attribute_drops_a_number_or_mail_that_is_taken() {
    let alice = person(1, "alice").with("uidNumber", "20000").with("mail", "a@example.com");
    let bob = person(2, "bob")
        .with("uidNumber", "20000")
        .with("mail", "a@example.com")
        .with("mail", "b@example.com");
    let content = map(
        &policy(InvalidEntries::DropValue),
        &[alice, bob, group(3, "team").with("gidNumber", "20000").with("member", "cn=x,dc=y")],
    );
    assert_eq!(sent(&content).len(), 3);
    assert_eq!(
        named(&content, "bob")["mail"],
        json!([{"primary": true, "value": "b@example.com"}])
    );
    assert_eq!(
        (&named(&content, "bob")["gidnumber"], &named(&content, "team")["gidnumber"]),
        (&Value::Null, &Value::Null)
    );
    let dropped: Vec<_> = content
        .dropped
        .iter()
        .map(|dropped| (dropped.uuid.as_u128(), dropped.attribute.as_str()))
        .collect();
    assert_eq!(dropped, [(2, "uidnumber"), (2, "mail"), (3, "gidnumber")]);
    let again: Vec<u128> =
        content.contested.iter().map(|entry| entry.sync_uuid.as_u128()).collect();
    assert_eq!(again, [2, 3], "to be read again: the other may give it up");
}

#[test]
fn uuids_that_the_configuration_gives_away_are_known_at_once() {
    let mut cfg = config();
    for (own, mapped) in [(1, Some(2)), (3, Some(3)), (4, Some(5)), (5, Some(6)), (7, None)] {
        let table = EntryConfig { map_uuid: mapped.map(Uuid::from_u128), ..EntryConfig::default() };
        cfg.entries.insert(Uuid::from_u128(own), table);
    }
    let one_by_one = (0..9).map(Uuid::from_u128).filter(|uuid| cfg.is_claimed(*uuid)).collect();
    assert_eq!(cfg.claimed(), one_by_one);
    assert_eq!(cfg.claimed(), [2, 6].map(Uuid::from_u128).into());
}

#[test]
fn two_entries_cannot_have_one_uuid() {
    let cfg =
        with_table(1, EntryConfig { map_uuid: Some(Uuid::from_u128(2)), ..EntryConfig::default() });
    // Whoever comes first, and whether the other one comes at all: the UUID is the one's that the
    // configuration gives it to.
    for entries in [
        vec![person(1, "a"), person(2, "b")],
        vec![person(2, "b"), person(1, "a")],
        vec![person(2, "b")],
    ] {
        let content = map(&cfg, &entries);
        assert_eq!(content.persons, entries.len() - 1);
        assert_eq!(
            (content.held[0].sync_uuid, problems(&content)[0].0.as_str()),
            (Uuid::from_u128(2), "map_uuid")
        );
    }
}

#[test]
fn whoever_has_the_uuid_of_an_entry_that_is_deleted_again_is_not_forgotten_with_it() {
    let [claims, claimed] = [1, 2].map(Uuid::from_u128);
    let cfg = with_table(1, EntryConfig { map_uuid: Some(claimed), ..EntryConfig::default() });
    let received = || map(&cfg, &[person(1, "a"), person(2, "b")]);
    let uuids =
        |content: &Content| content.changes.records().iter().map(|r| r.uuid).collect::<Vec<_>>();

    let mut content = received();
    content.forget(&[claimed], &cfg);
    assert_eq!((uuids(&content), content.held.len()), (vec![claimed], 0));
    let mut content = received();
    content.forget(&[claims], &cfg);
    assert_eq!((uuids(&content), content.held.len()), (vec![], 1));
    // Neither for one that was sent twice.
    let mut content = received();
    let twice = content.held.clone();
    content.hold(twice, &cfg);
    assert_eq!((uuids(&content), content.held.len()), (vec![claimed], 1));
}

#[test]
fn an_entry_that_comes_twice_is_taken_once() {
    let cfg = config();
    let mut mapper = Mapper::new(&cfg, false);
    assert!(!mapper.contains(&Uuid::from_u128(1)));
    feed(&mut mapper, &person(1, "bob"));
    assert!(mapper.contains(&Uuid::from_u128(1)));
    feed(&mut mapper, &person(1, "bob"));
    answer(&cfg, &mut mapper, &person(1, "bob"));
    let content = mapper.finish();
    assert_eq!((content.persons, content.held.len()), (1, 0));
}

#[test]
fn nothing_shows_a_password_in_debug() {
    let content = map(
        &config(),
        &[
            person(1, "bob").with("userPassword", SSHA),
            person(2, "eve").with("userPassword", "marker"),
        ],
    );
    let shown = format!("{content:?}");
    assert!(!shown.contains("sLRx2RD5") && !shown.contains("marker"), "{shown}");
}

/// A limit of which a 64th is what the small attributes take.
const LIMIT: usize = 64 * 200;

fn large() -> String {
    "x".repeat(LIMIT)
}

#[test]
fn what_is_too_large_of_a_person_is_left_out_or_holds_it() {
    let bob = || {
        person(1, "bob")
            .with("uidNumber", "20000")
            .with("nsAccountLock", "false")
            .with("userPassword", SSHA)
    };
    let rule = "bytes exceeds max_ber_size = 12800, so this attribute was not read";
    let check = |entry: TestEntry, attribute: &str, is_sent: bool| {
        let content = map_beyond(LIMIT, &policy(InvalidEntries::DropValue), &[entry]);
        let dropped =
            content.dropped.iter().map(|dropped| (dropped.attribute.clone(), dropped.rule.clone()));
        let held = content
            .held
            .iter()
            .flat_map(|held| &held.problems)
            .map(|problem| (problem.attribute.clone(), problem.rule.clone()));
        let named: Vec<_> = dropped.chain(held).collect();
        assert!(
            named.iter().any(|(at, why)| at == attribute && why.contains(rule)),
            "{attribute}: {named:?}"
        );
        assert_eq!(
            (content.persons, content.held.len()),
            if is_sent { (1, 0) } else { (0, 1) },
            "{attribute}: {named:?}"
        );
        assert!(content.skipped.is_empty());
        content
    };
    for optional in ["mail", "sshpublickey", "loginshell", "uidnumber"] {
        check(bob().set(optional, large()), optional, true);
    }
    // What might lock the account holds it, unless something else locks it.
    for lock in ["shadowExpire", "userpassword"] {
        let grown = bob().without("userPassword").set(lock, large());
        check(grown.clone(), lock, false);
        assert_eq!(
            only(&check(grown.set("nsAccountLock", "true"), lock, true))["account_expire"],
            "1970-01-01T00:00:00Z"
        );
    }
    // Its name to show does not keep an account from its end.
    check(bob().set("cn", large()), "cn", false);
    assert_eq!(
        only(&check(bob().set("cn", large()).set("nsAccountLock", "true"), "cn", true))["displayname"],
        "bob"
    );
    // Neither its name nor its classes say who it is.
    check(bob().with("uid", large()), "uid", false);
    check(bob().with("objectClass", large()), "objectClass", false);
}

#[test]
fn what_was_not_read_is_not_taken_for_hidden() {
    let cfg = policy(InvalidEntries::DropValue);
    let roles = kanidm_ldap_sync::mapping::shown::roles(&cfg);
    let shown = |content: Content, key: &str| {
        let (_, kind, mask) = content.shown().next().unwrap();
        roles.iter().filter(|role| role.kind == kind && role.key == key).any(|role| mask.has(role))
    };
    assert!(!shown(map(&cfg, &[person(1, "bob")]), "person_attr_mail"));
    assert!(shown(
        map_beyond(LIMIT, &cfg, &[person(1, "bob").with("mail", large())]),
        "person_attr_mail"
    ));
    assert!(shown(
        map_beyond(LIMIT, &cfg, &[person(1, "bob").with("objectClass", large())]),
        "sync_account_lock"
    ));
    let group = group(1, "team").with("member", large());
    assert!(shown(map_beyond(LIMIT, &cfg, &[group]), "group_attr_member"));
}

/// Values that an entry's author can make as long as a message. Of none is more kept than of
/// others.
#[test]
fn long_values_are_kept_nowhere() {
    let long = "x".repeat(1 << 20);
    let cfg = MappingConfig {
        person: kanidm_ldap_sync::config::sync::PersonMapping {
            legal_name: Some("sn".into()),
            ..config().person
        },
        ..policy(InvalidEntries::DropValue)
    };
    let key = format!("{KEY_A} {long}");
    for (attribute, value) in [
        ("sn", &long),
        ("loginShell", &long),
        ("userPassword", &format!("{{SSHA}}{long}")),
        ("mail", &format!("{long}@x")),
        ("sshPublicKey", &key),
    ] {
        let content =
            map(&cfg, &[person(1, "bob").with("uidNumber", "20000").with(attribute, value)]);
        assert_eq!((content.persons, content.dropped.len()), (1, 1), "{attribute}");
        assert!(content.changes.byte_len() < 1_000, "{attribute}: {}", content.changes.byte_len());
    }
    // Keys that are as long as a line may be, and more of them than anybody needs.
    let keys = |count: usize| {
        (0..count).fold(person(1, "bob"), |entry, n| {
            entry.with("sshPublicKey", format!("{} {}", another_key(n), &long[..16_000]))
        })
    };
    assert_eq!(only(&map(&cfg, &[keys(60)]))["ssh_publickey"].as_array().map(Vec::len), Some(60));
    let content = map(&cfg, &[keys(70)]);
    assert_eq!(
        (&only(&content)["ssh_publickey"], content.dropped[0].rule.as_str()),
        (&Value::Null, "all keys together must be at most 1048576 bytes")
    );
    let mut far = person(1, "bob");
    far.dn = format!("uid={long}");
    let held = [person(1, "bob").set("cn", &long), person(1, "bob").set("uid", &long), far];
    for entry in held {
        let content = map(&cfg, &[entry]);
        assert!(content.held.len() == 1 && content.changes.is_empty());
        assert!(
            content.held[0].dn.len() < 300
                && content.held[0].problems.iter().all(|problem| problem.rule.len() < 200)
        );
    }
}

/// A key that no other number gives.
fn another_key(number: usize) -> String {
    use base64::Engine as _;
    let number = u32::try_from(number).unwrap().to_be_bytes();
    let blob = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 4], &number].concat();
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))
}
