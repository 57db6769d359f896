//! packaging/manual: the pages and completions tell everything that the program understands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kanidm_ldap_sync::cli::{OPTIONS, VARIABLES};
use kanidm_ldap_sync::config::client;
use kanidm_ldap_sync::config::keys::{CLIENT_KEYS, ENTRY_KEYS, KEYS, Key};
use kanidm_ldap_sync::exit::ExitCode;

use crate::support::process::run;
use crate::support::temp::TempDir;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/manual").join(name)
}

/// The text of a page: without its fonts and macros, and with single spaces.
fn page(name: &str) -> String {
    let mut text = fs::read_to_string(path(name)).unwrap();
    for (roff, plain) in
        [("\\-", "-"), ("\\(aq", "'"), ("\\(dq", "\""), ("\\fB", ""), ("\\fI", ""), ("\\fR", "")]
    {
        text = text.replace(roff, plain);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_page_has_every_option_variable_and_exit_code() {
    let page = page("kanidm-ldap-sync.1");
    for option in OPTIONS {
        let short = option.short.iter().map(|c| format!("-{c}"));
        let names: Vec<_> = short.chain(option.long.iter().map(|l| format!("--{l}"))).collect();
        let value = option.value.map(|value| format!(" {value}")).unwrap_or_default();
        let entry = format!(".TP {}{value} {}.", names.join(", "), option.help);
        assert!(page.contains(&entry), "{entry}");
    }
    for (name, meaning) in VARIABLES {
        assert!(page.contains(&format!(".TP {name} {meaning}.")), "{name}");
    }
    for (code, meaning) in ExitCode::ALL {
        assert!(page.contains(&format!(".TP {} {meaning}.", code.code())), "{meaning}");
    }
}

#[test]
fn the_fifth_page_has_every_key_and_its_default() {
    let page = page("kanidm-ldap-sync.5");
    let (sync, client) = page.split_once(".SH \"CLIENT CONFIG\"").expect("both files");
    let assert_described = |text: &str, key: &Key| {
        let default = key.default.map(|default| format!(" (default: {default})"));
        let entry = format!(".TP {}{} ", key.name, default.unwrap_or_default());
        assert!(text.contains(&entry), "{entry}");
    };
    KEYS.iter().chain(ENTRY_KEYS).for_each(|key| assert_described(sync, key));
    CLIENT_KEYS.iter().for_each(|key| assert_described(client, key));
}

#[test]
fn groff_has_nothing_to_warn_about() {
    for name in ["kanidm-ldap-sync.1", "kanidm-ldap-sync.5"] {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-ww", "-z", "-T", "utf8"]).arg(path(name));
        let output = groff.output().expect("groff (tests/run installs it)");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
    }
}

#[test]
fn the_completions_have_every_option() {
    for (shell, long) in [("bash", "--"), ("zsh", "--"), ("fish", "-l ")] {
        let file = path(&format!("completions/kanidm-ldap-sync.{shell}"));
        let text = fs::read_to_string(&file).unwrap();
        for option in OPTIONS {
            for name in option.long {
                let word = format!("{long}{name}");
                let found = text.split(&word).skip(1);
                let mut ends = found.map(|rest| rest.starts_with([' ', '=', '[', '|', ')', '"']));
                assert!(ends.any(|ends| ends), "{shell}: {name}");
            }
        }
    }
    run(Command::new("bash").arg("-n").arg(path("completions/kanidm-ldap-sync.bash")));
}

/// The manual lists the keys of the client config that the program reads, with their defaults.
#[test]
fn the_keys_of_the_client_config_are_the_known_ones() {
    let folder = TempDir::new("manual-client");
    let load =
        |text: &str| client::load(Some(&folder.write("config", text)), None, &|_: &str| None);
    let (all_absent, _) = load("uri = 'https://a'").unwrap();
    for key in CLIENT_KEYS {
        let uri = if key.name == "uri" { "" } else { "uri = 'https://a'\n" };
        let wrong = load(&format!("{uri}{} = [1]", key.name)).unwrap_err().to_string();
        assert!(wrong.contains(&format!(": {}: must be", key.name)), "{wrong}");
        if let Some(default) = key.default {
            let (given, _) = load(&format!("uri = 'https://a'\n{} = {default}", key.name)).unwrap();
            assert_eq!(given, all_absent, "{}", key.name);
        }
    }
}
