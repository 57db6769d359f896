//! Outsiders: entries of an exchange that want a value from outside of it.
//!
//! Scope: finding them. [`super::exchange`] says why they must not take part, and how the upload
//! asks for the values that Kanidm has.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;

use uuid::Uuid;

use super::ask::invalid;
use super::questions::{ExchangeEnd, MAX_EXCHANGE_QUESTIONS, Questions, count_question};
use crate::content::body::Body;
use crate::content::unique::{Attribute, Unique};
use crate::kanidm::error::Fault;
use crate::kanidm::request::{Entries, Retention};
use crate::upload::bisect::{self, Flow};
use crate::upload::item::{Item, stub};
use crate::upload::work::Work;

/// Size of a sample. If there are more entries, a sample estimates how many questions the exchange
/// takes.
const SAMPLE_SIZE: usize = 32;

/// Estimated questions for each outsider.
const QUESTIONS_PER_OUTSIDER: usize = 5;

/// A name that is taken in every Kanidm.
const BUILT_IN_NAME: &str = "admin";

/// Estimates the number of outsiders from a sample. Ends the exchange if there are too many.
pub(super) fn estimate_outsiders(
    work: &mut Work<'_>,
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
    let kept: Vec<Uuid> =
        everyone_else.iter().copied().chain(others.iter().map(|item| work.uuid(*item))).collect();
    let found = outsiders(work, &sample, kept, questions)?;
    let expected = found.len().saturating_mul(part.len()) / sample.len();
    others.extend(found);
    if expected.saturating_mul(QUESTIONS_PER_OUTSIDER) > MAX_EXCHANGE_QUESTIONS {
        Err(ExchangeEnd::Unknown)
    } else {
        Ok(())
    }
}

/// Returns the outsiders of `part`: entries that want a value of an entry that keeps it. The
/// entries in `kept` and the outsiders keep their values. All others of `part` give theirs up.
pub(super) fn outsiders(
    work: &mut Work<'_>,
    part: &[Item],
    kept: Vec<Uuid>,
    questions: &mut Questions,
) -> Result<Vec<Item>, ExchangeEnd> {
    // Kanidm must refuse a name that is certainly taken. Otherwise its answers mean nothing.
    let Some(first) = part.first() else { return Ok(Vec::new()) };
    if are_free(
        work,
        &[(*first, &vec![Unique::Name(BUILT_IN_NAME.to_owned())])],
        &kept,
        |_| true,
        questions,
    )? {
        return Err(ExchangeEnd::Unknown);
    }
    let values: Vec<Vec<Unique>> = part.iter().map(|item| work.outgoing.values(*item)).collect();
    let is_number = |value: &Unique| value.attribute() == Attribute::Gid;
    // Kanidm keeps the gidnumber of an entry that gets no other one.
    let numberless = part
        .iter()
        .zip(&values)
        .filter(|(_, values)| !values.iter().any(is_number))
        .map(|(item, _)| work.uuid(*item));
    let keep_numbers: Vec<Uuid> = kept.iter().copied().chain(numberless).collect();
    let ask_numbers_separately = keep_numbers.len() > kept.len()
        && keep_numbers.len() < kept.len().saturating_add(part.len());
    let mut found = Vec::new();
    let this = RefCell::new((work, questions, kept, keep_numbers));
    let is_clean = |range: Range<usize>| {
        let (this, questions, kept, keep_numbers) = &mut *this.borrow_mut();
        let strangers = part
            .get(range.clone())
            .unwrap_or_default()
            .iter()
            .zip(values.get(range).unwrap_or_default());
        let strangers: Vec<(Item, &Vec<Unique>)> =
            strangers.map(|(item, values)| (*item, values)).collect();
        if !ask_numbers_separately {
            return are_free(this, &strangers, kept, |_| true, questions);
        }
        Ok(are_free(this, &strangers, kept, |value| !is_number(value), questions)?
            && are_free(this, &strangers, keep_numbers, is_number, questions)?)
    };
    bisect::culprits(part.len(), false, &is_clean, |at, alone| {
        if let (Some(item), true) = (part.get(at), alone || !is_clean(at..at.saturating_add(1))?) {
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
    work: &mut Work<'_>,
    strangers: &[(Item, &Vec<Unique>)],
    kept: &[Uuid],
    which: impl Fn(&Unique) -> bool,
    questions: &mut Questions,
) -> Result<bool, ExchangeEnd> {
    count_question(work, questions)?;
    let run = work.input.run.as_u128();
    let kept: Vec<Uuid> =
        kept.iter().copied().filter(|uuid| !questions.absent.contains(uuid)).collect();
    let strangers_with = strangers;
    let strangers = (2_u128..).zip(strangers_with).filter_map(|(n, (item, values))| {
        let values: Vec<&Unique> = values.iter().filter(|value| which(value)).collect();
        let uuid = Uuid::from_u128(run ^ (n << 16));
        let stranger = Body::with_values(uuid, item.kind(work.input)?, &values)?;
        Some(work.outgoing.without_yielded(stranger).to_bytes())
    });
    let strangers: Vec<Vec<u8>> = strangers.chain([invalid(work)]).collect();
    let entries =
        Entries::new(kept.len().saturating_add(strangers.len()), |at| match kept.get(at) {
            Some(uuid) => Cow::Owned(stub(*uuid, None)),
            None => Cow::Borrowed(
                strangers.get(at.saturating_sub(kept.len())).map(Vec::as_slice).unwrap_or_default(),
            ),
        });
    let refusal = work.sender.question_from_refresh(&entries)?.ok_or(ExchangeEnd::Unknown)?;
    match refusal.fault {
        // The invalid entry alone causes the refusal in `questions`. A different refusal is
        // about a stranger, or about a reference that the deletion of `part` would break.
        Fault::Other => Ok((refusal.answer.status, refusal.answer.code, refusal.answer.detail)
            == questions.refusal),
        Fault::Conflict => Ok(false),
        Fault::Masked | Fault::Foreign if questions.absent.is_empty() => {
            questions.absent = unlistable(work, &kept, questions)?;
            if questions.absent.is_empty() {
                Err(ExchangeEnd::Unknown)
            } else {
                are_free(work, strangers_with, &kept, which, questions)
            }
        }
        Fault::Masked | Fault::Foreign => Err(ExchangeEnd::Unknown),
    }
}

/// Returns the UUIDs that Kanidm refuses in a list: they are in the recycle bin, or belong to
/// another sync account.
fn unlistable(
    work: &mut Work<'_>,
    all: &[Uuid],
    questions: &mut Questions,
) -> Result<HashSet<Uuid>, ExchangeEnd> {
    let mut absent = HashSet::new();
    let this = RefCell::new((work, questions));
    let lists = |range: Range<usize>| {
        let (this, questions) = &mut *this.borrow_mut();
        count_question(this, questions)?;
        let stubs = all.get(range).unwrap_or_default().iter().map(|uuid| stub(*uuid, None));
        let entries: Vec<Cow<'_, [u8]>> = stubs.chain([invalid(this)]).map(Cow::Owned).collect();
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
