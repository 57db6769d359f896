//! A persistent search: a listener beside a plain model of which messages ring.

use ldap_content_sync::sync_control::{SyncInfo, SyncState};
use ldap_content_sync::{
    Frame, LdapMessage, Limits, Listener, ListenerEvent, ListenerStage, ProtocolOp, ResultCode,
    SessionError, frame,
};

/// Small, so that they are met.
const LIMITS: Limits =
    Limits { max_message: 1 << 16, max_controls: 8, max_uuids: 600, max_cookie: 4096 };

/// One byte for the cookie, then the stream. Its first message says what the message ID is.
pub fn run(data: &[u8]) {
    let Some((&choice, mut stream)) = data.split_first() else { return };
    let cookie = [None, Some(&b""[..]), Some(b"c")][usize::from(choice) % 3];
    let sent = cookie.filter(|cookie| !cookie.is_empty());
    let mut listener: Option<Listener> = None;
    let mut id = 0;
    let mut before = ListenerStage::Refreshing;
    while let Ok(Frame::Complete { len }) = frame(stream, LIMITS.max_message) {
        let (bytes, rest) = stream.split_at(len);
        stream = rest;
        let Ok(message) = LdapMessage::decode(bytes, &LIMITS) else { return };
        let listener = listener.get_or_insert_with(|| {
            id = message.message_id;
            Listener::new(cookie, id, &LIMITS)
        });
        let event = listener.handle(&message);
        let after = listener.stage();
        // A stage never comes back.
        assert!((before as u8) <= (after as u8), "{before:?} {after:?}");
        match (before, event) {
            (ListenerStage::Over, event) => {
                assert!(matches!(event, Err(SessionError::AfterEnd { .. })), "{event:?}");
            }
            (_, Err(error)) => {
                assert!(!error.to_string().is_empty());
                assert!(!matches!(error, SessionError::AfterEnd { .. }));
                assert_eq!(after, ListenerStage::Over);
            }
            (_, Ok(ListenerEvent::CookieRefused { .. })) => {
                assert!(sent.is_some());
                assert_eq!(done(&message), Some(ResultCode::SYNC_REFRESH_REQUIRED));
                assert_eq!(after, ListenerStage::Over);
            }
            (_, Ok(ListenerEvent::Ended { code, .. })) => {
                assert!(done(&message).is_none_or(|done| done == code));
                assert!(done(&message).is_some() || message.message_id == 0);
                assert_eq!(after, ListenerStage::Over);
            }
            (_, Ok(event)) => {
                assert_ne!(after, ListenerStage::Over);
                assert_eq!(event, expected(&message, before, sent), "{}", message.op.name());
                assert!(message.message_id == id || message.message_id == 0);
                if before != after {
                    assert!(ends_the_refresh(&message));
                }
            }
        }
        before = after;
    }
}

fn done(message: &LdapMessage<'_>) -> Option<ResultCode> {
    match &message.op {
        ProtocolOp::SearchResultDone(result) => Some(result.code),
        _ => None,
    }
}

fn info<'a>(message: &LdapMessage<'a>) -> Option<SyncInfo<'a>> {
    match &message.op {
        ProtocolOp::IntermediateResponse(response) => {
            SyncInfo::from_intermediate(response, &LIMITS).unwrap()
        }
        _ => None,
    }
}

fn ends_the_refresh(message: &LdapMessage<'_>) -> bool {
    matches!(
        info(message),
        Some(
            SyncInfo::RefreshDelete { refresh_done: true, .. }
                | SyncInfo::RefreshPresent { refresh_done: true, .. }
        )
    )
}

/// The event of a message that the listener has taken.
fn expected(
    message: &LdapMessage<'_>,
    stage: ListenerStage,
    sent: Option<&[u8]>,
) -> ListenerEvent<'static> {
    let persisting = stage == ListenerStage::Persisting;
    let rings = match (&message.op, info(message)) {
        (ProtocolOp::SearchResultEntry(_), _) => true,
        (ProtocolOp::SearchResultReference(_), _) => {
            persisting || SyncState::find(&message.controls, &LIMITS).unwrap().is_some()
        }
        (_, Some(SyncInfo::NewCookie(_))) if persisting => return ListenerEvent::Outside,
        (_, Some(_)) if persisting => true,
        (_, Some(SyncInfo::RefreshPresent { .. })) => true,
        (_, Some(SyncInfo::SyncIdSet { uuids, .. })) => !uuids.is_empty(),
        (_, Some(info)) => info.cookie().is_some_and(|cookie| sent != Some(cookie)),
        (_, None) => false,
    };
    if rings { ListenerEvent::Ring } else { ListenerEvent::Quiet }
}
