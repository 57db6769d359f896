//! The harness of real slapd servers keeps its promises.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::ldap::parse_ldif;
use crate::support::pki::Pki;
use crate::support::process::{PATIENCE, is_running, run};
use crate::support::seed::{
    SUFFIX, SYNC_PASSWORD, Seed, SeedOptions, group_dn, respell, user_dn, user_ldif, uuid,
};
use crate::support::server_tls::ServerTls;
use crate::support::slapd::{Slapd, SlapdOptions};

#[test]
fn answers_on_all_three_addresses_and_ends_without_a_trace() {
    let slapd = Slapd::start(SlapdOptions::default());
    let (pid, folder) = (slapd.pid(), slapd.ca().parent().expect("in a folder").to_owned());
    assert_eq!(slapd.sync().search(SUFFIX, "(uid=user00001)", &["cn"]).len(), 1, "ldaps");
    assert_eq!(slapd.search(SUFFIX, "(uid=user00001)", &["cn"]).len(), 1, "ldapi");
    let plain = slapd.starttls_uri();
    let address = plain.strip_prefix("ldap://").expect("a plain address").to_owned();
    TcpStream::connect(&address).expect("ldap");
    assert!(is_running(pid));

    drop(slapd);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "slapd is gone");
    assert!(!folder.exists(), "and so is its folder");
    TcpStream::connect(&address).expect_err("nothing listens");
}

#[test]
fn ends_when_the_test_panics() {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let slapd = Slapd::start(SlapdOptions::default());
        send.send(slapd.pid()).expect("the test listens");
        panic!("on purpose");
    })
    .join()
    .expect_err("it panicked");
    let pid = receive.recv().expect("slapd was up");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "slapd is gone");
}

/// The test runs itself as another process, which starts slapd and waits, and kills that process.
#[test]
fn ends_when_the_test_is_killed() {
    const INNER: &str = "KLS_LAB_INNER";
    if std::env::var_os(INNER).is_some() {
        let slapd = Slapd::start(SlapdOptions::default());
        println!("slapd: {} {}", slapd.pid(), slapd.ca().parent().expect("in a folder").display());
        loop {
            std::thread::park();
        }
    }
    let mut inner = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "lab_slapd::ends_when_the_test_is_killed", "--nocapture"])
        .env(INNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines =
        BufReader::new(inner.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let line = lines
        .find_map(|line| line.split_once("slapd: ").map(|(_, rest)| rest.to_owned()))
        .expect("it names process and folder");
    let (pid, folder) = line.split_once(' ').expect("both");
    let (pid, folder) = (pid.parse().expect("a process id"), Path::new(folder));
    assert!(is_running(pid) && folder.exists());

    inner.kill().expect("SIGKILL");
    inner.wait().expect("it ends");
    let begin = Instant::now();
    while is_running(pid) || folder.exists() {
        assert!(
            begin.elapsed() < PATIENCE,
            "slapd {pid} or {} outlives the test",
            folder.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_thousand_are_complete() {
    let options = SeedOptions { big_group: 1000, private_groups: 10, ..SeedOptions::thousand() };
    let slapd = Slapd::start(SlapdOptions {
        seed: Seed::Generated(options),
        sessionlog: Some(100),
        ..SlapdOptions::default()
    });
    let users = slapd.sync().search(
        SUFFIX,
        "(objectClass=posixAccount)",
        &["uid", "userPassword", "sshPublicKey"],
    );
    assert_eq!(users.len(), 1012, "1,000 and the specials");
    assert!(
        users.iter().all(|user| user.values("userPassword").len() == 1),
        "the sync account reads the hashes"
    );
    assert_eq!(slapd.search(SUFFIX, "(objectClass=groupOfNames)", &["1.1"]).len(), 25 + 2 + 1);
    assert_eq!(slapd.search(SUFFIX, "(objectClass=posixGroup)", &["1.1"]).len(), 25 + 10);
    assert_eq!(slapd.search(SUFFIX, "(cn=biggroup)", &["member"])[0].values("member").len(), 1000);
}

#[test]
fn members_keep_their_spellings() {
    let slapd = Slapd::start(SlapdOptions::default());
    let group = slapd.search(SUFFIX, "(cn=team001)", &["member"]);
    let members = group[0].texts("member");
    assert_eq!(members.len(), 4);
    for (spelling, member) in members.iter().enumerate() {
        assert_eq!(*member, respell(&user_dn(14 + spelling), spelling));
    }
}

#[test]
fn changes_restart_crash_and_reload() {
    let seed =
        |uuids| Seed::Generated(SeedOptions { uuids: Some(uuids), ..SeedOptions::default() });
    let mut slapd =
        Slapd::start(SlapdOptions { seed: seed(1), memberof: true, ..SlapdOptions::default() });
    let dn = user_dn(1);
    let id = |slapd: &Slapd| {
        slapd.admin().entry(&dn).and_then(|entry| entry.text("entryUUID").map(str::to_owned))
    };
    assert_eq!(id(&slapd), Some(uuid(1, &dn).to_string()));

    slapd.change(&dn, "replace: cn\ncn: Änderung");
    slapd.modify(&format!("{}\ndn: {}\nchangetype: delete\n", user_ldif(21), user_dn(2)));
    assert!(
        slapd
            .admin()
            .try_modify(&format!("dn: {}\nchangetype: delete\n", user_dn(2)))
            .unwrap_err()
            .contains("No such object")
    );
    let backup = slapd.dump();
    let pid = slapd.pid();
    slapd.kill();
    assert!(!is_running(pid));
    slapd.restart();
    assert_ne!(slapd.pid(), pid);
    assert_eq!(slapd.admin().entry(&dn).expect("still there").text("cn"), Some("Änderung"));
    assert!(
        slapd.admin().entry(&user_dn(21)).is_some() && slapd.admin().entry(&user_dn(2)).is_none()
    );

    slapd.reload(seed(2));
    assert_eq!(id(&slapd), Some(uuid(2, &dn).to_string()), "another UUID under the same DN");
    slapd.reload(Seed::Verbatim(backup));
    assert_eq!(id(&slapd), Some(uuid(1, &dn).to_string()));
    slapd.reload(Seed::Content(format!(
        "dn: cn=only,{SUFFIX}\nobjectClass: person\ncn: only\nsn: only\n"
    )));
    assert_eq!(slapd.sync().search(SUFFIX, "(cn=only)", &["cn"]).len(), 1);
    assert!(slapd.search(SUFFIX, "(objectClass=groupOfNames)", &["1.1"]).is_empty());
    slapd.reload(Seed::Verbatim(String::new()));
    assert!(slapd.admin().entry(SUFFIX).is_none());
}

#[test]
fn a_paused_server_is_silent_and_comes_back() {
    let mut slapd = Slapd::start(SlapdOptions::default());
    slapd.pause();
    let state =
        || std::fs::read_to_string(format!("/proc/{}/stat", slapd.pid())).expect("it exists");
    while !state().contains(") T ") {
        std::thread::yield_now();
    }
    TcpStream::connect(("127.0.0.1", slapd.ldaps_port())).expect("the kernel accepts for it");
    slapd.resume();
    assert!(slapd.admin().answers());
    assert!(slapd.admin().entry(&group_dn("team001")).is_some());
}

#[test]
fn content_sync_is_an_option() {
    let offers = |slapd: &Slapd| {
        slapd
            .admin()
            .entry("")
            .expect("a root DSE")
            .texts("supportedControl")
            .contains(&"1.3.6.1.4.1.4203.1.9.1.1")
    };
    let mut slapd = Slapd::start(SlapdOptions::default());
    assert!(offers(&slapd));
    slapd.reconfigure(|options| options.syncprov = false);
    assert!(!offers(&slapd));
}

#[test]
fn start_tls_and_sasl_external() {
    let pki = Pki::new();
    let tls = Some(ServerTls::new(&pki, pki.localhost()));
    let slapd = Slapd::start(SlapdOptions { tls, verify_client: "try", ..SlapdOptions::default() });
    let client = pki.client("ldap-sync");
    let whoami = |arguments: &[&str]| {
        let mut command = Command::new("ldapwhoami");
        command.args(arguments).env("LDAPTLS_CACERT", slapd.ca());
        command.env("LDAPTLS_CERT", &client.certificate).env("LDAPTLS_KEY", &client.key);
        String::from_utf8(run(&mut command)).expect("text").trim().to_owned()
    };
    // Not localhost: see the README.
    let [plain, ldaps] =
        [slapd.starttls_uri(), slapd.uri()].map(|uri| uri.replace("localhost", "127.0.0.1"));
    let sync = format!("cn=sync,{SUFFIX}");
    assert_eq!(
        whoami(&["-ZZ", "-H", &plain, "-x", "-D", &sync, "-w", SYNC_PASSWORD]),
        format!("dn:{sync}")
    );
    assert_eq!(
        whoami(&["-Q", "-Y", "EXTERNAL", "-H", &ldaps]),
        format!("dn:{sync}"),
        "by the client certificate"
    );
    assert_eq!(
        whoami(&["-Q", "-Y", "EXTERNAL", "-H", &slapd.ldapi_uri()]),
        format!("dn:{sync}"),
        "by the socket"
    );
}

#[test]
fn ldif_is_unfolded_and_decoded() {
    let entries = parse_ldif(
        b"version: 1\n\ndn: cn=a,dc=\n example\nCN: a\ncn;lang-de: \xc3\xa4\nmail: x@\n y\nmail: z\n# note\nphoto:: /9g=\nempty:\n\ndn:: Y249w6Q=\ncn: b\n",
    );
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].dn, "cn=a,dc=example");
    assert_eq!(entries[0].texts("MAIL"), ["x@y", "z"]);
    assert_eq!(entries[0].text("cn;lang-de"), Some("ä"));
    assert_eq!(entries[0].values("photo"), [vec![0xff, 0xd8]]);
    assert_eq!(entries[0].text("empty"), Some(""));
    assert_eq!(entries[1].dn, "cn=ä");
}
