//! An upload in progress: the input, the connection, and the ledger.
//!
//! Scope: what every step needs. One POST, and the notes about its result.

use std::rc::Rc;

use uuid::Uuid;

use super::batch::BatchSize;
use super::finish::final_envelope;
use super::item::{Form, Item};
use super::ledger::Ledger;
use super::members::held_and_named;
use super::outgoing::Outgoing;
use super::send::{Leave, Sender, Sent};
use super::{Progress, Upload, UploadError, UploadReport, UploadStep};
use crate::content::changeset::Kind;
use crate::kanidm::request::Retention;
use crate::kanidm::state::SyncState;

/// An upload in progress.
pub(super) struct Work<'a> {
    pub(super) input: &'a Upload<'a>,
    pub(super) sender: Sender<'a>,
    pub(super) outgoing: Outgoing<'a>,
    pub(super) ledger: Ledger,
    pub(super) batch: BatchSize,
    /// Persons, then held entries, then groups. Held entries are all of them in the state Refresh,
    /// otherwise those that groups name.
    pub(super) order: Rc<[Item]>,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Work<'a> {
    pub(super) fn new(
        sender: Sender<'a>,
        input: &'a Upload<'a>,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let limits = &input.limits;
        Work {
            input,
            sender,
            outgoing: Outgoing::new(input),
            ledger: Ledger { ended_closed: input.ended.is_empty(), ..Ledger::default() },
            batch: BatchSize::new(limits.max_entries, limits.max_bytes, limits.timeout),
            order: order(input),
            progress,
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
        let took = self.sender.now().saturating_duration_since(start);
        self.sender.report.steps.push((step, took));
        result
    }

    /// The report at the end.
    pub(super) fn into_report(self) -> UploadReport {
        let ledger = self.ledger;
        UploadReport {
            written: ledger.written,
            held: ledger.held.into_iter().chain(ledger.not_deleted).collect(),
            open: ledger.open,
            renamed: ledger.renamed,
            limited: ledger.limited,
            staged: ledger.staged_count,
            yielded: self.outgoing.yielded,
            ..self.sender.report
        }
    }

    /// Sends one POST. `last`: true if it may move the cookie.
    pub(super) fn post(
        &mut self,
        items: &[Item],
        form: Form,
        last: bool,
    ) -> Result<Sent, UploadError> {
        let ledger = &self.ledger;
        let is_clean = ledger.held.is_empty()
            && !ledger.is_waiting()
            && !ledger.members_late
            && !ledger.stub_refused
            && ledger.ended_closed;
        let envelope = (last && is_clean).then(|| final_envelope(self, &[]));
        let leave = envelope.as_ref().map_or(Leave::Interim, Leave::Final);
        let entries = self.outgoing.entries(items, form);
        let sent = match items {
            [_] => self.sender.send_whole(&entries, &Retention::Ignore, leave)?,
            _ => self.sender.send(&entries, &Retention::Ignore, leave)?,
        };
        if let (Sent::Applied(_), Some(envelope)) = (&sent, envelope) {
            self.ledger.finished = true;
            self.sender.report.envelope = envelope;
        }
        Ok(sent)
    }

    /// Records items that Kanidm accepted.
    pub(super) fn applied(&mut self, items: &[Item], form: Form) {
        let named = |item: &&Item| {
            form == Form::Named || (form == Form::Full && matches!(item, Item::Held(_)))
        };
        self.ledger.named.extend(items.iter().filter(named));
        if form != Form::Full {
            return;
        }
        for item in items {
            if let Item::Record(at) = item {
                self.ledger.written.push(*at);
            }
            if self.is_group(*item) {
                self.ledger.written_groups.push(*item);
            }
        }
        self.advance(items.len());
    }

    /// Counts entries that are done.
    pub(super) fn advance(&mut self, entries: usize) {
        self.ledger.done = self.ledger.done.saturating_add(entries).min(self.order.len());
        self.tell();
    }

    /// Notes that Kanidm has deleted what is gone.
    pub(super) fn deleted(&mut self) {
        self.ledger.deleted = true;
        self.tell();
    }

    fn tell(&mut self) {
        let (done, deleted) = (self.ledger.done, self.ledger.deleted);
        (self.progress)(Progress { done, total: self.order.len(), deleted });
    }

    /// How many of the first items fit into one POST: at least 1, if there are any.
    pub(super) fn fit(&self, items: &[Item], form: Form) -> usize {
        self.batch
            .fit(items.iter().map(|item| self.outgoing.size(*item, form)))
            .clamp(items.len().min(1), items.len())
    }

    /// Splits off the first items that fit into one POST with their content.
    pub(super) fn chunk<'i>(&self, items: &'i [Item]) -> (&'i [Item], &'i [Item]) {
        items.split_at(self.fit(items, Form::Full))
    }

    /// True if one POST can have everything.
    pub(super) fn fits_in_one(&self) -> bool {
        self.fit(&self.order, Form::Full) == self.order.len()
    }

    /// Makes POSTs smaller, after a POST of `items` was more than Kanidm accepts.
    pub(super) fn too_much(&mut self, items: &[Item]) {
        let sizes = items.iter().map(|item| self.outgoing.size(*item, Form::Full));
        self.batch.too_much(items.len(), sizes.fold(0, usize::saturating_add));
    }

    /// True if Kanidm knows an entry by its DN.
    pub(super) fn has_its_dn(&self, item: Item) -> bool {
        self.ledger.named.contains(&item)
    }

    /// True if an earlier run held the entry, and it has not changed since.
    pub(super) fn was_tried_before(&self, item: Item) -> bool {
        matches!(item, Item::Record(_)) && self.input.tried_before.contains(&self.uuid(item))
    }

    pub(super) fn is_group(&self, item: Item) -> bool {
        item.kind(self.input) == Some(Kind::Group)
    }

    pub(super) fn uuid(&self, item: Item) -> Uuid {
        item.uuid(self.input)
    }

    pub(super) fn dn(&self, item: Item) -> String {
        item.dn(self.input)
    }
}

fn order(input: &Upload<'_>) -> Rc<[Item]> {
    let records = input.changes.records();
    let of_kind = |kind: Kind| {
        let some = records.iter().enumerate().filter(move |(_, record)| record.kind == kind);
        some.map(|(at, _)| Item::Record(at))
    };
    let held = match input.state {
        SyncState::Refresh => (0..input.stubs.len()).map(Item::Held).collect(),
        SyncState::Active { .. } => held_and_named(input),
    };
    of_kind(Kind::Person).chain(held).chain(of_kind(Kind::Group)).collect()
}
