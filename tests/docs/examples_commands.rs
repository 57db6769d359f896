//! The command lines in the shipped examples are command lines of this program.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use kanidm_ldap_sync::cli::{Cli, Mode};
use kanidm_ldap_sync::log::Verbosity;

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)).unwrap()
}

/// The value of the only line that begins with `key`.
fn line(text: &str, key: &str) -> String {
    let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(key));
    let value = lines.next().expect(key).trim().to_owned();
    assert_eq!(lines.next(), None, "{key} stands twice");
    value
}

/// What the program makes of a command line.
fn cli(command_line: &str) -> Cli {
    let arguments = command_line.split_once("kanidm-ldap-sync").expect(command_line).1;
    Cli::parse(arguments.split_whitespace().map(OsString::from), &|_| None).expect(command_line)
}

/// The words of a JSON array of strings, as Containerfile and Icinga spell commands.
fn words(array: &str) -> String {
    serde_json::from_str::<Vec<String>>(array).expect(array).join(" ")
}

#[test]
fn systemd() {
    assert_eq!(
        cli(&line(&example("systemd/kanidm-ldap-sync.service"), "ExecStart=")).mode,
        Mode::Schedule
    );
    assert_eq!(
        cli(&line(&example("systemd/kanidm-ldap-sync-once.service"), "ExecStart=")).mode,
        Mode::Once
    );
}

#[test]
fn cron() {
    let text = example("cron");
    let job = line(&text, "*/5 * * * *");
    let (user, command) = job.split_once(' ').unwrap();
    assert_ne!(user, "root");
    // No lock of another program before it, which any user could hold.
    assert!(command.starts_with("kanidm-ldap-sync "), "{command}");
    let cli = cli(command);
    assert_eq!((cli.mode, cli.verbosity), (Mode::Once, Verbosity::Quiet));
}

#[test]
fn container() {
    let text = example("container/Containerfile");
    assert_ne!(line(&text, "USER "), "0");
    let health_check = line(&text, "HEALTHCHECK ");
    assert_eq!(cli(&words(health_check.split_once("CMD ").unwrap().1)).mode, Mode::Status);
    let started = words(&line(&text, "ENTRYPOINT ")) + " " + &words(&line(&text, "CMD "));
    assert_eq!(cli(&started).mode, Mode::Schedule);
}

#[test]
fn monitoring() {
    assert_eq!(
        cli(&line(&example("nagios"), "#   command[check_kanidm_ldap_sync]=")).mode,
        Mode::Status
    );
    let icinga = example("icinga2.conf");
    let command = words(&line(&icinga, "command = "));
    let option = icinga
        .lines()
        .find_map(|line| line.trim().strip_prefix('"')?.split_once("\" = "))
        .unwrap()
        .0;
    let cli = cli(&format!("{command} {option} elsewhere"));
    assert_eq!((cli.mode, cli.sync_config.as_path()), (Mode::Status, Path::new("elsewhere")));
}
