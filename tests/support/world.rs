//! A real directory, a real Kanidm engine and our program between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::thread;
use std::time::{Duration, Instant};

use kanidm_ldap_sync::kanidm::client::KanidmClient;
use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
use kanidm_ldap_sync::kanidm::state::{self, Envelope, Opened, SyncState};
use kanidm_ldap_sync::kanidm::transport::SyncServer as _;
use serde_json::Value;
use uuid::Uuid;

use super::ds389::{Ds389, Ds389Options};
use super::expect::{self, Expected, GROUPS_OF_NAMES, Groups, POSIX_GROUPS};
use super::kanidm::{KanidmServer, SyncAccount};
use super::ldap::{LdapClient, LdapEntry};
use super::process::PATIENCE;
use super::seed::SUFFIX;
use super::slapd::{Slapd, SlapdOptions};
use super::tool::{ConfigText, Outcome, Tool};

pub const ACCOUNT: &str = "ldap";

/// What is read where a test does not say otherwise.
pub const FILTER: &str = "(|(objectClass=posixAccount)(objectClass=groupOfNames))";

/// A slapd, and what reads it.
pub struct World {
    pub slapd: Slapd,
    pub between: Between,
}

/// A 389-ds, and what reads it.
pub struct World389 {
    pub ds389: Ds389,
    pub between: Between,
}

/// What does not depend on which server the directory is: Kanidm, our program, and the oracle.
pub struct Between {
    pub kanidm: KanidmServer,
    pub account: SyncAccount,
    pub tool: Tool,
    pub config: ConfigText,
    /// May do anything in the directory.
    pub admin: LdapClient,
    uuid_attribute: &'static str,
    groups: Groups,
    base: String,
    filter: String,
}

impl Deref for World {
    type Target = Between;

    fn deref(&self) -> &Between {
        &self.between
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Between {
        &mut self.between
    }
}

impl Deref for World389 {
    type Target = Between;

    fn deref(&self) -> &Between {
        &self.between
    }
}

impl DerefMut for World389 {
    fn deref_mut(&mut self) -> &mut Between {
        &mut self.between
    }
}

/// A run's report and what else it wrote.
pub struct Ran {
    pub outcome: Outcome,
    pub report: Value,
}

impl World {
    /// Groups are groupOfNames with DNs.
    pub fn new(options: SlapdOptions) -> World {
        World::with(options, GROUPS_OF_NAMES, FILTER, |config| config)
    }

    /// Groups are posixGroup with user names.
    pub fn rfc2307(options: SlapdOptions) -> World {
        World::with(
            options,
            POSIX_GROUPS,
            "(|(objectClass=posixAccount)(objectClass=posixGroup))",
            posix_groups,
        )
    }

    /// With more of a configuration.
    pub fn with(
        options: SlapdOptions,
        groups: Groups,
        filter: &str,
        configure: impl FnOnce(ConfigText) -> ConfigText,
    ) -> World {
        let slapd = Slapd::start(options);
        let config = configure(ConfigText::for_slapd(&slapd).set("ldap_filter", filter));
        let between = Between::new(config, slapd.admin(), "entryuuid", groups, filter);
        World { slapd, between }
    }
}

impl World389 {
    /// Groups are groupOfNames with DNs.
    pub fn new(options: Ds389Options) -> World389 {
        World389::with(options, FILTER, |config| config)
    }

    /// With another filter, and more of a configuration.
    pub fn with(
        options: Ds389Options,
        filter: &str,
        configure: impl FnOnce(ConfigText) -> ConfigText,
    ) -> World389 {
        let ds389 = Ds389::start(options);
        let config = configure(ConfigText::for_ds389(&ds389).set("ldap_filter", filter));
        let between = Between::new(config, ds389.admin(), "nsuniqueid", GROUPS_OF_NAMES, filter);
        World389 { ds389, between }
    }
}

fn posix_groups(config: ConfigText) -> ConfigText {
    config
        .set("group_objectclass", "posixGroup")
        .set("group_attr_member", "memberUid")
        .set("group_attr_schema", "rfc2307")
}

impl Between {
    /// With a new Kanidm, and a token for it.
    pub fn new(
        config: ConfigText,
        admin: LdapClient,
        uuid_attribute: &'static str,
        groups: Groups,
        filter: &str,
    ) -> Between {
        let kanidm = KanidmServer::start();
        let account = kanidm.create_sync_account(ACCOUNT);
        let config = config.set("sync_token", account.token.as_str());
        let tool = Tool::new(&config, &ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()));
        Between {
            kanidm,
            account,
            tool,
            config,
            admin,
            uuid_attribute,
            groups,
            base: SUFFIX.to_owned(),
            filter: filter.to_owned(),
        }
    }

    /// Reads another part of the directory from now on.
    pub fn rebase(&mut self, base: &str) {
        self.base = base.to_owned();
        self.reconfigure(|config| config.set("ldap_sync_base_dn", base));
    }

    /// Reads by another filter from now on.
    pub fn refilter(&mut self, filter: &str) {
        self.filter = filter.to_owned();
        self.reconfigure(|config| config.set("ldap_filter", filter));
    }

    /// Groups are posixGroup with user names from now on.
    pub fn switch_to_rfc2307(&mut self) {
        self.groups = POSIX_GROUPS;
        self.refilter("(|(objectClass=posixAccount)(objectClass=posixGroup))");
        self.reconfigure(posix_groups);
    }

    /// Synchronises into this Kanidm from now on, as a new sync account.
    pub fn move_to(&mut self, kanidm: KanidmServer) {
        self.account = kanidm.create_sync_account(ACCOUNT);
        self.tool.write_client_config(&ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()));
        self.kanidm = kanidm;
        let token = self.account.token.clone();
        self.reconfigure(|config| config.set("sync_token", token));
    }

    /// Changes the sync config.
    pub fn reconfigure(&mut self, change: impl FnOnce(ConfigText) -> ConfigText) {
        self.config = change(self.config.clone());
        self.tool.write_sync_config(&self.config);
    }

    /// Runs once.
    #[track_caller]
    pub fn run(&self, arguments: &[&str], code: i32) -> Ran {
        let outcome = self.tool.run(&[&["--json"], arguments].concat()).expect_code(code);
        let report = serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|e| panic!("no report: {e}\n{}", outcome.all()));
        Ran { outcome, report }
    }

    /// Runs once, incrementally unless it says otherwise, and compares everything Kanidm holds with
    /// what the directory says.
    #[track_caller]
    pub fn run_and_compare(&self, what: &str, mode: &str) -> Ran {
        self.run_with_and_compare(&[], what, mode)
    }

    /// The same with `--full-refresh`.
    #[track_caller]
    pub fn run_full_and_compare(&self, what: &str) -> Ran {
        self.run_with_and_compare(&["--full-refresh"], what, "full")
    }

    #[track_caller]
    fn run_with_and_compare(&self, arguments: &[&str], what: &str, mode: &str) -> Ran {
        let (want, held) = self.expected();
        let ran = self.run(arguments, if held.is_empty() { 0 } else { 3 });
        assert_eq!(ran.report["mode"], mode, "{what}: {}", ran.outcome.all());
        let named: BTreeSet<String> = ran.report["held"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| h["dn"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            named,
            held.values().cloned().collect(),
            "{what}: the entries that cannot be sent are named"
        );
        let got = expect::held_by_kanidm(&self.kanidm.entries(ACCOUNT), &held);
        expect::assert_same(&got, &want, what);
        ran
    }

    /// Waits until Kanidm holds what the directory says now, without asking for a run.
    #[track_caller]
    pub fn follows(&self, what: &str) {
        let begin = Instant::now();
        loop {
            let (want, held) = self.expected();
            let got = expect::held_by_kanidm(&self.kanidm.entries(ACCOUNT), &held);
            if got == want {
                return;
            }
            if begin.elapsed() > PATIENCE {
                return expect::assert_same(&got, &want, what);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What Kanidm should hold, and the entries that cannot be sent.
    fn expected(&self) -> (BTreeMap<Uuid, Expected>, BTreeMap<Uuid, String>) {
        let (mut want, held) = expect::content(&self.directory(), self.uuid_attribute, self.groups);
        if !self.config.text().contains("person_attr_totp") {
            want.values_mut().for_each(|entry| entry.totp.clear());
        }
        (want, held)
    }

    /// Everything in scope, as `ldapsearch` shows it.
    pub fn directory(&self) -> Vec<LdapEntry> {
        self.admin.search(
            &self.base,
            &self.filter,
            &["*", "+", self.uuid_attribute, "nsAccountLock"],
        )
    }

    /// As [`run_and_compare`](Self::run_and_compare) after an entry was renamed and the groups
    /// still name its old DN, which the directory does not resend: Kanidm keeps the member until
    /// the group changes or the next full refresh. The rest is exact, and so is a full one.
    #[track_caller]
    pub fn run_and_compare_renamed(&self, what: &str, old_dn: &str) {
        let naming = self.admin.search(SUFFIX, &format!("(member={old_dn})"), &["member"]);
        for group in &naming {
            // What refint would do.
            self.admin.change(&group.dn, &format!("delete: member\nmember: {old_dn}"));
        }
        self.run_and_compare(what, "incremental");
    }

    /// Replaces the directory's cookie inside of the envelope that Kanidm keeps, as `change` says.
    pub fn change_cookie(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let (mut client, before, envelope) = self.envelope();
        let cookie = change(envelope.cookie.clone().expect("a cookie"));
        let after = Envelope { cookie: Some(cookie), ..envelope }.to_state();
        client
            .apply(&RequestBody::new(&before, &after, &Retention::Ignore, Vec::new()))
            .expect("Kanidm takes any cookie");
    }

    /// The directory's cookie, as Kanidm keeps it.
    pub fn cookie(&self) -> String {
        String::from_utf8(self.envelope().2.cookie.expect("a cookie"))
            .expect("a cookie of characters")
    }

    fn envelope(&self) -> (KanidmClient, SyncState, Envelope) {
        let mut client = self.kanidm_client();
        let state = client.state().expect("Kanidm answers");
        let SyncState::Active { cookie } = &state else { panic!("{state:?}") };
        let Ok(Opened::Ours(envelope)) = state::open(cookie) else { panic!("not our envelope") };
        (client, state, *envelope)
    }

    /// The program runs as this user from now on.
    pub fn run_as(&mut self, user: &'static str) {
        let ca = std::fs::read(self.kanidm.ca()).expect("our own file");
        let ca = self.tool.dir().write("kanidm-ca.pem", ca);
        self.tool.write_client_config(&ConfigText::for_kanidm(&self.kanidm.url(), &ca));
        self.tool.run_as(user);
    }

    /// Our own HTTP client, with the sync account's token.
    pub fn kanidm_client(&self) -> KanidmClient {
        self.kanidm.client(&self.account.token)
    }
}

impl World {
    /// A configuration that means the same and counts as another: the next run is a full one.
    pub fn reconfigure_quietly(&self, round: usize) {
        let table = format!("00000000-0000-4000-8000-{round:012}");
        self.tool.write_sync_config(&self.config.clone().set_in(&table, "exclude", true));
    }
}
