//! A run of ours between a scripted directory and a model of Kanidm that holds three persons of it.

use std::collections::BTreeMap;
use std::time::Duration;

use kanidm_ldap_sync::config::fingerprint::fingerprint;
use kanidm_ldap_sync::config::sync::{SyncConfig, load};
use kanidm_ldap_sync::heartbeat::Heartbeat;
use kanidm_ldap_sync::kanidm::state::{Envelope, Opened, open};
use kanidm_ldap_sync::sync::changes::MAX_JSON;
use kanidm_ldap_sync::sync::run::{self, Job, Outcome, RunError};
use kanidm_ldap_sync::sync::start::FullRefresh;
use uuid::Uuid;

use crate::support::model::{Entry, Model};
use crate::support::peer::{
    Link, Peer, SLAPD, bind_response, done, entry, id_set, sync_done, sync_entry,
};
use crate::support::pki::Pki;
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;
use crate::support::trouble::TestClock;

/// No healthy conversation takes so long, be the machine ever so busy.
const AMPLE: Duration = Duration::from_secs(30);

/// What a server says to each request, message by message, whole.
pub type Conversation = Vec<Vec<Vec<u8>>>;

/// A run's surroundings.
pub struct Bench {
    pki: Pki,
    folder: TempDir,
    pub model: Model,
    pub timeout: Duration,
    /// Maps TOTP tokens.
    pub tokens: bool,
}

pub fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number << 64 | 1)
}

pub fn person(id: u32, number: u128, name: &str) -> Vec<u8> {
    let uid = format!("user{number}");
    let attributes: [(&str, &[&str]); 3] =
        [("objectClass", &["person"]), ("uid", &[&uid]), ("cn", &[name])];
    sync_entry(id, uuid(number), &format!("uid={uid},dc=example"), &attributes)
}

/// The message ID of the refresh: 1 is left to StartTLS.
pub const REFRESH: u32 = 4;

/// The messages before a refresh.
pub fn prelude() -> Conversation {
    vec![vec![bind_response(2, 0, "")], vec![entry(3, "", SLAPD), done(3, 0, "")]]
}

/// Everything: two persons are left of the three.
pub fn full() -> Conversation {
    let refresh = vec![
        person(REFRESH, 1, "One"),
        person(REFRESH, 2, "Two again"),
        sync_done(REFRESH, Some("rid=000,csn=2"), true),
    ];
    [prelude(), vec![refresh]].concat()
}

/// The same as changes, with the answers to what is looked up beside them: which groups name the
/// person that has changed.
pub fn changes() -> Conversation {
    with_refresh(changes_refresh())
}

/// What [`changes`] has for a refresh.
pub fn changes_refresh() -> Vec<Vec<u8>> {
    vec![
        id_set(REFRESH, true, &[uuid(3)]),
        person(REFRESH, 2, "Two again"),
        sync_done(REFRESH, Some("rid=000,csn=2"), true),
    ]
}

/// Another refresh in the place of that of [`changes`].
pub fn with_refresh(refresh: Vec<Vec<u8>>) -> Conversation {
    [prelude(), vec![refresh, vec![done(REFRESH + 1, 0, "")]]].concat()
}

impl Bench {
    /// Kanidm holds the persons 1, 2 and 3, and a cookie.
    pub fn new() -> Bench {
        let mut bench = Bench {
            pki: Pki::new(),
            folder: TempDir::new("hostile"),
            model: Model::default(),
            timeout: AMPLE,
            tokens: false,
        };
        let persons = (1..=3).map(|number| person(REFRESH, number, "Some One"));
        let refresh = persons.chain([sync_done(REFRESH, Some("rid=000,csn=1"), true)]).collect();
        bench.run(false, speaking([prelude(), vec![refresh]].concat())).unwrap();
        bench.model.posts.clear();
        assert_eq!(bench.content().len(), 3);
        bench.forget_roster();
        bench
    }

    /// What Kanidm stores for the next run.
    pub fn envelope(&self) -> Envelope {
        let stored = self.model.state.as_deref().expect("a state");
        let Ok(Opened::Ours(envelope)) = open(stored) else { panic!("not our envelope") };
        *envelope
    }

    /// Without a roster, an increment also searches for the groups that name a changed person.
    pub fn forget_roster(&mut self) {
        let envelope = Envelope { roster: None, ..self.envelope() };
        self.model.state = Some(envelope.to_bytes());
    }

    /// One run against a directory with this script.
    pub fn run(
        &mut self,
        full: bool,
        script: impl FnOnce(&mut Link) + Send + 'static,
    ) -> Result<Outcome, RunError> {
        let peer = Peer::tls(&self.pki.localhost(), script);
        let config = self.config(peer.port);
        let job = Job {
            config: &config,
            fingerprint: &fingerprint(&config),
            full_refresh: if full { FullRefresh::Scheduled } else { FullRefresh::No },
            accept_deletes: false,
            dry_run: false,
            max_changes: MAX_JSON,
            heartbeat: Heartbeat::default(),
        };
        run::run(&job, &mut self.model, &TestClock::default(), &mut |_| {}, &mut |_| {})
    }

    /// The configuration as a user writes it.
    pub fn config_text(&self, port: u16) -> ConfigText {
        let text = ConfigText::for_directory(&format!("ldaps://localhost:{port}"), self.pki.ca());
        let text = match self.tokens {
            true => text.set("person_attr_totp", "oathTOTPToken"),
            false => text,
        };
        text.set("ldap_sync_base_dn", "dc=example")
            .set("person_objectclass", "person")
            .set("sync_token", "a-token-of-some-length")
            // Both a group of its members and a user-private one would be looked for by name.
            .set("user_private_groups", "sync")
    }

    fn config(&self, port: u16) -> SyncConfig {
        let path = self.folder.write("ldap-sync", self.config_text(port).text());
        let (mut config, _) = load(&path, &|_| None).unwrap();
        config.directory.timeout = self.timeout;
        config.directory.max_message = 1 << 20;
        config
    }

    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Who is in Kanidm, and what they are called.
    pub fn content(&self) -> BTreeMap<Uuid, String> {
        let name = |entry: &Entry| entry.text("displayname").unwrap_or_default().to_owned();
        self.model.entries.iter().map(|(uuid, entry)| (*uuid, name(entry))).collect()
    }

    /// The run has failed at the directory with all of these words, and nothing was sent.
    #[track_caller]
    pub fn assert_failed(&self, what: &str, result: &Result<Outcome, RunError>, words: &[&str]) {
        let Err(error) = result else { panic!("{what}: it succeeded") };
        assert!(matches!(error, RunError::Directory(_)), "{what}: {error}");
        let text = error.to_string();
        for words in words {
            assert!(text.contains(words), "{what}: {words:?} is not in: {text}");
        }
        assert!(self.model.posts.is_empty(), "{what}: something was sent: {:?}", self.model.posts);
        assert_eq!(self.content().len(), 3, "{what}");
    }

    /// The run has gone through and Kanidm has what [`full`] and [`changes`] say.
    #[track_caller]
    pub fn assert_correct(&self, what: &str, result: &Result<Outcome, RunError>) {
        if let Err(error) = result {
            panic!("{what}: {error}");
        }
        let names: Vec<String> = self.content().into_values().collect();
        assert_eq!(names.last().map(String::as_str), Some("Two again"), "{what}");
        assert_eq!(self.content().into_keys().collect::<Vec<_>>(), [uuid(1), uuid(2)], "{what}");
        assert_eq!(self.model.deleted, [uuid(3)], "{what}");
    }
}

/// A script that holds this conversation and then waits for the client to hang up.
pub fn speaking(conversation: Conversation) -> impl FnOnce(&mut Link) + Send + 'static {
    move |link| {
        for turn in conversation {
            if link.next_request().is_none() {
                return;
            }
            link.send(turn.concat());
        }
        link.stay_silent();
    }
}
