//! Who is compared: our tool, Kanidm's own, and `ldapsearch`, each set up for one directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use kanidm_ldap_sync::mapping::Mapper;

use crate::measure::Program;
use crate::sink::Sink;
use crate::support::pki::Pki;
use crate::support::seed::SUFFIX;
use crate::support::slapd::Slapd;
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;

/// The version of Kanidm's own tool that the budgets speak of.
pub const KANIDM_TOOL: &str = "1.7.4";

/// What all three read; the filter of [`ConfigText::for_slapd`].
const FILTER: &str = "(|(objectClass=posixAccount)(objectClass=groupOfNames))";

/// Our tool: what `COMPARE_OURS` names (another build, or a script that runs it under a profiler),
/// else as `cargo bench` built it, with the release profile.
pub fn ours() -> PathBuf {
    std::env::var_os("COMPARE_OURS")
        .map_or_else(|| env!("CARGO_BIN_EXE_kanidm-ldap-sync").into(), PathBuf::from)
}

/// A tool with its configuration, and the sink it sends to.
pub struct Tool {
    pub program: Program,
    pub sink: Sink,
    _files: TempDir,
}

impl Tool {
    /// Ours.
    pub fn ours(sync: &ConfigText, pki: &Pki) -> Tool {
        Tool::new(&ours(), sync, pki)
    }

    /// Kanidm's own.
    pub fn kanidms(sync: &ConfigText, pki: &Pki) -> Tool {
        Tool::new(&kanidms(), sync, pki)
    }

    /// Both read the same two files; `-s`, which Kanidm's does not list, lets root run them.
    fn new(path: &Path, sync: &ConfigText, pki: &Pki) -> Tool {
        let files = TempDir::new("compare");
        let sink = Sink::start(&pki.localhost());
        let ca = files.write("ca.pem", std::fs::read(pki.ca()).expect("our own file"));
        let client = files.write("config", ConfigText::for_kanidm(&sink.url(), &ca).text());
        let sync = files.write("ldap-sync", sync.clone().set("sync_token", "not-asked-for").text());
        let text = |path: &Path| path.to_str().expect("a UTF-8 path").to_owned();
        let program = Program::new(path, &["-c", &text(&client), "-l", &text(&sync), "-s"]);
        Tool { program, sink, _files: files }
    }
}

/// `ldapsearch` with what our tool asks for; with a cookie, for what has changed since then. LDIF
/// without comments.
pub fn ldapsearch(slapd: &Slapd, config: &ConfigText, cookie: Option<&str>) -> Program {
    let client = slapd.sync();
    let ca = client.ca.as_ref().expect("ldaps").to_str().expect("a UTF-8 path");
    let control = cookie.map_or("sync=ro".to_owned(), |cookie| format!("sync=ro/{cookie}"));
    let mut arguments = vec![
        "-x",
        "-LLL",
        "-o",
        "ldif-wrap=no",
        "-H",
        &client.uri,
        "-D",
        &client.bind_dn,
        "-w",
        &client.password,
    ];
    let tls = format!("TLS_CACERT={ca}");
    arguments.extend(["-o", &tls, "-E", &control, "-b", SUFFIX, "-s", "sub", FILTER]);
    let attributes = attributes(config);
    arguments.extend(attributes.iter().map(String::as_str));
    Program::new("ldapsearch", &arguments)
}

/// The attributes our tool asks a slapd for with this configuration.
fn attributes(config: &ConfigText) -> Vec<String> {
    let files = TempDir::new("attributes");
    let path = files.write("ldap-sync", config.clone().set("sync_token", "not-asked-for").text());
    let (config, _) =
        kanidm_ldap_sync::config::sync::load(&path, &|_| None).expect("our own configuration");
    let mut attributes = Mapper::attributes(&config.mapping);
    attributes.push("entryUUID".to_owned());
    attributes
}

/// Kanidm's own tool: where `KANIDM_LDAP_SYNC` says, else from crates.io, built once into
/// `target/`.
fn kanidms() -> PathBuf {
    if let Some(path) = std::env::var_os("KANIDM_LDAP_SYNC") {
        return path.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kanidm-tool");
    let path = root.join("bin/kanidm-ldap-sync");
    if !path.exists() {
        eprintln!(
            "building Kanidm's own tool {KANIDM_TOOL} into {}: some minutes, once",
            root.display()
        );
        let mut command = Command::new("cargo");
        command
            .args(["install", "kanidm-ldap-sync", "--version", KANIDM_TOOL, "--locked", "--root"])
            .arg(&root);
        assert!(command.status().expect("cargo runs").success(), "{command:?} failed");
    }
    path
}
