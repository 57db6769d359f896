//! Kanidm, as a course needs it: the model, or the real engine.

use std::collections::BTreeSet;
use std::time::Duration;

use kanidm_ldap_sync::config::client::ClientConfig;
use kanidm_ldap_sync::config::secret::Secret;
use kanidm_ldap_sync::kanidm::client::KanidmClient;
use kanidm_ldap_sync::kanidm::error::KanidmError;
use kanidm_ldap_sync::kanidm::request::RequestBody;
use kanidm_ldap_sync::kanidm::state::SyncState;
use kanidm_ldap_sync::kanidm::transport::SyncServer;
use kanidm_ldap_sync::net::tls::{Roots, TlsOptions, client_config};
use serde_json::Value;
use uuid::Uuid;

use crate::support::kanidm::{KanidmEntry, KanidmServer, Mail};
use crate::support::model::Model;

/// A Kanidm that can be looked into.
pub trait Kanidm: SyncServer {
    /// The entries of the sync account.
    fn entries(&mut self) -> Vec<KanidmEntry>;
    /// Everything in the recycle bin.
    fn recycled(&mut self) -> BTreeSet<Uuid>;
    /// `kanidm system sync force-refresh`.
    fn forget_state(&mut self);
}

impl Kanidm for Model {
    fn entries(&mut self) -> Vec<KanidmEntry> {
        let entry = |(uuid, entry): (&Uuid, &crate::support::model::Entry)| {
            let text = |name: &str| entry.text(name).map(str::to_owned);
            let mail = |m: &Value| Mail {
                primary: m["primary"] == true,
                value: m["value"].as_str().unwrap().to_owned(),
            };
            KanidmEntry {
                uuid: *uuid,
                external_id: entry.external_id.clone(),
                classes: entry.classes.iter().cloned().collect(),
                name: text("name"),
                displayname: text("displayname"),
                legalname: text("legalname"),
                description: text("description"),
                gidnumber: entry
                    .attributes
                    .get("gidnumber")
                    .and_then(|n| u32::try_from(n.as_u64()?).ok()),
                loginshell: text("loginshell"),
                mail: mails(entry).map(mail).collect(),
                ssh_publickey: Default::default(),
                account_valid_from: text("account_valid_from"),
                account_expire: text("account_expire"),
                member: entry.members.iter().copied().collect(),
                has_password: entry.attributes.contains_key("password_import"),
                has_unix_password: false,
            }
        };
        self.entries.iter().map(entry).collect()
    }

    fn recycled(&mut self) -> BTreeSet<Uuid> {
        self.recycled.keys().copied().collect()
    }

    fn forget_state(&mut self) {
        self.state = None;
    }
}

fn mails(entry: &crate::support::model::Entry) -> impl Iterator<Item = &Value> {
    entry.attributes.get("mail").and_then(Value::as_array).into_iter().flatten()
}

/// Real Kanidms, one after the other: the more one holds, the longer each POST takes.
#[derive(Default)]
pub struct Engines {
    current: Option<KanidmServer>,
    courses: u64,
}

impl Engines {
    /// A Kanidm, and a number that no other course has.
    pub fn next(&mut self) -> (&KanidmServer, u64) {
        self.courses += 1;
        if self.courses.is_multiple_of(8) {
            self.current = None;
        }
        (self.current.get_or_insert_with(KanidmServer::start), self.courses)
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
        let token = kanidm.create_sync_account(account).token;
        let options = TlsOptions {
            roots: Roots::Bundle(kanidm.ca()),
            verify_ca: true,
            verify_hostnames: true,
            client_cert: None,
        };
        let config = ClientConfig {
            uri: kanidm.url(),
            verify_ca: true,
            verify_hostnames: true,
            ca_path: None,
            connect_timeout: Duration::from_secs(10),
        };
        let client = KanidmClient::new(
            &config,
            Secret::new(token),
            Duration::from_secs(60),
            client_config(&options).unwrap(),
        );
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

impl Kanidm for Engine<'_> {
    fn entries(&mut self) -> Vec<KanidmEntry> {
        self.kanidm.entries(&self.account)
    }

    fn recycled(&mut self) -> BTreeSet<Uuid> {
        self.kanidm.recycled().into_iter().map(|r| r.uuid).collect()
    }

    fn forget_state(&mut self) {
        self.kanidm.force_refresh(&self.account);
    }
}
