//! What a person sees at a terminal: `script` gives the program one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use support::kanidm::KanidmServer;
use support::pki::Pki;
use support::relay::Relay;
use support::seed::{Seed, SeedOptions};
use support::slapd::{Slapd, SlapdOptions};
use support::tool::{ConfigText, Outcome, Tool, run_command};

/// Takes away the line that shows progress.
const CLEAR_LINE: &str = "\r\u{1b}[K";

/// The program at a terminal, with its standard output and error mixed as they are there.
fn at_a_terminal(tool: &Tool, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let program = tool.command();
    let words = std::iter::once(program.get_program()).chain(program.get_args()).map(|word| word.to_str().unwrap());
    let line: Vec<String> = words.chain(arguments.iter().copied()).map(|word| format!("'{word}'")).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("KANIDM_") || name.starts_with("LC_")) {
            script.env_remove(variable);
        }
    }
    script.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(environment.iter().copied());
    run_command(script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// Neither a directory nor a Kanidm, but a CA that both would have to know.
fn nobody_there() -> (Tool, Pki) {
    let pki = Pki::new();
    let sync = ConfigText::for_directory("ldaps://127.0.0.1:1", pki.ca()).set("sync_token", "token").set("ldap_verify_ca", false);
    (Tool::new(&sync, &ConfigText::for_kanidm("https://127.0.0.1:1", pki.ca())), pki)
}

#[test]
fn a_message_begins_with_what_it_is_and_in_a_file_with_its_time() {
    let (tool, _pki) = nobody_there();
    let seen = at_a_terminal(&tool, &[], &[]).expect_code(1).stdout;
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[0].starts_with("warning: ") && lines[0].contains("ldap_verify_ca"), "{seen}");
    assert!(lines[1].starts_with("error: https://127.0.0.1:1: reading the sync state"), "{seen}");
    assert_eq!(lines.len(), 2, "each is said once: {seen}");
    let seen = at_a_terminal(&tool, &["--dry-rum"], &[]).expect_code(2).stdout;
    assert_eq!(seen.trim_end(), "error: unknown option \"--dry-rum\"; did you mean --dry-run? (--help lists the options)");

    let stored = tool.run(&[]).expect_code(1).stderr;
    let is_time = |word: &str| word.len() == "2026-07-01T12:00:00Z".len() && word.ends_with('Z');
    assert!(stored.lines().count() == 2 && stored.lines().all(|line| is_time(line.split(' ').next().unwrap())), "{stored}");
}

#[test]
fn nothing_drives_the_terminal_but_progress() {
    let (tool, _pki) = nobody_there();
    for environment in [[("NO_COLOR", "1"), ("LC_ALL", "C.UTF-8")], [("COLORTERM", "truecolor"), ("LC_ALL", "C")]] {
        for arguments in [["--help"].as_slice(), &["--version"], &["--check"], &["--dry-run", "--debug"], &["--status"], &["--json"]] {
            let seen = at_a_terminal(&tool, arguments, &environment).stdout;
            assert!(!seen.contains('\u{1b}'), "{arguments:?}: {seen:?}");
            assert!(seen.is_ascii() || environment[1].1 != "C", "{arguments:?}: {seen}");
            assert!(!seen.trim().is_empty(), "{arguments:?}");
        }
    }
}

/// The directory falls silent until the run has lasted longer than what shows nothing yet.
#[test]
fn a_long_run_shows_how_far_it_is_and_leaves_no_trace_of_it() {
    let seed = Seed::Generated(SeedOptions { users: 1100, groups: 0, specials: false, ..SeedOptions::default() });
    let slapd = Slapd::start(SlapdOptions { seed, ..SlapdOptions::default() });
    let kanidm = KanidmServer::start();
    let token = kanidm.create_sync_account("ldap").token;
    let run = |environment: &[(&str, &str)]| {
        let relay = Relay::holding(slapd.ldaps_port(), 100_000);
        let sync = ConfigText::for_directory(&format!("ldaps://localhost:{}", relay.port()), slapd.ca()).set("sync_token", token.as_str());
        let tool = Tool::new(&sync, &ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()));
        std::thread::scope(|threads| {
            let seen = threads.spawn(|| at_a_terminal(&tool, &["--dry-run", "--quiet"], environment).expect_code(0).stdout);
            relay.wait_until_held();
            std::thread::sleep(Duration::from_millis(600));
            relay.release();
            seen.join().unwrap()
        })
    };
    let seen = run(&[]);
    let shown: Vec<&str> = seen.split(CLEAR_LINE).skip(1).collect();
    assert!(shown.first().is_some_and(|line| line.ends_with(" entries read") && line.len() < 80), "{:?}", seen.get(..300));
    // What follows the last one begins on a line that is empty.
    assert!(shown.last().is_some_and(|rest| rest.is_empty() || rest.starts_with("write ")), "{:?}", shown.last());
    assert!(!run(&[("TERM", "dumb")]).contains('\u{1b}'), "a terminal that cannot clear a line");
}
