//! The search for the entries that collide ends: what is not found out is held, and neither fails
//! the run nor leaves members wrong.

use std::collections::BTreeSet;

use kanidm_ldap_sync::content::changeset::ChangeSet;
use kanidm_ldap_sync::content::scim::ScimPerson;
use kanidm_ldap_sync::upload::{HeldByKanidm, Limits, UploadError};
use uuid::Uuid;

use crate::basics::{active, names, stored};
use crate::jobs::{Account, Job, add_group, add_person, id, limits, person};

fn uuids(held: &[HeldByKanidm]) -> BTreeSet<Uuid> {
    held.iter().map(|h| h.uuid).collect()
}

#[test]
fn many_collisions_are_held_and_fail_no_run() {
    let mut model = active(&(500..560).map(person).collect::<Vec<_>>());
    let mut set = ChangeSet::default();
    (0..60).for_each(|n| add_person(&mut set, &Account { n, dn: person(n).dn, ..person(500 + n) }));
    add_person(&mut set, &person(90));
    let others: Vec<Uuid> = (500..560).map(id).collect();
    let report = Job { others: &others, ..Job::new(&set) }.run(&mut model).unwrap();
    assert_eq!(uuids(&report.held), (0..60).map(id).collect());
    assert!(names(&model).contains("user90"));
    assert_eq!(stored(&model).unfinished, None, "the cookie has moved");
    let looked_for = |h: &&HeldByKanidm| h.reason.contains("that this run does not touch");
    assert!(report.held.iter().filter(looked_for).count() > 5, "{:#?}", report.held);
    assert!(report.posts <= 60 * 3 + 40 * 4 + 1_000 + 10, "{}", report.posts);
}

fn add_with_mails(set: &mut ChangeSet, p: &Account, mails: &[String]) {
    let entry = ScimPerson {
        id: id(p.n),
        name: &p.name,
        displayname: "-",
        legalname: None,
        gidnumber: Some(p.gid),
        loginshell: None,
        password_import: None,
        unix_password_import: None,
        mail: mails.iter().map(String::as_str),
        ssh_publickey: std::iter::empty(),
        account_valid_from: None,
        account_expire: None,
        totp_room: 0,
    };
    set.push_person(&p.dn, entry).unwrap();
}

#[test]
fn an_entry_of_very_many_addresses_costs_a_few_questions() {
    let mails = |n: u32| (0..4_000).map(|at| format!("m{at}@user{n}")).collect::<Vec<_>>();
    let mut model = active(&[person(0), person(1), person(2)]);
    let mut set = ChangeSet::default();
    // A swap of names, with many addresses that are free; and one of many that is not.
    add_with_mails(&mut set, &Account { name: person(1).name, ..person(0) }, &mails(0));
    add_with_mails(&mut set, &Account { name: person(0).name, ..person(1) }, &mails(1));
    let taken: Vec<String> = mails(3).into_iter().chain([person(2).mail]).collect();
    add_with_mails(&mut set, &person(3), &taken);
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(uuids(&report.held), BTreeSet::from([id(3)]), "{:#?}", report.held);
    assert_eq!(model.entries[&id(0)].text("name"), Some("user1"));
    assert!(report.posts < 100, "{}", report.posts);
}

#[test]
fn nobody_gets_a_temporary_name_for_an_address_that_was_not_asked_for() {
    let mails: Vec<String> = (0..20).map(|at| format!("m{at}@x")).chain([person(2).mail]).collect();
    let mut model = active(&[person(0), person(1), person(2)]);
    let mut set = ChangeSet::default();
    add_with_mails(&mut set, &Account { name: person(1).name, ..person(0) }, &mails);
    add_person(&mut set, &Account { name: person(0).name, ..person(1) });
    let report = Job::new(&set).run(&mut model).unwrap();
    assert_eq!(uuids(&report.held), BTreeSet::from([id(0), id(1)]));
    assert_eq!(names(&model), (0..3).map(|n| person(n).name).collect());
}

#[test]
fn members_are_settled_where_the_search_was_given_up() {
    let mut set = ChangeSet::default();
    // They swap DNs, and one of them cannot have its name.
    add_person(&mut set, &Account { dn: person(1).dn, ..person(0) });
    add_person(&mut set, &Account { dn: person(0).dn, name: "admin".to_owned(), ..person(1) });
    (10..18).for_each(|n| add_person(&mut set, &Account { bad: true, ..person(n) }));
    add_group(&mut set, 100, &[person(1).dn, person(2).dn]);
    let mut given_up = 0;
    for max_refused in 1..30 {
        let mut model = active(&[person(0), person(1), person(2)]);
        model.foreign_names.insert("admin".to_owned());
        let few = Limits { max_refused, ..limits(1000) };
        match (Job { limits: few, ..Job::new(&set) }).run(&mut model) {
            Err(UploadError::TooManyRefused { .. }) => given_up += 1,
            Err(error) => panic!("{error}"),
            Ok(_) => {}
        }
        if let Some(group) = model.entries.get(&id(100)) {
            assert!(!group.members.contains(&id(1)), "{max_refused}: {:?}", group.members);
        }
    }
    assert!(given_up > 5, "{given_up}");
}
