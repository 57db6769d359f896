//! `/scim/v1/Sync`, as kanidmd serves it, with the faults a test asks for.
//!
//! The order of the checks is kanidmd's: path, method, content type, size, JSON, shape, and only
//! then the token.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use kanidm_proto::scim_v1::ScimSyncRequest;
use serde_json::error::Category;
use tokio::task::spawn_blocking;

use crate::answer::{self, Answer};
use crate::engine::{Decision, Engine};
use crate::fault::{Action, Fault, Moment};
use crate::journal::{Entry, SyncLine};
use crate::server::{Closed, Server};

const PATH: &str = "/scim/v1/Sync";
/// Bytes that kanidmd accepts in a body.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// Answers one request, or closes the connection when a fault says so.
pub async fn handle(server: Arc<Server>, request: Request<Incoming>) -> Result<Answer, Closed> {
    let line = server.journal.begin(request.method().as_str(), request.uri().path());
    let fault = if request.uri().path() == PATH {
        server.faults.next(request.method().as_str())
    } else {
        None
    };
    line.note(|line| line.fault.clone_from(&fault));
    let handled = match tokio::time::timeout(
        server.time_limit,
        answer_request(&server, request, fault, &line),
    )
    .await
    {
        Ok(handled) => handled,
        Err(_) => Ok(answer::empty(StatusCode::REQUEST_TIMEOUT)),
    };
    match handled {
        Ok(answer) => Ok(with_operation_id(answer)),
        Err(Interrupted::Answer(answer)) => Ok(answer),
        Err(Interrupted::Closed) => Err(Closed),
    }
    .inspect(|answer| line.note(|line| line.status = Some(answer.status().as_u16())))
}

/// The usual way was left.
enum Interrupted {
    /// By an answer that is not Kanidm's own.
    Answer(Answer),
    /// Without an answer.
    Closed,
}

async fn answer_request(
    server: &Arc<Server>,
    request: Request<Incoming>,
    fault: Option<Fault>,
    line: &Entry,
) -> Result<Answer, Interrupted> {
    let (head, body) = request.into_parts();
    if head.uri.path() != PATH {
        return Ok(answer::empty(StatusCode::NOT_FOUND));
    }
    let bearer = bearer(&head.headers);
    let fault = fault.map(Arc::new);
    match head.method {
        Method::GET => get(server, bearer, fault, line).await,
        Method::POST if !is_json(&head.headers) => Ok(answer::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Expected request with `Content-Type: application/json`",
        )),
        Method::POST => match read_body(body).await? {
            Ok(body) => post(server, bearer, body, fault, line).await,
            Err(too_large) => Ok(too_large),
        },
        _ => Ok(answer::empty(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

async fn get(
    server: &Arc<Server>,
    bearer: Option<String>,
    fault: Option<Arc<Fault>>,
    line: &Entry,
) -> Result<Answer, Interrupted> {
    meet(fault.as_deref(), Moment::Received).await?;
    let engine = server.engine();
    let state = blocking(move || engine.sync_state(bearer.as_deref())).await?;
    meet(fault.as_deref(), Moment::Committed).await?;
    Ok(match state {
        Ok(state) => answer::json(StatusCode::OK, &state),
        Err(error) => noted(answer::refusal(&error), line, format!("{error:?}")),
    })
}

async fn post(
    server: &Arc<Server>,
    bearer: Option<String>,
    body: Bytes,
    fault: Option<Arc<Fault>>,
    line: &Entry,
) -> Result<Answer, Interrupted> {
    line.note(|line| line.body_bytes = Some(body.len()));
    meet(fault.as_deref(), Moment::Received).await?;
    let (engine, plain, pen, at_applied) =
        (server.engine(), server.plain_conflicts, line.clone(), fault.clone());
    // From here on the client may hang up: the engine finishes what it began, as kanidmd's does.
    let applied = blocking(move || {
        let request: ScimSyncRequest = match serde_json::from_slice(&body) {
            Ok(request) => request,
            Err(error) => return noted(wrong_json(&error), &pen, error.to_string()),
        };
        drop(body);
        pen.note(|line| line.sync = Some(SyncLine::of(&request)));
        match engine.sync_apply(bearer.as_deref(), &request, || decide(at_applied.as_deref())) {
            Ok(committed) => {
                pen.note(|line| line.committed = committed);
                answer::json(StatusCode::OK, &())
            }
            Err(error) => {
                noted(refusal(&engine, &request, &error, plain), &pen, format!("{error:?}"))
            }
        }
    })
    .await?;
    if fault.as_ref().is_some_and(|fault| fault.at == Moment::Applied)
        && applied.status() == StatusCode::OK
    {
        meet_unless_delay(fault.as_deref()).await?;
    }
    meet(fault.as_deref(), Moment::Committed).await?;
    Ok(applied)
}

/// What Kanidm says to an error. A conflict is looked into, unless the answers of 1.7 are asked
/// for.
fn refusal(
    engine: &Engine,
    request: &ScimSyncRequest,
    error: &kanidmd_lib::prelude::OperationError,
    plain: bool,
) -> Answer {
    if plain || !answer::is_conflict(error) {
        return answer::refusal(error);
    }
    match engine.conflicting_attributes(request) {
        Ok(attributes) => answer::conflict(&attributes),
        Err(error) => answer::refusal(&error),
    }
}

/// Whether to commit: only a delay at this moment lets it go on.
fn decide(fault: Option<&Fault>) -> Decision {
    match fault.filter(|fault| fault.at == Moment::Applied).map(|fault| &fault.action) {
        None => Decision::Commit,
        Some(Action::Delay { ms }) => {
            std::thread::sleep(Duration::from_millis(*ms));
            Decision::Commit
        }
        Some(Action::Die) => std::process::abort(),
        Some(Action::Drop | Action::Status { .. }) => Decision::RollBack,
    }
}

/// Lets a fault happen whose moment has come.
async fn meet(fault: Option<&Fault>, moment: Moment) -> Result<(), Interrupted> {
    match fault.filter(|fault| fault.at == moment).map(|fault| &fault.action) {
        None => Ok(()),
        Some(Action::Delay { ms }) => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            Ok(())
        }
        Some(Action::Die) => std::process::abort(),
        Some(Action::Drop) => Err(Interrupted::Closed),
        Some(Action::Status { status, body, own }) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let answer = answer::text(status, body.clone());
            Err(Interrupted::Answer(if *own { with_operation_id(answer) } else { answer }))
        }
    }
}

/// After a roll-back: the client gets what the fault says. A delay was already waited for.
async fn meet_unless_delay(fault: Option<&Fault>) -> Result<(), Interrupted> {
    meet(fault.filter(|fault| !matches!(fault.action, Action::Delay { .. })), Moment::Applied).await
}

/// The whole body, or the answer to one that is too large. A client that hangs up in the middle
/// gets none.
async fn read_body(body: Incoming) -> Result<Result<Bytes, Answer>, Interrupted> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(Ok(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Err(answer::text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Failed to buffer the request body: length limit exceeded",
        ))),
        Err(_) => Err(Interrupted::Closed),
    }
}

fn wrong_json(error: &serde_json::Error) -> Answer {
    match error.classify() {
        Category::Data => answer::text(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("Failed to deserialize the JSON body into the target type: {error}"),
        ),
        _ => answer::text(
            StatusCode::BAD_REQUEST,
            format!("Failed to parse the request body as JSON: {error}"),
        ),
    }
}

fn noted(answer: Answer, line: &Entry, error: String) -> Answer {
    line.note(|line| line.error = Some(error));
    answer
}

fn with_operation_id(mut answer: Answer) -> Answer {
    if let Ok(id) = HeaderValue::from_str(&kanidmd_lib::prelude::Uuid::new_v4().to_string()) {
        answer.headers_mut().insert("X-KANIDM-OPID", id);
    }
    answer.headers_mut().insert("X-KANIDM-VERSION", HeaderValue::from_static("1.7.4"));
    answer
}

/// Runs work of the engine where it may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Interrupted> {
    spawn_blocking(work).await.map_err(|_| Interrupted::Closed)
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.to_string())
}

/// `application/json` or any `application/…+json`, whatever parameters follow.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}
