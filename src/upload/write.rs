//! Writing entries.
//!
//! Scope: which entry goes into which POST, and the search for entries that Kanidm does not accept.
//! Entries with taken values wait for `collide`. A POST that Kanidm refuses for another reason is
//! halved until the entries at fault are alone. The upload holds these and applies all others on
//! the way.

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
use super::{HeldByKanidm, Progress, Upload, UploadError, UploadReport, UploadStep};
use crate::content::changeset::Kind;
use crate::kanidm::error::{Class, Fault};
use crate::kanidm::request::{COMMA, Entries, Retention};
use crate::kanidm::state::Yielded;
use crate::kanidm::state::{Envelope, MAX_HELD, SyncState};

/// If Kanidm refuses this many entries before it accepts one, the fault is not in the entries.
const MAX_REFUSED_AT_FIRST: usize = 100;

/// Entries that were refused together.
pub(super) struct Block {
    pub(super) items: Vec<Item>,
    /// Number of entries that the run had written before the refusal.
    pub(super) written: usize,
}

/// The result of sending items together.
pub(super) enum Together {
    /// All were written.
    Applied,
    /// None was written: at least one wants a taken value.
    Taken(Refusal),
    /// Each was written, held, or queued for a taken value.
    Sorted,
}

/// How far the exchange of values among many entries came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Untried,
    /// It was not possible.
    Failed,
    /// It has begun, or it left out entries without asking whether others have what they want.
    Partial,
    /// No entry of the run has a value that one of the remaining entries wants.
    Whole,
}

/// An upload in progress.
pub(super) struct Writer<'a> {
    pub(super) sender: Sender<'a>,
    pub(super) input: &'a Upload<'a>,
    progress: &'a mut dyn FnMut(Progress),
    /// Persons, then held entries, then groups. Held entries are all of them in the state Refresh,
    /// otherwise those that groups name.
    pub(super) order: Rc<[Item]>,
    pub(super) batch: BatchSize,
    /// Blocks of entries that were refused together because a value is taken.
    pub(super) waiting: Vec<Block>,
    /// Entries that were refused alone because a value is taken.
    pub(super) collided: Vec<(Item, Refusal)>,
    /// Number of entries written before the first of `collided` was refused.
    pub(super) written_before: usize,
    /// Entries that no earlier run could write.
    pub(super) again: Vec<Item>,
    /// True once the ended accounts of persons that the mapping holds are closed.
    pub(super) ended_closed: bool,
    /// Entries that have or had temporary values.
    pub(super) staged: HashSet<Item>,
    /// True if the next run must be a full refresh.
    pub(super) repeat_in_full: bool,
    /// The exchange of values among many entries. An upload tries it once.
    pub(super) exchange: Exchange,
    /// Groups in the order they were written. Some may need their members again.
    pub(super) written_groups: Vec<Item>,
    /// Held entries of the change set, as in the report.
    pub(super) held: Vec<Item>,
    /// Entries that Kanidm did not delete. The envelope does not remember them: the directory has
    /// no entry to read again.
    pub(super) not_deleted: Vec<HeldByKanidm>,
    /// Items that Kanidm knows by their DN, because it accepted them without content.
    named: HashSet<Item>,
    /// True if Kanidm refused the DN of a held entry.
    stub_refused: bool,
    /// Entries that Kanidm rejected for their own data, for the first time in this run. Conflicts
    /// are not counted.
    refused_for_data: usize,
    /// True once all groups exist in Kanidm under their DNs, as far as Kanidm accepts them.
    groups_named: bool,
    /// True if an entry was written after groups that may have it as a member.
    pub(super) members_late: bool,
    /// Attributes that are left out of every entry.
    pub(super) yielded: Yielded,
    /// Changes for persons whose addresses other persons want, by UUID in Kanidm.
    pub(super) mails: HashMap<Uuid, MailChange>,
    /// True once Kanidm was asked who has each claimed address.
    pub(super) claims_settled: bool,
    /// True if an attribute is no longer yielded. Entries lack it, and no increment brings it.
    pub(super) given_back: bool,
    /// True once Kanidm was asked which attributes are yielded.
    pub(super) asked_for_yielded: bool,
    /// True once the cookie has moved.
    finished: bool,
    /// Entries written or held, for the progress.
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
            exchange: Exchange::Untried,
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

    /// Runs a step and records its time.
    pub(super) fn timed(
        &mut self,
        step: UploadStep,
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

    /// Deletes before anything is written. Without writes, [`finish`](Self::finish) deletes.
    pub(super) fn clear(&mut self) -> Result<(), UploadError> {
        if *self.sender.current() == SyncState::Refresh {
            if !self.fits_in_one() { self.list_all() } else { Ok(()) }
        } else if self.input.retention.deletes() && !self.order.is_empty() {
            self.delete()
        } else {
            Ok(())
        }
    }

    /// Writes everything, in one POST if it fits.
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

    /// Writes the whole content in one POST from the state Refresh. If Kanidm refuses, the search
    /// for the cause runs from an interim state. From Refresh, Kanidm would delete what a smaller
    /// POST does not list.
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
            // The old entries are deleted now, so their names and DNs are free.
            Some(_) => self.attempt(&all, Form::Full, true).map(|_| ()),
            None => {
                self.batch.too_much(all.len(), self.bytes(&all));
                self.write_all()
            }
        }
    }

    /// Moves the cookie, if the last write did not.
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
                // A Delete list can be split.
                Sent::Refused(_) | Sent::TooMuch(_) if retention != Retention::Ignore => {
                    self.delete()?;
                    self.store_envelope(&envelope)?;
                }
                other => return Err(failed("storing the sync state in Kanidm", other)),
            }
        }
        self.finished = true;
        self.sender.report.envelope = envelope;
        Ok(())
    }

    fn store_envelope(&mut self, envelope: &Envelope) -> Result<(), UploadError> {
        match self.sender.send_whole(
            &Entries::none(),
            &Retention::Ignore,
            Leave::Final(envelope),
        )? {
            Sent::Applied(_) => Ok(()),
            other => Err(failed("storing the sync state in Kanidm", other)),
        }
    }

    /// Sends items, in one POST if Kanidm accepts it, and finds those it does not accept. `last`:
    /// true if the POST may move the cookie. Returns true if all were accepted.
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

    /// As [`attempt`](Self::attempt), but leaves entries that want taken values to the caller.
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

    /// Finds the entries at fault among `items`, which were refused together, and applies the
    /// others.
    fn isolate(&mut self, items: &[Item], form: Form, why: Refusal) -> Result<(), UploadError> {
        if let [item] = items {
            return self.verdict(*item, form, why);
        }
        let (left, right) = items.split_at(items.len() / 2);
        let left_clean = self.attempt(left, form, false)?;
        // Entries collide with one another, so the right half may pass once the left half is
        // written. Any other fault must be in the right half.
        if left_clean && why.fault == Fault::Other {
            self.isolate(right, form, why)
        } else {
            self.attempt(right, form, false).map(|_| ())
        }
    }

    /// Decides about an item that was refused alone: it waits for a value, or it is held.
    pub(super) fn verdict(
        &mut self,
        item: Item,
        form: Form,
        why: Refusal,
    ) -> Result<(), UploadError> {
        if form != Form::Full {
            // The content causes the same refusal later.
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

    /// The reason that the report gives for a refusal.
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

    /// Holds an entry that Kanidm does not accept.
    pub(super) fn hold(
        &mut self,
        item: Item,
        form: Form,
        mut reason: String,
        fault: Fault,
    ) -> Result<(), UploadError> {
        // The report lists held entries already, and a refused stub decides nothing.
        if !matches!(item, Item::Record(_)) || form == Form::Named {
            return Ok(());
        }
        if let Some(note) = self.send_limit(item, fault)? {
            reason.push_str("; ");
            reason.push_str(note);
        }
        self.hold_for(item, reason, fault)
    }

    /// As [`hold`](Self::hold), after the lock or time limit of the account was sent.
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
        // Masked, foreign and colliding entries say nothing about other entries, however many there
        // are.
        if fault == Fault::Other && !self.input.tried_before.contains(&held.uuid) {
            self.refused_for_data = self.refused_for_data.saturating_add(1);
        }
        if self.sender.report.written.is_empty() && self.refused_for_data >= MAX_REFUSED_AT_FIRST {
            return Err(UploadError::EverythingRefused {
                tried: self.refused_for_data,
                last: Box::new(held),
            });
        }
        Ok(())
    }

    /// Makes all groups known before the first one gets its members, unless one POST has all
    /// groups. Groups may be members of groups.
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

    /// Sends any number of items, in chunks. `last`: true if the last chunk may move the cookie.
    /// Returns true if all were accepted.
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

    /// Returns how many of the first items fit into one POST with their content: at least 1, if
    /// there are any.
    pub(super) fn fit(&self, items: &[Item]) -> usize {
        self.batch
            .fit(items.iter().map(|item| self.size(*item)))
            .clamp(items.len().min(1), items.len())
    }

    /// Makes POSTs smaller, after a POST of `items` was more than Kanidm accepts.
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
        // Only a full refresh finds held entries that the envelope cannot remember, and replaces
        // temporary values.
        let in_full = self.repeat_in_full
            || self.given_back
            || envelope.held.len() > MAX_HELD
            || (is_temporary && !self.input.full)
            || is_unsent;
        let unfinished = in_full.then(|| self.sender.unfinished());
        Envelope { unfinished, yielded: self.yielded.clone(), ..envelope }
    }

    /// Records items that Kanidm accepted.
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

    /// Returns true if Kanidm knows a held entry by its DN.
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
        // Rendering each entry to measure it would be slow: there may be many.
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

    /// Returns true if entries are sent exactly as the mapping made them.
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

/// Removes yielded attributes from an entry, and gives it the addresses that it may have.
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
