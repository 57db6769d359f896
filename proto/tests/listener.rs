//! The listener on what real servers have sent in persist mode, and on messages that they never
//! send.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

mod common;

use common::{Case, cases, frames};
use ldap_content_sync::ber::Reader;
use ldap_content_sync::{
    Frame, LdapMessage, Limits, Listener, ListenerEvent, ListenerStage, SessionError, frame,
};

/// What a stream made of the listener.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Rings of the refresh stage, the message that ends it included, rings of the persist stage,
    /// and changes outside the content.
    rings: [usize; 3],
    quiet: usize,
    persisting: bool,
    /// The result code, if the server ended the search.
    end: Option<u32>,
}

fn is_persist(case: &Case) -> bool {
    case.request.contains("refreshAndPersist") || case.name.contains("persist")
}

/// The cookie of the last search of a capture, and the messages that answer it.
fn search(case: &Case) -> (Option<Vec<u8>>, Vec<&[u8]>) {
    let cookie = frames(&case.sent).into_iter().filter_map(sent_cookie).next_back().flatten();
    let answers = frames(&case.received)
        .into_iter()
        .filter(|message| !matches!(message[..].get(5), Some(0x61)) && id(message) == 2)
        .collect();
    (cookie, answers)
}

fn id(message: &[u8]) -> u32 {
    LdapMessage::decode(message, &Limits::default()).unwrap().message_id
}

/// The cookie of a search request: `Some(None)` for a search without one.
fn sent_cookie(request: &[u8]) -> Option<Option<Vec<u8>>> {
    let message: rasn_ldap::LdapMessage = rasn::ber::decode(request).unwrap();
    let controls = message.controls.unwrap_or_default();
    let value = controls.first()?.control_value.as_ref()?;
    let mut value = Reader::new(value).element("").unwrap().reader();
    value.element("mode").unwrap();
    Some((!value.is_empty()).then(|| value.element("cookie").unwrap().contents.to_vec()))
}

fn hear(cookie: Option<&[u8]>, messages: &[&[u8]]) -> Result<Heard, SessionError> {
    let limits = Limits::default();
    let mut listener = Listener::new(cookie, 2, &limits);
    let mut heard = Heard::default();
    for bytes in messages {
        let stage = usize::from(listener.stage() == ListenerStage::Persisting);
        match listener.handle(&LdapMessage::decode(bytes, &limits).unwrap())? {
            ListenerEvent::Quiet => heard.quiet += 1,
            ListenerEvent::Ring => heard.rings[stage] += 1,
            ListenerEvent::Outside => heard.rings[2] += 1,
            ListenerEvent::CookieRefused { .. } => heard.end = Some(4096),
            ListenerEvent::Ended { code, .. } => heard.end = Some(code.0),
        }
        heard.persisting |= listener.stage() == ListenerStage::Persisting;
    }
    Ok(heard)
}

#[test]
fn every_captured_change_rings_and_silence_does_not() {
    // Rings of the refresh stage, rings of the persist stage and changes outside the content; quiet
    // messages; the end.
    let expected = [
        ("37-persist-sizelimit", "ds389", [5, 0, 0], 0, None),
        ("37-persist-sizelimit", "slapd", [5, 0, 0], 0, Some(4)),
        ("70-persist-initial", "ds389", [51, 15, 0], 0, None),
        ("70-persist-initial", "slapd", [51, 15, 1], 0, None),
        ("71-persist-cookie-nochange", "", [0, 1, 0], 1, None),
        ("72-persist-cookie-changed", "ds389", [4, 1, 0], 0, None),
        ("72-persist-cookie-changed", "slapd-log100", [5, 1, 0], 0, None),
        ("72-persist-cookie-changed", "slapd-nolog", [4, 1, 0], 0, None),
        ("73-persist-filter", "ds389", [5, 5, 0], 0, None),
        ("73-persist-filter", "slapd", [5, 5, 1], 0, None),
        ("74-persist-abandon", "ds389", [2, 1, 0], 0, None),
        ("74-persist-abandon", "slapd", [2, 0, 0], 0, None),
        ("75-persist-cancel", "ds389", [2, 0, 0], 0, None),
        ("75-persist-cancel", "slapd", [2, 0, 0], 0, Some(118)),
        ("76-persist-badcookie", "ds389", [0, 0, 0], 0, Some(4096)),
        ("76-persist-badcookie", "slapd", [51, 0, 0], 0, None),
        ("94-persist-abandon-2", "ds389", [2, 3, 0], 0, None),
        ("a2-sigterm-persist", "ds389", [2, 0, 0], 0, None),
        ("a3-sigkill-persist", "ds389", [2, 0, 0], 0, None),
        ("a4-idletimeout-persist", "ds389", [2, 1, 0], 0, None),
        ("b2-oper-attrs-persist", "ds389", [2, 1, 0], 0, None),
        ("99b-restored-backup-persist", "slapd", [0, 0, 0], 0, Some(53)),
        ("03-persist-critical", "slapd-nosync", [0, 0, 0], 0, Some(12)),
    ];
    let (mut checked, mut plain) = (0, 0);
    for case in cases().iter().filter(|case| is_persist(case)) {
        let (cookie, messages) = search(case);
        let (folder, name) = case.name.split_once('/').unwrap();
        let row = expected.iter().find(|row| name.starts_with(row.0) && folder.starts_with(row.1));
        let heard = hear(cookie.as_deref(), &messages);
        let Some((_, _, rings, quiet, end)) = row else {
            // Without content synchronisation a server ignores a control that is not critical.
            assert!(
                matches!(heard, Err(SessionError::MissingSyncState { .. })),
                "{}: {heard:?}",
                case.name
            );
            plain += 1;
            continue;
        };
        let heard = heard.unwrap();
        assert_eq!((&heard.rings, heard.quiet, &heard.end), (rings, *quiet, end), "{}", case.name);
        // The refresh stage ends in each capture that has one.
        let cut_short = name.starts_with("37") || (heard.rings == [0, 0, 0] && end.is_some());
        assert_eq!(heard.persisting, !cut_short, "{}", case.name);
        checked += 1;
    }
    assert_eq!((checked, plain), (33, 1));
}

#[test]
fn a_stream_cut_at_any_byte_rings_as_far_as_it_goes() {
    let limits = Limits::default();
    for case in cases().iter().filter(|case| is_persist(case) && case.received.len() < 8192) {
        let (cookie, messages) = search(case);
        let stream = messages.concat();
        let whole = hear(cookie.as_deref(), &messages).map(|heard| heard.rings.iter().sum());
        let Ok(whole): Result<usize, _> = whole else { continue };
        let mut before = 0;
        for cut in 0..=stream.len() {
            let mut listener = Listener::new(cookie.as_deref(), 2, &limits);
            let (mut rest, mut rings) = (&stream[..cut], 0);
            while let Frame::Complete { len } = frame(rest, limits.max_message).unwrap() {
                let message = LdapMessage::decode(&rest[..len], &limits).unwrap();
                let event = listener.handle(&message).unwrap();
                let rang = matches!(event, ListenerEvent::Ring | ListenerEvent::Outside);
                rings += usize::from(rang);
                rest = &rest[len..];
            }
            assert!((before..=before + 1).contains(&rings), "{} cut at {cut}", case.name);
            before = rings;
        }
        assert_eq!(before, whole, "{}", case.name);
    }
}

/// LDAPMessages of the persist stage, by hand.
mod wire {
    pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let contents = parts.concat();
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], &contents].concat()
    }

    pub fn message(id: u8, op: &[u8], controls: &[u8]) -> Vec<u8> {
        element(0x30, &[&[2, 1, id], op, controls])
    }

    pub fn entry(controls: &[u8]) -> Vec<u8> {
        message(2, &element(0x64, &[&element(4, &[b"uid=x"]), &element(0x30, &[])]), controls)
    }

    pub fn state(value: &[u8]) -> Vec<u8> {
        let oid = ldap_content_sync::sync_control::SYNC_STATE_OID.as_bytes();
        element(0xa0, &[&element(0x30, &[&element(4, &[oid]), &element(4, &[value])])])
    }

    pub fn info(value: &[u8]) -> Vec<u8> {
        let oid = ldap_content_sync::sync_control::SYNC_INFO_OID.as_bytes();
        message(2, &element(0x79, &[&element(0x80, &[oid]), &element(0x81, &[value])]), &[])
    }

    pub fn done(code: &[u8]) -> Vec<u8> {
        message(2, &element(0x65, &[&element(0x0a, &[code]), &[4, 0], &element(4, &[b"why"])]), &[])
    }

    pub fn notice(name: &str) -> Vec<u8> {
        let name = element(0x8a, &[name.as_bytes()]);
        message(0, &element(0x78, &[&[0x0a, 1, 52, 4, 0], &element(4, &[b"bye"]), &name]), &[])
    }
}

/// refreshDelete with refreshDone TRUE: the persist stage begins.
const REFRESHED: &[u8] = &[0xa1, 0];
const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";

#[test]
fn an_end_is_an_event_and_nothing_comes_after_it() {
    let bytes: &[&[u8]] = &[
        &wire::done(&[0]),
        &wire::done(&[0x10, 0]),
        &wire::done(&[3]),
        &wire::notice(NOTICE_OF_DISCONNECTION),
    ];
    let limits = Limits::default();
    for stage in [ListenerStage::Refreshing, ListenerStage::Persisting] {
        for (number, end) in bytes.iter().enumerate() {
            for cookie in [None, Some(&b""[..]), Some(b"c")] {
                let mut listener = Listener::new(cookie, 2, &limits);
                if stage == ListenerStage::Persisting {
                    let message = wire::info(REFRESHED);
                    let message = LdapMessage::decode(&message, &limits).unwrap();
                    assert_eq!(listener.handle(&message), Ok(ListenerEvent::Quiet));
                }
                assert_eq!(listener.stage(), stage);
                let end = LdapMessage::decode(end, &limits).unwrap();
                match listener.handle(&end).unwrap() {
                    ListenerEvent::CookieRefused { diagnostic } => {
                        assert_eq!((number, cookie, &*diagnostic), (1, Some(&b"c"[..]), "why"));
                    }
                    ListenerEvent::Ended { code, diagnostic } => {
                        let code = (code.0, &*diagnostic);
                        assert_eq!(
                            code,
                            [(0, "why"), (4096, "why"), (3, "why"), (52, "bye")][number]
                        );
                        assert!(number != 1 || cookie != Some(b"c"), "it is refused");
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(listener.stage(), ListenerStage::Over);
                let after = listener.handle(&end);
                assert!(matches!(after, Err(SessionError::AfterEnd { .. })), "{after:?}");
            }
        }
    }
}

#[test]
fn a_message_of_another_kind_is_an_error_value() {
    let limits = Limits::default();
    let state = wire::state(&wire::element(0x30, &[&[0x0a, 1, 2, 4, 16], &[7; 16]]));
    let plain = wire::element(0x64, &[&wire::element(4, &[b"uid=x"]), &wire::element(0x30, &[])]);
    let extended = wire::element(0x78, &[&[0x0a, 1, 0, 4, 0, 4, 0]]);
    let rows: [(&str, Vec<u8>); 8] = [
        ("without Sync State", wire::entry(&[])),
        ("syncStateValue", wire::entry(&wire::state(&[1, 2, 3]))),
        ("syncInfoValue", wire::info(&[0xa9, 0])),
        ("syncInfoValue", wire::info(&[0xa1, 3, 1, 1])),
        ("message ID 3", wire::message(3, &plain, &state)),
        ("message ID 0", wire::message(0, &plain, &state)),
        ("in answer to a search", wire::message(2, &extended, &[])),
        ("bind", wire::message(2, &wire::element(0x61, &[&[0x0a, 1, 0, 4, 0, 4, 0]]), &[])),
    ];
    for persisting in [false, true] {
        for (expected, bytes) in &rows {
            let mut listener = Listener::new(Some(b"c"), 2, &limits);
            if persisting {
                let message = wire::info(REFRESHED);
                listener.handle(&LdapMessage::decode(&message, &limits).unwrap()).unwrap();
            }
            let error = listener.handle(&LdapMessage::decode(bytes, &limits).unwrap()).unwrap_err();
            let text = error.to_string().to_lowercase();
            assert!(text.contains(&expected.to_lowercase()), "{expected}: {text}");
            assert_eq!(listener.stage(), ListenerStage::Over);
        }
    }
}

#[test]
fn other_notices_and_unknown_responses_do_not_ring() {
    let limits = Limits::default();
    let mut listener = Listener::new(None, 2, &limits);
    let oid = wire::element(0x80, &[b"1.2.3"]);
    for bytes in [wire::notice("1.2.3"), wire::message(2, &wire::element(0x79, &[&oid]), &[])] {
        let message = LdapMessage::decode(&bytes, &limits).unwrap();
        assert_eq!(listener.handle(&message), Ok(ListenerEvent::Quiet));
    }
}

#[test]
fn a_cookie_above_the_limit_is_an_error_value() {
    let limits = Limits { max_cookie: 3, ..Limits::default() };
    for (cookie, is_within) in [(&b"abc"[..], true), (b"abcd", false)] {
        let bytes = wire::info(&wire::element(0x80, &[cookie]));
        let message = LdapMessage::decode(&bytes, &limits).unwrap();
        let heard = Listener::new(Some(b"c"), 2, &limits).handle(&message);
        assert_eq!(heard == Ok(ListenerEvent::Ring), is_within, "{heard:?}");
    }
}

#[test]
fn a_ring_may_end_the_refresh_stage() {
    let limits = Limits::default();
    for (value, stage) in [
        (&[0xa1, 3, 4, 1, b'd'][..], ListenerStage::Persisting),
        (&[0xa2, 0], ListenerStage::Persisting),
        (&[0xa2, 3, 1, 1, 0], ListenerStage::Refreshing),
    ] {
        let mut listener = Listener::new(Some(b"c"), 2, &limits);
        let bytes = wire::info(value);
        let message = LdapMessage::decode(&bytes, &limits).unwrap();
        assert_eq!(listener.handle(&message), Ok(ListenerEvent::Ring));
        assert_eq!(listener.stage(), stage);
    }
}

/// The bind of the refresh that a ring starts is such a change, with the overlay lastbind.
#[test]
fn a_cookie_alone_tells_a_change_outside_the_content_in_the_persist_stage() {
    let limits = Limits::default();
    let cookie = wire::info(&wire::element(0x80, &[b"new"]));
    let cookie = LdapMessage::decode(&cookie, &limits).unwrap();
    let refreshed = wire::info(REFRESHED);
    let refreshed = LdapMessage::decode(&refreshed, &limits).unwrap();
    let mut listener = Listener::new(Some(b"c"), 2, &limits);
    let events = [&cookie, &refreshed, &cookie].map(|message| listener.handle(message).unwrap());
    assert_eq!(events, [ListenerEvent::Ring, ListenerEvent::Quiet, ListenerEvent::Outside]);
    assert_eq!(listener.stage(), ListenerStage::Persisting);
}
