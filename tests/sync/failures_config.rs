//! Configuration and command line as the program itself takes them: what is wrong is named with
//! file, line and key, on stderr and, with `--json`, in the report; the exit code is 2, and nobody
//! is connected to. Root is refused without `-s`, a second run at once ends with 5.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::temp::TempDir;
use crate::support::tool::{ConfigText, Outcome, Tool, is_root, run_command};

const UUID: &str = "ac60034b-3498-11ed-a50d-919b4b1a5ec0";

/// A sync config with a line for each key, so that keys can be found by their lines; nobody listens
/// where it points to.
fn sync_config() -> ConfigText {
    ConfigText::new()
        .set("sync_token", "t") // line 1
        .set("ldap_uri", "ldaps://localhost:1") // line 2
        .set("ldap_sync_dn", "cn=sync,dc=example,dc=com") // line 3
        .set("ldap_sync_pw", "p") // line 4
        .set("ldap_sync_base_dn", "dc=example,dc=com") // line 5
        .set("ldap_filter", "(objectClass=*)") // line 6
}

fn client_config() -> ConfigText {
    ConfigText::new().set("uri", "https://localhost:1")
}

/// Runs with `--json`: exit code 2, and the first complaint begins with `place`, behind the file's
/// name, and says `words`.
#[track_caller]
fn assert_refused(tool: &Tool, file: &str, place: &str, words: &str) {
    let outcome = tool.run(&["--json"]).expect_code(2);
    let expected = format!("{}/{file}{place}", tool.dir().path().display());
    let first = outcome
        .stderr
        .lines()
        .find_map(|line| line.split_once(" ERROR "))
        .map(|(_, text)| text.to_owned())
        .unwrap_or_default();
    assert!(
        first.starts_with(&expected) && first.contains(words),
        "{expected} … {words}\n{}",
        outcome.all()
    );
    let report: Value = serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", outcome.all()));
    assert_eq!(
        (&report["result"], &report["exit_code"]),
        (&Value::from("failed"), &Value::from(2)),
        "{report}"
    );
    assert!(
        report["error"].as_str().is_some_and(|error| error.lines().next() == Some(&first)),
        "{report}"
    );
}

#[test]
fn wrong_sync_configs_are_named_by_file_line_and_key() {
    let tool = Tool::new(&sync_config(), &client_config());
    let more = |line: &str| sync_config().raw(&format!("{line}\n"));
    let set = |key: &str, value: &str| sync_config().set(key, value);
    let cases = [
        // Values of the keys that have to be there.
        (set("ldap_uri", "http://localhost"), ":2: ldap_uri: ", "ldaps://"),
        (set("ldap_uri", "ldap://localhost"), ":2: ldap_uri: ", "ldap_starttls"),
        (set("ldap_sync_dn", "sync"), ":3: ldap_sync_dn: ", "at character"),
        (set("ldap_sync_pw", ""), ":4: ldap_sync_pw: ", "must not be an empty password"),
        (set("ldap_sync_base_dn", "example.com"), ":5: ldap_sync_base_dn: ", "at character"),
        (set("ldap_filter", "(&(a=b)"), ":6: ldap_filter: ", "closing parenthesis"),
        (set("ldap_filter", "objectClass=*"), ":6: ldap_filter: ", "opening parenthesis"),
        (set("sync_token", "two words"), ":1: sync_token: ", "white space"),
        // Missing ones.
        (sync_config().without("sync_token"), ": sync_token: ", "is required (or sync_token_file)"),
        (sync_config().without("ldap_uri"), ": ldap_uri: ", "is required"),
        (sync_config().without("ldap_sync_dn"), ": ldap_sync_dn: ", "is required with a password"),
        (
            sync_config().without("ldap_sync_pw"),
            ": ldap_sync_pw: ",
            "is required with ldap_sync_dn",
        ),
        (sync_config().without("ldap_sync_base_dn"), ": ldap_sync_base_dn: ", "is required"),
        (sync_config().without("ldap_filter"), ": ldap_filter: ", "is required"),
        (
            more("ldap_client_cert = '/c.pem'"),
            ": ldap_client_key: ",
            "is required with ldap_client_cert",
        ),
        // Everything else.
        (more("schedule = 'every day'"), ":7: schedule: ", "field"),
        (more("full_refresh_schedule = '0 0 0 30 2 *'"), ":7: full_refresh_schedule: ", "never"),
        (more("status_bind = 'localhost'"), ":7: status_bind: ", "address and a port"),
        (more("ldap_starttls = 'yes'"), ":7: ldap_starttls: ", "true or false"),
        (more("ldap_timeout = 0"), ":7: ldap_timeout: ", "from 1 to 86400"),
        (more("kanidm_timeout = '300'"), ":7: kanidm_timeout: ", "a number"),
        (more("max_ber_size = 'much'"), ":7: max_ber_size: ", "MiB"),
        (more("person_objectclass = []"), ":7: person_objectclass: ", "empty"),
        (more("person_attr_mail = '*'"), ":7: person_attr_mail: ", "one attribute"),
        (more("group_attr_schema = 'rfc4876'"), ":7: group_attr_schema: ", "rfc2307bis, rfc2307"),
        (more("invalid_entries = 'ignore'"), ":7: invalid_entries: ", "drop-value, hold, fail"),
        (more("user_private_groups = 'no'"), ":7: user_private_groups: ", "skip, sync"),
        (more("max_delete_percent = 101"), ":7: max_delete_percent: ", "from 0 to 100"),
        (more("log_changes_max = 10001"), ":7: log_changes_max: ", "from 0 to 10000"),
        (more("upload_max_entries = 0"), ":7: upload_max_entries: ", "from 1 to"),
        (more("upload_max_bytes = '1 GiB'"), ":7: upload_max_bytes: ", "32 MiB"),
        (more("sync_token_file = '/x'"), ":7: sync_token_file: ", "keep one of them"),
        (more("ldap_sync_pw_file = '/x'"), ":7: ldap_sync_pw_file: ", "keep one of them"),
        (more("ldap_filtre = '(a=b)'"), ":7: ldap_filtre: ", "did you mean ldap_filter?"),
        (more("ldap_ca = '%d/ca.pem'"), ":7: ldap_ca: ", "CREDENTIALS_DIRECTORY"),
        (
            more(&format!("[{UUID}]\nexclude = 'yes'")),
            &format!(":8: [{UUID}] exclude: "),
            "true or false",
        ),
        (
            more(&format!("[{UUID}]\nmap_name = 'Not A Name'")),
            &format!(":8: [{UUID}] map_name: "),
            "must be",
        ),
        (
            more(&format!("[{UUID}]\nmap_gidnumber = 1")),
            &format!(":8: [{UUID}] map_gidnumber: "),
            "1000",
        ),
        (
            more(&format!("[{UUID}]\nmap_uuid = '{UUID}x'")),
            &format!(":8: [{UUID}] map_uuid: "),
            "UUID",
        ),
        (more("[ac60034b]\nexclude = true"), ":7: ac60034b: ", "malformed UUID"),
        (more(&format!("[{}]", &UUID[1..])), &format!(":7: {}: ", &UUID[1..]), "malformed UUID"),
        (more(&format!("[{UUID}]\nnick = 'x'")), &format!(":8: [{UUID}] nick: "), "unknown key"),
        (more("ldap_timeout = 5\nldap_timeout = 5"), ":8: ", "not TOML"),
        (more("ldap_timeout"), ":7: ", "not TOML"),
    ];
    for (config, place, words) in cases {
        tool.write_sync_config(&config);
        assert_refused(&tool, "ldap-sync", place, words);
    }
}

#[test]
fn wrong_client_configs_are_named_by_file_line_and_key() {
    let tool = Tool::new(&sync_config(), &client_config());
    let more = |line: &str| client_config().raw(&format!("{line}\n"));
    for (config, place, words) in [
        (ConfigText::new(), ": uri: ", "is required (or KANIDM_URL)"),
        (ConfigText::new().set("uri", "http://idm.example.com"), ":1: uri: ", "https://"),
        (
            ConfigText::new().set("uri", "https://idm.example.com/kanidm"),
            ":1: uri: ",
            "root of its host",
        ),
        (ConfigText::new().set("uri", 443), ":1: uri: ", "must be a string"),
        (more("verify_ca = 'no'"), ":2: verify_ca: ", "true or false"),
        (more("verify_hostnames = 0"), ":2: verify_hostnames: ", "true or false"),
        (more("ca_path = ''"), ":2: ca_path: ", "must not be empty"),
        (more("connect_timeout = 0"), ":2: connect_timeout: ", "from 1 to"),
        (more("uri = 'https://b'"), ":2: ", "not TOML"),
    ] {
        tool.write_client_config(&config);
        assert_refused(&tool, "config", place, words);
    }
    tool.write_client_config(&more("[staging]\nuri = 'https://b'"));
    let outcome = tool.run(&["-I", "stagin"]).expect_code(2);
    assert!(
        outcome.stderr.contains("/config: has no table [stagin]")
            && outcome.stderr.contains("did you mean staging?"),
        "{outcome:?}"
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let config =
        sync_config().set("ldap_filter", "(a=b").raw("ldap_timeout = 0\nmax_delete_percent = -1\n");
    let outcome = Tool::new(&config, &client_config()).run(&[]).expect_code(2);
    let keys = [
        "ldap-sync:6: ldap_filter: ",
        "ldap-sync:7: ldap_timeout: ",
        "ldap-sync:8: max_delete_percent: ",
    ];
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", outcome.stderr);
    assert!(
        lines.iter().zip(keys).all(|(line, key)| line.contains(" ERROR ") && line.contains(key)),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.stdout, "", "only --json asks for a report");
}

#[test]
fn every_mode_refuses_a_wrong_configuration() {
    let tool = Tool::new(&sync_config().set("ldap_filter", "(a=b"), &client_config());
    for mode in ["--dry-run", "--proto-dump", "--schedule", "--full-refresh"] {
        let outcome = tool.run(&[mode]).expect_code(2);
        assert!(outcome.stderr.contains("ldap-sync:6: ldap_filter: "), "{mode}: {}", outcome.all());
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let tool = Tool::new(&sync_config(), &client_config());
    let folder = tool.dir().path().to_owned();
    let with = |file: &str| {
        sync_config()
            .without("sync_token")
            .set("sync_token_file", folder.join(file).to_str().unwrap())
    };
    tool.dir().write("empty", "");
    std::fs::set_permissions(tool.dir().write("open", "t"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    for (file, words) in [
        ("missing", "No such file"),
        ("empty", "no token"),
        ("open", "mode 0644"),
        ("", "directory"),
    ] {
        tool.write_sync_config(&with(file));
        assert_refused(&tool, "ldap-sync", ":6: sync_token_file: ", words);
    }
    std::fs::write(folder.join("ldap-sync"), [0xff, 0xfe]).unwrap();
    assert_refused(&tool, "ldap-sync", ": cannot be read: ", "UTF-8");
    std::fs::remove_file(folder.join("ldap-sync")).unwrap();
    assert_refused(&tool, "ldap-sync", ": cannot be read: ", "No such file");
    tool.write_sync_config(&sync_config());
    std::fs::remove_file(folder.join("config")).unwrap();
    assert_refused(&tool, "config", ": cannot be read: ", "No such file");
}

/// Only root can become another user.
#[test]
fn a_denied_file_is_named_with_the_user_and_the_command() {
    if !is_root() {
        return;
    }
    let tool = Tool::new(&sync_config(), &client_config());
    let folder = tool.dir().path();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(folder, 0o755);
    let program = folder.join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_kanidm-ldap-sync"), &program).unwrap();
    allow(&program, 0o755);
    let as_daemon = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=1", "--regid=1", "--clear-groups"]).arg(&program);
        command.arg("-i").arg(tool.sync_config()).arg("-c").arg(tool.client_config());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run_command(&mut command).expect_code(2).stderr
    };
    let (config, client) = (tool.sync_config().display(), tool.client_config());
    allow(tool.sync_config(), 0o600);
    allow(client, 0o644);
    let denied = |path: &dyn std::fmt::Display| {
        format!(
            "user daemon (uid 1) may not read {path} (mode 0600, root:root). \
             Run as root: chgrp daemon {path} && chmod g+r {path}"
        )
    };
    let said = as_daemon();
    assert!(said.contains(&format!("{config}: cannot be read: {}", denied(&config))), "{said}");

    let token = tool.dir().write("token", "t");
    allow(&token, 0o600);
    tool.write_sync_config(
        &sync_config().without("sync_token").set("sync_token_file", token.to_str().unwrap()),
    );
    allow(tool.sync_config(), 0o644);
    let said = as_daemon();
    let words = format!("sync_token_file: the file cannot be read: {}", denied(&token.display()));
    assert!(said.contains(&words), "{said}");

    std::fs::create_dir(folder.join("closed")).unwrap();
    allow(&folder.join("closed"), 0o700);
    let hidden = folder.join("closed/secret");
    tool.write_sync_config(
        &sync_config().without("sync_token").set("sync_token_file", hidden.to_str().unwrap()),
    );
    allow(tool.sync_config(), 0o644);
    let said = as_daemon();
    let words = format!("may not enter the folder {}/closed (mode 0700", folder.display());
    assert!(said.contains(&words) && !said.contains("closed/secret"), "{said}");
}

/// A file that somebody has replaced by a FIFO does not make the program wait for a writer.
#[test]
fn a_fifo_is_refused_and_not_waited_for() {
    let tool = Tool::new(&sync_config(), &client_config());
    let fifo = |name: &str| {
        let path = tool.dir().path().join(name);
        let _ = std::fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path.to_str().unwrap().to_owned()
    };
    let words = "it is not a regular file";
    tool.write_sync_config(
        &sync_config().without("sync_token").set("sync_token_file", fifo("token")),
    );
    assert_refused(&tool, "ldap-sync", ":6: sync_token_file: ", words);
    tool.write_sync_config(&sync_config());
    let ca = fifo("ca");
    tool.write_client_config(&client_config().set("ca_path", ca.as_str()));
    let run = tool.run(&[]).expect_code(1);
    run.says(&format!("cannot read {ca}: {words}"));
    fifo("config");
    assert_refused(&tool, "config", ": cannot be read: ", words);
    fifo("ldap-sync");
    assert_refused(&tool, "ldap-sync", ": cannot be read: ", words);
}

#[test]
fn a_wrong_command_line_is_named() {
    let tool = Tool::new(&sync_config(), &client_config());
    for (arguments, words) in [
        (&["--dry-rum"][..], "--dry-run"),
        (&["-x"], "-x"),
        (&["file"], "file"),
        (&["-i", "/other"], "given twice"),
        (&["-d", "-q"], "--debug and --quiet"),
        (&["--schedule", "-n"], "--schedule and --dry-run"),
    ] {
        let outcome = tool.run(arguments).expect_code(2);
        let words_said = outcome.stderr.contains(words) && outcome.stderr.contains("--help");
        assert!(
            words_said && outcome.stderr.lines().count() == 1 && outcome.stdout.is_empty(),
            "{arguments:?}\n{}",
            outcome.all()
        );
    }
}

#[test]
fn root_is_refused() {
    let tool = Tool::new(&sync_config(), &client_config());
    let without_confirmation = |arguments: &[&str]| -> Outcome {
        let confirmed = tool.command();
        let mut command = Command::new(confirmed.get_program());
        command.args(confirmed.get_args().filter(|argument| *argument != "-s")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run_command(&mut command)
    };
    for mode in ["--full-refresh", "--dry-run", "--proto-dump"] {
        let outcome = without_confirmation(&[mode]);
        if is_root() {
            let outcome = outcome.expect_code(2);
            assert!(
                outcome.stderr.contains("root") && outcome.stderr.contains("--skip-root-check"),
                "{mode}: {}",
                outcome.all()
            );
            // Nobody listens there: the run itself fails, with another code.
            tool.run(&[mode]).expect_code(1);
        } else {
            let outcome = outcome.expect_code(1);
            assert!(!outcome.stderr.contains("--skip-root-check"), "{mode}: {}", outcome.all());
        }
    }
    if is_root() {
        without_confirmation(&["--schedule"]).expect_code(2);
    }
    without_confirmation(&["--help"]).expect_code(0);
    without_confirmation(&["--version"]).expect_code(0);
}

#[test]
fn a_second_run_at_once_is_another_matter() {
    // A Kanidm that takes the connection and says nothing keeps the first run busy until the test
    // ends it.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let uri = format!("https://localhost:{}", silent.local_addr().unwrap().port());
    let tool = Tool::new(&sync_config(), &client_config().set("uri", uri.as_str()));
    let mut first = tool.spawn(&[]);
    let _connection = first.connects_to(&silent); // it has the lock by now

    let outcome = tool.run(&["--json"]).expect_code(5);
    let path = tool.sync_config().display().to_string();
    outcome.says(&format!("another run with {path} is under way"));
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&report["result"], &report["exit_code"]),
        (&Value::from("failed"), &Value::from(5)),
        "{report}"
    );
    tool.run(&["--dry-run"]).expect_code(5);

    // Another configuration is another matter, and a run that was killed leaves nothing behind.
    let elsewhere = TempDir::new("other");
    let other = elsewhere.write("ldap-sync", sync_config().text());
    let client = elsewhere.write("config", client_config().text());
    let mut command = tool.command();
    let program = command.get_program().to_owned();
    command = Command::new(program);
    command.arg("-c").arg(&client).arg("-i").arg(&other).args(is_root().then_some("-s"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    run_command(&mut command).expect_code(1);
    drop(first); // SIGKILL
    tool.write_client_config(&client_config());
    tool.run(&[]).expect_code(1);
}

/// Another user of the machine opens what everybody can read, and locks it for good.
#[test]
fn nobody_else_can_hold_the_lock() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let uri = format!("https://localhost:{}", silent.local_addr().unwrap().port());
    let client = client_config().set("uri", uri.as_str());
    let tool = Tool::new(&sync_config(), &client);
    let token = tool.dir().write("token", "t").to_str().unwrap().to_owned();
    std::fs::set_permissions(tool.sync_config(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let held = std::fs::File::open(tool.sync_config()).unwrap();
    held.lock().unwrap();

    // Nothing is private: without a lock, and that is said.
    let mut run = tool.spawn(&[]);
    drop(run.connects_to(&silent));
    let unlocked = run.finish().expect_code(1);
    let words = format!(
        "a second run is not kept out, because other users could hold the lock; change it with: chmod o-rw {}",
        tool.sync_config().display()
    );
    unlocked.says(&words);

    // The file of the token is: its lock keeps a second run out.
    tool.write_sync_config(
        &sync_config().without("sync_token").set("sync_token_file", token.as_str()),
    );
    let mut first = tool.spawn(&[]);
    let _connection = first.connects_to(&silent);
    let second = tool.run(&[]).expect_code(5);
    second.says(&format!("another run with {token} is under way"));
    assert!(!second.stderr.contains("kept out"), "{}", second.all());
}
