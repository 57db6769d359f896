//! Exchanges of values among many entries: a new scheme of names, a renumbering.
//!
//! Scope: writing such entries in a few large POSTs. Kanidm compares each value of a POST with the
//! values that were stored before it. All entries therefore get temporary values first, and their
//! own values next. An entry that wants a value from outside the exchange must not take part,
//! because it would lose its current name. Such an entry is an *outsider*.
//!
//! The names that entries have in Kanidm cannot be read. The upload therefore asks as if the
//! entries were deleted ([`Sender::question_from_refresh`](crate::upload::send::Sender)). Invented
//! entries, the *strangers*, bring the wanted values. Kanidm refuses only the values that other
//! entries have.
//!
//! DNs are no part of that question, because Kanidm sets them before it deletes. They are settled
//! first. Any entry may have a temporary DN, because people do not log in with it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::content::changeset::Kind;
use crate::content::scim;
use crate::content::unique::{Attribute, Unique, temporary_gid, temporary_name};
use crate::kanidm::error::Fault;
use crate::kanidm::request::{Entries, Retention};
use crate::upload::UploadError;
use crate::upload::bisect::{self, Flow};
use crate::upload::first::temporary_id;
use crate::upload::item::{Form, Item, stub};
use crate::upload::send::{Leave, Sent};
use crate::upload::write::{Exchange, Together, Writer};

/// Maximum questions of an exchange. All of them together may take as long as one POST.
const MAX_EXCHANGE_QUESTIONS: usize = 512;
/// Size of a sample. If there are more entries, a sample estimates how many questions the exchange
/// takes.
const SAMPLE_SIZE: usize = 32;
/// Estimated questions for each outsider.
const QUESTIONS_PER_OUTSIDER: usize = 5;
/// Maximum refused POSTs of the search for entries that need no temporary values. Each accepted
/// POST allows [`SPLITS_PER_SUCCESS`] more.
const MAX_SPLITS: usize = 16;
const SPLITS_PER_SUCCESS: usize = 8;

/// A name that is taken in every Kanidm.
const BUILT_IN_NAME: &str = "admin";

/// All attributes that must be unique; and the same without DNs, which are settled first.
const ALL: &[Attribute] = &[Attribute::Dn, Attribute::Name, Attribute::Gid, Attribute::Mail];
const VALUES: &[Attribute] = &[Attribute::Name, Attribute::Gid, Attribute::Mail];

/// The reason why an exchange ends early.
enum ExchangeEnd {
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

impl Writer<'_> {
    /// Writes the entries of `items` that only want values of one another, and returns the others.
    /// `None` if the two cannot be told apart.
    pub(crate) fn exchange(&mut self, items: &[Item]) -> Result<Option<Vec<Item>>, UploadError> {
        match self.try_exchange(items) {
            Ok(others) => Ok(Some(others)),
            Err(ExchangeEnd::Unknown) => Ok(None),
            Err(ExchangeEnd::NoDirectory) => {
                self.repeat_in_full = true;
                Ok(None)
            }
            Err(ExchangeEnd::Failed(error)) => Err(error),
        }
    }

    fn try_exchange(&mut self, items: &[Item]) -> Result<Vec<Item>, ExchangeEnd> {
        if !self.sender.protects_its_own()? {
            return Err(ExchangeEnd::Unknown);
        }
        let everyone_else = self.everyone_else(items)?;
        let first_gid = self.first_temporary_gid();
        let mut questions = self.start_questions()?;
        let mut others = self.with_shared_values(items);
        others.extend(self.masked_or_foreign(items, first_gid, &mut questions)?);
        let ours: Vec<Item> = items.iter().copied().filter(|item| !others.contains(item)).collect();
        others.extend(self.invalid_entries(&ours, first_gid, &mut questions)?);
        others.extend(self.settle_dns(&ours, &mut questions)?);
        let all_are_asked = others.is_empty();
        let mut part: Vec<Item> =
            items.iter().copied().filter(|item| !others.contains(item)).collect();
        self.estimate_outsiders(&part, &everyone_else, &mut others, &mut questions)?;
        loop {
            part.retain(|item| !others.contains(item));
            let kept: Vec<Uuid> = everyone_else
                .iter()
                .copied()
                .chain(others.iter().map(|item| self.uuid(*item)))
                .collect();
            let found = self.outsiders(&part, kept, &mut questions)?;
            if found.is_empty() {
                break;
            }
            // Outsiders keep their values, so entries that want these become outsiders, too. Such
            // chains run in either direction.
            part.reverse();
            others.extend(found);
        }
        // Persons go before groups, which have them as members.
        let (groups, persons): (Vec<Item>, Vec<Item>) =
            part.into_iter().partition(|item| self.is_group(*item));
        let part = self.write_free_entries(&[persons, groups].concat())?;
        if !part.is_empty() {
            self.give_temporary_values(&part, first_gid)?;
            self.late(true, |this| this.attempt_in_chunks(&part, Form::Full, false))?;
        }
        if all_are_asked {
            self.exchange = Exchange::Whole;
        }
        Ok(items.iter().copied().filter(|item| others.contains(item)).collect())
    }

    /// Estimates the number of outsiders from a sample. Ends the exchange if there are too many.
    fn estimate_outsiders(
        &mut self,
        part: &[Item],
        everyone_else: &[Uuid],
        others: &mut HashSet<Item>,
        questions: &mut Questions,
    ) -> Result<(), ExchangeEnd> {
        if part.len() <= SAMPLE_SIZE {
            return Ok(());
        }
        let sample: Vec<Item> =
            part.iter().copied().step_by(part.len().div_ceil(SAMPLE_SIZE)).collect();
        let kept: Vec<Uuid> = everyone_else
            .iter()
            .copied()
            .chain(others.iter().map(|item| self.uuid(*item)))
            .collect();
        let found = self.outsiders(&sample, kept, questions)?;
        let expected = found.len().saturating_mul(part.len()) / sample.len();
        others.extend(found);
        if expected.saturating_mul(QUESTIONS_PER_OUTSIDER) > MAX_EXCHANGE_QUESTIONS {
            Err(ExchangeEnd::Unknown)
        } else {
            Ok(())
        }
    }

    /// Writes the entries that need no value of another one, and returns the rest, so that few
    /// entries get temporary values. Halves refused chunks, the largest first, as long as that
    /// finds entries to write.
    fn write_free_entries(&mut self, part: &[Item]) -> Result<Vec<Item>, ExchangeEnd> {
        let mut blocks: Vec<Vec<Item>> = Vec::new();
        let mut rest = part;
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.fit(rest));
            blocks.push(chunk.to_vec());
            rest = more;
        }
        let (mut taken, mut refused, mut applied): (Vec<Vec<Item>>, usize, usize) =
            (Vec::new(), 0, 0);
        loop {
            for block in blocks {
                match self.late(true, |this| this.together(&block, Form::Full, false))? {
                    Together::Taken(_) => {
                        refused = refused.saturating_add(1);
                        taken.push(block);
                    }
                    Together::Applied | Together::Sorted => applied = applied.saturating_add(1),
                }
            }
            let largest = taken.iter().map(Vec::len).max().unwrap_or_default();
            if largest < 2
                || refused > MAX_SPLITS.saturating_add(SPLITS_PER_SUCCESS.saturating_mul(applied))
            {
                return Ok(taken.concat());
            }
            let (large, small): (Vec<_>, Vec<_>) =
                taken.into_iter().partition(|block| block.len().saturating_mul(2) > largest);
            taken = small;
            let halves = |block: &Vec<Item>| {
                let (left, right) = block.split_at(block.len() / 2);
                [left.to_vec(), right.to_vec()]
            };
            blocks = large.iter().flat_map(halves).filter(|block| !block.is_empty()).collect();
        }
    }

    /// Returns the entries that want the same value as another one. Only one can have it, whether
    /// it is free or not.
    fn with_shared_values(&self, items: &[Item]) -> HashSet<Item> {
        let values: Vec<Vec<Unique>> = items.iter().map(|item| self.values(*item)).collect();
        let mut number: HashMap<&Unique, usize> = HashMap::new();
        values.iter().flatten().for_each(|value| *number.entry(value).or_default() += 1);
        let shares =
            |values: &&Vec<Unique>| values.iter().any(|value| number.get(value) != Some(&1));
        items
            .iter()
            .zip(&values)
            .filter(|(_, values)| shares(values))
            .map(|(item, _)| *item)
            .collect()
    }

    /// Returns the UUIDs in Kanidm of all entries of this sync account except `items`. The list
    /// must be complete: the values of an entry that it omits would look free.
    fn everyone_else(&mut self, items: &[Item]) -> Result<Vec<Uuid>, ExchangeEnd> {
        let mut all: Vec<Uuid> = match self.input.full {
            true => self
                .input
                .changes
                .records()
                .iter()
                .map(|r| r.uuid)
                .chain(self.input.stubs.iter().map(|(uuid, _)| *uuid))
                .collect(),
            false => (self.input.everyone)().ok_or(ExchangeEnd::NoDirectory)?,
        };
        if !self.not_deleted.is_empty() || !self.covers_all_known(&all) {
            return Err(ExchangeEnd::Unknown);
        }
        let absent =
            self.sender.report.held.iter().filter(|held| held.is_absent).map(|held| held.uuid);
        let not: HashSet<Uuid> = items.iter().map(|item| self.uuid(*item)).chain(absent).collect();
        all.retain(|uuid| !not.contains(uuid));
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Returns true if each entry that Kanidm is known to have is in `all` or deleted by this run.
    fn covers_all_known(&self, all: &[Uuid]) -> bool {
        let deleted: &[Uuid] = match &self.input.retention {
            Retention::Delete(uuids) => uuids,
            // The deletions were sent first.
            Retention::Retain(_) => return true,
            Retention::Ignore => &[],
        };
        let Some(known) = self.input.base.known.as_ref().filter(|_| !self.input.full) else {
            return true;
        };
        let listed = [all, deleted].concat();
        // The count of a large set is an estimate.
        let tolerance = if known.is_exact() { 0 } else { known.count() / 10 };
        known.count() <= (listed.len() as u64).saturating_add(tolerance)
            && known.named_missing_from(&listed, 1).is_empty()
    }

    /// The first temporary gidnumber.
    fn first_temporary_gid(&self) -> u32 {
        temporary_gid(self.input.run)
    }

    /// Starts the questions. The first one asks how Kanidm refuses the invalid entry that ends each
    /// question.
    fn start_questions(&mut self) -> Result<Questions, ExchangeEnd> {
        let begun = self.sender.now();
        let entries = vec![Cow::Owned(self.invalid())];
        let refusal = self
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
    fn count_question(&mut self, questions: &mut Questions) -> Result<(), ExchangeEnd> {
        questions.number = questions.number.saturating_add(1);
        let time: Duration = self.sender.now().saturating_sub(questions.begun);
        if questions.number > MAX_EXCHANGE_QUESTIONS || time > self.input.limits.timeout {
            Err(ExchangeEnd::Unknown)
        } else {
            Ok(())
        }
    }

    /// Returns the entries that are in the recycle bin, or belong to another sync account.
    fn masked_or_foreign(
        &mut self,
        items: &[Item],
        first_gid: u32,
        questions: &mut Questions,
    ) -> Result<Vec<Item>, ExchangeEnd> {
        self.refused_among(items, first_gid, questions, |this, mut entries| {
            entries.push(Cow::Owned(this.invalid()));
            let refusal = this
                .sender
                .question_once(&entries.into(), &Retention::Ignore)?
                .ok_or(ExchangeEnd::Unknown)?;
            Ok(!matches!(refusal.fault, Fault::Masked | Fault::Foreign))
        })
    }

    /// Returns the entries that Kanidm would refuse even with temporary values. Kanidm sees all
    /// entries, and then refuses the POST for another reason: it deletes an account of Kanidm's
    /// own.
    fn invalid_entries(
        &mut self,
        items: &[Item],
        first_gid: u32,
        questions: &mut Questions,
    ) -> Result<Vec<Item>, ExchangeEnd> {
        self.refused_among(items, first_gid, questions, |this, entries| {
            match this
                .sender
                .question_of_validity(&entries.into())?
                .ok_or(ExchangeEnd::Unknown)?
                .fault
            {
                Fault::Foreign => Ok(true),
                Fault::Other | Fault::Masked => Ok(false),
                // A temporary value is taken.
                Fault::Conflict => Err(ExchangeEnd::Unknown),
            }
        })
    }

    /// Returns the items that, with temporary values, make `is_clean` false.
    fn refused_among(
        &mut self,
        items: &[Item],
        first_gid: u32,
        questions: &mut Questions,
        is_clean: impl Fn(&mut Self, Vec<Cow<'_, [u8]>>) -> Result<bool, ExchangeEnd>,
    ) -> Result<Vec<Item>, ExchangeEnd> {
        let (mut found, mut rest) = (Vec::new(), items);
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.fit(rest));
            let this = RefCell::new((&mut *self, &mut *questions));
            let is_clean = |range: Range<usize>| {
                let (this, questions) = &mut *this.borrow_mut();
                this.count_question(questions)?;
                let entries = chunk
                    .get(range)
                    .unwrap_or_default()
                    .iter()
                    .map(|item| Cow::Owned(this.staged(*item, ALL, first_gid)))
                    .collect();
                is_clean(this, entries)
            };
            bisect::culprits(chunk.len(), false, &is_clean, |at, alone| {
                if alone || !is_clean(at..at.saturating_add(1))? {
                    found.extend(chunk.get(at));
                }
                Ok::<_, ExchangeEnd>(Flow::Continue(()))
            })?;
            rest = more;
        }
        Ok(found)
    }

    /// Returns the UUIDs that Kanidm refuses in a list: they are in the recycle bin, or belong to
    /// another sync account.
    fn unlistable(
        &mut self,
        all: &[Uuid],
        questions: &mut Questions,
    ) -> Result<HashSet<Uuid>, ExchangeEnd> {
        let mut absent = HashSet::new();
        let this = RefCell::new((self, questions));
        let lists = |range: Range<usize>| {
            let (this, questions) = &mut *this.borrow_mut();
            this.count_question(questions)?;
            let stubs = all.get(range).unwrap_or_default().iter().map(|uuid| stub(*uuid, None));
            let entries: Vec<Cow<'_, [u8]>> =
                stubs.chain([this.invalid()]).map(Cow::Owned).collect();
            let refusal = this
                .sender
                .question_once(&entries.into(), &Retention::Ignore)?
                .ok_or(ExchangeEnd::Unknown)?;
            Ok(!matches!(refusal.fault, Fault::Masked | Fault::Foreign))
        };
        bisect::culprits(all.len(), false, &lists, |at, alone| {
            if alone || !lists(at..at.saturating_add(1))? {
                absent.extend(all.get(at));
            }
            Ok::<_, ExchangeEnd>(Flow::Continue(()))
        })?;
        Ok(absent)
    }

    /// Gives each entry its DN, if one of them wants the DN of another. Returns the entries that
    /// cannot have theirs.
    fn settle_dns(
        &mut self,
        items: &[Item],
        questions: &mut Questions,
    ) -> Result<Vec<Item>, ExchangeEnd> {
        let (mut is_taken, mut rest) = (false, items);
        while !rest.is_empty() && !is_taken {
            let (chunk, more) = rest.split_at(self.fit(rest));
            is_taken = !self.are_dns_free(chunk, questions)?;
            rest = more;
        }
        if !is_taken {
            return Ok(Vec::new());
        }
        self.sender.repair_in_full();
        let stubs = items
            .iter()
            .map(|item| stub(self.uuid(*item), Some(&temporary_id(self.uuid(*item)))))
            .collect();
        self.send_all(stubs)?;
        let taken = self.with_taken_dns(items, questions)?;
        let free: Vec<Item> = items.iter().copied().filter(|item| !taken.contains(item)).collect();
        self.attempt_in_chunks(&free, Form::Named, false)?;
        Ok(items.iter().copied().filter(|item| !self.has_its_dn(*item)).collect())
    }

    /// Returns the items whose DN another entry has.
    fn with_taken_dns(
        &mut self,
        items: &[Item],
        questions: &mut Questions,
    ) -> Result<HashSet<Item>, ExchangeEnd> {
        let (mut taken, mut rest) = (HashSet::new(), items);
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.fit(rest));
            let this = RefCell::new((&mut *self, &mut *questions));
            let is_clean = |range: Range<usize>| {
                let (this, questions) = &mut *this.borrow_mut();
                this.are_dns_free(chunk.get(range).unwrap_or_default(), questions)
            };
            bisect::culprits(chunk.len(), false, &is_clean, |at, alone| {
                if alone || !is_clean(at..at.saturating_add(1))? {
                    taken.extend(chunk.get(at));
                }
                Ok::<_, ExchangeEnd>(Flow::Continue(()))
            })?;
            rest = more;
        }
        Ok(taken)
    }

    /// Asks whether these entries can have their DNs.
    fn are_dns_free(
        &mut self,
        items: &[Item],
        questions: &mut Questions,
    ) -> Result<bool, ExchangeEnd> {
        self.count_question(questions)?;
        let named = items.iter().map(|item| item.render(self.input, Form::Named).into_owned());
        let named: Vec<Cow<'_, [u8]>> = named.chain([self.invalid()]).map(Cow::Owned).collect();
        let refusal = self
            .sender
            .question_once(&named.into(), &Retention::Ignore)?
            .ok_or(ExchangeEnd::Unknown)?;
        Ok(refusal.fault != Fault::Conflict)
    }

    /// Returns the outsiders of `part`: entries that want a value of an entry that keeps it. The
    /// entries in `kept` and the outsiders keep their values. All others of `part` give theirs up.
    fn outsiders(
        &mut self,
        part: &[Item],
        kept: Vec<Uuid>,
        questions: &mut Questions,
    ) -> Result<Vec<Item>, ExchangeEnd> {
        // Kanidm must refuse a name that is certainly taken. Otherwise its answers mean nothing.
        let Some(first) = part.first() else { return Ok(Vec::new()) };
        if self.are_free(
            &[(*first, &vec![Unique::Name(BUILT_IN_NAME.to_owned())])],
            &kept,
            |_| true,
            questions,
        )? {
            return Err(ExchangeEnd::Unknown);
        }
        let values: Vec<Vec<Unique>> = part.iter().map(|item| self.values(*item)).collect();
        let is_number = |value: &Unique| value.attribute() == Attribute::Gid;
        // Kanidm keeps the gidnumber of an entry that gets no other one.
        let numberless = part
            .iter()
            .zip(&values)
            .filter(|(_, values)| !values.iter().any(is_number))
            .map(|(item, _)| self.uuid(*item));
        let keep_numbers: Vec<Uuid> = kept.iter().copied().chain(numberless).collect();
        let apart = keep_numbers.len() > kept.len()
            && keep_numbers.len() < kept.len().saturating_add(part.len());
        let mut found = Vec::new();
        let this = RefCell::new((self, questions, kept, keep_numbers));
        let is_clean = |range: Range<usize>| {
            let (this, questions, kept, keep_numbers) = &mut *this.borrow_mut();
            let strangers = part
                .get(range.clone())
                .unwrap_or_default()
                .iter()
                .zip(values.get(range).unwrap_or_default());
            let strangers: Vec<(Item, &Vec<Unique>)> =
                strangers.map(|(item, values)| (*item, values)).collect();
            if !apart {
                return this.are_free(&strangers, kept, |_| true, questions);
            }
            Ok(this.are_free(&strangers, kept, |value| !is_number(value), questions)?
                && this.are_free(&strangers, keep_numbers, is_number, questions)?)
        };
        bisect::culprits(part.len(), false, &is_clean, |at, alone| {
            if let (Some(item), true) =
                (part.get(at), alone || !is_clean(at..at.saturating_add(1))?)
            {
                found.push(*item);
                let (this, _, kept, keep_numbers) = &mut *this.borrow_mut();
                let uuid = this.uuid(*item);
                kept.push(uuid);
                keep_numbers.push(uuid);
            }
            Ok(Flow::Continue(()))
        })?;
        Ok(found)
    }

    /// Returns true if strangers could have these values when only `kept` is left.
    fn are_free(
        &mut self,
        strangers: &[(Item, &Vec<Unique>)],
        kept: &[Uuid],
        which: impl Fn(&Unique) -> bool,
        questions: &mut Questions,
    ) -> Result<bool, ExchangeEnd> {
        self.count_question(questions)?;
        let run = self.input.run.as_u128();
        let kept: Vec<Uuid> =
            kept.iter().copied().filter(|uuid| !questions.absent.contains(uuid)).collect();
        let strangers_with = strangers;
        let strangers = (2_u128..).zip(strangers_with).filter_map(|(n, (item, values))| {
            let values: Vec<&Unique> = values.iter().filter(|value| which(value)).collect();
            let uuid = Uuid::from_u128(run ^ (n << 16));
            Some(self.without_yielded(&stranger(uuid, item.kind(self.input)?, &values)?))
        });
        let strangers: Vec<Vec<u8>> = strangers.chain([self.invalid()]).collect();
        let entries =
            Entries::new(kept.len().saturating_add(strangers.len()), |at| match kept.get(at) {
                Some(uuid) => Cow::Owned(stub(*uuid, None)),
                None => Cow::Borrowed(
                    strangers
                        .get(at.saturating_sub(kept.len()))
                        .map(Vec::as_slice)
                        .unwrap_or_default(),
                ),
            });
        let refusal = self.sender.question_from_refresh(&entries)?.ok_or(ExchangeEnd::Unknown)?;
        match refusal.fault {
            // The invalid entry alone causes the refusal in `questions`. A different refusal is
            // about a stranger, or about a reference that the deletion of `part` would break.
            Fault::Other => Ok((refusal.answer.status, refusal.answer.code, refusal.answer.detail)
                == questions.refusal),
            Fault::Conflict => Ok(false),
            Fault::Masked | Fault::Foreign if questions.absent.is_empty() => {
                questions.absent = self.unlistable(&kept, questions)?;
                if questions.absent.is_empty() {
                    Err(ExchangeEnd::Unknown)
                } else {
                    self.are_free(strangers_with, &kept, which, questions)
                }
            }
            Fault::Masked | Fault::Foreign => Err(ExchangeEnd::Unknown),
        }
    }

    /// An entry that Kanidm refuses after all other checks, the comparison of values included: it
    /// has no display name.
    pub(crate) fn invalid(&self) -> Vec<u8> {
        let uuid = Uuid::from_u128(self.input.run.as_u128() ^ 1);
        let entry = json!({"externalId": format!("tmp-{uuid}"), "schemas": scim::PERSON, "id": uuid, "name": temporary_name(uuid)});
        self.without_yielded(entry.to_string().as_bytes())
    }

    fn give_temporary_values(&mut self, items: &[Item], first_gid: u32) -> Result<(), ExchangeEnd> {
        // No later increment touches these entries, so they would keep the temporary values.
        self.sender.repair_in_full();
        let mut rest = items;
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.fit(rest));
            let staged = chunk.iter().map(|item| self.staged(*item, VALUES, first_gid)).collect();
            // A failed send may have applied a part of the chunk.
            self.staged.extend(chunk);
            self.send_all(staged)?;
            rest = more;
        }
        self.sender.report.staged = self.sender.report.staged.saturating_add(items.len() as u64);
        log::debug!(
            "{} entries have temporary values, because they pass their values round",
            items.len()
        );
        Ok(())
    }

    /// Sends entries in chunks. Kanidm must accept all of them.
    fn send_all(&mut self, entries: Vec<Vec<u8>>) -> Result<(), ExchangeEnd> {
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let (chunk, more) =
                rest.split_at(self.batch.fit(rest.iter().map(Vec::len)).clamp(1, rest.len()));
            let entries = Entries::new(chunk.len(), |at| {
                chunk.get(at).map_or_else(Cow::default, |entry| Cow::Borrowed(entry.as_slice()))
            });
            match self.sender.send_whole(&entries, &Retention::Ignore, Leave::Interim)? {
                Sent::Applied(_) => rest = more,
                Sent::Refused(refusal) => {
                    log::debug!(
                        "entries that pass values round are refused temporary ones: {}",
                        refusal.answer
                    );
                    return Err(ExchangeEnd::Unknown);
                }
                Sent::TooMuch(_) if chunk.len() > 1 => {
                    self.batch.too_much(chunk.len(), chunk.iter().map(Vec::len).sum())
                }
                Sent::TooMuch(error) => {
                    return Err(UploadError::Kanidm {
                        doing: "giving an entry temporary values",
                        error,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }
}

/// The questions of an exchange so far.
struct Questions {
    /// Entries that Kanidm refuses in a list.
    absent: HashSet<Uuid>,
    /// How many were asked, and when the first one was.
    number: usize,
    begun: Duration,
    /// Status, code and detail of the refusal of the invalid entry that ends each question.
    refusal: (u16, String, String),
}

/// An invented person or group with these values.
fn stranger(uuid: Uuid, kind: Kind, values: &[&Unique]) -> Option<Vec<u8>> {
    let posix = values.iter().any(|value| value.attribute() == Attribute::Gid);
    let schemas = match (kind, posix) {
        (Kind::Person, false) => scim::PERSON,
        (Kind::Person, true) => scim::POSIX_PERSON,
        (Kind::Group, false) => scim::GROUP,
        (Kind::Group, true) => scim::POSIX_GROUP,
    };
    let mut entry = json!({"externalId": format!("tmp-{uuid}"), "schemas": schemas, "id": uuid, "name": temporary_name(uuid)});
    let object = entry.as_object_mut()?;
    if kind == Kind::Person {
        object.insert("displayname".to_owned(), "-".into());
    }
    let mut mails: Vec<Value> = Vec::new();
    for value in values {
        match value {
            Unique::Dn(_) => {}
            Unique::Name(name) => {
                object.insert("name".to_owned(), name.as_str().into());
            }
            Unique::Gid(number) => {
                object.insert("gidnumber".to_owned(), (*number).into());
            }
            Unique::Mail(address) => {
                mails.push(json!({"value": address, "primary": mails.is_empty()}))
            }
        }
    }
    if !mails.is_empty() {
        object.insert("mail".to_owned(), mails.into());
    }
    Some(entry.to_string().into_bytes())
}
