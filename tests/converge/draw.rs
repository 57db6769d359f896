//! Draws a course from a seed.

use crate::course::{Broken, Change, Course, Event, Label, Run, ServerKind, Value};
use crate::directory::{HIDEABLE, JUNK, OUTSIDE};
use crate::support::random::Random;
use crate::support::trouble::Trouble;

/// What the drawing knows of the directory: enough to choose what there is, more often than not.
struct Draw {
    random: Random,
    next: Label,
    persons: Vec<Label>,
    groups: Vec<Label>,
    gone: Vec<Label>,
}

/// The course of a seed.
pub fn course(seed: u64) -> Course {
    let mut draw = Draw {
        random: Random::seeded(seed),
        next: 10,
        persons: vec![],
        groups: vec![],
        gone: vec![],
    };
    let server = draw.random.of(&[
        ServerKind::Slapd(Some(100)),
        ServerKind::Slapd(Some(100)),
        ServerKind::Slapd(Some(6)),
        ServerKind::Slapd(None),
        ServerKind::Ds389,
    ]);
    let (refint, names_conflicts) = (!draw.random.one_in(4), draw.random.one_in(2));
    let mut events = Vec::new();
    let entries = if draw.random.one_in(3) { 30 } else { 8 };
    for _ in 0..3 + draw.random.below(entries) {
        let change = if draw.random.one_in(4) { draw.new_group() } else { draw.new_person() };
        events.push(Event::Change(change));
    }
    for _ in 0..draw.random.below(8) {
        events.push(Event::Change(draw.change()));
    }
    let rounds = 1 + draw.random.below(6);
    for _ in 0..rounds {
        if draw.random.one_in(8) {
            events.push(Event::Filter(draw.random.below(3)));
        }
        if draw.random.one_in(8) {
            events.push(Event::Policy(draw.random.below(3)));
        }
        if draw.random.one_in(12) {
            events.push(Event::ForceRefresh);
        }
        events.push(Event::Run(draw.run()));
        let changes = if draw.random.one_in(10) { 40 } else { 10 };
        for _ in 0..draw.random.below(changes) {
            events.push(Event::Change(draw.change()));
        }
    }
    Course { server, refint, names_conflicts, events }
}

impl Draw {
    fn fresh(&mut self) -> Label {
        self.next += 1;
        self.next
    }

    fn new_person(&mut self) -> Change {
        let label = self.fresh();
        self.persons.push(label);
        Change::Person(label)
    }

    fn new_group(&mut self) -> Change {
        let label = self.fresh();
        self.groups.push(label);
        Change::Group(label)
    }

    fn person(&mut self) -> Label {
        if self.persons.is_empty() { 11 } else { self.random.of(&self.persons) }
    }

    fn group(&mut self) -> Label {
        if self.groups.is_empty() { 11 } else { self.random.of(&self.groups) }
    }

    fn any(&mut self) -> Label {
        if self.random.one_in(4) { self.group() } else { self.person() }
    }

    fn change(&mut self) -> Change {
        let (one, person, group) = (self.any(), self.person(), self.group());
        match self.random.below(44) {
            0..=2 => self.new_person(),
            3 => self.new_group(),
            4 if self.random.one_in(3) => {
                let label = self.fresh();
                self.groups.push(label);
                Change::PrivateGroup(label, person)
            }
            4..=6 => {
                self.gone.push(one);
                self.persons.retain(|l| *l != one);
                self.groups.retain(|l| *l != one);
                Change::Delete(one)
            }
            7 => {
                let new = self.fresh();
                for list in [&mut self.persons, &mut self.groups] {
                    list.iter_mut().filter(|l| **l == one).for_each(|l| *l = new);
                }
                Change::Recreate(one, new)
            }
            8 | 9 => Change::Display(one),
            10 => Change::Mail(person, self.value(person)),
            11 => Change::Gid(person, self.value(person)),
            12 | 13 => Change::Name(one, self.value(one)),
            14 | 15 => Change::Rename(one, self.value(one)),
            16..=18 => {
                let what = self.random.of(&[
                    Value::Name,
                    Value::Dn,
                    Value::Mail,
                    Value::Gid,
                    Value::NameAndDn,
                ]);
                let labels = (0..2 + self.random.below(3))
                    .map(|_| if self.random.one_in(4) { self.any() } else { self.person() });
                Change::Rotate(what, labels.collect())
            }
            19 => {
                let ous = if self.random.one_in(3) { OUTSIDE + 1 } else { OUTSIDE };
                Change::Move(one, self.random.below(ous))
            }
            20 if self.random.one_in(4) => {
                Change::RenameOu(self.random.below(OUTSIDE + 1), self.next)
            }
            20..=25 => {
                let members = (0..self.random.below(6)).map(|_| self.any()).collect();
                Change::Members(group, members)
            }
            26 => Change::OddMember(group, person),
            27 => {
                let of = self.value(one);
                Change::MemberDn(group, of)
            }
            28 => Change::Leave(one),
            29 => Change::Enter(one),
            30 => Change::Lock(person, self.random.one_in(2)),
            31 | 32 => {
                let what = self.random.of(&[
                    Broken::Password,
                    Broken::Mail,
                    Broken::Gid,
                    Broken::Name,
                    Broken::Display,
                    Broken::Taken,
                ]);
                Change::Break(one, what)
            }
            33 | 34 => Change::Mend(one),
            35 | 36 => Change::Mark(person, self.random.one_in(2)),
            37 => {
                let alias = self.fresh();
                Change::Alias(one, alias)
            }
            38 => Change::GroupGid(group, person),
            39 => Change::Hide(self.random.below(HIDEABLE.len()), true),
            40 => Change::Hide(self.random.below(HIDEABLE.len()), false),
            41 | 42 => Change::Insider(person, self.random.below(JUNK.len())),
            _ if self.random.one_in(2) => Change::Restart,
            _ => self.new_person(),
        }
    }

    /// A label whose values may be taken: its own again, a new one, that of another entry, or of
    /// one that is gone.
    fn value(&mut self, own: Label) -> Label {
        match self.random.below(6) {
            0 => own,
            1 => self.any(),
            2 if !self.gone.is_empty() => self.random.of(&self.gone),
            _ => self.fresh(),
        }
    }

    fn run(&mut self) -> Run {
        let r = &mut self.random;
        let mut run = Run {
            full: r.one_in(6),
            max_entries: if r.one_in(2) { 1 + r.below(8) } else { 1_000 },
            max_bytes: if r.one_in(3) { 300 + r.below(3_000) } else { 1 << 20 },
            ..Run::default()
        };
        for _ in 0..r.below(4).saturating_sub(1) {
            run.trouble.push((r.below(12) as u64, r.of(&Trouble::ALL)));
        }
        run.slow = r.one_in(6).then(|| 10 + r.below(40));
        if r.one_in(6) {
            run.meanwhile = (0..1 + self.random.below(4)).map(|_| self.change()).collect();
        }
        run
    }
}
