//! The same against the real Kanidm engine, over HTTPS.

use std::collections::{BTreeMap, BTreeSet};

use kanidm_ldap_sync::content::changeset::ChangeSet;
use kanidm_ldap_sync::content::names::MAX_MISSED;
use kanidm_ldap_sync::kanidm::missed::Missed;
use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::roster::Roster;
use kanidm_ldap_sync::kanidm::state::{Envelope, MAX_HELD};
use kanidm_ldap_sync::kanidm::transport::SyncServer as _;
use uuid::Uuid;

use crate::jobs::{Account, Job, add_group, add_person, id, limits, person};
use crate::sequences::{seeds, sequence};
use crate::support::inside::{Engine, Inside as _};
use crate::support::kanidm::{KanidmOptions, KanidmServer};
use crate::world::World;

fn fill(engine: &mut Engine<'_>, persons: &[Account]) {
    let mut set = ChangeSet::default();
    persons.iter().for_each(|p| add_person(&mut set, p));
    let report = Job { cookie: "old", full: true, ..Job::new(&set) }.run(engine).unwrap();
    assert_eq!((report.posts, report.held), (1, vec![]));
}

#[test]
fn a_refresh_in_chunks_is_exact() {
    let kanidm = KanidmServer::start();
    let mut engine = Engine::new(&kanidm, "sync");
    fill(&mut engine, &(0..30).map(person).collect::<Vec<_>>());
    kanidm.force_refresh("sync");
    kanidm.clear_log();
    let mut set = ChangeSet::default();
    add_group(&mut set, 100, &["cn=group102,dc=x".to_owned(), "uid=user29,dc=x".to_owned()]);
    add_group(&mut set, 101, &["cn=group100,dc=x".to_owned()]);
    add_group(&mut set, 102, &(2..30).map(|n| format!("uid=user{n},dc=x")).collect::<Vec<_>>());
    (2..30).for_each(|n| add_person(&mut set, &person(n)));
    let stubs = [(id(1), "uid=elsewhere,dc=x".to_owned())];
    let report = Job { full: true, stubs: &stubs, limits: limits(7), ..Job::new(&set) }
        .run(&mut engine)
        .unwrap();
    assert_eq!(report.held, []);
    let content = engine.content();
    assert_eq!(content.len(), 32);
    assert_eq!(content[&id(100)].members, BTreeSet::from([id(102), id(29)]));
    assert_eq!(content[&id(101)].members, BTreeSet::from([id(100)]));
    assert_eq!(content[&id(102)].members, (2..30).map(id).collect());
    assert_eq!(content[&id(1)].name.as_deref(), Some("user1"));
    assert_eq!(content[&id(1)].external_id.as_deref(), Some("uid=elsewhere,dc=x"));
    assert_eq!(kanidm.recycled().iter().map(|r| r.uuid).collect::<Vec<_>>(), [id(0)]);
    assert_eq!(
        kanidm.posts()[0].stubs,
        32,
        "what is not listed is deleted, so everything is listed first"
    );
}

/// 50,000 entries, as many as a roster has, and as many held entries and missed names as an envelope
/// remembers.
#[test]
fn kanidm_keeps_the_largest_envelope() {
    let kanidm = KanidmServer::start();
    let mut engine = Engine::new(&kanidm, "sync");
    fill(&mut engine, &[person(0)]);
    let most = u32::try_from(Roster::MAX).unwrap();
    let largest = Envelope {
        roster: Roster::of((0..most).map(|n| (id(n), 1))),
        missed: Missed::of(0..MAX_MISSED as u32),
        held: (0..MAX_HELD as u32).map(id).collect(),
        dropped: (0..MAX_HELD as u32).map(id).collect(),
        ..Envelope::default()
    }
    .to_state();
    let before = engine.state().unwrap();
    let body = RequestBody::new(&before, &largest, &Retention::Ignore, Vec::new());
    engine.apply(&body).unwrap();
    assert_eq!(engine.state().unwrap(), largest);
}

#[test]
fn dns_with_new_uuids_and_entries_in_the_recycle_bin() {
    let kanidm = KanidmServer::start();
    let mut engine = Engine::new(&kanidm, "sync");
    fill(&mut engine, &(0..9).map(person).collect::<Vec<_>>());
    let retention = Retention::Delete(vec![id(4), id(5)]);
    Job { retention, ..Job::new(&ChangeSet::default()) }.run(&mut engine).unwrap();
    for refresh in [false, true] {
        if refresh {
            kanidm.force_refresh("sync");
        }
        let mut set = ChangeSet::default();
        (0..8).for_each(|n| add_person(&mut set, &person(n)));
        let another = if refresh { 50 } else { 8 };
        add_person(&mut set, &Account { n: another, ..person(8) });
        let report =
            Job { full: refresh, cookie: "newer", ..Job::new(&set) }.run(&mut engine).unwrap();
        let held: Vec<Uuid> = report.held.iter().map(|h| h.uuid).collect();
        assert_eq!(held, [id(4), id(5)], "{:#?}", report.held);
        assert!(
            report.held[0].reason.contains("kanidm recycle-bin revive"),
            "{}",
            report.held[0].reason
        );
        assert_eq!(
            engine.content().keys().copied().collect::<Vec<_>>(),
            [0, 1, 2, 3, 6, 7, another].map(id)
        );
    }
    kanidm.revive(id(4));
    kanidm.revive(id(5));
    let mut set = ChangeSet::default();
    (4..6).for_each(|n| add_person(&mut set, &person(n)));
    let report = Job { cookie: "newest", ..Job::new(&set) }.run(&mut engine).unwrap();
    assert_eq!((report.held, engine.content().len()), (vec![], 9));
}

#[test]
fn entries_of_another_account_block_nothing() {
    let kanidm = KanidmServer::start();
    let mut other = Engine::new(&kanidm, "other");
    fill(&mut other, &[person(20), person(21)]);
    let mut engine = Engine::new(&kanidm, "sync");
    fill(&mut engine, &(0..4).map(person).collect::<Vec<_>>());
    for refresh in [false, true] {
        if refresh {
            kanidm.force_refresh("sync");
        }
        let mut set = ChangeSet::default();
        (1..4).for_each(|n| add_person(&mut set, &person(n)));
        add_person(
            &mut set,
            &Account {
                mail: "another@x".to_owned(),
                name: "another".to_owned(),
                gid: 5000,
                dn: "uid=a,dc=x".to_owned(),
                ..person(20)
            },
        );
        let retention = Retention::Delete(vec![id(0), id(21)]);
        let cookie = if refresh { "newer" } else { "new" };
        let report =
            Job { full: refresh, retention, cookie, ..Job::new(&set) }.run(&mut engine).unwrap();
        let named = if refresh { vec![id(20)] } else { vec![id(20), id(21)] };
        assert_eq!(
            report.held.iter().map(|h| h.uuid).collect::<Vec<_>>(),
            named,
            "{:#?}",
            report.held
        );
        assert_eq!(engine.content().len(), 3);
        assert_eq!(other.content().len(), 2);
    }
}

#[test]
fn renames_that_collide_are_staged() {
    for plain_conflicts in [false, true] {
        let kanidm =
            KanidmServer::start_with(KanidmOptions { plain_conflicts, ..KanidmOptions::default() });
        let mut engine = Engine::new(&kanidm, "sync");
        fill(&mut engine, &(0..6).map(person).collect::<Vec<_>>());
        let mut set = ChangeSet::default();
        // All of it at once: name, DN, mail address and gidnumber go round; then a swap of names
        // with someone who wants too much.
        for (n, next) in [(0, 1), (1, 2), (2, 0)] {
            add_person(&mut set, &Account { n, ..person(next) });
        }
        add_person(&mut set, &Account { name: "user4".to_owned(), ..person(3) });
        add_person(
            &mut set,
            &Account { name: "user3".to_owned(), mail: "user5@x".to_owned(), ..person(4) },
        );
        add_group(&mut set, 100, &["uid=user0,dc=x".to_owned()]);
        let report = Job::new(&set).run(&mut engine).unwrap();
        let content = engine.content();
        for (n, next) in [(0, 1), (1, 2), (2, 0)] {
            let expected = person(next);
            assert_eq!(content[&id(n)].name.as_ref(), Some(&expected.name));
            assert_eq!(content[&id(n)].external_id.as_ref(), Some(&expected.dn));
            assert_eq!(content[&id(n)].mail.as_ref(), Some(&expected.mail));
            assert_eq!(content[&id(n)].gid, Some(u64::from(expected.gid)));
        }
        assert_eq!(content[&id(100)].members, BTreeSet::from([id(2)]));
        for n in 3..6 {
            assert_eq!(
                content[&id(n)].name,
                Some(format!("user{n}")),
                "nobody loses a name for nothing"
            );
        }
        let held: BTreeMap<Uuid, &str> =
            report.held.iter().map(|h| (h.uuid, h.reason.as_str())).collect();
        assert_eq!(held.keys().copied().collect::<Vec<_>>(), [id(3), id(4)], "{held:#?}");
        assert!(held[&id(3)].contains("uid=user4,dc=x"), "{held:#?}");
        assert!(held[&id(4)].contains("the mail address \"user5@x\""), "{held:#?}");
    }
}

/// Kanidm takes a lock without what it does not accept of the entry, and clears nothing for it.
#[test]
fn a_lock_is_applied_while_the_rest_is_held() {
    let kanidm = KanidmServer::start();
    kanidm.create_person("native", Some(7777), Some("native@x.org"));
    let mut engine = Engine::new(&kanidm, "sync");
    fill(&mut engine, &[person(0), person(1), person(3)]);
    let mut set = ChangeSet::default();
    add_person(&mut set, &Account { locked: true, name: "native".to_owned(), ..person(3) });
    add_person(&mut set, &Account { locked: true, mail: "native@x.org".to_owned(), ..person(0) });
    add_person(&mut set, &Account { locked: true, bad: true, gid: 20_001, ..person(1) });
    add_person(&mut set, &Account { locked: true, mail: "native@x.org".to_owned(), ..person(2) });
    let report = Job::new(&set).run(&mut engine).unwrap();
    let reasons: BTreeMap<Uuid, &str> =
        report.held.iter().map(|h| (h.uuid, h.reason.as_str())).collect();
    assert_eq!(reasons.len(), 4, "{reasons:#?}");
    assert!(reasons[&id(3)].contains("locked in Kanidm, by a temporary name"), "{reasons:#?}");
    let open = |n: u32| reasons[&id(n)].contains("Kanidm keeps the state it has");
    assert_eq!([0, 1, 2].map(open), [false, false, true], "{reasons:#?}");
    for (n, entry) in [0, 1, 3].into_iter().zip(kanidm.entries("sync")) {
        let expected = person(n);
        let name = if n == 3 { format!("tmp-{}", id(3).simple()) } else { expected.name };
        assert_eq!(entry.account_expire.as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!((entry.name.as_ref(), entry.gidnumber), (Some(&name), Some(expected.gid)));
        assert_eq!(entry.mail.iter().map(|m| &m.value).collect::<Vec<_>>(), [&expected.mail]);
    }
    assert_eq!(engine.content().len(), 3, "nobody comes into being by a lock");
}

#[test]
fn sequences_converge() {
    let mut kanidm = KanidmServer::start();
    for seed in seeds("UPLOAD_ENGINE_SEEDS", 0..3) {
        if seed % 8 == 7 {
            // The more Kanidm holds, the longer each POST takes.
            kanidm = KanidmServer::start();
        }
        sequence(seed, Engine::new(&kanidm, &format!("sync{seed}")));
    }
}

/// A new scheme of names for sixty, among others who stay, and three who want the names of Kanidm's
/// own accounts.
#[test]
fn a_renaming_of_many_takes_a_few_posts() {
    for plain_conflicts in [false, true] {
        let kanidm =
            KanidmServer::start_with(KanidmOptions { plain_conflicts, ..KanidmOptions::default() });
        for name in ["local0", "local1", "local2"] {
            kanidm.create_person(name, None, None);
        }
        let mut engine = Engine::new(&kanidm, "sync");
        fill(&mut engine, &(0..80).map(person).collect::<Vec<_>>());
        let mut set = ChangeSet::default();
        (0..60).for_each(|n| add_person(&mut set, &Account { n, ..person((n + 1) % 60) }));
        (60..63).for_each(|n| {
            add_person(&mut set, &Account { name: format!("local{}", n - 60), ..person(n) })
        });
        add_group(&mut set, 100, &[person(0).dn, person(60).dn, person(70).dn]);
        let others: Vec<Uuid> = (63..80).map(id).collect();
        let report = Job { others: &others, ..Job::new(&set) }.run(&mut engine).unwrap();
        assert_eq!(
            report.held.iter().map(|held| held.uuid).collect::<BTreeSet<_>>(),
            [60, 61, 62].map(id).into(),
            "{:#?}",
            report.held
        );
        let content = engine.content();
        for n in 0..60 {
            let (seen, wanted) = (&content[&id(n)], person((n + 1) % 60));
            assert_eq!(
                (&seen.name, &seen.external_id, &seen.mail),
                (&Some(wanted.name), &Some(wanted.dn), &Some(wanted.mail))
            );
            assert_eq!(seen.gid, Some(wanted.gid.into()));
        }
        (60..80).for_each(|n| assert_eq!(content[&id(n)].name, Some(person(n).name)));
        assert_eq!(content[&id(100)].members, [59, 60, 70].map(id).into());
        assert!(report.posts < 150 && engine.recycled().is_empty(), "{} POSTs", report.posts);
    }
}

/// Figures, not a test: how many POSTs and how long it takes when every fifth name is that of one
/// of Kanidm's own accounts, in the first run and in the next one, and when all names go round.
/// `COLLISIONS=10,100` chooses the numbers.
#[test]
#[ignore = "figures: cargo test --test upload figures_of_collisions -- --ignored --nocapture"]
fn figures_of_collisions() {
    let wanted = std::env::var("COLLISIONS").unwrap_or_else(|_| "10,100,1000".to_owned());
    println!("| what | entries | POSTs | seconds |\n|---|---|---|---|");
    for taken in wanted.split(',').map(|number| number.parse::<u32>().unwrap()) {
        let kanidm = KanidmServer::start();
        for n in 0..taken {
            kanidm.create_person(&person(n * 5).name, None, None);
        }
        let mut engine = Engine::new(&kanidm, "sync");
        let measure = |what: &str, job: &Job<'_>, engine: &mut Engine<'_>, held: u32| {
            let begun = std::time::Instant::now();
            let report = job.run(engine).unwrap();
            println!(
                "| {what} | {} | {} | {:.1} |",
                job.set.records().len(),
                report.posts,
                begun.elapsed().as_secs_f64()
            );
            assert_eq!(report.held.len(), held as usize);
        };
        let set = |numbers: &mut dyn Iterator<Item = u32>, change: &dyn Fn(Account) -> Account| {
            let mut set = ChangeSet::default();
            numbers.for_each(|n| add_person(&mut set, &change(person(n))));
            set
        };
        let all = set(&mut (0..taken * 5), &|one| one);
        measure(
            "every fifth name is taken",
            &Job { limits: limits(10_000), full: true, ..Job::new(&all) },
            &mut engine,
            taken,
        );
        let held: Vec<u32> = (0..taken).map(|n| n * 5).collect();
        let again = set(&mut held.iter().copied().chain([taken * 5]), &|one| one);
        let tried_before = held.iter().map(|n| id(*n)).collect();
        measure(
            "the next run",
            &Job { tried_before, cookie: "newer", ..Job::new(&again) },
            &mut engine,
            taken,
        );
        let free: Vec<u32> = (0..taken * 5).filter(|n| n % 5 != 0).take(taken as usize).collect();
        let next = |n: u32| free[(free.iter().position(|at| *at == n).unwrap() + 1) % free.len()];
        let rotated = set(&mut free.iter().copied(), &|one| Account {
            name: person(next(one.n)).name,
            ..one
        });
        let others: Vec<Uuid> = (0..taken * 5).map(id).collect();
        measure(
            "names go round",
            &Job {
                others: &others,
                cookie: "newest",
                limits: limits(10_000),
                ..Job::new(&rotated)
            },
            &mut engine,
            0,
        );
    }
}
