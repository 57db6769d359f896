//! Many entries want values that are taken: by one another, which is solved in a few POSTs whatever
//! their number, or by somebody outside, which costs a few POSTs for each, and nothing more in the
//! runs that follow.

use std::collections::BTreeSet;

use kanidm_ldap_sync::content::changeset::ChangeSet;
use kanidm_ldap_sync::upload::UploadReport;
use uuid::Uuid;

use crate::basics::{active, names, stored};
use crate::jobs::{Account, Job, add_group, add_person, id, person};
use crate::support::model::Model;
use crate::support::trouble::{Trouble, Troubled};

const OUTSIDE: &str = "outside of this sync account";

/// Gives an account something of another one.
pub type Change = fn(&mut Account, &Account);

pub const CHANGES: [(&str, Change); 4] = [
    ("name", |p, q| p.name.clone_from(&q.name)),
    ("dn", |p, q| p.dn.clone_from(&q.dn)),
    ("number and address", |p, q| (p.gid, p.mail) = (q.gid, q.mail.clone())),
    ("all", |p, q| *p = Account { n: p.n, ..q.clone() }),
];

/// Each of `n` gets what the next one has.
pub fn rotated(n: u32, change: Change) -> ChangeSet {
    let mut set = ChangeSet::default();
    for at in 0..n {
        let mut one = person(at);
        change(&mut one, &person((at + 1) % n));
        add_person(&mut set, &one);
    }
    set
}

pub fn held(report: &UploadReport) -> BTreeSet<Uuid> {
    report.held.iter().map(|held| held.uuid).collect()
}

fn has_moved(model: &Model, n: u32, change: Change) {
    for at in 0..n {
        let mut wanted = person(at);
        change(&mut wanted, &person((at + 1) % n));
        let entry = &model.entries[&id(at)];
        let seen = (
            entry.text("name"),
            entry.external_id.as_deref(),
            &entry.attributes["gidnumber"],
            &entry.attributes["mail"][0]["value"],
        );
        assert_eq!(
            seen,
            (
                Some(wanted.name.as_str()),
                Some(wanted.dn.as_str()),
                &wanted.gid.into(),
                &wanted.mail.into()
            ),
            "{at}"
        );
    }
}

#[test]
fn a_renaming_of_any_size_takes_as_many_posts() {
    for (what, change) in CHANGES {
        for names_conflicts in [false, true] {
            for n in [10, 60, 400] {
                let mut model = active(&(0..n + 20).map(person).collect::<Vec<_>>());
                model.names_conflicts = names_conflicts;
                let others: Vec<Uuid> = (n..n + 20).map(id).collect();
                let report = Job { others: &others, ..Job::new(&rotated(n, change)) }
                    .run(&mut model)
                    .unwrap();
                assert_eq!(
                    held(&report),
                    BTreeSet::new(),
                    "{n}, {what}: {:#?}",
                    report.held.first()
                );
                has_moved(&model, n, change);
                assert!(report.posts < 80, "{n}, {what}: {} POSTs", report.posts);
            }
        }
    }
}

#[test]
fn in_chunks_it_takes_as_many_posts_as_there_are_chunks() {
    let mut posts = Vec::new();
    for n in [100, 200, 400] {
        let mut model = active(&(0..n).map(person).collect::<Vec<_>>());
        let set = rotated(n, CHANGES[3].1);
        let report =
            Job { limits: crate::jobs::limits(25), ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!(held(&report), BTreeSet::new());
        has_moved(&model, n, CHANGES[3].1);
        posts.push(report.posts);
    }
    assert!(posts[2] < 8 * 400 / 25 + 100, "{posts:?}");
}

/// Groups that pass their names round with persons, and who is a member is told by DN.
#[test]
fn members_are_those_that_the_directory_names() {
    let mut model = active(&(0..12).map(person).collect::<Vec<_>>());
    let mut set = rotated(12, CHANGES[3].1);
    add_group(&mut set, 100, &(0..12).map(|n| person(n).dn).collect::<Vec<_>>());
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(held(&report), BTreeSet::new());
    assert_eq!(model.entries[&id(100)].members, (0..12).map(id).collect());
}

#[test]
fn who_wants_a_strangers_name_keeps_the_own_one_and_the_others_move() {
    for names_conflicts in [false, true] {
        let mut model = active(&(0..63).map(person).collect::<Vec<_>>());
        model.names_conflicts = names_conflicts;
        model.foreign_names.extend(["local1", "local2", "local3"].map(str::to_owned));
        let mut set = rotated(60, CHANGES[0].1);
        for (n, name) in (60..).zip(["local1", "local2", "local3"]) {
            add_person(&mut set, &Account { name: name.to_owned(), ..person(n) });
        }
        let report = Job { full: true, ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!(held(&report), (60..63).map(id).collect());
        has_moved(&model, 60, CHANGES[0].1);
        assert_eq!(names(&model), (0..63).map(|n| person(n).name).collect());
        assert!(
            report
                .held
                .iter()
                .all(|held| held.reason.contains("the name \"") && held.reason.contains(OUTSIDE)),
            "{:#?}",
            report.held
        );
        assert!(report.posts < 150, "{}", report.posts);
    }
}

/// A ring in which one wants what somebody outside has, and so nobody can move.
#[test]
fn nobody_is_left_with_a_temporary_name() {
    // Somebody who is not of this sync account, one of ours that is held, one of ours that is as it
    // was.
    for outside in ["stranger", "held", "unchanged"] {
        for n in [7, 12, 70] {
            let mut model = active(&(0..n + 1).map(person).collect::<Vec<_>>());
            model.foreign_names.insert("admin".to_owned());
            let mut set = rotated(n - 1, CHANGES[0].1);
            let name = if outside == "stranger" { "admin".to_owned() } else { person(n).name };
            add_person(&mut set, &Account { name, ..person(n - 1) });
            // The last of the ring wants the name of the one who stays.
            let mut ring = ChangeSet::default();
            (0..n - 2).for_each(|at| {
                add_person(&mut ring, &Account { name: person(at + 1).name, ..person(at) })
            });
            add_person(&mut ring, &Account { name: person(n - 1).name, ..person(n - 2) });
            let name = if outside == "stranger" { "admin".to_owned() } else { person(n).name };
            add_person(&mut ring, &Account { name, ..person(n - 1) });
            let stubs = [(id(n), person(n).dn)];
            let stubs = if outside == "held" { &stubs[..] } else { &[] };
            let report =
                Job { stubs, others: &[id(n)], ..Job::new(&ring) }.run(&mut model).unwrap();
            assert_eq!(held(&report).len(), n as usize, "{outside} {n}");
            assert_eq!(
                names(&model),
                (0..n + 1).map(|n| person(n).name).collect(),
                "{outside} {n}"
            );
            assert!(report.posts < 500, "{outside} {n}: {}", report.posts);
        }
    }
}

/// One of them has a bad value too, which a taken one hides.
#[test]
fn bad_values_among_them_stop_nobody_else() {
    let mut model = active(&(0..30).map(person).collect::<Vec<_>>());
    let mut set = rotated(20, CHANGES[0].1);
    for n in 20..30 {
        add_person(
            &mut set,
            &Account { bad: n == 25, name: person(20 + (n - 19) % 10).name, ..person(n) },
        );
    }
    let report = Job::new(&set).run(&mut model).unwrap();
    has_moved(&model, 20, CHANGES[0].1);
    assert_eq!(names(&model), (0..30).map(|n| person(n).name).collect());
    assert!(held(&report).contains(&id(25)), "{:#?}", report.held);
}

#[test]
fn without_an_answer_of_the_directory_nobody_is_renamed() {
    let mut model = active(&(0..60).map(person).collect::<Vec<_>>());
    let set = rotated(60, CHANGES[0].1);
    let report = Job { knows_everyone: false, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!((held(&report).len(), report.staged), (60, 0));
    assert!(
        report.held.iter().all(|held| held.reason.contains("`--full-refresh`")),
        "{:#?}",
        report.held[0]
    );
    // The next run is a full one, and has the list by itself.
    assert!(stored(&model).unfinished.is_some_and(|unfinished| unfinished.full));
    let report = Job { full: true, cookie: "newer", knows_everyone: false, ..Job::new(&set) }
        .run(&mut model)
        .unwrap();
    assert_eq!((held(&report).len(), stored(&model).unfinished), (0, None));
    has_moved(&model, 60, CHANGES[0].1);
}

/// Killed at every POST; the next run is a full one where temporary values are left, and ends well.
#[test]
fn whoever_is_killed_in_between_is_repaired() {
    let set = rotated(12, CHANGES[3].1);
    for trouble in [Trouble::KilledBefore, Trouble::KilledAfter] {
        let mut finished = false;
        for at in 0..100 {
            let mut server = Troubled::new(active(&(0..12).map(person).collect::<Vec<_>>()));
            server.trouble.insert(at, trouble);
            finished = Job::new(&set).run(&mut server).is_ok();
            let temporary = names(&server.server).iter().any(|name| name.starts_with("tmp-"));
            let full = stored(&server.server).unfinished.is_some_and(|unfinished| unfinished.full);
            assert!(full || !temporary, "{at}");
            server.trouble.clear();
            let report = Job { full, ..Job::new(&set) }.run(&mut server).unwrap();
            assert_eq!(held(&report), BTreeSet::new(), "{at}");
            has_moved(&server.server, 12, CHANGES[3].1);
            if finished {
                break;
            }
        }
        assert!(finished);
    }
}

/// Every fifth name is one of Kanidm's own accounts.
fn migration(names_conflicts: bool, n: u32) -> (Model, ChangeSet) {
    let (mut model, mut set) = (active(&[]), ChangeSet::default());
    model.names_conflicts = names_conflicts;
    for at in 0..n {
        add_person(&mut set, &person(at));
        if at % 5 == 3 {
            model.foreign_names.insert(person(at).name);
        }
    }
    (model, set)
}

#[test]
fn names_that_kanidm_has_cost_a_few_posts_each_and_then_next_to_nothing() {
    for (names_conflicts, each, later) in [(true, 7, 1), (false, 8, 2)] {
        for n in [50, 250, 1_000] {
            let (mut model, set) = migration(names_conflicts, n);
            model.state = None;
            let taken: BTreeSet<Uuid> = (0..n).filter(|at| at % 5 == 3).map(id).collect();
            let report = Job { full: true, ..Job::new(&set) }.run(&mut model).unwrap();
            assert_eq!(
                (held(&report), report.written.len()),
                (taken.clone(), n as usize - taken.len())
            );
            assert!(
                report.held.iter().all(|held| held.reason.contains("the name \"user")),
                "{:#?}",
                report.held.first()
            );
            assert!(
                report.posts <= each * taken.len() as u64 + 25,
                "{} of {n}: {} POSTs",
                taken.len(),
                report.posts
            );
            assert_eq!(stored(&model).cookie.as_deref(), Some(&b"new"[..]));

            // The next run: they are read again, with one that is new.
            let mut again = ChangeSet::default();
            (0..n).filter(|at| at % 5 == 3).for_each(|at| add_person(&mut again, &person(at)));
            add_person(&mut again, &person(n));
            let next = Job {
                tried_before: taken.iter().copied().collect(),
                cookie: "newer",
                ..Job::new(&again)
            };
            let report = next.run(&mut model).unwrap();
            assert_eq!((held(&report).len(), report.written.len()), (taken.len(), 1));
            assert!(
                report.posts <= later * taken.len().min(50) as u64 + 4,
                "{} of {n}: {} POSTs",
                taken.len(),
                report.posts
            );

            // And one in which nothing has changed.
            let mut again = ChangeSet::default();
            (0..n).filter(|at| at % 5 == 3).for_each(|at| add_person(&mut again, &person(at)));
            let idle = Job {
                tried_before: taken.iter().copied().collect(),
                cookie: "newest",
                ..Job::new(&again)
            };
            let report = idle.run(&mut model).unwrap();
            assert_eq!((held(&report).len(), report.written.len()), (taken.len(), 0));
            assert!(report.posts <= 16, "{} of {n}: {} POSTs", taken.len(), report.posts);
        }
    }
}
