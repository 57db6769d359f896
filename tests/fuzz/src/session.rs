//! A refresh: the messages of a stream one after the other, beside a plain model of what RFC 4533
//! makes of them.

use ldap_content_sync::sync_control::{EntryState, SyncDone, SyncInfo, SyncState};
use ldap_content_sync::{
    Frame, LdapMessage, Limits, NextCookie, ProtocolOp, Provider, RefreshOutcome, ResultCode,
    SessionError, SyncEvent, SyncSession, frame,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Small, so that they are met.
const LIMITS: Limits =
    Limits { max_message: 1 << 16, max_controls: 8, max_uuids: 600, max_cookie: 4096 };

/// One byte for provider and cookie, then the stream. Its first message says what the message ID
/// is.
pub fn run(data: &[u8]) {
    let Some((&choice, mut stream)) = data.split_first() else { return };
    let provider =
        [Provider::OpenLdap, Provider::Ds389, Provider::Rfc4533][usize::from(choice) % 3];
    let cookie = [
        None,
        Some(&b""[..]),
        Some(b"rid=000,csn=20261123125319.541811Z#000000#001#000000"),
        Some(b"c"),
    ][usize::from(choice / 3) % 4];
    let mut session: Option<SyncSession> = None;
    let mut model = Model::default();
    let mut id = 0;
    while let Ok(Frame::Complete { len }) = frame(stream, LIMITS.max_message) {
        let (bytes, rest) = stream.split_at(len);
        stream = rest;
        let Ok(message) = LdapMessage::decode(bytes, &LIMITS) else { return };
        let session = session.get_or_insert_with(|| {
            id = message.message_id;
            SyncSession::new(provider, cookie, id, &LIMITS)
        });
        match session.handle(&message) {
            Ok(SyncEvent::Entry { uuid, .. }) => {
                assert!(!model.ended);
                model.take(&message);
                assert_eq!(model.last.get(&uuid), Some(&true));
            }
            Ok(SyncEvent::Ignored) => {
                assert!(!model.ended);
                model.take(&message);
            }
            Ok(SyncEvent::RefreshRequired { .. }) => {
                assert!(!model.ended && cookie.is_some_and(|cookie| !cookie.is_empty()));
                model.ended = true;
            }
            Ok(SyncEvent::Finished(outcome)) => {
                assert!(!model.ended);
                model.finish(
                    &message,
                    &outcome,
                    provider,
                    cookie.filter(|cookie| !cookie.is_empty()),
                );
                model.ended = true;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert_eq!(matches!(error, SessionError::AfterEnd { .. }), model.ended, "{error}");
                model.ended = true;
            }
        }
        assert!(model.mentions <= LIMITS.max_uuids);
    }
}

/// What the messages say, with nothing clever about it.
#[derive(Default)]
struct Model {
    /// By UUID: whether it was alive when it was last mentioned.
    last: BTreeMap<Uuid, bool>,
    mentions: usize,
    deletions: usize,
    references: usize,
    present_phase_ended: bool,
    cookie: Option<Vec<u8>>,
    ended: bool,
}

impl Model {
    fn mention(&mut self, uuid: Uuid, alive: bool) {
        self.last.insert(uuid, alive);
        self.mentions += 1;
        self.deletions += usize::from(!alive);
    }

    fn note(&mut self, cookie: Option<&[u8]>) {
        self.cookie = cookie.map(<[u8]>::to_vec).or(self.cookie.take());
    }

    /// A message that the session has taken.
    fn take(&mut self, message: &LdapMessage<'_>) {
        let state = SyncState::find(&message.controls, &LIMITS);
        match &message.op {
            ProtocolOp::SearchResultEntry(_) => {
                let state = state.unwrap().expect("an entry with its state");
                self.note(state.cookie);
                self.mention(state.uuid, state.state != EntryState::Delete);
            }
            ProtocolOp::SearchResultReference(_) => {
                self.note(state.unwrap().and_then(|state| state.cookie));
                self.references += 1;
            }
            ProtocolOp::IntermediateResponse(response) => {
                match SyncInfo::from_intermediate(response, &LIMITS).unwrap() {
                    Some(SyncInfo::SyncIdSet { cookie, refresh_deletes, uuids }) => {
                        self.note(cookie);
                        uuids.iter().for_each(|uuid| self.mention(uuid, !refresh_deletes));
                    }
                    Some(info) => {
                        self.note(info.cookie());
                        self.present_phase_ended |= matches!(info, SyncInfo::RefreshPresent { .. });
                    }
                    None => {}
                }
            }
            ProtocolOp::ExtendedResponse(_) => assert_eq!(message.message_id, 0),
            other => panic!("{} is ignored", other.name()),
        }
    }

    /// The end of the refresh, with its outcome.
    fn finish(
        &mut self,
        message: &LdapMessage<'_>,
        outcome: &RefreshOutcome,
        provider: Provider,
        sent: Option<&[u8]>,
    ) {
        let ProtocolOp::SearchResultDone(result) = &message.op else {
            panic!("{} ends a refresh", message.op.name())
        };
        assert_eq!(result.code, ResultCode::SUCCESS);
        let done =
            SyncDone::find(&message.controls, &LIMITS).unwrap().expect("a refresh with its end");
        self.note(done.cookie);

        assert_eq!(
            (outcome.references, outcome.deletions_reported),
            (self.references, self.deletions)
        );
        let with = |alive: bool| {
            self.last
                .iter()
                .filter(move |(_, was)| **was == alive)
                .map(|(uuid, _)| *uuid)
                .collect::<Vec<Uuid>>()
        };
        let present_phase = match (sent, provider) {
            (None, _) => true,
            (Some(_), Provider::Ds389) => false,
            (Some(_), _) => !done.refresh_deletes || self.present_phase_ended,
        };
        match &self.cookie {
            Some(cookie) if cookie.is_empty() && sent.is_some() => {
                assert_eq!(outcome.cookie, NextCookie::Unusable);
                assert_eq!((&outcome.present, &outcome.deleted), (&None, &Vec::new()));
                return;
            }
            None => assert_eq!(outcome.cookie, NextCookie::Absent),
            Some(cookie) if cookie.is_empty() => assert_eq!(outcome.cookie, NextCookie::Absent),
            Some(cookie) => {
                let NextCookie::New(new) = &outcome.cookie else {
                    panic!("{:?} of {cookie:02x?}", outcome.cookie)
                };
                assert!(!new.is_empty());
                // Two cookies of slapd's form are merged, whatever the server says that it is.
                let is_slapds = |cookie: &[u8]| cookie.starts_with(b"rid=");
                if !is_slapds(cookie) || !sent.is_some_and(is_slapds) {
                    assert_eq!(new, cookie);
                }
            }
        }
        match present_phase {
            true => {
                assert_eq!((&outcome.present, &outcome.deleted), (&Some(with(true)), &Vec::new()))
            }
            false => assert_eq!((&outcome.present, &outcome.deleted), (&None, &with(false))),
        }
    }
}
