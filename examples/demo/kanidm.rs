//! A stand-in for Kanidm's side of a synchronisation: what it keeps, and what a POST to
//! `/scim/v1/Sync` does to it.
//!
//! It follows the real one in what the demo shows: a POST is applied wholly or not at all, in the
//! same phases; names are unique; members that it does not know are dropped. `tests/kanidm` has the
//! real engine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Names that Kanidm has given to entries of its own.
const BUILT_IN: [&str; 3] = ["admin", "idm_admin", "idm_admins"];

/// An entry of the sync account.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Its DN in the directory.
    pub external_id: String,
    /// Its name; none while it is only a stub.
    pub name: Option<String>,
    /// For people to read.
    pub display_name: String,
    /// Of a group.
    pub members: Vec<Uuid>,
}

#[derive(Clone)]
struct Content {
    /// `"Refresh"` or `{"Active":{"cookie":…}}`. The cookie is the tool's business, not Kanidm's.
    state: Value,
    entries: BTreeMap<Uuid, Entry>,
}

/// The body of a POST.
#[derive(Deserialize)]
struct Request {
    from_state: Value,
    to_state: Value,
    entries: Vec<Incoming>,
    retain: Retention,
}

#[derive(Deserialize)]
struct Incoming {
    id: Uuid,
    /// None at all: a stub, which leaves the content as it is.
    schemas: Vec<String>,
    #[serde(rename = "externalId")]
    external_id: Option<String>,
    name: Option<String>,
    displayname: Option<String>,
    #[serde(default)]
    member: Vec<Member>,
}

impl Incoming {
    fn is_person(&self) -> bool {
        self.schemas.iter().any(|schema| schema.ends_with(":person"))
    }
}

#[derive(Deserialize)]
struct Member {
    external_id: String,
}

#[derive(Deserialize)]
enum Retention {
    Ignore,
    Retain(Vec<Uuid>),
    Delete(Vec<Uuid>),
}

/// Status and body of an answer.
type Answer = (u16, String);

/// The server's memory. Copies share it.
#[derive(Clone)]
pub struct Kanidm(Arc<Mutex<Content>>);

impl Kanidm {
    /// With a new sync account: nothing in it, and no cookie.
    pub fn new() -> Kanidm {
        Kanidm(Arc::new(Mutex::new(Content { state: json!("Refresh"), entries: BTreeMap::new() })))
    }

    /// The answer to a GET.
    pub fn state(&self) -> String {
        self.content().state.to_string()
    }

    /// The answer to a POST. What fails in the middle has changed nothing.
    pub fn apply(&self, body: &[u8]) -> Answer {
        let request: Request = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(error) => return (422, error.to_string()),
        };
        let mut content = self.content();
        let mut changed = content.clone();
        match changed.apply(request) {
            Ok(()) => {
                *content = changed;
                (200, "null".to_owned())
            }
            Err(refusal) => refusal,
        }
    }

    /// Everything it has of the sync account.
    pub fn entries(&self) -> BTreeMap<Uuid, Entry> {
        self.content().entries.clone()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// The phases, in Kanidm's order.
    fn apply(&mut self, request: Request) -> Result<(), Answer> {
        let refresh = request.from_state == json!("Refresh");
        if !refresh && request.from_state != self.state {
            return Err((500, json!("invalidsyncstate").to_string()));
        }
        let before = self.entries.clone();
        // 1. Every entry exists, under its DN, so that members can be found whatever the order.
        for incoming in &request.entries {
            let entry = self.entries.entry(incoming.id).or_default();
            if let Some(dn) = &incoming.external_id {
                entry.external_id.clone_from(dn);
            }
        }
        // 2. A refresh is the whole content: what it does not list is gone.
        if refresh {
            self.entries
                .retain(|uuid, _| request.entries.iter().any(|incoming| incoming.id == *uuid));
        }
        // 3. Names, texts, members.
        let by_dn: HashMap<String, Uuid> =
            self.entries.iter().map(|(uuid, e)| (e.external_id.to_lowercase(), *uuid)).collect();
        let mut incomplete = false;
        for incoming in request.entries.into_iter().filter(|incoming| !incoming.schemas.is_empty())
        {
            let Some(entry) = self.entries.get_mut(&incoming.id) else { continue };
            incomplete |= incoming.is_person() && incoming.displayname.is_none();
            entry.name = incoming.name;
            entry.display_name = incoming.displayname.unwrap_or_default();
            entry.members = incoming
                .member
                .iter()
                .filter_map(|m| by_dn.get(&m.external_id.to_lowercase()).copied())
                .collect();
        }
        self.check_names(&before)?;
        if incomplete {
            return Err((
                400,
                json!({ "schemaviolation": { "missingmustattribute": ["displayname"] } })
                    .to_string(),
            ));
        }
        // 4. Deletions come last, and so do not make room for anything in the same POST.
        match request.retain {
            Retention::Ignore => {}
            Retention::Retain(stay) => self.entries.retain(|uuid, _| stay.contains(uuid)),
            Retention::Delete(go) => self.entries.retain(|uuid, _| !go.contains(uuid)),
        }
        // 5. References to what is gone go as well, and the cookie moves.
        let there: Vec<Uuid> = self.entries.keys().copied().collect();
        self.entries
            .values_mut()
            .for_each(|entry| entry.members.retain(|member| there.contains(member)));
        self.state = request.to_state;
        Ok(())
    }

    /// Persons, groups and Kanidm's own share one set of names. What was there before the POST
    /// counts too: two entries cannot swap names.
    fn check_names(&self, before: &BTreeMap<Uuid, Entry>) -> Result<(), Answer> {
        let names = self
            .entries
            .iter()
            .chain(before.iter().filter(|(uuid, _)| self.entries.contains_key(uuid)));
        let owners: BTreeSet<(&str, Uuid)> =
            names.filter_map(|(uuid, entry)| Some((entry.name.as_deref()?, *uuid))).collect();
        let mut names: Vec<&str> =
            owners.into_iter().map(|(name, _)| name).chain(BUILT_IN).collect();
        names.sort_unstable();
        if names.windows(2).all(|pair| pair[0] != pair[1]) {
            return Ok(());
        }
        Err((
            409,
            json!({ "error": "attributeuniqueness", "conflicting_attributes": ["name"] })
                .to_string(),
        ))
    }
}
