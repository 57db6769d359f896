//! What is refused, by Kanidm or by something in front of it, deletes nobody and loses no deletion.

use kanidm_ldap_sync::content::changeset::ChangeSet;
use kanidm_ldap_sync::kanidm::error::KanidmError;
use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use kanidm_ldap_sync::upload::UploadError;

use crate::basics::active;
use crate::jobs::{Job, add_person, id, limits, person};
use crate::support::model::{Entry, Model};
use crate::support::trouble::{Trouble, Troubled};

fn persons(numbers: impl IntoIterator<Item = u32>) -> ChangeSet {
    let mut set = ChangeSet::default();
    numbers.into_iter().for_each(|n| add_person(&mut set, &person(n)));
    set
}

#[test]
fn a_403_of_a_proxy_deletes_nobody() {
    for forbidden in 0..40_u64 {
        let mut model = Troubled::new(active(&(0..20).map(person).collect::<Vec<_>>()));
        model.server.state = None;
        // For a while, from the list of all entries on, or only now and then.
        model.trouble = (0..forbidden)
            .filter(|at| forbidden < 20 || at % 2 == 0)
            .map(|at| (at, Trouble::Forbidden))
            .collect();
        let set = persons(0..20);
        let result = Job { full: true, limits: limits(5), ..Job::new(&set) }.run(&mut model);
        assert!(result.is_err() || result.is_ok_and(|r| r.held.is_empty()));
        assert_eq!(
            (model.server.deleted.len(), model.server.entries.len()),
            (0, 20),
            "{forbidden}"
        );
    }
}

#[test]
fn a_403_of_a_proxy_loses_no_deletion() {
    let mut model = Troubled::new(active(&[person(0), person(1)]));
    model.trouble.insert(0, Trouble::Forbidden);
    let retention = Retention::Delete(vec![id(0)]);
    let report = Job { retention, ..Job::new(&persons([1])) }.run(&mut model).unwrap();
    assert_eq!((model.server.deleted, report.held), (vec![id(0)], vec![]));
}

/// A Kanidm where an administrator brings everything back after the first POST.
struct Revived(Model);

impl SyncServer for Revived {
    fn state(&mut self) -> Result<SyncState, KanidmError> {
        self.0.state()
    }

    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError> {
        let result = self.0.apply(body);
        let back = std::mem::take(&mut self.0.recycled);
        self.0.entries.extend(back);
        result
    }
}

#[test]
fn nobody_is_left_out_of_the_list_who_was_not_refused_alone() {
    let mut model = active(&(0..9).map(person).collect::<Vec<_>>());
    model.state = None;
    let masked: Entry = model.entries.remove(&id(2)).unwrap();
    model.recycled.insert(id(2), masked);
    let mut server = Revived(model);
    let error = Job { full: true, limits: limits(3), ..Job::new(&persons(0..9)) }
        .run(&mut server)
        .unwrap_err();
    assert!(error.to_string().contains("accepts each entry alone"), "{error}");
    assert_eq!((server.0.deleted.len(), server.0.entries.len()), (0, 9));
}

#[test]
fn a_list_that_nobody_is_left_on_is_not_sent() {
    let mut model = active(&(0..9).map(person).collect::<Vec<_>>());
    model.foreign.extend([id(20), id(21), id(22)]);
    for max_entries in [1, 100] {
        model.state = None;
        let error = Job { full: true, limits: limits(max_entries), ..Job::new(&persons(20..23)) }
            .run(&mut model)
            .unwrap_err();
        assert!(matches!(error, UploadError::EverythingRefused { tried: 3, .. }), "{error}");
        assert_eq!((model.deleted.len(), model.entries.len()), (0, 9));
    }
}
