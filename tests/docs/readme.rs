//! README.md: its commands set everything up, its exit codes are the program's.
//! [`guide`](crate::guide) follows its five steps.

use kanidm_ldap_sync::exit::ExitCode;
use kanidm_ldap_sync::service::lock::RunLock;

use crate::guide::{README, blocks};
use crate::security;
use crate::support::pki::Pki;
use crate::support::ports;
use crate::support::tool::{ConfigText, Tool};

#[test]
fn two_commands_set_everything_up() {
    // In a block each: who copies the first does not start the second, which needs a machine to
    // throw away.
    let [demo, tests, ..]: [&str; 6] = blocks(README, "sh");
    assert_eq!([demo, tests], ["cargo run --release --example demo\n", "./tests/run\n"]);
}

#[test]
fn the_exit_codes_are_the_codes() {
    let rows = ExitCode::ALL.map(|(code, meaning)| format!("| {} | {meaning} |\n", code.code()));
    assert!(README.contains(&rows.concat()), "{rows:?}");
}

/// 0, 3 and 4 are in the demo.
#[test]
fn exit_codes_that_the_demo_does_not_show() {
    let pki = Pki::new();
    let [port] = ports::free();
    let sync = ConfigText::for_directory("ldaps://127.0.0.1", pki.ca()).set("sync_token", "token");
    let tool =
        Tool::new(&sync, &ConfigText::for_kanidm(&format!("https://127.0.0.1:{port}"), pki.ca()));
    let failed = tool.run(&[]).expect_code(1);
    assert!(failed.stderr.contains("connecting to Kanidm"), "{}", failed.stderr);
    {
        let _other_run = RunLock::acquire(tool.sync_config(), None).unwrap();
        tool.run(&[]).expect_code(5);
    }
    tool.write_sync_config(&sync.set("ldap_uri", "https://127.0.0.1"));
    let wrong = tool.run(&[]).expect_code(2);
    assert!(wrong.stderr.contains("ldap_uri"), "{}", wrong.stderr);
}

#[test]
fn every_test_that_shows_a_difference_exists() {
    let document = include_str!("../../docs/migrating.md");
    let (_, differences) = document.split_once("\n## All differences\n").unwrap();
    let (differences, _) = differences.split_once("\n## ").unwrap();
    let shown_by = differences.lines().filter_map(|row| row.strip_prefix('|')?.rsplit('|').nth(1));
    assert!(security::tests_named_in(&shown_by.collect::<String>()) > 10);
}
