//! Sending POSTs, one after another.
//!
//! Scope: states, retries, counting. Each POST starts from the state that the previous one left. A
//! POST without an answer may have been applied. The interim envelope counts the POSTs, so each one
//! leaves a state of its own. The stored state therefore tells:
//! - the new state: the POST was applied.
//! - the old state: the POST was not applied, or is not applied yet.
//! - any other state: another run is at work.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Upload, UploadError, UploadReport};
use crate::clock::Clock;
use crate::kanidm::error::{Answer, Class, Fault, KanidmError};
use crate::kanidm::request::{Entries, RequestBody, Retention};
use crate::kanidm::state::{Envelope, SyncState, Unfinished};
use crate::kanidm::transport::SyncServer;

/// Maximum attempts of a request before the upload gives up.
const ATTEMPTS: u32 = 5;
/// Maximum attempts of a POST that is too slow and cannot be split. Each attempt takes the whole
/// time-out.
const SLOW_ATTEMPTS: u32 = 3;
/// Maximum questions in an upload about who has a value.
const MAX_QUESTIONS: u64 = 20_000;
/// The account `anonymous`. Every Kanidm has it, and synchronisation cannot delete it.
const ANONYMOUS: Uuid = Uuid::from_u128(0xffff_ffff_ffff);
/// Pause before the second attempt. It doubles before each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Sends POSTs and tracks the stored state.
pub(super) struct Sender<'a> {
    server: &'a mut dyn SyncServer,
    clock: &'a dyn Clock,
    /// The state that Kanidm has stored, as far as this run knows.
    current: SyncState,
    /// States that unanswered POSTs may still leave.
    doubtful: Vec<SyncState>,
    /// The envelope of every POST but the last, without its mark.
    interim: Envelope,
    /// The mark of the latest POST.
    mark: Unfinished,
    max_refused: u64,
    /// Refusals that count against `max_refused`.
    refused_for_data: u64,
    /// Number of questions that are left.
    questions: u64,
    /// The report, with the counters of this sender.
    pub(super) report: UploadReport,
}

/// The result of a POST.
pub(super) enum Sent {
    /// Applied, after this time.
    Applied(Duration),
    /// Refused for its data; nothing was applied.
    Refused(Refusal),
    /// Too large or too slow: send less at once. Nothing was applied, or sending it again does no
    /// harm.
    TooMuch(KanidmError),
}

/// A refusal for the data of a POST.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    pub(super) answer: Answer,
}

/// The state that a POST leaves.
#[derive(Clone, Copy)]
pub(super) enum Leave<'e> {
    /// An interim state: more POSTs follow.
    Interim,
    /// The envelope of the finished run.
    Final(&'e Envelope),
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        server: &'a mut dyn SyncServer,
        clock: &'a dyn Clock,
        input: &Upload<'_>,
    ) -> Self {
        // `known` of the interim envelope describes the content after the deletions, which come
        // first. It sketches a set, so the next run can write or delete the same entries again
        // without changing it.
        let interim = Envelope { known: (input.finish)(&[]).known, ..input.base.clone() };
        Sender {
            server,
            clock,
            current: input.state.clone(),
            doubtful: Vec::new(),
            interim,
            mark: Unfinished {
                run: input.run,
                seq: 0,
                full: input.full || input.state == SyncState::Refresh,
            },
            max_refused: input.limits.max_refused,
            refused_for_data: 0,
            questions: MAX_QUESTIONS,
            report: UploadReport::default(),
        }
    }

    /// The state that Kanidm has stored, as far as this run knows.
    pub(super) fn current(&self) -> &SyncState {
        &self.current
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Requires a full refresh if the run is interrupted from now on. Entries have content that no
    /// increment would replace.
    pub(super) fn repair_in_full(&mut self) {
        self.mark.full = true;
    }

    /// The mark of a finished run that needs a full refresh next.
    pub(super) fn unfinished(&self) -> Unfinished {
        Unfinished { full: true, seq: self.mark.seq.saturating_add(1), ..self.mark }
    }

    /// Sends one POST. Repeats it if the stored state shows that it was not applied.
    pub(super) fn send(
        &mut self,
        entries: &Entries<'_>,
        retain: &Retention,
        leave: Leave<'_>,
    ) -> Result<Sent, UploadError> {
        let mut attempt = 1;
        loop {
            let to = self.next_state(leave);
            let body = RequestBody::new(&self.current, &to, retain, entries.clone());
            self.report.posts = self.report.posts.saturating_add(1);
            self.report.bytes = self.report.bytes.saturating_add(body.byte_len());
            let start = self.clock.now();
            let result = self.server.apply(&body);
            let took = self.clock.now().saturating_duration_since(start);
            drop(body);
            let error = match result {
                Ok(()) => {
                    self.current = to;
                    return Ok(Sent::Applied(took));
                }
                Err(error) => error,
            };
            let again = match error.class() {
                Class::Data(fault) => return self.refused(fault, error),
                Class::TooLarge => return Ok(Sent::TooMuch(error)),
                Class::Auth | Class::Fatal => {
                    return Err(UploadError::Kanidm { doing: "sending to Kanidm", error });
                }
                class @ (Class::StateMismatch | Class::TimedOut | Class::Retryable) => {
                    self.after_doubt(class, &to)?
                }
            };
            match again {
                Doubt::Applied => return Ok(Sent::Applied(took)),
                // An earlier attempt of this run moved the state: start from there.
                Doubt::Moved => {}
                Doubt::NotApplied if error.class() == Class::TimedOut => {
                    self.report.repeated = self.report.repeated.saturating_add(1);
                    return Ok(Sent::TooMuch(error));
                }
                Doubt::NotApplied => self.pause(attempt),
            }
            if attempt >= ATTEMPTS {
                return Err(UploadError::Kanidm {
                    doing: "sending to Kanidm, tried several times",
                    error,
                });
            }
            attempt = attempt.saturating_add(1);
            self.report.repeated = self.report.repeated.saturating_add(1);
        }
    }

    /// Sends a POST that cannot be split. Repeats it if it is too slow.
    pub(super) fn send_whole(
        &mut self,
        entries: &Entries<'_>,
        retain: &Retention,
        leave: Leave<'_>,
    ) -> Result<Sent, UploadError> {
        for attempt in 1..SLOW_ATTEMPTS {
            match self.send(entries, retain, leave)? {
                Sent::TooMuch(error) if error.class() == Class::TimedOut => self.pause(attempt),
                other => return Ok(other),
            }
        }
        self.send(entries, retain, leave)
    }

    /// Sends a POST that Kanidm may well refuse. The refusal does not count against the limit of
    /// the upload.
    pub(super) fn send_aside(
        &mut self,
        entries: &Entries<'_>,
        retain: &Retention,
    ) -> Result<Sent, UploadError> {
        self.max_refused = self.max_refused.saturating_add(1);
        self.send_whole(entries, retain, Leave::Interim)
    }

    /// Sends a POST that Kanidm must refuse, and returns the refusal. Changes nothing in Kanidm.
    pub(super) fn probe(&mut self, entries: &Entries<'_>) -> Result<Refusal, UploadError> {
        match self.send_whole(entries, &Retention::Ignore, Leave::Interim)? {
            Sent::Refused(refusal) => Ok(refusal),
            Sent::Applied(_) => Err(UploadError::ImpossibleSuccess),
            Sent::TooMuch(error) => {
                Err(UploadError::Kanidm { doing: "finding the entries at fault", error })
            }
        }
    }

    /// As [`probe`](Self::probe), for questions that the upload can do without. Returns `None`
    /// after [`MAX_QUESTIONS`], or if the POST is too slow. Questions do not count against the
    /// limit of refusals, so many colliding entries do not fail the upload.
    pub(super) fn question(
        &mut self,
        entries: &Entries<'_>,
    ) -> Result<Option<Refusal>, UploadError> {
        let Some(left) = self.questions.checked_sub(1) else {
            return Ok(None);
        };
        self.questions = left;
        self.max_refused = self.max_refused.saturating_add(1);
        match self.send_whole(entries, &Retention::Ignore, Leave::Interim)? {
            Sent::Refused(refusal) => Ok(Some(refusal)),
            Sent::Applied(_) => Err(UploadError::ImpossibleSuccess),
            Sent::TooMuch(_) => Ok(None),
        }
    }

    /// Asks a question from the state Refresh. Kanidm answers as if it had deleted each entry of
    /// this sync account that `entries` does not list. `None` if no answer comes in time.
    ///
    /// The POST must never be applied, so Kanidm has two independent reasons to refuse it.
    /// `entries` includes an entry without a mandatory value. The POST also deletes an account of
    /// Kanidm's own.
    pub(super) fn question_from_refresh(
        &mut self,
        entries: &Entries<'_>,
    ) -> Result<Option<Refusal>, UploadError> {
        self.never_applied(&SyncState::Refresh, entries, &Retention::Delete(vec![ANONYMOUS]))
    }

    /// Asks whether Kanidm would accept these entries. If so, Kanidm refuses only the deletion of
    /// its own account ([`Fault::Foreign`]). `None` if no answer comes in time.
    pub(super) fn question_of_validity(
        &mut self,
        entries: &Entries<'_>,
    ) -> Result<Option<Refusal>, UploadError> {
        self.question_once(entries, &Retention::Delete(vec![ANONYMOUS]))
    }

    /// Returns true if Kanidm refuses to delete its own account. Questions that rely on this
    /// refusal need the check first.
    pub(super) fn protects_its_own(&mut self) -> Result<bool, UploadError> {
        let refusal = self.question_once(&Entries::none(), &Retention::Delete(vec![ANONYMOUS]))?;
        Ok(refusal.is_some_and(|refusal| refusal.fault == Fault::Foreign))
    }

    /// Asks a question without repeating it, and without a limit on their number. `entries` or
    /// `retain` must be something that Kanidm refuses. `None` if no answer comes in time.
    pub(super) fn question_once(
        &mut self,
        entries: &Entries<'_>,
        retain: &Retention,
    ) -> Result<Option<Refusal>, UploadError> {
        self.never_applied(&self.current.clone(), entries, retain)
    }

    fn never_applied(
        &mut self,
        from: &SyncState,
        entries: &Entries<'_>,
        retain: &Retention,
    ) -> Result<Option<Refusal>, UploadError> {
        let to = self.next_state(Leave::Interim);
        let body = RequestBody::new(from, &to, retain, entries.clone());
        self.report.posts = self.report.posts.saturating_add(1);
        self.report.bytes = self.report.bytes.saturating_add(body.byte_len());
        let Err(error) = self.server.apply(&body) else {
            return Err(UploadError::ImpossibleSuccess);
        };
        match (error.class(), error) {
            (Class::Data(fault), KanidmError::Refused(answer)) => {
                self.report.refused = self.report.refused.saturating_add(1);
                Ok(Some(Refusal { fault, answer }))
            }
            (Class::Auth | Class::Fatal, error) => {
                Err(UploadError::Kanidm { doing: "asking who has a value", error })
            }
            (_, error) => {
                log::debug!("who has which value could not be asked: {error}");
                Ok(None)
            }
        }
    }

    /// Doubles the limit of refusals. Repairs after an abandoned search need refusals of their own.
    pub(super) fn allow_as_many_again(&mut self) {
        self.max_refused = self.max_refused.saturating_mul(2);
    }

    fn next_state(&mut self, leave: Leave<'_>) -> SyncState {
        match leave {
            Leave::Final(envelope) => envelope.to_state(),
            Leave::Interim => {
                self.mark.seq = self.mark.seq.saturating_add(1);
                Envelope { unfinished: Some(self.mark), ..self.interim.clone() }.to_state()
            }
        }
    }

    fn refused(&mut self, fault: Fault, error: KanidmError) -> Result<Sent, UploadError> {
        self.report.refused = self.report.refused.saturating_add(1);
        if fault != Fault::Conflict {
            self.refused_for_data = self.refused_for_data.saturating_add(1);
        }
        if self.refused_for_data > self.max_refused {
            return Err(UploadError::TooManyRefused {
                posts: self.refused_for_data,
                // The caller knows them.
                held: Vec::new(),
            });
        }
        match error {
            KanidmError::Refused(answer) => Ok(Sent::Refused(Refusal { fault, answer })),
            error => Err(UploadError::Kanidm { doing: "sending to Kanidm", error }),
        }
    }

    /// Reads the stored state after a POST without an answer, or after Kanidm reports another
    /// state.
    fn after_doubt(&mut self, class: Class, to: &SyncState) -> Result<Doubt, UploadError> {
        let stored = self.read_state()?;
        if stored == *to {
            self.current = stored;
            Ok(Doubt::Applied)
        } else if stored == self.current && class != Class::StateMismatch {
            self.doubtful.push(to.clone());
            Ok(Doubt::NotApplied)
        } else if stored == self.current || self.doubtful.contains(&stored) {
            self.current = stored;
            Ok(Doubt::Moved)
        } else {
            Err(UploadError::Interrupted)
        }
    }

    fn read_state(&mut self) -> Result<SyncState, UploadError> {
        let mut attempt = 1;
        loop {
            match self.server.state() {
                Ok(state) => return Ok(state),
                Err(e)
                    if attempt < ATTEMPTS
                        && matches!(e.class(), Class::Retryable | Class::TimedOut) =>
                {
                    self.pause(attempt)
                }
                Err(error) => {
                    return Err(UploadError::Kanidm {
                        doing: "asking Kanidm whether a POST without an answer was applied",
                        error,
                    });
                }
            }
            attempt = attempt.saturating_add(1);
        }
    }

    fn pause(&mut self, attempt: u32) {
        self.clock.sleep(FIRST_PAUSE.saturating_mul(1_u32 << attempt.saturating_sub(1).min(4)));
    }
}

/// The conclusion from the stored state about a POST without an answer.
enum Doubt {
    /// Kanidm stores the state that the POST leaves.
    Applied,
    /// Kanidm still stores the old state.
    NotApplied,
    /// An earlier attempt of this run was applied: the POST must start from its state.
    Moved,
}

/// The error for a POST that the upload cannot do without.
pub(super) fn failed(doing: &'static str, sent: Sent) -> UploadError {
    match sent {
        Sent::Refused(refusal) => {
            UploadError::Kanidm { doing, error: KanidmError::Refused(refusal.answer) }
        }
        Sent::TooMuch(error) => UploadError::Kanidm { doing, error },
        Sent::Applied(_) => UploadError::ImpossibleSuccess,
    }
}
