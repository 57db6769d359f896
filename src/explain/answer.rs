//! The answer of `--explain`, as `--json` prints it: `docs/explain.schema.json`.

use serde::Serialize;

use crate::exit::ExitCode;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub exit_code: u8,
    pub result: Outcome,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The argument.
    pub who: String,
    /// Why Kanidm's state is not known, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kanidm: Option<String>,
    /// The entries that the argument names.
    pub entries: Vec<Explanation>,
    /// Sentences about the search.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the next run does, if no entry was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Answer {
    /// No answer.
    pub fn failed(who: &str, code: ExitCode, error: String) -> Answer {
        Answer {
            exit_code: code.code(),
            result: Outcome::Failed,
            error: Some(error),
            who: who.to_owned(),
            kanidm: None,
            entries: Vec::new(),
            notes: Vec::new(),
            next: None,
        }
    }
}

/// The result in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// An earlier run has written it.
    InKanidm,
    /// A run writes it, and nothing is in its way.
    WillBeInKanidm,
    /// It is in scope and valid. The state does not tell whether Kanidm has it.
    InScope,
    /// It is in scope and valid, and only a full refresh brings it.
    Waits,
    /// It is held.
    Held,
    /// It does not belong in Kanidm.
    NotInScope,
    /// The directory does not show it.
    NotFound,
    /// The directory or the configuration gives no answer.
    Failed,
}

impl Outcome {
    /// The exit code.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Outcome::InKanidm | Outcome::WillBeInKanidm | Outcome::InScope => ExitCode::Success,
            Outcome::Waits | Outcome::Held => ExitCode::Held,
            Outcome::NotInScope | Outcome::NotFound | Outcome::Failed => ExitCode::Failure,
        }
    }

    /// Which of several entries decides about the answer: the highest.
    pub fn severity(self) -> u8 {
        self.exit_code().code()
    }
}

/// One entry.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub dn: String,
    /// The UUID in the directory; absent if the account cannot read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kanidm_uuid: Option<String>,
    pub result: Outcome,
    pub below_base: bool,
    pub filter: FilterPart,
    /// `person`, `group` or `neither`.
    pub kind: &'static str,
    pub object_classes: Vec<String>,
    /// The kind with its reason.
    pub classes: String,
    /// The keys of the entry's table.
    pub table: Vec<String>,
    pub attributes: Vec<AttributeLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Listed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Listed>,
    /// Problems that belong to no attribute above.
    pub problems: Vec<String>,
    /// What Kanidm's state says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kanidm: Option<String>,
    /// Where the entry is now, and remarks on its account. May be empty.
    #[serde(skip)]
    pub headline: String,
    /// What the next run does, and why.
    pub next: String,
}

/// A part of the filter.
#[derive(Debug, Serialize)]
pub(crate) struct FilterPart {
    /// The operator, or the whole part if it has none.
    pub text: String,
    pub matches: Matches,
    /// True if this part rejects the entry.
    pub rejects: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<FilterPart>,
}

/// The directory's verdict on a part of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Matches {
    Yes,
    No,
    /// The part does not match, and its negation does not match either.
    Undefined,
    /// The filter has too many parts.
    NotAsked,
}

/// A mapped attribute.
#[derive(Debug, Serialize)]
pub(crate) struct AttributeLine {
    /// The configuration key.
    pub key: &'static str,
    /// The attribute in the directory.
    pub attribute: String,
    /// The first values that the directory shows.
    pub values: Vec<String>,
    /// Number of further values.
    pub more: usize,
    /// What Kanidm gets.
    pub kanidm: Vec<String>,
    /// The rules that values break.
    pub problems: Vec<String>,
    /// Why the directory shows no value, and other remarks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Locks and time limits.
#[derive(Debug, Serialize)]
pub(crate) struct Account {
    pub state: String,
    /// Where they come from.
    pub because: Vec<String>,
    /// The state as part of the headline, unless the account is open.
    #[serde(skip)]
    pub remark: Option<String>,
    /// True if the account is locked, and earlier runs wrote it as open.
    #[serde(skip)]
    pub misses_lock: bool,
}

/// Groups that name a person, or members of a group.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub summary: String,
    pub listed: Vec<ListedEntry>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(crate) struct ListedEntry {
    pub name: String,
    /// True if Kanidm gets the membership.
    pub resolves: bool,
    /// True if the membership waits until Kanidm has the member.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
