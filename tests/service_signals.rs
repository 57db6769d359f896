//! Signals, to a process that is in the middle of a read that never ends. The process is this test program itself, started again to run
//! [`child`] only.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kanidm_ldap_sync::service::notify::Notifier;
use kanidm_ldap_sync::service::signals::{Mode, Requests, listen};

/// What a child prints on a line of its own when it is ready.
const READY: &str = "child is ready";

/// The process that gets the signals.
#[test]
#[ignore = "started by the other tests"]
fn child() {
    let scheduled = env::var("CHILD_MODE").unwrap() == "scheduled";
    let inbox = listen(if scheduled { Mode::Scheduled } else { Mode::OneShot }, Notifier::from_environment()).unwrap();
    println!("\n{READY}");
    match env::var("CHILD_ADDRESS") {
        Ok(address) => drop(TcpStream::connect(address).unwrap().read(&mut [0])),
        Err(_) => loop {
            println!("{:?}", inbox.wait(Duration::from_secs(600)));
        },
    }
}

struct Started {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

fn start(mode: &str, address: Option<&str>, wrapper: &[&str]) -> Started {
    let this = env::current_exe().unwrap();
    let mut arguments: Vec<&str> = wrapper.to_vec();
    arguments.extend([this.to_str().unwrap(), "--exact", "child", "--ignored", "--nocapture"]);
    let mut command = Command::new(arguments[0]);
    command.args(&arguments[1..]).env("CHILD_MODE", mode).env_remove("CHILD_ADDRESS").stdout(Stdio::piped()).process_group(0);
    if let Some(address) = address {
        command.env("CHILD_ADDRESS", address);
    }
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim_end() != READY {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child ended early");
    }
    Started { child, output }
}

impl Started {
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap().success());
    }

    /// The exit status, or a failure if there is none for far longer than the second that a stop may take.
    fn end(mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("the child did not end");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

#[test]
fn a_blocking_read_does_not_keep_a_process_from_ending() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for (mode, code) in [("scheduled", 0), ("one-shot", 1)] {
        for signal in ["TERM", "INT"] {
            let started = start(mode, Some(&address), &[]);
            let (_connection, _) = silent.accept().unwrap();
            started.signal(signal);
            assert_eq!(started.end().code(), Some(code), "SIG{signal}, {mode}");
        }
    }
}

#[test]
fn process_1_ends_as_well() {
    // Needs the right to make a namespace: root has it, and where users may make their own so do they.
    let unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    let allowed = Command::new(unshare[0]).args(&unshare[1..]).arg("true").status().is_ok_and(|status| status.success());
    assert!(allowed, "this test needs unshare (util-linux) and the right to make a pid namespace");
    for signal in ["TERM", "INT"] {
        let started = start("scheduled", None, &unshare);
        // unshare itself ignores these two, and its only child is process 1 of the namespace.
        let parent = started.child.id().to_string();
        assert!(Command::new("pkill").args([&format!("-{signal}"), "-P", &parent]).status().unwrap().success());
        assert_eq!(started.end().code(), Some(0), "SIG{signal}");
    }
}

#[test]
fn requests_reach_the_loop_and_nothing_ends() {
    let mut started = start("scheduled", None, &[]);
    started.signal("HUP");
    assert_eq!(started.line(), format!("{:?}", Requests { reload: true, run_now: false }));
    started.signal("USR1");
    assert_eq!(started.line(), format!("{:?}", Requests { reload: false, run_now: true }));
    started.signal("TERM");
    assert_eq!(started.end().code(), Some(0));
}

#[test]
fn one_shot_runs_keep_the_default_for_the_others() {
    use std::os::unix::process::ExitStatusExt;
    for (signal, number) in [("HUP", 1), ("USR1", 10)] {
        let started = start("one-shot", None, &[]);
        started.signal(signal);
        assert_eq!(started.end().signal(), Some(number));
    }
}

#[test]
fn asking_twice_is_asking_once() {
    let inbox = kanidm_ldap_sync::service::signals::Inbox::default();
    let asked = Requests { reload: true, run_now: true };
    inbox.request(Requests { reload: true, run_now: false });
    inbox.request(Requests { reload: false, run_now: true });
    inbox.request(Requests { reload: true, run_now: false });
    assert_eq!(inbox.wait(Duration::from_secs(600)), asked);
    assert_eq!(inbox.wait(Duration::ZERO), Requests::NONE);
}
