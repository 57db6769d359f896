//! `/test/…`: what tests ask of the server, in plain HTTP on a port of its own. README.md lists the
//! calls.

use std::collections::HashMap;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode};
use kanidmd_lib::prelude::{OperationError, Uuid};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::answer::{self, Answer};
use crate::engine::{Engine, LocalKind, Outcome};
use crate::fault::Fault;
use crate::server::{Closed, Server};

/// Answers one call: 200 with JSON, or an error status with `{"error": …}`.
pub async fn handle(server: Arc<Server>, request: Request<Incoming>) -> Result<Answer, Closed> {
    Ok(match call(&server, request).await {
        Ok(value) => answer::json(StatusCode::OK, &value),
        Err((status, error)) => answer::json(status, &json!({ "error": error })),
    })
}

type Called = Result<Value, (StatusCode, String)>;

async fn call(server: &Arc<Server>, request: Request<Incoming>) -> Called {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?
        .to_bytes();
    let query = query(head.uri.query().unwrap_or_default());
    let account = || {
        query
            .get("account")
            .cloned()
            .ok_or((StatusCode::BAD_REQUEST, "the query lacks account=".to_string()))
    };
    match (&head.method, head.uri.path()) {
        (&Method::POST, "/test/sync-account") => {
            let Named { name } = parse(&body)?;
            ask(server, move |engine| {
                engine
                    .create_sync_account(&name)
                    .map(|made| json!({ "uuid": made.uuid, "token": made.token }))
            })
            .await
        }
        (&Method::POST, "/test/user-token") => {
            ask(server, |engine| engine.user_token().map(Value::from)).await
        }
        (&Method::GET, "/test/entries") => {
            let account = account()?;
            ask(server, move |engine| engine.entries_of(&account).map(|entries| json!(entries)))
                .await
        }
        (&Method::GET, "/test/state") => {
            let account = account()?;
            ask(server, move |engine| engine.state_of(&account).map(|state| json!(state))).await
        }
        (&Method::POST, "/test/force-refresh") => {
            let Account { account } = parse(&body)?;
            ask(server, move |engine| engine.force_refresh(&account).map(|()| Value::Null)).await
        }
        (&Method::POST, "/test/yield") => {
            let Yield { account, attributes } = parse(&body)?;
            ask(server, move |engine| {
                engine.yield_attributes(&account, &attributes).map(|()| Value::Null)
            })
            .await
        }
        (&Method::POST, "/test/verify-password") => {
            let Credentials { person, password, unix } = parse(&body)?;
            ask(server, move |engine| {
                engine.verify_password(&person, &password, unix).map(Value::from)
            })
            .await
        }
        (&Method::POST, "/test/login") => {
            let LogIn { person, password, totp } = parse(&body)?;
            ask(server, move |engine| {
                let outcome = engine.log_in_as(&person, &password, totp)?;
                Ok(json!({ "success": outcome.is_ok(), "reason": outcome.err() }))
            })
            .await
        }
        (&Method::POST, "/test/create") => {
            let Local { kind, name, gidnumber, mail } = parse(&body)?;
            let kind = match kind {
                Kind::Person => LocalKind::Person,
                Kind::Group => LocalKind::Group,
            };
            ask(server, move |engine| {
                engine
                    .create_local(kind, &name, gidnumber, mail.as_deref())
                    .map(|uuid| json!({ "uuid": uuid }))
            })
            .await
        }
        (&Method::GET, "/test/recycled") => {
            ask(server, |engine| engine.recycled().map(|found| json!(found))).await
        }
        (&Method::POST, "/test/revive") => {
            let Entry { uuid } = parse(&body)?;
            ask(server, move |engine| engine.revive(uuid).map(|()| Value::Null)).await
        }
        (&Method::GET, "/test/log") => Ok(json!(server.journal.lines())),
        (&Method::DELETE, "/test/log") => Ok(json!(server.journal.clear())),
        (&Method::POST, "/test/fault") => Ok(json!(server.faults.add(parse::<Fault>(&body)?))),
        (&Method::GET, "/test/fault") => Ok(json!(server.faults.pending())),
        (&Method::DELETE, "/test/fault") => Ok(json!(server.faults.clear())),
        (&Method::POST, "/test/reset") => match server.reset().await.map_err(refused)? {
            true => Ok(Value::Null),
            false => Err((
                StatusCode::CONFLICT,
                "a server on a database file (--db) cannot be reset: start another".into(),
            )),
        },
        (method, path) => Err((StatusCode::NOT_FOUND, format!("there is no {method} {path}"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    account: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Yield {
    account: String,
    attributes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    /// Name or UUID.
    person: String,
    password: String,
    #[serde(default)]
    unix: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    /// Name or UUID.
    person: String,
    password: String,
    /// The code of the moment, for a log-in with two factors.
    totp: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Local {
    kind: Kind,
    name: String,
    gidnumber: Option<u32>,
    mail: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Person,
    Group,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    uuid: Uuid,
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

/// Asks the engine, off the asynchronous threads.
async fn ask(
    server: &Arc<Server>,
    question: impl FnOnce(&Engine) -> Outcome<Value> + Send + 'static,
) -> Called {
    let engine = server.engine();
    match spawn_blocking(move || question(&engine)).await {
        Ok(outcome) => outcome.map_err(refused),
        Err(panicked) => Err((StatusCode::INTERNAL_SERVER_ERROR, panicked.to_string())),
    }
}

fn refused(error: OperationError) -> (StatusCode, String) {
    (answer::refusal(&error).status(), format!("{error:?}"))
}

/// The query's pairs. Names and UUIDs need no escapes, so none are undone.
fn query(text: &str) -> HashMap<&str, String> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key, value.to_string()))
        .collect()
}
