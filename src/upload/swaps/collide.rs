//! Collisions: swaps, rotations, and names that another entry of the same run gives up.
//!
//! Scope: writing a few entries that want values of other entries. Kanidm compares each unique
//! value of a POST with the values that were stored before it. Two entries can therefore never swap
//! names in one POST, or in two: one of them needs a temporary name in between. An entry that
//! collides with an entry outside of this run must keep its name, though.
//!
//! Kanidm does not say who has a name, but a refusal tells. A POST gives entry *i* the value that
//! entry *j* wants. Kanidm refuses it with a conflict, unless *i* has the value. The POST also
//! carries an invalid entry, so Kanidm always refuses it and never changes anything
//! ([`super::ask`]).
//!
//! Temporary values go only to a set of entries in which each wanted value is held inside the set.
//! Then every entry of the set gets its own values.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::content::unique::{self, Attribute, Unique, temporary_gid, temporary_name};
use crate::kanidm::error::Fault;
use crate::kanidm::request::Retention;
use crate::upload::UploadError;
use crate::upload::bisect::{self, Flow};
use crate::upload::first::temporary_id;
use crate::upload::item::{Form, Item, stub};
use crate::upload::send::{Leave, Refusal, Sent};
use crate::upload::write::{Block, Exchange, Together, Writer};

/// Maximum entries that are asked one by one whether they have a value that another one wants.
const MAX_PAIRWISE: usize = 5;
/// The same maximum after an exchange of many was not possible.
const MAX_PAIRWISE_AFTER_EXCHANGE: usize = 40;
/// Maximum entries that are tried one by one, as often as it helps.
pub(crate) const MAX_RETRIED: usize = 50;

/// An entry that wants taken values.
pub(crate) struct Candidate {
    pub(crate) item: Item,
    /// How Kanidm refused it.
    refusal: Refusal,
    /// All its values that no other entry may have.
    values: Vec<Unique>,
    /// The values that it cannot have, each with its holder.
    pub(crate) wants: Vec<(Unique, Holder)>,
    /// True if it may want more taken values: the questions did not cover all of them.
    wants_more: bool,
}

/// The holder of a taken value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// An entry that is not a candidate, as far as the questions went.
    Another,
    /// The candidate at this position.
    Candidate(usize),
    /// Not known: the limit of questions was reached.
    Unknown,
}

impl Candidate {
    pub(crate) fn new(
        item: Item,
        refusal: Refusal,
        values: Vec<Unique>,
        wants: Vec<Unique>,
        wants_more: bool,
    ) -> Self {
        let wants = wants.into_iter().map(|value| (value, Holder::Another)).collect();
        Candidate { item, refusal, values, wants, wants_more }
    }

    /// Returns true if another entry can have this value afterwards. Kanidm keeps the gidnumber of
    /// an entry that no longer has one.
    fn gives_up(&self, value: &Unique) -> bool {
        let is_number = |value: &Unique| value.attribute() == Attribute::Gid;
        !is_number(value) || self.values.iter().any(is_number)
    }
}

impl Writer<'_> {
    /// Writes the entries that Kanidm refused for taken values, as far as that is possible.
    pub(crate) fn resolve_collisions(&mut self) -> Result<(), UploadError> {
        self.write_waiting()?;
        let changed = !self.sender.report.written.is_empty() || self.input.retention.deletes();
        let new = !self.collided.is_empty();
        self.write_again(changed || new)?;
        self.write_waiting()?;
        self.retry_while_it_helps()?;
        if new && self.collided.len() > MAX_PAIRWISE && self.exchange == Exchange::Untried {
            self.exchange_what_waits()?;
            self.write_waiting()?;
        }
        let waiting = std::mem::take(&mut self.collided);
        let mut candidates = Vec::new();
        let most = match self.exchange {
            Exchange::Failed => MAX_PAIRWISE_AFTER_EXCHANGE,
            Exchange::Untried | Exchange::Partial | Exchange::Whole => MAX_PAIRWISE,
        };
        if waiting.len() <= most {
            candidates = self.candidates(waiting)?;
            // Entries of earlier runs stay blocked while nothing changes, and questions are
            // expensive.
            if changed || new {
                self.find_holders(&mut candidates)?;
            }
            for set in solvable_sets(&candidates) {
                self.stage(&candidates, &set)?;
            }
        } else {
            for (item, refusal) in waiting {
                candidates.push(self.candidate_of_many(item, refusal)?);
            }
        }
        self.hold_the_rest(&candidates)?;
        self.settle_members()
    }

    /// Writes what it can of the waiting blocks. Entries that want taken values end up in
    /// `collided`.
    fn write_waiting(&mut self) -> Result<(), UploadError> {
        while !self.waiting.is_empty() {
            let mut block = self.waiting.remove(0);
            let unchanged = block.written == self.sender.report.written.len();
            let more = block.items.split_off(self.fit(&block.items));
            let searched =
                self.search(&block.items, unchanged && more.is_empty() && block.items.len() > 1)?;
            for rest in [more, block.items.split_off(searched)] {
                if !rest.is_empty() {
                    self.waiting.insert(0, Block { items: rest, written: usize::MAX });
                }
            }
            if self.is_exchange_due() {
                self.exchange_what_waits()?;
            }
        }
        if self.is_exchange_due() {
            self.exchange_what_waits()?;
            return self.write_waiting();
        }
        Ok(())
    }

    /// Returns true when many new entries want taken values, for the first time.
    fn is_exchange_due(&self) -> bool {
        self.exchange == Exchange::Untried
            && self
                .collided
                .iter()
                .filter(|(item, _)| !self.was_tried_before(*item))
                .nth(MAX_PAIRWISE)
                .is_some()
    }

    /// Tries an exchange among all entries that want taken values. Entries that earlier runs could
    /// not write may take part.
    fn exchange_what_waits(&mut self) -> Result<(), UploadError> {
        self.exchange = Exchange::Partial;
        self.write_again(true)?;
        let (collided, waiting) =
            (std::mem::take(&mut self.collided), std::mem::take(&mut self.waiting));
        let all = collided
            .iter()
            .map(|(item, _)| *item)
            .chain(waiting.iter().flat_map(|block| block.items.clone()));
        let (held, all): (Vec<Item>, Vec<Item>) =
            all.partition(|item| matches!(item, Item::Held(_)));
        // Held entries have only a DN to give up.
        self.attempt_in_chunks(&held, Form::Full, false)?;
        match self.exchange(&all)? {
            Some(others) => others.iter().try_for_each(|item| self.write_late(&[*item])),
            None => {
                log::debug!("many values are taken, and it was not found out by whom");
                self.exchange = Exchange::Failed;
                self.collided.splice(0..0, collided);
                // The exchange may have written some before it failed.
                let written: HashSet<usize> = self.sender.report.written.iter().copied().collect();
                let is_left =
                    |item: &Item| matches!(item, Item::Record(at) if !written.contains(at));
                self.collided.retain(|(item, _)| is_left(item));
                let left = |block: Block| Block {
                    items: block.items.into_iter().filter(is_left).collect(),
                    written: usize::MAX,
                };
                self.waiting.splice(
                    0..0,
                    waiting.into_iter().map(left).filter(|block| !block.items.is_empty()),
                );
                Ok(())
            }
        }
    }

    /// Finds the entries that want taken values among `items`, and writes the others. `refused`:
    /// true if Kanidm is known to refuse `items` together. Returns how many items it searched. It
    /// ends early when an exchange becomes due.
    fn search(&mut self, items: &[Item], refused: bool) -> Result<usize, UploadError> {
        let mut collided = HashSet::new();
        let this = RefCell::new((&mut *self, None));
        let is_clean = |range: Range<usize>| {
            let (this, last) = &mut *this.borrow_mut();
            *last = this.refusal_of(items.get(range).unwrap_or_default())?;
            Ok(last.is_none())
        };
        let searched = bisect::culprits(items.len(), refused, &is_clean, |at, alone| {
            let is_taken = alone || !is_clean(at..at.saturating_add(1))?;
            let (this, last) = &mut *this.borrow_mut();
            if let (true, Some(item), Some(refusal)) = (is_taken, items.get(at), last.take()) {
                collided.insert(at);
                this.verdict(*item, Form::Full, refusal)?;
            }
            Ok::<_, UploadError>(if this.is_exchange_due() {
                Flow::Break(())
            } else {
                Flow::Continue(())
            })
        })?;
        let others: Vec<Item> = (0..searched)
            .filter(|at| !collided.contains(at))
            .filter_map(|at| items.get(at).copied())
            .collect();
        self.write_halves(&others)?;
        Ok(searched)
    }

    /// Writes entries that want no taken value. If two of them want the same value, the first one
    /// gets it.
    fn write_halves(&mut self, items: &[Item]) -> Result<(), UploadError> {
        match (self.late(true, |this| this.together(items, Form::Full, false))?, items) {
            (Together::Applied | Together::Sorted, _) => Ok(()),
            (Together::Taken(refusal), [item]) => self.verdict(*item, Form::Full, refusal),
            (Together::Taken(_), _) => {
                let (left, right) = items.split_at(items.len() / 2);
                self.write_halves(left)?;
                self.write_halves(right)
            }
        }
    }

    /// Returns the refusal of these entries if one of their values is taken. Nothing is applied: a
    /// refused POST is much cheaper for Kanidm than a small one that is applied.
    fn refusal_of(&mut self, items: &[Item]) -> Result<Option<Refusal>, UploadError> {
        let entries = items
            .iter()
            .map(|item| self.rendered(*item, Form::Full))
            .chain([Cow::Owned(self.invalid())]);
        let refusal =
            self.sender.question_once(&entries.collect::<Vec<_>>().into(), &Retention::Ignore)?;
        Ok(refusal.filter(|refusal| refusal.fault == Fault::Conflict))
    }

    /// Sends written groups again where a member may be wrong. When they were written, a DN may
    /// have meant an entry that gives it up in this run.
    fn settle_members(&mut self) -> Result<(), UploadError> {
        let groups = std::mem::take(&mut self.written_groups);
        let sent = if self.members_late { self.send_members_again(&groups) } else { Ok(()) };
        let settled = sent.and_then(|()| self.settle_held_members(&groups));
        // If the search is abandoned in here, this runs once more.
        self.written_groups = groups;
        settled
    }

    /// Repairs groups and locks after the search for the entries at fault was abandoned. Written
    /// groups treat entries that were not written as held.
    pub(crate) fn repair_after_giving_up(&mut self) -> Result<(), UploadError> {
        self.sender.allow_as_many_again();
        let written: BTreeSet<usize> = self.sender.report.written.iter().copied().collect();
        let held: Vec<Item> = self
            .order
            .iter()
            .copied()
            .filter(|i| matches!(i, Item::Record(at) if !written.contains(at)))
            .collect();
        for item in &held {
            self.send_limit(*item, Fault::Conflict)?;
        }
        self.held = held;
        self.settle_members()
    }

    /// Tries entries again, because their values may have become free. Chains become free one by
    /// one, from either end, so each pass reverses the order. It stops when a pass writes nothing,
    /// or when there are too many entries.
    fn retry_while_it_helps(&mut self) -> Result<(), UploadError> {
        while (1..=MAX_RETRIED).contains(&self.collided.len())
            && self.sender.report.written.len() > self.written_before
        {
            let items: Vec<Item> = std::mem::take(&mut self.collided)
                .into_iter()
                .map(|(item, _)| item)
                .rev()
                .collect();
            items.iter().try_for_each(|item| self.write_late(&[*item]))?;
        }
        Ok(())
    }

    /// Writes entries after groups that may have them as members.
    pub(crate) fn write_late(&mut self, items: &[Item]) -> Result<(), UploadError> {
        self.late(items.len() > 1, |this| this.attempt(items, Form::Full, false)).map(|_| ())
    }

    /// Runs `write`, and notes whether it wrote entries after groups that may have them as members.
    /// `several`: true if groups in the same write count, too.
    pub(crate) fn late<T>(
        &mut self,
        several: bool,
        write: impl FnOnce(&mut Self) -> Result<T, UploadError>,
    ) -> Result<T, UploadError> {
        let (groups, written) = (self.written_groups.len(), self.sender.report.written.len());
        let result = write(self)?;
        let among_them = several && self.written_groups.len() > groups;
        self.members_late |=
            (groups > 0 || among_them) && self.sender.report.written.len() > written;
        Ok(result)
    }

    fn send_members_again(&mut self, groups: &[Item]) -> Result<(), UploadError> {
        let written = self.sender.report.written.len();
        self.attempt_in_chunks(groups, Form::Full, false)?;
        // The report counted them at their first write.
        self.sender.report.written.truncate(written);
        Ok(())
    }

    /// Gives a set of entries temporary values, then their own.
    fn stage(&mut self, candidates: &[Candidate], set: &[usize]) -> Result<(), UploadError> {
        let members: Vec<&Candidate> = set.iter().filter_map(|i| candidates.get(*i)).collect();
        let attributes: BTreeSet<Attribute> =
            members.iter().flat_map(|c| &c.wants).map(|(value, _)| value.attribute()).collect();
        let items: Vec<Item> = members.iter().map(|c| c.item).collect();
        let attributes: Vec<Attribute> = attributes.into_iter().collect();
        let entries: Vec<Cow<'_, [u8]>> = items
            .iter()
            .map(|item| Cow::Owned(self.staged(*item, &attributes, temporary_gid(self.input.run))))
            .collect();
        // No later increment would touch these entries, so they would keep their temporary names.
        self.sender.repair_in_full();
        match self.sender.send_whole(&entries.into(), &Retention::Ignore, Leave::Interim)? {
            Sent::Applied(_) => {
                self.staged.extend(&items);
                self.sender.report.staged =
                    self.sender.report.staged.saturating_add(items.len() as u64);
                log::debug!(
                    "{} entries have temporary values, because their new ones collide with one another",
                    items.len()
                );
                self.write_late(&items)
            }
            Sent::Refused(refusal) => {
                log::debug!(
                    "entries that swap values are refused temporary ones: {}",
                    refusal.answer
                );
                Ok(())
            }
            Sent::TooMuch(error) => Err(UploadError::Kanidm {
                doing: "giving temporary values to entries that collide",
                error,
            }),
        }
    }

    /// Returns the content of an entry with temporary values for the given attributes. The DN alone
    /// needs no content. Temporary gidnumbers start at `first_gid`, and each entry of the run has
    /// its own.
    pub(crate) fn staged(&self, item: Item, attributes: &[Attribute], first_gid: u32) -> Vec<u8> {
        let uuid = self.uuid(item);
        if attributes.iter().all(|a| *a == Attribute::Dn) {
            return stub(uuid, Some(&temporary_id(uuid)));
        }
        let mut entry: Map<String, Value> =
            serde_json::from_slice(&self.rendered(item, Form::Full)).unwrap_or_default();
        for attribute in attributes {
            match attribute {
                Attribute::Dn => {
                    entry.insert("externalId".to_owned(), format!("tmp-{uuid}").into());
                }
                Attribute::Name => {
                    entry.insert("name".to_owned(), temporary_name(uuid).into());
                }
                Attribute::Gid => {
                    if entry.contains_key("gidnumber") {
                        entry.insert("gidnumber".to_owned(), item.temporary_gid(first_gid).into());
                    }
                }
                Attribute::Mail => {
                    entry.remove("mail");
                }
            }
        }
        Value::Object(entry).to_string().into_bytes()
    }

    /// Holds what could not be solved. The reason names both entries, as far as they are known.
    fn hold_the_rest(&mut self, candidates: &[Candidate]) -> Result<(), UploadError> {
        // Staged entries that Kanidm refused after all wait again, perhaps in one block.
        self.write_waiting()?;
        let again: Vec<(Item, Refusal)> = std::mem::take(&mut self.collided);
        let written: BTreeSet<usize> = self.sender.report.written.iter().copied().collect();
        let owners = self.owners(candidates, &written);
        let again: Vec<Candidate> = again
            .into_iter()
            .map(|(item, refusal)| Candidate::new(item, refusal, Vec::new(), Vec::new(), false))
            .collect();
        let items: HashSet<Item> = candidates.iter().map(|candidate| candidate.item).collect();
        let is_known = |candidate: &&Candidate| !items.contains(&candidate.item);
        let held: HashSet<Uuid> = self
            .sender
            .report
            .held
            .iter()
            .filter(|held| !held.is_partial)
            .map(|held| held.uuid)
            .collect();
        for candidate in candidates.iter().chain(again.iter().filter(is_known)) {
            let Item::Record(at) = candidate.item else { continue };
            if !written.contains(&at) && !held.contains(&self.uuid(candidate.item)) {
                let reason = self.reason(candidate, candidates, &owners);
                self.hold(candidate.item, Form::Full, reason, Fault::Conflict)?;
            }
        }
        Ok(())
    }

    /// Holds one entry of many.
    pub(crate) fn hold_one_of_many(
        &mut self,
        item: Item,
        refusal: Refusal,
    ) -> Result<(), UploadError> {
        let candidate = self.candidate_of_many(item, refusal)?;
        let written: BTreeSet<usize> = self.sender.report.written.iter().copied().collect();
        let owners = self.owners(std::slice::from_ref(&candidate), &written);
        let reason = self.reason(&candidate, &[], &owners);
        self.hold(item, Form::Full, reason, Fault::Conflict)
    }

    fn reason(
        &self,
        candidate: &Candidate,
        candidates: &[Candidate],
        owners: &HashMap<Unique, Item>,
    ) -> String {
        let mut reason = if candidate.wants.is_empty() {
            self.words(candidate.item, &candidate.refusal)
        } else {
            let sides: Vec<String> = candidate
                .wants
                .iter()
                .map(|(value, holder)| self.describe_value(candidates, owners, value, *holder))
                .collect();
            format!("{} (status {})", sides.join("; "), candidate.refusal.answer.status)
        };
        if self.staged.contains(&candidate.item) {
            reason.push_str("; it may have a temporary name until then");
        }
        reason
    }

    /// Maps each wanted value to the entry that was written with it.
    fn owners(&self, candidates: &[Candidate], written: &BTreeSet<usize>) -> HashMap<Unique, Item> {
        let wanted: HashSet<&Unique> =
            candidates.iter().flat_map(|c| &c.wants).map(|(value, _)| value).collect();
        let mut owners = HashMap::new();
        if wanted.is_empty() {
            return owners;
        }
        for item in written.iter().map(|at| Item::Record(*at)) {
            owners.extend(
                self.values(item)
                    .into_iter()
                    .filter(|value| wanted.contains(value))
                    .map(|value| (value, item)),
            );
        }
        owners
    }

    fn describe_value(
        &self,
        candidates: &[Candidate],
        owners: &HashMap<Unique, Item>,
        value: &Unique,
        holder: Holder,
    ) -> String {
        let words = value.words();
        let candidate = match holder {
            Holder::Candidate(i) => candidates.get(i),
            Holder::Another | Holder::Unknown => None,
        };
        if let Some(candidate) = candidate.filter(|c| !c.gives_up(value)) {
            let dn = self.dn(candidate.item);
            return format!(
                "{words} is that of {dn}, which is to have none, and Kanidm takes it from nobody who gets no other"
            );
        }
        let remedy = remedy(value);
        match candidate.map(|c| c.item).or_else(|| owners.get(value).copied()) {
            Some(item) => format!("{words} is already that of {}", self.dn(item)),
            None if is_built_in_name(value) => {
                format!("{words} is that of an account or group of Kanidm's own: {remedy}")
            }
            None if holder == Holder::Unknown => {
                format!(
                    "{words} is taken in Kanidm, and so many are that the holder is not known. Run `--full-refresh`; if it stays, {remedy}"
                )
            }
            None if self.input.full => {
                format!(
                    "{words} is taken in Kanidm, outside of this sync account (by {LOCAL}). Rename it there, or {remedy}"
                )
            }
            None => format!(
                "{words} is taken in Kanidm by an entry that this run does not touch ({LOCAL}). Rename it there, or {remedy}; \
                 `--full-refresh` removes what is gone from the directory"
            ),
        }
    }

    /// Returns the values of an entry that no other entry may have.
    pub(crate) fn values(&self, item: Item) -> Vec<Unique> {
        unique::values(&self.rendered(item, Form::Full))
    }
}

/// The possible holders of a value outside of this sync account.
const LOCAL: &str = "a local account or group, or another sync account's";

/// Returns true for a name that every Kanidm gives to an account or group of its own.
fn is_built_in_name(value: &Unique) -> bool {
    const PREFIXES: [&str; 3] = ["idm_", "domain_", "system_"];
    match value {
        Unique::Name(name) => {
            ["admin", "anonymous"].contains(&name.as_str())
                || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        }
        Unique::Dn(_) | Unique::Gid(_) | Unique::Mail(_) => false,
    }
}

/// How an administrator gives this entry another value.
fn remedy(value: &Unique) -> &'static str {
    match value {
        Unique::Name(_) => "give this entry another name with map_name",
        Unique::Gid(_) => "give this entry another number with map_gidnumber",
        Unique::Mail(_) => "change the address in the directory",
        Unique::Dn(_) => "synchronise this subtree into one sync account only",
    }
}

/// Returns sets of candidates in which each wanted value is held inside the set, and no two
/// candidates share a value. Connected candidates are in the same set.
fn solvable_sets(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    // Only one of two entries with the same value can be written, whether the value is free or not.
    let mut shared: HashMap<&Unique, usize> = HashMap::new();
    candidates
        .iter()
        .flat_map(|c| &c.values)
        .for_each(|value| *shared.entry(value).or_default() += 1);
    let alone = |c: &Candidate| c.values.iter().all(|value| shared.get(value) == Some(&1));
    let gives_up =
        |holder: usize, value: &Unique| candidates.get(holder).is_some_and(|c| c.gives_up(value));
    let mut solvable: Vec<bool> =
        candidates.iter().map(|c| !c.wants.is_empty() && !c.wants_more && alone(c)).collect();
    let is = |solvable: &[bool], i: usize| solvable.get(i).copied().unwrap_or(false);
    loop {
        let next: Vec<bool> = candidates
            .iter()
            .enumerate()
            .map(|(i, c)| {
                let solved = |(value, holder): &(Unique, Holder)| match holder {
                    Holder::Candidate(h) => is(&solvable, *h) && gives_up(*h, value),
                    Holder::Another | Holder::Unknown => false,
                };
                is(&solvable, i) && c.wants.iter().all(solved)
            })
            .collect();
        if next == solvable {
            break;
        }
        solvable = next;
    }
    // Connected candidates get the smallest label among them. Candidates are few, so a simple loop
    // is enough.
    let mut label: Vec<usize> = (0..candidates.len()).collect();
    loop {
        let mut changed = false;
        for (i, candidate) in candidates.iter().enumerate().filter(|(i, _)| is(&solvable, *i)) {
            for holder in candidate.wants.iter().filter_map(|(_, holder)| match holder {
                Holder::Candidate(h) => Some(*h),
                Holder::Another | Holder::Unknown => None,
            }) {
                let (Some(a), Some(b)) = (label.get(i).copied(), label.get(holder).copied()) else {
                    continue;
                };
                for at in [i, holder] {
                    if let Some(l) = label.get_mut(at).filter(|l| **l != a.min(b)) {
                        *l = a.min(b);
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    let members = |l: usize| {
        label
            .iter()
            .enumerate()
            .filter(|(i, x)| **x == l && is(&solvable, *i))
            .map(|(i, _)| i)
            .collect::<Vec<_>>()
    };
    (0..candidates.len()).map(members).filter(|set| !set.is_empty()).collect()
}
