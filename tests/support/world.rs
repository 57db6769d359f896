//! A real directory, a real Kanidm engine and our program between them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::expect::{self, GROUPS_OF_NAMES, Groups, POSIX_GROUPS};
use super::kanidm::{KanidmServer, SyncAccount};
use super::ldap::LdapEntry;
use super::seed::SUFFIX;
use super::slapd::{Slapd, SlapdOptions};
use super::tool::{ConfigText, Outcome, Tool};

pub const ACCOUNT: &str = "ldap";

/// What a test starts.
pub struct World {
    pub slapd: Slapd,
    pub kanidm: KanidmServer,
    pub account: SyncAccount,
    pub tool: Tool,
    pub config: ConfigText,
    groups: Groups,
    base: String,
    filter: String,
}

/// A run's report and what else it wrote.
pub struct Ran {
    pub outcome: Outcome,
    pub report: Value,
}

impl World {
    /// Groups are groupOfNames with DNs.
    pub fn new(options: SlapdOptions) -> World {
        World::with(options, GROUPS_OF_NAMES, "(|(objectClass=posixAccount)(objectClass=groupOfNames))", |config| config)
    }

    /// Groups are posixGroup with user names.
    pub fn rfc2307(options: SlapdOptions) -> World {
        World::with(options, POSIX_GROUPS, "(|(objectClass=posixAccount)(objectClass=posixGroup))", |config| {
            config.set("group_objectclass", "posixGroup").set("group_attr_member", "memberUid").set("group_attr_schema", "rfc2307")
        })
    }

    /// With more of a configuration.
    pub fn with(options: SlapdOptions, groups: Groups, filter: &str, configure: impl FnOnce(ConfigText) -> ConfigText) -> World {
        let slapd = Slapd::start(options);
        let kanidm = KanidmServer::start();
        let account = kanidm.create_sync_account(ACCOUNT);
        let config = configure(ConfigText::for_slapd(&slapd).set("sync_token", account.token.as_str()).set("ldap_filter", filter));
        let tool = Tool::new(&config, &ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()));
        World { slapd, kanidm, account, tool, config, groups, base: SUFFIX.to_owned(), filter: filter.to_owned() }
    }

    /// Reads another part of the directory from now on.
    pub fn rebase(&mut self, base: &str) {
        self.base = base.to_owned();
        self.reconfigure(|config| config.set("ldap_sync_base_dn", base));
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
        let report = serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("no report: {e}\n{}", outcome.all()));
        Ran { outcome, report }
    }

    /// Runs once, incrementally unless it says otherwise, and compares everything Kanidm holds with what the directory says.
    #[track_caller]
    pub fn run_and_compare(&self, what: &str, mode: &str) -> Ran {
        let (want, held) = expect::content(&self.directory(), "entryuuid", self.groups);
        let ran = self.run(&[], if held.is_empty() { 0 } else { 3 });
        assert_eq!(ran.report["mode"], mode, "{what}: {}", ran.outcome.all());
        let named: BTreeSet<String> = ran.report["held"].as_array().unwrap().iter().map(|h| h["dn"].as_str().unwrap().to_owned()).collect();
        assert_eq!(named, held.values().cloned().collect(), "{what}: the entries that cannot be sent are named");
        let got = expect::held_by_kanidm(&self.kanidm.entries(ACCOUNT), &held);
        expect::assert_same(&got, &want, what);
        ran
    }

    /// Everything in scope, as `ldapsearch` shows it.
    pub fn directory(&self) -> Vec<LdapEntry> {
        self.slapd.search(&self.base, &self.filter, &["*", "+"])
    }
}

impl World {
    /// As [`run_and_compare`](Self::run_and_compare) after an entry was renamed and the groups still name its old DN, which the directory
    /// does not resend: Kanidm keeps the member until the group changes or the next full refresh. The rest is exact, and so is a full one.
    #[track_caller]
    pub fn run_and_compare_renamed(&self, what: &str, old_dn: &str) {
        let naming = self.slapd.search(SUFFIX, &format!("(member={old_dn})"), &["member"]);
        for group in &naming {
            // What refint would do.
            self.slapd.modify(&format!("dn: {}\nchangetype: modify\ndelete: member\nmember: {old_dn}\n", group.dn));
        }
        self.run_and_compare(what, "incremental");
    }

    /// Our own HTTP client, with the sync account's token.
    pub fn kanidm_client(&self) -> kanidm_ldap_sync::kanidm::client::KanidmClient {
        use kanidm_ldap_sync::config::client::ClientConfig;
        use kanidm_ldap_sync::config::secret::Secret;
        use kanidm_ldap_sync::directory::tls::{Roots, TlsOptions, client_config};
        let timeout = std::time::Duration::from_secs(60);
        let roots = Roots::Bundle(self.kanidm.ca());
        let tls = client_config(&TlsOptions { roots, verify_ca: true, verify_hostnames: true, client_cert: None }).expect("our CA");
        let config = ClientConfig {
            uri: self.kanidm.url(),
            verify_ca: true,
            verify_hostnames: true,
            ca_path: Some(self.kanidm.ca().to_owned()),
            connect_timeout: timeout,
        };
        kanidm_ldap_sync::kanidm::client::KanidmClient::new(&config, Secret::new(self.account.token.clone()), timeout, tls)
    }
}
