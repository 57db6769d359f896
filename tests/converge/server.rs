//! The directory, answering over a unix socket: bind, search, and content synchronisation as slapd
//! and 389 speak it, with what each of them leaves out (measured, and kept in `fixtures/`).

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use ldap_content_sync::{Frame, frame};
use rasn_ldap::{
    AuthenticationChoice, Filter, LdapMessage, ProtocolOp, SearchRequest, SearchRequestScope,
};
use uuid::Uuid;

use crate::course::ServerKind;
use crate::directory::{BASE, Directory, Entry, OUTSIDE, same_dn};
use crate::support::peer::{bind_response, done, entry, id_set, sync_done, sync_entry};

const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
const REFRESH_REQUIRED: u32 = 4096;
const UNWILLING: u32 = 53;
const NO_SUCH_OBJECT: u32 = 32;

/// Attributes with their values.
type Attributes = Vec<(&'static str, Vec<String>)>;

/// A running server. Dropping it ends it.
pub struct Server {
    pub directory: Arc<Mutex<Directory>>,
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(directory: Directory, socket: &Path) -> Server {
        let listener = UnixListener::bind(socket).expect("a socket");
        let directory = Arc::new(Mutex::new(directory));
        let shared = Arc::clone(&directory);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serve(&shared, &mut stream.expect("a connection")).is_none() {
                    return;
                }
            }
        });
        Server { directory, socket: socket.to_owned(), thread: Some(thread) }
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

/// One connection, up to unbind; `None` where nothing was asked.
fn serve(directory: &Mutex<Directory>, stream: &mut UnixStream) -> Option<()> {
    let mut buffer = Vec::new();
    let mut asked = None;
    loop {
        while let Frame::Complete { len } = frame(&buffer, 1 << 24).expect("LDAP") {
            let request: LdapMessage =
                rasn::ber::decode(&buffer[..len]).expect("a request of ours");
            buffer.drain(..len);
            asked = Some(());
            let Some(answer) = answer(&mut directory.lock().expect("not poisoned"), &request)
            else {
                return asked;
            };
            if stream.write_all(&answer).is_err() {
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

fn answer(directory: &mut Directory, request: &LdapMessage) -> Option<Vec<u8>> {
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
            let sync = request
                .controls
                .iter()
                .flatten()
                .find(|c| c.control_type[..] == *SYNC_REQUEST.as_bytes());
            let Some(control) = sync else { return Some(plain(directory, id, search)) };
            let cookie = cookie_of(control.control_value.as_deref().unwrap_or_default());
            let answer = match directory.kind {
                ServerKind::Slapd(log) => {
                    slapd(directory, id, search, cookie.as_deref(), log.is_some())
                }
                ServerKind::Ds389 => ds389(directory, id, search, cookie.as_deref()),
            };
            for change in std::mem::take(&mut directory.meanwhile) {
                directory.change(&change);
            }
            Some(answer)
        }
        _ => None,
    }
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
) -> Vec<u8> {
    let now = format!("rid=000,csn=20260101000000.{:06}Z#000000#000#000000", directory.time);
    let Some(cookie) = cookie else {
        let entries = changed(directory, id, search, 0, false);
        return [entries, sync_done(id, Some(&now), true)].concat();
    };
    let number =
        cookie.split_once("csn=20260101000000.").and_then(|(_, rest)| rest.get(..6)?.parse().ok());
    let Some(since): Option<u64> = number else {
        return [changed(directory, id, search, 0, false), sync_done(id, Some(""), true)].concat();
    };
    if since > directory.time {
        return done(id, UNWILLING, "consumer state is newer than provider!");
    }
    if since == directory.time {
        return sync_done(id, None, true);
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
    out.extend(sync_done(id, Some(&now), from_log));
    out
}

/// The refresh as 389 answers it.
fn ds389(directory: &Directory, id: u32, search: &SearchRequest, cookie: Option<&str>) -> Vec<u8> {
    let now = format!(
        "localhost:389#cn=sync,{BASE}:{BASE}:{}#{}",
        filter_text(&search.filter),
        directory.time
    );
    let Some(cookie) = cookie else {
        return [changed(directory, id, search, 0, false), sync_done(id, Some(&now), false)]
            .concat();
    };
    let (bound, number) = cookie.rsplit_once('#').unwrap_or((cookie, ""));
    let since: u64 = match number.parse() {
        Ok(number) if number <= directory.time && now.starts_with(bound) => number,
        _ => return done(id, REFRESH_REQUIRED, "Invalid session cookie"),
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
    out.extend(sync_done(id, Some(&now), false));
    out
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

/// The cookie of a sync request value (RFC 4533 §2.2): `SEQUENCE { mode ENUMERATED, cookie OCTET
/// STRING OPTIONAL, … }`.
fn cookie_of(value: &[u8]) -> Option<String> {
    let (_, sequence) = element(value)?;
    let (mode, rest) = (element(sequence)?, &sequence[element_len(sequence)?..]);
    assert_eq!(mode, (0x0a, &[1][..]), "refreshOnly");
    match element(rest) {
        Some((0x04, cookie)) => Some(String::from_utf8_lossy(cookie).into_owned()),
        _ => None,
    }
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
