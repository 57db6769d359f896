//! Directory entries for mapping tests: written as the bytes a server sends, and read with the
//! decoder that reads them in a run.

use std::collections::HashMap;

use kanidm_ldap_sync::config::sync::{
    EntryConfig, GroupMapping, GroupSchema, InvalidEntries, MappingConfig, PersonMapping,
};
use kanidm_ldap_sync::mapping::{Content, Mapper};
use ldap_content_sync::oversized::{OversizedReader, Progress};
use ldap_content_sync::{LdapMessage, Limits, ProtocolOp, SearchResultEntry};
use serde_json::Value;
use uuid::Uuid;

/// An entry to be: DN, and attribute descriptions with their values.
#[derive(Clone, Debug)]
pub struct TestEntry {
    pub uuid: Uuid,
    pub dn: String,
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl TestEntry {
    pub fn new(id: u128, dn: &str) -> Self {
        TestEntry { uuid: Uuid::from_u128(id), dn: dn.to_string(), attributes: Vec::new() }
    }

    /// Adds a value.
    pub fn with(mut self, attribute: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        match self.attributes.iter_mut().find(|(name, _)| name == attribute) {
            Some((_, values)) => values.push(value),
            None => self.attributes.push((attribute.to_string(), vec![value])),
        }
        self
    }

    /// Removes an attribute and adds a value.
    pub fn set(self, attribute: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(attribute).with(attribute, value)
    }

    pub fn without(mut self, attribute: &str) -> Self {
        self.attributes.retain(|(name, _)| name != attribute);
        self
    }

    /// A SearchResultEntry as a server sends it.
    pub fn message(&self) -> Vec<u8> {
        let attributes = self.attributes.iter().flat_map(|(name, values)| {
            let values: Vec<u8> = values.iter().flat_map(|value| tlv(0x04, value)).collect();
            tlv(0x30, &[tlv(0x04, name.as_bytes()), tlv(0x31, &values)].concat())
        });
        let entry =
            [tlv(0x04, self.dn.as_bytes()), tlv(0x30, &attributes.collect::<Vec<u8>>())].concat();
        tlv(0x30, &[tlv(0x02, &[1]), tlv(0x64, &entry)].concat())
    }
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap();
    let header = if length < 0x80 {
        vec![tag, length as u8]
    } else {
        [&[tag, 0x84], &length.to_be_bytes()[..]].concat()
    };
    [header, contents.to_vec()].concat()
}

/// A person with all that is required.
pub fn person(id: u128, name: &str) -> TestEntry {
    TestEntry::new(id, &format!("uid={name},ou=people,dc=example,dc=com"))
        .with("objectClass", "top")
        .with("objectClass", "person")
        .with("uid", name)
        .with("cn", format!("Person {name}"))
}

/// A group with nothing but a name.
pub fn group(id: u128, name: &str) -> TestEntry {
    TestEntry::new(id, &format!("cn={name},ou=groups,dc=example,dc=com"))
        .with("objectClass", "groupOfNames")
        .with("cn", name)
}

/// The configuration that an empty file means.
pub fn config() -> MappingConfig {
    let s = String::from;
    MappingConfig {
        person: PersonMapping {
            object_classes: vec![s("person")],
            user_name: s("uid"),
            display_name: s("cn"),
            legal_name: None,
            gidnumber: s("uidnumber"),
            login_shell: s("loginshell"),
            password: s("userpassword"),
            mail: s("mail"),
            ssh_public_key: s("sshpublickey"),
            totp: None,
            password_prefix: None,
            password_as_unix: false,
            account_lock: true,
        },
        group: GroupMapping {
            object_classes: vec![s("groupofnames"), s("posixgroup")],
            name: s("cn"),
            description: s("description"),
            members: vec![s("member")],
            gidnumber: s("gidnumber"),
            schema: GroupSchema::Rfc2307Bis,
            send_user_private: false,
        },
        entries: HashMap::new(),
        invalid_entries: InvalidEntries::Hold,
    }
}

/// A configuration with `memberUid` groups.
pub fn rfc2307() -> MappingConfig {
    let mut cfg = config();
    cfg.group.schema = GroupSchema::Rfc2307;
    cfg.group.members = vec!["memberuid".to_string()];
    cfg
}

/// A configuration with one `[<syncuuid>]` table.
pub fn with_table(id: u128, table: EntryConfig) -> MappingConfig {
    let mut cfg = config();
    cfg.entries.insert(Uuid::from_u128(id), table);
    cfg
}

/// Gives an entry to a mapper.
pub fn feed(mapper: &mut Mapper<'_>, entry: &TestEntry) {
    read(entry, |uuid, entry| {
        mapper.entry(uuid, entry);
    });
}

/// Gives a mapper an answer, with only the attributes that a run requests for it.
pub fn answer(cfg: &MappingConfig, mapper: &mut Mapper<'_>, entry: &TestEntry) {
    let requested = Mapper::known_attributes(cfg);
    let mut entry = entry.clone();
    entry
        .attributes
        .retain(|(name, _)| requested.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)));
    read(&entry, |uuid, entry| mapper.known(uuid, entry));
}

fn read(entry: &TestEntry, give: impl FnOnce(Uuid, &SearchResultEntry<'_>)) {
    decoded(entry, |decoded| give(entry.uuid, decoded));
}

/// Decodes an entry.
pub fn decoded(entry: &TestEntry, give: impl FnOnce(&SearchResultEntry<'_>)) {
    let bytes = entry.message();
    let message = LdapMessage::decode(&bytes, &Limits::default()).unwrap();
    let ProtocolOp::SearchResultEntry(decoded) = &message.op else { panic!("not an entry") };
    give(decoded);
}

/// A full run over some entries.
pub fn map(cfg: &MappingConfig, entries: &[TestEntry]) -> Content {
    let mut mapper = Mapper::new(cfg, true);
    entries.iter().for_each(|entry| feed(&mut mapper, entry));
    mapper.finish()
}

/// Maps the entries of a full run, each as what is left of an entry that was larger than this
/// limit.
pub fn map_beyond(limit: usize, cfg: &MappingConfig, entries: &[TestEntry]) -> Content {
    let mut mapper = Mapper::new(cfg, true);
    for entry in entries {
        decoded_beyond(limit, entry, |decoded| {
            mapper.entry(entry.uuid, decoded);
        });
    }
    mapper.finish()
}

/// An entry that is larger than this limit, as the directory room passes it on.
pub fn decoded_beyond(
    limit: usize,
    entry: &TestEntry,
    on_entry: impl FnOnce(&SearchResultEntry<'_>),
) {
    let Ok(Progress::Done { entry: left, .. }) = OversizedReader::new(limit).feed(&entry.message())
    else {
        panic!("not an entry")
    };
    let message = left.decode(&Limits::default()).unwrap();
    let ProtocolOp::SearchResultEntry(decoded) = &message.op else { panic!("not an entry") };
    on_entry(decoded);
}

/// Everything that is sent, in order.
pub fn sent(content: &Content) -> Vec<Value> {
    content
        .changes
        .records()
        .iter()
        .map(|record| serde_json::from_slice(&content.changes.json(record)).unwrap())
        .collect()
}

/// The one entry that is sent.
pub fn only(content: &Content) -> Value {
    let mut sent = sent(content);
    assert_eq!(sent.len(), 1, "held: {:?}, skipped: {:?}", content.held, content.skipped);
    sent.remove(0)
}

/// What is sent for a name.
pub fn named(content: &Content, name: &str) -> Value {
    sent(content)
        .into_iter()
        .find(|entry| entry["name"] == name)
        .unwrap_or_else(|| panic!("{name} is not sent: {:?}", content.held))
}

/// The members of a group, sorted.
pub fn members(content: &Content, name: &str) -> Vec<String> {
    members_of(&named(content, name))
}

/// The members of a group as it is sent, sorted.
pub fn members_of(group: &Value) -> Vec<String> {
    let members = group["member"].as_array().into_iter().flatten();
    let mut members: Vec<String> =
        members.map(|member| member["external_id"].as_str().unwrap().to_string()).collect();
    members.sort();
    members
}

/// Attribute and rule of every problem of the one held entry.
pub fn problems(content: &Content) -> Vec<(String, String)> {
    assert_eq!(content.held.len(), 1, "sent: {:?}", sent(content));
    content.held[0]
        .problems
        .iter()
        .map(|problem| (problem.attribute.clone(), problem.rule.clone()))
        .collect()
}
