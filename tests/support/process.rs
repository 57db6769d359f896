//! A server as a child process that cannot outlive the test: see `tests/lab/supervise.sh`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start, or to end after SIGTERM. Far more than any needs, so that
/// only a hang meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the data of a server outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// For the next start.
    Keep,
    /// Gone with the server.
    Remove,
}

/// A running server. Dropping it kills the server and removes its data.
#[derive(Debug)]
pub struct Server {
    supervisor: Child,
    pid: u32,
    log: PathBuf,
}

impl Server {
    /// Starts `command`, which must stay in the foreground. Its output goes to `log`; `data` is
    /// what is removed when it is gone.
    pub fn start(log: &Path, data: &[&Path], command: &[&str]) -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/supervise.sh");
        let data = data
            .iter()
            .map(|path| path.to_str().expect("a UTF-8 path"))
            .collect::<Vec<_>>()
            .join(":");
        let mut supervisor = Command::new("/bin/sh")
            .arg(script)
            .arg(log)
            .arg(data)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C reaches the test only; the supervisor then sees its pipe close and cleans up.
            .process_group(0)
            .spawn()
            .expect("/bin/sh runs");
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the supervisor prints the process id");
        let pid = line.trim().parse().expect("a process id");
        Server { supervisor, pid, log: log.to_owned() }
    }

    /// The server's process id (not the supervisor's).
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the server still runs.
    pub fn runs(&self) -> bool {
        is_running(self.pid)
    }

    /// The end of what the server wrote.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Sends a signal, named as `kill -s` names it: `HUP`, `STOP`, `CONT`…
    pub fn signal(&mut self, name: &str) {
        self.tell(name).expect("the supervisor reads");
    }

    /// Ends the server: `TERM` for an orderly end, `KILL` for a crash. Returns when the process is
    /// gone.
    pub fn end(mut self, signal: &str, data: Data) -> ExitStatus {
        if data == Data::Keep {
            self.tell("keep").expect("the supervisor reads");
        }
        self.end_with(signal)
    }

    /// Waits until `answers` says so. `Err` holds what the server wrote when it ended instead.
    pub fn wait_until(&self, answers: impl Fn() -> bool) -> Result<(), String> {
        let begin = Instant::now();
        while !answers() {
            if !self.runs() {
                return Err(self.log_tail());
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "the server runs but does not answer: {}",
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.runs() { Ok(()) } else { Err(self.log_tail()) }
    }

    fn tell(&mut self, line: &str) -> std::io::Result<()> {
        let mut stdin = self.supervisor.stdin.as_ref().expect("open until the end");
        writeln!(stdin, "{line}")
    }

    fn end_with(&mut self, signal: &str) -> ExitStatus {
        // CONT first: a stopped process does not act upon TERM.
        let told = self.tell("CONT").and_then(|()| self.tell(signal));
        let begin = Instant::now();
        while told.is_ok() && self.runs() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(self.supervisor.stdin.take()); // KILL for one that ignored TERM
        self.supervisor.wait().expect("the supervisor ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.supervisor.stdin.is_some() {
            // Its data goes with it: no need for it to put that in order, which takes 389 two
            // seconds.
            self.end_with("KILL");
        }
    }
}

/// Whether a process exists and has not ended; one that ended and was not waited for yet counts as
/// ended.
pub fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        // "pid (command) state …": the command may hold anything, parentheses included.
        .is_ok_and(|stat| {
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        })
}

/// Runs a command to its end and panics, with what it wrote, when it fails.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error} (tests/run installs it)"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The last lines of a file, for messages.
pub fn tail(path: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
