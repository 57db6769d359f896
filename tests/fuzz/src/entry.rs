//! What entries' authors can write: a person and a group made of any values, up to what is sent to
//! Kanidm.

use crate::wire::element;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kanidm_ldap_sync::config::sync::{
    GroupMapping, GroupSchema, InvalidEntries, MappingConfig, PersonMapping,
};
use kanidm_ldap_sync::content::rules;
use kanidm_ldap_sync::mapping::Mapper;
use ldap_content_sync::{LdapMessage, Limits, ProtocolOp};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// What a line of the input can name.
const ATTRIBUTES: [&str; 16] = [
    "objectClass",
    "uid",
    "cn",
    "uidNumber",
    "gidNumber",
    "loginShell",
    "userPassword",
    "mail",
    "sshPublicKey",
    "description",
    "member",
    "nsAccountLock",
    "shadowExpire",
    "pwdAccountLockedTime",
    "krbPrincipalExpiration",
    "dn",
];

/// One byte for the policies. Then entries, apart by a blank line; each line of them is a byte that
/// chooses an attribute, and a value.
pub fn run(data: &[u8]) {
    let Some((&choice, lines)) = data.split_first() else { return };
    let config = config(choice);
    let full = choice & 8 != 0;
    let mut mapper = Mapper::new(&config, full);
    let mut received = 0;
    for (number, lines) in (1_u128..).zip(paragraphs(lines)) {
        let bytes = message(&lines);
        let Ok(message) = LdapMessage::decode(&bytes, &Limits::default()) else { continue };
        let ProtocolOp::SearchResultEntry(entry) = &message.op else { panic!("not an entry") };
        mapper.entry(Uuid::from_u128(number), entry);
        received += 1;
    }
    let _ = mapper.questions();
    let content = mapper.finish();
    assert_eq!(
        content.changes.records().len() + content.held.len() + content.skipped.len(),
        received,
        "no entry is lost"
    );
    assert!(content.held.iter().all(|held| !held.problems.is_empty()));
    for record in content.changes.records() {
        let entry: Value = serde_json::from_slice(&content.changes.json(record)).unwrap();
        sound(&entry, &content.changes.external_id(record));
    }
}

/// What Kanidm would refuse is not sent: one bad value would fail the request of everyone.
fn sound(entry: &Value, dn: &str) {
    assert_eq!(entry["externalId"], dn);
    assert_eq!(rules::name(entry["name"].as_str().unwrap()), Ok(()));
    let gidnumber = entry["gidnumber"].as_u64();
    if let Some(number) = gidnumber {
        assert_eq!(rules::gidnumber_range(u32::try_from(number).unwrap()), Ok(()));
    }
    assert!(
        gidnumber.is_some()
            || (entry["loginshell"].is_null() && entry["unix_password_import"].is_null())
    );
    for mail in entry["mail"].as_array().into_iter().flatten() {
        assert_eq!(rules::mail(mail["value"].as_str().unwrap()), Ok(()));
    }
    for text in ["displayname", "description", "legalname"] {
        assert!(entry[text].as_str().is_none_or(|text| rules::text(text).is_ok()));
    }
    for list in ["mail", "ssh_publickey", "member"] {
        assert!(
            entry[list].is_null() || entry[list].as_array().is_some_and(|list| !list.is_empty())
        );
    }
}

/// The bytes of an entry as a server sends it.
fn message(lines: &[(&str, &[u8])]) -> Vec<u8> {
    let dn = lines
        .iter()
        .find(|(name, _)| *name == "dn")
        .map_or(&b"uid=x,dc=example"[..], |(_, value)| value);
    let mut attributes = Vec::new();
    for name in ATTRIBUTES {
        let values: Vec<u8> = lines
            .iter()
            .filter(|(other, _)| *other == name)
            .flat_map(|(_, value)| element(0x04, value))
            .collect();
        if name != "dn" && !values.is_empty() {
            attributes.extend(element(
                0x30,
                &[element(0x04, name.as_bytes()), element(0x31, &values)].concat(),
            ));
        }
    }
    let entry = [element(0x04, dn), element(0x30, &attributes)].concat();
    element(0x30, &[element(0x02, &[1]), element(0x64, &entry)].concat())
}

fn paragraphs(text: &[u8]) -> Vec<Vec<(&'static str, &[u8])>> {
    let mut paragraphs = vec![Vec::new()];
    for line in text.split(|byte| *byte == b'\n') {
        match (line.split_first(), paragraphs.last_mut()) {
            (Some((attribute, value)), Some(last)) => {
                last.push((ATTRIBUTES[usize::from(*attribute) % ATTRIBUTES.len()], value))
            }
            _ => paragraphs.push(Vec::new()),
        }
    }
    paragraphs
}

/// The defaults, with other policies.
fn config(choice: u8) -> MappingConfig {
    let rfc2307 = choice & 4 != 0;
    MappingConfig {
        person: PersonMapping {
            object_classes: vec!["person".to_owned()],
            user_name: "uid".to_owned(),
            display_name: "cn".to_owned(),
            legal_name: (choice & 16 != 0).then(|| "cn".to_owned()),
            gidnumber: "uidnumber".to_owned(),
            login_shell: "loginshell".to_owned(),
            password: "userpassword".to_owned(),
            mail: "mail".to_owned(),
            ssh_public_key: "sshpublickey".to_owned(),
            totp: (choice & 64 != 0).then(|| "member".to_owned()),
            password_prefix: (choice & 32 != 0).then(|| "{CRYPT}".to_owned()),
            password_as_unix: choice & 64 != 0,
            account_lock: choice & 128 == 0,
        },
        group: GroupMapping {
            object_classes: vec!["groupofnames".to_owned(), "posixgroup".to_owned()],
            name: "cn".to_owned(),
            description: "description".to_owned(),
            members: vec!["member".to_owned(), "uniquemember".to_owned()],
            gidnumber: "gidnumber".to_owned(),
            schema: if rfc2307 { GroupSchema::Rfc2307 } else { GroupSchema::Rfc2307Bis },
            send_user_private: rfc2307,
        },
        entries: HashMap::new(),
        invalid_entries: [
            InvalidEntries::Hold,
            InvalidEntries::DropValue,
            InvalidEntries::Fail,
            InvalidEntries::Hold,
        ][usize::from(choice & 3)],
    }
}

/// A record of LDIF (RFC 2849, unfolded) as the input has it.
pub fn from_ldif(record: &str) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in record.lines().filter_map(|line| line.split_once(':')) {
        let Some(attribute) = ATTRIBUTES.iter().position(|other| other.eq_ignore_ascii_case(name))
        else {
            continue;
        };
        let value = match value.strip_prefix(':') {
            Some(base64) => STANDARD.decode(base64.trim()).unwrap(),
            None => value.trim_start().as_bytes().to_vec(),
        };
        lines.push([&[b'@' + attribute as u8], &value[..]].concat());
    }
    lines.join(&b'\n')
}
