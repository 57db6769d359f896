//! The harness writes the configuration files that it means to write, and reports what a run did.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::tool::{ConfigText, Tool, run_command};

#[test]
fn configuration_text_is_the_toml_it_means() {
    const ID: &str = "ac60034b-3498-11ed-a50d-919b4b1a5ec0";
    let text = ConfigText::for_directory("ldaps://localhost:1", Path::new("/ca \"é\\.pem"))
        .set("ldap_sync_pw", "pass \"word\"\\")
        .set("max_delete_percent", 30)
        .set("group_objectclass", vec!["groupOfNames", "posixGroup"])
        .without("ldap_filter")
        .set_in(ID, "exclude", true)
        .set_in(ID, "map_name", "other")
        .text();
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(table["ldap_ca"].as_str(), Some("/ca \"é\\.pem"));
    assert_eq!(table["ldap_sync_pw"].as_str(), Some("pass \"word\"\\"));
    assert_eq!(table["max_delete_percent"].as_integer(), Some(30));
    assert_eq!(table["group_objectclass"].as_array().map(Vec::len), Some(2));
    assert!(!table.contains_key("ldap_filter"));
    assert_eq!(
        (table[ID]["exclude"].as_bool(), table[ID]["map_name"].as_str()),
        (Some(true), Some("other"))
    );
    assert!(ConfigText::new().set("a", 1).raw("typo =").text().ends_with("a = 1\ntypo ="));
}

#[test]
fn files_are_private_and_go_away() {
    let tool = Tool::new(&ConfigText::new(), &ConfigText::new());
    let path = tool.sync_config().to_owned();
    assert_eq!(path.metadata().expect("it was written").permissions().mode() & 0o777, 0o600);
    drop(tool);
    assert!(!path.exists());
}

#[test]
fn code_and_output_of_a_run_are_kept_apart() {
    let tool = Tool::new(&ConfigText::new(), &ConfigText::new());
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "echo out; echo err >&2; exit 7"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let outcome = run_command(&mut command).expect_code(7);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
    let command = format!("{:?}", tool.command());
    assert_eq!(command.contains("\"-s\""), crate::support::tool::is_root(), "{command}");
}
