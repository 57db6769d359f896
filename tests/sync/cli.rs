//! The command line: what is understood, what is refused, and that help tells about all of it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use kanidm_ldap_sync::cli::{self, Cli, Mode, OPTIONS, VARIABLES};
use kanidm_ldap_sync::exit::ExitCode;
use kanidm_ldap_sync::log::Verbosity;

fn parse(line: &str) -> Result<Cli, String> {
    parse_with(line, None)
}

fn parse_with(line: &str, debug: Option<&str>) -> Result<Cli, String> {
    let env = |name: &str| (name == "KANIDM_DEBUG").then(|| debug.map(OsString::from)).flatten();
    Cli::parse(line.split_whitespace().map(OsString::from), &env).map_err(|e| e.to_string())
}

#[test]
fn nothing_given_is_one_run_with_the_default_files() {
    let cli = parse("").unwrap();
    assert_eq!(
        cli,
        Cli {
            mode: Mode::Once,
            client_config: None,
            sync_config: "/etc/kanidm/ldap-sync".into(),
            instance: None,
            explain: None,
            full_refresh: false,
            accept_deletes: false,
            json: false,
            verbosity: Verbosity::Normal,
            skip_root_check: false,
            columns: None,
        }
    );
}

#[test]
fn every_spelling_of_every_option() {
    for line in [
        "-c /a -i /b -I x -n -d -s",
        "-c/a -l/b -Ix -nds",
        "--client-config=/a --ldap-sync-config /b --instance x --dry-run --debug --skip-root-check",
    ] {
        let cli = parse(line).unwrap();
        assert_eq!(cli.client_config.as_deref(), Some(Path::new("/a")), "{line}");
        assert_eq!(cli.sync_config, Path::new("/b"), "{line}");
        assert_eq!(cli.instance.as_deref(), Some("x"), "{line}");
        assert_eq!(
            (cli.mode, cli.verbosity, cli.skip_root_check),
            (Mode::DryRun, Verbosity::Debug, true),
            "{line}"
        );
    }
    let cli = parse("--full-refresh --accept-deletes --json -q").unwrap();
    assert_eq!(
        (cli.full_refresh, cli.accept_deletes, cli.json, cli.verbosity),
        (true, true, true, Verbosity::Quiet)
    );
    for (line, mode) in [
        ("--schedule", Mode::Schedule),
        ("--check", Mode::Check),
        ("--status", Mode::Status),
        ("-p", Mode::ProtoDump),
        ("--proto-dump", Mode::ProtoDump),
        ("-h", Mode::Help),
        ("--help", Mode::Help),
        ("-V", Mode::Version),
        ("--version", Mode::Version),
    ] {
        assert_eq!(parse(line).map(|cli| cli.mode), Ok(mode), "{line}");
    }
}

#[test]
fn what_the_table_holds_is_what_is_understood() {
    for option in OPTIONS {
        let value = if option.value.is_some() { " v" } else { "" };
        for name in option
            .short
            .iter()
            .map(|c| format!("-{c}"))
            .chain(option.long.iter().map(|long| format!("--{long}")))
        {
            assert!(parse(&format!("{name}{value}")).is_ok(), "{name}");
            let wrong = if option.value.is_some() {
                parse(&name)
            } else {
                parse(&format!("--{}=v", option.long[0]))
            };
            assert!(wrong.is_err(), "{name}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for (line, named) in [
        ("--dry-rum", "--dry-run"),
        ("--ldap-sync-conf /x", "--ldap-sync-config"),
        ("-x", "\"-x\""),
        ("file", "\"file\""),
        ("-c", "-c"),
        ("-c /a -c /b", "--client-config is given twice"),
        ("-i /a -l /b", "--ldap-sync-config is given twice"),
        ("-q -d", "--debug and --quiet"),
        ("-n --schedule", "--dry-run and --schedule"),
        ("--check --status", "--check and --status"),
        ("-p --schedule", "--proto-dump and --schedule"),
        ("--schedule --accept-deletes", "--schedule and --accept-deletes"),
        ("--schedule --full-refresh", "--schedule and --full-refresh"),
        ("--status --json", "--status and --json"),
        ("--check --accept-deletes", "--check and --accept-deletes"),
        ("-p --json", "--proto-dump and --json"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.contains(named) && error.contains("--help"), "{line}: {error}");
    }
}

#[test]
fn what_says_nothing_new_is_no_conflict() {
    assert_eq!(parse("-n -n").map(|cli| cli.mode), Ok(Mode::DryRun));
    assert_eq!(parse("-n -p").map(|cli| cli.mode), Ok(Mode::ProtoDump));
    assert_eq!(parse("-p -n").map(|cli| cli.mode), Ok(Mode::ProtoDump));
    assert_eq!(parse("--schedule -h -n -V").map(|cli| cli.mode), Ok(Mode::Help));
    assert!(parse("-n --json --full-refresh --accept-deletes").is_ok());
}

#[test]
fn the_environment_can_ask_for_debug_and_the_command_line_decides() {
    let verbosity = |line, debug| parse_with(line, debug).map(|cli| cli.verbosity);
    for on in ["1", "true", "yes", "debug"] {
        assert_eq!(verbosity("", Some(on)), Ok(Verbosity::Debug), "{on}");
    }
    for off in ["", "0", "false", "No", "OFF"] {
        assert_eq!(verbosity("", Some(off)), Ok(Verbosity::Normal), "{off}");
    }
    assert_eq!(verbosity("-q", Some("1")), Ok(Verbosity::Quiet));
}

#[test]
fn paths_need_not_be_utf8_but_names_must() {
    let odd = || OsString::from_vec(b"/tmp/\xff".to_vec());
    let cli = Cli::parse(["-i".into(), odd()], &|_| None).unwrap();
    assert_eq!(cli.sync_config, Path::new(&odd()));
    assert!(Cli::parse(["-I".into(), odd()], &|_| None).is_err());
    assert!(Cli::parse([odd()], &|_| None).is_err());
}

#[test]
fn help_fits_a_terminal_and_tells_about_everything() {
    let help = cli::help();
    for line in help.lines() {
        assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
    }
    for option in OPTIONS {
        assert!(option.long.iter().all(|long| help.contains(&format!("--{long}"))), "{option:?}");
        assert!(option.short.iter().all(|short| help.contains(&format!("-{short}"))), "{option:?}");
    }
    assert!(VARIABLES.iter().all(|(name, _)| help.contains(name)));
    for (i, (code, meaning)) in ExitCode::ALL.iter().enumerate() {
        assert_eq!(usize::from(code.code()), i);
        assert!(
            help.split_whitespace().collect::<Vec<_>>().join(" ").contains(meaning),
            "{meaning}"
        );
    }
    assert!(
        help.contains(cli::DEFAULT_SYNC_CONFIG)
            && help.contains(kanidm_ldap_sync::config::client::DEFAULT_PATH)
    );
}
