//! What a person sees at a terminal: `script` gives the program one.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::relay::Relay;
use crate::support::kanidm::KanidmServer;
use crate::support::pki::Pki;
use crate::support::seed::{SUFFIX, Seed, SeedOptions};
use crate::support::slapd::{Slapd, SlapdOptions};
use crate::support::tool::{ConfigText, Outcome, Tool, run_command};
use crate::support::world::World;

/// Takes away the line that shows progress.
const CLEAR_LINE: &str = "\r\u{1b}[K";

/// The program at a terminal, with its standard output and error mixed as they are there.
fn at_a_terminal(tool: &Tool, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let program = tool.command();
    let words = std::iter::once(program.get_program())
        .chain(program.get_args())
        .map(|word| word.to_str().unwrap());
    let line: Vec<String> =
        words.chain(arguments.iter().copied()).map(|word| format!("'{word}'")).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    for (variable, _) in std::env::vars_os() {
        if variable
            .to_str()
            .is_some_and(|name| name.starts_with("KANIDM_") || name.starts_with("LC_"))
        {
            script.env_remove(variable);
        }
    }
    script
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        .envs(environment.iter().copied());
    run_command(script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// Neither a directory nor a Kanidm, but a CA that both would have to know.
fn nobody_there() -> (Tool, Pki) {
    let pki = Pki::new();
    let sync = ConfigText::for_directory("ldaps://127.0.0.1:1", pki.ca())
        .set("sync_token", "token")
        .set("ldap_verify_ca", false);
    (Tool::new(&sync, &ConfigText::for_kanidm("https://127.0.0.1:1", pki.ca())), pki)
}

#[test]
fn a_message_begins_with_what_it_is_and_in_a_file_with_its_time() {
    let (tool, _pki) = nobody_there();
    let seen = at_a_terminal(&tool, &[], &[]).expect_code(1).stdout;
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[0].starts_with("warning: ") && lines[0].contains("ldap_verify_ca"), "{seen}");
    let (errors, warnings): (Vec<&str>, Vec<&str>) = lines
        .iter()
        .filter(|line| !line.starts_with(' '))
        .partition(|line| line.starts_with("error: "));
    assert!(errors[0].starts_with("error: https://127.0.0.1:1: reading the sync state"), "{seen}");
    assert_eq!((errors.len(), warnings.len()), (1, 1), "each is said once: {seen}");
    let seen = at_a_terminal(&tool, &["--dry-rum"], &[]).expect_code(2).stdout;
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "error: unknown option \"--dry-rum\"; did you mean --dry-run? (--help lists the options)"
    );

    let stored = tool.run(&[]).expect_code(1).stderr;
    let is_time = |word: &str| word.len() == "2026-07-01T12:00:00Z".len() && word.ends_with('Z');
    assert!(
        stored.lines().count() == 2
            && stored.lines().all(|line| is_time(line.split(' ').next().unwrap())),
        "{stored}"
    );
}

#[test]
fn nothing_drives_the_terminal_but_progress() {
    let (tool, _pki) = nobody_there();
    for environment in
        [[("NO_COLOR", "1"), ("LC_ALL", "C.UTF-8")], [("COLORTERM", "truecolor"), ("LC_ALL", "C")]]
    {
        for arguments in [
            ["--help"].as_slice(),
            &["--version"],
            &["--check"],
            &["--dry-run", "--debug"],
            &["--status"],
            &["--json"],
        ] {
            let seen = at_a_terminal(&tool, arguments, &environment).stdout;
            assert!(!seen.contains('\u{1b}'), "{arguments:?}: {seen:?}");
            assert!(seen.is_ascii() || environment[1].1 != "C", "{arguments:?}: {seen}");
            assert!(!seen.trim().is_empty(), "{arguments:?}");
        }
    }
}

/// Panics unless no line is wider than that, but for one that is a single word behind a mark or an
/// indent; and unless lines are filled.
#[track_caller]
fn assert_fits(seen: &str, columns: usize) {
    let lines: Vec<&str> = seen.lines().collect();
    for line in &lines {
        let words = line.split_whitespace().filter(|word| !MARKS.contains(word)).count();
        assert!(line.chars().count() <= columns || words == 1, "{line:?}\n{seen}");
    }
    for (line, next) in
        lines.iter().zip(lines.iter().skip(1)).filter(|(_, next)| next.starts_with(' '))
    {
        let word = next.split_whitespace().next().unwrap();
        assert!(
            line.chars().count() + 1 + word.chars().count() > columns,
            "{line:?} has room for {word:?}\n{seen}"
        );
    }
}

const MARKS: [&str; 8] = ["✓", "✗", "!", "–", "[ok]", "[FAILED]", "[note]", "[skipped]"];

/// The lines of a step with those that go on below it, as one each, in the words of a pipe.
fn joined(seen: &str, indent: &str) -> String {
    seen.replace("\r\n", "\n").replace(&format!("\n{indent}"), " ")
}

#[test]
fn the_list_of_checks_is_broken_between_words_and_only_on_a_terminal() {
    let world = World::new(SlapdOptions::default());
    let set = |key: &str, value: &str| world.config.clone().set(key, value);
    let other_ca = Pki::named("Another CA");
    let configs = [
        world.config.clone(),
        set("ldap_ur", "x"),
        set("ldap_ca", other_ca.ca().to_str().unwrap()),
        set("ldap_sync_dn", &format!("cn=limited,{SUFFIX}")),
        set("ldap_sync_base_dn", &format!("ou={},{SUFFIX}", "a-long-name-".repeat(9))),
        set("ldap_filter", "(uid=nobody)"),
    ];
    for config in configs {
        world.tool.write_sync_config(&config);
        for (locale, columns) in
            [("C.UTF-8", None), ("C", None), ("C.UTF-8", Some(40)), ("C.UTF-8", Some(200))]
        {
            let width = columns.map(|columns: usize| columns.to_string());
            let environment: Vec<(&str, &str)> = [("LC_ALL", locale)]
                .into_iter()
                .chain(width.as_deref().map(|width| ("COLUMNS", width)))
                .collect();
            let seen = at_a_terminal(&world.tool, &["--check"], &environment).stdout;
            if let Some(columns) = columns {
                assert_fits(&seen, columns);
            }
            // The same to the word, one line a step, in a pipe. A mark in ASCII says how
            // far its text is indented.
            let piped = run_command(world.tool.command().arg("--check").envs(environment)).stdout;
            assert!(
                piped.lines().any(|line| line.chars().count() > 80)
                    && piped.lines().all(|line| !line.starts_with(' ')),
                "{piped}"
            );
            if columns.is_none() {
                // The terminal breaks the lines, at its real width.
                assert_eq!(seen.replace("\r\n", "\n"), piped);
            }
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&seen), words(&piped));
            if locale != "C" {
                assert_eq!(joined(&seen, "  "), piped);
            }
        }
    }
}

#[test]
fn so_are_errors_and_what_a_run_would_send() {
    let world = World::new(SlapdOptions::default());
    let at_80 = |arguments: &[&str], code: i32| {
        let environment = [("LC_ALL", "C.UTF-8"), ("COLUMNS", "80")];
        let seen = at_a_terminal(&world.tool, arguments, &environment).expect_code(code).stdout;
        assert_fits(&seen, 80);
        joined(&seen, "  ")
    };
    let seen = at_80(&["--dry-run"], 3);
    let piped = world.tool.run(&["--dry-run"]).expect_code(3).stdout;
    assert!(
        piped.lines().any(|line| line.chars().count() > 80) && seen.contains(&piped),
        "{seen}\n--- and in a pipe\n{piped}"
    );
    world.tool.write_sync_config(&world.config.clone().set("ldap_sync_base_dn", "dc=elsewhere"));
    let seen = at_80(&[], 1);
    assert!(seen.lines().count() == 1 && seen.starts_with("error: ldaps://localhost:"), "{seen}");
    world.tool.write_sync_config(
        &world.config.clone().set("ldap_ur", "x").set("max_delete_percent", 200),
    );
    let seen = at_80(&[], 2);
    assert!(
        seen.lines().count() == 2 && seen.lines().all(|line| line.starts_with("error: /")),
        "{seen}"
    );
}

/// The directory falls silent until the run has lasted longer than what shows nothing yet.
#[test]
fn a_long_run_shows_how_far_it_is_and_leaves_no_trace_of_it() {
    let seed = Seed::Generated(SeedOptions {
        users: 1100,
        groups: 0,
        specials: false,
        ..SeedOptions::default()
    });
    let slapd = Slapd::start(SlapdOptions { seed, ..SlapdOptions::default() });
    let kanidm = KanidmServer::start();
    let token = kanidm.create_sync_account("ldap").token;
    let run = |environment: &[(&str, &str)]| {
        let relay = Relay::holding(slapd.ldaps_port(), 100_000);
        let sync =
            ConfigText::for_directory(&format!("ldaps://localhost:{}", relay.port()), slapd.ca())
                .set("sync_token", token.as_str());
        let tool = Tool::new(&sync, &ConfigText::for_kanidm(&kanidm.url(), kanidm.ca()));
        std::thread::scope(|threads| {
            let seen = threads.spawn(|| {
                at_a_terminal(&tool, &["--dry-run", "--quiet"], environment).expect_code(0).stdout
            });
            relay.wait_until_held();
            std::thread::sleep(Duration::from_millis(600));
            relay.release();
            seen.join().unwrap()
        })
    };
    let seen = run(&[]);
    let shown: Vec<&str> = seen.split(CLEAR_LINE).skip(1).collect();
    assert!(
        shown.first().is_some_and(|line| line.ends_with(" entries read") && line.len() < 80),
        "{:?}",
        seen.get(..300)
    );
    // What follows the last one begins on a line that is empty.
    assert!(
        shown.last().is_some_and(|rest| rest.is_empty() || rest.starts_with("write ")),
        "{:?}",
        shown.last()
    );
    assert!(!run(&[("TERM", "dumb")]).contains('\u{1b}'), "a terminal that cannot clear a line");
}
