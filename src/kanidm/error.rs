//! Errors of a request to Kanidm.
//!
//! Scope: their words, and what each means for the upload.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::text::remedy_of;

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KanidmError {
    /// No answer: the POST may have been applied.
    Transport {
        /// The stage that failed.
        stage: Stage,
        /// The reason that the system or the library gives.
        reason: String,
    },
    /// No answer in time.
    TimedOut {
        /// The stage that took too long.
        stage: Stage,
        /// The time limit.
        limit: Duration,
    },
    /// An answer with a status other than 200.
    Refused(Answer),
    /// An answer with status 200 that does not come from Kanidm, or not from its sync interface.
    NotKanidm {
        /// The part of it that is wrong.
        reason: String,
    },
}

/// The stages of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Looking up the address of the host.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// The TLS handshake, with the check of the certificates.
    Tls,
    /// Sending the request and receiving the answer.
    Exchange,
}

impl Stage {
    fn words(self) -> &'static str {
        match self {
            Stage::Resolve => "looking up the host of Kanidm",
            Stage::Connect => "connecting to Kanidm",
            Stage::Tls => "setting up TLS with Kanidm",
            Stage::Exchange => "talking to Kanidm",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Stage::Resolve => CHECK_URI,
            Stage::Connect => {
                "check `uri` in the client config, and that Kanidm runs and can be reached"
            }
            Stage::Tls => "check `ca_path` in the client config, and the certificate of Kanidm",
            Stage::Exchange => "check that Kanidm is up, and any proxy in front of it",
        }
    }
}

/// An answer with a status other than 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Kanidm's code, such as `invalidsyncstate` or `plugin/attrunique`. Empty if the body is not
    /// Kanidm's.
    pub code: String,
    /// The details of the code, or the start of a body that is not Kanidm's.
    pub detail: String,
    /// `X-KANIDM-OPID`, which finds the request in Kanidm's log. Each answer of Kanidm itself has
    /// one.
    pub operation_id: Option<String>,
}

/// The meaning of an error for the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Kanidm rejects something in the POST. Nothing was applied, and repeating it does not help.
    Data(Fault),
    /// The body is too large.
    TooLarge,
    /// The request took too long. It may have been applied nevertheless.
    TimedOut,
    /// A later attempt may succeed. The request may have been applied nevertheless.
    Retryable,
    /// The token is not accepted.
    Auth,
    /// The stored state is not `from_state`.
    StateMismatch,
    /// Waiting does not help, and sending less does not either.
    Fatal,
}

/// The kind of data that Kanidm rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A name, gidnumber, mail address or externalId is taken.
    Conflict,
    /// The UUID belongs to a deleted entry: in the recycle bin, or a tombstone after it has left
    /// the bin.
    Masked,
    /// The entry does not belong to this sync account.
    Foreign,
    /// Any other rejection.
    Other,
}

impl KanidmError {
    /// What to do, in our own words. Empty if the message does not say it.
    pub fn remedy(&self) -> &str {
        match self {
            KanidmError::Transport { stage: Stage::Tls, reason } => remedy_of(reason),
            KanidmError::Transport { stage, .. } | KanidmError::TimedOut { stage, .. } => {
                stage.remedy()
            }
            KanidmError::Refused(answer) if answer.class() == Class::Auth => NEW_TOKEN,
            KanidmError::Refused(_) => "",
            KanidmError::NotKanidm { .. } => CHECK_URI,
        }
    }

    /// The message without Kanidm's details and without the text of a stranger, which may name
    /// entries. For a file that everybody on the machine reads.
    pub fn without_names(&self) -> String {
        match self {
            KanidmError::Transport { .. } | KanidmError::TimedOut { .. } => self.to_string(),
            KanidmError::Refused(answer) => {
                KanidmError::Refused(answer.without_names()).to_string()
            }
            KanidmError::NotKanidm { .. } => {
                format!("the answer is not one of Kanidm's sync interface; {CHECK_URI}")
            }
        }
    }

    /// The meaning of this error for the upload.
    pub fn class(&self) -> Class {
        match self {
            KanidmError::Transport { stage: Stage::Tls, .. } | KanidmError::NotKanidm { .. } => {
                Class::Fatal
            }
            KanidmError::Transport { .. } => Class::Retryable,
            KanidmError::TimedOut { stage: Stage::Exchange, .. } => Class::TimedOut,
            KanidmError::TimedOut { .. } => Class::Retryable,
            KanidmError::Refused(answer) => answer.class(),
        }
    }
}

impl Answer {
    /// Decodes an answer. `body` is at most its first mebibyte.
    pub fn new(status: u16, body: &[u8], operation_id: Option<String>) -> Self {
        let (code, detail) = match serde_json::from_slice::<Value>(body) {
            Ok(value) => code_of(&value),
            Err(_) => (String::new(), printable(&String::from_utf8_lossy(body))),
        };
        Answer { status, code, detail, operation_id: operation_id.map(|id| printable(&id)) }
    }

    /// The same answer with status, operation ID and Kanidm's code. The code of a stranger may be
    /// any text.
    fn without_names(&self) -> Answer {
        let is_code = self.code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/');
        let is_id = |id: &String| id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        Answer {
            status: self.status,
            code: if is_code { self.code.clone() } else { String::new() },
            detail: String::new(),
            operation_id: self.operation_id.clone().filter(is_id),
        }
    }

    /// The attributes with taken values, as far as Kanidm names them.
    pub fn conflicting(&self) -> impl Iterator<Item = &str> {
        let named = self.status == 409 && self.code.is_empty();
        self.detail.split(", ").filter(move |name| named && !name.is_empty())
    }

    fn class(&self) -> Class {
        match (self.status, self.code.as_str()) {
            (_, "invalidsyncstate") => Class::StateMismatch,
            // Kanidm sends this code for a user token in place of a sync token.
            (_, "serdejsonerror" | "notauthenticated") | (401, _) => Class::Auth,
            (408, _) => Class::TimedOut,
            (413, _) => Class::TooLarge,
            (502..=504, _) | (500, DATABASE_BUSY) => Class::Retryable,
            (409, _) | (_, "plugin/attrunique") => Class::Data(Fault::Conflict),
            (_, "invalidentrystate") => Class::Data(Fault::Masked),
            // Only Kanidm's own answers have an operation ID. Without one, a proxy refuses the
            // request, for example because of too many requests. It says nothing about an entry: an
            // entry left out because of it would be deleted.
            (403, _) | (_, "modifyassertionfailed" | "accessdenied")
                if self.operation_id.is_some() =>
            {
                Class::Data(Fault::Foreign)
            }
            (403, _) => Class::Retryable,
            // A server in trouble sends codes of its own, or its proxy sends a body that is not
            // Kanidm's.
            (500, code) if SERVER_CODES.contains(&code) => Class::Fatal,
            (500, "") if self.operation_id.is_none() => Class::Retryable,
            (400 | 422 | 500, _) => Class::Data(Fault::Other),
            _ => Class::Fatal,
        }
    }

    /// Kanidm's code in words.
    pub fn words(&self) -> String {
        let words = match (self.status, self.code.as_str()) {
            (403, _) if self.operation_id.is_none() => NOT_FROM_KANIDM,
            (_, "invalidsyncstate") => "the sync state has moved on",
            (_, "invalidentrystate") => {
                "the UUID belongs to a deleted entry, which may be in the recycle bin"
            }
            (_, "modifyassertionfailed") => "the entry does not belong to this sync account",
            (_, "accessdenied") => "not a sync token, or an entry of another authority",
            (_, "notauthenticated") => "the sync token is not valid",
            (_, "serdejsonerror") => "the token is not a sync token",
            (_, "schemaviolation") => "a value breaks Kanidm's schema",
            (_, "invalidattribute") => "a value of an attribute is not acceptable",
            (_, "emptyrequest") => "the request asks for nothing",
            (_, "plugin/credimport") => "the password hash is not one that Kanidm can import",
            (_, "plugin/attrunique") => "a name, gidnumber, mail address or DN is already in use",
            (_, "pl0001gidoverlapssystemrange") => {
                "the gidnumber is in a range that Kanidm keeps for itself"
            }
            (_, "sc0001incomingsshpublickey") => "an SSH public key cannot be read",
            (409, _) => "a value is already in use",
            (408, _) => "Kanidm took too long",
            (413, _) => "the request is larger than Kanidm accepts",
            (502..=504, _) => "Kanidm is not available",
            (500, DATABASE_BUSY) => "Kanidm was busy with something else",
            (301..=308, _) => {
                "a redirect, which is not followed: write the address of Kanidm itself into `uri` in the client config"
            }
            (_, code) if SERVER_CODES.contains(&code) => {
                "Kanidm has trouble of its own: see its log"
            }
            (_, "") if self.operation_id.is_none() => NOT_FROM_KANIDM,
            _ => "for a reason that this program does not know: see Kanidm's log",
        };
        match self.detail.as_str() {
            "" => words.to_owned(),
            detail => format!("{words}: {detail}"),
        }
    }
}

const CHECK_URI: &str = "check `uri` in the client config";

const NEW_TOKEN: &str = "make a new token and store it in sync_token_file: kanidm system sync generate-token ACCOUNT LABEL";

const NOT_FROM_KANIDM: &str = "this is not Kanidm's own answer: check `uri` in the client config, and any proxy in front of Kanidm";

/// Another operation held Kanidm's database for too long: a backup, or another large request.
const DATABASE_BUSY: &str = "databaselockacquisitiontimeout";

/// Codes of a server that cannot work, whatever the request.
const SERVER_CODES: &[&str] = &[
    "backend",
    "fserror",
    "sqliteerror",
    "transactionalreadfailed",
    "queuedisconnected",
    "invalidstate",
    "corruptedindex",
];

/// Reads the code and its detail. The forms are `"code"`, `{"code":detail}`,
/// `{"plugin":{"code":detail}}` and `{"error":…,"conflicting_attributes":[…]}`.
fn code_of(value: &Value) -> (String, String) {
    match value {
        Value::String(code) => (printable(code), String::new()),
        Value::Object(object) => {
            if let Some(attributes) = object.get("conflicting_attributes").and_then(Value::as_array)
            {
                let names: Vec<&str> = attributes.iter().filter_map(Value::as_str).collect();
                return (String::new(), printable(&names.join(", ")));
            }
            match object.iter().next() {
                Some((outer, Value::Object(inner))) if outer == "plugin" => match inner
                    .iter()
                    .next()
                {
                    Some((code, detail)) => (printable(&format!("plugin/{code}")), text_of(detail)),
                    None => (printable(outer), String::new()),
                },
                Some((code, detail)) => (printable(code), text_of(detail)),
                None => (String::new(), String::new()),
            }
        }
        _ => (String::new(), String::new()),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => String::new(),
        other => printable(&other.to_string()),
    }
}

/// Makes a server's text safe to show: one line, no control characters, at most 200 characters.
fn printable(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {}", self.words(), self.status)?;
        if !self.code.is_empty() {
            write!(f, ", {}", self.code)?;
        }
        if let Some(id) = &self.operation_id {
            write!(f, ", operation {id}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for KanidmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The reason contains the remedy: a wrong name needs another one than a wrong CA.
            KanidmError::Transport { stage: Stage::Tls, reason } => {
                write!(f, "{} failed: {reason}", Stage::Tls.words())
            }
            KanidmError::Transport { stage, reason } => {
                write!(f, "{} failed: {reason}; {}", stage.words(), stage.remedy())
            }
            KanidmError::TimedOut { stage, limit } => {
                write!(
                    f,
                    "{} took longer than {} s; {}",
                    stage.words(),
                    limit.as_secs(),
                    stage.remedy()
                )
            }
            KanidmError::Refused(answer) => {
                write!(f, "Kanidm refused: {answer}")?;
                if answer.class() == Class::Auth {
                    write!(f, "; {NEW_TOKEN}")?;
                }
                Ok(())
            }
            KanidmError::NotKanidm { reason } => {
                write!(f, "the answer is not one of Kanidm's sync interface: {reason}; {CHECK_URI}")
            }
        }
    }
}

impl std::error::Error for KanidmError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_text_has_no_word_of_the_answer() {
        let refused = |body: &str, id: &str| {
            KanidmError::Refused(Answer::new(400, body.as_bytes(), Some(id.to_owned())))
        };
        let id = "9d7a0c50-0000-4000-8000-000000000001";
        let errors = [
            (
                refused(r#"{"invalidattribute":"uid=alice"}"#, id),
                "(status 400, invalidattribute, op",
            ),
            (refused("uid=alice", id), "(status 400, operation 9d7a0c50-"),
            (refused(r#""uid=alice""#, "x"), "(status 400)"),
            (refused(r#"{"plugin":{"uid=alice":1}}"#, "x"), "(status 400)"),
            (refused(r#""backend""#, "uid=alice"), "(status 400, backend)"),
            (
                KanidmError::NotKanidm { reason: "uid=alice".to_owned() },
                "not one of Kanidm's sync interface; check",
            ),
        ];
        for (error, words) in errors {
            assert!(error.to_string().contains("alice"), "{error}");
            let public = error.without_names();
            assert!(public.contains(words) && !public.contains("alice"), "{public}");
        }
        let late = KanidmError::TimedOut { stage: Stage::Connect, limit: Duration::from_secs(3) };
        assert_eq!(late.without_names(), late.to_string());
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer::new(status, body.as_bytes(), Some("op-1".to_owned()))
    }

    #[test]
    fn every_answer_of_the_table_has_its_class() {
        for (status, body, class) in [
            (
                400,
                r#"{"schemaviolation":{"invalidattributesyntax":"mail"}}"#,
                Class::Data(Fault::Other),
            ),
            (400, r#"{"invalidattribute":"gidnumber"}"#, Class::Data(Fault::Other)),
            (400, "Failed to parse the request body as JSON", Class::Data(Fault::Other)),
            (401, r#""notauthenticated""#, Class::Auth),
            (500, r#""serdejsonerror""#, Class::Auth),
            (403, r#""accessdenied""#, Class::Data(Fault::Foreign)),
            (
                409,
                r#"{"error":"attributeuniqueness","conflicting_attributes":["name"]}"#,
                Class::Data(Fault::Conflict),
            ),
            (
                500,
                r#"{"plugin":{"attrunique":"duplicate value detected"}}"#,
                Class::Data(Fault::Conflict),
            ),
            (408, "", Class::TimedOut),
            (413, "length limit exceeded", Class::TooLarge),
            (415, "", Class::Fatal),
            (422, "missing field", Class::Data(Fault::Other)),
            (500, r#""invalidsyncstate""#, Class::StateMismatch),
            (500, r#""invalidentrystate""#, Class::Data(Fault::Masked)),
            (500, r#"{"plugin":{"credimport":"unable to convert"}}"#, Class::Data(Fault::Other)),
            (500, r#""pl0001gidoverlapssystemrange""#, Class::Data(Fault::Other)),
            (500, r#""modifyassertionfailed""#, Class::Data(Fault::Foreign)),
            (500, r#""backend""#, Class::Fatal),
            (500, r#""databaselockacquisitiontimeout""#, Class::Retryable),
            (502, "<html>", Class::Retryable),
            (503, "", Class::Retryable),
            (504, "", Class::Retryable),
            (302, "", Class::Fatal),
            (404, "", Class::Fatal),
        ] {
            assert_eq!(answer(status, body).class(), class, "{status} {body}");
        }
    }

    #[test]
    fn a_500_that_is_not_kanidms_is_not_data() {
        assert_eq!(Answer::new(500, b"<html>proxy</html>", None).class(), Class::Retryable);
        assert_eq!(Answer::new(500, b"", Some("op".to_owned())).class(), Class::Data(Fault::Other));
    }

    #[test]
    fn a_403_that_is_not_kanidms_says_nothing_about_an_entry() {
        for body in [
            "<html>too many requests</html>",
            "",
            r#""accessdenied""#,
            r#"{"message":"Forbidden"}"#,
        ] {
            let answer = Answer::new(403, body.as_bytes(), None);
            assert_eq!(answer.class(), Class::Retryable, "{body}");
            assert!(answer.words().contains("not Kanidm's own answer"), "{body}");
        }
        assert_eq!(
            Answer::new(403, b"", Some("op".to_owned())).class(),
            Class::Data(Fault::Foreign)
        );
    }

    #[test]
    fn an_error_says_what_where_and_how_to_find_it() {
        let text = KanidmError::Refused(answer(
            409,
            r#"{"error":"x","conflicting_attributes":["mail","name"]}"#,
        ))
        .to_string();
        assert_eq!(
            text,
            "Kanidm refused: a value is already in use: mail, name (status 409, operation op-1)"
        );
        let text = KanidmError::Refused(answer(401, r#""notauthenticated""#)).to_string();
        assert!(text.contains("generate-token"), "{text}");
    }

    #[test]
    fn only_a_failure_of_tls_has_its_remedy_in_the_reason() {
        let transport =
            |stage| KanidmError::Transport { stage, reason: "why; what to do".to_owned() };
        let text = transport(Stage::Tls).to_string();
        assert_eq!(text, "setting up TLS with Kanidm failed: why; what to do");
        let text = transport(Stage::Connect).to_string();
        assert!(text.ends_with(
            "; check `uri` in the client config, and that Kanidm runs and can be reached"
        ));
    }

    #[test]
    fn a_servers_text_is_cut_and_cleaned() {
        let text = answer(500, &"a\n\u{1b}[31m".repeat(100)).words();
        assert!(text.chars().all(|c| !c.is_control()) && text.len() < 300, "{text}");
    }
}
