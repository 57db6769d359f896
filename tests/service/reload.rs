//! SIGHUP, the schedules, and what systemd is told of it all.

use std::fs::{self, File, OpenOptions};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::service::{NEVER, Service, status_address, status_at, stopped, wait_until};
use crate::states::world;
use crate::support::seed::{Seed, user_ldif};
use crate::support::temp::TempDir;
use crate::support::world::{ACCOUNT, FILTER};

const IN_FORCE: &str = "the configuration was read again and is in force";
const REFUSED: &str = "is not usable, the old one stays in force";

#[test]
fn a_new_configuration_is_taken_over_and_a_broken_one_is_not() {
    let (mut world, first) = world();
    let systemd = TempDir::new("systemd");
    let socket = UnixDatagram::bind(systemd.path().join("notify")).unwrap();
    // Read as it comes: what does not fit into the queue of the socket is dropped.
    let (heard, messages) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok(length) = socket.recv(&mut buffer) {
            let _ = heard.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    });
    let told =
        || messages.recv_timeout(Duration::from_secs(60)).expect("systemd is told something");
    let mut service = Service::spawn(
        world.tool.command().arg("--schedule").env("NOTIFY_SOCKET", systemd.path().join("notify")),
        first,
    );
    service.wait_for_status("Ok\n");
    assert_eq!((told(), told()), ("READY=1".to_owned(), "STATUS=synchronising".to_owned()));
    let outlook = told();
    assert!(
        outlook.starts_with("STATUS=synchronised; next run at 2099-01-01 00:00:00 UTC"),
        "{outlook}"
    );

    // A broken one: said, with file and key, and nothing else changes.
    let good = world.config.clone();
    world.reconfigure(|config| config.set("ldap_filtre", "(uid=*)"));
    service.signal("HUP");
    service.wait_for(REFUSED, 1);
    service.wait_for("did you mean ldap_filter?", 1);
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(told().starts_with(
        "STATUS=the configuration file is not usable, the old one is in force; next run"
    ));
    assert_eq!(told(), "READY=1");
    assert_eq!(service.status(), "Ok\n");
    service.run_now("incremental");

    // Another part of the directory: the next run notices that its state is of another
    // configuration.
    world.config = good;
    let some = "(|(&(objectClass=posixAccount)(uid=user0000*))(objectClass=groupOfNames))";
    world.reconfigure(|config| config.set("ldap_filter", some).set("max_delete_percent", 100));
    service.signal("HUP");
    service.wait_for(IN_FORCE, 1);
    service.run_now("full refresh (the configuration of what is synchronised has changed)");

    // The status listener moves; one that cannot leaves the old one where it is, and the rest of
    // the configuration as it was.
    let second = status_address();
    world.reconfigure(|config| config.set("status_bind", second.to_string()));
    service.signal("HUP");
    service.wait_for(IN_FORCE, 2);
    assert_eq!((status_at(first), status_at(second)), (String::new(), "Ok\n".to_owned()));
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    world.reconfigure(|config| {
        config
            .set("status_bind", taken.local_addr().unwrap().to_string())
            .set("ldap_filter", FILTER)
    });
    service.signal("HUP");
    service.wait_for(REFUSED, 2);
    service.wait_for("cannot be bound", 1);
    assert_eq!(status_at(second), "Ok\n");
    service.run_now("incremental");
    // All addresses and one of them cannot be bound at once: the old listener has to go first.
    for (times, ip) in [(3, "0.0.0.0".to_owned()), (4, second.ip().to_string())] {
        world.reconfigure(|config| config.set("status_bind", format!("{ip}:{}", second.port())));
        service.signal("HUP");
        service.wait_for(IN_FORCE, times);
        assert_eq!(status_at(second), "Ok\n", "{ip}");
    }
    world.reconfigure(|config| config.without("status_bind"));
    service.signal("HUP");
    service.wait_for(IN_FORCE, 5);
    assert_eq!(status_at(second), "");

    assert_eq!(service.stop("TERM"), Some(0));
    let mut last = told();
    while last != "STOPPING=1" {
        last = told();
    }
}

/// systemd's socket takes no more when the service starts and when it ends, and does so a moment
/// later.
#[test]
fn systemd_hears_of_start_and_end_even_if_its_queue_is_full() {
    let (world, status) = world();
    let systemd = TempDir::new("systemd");
    let path = systemd.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let fill = || while filler.send_to(b"FILLER", &path).is_ok() {};
    let until = |message: &[u8]| {
        let mut buffer = [0; 512];
        while socket.recv(&mut buffer).map(|length| &buffer[..length]).expect("systemd is told")
            != message
        {}
    };
    fill();
    let mut service =
        Service::spawn(world.tool.command().arg("--schedule").env("NOTIFY_SOCKET", &path), status);
    service.wait_for_status("Ok\n");
    until(b"READY=1");
    fill();
    service.signal("TERM");
    until(b"STOPPING=1");
    assert_eq!(stopped(&mut service.child), Some(0));
}

/// A file system whose server never answers: every access to it hangs until it is gone.
struct DeadMount {
    folder: TempDir,
    _server: File,
}

impl DeadMount {
    fn new() -> DeadMount {
        let folder = TempDir::new("dead");
        let server = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .expect("FUSE, for a mount that hangs");
        let mut mount = Command::new("mount");
        mount
            .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "none"])
            .arg(folder.path());
        assert!(mount.stdin(server.try_clone().unwrap()).status().unwrap().success());
        DeadMount { folder, _server: server }
    }
}

/// With the mount, and its server after that, every access ends in an error.
impl Drop for DeadMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// The service goes on with what it has, and leaves no second thread behind. When the file system
/// answers again, all is well.
#[test]
fn a_reload_that_hangs_is_given_up() {
    let (mut world, status) = world();
    let mut service = Service::start(&world.tool, status);
    service.wait_for_status("Ok\n");
    let threads = || fs::read_dir(format!("/proc/{}/task", service.child.id())).unwrap().count();
    let (before, good) = (threads(), world.config.clone());
    let dead = DeadMount::new();
    let token = dead.folder.path().join("token").to_str().unwrap().to_owned();
    world.reconfigure(|config| config.without("sync_token").set("sync_token_file", token));
    service.signal("HUP");
    service.wait_for(REFUSED, 1);
    service.wait_for("cannot be read within 10 seconds", 1);
    for times in 2..5 {
        service.signal("HUP");
        service.wait_for(REFUSED, times);
        service.wait_for("an earlier reload still hangs", times - 1);
    }
    assert_eq!(threads(), before + 1);
    assert_eq!(service.status(), "Ok\n");
    service.run_now("incremental");

    drop(dead);
    world.config = good;
    world.reconfigure(|config| config.set("ldap_timeout", 20));
    wait_until(|| threads() == before, || "the reload that was given up does not end".to_owned());
    service.signal("HUP");
    service.wait_for(IN_FORCE, 1);
    assert_eq!(service.stop("TERM"), Some(0));
}

#[test]
fn schedules_start_runs_and_full_ones() {
    let (mut world, status) = world();
    world.reconfigure(|config| config.set("full_refresh_schedule", "* * * * * *"));
    let service = Service::start(&world.tool, status);
    service.wait_for("full refresh (Kanidm has no state yet)", 1);
    service.wait_for("full refresh (asked for)", 2);
    // The other schedule takes over.
    world.reconfigure(|config| {
        config.without("full_refresh_schedule").set("schedule", "* * * * * *")
    });
    service.signal("HUP");
    service.wait_for(IN_FORCE, 1);
    let full = service.said("full refresh (asked for)");
    service.wait_for(", incremental, ", 3);
    // One may have been due when the configuration changed.
    assert!(service.said("full refresh (asked for)") <= full + 1, "{}", service.log());
    world.slapd.stop();
    service.wait_for("is the server running", 2);
    world.slapd.restart();
    service.wait_for_status("Ok\n");
    world.reconfigure(|config| config.set("schedule", NEVER));
    service.signal("HUP");
    service.wait_for("next run at 2099-01-01", 1);
}

/// On the command line --full-refresh takes the directory as it is; nobody looks at what the
/// schedule does.
#[test]
fn a_scheduled_full_refresh_of_an_older_directory_deletes_nothing() {
    let (mut world, status) = world();
    world.run(&[], 0);
    let backup = world.slapd.dump();
    world.slapd.modify(&user_ldif(100));
    world.run(&[], 0);
    world.slapd.reload(Seed::Verbatim(backup));
    world.reconfigure(|config| config.set("full_refresh_schedule", "* * * * * *"));
    let service = Service::start(&world.tool, status);
    service.wait_for("the full refresh below", 1);
    assert!(world.kanidm.entry(ACCOUNT, "user00100").is_some());
}
