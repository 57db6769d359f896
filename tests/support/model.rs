//! A model of Kanidm's `/scim/v1/Sync`: what it does with a POST, phase by phase.
//!
//! It holds what matters to an upload: which entries there are, under which values that have to be
//! unique, who is whose member, what is in the recycle bin. The order of checks is the engine's: a
//! masked entry is found before anything else, then the externalIds, then the types of the values,
//! imported passwords, the other unique values, and the schema last.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kanidm_ldap_sync::kanidm::error::{Answer, KanidmError};
use kanidm_ldap_sync::kanidm::request::RequestBody;
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use serde_json::{Map, Value};
use uuid::Uuid;

/// What Kanidm has of one entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    pub external_id: Option<String>,
    pub classes: BTreeSet<String>,
    pub attributes: BTreeMap<String, Value>,
    pub members: BTreeSet<Uuid>,
}

impl Entry {
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).and_then(Value::as_str)
    }
}

/// The server.
#[derive(Default)]
pub struct Model {
    pub state: Option<Vec<u8>>,
    pub entries: BTreeMap<Uuid, Entry>,
    pub recycled: BTreeMap<Uuid, Entry>,
    /// Externalids that were given up in a POST which also looked them up for a member: they are
    /// found until another entry takes them.
    pub remembered: BTreeMap<String, Uuid>,
    /// Names of entries that are not of this sync account.
    pub foreign_names: BTreeSet<String>,
    /// Groups that an application of Kanidm needs.
    pub linked: BTreeSet<Uuid>,
    /// Entries of another sync account.
    pub foreign: BTreeSet<Uuid>,
    /// Attributes that are yielded to Kanidm.
    pub yielded: BTreeSet<String>,
    /// Bytes of a body; more is 413.
    pub max_body: Option<u64>,
    /// Whether a 409 names the attributes, as newer versions do.
    pub names_conflicts: bool,
    /// All POSTs that arrived: entries, status, whether it deletes.
    pub posts: Vec<Post>,
    /// Everything that was ever deleted, in order.
    pub deleted: Vec<Uuid>,
}

/// A POST that arrived.
#[derive(Clone, Debug)]
pub struct Post {
    pub entries: usize,
    pub status: u16,
    pub retention: bool,
    pub from_refresh: bool,
}

type Refusal = (u16, String);

impl Model {
    fn sync_state(&self) -> SyncState {
        self.state.clone().map_or(SyncState::Refresh, |cookie| SyncState::Active { cookie })
    }

    /// The body of a POST, as it comes over HTTP: status and body of the answer.
    #[allow(dead_code, reason = "the tests of the upload have no HTTP in between")]
    pub fn post(&mut self, bytes: &[u8]) -> (u16, String) {
        self.arrive(bytes).err().unwrap_or_else(|| (200, "null".to_owned()))
    }

    /// The answer to a GET.
    #[allow(dead_code, reason = "the tests of the upload have no HTTP in between")]
    pub fn state_text(&self) -> String {
        self.sync_state().to_json()
    }

    fn arrive(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let request: Value = serde_json::from_slice(bytes).expect("a POST is JSON");
        let mut next = Tables {
            entries: self.entries.clone(),
            recycled: self.recycled.clone(),
            remembered: self.remembered.clone(),
            given_up: BTreeMap::new(),
            deleted: Vec::new(),
            names_conflicts: self.names_conflicts,
            yielded: self.yielded.clone(),
        };
        let entries = request["entries"].as_array().expect("entries is an array");
        let result = if self.max_body.is_some_and(|max| bytes.len() as u64 > max) {
            Err((413, "length limit exceeded".to_owned()))
        } else {
            self.transaction(&mut next, &request, entries)
        };
        self.posts.push(Post {
            entries: entries.len(),
            status: result.as_ref().map_or_else(|e| e.0, |()| 200),
            retention: request["retain"] != "Ignore",
            from_refresh: request["from_state"] == "Refresh",
        });
        result?;
        self.entries = next.entries;
        self.recycled = next.recycled;
        self.remembered = next.remembered;
        self.deleted.append(&mut next.deleted);
        self.state = cookie(&request["to_state"]);
        Ok(())
    }

    fn transaction(
        &self,
        tables: &mut Tables,
        request: &Value,
        entries: &[Value],
    ) -> Result<(), Refusal> {
        let refresh = request["from_state"] == "Refresh";
        if !refresh && cookie(&request["from_state"]) != self.state {
            return Err((500, r#""invalidsyncstate""#.to_owned()));
        }
        let entries: BTreeMap<Uuid, &Map<String, Value>> = entries
            .iter()
            .map(|e| (uuid_of(&e["id"]), e.as_object().expect("an entry is an object")))
            .collect();
        if !entries.is_empty() {
            tables.phase_2(&entries, &self.foreign)?;
        }
        if refresh {
            let gone: Vec<Uuid> =
                tables.entries.keys().copied().filter(|u| !entries.contains_key(u)).collect();
            if gone.iter().any(|u| self.linked.contains(u)) {
                return Err((
                    400,
                    r#"{"schemaviolation":{"missingmustattribute":["linked_group"]}}"#.to_owned(),
                ));
            }
            tables.delete(&gone);
        }
        if !entries.is_empty() {
            tables.phase_3(&entries, &self.foreign_names)?;
        }
        self.phase_4(tables, &request["retain"])
    }

    fn phase_4(&self, tables: &mut Tables, retain: &Value) -> Result<(), Refusal> {
        let list = |key: &str| {
            retain[key].as_array().map(|l| l.iter().map(uuid_of).collect::<BTreeSet<_>>())
        };
        if let Some(kept) = list("Retain") {
            let gone: Vec<Uuid> =
                tables.entries.keys().copied().filter(|u| !kept.contains(u)).collect();
            tables.delete(&gone);
        } else if let Some(gone) = list("Delete") {
            // Kanidm's own `anonymous` is there, too.
            if gone
                .iter()
                .any(|u| self.foreign.contains(u) || *u == Uuid::from_u128(0xffff_ffff_ffff))
            {
                return Err((403, r#""accessdenied""#.to_owned()));
            }
            let gone: Vec<Uuid> =
                gone.into_iter().filter(|u| tables.entries.contains_key(u)).collect();
            tables.delete(&gone);
        } else {
            assert_eq!(retain, "Ignore");
        }
        Ok(())
    }
}

/// The content while a POST is worked on.
struct Tables {
    entries: BTreeMap<Uuid, Entry>,
    recycled: BTreeMap<Uuid, Entry>,
    remembered: BTreeMap<String, Uuid>,
    /// ExternalIds that this POST takes from an entry.
    given_up: BTreeMap<String, Uuid>,
    deleted: Vec<Uuid>,
    names_conflicts: bool,
    yielded: BTreeSet<String>,
}

impl Tables {
    /// Stubs and externalIds.
    fn phase_2(
        &mut self,
        entries: &BTreeMap<Uuid, &Map<String, Value>>,
        foreign: &BTreeSet<Uuid>,
    ) -> Result<(), Refusal> {
        if entries.keys().any(|u| self.recycled.contains_key(u)) {
            return Err((500, r#""invalidentrystate""#.to_owned()));
        }
        let before = self.entries.clone();
        for uuid in entries.keys().filter(|u| !foreign.contains(*u)) {
            self.entries.entry(*uuid).or_default();
        }
        let ids: Vec<(Uuid, String)> = entries
            .iter()
            .filter_map(|(u, e)| Some((*u, e.get("externalId")?.as_str()?.to_lowercase())))
            .collect();
        if ids.is_empty() {
            return Err((400, r#""emptyrequest""#.to_owned()));
        }
        if entries.keys().any(|u| foreign.contains(u)) {
            return Err((500, r#""modifyassertionfailed""#.to_owned()));
        }
        let taken = |(uuid, id): &(Uuid, String)| {
            ids.iter().any(|(u, i)| u != uuid && i == id)
                || before.iter().any(|(u, e)| u != uuid && e.external_id.as_ref() == Some(id))
        };
        if ids.iter().any(taken) {
            return Err(self.conflict("sync_external_id"));
        }
        for (uuid, id) in ids {
            self.remembered.remove(&id);
            let old =
                self.entries.get_mut(&uuid).expect("made above").external_id.replace(id.clone());
            self.given_up.extend(old.filter(|old| *old != id).map(|old| (old, uuid)));
        }
        Ok(())
    }

    /// Contents.
    fn phase_3(
        &mut self,
        entries: &BTreeMap<Uuid, &Map<String, Value>>,
        foreign_names: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let mut next = BTreeMap::new();
        for (uuid, wanted) in entries {
            let old = self.entries[uuid].clone();
            next.insert(*uuid, self.modified(old, wanted)?);
        }
        for entry in next.values() {
            let broken = |key: &str| entry.text(key).is_some_and(|p| p.starts_with("{BAD}"));
            if broken("password_import") {
                return Err((500, r#"{"plugin":{"credimport":"unable to convert"}}"#.to_owned()));
            }
            if entry.attributes.contains_key("totp_import")
                && !entry.attributes.contains_key("password_import")
            {
                return Err((500, r#"{"plugin":{"credimport":"no password"}}"#.to_owned()));
            }
            if entry.attributes.contains_key("loginshell")
                && !entry.attributes.contains_key("gidnumber")
            {
                return Err((500, r#""invalidattribute""#.to_owned()));
            }
        }
        self.check_unique(&next, foreign_names)?;
        for entry in next.values() {
            check_schema(entry)?;
        }
        self.entries.append(&mut next);
        Ok(())
    }

    fn modified(&mut self, old: Entry, wanted: &Map<String, Value>) -> Result<Entry, Refusal> {
        let invalid = |name: &str| (400, format!(r#"{{"invalidattribute":"{name}"}}"#));
        let mut entry = old;
        let schemas: Vec<&str> = wanted["schemas"]
            .as_array()
            .expect("schemas")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let owned = schemas
            .iter()
            .flat_map(|s| owned_by(s.rsplit(':').next().unwrap_or_default()))
            .copied();
        let owned: BTreeSet<&str> =
            owned.filter(|attribute| !self.yielded.contains(*attribute)).collect();
        entry
            .classes
            .extend(schemas.iter().filter_map(|s| s.rsplit(':').next()).map(str::to_owned));
        for attribute in owned.iter().filter(|a| !a.ends_with("_import")) {
            entry.attributes.remove(*attribute);
            if *attribute == "member" {
                entry.members.clear();
            }
        }
        for (name, value) in
            wanted.iter().filter(|(k, _)| !["schemas", "id", "externalId"].contains(&k.as_str()))
        {
            if !owned.contains(name.as_str()) {
                return Err((500, r#""invalidentrystate""#.to_owned()));
            }
            let fits = match name.as_str() {
                "gidnumber" => value.is_u64(),
                // An empty list has no type.
                "mail" | "member" | "ssh_publickey" | "totp_import" => {
                    value.as_array().is_some_and(|list| !list.is_empty())
                }
                _ => value.is_string(),
            };
            if !fits || (name == "mail" && value.to_string().contains("bad!")) {
                return Err(invalid(name));
            }
            if name == "member" {
                let ids = value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|m| m["external_id"].as_str());
                entry.members =
                    ids.filter_map(|id| self.resolve(id).transpose()).collect::<Result<_, _>>()?;
            } else {
                entry.attributes.insert(name.clone(), value.clone());
            }
        }
        Ok(entry)
    }

    /// A UUID must be that of an entry; an externalId need not, and one that this POST takes from
    /// an entry finds it still, from then on.
    fn resolve(&mut self, id: &str) -> Result<Option<Uuid>, Refusal> {
        let id = id.to_lowercase();
        if let Ok(uuid) = Uuid::parse_str(&id) {
            return match self.entries.contains_key(&uuid) {
                true => Ok(Some(uuid)),
                false => Err((500, r#"{"plugin":{"referentialintegrity":"Uuid referenced not found in database"}}"#.to_owned())),
            };
        }
        if let Some((uuid, _)) =
            self.entries.iter().find(|(_, e)| e.external_id.as_ref() == Some(&id))
        {
            return Ok(Some(*uuid));
        }
        if let Some(uuid) = self.given_up.get(&id) {
            self.remembered.insert(id.clone(), *uuid);
        }
        Ok(self.remembered.get(&id).copied().filter(|uuid| self.entries.contains_key(uuid)))
    }

    /// Against each other, and against what was stored before: two entries cannot swap.
    fn check_unique(
        &self,
        next: &BTreeMap<Uuid, Entry>,
        foreign_names: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let mut holders: HashMap<(&str, String), BTreeSet<Uuid>> = HashMap::new();
        for (uuid, entry) in self.entries.iter().chain(next) {
            for value in unique_values(entry) {
                holders.entry(value).or_default().insert(*uuid);
            }
        }
        for value in next.values().flat_map(unique_values) {
            // Every Kanidm has an `admin`.
            let foreign =
                value.0 == "name" && (value.1 == "admin" || foreign_names.contains(&value.1));
            if foreign || holders[&value].len() > 1 {
                return Err(self.conflict(value.0));
            }
        }
        Ok(())
    }

    fn conflict(&self, attribute: &str) -> Refusal {
        if self.names_conflicts {
            (
                409,
                format!(
                    r#"{{"error":"attributeuniqueness","conflicting_attributes":["{attribute}"]}}"#
                ),
            )
        } else {
            (500, r#"{"plugin":{"attrunique":"duplicate value detected"}}"#.to_owned())
        }
    }

    fn delete(&mut self, gone: &[Uuid]) {
        for uuid in gone {
            if let Some(entry) = self.entries.remove(uuid) {
                self.recycled.insert(*uuid, entry);
                self.deleted.push(*uuid);
            }
        }
        for entry in self.entries.values_mut() {
            entry.members.retain(|m| !gone.contains(m));
        }
    }
}

fn unique_values(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    if let Some(name) = entry.text("name") {
        values.push(("name", name.to_lowercase()));
    }
    if let Some(number) = entry.attributes.get("gidnumber") {
        values.push(("gidnumber", number.to_string()));
    }
    for mail in entry.attributes.get("mail").and_then(Value::as_array).into_iter().flatten() {
        values.push(("mail", mail["value"].as_str().unwrap_or_default().to_owned()));
    }
    values
}

fn owned_by(class: &str) -> &'static [&'static str] {
    match class {
        "account" => &["name", "displayname", "account_valid_from", "account_expire"],
        "person" => &[
            "displayname",
            "legalname",
            "mail",
            "password_import",
            "unix_password_import",
            "totp_import",
            "ssh_publickey",
        ],
        "posixaccount" => &["gidnumber", "loginshell"],
        "group" => &["name", "description", "member"],
        "posixgroup" => &["gidnumber"],
        _ => &[],
    }
}

fn check_schema(entry: &Entry) -> Result<(), Refusal> {
    let violation = |what: &str| Err((400, format!(r#"{{"schemaviolation":{{"{what}"}}}}"#)));
    if entry.classes.is_empty() {
        return Ok(());
    }
    let Some(name) = entry.text("name") else {
        return violation("missingmustattribute: name");
    };
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 64 {
        return violation("invalidattributesyntax: name");
    }
    if entry.classes.contains("person") && entry.text("displayname").is_none_or(str::is_empty) {
        return violation("missingmustattribute: displayname");
    }
    if entry.classes.contains("account") && !entry.classes.contains("person") {
        return violation("supplementsnotsatisfied: account");
    }
    let mails = entry.attributes.get("mail").and_then(Value::as_array);
    if mails.into_iter().flatten().any(|m| !m["value"].as_str().unwrap_or_default().contains('@')) {
        return violation("invalidattributesyntax: mail");
    }
    Ok(())
}

fn cookie(state: &Value) -> Option<Vec<u8>> {
    match SyncState::from_json(state.to_string().as_bytes()).expect("a state") {
        SyncState::Refresh => None,
        SyncState::Active { cookie } => Some(cookie),
    }
}

fn uuid_of(value: &Value) -> Uuid {
    value.as_str().and_then(|u| Uuid::parse_str(u).ok()).expect("a UUID")
}

impl SyncServer for Model {
    fn state(&mut self) -> Result<SyncState, KanidmError> {
        Ok(self.sync_state())
    }

    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError> {
        let bytes = body.to_vec();
        assert_eq!(bytes.len() as u64, body.byte_len());
        let refused = |(status, body): Refusal| {
            KanidmError::Refused(Answer::new(status, body.as_bytes(), Some("op-1".to_owned())))
        };
        self.arrive(&bytes).map_err(refused)
    }
}
