//! The status socket, and `--status`, through the states of a service between real servers.

use std::fs::File;
use std::net::TcpListener;

use crate::service::{NEVER, Service, ask, signal, status_address};
use crate::support::seed::{SUFFIX, Seed, SeedOptions};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{ConfigText, Tool};
use crate::support::world::World;

/// Twenty users, all of them fit for Kanidm; no run but those that are asked for.
pub fn world() -> (World, std::net::SocketAddr) {
    let seed = Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() });
    let mut world = World::new(SlapdOptions { seed, ..SlapdOptions::default() });
    let status = status_address();
    world
        .reconfigure(|config| config.set("schedule", NEVER).set("status_bind", status.to_string()));
    (world, status)
}

#[track_caller]
fn assert_asked(world: &World, code: i32, start: &str) {
    let outcome = ask(&world.tool).expect_code(code);
    assert!(
        outcome.stdout.starts_with(start) && outcome.stdout.lines().count() == 1,
        "{}",
        outcome.all()
    );
    assert_eq!(outcome.stderr, "");
}

#[test]
fn from_the_start_to_the_end() {
    let (mut world, status) = world();
    assert_asked(&world, 3, "UNKNOWN - no answer from ");

    signal(world.kanidm.pid(), "STOP");
    let mut service = Service::start(&world.tool, status);
    service.wait_for_status("Err\n");
    assert_asked(&world, 2, "CRITICAL - ");
    assert_eq!(service.said("synchronised"), 0, "starting");
    signal(world.kanidm.pid(), "CONT");
    service.wait_for_status("Ok\n");
    assert_asked(&world, 0, "OK - ");

    world.slapd.stop();
    service.run_now("is the server running");
    service.wait_for_status("Err\n");
    world.slapd.restart();
    service.run_now("synchronised: ");
    service.wait_for_status("Ok\n");

    // A few entries that need attention are no bad news, and too many are.
    let odd = |number: usize| format!("uid={number}odd,ou=people,{SUFFIX}");
    let add = |number: usize| {
        let classes = "objectClass: inetOrgPerson\nobjectClass: posixAccount";
        let dn = odd(number);
        format!(
            "dn: {dn}\nchangetype: add\n{classes}\nuid: {number}odd\ncn: Odd\nsn: Odd\nuidNumber: {0}\ngidNumber: 1\nhomeDirectory: /\n\n",
            99_000 + number
        )
    };
    world.slapd.modify(&(1..=10).map(add).collect::<String>());
    service.run_now("10 held");
    assert_eq!(service.status(), "Ok\n");
    world.slapd.modify(&add(11));
    service.run_now("11 held");
    service.wait_for_status("Err\n");
    world.slapd.modify(
        &(1..=11)
            .map(|number| format!("dn: {}\nchangetype: delete\n\n", odd(number)))
            .collect::<String>(),
    );
    service.run_now("synchronised: ");
    service.wait_for_status("Ok\n");

    // Another run by hand takes the lock of a run only, and what it does is none of the service's
    // state.
    world.tool.run(&["--full-refresh"]).expect_code(0);
    assert_eq!(service.status(), "Ok\n");

    let gone: String = (1..=15)
        .map(|number| {
            format!("dn: {}\nchangetype: delete\n\n", crate::support::seed::user_dn(number))
        })
        .collect();
    world.slapd.modify(&gone);
    service.run_now("--accept-deletes");
    service.wait_for_status("Err\n");
    world.tool.run(&["--accept-deletes"]).expect_code(0);
    assert_eq!(service.status(), "Err\n", "the service has not seen a good run yet");
    service.run_now("synchronised: ");
    service.wait_for_status("Ok\n");

    service.signal("KILL");
    service.end();
    assert_asked(&world, 3, "UNKNOWN - no answer from ");
}

/// Somebody else has the lock: exit code 5, no verdict, and in the end the last good run is too
/// old. When the lock is free again, all is well by itself.
#[test]
fn another_run_that_does_not_end() {
    let (mut world, status) = world();
    world.reconfigure(|config| {
        config.set("schedule", "* * * * * *").set("ldap_timeout", 1).set("kanidm_timeout", 3)
    });
    world.tool.write_client_config(
        &ConfigText::for_kanidm(&world.kanidm.url(), world.kanidm.ca()).set("connect_timeout", 1),
    );
    let service = Service::start(&world.tool, status);
    service.wait_for_status("Ok\n");
    let config = File::open(world.tool.sync_config()).unwrap();
    config.lock().unwrap();
    let busy = world.tool.run(&[]).expect_code(5);
    busy.says("another run");
    service.wait_for("another run", 1);
    service.wait_for_status("Err\n");
    assert!(service.said("another run") > 2, "not at once: {}", service.log());
    config.unlock().unwrap();
    service.wait_for_status("Ok\n");
}

#[test]
fn an_address_that_is_taken_ends_the_start() {
    let (mut world, _) = world();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    world.reconfigure(|config| config.set("status_bind", address.to_string()));
    let outcome = world.tool.run(&["--schedule"]).expect_code(1);
    outcome.says(&format!("status_bind {address} cannot be bound"));
    assert!(world.kanidm.log().is_empty(), "nothing is begun");
}

/// A monitoring system runs `--status` as a user of its own, without the service's credentials.
#[test]
fn asking_needs_no_secrets() {
    let status = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = status.local_addr().unwrap();
    let service = std::thread::spawn(move || {
        use std::io::Write;
        status.accept().unwrap().0.write_all(b"Ok\n").unwrap();
    });
    let config = ConfigText::new()
        .set("status_bind", address.to_string())
        .set("sync_token_file", "%d/sync-token");
    let tool =
        Tool::new(&config.set("ldap_sync_pw_file", "/nonexistent/password"), &ConfigText::new());
    let outcome = ask(&tool).expect_code(0);
    assert!(outcome.stdout.starts_with("OK - "), "{}", outcome.all());
    service.join().unwrap();

    for (config, words) in [
        (ConfigText::new(), "status_bind is not set"),
        (
            ConfigText::new().set("status_bind", "here"),
            "status_bind: must be an address and a port",
        ),
        (ConfigText::new().raw("status_bind"), "not TOML"),
    ] {
        tool.write_sync_config(&config);
        let outcome = ask(&tool).expect_code(3);
        assert!(
            outcome.stdout.starts_with("UNKNOWN - ") && outcome.stdout.contains(words),
            "{}",
            outcome.all()
        );
    }
}
