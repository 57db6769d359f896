//! TOTP tokens: entries of their own that persons name by DN, as in OpenLDAP's otp overlay
//! (slapo-otp(5)).
//!
//! Scope: the questions for tokens, and what their answers mean for a person. A person is written
//! when it arrives, with room for its tokens. The run reads the tokens of a batch of persons
//! ([`Mapper::next_tokens`]) and answers with [`Mapper::answer_tokens`].
//!
//! Kanidm accepts the password alone if it has no second factor besides it, whatever its account
//! policy says. So a person that has tokens, none of which can be sent, gets no password either.
//! The rest of the person is sent: locks and removed keys do not wait for a token.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use ldap_content_sync::ResultCode;
use ldap_content_sync::dn;
use ldap_content_sync::search::SearchResultEntry;
use uuid::Uuid;

use super::index::State;
use super::lock::Window;
use super::mapper::Mapper;
use super::person::Buffers;
use super::values::{self, Names, Picked, Texts};
use super::{Dropped, EntryProblem, Findings, Held};
use crate::config::sync::PersonMapping;
use crate::content::Ended;
use crate::content::account::STILL_OPEN;
use crate::content::changeset::Kind;
use crate::content::rules::totp::{self, Totp, TotpParams};
use crate::content::rules::{MEMBER_DN_LENGTH, NOT_UTF8, Rule};
use crate::content::scim::ScimTotp;
use crate::content::shown::Mask;

/// The attributes to request of a token.
pub const TOKEN_ATTRIBUTES: &[&str] = &[SECRET, PARAMS];
/// The attributes to request of the parameters of a token.
pub const PARAMS_ATTRIBUTES: &[&str] = &[ALGORITHM, DIGITS, STEP];

const SECRET: &str = "oathSecret";
const PARAMS: &str = "oathTOTPParams";
const ALGORITHM: &str = "oathHMACAlgorithm";
const DIGITS: &str = "oathOTPLength";
const STEP: &str = "oathTOTPTimeStepPeriod";

/// Object classes of tokens and of their parameters, in lower case.
const TOKEN_CLASS: &str = "oathtotptoken";
const PARAMS_CLASS: &str = "oathtotpparams";

/// Maximum tokens of a person. The author of the entry decides how many there are.
const MAX_TOKENS: usize = 10;

/// Maximum bytes of the DNs of a batch. One person may have more.
const BATCH_BYTES: usize = 1 << 20;

/// Maximum bytes of the DN of parameters. The author of the token decides how long it is.
const MAX_PARAMS_DN: usize = 1024;

/// Maximum changed tokens that are remembered by DN. With more, every person with tokens is read.
const MAX_CHANGED: usize = 1_000;

const NO_DN: Rule = "must be the DN of a token";
const NO_PASSWORD: Rule = "cannot be sent without a password: Kanidm takes a token only together with a password hash that it can import";
const NO_FACTOR: Rule = "must not be sent alone: none of the person's TOTP tokens can be sent, and Kanidm would accept the password without a second factor";

/// Comes between a rule and the DN of the token that breaks it.
const NAMED: &str = ". Token: ";

/// A rule without the DN of the token that breaks it, to count all tokens that break it.
pub fn without_dn(rule: &str) -> &str {
    rule.split_once(NAMED).map_or(rule, |(rule, _)| rule)
}

/// True for the rule of a password that is not sent because no token can be sent.
pub fn takes_password(rule: &str) -> bool {
    rule == NO_FACTOR
}

const UNANSWERED: &str = "the directory did not answer for the token";

/// True for the rule of a token that the server failed to read.
pub fn is_unanswered(rule: &str) -> bool {
    rule.starts_with(UNANSWERED)
}

/// The reason why a token cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// The rule that it breaks. Never has a value.
    Broken(Rule),
    /// The account may lack the right to read it.
    Hidden(Rule),
    /// The server failed to read it. Nobody knows the token then, so its persons are held: an
    /// outage must not take their passwords.
    Unanswered(ResultCode),
}

impl fmt::Display for TokenProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenProblem::Broken(rule) => write!(f, "the token cannot be sent: {rule}"),
            TokenProblem::Hidden(rule) => write!(f, "the token {rule}"),
            TokenProblem::Unanswered(code) => {
                write!(f, "{UNANSWERED} ({code})")
            }
        }
    }
}

const NO_TOKEN: TokenProblem =
    hidden("does not exist, or the sync account may not read it: grant it read access");
const NO_SECRET: TokenProblem =
    hidden("shows the sync account no oathSecret: grant it read access");
const NO_PARAMS_DN: TokenProblem =
    hidden("shows the sync account no oathTOTPParams: grant it read access");
const NO_PARAMS: TokenProblem = hidden(
    "has parameters (oathTOTPParams) that do not exist, or that the sync account may not read: grant it read access",
);

const LARGE_TOKEN: Rule =
    "its entry exceeds max_ber_size, so it was not read: shrink it or raise max_ber_size";
const LARGE_PARAMS: Rule = "the entry of its parameters exceeds max_ber_size, so it was not read: shrink it or raise max_ber_size";

const fn hidden(rule: Rule) -> TokenProblem {
    TokenProblem::Hidden(rule)
}

/// A token entry. It has no `Debug`, because it holds a secret.
pub struct TokenEntry {
    secret: Result<Vec<u8>, TokenProblem>,
    params: Result<String, TokenProblem>,
}

impl TokenEntry {
    /// Reads the entry.
    pub fn read(entry: &SearchResultEntry<'_>) -> TokenEntry {
        let [secret, params] = Names::new([SECRET, PARAMS]).pick(entry);
        let unless_large = |attribute, problem| match leaves_out(entry, attribute) {
            true => TokenProblem::Broken(LARGE_TOKEN),
            false => problem,
        };
        let secret = secret
            .and_then(|values| values.values().next())
            .ok_or_else(|| unless_large(SECRET, NO_SECRET));
        TokenEntry {
            secret: secret.and_then(|secret| {
                totp::secret(secret).map(|()| secret.to_vec()).map_err(TokenProblem::Broken)
            }),
            params: first(params).ok_or_else(|| unless_large(PARAMS, NO_PARAMS_DN)).and_then(
                |dn| match token_dn(dn) {
                    Ok(dn) if dn.len() <= MAX_PARAMS_DN => Ok(dn.to_owned()),
                    _ => Err(NO_PARAMS),
                },
            ),
        }
    }

    /// The DN of its parameters.
    pub fn params(&self) -> Option<&str> {
        self.params.as_deref().ok()
    }
}

/// Reads the parameters of tokens.
///
/// # Errors
/// The rule that one of them breaks.
pub fn read_params(entry: &SearchResultEntry<'_>) -> Result<TotpParams, TokenProblem> {
    let [algorithm, digits, step] = Names::new([ALGORITHM, DIGITS, STEP]).pick(entry).map(first);
    match (algorithm, digits, step) {
        (Some(algorithm), Some(digits), Some(step)) => {
            TotpParams::read(algorithm, digits, step).map_err(TokenProblem::Broken)
        }
        _ if PARAMS_ATTRIBUTES.iter().any(|attribute| leaves_out(entry, attribute)) => {
            Err(TokenProblem::Broken(LARGE_PARAMS))
        }
        _ => Err(NO_PARAMS),
    }
}

/// True if the attribute was not read, because the entry is too large.
fn leaves_out(entry: &SearchResultEntry<'_>, attribute: &str) -> bool {
    entry.oversized().is_some_and(|oversized| oversized.leaves_out(attribute))
}

fn first<'a>(attribute: Option<Picked<'a>>) -> Option<&'a [u8]> {
    attribute.and_then(|values| values::not_blank(&values).next())
}

/// The token of an entry and its parameters. `None` for an entry that no search returned.
///
/// # Errors
/// The reason why it cannot be sent.
pub fn token(
    entry: Option<TokenEntry>,
    params: Option<Result<TotpParams, TokenProblem>>,
) -> Result<Totp, TokenProblem> {
    let TokenEntry { secret, params: dn } = entry.ok_or(NO_TOKEN)?;
    let secret = secret?;
    dn?;
    Totp::new(&secret, params.ok_or(NO_PARAMS)??).map_err(TokenProblem::Broken)
}

/// Checks the DN of a token. It must have two RDNs: a secret in base32 or base64 has no comma, and
/// its padding may look like one RDN.
pub fn token_dn(value: &[u8]) -> Result<&str, Rule> {
    let dn = str::from_utf8(value).map_err(|_| NOT_UTF8)?.trim();
    let is_dn = dn.len() <= MEMBER_DN_LENGTH && dn::normalize(dn).is_ok_and(|dn| dn.contains(','));
    if is_dn { Ok(dn) } else { Err(NO_DN) }
}

/// Whether a person has a second factor besides the password.
#[derive(Clone, Copy, Default)]
pub(super) struct SecondFactor {
    /// The directory asks for one.
    pub(super) is_wanted: bool,
    /// The directory asks for one, and there is none to send: the password must not be sent.
    pub(super) is_missing: bool,
}

impl SecondFactor {
    /// Takes the password from a person without a token, if the directory asks for one.
    pub(super) fn require(
        &mut self,
        cfg: &PersonMapping,
        buffers: &Buffers,
        findings: &mut Findings,
    ) {
        if self.is_wanted && buffers.tokens.is_empty() && !buffers.password.is_empty() {
            self.is_missing = true;
            findings.optional(&cfg.password, NO_FACTOR);
        }
    }
}

/// Reads the tokens that a person names into the buffers. The DN of a token counts once.
pub(super) fn read_factor(
    cfg: &PersonMapping,
    values: Option<&Picked<'_>>,
    window: Window,
    buffers: &mut Buffers,
    findings: &mut Findings,
) -> SecondFactor {
    let attribute = cfg.totp.as_deref().unwrap_or_default();
    let Buffers { tokens, password, .. } = buffers;
    tokens.clear();
    // A blank value names no token, but the directory asks for one.
    let values = || values.into_iter().flat_map(|values| values.values());
    let count = values().count();
    let factor = SecondFactor { is_wanted: count > 0, is_missing: false };
    if count > MAX_TOKENS {
        findings
            .optional(attribute, format!("must have at most {MAX_TOKENS} values, and has {count}"));
        return factor;
    }
    if count > 0 && password.is_empty() {
        // Nobody can log in to a locked account with a password.
        if !window.is_locked() {
            findings.optional(attribute, NO_PASSWORD);
        }
        return factor;
    }
    for value in values() {
        match token_dn(value) {
            Err(rule) => findings.optional(attribute, rule),
            Ok(dn) if tokens.contains(dn) => {}
            Ok(dn) => tokens.push(dn),
        }
    }
    factor
}

/// The persons with tokens, in the order of their records.
#[derive(Default)]
pub(super) struct Waiting {
    persons: Vec<WaitingPerson>,
    /// The DNs of all their tokens.
    dns: Texts,
    /// Number of persons whose tokens are answered.
    answered: usize,
    /// Persons in the change set that must not be sent after all.
    held: Vec<Held>,
    /// Tokens that this run received as entries.
    changed: ChangedTokens,
}

/// Tokens, or parameters of tokens, that an incremental run received as entries of their own. The
/// persons that name them have not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedTokens {
    /// The DNs of tokens.
    pub dns: Vec<String>,
    /// True if any person with tokens may be concerned.
    pub everybody: bool,
}

struct WaitingPerson {
    sync_uuid: Uuid,
    /// Position in the index.
    position: u32,
    /// Position in the change set.
    record: usize,
    /// Position and number of its tokens in `dns`.
    first: usize,
    count: usize,
    /// True if the account ends: then it is sent under the policy `hold`, too.
    ends: bool,
    /// True if the account has an end or a beginning.
    is_limited: bool,
    /// The end of the account, if it is over. The run sends it even if the person is held.
    ended: Option<Box<Ended>>,
}

/// The tokens of some persons.
#[derive(Debug)]
pub struct TokenBatch {
    persons: Range<usize>,
    /// Their DNs, each once.
    pub dns: Vec<String>,
}

/// The tokens of a batch by DN.
pub type Tokens = HashMap<String, Result<Totp, TokenProblem>>;

impl Mapper<'_> {
    /// Notes a person in the change set whose tokens are in the buffers.
    pub(super) fn wait_for_tokens(
        &mut self,
        sync_uuid: Uuid,
        position: u32,
        record: u32,
        window: Window,
        ended: Option<Ended>,
    ) {
        let Waiting { persons, dns, .. } = &mut self.waiting;
        let first = dns.count();
        self.buffers.tokens.iter().for_each(|dn| dns.push(dn));
        let count = dns.count() - first;
        persons.push(WaitingPerson {
            sync_uuid,
            position,
            record: record as usize,
            first,
            count,
            ends: window.expire.is_some(),
            is_limited: window != Window::default(),
            ended: ended.map(Box::new),
        });
    }

    /// The tokens of the next persons, at most this many persons. `None` if all are answered.
    pub fn next_tokens(&self, most: usize) -> Option<TokenBatch> {
        let Waiting { persons, dns, answered, .. } = &self.waiting;
        let mut batch = TokenBatch { persons: *answered..*answered, dns: Vec::new() };
        let mut bytes = 0_usize;
        for person in persons.iter().skip(*answered).take(most) {
            let of_person = || (person.first..person.first + person.count).map(|at| dns.get(at));
            bytes = bytes.saturating_add(of_person().map(str::len).sum());
            if bytes > BATCH_BYTES && !batch.persons.is_empty() {
                break;
            }
            batch.dns.extend(of_person().map(str::to_owned));
            batch.persons.end += 1;
        }
        batch.dns.sort_unstable();
        batch.dns.dedup();
        (!batch.persons.is_empty()).then_some(batch)
    }

    /// Takes the tokens of a batch. A DN without an answer does not exist or is hidden.
    pub fn answer_tokens(&mut self, batch: TokenBatch, tokens: &Tokens) {
        for at in batch.persons.clone() {
            self.take_tokens(at, tokens);
        }
        self.waiting.answered = batch.persons.end;
    }

    fn take_tokens(&mut self, at: usize, tokens: &Tokens) {
        let Some(person) = self.waiting.persons.get(at) else { return };
        let WaitingPerson { sync_uuid, position, record, first, count, ends, is_limited, .. } =
            *person;
        let ended = person.ended.as_deref().cloned();
        let attribute = self.cfg.person.totp.as_deref().unwrap_or_default();
        let mut findings = Findings::new(self.cfg.invalid_entries);
        let mut good: Vec<ScimTotp<'_>> = Vec::new();
        let mut is_hidden = false;
        for dn in (first..first + count).map(|at| self.waiting.dns.get(at)) {
            match tokens.get(dn).map_or(Err(&NO_TOKEN), Result::as_ref) {
                Ok(token) => good.push((dn, token)),
                Err(problem @ TokenProblem::Unanswered(_)) => {
                    findings.required(attribute, format!("{problem}{NAMED}{dn}"));
                }
                Err(problem) => {
                    is_hidden |= matches!(problem, TokenProblem::Hidden(_));
                    // The token can be repaired without a change of the person. So the next run
                    // reads the person again.
                    findings.taken(attribute, format!("{problem}{NAMED}{dn}"));
                }
            }
        }
        if !findings.problems.is_empty() {
            if ended.is_none() && is_limited {
                findings.required("sync_account_lock", STILL_OPEN);
            }
        } else if good.is_empty() || !self.content.changes.write_totp(record, &good) {
            self.content.changes.remove_password(record);
            findings.optional(&self.cfg.person.password, NO_FACTOR);
        } else {
            is_hidden = false;
        }
        let dn = self.index.dn(&self.content.changes, position).into_owned();
        let shown = self.content.changes.records().get(record).map_or(Mask::ALL, |r| r.shown);
        self.content.with_tokens += 1;
        if findings.settle(ends) {
            self.content.hidden_tokens.extend(is_hidden.then_some(sync_uuid));
            self.report(sync_uuid, (Kind::Person, shown), &dn, findings);
        } else {
            self.set_state(position, State::Held);
            let Findings { problems, .. } = findings;
            self.hold_later(sync_uuid, dn, shown, problems, ended);
        }
    }

    fn hold_later(
        &mut self,
        sync_uuid: Uuid,
        dn: String,
        shown: Mask,
        problems: Vec<EntryProblem>,
        ended: Option<Ended>,
    ) {
        let uuid = self.cfg.kanidm_uuid(sync_uuid);
        let kind = Kind::Person;
        self.waiting.held.push(Held { uuid, sync_uuid, kind, shown, dn, problems, ended });
    }

    /// Ends the questions. Persons whose tokens nobody read get no password.
    pub(super) fn finish_tokens(&mut self) {
        while let Some(batch) = self.next_tokens(usize::MAX) {
            self.answer_tokens(batch, &Tokens::new());
        }
    }

    /// Takes the persons that are held for their tokens out of the change set. Groups are written
    /// by then: they may have these persons as members.
    pub(super) fn remove_held(&mut self) {
        let mut held = std::mem::take(&mut self.waiting.held);
        let mut by_uuid: HashMap<Uuid, &mut Held> =
            held.iter_mut().map(|held| (held.sync_uuid, held)).collect();
        for Dropped { sync_uuid, attribute, rule, .. } in &self.content.dropped {
            if let Some(held) = by_uuid.get_mut(sync_uuid) {
                let (attribute, rule) = (attribute.clone(), rule.clone());
                held.problems.push(EntryProblem { attribute, rule });
            }
        }
        let uuids: Vec<Uuid> = held.iter().map(|held| held.sync_uuid).collect();
        self.content.persons = self.content.persons.saturating_sub(held.len());
        self.content.forget(&uuids, self.cfg);
        self.content.held.extend(held);
    }

    /// Notes a token or parameters among the received entries. Returns false for another entry.
    pub(super) fn note_token<'v>(
        &mut self,
        dn: &str,
        classes: impl Iterator<Item = &'v [u8]>,
    ) -> bool {
        if self.cfg.person.totp.is_none() {
            return false;
        }
        let (mut is_token, mut is_params) = (false, false);
        for class in classes {
            is_token |= class.eq_ignore_ascii_case(TOKEN_CLASS.as_bytes());
            is_params |= class.eq_ignore_ascii_case(PARAMS_CLASS.as_bytes());
        }
        let changed = &mut self.waiting.changed;
        if !self.full && (is_token || is_params) {
            changed.everybody |= is_params || changed.dns.len() >= MAX_CHANGED;
            if !changed.everybody {
                changed.dns.push(dn.to_owned());
            }
        }
        is_token || is_params
    }

    /// The tokens that an incremental run received: the persons that name them must be sent again.
    pub fn changed_tokens(&self) -> &ChangedTokens {
        &self.waiting.changed
    }
}
