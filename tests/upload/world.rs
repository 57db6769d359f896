//! What the random sequences ask of a Kanidm, be it the model or the real engine.

use std::collections::{BTreeMap, BTreeSet};

use kanidm_ldap_sync::kanidm::transport::SyncServer;
use uuid::Uuid;

use crate::support::model::Model;

/// What matters of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub name: Option<String>,
    pub external_id: Option<String>,
    pub mail: Option<String>,
    pub gid: Option<u64>,
    pub members: BTreeSet<Uuid>,
}

/// A Kanidm that can be looked into.
pub trait World: SyncServer {
    /// The entries of the sync account.
    fn content(&mut self) -> BTreeMap<Uuid, Seen>;
    /// Everything in the recycle bin.
    fn recycled(&mut self) -> BTreeSet<Uuid>;
    /// `kanidm system sync force-refresh`.
    fn forget_state(&mut self);
    /// `kanidm system sync set-yield-attributes`: mail, or nothing.
    fn yield_mail(&mut self, yes: bool);
}

impl World for Model {
    fn content(&mut self) -> BTreeMap<Uuid, Seen> {
        let seen = |entry: &crate::support::model::Entry| Seen {
            name: entry.text("name").map(str::to_owned),
            external_id: entry.external_id.clone(),
            mail: entry
                .attributes
                .get("mail")
                .and_then(|m| m[0]["value"].as_str())
                .map(str::to_owned),
            gid: entry.attributes.get("gidnumber").and_then(serde_json::Value::as_u64),
            members: entry.members.clone(),
        };
        self.entries.iter().map(|(uuid, entry)| (*uuid, seen(entry))).collect()
    }

    fn recycled(&mut self) -> BTreeSet<Uuid> {
        self.recycled.keys().copied().collect()
    }

    fn forget_state(&mut self) {
        self.state = None;
    }

    fn yield_mail(&mut self, yes: bool) {
        self.yielded = yes.then(|| "mail".to_owned()).into_iter().collect();
    }
}
