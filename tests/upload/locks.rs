//! An account that the directory locks does not stay open because something else of it is refused.

use std::collections::{BTreeSet, HashSet};

use kanidm_ldap_sync::content::Ended;
use kanidm_ldap_sync::content::changeset::ChangeSet;
use kanidm_ldap_sync::upload::{EndedPerson, HeldByKanidm, Limits, UploadError};
use uuid::Uuid;

use crate::basics::{active, names, stored};
use crate::jobs::{Account, Job, add_person, id, limits, person};
use crate::support::model::Model;

const STILL_OPEN: &str = "while the entry is held Kanidm keeps the state it has";

fn uuids(held: &[HeldByKanidm]) -> BTreeSet<Uuid> {
    held.iter().map(|h| h.uuid).collect()
}

#[test]
fn a_lock_is_applied_while_the_rest_is_held() {
    for (what, refused) in [
        ("address", Account { mail: person(5).mail, ..person(0) }),
        ("number", Account { gid: person(5).gid, ..person(0) }),
        ("password", Account { bad: true, ..person(0) }),
    ] {
        for from_refresh in [false, true] {
            let mut model = active(&[person(0), person(5)]);
            let before = model.entries[&id(0)].clone();
            if from_refresh {
                model.state = None;
            }
            let mut set = ChangeSet::default();
            add_person(&mut set, &Account { locked: true, ..refused.clone() });
            add_person(&mut set, &person(5));
            let report = Job { full: from_refresh, ..Job::new(&set) }.run(&mut model).unwrap();
            assert_eq!(uuids(&report.held), BTreeSet::from([id(0)]), "{what}");
            assert!(
                !report.held[0].reason.contains(STILL_OPEN),
                "{what}: {}",
                report.held[0].reason
            );
            let mut after = model.entries[&id(0)].clone();
            assert_eq!(
                after.attributes.remove("account_expire"),
                Some("1970-01-01T00:00:00Z".into()),
                "{what}"
            );
            assert_eq!(after, before, "{what}: nothing else of it changes");
            assert_eq!((stored(&model).held, model.deleted), (vec![id(0)], vec![]), "{what}");
        }
    }
}

const LOCKED: &str = "locked in Kanidm, by a temporary name";

/// Whoever is locked cannot keep the account open by a name that is somebody else's.
#[test]
fn a_lock_does_not_wait_for_a_name() {
    for from_refresh in [false, true] {
        let mut model = active(&[person(0), person(1), person(2), person(5)]);
        let before = model.entries[&id(0)].clone();
        model.foreign_names.insert("admin".to_owned());
        if from_refresh {
            model.state = None;
        }
        let mut set = ChangeSet::default();
        add_person(&mut set, &Account { locked: true, name: "admin".to_owned(), ..person(0) });
        // Who may still log in keeps the name.
        add_person(&mut set, &Account { name: "admin".to_owned(), ..person(1) });
        add_person(&mut set, &person(2));
        add_person(&mut set, &person(5));
        let report = Job { full: from_refresh, ..Job::new(&set) }.run(&mut model).unwrap();
        let closed: BTreeSet<Uuid> =
            report.held.iter().filter(|h| h.reason.contains(LOCKED)).map(|h| h.uuid).collect();
        assert_eq!(
            (uuids(&report.held), closed),
            ([0, 1].map(id).into(), [id(0)].into()),
            "{:#?}",
            report.held
        );
        let mut after = model.entries[&id(0)].clone();
        assert_eq!(after.attributes.remove("account_expire"), Some("1970-01-01T00:00:00Z".into()));
        assert_eq!(
            after.attributes.insert("name".into(), before.text("name").into()),
            Some(temporary_name(0).into())
        );
        assert_eq!(after, before, "nothing else of it changes");
        assert_eq!(model.entries[&id(1)].text("name"), Some("user1"));

        // With a name of its own it is as any other.
        let mut mended = ChangeSet::default();
        add_person(&mut mended, &Account { locked: true, ..person(0) });
        let report = Job { cookie: "newer", ..Job::new(&mended) }.run(&mut model).unwrap();
        assert_eq!((report.held, model.entries[&id(0)].text("name")), (vec![], Some("user0")));
    }
}

/// Those that are held by the mapping, which has no record of them.
#[test]
fn accounts_that_have_ended_are_closed_though_the_mapping_holds_them() {
    for (from_refresh, tried) in [(false, false), (true, false), (false, true)] {
        let mut model = active(&[person(0), person(1), person(5)]);
        let before = model.entries[&id(0)].clone();
        if from_refresh {
            model.state = None;
        }
        let mut set = ChangeSet::default();
        add_person(&mut set, &person(1));
        add_person(&mut set, &person(5));
        let gone = Ended {
            name: None,
            displayname: "User 0".to_owned(),
            account_expire: "2020-01-01T00:00:00Z".to_owned(),
        };
        // Kanidm does not have the second; the third has the DN of somebody else.
        let ended = [(id(0), person(0).dn), (id(8), person(8).dn), (id(9), person(5).dn)];
        let stubs: Vec<(Uuid, String)> = ended[..2].to_vec();
        let ended: Vec<EndedPerson<'_>> =
            ended.iter().map(|(uuid, dn)| EndedPerson { uuid: *uuid, dn, ended: &gone }).collect();
        let tried_before = if tried { [id(0), id(8), id(9)].into() } else { Default::default() };
        let job = Job {
            full: from_refresh,
            stubs: &stubs,
            ended: &ended,
            tried_before,
            ..Job::new(&set)
        };
        let report = job.run(&mut model).unwrap();
        assert_eq!((report.open, report.held), ([8, 9].map(id).into(), vec![]));
        let mut after = model.entries[&id(0)].clone();
        assert_eq!(after.attributes.remove("account_expire"), Some("2020-01-01T00:00:00Z".into()));
        assert_eq!(after.attributes.remove("name"), Some(temporary_name(0).into()));
        assert_eq!(after.text("displayname"), Some("User 0"));
        assert_eq!(after.attributes.get("mail"), before.attributes.get("mail"));
        assert!(
            model.entries.get(&id(8)).is_none_or(|entry| entry.text("name").is_none()),
            "nobody comes into being by a lock"
        );
        assert_eq!(stored(&model).cookie.as_deref(), Some(&b"new"[..]));
    }
}

fn temporary_name(n: u32) -> String {
    format!("tmp-{}", id(n).simple())
}

#[test]
fn a_lock_that_kanidm_does_not_take_is_said_to_be_open() {
    for from_refresh in [false, true] {
        let mut model = active(&[person(0), person(1), person(5)]);
        model.foreign.insert(id(9));
        if from_refresh {
            model.state = None;
        }
        let locked = |p: Account| Account { locked: true, ..p };
        let mut set = ChangeSet::default();
        // The DN is taken; not in Kanidm yet; not ours; and not locked.
        add_person(&mut set, &locked(Account { dn: person(5).dn, ..person(0) }));
        add_person(&mut set, &locked(Account { mail: person(5).mail, ..person(8) }));
        add_person(&mut set, &locked(person(9)));
        add_person(&mut set, &Account { mail: person(5).mail, ..person(1) });
        add_person(&mut set, &person(5));
        let report = Job { full: from_refresh, ..Job::new(&set) }.run(&mut model).unwrap();
        let open: BTreeSet<Uuid> =
            report.held.iter().filter(|h| h.reason.contains(STILL_OPEN)).map(|h| h.uuid).collect();
        assert_eq!(uuids(&report.held), [0, 1, 8, 9].map(id).into());
        assert_eq!(open, [0, 8, 9].map(id).into());
        assert_eq!((names(&model).len(), model.deleted.len()), (3, 0));
    }
}

#[test]
fn locks_are_applied_where_the_search_was_given_up() {
    let mut set = ChangeSet::default();
    (0..6).for_each(|n| add_person(&mut set, &Account { locked: n == 0, bad: true, ..person(n) }));
    for max_refused in 1..6 {
        let mut model = active(&[person(0), person(9)]);
        let few = Limits { max_refused, ..limits(1000) };
        let error = Job { limits: few, ..Job::new(&set) }.run(&mut model).unwrap_err();
        assert!(matches!(error, UploadError::TooManyRefused { .. }), "{error}");
        assert_eq!(
            model.entries[&id(0)].text("account_expire"),
            Some("1970-01-01T00:00:00Z"),
            "{max_refused}"
        );
    }
}

/// Persons whom the mapping holds, and whose accounts have ended. `named`: with their own names.
fn gone(named: bool) -> impl Fn(u32) -> Ended {
    move |n| Ended {
        name: named.then(|| person(n).name),
        displayname: "-".to_owned(),
        account_expire: "2020-01-01T00:00:00Z".to_owned(),
    }
}

fn is_closed(model: &Model, n: u32) -> bool {
    model.entries[&id(n)].text("account_expire") == Some("2020-01-01T00:00:00Z")
}

#[test]
fn a_closed_account_keeps_its_name_if_kanidm_accepts_it() {
    let mut model = active(&[person(0), person(1), person(2)]);
    let dns = [person(0).dn, person(1).dn, person(2).dn];
    let ended = [
        gone(true)(0),
        Ended { name: Some(person(2).name), ..gone(true)(1) },
        Ended { name: None, ..gone(true)(2) },
    ];
    let ended: Vec<EndedPerson<'_>> = (0..)
        .zip(dns.iter().zip(&ended))
        .map(|(n, (dn, ended))| EndedPerson { uuid: id(n), dn, ended })
        .collect();
    let set = ChangeSet::default();
    let report = Job { ended: &ended, ..Job::new(&set) }.run(&mut model).unwrap();
    assert!((0..3).all(|n| is_closed(&model, n)));
    assert_eq!((report.open, report.renamed), ([].into(), [1, 2].map(id).into()));
    assert_eq!(model.entries[&id(0)].text("name"), Some("user0"));
}

#[test]
fn accounts_are_closed_where_the_search_was_given_up() {
    let mut set = ChangeSet::default();
    (10..130).for_each(|n| add_person(&mut set, &Account { bad: true, ..person(n) }));
    let (dn, ended) = (person(0).dn, gone(true)(0));
    let ended = [EndedPerson { uuid: id(0), dn: &dn, ended: &ended }];
    for max_refused in [0, 3, Limits::MAX_REFUSED] {
        let mut model = active(&[person(0)]);
        let few = Limits { max_refused, ..limits(1000) };
        let error =
            Job { limits: few, ended: &ended, ..Job::new(&set) }.run(&mut model).unwrap_err();
        let all = max_refused == Limits::MAX_REFUSED;
        assert_eq!(matches!(error, UploadError::EverythingRefused { .. }), all, "{error}");
        assert!(is_closed(&model, 0), "{max_refused}");
    }
}

/// Kanidm refuses most of them in every run. They must not hide the one that it accepts.
#[test]
fn an_account_is_closed_among_many_that_cannot_be() {
    let held = |n: u32| n == 0 || n >= 100;
    let persons: Vec<u32> = (0..160).filter(|n| held(*n)).collect();
    let dns: Vec<String> = persons.iter().map(|n| person(*n).dn).collect();
    let of_each: Vec<Ended> = persons.iter().map(|n| gone(false)(*n)).collect();
    let mut ended: Vec<EndedPerson<'_>> = persons
        .iter()
        .zip(dns.iter().zip(&of_each))
        .map(|(n, (dn, ended))| EndedPerson { uuid: id(*n), dn, ended })
        .collect();
    ended.rotate_left(30);
    let set = ChangeSet::default();
    let tried: HashSet<Uuid> = persons.iter().map(|n| id(*n)).collect();

    // Kanidm is known not to have the others.
    let mut model = active(&[person(0)]);
    let job = Job { ended: &ended, tried_before: tried.clone(), ..Job::new(&set) };
    let report = job.run(&mut model).unwrap();
    assert_eq!((is_closed(&model, 0), report.open.len()), (true, 60));

    // They belong to another sync account, and each run begins at another one.
    let mut runs = 0_u128;
    let mut model = active(&[person(0)]);
    let mut envelope = stored(&model);
    envelope.known = None;
    model.state = Some(envelope.to_bytes());
    while !is_closed(&model, 0) {
        runs += 1;
        assert!(runs < 100, "it is never its turn");
        model.foreign.extend((100..160).map(id));
        let run = Uuid::from_u128(runs);
        let cookie = format!("run {runs}");
        let job = Job {
            run,
            ended: &ended,
            tried_before: tried.clone(),
            cookie: &cookie,
            ..Job::new(&set)
        };
        job.run(&mut model).unwrap();
    }
}

#[test]
fn a_yielded_attribute_keeps_no_account_open_and_renames_nobody() {
    for known in [false, true] {
        for (attribute, closes) in
            [("name", true), ("displayname", true), ("account_expire", false)]
        {
            let mut model = active(&[person(0), person(1)]);
            let before = model.entries[&id(0)].clone();
            model.yielded.insert(attribute.to_owned());
            if known {
                let mut envelope = stored(&model);
                envelope.yielded.insert(attribute.to_owned());
                model.state = Some(envelope.to_bytes());
            }
            let dns = [person(0).dn, person(1).dn];
            let all = [0, 1].map(gone(false));
            let ended: Vec<EndedPerson<'_>> = (0..)
                .zip(dns.iter().zip(&all))
                .map(|(n, (dn, ended))| EndedPerson { uuid: id(n), dn, ended })
                .collect();
            let set = ChangeSet::default();
            let report = Job { ended: &ended, ..Job::new(&set) }.run(&mut model).unwrap();
            assert_eq!(
                (is_closed(&model, 0), report.open.len()),
                (closes, if closes { 0 } else { 2 })
            );
            if attribute != "displayname" {
                let name = model.entries[&id(0)].text("name");
                assert_eq!(name, before.text("name"), "{attribute}");
            }
        }
    }
}
