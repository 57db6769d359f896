//! Signals and systemd's notifications, with a real process: this test program itself, started
//! again to run [`child`] only.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kanidm_ldap_sync::service::health::Health;
use kanidm_ldap_sync::service::notify::{Notifier, watch};
use kanidm_ldap_sync::service::signals::{ProcessMode, Requests, listen};

use crate::support::temp::TempDir;

/// What a child prints on a line of its own when it is ready.
const READY: &str = "child is ready";

/// The process that gets the signals.
#[test]
#[ignore = "started by the other tests"]
fn child() {
    let scheduled = env::var("CHILD_MODE").unwrap() == "scheduled";
    let notifier = Notifier::from_environment();
    let inbox = listen(
        if scheduled { ProcessMode::Scheduled } else { ProcessMode::OneShot },
        notifier.clone(),
    )
    .unwrap();
    let health = Health::new(Duration::from_secs(600));
    let attendance = health.attend();
    if env::var_os("CHILD_GONE").is_some() {
        drop(attendance);
    }
    watch(&notifier, &health).unwrap();
    log::set_logger(&TO_STDERR).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let _held = env::var_os("CHILD_HOLDS_STDERR").map(|_| io::stderr().lock());
    println!("\n{READY}");
    match env::var("CHILD_ADDRESS") {
        Ok(address) => drop(TcpStream::connect(address).unwrap().read(&mut [0])),
        Err(_) => loop {
            println!("{:?}", inbox.wait(Duration::from_secs(600)));
        },
    }
}

struct ToStderr;

static TO_STDERR: ToStderr = ToStderr;

impl log::Log for ToStderr {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        eprintln!("{}", record.args());
    }

    fn flush(&self) {}
}

struct Started {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

fn start(mode: &str, environment: &[(&str, &str)], wrapper: &[&str]) -> Started {
    let this = env::current_exe().unwrap();
    let mut arguments: Vec<&str> = wrapper.to_vec();
    arguments.extend([
        this.to_str().unwrap(),
        "--exact",
        "signals::child",
        "--ignored",
        "--nocapture",
    ]);
    let mut command = Command::new(arguments[0]);
    command
        .args(&arguments[1..])
        .env("CHILD_MODE", mode)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim_end() != READY {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child ended early");
    }
    Started { child, output }
}

fn send(signal: &str, process: &str) {
    assert!(
        Command::new("kill").args([&format!("-{signal}"), process]).status().unwrap().success()
    );
}

impl Started {
    fn signal(&self, name: &str) {
        send(name, &self.child.id().to_string());
    }

    /// The exit status, or a failure if there is none for far longer than the second that a stop
    /// may take.
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
            let started = start(mode, &[("CHILD_ADDRESS", &address)], &[]);
            let (_connection, _) = silent.accept().unwrap();
            started.signal(signal);
            assert_eq!(started.end().code(), Some(code), "SIG{signal}, {mode}");
        }
    }
}

#[test]
fn a_log_that_nobody_can_write_to_does_not_keep_it_either() {
    let started = start("scheduled", &[("CHILD_HOLDS_STDERR", "1")], &[]);
    started.signal("TERM");
    assert_eq!(started.end().code(), Some(0));
}

#[test]
fn process_1_ends_as_well() {
    // Needs the right to make a namespace: root has it, and where users may make their own so do
    // they (not in a chroot).
    let by_user = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    let by_root = ["unshare", "--pid", "--fork", "--kill-child"];
    let is_allowed = |unshare: &&[&str]| {
        Command::new(unshare[0]).args(&unshare[1..]).arg("true").status().is_ok_and(|s| s.success())
    };
    let unshare = [&by_root[..], &by_user].into_iter().find(is_allowed);
    let unshare = unshare
        .expect("this test needs unshare (util-linux) and the right to make a pid namespace");
    for signal in ["TERM", "INT"] {
        let started = start("scheduled", &[], unshare);
        // unshare itself ignores these two; its only child is process 1 of the namespace.
        let unshare = started.child.id();
        let process_1 =
            fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
        send(signal, process_1.trim());
        assert_eq!(started.end().code(), Some(0), "SIG{signal}");
    }
}

#[test]
fn requests_reach_the_loop_and_nothing_ends() {
    let mut started = start("scheduled", &[], &[]);
    started.signal("HUP");
    assert_eq!(started.line(), format!("{:?}", Requests { reload: true, ..Requests::NONE }));
    started.signal("USR1");
    assert_eq!(started.line(), format!("{:?}", Requests { run_now: true, ..Requests::NONE }));
    started.signal("TERM");
    assert_eq!(started.end().code(), Some(0));
}

#[test]
fn one_shot_runs_keep_the_default_for_the_others() {
    use std::os::unix::process::ExitStatusExt;
    // A test run under nohup hands on that SIGHUP is ignored, and so would the child.
    let as_at_login = ["env", "--default-signal=HUP,USR1"];
    for (signal, number) in [("HUP", 1), ("USR1", 10)] {
        let started = start("one-shot", &[], &as_at_login);
        started.signal(signal);
        assert_eq!(started.end().signal(), Some(number));
    }
}

/// A child under a pretended systemd with a watchdog of 2 ms; what it was told until the child
/// ended.
fn told(environment: &[(&str, &str)], enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    let folder = TempDir::new("systemd");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut environment = environment.to_vec();
    environment.extend([("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "2000")]);
    let started = start("scheduled", &environment, &[]);
    let mut messages = Vec::new();
    let receive = |messages: &mut Vec<String>| {
        let mut buffer = [0; 1024];
        let received = socket
            .recv(&mut buffer)
            .map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        received.map(|message| messages.push(message)).is_ok()
    };
    while !enough(&messages) {
        assert!(receive(&mut messages));
    }
    started.signal("TERM");
    // The queue of the socket is short, so somebody must read while the child ends.
    let end = thread::spawn(move || started.end());
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    while !end.is_finished() {
        receive(&mut messages);
    }
    end.join().unwrap();
    socket.set_nonblocking(true).unwrap();
    while receive(&mut messages) {}
    messages
}

#[test]
fn systemd_hears_that_the_loop_is_alive_and_that_it_ends() {
    let messages = told(&[], |messages| messages.len() >= 3);
    assert_eq!(messages[..3], ["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
    assert_eq!(messages.iter().filter(|message| *message == "STOPPING=1").count(), 1);
}

#[test]
fn systemd_hears_nothing_of_a_loop_that_is_gone() {
    assert_eq!(told(&[("CHILD_GONE", "1")], |_| true), ["STOPPING=1"]);
}

#[test]
fn asking_twice_is_asking_once() {
    let inbox = kanidm_ldap_sync::service::signals::Inbox::default();
    let asked = Requests { reload: true, run_now: true, ..Requests::NONE };
    inbox.request(Requests { reload: true, ..Requests::NONE });
    inbox.request(Requests { run_now: true, ..Requests::NONE });
    inbox.request(Requests { reload: true, ..Requests::NONE });
    assert_eq!(inbox.wait(Duration::from_secs(600)), asked);
    assert_eq!(inbox.wait(Duration::ZERO), Requests::NONE);
}
