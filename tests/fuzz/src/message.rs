//! One LDAPMessage with its controls and synchronisation values.

use crate::wire;
use ldap_content_sync::sync_control::{SyncDone, SyncInfo, SyncState};
use ldap_content_sync::{DecodeError, LdapMessage, Limits, ProtocolOp};

/// Small, so that they are met.
const LIMITS: Limits = Limits { max_message: 4096, max_controls: 4, max_uuids: 8, max_cookie: 64 };

/// The bytes of a message.
pub fn run(data: &[u8]) {
    let message = match LdapMessage::decode(data, &LIMITS) {
        Ok(message) => message,
        Err(error) => return check_error(&error, data.len()),
    };
    assert!(
        data.len() <= LIMITS.max_message && message.controls.iter().count() <= LIMITS.max_controls
    );
    // Said in other bytes it is the same message. Text that is not UTF-8 may have grown.
    let written = wire::encode(&message);
    let limits = Limits { max_message: 4 * LIMITS.max_message, ..LIMITS };
    let again = LdapMessage::decode(&written, &limits)
        .unwrap_or_else(|error| panic!("{error}: {written:02x?}"));
    assert_eq!(wire::encode(&again), written);
    assert_eq!(
        format!("{again:?}"),
        format!("{message:?}"),
        "Debug is not allowed to differ, or to panic"
    );

    for control in message.controls.iter() {
        values(control.value.unwrap_or_default());
    }
    if let ProtocolOp::IntermediateResponse(response) = &message.op {
        values(response.value.unwrap_or_default());
    }
}

/// Each of the three readers on the value, whosever it is.
fn values(value: &[u8]) {
    match SyncState::decode(value, &LIMITS) {
        Ok(state) => assert!(state.cookie.unwrap_or_default().len() <= LIMITS.max_cookie),
        Err(error) => check_error(&error, value.len()),
    }
    match SyncDone::decode(value, &LIMITS) {
        Ok(done) => assert!(done.cookie.unwrap_or_default().len() <= LIMITS.max_cookie),
        Err(error) => check_error(&error, value.len()),
    }
    match SyncInfo::decode(value, &LIMITS) {
        Ok(info) => {
            assert!(info.cookie().unwrap_or_default().len() <= LIMITS.max_cookie);
            if let SyncInfo::SyncIdSet { uuids, .. } = info {
                assert!(uuids.len() <= LIMITS.max_uuids && uuids.iter().count() == uuids.len());
            }
        }
        Err(error) => check_error(&error, value.len()),
    }
}

/// An error points into what was decoded, names the production, and can be shown.
fn check_error(error: &DecodeError, len: usize) {
    assert!(error.offset <= len && !error.production.is_empty() && !error.to_string().is_empty());
}
