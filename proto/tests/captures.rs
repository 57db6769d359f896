//! Every capture of a real server decodes, frame by frame, to what its transcript says, and a
//! session over it ends as the servers' rows in the tables do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

mod common;

use common::{Case, cases, decode, frames, summarise, transcribe};
use ldap_content_sync::sync_control::{SyncDone, SyncInfo, SyncState};
use ldap_content_sync::{
    Limits, NextCookie, ProtocolOp, Provider, RefreshOutcome, ResultCode, SessionError, SyncEvent,
    SyncSession,
};
use rasn::prelude::*;
use rasn_ldap as ldap;
use std::collections::BTreeSet;
use uuid::Uuid;

#[test]
fn every_frame_reads_as_its_transcript_does() {
    let mut messages = 0;
    for case in cases() {
        let told: Vec<&str> = case
            .transcript
            .lines()
            .filter(|line| line.starts_with("msg=") || line.starts_with("    Sync"))
            .collect();
        let received = frames(&case.received);
        let read: Vec<String> = received
            .iter()
            .flat_map(|frame| transcribe(frame).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        match abbreviated(&case.transcript) {
            None => assert_eq!(told, read, "{}", case.name),
            Some(answer) => assert_eq!(
                (told.as_slice(), answer + 1),
                (&[read[0].as_str()][..], received.len()),
                "{}",
                case.name
            ),
        }
        messages += received.len();
    }
    assert_eq!(messages, 3_372);
}

/// Two transcripts of killed servers show the BindResponse only, and count the messages after it.
fn abbreviated(transcript: &str) -> Option<usize> {
    let (before, _) = transcript.split_once(" PDUs, ")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[test]
fn every_answer_reads_as_its_row_in_the_table_does() {
    for case in cases() {
        let received = frames(&case.received);
        let (row, _stream) = case.answer.split_once(" ; STREAM").unwrap_or((&case.answer, ""));
        assert_eq!(row, summarise(&received[1..]), "{}", case.name);
    }
}

/// How a session has ended.
#[derive(Debug, PartialEq)]
enum End {
    Finished(RefreshOutcome),
    RefreshRequired,
    Failed(SessionError),
    /// No SearchResultDone came.
    Open,
}

#[test]
fn every_session_ends_as_its_transcript_says() {
    let (mut finished, mut required, mut failed, mut open, mut persist) = (0, 0, 0, 0, 0);
    for case in cases() {
        let request = sync_request(&case.sent);
        if request.as_ref().is_some_and(|request| request.persist) {
            persist += 1;
            continue;
        }
        let cookie = request.and_then(|request| request.cookie);
        let (entries, end) = run(&case, cookie.as_deref());
        match &end {
            End::Finished(outcome) => {
                finished += 1;
                check_outcome(&case, cookie.as_deref(), &entries, outcome);
            }
            End::RefreshRequired => {
                required += 1;
                assert!(
                    case.answer.starts_with("DONE rc=4096 ") && cookie.is_some(),
                    "{}",
                    case.name
                );
            }
            End::Failed(error) => {
                failed += 1;
                check_failure(&case, error);
            }
            End::Open => {
                open += 1;
                assert!(!case.answer.contains("DONE"), "{}", case.name);
            }
        }
    }
    // Every capture is one of these.
    assert_eq!((finished, required, failed, open, persist), (175, 17, 31, 4, 34));
}

/// Runs a session over the answer to the search, as the provider of the folder.
fn run(case: &Case, cookie: Option<&[u8]>) -> (Vec<Uuid>, End) {
    let limits = Limits::default();
    let mut session = SyncSession::new(case.provider, cookie, 2, &limits);
    let mut entries = Vec::new();
    for frame in &frames(&case.received)[1..] {
        match session.handle(&decode(frame)) {
            Ok(SyncEvent::Entry { uuid, entry }) => {
                assert!(!entry.dn().is_empty());
                entries.push(uuid);
            }
            Ok(SyncEvent::Ignored) => {}
            Ok(SyncEvent::RefreshRequired { diagnostic }) => {
                assert_eq!(diagnostic, "Invalid session cookie", "{}", case.name);
                return (entries, End::RefreshRequired);
            }
            Ok(SyncEvent::Finished(outcome)) => return (entries, End::Finished(outcome)),
            Err(error) => return (entries, End::Failed(error)),
        }
    }
    (entries, End::Open)
}

fn check_failure(case: &Case, error: &SessionError) {
    let name = &case.name;
    match error {
        SessionError::Failed { code, diagnostic, .. } => {
            let diagnostic =
                if diagnostic.is_empty() { String::new() } else { format!(" '{diagnostic}'") };
            assert!(
                case.answer.ends_with(&format!("DONE rc={}{diagnostic} no-SyncDone", code.0)),
                "{name}: {error}"
            );
            assert_ne!(*code, ResultCode::SUCCESS, "{name}");
        }
        SessionError::MissingSyncState { .. } => {
            assert!(case.answer.starts_with("E:NOSTATE"), "{name}: {error}")
        }
        SessionError::UnexpectedMessageId { expected: 2, found: 3, .. } => {
            assert_eq!(name, "ds389/92-malformed-control")
        }
        // Everything that is present, for a cookie of a provider that this server has never heard
        // of.
        SessionError::Behind => assert!(name.ends_with("/30-cookie-other-sid"), "{name}"),
        other => panic!("{name}: {other}"),
    }
}

fn check_outcome(case: &Case, cookie: Option<&[u8]>, entries: &[Uuid], outcome: &RefreshOutcome) {
    let name = &case.name;
    let told = Told::of(case);
    assert_eq!(entries, told.entries, "{name}");
    assert_eq!(outcome.references, case.answer.matches("REF:").count(), "{name}");

    let cookie = cookie.filter(|cookie| !cookie.is_empty());
    let next = match &told.cookie {
        None => NextCookie::Absent,
        Some(next) if next.is_empty() => NextCookie::Unusable,
        // The one capture with the CSN of another provider in the request, which must not be lost.
        Some(next)
            if name.ends_with("30-cookie-other-sid") && case.provider == Provider::OpenLdap =>
        {
            NextCookie::New(
                [next.as_slice(), b";20200101000000.000000Z#000000#007#000000"].concat(),
            )
        }
        Some(next) => NextCookie::New(next.clone()),
    };
    assert_eq!(outcome.cookie, next, "{name}");
    assert_eq!(next == NextCookie::Unusable, case.answer.contains("cookie=EMPTY"), "{name}");

    let received: BTreeSet<Uuid> = told.entries.iter().copied().collect();
    let present: BTreeSet<Uuid> = told.present.union(&received).copied().collect();
    let absence_deletes = match (cookie, case.provider) {
        _ if next == NextCookie::Unusable => false,
        (None, _) => true,
        (Some(_), Provider::Ds389) => false,
        (Some(_), _) => case.answer.ends_with("refreshDeletes=None]"),
    };
    assert_eq!(outcome.present, absence_deletes.then(|| present.into_iter().collect()), "{name}");
    assert_eq!(outcome.deleted, told.deleted.iter().copied().collect::<Vec<_>>(), "{name}");
    let reported: usize =
        case.answer.split(" | ").filter(|part| part.contains("rD=True")).map(set_size).sum();
    assert_eq!(outcome.deletions_reported, reported, "{name}");
}

/// UUIDs in `I:syncIdSet+cookie(n=50,rD=True) x2`.
fn set_size(part: &str) -> usize {
    let n: usize = part.split_once("n=").unwrap().1.split_once(',').unwrap().0.parse().unwrap();
    part.split_once(") x").map_or(n, |(_, times)| n * times.parse::<usize>().unwrap())
}

/// What the frames say, taken together without a session.
#[derive(Default)]
struct Told {
    entries: Vec<Uuid>,
    present: BTreeSet<Uuid>,
    deleted: BTreeSet<Uuid>,
    cookie: Option<Vec<u8>>,
}

impl Told {
    fn of(case: &Case) -> Told {
        let limits = Limits::default();
        let mut told = Told::default();
        for frame in &frames(&case.received)[1..] {
            let message = decode(frame);
            match &message.op {
                ProtocolOp::SearchResultEntry(_) => {
                    told.entries
                        .push(SyncState::find(&message.controls, &limits).unwrap().unwrap().uuid);
                }
                ProtocolOp::IntermediateResponse(response) => {
                    match SyncInfo::from_intermediate(response, &limits).unwrap() {
                        Some(SyncInfo::SyncIdSet { refresh_deletes: true, uuids, .. }) => {
                            told.deleted.extend(uuids.iter())
                        }
                        Some(SyncInfo::SyncIdSet { refresh_deletes: false, uuids, .. }) => {
                            told.present.extend(uuids.iter())
                        }
                        other => panic!("{}: {other:?} in a refresh", case.name),
                    }
                }
                ProtocolOp::SearchResultDone(_) => {
                    told.cookie = SyncDone::find(&message.controls, &limits)
                        .unwrap()
                        .unwrap()
                        .cookie
                        .map(<[u8]>::to_vec);
                }
                ProtocolOp::SearchResultReference(_) => {}
                other => panic!("{}: {}", case.name, other.name()),
            }
        }
        told
    }
}

struct Request {
    persist: bool,
    cookie: Option<Vec<u8>>,
}

/// What the Sync Request control of the search with message ID 2 said; none where the capture sent
/// something else.
fn sync_request(sent: &[u8]) -> Option<Request> {
    let search = frames(sent).into_iter().find_map(|frame| {
        let message: ldap::LdapMessage = rasn::ber::decode(frame).unwrap();
        (message.message_id == 2
            && matches!(message.protocol_op, ldap::ProtocolOp::SearchRequest(_)))
        .then_some(message)
    })?;
    let control = search
        .controls?
        .into_iter()
        .find(|control| control.control_type.as_ref() == b"1.3.6.1.4.1.4203.1.9.1.1")?;
    #[derive(AsnType, Decode)]
    struct Value {
        mode: Mode,
        cookie: Option<OctetString>,
        #[rasn(default)]
        _reload_hint: bool,
    }
    #[derive(AsnType, Decode, Clone, Copy, Debug, PartialEq)]
    #[rasn(enumerated)]
    enum Mode {
        RefreshOnly = 1,
        RefreshAndPersist = 3,
    }
    // Two captures sent what is no syncRequestValue.
    let value: Value = rasn::ber::decode(&control.control_value?).ok()?;
    Some(Request {
        persist: value.mode == Mode::RefreshAndPersist,
        cookie: value.cookie.map(|cookie| cookie.to_vec()),
    })
}
