//! What is sent to Kanidm, POST by POST, against the model of Kanidm.

use std::collections::BTreeSet;

use kanidm_ldap_sync::content::changeset::ChangeSet;
use kanidm_ldap_sync::content::scim::ScimPerson;
use kanidm_ldap_sync::kanidm::request::Retention;
use kanidm_ldap_sync::kanidm::state::Yielded;
use kanidm_ldap_sync::kanidm::state::{Envelope, Opened, open};
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use kanidm_ldap_sync::upload::{HeldByKanidm, Limits, Upload, UploadError, upload};
use uuid::Uuid;

use crate::jobs::{Account, Job, RUN, add_group, add_person, done, id, limits, person};
use crate::support::model::Model;
use crate::support::trouble::{TestClock, Trouble, Troubled};

/// A Kanidm that is active and holds these persons.
pub fn active(persons: &[Account]) -> Model {
    let mut set = ChangeSet::default();
    persons.iter().for_each(|p| add_person(&mut set, p));
    let mut model = Model::default();
    Job { cookie: "old", ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(model.posts.len(), 1);
    model.posts.clear();
    model
}

pub fn stored(model: &Model) -> Envelope {
    match open(model.state.as_ref().unwrap()).unwrap() {
        Opened::Ours(envelope) => *envelope,
        Opened::Foreign(_) => panic!("not an envelope"),
    }
}

pub fn names(model: &Model) -> BTreeSet<String> {
    model.entries.values().filter_map(|e| e.text("name").map(str::to_owned)).collect()
}

fn statuses(model: &Model) -> Vec<u16> {
    model.posts.iter().map(|p| p.status).collect()
}

#[test]
fn a_first_refresh_is_one_post() {
    let mut set = ChangeSet::default();
    add_group(&mut set, 7, &["uid=user1,dc=x".to_owned()]);
    add_person(&mut set, &person(1));
    let mut model = Model::default();
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(statuses(&model), [200]);
    assert_eq!(model.entries[&id(7)].members, BTreeSet::from([id(1)]));
    assert_eq!(report.written.len(), 2);
    assert_eq!(report.envelope, stored(&model));
    assert_eq!(stored(&model).cookie.as_deref(), Some(&b"new"[..]));
}

#[test]
fn nothing_to_do_sends_nothing() {
    let mut model = active(&[person(1)]);
    let set = ChangeSet::default();
    let report = Job { cookie: "old", ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!((report.posts, model.posts.len()), (0, 0));
}

#[test]
fn a_new_cookie_alone_is_one_post() {
    let mut model = active(&[person(1)]);
    Job::new(&ChangeSet::default()).run(&mut model).unwrap();
    assert_eq!(statuses(&model), [200]);
    assert_eq!(stored(&model).cookie.as_deref(), Some(&b"new"[..]));
}

#[test]
fn deletions_alone_are_one_post_and_before_writes_one_of_their_own() {
    let mut model = active(&[person(1), person(2), person(3)]);
    let retention = Retention::Delete(vec![id(1)]);
    Job { retention, ..Job::new(&ChangeSet::default()) }.run(&mut model).unwrap();
    assert_eq!(statuses(&model), [200]);
    // The name of a deleted entry, at its DN, with another UUID.
    let mut set = ChangeSet::default();
    add_person(&mut set, &Account { n: 9, ..person(2) });
    let retention = Retention::Retain(vec![id(3), id(9)]);
    Job { retention, cookie: "newer", ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(
        model.posts.iter().map(|p| (p.entries, p.retention)).collect::<Vec<_>>(),
        [(0, true), (0, true), (1, false)]
    );
    assert_eq!(names(&model), BTreeSet::from(["user2".to_owned(), "user3".to_owned()]));
    assert!(model.entries.contains_key(&id(9)));
}

#[test]
fn k_bad_among_n_are_found_and_the_others_applied() {
    for bad in [vec![0], vec![199], vec![3, 4, 150], vec![0, 50, 100, 199]] {
        let mut model = active(&[person(500)]);
        let mut set = ChangeSet::default();
        for n in 0..200 {
            add_person(&mut set, &Account { bad: bad.contains(&n), ..person(n) });
        }
        let report = Job::new(&set).run(&mut model).unwrap();
        let held: Vec<Uuid> = report.held.iter().map(|h| h.uuid).collect();
        assert_eq!(held, bad.iter().map(|n| id(*n)).collect::<Vec<_>>());
        assert!(
            report.held[0].reason.contains("password") && report.held[0].reason.contains("op-1"),
            "{}",
            report.held[0].reason
        );
        assert_eq!(names(&model).len(), 201 - bad.len());
        let bound = 2 * bad.len() * 8 + 4;
        assert!(
            model.posts.len() <= bound,
            "{} POSTs for {} bad ones",
            model.posts.len(),
            bad.len()
        );
        assert_eq!(stored(&model).held, held);
        assert_eq!(stored(&model).unfinished, None);
    }
}

#[test]
fn bad_ones_from_refresh_delete_nothing() {
    let mut model = active(&(0..20).map(person).collect::<Vec<_>>());
    model.state = None;
    let mut set = ChangeSet::default();
    for n in 0..20 {
        add_person(
            &mut set,
            &Account { bad: n == 5 || n == 6, name: format!("new{n}"), ..person(n) },
        );
    }
    let report = Job { full: true, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(report.held.len(), 2);
    assert!(model.deleted.is_empty());
    assert_eq!(
        model.entries[&id(5)].text("name"),
        Some("user5"),
        "a held entry keeps what Kanidm has of it"
    );
    assert_eq!(model.entries[&id(7)].text("name"), Some("new7"));
}

#[test]
fn held_entries_survive_a_refresh_and_what_is_gone_does_not() {
    let mut set = ChangeSet::default();
    add_person(&mut set, &person(0));
    let stubs = [(id(1), "uid=other,dc=x".to_owned())];
    for max_entries in [100, 1] {
        let mut model = active(&(0..4).map(person).collect::<Vec<_>>());
        model.state = None;
        Job { full: true, stubs: &stubs, limits: limits(max_entries), ..Job::new(&set) }
            .run(&mut model)
            .unwrap();
        assert_eq!(names(&model), BTreeSet::from(["user0".to_owned(), "user1".to_owned()]));
        assert_eq!(model.entries[&id(1)].external_id.as_deref(), Some("uid=other,dc=x"));
    }
}

#[test]
fn a_refresh_in_chunks_lists_everything_first() {
    let mut model = active(&(0..30).map(person).collect::<Vec<_>>());
    model.state = None;
    let mut set = ChangeSet::default();
    // Groups first, and members of groups that come later.
    add_group(&mut set, 100, &["cn=group102,dc=x".to_owned(), "uid=user29,dc=x".to_owned()]);
    add_group(&mut set, 101, &["cn=group100,dc=x".to_owned()]);
    add_group(&mut set, 102, &(0..30).map(|n| format!("uid=user{n},dc=x")).collect::<Vec<_>>());
    (0..30).for_each(|n| add_person(&mut set, &person(n)));
    let report = Job { full: true, limits: limits(2), ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(report.held, []);
    assert!(model.posts[0].from_refresh && model.posts[0].entries == 33);
    assert!(model.posts[1..].iter().all(|p| !p.from_refresh && p.entries <= 2));
    assert_eq!(model.entries[&id(100)].members, BTreeSet::from([id(102), id(29)]));
    assert_eq!(model.entries[&id(101)].members, BTreeSet::from([id(100)]));
    assert_eq!(model.entries[&id(102)].members.len(), 30);
    assert!(model.deleted.is_empty());
}

#[test]
fn a_refresh_where_dns_come_with_new_uuids() {
    let mut model = active(&(0..6).map(person).collect::<Vec<_>>());
    model.state = None;
    let mut set = ChangeSet::default();
    (0..6).for_each(|n| add_person(&mut set, &Account { n: n + 50, ..person(n) }));
    let report = Job { full: true, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(report.held, []);
    assert_eq!(
        model.entries.keys().copied().collect::<Vec<_>>(),
        (50..56).map(id).collect::<Vec<_>>()
    );
}

/// Gives an account something of another one.
type Change = fn(&mut Account, &Account);

#[test]
fn renames_that_collide_are_staged() {
    let cases: Vec<(&str, Vec<(u32, u32)>)> = vec![
        ("swap", vec![(0, 1), (1, 0)]),
        ("rotation", vec![(0, 1), (1, 2), (2, 3), (3, 0)]),
        ("two swaps", vec![(0, 1), (1, 0), (2, 3), (3, 2)]),
        ("chain", vec![(0, 1), (1, 2), (2, 3), (3, 90)]),
        ("chain the other way", vec![(3, 2), (2, 1), (1, 0), (0, 90)]),
        ("chain onto a swap", vec![(0, 1), (1, 0), (2, 91), (3, 2)]),
    ];
    let change: [(&str, Change); 5] = [
        ("name", |p, q| p.name.clone_from(&q.name)),
        ("dn", |p, q| p.dn.clone_from(&q.dn)),
        ("mail", |p, q| p.mail.clone_from(&q.mail)),
        ("gid", |p, q| p.gid = q.gid),
        ("all", |p, q| *p = Account { n: p.n, ..q.clone() }),
    ];
    for names_conflicts in [false, true] {
        for (case, moves) in &cases {
            for (what, change) in &change {
                let mut model = active(&(0..10).map(person).collect::<Vec<_>>());
                model.names_conflicts = names_conflicts;
                let mut set = ChangeSet::default();
                for (from, to) in moves {
                    let mut p = person(*from);
                    change(&mut p, &person(*to));
                    add_person(&mut set, &p);
                }
                (4..10).for_each(|n| add_person(&mut set, &person(n)));
                let report = Job::new(&set).run(&mut model).unwrap();
                assert_eq!(report.held, [], "{case} of {what}");
                for (from, to) in moves {
                    let mut p = person(*from);
                    change(&mut p, &person(*to));
                    let entry = &model.entries[&id(*from)];
                    assert_eq!(entry.text("name"), Some(p.name.as_str()), "{case} of {what}");
                    assert_eq!(entry.external_id.as_ref(), Some(&p.dn), "{case} of {what}");
                    assert_eq!(entry.attributes["gidnumber"], p.gid, "{case} of {what}");
                    assert_eq!(entry.attributes["mail"][0]["value"], p.mail, "{case} of {what}");
                }
            }
        }
    }
}

#[test]
fn a_name_taken_by_someone_else_is_held_and_nobody_loses_a_name() {
    let mut model = active(&(0..10).map(person).collect::<Vec<_>>());
    model.foreign_names.insert("admin".to_owned());
    let mut set = ChangeSet::default();
    add_person(&mut set, &Account { name: "admin".to_owned(), ..person(0) });
    // user0 would be free if its owner had got its new name.
    add_person(&mut set, &Account { name: "user0".to_owned(), ..person(1) });
    // A true conflict with an entry that this run does not touch.
    add_person(&mut set, &Account { mail: "user9@x".to_owned(), ..person(2) });
    // And a swap beside it, which has to work all the same.
    add_person(&mut set, &Account { name: "user4".to_owned(), ..person(3) });
    add_person(&mut set, &Account { name: "user3".to_owned(), ..person(4) });
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(names(&model), (0..10).map(|n| format!("user{n}")).collect::<BTreeSet<_>>());
    assert_eq!(model.entries[&id(3)].text("name"), Some("user4"));
    assert_eq!(model.entries[&id(2)].attributes["mail"][0]["value"], "user2@x");
    let held: Vec<Uuid> = report.held.iter().map(|h| h.uuid).collect();
    assert_eq!(
        held.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([id(0), id(1), id(2)]),
        "{:?}",
        report.held
    );
    let reason =
        |n: u32| report.held.iter().find(|h| h.uuid == id(n)).map(|h| h.reason.clone()).unwrap();
    assert!(
        reason(0).contains("the name \"admin\"") && reason(0).contains("of Kanidm's own"),
        "{}",
        reason(0)
    );
    assert!(reason(1).contains("uid=user0,dc=x"), "both sides: {}", reason(1));
    assert!(reason(2).contains("the mail address \"user9@x\""), "{}", reason(2));
}

#[test]
fn groups_get_members_that_came_late() {
    let mut model = active(&[person(0), person(1)]);
    let mut set = ChangeSet::default();
    add_person(&mut set, &Account { dn: "uid=user1,dc=x".to_owned(), ..person(0) });
    add_person(&mut set, &Account { dn: "uid=user0,dc=x".to_owned(), ..person(1) });
    add_group(&mut set, 100, &["uid=user0,dc=x".to_owned()]);
    add_group(&mut set, 101, &["uid=user1,dc=x".to_owned()]);
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(report.held, []);
    assert_eq!(model.entries[&id(100)].members, BTreeSet::from([id(1)]));
    assert_eq!(model.entries[&id(101)].members, BTreeSet::from([id(0)]));
    assert_eq!(report.written.len(), 4);
}

#[test]
fn nobody_takes_the_place_of_a_held_member() {
    let mut model = active(&[person(0), person(1), person(2)]);
    model.foreign_names.insert("admin".to_owned());
    let mut set = ChangeSet::default();
    // They swap DNs, and one of them cannot have its name: both are held.
    add_person(&mut set, &Account { dn: person(1).dn, ..person(0) });
    add_person(&mut set, &Account { dn: person(0).dn, name: "admin".to_owned(), ..person(1) });
    // Members: the first, by its new DN, which in Kanidm is still that of the second.
    add_group(&mut set, 100, &[person(1).dn, person(2).dn]);
    add_group(&mut set, 101, &[person(1).dn]);
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(
        report.held.iter().map(|h| h.uuid).collect::<BTreeSet<_>>(),
        BTreeSet::from([id(0), id(1)])
    );
    assert_eq!(model.entries[&id(100)].members, BTreeSet::from([id(2)]));
    assert_eq!(model.entries[&id(101)].members, BTreeSet::new());
}

#[test]
fn nobody_is_found_by_the_dn_of_a_member_that_was_never_sent() {
    let group = |set: &mut ChangeSet| add_group(set, 100, &[person(0).dn, person(2).dn]);
    let members = |model: &Model| model.entries[&id(100)].members.clone();
    let moved = Account { dn: "uid=moved,dc=x".to_owned(), ..person(0) };
    let stubs = [(id(9), person(0).dn)];

    // Somebody new has the DN of one who moves away in the same run, and is held.
    let mut model = active(&[person(0), person(2)]);
    let mut set = ChangeSet::default();
    add_person(&mut set, &moved);
    group(&mut set);
    let report = Job { stubs: &stubs, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!((report.held, members(&model)), (vec![], BTreeSet::from([id(9), id(2)])));

    // One who ought to have moved away is held, too.
    let mut model = active(&[person(0), person(2)]);
    let mut set = ChangeSet::default();
    group(&mut set);
    let report = Job { stubs: &stubs, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!((report.held, members(&model)), (vec![], BTreeSet::from([id(2)])));
    assert_eq!(model.entries[&id(0)].external_id, Some(person(0).dn));

    // Only Kanidm knows that the new one cannot be taken.
    let mut model = active(&[person(0), person(2)]);
    model.foreign_names.insert("admin".to_owned());
    let mut set = ChangeSet::default();
    add_person(&mut set, &Account { dn: person(0).dn, name: "admin".to_owned(), ..person(9) });
    add_person(&mut set, &moved);
    group(&mut set);
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(report.held.iter().map(|h| h.uuid).collect::<Vec<_>>(), [id(9)]);
    assert_eq!(members(&model), BTreeSet::from([id(9), id(2)]));
}

#[test]
fn nobody_gets_a_temporary_name_for_a_number_that_kanidm_does_not_give_back() {
    let mut model = active(&[person(0), person(1)]);
    let mut set = ChangeSet::default();
    // They swap names, and one is to have the number that the other has in Kanidm, and no more in
    // the directory.
    add_person(&mut set, &Account { name: person(1).name, gid: person(1).gid, ..person(0) });
    let no_number = ScimPerson {
        id: id(1),
        name: &person(0).name,
        displayname: "-",
        legalname: None,
        gidnumber: None,
        loginshell: None,
        password_import: None,
        unix_password_import: None,
        mail: std::iter::empty::<&str>(),
        ssh_publickey: std::iter::empty(),
        account_valid_from: None,
        account_expire: None,
        totp_room: 0,
    };
    set.push_person(&person(1).dn, no_number).unwrap();
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(report.held.len(), 2, "{:#?}", report.held);
    assert!(
        report
            .held
            .iter()
            .any(|h| h.reason.contains("the gidnumber 10001 belongs to uid=user1,dc=x")),
        "{:#?}",
        report.held
    );
    assert_eq!(
        [0, 1].map(|n| model.entries[&id(n)].text("name").map(str::to_owned)),
        [0, 1].map(|n| Some(person(n).name))
    );
}

#[test]
fn a_swap_that_was_given_up_is_tried_again_when_another_entry_changes() {
    let mut model = active(&[person(0), person(1), person(2)]);
    let mut set = ChangeSet::default();
    add_person(&mut set, &Account { dn: person(1).dn, mail: person(2).mail, ..person(0) });
    add_person(&mut set, &Account { dn: person(0).dn, ..person(1) });
    assert_eq!(Job { cookie: "new", ..Job::new(&set) }.run(&mut model).unwrap().held.len(), 2);
    add_person(&mut set, &Account { mail: "another@x".to_owned(), ..person(2) });
    let report = Job { cookie: "newer", tried_before: [id(0), id(1)].into(), ..Job::new(&set) }
        .run(&mut model)
        .unwrap();
    assert_eq!(report.held, []);
    assert_eq!(model.entries[&id(0)].external_id, Some(person(1).dn));
}

#[test]
fn an_entry_in_the_recycle_bin_is_named_with_the_command() {
    for from_refresh in [false, true] {
        let mut model = active(&(0..9).map(person).collect::<Vec<_>>());
        let retention = Retention::Delete(vec![id(4), id(5)]);
        Job { retention, ..Job::new(&ChangeSet::default()) }.run(&mut model).unwrap();
        model.deleted.clear();
        if from_refresh {
            model.state = None;
        }
        let mut set = ChangeSet::default();
        (0..9).for_each(|n| add_person(&mut set, &person(n)));
        let report =
            Job { full: from_refresh, cookie: "newer", ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!(report.held.iter().map(|h| h.uuid).collect::<Vec<_>>(), [id(4), id(5)]);
        assert!(
            report.held[0].reason.contains(&format!("kanidm recycle-bin revive {}", id(4))),
            "{}",
            report.held[0].reason
        );
        assert_eq!((model.entries.len(), model.deleted.len()), (7, 0));
    }
}

#[test]
fn a_directory_restored_after_many_were_deleted_names_them_all_and_blocks_nobody() {
    for from_refresh in [false, true] {
        let mut model = active(&(0..150).map(person).collect::<Vec<_>>());
        let retention = Retention::Delete((0..150).map(id).collect());
        Job { retention, ..Job::new(&ChangeSet::default()) }.run(&mut model).unwrap();
        if from_refresh {
            model.state = None;
        }
        let mut set = ChangeSet::default();
        (0..160).for_each(|n| add_person(&mut set, &person(n)));
        let report =
            Job { full: from_refresh, cookie: "newer", ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!(report.held.len(), 150, "from refresh: {from_refresh}");
        assert!(report.held.iter().all(|h| h.reason.contains("revive")));
        assert_eq!(model.entries.len(), 10);
        // Two for each that is at fault, and a few.
        assert!(report.posts <= 2 * 150 + 20, "from refresh: {from_refresh}: {}", report.posts);
    }
}

#[test]
fn entries_of_another_account_block_neither_writes_nor_deletions() {
    for from_refresh in [false, true] {
        let mut model = active(&(0..4).map(person).collect::<Vec<_>>());
        model.foreign.extend([id(20), id(21)]);
        if from_refresh {
            model.state = None;
        }
        let mut set = ChangeSet::default();
        (1..4).for_each(|n| add_person(&mut set, &person(n)));
        add_person(&mut set, &person(20));
        let retention = Retention::Delete(vec![id(0), id(21)]);
        let report =
            Job { full: from_refresh, retention, ..Job::new(&set) }.run(&mut model).unwrap();
        // The deletion that is refused is named, and not remembered: there is nothing to be read
        // again.
        let named = if from_refresh { vec![id(20)] } else { vec![id(20), id(21)] };
        assert_eq!(report.held.iter().map(|h| h.uuid).collect::<Vec<_>>(), named);
        assert_eq!(stored(&model).held, [id(20)]);
        assert_eq!(model.deleted, [id(0)]);
    }
}

#[test]
fn too_large_and_too_slow_halve() {
    for trouble in [(Some(4_000), None), (None, Some(7))] {
        let mut model = Troubled::new(active(&[person(0)]));
        (model.server.max_body, model.max_entries) = trouble;
        let mut set = ChangeSet::default();
        (0..100).for_each(|n| add_person(&mut set, &person(n)));
        let report = Job::new(&set).run(&mut model).unwrap();
        assert_eq!(report.held, []);
        assert_eq!(names(&model.server).len(), 100);
        let tried =
            report.posts as usize - statuses(&model.server).iter().filter(|s| **s == 200).count();
        assert!(tried <= 7, "the size that was found is used from then on: {tried}");
    }
}

#[test]
fn a_lost_answer_is_not_a_failure() {
    for trouble in [
        Trouble::AnswerLost,
        Trouble::Unreachable,
        Trouble::Unavailable,
        Trouble::Forbidden,
        Trouble::TooSlow,
        Trouble::AppliedLate,
    ] {
        for at in 0..3 {
            let mut model = Troubled::new(active(&[person(0), person(1)]));
            model.trouble.insert(at, trouble);
            let mut set = ChangeSet::default();
            (1..9).for_each(|n| add_person(&mut set, &person(n)));
            let retention = Retention::Delete(vec![id(0)]);
            let report =
                Job { retention, limits: limits(5), ..Job::new(&set) }.run(&mut model).unwrap();
            assert_eq!(report.held, [], "{trouble:?} at {at}");
            assert_eq!(
                names(&model.server),
                (1..9).map(|n| format!("user{n}")).collect::<BTreeSet<_>>()
            );
            assert_eq!(stored(&model.server), done("new", 10, &[]));
        }
    }
}

#[test]
fn a_server_that_stays_away_ends_the_upload() {
    let mut model = Troubled::new(active(&[person(0)]));
    model.trouble = (0..100).map(|n| (n, Trouble::Unavailable)).collect();
    let mut set = ChangeSet::default();
    add_person(&mut set, &person(1));
    let error = Job::new(&set).run(&mut model).unwrap_err();
    assert!(
        error.to_string().contains("503") && error.to_string().contains("several times"),
        "{error}"
    );
}

#[test]
fn another_run_ends_this_one() {
    let mut model = active(&[person(0)]);
    let mut set = ChangeSet::default();
    add_person(&mut set, &person(1));
    let stale = model.state().unwrap();
    Job { cookie: "theirs", ..Job::new(&set) }.run(&mut model).unwrap();
    let finish = |held: &[HeldByKanidm]| done("mine", 10, held);
    let input = Upload {
        state: stale,
        base: Envelope::default(),
        full: false,
        run: RUN,
        retention: Retention::Ignore,
        changes: &set,
        stubs: &[],
        ended: &[],
        tried_before: &std::collections::HashSet::new(),
        yielded: Yielded::new(),
        claimed: &[],
        everyone: &|| None,
        finish: &finish,
        limits: limits(10),
    };
    let error = upload(&mut model, &TestClock::default(), &input, &mut |_| {}).unwrap_err();
    assert!(matches!(error, UploadError::Interrupted), "{error}");
    assert_eq!(stored(&model).cookie.as_deref(), Some(&b"theirs"[..]));
}

#[test]
fn entries_that_were_held_before_cost_little_and_fail_no_run() {
    // The names of 120 are those of others.
    let others: Vec<Account> = (500..620).map(person).collect();
    let mut set = ChangeSet::default();
    (0..120)
        .for_each(|n| add_person(&mut set, &Account { name: person(500 + n).name, ..person(n) }));
    let mut model = active(&others);
    // What collides says nothing about the entries behind it: all are held, by name, and nobody is
    // blocked.
    assert_eq!(Job::new(&set).run(&mut model).unwrap().held.len(), 120);
    let mut model = active(&others);
    let report =
        Job { tried_before: (0..120).map(id).collect(), ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(report.held.len(), 120);
    // Two for each while they are looked for, one more try, and for 40 of them the question which
    // of four values it is.
    assert!(report.posts <= 120 * 3 + 40 * 4 + 2, "{}", report.posts);
}

#[test]
fn the_search_for_bad_entries_is_bounded() {
    let mut set = ChangeSet::default();
    (0..300).for_each(|n| add_person(&mut set, &Account { bad: true, ..person(n) }));
    let error = Job::new(&set).run(&mut active(&[])).unwrap_err();
    assert!(matches!(error, UploadError::EverythingRefused { tried: 100, .. }), "{error}");
    let mut set = ChangeSet::default();
    (0..300).for_each(|n| add_person(&mut set, &Account { bad: n % 3 == 0, ..person(n) }));
    let few = Limits { max_refused: 20, ..limits(1000) };
    let error = Job { limits: few, ..Job::new(&set) }.run(&mut active(&[])).unwrap_err();
    assert!(
        matches!(&error, UploadError::TooManyRefused { posts: 21, held } if !held.is_empty()),
        "{error}"
    );
}

#[test]
fn an_interrupted_run_says_how_it_is_repaired() {
    for (full, refresh) in [(false, false), (true, false), (true, true)] {
        let mut model = Troubled::new(active(&(0..9).map(person).collect::<Vec<_>>()));
        if refresh {
            model.server.state = None;
        }
        model.trouble.insert(2, Trouble::KilledBefore);
        let mut set = ChangeSet::default();
        (0..9).for_each(|n| add_person(&mut set, &person(n)));
        Job { full, limits: limits(3), ..Job::new(&set) }.run(&mut model).unwrap_err();
        let envelope = stored(&model.server);
        assert_eq!(envelope.unfinished.map(|u| (u.run, u.full)), Some((RUN, full)));
        assert_eq!(
            envelope.cookie.as_deref(),
            (!refresh).then_some(&b"old"[..]),
            "an increment is repeated from the cookie it began with"
        );
        assert!(model.server.deleted.is_empty());
    }
}

#[test]
fn a_run_that_dies_between_temporary_and_final_names_is_repaired_in_full() {
    let mut model = Troubled::new(active(&[person(0), person(1)]));
    let mut set = ChangeSet::default();
    add_person(&mut set, &Account { name: "user1".to_owned(), ..person(0) });
    add_person(&mut set, &Account { name: "user0".to_owned(), ..person(1) });
    let staged = |model: &Model| names(model).iter().any(|n| n.starts_with("tmp-"));
    // Where it is depends on how many questions are asked before.
    for at in 0.. {
        let mut fresh = Troubled::new(active(&[person(0), person(1)]));
        fresh.trouble.insert(at, Trouble::KilledAfter);
        Job::new(&set).run(&mut fresh).unwrap_err();
        if staged(&fresh.server) {
            model = fresh;
            break;
        }
    }
    assert!(
        stored(&model.server).unfinished.unwrap().full,
        "no increment would bring an entry that did not change again"
    );
    let report = Job { full: true, cookie: "newer", ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!((report.held, staged(&model.server)), (vec![], false));
}

#[test]
fn a_chain_of_renames_takes_a_few_posts_an_entry_in_either_direction() {
    for backwards in [false, true] {
        let mut model = active(&(0..40).map(person).collect::<Vec<_>>());
        let mut set = ChangeSet::default();
        for n in 0..40 {
            let n = if backwards { 39 - n } else { n };
            add_person(&mut set, &Account { name: format!("user{}", n + 1), ..person(n) });
        }
        let report = Job::new(&set).run(&mut model).unwrap();
        assert_eq!(report.held, []);
        assert!(model.posts.len() <= 4 * 40, "{} POSTs", model.posts.len());
    }
}
