//! Many entries of a run that pass values round: a new scheme of names, a renumbering.
//!
//! Scope: writing them in as many POSTs as they take, not as many as there are. Kanidm compares
//! every value of a POST with what was stored before it, so all of them get temporary values
//! first and their own ones then. An entry that wants a value of somebody outside must not take
//! part: it would lose the name it has. The names that entries have in Kanidm cannot be read, so
//! Kanidm is asked as if the entries were gone: strangers who bring their values are refused only
//! what somebody else has ([`Sender::question_from_refresh`](crate::upload::send::Sender)).
//!
//! DNs are no part of that question, since Kanidm sets them before it deletes. They are settled
//! before it: nobody logs in by a DN, so they may be temporary in any entry.

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
use crate::upload::write::{Together, Writer};
use crate::upload::yielded;

/// Maximum questions. All together take at most as long as one POST may take.
const QUESTIONS: usize = 512;
/// Of more than this many, a sample tells how many questions all would take: a few for each
/// outsider.
const SAMPLE: usize = 32;
const QUESTIONS_FOR_EACH: usize = 5;
/// Maximum refused POSTs of a search for the entries that need no temporary values, and how many
/// more each accepted one allows.
const SPLITS: usize = 16;
const SPLITS_FOR_EACH: usize = 8;

/// Every Kanidm has an account of this name.
const KANIDMS_NAME: &str = "admin";

/// Everything that must be unique, and the same without DNs, which are settled first.
const ALL: &[Attribute] = &[Attribute::Dn, Attribute::Name, Attribute::Gid, Attribute::Mail];
const VALUES: &[Attribute] = &[Attribute::Name, Attribute::Gid, Attribute::Mail];

/// Why an exchange ends early.
enum End {
    Failed(UploadError),
    /// Kanidm does not say, or would take too long.
    Unknown,
    /// The directory did not answer.
    NoDirectory,
}

impl From<UploadError> for End {
    fn from(error: UploadError) -> Self {
        End::Failed(error)
    }
}

impl Writer<'_> {
    /// Writes those of `items` that want values of one another only, and returns the others.
    /// Nothing if it cannot be found out which these are.
    pub(crate) fn exchange(&mut self, items: &[Item]) -> Result<Option<Vec<Item>>, UploadError> {
        match self.try_exchange(items) {
            Ok(others) => Ok(Some(others)),
            Err(End::Unknown) => Ok(None),
            Err(End::NoDirectory) => {
                self.repeat_in_full = true;
                Ok(None)
            }
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn try_exchange(&mut self, items: &[Item]) -> Result<Vec<Item>, End> {
        if !self.sender.is_guarded()? {
            return Err(End::Unknown);
        }
        let everyone_else = self.everyone_else(items)?;
        let numbers = self.temporary_numbers();
        let mut asked = self.asked()?;
        let mut others = self.with_shared_values(items);
        others.extend(self.not_ours(items, numbers, &mut asked)?);
        let ours: Vec<Item> = items.iter().copied().filter(|item| !others.contains(item)).collect();
        others.extend(self.invalid_ones(&ours, numbers, &mut asked)?);
        others.extend(self.settle_dns(&ours)?);
        let mut part: Vec<Item> =
            items.iter().copied().filter(|item| !others.contains(item)).collect();
        self.judge_by_a_sample(&part, &everyone_else, &mut others, &mut asked)?;
        loop {
            part.retain(|item| !others.contains(item));
            let kept: Vec<Uuid> = everyone_else
                .iter()
                .copied()
                .chain(others.iter().map(|item| self.uuid(*item)))
                .collect();
            let found = self.outsiders(&part, kept, &mut asked)?;
            if found.is_empty() {
                break;
            }
            // What they keep may be what another one wants: in either direction.
            part.reverse();
            others.extend(found);
        }
        // Persons before groups, which have them as members.
        let (groups, persons): (Vec<Item>, Vec<Item>) =
            part.into_iter().partition(|item| self.is_group(*item));
        let part = self.write_what_is_free(&[persons, groups].concat())?;
        if !part.is_empty() {
            self.give_temporary_values(&part, numbers)?;
            self.late(true, |this| this.attempt_in_chunks(&part, Form::Full, false))?;
        }
        Ok(items.iter().copied().filter(|item| others.contains(item)).collect())
    }

    /// Looks at a few of many. Ends the exchange if too many of them are outsiders.
    fn judge_by_a_sample(
        &mut self,
        part: &[Item],
        everyone_else: &[Uuid],
        others: &mut HashSet<Item>,
        asked: &mut Asked,
    ) -> Result<(), End> {
        if part.len() <= SAMPLE {
            return Ok(());
        }
        let sample: Vec<Item> = part.iter().copied().step_by(part.len().div_ceil(SAMPLE)).collect();
        let kept: Vec<Uuid> = everyone_else
            .iter()
            .copied()
            .chain(others.iter().map(|item| self.uuid(*item)))
            .collect();
        let found = self.outsiders(&sample, kept, asked)?;
        let expected = found.len().saturating_mul(part.len()) / sample.len();
        others.extend(found);
        if expected.saturating_mul(QUESTIONS_FOR_EACH) > QUESTIONS {
            Err(End::Unknown)
        } else {
            Ok(())
        }
    }

    /// Writes those that need no other one's value, and returns the others: temporary values are
    /// for as few as possible. Refused chunks are halved, the largest first, as long as that finds
    /// entries to write.
    fn write_what_is_free(&mut self, part: &[Item]) -> Result<Vec<Item>, End> {
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
                || refused > SPLITS.saturating_add(SPLITS_FOR_EACH.saturating_mul(applied))
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

    /// Entries that want the same value as another one of them: only one can have it, be it free or
    /// not.
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

    /// UUIDs in Kanidm of all entries of this sync account but `items`. Nothing is asked without
    /// them all: the values of one that is not listed would look free.
    fn everyone_else(&mut self, items: &[Item]) -> Result<Vec<Uuid>, End> {
        let mut all: Vec<Uuid> = match self.input.full {
            true => self
                .input
                .changes
                .records()
                .iter()
                .map(|r| r.uuid)
                .chain(self.input.stubs.iter().map(|(uuid, _)| *uuid))
                .collect(),
            false => (self.input.everyone)().ok_or(End::NoDirectory)?,
        };
        if !self.not_deleted.is_empty() || !self.are_all_known_among(&all) {
            return Err(End::Unknown);
        }
        let absent =
            self.sender.report.held.iter().filter(|held| held.is_absent).map(|held| held.uuid);
        let not: HashSet<Uuid> = items.iter().map(|item| self.uuid(*item)).chain(absent).collect();
        all.retain(|uuid| !not.contains(uuid));
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Whether the entries that Kanidm is known to have are listed, or deleted by this run.
    fn are_all_known_among(&self, all: &[Uuid]) -> bool {
        let deleted: &[Uuid] = match &self.input.retention {
            Retention::Delete(uuids) => uuids,
            // These were deleted first.
            Retention::Retain(_) => return true,
            Retention::Ignore => &[],
        };
        let Some(known) = self.input.base.known.as_ref().filter(|_| !self.input.full) else {
            return true;
        };
        let listed = [all, deleted].concat();
        known.count() <= listed.len() as u64 && known.named_missing_from(&listed, 1).is_empty()
    }

    /// Temporary numbers: so many from here on.
    fn temporary_numbers(&self) -> u32 {
        temporary_gid(self.input.run)
    }

    /// Nothing was asked so far but this: how Kanidm refuses the entry that ends each question.
    fn asked(&mut self) -> Result<Asked, End> {
        let begun = self.sender.now();
        let entries = vec![Cow::Owned(self.invalid())];
        let refusal =
            self.sender.question_once(&entries.into(), &Retention::Ignore)?.ok_or(End::Unknown)?;
        if refusal.fault != Fault::Other {
            return Err(End::Unknown);
        }
        Ok(Asked {
            absent: HashSet::new(),
            number: 0,
            begun,
            refusal: (refusal.answer.status, refusal.answer.code, refusal.answer.detail),
        })
    }

    /// Counts a question.
    fn may_ask(&mut self, asked: &mut Asked) -> Result<(), End> {
        asked.number = asked.number.saturating_add(1);
        let time: Duration = self.sender.now().saturating_sub(asked.begun);
        if asked.number > QUESTIONS || time > self.input.limits.timeout {
            Err(End::Unknown)
        } else {
            Ok(())
        }
    }

    /// Those that are in the recycle bin, or another sync account's.
    fn not_ours(
        &mut self,
        items: &[Item],
        numbers: u32,
        asked: &mut Asked,
    ) -> Result<Vec<Item>, End> {
        self.those_refused(items, numbers, asked, |this, mut entries| {
            entries.push(Cow::Owned(this.invalid()));
            let refusal = this
                .sender
                .question_once(&entries.into(), &Retention::Ignore)?
                .ok_or(End::Unknown)?;
            Ok(!matches!(refusal.fault, Fault::Masked | Fault::Foreign))
        })
    }

    /// Those that Kanidm would not take with temporary values either. It is shown all of them, and
    /// refuses the POST for another reason in the end: the deletion of an account of its own.
    fn invalid_ones(
        &mut self,
        items: &[Item],
        numbers: u32,
        asked: &mut Asked,
    ) -> Result<Vec<Item>, End> {
        self.those_refused(items, numbers, asked, |this, entries| {
            match this.sender.question_of_validity(&entries.into())?.ok_or(End::Unknown)?.fault {
                Fault::Foreign => Ok(true),
                Fault::Other | Fault::Masked => Ok(false),
                // Temporary values that are taken.
                Fault::Conflict => Err(End::Unknown),
            }
        })
    }

    /// Those of `items` that make `is_clean` false, with temporary values.
    fn those_refused(
        &mut self,
        items: &[Item],
        numbers: u32,
        asked: &mut Asked,
        is_clean: impl Fn(&mut Self, Vec<Cow<'_, [u8]>>) -> Result<bool, End>,
    ) -> Result<Vec<Item>, End> {
        let (mut found, mut rest) = (Vec::new(), items);
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.fit(rest));
            let this = RefCell::new((&mut *self, &mut *asked));
            let is_clean = |range: Range<usize>| {
                let (this, asked) = &mut *this.borrow_mut();
                this.may_ask(asked)?;
                let entries = chunk
                    .get(range)
                    .unwrap_or_default()
                    .iter()
                    .map(|item| Cow::Owned(this.staged(*item, ALL, numbers)))
                    .collect();
                is_clean(this, entries)
            };
            bisect::culprits(chunk.len(), false, &is_clean, |at, alone| {
                if alone || !is_clean(at..at.saturating_add(1))? {
                    found.extend(chunk.get(at));
                }
                Ok::<_, End>(Flow::Continue(()))
            })?;
            rest = more;
        }
        Ok(found)
    }

    /// Of those that are kept, the ones that Kanidm does not let anybody list: they are in the
    /// recycle bin, or not of this sync account.
    fn absent(&mut self, all: &[Uuid], asked: &mut Asked) -> Result<HashSet<Uuid>, End> {
        let mut absent = HashSet::new();
        let this = RefCell::new((self, asked));
        let lists = |range: Range<usize>| {
            let (this, asked) = &mut *this.borrow_mut();
            this.may_ask(asked)?;
            let stubs = all.get(range).unwrap_or_default().iter().map(|uuid| stub(*uuid, None));
            let entries: Vec<Cow<'_, [u8]>> =
                stubs.chain([this.invalid()]).map(Cow::Owned).collect();
            let refusal = this
                .sender
                .question_once(&entries.into(), &Retention::Ignore)?
                .ok_or(End::Unknown)?;
            Ok(!matches!(refusal.fault, Fault::Masked | Fault::Foreign))
        };
        bisect::culprits(all.len(), false, &lists, |at, alone| {
            if alone || !lists(at..at.saturating_add(1))? {
                absent.extend(all.get(at));
            }
            Ok::<_, End>(Flow::Continue(()))
        })?;
        Ok(absent)
    }

    /// Gives each its DN, if one of them wants another's. Returns those that cannot have it.
    fn settle_dns(&mut self, items: &[Item]) -> Result<Vec<Item>, End> {
        let (mut is_taken, mut rest) = (false, items);
        while !rest.is_empty() && !is_taken {
            let (chunk, more) = rest.split_at(self.fit(rest));
            let named = chunk.iter().map(|item| item.render(self.input, Form::Named).into_owned());
            let named: Vec<Cow<'_, [u8]>> = named.chain([self.invalid()]).map(Cow::Owned).collect();
            is_taken = self
                .sender
                .question_once(&named.into(), &Retention::Ignore)?
                .ok_or(End::Unknown)?
                .fault
                == Fault::Conflict;
            rest = more;
        }
        if !is_taken {
            return Ok(Vec::new());
        }
        self.sender.repair_in_full();
        self.staged.extend(items);
        let stubs = items
            .iter()
            .map(|item| stub(self.uuid(*item), Some(&temporary_id(self.uuid(*item)))))
            .collect();
        self.send_all(stubs)?;
        self.attempt_in_chunks(items, Form::Named, false)?;
        Ok(items.iter().copied().filter(|item| !self.has_its_dn(*item)).collect())
    }

    /// Those of `part` that want a value of somebody else, where `kept` and those that are found
    /// keep theirs and all others of `part` give theirs up.
    fn outsiders(
        &mut self,
        part: &[Item],
        kept: Vec<Uuid>,
        asked: &mut Asked,
    ) -> Result<Vec<Item>, End> {
        // Kanidm must notice what is taken, or its answers say nothing.
        let Some(first) = part.first() else { return Ok(Vec::new()) };
        if self.are_free(
            &[(*first, &vec![Unique::Name(KANIDMS_NAME.to_owned())])],
            &kept,
            |_| true,
            asked,
        )? {
            return Err(End::Unknown);
        }
        let values: Vec<Vec<Unique>> = part.iter().map(|item| self.values(*item)).collect();
        let is_number = |value: &Unique| value.attribute() == Attribute::Gid;
        // Kanidm keeps the number of an entry that gets no other.
        let numberless = part
            .iter()
            .zip(&values)
            .filter(|(_, values)| !values.iter().any(is_number))
            .map(|(item, _)| self.uuid(*item));
        let keep_numbers: Vec<Uuid> = kept.iter().copied().chain(numberless).collect();
        let apart = keep_numbers.len() > kept.len()
            && keep_numbers.len() < kept.len().saturating_add(part.len());
        let mut found = Vec::new();
        let this = RefCell::new((self, asked, kept, keep_numbers));
        let is_clean = |range: Range<usize>| {
            let (this, asked, kept, keep_numbers) = &mut *this.borrow_mut();
            let strangers = part
                .get(range.clone())
                .unwrap_or_default()
                .iter()
                .zip(values.get(range).unwrap_or_default());
            let strangers: Vec<(Item, &Vec<Unique>)> =
                strangers.map(|(item, values)| (*item, values)).collect();
            if !apart {
                return this.are_free(&strangers, kept, |_| true, asked);
            }
            Ok(this.are_free(&strangers, kept, |value| !is_number(value), asked)?
                && this.are_free(&strangers, keep_numbers, is_number, asked)?)
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

    /// Whether strangers could have these values if only `kept` were left.
    fn are_free(
        &mut self,
        strangers: &[(Item, &Vec<Unique>)],
        kept: &[Uuid],
        which: impl Fn(&Unique) -> bool,
        asked: &mut Asked,
    ) -> Result<bool, End> {
        self.may_ask(asked)?;
        let run = self.input.run.as_u128();
        let kept: Vec<Uuid> =
            kept.iter().copied().filter(|uuid| !asked.absent.contains(uuid)).collect();
        let strangers_with = strangers;
        let strangers = (2_u128..).zip(strangers_with).filter_map(|(n, (item, values))| {
            let values: Vec<&Unique> = values.iter().filter(|value| which(value)).collect();
            let stranger =
                stranger(Uuid::from_u128(run ^ (n << 16)), item.kind(self.input)?, &values)?;
            Some(if self.yielded.is_empty() {
                stranger
            } else {
                yielded::without(&self.yielded, &stranger)
            })
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
        let refusal = self.sender.question_from_refresh(&entries)?.ok_or(End::Unknown)?;
        match refusal.fault {
            // Another answer than that to the last entry alone is for one of the strangers, or for
            // what the deletion of `part` would break.
            Fault::Other => Ok((refusal.answer.status, refusal.answer.code, refusal.answer.detail)
                == asked.refusal),
            Fault::Conflict => Ok(false),
            Fault::Masked | Fault::Foreign if asked.absent.is_empty() => {
                asked.absent = self.absent(&kept, asked)?;
                if asked.absent.is_empty() {
                    Err(End::Unknown)
                } else {
                    self.are_free(strangers_with, &kept, which, asked)
                }
            }
            Fault::Masked | Fault::Foreign => Err(End::Unknown),
        }
    }

    /// An entry that Kanidm refuses last of all, after it has compared values: it has no display
    /// name.
    pub(crate) fn invalid(&self) -> Vec<u8> {
        let uuid = Uuid::from_u128(self.input.run.as_u128() ^ 1);
        let entry = json!({"externalId": format!("tmp-{uuid}"), "schemas": scim::PERSON, "id": uuid, "name": temporary_name(uuid)});
        entry.to_string().into_bytes()
    }

    fn give_temporary_values(&mut self, items: &[Item], numbers: u32) -> Result<(), End> {
        // Entries that no later increment touches would keep them.
        self.sender.repair_in_full();
        self.staged.extend(items);
        self.send_all(items.iter().map(|item| self.staged(*item, VALUES, numbers)).collect())?;
        self.sender.report.staged = self.sender.report.staged.saturating_add(items.len() as u64);
        log::debug!(
            "{} entries have temporary values, because they pass their values round",
            items.len()
        );
        Ok(())
    }

    /// Sends entries in chunks, all of which Kanidm has to take.
    fn send_all(&mut self, entries: Vec<Vec<u8>>) -> Result<(), End> {
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
                    return Err(End::Unknown);
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

/// What was asked so far.
struct Asked {
    /// Those that cannot be listed.
    absent: HashSet<Uuid>,
    number: usize,
    begun: Duration,
    /// Status, code and detail of the answer to the entry that ends each question.
    refusal: (u16, String, String),
}

/// A person or group that nobody knows, with these values.
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
