//! The refresh, flavour by flavour, on hand-made messages: what the captures cannot show.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

use ldap_content_sync::sync_control::{SYNC_DONE_OID, SYNC_INFO_OID, SYNC_STATE_OID};
use ldap_content_sync::{
    LdapMessage, Limits, NextCookie, Provider, RefreshOutcome, ResultCode, SessionError, SyncEvent,
    SyncSession,
};
use uuid::Uuid;

const ALL: [Provider; 3] = [Provider::OpenLdap, Provider::Ds389, Provider::Rfc4533];
const ID: u32 = 7;

/// Messages, from a few building blocks.
mod wire {
    use super::{ID, SYNC_DONE_OID, SYNC_INFO_OID, SYNC_STATE_OID, Uuid};

    pub const TRUE: &[u8] = &[0x01, 0x01, 0xff];
    pub const FALSE: &[u8] = &[0x01, 0x01, 0x00];

    pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let contents = parts.concat();
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], &contents].concat()
    }

    pub fn message(id: u32, op: &[u8], controls: &[Vec<u8>]) -> Vec<u8> {
        let id = element(
            0x02,
            &[&id
                .to_be_bytes()
                .into_iter()
                .skip_while(|&byte| byte == 0)
                .chain((id == 0).then_some(0))
                .collect::<Vec<_>>()],
        );
        let controls =
            if controls.is_empty() { Vec::new() } else { element(0xa0, &[&controls.concat()]) };
        element(0x30, &[&id, op, &controls])
    }

    pub fn control(oid: &str, value: &[u8]) -> Vec<u8> {
        element(0x30, &[&element(0x04, &[oid.as_bytes()]), &element(0x04, &[value])])
    }

    pub fn cookie(text: &str) -> Vec<u8> {
        element(0x04, &[text.as_bytes()])
    }

    pub fn entry_op(dn: &str) -> Vec<u8> {
        element(0x64, &[&element(0x04, &[dn.as_bytes()]), &element(0x30, &[])])
    }

    pub fn sync_state(state: u8, uuid: Uuid, rest: &[u8]) -> Vec<u8> {
        control(
            SYNC_STATE_OID,
            &element(0x30, &[&[0x0a, 1, state], &element(0x04, &[uuid.as_bytes()]), rest]),
        )
    }

    pub fn entry(state: u8, uuid: Uuid) -> Vec<u8> {
        message(ID, &entry_op("uid=x"), &[sync_state(state, uuid, &[])])
    }

    pub fn reference(controls: &[Vec<u8>]) -> Vec<u8> {
        message(ID, &element(0x73, &[&element(0x04, &[b"ldap://elsewhere/"])]), controls)
    }

    pub fn info(value: &[u8]) -> Vec<u8> {
        message(
            ID,
            &element(
                0x79,
                &[&element(0x80, &[SYNC_INFO_OID.as_bytes()]), &element(0x81, &[value])],
            ),
            &[],
        )
    }

    pub fn id_set(refresh_deletes: &[u8], uuids: &[Uuid]) -> Vec<u8> {
        let uuids: Vec<u8> =
            uuids.iter().flat_map(|uuid| element(0x04, &[uuid.as_bytes()])).collect();
        info(&element(0xa3, &[refresh_deletes, &element(0x31, &[&uuids])]))
    }

    pub fn present(uuids: &[Uuid]) -> Vec<u8> {
        id_set(&[], uuids)
    }

    pub fn deleted(uuids: &[Uuid]) -> Vec<u8> {
        id_set(TRUE, uuids)
    }

    pub fn result(tag: u8, code: u16, diagnostic: &str) -> Vec<u8> {
        let code: &[u8] = if code < 128 {
            &[0x0a, 1, code.to_be_bytes()[1]]
        } else {
            &[&[0x0a, 2][..], &code.to_be_bytes()].concat()
        };
        element(
            tag,
            &[code, &element(0x04, &[b"dc=matched"]), &element(0x04, &[diagnostic.as_bytes()])],
        )
    }

    /// Success, with a Sync Done control that holds `parts`.
    pub fn done(parts: &[&[u8]]) -> Vec<u8> {
        message(ID, &result(0x65, 0, ""), &[control(SYNC_DONE_OID, &element(0x30, parts))])
    }

    pub fn failed(code: u16, diagnostic: &str) -> Vec<u8> {
        message(ID, &result(0x65, code, diagnostic), &[])
    }

    pub fn extended(id: u32, name: Option<&str>) -> Vec<u8> {
        let name = name.map(|name| element(0x8a, &[name.as_bytes()])).unwrap_or_default();
        let result = [&[0x0a, 1, 52, 4, 0][..], &element(0x04, &[b"going down"]), &name].concat();
        message(id, &element(0x78, &[&result]), &[])
    }
}
use wire::{FALSE, TRUE};

fn uuid(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

fn uuids(numbers: &[u8]) -> Vec<Uuid> {
    numbers.iter().map(|&n| uuid(n)).collect()
}

/// Feeds messages to a session; the entries it handed out, and the outcome.
fn refresh(
    session: &mut SyncSession,
    messages: &[Vec<u8>],
) -> Result<(Vec<Uuid>, RefreshOutcome), SessionError> {
    let mut entries = Vec::new();
    for bytes in messages {
        match session.handle(&LdapMessage::decode(bytes, &Limits::default()).unwrap())? {
            SyncEvent::Entry { uuid, entry } => {
                assert_eq!(entry.dn(), "uid=x");
                entries.push(uuid);
            }
            SyncEvent::Ignored => {}
            SyncEvent::Finished(outcome) => return Ok((entries, outcome)),
            SyncEvent::RefreshRequired { diagnostic } => panic!("refresh required: {diagnostic}"),
        }
    }
    panic!("the refresh has not ended");
}

fn session(provider: Provider, cookie: Option<&str>) -> SyncSession {
    SyncSession::new(provider, cookie.map(str::as_bytes), ID, &Limits::default())
}

fn outcome(provider: Provider, cookie: Option<&str>, messages: &[Vec<u8>]) -> RefreshOutcome {
    refresh(&mut session(provider, cookie), messages).unwrap().1
}

fn error(provider: Provider, cookie: Option<&str>, messages: &[Vec<u8>]) -> SessionError {
    refresh(&mut session(provider, cookie), messages).unwrap_err()
}

#[test]
fn without_a_cookie_what_was_received_is_everything() {
    let messages = |done: Vec<u8>| {
        [wire::entry(1, uuid(2)), wire::entry(1, uuid(1)), wire::entry(1, uuid(2)), done]
    };
    for provider in ALL {
        for rest in [&[][..], FALSE, TRUE] {
            let (entries, outcome) = refresh(
                &mut session(provider, None),
                &messages(wire::done(&[&wire::cookie("c"), rest])),
            )
            .unwrap();
            assert_eq!(entries, uuids(&[2, 1, 2]));
            assert_eq!(outcome.present, Some(uuids(&[1, 2])), "{provider:?} {rest:?}");
            assert_eq!((outcome.deleted, outcome.cookie), (vec![], NextCookie::New(b"c".to_vec())));
        }
        assert_eq!(
            outcome(provider, None, &[wire::done(&[])]).present,
            Some(vec![]),
            "an empty directory"
        );
        // A deletion in a full refresh, before and after the entry.
        let all = [
            wire::deleted(&uuids(&[1, 3])),
            wire::entry(1, uuid(1)),
            wire::entry(1, uuid(2)),
            wire::deleted(&[uuid(2)]),
            wire::done(&[]),
        ];
        assert_eq!(outcome(provider, None, &all).present, Some(uuids(&[1])));
    }
}

#[test]
fn absence_means_deletion_only_where_the_server_says_so() {
    use Provider::{Ds389, OpenLdap, Rfc4533};
    let nothing = || vec![];
    let changed = || vec![wire::entry(1, uuid(5))];
    let present = || {
        vec![
            wire::present(&uuids(&[2, 1])),
            wire::entry(1, uuid(3)),
            wire::present(&uuids(&[4, 1])),
        ]
    };
    let present_by_entry = || vec![wire::entry(0, uuid(1)), wire::entry(2, uuid(2))];
    let deleted = || {
        vec![wire::deleted(&uuids(&[9, 8])), wire::entry(1, uuid(3)), wire::deleted(&uuids(&[8]))]
    };
    let deleted_by_entry = || vec![wire::entry(3, uuid(9)), wire::entry(1, uuid(3))];
    let both_phases = || {
        vec![
            wire::present(&uuids(&[1, 2])),
            wire::info(&wire::element(0xa2, &[FALSE])),
            wire::deleted(&uuids(&[2])),
            wire::entry(1, uuid(3)),
        ]
    };
    type Row = (
        &'static str,
        Vec<Provider>,
        Vec<Vec<u8>>,
        &'static [u8],
        Option<&'static [u8]>,
        &'static [u8],
    );
    let table: Vec<Row> = vec![
        ("no change", vec![OpenLdap, Rfc4533], nothing(), TRUE, None, &[]),
        ("no change", vec![Ds389], nothing(), &[], None, &[]),
        (
            "everything gone: an empty present phase",
            vec![OpenLdap, Rfc4533],
            nothing(),
            &[],
            Some(&[]),
            &[],
        ),
        ("a change", vec![OpenLdap, Rfc4533], changed(), TRUE, None, &[]),
        ("a change", vec![Ds389], changed(), &[], None, &[]),
        (
            "full content for an old cookie",
            vec![OpenLdap, Rfc4533],
            changed(),
            &[],
            Some(&[5]),
            &[],
        ),
        (
            "full content, FALSE spelled out",
            vec![OpenLdap, Rfc4533],
            changed(),
            FALSE,
            Some(&[5]),
            &[],
        ),
        (
            "present sets and entries",
            vec![OpenLdap, Rfc4533],
            present(),
            &[],
            Some(&[1, 2, 3, 4]),
            &[],
        ),
        ("present sets are not believed", vec![Ds389], present(), &[], None, &[]),
        (
            "present sets, but TRUE: nothing is gone",
            vec![OpenLdap, Rfc4533],
            present(),
            TRUE,
            None,
            &[],
        ),
        (
            "present entry by entry; modify is a change",
            vec![OpenLdap, Rfc4533],
            present_by_entry(),
            &[],
            Some(&[1, 2]),
            &[],
        ),
        ("delete sets", vec![OpenLdap, Rfc4533], deleted(), TRUE, None, &[8, 9]),
        ("delete sets", vec![Ds389], deleted(), &[], None, &[8, 9]),
        ("deleted entry by entry", vec![OpenLdap, Rfc4533], deleted_by_entry(), TRUE, None, &[9]),
        ("deleted entry by entry", vec![Ds389], deleted_by_entry(), &[], None, &[9]),
        (
            "present phase, then delete phase",
            vec![OpenLdap, Rfc4533],
            both_phases(),
            TRUE,
            Some(&[1, 3]),
            &[],
        ),
        (
            "delete sets, then an absence that counts",
            vec![OpenLdap, Rfc4533],
            deleted(),
            &[],
            Some(&[3]),
            &[],
        ),
    ];
    for (what, providers, mut messages, refresh_deletes, present, deleted) in table {
        messages.push(wire::done(&[&wire::cookie("new"), refresh_deletes]));
        for provider in providers {
            let outcome = outcome(provider, Some("old"), &messages);
            assert_eq!(outcome.present, present.map(uuids), "{what}, {provider:?}");
            assert_eq!(outcome.deleted, uuids(deleted), "{what}, {provider:?}");
            assert_eq!(outcome.cookie, NextCookie::New(b"new".to_vec()), "{what}, {provider:?}");
        }
    }
}

#[test]
fn phases_have_an_order() {
    let present_ends = || wire::info(&wire::element(0xa2, &[FALSE]));
    let delete_ends = || wire::info(&wire::element(0xa1, &[FALSE]));
    for messages in [
        vec![wire::deleted(&uuids(&[2])), present_ends()],
        vec![wire::entry(3, uuid(2)), present_ends()],
        vec![delete_ends(), present_ends()],
        vec![present_ends(), present_ends()],
    ] {
        assert_eq!(error(Provider::OpenLdap, Some("old"), &messages), SessionError::OutOfOrder);
    }
    let in_order = [present_ends(), wire::deleted(&uuids(&[2])), delete_ends(), wire::done(&[])];
    assert_eq!(outcome(Provider::OpenLdap, Some("old"), &in_order).present, Some(vec![]));
}

#[test]
fn the_last_message_about_an_entry_counts() {
    let messages = [
        wire::entry(1, uuid(1)),
        wire::deleted(&uuids(&[1, 2, 3])),
        wire::entry(1, uuid(2)), // deleted and added again
        wire::entry(1, uuid(3)),
        wire::deleted(&uuids(&[3])), // and deleted again
        wire::done(&[TRUE]),
    ];
    for provider in ALL {
        let (entries, outcome) = refresh(&mut session(provider, Some("old")), &messages).unwrap();
        assert_eq!(entries, uuids(&[1, 2, 3]));
        assert_eq!(
            (outcome.deleted, outcome.deletions_reported),
            (uuids(&[1, 3]), 4),
            "{provider:?}"
        );
    }
}

#[test]
fn cookies() {
    let csn =
        |day: u8, server: &str| format!("202601{day:02}000000.000000Z#000000#{server}#000000");
    let (a1, a2, b1) = (csn(1, "001"), csn(2, "001"), csn(1, "002"));
    let sent = format!("rid=000,csn={a1};{b1}");
    let new = |provider, sent: Option<&str>, parts: &[&[u8]]| {
        outcome(provider, sent, &[wire::done(parts)]).cookie
    };
    let changed = wire::cookie(&format!("rid=000,sid=001,csn={a2}"));

    for provider in ALL {
        assert_eq!(new(provider, Some("old"), &[TRUE]), NextCookie::Absent, "keep the one sent");
        assert_eq!(new(provider, None, &[]), NextCookie::Absent);
        assert_eq!(
            new(provider, None, &[&wire::cookie("")]),
            NextCookie::Absent,
            "running again would not help"
        );
        assert_eq!(
            new(provider, None, &[&changed]),
            NextCookie::New(format!("rid=000,sid=001,csn={a2}").into_bytes())
        );
    }
    // By its form: a slapd may hide what it is.
    for provider in [Provider::OpenLdap, Provider::Rfc4533] {
        assert_eq!(
            new(provider, Some(&sent), &[&changed, TRUE]),
            NextCookie::New(format!("rid=000,sid=001,csn={a2};{b1}").into_bytes())
        );
        assert_eq!(
            new(provider, Some(&sent), &[&wire::cookie("opaque")]),
            NextCookie::New(b"opaque".to_vec())
        );
    }

    // The newest cookie of the stream, wherever it stood.
    let uuid = uuid(1);
    let early: [(&str, Vec<u8>); 4] = [
        (
            "entry",
            wire::message(
                ID,
                &wire::entry_op("uid=x"),
                &[wire::sync_state(1, uuid, &wire::cookie("early"))],
            ),
        ),
        ("reference", wire::reference(&[wire::sync_state(1, uuid, &wire::cookie("early"))])),
        ("newcookie", wire::info(&wire::element(0x80, &[b"early"]))),
        ("set", wire::info(&wire::element(0xa3, &[&wire::cookie("early"), &[0x31, 0]]))),
    ];
    for (what, message) in early {
        let alone =
            outcome(Provider::Rfc4533, Some("old"), &[message.clone(), wire::done(&[TRUE])]);
        assert_eq!(alone.cookie, NextCookie::New(b"early".to_vec()), "{what}");
        let both = outcome(
            Provider::Rfc4533,
            Some("old"),
            &[message, wire::done(&[&wire::cookie("late"), TRUE])],
        );
        assert_eq!(both.cookie, NextCookie::New(b"late".to_vec()), "{what}");
    }
}

#[test]
fn an_answer_that_is_older_than_the_cookie_is_no_refresh() {
    let csn =
        |day: u8, server: &str| format!("202601{day:02}000000.000000Z#000000#{server}#000000");
    let (old, new) = (
        format!("rid=000,csn={};{}", csn(1, "001"), csn(2, "002")),
        format!("rid=000,csn={};{}", csn(2, "001"), csn(1, "002")),
    );
    for refresh_deletes in [&[][..], TRUE] {
        let answer = |cookie: &str| {
            [wire::entry(1, uuid(1)), wire::done(&[&wire::cookie(cookie), refresh_deletes])]
        };
        // Ahead for one provider and behind for the other, both ways.
        for (provider, sent, received) in
            [(Provider::OpenLdap, &old, &new), (Provider::Rfc4533, &new, &old)]
        {
            let failure = error(provider, Some(sent), &answer(received));
            assert_eq!(failure, SessionError::Behind);
            assert_eq!(failure.to_string(), "the server is older than the cookie that it was sent");
        }
        outcome(Provider::OpenLdap, Some(&old), &answer(&old));
        outcome(Provider::OpenLdap, None, &answer(&old));
        // Where absence means deletion, so does what lacks a provider altogether: such a server is
        // being filled, perhaps.
        for lacking in
            [format!("rid=000,csn={}", csn(2, "002")), format!("rid=000,csn={}", csn(3, "003"))]
        {
            let answered = refresh(&mut session(Provider::OpenLdap, Some(&old)), &answer(&lacking));
            assert_eq!(
                answered.is_err_and(|failure| failure == SessionError::Behind),
                refresh_deletes.is_empty(),
                "{lacking}"
            );
        }
        // Another server's cookies say nothing of the kind.
        outcome(Provider::Ds389, Some("h:389#cn=x:dc=y:f#9"), &answer("h:389#cn=x:dc=y:f#8"));
    }
}

#[test]
fn an_empty_cookie_for_a_cookie_says_nothing_about_deletions() {
    for provider in ALL {
        for refresh_deletes in [&[][..], TRUE] {
            let messages = [
                wire::entry(1, uuid(1)),
                wire::deleted(&uuids(&[2])),
                wire::done(&[&wire::cookie(""), refresh_deletes]),
            ];
            let outcome = outcome(provider, Some("garbage"), &messages);
            assert_eq!(
                (outcome.cookie, outcome.present, outcome.deleted),
                (NextCookie::Unusable, None, vec![]),
                "{provider:?}"
            );
        }
        // An empty cookie in the request is none.
        let outcome = outcome(
            provider,
            Some(""),
            &[wire::entry(1, uuid(1)), wire::done(&[&wire::cookie("c")])],
        );
        assert_eq!(outcome.present, Some(uuids(&[1])), "{provider:?}");
    }
}

#[test]
fn references_are_counted_and_never_listed() {
    for provider in ALL {
        let messages = [
            wire::reference(&[]),
            wire::reference(&[wire::sync_state(1, uuid(1), &[])]),
            wire::done(&[]),
        ];
        let outcome = outcome(provider, None, &messages);
        assert_eq!((outcome.references, outcome.present), (2, Some(vec![])), "{provider:?}");
    }
}

#[test]
fn refresh_required() {
    let required = |cookie| {
        let message = wire::failed(4096, "Invalid session cookie");
        let mut session = session(Provider::Ds389, cookie);
        match session.handle(&LdapMessage::decode(&message, &Limits::default()).unwrap())? {
            SyncEvent::RefreshRequired { diagnostic } => {
                Ok::<_, SessionError>((diagnostic.into_owned(), session))
            }
            other => panic!("{other:?}"),
        }
    };
    let (diagnostic, mut session) = required(Some("stale")).unwrap();
    assert_eq!(diagnostic, "Invalid session cookie");
    assert_eq!(
        refresh(&mut session, &[wire::done(&[])]).unwrap_err(),
        SessionError::AfterEnd { operation: "searchResDone" }
    );
    // Without a cookie there is nothing to start over without.
    let SessionError::Failed { code, .. } = required(None).unwrap_err() else { panic!() };
    assert_eq!(code, ResultCode::SYNC_REFRESH_REQUIRED);
}

#[test]
fn failures_carry_what_the_server_said() {
    let failure = error(
        Provider::OpenLdap,
        Some("c"),
        &[wire::entry(1, uuid(1)), wire::failed(53, "consumer state is newer than provider!")],
    );
    let expected = "the server refused the refresh: unwillingToPerform (53), \"consumer state is newer than provider!\" \
                    (nearest existing entry: dc=matched)";
    assert_eq!(failure.to_string(), expected);
    assert!(matches!(
        error(Provider::OpenLdap, None, &[wire::failed(299, "")]),
        SessionError::Failed { code: ResultCode(299), .. }
    ));
}

#[test]
fn success_without_synchronisation_is_no_success() {
    let plain_done = wire::message(ID, &wire::result(0x65, 0, ""), &[]);
    let plain_entry = wire::message(ID, &wire::entry_op("uid=plain"), &[]);
    for provider in ALL {
        assert_eq!(
            error(provider, None, std::slice::from_ref(&plain_done)),
            SessionError::MissingSyncDone
        );
        let missing = SessionError::MissingSyncState { dn: "uid=plain".to_owned() };
        assert_eq!(error(provider, None, std::slice::from_ref(&plain_entry)), missing);
    }
}

#[test]
fn malformed_controls_name_the_entry() {
    let twice = [wire::sync_state(1, uuid(1), &[]), wire::sync_state(1, uuid(1), &[])];
    let short = [wire::control(SYNC_STATE_OID, &[0x30, 3, 0x0a, 1, 1])];
    let empty = [wire::element(0x30, &[&wire::element(0x04, &[SYNC_STATE_OID.as_bytes()])])];
    let table = [
        (&twice[..], "the entry uid=x: syncStateValue at byte 0: more than 1 elements"),
        (&short, "the entry uid=x: syncStateValue.entryUUID at byte 5: missing"),
        (&empty, "the entry uid=x: syncStateValue at byte 0: missing"),
    ];
    for (controls, text) in table {
        assert_eq!(
            error(
                Provider::OpenLdap,
                None,
                &[wire::message(ID, &wire::entry_op("uid=x"), controls)]
            )
            .to_string(),
            text
        );
    }
    let bad_done =
        wire::message(ID, &wire::result(0x65, 0, ""), &[wire::control(SYNC_DONE_OID, &[0x31, 0])]);
    assert_eq!(
        error(Provider::OpenLdap, None, &[bad_done]).to_string(),
        "syncDoneValue at byte 0: tag 0x31 where 0x30 was expected"
    );
}

#[test]
fn message_ids_and_operations() {
    let other =
        wire::message(ID + 1, &wire::entry_op("uid=x"), &[wire::sync_state(1, uuid(1), &[])]);
    let expected = SessionError::UnexpectedMessageId {
        expected: ID,
        found: ID + 1,
        operation: "searchResEntry",
    };
    assert_eq!(error(Provider::OpenLdap, None, &[other]), expected);
    let bind = wire::message(ID, &wire::result(0x61, 0, ""), &[]);
    assert_eq!(
        error(Provider::OpenLdap, None, &[bind]),
        SessionError::UnexpectedOperation { operation: "bindResponse" }
    );
    let extended = wire::extended(ID, None);
    assert_eq!(
        error(Provider::OpenLdap, None, &[extended]),
        SessionError::UnexpectedOperation { operation: "extendedResp" }
    );
    let unsolicited_entry = wire::message(0, &wire::entry_op("uid=x"), &[]);
    assert!(matches!(
        error(Provider::OpenLdap, None, &[unsolicited_entry]),
        SessionError::UnexpectedMessageId { found: 0, .. }
    ));
}

#[test]
fn unsolicited_notifications() {
    let notice =
        error(Provider::OpenLdap, None, &[wire::extended(0, Some("1.3.6.1.4.1.1466.20036"))]);
    assert_eq!(
        notice,
        SessionError::Disconnected {
            code: ResultCode::UNAVAILABLE,
            diagnostic: "going down".to_owned()
        }
    );
    assert_eq!(
        notice.to_string(),
        "the server ended the connection: unavailable (52), \"going down\""
    );
    // Others are ignored, and so are intermediate responses that are not ours.
    let foreign =
        wire::message(ID, &wire::element(0x79, &[&wire::element(0x80, &[b"1.2.3"])]), &[]);
    let nameless = wire::message(ID, &wire::element(0x79, &[]), &[]);
    let messages = [
        wire::extended(0, Some("1.2.3")),
        wire::extended(0, None),
        foreign,
        nameless,
        wire::done(&[]),
    ];
    assert_eq!(outcome(Provider::OpenLdap, None, &messages).present, Some(vec![]));
}

#[test]
fn nothing_follows_the_end() {
    for end in
        [wire::done(&[]), wire::failed(53, ""), wire::extended(0, Some("1.3.6.1.4.1.1466.20036"))]
    {
        let mut session = session(Provider::OpenLdap, None);
        let _ = refresh(&mut session, &[end]);
        for message in [wire::entry(1, uuid(1)), wire::done(&[])] {
            assert!(matches!(
                refresh(&mut session, &[message]),
                Err(SessionError::AfterEnd { .. })
            ));
        }
    }
}

#[test]
fn the_limit_of_uuids_counts_all_kinds() {
    let limits = Limits { max_uuids: 3, ..Limits::default() };
    let three =
        || vec![wire::entry(1, uuid(1)), wire::present(&uuids(&[2])), wire::deleted(&uuids(&[3]))];
    let run = |messages: Vec<Vec<u8>>| {
        refresh(&mut SyncSession::new(Provider::OpenLdap, Some(b"c"), ID, &limits), &messages)
    };
    assert!(run([three(), vec![wire::done(&[])]].concat()).is_ok());
    for one_more in [
        wire::entry(1, uuid(1)),
        wire::entry(0, uuid(1)),
        wire::entry(3, uuid(1)),
        wire::present(&uuids(&[2])),
        wire::deleted(&uuids(&[3])),
    ] {
        assert_eq!(
            run([three(), vec![one_more]].concat()).unwrap_err(),
            SessionError::TooManyUuids { max: 3 }
        );
    }
}
