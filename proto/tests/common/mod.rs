//! The captures of `fixtures/captures`, and their transcripts as the tests write them down.
//!
//! A capture that cannot be read, that the table does not name, or that has no file, fails the
//! test: nothing is skipped.

#![allow(dead_code, reason = "each test program uses a part of it")]

use ldap_content_sync::sync_control::{EntryState, SyncDone, SyncInfo, SyncState};
use ldap_content_sync::{Frame, LdapMessage, LdapResult, Limits, ProtocolOp, Provider, frame};
use std::path::{Path, PathBuf};

/// Captures there are.
pub const CASES: usize = 261;

/// One capture.
pub struct Case {
    /// Folder and case.
    pub name: String,
    pub provider: Provider,
    /// Columns of the table.
    pub request: String,
    pub answer: String,
    /// What the server sent, what the client sent.
    pub received: Vec<u8>,
    pub sent: Vec<u8>,
    pub transcript: String,
}

/// Every capture, in the order of the tables.
pub fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/captures");
    let table = std::fs::read_to_string(root.join("README.md")).unwrap();
    let mut folder = String::new();
    let mut cases = Vec::new();
    for line in table.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            folder = name.to_owned();
        } else if let Some(row) = line.strip_prefix("| ").filter(|row| !row.starts_with("case |")) {
            cases.push(case(&root, &folder, row));
        }
    }
    assert_eq!(cases.len(), CASES, "rows in the tables");
    assert_eq!(files(&root), CASES, "captures among the files");
    cases
}

fn case(root: &Path, folder: &str, row: &str) -> Case {
    // Bars inside a column are escaped.
    let columns: Vec<String> = row
        .replace("\\|", "\u{1}")
        .split(" | ")
        .map(|column| column.replace('\u{1}', "|"))
        .collect();
    let [name, _what, request, answer] = columns.as_slice() else {
        panic!("row of {} columns: {row}", columns.len())
    };
    let file =
        |extension: &str| -> PathBuf { root.join(folder).join(format!("{name}.{extension}")) };
    let read = |extension: &str| {
        std::fs::read(file(extension))
            .unwrap_or_else(|error| panic!("{folder}/{name}.{extension}: {error}"))
    };
    Case {
        name: format!("{folder}/{name}"),
        provider: if folder == "ds389" { Provider::Ds389 } else { Provider::OpenLdap },
        request: request.clone(),
        answer: answer.trim_end_matches('|').trim().to_owned(),
        received: read("ber"),
        sent: read("req.ber"),
        transcript: String::from_utf8(read("txt")).unwrap(),
    }
}

fn files(root: &Path) -> usize {
    let folders = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir());
    let files = folders
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).count()
}

/// Cuts a stream into its messages.
pub fn frames(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let Frame::Complete { len } = frame(stream, Limits::default().max_message).unwrap() else {
            panic!("incomplete message")
        };
        let (message, rest) = stream.split_at(len);
        frames.push(message);
        stream = rest;
    }
    frames
}

/// Decodes one message of a capture.
pub fn decode(bytes: &[u8]) -> LdapMessage<'_> {
    LdapMessage::decode(bytes, &Limits::default()).unwrap()
}

/// A message as the transcripts write it: one line, or two when it has a control.
pub fn transcribe(bytes: &[u8]) -> String {
    let (message, limits) = (decode(bytes), Limits::default());
    let kind = match &message.op {
        ProtocolOp::BindResponse(response) => {
            format!("bindResponse{}", transcribe_result(&response.result))
        }
        ProtocolOp::SearchResultDone(result) => format!("searchDone{}", transcribe_result(result)),
        ProtocolOp::ExtendedResponse(response) => {
            format!("extended{}", transcribe_result(&response.result))
        }
        ProtocolOp::SearchResultEntry(entry) => {
            let names: Vec<String> = entry
                .attributes()
                .map(|attribute| python_string(attribute.description()))
                .collect();
            format!("entry dn={} attrs=[{}]", python_string(entry.dn()), names.join(", "))
        }
        ProtocolOp::SearchResultReference(reference) => {
            format!(
                "reference uris=[{}]",
                reference.uris().map(python_string).collect::<Vec<_>>().join(", ")
            )
        }
        ProtocolOp::IntermediateResponse(response) => {
            let info = SyncInfo::from_intermediate(response, &limits)
                .unwrap()
                .expect("a SyncInfo message");
            format!("intermediate SyncInfo {}", transcribe_info(&info))
        }
    };
    let mut text = format!("msg={} len={} {kind}", message.message_id, bytes.len());
    if let Some(SyncState { state, uuid, cookie }) =
        SyncState::find(&message.controls, &limits).unwrap()
    {
        text += &format!(
            "\n    SyncState state={} uuid={uuid} cookie={}",
            state_name(state),
            transcribe_cookie(cookie)
        );
    }
    if let Some(SyncDone { cookie, refresh_deletes }) =
        SyncDone::find(&message.controls, &limits).unwrap()
    {
        let deletes = if refresh_deletes { "True" } else { "absent(FALSE)" };
        text += &format!(
            "\n    SyncDone cookie={} refreshDeletes={deletes}",
            transcribe_cookie(cookie)
        );
    }
    text
}

fn transcribe_info(info: &SyncInfo<'_>) -> String {
    let done = |refresh_done: bool| if refresh_done { "absent(TRUE)" } else { "False" };
    let cookie = transcribe_cookie(info.cookie());
    match info {
        SyncInfo::NewCookie(_) => format!("newcookie cookie={cookie}"),
        SyncInfo::RefreshDelete { refresh_done, .. } => {
            format!("refreshDelete cookie={cookie} refreshDone={}", done(*refresh_done))
        }
        SyncInfo::RefreshPresent { refresh_done, .. } => {
            format!("refreshPresent cookie={cookie} refreshDone={}", done(*refresh_done))
        }
        SyncInfo::SyncIdSet { refresh_deletes, uuids, .. } => {
            let deletes = if *refresh_deletes { "True" } else { "absent(FALSE)" };
            let mut first: Vec<String> =
                uuids.iter().take(4).map(|uuid| uuid.to_string()).collect();
            if uuids.len() > 4 {
                first.push("...".to_owned());
            }
            format!(
                "syncIdSet cookie={cookie} refreshDeletes={deletes} n={} {}",
                uuids.len(),
                first.join(" ")
            )
        }
    }
}

fn transcribe_result(result: &LdapResult<'_>) -> String {
    // The transcripts know the names of RFC 4511 and of 4096 only.
    let name = result.code.name().filter(|_| !(100..4096).contains(&result.code.0)).unwrap_or("?");
    let mut text = format!(" rc={}({name})", result.code.0);
    if !result.matched_dn.is_empty() {
        text += &format!(" matched=b{}", python_string(result.matched_dn));
    }
    if !result.diagnostic.is_empty() {
        text += &format!(" diag=b{}", python_string(&result.diagnostic));
    }
    text
}

fn transcribe_cookie(cookie: Option<&[u8]>) -> String {
    match cookie {
        None => "-".to_owned(),
        Some(cookie) => {
            format!("{}[{}B]", python_string(std::str::from_utf8(cookie).unwrap()), cookie.len())
        }
    }
}

/// Name of a state in the transcripts.
pub fn state_name(state: EntryState) -> &'static str {
    match state {
        EntryState::Present => "present",
        EntryState::Add => "add",
        EntryState::Modify => "modify",
        EntryState::Delete => "delete",
    }
}

/// A string as Python writes it, as far as the captures need it.
fn python_string(text: &str) -> String {
    assert!(!text.contains(|c: char| c == '\'' || c.is_control()), "{text}");
    format!("'{}'", text.replace('\\', "\\\\"))
}

/// A whole answer as the tables write it.
pub fn summarise(messages: &[&[u8]]) -> String {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for message in messages.iter().map(|bytes| summarise_one(bytes)) {
        match runs.last_mut() {
            Some((last, count)) if *last == message => *count += 1,
            _ => runs.push((message, 1)),
        }
    }
    let runs: Vec<String> = runs
        .into_iter()
        .map(|(text, count)| if count == 1 { text } else { format!("{text} x{count}") })
        .collect();
    runs.join(" | ")
}

fn summarise_one(bytes: &[u8]) -> String {
    let (message, limits) = (decode(bytes), Limits::default());
    let state = SyncState::find(&message.controls, &limits).unwrap();
    let state_text = state.map_or("NOSTATE", |state| state_name(state.state));
    match &message.op {
        ProtocolOp::SearchResultEntry(entry) => {
            let cookie =
                if state.and_then(|state| state.cookie).is_some() { "+cookie" } else { "" };
            let empty = if entry.attributes().next().is_none() { "(empty)" } else { "" };
            format!("E:{state_text}{cookie}{empty}")
        }
        ProtocolOp::SearchResultReference(_) => format!("REF:{state_text}"),
        ProtocolOp::IntermediateResponse(response) => {
            let info = SyncInfo::from_intermediate(response, &limits)
                .unwrap()
                .expect("a SyncInfo message");
            let (name, detail) = match info {
                SyncInfo::NewCookie(_) => ("newcookie", String::new()),
                SyncInfo::RefreshDelete { refresh_done, .. } => {
                    ("refreshDelete", format!("(done={})", python_default(refresh_done, true)))
                }
                SyncInfo::RefreshPresent { refresh_done, .. } => {
                    ("refreshPresent", format!("(done={})", python_default(refresh_done, true)))
                }
                SyncInfo::SyncIdSet { refresh_deletes, uuids, .. } => (
                    "syncIdSet",
                    format!("(n={},rD={})", uuids.len(), python_default(refresh_deletes, false)),
                ),
            };
            let cookie = match info.cookie() {
                None => "",
                Some([]) => "+EMPTYcookie",
                Some(_) => "+cookie",
            };
            format!("I:{name}{cookie}{detail}")
        }
        ProtocolOp::SearchResultDone(result) => {
            let diagnostic = if result.diagnostic.is_empty() {
                String::new()
            } else {
                format!(" {}", python_string(&result.diagnostic))
            };
            let done = match SyncDone::find(&message.controls, &limits).unwrap() {
                None => "no-SyncDone".to_owned(),
                Some(done) => {
                    let cookie = match done.cookie {
                        None => "absent",
                        Some([]) => "EMPTY",
                        Some(_) => "yes",
                    };
                    format!(
                        "done[cookie={cookie},refreshDeletes={}]",
                        python_default(done.refresh_deletes, false)
                    )
                }
            };
            format!("DONE rc={}{diagnostic} {done}", result.code.0)
        }
        ProtocolOp::ExtendedResponse(_) => "extended".to_owned(),
        ProtocolOp::BindResponse(_) => "bindResponse".to_owned(),
    }
}

/// A BOOLEAN that is left out when it has its default.
fn python_default(value: bool, default: bool) -> &'static str {
    match (value == default, value) {
        (true, _) => "None",
        (false, true) => "True",
        (false, false) => "False",
    }
}
