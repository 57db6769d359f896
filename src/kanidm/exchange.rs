//! Many entries of a run that pass values round: a new scheme of names, a renumbering.
//!
//! Scope: writing them in as many POSTs as they take, not as many as there are. Kanidm compares
//! every value of a POST with what was stored before it, so all of them get temporary values
//! first and their own ones then. An entry that wants a value of somebody outside must not take
//! part: it would lose the name it has. The names that entries have in Kanidm cannot be read, so
//! Kanidm is asked as if the entries were gone: strangers who bring their values are refused only
//! what somebody else has ([`Sender::question_from_refresh`](super::send::Sender)).
//!
//! DNs are no part of that question, since Kanidm sets them before it deletes. They are settled
//! before it: nobody logs in by a DN, so they may be temporary in any entry.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::bisect::{self, Flow};
use super::error::Fault;
use super::first::temporary_id;
use super::item::{Form, Item, stub};
use super::request::{Entries, Retention};
use super::scim;
use super::send::{Leave, Sent};
use super::unique::{Attribute, Unique, temporary_gid, temporary_name};
use super::upload::UploadError;
use super::write::{Together, Writer};
use crate::sync::changeset::Kind;

/// Maximum questions, and the time for them is that for one POST: each takes as long as a write.
const QUESTIONS: usize = 128;
/// After so many outsiders it is estimated how many questions the rest would take.
const SAMPLE: usize = 4;

const ALL: &[Attribute] = &[Attribute::Dn, Attribute::Name, Attribute::Gid, Attribute::Mail];

/// Why a search for outsiders ends.
enum End {
    Failed(UploadError),
    /// Kanidm does not say, or it would take too long.
    Unknown,
}

impl From<UploadError> for End {
    fn from(error: UploadError) -> Self {
        End::Failed(error)
    }
}

impl Writer<'_> {
    /// Writes those of `items` that want values of one another only, and returns the others. Nothing if it cannot be found out which these
    /// are: then none was written.
    pub(super) fn exchange(&mut self, items: &[Item]) -> Result<Option<Vec<Item>>, UploadError> {
        match self.try_exchange(items) {
            Ok(others) => Ok(Some(others)),
            Err(End::Unknown) => Ok(None),
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn try_exchange(&mut self, items: &[Item]) -> Result<Vec<Item>, End> {
        if !self.sender.is_guarded()? {
            return Err(End::Unknown);
        }
        let everyone_else = self.everyone_else(items)?;
        let numbers = self.temporary_numbers();
        let mut others = self.with_shared_values(items);
        others.extend(self.invalid_ones(items, numbers)?);
        others.extend(self.settle_dns(items)?);
        let mut part: Vec<Item> = items.iter().copied().filter(|item| !others.contains(item)).collect();
        let mut asked = Asked { absent: HashSet::new(), number: 0, begun: self.sender.now() };
        loop {
            let kept: Vec<Uuid> = everyone_else.iter().copied().chain(others.iter().map(|item| self.uuid(*item))).collect();
            let found = self.outsiders(&part, kept, &mut asked)?;
            if found.is_empty() {
                break;
            }
            part.retain(|item| !found.contains(item));
            // What they keep may be what another one wants: in either direction.
            part.reverse();
            others.extend(found);
        }
        // Persons before groups again.
        part = items.iter().copied().filter(|item| !others.contains(item)).collect();
        let part = self.write_what_is_free(&part)?;
        if !part.is_empty() {
            self.give_temporary_values(&part, numbers)?;
            self.late(true, |this| this.attempt_in_chunks(&part, Form::Full, false))?;
        }
        Ok(items.iter().copied().filter(|item| others.contains(item)).collect())
    }

    /// Writes those that need no other one's value, chunk by chunk, and returns the others.
    fn write_what_is_free(&mut self, part: &[Item]) -> Result<Vec<Item>, End> {
        let (mut left, mut rest) = (Vec::new(), part);
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.fit(rest));
            if let Together::Taken(_) = self.late(true, |this| this.together(chunk, Form::Full, false))? {
                left.extend(chunk);
            }
            rest = more;
        }
        Ok(left)
    }

    /// Entries that want the same value as another one of them: only one can have it, be it free or not.
    fn with_shared_values(&self, items: &[Item]) -> HashSet<Item> {
        let values: Vec<Vec<Unique>> = items.iter().map(|item| self.values(*item)).collect();
        let mut number: HashMap<&Unique, usize> = HashMap::new();
        values.iter().flatten().for_each(|value| *number.entry(value).or_default() += 1);
        let shares = |values: &&Vec<Unique>| values.iter().any(|value| number.get(value) != Some(&1));
        items.iter().zip(&values).filter(|(_, values)| shares(values)).map(|(item, _)| *item).collect()
    }

    /// UUIDs in Kanidm of all entries of this sync account but `items`.
    fn everyone_else(&mut self, items: &[Item]) -> Result<Vec<Uuid>, End> {
        let absent = self.sender.report.held.iter().filter(|held| held.is_absent).map(|held| held.uuid);
        let not: HashSet<Uuid> = items.iter().map(|item| self.uuid(*item)).chain(absent).collect();
        let all: Vec<Uuid> = match self.input.full {
            true => self.input.changes.records().iter().map(|r| r.uuid).chain(self.input.stubs.iter().map(|(uuid, _)| *uuid)).collect(),
            false => (self.input.everyone)().ok_or(End::Unknown)?,
        };
        let all: BTreeSet<Uuid> = all.into_iter().filter(|uuid| !not.contains(uuid)).collect();
        Ok(all.into_iter().collect())
    }

    /// Temporary numbers: so many from here on.
    fn temporary_numbers(&self) -> u32 {
        temporary_gid(self.input.run)
    }

    /// Those that Kanidm would not take with temporary values either. It is shown all of them, and refuses the POST for another reason in the
    /// end: the deletion of an account of its own.
    fn invalid_ones(&mut self, items: &[Item], numbers: u32) -> Result<Vec<Item>, End> {
        let (mut found, mut rest) = (Vec::new(), items);
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.fit(rest));
            let this = RefCell::new(&mut *self);
            let is_clean = |range: Range<usize>| {
                let mut this = this.borrow_mut();
                let entries: Vec<Cow<'_, [u8]>> =
                    chunk.get(range).unwrap_or_default().iter().map(|item| Cow::Owned(this.staged(*item, ALL, numbers))).collect();
                match this.sender.question_of_validity(&entries.into())?.ok_or(End::Unknown)?.fault {
                    Fault::Foreign => Ok(true),
                    Fault::Other => Ok(false),
                    // Temporary values that are taken.
                    Fault::Conflict | Fault::Masked => Err(End::Unknown),
                }
            };
            bisect::culprits(chunk.len(), false, &is_clean, |at, alone| {
                if alone || !is_clean(at..at.saturating_add(1))? {
                    found.extend(chunk.get(at));
                }
                Ok(Flow::Continue(()))
            })?;
            rest = more;
        }
        Ok(found)
    }

    /// Of those that are kept, the ones that Kanidm does not let anybody list: they are in the recycle bin, or not of this sync account.
    fn absent(&mut self, all: &[Uuid]) -> Result<HashSet<Uuid>, End> {
        let mut absent = HashSet::new();
        let this = RefCell::new(self);
        let lists = |range: Range<usize>| {
            let stubs = all.get(range).unwrap_or_default().iter().map(|uuid| stub(*uuid, None));
            let mut this = this.borrow_mut();
            let entries: Vec<Cow<'_, [u8]>> = stubs.chain([this.invalid()]).map(Cow::Owned).collect();
            let refusal = this.sender.question(&entries.into())?.ok_or(End::Unknown)?;
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
        let named: Vec<Cow<'_, [u8]>> =
            items.iter().map(|item| item.render(self.input, Form::Named).into_owned()).chain([self.invalid()]).map(Cow::Owned).collect();
        if self.sender.question(&named.into())?.ok_or(End::Unknown)?.fault != Fault::Conflict {
            return Ok(Vec::new());
        }
        self.sender.repair_in_full();
        let stubs = items.iter().map(|item| stub(self.uuid(*item), Some(&temporary_id(self.uuid(*item))))).collect();
        self.send_all(stubs)?;
        self.attempt_in_chunks(items, Form::Named, false)?;
        Ok(items.iter().copied().filter(|item| !self.has_its_dn(*item)).collect())
    }

    /// Those of `part` that want a value of somebody else, where `kept` and those that are found keep theirs and all others of `part` give
    /// theirs up.
    fn outsiders(&mut self, part: &[Item], kept: Vec<Uuid>, asked: &mut Asked) -> Result<Vec<Item>, End> {
        let values: Vec<Vec<Unique>> = part.iter().map(|item| self.values(*item)).collect();
        let is_number = |value: &Unique| value.attribute() == Attribute::Gid;
        // Kanidm keeps the number of an entry that gets no other.
        let numberless = part.iter().zip(&values).filter(|(_, values)| !values.iter().any(is_number)).map(|(item, _)| self.uuid(*item));
        let keep_numbers: Vec<Uuid> = kept.iter().copied().chain(numberless).collect();
        let apart = keep_numbers.len() > kept.len() && keep_numbers.len() < kept.len().saturating_add(part.len());
        let (mut found, before) = (Vec::new(), asked.number);
        let this = RefCell::new((self, asked, kept, keep_numbers));
        let is_clean = |range: Range<usize>| {
            let (this, asked, kept, keep_numbers) = &mut *this.borrow_mut();
            let strangers = part.get(range.clone()).unwrap_or_default().iter().zip(values.get(range).unwrap_or_default());
            let strangers: Vec<(Item, &Vec<Unique>)> = strangers.map(|(item, values)| (*item, values)).collect();
            if !apart {
                return this.are_free(&strangers, kept, |_| true, asked);
            }
            Ok(this.are_free(&strangers, kept, |value| !is_number(value), asked)?
                && this.are_free(&strangers, keep_numbers, is_number, asked)?)
        };
        bisect::culprits(part.len(), false, &is_clean, |at, alone| {
            if let (Some(item), true) = (part.get(at), alone || !is_clean(at..at.saturating_add(1))?) {
                found.push(*item);
                let (this, _, kept, keep_numbers) = &mut *this.borrow_mut();
                let uuid = this.uuid(*item);
                kept.push(uuid);
                keep_numbers.push(uuid);
            }
            // As many questions for the rest as for these.
            let number = this.borrow().1.number.saturating_sub(before);
            let expected = number.saturating_mul(part.len()) / at.saturating_add(1);
            if found.len() >= SAMPLE && expected > QUESTIONS { Err(End::Unknown) } else { Ok(Flow::Continue(())) }
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
        asked.number = asked.number.saturating_add(1);
        let time: Duration = self.sender.now().saturating_sub(asked.begun);
        if asked.number > QUESTIONS || time > self.input.limits.timeout {
            return Err(End::Unknown);
        }
        let run = self.input.run.as_u128();
        let kept: Vec<Uuid> = kept.iter().copied().filter(|uuid| !asked.absent.contains(uuid)).collect();
        let strangers_with = strangers;
        let strangers = (2_u128..).zip(strangers_with).filter_map(|(n, (item, values))| {
            let values: Vec<&Unique> = values.iter().filter(|value| which(value)).collect();
            stranger(Uuid::from_u128(run ^ (n << 16)), item.kind(self.input)?, &values)
        });
        let strangers: Vec<Vec<u8>> = strangers.chain([self.invalid()]).collect();
        let entries = Entries::new(kept.len().saturating_add(strangers.len()), |at| match kept.get(at) {
            Some(uuid) => Cow::Owned(stub(*uuid, None)),
            None => Cow::Borrowed(strangers.get(at.saturating_sub(kept.len())).map(Vec::as_slice).unwrap_or_default()),
        });
        match self.sender.question_from_refresh(&entries)?.ok_or(End::Unknown)?.fault {
            Fault::Conflict => Ok(false),
            Fault::Other => Ok(true),
            Fault::Masked | Fault::Foreign if asked.absent.is_empty() => {
                asked.absent = self.absent(&kept)?;
                if asked.absent.is_empty() { Err(End::Unknown) } else { self.are_free(strangers_with, &kept, which, asked) }
            }
            Fault::Masked | Fault::Foreign => Err(End::Unknown),
        }
    }

    /// An entry that Kanidm refuses last of all, after it has compared values: it has no display name.
    pub(super) fn invalid(&self) -> Vec<u8> {
        let uuid = Uuid::from_u128(self.input.run.as_u128() ^ 1);
        let entry = json!({"externalId": format!("tmp-{uuid}"), "schemas": scim::PERSON, "id": uuid, "name": temporary_name(uuid)});
        entry.to_string().into_bytes()
    }

    fn give_temporary_values(&mut self, items: &[Item], numbers: u32) -> Result<(), End> {
        // Entries that no later increment touches would keep them.
        self.sender.repair_in_full();
        self.staged.extend(items);
        self.send_all(items.iter().map(|item| self.staged(*item, ALL, numbers)).collect())?;
        self.sender.report.staged = self.sender.report.staged.saturating_add(items.len() as u64);
        log::debug!("{} entries have temporary values, because they pass their values round", items.len());
        Ok(())
    }

    /// Sends entries in chunks, all of which Kanidm has to take.
    fn send_all(&mut self, entries: Vec<Vec<u8>>) -> Result<(), End> {
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(self.batch.fit(rest.iter().map(Vec::len)).clamp(1, rest.len()));
            let entries = Entries::new(chunk.len(), |at| chunk.get(at).map_or_else(Cow::default, |entry| Cow::Borrowed(entry.as_slice())));
            match self.sender.send_whole(&entries, &Retention::Ignore, Leave::Interim)? {
                Sent::Applied(_) => rest = more,
                Sent::Refused(refusal) => {
                    log::debug!("entries that pass values round are refused temporary ones: {}", refusal.answer);
                    return Err(End::Unknown);
                }
                Sent::TooMuch(_) if chunk.len() > 1 => self.batch.too_much(chunk.len(), chunk.iter().map(Vec::len).sum()),
                Sent::TooMuch(error) => return Err(UploadError::Kanidm { doing: "giving an entry temporary values", error }.into()),
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
            Unique::Mail(address) => mails.push(json!({"value": address, "primary": mails.is_empty()})),
        }
    }
    if !mails.is_empty() {
        object.insert("mail".to_owned(), mails.into());
    }
    Some(entry.to_string().into_bytes())
}
