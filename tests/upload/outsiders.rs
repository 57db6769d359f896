//! Values that pass round while others want names that are somebody else's: who is to blame keeps
//! the old values, and nobody else does.

use std::collections::BTreeSet;

use kanidm_ldap_sync::content::changeset::ChangeSet;
use kanidm_ldap_sync::kanidm::error::{Answer, KanidmError};
use kanidm_ldap_sync::kanidm::request::RequestBody;
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use kanidm_ldap_sync::upload::UploadReport;
use serde_json::Value;
use uuid::Uuid;

use crate::basics::{active, names, stored};
use crate::exchange::{CHANGES, held, rotated};
use crate::jobs::{Account, Job, add_group, add_person, id, limits, person};
use crate::support::model::Model;
use crate::support::trouble::Troubled;

/// Names go round among `n`, and `k` more want names of Kanidm's own accounts.
fn ring_and_locals(n: u32, k: u32) -> (Model, ChangeSet) {
    let mut model = active(&(0..n + k + 20).map(person).collect::<Vec<_>>());
    let mut set = rotated(n, CHANGES[0].1);
    for at in n..n + k {
        let name = format!("local{at}");
        model.foreign_names.insert(name.clone());
        add_person(&mut set, &Account { name, ..person(at) });
    }
    (model, set)
}

/// Those beside them, as the directory lists them.
fn others(from: u32) -> Vec<Uuid> {
    (from..from + 20).map(id).collect()
}

#[track_caller]
fn all_have_moved(model: &Model, n: u32) {
    for at in 0..n {
        assert_eq!(
            model.entries[&id(at)].text("name"),
            Some(person((at + 1) % n).name.as_str()),
            "{at}"
        );
    }
}

fn temporary(model: &Model) -> usize {
    names(model).iter().filter(|name| name.starts_with("tmp-")).count()
}

fn is_to_be_repeated(model: &Model) -> bool {
    stored(model).unfinished.is_some_and(|unfinished| unfinished.full)
}

#[test]
fn few_and_many_outsiders_keep_their_names_and_the_ring_moves() {
    for (n, k) in [(12, 0), (60, 3), (60, 20), (940, 30)] {
        for full in [false, true] {
            let (mut model, set) = ring_and_locals(n, k);
            let report =
                Job { full, others: &others(n + k), ..Job::new(&set) }.run(&mut model).unwrap();
            assert_eq!(held(&report), (n..n + k).map(id).collect());
            all_have_moved(&model, n);
            assert!(report.posts < 300, "{n} and {k}: {}", report.posts);
        }
    }
}

/// Of a large chunk in which a few pass names round, only these lose theirs for a moment.
#[test]
fn those_who_want_nothing_of_others_keep_their_names_meanwhile() {
    for n in [50, 200, 900] {
        let mut model = active(&(0..n).map(person).collect::<Vec<_>>());
        let mut set = rotated(8, CHANGES[0].1);
        (8..n).for_each(|at| add_person(&mut set, &person(at)));
        let report = Job { full: true, ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!((held(&report).len(), report.staged), (0, 8), "{n}");
        all_have_moved(&model, 8);
    }
    for n in [50, 400] {
        let mut model = active(&(0..n).map(person).collect::<Vec<_>>());
        let mut set = ChangeSet::default();
        for at in 0..n {
            let name = match at {
                0..6 => format!("local{at}"),
                _ if at == n - 2 => person(n - 1).name,
                _ if at == n - 1 => person(n - 2).name,
                _ => person(at).name,
            };
            model.foreign_names.extend((at < 6).then(|| name.clone()));
            add_person(&mut set, &Account { name, ..person(at) });
        }
        let report = Job { full: true, ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!((held(&report), report.staged), ((0..6).map(id).collect(), 2), "{n}");
    }
}

/// Held by the mapping, in the recycle bin, of another sync account, with a bad value: in the
/// chunk, or of an earlier run.
#[test]
fn an_entry_that_cannot_be_written_holds_up_no_ring() {
    for what in ["held", "recycled", "foreign", "bad"] {
        for tried in [false, true] {
            let (mut model, mut set) = ring_and_locals(12, 0);
            add_group(&mut set, 100, &[person(13).dn, person(1).dn]);
            let stubs = [(id(13), person(13).dn)];
            match what {
                "held" => {}
                "bad" => add_person(
                    &mut set,
                    &Account { mail: "bad!@x".to_owned(), name: person(14).name, ..person(13) },
                ),
                _ => {
                    let entry = model.entries.remove(&id(13)).unwrap();
                    let _ = if what == "recycled" {
                        model.recycled.insert(id(13), entry).is_none()
                    } else {
                        model.foreign.insert(id(13))
                    };
                    add_person(&mut set, &person(13));
                }
            }
            let stubs = if what == "held" { &stubs[..] } else { &[] };
            let tried_before = if tried { [id(13)].into() } else { [].into() };
            let report = Job { stubs, tried_before, others: &others(12), ..Job::new(&set) }
                .run(&mut model)
                .unwrap();
            let expected = if what == "held" { BTreeSet::new() } else { [id(13)].into() };
            assert_eq!(held(&report), expected, "{what}: {:#?}", report.held);
            all_have_moved(&model, 12);
        }
    }
}

/// Kanidm refuses to be without a group that one of its applications needs; its answer says nothing
/// about names.
#[test]
fn another_reason_to_refuse_is_not_taken_for_a_free_name() {
    let (mut model, mut set) = ring_and_locals(12, 5);
    let mut groups = ChangeSet::default();
    add_group(&mut groups, 100, &[person(0).dn]);
    Job { others: &others(17), cookie: "before", ..Job::new(&groups) }.run(&mut model).unwrap();
    model.linked.insert(id(100));
    let before = names(&model);
    add_group(&mut set, 100, &[person(0).dn, person(3).dn]);
    let report = Job { others: &others(17), ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!((names(&model), temporary(&model)), (before, 0), "{:#?}", report.held.first());
}

/// Whoever is missing from the directory's list has a name that looks free.
#[test]
fn nobody_is_renamed_by_a_list_that_lacks_somebody() {
    for lacking in [0, 5] {
        let (mut model, _) = ring_and_locals(12, 0);
        let mut set = ChangeSet::default();
        // What Kanidm is known to have are the first ten.
        (10..22).for_each(|at| {
            add_person(&mut set, &Account { name: person((at + 1) % 22).name, ..person(at) })
        });
        let others: Vec<Uuid> = (0..10).filter(|at| *at != lacking).map(id).collect();
        let report = Job { others: &others, ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!((report.staged, temporary(&model)), (0, 0), "{:#?}", report.held.first());
    }
}

/// A Kanidm that is given one POST of all.
#[test]
fn what_is_too_much_for_one_question_is_held_and_fails_no_run() {
    for change in [CHANGES[0].1, CHANGES[3].1] {
        let mut set = rotated(99, change);
        add_person(&mut set, &Account { locked: true, name: person(0).name, ..person(99) });
        let run = |server: &mut dyn SyncServer| {
            Job { limits: limits(25), ..Job::new(&set) }.run(server).unwrap()
        };
        let mut slow = Troubled::new(active(&(0..100).map(person).collect::<Vec<_>>()));
        slow.max_entries = Some(50);
        let slow_report = run(&mut slow);
        let mut small = active(&(0..100).map(person).collect::<Vec<_>>());
        small.max_body = Some(12_000);
        let small_report = run(&mut small);
        for (model, report) in [(&slow.server, slow_report), (&small, small_report)] {
            assert!(!report.held.is_empty() && report.posts < 400, "{}", report.posts);
            assert_eq!(model.entries[&id(99)].text("account_expire"), Some("1970-01-01T00:00:00Z"));
        }
    }
}

#[test]
fn a_display_name_that_is_yielded_holds_up_no_ring() {
    let (mut model, set) = ring_and_locals(12, 0);
    model.yielded.insert("displayname".to_owned());
    let report = Job { others: &others(12), ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(held(&report), BTreeSet::new());
    all_have_moved(&model, 12);
}

#[test]
fn entries_of_the_list_that_are_in_the_recycle_bin_hold_up_no_ring() {
    let (mut model, set) = ring_and_locals(12, 0);
    let mut listed = others(12);
    (1000..1020).for_each(|at| {
        model.recycled.insert(id(at), crate::support::model::Entry::default());
        listed.extend([id(at), id(at + 1000)]);
    });
    let report = Job { others: &listed, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(held(&report), BTreeSet::new());
    all_have_moved(&model, 12);
}

/// Locks of many that were tried before: one of them has a name that cannot be had.
#[test]
fn each_lock_of_many_that_are_held_arrives() {
    let n = 60;
    let (mut model, _) = ring_and_locals(n, 0);
    model.foreign_names.insert("local".to_owned());
    let mut set = ChangeSet::default();
    for at in 0..n {
        let locked = (20..30).contains(&at) || at == 40;
        let name = if at == 40 { "local".to_owned() } else { person(at).name };
        add_person(&mut set, &Account { mail: person(n).mail, locked, name, ..person(at) });
    }
    let report =
        Job { tried_before: (0..n).map(id).collect(), others: &others(n), ..Job::new(&set) }
            .run(&mut model)
            .unwrap();
    let locked =
        (0..n).filter(|at| model.entries[&id(*at)].text("account_expire").is_some()).count();
    let open = report
        .held
        .iter()
        .filter(|held| held.reason.contains("Kanidm keeps the state it has"))
        .count();
    assert_eq!((held(&report).len(), locked, open), (60, 11, 0));
}

/// A proxy between Kanidm and the tool: it takes away Kanidm's operation ID, or refuses the second
/// POST of temporary values.
struct Proxy {
    model: Model,
    hides_operations: bool,
    temporary_posts: Option<u32>,
}

impl SyncServer for Proxy {
    fn state(&mut self) -> Result<SyncState, KanidmError> {
        self.model.state()
    }

    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError> {
        let request: Value = serde_json::from_slice(&body.to_vec()).unwrap();
        let entries = request["entries"].as_array().unwrap();
        let is_temporary = |entry: &Value| {
            entry["displayname"].is_string() && entry["name"].as_str().unwrap().starts_with("tmp-")
        };
        let of_temporary = request["retain"] == "Ignore"
            && !entries.is_empty()
            && entries.iter().all(is_temporary);
        if let Some(posts) = self.temporary_posts.as_mut().filter(|_| of_temporary) {
            *posts += 1;
            if *posts == 2 {
                return Err(KanidmError::Refused(Answer::new(
                    500,
                    br#"{"plugin":{"attrunique":"x"}}"#,
                    Some("op".to_owned()),
                )));
            }
        }
        self.model.apply(body).map_err(|error| match error {
            KanidmError::Refused(answer) if self.hides_operations => {
                KanidmError::Refused(Answer { operation_id: None, ..answer })
            }
            other => other,
        })
    }
}

#[test]
fn a_proxy_that_hides_who_answers_fails_no_run() {
    let (model, set) = ring_and_locals(12, 0);
    let mut proxy = Proxy { model, hides_operations: true, temporary_posts: None };
    let report: UploadReport =
        Job { others: &others(12), ..Job::new(&set) }.run(&mut proxy).unwrap();
    assert_eq!(held(&report), BTreeSet::new());
}

/// Temporary values are applied in part, and then something is refused: the next run is a full one.
#[test]
fn temporary_values_that_are_left_make_the_next_run_a_full_one() {
    let (model, set) = ring_and_locals(100, 0);
    let mut server = Proxy { model, hides_operations: false, temporary_posts: Some(0) };
    let job = Job { limits: limits(25), others: &others(100), ..Job::new(&set) };
    job.run(&mut server).unwrap();
    assert!(temporary(&server.model) > 0 && is_to_be_repeated(&server.model));
    let report = Job { full: true, limits: limits(25), cookie: "newer", ..Job::new(&set) }
        .run(&mut server.model)
        .unwrap();
    assert_eq!(
        (held(&report).len(), temporary(&server.model), is_to_be_repeated(&server.model)),
        (0, 0, false)
    );
}

/// They keep their old content. The next run is an increment: a full refresh would find the same.
#[test]
fn a_dn_that_cannot_be_had_repeats_no_run_in_full() {
    for (n, k) in [(12, 1), (60, 20)] {
        let mut model = active(&(0..n + k + 20).map(person).collect::<Vec<_>>());
        let mut set = rotated(n, CHANGES[1].1);
        for at in n..n + k {
            add_person(&mut set, &Account { dn: person(at + k.min(20)).dn, ..person(at) });
        }
        let report = Job { others: &others(n + k), ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!(held(&report), (n..n + k).map(id).collect(), "{:#?}", report.held.first());
        assert!(!is_to_be_repeated(&model));
        assert!(report.posts < 300, "{n} and {k}: {}", report.posts);
        for at in 0..n {
            let dn = model.entries[&id(at)].external_id.clone();
            assert_eq!(dn, Some(person((at + 1) % n).dn.to_lowercase()));
        }
    }
}
