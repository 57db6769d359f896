//! `metrics_file` after runs of every kind, between real directories and the real Kanidm engine.
//! Prometheus' own promtool judges each file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use kanidm_ldap_sync::service::lock::RunLock;

use crate::service::{NEVER, Service, ask, signal, status_address, wait_until};
use crate::support::ds389::Ds389Options;
use crate::support::promtool::promtool;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, user_ldif};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{Outcome, Tool, run_command};
use crate::support::world::{Between, World, World389};

/// A person without fault, one with a bad number, one with a bad name, and a group with a member
/// that is not synchronised.
fn world() -> World {
    let person = |uid: &str, number: u32| {
        format!(
            "dn: uid={uid},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\n\
             uid: {uid}\ncn: {uid}\nsn: {uid}\nuidNumber: {number}\ngidNumber: 1\nhomeDirectory: /\n\n"
        )
    };
    let group = format!(
        "dn: cn=team,ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: team\n\
         member: uid=good,ou=people,{SUFFIX}\nmember: cn=sync,{SUFFIX}\n\n"
    );
    let content = [person("good", 5001), person("low", 5), person("1odd", 5002), group].concat();
    World::new(SlapdOptions { seed: Seed::Content(content), ..SlapdOptions::default() })
}

/// Sets `metrics_file` to a file in the folder of the tool.
fn watched(between: &mut Between) -> Facts {
    let path = between.tool.dir().path().join("facts.prom");
    let name = path.to_str().unwrap().to_owned();
    between.reconfigure(|config| config.set("metrics_file", name));
    Facts { path, config: between.tool.sync_config().to_owned() }
}

/// The file, read without the program's own reader.
struct Facts {
    path: PathBuf,
    config: PathBuf,
}

impl Facts {
    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// The value of a series: `name` or `name,label="value"`.
    fn get(&self, series: &str) -> Option<f64> {
        let (name, label) = series.split_once(',').unwrap_or((series, ""));
        let label = if label.is_empty() { String::new() } else { format!(",{label}") };
        let config = self.config.display();
        let start = format!("kanidm_ldap_sync_{name}{{config=\"{config}\"{label}}} ");
        self.text().lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
    }

    #[track_caller]
    fn assert(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.get(series), Some(*value), "{series}\n{}", self.text());
        }
    }

    #[track_caller]
    fn assert_absent(&self, series: &[&str]) {
        for series in series {
            assert_eq!(self.get(series), None, "{series}\n{}", self.text());
        }
    }

    /// Readable for node-exporter, alone in its place, and well-formed.
    #[track_caller]
    fn assert_proper(&self) {
        let said = promtool(&["check", "metrics"], Path::new("/"), &self.text());
        assert_eq!(said, "", "{}", self.text());
        assert_eq!(fs::metadata(&self.path).unwrap().permissions().mode() & 0o7777, 0o644);
        let folder = self.path.parent().unwrap();
        let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".tmp")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as f64
}

/// A service has the umask 077, and node-exporter is another user.
fn run(tool: &Tool, arguments: &[&str]) -> Outcome {
    let plain = tool.command();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(plain.get_program());
    command.args(plain.get_args()).args(arguments).env_remove("KANIDM_URL");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    run_command(&mut command)
}

#[test]
fn each_run_leaves_its_facts_and_a_failed_one_keeps_the_last_success() {
    let mut world = world();
    let facts = watched(&mut world);
    for other in [&["--dry-run"][..], &["--proto-dump"], &["--check"]] {
        run(&world.tool, other);
        assert!(!facts.path.exists(), "{other:?}");
    }

    let begun = now();
    run(&world.tool, &[]).expect_code(3);
    facts.assert_proper();
    facts.assert(&[
        ("last_run_exit_code", 3.0),
        ("last_run_full_refresh", 1.0),
        ("last_run_entries_read", 4.0),
        ("last_run_entries_written,kind=\"person\"", 2.0),
        ("last_run_entries_written,kind=\"group\"", 1.0),
        ("last_run_members_unresolved", 1.0),
        ("last_run_failed,reason=\"directory\"", 0.0),
        ("entries_held", 1.0),
        ("values_dropped", 1.0),
    ]);
    facts.assert_absent(&["success_deadline_timestamp_seconds", "follower_connected"]);
    let success = facts.get("last_success_timestamp_seconds").unwrap();
    assert!((begun..=now()).contains(&success), "{success}");
    let seconds = |side| facts.get(&format!("last_run_side_duration_seconds,side=\"{side}\""));
    let total = facts.get("last_run_duration_seconds").unwrap();
    assert!(seconds("directory").unwrap() + seconds("kanidm").unwrap() <= total + 0.002);

    // Both wait, so every run names them again.
    run(&world.tool, &[]).expect_code(3);
    facts.assert(&[
        ("last_run_full_refresh", 0.0),
        ("entries_held", 1.0),
        ("values_dropped", 1.0),
        ("last_run_entries_deleted", 0.0),
    ]);
    let success = facts.get("last_success_timestamp_seconds").unwrap();

    let good = world.config.clone();
    world.reconfigure(|config| config.set("ldap_filter", "(cn=nobody)"));
    run(&world.tool, &[]).expect_code(4);
    failed(&facts, 4.0, "refused", success, "deletion guard");
    world.reconfigure(|_| good.clone().set("invalid_entries", "fail"));
    run(&world.tool, &[]).expect_code(1);
    failed(&facts, 1.0, "invalid_entries", success, "nothing was sent");
    world.reconfigure(|_| good.clone().set("no_key", 1).without("sync_token"));
    run(&world.tool, &["--dry-run"]).expect_code(2);
    facts.assert(&[("last_run_exit_code", 1.0)]);
    run(&world.tool, &[]).expect_code(2);
    failed(&facts, 2.0, "configuration", success, "ldap-sync");
    world.reconfigure(|_| good.clone());

    world.slapd.stop();
    run(&world.tool, &[]).expect_code(1);
    failed(&facts, 1.0, "directory", success, "is the server running");
    let before = facts.text();
    {
        let _other_run = RunLock::acquire(world.tool.sync_config(), None).unwrap();
        run(&world.tool, &[]).expect_code(5);
    }
    assert_eq!(facts.text(), before, "the other run tells its own result");
    world.reconfigure(|config| config.set("sync_token", "eyJ.wrong"));
    run(&world.tool, &[]).expect_code(1);
    failed(&facts, 1.0, "kanidm", success, "token");
    assert!(!facts.text().contains("eyJ.wrong"), "{}", facts.text());
}

#[track_caller]
fn failed(facts: &Facts, code: f64, reason: &str, success: f64, words: &str) {
    facts.assert_proper();
    facts.assert(&[
        ("last_run_exit_code", code),
        ("last_success_timestamp_seconds", success),
        ("entries_held", 1.0),
        ("values_dropped", 1.0),
    ]);
    for other in ["configuration", "directory", "invalid_entries", "kanidm", "local", "refused"] {
        let series = format!("last_run_failed,reason=\"{other}\"");
        assert_eq!(facts.get(&series), Some(f64::from(u8::from(other == reason))), "{other}");
    }
    facts.assert_absent(&[
        "last_run_entries_read",
        "last_run_entries_written,kind=\"person\"",
        "last_run_full_refresh",
    ]);
    assert!(facts.get("last_run_timestamp_seconds").unwrap() >= success);
    assert!(facts.get("last_run_duration_seconds").is_some());
    let text = facts.text();
    let error = text.lines().find_map(|line| line.strip_prefix("# last error: ")).unwrap();
    assert!(error.contains(words), "{error}");
}

/// Two configurations name one file. The failure of one must not look like the success of the other.
#[test]
fn a_run_does_not_keep_the_success_of_another_configuration() {
    let mut world = world();
    let facts = watched(&mut world);
    run(&world.tool, &[]).expect_code(3);
    let outcome = run(&world.tool, &[]).expect_code(3);
    assert!(!outcome.stderr.contains("does not count here"), "{}", outcome.all());
    let ours = format!("{{config=\"{}\"", facts.config.display());
    fs::write(&facts.path, facts.text().replace(&ours, "{config=\"/etc/other\"")).unwrap();
    world.slapd.stop();
    let outcome = run(&world.tool, &[]).expect_code(1);
    let warning = "is about the sync config /etc/other: its last success does not count here.";
    assert_eq!(outcome.stderr.matches(warning).count(), 1, "{}", outcome.all());
    facts.assert_proper();
    facts.assert(&[("last_run_exit_code", 1.0)]);
    facts.assert_absent(&["last_success_timestamp_seconds", "entries_held"]);
}

#[test]
fn a_run_on_389_leaves_its_facts_too() {
    let mut world = World389::new(Ds389Options::default());
    let facts = watched(&mut world);
    let ran = world.run(&[], 3).report;
    facts.assert_proper();
    facts.assert(&[
        ("last_run_entries_read", ran["read"].as_f64().unwrap()),
        ("entries_held", ran["held"].as_array().unwrap().len() as f64),
        ("last_run_full_refresh", 1.0),
    ]);
    assert!(facts.get("entries_known").unwrap() > 10.0, "{}", facts.text());
}

#[test]
fn a_damaged_file_is_replaced_and_a_success_of_the_future_is_forgotten() {
    let mut world = world();
    let facts = watched(&mut world);
    let series = format!("{{config=\"{}\"}}", facts.config.display());
    for old in [
        b"".to_vec(),
        b"\0\0\xff".to_vec(),
        b"node_load1 1\n".to_vec(),
        format!("kanidm_ldap_sync_last_success_timestamp_seconds{series} 9999999999\n")
            .into_bytes(),
    ] {
        fs::write(&facts.path, &old).unwrap();
        fs::set_permissions(&facts.path, fs::Permissions::from_mode(0o600)).unwrap();
        world.slapd.stop();
        run(&world.tool, &[]).expect_code(1);
        world.slapd.restart();
        facts.assert_proper();
        facts.assert_absent(&["last_success_timestamp_seconds"]);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_a_warning_and_no_failure() {
    let mut world = world();
    let missing = world.tool.dir().path().join("missing");
    let path = missing.join("facts.prom");
    let warning = format!("metrics_file {} cannot be written: there is no folder", path.display());
    let name = path.to_str().unwrap().to_owned();
    let status = status_address();
    world.reconfigure(|config| {
        config
            .set("metrics_file", name)
            .set("schedule", NEVER)
            .set("status_bind", status.to_string())
    });
    let outcome = run(&world.tool, &[]).expect_code(3);
    assert_eq!(outcome.stderr.matches(&warning).count(), 1, "{}", outcome.all());

    let mut service = Service::start(&world.tool, status);
    service.wait_for_status("Ok\n");
    service.run_now("synchronised: ");
    service.run_now("synchronised: ");
    assert_eq!(service.said(&warning), 1, "once: {}", service.log());
    // The socket is not affected, and --status says why it knows no more.
    let asked = ask(&world.tool).expect_code(0);
    assert!(
        asked.stdout.starts_with("OK - the last good run is recent (metrics_file ")
            && asked.stdout.contains("No such file"),
        "{}",
        asked.all()
    );
    service.signal("HUP");
    service.wait_for("was read again and is in force", 1);
    service.run_now("synchronised: ");
    assert_eq!(service.said(&warning), 1, "still once: {}", service.log());

    fs::create_dir(&missing).unwrap();
    service.run_now("synchronised: ");
    service.wait_for("facts.prom is written again", 1);
    fs::rename(&missing, missing.with_file_name("moved")).unwrap();
    service.run_now("synchronised: ");
    service.wait_for(&warning, 2);
    assert_eq!(service.stop("TERM"), Some(0));
    assert_eq!(service.said(&warning), 2, "{}", service.log());
}

/// The user of the service may not write to the folder of node-exporter before it is allowed to.
#[test]
fn a_folder_that_denies_access_is_named_with_the_command() {
    let mut world = world();
    let folder = world.tool.dir().path().join("textfile");
    fs::create_dir(&folder).unwrap();
    let name = folder.join("facts.prom").to_str().unwrap().to_owned();
    world.reconfigure(|config| config.set("metrics_file", name));
    world.run_as("nobody");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(
        std::process::Command::new("chown")
            .arg("root:root")
            .arg(&folder)
            .status()
            .unwrap()
            .success()
    );
    // This user may not read the directory's CA either.
    let outcome = world.tool.run(&[]).expect_code(1);
    let folder = folder.display();
    outcome.says(&format!(
        "user nobody (uid 65534) may not write to the folder {folder} (mode 0755, root:root). \
         Run as root: chgrp nogroup {folder} && chmod g+w {folder}"
    ));
}

#[test]
fn a_service_tells_its_deadline_and_its_listener_and_status_reads_them() {
    let seed = Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() });
    let mut world = World::new(SlapdOptions { seed, ..SlapdOptions::default() });
    let facts = watched(&mut world);
    let status = status_address();
    world.reconfigure(|config| {
        config
            .set("schedule", "0 0 0 1 1 * *")
            .set("status_bind", status.to_string())
            .set("follow", true)
            .set("follow_interval", 0.1)
    });
    signal(world.kanidm.pid(), "STOP");
    let mut service = Service::start(&world.tool, status);
    service
        .wait_for("schedule \"0 0 0 1 1 * *\": a run starts now, and the next run starts at ", 1);
    service.wait_for("follow: a change in the directory starts a run, at most one in 0.1 s", 1);
    signal(world.kanidm.pid(), "CONT");
    service.wait_for_status("Ok\n");
    // It connects after the first run.
    wait_until(|| facts.get("follower_connected") == Some(1.0), || facts.text());
    facts.assert_proper();
    let deadline = facts.get("success_deadline_timestamp_seconds").unwrap();
    let years = (deadline - now()) / (365.25 * 86_400.0);
    assert!((1.9..3.1).contains(&years), "the third of January: {years}\n{}", facts.text());
    asked(&world, 0, &["OK - last success ", " held=0;0;;0 dropped=0;0;;0 known=", " | age="]);

    world.slapd.modify(&bad_person());
    // The run that the change starts, without a signal.
    wait_until(|| facts.get("entries_held") == Some(1.0), || facts.text());
    service.wait_for_status("Ok\n");
    asked(
        &world,
        1,
        &["WARNING - last success ", "1 entry is held back and 0 values are left out"],
    );

    world.slapd.stop();
    wait_until(|| facts.get("follower_connected") == Some(0.0), || facts.text());
    asked(&world, 1, &["WARNING - ", "; changes wait for the schedule (not listening) | "]);
    service.run_now("is the server running");
    service.wait_for_status("Err\n");
    facts.assert(&[("success_deadline_timestamp_seconds", deadline), ("entries_held", 1.0)]);
    asked(
        &world,
        2,
        &[
            "CRITICAL - the last run failed, ",
            "; last success ",
            "is the server running",
            "held=1;0;;0",
        ],
    );

    // From now on the service writes the file no more: it is of an old failure.
    let current = facts.text();
    let until = format!("# current until: {deadline}\n");
    assert!(current.contains(&until), "{until}{current}");
    fs::write(&facts.path, current.replace(&until, "# current until: 1\n")).unwrap();
    asked(&world, 2, &["CRITICAL - no recent synchronisation", "is stale, its last run ended "]);
    fs::write(&facts.path, current).unwrap();

    // A single run by hand that fails leaves what only the service knows.
    world.tool.run(&[]).expect_code(1);
    facts.assert(&[("success_deadline_timestamp_seconds", deadline), ("follower_connected", 0.0)]);
    world.slapd.restart();
    world.tool.run(&[]).expect_code(3);
    facts.assert(&[("success_deadline_timestamp_seconds", deadline)]);

    // Without follow the service has no listener to tell of.
    world.reconfigure(|config| config.set("follow", false).set("schedule", "0 0 0 1 2 * *"));
    service.signal("HUP");
    service.wait_for("follow is off: changes in the directory wait for the schedule", 1);
    // February is a month later, and the deadline does not wait for a run.
    let february = deadline + 31.0 * 86_400.0;
    wait_until(
        || facts.get("success_deadline_timestamp_seconds") == Some(february),
        || facts.text(),
    );
    let until = format!("# current until: {february}\n");
    assert!(facts.text().contains(&until), "{until}{}", facts.text());
    // The run is in the log before it is in the file.
    service.run_now("synchronised: ");
    wait_until(|| facts.get("follower_connected").is_none(), || facts.text());

    service.signal("KILL");
    service.end();
    asked(&world, 3, &["UNKNOWN - no answer from ", "; last success ", "| age="]);
    // A copy of the two lines is enough, and a file of another service is not used.
    world.reconfigure(|config| config.set("no_key", 1));
    asked(&world, 3, &["UNKNOWN - no answer from ", "; last success ", "| age="]);
    world.reconfigure(|config| config.set("status_bind", status_address().to_string()));
    asked(&world, 3, &["UNKNOWN - ", "is of another service, whose status_bind is "]);
    world.reconfigure(|config| config.set("metrics_file", "relative.prom"));
    asked(
        &world,
        3,
        &["UNKNOWN - no answer from ", "metrics_file: must be a whole path", ".prom)"],
    );
}

fn bad_person() -> String {
    let ldif = user_ldif(70).replacen("objectClass", "changetype: add\nobjectClass", 1);
    let name = crate::support::seed::user_name(70);
    ldif.replace(&format!("uid={name}"), "uid=1odd").replace(&format!("uid: {name}"), "uid: 1odd")
}

#[track_caller]
fn asked(world: &World, code: i32, parts: &[&str]) {
    let outcome = ask(&world.tool).expect_code(code);
    assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.all());
    assert!(outcome.stdout.starts_with(parts[0]), "{}", outcome.all());
    for part in parts {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.all());
    }
    assert_eq!(outcome.stderr, "");
}
