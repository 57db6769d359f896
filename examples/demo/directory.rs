//! A directory server small enough to read in one sitting: LDAPv3 over TLS, simple bind, search,
//! and RFC 4533 content synchronisation as slapd with a session log speaks it. For the demo only:
//! it believes whoever asks.

#![expect(clippy::expect_used, reason = "what it encodes is its own and short")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ldap_content_sync::{Frame, frame};
use rasn::types::OctetString;
use rasn_ldap::{
    BindResponse, Control, Filter, IntermediateResponse, LdapMessage, LdapResult, LdapString,
    PartialAttribute, ProtocolOp, ResultCode, SearchRequest, SearchRequestScope, SearchResultDone,
    SearchResultEntry,
};
use uuid::Uuid;

use crate::server::Stream;

const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";

/// An attribute and one of its values.
type Value = (&'static str, String);

/// One entry of the directory.
struct Entry {
    /// Its entryUUID, which stays whatever else changes.
    uuid: Uuid,
    dn: String,
    attributes: Vec<Value>,
    /// The number of the change that touched it last.
    changed: u64,
}

#[derive(Default)]
struct Content {
    entries: Vec<Entry>,
    /// What is gone, and with which change it went: the session log.
    deleted: Vec<(u64, Uuid)>,
    /// Counts the changes. The cookie is this number.
    change: u64,
}

/// The directory: its content can be changed while it answers. Copies share it.
#[derive(Clone, Default)]
pub struct Directory(Arc<Mutex<Content>>);

impl Directory {
    /// Adds an entry and returns its UUID.
    pub fn add(&self, dn: &str, attributes: &[(&'static str, &str)]) -> Uuid {
        let mut content = self.content();
        let changed = content.next_change();
        let uuid = Uuid::from_u128(0x0de3_0000_0000_4000_8000_0000_0000_0000 + u128::from(changed));
        let attributes =
            attributes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        content.entries.push(Entry { uuid, dn: dn.to_owned(), attributes, changed });
        uuid
    }

    /// Replaces the value of an attribute.
    pub fn set(&self, uuid: Uuid, attribute: &str, value: &str) {
        self.content().entry(uuid, |entry| {
            entry
                .attributes
                .iter_mut()
                .filter(|(name, _)| *name == attribute)
                .for_each(|(_, old)| value.clone_into(old));
        });
    }

    /// Gives an entry another DN. Groups that name it follow, without counting as changed, as with
    /// slapd's refint overlay.
    pub fn rename(&self, uuid: Uuid, dn: &str) {
        let mut content = self.content();
        let mut old = String::new();
        content.entry(uuid, |entry| old = std::mem::replace(&mut entry.dn, dn.to_owned()));
        let members = content
            .entries
            .iter_mut()
            .flat_map(|e| &mut e.attributes)
            .filter(|(name, _)| *name == "member");
        members.filter(|(_, member)| *member == old).for_each(|(_, member)| dn.clone_into(member));
    }

    /// Deletes an entry.
    pub fn delete(&self, uuid: Uuid) {
        let mut content = self.content();
        let change = content.next_change();
        content.entries.retain(|e| e.uuid != uuid);
        content.deleted.push((change, uuid));
    }

    /// Answers the requests of one connection.
    pub fn serve(&self, stream: &mut Stream) -> Result<(), Box<dyn Error>> {
        let mut buffer = Vec::new();
        loop {
            while let Frame::Complete { len } = frame(&buffer, 1 << 20)? {
                let request: LdapMessage =
                    rasn::ber::decode(&buffer[..len]).map_err(|e| e.to_string())?;
                buffer.drain(..len);
                let Some(answer) = self.answer(&request) else { return Ok(()) };
                stream.write_all(&answer)?;
                stream.flush()?;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk)? {
                0 => return Ok(()),
                n => buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that answer a request; `None` ends the connection.
    fn answer(&self, request: &LdapMessage) -> Option<Vec<u8>> {
        let id = request.message_id;
        let text = |s: &str| LdapString(s.to_owned());
        match &request.protocol_op {
            ProtocolOp::BindRequest(_) => {
                let response =
                    BindResponse::new(ResultCode::Success, text(""), text(""), None, None);
                Some(encode(id, ProtocolOp::BindResponse(response), None))
            }
            ProtocolOp::SearchRequest(search) if search.base_object.0.is_empty() => {
                Some(root_dse(id))
            }
            ProtocolOp::SearchRequest(search) => {
                let sync = request
                    .controls
                    .iter()
                    .flatten()
                    .find(|c| c.control_type[..] == *SYNC_REQUEST.as_bytes());
                Some(match sync {
                    Some(control) => self.synchronise(
                        id,
                        search,
                        control.control_value.as_deref().unwrap_or_default(),
                    ),
                    None => self.search(id, search),
                })
            }
            _ => None,
        }
    }

    fn search(&self, id: u32, search: &SearchRequest) -> Vec<u8> {
        let content = self.content();
        let mut out = Vec::new();
        for entry in content.entries.iter().filter(|e| in_scope(e, search)) {
            out.extend(encode(id, ProtocolOp::SearchResEntry(wire(entry, search)), None));
        }
        out.extend(done(id, None));
        out
    }

    /// The refresh: what changed since the cookie, what was deleted since, and the new cookie.
    fn synchronise(&self, id: u32, search: &SearchRequest, request: &[u8]) -> Vec<u8> {
        let content = self.content();
        let since = since(request);
        let mut out = Vec::new();
        let deleted: BTreeSet<Uuid> = content
            .deleted
            .iter()
            .filter(|(change, _)| since > 0 && *change > since)
            .map(|(_, u)| *u)
            .collect();
        if !deleted.is_empty() {
            let set: Vec<u8> = deleted.iter().flat_map(|u| tlv(0x04, u.as_bytes())).collect();
            let info = tlv(0xa3, &[tlv(0x01, &[0xff]), tlv(0x31, &set)].concat());
            let response = IntermediateResponse {
                response_name: Some(octets(SYNC_INFO.as_bytes())),
                response_value: Some(octets(&info)),
            };
            out.extend(encode(id, ProtocolOp::IntermediateResponse(response), None));
        }
        for entry in content.entries.iter().filter(|e| e.changed > since && in_scope(e, search)) {
            let state = tlv(0x30, &[tlv(0x0a, &[1]), tlv(0x04, entry.uuid.as_bytes())].concat());
            out.extend(encode(
                id,
                ProtocolOp::SearchResEntry(wire(entry, search)),
                Some((SYNC_STATE, state)),
            ));
        }
        let cookie = format!("rid=000,csn=20260101000000.{:06}Z#000000#000#000000", content.change);
        let value = tlv(0x30, &[tlv(0x04, cookie.as_bytes()), tlv(0x01, &[0xff])].concat());
        out.extend(done(id, Some((SYNC_DONE, value))));
        out
    }
}

impl Content {
    fn next_change(&mut self) -> u64 {
        self.change += 1;
        self.change
    }

    /// Changes an entry.
    fn entry(&mut self, uuid: Uuid, edit: impl FnOnce(&mut Entry)) {
        let changed = self.next_change();
        if let Some(entry) = self.entries.iter_mut().find(|e| e.uuid == uuid) {
            entry.changed = changed;
            edit(entry);
        }
    }
}

/// What a client asks first: what kind of server this is, and whether it speaks content
/// synchronisation.
fn root_dse(id: u32) -> Vec<u8> {
    let attribute = |name: &str, value: &str| {
        PartialAttribute::new(LdapString(name.to_owned()), vec![octets(value.as_bytes())].into())
    };
    let attributes = vec![
        attribute("objectClass", "OpenLDAProotDSE"),
        attribute("supportedControl", SYNC_REQUEST),
    ];
    let entry = SearchResultEntry::new(LdapString(String::new()), attributes);
    [encode(id, ProtocolOp::SearchResEntry(entry), None), done(id, None)].concat()
}

fn done(id: u32, control: Option<(&str, Vec<u8>)>) -> Vec<u8> {
    let result =
        LdapResult::new(ResultCode::Success, LdapString(String::new()), LdapString(String::new()));
    encode(id, ProtocolOp::SearchResDone(SearchResultDone(result)), control)
}

fn encode(id: u32, op: ProtocolOp, control: Option<(&str, Vec<u8>)>) -> Vec<u8> {
    let mut message = LdapMessage::new(id, op);
    message.controls = control.map(|(oid, value)| {
        vec![Control::new(octets(oid.as_bytes()), false, Some(octets(&value)))]
    });
    rasn::ber::encode(&message).expect("our own answers can be encoded")
}

/// The entry as it goes over the wire: the requested attributes only.
fn wire(entry: &Entry, search: &SearchRequest) -> SearchResultEntry {
    let uuid = entry.uuid.to_string();
    let mut attributes: Vec<PartialAttribute> = Vec::new();
    for wanted in &search.attributes {
        let values = values(entry, &uuid, &wanted.0);
        if !values.is_empty() {
            let values: Vec<OctetString> = values.iter().map(|v| octets(v.as_bytes())).collect();
            attributes.push(PartialAttribute::new(wanted.clone(), values.into()));
        }
    }
    SearchResultEntry::new(LdapString(entry.dn.clone()), attributes)
}

fn values<'e>(entry: &'e Entry, uuid: &'e str, attribute: &str) -> Vec<&'e str> {
    if attribute.eq_ignore_ascii_case("entryUUID") {
        return vec![uuid];
    }
    entry
        .attributes
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(attribute))
        .map(|(_, value)| value.as_str())
        .collect()
}

fn in_scope(entry: &Entry, search: &SearchRequest) -> bool {
    let (dn, base) = (entry.dn.to_lowercase(), search.base_object.0.to_lowercase());
    let placed = match search.scope {
        SearchRequestScope::BaseObject => dn == base,
        _ => dn == base || dn.ends_with(&format!(",{base}")),
    };
    placed && matches(&search.filter, entry)
}

/// The filters that the demo's configuration leads to.
fn matches(filter: &Filter, entry: &Entry) -> bool {
    let uuid = entry.uuid.to_string();
    match filter {
        Filter::And(all) => all.to_vec().iter().all(|f| matches(f, entry)),
        Filter::Or(any) => any.to_vec().iter().any(|f| matches(f, entry)),
        Filter::Not(not) => !matches(not, entry),
        Filter::Present(attribute) => !values(entry, &uuid, &attribute.0).is_empty(),
        Filter::EqualityMatch(assertion) => {
            let wanted = String::from_utf8_lossy(&assertion.assertion_value);
            values(entry, &uuid, &assertion.attribute_desc.0)
                .iter()
                .any(|v| v.eq_ignore_ascii_case(&wanted))
        }
        _ => false,
    }
}

/// The number in the cookie of a sync request value; 0 where there is no cookie.
fn since(request: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(request);
    let number = text.split_once("csn=20260101000000.").and_then(|(_, rest)| rest.get(..6));
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn octets(bytes: &[u8]) -> OctetString {
    bytes.to_vec().into()
}

/// Tag, length, value; the values here are short.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).ok().filter(|n| *n < 128).expect("a short value");
    [&[tag, length], value].concat()
}
