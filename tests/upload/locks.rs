//! An account that the directory locks does not stay open because something else of it is refused.

use std::collections::BTreeSet;

use kanidm_ldap_sync::kanidm::upload::{HeldByKanidm, Limits, UploadError};
use kanidm_ldap_sync::sync::changeset::ChangeSet;
use uuid::Uuid;

use crate::basics::{active, names, stored};
use crate::jobs::{Account, Job, add_person, id, limits, person};

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
            assert!(!report.held[0].reason.contains(STILL_OPEN), "{what}: {}", report.held[0].reason);
            let mut after = model.entries[&id(0)].clone();
            assert_eq!(after.attributes.remove("account_expire"), Some("1970-01-01T00:00:00Z".into()), "{what}");
            assert_eq!(after, before, "{what}: nothing else of it changes");
            assert_eq!((stored(&model).held, model.deleted), (vec![id(0)], vec![]), "{what}");
        }
    }
}

#[test]
fn a_lock_that_kanidm_does_not_take_is_said_to_be_open() {
    for from_refresh in [false, true] {
        let mut model = active(&[person(0), person(1), person(5)]);
        model.foreign_names.insert("admin".to_owned());
        model.foreign.insert(id(9));
        if from_refresh {
            model.state = None;
        }
        let locked = |p: Account| Account { locked: true, ..p };
        let mut set = ChangeSet::default();
        // The name itself is taken; not in Kanidm yet; not ours; and not locked.
        add_person(&mut set, &locked(Account { name: "admin".to_owned(), ..person(0) }));
        add_person(&mut set, &locked(Account { mail: person(5).mail, ..person(8) }));
        add_person(&mut set, &locked(person(9)));
        add_person(&mut set, &Account { mail: person(5).mail, ..person(1) });
        add_person(&mut set, &person(5));
        let report = Job { full: from_refresh, ..Job::new(&set) }.run(&mut model).unwrap();
        let open: BTreeSet<Uuid> = report.held.iter().filter(|h| h.reason.contains(STILL_OPEN)).map(|h| h.uuid).collect();
        assert_eq!(uuids(&report.held), [0, 1, 8, 9].map(id).into());
        assert_eq!(open, [0, 8, 9].map(id).into());
        assert_eq!((names(&model).len(), model.deleted.len()), (3, 0));
    }
}

#[test]
fn locks_are_applied_where_the_search_was_given_up() {
    let mut set = ChangeSet::default();
    (0..6).for_each(|n| add_person(&mut set, &Account { locked: n == 0, bad: true, ..person(n) }));
    for max_refused in 1..10 {
        let mut model = active(&[person(0), person(9)]);
        let few = Limits { max_refused, ..limits(1000) };
        let error = Job { limits: few, ..Job::new(&set) }.run(&mut model).unwrap_err();
        assert!(matches!(error, UploadError::TooManyRefused { .. }), "{error}");
        assert_eq!(model.entries[&id(0)].text("account_expire"), Some("1970-01-01T00:00:00Z"), "{max_refused}");
    }
}
