//! A thousand connections to the status socket while a run is under way: answered, and nothing of
//! them stays.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::service::{Service, wait_until};
use crate::states::world;

/// Threads, resident kB and open files of a process.
fn held(process: u32) -> (usize, usize, usize) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (
        field("Threads:"),
        field("VmRSS:"),
        fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(),
    )
}

#[test]
fn a_thousand_connections_during_a_run() {
    let (mut world, status) = world();
    world.reconfigure(|config| config.set("ldap_timeout", 120));
    let service = Service::start(&world.tool, status);
    service.wait_for_status("Ok\n");
    let process = service.child.id();
    let idle = held(process);
    // The run begins, and waits for a directory that does not answer.
    world.slapd.pause();
    service.signal("USR1");
    wait_until(|| held(process).2 > idle.2, || service.log());
    let ask = || {
        let mut stream = TcpStream::connect(status).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "Ok\n");
    };
    (0..50).for_each(|_| ask());
    let before = held(process);
    let begin = Instant::now();
    // Silent clients are held open meanwhile.
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(status).unwrap()).collect();
    (0..900).for_each(|_| ask());
    println!("1,000 connections in {:?}", begin.elapsed());
    let after = held(process);
    drop(silent);
    // The run may begin another connection meanwhile, on a thread of its own.
    assert!(after.0 <= before.0 + 1, "threads: {} before, {} after", before.0, after.0);
    // The last connection may be closed on our side and not yet on the other.
    assert!(after.2 <= before.2 + 1, "open files: {} before, {} after", before.2, after.2);
    assert!(after.1 <= before.1 + 1024, "resident: {} kB before, {} kB after", before.1, after.1);
    assert_eq!(service.said("synchronised: "), 1, "the run was under way all the time");
    world.slapd.resume();
    service.wait_for("synchronised: ", 2);
    service.wait_for_status("Ok\n");
}
