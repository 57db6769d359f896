//! Writes entries in chunks and finds those that Kanidm does not accept.
//!
//! Scope: what goes into which POST. Entries that are refused because a value is taken wait for
//! `collide`. A POST that is refused for another reason is halved until the entries at fault are
//! alone; they are held, and everything else is applied on the way.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use uuid::Uuid;

use super::batch::BatchSize;
use super::claimed::{self, MailChange};
use super::item::{Form, Item};
use super::members::held_and_named;
use super::send::{Leave, Refusal, Sender, Sent, failed};
use super::yielded;
use super::{HeldByKanidm, Progress, Step, Upload, UploadError, UploadReport};
use crate::content::changeset::Kind;
use crate::kanidm::error::{Class, Fault};
use crate::kanidm::request::{COMMA, Entries, Retention};
use crate::kanidm::state::Yielded;
use crate::kanidm::state::{Envelope, MAX_HELD, SyncState};

/// With so many refused and none accepted, it is not the entries.
const ALL_REFUSED: usize = 100;

/// Entries that were refused together.
pub(super) struct Block {
    pub(super) items: Vec<Item>,
    /// How many entries of the run were written until then.
    pub(super) written: usize,
}

/// What became of items that were sent together.
pub(super) enum Together {
    /// All were written.
    Applied,
    /// None was written: one of them at least wants a value that is taken.
    Taken(Refusal),
    /// Each is written, held, or waits for a value.
    Sorted,
}

/// An upload under way.
pub(super) struct Writer<'a> {
    pub(super) sender: Sender<'a>,
    pub(super) input: &'a Upload<'a>,
    progress: &'a mut dyn FnMut(Progress),
    /// Persons, held entries (in the state Refresh all of them, otherwise those that groups name),
    /// groups.
    pub(super) order: Rc<[Item]>,
    pub(super) batch: BatchSize,
    /// Refused together because a value is taken.
    pub(super) waiting: Vec<Block>,
    /// Refused alone because a value is taken.
    pub(super) collided: Vec<(Item, Refusal)>,
    /// Number of entries that were written before the first of these was refused.
    pub(super) written_before: usize,
    /// Those that no earlier run could write.
    pub(super) again: Vec<Item>,
    /// Whether the ended accounts of persons whom the mapping holds are closed.
    pub(super) ended_closed: bool,
    /// Entries that have or had temporary values.
    pub(super) staged: HashSet<Item>,
    /// The next run has to be a full one.
    pub(super) repeat_in_full: bool,
    /// Whether it was tried to write many entries that pass values round.
    pub(super) exchange_tried: bool,
    /// Whether it could not be done.
    pub(super) exchange_failed: bool,
    pub(super) written_groups: Vec<Item>,
    /// What is on the report's list of held entries.
    pub(super) held: Vec<Item>,
    /// What Kanidm did not delete. Nothing that could be read again is held for it, so the envelope
    /// does not remember it.
    pub(super) not_deleted: Vec<HeldByKanidm>,
    /// Sent without content, and accepted: Kanidm knows them by their DN.
    named: HashSet<Item>,
    /// Kanidm did not take the DN of a held entry.
    stub_refused: bool,
    /// How many of `held` no earlier run has held, and Kanidm does not accept for what they are:
    /// not for what it has already.
    refused_for_data: usize,
    /// All groups exist in Kanidm under their DNs, as far as that is possible.
    groups_named: bool,
    /// An entry was written after groups that may have it as a member.
    pub(super) members_late: bool,
    /// Left out of every entry.
    pub(super) yielded: Yielded,
    /// Of persons whose addresses others want.
    pub(super) mails: HashMap<Uuid, MailChange>,
    pub(super) claims_settled: bool,
    /// An attribute is not yielded any more: entries lack it that no increment brings.
    pub(super) given_back: bool,
    /// Kanidm was asked which attributes are yielded.
    pub(super) asked_for_yielded: bool,
    finished: bool,
    done: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        sender: Sender<'a>,
        input: &'a Upload<'a>,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let records = input.changes.records();
        let of_kind = |groups: bool| {
            let some =
                records.iter().enumerate().filter(move |(_, r)| (r.kind == Kind::Group) == groups);
            some.map(|(at, _)| Item::Record(at))
        };
        let held = match input.state {
            SyncState::Refresh => (0..input.stubs.len()).map(Item::Held).collect(),
            SyncState::Active { .. } => held_and_named(input),
        };
        let limits = &input.limits;
        Writer {
            sender,
            input,
            progress,
            order: of_kind(false).chain(held).chain(of_kind(true)).collect(),
            batch: BatchSize::new(limits.max_entries, limits.max_bytes, limits.timeout),
            waiting: Vec::new(),
            collided: Vec::new(),
            written_before: 0,
            again: Vec::new(),
            ended_closed: input.ended.is_empty(),
            staged: HashSet::new(),
            repeat_in_full: false,
            exchange_tried: false,
            exchange_failed: false,
            written_groups: Vec::new(),
            held: Vec::new(),
            not_deleted: Vec::new(),
            named: HashSet::new(),
            stub_refused: false,
            refused_for_data: 0,
            groups_named: false,
            members_late: false,
            yielded: input.yielded.clone(),
            mails: HashMap::new(),
            claims_settled: false,
            given_back: false,
            asked_for_yielded: false,
            finished: false,
            done: 0,
        }
    }

    /// Runs a step and notes how long it took.
    pub(super) fn timed(
        &mut self,
        step: Step,
        run: fn(&mut Self) -> Result<(), UploadError>,
    ) -> Result<(), UploadError> {
        let start = self.sender.now();
        let result = run(self);
        let took = self.sender.now().saturating_sub(start);
        self.sender.report.steps.push((step, took));
        result
    }

    pub(super) fn into_report(self) -> UploadReport {
        let mut report = self.sender.report;
        report.held.extend(self.not_deleted);
        report.yielded = self.yielded;
        report
    }

    /// Deletes what is gone, when there is something to write after it.
    pub(super) fn clear(&mut self) -> Result<(), UploadError> {
        if *self.sender.current() == SyncState::Refresh {
            if !self.fits_in_one() { self.list_all() } else { Ok(()) }
        } else if self.input.retention.deletes() && !self.order.is_empty() {
            self.delete()
        } else {
            Ok(())
        }
    }

    /// Writes everything, in one POST where it fits.
    pub(super) fn write_all(&mut self) -> Result<(), UploadError> {
        self.ask_for_known_yielded()?;
        self.settle_claims()?;
        if *self.sender.current() == SyncState::Refresh
            && !self.order.is_empty()
            && self.fits_in_one()
        {
            return self.write_first();
        }
        let all = Rc::clone(&self.order);
        let (again, new): (Vec<Item>, Vec<Item>) =
            all.iter().copied().partition(|item| self.was_tried_before(*item));
        self.again = again;
        self.attempt_in_chunks(&new, Form::Full, true).map(|_| ())
    }

    /// From the state Refresh, everything at once. What is refused is sorted out from an interim
    /// state, never from Refresh: there, whatever a POST does not list is deleted.
    fn write_first(&mut self) -> Result<(), UploadError> {
        let all = Rc::clone(&self.order);
        let why = match self.post(&all, Form::Full, true)? {
            Sent::Applied(took) => {
                self.applied(&all, Form::Full);
                self.batch.took(all.len(), took);
                return Ok(());
            }
            Sent::Refused(refusal) if refusal.fault == Fault::Masked && self.learn_yielded()? => {
                return self.write_first();
            }
            Sent::Refused(refusal) => Some(refusal),
            Sent::TooMuch(_) => None,
        };
        self.list_all()?;
        self.settle_claims()?;
        let all = Rc::clone(&self.order);
        match why {
            Some(refusal) if refusal.fault == Fault::Other => {
                self.isolate(&all, Form::Full, refusal)
            }
            // With the old entries gone, names and DNs are free.
            Some(_) => self.attempt(&all, Form::Full, true).map(|_| ()),
            None => {
                self.batch.too_much(all.len(), self.bytes(&all));
                self.write_all()
            }
        }
    }

    /// The POST that moves the cookie, if the last write did not.
    pub(super) fn finish(&mut self) -> Result<(), UploadError> {
        if self.finished {
            return Ok(());
        }
        let envelope = self.envelope(&self.sender.report.held);
        let retention = match &self.input.retention {
            r if self.order.is_empty() && self.input.state != SyncState::Refresh && r.deletes() => {
                r.clone()
            }
            _ => Retention::Ignore,
        };
        if retention != Retention::Ignore || *self.sender.current() != envelope.to_state() {
            match self.sender.send_whole(&Entries::none(), &retention, Leave::Final(&envelope))? {
                Sent::Applied(_) => {}
                // A Delete list can be taken apart.
                Sent::Refused(_) | Sent::TooMuch(_) if retention != Retention::Ignore => {
                    self.delete()?;
                    self.close(&envelope)?;
                }
                other => return Err(failed("storing the sync state in Kanidm", other)),
            }
        }
        self.finished = true;
        self.sender.report.envelope = envelope;
        Ok(())
    }

    fn close(&mut self, envelope: &Envelope) -> Result<(), UploadError> {
        match self.sender.send_whole(
            &Entries::none(),
            &Retention::Ignore,
            Leave::Final(envelope),
        )? {
            Sent::Applied(_) => Ok(()),
            other => Err(failed("storing the sync state in Kanidm", other)),
        }
    }

    /// Sends items, in one POST if Kanidm takes it, and finds those it does not. True when all were
    /// accepted.
    pub(super) fn attempt(
        &mut self,
        items: &[Item],
        form: Form,
        last: bool,
    ) -> Result<bool, UploadError> {
        match (self.together(items, form, last)?, items) {
            (Together::Applied, _) => return Ok(true),
            (Together::Sorted, _) => {}
            (Together::Taken(refusal), [item]) => self.verdict(*item, form, refusal)?,
            (Together::Taken(_), _) => self
                .waiting
                .push(Block { items: items.to_vec(), written: self.sender.report.written.len() }),
        }
        Ok(false)
    }

    /// The same, where entries that want taken values are left to the caller.
    pub(super) fn together(
        &mut self,
        items: &[Item],
        form: Form,
        last: bool,
    ) -> Result<Together, UploadError> {
        if items.is_empty() {
            return Ok(Together::Applied);
        }
        if form == Form::Full {
            self.name_groups(items)?;
        }
        match self.post(items, form, last)? {
            Sent::Applied(took) => {
                self.applied(items, form);
                self.batch.took(items.len(), took);
                Ok(Together::Applied)
            }
            Sent::Refused(refusal)
                if form == Form::Full
                    && refusal.fault == Fault::Masked
                    && self.learn_yielded()? =>
            {
                self.together(items, form, last)
            }
            Sent::Refused(refusal) if form == Form::Full && refusal.fault == Fault::Conflict => {
                Ok(Together::Taken(refusal))
            }
            Sent::Refused(refusal) => {
                self.isolate(items, form, refusal)?;
                Ok(Together::Sorted)
            }
            Sent::TooMuch(error) => match items {
                [item] if error.class() == Class::TooLarge => {
                    self.hold(
                        *item,
                        form,
                        "the entry alone is larger than Kanidm accepts".to_owned(),
                        Fault::Other,
                    )?;
                    Ok(Together::Sorted)
                }
                [_] => Err(UploadError::Kanidm { doing: "sending a single entry", error }),
                _ => {
                    self.too_much(items);
                    let all = self.attempt_in_chunks(items, form, last)?;
                    Ok(if all { Together::Applied } else { Together::Sorted })
                }
            },
        }
    }

    /// Among `items`, which were refused together: find those at fault, apply the others.
    fn isolate(&mut self, items: &[Item], form: Form, why: Refusal) -> Result<(), UploadError> {
        if let [item] = items {
            return self.verdict(*item, form, why);
        }
        let (left, right) = items.split_at(items.len() / 2);
        let left_clean = self.attempt(left, form, false)?;
        // Entries collide with one another, so with the left half written the right one may pass.
        // Any other fault is now known to be there.
        if left_clean && why.fault == Fault::Other {
            self.isolate(right, form, why)
        } else {
            self.attempt(right, form, false).map(|_| ())
        }
    }

    pub(super) fn verdict(
        &mut self,
        item: Item,
        form: Form,
        why: Refusal,
    ) -> Result<(), UploadError> {
        if form != Form::Full {
            // The content says the same once more.
            return Ok(());
        }
        match why.fault {
            Fault::Conflict if matches!(item, Item::Record(_)) => {
                if self.collided.is_empty() {
                    self.written_before = self.sender.report.written.len();
                }
                self.collided.push((item, why));
                Ok(())
            }
            _ if matches!(item, Item::Held(_)) => {
                self.stub_refused = true;
                Ok(())
            }
            _ => {
                let reason = self.words(item, &why);
                self.hold(item, form, reason, why.fault)
            }
        }
    }

    pub(super) fn words(&self, item: Item, why: &Refusal) -> String {
        match why.fault {
            Fault::Masked => format!(
                "its UUID belongs to an entry that was deleted in Kanidm; as long as that one is in the recycle bin (7 days), bring it back \
                 with `kanidm recycle-bin revive {}`; afterwards Kanidm keeps the UUID 7 days more, unless `map_uuid` gives another",
                self.uuid(item)
            ),
            _ => why.answer.to_string(),
        }
    }

    /// Puts an entry on the list of those that Kanidm does not accept.
    pub(super) fn hold(
        &mut self,
        item: Item,
        form: Form,
        mut reason: String,
        fault: Fault,
    ) -> Result<(), UploadError> {
        // Held entries are on the list already, and a stub decides nothing.
        if !matches!(item, Item::Record(_)) || form == Form::Named {
            return Ok(());
        }
        if let Some(note) = self.send_limit(item, fault)? {
            reason.push_str("; ");
            reason.push_str(note);
        }
        self.hold_for(item, reason, fault)
    }

    /// The same, where the lock or limit of the account was seen to.
    pub(super) fn hold_for(
        &mut self,
        item: Item,
        reason: String,
        fault: Fault,
    ) -> Result<(), UploadError> {
        let held = HeldByKanidm {
            uuid: self.uuid(item),
            dn: self.dn(item),
            reason,
            is_absent: matches!(fault, Fault::Masked | Fault::Foreign),
            is_partial: false,
        };
        log::debug!("not accepted: {} ({}): {}", held.dn, held.uuid, held.reason);
        self.sender.report.held.push(held.clone());
        self.held.push(item);
        self.advance(1);
        // Masked, foreign and colliding entries say nothing about the others, however many come
        // first.
        if fault == Fault::Other && !self.input.tried_before.contains(&held.uuid) {
            self.refused_for_data = self.refused_for_data.saturating_add(1);
        }
        if self.sender.report.written.is_empty() && self.refused_for_data >= ALL_REFUSED {
            return Err(UploadError::EverythingRefused {
                tried: self.refused_for_data,
                last: Box::new(held),
            });
        }
        Ok(())
    }

    /// Groups that are not all in one POST have to exist before the first gets its members: groups
    /// may be members of groups.
    fn name_groups(&mut self, items: &[Item]) -> Result<(), UploadError> {
        let groups = |items: &[Item]| items.iter().filter(|i| self.is_group(**i)).count();
        let here = groups(items);
        if self.groups_named || here == 0 || here == groups(&self.order) {
            return Ok(());
        }
        self.groups_named = true;
        let all: Vec<Item> = self.order.iter().copied().filter(|i| self.is_group(*i)).collect();
        self.attempt_in_chunks(&all, Form::Named, false).map(|_| ())
    }

    /// Sends any number of items; `last`: the last of them may move the cookie. True when all were
    /// accepted.
    pub(super) fn attempt_in_chunks(
        &mut self,
        items: &[Item],
        form: Form,
        last: bool,
    ) -> Result<bool, UploadError> {
        let mut clean = true;
        let mut rest = items;
        while !rest.is_empty() {
            let n = match form {
                Form::Full => self.fit(rest),
                _ => self
                    .batch
                    .fit(rest.iter().map(|item| self.rendered(*item, form).len()))
                    .clamp(1, rest.len()),
            };
            let (chunk, more) = rest.split_at(n);
            clean &= self.attempt(chunk, form, last && more.is_empty())?;
            rest = more;
        }
        Ok(clean)
    }

    /// How many of the first fit into one POST with their content: at least one, if there is one.
    pub(super) fn fit(&self, items: &[Item]) -> usize {
        self.batch
            .fit(items.iter().map(|item| self.size(*item)))
            .clamp(items.len().min(1), items.len())
    }

    /// A POST of these was more than Kanidm takes.
    pub(super) fn too_much(&mut self, items: &[Item]) {
        self.batch.too_much(items.len(), self.bytes(items));
    }

    /// Sends one POST.
    pub(super) fn post(
        &mut self,
        items: &[Item],
        form: Form,
        last: bool,
    ) -> Result<Sent, UploadError> {
        let input = self.input;
        let entries = match self.is_as_mapped(form) {
            true => Entries::with_heads(
                items.len(),
                move |at| items.get(at).map_or(COMMA, |item| item.head(input, form)),
                move |at| items.get(at).map(|item| item.rest(input, form)).unwrap_or_default(),
            ),
            false => {
                let (yielded, mails) = (self.yielded.clone(), self.mails.clone());
                let entry = move |item: &Item| {
                    adapted(&yielded, &mails, item.uuid(input), item.render(input, form))
                };
                Entries::new(items.len(), move |at| items.get(at).map(&entry).unwrap_or_default())
            }
        };
        let waiting =
            !self.waiting.is_empty() || !self.collided.is_empty() || !self.again.is_empty();
        let clean = self.sender.report.held.is_empty()
            && !waiting
            && !self.members_late
            && !self.stub_refused
            && self.ended_closed;
        let envelope = (last && clean).then(|| self.envelope(&[]));
        let leave = envelope.as_ref().map_or(Leave::Interim, Leave::Final);
        let sent = match items {
            [_] => self.sender.send_whole(&entries, &Retention::Ignore, leave)?,
            _ => self.sender.send(&entries, &Retention::Ignore, leave)?,
        };
        if let (Sent::Applied(_), Some(envelope)) = (&sent, envelope) {
            self.finished = true;
            self.sender.report.envelope = envelope;
        }
        Ok(sent)
    }

    fn envelope(&self, held: &[HeldByKanidm]) -> Envelope {
        let envelope = (self.input.finish)(held);
        let written: HashSet<usize> = self.sender.report.written.iter().copied().collect();
        let is_temporary = self
            .staged
            .iter()
            .any(|item| !matches!(item, Item::Record(at) if written.contains(at)));
        let is_unsent =
            !self.waiting.is_empty() || !self.collided.is_empty() || !self.again.is_empty();
        // Held entries that cannot be remembered, and temporary values, are what a full refresh is
        // for.
        let in_full = self.repeat_in_full
            || self.given_back
            || envelope.held.len() > MAX_HELD
            || is_temporary
            || is_unsent;
        let unfinished = in_full.then(|| self.sender.unfinished());
        Envelope { unfinished, yielded: self.yielded.clone(), ..envelope }
    }

    /// Notes what Kanidm has now.
    pub(super) fn applied(&mut self, items: &[Item], form: Form) {
        let named = |item: &&Item| {
            form == Form::Named || (form == Form::Full && matches!(item, Item::Held(_)))
        };
        self.named.extend(items.iter().filter(named));
        if form != Form::Full {
            return;
        }
        for item in items {
            if let Item::Record(at) = item {
                self.sender.report.written.push(*at);
            }
            if self.is_group(*item) {
                self.written_groups.push(*item);
            }
        }
        self.advance(items.len());
    }

    /// Whether an entry that is held has been given its DN.
    pub(super) fn has_its_dn(&self, item: Item) -> bool {
        self.named.contains(&item)
    }

    pub(super) fn advance(&mut self, entries: usize) {
        self.done = self.done.saturating_add(entries).min(self.order.len());
        (self.progress)(Progress { done: self.done, total: self.order.len() });
    }

    fn fits_in_one(&self) -> bool {
        self.batch.fit(self.order.iter().map(|i| self.size(*i))) == self.order.len()
    }

    pub(super) fn was_tried_before(&self, item: Item) -> bool {
        matches!(item, Item::Record(_)) && self.input.tried_before.contains(&self.uuid(item))
    }

    pub(super) fn is_group(&self, item: Item) -> bool {
        item.kind(self.input) == Some(Kind::Group)
    }

    fn size(&self, item: Item) -> usize {
        // Not rendered to be measured: this is asked for each of a large number.
        item.record(self.input).map_or_else(
            || self.rendered(item, Form::Named).len(),
            |r| self.input.changes.json_len(r),
        )
    }

    fn bytes(&self, items: &[Item]) -> usize {
        items.iter().fold(0, |sum, i| sum.saturating_add(self.size(*i)))
    }

    pub(super) fn rendered(&self, item: Item, form: Form) -> Cow<'a, [u8]> {
        let entry = item.render(self.input, form);
        if self.is_as_mapped(form) {
            entry
        } else {
            adapted(&self.yielded, &self.mails, item.uuid(self.input), entry)
        }
    }

    /// Whether entries go as they were mapped.
    fn is_as_mapped(&self, form: Form) -> bool {
        form != Form::Full || (self.yielded.is_empty() && self.mails.is_empty())
    }

    pub(super) fn uuid(&self, item: Item) -> Uuid {
        item.uuid(self.input)
    }

    pub(super) fn dn(&self, item: Item) -> String {
        item.dn(self.input)
    }
}

/// An entry without what is yielded, and with the addresses that it may have.
fn adapted<'e>(
    yielded: &Yielded,
    mails: &HashMap<Uuid, MailChange>,
    uuid: Uuid,
    entry: Cow<'e, [u8]>,
) -> Cow<'e, [u8]> {
    let entry = match mails.get(&uuid) {
        Some(change) => Cow::Owned(claimed::changed(change, &entry)),
        None => entry,
    };
    if yielded.is_empty() { entry } else { Cow::Owned(yielded::without(yielded, &entry)) }
}
