//! Renames that collide: swaps, rotations, and names that another entry of the same run gives up.
//!
//! Kanidm compares every value of a POST that has to be unique with what was stored before it, so two entries can never swap a name in one
//! POST, nor in two. One of them needs a temporary name in between. But an entry that collides with something outside of this run must keep
//! the name it has, and Kanidm cannot be asked who has which name. It can be asked like this: a POST that gives entry *i* the value that
//! entry *j* wants is refused with a conflict, unless *i* is the one that has it. Such a POST carries an invalid entry as well, so it is
//! always refused and never changes anything.
//!
//! Only a set of entries in which every wanted value is held within the set is given temporary values: then all of them get their own.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::error::Fault;
use super::first::temporary_id;
use super::item::{Form, Item, stub};
use super::request::Retention;
use super::scim;
use super::send::{Leave, Refusal, Sent};
use super::unique::{self, Attribute, Unique, temporary_gid, temporary_name};
use super::upload::UploadError;
use super::write::Writer;
use crate::sync::changeset::Kind;

/// Among at most so many entries it is asked who has what: the number of questions grows with the square.
const MAX_ASKED: usize = 40;

/// An entry that wants values which are taken.
struct Candidate {
    item: Item,
    refusal: Refusal,
    /// All its values that no other entry may have.
    values: Vec<Unique>,
    /// Of these, what it cannot have, and which candidate has it.
    wants: Vec<(Unique, Option<usize>)>,
}

impl Candidate {
    /// Whether another entry can have this value after it. Kanidm keeps the number of an entry that has none any more.
    fn gives_up(&self, value: &Unique) -> bool {
        let is_number = |value: &Unique| value.attribute() == Attribute::Gid;
        !is_number(value) || self.values.iter().any(is_number)
    }
}

impl Writer<'_> {
    /// Writes what was refused because a value is taken, as far as that is possible.
    pub(super) fn resolve_collisions(&mut self) -> Result<(), UploadError> {
        self.retry_while_it_helps()?;
        let waiting = std::mem::take(&mut self.collided);
        let mut candidates = self.candidates(waiting)?;
        // Entries that could not be helped in an earlier run cannot be helped as long as nothing changes, neither they nor others; asking
        // costs much.
        let changed = !self.sender.report.written.is_empty() || self.input.retention.deletes();
        if changed || candidates.iter().any(|c| !self.input.tried_before.contains(&self.uuid(c.item))) {
            self.find_holders(&mut candidates)?;
        }
        for set in solvable_sets(&candidates) {
            self.stage(&candidates, &set)?;
        }
        self.hold_the_rest(&candidates)?;
        let groups = std::mem::take(&mut self.written_groups);
        if self.members_late {
            self.send_members_again(&groups)?;
        }
        self.settle_held_members(&groups)
    }

    /// What an entry waits for may have become free. Chains come free one by one, in whichever direction: both are tried.
    fn retry_while_it_helps(&mut self) -> Result<(), UploadError> {
        loop {
            let mut waiting = std::mem::take(&mut self.collided);
            waiting.reverse();
            let before = waiting.len();
            for (item, _) in waiting {
                self.write_late(&[item])?;
            }
            if self.collided.is_empty() || self.collided.len() == before {
                return Ok(());
            }
        }
    }

    fn write_late(&mut self, items: &[Item]) -> Result<(), UploadError> {
        let (groups, written) = (self.written_groups.len(), self.sender.report.written.len());
        self.attempt(items, Form::Full, false)?;
        self.members_late |= groups > 0 && self.sender.report.written.len() > written;
        Ok(())
    }

    fn send_members_again(&mut self, groups: &[Item]) -> Result<(), UploadError> {
        let written = self.sender.report.written.len();
        self.attempt_in_chunks(groups, Form::Full, false)?;
        // They were counted when they were written first.
        self.sender.report.written.truncate(written);
        Ok(())
    }

    /// Which of its values each entry cannot have.
    fn candidates(&mut self, waiting: Vec<(Item, Refusal)>) -> Result<Vec<Candidate>, UploadError> {
        let mut candidates = Vec::with_capacity(waiting.len());
        for (i, (item, refusal)) in waiting.into_iter().enumerate() {
            let values = self.values(item);
            let mut wants = Vec::new();
            for value in values.iter().filter(|_| i < MAX_ASKED) {
                if self.is_taken(item, value)? {
                    wants.push((value.clone(), None));
                }
            }
            candidates.push(Candidate { item, refusal, values, wants });
        }
        Ok(candidates)
    }

    fn find_holders(&mut self, candidates: &mut [Candidate]) -> Result<(), UploadError> {
        let items: Vec<Item> = candidates.iter().take(MAX_ASKED).map(|c| c.item).collect();
        for candidate in candidates {
            for (value, holder) in &mut candidate.wants {
                for (i, item) in items.iter().enumerate() {
                    if *item != candidate.item && !self.is_taken(*item, value)? {
                        *holder = Some(i);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether Kanidm would refuse `item` this value because an entry other than `item` has it. Changes nothing.
    fn is_taken(&mut self, item: Item, value: &Unique) -> Result<bool, UploadError> {
        let Some(question) = self.question(item, value) else {
            return Ok(true);
        };
        let poison = Uuid::from_u128(self.input.run.as_u128() ^ 1);
        // No displayname: found last of all, after the values that have to be unique.
        let invalid = json!({"externalId": format!("tmp-{poison}"), "schemas": scim::PERSON, "id": poison, "name": temporary_name(poison)});
        let entries: Vec<Cow<'_, [u8]>> = [question, invalid].map(|v| Cow::Owned(v.to_string().into_bytes())).into();
        let refusal = self.sender.probe(&entries.into())?;
        // Anything but a clean bill means that this entry is not the one.
        Ok(refusal.fault != Fault::Other)
    }

    fn question(&self, item: Item, value: &Unique) -> Option<Value> {
        let uuid = self.uuid(item);
        if let Unique::Dn(dn) = value {
            return Some(json!({"externalId": dn, "schemas": [], "id": uuid}));
        }
        let person = item.kind(self.input)? == Kind::Person;
        let posix = matches!(value, Unique::Gid(_));
        let schemas = match (person, posix) {
            (true, false) => scim::PERSON,
            (true, true) => scim::POSIX_PERSON,
            (false, false) => scim::GROUP,
            (false, true) => scim::POSIX_GROUP,
        };
        let mut entry = json!({"externalId": format!("tmp-{uuid}"), "schemas": schemas, "id": uuid, "name": temporary_name(uuid)});
        let object = entry.as_object_mut()?;
        if person {
            object.insert("displayname".to_owned(), "-".into());
        }
        match value {
            Unique::Name(name) => object.insert("name".to_owned(), name.as_str().into()),
            Unique::Gid(number) => object.insert("gidnumber".to_owned(), (*number).into()),
            Unique::Mail(address) if person => object.insert("mail".to_owned(), json!([{"value": address, "primary": true}])),
            Unique::Dn(_) | Unique::Mail(_) => return None,
        };
        Some(entry)
    }

    /// Gives a set of entries temporary values, then their own.
    fn stage(&mut self, candidates: &[Candidate], set: &[usize]) -> Result<(), UploadError> {
        let members: Vec<&Candidate> = set.iter().filter_map(|i| candidates.get(*i)).collect();
        let attributes: BTreeSet<Attribute> = members.iter().flat_map(|c| &c.wants).map(|(value, _)| value.attribute()).collect();
        let items: Vec<Item> = members.iter().map(|c| c.item).collect();
        let entries: Vec<Cow<'_, [u8]>> = items.iter().map(|i| Cow::Owned(self.staged(*i, &attributes))).collect();
        // Entries that are not touched by any later increment would keep their temporary names.
        self.sender.repair_in_full();
        match self.sender.send_whole(&entries.into(), &Retention::Ignore, Leave::Interim)? {
            Sent::Applied(_) => {
                self.sender.report.staged = self.sender.report.staged.saturating_add(items.len() as u64);
                log::debug!("{} entries have temporary values, because their new ones collide with one another", items.len());
                self.write_late(&items)
            }
            Sent::Refused(refusal) => {
                log::debug!("entries that swap values are refused temporary ones: {}", refusal.answer);
                Ok(())
            }
            Sent::TooMuch(error) => Err(UploadError::Kanidm { doing: "giving temporary values to entries that collide", error }),
        }
    }

    /// The content of an entry with temporary values for the given attributes. The DN alone takes no content.
    fn staged(&self, item: Item, attributes: &BTreeSet<Attribute>) -> Vec<u8> {
        let uuid = self.uuid(item);
        if attributes.iter().all(|a| *a == Attribute::Dn) {
            return stub(uuid, Some(&temporary_id(uuid)));
        }
        let mut entry: Map<String, Value> = serde_json::from_slice(&self.rendered(item, Form::Full)).unwrap_or_default();
        entry.insert("externalId".to_owned(), format!("tmp-{uuid}").into());
        for attribute in attributes {
            match attribute {
                Attribute::Dn => {}
                Attribute::Name => {
                    entry.insert("name".to_owned(), temporary_name(uuid).into());
                }
                Attribute::Gid => {
                    if entry.contains_key("gidnumber") {
                        entry.insert("gidnumber".to_owned(), temporary_gid(uuid).into());
                    }
                }
                Attribute::Mail => {
                    entry.remove("mail");
                }
            }
        }
        Value::Object(entry).to_string().into_bytes()
    }

    /// What could not be solved is held, with both sides as far as they are known.
    fn hold_the_rest(&mut self, candidates: &[Candidate]) -> Result<(), UploadError> {
        // Staged ones that were refused after all are back on the list.
        let again: Vec<(Item, Refusal)> = std::mem::take(&mut self.collided);
        let written: BTreeSet<usize> = self.sender.report.written.iter().copied().collect();
        for candidate in candidates {
            let Item::Record(at) = candidate.item else { continue };
            if written.contains(&at) || self.is_held(candidate.item) {
                continue;
            }
            let mut reason = if candidate.wants.is_empty() {
                self.words(candidate.item, &candidate.refusal)
            } else {
                let sides: Vec<String> = candidate.wants.iter().map(|(value, holder)| self.sides(candidates, value, *holder)).collect();
                format!("{} (status {})", sides.join("; "), candidate.refusal.answer.status)
            };
            if again.iter().any(|(item, _)| *item == candidate.item) {
                reason.push_str("; it may have a temporary name until then");
            }
            self.hold(candidate.item, Form::Full, reason, Fault::Conflict)?;
        }
        Ok(())
    }

    fn is_held(&self, item: Item) -> bool {
        let uuid = self.uuid(item);
        self.sender.report.held.iter().any(|h| h.uuid == uuid)
    }

    fn sides(&self, candidates: &[Candidate], value: &Unique, holder: Option<usize>) -> String {
        let other = match holder.and_then(|i| candidates.get(i)) {
            Some(candidate) if !candidate.gives_up(value) => {
                let dn = self.dn(candidate.item);
                return format!(
                    "{} is that of {dn}, which is to have none, and Kanidm takes it from nobody who gets no other",
                    value.words()
                );
            }
            Some(candidate) => Some(self.dn(candidate.item)),
            None => {
                self.sender.report.written.iter().map(|at| Item::Record(*at)).find(|i| self.values(*i).contains(value)).map(|i| self.dn(i))
            }
        };
        match other {
            Some(dn) => format!("{} is already that of {dn}", value.words()),
            None => format!(
                "{} is already that of an entry which this run does not touch; if that one is gone from the directory, `--full-refresh` removes it",
                value.words()
            ),
        }
    }

    /// The values of an entry that no other may have.
    fn values(&self, item: Item) -> Vec<Unique> {
        unique::values(&self.rendered(item, Form::Full))
    }
}

/// Sets of candidates in which every wanted value is held within the set and wanted once; connected ones together.
fn solvable_sets(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    let alone = |c: &Candidate| {
        let others = || candidates.iter().filter(|o| o.item != c.item);
        c.wants.iter().all(|(value, _)| others().all(|o| !o.values.contains(value)))
    };
    let gives_up = |holder: usize, value: &Unique| candidates.get(holder).is_some_and(|c| c.gives_up(value));
    let mut solvable: Vec<bool> = candidates.iter().map(|c| !c.wants.is_empty() && alone(c)).collect();
    let is = |solvable: &[bool], i: usize| solvable.get(i).copied().unwrap_or(false);
    loop {
        let next: Vec<bool> = candidates
            .iter()
            .enumerate()
            .map(|(i, c)| {
                is(&solvable, i) && c.wants.iter().all(|(value, holder)| holder.is_some_and(|h| is(&solvable, h) && gives_up(h, value)))
            })
            .collect();
        if next == solvable {
            break;
        }
        solvable = next;
    }
    // The smaller label wins until nothing changes: candidates are few.
    let mut label: Vec<usize> = (0..candidates.len()).collect();
    loop {
        let mut changed = false;
        for (i, candidate) in candidates.iter().enumerate().filter(|(i, _)| is(&solvable, *i)) {
            for holder in candidate.wants.iter().filter_map(|(_, holder)| *holder) {
                let (Some(a), Some(b)) = (label.get(i).copied(), label.get(holder).copied()) else { continue };
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
    let members = |l: usize| label.iter().enumerate().filter(|(i, x)| **x == l && is(&solvable, *i)).map(|(i, _)| i).collect::<Vec<_>>();
    (0..candidates.len()).map(members).filter(|set| !set.is_empty()).collect()
}
