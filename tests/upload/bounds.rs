//! What a few entries may cost all others: a bad value, a taken name, an account that has ended.

use std::collections::{BTreeSet, HashSet};

use kanidm_ldap_sync::content::Ended;
use kanidm_ldap_sync::content::changeset::ChangeSet;
use kanidm_ldap_sync::kanidm::known::Known;
use kanidm_ldap_sync::kanidm::request::Retention;
use kanidm_ldap_sync::kanidm::sketch::Sketch;
use kanidm_ldap_sync::upload::EndedPerson;
use uuid::Uuid;

use crate::basics::{active, stored};
use crate::jobs::{Account, Job, add_group, add_person, id, person};

/// Groups whose members are groups, in one POST with an entry that Kanidm does not accept.
#[test]
fn a_bad_entry_costs_no_group_its_nested_group() {
    for from_refresh in [false, true] {
        for bad_at in 0..8 {
            let mut model = active(&[person(0)]);
            if from_refresh {
                model.state = None;
            }
            let mut set = ChangeSet::default();
            (0..8).for_each(|n| add_person(&mut set, &Account { bad: n == bad_at, ..person(n) }));
            // 100 has 101, ... , 106 has 107, which has a person.
            (100..107).for_each(|n| add_group(&mut set, n, &[format!("cn=group{},dc=x", n + 1)]));
            add_group(&mut set, 107, &[person(if bad_at == 7 { 6 } else { 7 }).dn]);
            let report = Job { full: from_refresh, ..Job::new(&set) }.run(&mut model).unwrap();
            assert_eq!(report.held.len(), 1);
            let lost: Vec<u32> = (100..107)
                .filter(|n| model.entries[&id(*n)].members != BTreeSet::from([id(n + 1)]))
                .collect();
            assert!(lost.is_empty(), "refresh {from_refresh}, bad {bad_at}: {lost:?} lost members");
        }
    }
}

/// A renaming of many, and one bad entry among them.
#[test]
fn one_bad_entry_makes_a_renaming_of_many_no_dearer() {
    let mut counts = Vec::new();
    for bad_at in [None, Some(0), Some(1), Some(150), Some(299)] {
        let n = 300;
        let mut model = active(&(0..n).map(person).collect::<Vec<_>>());
        let mut set = ChangeSet::default();
        for at in 0..n {
            if Some(at) == bad_at {
                add_person(&mut set, &Account { bad: true, ..person(1000) });
            }
            add_person(&mut set, &Account { name: person((at + 1) % n).name, ..person(at) });
        }
        let others: Vec<Uuid> = (0..n).map(id).collect();
        let report = Job { others: &others, ..Job::new(&set) }.run(&mut model).unwrap();
        counts.push((bad_at, report.posts, report.held.len()));
    }
    assert!(counts.iter().all(|(_, posts, _)| *posts < 120), "{counts:?}");
}

/// A Delete list that is too large for one body.
#[test]
fn a_large_delete_list_takes_few_posts() {
    let mut model = active(&(0..900).map(person).collect::<Vec<_>>());
    model.max_body = Some(8_000);
    let mut set = ChangeSet::default();
    add_person(&mut set, &person(901));
    let retention = Retention::Delete((0..900).map(id).collect());
    let report = Job { retention, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(model.deleted.len(), 900);
    assert!(report.posts <= 16, "{}", report.posts);
}

#[test]
fn bad_and_taken_values_in_any_mixture_stop_nobody_else() {
    for seed in 0..60_u64 {
        let mut random = crate::support::random::Random::seeded(seed);
        let mut below = |n: usize| random.below(n) as u32;
        let n = 60;
        let mut model = active(&(0..n + 40).map(person).collect::<Vec<_>>());
        let mut set = ChangeSet::default();
        let (bads, takens) = (below(10), below(50));
        let mut bad: HashSet<u32> = HashSet::new();
        let mut taken: HashSet<u32> = HashSet::new();
        for _ in 0..bads {
            bad.insert(below(60));
        }
        for _ in 0..takens {
            taken.insert(below(60));
        }
        for at in 0..n {
            let p = Account { bad: bad.contains(&at), gid: 50_000 + at, ..person(at) };
            let p = if taken.contains(&at) {
                Account { name: person(n + at % 40).name, ..p }
            } else {
                p
            };
            add_person(&mut set, &p);
        }
        let dns: Vec<String> = (0..n).map(|n| person(n).dn).collect();
        add_group(&mut set, 1000, &dns);
        let others: Vec<Uuid> = (0..n + 40).map(id).collect();
        let report = Job { others: &others, ..Job::new(&set) }.run(&mut model).unwrap();
        let held: Vec<Uuid> = report.held.iter().map(|h| h.uuid).collect();
        let unique: BTreeSet<Uuid> = held.iter().copied().collect();
        assert_eq!(held.len(), unique.len(), "{seed}: twice");
        assert_eq!(unique, bad.union(&taken).map(|n| id(*n)).collect(), "{seed}");
        let written: BTreeSet<usize> = report.written.iter().copied().collect();
        assert_eq!(written.len(), report.written.len(), "{seed}: written twice");
        assert_eq!(written.len() + unique.len(), n as usize + 1, "{seed}");
        for at in (0..n).filter(|n| !bad.contains(n) && !taken.contains(n)) {
            assert_eq!(
                model.entries[&id(at)].attributes["gidnumber"].as_u64(),
                Some(50_000 + u64::from(at)),
                "{seed} {at}"
            );
        }
        assert_eq!(model.entries[&id(1000)].members.len(), n as usize, "{seed}");
    }
}

/// Held persons whose accounts have ended; an earlier run has closed them all under their own names.
/// One of them has a name that a local account took meanwhile.
#[test]
fn closed_accounts_keep_their_names_from_run_to_run() {
    let n = 60;
    let mut model = active(&(0..n).map(person).collect::<Vec<_>>());
    let mut envelope = stored(&model);
    envelope.known = None;
    model.state = Some(envelope.to_bytes());
    let dns: Vec<String> = (0..n).map(|n| person(n).dn).collect();
    let of_each: Vec<Ended> = (0..n)
        .map(|n| Ended {
            name: Some(if [7, 40].contains(&n) { "admin".to_owned() } else { person(n).name }),
            displayname: "-".to_owned(),
            account_expire: "2020-01-01T00:00:00Z".to_owned(),
        })
        .collect();
    let ended: Vec<EndedPerson<'_>> = (0..)
        .zip(dns.iter().zip(&of_each))
        .map(|(n, (dn, ended))| EndedPerson { uuid: id(n), dn, ended })
        .collect();
    let set = ChangeSet::default();
    let temporary = |model: &crate::support::model::Model| {
        model.entries.values().filter(|e| e.text("name").unwrap().starts_with("tmp-")).count()
    };
    let report = Job { ended: &ended, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!((report.open.len(), report.renamed.len(), temporary(&model)), (0, 2, 2));
    let tried: HashSet<Uuid> = (0..n).map(id).collect();
    for run in 1..6_u128 {
        let mut envelope = stored(&model);
        envelope.known = None;
        model.state = Some(envelope.to_bytes());
        let cookie = format!("run {run}");
        let job = Job {
            ended: &ended,
            tried_before: tried.clone(),
            run: Uuid::from_u128(run * 1_000_003),
            cookie: &cookie,
            ..Job::new(&set)
        };
        job.run(&mut model).unwrap();
        assert_eq!(temporary(&model), 2, "run {run}");
    }
}

fn ended_person(name: Option<String>) -> Ended {
    Ended { name, displayname: "-".to_owned(), account_expire: "2020-01-01T00:00:00Z".to_owned() }
}

/// A full refresh found the person in the recycle bin, so the sketch lost the UUID. An administrator
/// revived the person. The same for an entry that the last full refresh wrote as a group: Kanidm
/// keeps the class person and the password.
#[test]
fn a_person_whom_the_sketch_does_not_have_is_closed_if_kanidm_has_them() {
    for was_group in [false, true] {
        let mut model = active(&[person(0), person(1)]);
        let mut envelope = stored(&model);
        envelope.known = Some(Known {
            persons: Sketch::of([id(1)]),
            groups: Sketch::of([id(0)].into_iter().filter(|_| was_group)),
        });
        model.state = Some(envelope.to_bytes());
        let (dn, ended) = (person(0).dn, ended_person(Some(person(0).name)));
        let ended = [EndedPerson { uuid: id(0), dn: &dn, ended: &ended }];
        let set = ChangeSet::default();
        Job { ended: &ended, ..Job::new(&set) }.run(&mut model).unwrap();
        let expires = model.entries[&id(0)].text("account_expire");
        assert!(expires.is_some(), "was group {was_group}: the account stays open");
    }
}

/// With a yielded name, nobody is closed under a temporary one.
#[test]
fn a_yielded_name_is_not_reported_as_a_temporary_one() {
    let mut model = active(&[person(0)]);
    model.yielded.insert("name".to_owned());
    let (dn, ended) = (person(0).dn, ended_person(None));
    let ended = [EndedPerson { uuid: id(0), dn: &dn, ended: &ended }];
    let set = ChangeSet::default();
    let report = Job { ended: &ended, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(model.entries[&id(0)].text("name"), Some("user0"));
    assert!(report.open.is_empty());
    assert!(report.renamed.is_empty(), "reported as renamed, but is user0");
}

/// Names are yielded, and numbers and addresses pass round among many.
#[test]
fn an_exchange_works_though_names_are_yielded() {
    for n in [3, 20] {
        let mut model = active(&(0..n).map(person).collect::<Vec<_>>());
        model.yielded.insert("name".to_owned());
        let mut set = ChangeSet::default();
        for at in 0..n {
            let next = person((at + 1) % n);
            add_person(&mut set, &Account { gid: next.gid, mail: next.mail, ..person(at) });
        }
        let others: Vec<Uuid> = (0..n).map(id).collect();
        let report = Job { others: &others, ..Job::new(&set) }.run(&mut model).unwrap();
        assert_eq!(report.held.len(), 0, "{n}");
    }
}
