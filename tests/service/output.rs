//! What is written where: the journal's prefixes, progress on a terminal and nowhere else, the JSON
//! report.

use std::fs::{self, File, OpenOptions};
use std::io::pipe;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::service::Service;
use crate::states::world;
use crate::support::kanidm::{Fault, Moment};
use crate::support::seed::user_dn;
use crate::support::tool::{Outcome, Tool, run_command};
use crate::support::world::{ACCOUNT, World};

#[test]
fn the_journal_gets_priorities() {
    let (mut world, _) = world();
    world.slapd.stop();
    let path = world.tool.dir().path().join("stderr");
    let stderr = File::create(&path).unwrap();
    let metadata = stderr.metadata().unwrap();
    let stream = format!("{}:{}", metadata.dev(), metadata.ino());
    let run = |stream: &str, stderr: &File| {
        let mut command = world.tool.command();
        command.arg("--debug").env("JOURNAL_STREAM", stream).stderr(stderr.try_clone().unwrap());
        assert_eq!(command.status().unwrap().code(), Some(1));
        fs::read_to_string(&path).unwrap()
    };
    let journal = run(&stream, &stderr);
    assert!(journal.lines().any(|line| line.starts_with("<7>Kanidm answers")), "{journal}");
    assert!(journal.lines().last().unwrap().starts_with("<3>ldaps://localhost:"), "{journal}");
    // The variable is inherited; only what it names is the journal.
    let elsewhere = run("1:1", &File::create(&path).unwrap());
    assert!(
        elsewhere.lines().all(|line| !line.starts_with('<'))
            && elsewhere.contains(" ERROR ldaps://"),
        "{elsewhere}"
    );
}

/// Runs it with a terminal for its output and error; what the terminal got.
fn on_a_terminal(world: &World, arguments: &str) -> Outcome {
    let program = world.tool.command();
    let words = std::iter::once(program.get_program())
        .chain(program.get_args())
        .map(|word| word.to_str().unwrap());
    let line = format!("{} {arguments}", words.collect::<Vec<_>>().join(" "));
    run_command(
        Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped()),
    )
}

#[test]
fn progress_is_for_terminals() {
    let (mut world, _) = world();
    world.reconfigure(|config| config.set("upload_max_entries", 8));
    // Every POST takes long enough to be shown.
    let slow = || {
        world.kanidm.clear_faults();
        world.kanidm.fault(
            Fault::delay(Moment::Received, Duration::from_millis(550)).only("POST").times(20),
        );
        world.kanidm.force_refresh(ACCOUNT);
    };
    slow();
    let shown = on_a_terminal(&world, "--debug").expect_code(0).stdout;
    assert!(shown.contains(" entries uploaded"), "{shown:?}");
    // It is erased before anything else is written: more of it, or a record of the log.
    for (at, _) in shown.match_indices(" entries uploaded") {
        assert!(shown[at..].starts_with(" entries uploaded\r\x1b[K"), "{shown:?}");
    }
    let last = shown.rsplit("\r\x1b[K").next().unwrap();
    assert!(last.contains("\nsynchronised: "), "{shown:?}");

    slow();
    let piped = world.tool.run(&[]).expect_code(0).all();
    assert!(!piped.contains("uploaded") && !piped.contains('\x1b'), "{piped:?}");

    world.kanidm.clear_faults();
    let short = on_a_terminal(&world, "").expect_code(0).stdout;
    assert!(short.contains("synchronised") && !short.contains('\x1b'), "{short:?}");
}

/// The report of a failed run is one object too.
#[test]
fn a_failed_run_has_a_report() {
    let (mut world, _) = world();
    world.slapd.stop();
    let outcome = world.tool.run(&["--json"]).expect_code(1);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&report["exit_code"], &report["result"]),
        (&Value::from(1), &Value::from("failed")),
        "{report}"
    );
    assert!(report["error"].as_str().unwrap().contains("is the server running"), "{report}");
}

const UNWRITTEN: &str = "standard output cannot be written: No space left on device";

/// A script must not take a truncated answer for all of it.
#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let (mut world, status) = world();
    let metrics = world.tool.dir().path().join("facts.prom");
    let name = metrics.to_str().unwrap().to_owned();
    world.reconfigure(|config| config.set("metrics_file", name));
    let full = |arguments: &[&str]| {
        let stdout = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let outcome = run_command(world.tool.command().args(arguments).stdout(stdout));
        assert_eq!(
            outcome.stderr.matches(UNWRITTEN).count(),
            1,
            "{arguments:?}: {}",
            outcome.stderr
        );
        outcome.code
    };
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["--check"],
        &["--dry-run"],
        &["--dry-run", "--json"],
        &["--proto-dump"],
    ] {
        assert_eq!(full(arguments), Some(1), "{arguments:?}");
    }
    // The run has gone through; only its report is lost. Monitoring hears of a success.
    assert_eq!(full(&["--json"]), Some(1));
    let facts = fs::read_to_string(&metrics).unwrap();
    assert!(facts.contains("\nkanidm_ldap_sync_last_run_exit_code{"), "{facts}");
    for line in facts.lines().filter(|line| line.contains("last_run_exit_code{")) {
        assert!(line.ends_with(" 0"), "{line}");
    }
    assert!(world.kanidm.entry(ACCOUNT, "user00001").is_some());
    world.tool.run(&["--json"]).expect_code(0);

    // A reader that closes its end has what it wanted.
    for arguments in [&["--help"][..], &["--check"], &["--json"], &["--dry-run", "--full-refresh"]]
    {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let outcome =
            run_command(world.tool.command().args(arguments).stdout(writer)).expect_code(0);
        assert!(!outcome.stderr.contains("cannot be written"), "{arguments:?}: {}", outcome.stderr);
    }

    // A service goes on, and its status tells of the runs.
    let program = world.tool.command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec \"$@\" >/dev/full", "sh"])
        .arg(program.get_program())
        .args(program.get_args());
    let service = Service::spawn(shell.args(["--schedule", "--json"]), status);
    service.wait_for(UNWRITTEN, 1);
    service.wait_for_status("Ok\n");
    drop(service);

    // Other failures keep their code.
    let gone: String =
        (1..=15).map(|number| format!("dn: {}\nchangetype: delete\n\n", user_dn(number))).collect();
    world.slapd.modify(&gone);
    let full = |tool: &Tool, code| {
        let stdout = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let outcome = run_command(tool.command().arg("--json").stdout(stdout)).expect_code(code);
        outcome.says(UNWRITTEN);
    };
    full(&world.tool, 4);
    world.reconfigure(|config| config.set("ldap_filter", "(a=b"));
    full(&world.tool, 2);
}
