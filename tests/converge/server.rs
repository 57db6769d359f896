//! The directory, answering over a unix socket: bind, search, and content synchronisation as slapd
//! and 389 speak it, with what each of them leaves out (measured, and kept in `fixtures/`).

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ldap_content_sync::{Frame, frame};
use rasn_ldap::{
    AuthenticationChoice, Filter, LdapMessage, ProtocolOp, SearchRequest, SearchRequestScope,
};
use uuid::Uuid;

use crate::course::{Change, ServerKind};
use crate::directory::{BASE, Directory, Entry, OUTSIDE, same_dn};
use crate::support::peer::{
    bind_response, done, entry, gone_entry, id_set, sync_done, sync_entry, sync_info, tlv,
};

const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
const REFRESH_REQUIRED: u32 = 4096;
const UNWILLING: u32 = 53;
const NO_SUCH_OBJECT: u32 = 32;

/// Attributes with their values.
type Attributes = Vec<(&'static str, Vec<String>)>;

type Persistent = Arc<Mutex<Vec<Listening>>>;

/// A persistent search.
struct Listening {
    stream: UnixStream,
    id: u32,
    search: SearchRequest,
    /// Messages of the persist stage so far.
    told: usize,
}

/// A running server. Dropping it ends it.
pub struct Server {
    pub directory: Arc<Mutex<Directory>>,
    /// Persistent searches, each with its connection.
    persistent: Persistent,
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(directory: Directory, socket: &Path) -> Server {
        let listener = UnixListener::bind(socket).expect("a socket");
        let directory = Arc::new(Mutex::new(directory));
        let persistent = Persistent::default();
        let shared = (Arc::clone(&directory), Arc::clone(&persistent));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                if serve(&shared.0, &shared.1, &mut stream).is_none() {
                    return;
                }
            }
        });
        Server { directory, persistent, socket: socket.to_owned(), thread: Some(thread) }
    }

    /// Changes the directory, and tells those who listen.
    pub fn change(&self, change: &Change) {
        change_and_tell(&mut self.directory(), &self.persistent, change);
    }

    /// Messages of the persist stage that the latest listener was sent.
    pub fn told(&self) -> usize {
        // A new search is noted as long as this is locked.
        let _directory = self.directory();
        let listeners = self.persistent.lock().expect("not poisoned");
        listeners.last().map_or(0, |listening| listening.told)
    }

    /// Ends all persistent searches.
    pub fn cut(&self) {
        self.persistent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().expect("the server has not panicked")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Who says nothing and goes, ends it.
        drop(UnixStream::connect(&self.socket));
        let ended = self.thread.take().expect("started").join();
        assert!(ended.is_ok() || std::thread::panicking(), "the directory server has panicked");
    }
}

/// As measured: slapd tells of a change outside of the content with a new cookie, unless it is a
/// deletion, and 389 does not.
fn change_and_tell(directory: &mut Directory, persistent: &Persistent, change: &Change) {
    let mut listeners = persistent.lock().expect("not poisoned");
    let content = |directory: &Directory, search: &SearchRequest| {
        let entries = directory.entries.values().filter(|e| in_scope(directory, e, search));
        entries.map(|e| (e.uuid, (e.changed, directory.dn(e)))).collect::<BTreeMap<_, _>>()
    };
    let before: Vec<_> =
        listeners.iter().map(|listening| content(directory, &listening.search)).collect();
    let (time, count) = (directory.time, directory.entries.len());
    directory.change(change);
    for (listening, before) in listeners.iter_mut().zip(before) {
        let Listening { stream, id, search, told } = listening;
        let after = content(directory, search);
        let mut messages: Vec<Vec<u8>> = after
            .iter()
            .filter(|(_, (changed, _))| *changed > time)
            .map(|(uuid, (_, dn))| sync_entry(*id, *uuid, dn, &[]))
            .collect();
        let gone = before.iter().filter(|(uuid, _)| !after.contains_key(uuid));
        messages.extend(gone.map(|(uuid, (_, dn))| gone_entry(*id, *uuid, dn)));
        let is_slapd = matches!(directory.kind, ServerKind::Slapd(_));
        let is_deletion = directory.entries.len() < count;
        if messages.is_empty() && is_slapd && directory.time > time && !is_deletion {
            messages.push(sync_info(*id, tlv(0x80, "rid=000")));
        }
        // Who has gone does not matter.
        let _ = stream.write_all(&messages.concat());
        *told += messages.len();
    }
}

/// One connection, up to unbind, or to a persistent search; `None` where nothing was asked.
fn serve(
    directory: &Mutex<Directory>,
    persistent: &Persistent,
    stream: &mut UnixStream,
) -> Option<()> {
    let mut buffer = Vec::new();
    let mut asked = None;
    loop {
        while let Frame::Complete { len } = frame(&buffer, 1 << 24).expect("LDAP") {
            let request: LdapMessage =
                rasn::ber::decode(&buffer[..len]).expect("a request of ours");
            buffer.drain(..len);
            asked = Some(());
            // Until a persistent search is noted nothing may change.
            let mut directory = directory.lock().expect("not poisoned");
            let Some(answer) = answer(&mut directory, persistent, &request) else {
                return asked;
            };
            if stream.write_all(&answer).is_err() {
                return asked;
            }
            if let Some(search) = is_persistent(&request) {
                // Nothing more is read from it.
                let kept = stream.try_clone().expect("a socket");
                let listening = Listening { stream: kept, id: request.message_id, search, told: 0 };
                persistent.lock().expect("not poisoned").push(listening);
                return asked;
            }
        }
        let mut chunk = [0; 1 << 16];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return asked,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

fn answer(
    directory: &mut Directory,
    persistent: &Persistent,
    request: &LdapMessage,
) -> Option<Vec<u8>> {
    let id = request.message_id;
    match &request.protocol_op {
        ProtocolOp::BindRequest(bind) => {
            let simple = matches!(bind.authentication, AuthenticationChoice::Simple(_));
            Some(bind_response(id, if simple { 0 } else { 7 }, ""))
        }
        ProtocolOp::SearchRequest(search) if search.base_object.0.is_empty() => {
            Some(root_dse(directory, id))
        }
        ProtocolOp::SearchRequest(search) => {
            let Some((mode, cookie)) = sync_request(request) else {
                return Some(plain(directory, id, search));
            };
            let (mut answer, end) = match directory.kind {
                ServerKind::Slapd(log) => {
                    slapd(directory, id, search, cookie.as_deref(), log.is_some())
                }
                ServerKind::Ds389 => ds389(directory, id, search, cookie.as_deref()),
            };
            answer.extend(end.encode(id, mode, directory.kind));
            if mode == PERSIST {
                return Some(answer);
            }
            for change in std::mem::take(&mut directory.meanwhile) {
                change_and_tell(directory, persistent, &change);
            }
            Some(answer)
        }
        _ => None,
    }
}

const PERSIST: u8 = 3;

/// How a refresh ends.
enum End {
    /// Its cookie, and whether entries that it does not mention are unchanged.
    Done(Option<String>, bool),
    /// A result code.
    Failed(u32, &'static str),
}

impl End {
    fn encode(self, id: u32, mode: u8, kind: ServerKind) -> Vec<u8> {
        match self {
            End::Failed(code, diagnostic) => done(id, code, diagnostic),
            End::Done(cookie, refresh_deletes) if mode != PERSIST => {
                sync_done(id, cookie.as_deref(), refresh_deletes)
            }
            End::Done(cookie, refresh_deletes) => {
                let cookie = cookie.map(|cookie| tlv(4, cookie)).unwrap_or_default();
                // 389 ends each refresh stage with refreshDelete.
                let delete = refresh_deletes || kind == ServerKind::Ds389;
                sync_info(id, tlv(if delete { 0xa1 } else { 0xa2 }, cookie))
            }
        }
    }
}

fn is_persistent(request: &LdapMessage) -> Option<SearchRequest> {
    match (&request.protocol_op, sync_request(request)) {
        (ProtocolOp::SearchRequest(search), Some((PERSIST, _))) => Some(search.clone()),
        _ => None,
    }
}

/// Mode and cookie.
fn sync_request(request: &LdapMessage) -> Option<(u8, Option<String>)> {
    let mut controls = request.controls.iter().flatten();
    let control = controls.find(|c| c.control_type[..] == *SYNC_REQUEST.as_bytes())?;
    sync_request_value(control.control_value.as_deref().unwrap_or_default())
}

fn root_dse(directory: &Directory, id: u32) -> Vec<u8> {
    let (first, last) = ((directory.log_from + 1).to_string(), directory.time.to_string());
    let attributes: &[(&str, &[&str])] = match directory.kind {
        ServerKind::Slapd(_) => {
            &[("objectClass", &["top", "OpenLDAProotDSE"]), ("supportedControl", &[SYNC_REQUEST])]
        }
        ServerKind::Ds389 => &[
            ("vendorName", &["389 Project"]),
            ("supportedControl", &[SYNC_REQUEST]),
            ("firstchangenumber", &[&first]),
            ("lastchangenumber", &[&last]),
        ],
    };
    [entry(id, "", attributes), done(id, 0, "")].concat()
}

/// An ordinary search.
fn plain(directory: &Directory, id: u32, search: &SearchRequest) -> Vec<u8> {
    if search.scope == SearchRequestScope::BaseObject
        && directory.find(&search.base_object.0).is_none()
    {
        return done(id, NO_SUCH_OBJECT, "");
    }
    let mut out = Vec::new();
    for found in directory.entries.values().filter(|e| in_scope(directory, e, search)) {
        out.extend(with_refs(&requested(directory, found, search), |attributes| {
            entry(id, &directory.dn(found), attributes)
        }));
    }
    out.extend(done(id, 0, ""));
    out
}

/// The refresh as slapd answers it: present phase, or delete phase where the session log reaches
/// back to the cookie.
fn slapd(
    directory: &Directory,
    id: u32,
    search: &SearchRequest,
    cookie: Option<&str>,
    has_log: bool,
) -> (Vec<u8>, End) {
    let now = format!("rid=000,csn=20260101000000.{:06}Z#000000#000#000000", directory.time);
    let Some(cookie) = cookie else {
        let entries = changed(directory, id, search, 0, false);
        return (entries, End::Done(Some(now), true));
    };
    let number =
        cookie.split_once("csn=20260101000000.").and_then(|(_, rest)| rest.get(..6)?.parse().ok());
    let Some(since): Option<u64> = number else {
        return (changed(directory, id, search, 0, false), End::Done(Some(String::new()), true));
    };
    if since > directory.time {
        return (Vec::new(), End::Failed(UNWILLING, "consumer state is newer than provider!"));
    }
    if since == directory.time {
        return (Vec::new(), End::Done(None, true));
    }
    let present: Vec<Uuid> = directory
        .entries
        .values()
        .filter(|e| in_scope(directory, e, search))
        .map(|e| e.uuid)
        .collect();
    let mut out = Vec::new();
    let from_log = has_log && since >= directory.log_from;
    if from_log {
        // What was deleted, and what was changed and does not match any more.
        let mut gone: Vec<Uuid> =
            directory.log.iter().filter(|l| l.time > since).map(|l| l.uuid).collect();
        gone.sort();
        gone.dedup();
        gone.iter()
            .filter(|uuid| !present.contains(uuid))
            .for_each(|uuid| out.extend(id_set(id, true, &[*uuid])));
    } else {
        present.chunks(256).for_each(|some| out.extend(id_set(id, false, some)));
    }
    out.extend(changed(directory, id, search, since, false));
    (out, End::Done(Some(now), from_log))
}

/// The refresh as 389 answers it.
fn ds389(
    directory: &Directory,
    id: u32,
    search: &SearchRequest,
    cookie: Option<&str>,
) -> (Vec<u8>, End) {
    let now = format!(
        "localhost:389#cn=sync,{BASE}:{BASE}:{}#{}",
        filter_text(&search.filter),
        directory.time
    );
    let Some(cookie) = cookie else {
        return (changed(directory, id, search, 0, false), End::Done(Some(now), false));
    };
    let (bound, number) = cookie.rsplit_once('#').unwrap_or((cookie, ""));
    let since: u64 = match number.parse() {
        Ok(number) if number <= directory.time && now.starts_with(bound) => number,
        _ => return (Vec::new(), End::Failed(REFRESH_REQUIRED, "Invalid session cookie")),
    };
    // What left the filter is not mentioned. Changes that were trimmed are not, either.
    let below: Vec<Uuid> =
        directory.entries.values().filter(|e| e.ou != OUTSIDE).map(|e| e.uuid).collect();
    let mut gone: Vec<Uuid> = directory
        .log
        .iter()
        .filter(|l| l.time > since && !below.contains(&l.uuid))
        .map(|l| l.uuid)
        .collect();
    gone.sort();
    gone.dedup();
    // It forgets every 51st.
    let reported: Vec<Uuid> = gone
        .into_iter()
        .enumerate()
        .filter(|(i, _)| (i + 1) % 51 != 0)
        .map(|(_, uuid)| uuid)
        .collect();
    let mut out = Vec::new();
    reported.chunks(50).for_each(|some| out.extend(id_set(id, true, some)));
    out.extend(changed(directory, id, search, since.max(directory.log_from), true));
    (out, End::Done(Some(now), false))
}

/// The entries that changed after `since`. `all`: with every user attribute and no other, whatever
/// was asked for.
fn changed(
    directory: &Directory,
    id: u32,
    search: &SearchRequest,
    since: u64,
    all: bool,
) -> Vec<u8> {
    let some =
        directory.entries.values().filter(|e| e.changed > since && in_scope(directory, e, search));
    some.flat_map(|e| {
        let mut attributes =
            if all { directory.attributes(e) } else { requested(directory, e, search) };
        attributes.retain(|(name, _)| !directory.hidden.contains(name));
        with_refs(&attributes, |attributes| sync_entry(id, e.uuid, &directory.dn(e), attributes))
    })
    .collect()
}

fn requested(directory: &Directory, entry: &Entry, search: &SearchRequest) -> Attributes {
    let asked_for = |name: &str| search.attributes.iter().any(|a| a.0.eq_ignore_ascii_case(name));
    let wanted = |name: &str| asked_for(name) && !directory.hidden.contains(name);
    directory
        .attributes(entry)
        .into_iter()
        .chain(directory.operational(entry))
        .filter(|(name, _)| wanted(name))
        .collect()
}

fn with_refs(attributes: &Attributes, then: impl FnOnce(&[(&str, &[&str])]) -> Vec<u8>) -> Vec<u8> {
    let values: Vec<Vec<&str>> =
        attributes.iter().map(|(_, values)| values.iter().map(String::as_str).collect()).collect();
    let refs: Vec<(&str, &[&str])> = attributes
        .iter()
        .zip(&values)
        .map(|((name, _), values)| (*name, values.as_slice()))
        .collect();
    then(&refs)
}

fn in_scope(directory: &Directory, entry: &Entry, search: &SearchRequest) -> bool {
    let placed = match search.scope {
        SearchRequestScope::BaseObject => same_dn(&directory.dn(entry), &search.base_object.0),
        _ => {
            assert_eq!(search.base_object.0, BASE);
            entry.ou != OUTSIDE
        }
    };
    placed
        && matches(
            &search.filter,
            directory,
            &directory.attributes(entry),
            &directory.operational(entry),
        ) == Some(true)
}

/// RFC 4511 §4.5.1.7: of a hidden attribute it is undefined, and so is the negation of that.
fn matches(
    filter: &Filter,
    directory: &Directory,
    user: &Attributes,
    operational: &Attributes,
) -> Option<bool> {
    let hidden =
        |name: &str| directory.hidden.iter().any(|hidden| hidden.eq_ignore_ascii_case(name));
    let each = |filters: Vec<&Filter>| {
        filters.into_iter().map(|f| matches(f, directory, user, operational)).collect::<Vec<_>>()
    };
    let values = |name: &str| {
        let of_name = user
            .iter()
            .chain(operational)
            .filter(move |(attribute, _)| attribute.eq_ignore_ascii_case(name));
        of_name.flat_map(|(_, values)| values).collect::<Vec<_>>()
    };
    match filter {
        Filter::And(all) => {
            let each = each(all.to_vec());
            if each.contains(&Some(false)) {
                Some(false)
            } else {
                (!each.contains(&None)).then_some(true)
            }
        }
        Filter::Or(any) => {
            let each = each(any.to_vec());
            if each.contains(&Some(true)) {
                Some(true)
            } else {
                (!each.contains(&None)).then_some(false)
            }
        }
        Filter::Not(not) => matches(not, directory, user, operational).map(|is| !is),
        Filter::Present(attribute) if hidden(&attribute.0) => None,
        Filter::Present(attribute) => Some(!values(&attribute.0).is_empty()),
        Filter::EqualityMatch(assertion) if hidden(&assertion.attribute_desc.0) => None,
        Filter::EqualityMatch(assertion) => {
            let (name, wanted) =
                (&assertion.attribute_desc.0, String::from_utf8_lossy(&assertion.assertion_value));
            let dns = name.eq_ignore_ascii_case("member");
            Some(
                values(name).iter().any(|v| {
                    if dns { same_dn(v, &wanted) } else { v.eq_ignore_ascii_case(&wanted) }
                }),
            )
        }
        other => panic!("the program does not ask for {other:?}"),
    }
}

/// Two filters that differ have different texts.
fn filter_text(filter: &Filter) -> String {
    format!("{filter:?}").replace('#', "")
}

/// Mode and cookie of a sync request value (RFC 4533 §2.2): `SEQUENCE { mode ENUMERATED, cookie OCTET
/// STRING OPTIONAL, … }`.
fn sync_request_value(value: &[u8]) -> Option<(u8, Option<String>)> {
    let (_, sequence) = element(value)?;
    let (mode, rest) = (element(sequence)?, &sequence[element_len(sequence)?..]);
    assert!(mode.0 == 0x0a && [1, PERSIST].contains(&mode.1[0]), "{mode:?}");
    let cookie = match element(rest) {
        Some((0x04, cookie)) => Some(String::from_utf8_lossy(cookie).into_owned()),
        _ => None,
    };
    Some((mode.1[0], cookie))
}

fn element(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let header = header(bytes)?;
    Some((bytes[0], bytes.get(header.0..header.0 + header.1)?))
}

fn element_len(bytes: &[u8]) -> Option<usize> {
    header(bytes).map(|(header, content)| header + content)
}

/// How long the header is, and the content.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*bytes.get(1)?);
    if first < 0x80 {
        return Some((2, first));
    }
    let octets = bytes.get(2..2 + first - 0x80)?;
    Some((
        2 + octets.len(),
        octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)),
    ))
}
