//! A Kanidm that can be looked into: the model, or the real engine.

use std::collections::BTreeSet;

use kanidm_ldap_sync::kanidm::client::KanidmClient;
use kanidm_ldap_sync::kanidm::error::KanidmError;
use kanidm_ldap_sync::kanidm::request::RequestBody;
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use serde_json::Value;
use uuid::Uuid;

use super::kanidm::{KanidmEntry, KanidmServer, Mail};
use super::model::{Entry, Model};

pub trait Inside: SyncServer {
    /// The entries of the sync account.
    fn entries(&mut self) -> Vec<KanidmEntry>;
    /// Everything in the recycle bin.
    fn recycled(&mut self) -> BTreeSet<Uuid>;
    /// `kanidm system sync force-refresh`.
    fn forget_state(&mut self);
    /// `kanidm system sync set-yield-attributes`: mail, or nothing.
    fn yield_mail(&mut self, yes: bool);
}

impl Inside for Model {
    fn entries(&mut self) -> Vec<KanidmEntry> {
        self.entries.iter().map(|(uuid, entry)| kanidm_entry(*uuid, entry)).collect()
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

fn kanidm_entry(uuid: Uuid, entry: &Entry) -> KanidmEntry {
    let text = |name: &str| entry.text(name).map(str::to_owned);
    let mails = entry.attributes.get("mail").and_then(Value::as_array).into_iter().flatten();
    let mail = |m: &Value| Mail {
        primary: m["primary"] == true,
        value: m["value"].as_str().unwrap().to_owned(),
    };
    let number = entry.attributes.get("gidnumber").and_then(Value::as_u64);
    KanidmEntry {
        uuid,
        external_id: entry.external_id.clone(),
        classes: entry.classes.iter().cloned().collect(),
        name: text("name"),
        displayname: text("displayname"),
        legalname: text("legalname"),
        description: text("description"),
        gidnumber: number.and_then(|number| u32::try_from(number).ok()),
        loginshell: text("loginshell"),
        mail: mails.map(mail).collect(),
        ssh_publickey: Default::default(),
        account_valid_from: text("account_valid_from"),
        account_expire: text("account_expire"),
        member: entry.members.iter().copied().collect(),
        has_password: entry.attributes.contains_key("password_import"),
        has_unix_password: false,
        totp: Vec::new(),
    }
}

/// One sync account of a real Kanidm.
pub struct Engine<'k> {
    kanidm: &'k KanidmServer,
    account: String,
    client: KanidmClient,
}

impl<'k> Engine<'k> {
    pub fn new(kanidm: &'k KanidmServer, account: &str) -> Self {
        let client = kanidm.client(&kanidm.create_sync_account(account).token);
        Engine { kanidm, account: account.to_owned(), client }
    }
}

impl SyncServer for Engine<'_> {
    fn state(&mut self) -> Result<SyncState, KanidmError> {
        self.client.state()
    }

    fn apply(&mut self, body: &RequestBody<'_>) -> Result<(), KanidmError> {
        self.client.apply(body)
    }
}

impl Inside for Engine<'_> {
    fn entries(&mut self) -> Vec<KanidmEntry> {
        self.kanidm.entries(&self.account)
    }

    fn recycled(&mut self) -> BTreeSet<Uuid> {
        self.kanidm.recycled().into_iter().map(|entry| entry.uuid).collect()
    }

    fn forget_state(&mut self) {
        self.kanidm.force_refresh(&self.account);
    }

    fn yield_mail(&mut self, yes: bool) {
        self.kanidm.yield_attributes(&self.account, if yes { &["mail"] } else { &[] });
    }
}
