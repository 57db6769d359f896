//! A real Kanidm engine for a test: `tests/kanidm`, started as a process of its own, with a method
//! for each of its controls.
//!
//! Nothing is built here: `tests/run` builds the server once, before the tests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use kanidm_ldap_sync::config::client::ClientConfig;
use kanidm_ldap_sync::config::secret::Secret;
use kanidm_ldap_sync::kanidm::client::KanidmClient;
use kanidm_ldap_sync::net::tls::{Roots, TlsOptions, client_config};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::pki::{Identity, Pki};
use super::process::PATIENCE;

/// Names the server's program, when it is not where `cargo build` puts it.
const PROGRAM: &str = "KANIDM_TEST_SERVER";

/// How the server is to be. The default is right for most tests.
#[derive(Clone, Debug, Default)]
pub struct KanidmOptions {
    /// Its certificate and key; by default one for `localhost`, of [`KanidmServer::ca`].
    pub identity: Option<Identity>,
    /// A database file, kept when the server ends; by default it works in memory.
    pub database: Option<PathBuf>,
    /// Seconds after which a request is answered 408; by default 300.
    pub time_limit: Option<u64>,
    /// Answer values that are not unique as Kanidm 1.7 does: 500, without naming the attributes.
    pub plain_conflicts: bool,
}

/// A running server. Dropping it kills it.
pub struct KanidmServer {
    process: Process,
    options: KanidmOptions,
    identity: Identity,
    pki: Pki,
}

/// One process of the server, killed when dropped.
struct Process {
    child: Child,
    /// Held open: the server ends when it closes, so it ends with the test, even when that is
    /// killed.
    _stdin: ChildStdin,
    https: u16,
    control: u16,
}

/// A sync account and its token.
#[derive(Clone, Deserialize)]
pub struct SyncAccount {
    pub uuid: Uuid,
    pub token: String,
}

/// An entry of a sync account, as it stands in Kanidm.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KanidmEntry {
    pub uuid: Uuid,
    /// Kanidm keeps it in lower case.
    pub external_id: Option<String>,
    pub classes: Vec<String>,
    pub name: Option<String>,
    pub displayname: Option<String>,
    pub legalname: Option<String>,
    pub description: Option<String>,
    pub gidnumber: Option<u32>,
    pub loginshell: Option<String>,
    /// The primary address first, the others in alphabetical order.
    pub mail: Vec<Mail>,
    /// Label and key.
    pub ssh_publickey: BTreeMap<String, String>,
    /// RFC 3339.
    pub account_valid_from: Option<String>,
    /// RFC 3339.
    pub account_expire: Option<String>,
    /// Direct members, in the order of their UUIDs.
    pub member: Vec<Uuid>,
    pub has_password: bool,
    pub has_unix_password: bool,
    /// The labels of the second factors of the password, in alphabetical order.
    pub totp: Vec<String>,
}

/// One mail address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mail {
    pub primary: bool,
    pub value: String,
}

/// An entry in the recycle bin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Recycled {
    pub uuid: Uuid,
    pub name: Option<String>,
    pub external_id: Option<String>,
}

/// The state of a sync account, as on the wire. The cookie is base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub enum State {
    Refresh,
    Active { cookie: String },
}

/// One request to `/scim/v1/Sync` since the start, or since [`KanidmServer::clear_log`].
#[derive(Clone, Debug, Deserialize)]
pub struct LogLine {
    pub method: String,
    pub path: String,
    /// Bytes of the body, when all of it was read.
    pub body_bytes: Option<usize>,
    /// What a POST asked for, when it could be parsed.
    pub sync: Option<SyncLine>,
    /// Whether Kanidm kept it.
    pub committed: bool,
    /// Absent when the connection was closed without an answer.
    pub status: Option<u16>,
    pub error: Option<String>,
    /// The fault it met.
    pub fault: Option<Value>,
    /// Whether nothing more will happen for it.
    pub finished: bool,
}

/// What one POST asked for.
#[derive(Clone, Debug, Deserialize)]
pub struct SyncLine {
    pub from_state: State,
    pub to_state: State,
    pub entries: usize,
    /// Entries without a schema.
    pub stubs: usize,
    /// `Ignore`, `Retain` or `Delete`.
    pub retain: String,
    /// UUIDs in the list of `Retain` or `Delete`.
    pub retain_count: usize,
}

/// Something that is to go wrong: once, with the next request, unless said otherwise.
#[derive(Clone, Debug)]
pub struct Fault(serde_json::Map<String, Value>);

/// When a fault happens.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// The request was read; Kanidm does not see it.
    Received,
    /// Kanidm has applied it and not committed. It is rolled back, unless the fault is a delay.
    /// POST only.
    Applied,
    /// It is done for good; only the answer is missing.
    Committed,
}

impl Fault {
    /// The connection is closed without an answer.
    pub fn closed(at: Moment) -> Fault {
        Fault::new(at, json!({ "do": "drop" }))
    }

    /// An answer that does not come from Kanidm, but from a proxy in between: it lacks the
    /// operation id.
    pub fn status(at: Moment, status: u16, body: &str) -> Fault {
        Fault::new(at, json!({ "do": "status", "status": status, "body": body }))
    }

    /// An answer as Kanidm itself would give it, with an operation id.
    pub fn own_status(at: Moment, status: u16, body: &str) -> Fault {
        Fault::new(at, json!({ "do": "status", "status": status, "body": body, "own": true }))
    }

    /// The request takes so much longer.
    pub fn delay(at: Moment, by: Duration) -> Fault {
        Fault::new(
            at,
            json!({ "do": "delay", "ms": u64::try_from(by.as_millis()).expect("a delay") }),
        )
    }

    /// The server dies, as by SIGKILL. See [`KanidmServer::restart`].
    pub fn death(at: Moment) -> Fault {
        Fault::new(at, json!({ "do": "die" }))
    }

    /// Only requests with this method meet it, or are counted.
    pub fn only(self, method: &str) -> Fault {
        self.with("method", json!(method))
    }

    /// So many requests pass unharmed first.
    pub fn after(self, requests: u32) -> Fault {
        self.with("after", json!(requests))
    }

    /// So many requests meet it.
    pub fn times(self, requests: u32) -> Fault {
        self.with("count", json!(requests))
    }

    fn new(at: Moment, action: Value) -> Fault {
        let Value::Object(fields) = action else { unreachable!("an object") };
        let at = match at {
            Moment::Received => "received",
            Moment::Applied => "applied",
            Moment::Committed => "committed",
        };
        Fault(fields).with("at", json!(at))
    }

    fn with(mut self, key: &str, value: Value) -> Fault {
        self.0.insert(key.to_string(), value);
        self
    }
}

impl KanidmServer {
    /// A server in memory, on free ports.
    pub fn start() -> KanidmServer {
        KanidmServer::start_with(KanidmOptions::default())
    }

    pub fn start_with(options: KanidmOptions) -> KanidmServer {
        let pki = Pki::new();
        let identity = options.identity.clone().unwrap_or_else(|| pki.localhost());
        let process = Process::start(&options, &identity, 0);
        KanidmServer { process, options, identity, pki }
    }

    /// Our own HTTP client, with the token of a sync account.
    pub fn client(&self, token: &str) -> KanidmClient {
        let tls = client_config(&TlsOptions {
            roots: Roots::Bundle(self.ca()),
            verify_ca: true,
            verify_hostnames: true,
            client_cert: None,
        })
        .expect("our CA");
        let timeout = Duration::from_secs(60);
        let config = ClientConfig {
            uri: self.url(),
            verify_ca: true,
            verify_hostnames: true,
            ca_path: None,
            connect_timeout: timeout,
        };
        KanidmClient::new(&config, Secret::new(token.to_owned()), timeout, tls)
    }

    /// What a client config names as `uri`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.process.https)
    }

    pub fn port(&self) -> u16 {
        self.process.https
    }

    /// The certificate of the authority that vouches for the server, unless it was given an
    /// identity.
    pub fn ca(&self) -> &Path {
        self.pki.ca()
    }

    /// The authority itself, for more certificates.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    pub fn create_sync_account(&self, name: &str) -> SyncAccount {
        self.post("sync-account", &json!({ "name": name }))
    }

    /// A valid token of a person: not one to synchronise with.
    pub fn user_token(&self) -> String {
        self.post("user-token", &Value::Null)
    }

    /// All live entries of a sync account (name or UUID), in the order of their UUIDs.
    pub fn entries(&self, account: &str) -> Vec<KanidmEntry> {
        self.get(&format!("entries?account={account}"))
    }

    /// The entry of that name, when the sync account has one.
    pub fn entry(&self, account: &str, name: &str) -> Option<KanidmEntry> {
        self.entries(account).into_iter().find(|entry| entry.name.as_deref() == Some(name))
    }

    pub fn state(&self, account: &str) -> State {
        self.get(&format!("state?account={account}"))
    }

    /// `kanidm system sync force-refresh`.
    pub fn force_refresh(&self, account: &str) {
        self.post("force-refresh", &json!({ "account": account }))
    }

    /// `kanidm system sync set-yield-attributes`.
    pub fn yield_attributes(&self, account: &str, attributes: &[&str]) {
        self.post("yield", &json!({ "account": account, "attributes": attributes }))
    }

    /// Whether a person (name or UUID) could log in with this password.
    pub fn verify_password(&self, person: &str, password: &str) -> bool {
        self.post("verify-password", &json!({ "person": person, "password": password }))
    }

    /// Whether a person (name or UUID) could log in to a Unix machine with this password.
    pub fn verify_unix_password(&self, person: &str, password: &str) -> bool {
        self.post(
            "verify-password",
            &json!({ "person": person, "password": password, "unix": true }),
        )
    }

    /// Logs a person (name or UUID) in by password, or by password and the code of the moment. An
    /// error says why Kanidm denies it.
    pub fn log_in(&self, person: &str, password: &str, totp: Option<u32>) -> Result<(), String> {
        #[derive(Deserialize)]
        struct LoggedIn {
            success: bool,
            reason: Option<String>,
        }
        let body = json!({ "person": person, "password": password, "totp": totp });
        match self.post("login", &body) {
            LoggedIn { success: true, .. } => Ok(()),
            LoggedIn { reason, .. } => Err(reason.unwrap_or_default()),
        }
    }

    /// A person of Kanidm's own, outside every sync account.
    pub fn create_person(&self, name: &str, gidnumber: Option<u32>, mail: Option<&str>) -> Uuid {
        self.create(json!({ "kind": "person", "name": name, "gidnumber": gidnumber, "mail": mail }))
    }

    /// A group of Kanidm's own, outside every sync account.
    pub fn create_group(&self, name: &str, gidnumber: Option<u32>) -> Uuid {
        self.create(json!({ "kind": "group", "name": name, "gidnumber": gidnumber }))
    }

    /// The recycle bin, in the order of the UUIDs.
    pub fn recycled(&self) -> Vec<Recycled> {
        self.get("recycled")
    }

    /// `kanidm recycle-bin revive`.
    pub fn revive(&self, uuid: Uuid) {
        self.post("revive", &json!({ "uuid": uuid }))
    }

    /// Adds a fault. Faults are met in the order they were added; a request meets at most one.
    pub fn fault(&self, fault: Fault) {
        self.post("fault", &Value::Object(fault.0))
    }

    /// How many faults still wait for a request.
    pub fn pending_faults(&self) -> usize {
        self.get::<Vec<Value>>("fault").len()
    }

    pub fn clear_faults(&self) {
        self.call("DELETE", "fault", None)
    }

    /// Every request so far, in the order they began.
    pub fn log(&self) -> Vec<LogLine> {
        self.get("log")
    }

    /// What was asked for by POST so far, in order: only what could be parsed.
    pub fn posts(&self) -> Vec<SyncLine> {
        self.log()
            .into_iter()
            .filter(|line| line.method == "POST")
            .filter_map(|line| line.sync)
            .collect()
    }

    pub fn clear_log(&self) {
        self.call("DELETE", "log", None)
    }

    /// Waits until nothing more will happen for any request: what Kanidm began for a client that
    /// hung up goes on without it.
    pub fn wait_until_idle(&self) {
        let begin = Instant::now();
        while self.log().iter().any(|line| !line.finished) {
            assert!(begin.elapsed() < PATIENCE, "a request takes too long: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// An empty Kanidm in the same process: sync accounts, entries, faults and log are gone. Not
    /// with a database file.
    pub fn reset(&self) {
        self.call("POST", "reset", None)
    }

    /// SIGKILL. Only [`KanidmServer::restart`] makes sense afterwards.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills the server, if it still lives, and starts it on the same port, with the same
    /// certificate. What it had in memory is lost; with a database file it goes on where it was.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = Process::start(&self.options, &self.identity, self.process.https);
    }

    fn create(&self, what: Value) -> Uuid {
        #[derive(Deserialize)]
        struct Created {
            uuid: Uuid,
        }
        self.post::<Created>("create", &what).uuid
    }

    fn get<T: DeserializeOwned>(&self, what: &str) -> T {
        self.call("GET", what, None)
    }

    fn post<T: DeserializeOwned>(&self, what: &str, body: &Value) -> T {
        self.call("POST", what, Some(body))
    }

    /// Calls a control; anything but success ends the test.
    fn call<T: DeserializeOwned>(&self, method: &str, what: &str, body: Option<&Value>) -> T {
        let url = format!("http://127.0.0.1:{}/test/{what}", self.process.control);
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(&url)
            .body(body.map(Value::to_string).unwrap_or_default());
        let mut response = agent
            .run(request.expect("a request"))
            .unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        let text = response
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_string()
            .expect("a whole answer");
        assert!(response.status().is_success(), "{method} {url}: {} {text}", response.status());
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{method} {url}: {error}: {text}"))
    }
}

impl Process {
    fn start(options: &KanidmOptions, identity: &Identity, port: u16) -> Process {
        let mut command = Command::new(program());
        command.arg("--cert").arg(&identity.certificate).arg("--key").arg(&identity.key);
        command.arg("--https").arg(format!("127.0.0.1:{port}"));
        if let Some(path) = &options.database {
            command.arg("--db").arg(path);
        }
        if let Some(seconds) = options.time_limit {
            command.arg("--time-limit").arg(seconds.to_string());
        }
        if options.plain_conflicts {
            command.arg("--plain-conflicts");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let (https, control) = ports(&line)
            .unwrap_or_else(|| panic!("{command:?} does not start; what it says stands above"));
        let stdin = child.stdin.take().expect("piped");
        Process { child, _stdin: stdin, https, control }
    }

    fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ports of `ready https=PORT control=PORT`.
fn ports(line: &str) -> Option<(u16, u16)> {
    let (https, control) = line.trim().strip_prefix("ready https=")?.split_once(" control=")?;
    Some((https.parse().ok()?, control.parse().ok()?))
}

/// The server's program, which must have been built.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os(PROGRAM) {
        return path.into();
    }
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kanidm"));
    let path = folder.join("target/debug/kanidm-test-server");
    assert!(
        path.exists(),
        "{} is missing. ./tests/run builds it, and so does: cargo build --locked --manifest-path {}/Cargo.toml",
        path.display(),
        folder.display()
    );
    path
}
