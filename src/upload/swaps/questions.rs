//! The questions of an exchange.
//!
//! Scope: how many there may be, and the reasons why an exchange ends early.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::ask::invalid;
use crate::kanidm::error::Fault;
use crate::kanidm::request::Retention;
use crate::upload::UploadError;
use crate::upload::work::Work;

/// Maximum questions of an exchange. All of them together may take as long as one POST.
pub(super) const MAX_EXCHANGE_QUESTIONS: usize = 512;

/// The reason why an exchange ends early.
pub(super) enum ExchangeEnd {
    Failed(UploadError),
    /// Kanidm does not say, or would take too long.
    Unknown,
    /// The directory did not answer.
    NoDirectory,
}

impl From<UploadError> for ExchangeEnd {
    fn from(error: UploadError) -> Self {
        ExchangeEnd::Failed(error)
    }
}

/// The questions of an exchange so far.
pub(super) struct Questions {
    /// Entries that Kanidm refuses in a list.
    pub(super) absent: HashSet<Uuid>,
    /// How many were asked, and when the first one was.
    number: usize,
    begun: Instant,
    /// Status, code and detail of the refusal of the invalid entry that ends each question.
    pub(super) refusal: (u16, String, String),
}

/// Starts the questions. The first one asks how Kanidm refuses the invalid entry that ends each
/// question.
pub(super) fn start_questions(work: &mut Work<'_>) -> Result<Questions, ExchangeEnd> {
    let begun = work.sender.now();
    let entries = vec![Cow::Owned(invalid(work))];
    let refusal = work
        .sender
        .question_once(&entries.into(), &Retention::Ignore)?
        .ok_or(ExchangeEnd::Unknown)?;
    if refusal.fault != Fault::Other {
        return Err(ExchangeEnd::Unknown);
    }
    Ok(Questions {
        absent: HashSet::new(),
        number: 0,
        begun,
        refusal: (refusal.answer.status, refusal.answer.code, refusal.answer.detail),
    })
}

/// Counts a question. Ends the exchange if there are too many, or if they take too long.
pub(super) fn count_question(
    work: &mut Work<'_>,
    questions: &mut Questions,
) -> Result<(), ExchangeEnd> {
    questions.number = questions.number.saturating_add(1);
    let time: Duration = work.sender.now().saturating_duration_since(questions.begun);
    if questions.number > MAX_EXCHANGE_QUESTIONS || time > work.input.limits.timeout {
        Err(ExchangeEnd::Unknown)
    } else {
        Ok(())
    }
}
