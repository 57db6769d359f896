//! No secret in any output: token, bind password, password hashes and key files carry markers, and
//! whatever the program does, well or not, none of them is in what it prints, nor in what other
//! users of the machine see of its process.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::relay::Relay;
use crate::support::kanidm::{Fault, Moment};
use crate::support::pki::{Identity, Pki};
use crate::support::ports;
use crate::support::process::PATIENCE;
use crate::support::scripted_https::{ScriptedHttps, response};
use crate::support::seed::{SUFFIX, SYNC_PASSWORD, Seed, user_dn, user_ldif};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{ConfigText, Outcome, Running, run_command};
use crate::support::world::World;

/// In every secret. Base64 of it would be no secret either, so the hashes hold it as it is: they
/// need not be right.
const MARKER: &str = "Marker5ecret";
const BIND_PASSWORD: &str = "Marker5ecret-bind";

/// What must not be seen: the markers, the token of Kanidm, and the middle of each private key.
struct Secrets(Vec<String>);

impl Secrets {
    fn new(token: &str, keys: &[&Path]) -> Secrets {
        let mut secrets = vec![MARKER.to_lowercase()];
        // A token is three parts, and a part of it is a secret too.
        secrets.extend(
            token
                .split('.')
                .filter(|part| part.len() > 40)
                .map(|part| part[part.len() - 30..].to_lowercase()),
        );
        assert!(secrets.len() > 1, "a token has long parts");
        for key in keys {
            let text = fs::read_to_string(key).unwrap();
            secrets.push(text.lines().nth(1).unwrap()[20..50].to_lowercase());
        }
        Secrets(secrets)
    }

    #[track_caller]
    fn assert_unseen(&self, what: &str, text: &str) {
        let lower = text.to_lowercase();
        for secret in &self.0 {
            assert!(!lower.contains(secret.as_str()), "{what}: {secret} is seen in\n{text}");
        }
    }
}

/// Users with every kind of password value: hashes that Kanidm takes, hashes that it does not,
/// clear text.
fn users() -> String {
    let passwords = [
        format!("{{SSHA}}{MARKER}AAAAAAAAAAAAAAAAAAAAAAAA"),
        format!("{{CRYPT}}$6$salt${MARKER}"),
        format!("{{CRYPT}}$2b$10${MARKER}"),
        format!("{{SASL}}{MARKER}@EXAMPLE.COM"),
        format!("{{MD5}}{MARKER}"),
        format!("{{{MARKER}}}AAAA"),
        format!("{{ARGON2}}$argon2id$v=19$m=4096,t=3,p=1${MARKER}$x"),
        MARKER.to_owned(),
        format!("{MARKER}\u{7}\u{1b}[31m"),
        format!("ipaNTHash: {MARKER}"),
    ];
    let mut ldif = String::new();
    for (at, password) in passwords.iter().enumerate() {
        let user = user_ldif(at + 1);
        let record = user.trim_end().lines().filter(|line| !line.starts_with("userPassword"));
        record.for_each(|line| ldif += &format!("{line}\n"));
        ldif += &format!(
            "userPassword:: {}\nuserPassword;lang-de: {MARKER}-option\n\n",
            base64(password)
        );
    }
    ldif + &user_ldif(20)
}

pub fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A directory and a Kanidm with secrets everywhere, with a client certificate that nobody asks
/// for.
fn secret_world(authority: &Pki) -> (World, Secrets, Identity) {
    let mut world =
        World::new(SlapdOptions { seed: Seed::Content(users()), ..SlapdOptions::default() });
    let account = format!("cn=sync,{SUFFIX}");
    world.slapd.change(&account, &format!("replace: userPassword\nuserPassword: {BIND_PASSWORD}"));
    let identity = authority.client("ldap-sync");
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let facts = path(&facts(&world));
    world.reconfigure(|config| {
        config
            .set("ldap_sync_pw", BIND_PASSWORD)
            .set("ldap_client_cert", path(&identity.certificate))
            .set("ldap_client_key", path(&identity.key))
            .set("sync_password_as_unix_password", true)
            .set("ldap_timeout", 30)
            .set("kanidm_timeout", 30)
            .set("metrics_file", facts)
    });
    let secrets = Secrets::new(&world.account.token, &[&identity.key]);
    (world, secrets, identity)
}

/// `metrics_file`, which every user of the machine may read.
fn facts(world: &World) -> PathBuf {
    world.tool.dir().path().join("facts.prom")
}

/// The secret world, its runs watched.
struct Printed {
    world: World,
    secrets: Secrets,
    identity: Identity,
    strangers: Pki,
}

impl Printed {
    #[track_caller]
    fn run(&self, what: &str, arguments: &[&str], code: i32) -> Outcome {
        let outcome = self.world.tool.run(&[&["--debug"], arguments].concat());
        self.secrets.assert_unseen(what, &outcome.all());
        if let Ok(text) = fs::read_to_string(facts(&self.world)) {
            self.secrets.assert_unseen(&format!("{what}: metrics_file"), &text);
        }
        assert_eq!(outcome.code, Some(code), "{what} {arguments:?}\n{}", outcome.all());
        outcome
    }

    #[track_caller]
    fn fails(&self, what: &str) {
        self.run(what, &["--json"], 1);
    }

    #[track_caller]
    fn fails_with(&self, what: &str, config: &ConfigText) {
        self.world.tool.write_sync_config(config);
        self.fails(what);
    }

    #[track_caller]
    fn fails_at_kanidm(&self, what: &str, client: &ConfigText) {
        self.world.tool.write_client_config(client);
        self.fails(what);
    }
}

#[test]
fn no_secret_is_printed() {
    let strangers = Pki::named("Strangers");
    let (world, secrets, identity) = secret_world(&strangers);
    let printed = Printed { world, secrets, identity, strangers };
    all_there_is(&printed);
    bad_directories(&printed);
    bad_keys(&printed);
    bad_kanidms(&printed);
    echoes(&printed);
}

/// All is well, and everything there is to print is printed.
fn all_there_is(printed: &Printed) {
    let (world, secrets) = (&printed.world, &printed.secrets);
    for policy in ["hold", "drop-value", "fail"] {
        world.tool.write_sync_config(&world.config.clone().set("invalid_entries", policy));
        let code = if policy == "fail" { 1 } else { 3 };
        for arguments in [&["--dry-run"][..], &["--proto-dump"], &["--dry-run", "--json"]] {
            let outcome = printed.run(policy, arguments, code);
            assert!(
                outcome.stderr.contains("userpassword") || policy == "fail",
                "{policy}: the password is what is wrong\n{}",
                outcome.all()
            );
        }
    }
    world.tool.write_sync_config(&world.config);
    let dump = printed.run("dump", &["--proto-dump"], 3);
    assert!(
        dump.stdout.contains("<redacted>") && dump.stdout.contains("password_import"),
        "{}",
        dump.stdout
    );
    printed.run("first refresh", &["--json"], 3);
    let password = format!("replace: userPassword\nuserPassword: {MARKER}-new");
    world.slapd.change(&user_dn(20), &password);
    printed.run("an increment", &[], 3);
    printed.run("a check", &["--check"], 0);
    printed.run("a check", &["--check", "--json"], 0);
    let text = fs::read_to_string(facts(world)).unwrap();
    assert!(text.contains("values_dropped{"), "{text}");
    // Libraries would log what they send, if they were asked.
    let mut command = world.tool.command();
    command.args(["--debug", "--dry-run"]).env("RUST_LOG", "trace").env("KANIDM_DEBUG", "trace");
    let outcome = run_command(&mut command).expect_code(3);
    outcome.says("DEBUG");
    secrets.assert_unseen("as much log as there is", &outcome.all());
}

/// A port where nobody listens, and one where somebody takes connections and says nothing.
fn nobody_and_silence() -> (u16, TcpListener) {
    let [nobody] = ports::free();
    (nobody, TcpListener::bind(("127.0.0.1", 0)).unwrap())
}

fn bad_directories(printed: &Printed) {
    let (world, strangers) = (&printed.world, printed.strangers.ca().to_str().unwrap());
    let (nobody, silence) = nobody_and_silence();
    let silent = silence.local_addr().unwrap().port();
    let relay = Relay::cutting(world.slapd.ldaps_port(), 3000);
    let config = || world.config.clone();
    let at = |port: u16| config().set("ldap_uri", format!("ldaps://localhost:{port}"));
    let account = |name: &str| config().set("ldap_sync_dn", format!("cn={name},{SUFFIX}"));
    for (what, config) in [
        ("wrong password", config().set("ldap_sync_pw", format!("{MARKER}-wrong"))),
        ("wrong DN", config().set("ldap_sync_dn", "cn=nobody")),
        ("wrong CA", config().set("ldap_ca", strangers)),
        ("nobody there", at(nobody)),
        ("nobody anywhere", config().set("ldap_uri", "ldaps://ldap.invalid")),
        ("silent", at(silent).set("ldap_timeout", 1)),
        ("cut", at(relay.port())),
        (
            "no rights",
            account("noright").set("ldap_sync_pw", SYNC_PASSWORD).set("ldap_filter", "(cn=*)"),
        ),
        ("base missing", config().set("ldap_sync_base_dn", format!("ou=missing,{SUFFIX}"))),
    ] {
        printed.fails_with(what, &config);
    }
}

fn bad_keys(printed: &Printed) {
    let (world, identity) = (&printed.world, &printed.identity);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key) = (text(&identity.certificate), text(&identity.key));
    let other = text(&printed.strangers.client("other").certificate);
    let config = || world.config.clone();
    let swapped = config().set("ldap_client_cert", &*key).set("ldap_client_key", certificate);
    printed.fails_with("the key as CA", &config().set("ldap_ca", &*key));
    printed.fails_with("another key", &config().set("ldap_client_cert", other));
    printed.fails_with("certificate and key swapped", &swapped);
    let key = fs::read_to_string(key).unwrap();
    for (what, damaged) in [
        ("a key cut short", key[..key.len() / 2].to_owned()),
        ("a key with a byte too many", key.replacen('\n', "\n*", 2)),
        ("a key with another label", key.replace("PRIVATE KEY", "SECRET")),
    ] {
        let path = world.tool.dir().write(&format!("{what}.pem"), damaged);
        printed.fails_with(what, &config().set("ldap_client_key", text(&path)));
    }
}

fn bad_kanidms(printed: &Printed) {
    let world = &printed.world;
    let token = world.config.clone().set("sync_token", format!("{MARKER}.{MARKER}.{MARKER}"));
    printed.fails_with("wrong token", &token);
    world.tool.write_sync_config(&world.config);
    for (what, fault) in [
        ("500", Fault::own_status(Moment::Received, 500, "\"backend\"")),
        ("503", Fault::status(Moment::Received, 503, "away")),
        ("no answer", Fault::closed(Moment::Received)),
    ] {
        world.kanidm.fault(fault);
        printed.fails(what);
    }
    let (nobody, silence) = nobody_and_silence();
    let kanidm =
        |uri: String| ConfigText::for_kanidm(&uri, world.kanidm.ca()).set("connect_timeout", 1);
    let at = |port: u16| kanidm(format!("https://localhost:{port}"));
    let trusting =
        |path: &Path| kanidm(world.kanidm.url()).set("ca_path", path.to_str().unwrap().to_owned());
    printed.fails_at_kanidm("Kanidm's CA", &trusting(printed.strangers.ca()));
    printed.fails_at_kanidm("the key as Kanidm's CA", &trusting(&printed.identity.key));
    printed.fails_at_kanidm("no Kanidm there", &at(nobody));
    printed.fails_at_kanidm("a silent Kanidm", &at(silence.local_addr().unwrap().port()));
    world.tool.write_client_config(&kanidm(world.kanidm.url()));
    // Data that Kanidm refuses: what it says of it is passed on.
    let refusal = "{\"invalidattribute\":\"password_import\"}";
    let fault = Fault::own_status(Moment::Received, 400, refusal).only("POST").times(1000);
    world.kanidm.fault(fault);
    let outcome = world.tool.run(&["--debug", "--full-refresh"]);
    printed.secrets.assert_unseen("refused", &outcome.all());
    world.kanidm.clear_faults();
}

/// A server that shows what it was sent, as debugging proxies do.
fn echoes(printed: &Printed) {
    let kanidm = &printed.world.kanidm;
    let identity = kanidm.pki().localhost();
    for status in [
        "200 OK",
        "400 Bad Request",
        "401 Unauthorized",
        "404 Not Found",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ] {
        for quoted in [false, true] {
            let server = ScriptedHttps::start(&identity, move |head| {
                let token = head
                    .lines()
                    .find(|line| line.to_ascii_lowercase().starts_with("authorization"))
                    .unwrap_or_default();
                let body =
                    if quoted { serde_json::to_string(token).unwrap() } else { token.to_owned() };
                let headers = format!("X-KANIDM-OPID: {token}\r\nLocation: https://{token}\r\n");
                response(status, &headers, &body)
            });
            let client = ConfigText::for_kanidm(&server.url(), kanidm.ca());
            printed.fails_at_kanidm(&format!("an echo with {status}"), &client);
            let sent = &server.requests()[0];
            assert!(sent.contains(&printed.world.account.token), "the server did get the token");
        }
    }
}

#[test]
fn no_secret_of_a_broken_configuration_is_printed() {
    let authority = Pki::new();
    let [nobody] = ports::free();
    let good = ConfigText::new()
        .set("ldap_uri", format!("ldaps://localhost:{nobody}"))
        .set("ldap_ca", authority.ca().to_str().unwrap())
        .set("ldap_sync_base_dn", SUFFIX)
        .set("ldap_filter", "(objectClass=*)");
    let complete = good
        .clone()
        .set("sync_token", format!("{MARKER}-token"))
        .set("ldap_sync_dn", "cn=sync")
        .set("ldap_sync_pw", BIND_PASSWORD);
    let client = ConfigText::new().set("uri", format!("https://localhost:{nobody}"));
    let tool = crate::support::tool::Tool::new(&complete, &client);
    let secrets = Secrets(vec![MARKER.to_lowercase()]);
    let check = |what: &str, code: i32| {
        for arguments in [&["--debug"][..], &["--json", "--dry-run"]] {
            let outcome = tool.run(arguments);
            assert_eq!(outcome.code, Some(code), "{what}\n{}", outcome.all());
            secrets.assert_unseen(what, &outcome.all());
        }
    };
    for line in [
        format!("ldap_sync_pw = {MARKER}"),
        format!("ldap_sync_pw = \"{MARKER}"),
        format!("ldap_sync_pw = '{MARKER}"),
        format!("ldap_sync_pw = '{MARKER}' {MARKER}"),
        format!("ldap_sync_pw '{MARKER}'"),
        format!("ldap_sync_pw: {MARKER}"),
        format!("ldap_sync_pw = [\"{MARKER}\""),
        format!("ldap_sync_pw = \"{MARKER}\\q\""),
        format!("ldap_sync_pw = '{MARKER}'\nldap_sync_pw = '{MARKER}'"),
        format!("ldap_sync_dn = '{MARKER}'"),
        format!("sync_token = '{MARKER} {MARKER}'"),
        format!("sync_token = ['{MARKER}']"),
        format!("sync_token_file = '{MARKER}'"),
        format!("ldap_sync_pw_file = '%d/{MARKER}'"),
        format!("ldap_sync_pas = '{MARKER}'"),
        format!("{MARKER}*"),
        format!("\"{MARKER} {MARKER}\" = 1"),
        format!("[sync_token]\n\"{MARKER} \" = 1"),
        format!("ldap_timeout = '{MARKER}'"),
        format!("invalid_entries = '{MARKER}'"),
    ] {
        tool.write_sync_config(&good.clone().raw(&format!("{line}\n")));
        check(&line, 2);
    }
    // In the client config, which has no secrets: someone may have thought otherwise, or taken one
    // file for the other.
    tool.write_sync_config(&complete);
    for line in [
        format!("token = {MARKER}"),
        format!("uri = '{MARKER}'"),
        format!("verify_ca = '{MARKER}'"),
    ] {
        tool.write_client_config(&ConfigText::new().raw(&format!("{line}\n")));
        check(&line, 2);
    }
    tool.write_client_config(&complete);
    check("the sync config as client config", 2);
    tool.write_client_config(
        &client.clone().set("password", MARKER).set_in(MARKER, "token", MARKER),
    );
    check("keys of other tools", 1);
}

#[test]
fn no_secret_is_seen_of_the_running_process() {
    let authority = Pki::new();
    let (world, secrets, _) = secret_world(&authority);
    let token = world.tool.dir().write("token", format!("{}\n", world.account.token));
    let password = world.tool.dir().write("password", format!("{BIND_PASSWORD}\n"));
    let from_files = world.config.clone().without("sync_token").without("ldap_sync_pw");
    let from_files = from_files
        .set("sync_token_file", token.to_str().unwrap())
        .set("ldap_sync_pw_file", password.to_str().unwrap());
    for (what, config) in
        [("secrets in the config", world.config.clone()), ("secrets in files", from_files)]
    {
        // It has been with Kanidm and is about to bind: it has everything in hand.
        let relay = Relay::holding(world.slapd.ldaps_port(), 1);
        world.tool.write_sync_config(
            &config.set("ldap_uri", format!("ldaps://localhost:{}", relay.port())),
        );
        let mut run = world.tool.spawn(&["--debug"]);
        relay.wait_until_held();
        let pid = run.child().id();
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(!bytes.is_empty(), "{file}");
            secrets.assert_unseen(&format!("{what}: {file}"), &String::from_utf8_lossy(&bytes));
        }
        relay.release();
        let outcome = run.finish();
        assert_eq!(outcome.code, Some(3), "{what}\n{}", outcome.all());
        secrets.assert_unseen(what, &outcome.all());
    }
}

/// What a service says to its log, to systemd and to `--status`, through good runs, bad ones and
/// configurations that are no use.
#[test]
fn no_secret_leaves_the_service() {
    let authority = Pki::new();
    let (mut world, secrets, _) = secret_world(&authority);
    let status = ports::own_address().to_string();
    world.reconfigure(|config| {
        config.set("status_bind", status).set("schedule", "0 0 0 1 1 * 2099")
    });
    let socket = world.tool.dir().path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut message = [0; 4096];
        let length = systemd.recv(&mut message).unwrap();
        let message = String::from_utf8_lossy(&message[..length]).into_owned();
        secrets.assert_unseen("told to systemd", &message);
        message
    };
    let until = |words: &str| while !told().contains(words) {};

    let mut command = world.tool.command();
    let child =
        command.args(["--debug", "--schedule"]).env("NOTIFY_SOCKET", &socket).spawn().unwrap();
    let mut service = Running::of(child);
    until("STATUS=synchronised, but a few entries need attention");
    let asked = world.tool.run(&["--status"]);
    secrets.assert_unseen("--status", &asked.all());
    // A configuration that is no use, with what stands in it; then one with another password, which
    // is wrong.
    for (what, config, signal, words) in [
        (
            "broken",
            ConfigText::new().raw(&format!("ldap_sync_pw = {MARKER}\n")),
            "HUP",
            "not usable",
        ),
        (
            "another password",
            world.config.clone().set("ldap_sync_pw", format!("{MARKER}-wrong")),
            "HUP",
            "configuration read again",
        ),
        (
            "which is wrong",
            world.config.clone().set("ldap_sync_pw", format!("{MARKER}-wrong")),
            "USR1",
            "STATUS=failed",
        ),
        ("the right one", world.config.clone(), "HUP", "configuration read again"),
        ("which is right", world.config.clone(), "USR1", "STATUS=synchronised"),
    ] {
        world.tool.write_sync_config(&config);
        service.signal(signal);
        until(words);
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{}/{file}", service.child().id())).unwrap();
            secrets.assert_unseen(&format!("{what}: {file}"), &String::from_utf8_lossy(&bytes));
        }
        let text = fs::read_to_string(facts(&world)).unwrap();
        secrets.assert_unseen(&format!("{what}: metrics_file"), &text);
        let asked = world.tool.run(&["--status"]);
        secrets.assert_unseen(&format!("{what}: --status"), &asked.all());
    }
    service.signal("TERM");
    let outcome = service.finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    assert!(
        outcome.stderr.contains("DEBUG") && outcome.stderr.contains("invalidCredentials"),
        "{}",
        outcome.all()
    );
    secrets.assert_unseen("the log of a service", &outcome.all());
}
