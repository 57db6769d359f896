//! The manual pages and completions: they tell about everything the program understands, and the
//! programs they are for take them.

#[path = "../../examples/manual/pages/mod.rs"]
mod pages;

use std::path::Path;
use std::process::{Command, Stdio};

use kanidm_ldap_sync::cli::{OPTIONS, VARIABLES};
use kanidm_ldap_sync::config::client;
use kanidm_ldap_sync::config::keys::{CLIENT_KEYS, ENTRY_KEYS, KEYS, Key};
use kanidm_ldap_sync::exit::ExitCode;

use crate::support::process::run;
use crate::support::temp::TempDir;

/// A page as `man` shows it, with every run of white space one blank. groff has nothing to warn
/// about.
fn shown(name: &str) -> String {
    let folder = folder();
    let page = folder.path().join(name);
    for device in ["utf8", "ascii"] {
        let output = Command::new("groff")
            .args(["-man", "-ww", "-z", "-T", device])
            .arg(&page)
            .output()
            .expect("groff (tests/run installs it)");
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(0), ""),
            "{name} for {device}"
        );
    }
    let mut man = Command::new("man");
    // Its sandbox does not work in every container; what it reads is our own.
    man.env("MAN_DISABLE_SECCOMP", "1")
        .env("MANWIDTH", "80")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("MANPAGER")
        .env_remove("PAGER");
    let output = man
        .args(["--warnings", "-l"])
        .arg(&page)
        .stdin(Stdio::null())
        .output()
        .expect("man (tests/run installs it)");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(0), ""),
        "{name}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 82), "{text}");
    assert!(
        !text.contains('\u{2010}'),
        "a word is hyphenated, and can then not be searched for:\n{text}"
    );
    squeezed(&text)
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The files, in a folder.
fn folder() -> TempDir {
    let folder = TempDir::new("manual");
    std::fs::create_dir(folder.path().join("completions")).unwrap();
    for (name, text) in pages::files() {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn the_first_page_tells_about_every_option_variable_and_exit_code() {
    let page = shown("kanidm-ldap-sync.1");
    for option in OPTIONS {
        let names = option
            .short
            .iter()
            .map(|c| format!("-{c}"))
            .chain(option.long.iter().map(|long| format!("--{long}")));
        let value = option.value.map(|value| format!(" {value}")).unwrap_or_default();
        let entry = format!("{}{value} {}.", names.collect::<Vec<_>>().join(", "), option.help);
        assert!(page.contains(&entry), "{entry}\n{page}");
    }
    for (name, meaning) in VARIABLES {
        assert!(page.contains(&format!("{name} {meaning}.")), "{name}\n{page}");
    }
    for (code, meaning) in ExitCode::ALL {
        assert!(page.contains(&format!("{} {meaning}.", code.code())), "{meaning}\n{page}");
    }
}

#[test]
fn the_fifth_page_tells_about_every_key_and_its_default() {
    let page = shown("kanidm-ldap-sync.5");
    let (sync, client) = page.split_once(" CLIENT CONFIG ").expect("both files");
    let assert_described = |text: &str, key: &Key| {
        let entry = match key.default {
            Some(default) => format!(" {} (default: {default}) ", key.name),
            None => format!(" {} ", key.name),
        };
        assert!(text.contains(&entry), "{entry}\n{text}");
    };
    KEYS.iter().chain(ENTRY_KEYS).for_each(|key| assert_described(sync, key));
    CLIENT_KEYS.iter().for_each(|key| assert_described(client, key));
}

/// What the manual says about the client config is what is read of it.
#[test]
fn the_keys_of_the_client_config_are_the_known_ones() {
    let folder = TempDir::new("manual-client");
    let load =
        |text: &str| client::load(Some(&folder.write("config", text)), None, &|_: &str| None);
    let (all_absent, _) = load("uri = 'https://a'").unwrap();
    for key in CLIENT_KEYS {
        let wrong = load(&format!(
            "{}{} = [1]",
            if key.name == "uri" { "" } else { "uri = 'https://a'\n" },
            key.name
        ))
        .unwrap_err()
        .to_string();
        assert!(wrong.contains(&format!(": {}: must be", key.name)), "{wrong}");
        if let Some(default) = key.default {
            let (given, _) = load(&format!("uri = 'https://a'\n{} = {default}", key.name)).unwrap();
            assert_eq!(given, all_absent, "{}", key.name);
        }
    }
}

#[test]
fn nothing_in_the_text_is_taken_for_roff() {
    let page = pages::files().remove(0).1;
    let requests = [
        ".TH ", ".nr HY 0", ".nh", ".ad l", ".SH ", ".SS ", ".TP", ".IP", ".P", ".RS", ".RE",
        ".EX", ".EE",
    ];
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        assert!(requests.iter().any(|request| line.starts_with(request)), "{line}");
    }
}

/// What `cargo run --example manual` writes is what is tested here.
#[test]
fn the_program_writes_these_files() {
    let folder = TempDir::new("manual-written");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["run", "--quiet", "--locked", "--example", "manual", "--"])
        .arg(folder.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells this test about its package makes ring's build script believe that it has to
    // run again.
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        cargo.env_remove(name);
    }
    run(&mut cargo);
    for (name, text) in pages::files() {
        assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), text, "{name}");
    }
}

// ---- completions ----

/// Every option by its long name is what bash offers, and files for a path.
#[test]
fn bash_completes_options_and_paths() {
    let folder = folder();
    folder.write("a file", "");
    let complete = |words: &[&str]| {
        let script = "set -u; source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                      [[ $(complete -p kanidm-ldap-sync) == *' -F _kanidm_ldap_sync '* ]]; _kanidm_ldap_sync; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script])
            .arg(folder.path().join("completions/kanidm-ldap-sync.bash"))
            .arg("kanidm-ldap-sync")
            .args(words);
        String::from_utf8(run(bash.current_dir(folder.path())))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(complete(&["--full-r"]), ["--full-refresh"]);
    let mut all: Vec<String> = OPTIONS
        .iter()
        .flat_map(|option| option.long.iter().map(|long| format!("--{long}")))
        .collect();
    let mut offered = complete(&["-n", "--"]);
    all.sort();
    offered.sort();
    assert_eq!(offered, all);
    for words in
        [["-c", "a"].as_slice(), &["--ldap-sync-config", "a"], &["--ldap-sync-config", "=", "a"]]
    {
        assert_eq!(complete(words), ["a file"], "{words:?}");
    }
    assert_eq!(complete(&["--instance", "a"]), [""], "nothing is known about instances");
}

/// zsh completes only at a terminal, so it gets one; what it is asked is what a user types.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell "TERM=dumb HISTFILE= zsh -f -i"
zpty -w shell "PS1=; cd $1; fpath=($1 \$fpath); autoload -Uz compinit; compinit -D -u; unsetopt beep; echo rea''dy"
zpty -r -m shell seen '*ready*'
zpty -w -n shell "$2"$'\t'
zpty -r -m shell seen "*$3*"
zpty -d shell
"#;

#[test]
fn zsh_completes_options_and_paths() {
    let folder = folder();
    std::fs::rename(
        folder.path().join("completions/kanidm-ldap-sync.zsh"),
        folder.path().join("_kanidm-ldap-sync"),
    )
    .unwrap();
    folder.write("some-config-file", "");
    for (typed, completed) in [
        ("--full-r", "--full-refresh"),
        ("-n --accept-d", "--accept-deletes"),
        ("--ldap-sync-config some-c", "some-config-file"),
        ("--client-config=some-c", "some-config-file"),
        ("-csome-c", "some-config-file"),
    ] {
        let mut zsh = Command::new("timeout");
        zsh.args(["60", "zsh", "-f", "-c", ZSH, "zsh"])
            .arg(folder.path())
            .arg(format!("kanidm-ldap-sync {typed}"))
            .arg(completed);
        run(&mut zsh);
    }
}

#[test]
fn fish_completes_options_and_paths() {
    let folder = folder();
    folder.write("some-config-file", "");
    let complete = |line: &str| {
        let mut fish = Command::new("fish");
        fish.args([
            "--no-config",
            "--command",
            "source completions/kanidm-ldap-sync.fish; complete --do-complete $argv[1]",
        ]);
        fish.arg(format!("kanidm-ldap-sync {line}"))
            .current_dir(folder.path())
            .env("HOME", folder.path());
        String::from_utf8(run(&mut fish))
            .unwrap()
            .lines()
            .map(|line| line.replace('\t', " "))
            .collect::<Vec<_>>()
    };
    for option in OPTIONS {
        for long in option.long {
            let offered = complete(&format!("--{long}"));
            assert!(offered.contains(&format!("--{long} {}", option.help)), "{offered:?}");
        }
    }
    assert_eq!(complete("--client-config some-c"), ["some-config-file"]);
    assert_eq!(complete("-l some-c"), ["some-config-file"]);
    assert_eq!(complete("--instance some-c"), [""; 0], "no file is an instance");
    assert_eq!(complete("some-c"), [""; 0], "the program takes no files but by options");
    assert!(Path::new(&folder.path().join("some-config-file")).exists());
}
