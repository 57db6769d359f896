//! What the random sequences ask of a Kanidm, be it the model or the real engine.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::support::inside::Inside;
use crate::support::kanidm::KanidmEntry;

/// What matters of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub name: Option<String>,
    pub external_id: Option<String>,
    pub mail: Option<String>,
    pub gid: Option<u64>,
    pub members: BTreeSet<Uuid>,
}

/// A Kanidm with the entries as [`Seen`].
pub trait World: Inside {
    fn content(&mut self) -> BTreeMap<Uuid, Seen> {
        let seen = |entry: KanidmEntry| Seen {
            name: entry.name,
            external_id: entry.external_id,
            mail: entry.mail.into_iter().next().map(|mail| mail.value),
            gid: entry.gidnumber.map(u64::from),
            members: entry.member.into_iter().collect(),
        };
        self.entries().into_iter().map(|entry| (entry.uuid, seen(entry))).collect()
    }
}

impl<K: Inside> World for K {}
