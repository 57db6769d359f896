//! The DNs of an exchange.
//!
//! Scope: each entry gets its DN, if one wants the DN of another. Any entry may have a temporary DN
//! in between, because people do not log in with it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;

use super::ask::invalid;
use super::exchange::send_all;
use super::questions::{ExchangeEnd, Questions, count_question};
use crate::kanidm::error::Fault;
use crate::kanidm::request::Retention;
use crate::upload::bisect::{self, Flow};
use crate::upload::first::temporary_id;
use crate::upload::item::{Form, Item, stub};
use crate::upload::work::Work;
use crate::upload::write::attempt_in_chunks;

/// Gives each entry its DN, if one of them wants the DN of another. Returns the entries that
/// cannot have theirs.
pub(super) fn settle_dns(
    work: &mut Work<'_>,
    items: &[Item],
    questions: &mut Questions,
) -> Result<Vec<Item>, ExchangeEnd> {
    let (mut is_taken, mut rest) = (false, items);
    while !rest.is_empty() && !is_taken {
        let (chunk, more) = work.chunk(rest);
        is_taken = !are_dns_free(work, chunk, questions)?;
        rest = more;
    }
    if !is_taken {
        return Ok(Vec::new());
    }
    work.sender.repair_in_full();
    let stubs = items
        .iter()
        .map(|item| stub(work.uuid(*item), Some(&temporary_id(work.uuid(*item)))))
        .collect();
    send_all(work, stubs)?;
    let taken = with_taken_dns(work, items, questions)?;
    let free: Vec<Item> = items.iter().copied().filter(|item| !taken.contains(item)).collect();
    attempt_in_chunks(work, &free, Form::Named, false)?;
    Ok(items.iter().copied().filter(|item| !work.has_its_dn(*item)).collect())
}

/// Returns the items whose DN another entry has.
fn with_taken_dns(
    work: &mut Work<'_>,
    items: &[Item],
    questions: &mut Questions,
) -> Result<HashSet<Item>, ExchangeEnd> {
    let (mut taken, mut rest) = (HashSet::new(), items);
    while !rest.is_empty() {
        let (chunk, more) = work.chunk(rest);
        let this = RefCell::new((&mut *work, &mut *questions));
        let is_clean = |range: Range<usize>| {
            let (this, questions) = &mut *this.borrow_mut();
            are_dns_free(this, chunk.get(range).unwrap_or_default(), questions)
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
    work: &mut Work<'_>,
    items: &[Item],
    questions: &mut Questions,
) -> Result<bool, ExchangeEnd> {
    count_question(work, questions)?;
    let named = items.iter().map(|item| item.render(work.input, Form::Named).into_owned());
    let named: Vec<Cow<'_, [u8]>> = named.chain([invalid(work)]).map(Cow::Owned).collect();
    let refusal = work
        .sender
        .question_once(&named.into(), &Retention::Ignore)?
        .ok_or(ExchangeEnd::Unknown)?;
    Ok(refusal.fault != Fault::Conflict)
}
