//! Kanidm's answers other than 200: an error of one line, without control characters, of bounded
//! length, and a class.

use kanidm_ldap_sync::kanidm::error::{Answer, KanidmError};

/// Two bytes for the status, one for the operation ID, then the body.
pub fn run(data: &[u8]) {
    let Some(([high, low, id], body)) = data.split_first_chunk() else { return };
    let status = 100 + u16::from_be_bytes([*high, *low]) % 500;
    let operation_id = (id & 1 != 0).then(|| String::from_utf8_lossy(body).into_owned());
    let answer = Answer::new(status, body, operation_id);
    let error = KanidmError::Refused(answer);
    let shown = error.to_string();
    // Three texts of the server, 200 characters each.
    assert!(!shown.chars().any(char::is_control) && shown.chars().count() < 1_000, "{shown}");
    let _ = error.class();
}
