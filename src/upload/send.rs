//! One POST after another: each starts from the state the one before it left, and is repeated where
//! that is safe.
//!
//! Scope: states, retries, counting. A POST without an answer may have been applied. Every POST
//! leaves a state of its own (the interim envelope counts them), so reading the state tells: the
//! new one, it was applied; the old one, it was not, or not yet; anything else, another run is at
//! work.

use std::time::Duration;

use uuid::Uuid;

use super::{Upload, UploadError, UploadReport};
use crate::kanidm::error::{Answer, Class, Fault, KanidmError};
use crate::kanidm::request::{Entries, RequestBody, Retention};
use crate::kanidm::state::{Envelope, SyncState, Unfinished};
use crate::kanidm::transport::{Clock, SyncServer};

/// How often a request is tried before the upload gives up.
const ATTEMPTS: u32 = 5;
/// How often one that takes too long is tried when it cannot be divided: each attempt lasts as long
/// as the time-out.
const SLOW_ATTEMPTS: u32 = 3;
/// So many questions about who has a value are asked in an upload.
const MAX_QUESTIONS: u64 = 20_000;
/// Every Kanidm has it, and no synchronisation may delete it: the account `anonymous`.
const KANIDMS_OWN: Uuid = Uuid::from_u128(0xffff_ffff_ffff);
/// Before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Sends POSTs and follows the state.
pub(super) struct Sender<'a> {
    server: &'a mut dyn SyncServer,
    clock: &'a mut dyn Clock,
    /// What Kanidm has stored, as far as we know.
    current: SyncState,
    /// States that unanswered POSTs may still leave.
    doubtful: Vec<SyncState>,
    interim: Envelope,
    mark: Unfinished,
    max_refused: u64,
    /// Refusals that count against it.
    refused_for_data: u64,
    /// How many questions may still be asked.
    questions: u64,
    /// Counters and what else becomes the report.
    pub(super) report: UploadReport,
}

/// What became of a POST.
pub(super) enum Sent {
    /// Applied, after this long.
    Applied(Duration),
    /// Refused for its data; nothing of it was applied.
    Refused(Refusal),
    /// Too large, or too slow: send less at once. Nothing of it was applied, or it does no harm to
    /// send it again.
    TooMuch(KanidmError),
}

/// A refusal for the data of a POST.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    pub(super) answer: Answer,
}

/// Which state a POST leaves.
#[derive(Clone, Copy)]
pub(super) enum Leave<'e> {
    /// An interim one: there is more to come.
    Interim,
    /// The envelope of the finished run.
    Final(&'e Envelope),
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        server: &'a mut dyn SyncServer,
        clock: &'a mut dyn Clock,
        input: &Upload<'_>,
    ) -> Self {
        // What the interim envelope knows is what Kanidm holds once the deletions are through. The
        // sketch is a set: writing an entry, or deleting it, once more in the next run changes
        // nothing.
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

    /// What Kanidm has stored, as far as we know.
    pub(super) fn current(&self) -> &SyncState {
        &self.current
    }

    pub(super) fn now(&mut self) -> Duration {
        self.clock.now()
    }

    /// From here on an interruption can only be repaired by a full refresh: entries have got
    /// content that no increment would bring again.
    pub(super) fn repair_in_full(&mut self) {
        self.mark.full = true;
    }

    /// The mark of a run after which only a full refresh will do.
    pub(super) fn unfinished(&self) -> Unfinished {
        Unfinished { full: true, seq: self.mark.seq.saturating_add(1), ..self.mark }
    }

    /// Sends one POST.
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
            let took = self.clock.now().saturating_sub(start);
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
                // The state has moved, by an earlier attempt of ours: start from there.
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

    /// Sends a POST that cannot be sent in parts: one that took too long is tried again.
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

    /// Sends a POST whose refusal is expected, and is not one of those after which the upload gives
    /// up.
    pub(super) fn send_aside(
        &mut self,
        entries: &Entries<'_>,
        retain: &Retention,
    ) -> Result<Sent, UploadError> {
        self.max_refused = self.max_refused.saturating_add(1);
        self.send_whole(entries, retain, Leave::Interim)
    }

    /// Sends a POST that is made to be refused, and says how it was. It changes nothing in Kanidm.
    pub(super) fn probe(&mut self, entries: &Entries<'_>) -> Result<Refusal, UploadError> {
        match self.send_whole(entries, &Retention::Ignore, Leave::Interim)? {
            Sent::Refused(refusal) => Ok(refusal),
            Sent::Applied(_) => Err(UploadError::ImpossibleSuccess),
            Sent::TooMuch(error) => {
                Err(UploadError::Kanidm { doing: "finding the entries at fault", error })
            }
        }
    }

    /// As [`probe`](Self::probe), for what the upload can do without: of these there are so many at
    /// the most, and then no answer, and they count for themselves. However many entries collide,
    /// that is no reason to fail.
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

    /// A question that Kanidm answers as if it had deleted every entry of this sync account that
    /// `entries` does not list: the state it starts from is Refresh. It must never be applied, so
    /// Kanidm has two reasons of different kinds to refuse it: an entry without a mandatory value,
    /// which `entries` brings, and the deletion of an account that is Kanidm's own. Nothing if no
    /// answer came in time.
    pub(super) fn question_from_refresh(
        &mut self,
        entries: &Entries<'_>,
    ) -> Result<Option<Refusal>, UploadError> {
        self.never_applied(&SyncState::Refresh, entries, &Retention::Delete(vec![KANIDMS_OWN]))
    }

    /// A question whether Kanidm would take these entries: then it refuses the deletion of an
    /// account of its own ([`Fault::Foreign`]). Nothing if no answer came in time.
    pub(super) fn question_of_validity(
        &mut self,
        entries: &Entries<'_>,
    ) -> Result<Option<Refusal>, UploadError> {
        self.question_once(entries, &Retention::Delete(vec![KANIDMS_OWN]))
    }

    /// Whether Kanidm refuses the deletion of an account of its own. No question that rests on it
    /// may be sent before.
    pub(super) fn is_guarded(&mut self) -> Result<bool, UploadError> {
        let refusal =
            self.question_once(&Entries::none(), &Retention::Delete(vec![KANIDMS_OWN]))?;
        Ok(refusal.is_some_and(|refusal| refusal.fault == Fault::Foreign))
    }

    /// A question that is not repeated, however many there are. It brings what Kanidm refuses.
    /// Nothing if no answer came in time.
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

    /// After the search was given up: what has to be put right may take as many refusals again.
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
                held: self.report.held.clone(),
            });
        }
        match error {
            KanidmError::Refused(answer) => Ok(Sent::Refused(Refusal { fault, answer })),
            error => Err(UploadError::Kanidm { doing: "sending to Kanidm", error }),
        }
    }

    /// No answer, or one that says the state is another: what has Kanidm stored?
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

/// What the stored state says about a POST without an answer.
enum Doubt {
    Applied,
    NotApplied,
    Moved,
}

/// A POST that nothing can be done about.
pub(super) fn failed(doing: &'static str, sent: Sent) -> UploadError {
    match sent {
        Sent::Refused(refusal) => {
            UploadError::Kanidm { doing, error: KanidmError::Refused(refusal.answer) }
        }
        Sent::TooMuch(error) => UploadError::Kanidm { doing, error },
        Sent::Applied(_) => UploadError::ImpossibleSuccess,
    }
}
