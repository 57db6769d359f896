//! The harness of real 389 Directory Servers keeps its promises.

use std::net::TcpStream;
use std::path::Path;

use crate::support::ds389::{Ds389, Ds389Options};
use crate::support::process::is_running;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, ns_unique_id, user_dn, uuid};

#[test]
fn answers_changes_crashes_reloads_and_ends_without_a_trace() {
    let seed =
        |uuids| Seed::Generated(SeedOptions { uuids: Some(uuids), ..SeedOptions::default() });
    let mut ds389 = Ds389::start(Ds389Options { seed: seed(1), ..Ds389Options::default() });
    let root = ds389.admin().entry("").expect("a root DSE");
    assert_eq!(root.text("vendorName"), Some("389 Project"));
    assert!(root.texts("supportedControl").contains(&"1.3.6.1.4.1.4203.1.9.1.1"), "content sync");

    let users = ds389.sync().search(SUFFIX, "(objectClass=posixAccount)", &["uid", "userPassword"]);
    assert_eq!(users.len(), 32, "20 and the specials, over ldaps");
    assert!(
        users.iter().all(|user| user.values("userPassword").len() == 1),
        "the sync account reads the hashes"
    );
    let locked = ds389.sync().search(SUFFIX, "(uid=locked)", &["nsAccountLock"]);
    assert_eq!(locked[0].text("nsAccountLock"), Some("true"));

    let dn = user_dn(1);
    let id = |ds389: &Ds389| {
        ds389.admin().search(&dn, "(objectClass=*)", &["nsUniqueId"])[0]
            .text("nsUniqueId")
            .map(str::to_owned)
    };
    assert_eq!(id(&ds389), Some(ns_unique_id(&uuid(1, &dn))));
    ds389.change(&dn, "replace: cn\ncn: Änderung");
    let pid = ds389.pid();
    ds389.kill();
    assert!(!is_running(pid));
    ds389.restart();
    assert_eq!(ds389.admin().entry(&dn).expect("still there").text("cn"), Some("Änderung"));
    ds389.reload(seed(2));
    assert_eq!(id(&ds389), Some(ns_unique_id(&uuid(2, &dn))), "another UUID under the same DN");

    let (pid, folder, config) =
        (ds389.pid(), ds389.ca().parent().expect("in a folder").to_owned(), ds389.config_dir());
    let address = ("127.0.0.1", ds389.ldaps_port());
    TcpStream::connect(address).expect("ldaps");
    assert!(config.exists());
    drop(ds389);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the server is gone");
    assert!(!folder.exists() && !config.exists(), "and so are its folders");
    TcpStream::connect(address).expect_err("nothing listens");
    let instance = config.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    for folder in ["/etc/dirsrv", "/run/dirsrv", "/run/lock/dirsrv", "/dev/shm"] {
        let names = std::fs::read_dir(folder)
            .expect("it exists")
            .map(|entry| entry.expect("readable").file_name());
        let left: Vec<_> =
            names.filter(|name| name.to_string_lossy().contains(&instance)).collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

#[test]
fn ends_when_the_test_panics() {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let ds389 = Ds389::start(Ds389Options { memberof: true, ..Ds389Options::default() });
        let member = ds389.admin().search(&group_dn("team001"), "(objectClass=*)", &["member"]);
        send.send((ds389.pid(), ds389.config_dir(), member)).expect("the test listens");
        panic!("on purpose");
    })
    .join()
    .expect_err("it panicked");
    let (pid, config, group) = receive.recv().expect("the server was up");
    assert_eq!(group[0].values("member").len(), 4);
    assert!(!Path::new(&format!("/proc/{pid}")).exists() && !config.exists());
}
