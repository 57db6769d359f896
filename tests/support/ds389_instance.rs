//! An instance of 389-ds before it serves anything: its configuration in `/etc/dirsrv/slapd-NAME`,
//! its lock in `/run/lock/dirsrv/slapd-NAME`, both fixed by the server. The names are unique to the
//! test, the folders go with it, and those that a killed test left behind go when the next instance
//! is made.
//!
//! The set-up (`tests/lab/ds389.inf`, `tests/lab/ds389-setup.py`) starts and ends a server for six
//! seconds of its own. It runs once, its result is kept in Cargo's target folder for this version
//! of the server, and every further instance is a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dse::Dse;
use super::ports;
use super::process::{is_running, run};
use super::seed::SUFFIX;
use super::temp::{TempDir, unique};

/// The password of `cn=Directory Manager`.
pub const ADMIN_PASSWORD: &str = "directory-secret-1";

const PREFIX: &str = "kls-ds389-";
const INF: &str = include_str!("../lab/ds389.inf");
const SETUP: &str = include_str!("../lab/ds389-setup.py");
const SCHEMA: &str = include_str!("../lab/98openssh-lpk.ldif");
/// What `dse.ldif` and `pkcs11.txt` are kept with in place of an instance's own name and data
/// folder.
const NAME: &str = "@NAME@";
const DATA: &str = "@DATA@";

/// What exists of an instance outside the folder of the test. Dropping it removes that.
#[derive(Debug)]
pub struct Instance(String);

impl Instance {
    /// A new one, whose database, logs and socket are to be in `data` below `dir`.
    pub fn create(dir: &TempDir) -> Instance {
        remove_stale();
        let instance = Instance(unique("ds389"));
        let data = dir.path().join("data");
        for folder in ["", "db", "log", "ldif", "bak"] {
            fs::create_dir_all(data.join(folder)).expect("our own folder");
        }
        for folder in
            [Path::new("/run/dirsrv"), Path::new("/run/lock/dirsrv"), &instance.lock_dir()]
        {
            fs::create_dir_all(folder).unwrap_or_else(|error| {
                panic!("{}: {error} (389-ds needs root)", folder.display())
            });
            run(Command::new("chown").arg("dirsrv:dirsrv").arg(folder));
        }
        let template = template();
        if !template.exists() {
            set_up(&template);
        }
        let config = instance.config_dir();
        copy(&template, &config);
        rewrite(&config, &[(NAME, &instance.0), (DATA, data.to_str().expect("a UTF-8 path"))]);
        own(&config);
        own(&data);
        instance
    }

    pub fn config_dir(&self) -> PathBuf {
        PathBuf::from(format!("/etc/dirsrv/slapd-{}", self.0))
    }

    pub fn lock_dir(&self) -> PathBuf {
        PathBuf::from(format!("/run/lock/dirsrv/slapd-{}", self.0))
    }

    pub fn pid_file(&self) -> PathBuf {
        PathBuf::from(format!("/run/dirsrv/slapd-{}.pid", self.0))
    }

    /// All that is to go with it.
    pub fn paths(&self) -> [PathBuf; 5] {
        // The server's statistics and the semaphore that guards them: it removes both itself unless
        // it is killed.
        let [statistics, semaphore] = ["/run/dirsrv/slapd", "/dev/shm/sem.slapd"]
            .map(|path| PathBuf::from(format!("{path}-{}.stats", self.0)));
        [self.config_dir(), self.lock_dir(), self.pid_file(), statistics, semaphore]
    }

    /// Ends the server that the set-up starts in the background, should the set-up not have come as
    /// far as ending it.
    fn end_daemon(&self) {
        let Some(pid) = fs::read_to_string(self.pid_file())
            .ok()
            .and_then(|text| text.trim().parse::<u32>().ok())
        else {
            return;
        };
        let ours = fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&self.0));
        if ours && is_running(pid) {
            run(Command::new("kill").args(["-s", "KILL", &pid.to_string()]));
        }
        let _ = fs::remove_file(self.pid_file());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end_daemon();
        for path in self.paths() {
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// Gives a folder and all in it to the user that the server runs as.
pub fn own(path: &Path) {
    run(Command::new("chown").args(["-R", "dirsrv:dirsrv"]).arg(path));
}

/// Where the configuration is kept that every instance begins with.
fn template() -> PathBuf {
    let version = Command::new("ns-slapd").arg("-v").output(); // its status is 1
    let version =
        version.expect("ns-slapd runs (Debian package 389-ds-base; tests/run installs it)").stdout;
    assert!(!version.is_empty(), "ns-slapd has a version");
    let made_of =
        [&version, INF.as_bytes(), SETUP.as_bytes(), SCHEMA.as_bytes(), SUFFIX.as_bytes()].concat();
    let digest = ring::digest::digest(&ring::digest::SHA256, &made_of);
    let name: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ds389-{name}"))
}

/// Runs the server's own set-up and keeps what it made.
fn set_up(template: &Path) {
    let instance = Instance(unique("ds389"));
    let dir = TempDir::new("ds389-setup");
    run(Command::new("chmod").arg("755").arg(dir.path()));
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("our own folder");
    own(&data);
    let [port, secure_port] = ports::free::<2>().map(|port| port.to_string());
    let data = data.to_str().expect("a UTF-8 path");
    let values = [
        (NAME, instance.0.as_str()),
        (DATA, data),
        ("@ADMIN_PASSWORD@", ADMIN_PASSWORD),
        ("@PORT@", &port),
        ("@SECURE_PORT@", &secure_port),
        ("@SUFFIX@", SUFFIX),
    ];
    let inf = dir.write("ds389.inf", replace(INF.to_owned(), &values));
    run(Command::new("/usr/bin/python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/ds389-setup.py"))
        .arg(inf));
    instance.end_daemon();

    // Of tests that do this at the same time, the first to come to the last line is as good as the
    // others.
    let unfinished = template.with_file_name(&instance.0);
    copy(&instance.config_dir(), &unfinished);
    fs::write(unfinished.join("schema/98openssh-lpk.ldif"), SCHEMA).expect("the schema folder");
    let dse = unfinished.join("dse.ldif");
    Dse::read(&dse).write(&dse); // no folded lines, which could part a path
    rewrite(&unfinished, &[(&instance.0, NAME), (data, DATA)]);
    if fs::rename(&unfinished, template).is_err() {
        fs::remove_dir_all(&unfinished).expect("our own folder");
    }
}

/// Replaces text in the two files of a configuration that name the instance.
fn rewrite(config: &Path, values: &[(&str, &str)]) {
    for file in ["dse.ldif", "pkcs11.txt"].map(|name| config.join(name)) {
        let text =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        fs::write(&file, replace(text, values))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

fn replace(text: String, values: &[(&str, &str)]) -> String {
    values.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg("--").arg(from).arg(to));
}

/// Removes the instances of tests that were killed while setting one up.
fn remove_stale() {
    let Ok(entries) = fs::read_dir("/etc/dirsrv") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(instance) =
            name.strip_prefix("slapd-").filter(|instance| instance.starts_with(PREFIX))
        else {
            continue;
        };
        let test = instance[PREFIX.len()..].split('-').next().and_then(|pid| pid.parse().ok());
        if test.is_some_and(|pid| !is_running(pid)) {
            drop(Instance(instance.to_owned()));
        }
    }
}
