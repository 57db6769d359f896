//! What kanidmd answers: its errors as HTTP, as `kanidmd` maps them (WebError), and what its HTTP
//! layer says by itself.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use kanidmd_lib::prelude::{OperationError, PluginError};

/// The body of every answer is complete before it is sent.
pub type Answer = Response<Full<Bytes>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer with a JSON body.
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    with_body(status, JSON, serde_json::to_string(value).unwrap_or_default())
}

/// An answer with a body of plain text.
pub fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    with_body(status, TEXT, body.into())
}

/// An answer without a body, as the HTTP layer itself gives: 404, 405, 408.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD,POST"));
    }
    answer
}

/// Kanidm's own error. Its body is JSON, though it is sent as text: that is how kanidmd does it.
pub fn refusal(error: &OperationError) -> Answer {
    let status = match error {
        OperationError::NotAuthenticated | OperationError::SessionExpired => {
            StatusCode::UNAUTHORIZED
        }
        OperationError::SystemProtectedObject | OperationError::AccessDenied => {
            StatusCode::FORBIDDEN
        }
        OperationError::NoMatchingEntries => StatusCode::NOT_FOUND,
        OperationError::PasswordQuality(_)
        | OperationError::EmptyRequest
        | OperationError::SchemaViolation(_)
        | OperationError::InvalidAttribute(_)
        | OperationError::CU0003WebauthnUserNotVerified => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut answer =
        text(status, serde_json::to_string(error).unwrap_or_else(|_| format!("{error:?}")));
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// A request whose values are not unique, as Kanidm after 1.7 answers it.
pub fn conflict(attributes: &[&str]) -> Answer {
    let body =
        serde_json::json!({ "error": "attributeuniqueness", "conflicting_attributes": attributes });
    json(StatusCode::CONFLICT, &body)
}

/// Whether the engine refused a request because a value is taken.
pub fn is_conflict(error: &OperationError) -> bool {
    matches!(error, OperationError::Plugin(PluginError::AttrUnique(_)))
}

fn with_body(status: StatusCode, content_type: HeaderValue, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
