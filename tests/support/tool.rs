//! Our own program, run as its users run it: configuration files in a folder of its own, exit code,
//! standard output and error.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ds389::Ds389;
use super::process::PATIENCE;
use super::seed::{SUFFIX, SYNC_PASSWORD};
use super::slapd::Slapd;
use super::temp::TempDir;

/// A configuration file being composed: keys in the order they were first set, then tables.
#[derive(Clone, Debug, Default)]
pub struct ConfigText {
    keys: Vec<(String, String)>,
    tables: Vec<(String, Vec<(String, String)>)>,
    raw: String,
}

impl ConfigText {
    /// An empty one.
    pub fn new() -> ConfigText {
        ConfigText::default()
    }

    /// A sync config that reads everything generated in a slapd.
    pub fn for_slapd(slapd: &Slapd) -> ConfigText {
        ConfigText::for_directory(&slapd.uri(), slapd.ca())
    }

    /// A sync config that reads everything generated in a 389-ds.
    pub fn for_ds389(ds389: &Ds389) -> ConfigText {
        ConfigText::for_directory(&ds389.uri(), ds389.ca())
    }

    /// A sync config that binds as `cn=sync` and reads persons and both kinds of group.
    pub fn for_directory(uri: &str, ca: &Path) -> ConfigText {
        ConfigText::new()
            .set("ldap_uri", uri)
            .set("ldap_ca", path(ca))
            .set("ldap_sync_dn", format!("cn=sync,{SUFFIX}"))
            .set("ldap_sync_pw", SYNC_PASSWORD)
            .set("ldap_sync_base_dn", SUFFIX)
            .set("ldap_filter", "(|(objectClass=posixAccount)(objectClass=groupOfNames))")
            .set("person_objectclass", "posixAccount")
    }

    /// A client config for a Kanidm whose certificate `ca` vouches for.
    pub fn for_kanidm(uri: &str, ca: &Path) -> ConfigText {
        ConfigText::new().set("uri", uri).set("ca_path", path(ca))
    }

    /// Sets a key, in place of an earlier value: a string, number, boolean or list.
    pub fn set(mut self, key: &str, value: impl Into<toml::Value>) -> ConfigText {
        put(&mut self.keys, key, value.into().to_string());
        self
    }

    /// Leaves a key out.
    pub fn without(mut self, key: &str) -> ConfigText {
        self.keys.retain(|(name, _)| name != key);
        self
    }

    /// Sets a key of a table: an entry's UUID in the sync config, an instance in the client config.
    pub fn set_in(mut self, table: &str, key: &str, value: impl Into<toml::Value>) -> ConfigText {
        let index = self.tables.iter().position(|(name, _)| name == table).unwrap_or_else(|| {
            self.tables.push((table.to_owned(), Vec::new()));
            self.tables.len() - 1
        });
        put(&mut self.tables[index].1, key, value.into().to_string());
        self
    }

    /// Leaves a table out.
    pub fn without_table(mut self, table: &str) -> ConfigText {
        self.tables.retain(|(name, _)| name != table);
        self
    }

    /// Text at the end of the file as it is, correct or not.
    pub fn raw(mut self, text: &str) -> ConfigText {
        self.raw.push_str(text);
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let line = |(key, value): &(String, String)| format!("{key} = {value}\n");
        let mut text: String = self.keys.iter().map(line).collect();
        for (table, keys) in &self.tables {
            text += &format!("\n[\"{table}\"]\n");
            text.extend(keys.iter().map(line));
        }
        text + &self.raw
    }
}

fn put(keys: &mut Vec<(String, String)>, key: &str, value: String) {
    match keys.iter_mut().find(|(name, _)| name == key) {
        Some((_, old)) => *old = value,
        None => keys.push((key.to_owned(), value)),
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// The program with its two configuration files, which only their owner can read.
#[derive(Debug)]
pub struct Tool {
    dir: TempDir,
    sync_config: PathBuf,
    client_config: PathBuf,
    /// Whom it runs as, where that is not who runs the tests, and a copy of the program that this
    /// user can reach.
    user: Option<(&'static str, PathBuf)>,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Tool {
    /// Writes the configuration files.
    pub fn new(sync: &ConfigText, client: &ConfigText) -> Tool {
        let dir = TempDir::new("tool");
        let (sync_config, client_config) =
            (dir.write("ldap-sync", sync.text()), dir.write("config", client.text()));
        Tool { dir, sync_config, client_config, user: None }
    }

    /// Replaces the sync config.
    pub fn write_sync_config(&self, sync: &ConfigText) {
        self.dir.write("ldap-sync", sync.text());
    }

    /// Replaces the client config.
    pub fn write_client_config(&self, client: &ConfigText) {
        self.dir.write("config", client.text());
    }

    /// Runs as this user from now on, to whom all files in the folder are given. Needs root.
    pub fn run_as(&mut self, user: &'static str) {
        let program = self.dir.path().join("kanidm-ldap-sync");
        std::fs::copy(env!("CARGO_BIN_EXE_kanidm-ldap-sync"), &program).expect("our own folder");
        super::process::run(Command::new("chown").args(["-R", user]).arg(self.dir.path()));
        self.user = Some((user, program));
    }

    /// Where the configuration files lie, for more files of the test.
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// Where the sync config lies.
    pub fn sync_config(&self) -> &Path {
        &self.sync_config
    }

    /// Where the client config lies.
    pub fn client_config(&self) -> &Path {
        &self.client_config
    }

    /// Runs it to its end. Panics when it does not come to one, far beyond every time-out it has.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.spawn(arguments).finish()
    }

    /// Starts it; for `--schedule`. Its output can be read from the child's pipes.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        let child = self.command().args(arguments).spawn();
        Running(Some(child.expect("the program runs")))
    }

    /// The command with both configuration files, without a terminal and with nothing of this
    /// environment that it would heed. Root is confirmed by `-s` where it is root that runs the
    /// tests.
    pub fn command(&self) -> Command {
        let mut command = match &self.user {
            Some((user, program)) => {
                let mut command = Command::new("runuser");
                command.args(["-u", *user, "--"]).arg(program);
                command
            }
            None => Command::new(env!("CARGO_BIN_EXE_kanidm-ldap-sync")),
        };
        command.arg("-c").arg(&self.client_config).arg("-i").arg(&self.sync_config);
        if is_root() && self.user.is_none() {
            command.arg("-s");
        }
        for variable in [
            "KANIDM_URL",
            "KANIDM_CA_PATH",
            "KANIDM_INSTANCE",
            "KANIDM_DEBUG",
            "NOTIFY_SOCKET",
            "CREDENTIALS_DIRECTORY",
            "RUST_LOG",
        ] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Outcome {
    /// Panics, with all it wrote, unless it ended with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Outcome {
        assert_eq!(
            self.code,
            Some(code),
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The log has these words.
    #[track_caller]
    pub fn says(&self, words: &str) {
        assert!(self.stderr.contains(words), "{words}\n{}", self.all());
    }

    /// Standard output and error together.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The program while it runs. It is killed when dropped.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    /// One that was started otherwise, with its output in pipes.
    pub fn of(child: Child) -> Running {
        Running(Some(child))
    }

    /// The process, with its output in pipes.
    pub fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("until it is finished")
    }

    /// Sends a signal, named as `kill -s` names it.
    pub fn signal(&mut self, name: &str) {
        let pid = self.child().id().to_string();
        super::process::run(Command::new("kill").args(["-s", name, &pid]));
    }

    /// The connection that it makes to `listener`; panics if it ends without.
    pub fn connects_to(&mut self, listener: &TcpListener) -> TcpStream {
        listener.set_nonblocking(true).expect("a listener");
        loop {
            match listener.accept() {
                Ok((connection, _)) => return connection,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(
                        self.child().try_wait().expect("our own child").is_none(),
                        "the program ended without connecting"
                    );
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits for its end.
    pub fn finish(self) -> Outcome {
        finish(self, PATIENCE * 5)
    }

    /// Waits longer than any ordinary run takes.
    pub fn finish_within(self, patience: Duration) -> Outcome {
        finish(self, patience)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs any command of the program to its end, for those that need other arguments than
/// [`Tool::command`] gives.
pub fn run_command(command: &mut Command) -> Outcome {
    finish(Running(Some(command.spawn().expect("the program runs"))), PATIENCE * 5)
}

fn finish(mut running: Running, patience: Duration) -> Outcome {
    let child = running.child();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(stdout.map(|pipe| Box::new(pipe) as _));
    let stderr = read(stderr.map(|pipe| Box::new(pipe) as _));
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().expect("it can be waited for") {
            Some(status) => break Some(status),
            None if begin.elapsed() > patience => break None,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    drop(running); // ends one that did not end
    let (stdout, stderr) = (stdout.join().expect("read"), stderr.join().expect("read"));
    let Some(status) = status else {
        panic!("it does not end\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    };
    Outcome { code: status.code(), signal: status.signal(), stdout, stderr }
}

/// Whether root runs the tests.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    status.lines().any(|line| {
        line.strip_prefix("Uid:")
            .is_some_and(|ids| ids.split_ascii_whitespace().nth(1) == Some("0"))
    })
}
