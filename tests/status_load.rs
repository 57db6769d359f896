//! Many connections to the status socket cost nothing that stays. A program of its own: the test
//! counts the threads, files and memory of its whole process.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use kanidm_ldap_sync::service::health::{Health, Verdict};
use kanidm_ldap_sync::service::status::StatusListener;

/// Threads, open files, resident kB.
fn held() -> (usize, usize, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("Threads:"), fs::read_dir("/proc/self/fd").unwrap().count(), field("VmRSS:"))
}

#[test]
fn thousands_of_connections_leave_memory_threads_and_files_flat() {
    let health = Health::new(Duration::from_secs(3600));
    let listener = StatusListener::start("127.0.0.1:0".parse().unwrap(), health.clone()).unwrap();
    let address = listener.address();
    health.run_ended(Verdict::Synchronised, Instant::now() + Duration::from_secs(3600));
    // Four clients at a time, every other connection one that is dropped unread.
    let client = move || {
        for n in 0..250 {
            let mut stream = TcpStream::connect(address).unwrap();
            if n % 2 == 0 {
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert_eq!(answer, "Ok\n");
            }
        }
    };
    let round = || {
        // Joined one by one: the end of a scope does not wait until the threads are gone.
        let clients = [(); 4].map(|()| thread::spawn(client));
        clients.into_iter().for_each(|client| client.join().unwrap());
        // Connections are served in turn: once this one is closed, all before it are.
        let mut answer = String::new();
        TcpStream::connect(address).unwrap().read_to_string(&mut answer).unwrap();
    };
    round();
    let (threads, files, memory) = held();
    let start = Instant::now();
    (0..4).for_each(|_| round());
    println!("4,004 connections in {:?}", start.elapsed());
    let after = held();
    assert_eq!(after.0, threads, "threads");
    // The last connection may be closed on our side and not yet on the other.
    assert!(after.1 <= files + 1, "open files: {files} before, {} after", after.1);
    assert!(after.2 <= memory + 2048, "resident memory: {memory} kB before, {} kB after", after.2);
}
