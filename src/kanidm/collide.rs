//! Renames that collide: swaps, rotations, and names that another entry of the same run gives up.
//!
//! Kanidm compares every value of a POST that has to be unique with what was stored before it, so two entries can never swap a name in one
//! POST, nor in two. One of them needs a temporary name in between. But an entry that collides with something outside of this run must keep
//! the name it has, and Kanidm cannot be asked who has which name. It can be asked like this: a POST that gives entry *i* the value that
//! entry *j* wants is refused with a conflict, unless *i* is the one that has it. Such a POST carries an invalid entry as well, so it is
//! always refused and never changes anything (`ask`).
//!
//! Only a set of entries in which every wanted value is held within the set is given temporary values: then all of them get their own.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use super::error::Fault;
use super::first::temporary_id;
use super::item::{Form, Item, stub};
use super::request::Retention;
use super::send::{Leave, Refusal, Sent};
use super::unique::{self, Attribute, Unique, temporary_gid, temporary_name};
use super::upload::UploadError;
use super::write::Writer;

/// An entry that wants values which are taken.
pub(super) struct Candidate {
    pub(super) item: Item,
    refusal: Refusal,
    /// All its values that no other entry may have.
    values: Vec<Unique>,
    /// Of these, what it cannot have, and who has it.
    pub(super) wants: Vec<(Unique, Holder)>,
    /// Whether it may want more that is taken: not all of its values could be asked for.
    wants_more: bool,
}

/// Who has a value that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// None of the candidates, as far as they were asked for.
    Another,
    /// The candidate of this position.
    Candidate(usize),
    /// It was not looked for: too much was asked already.
    Unknown,
}

impl Candidate {
    pub(super) fn new(item: Item, refusal: Refusal, values: Vec<Unique>, wants: Vec<Unique>, wants_more: bool) -> Self {
        let wants = wants.into_iter().map(|value| (value, Holder::Another)).collect();
        Candidate { item, refusal, values, wants, wants_more }
    }

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
        self.settle_members()
    }

    /// Groups were written while DNs still meant those who give them up in this run.
    fn settle_members(&mut self) -> Result<(), UploadError> {
        let groups = std::mem::take(&mut self.written_groups);
        let sent = if self.members_late { self.send_members_again(&groups) } else { Ok(()) };
        let settled = sent.and_then(|()| self.settle_held_members(&groups));
        // Should the search be given up in here, it is done once more.
        self.written_groups = groups;
        settled
    }

    /// After the search for the entries at fault was given up: what was not written is as good as held for the groups that were.
    pub(super) fn settle_what_was_given_up(&mut self) -> Result<(), UploadError> {
        self.sender.allow_as_many_again();
        let written: BTreeSet<usize> = self.sender.report.written.iter().copied().collect();
        let held: Vec<Item> = self.order.iter().copied().filter(|i| matches!(i, Item::Record(at) if !written.contains(at))).collect();
        for item in &held {
            self.stays_open(*item, Fault::Conflict)?;
        }
        self.held = held;
        self.settle_members()
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
        // Refused together, they were written one by one: a group perhaps before its member.
        let among_them = items.len() > 1 && self.written_groups.len() > groups;
        self.members_late |= (groups > 0 || among_them) && self.sender.report.written.len() > written;
        Ok(())
    }

    fn send_members_again(&mut self, groups: &[Item]) -> Result<(), UploadError> {
        let written = self.sender.report.written.len();
        self.attempt_in_chunks(groups, Form::Full, false)?;
        // They were counted when they were written first.
        self.sender.report.written.truncate(written);
        Ok(())
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
        let owners = self.owners(candidates, &written);
        for candidate in candidates {
            let Item::Record(at) = candidate.item else { continue };
            if written.contains(&at) || self.is_held(candidate.item) {
                continue;
            }
            let mut reason = if candidate.wants.is_empty() {
                self.words(candidate.item, &candidate.refusal)
            } else {
                let sides: Vec<String> =
                    candidate.wants.iter().map(|(value, holder)| self.sides(candidates, &owners, value, *holder)).collect();
                format!("{} (status {})", sides.join("; "), candidate.refusal.answer.status)
            };
            if again.iter().any(|(item, _)| *item == candidate.item) {
                reason.push_str("; it may have a temporary name until then");
            }
            self.hold(candidate.item, Form::Full, reason, Fault::Conflict)?;
        }
        Ok(())
    }

    /// Who was written with a value that a candidate wants.
    fn owners(&self, candidates: &[Candidate], written: &BTreeSet<usize>) -> HashMap<Unique, Item> {
        let wanted: HashSet<&Unique> = candidates.iter().flat_map(|c| &c.wants).map(|(value, _)| value).collect();
        let mut owners = HashMap::new();
        if wanted.is_empty() {
            return owners;
        }
        for item in written.iter().map(|at| Item::Record(*at)) {
            owners.extend(self.values(item).into_iter().filter(|value| wanted.contains(value)).map(|value| (value, item)));
        }
        owners
    }

    fn is_held(&self, item: Item) -> bool {
        let uuid = self.uuid(item);
        self.sender.report.held.iter().any(|h| h.uuid == uuid && !h.is_partial)
    }

    fn sides(&self, candidates: &[Candidate], owners: &HashMap<Unique, Item>, value: &Unique, holder: Holder) -> String {
        let words = value.words();
        let candidate = match holder {
            Holder::Candidate(i) => candidates.get(i),
            Holder::Another | Holder::Unknown => None,
        };
        if let Some(candidate) = candidate.filter(|c| !c.gives_up(value)) {
            let dn = self.dn(candidate.item);
            return format!("{words} is that of {dn}, which is to have none, and Kanidm takes it from nobody who gets no other");
        }
        match candidate.map(|c| c.item).or_else(|| owners.get(value).copied()) {
            Some(item) => format!("{words} is already that of {}", self.dn(item)),
            None if holder == Holder::Unknown => {
                format!("{words} is already that of another entry; of which one was not asked, because too many entries collide")
            }
            None if self.input.full || is_kanidms_own(value) => {
                format!("{words} is already that of an entry outside of this sync account{}", remedy(value))
            }
            None => format!(
                "{words} is already that of an entry which this run does not touch; \
                 if that one is gone from the directory, `--full-refresh` removes it"
            ),
        }
    }

    /// The values of an entry that no other may have.
    pub(super) fn values(&self, item: Item) -> Vec<Unique> {
        unique::values(&self.rendered(item, Form::Full))
    }
}

/// Whether a name is one that every Kanidm has, for an account or group of its own.
fn is_kanidms_own(value: &Unique) -> bool {
    const PREFIXES: [&str; 3] = ["idm_", "domain_", "system_"];
    match value {
        Unique::Name(name) => ["admin", "anonymous"].contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
        Unique::Dn(_) | Unique::Gid(_) | Unique::Mail(_) => false,
    }
}

/// How the configuration gives an entry another value.
fn remedy(value: &Unique) -> &'static str {
    match value {
        Unique::Name(_) => "; give this one another name with map_name",
        Unique::Gid(_) => "; give this one another number with map_gidnumber",
        Unique::Dn(_) | Unique::Mail(_) => "",
    }
}

/// Sets of candidates in which every wanted value is held within the set, and no value is another
/// candidate's, too; connected ones together.
fn solvable_sets(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    // Of two entries with one value only one can be written, be the value free or not.
    let mut shared: HashMap<&Unique, usize> = HashMap::new();
    candidates.iter().flat_map(|c| &c.values).for_each(|value| *shared.entry(value).or_default() += 1);
    let alone = |c: &Candidate| c.values.iter().all(|value| shared.get(value) == Some(&1));
    let gives_up = |holder: usize, value: &Unique| candidates.get(holder).is_some_and(|c| c.gives_up(value));
    let mut solvable: Vec<bool> = candidates.iter().map(|c| !c.wants.is_empty() && !c.wants_more && alone(c)).collect();
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
    // The smaller label wins until nothing changes: candidates are few.
    let mut label: Vec<usize> = (0..candidates.len()).collect();
    loop {
        let mut changed = false;
        for (i, candidate) in candidates.iter().enumerate().filter(|(i, _)| is(&solvable, *i)) {
            for holder in candidate.wants.iter().filter_map(|(_, holder)| match holder {
                Holder::Candidate(h) => Some(*h),
                Holder::Another | Holder::Unknown => None,
            }) {
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
