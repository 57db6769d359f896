//! `follow`: each kind of change in a real directory reaches the real Kanidm engine without any tick
//! of the schedule, and a restarted directory is listened to again.

use std::fs::{self, File};
use std::process::Stdio;

use crate::service::{NEVER, Service, status_address, wait_until};
use crate::support::ds389::Ds389Options;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_ldif, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::Running;
use crate::support::world::{ACCOUNT, Between, World, World389};

/// A password and its hash with the salt `salt`.
const PASSWORD: &str = "changed-secret";
const HASH: &str = "{SSHA512}5cb5NSEFcIePHMKCSlrl/qdmhRNkC7LPav2SgtgVXOmuXJAJn8EjtVveoztih+UPFJDR7MJgFGcXVQzVCbXGaHNhbHQ=";

/// What the service logs when the directory reports each change.
const LISTENING: &str = "listening for changes of the directory";

fn seed() -> Seed {
    Seed::Generated(SeedOptions { specials: false, ..SeedOptions::default() })
}

/// No run by the schedule; one run for each burst of changes.
fn followed(between: &mut Between) -> Service {
    followed_by(between, &[])
}

fn followed_by(between: &mut Between, options: &[&str]) -> Service {
    let service = following(between, options);
    service.wait_for(LISTENING, 1);
    between.follows("the first run");
    service
}

/// The service, which may not listen yet.
fn following(between: &mut Between, options: &[&str]) -> Service {
    let status = status_address();
    between.reconfigure(|config| {
        config
            .set("schedule", NEVER)
            .set("status_bind", status.to_string())
            .set("follow", true)
            .set("follow_interval", 0.1)
    });
    Service::spawn(between.tool.command().arg("--schedule").args(options), status)
}

/// Adds, modifies, locks, renames, deletes; adds and removes a member; changes a password.
fn each_kind_of_change(world: &Between, lock: &str, unlock: &str) {
    let modify = |dn: &str, what: &str| {
        world.admin.modify(&format!("dn: {dn}\nchangetype: modify\n{what}\n"));
    };
    let person = |number: usize| world.kanidm.entry(ACCOUNT, &user_name(number));
    let expires = |number: usize| person(number).unwrap().account_expire;

    world.admin.modify(&user_ldif(50).replacen("objectClass", "changetype: add\nobjectClass", 1));
    world.follows("added");
    assert!(person(50).is_some());

    modify(&user_dn(1), "replace: cn\ncn: Another Name");
    world.follows("modified");
    assert_eq!(person(1).unwrap().displayname.as_deref(), Some("Another Name"));

    assert_eq!(expires(2), None);
    modify(&user_dn(2), lock);
    world.follows("locked");
    wait("locked", || expires(2).is_some());
    modify(&user_dn(2), unlock);
    wait("unlocked", || expires(2).is_none());

    let rename = "changetype: modrdn\nnewrdn: uid=renamed\ndeleteoldrdn: 1\n";
    world.admin.modify(&format!("dn: {}\n{rename}", user_dn(3)));
    wait("renamed", || world.kanidm.entry(ACCOUNT, "renamed").is_some());
    assert!(person(3).is_none());

    let members = |name: &str| world.kanidm.entry(ACCOUNT, name).unwrap().member;
    let dn = group_dn("team001");
    modify(&dn, &format!("add: member\nmember: {}", user_dn(50)));
    let newcomer = person(50).unwrap().uuid;
    wait("a member added", || members("team001").contains(&newcomer));
    modify(&dn, &format!("delete: member\nmember: {}", user_dn(50)));
    wait("a member removed", || !members("team001").contains(&newcomer));

    assert!(!world.kanidm.verify_password(&user_name(4), PASSWORD));
    modify(&user_dn(4), &format!("replace: userPassword\nuserPassword: {HASH}"));
    wait("the password", || world.kanidm.verify_password(&user_name(4), PASSWORD));

    world.admin.modify(&format!("dn: {}\nchangetype: delete\n", user_dn(5)));
    wait("deleted", || person(5).is_none());
}

#[track_caller]
fn wait(what: &str, condition: impl FnMut() -> bool) {
    wait_until(condition, || what.to_owned());
}

#[test]
fn each_kind_of_change_on_slapd() {
    for sessionlog in [None, Some(100)] {
        let options = SlapdOptions { seed: seed(), sessionlog, ..SlapdOptions::default() };
        let mut world = World::new(options);
        let service = followed(&mut world);
        each_kind_of_change(
            &world,
            "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z",
            "delete: pwdAccountLockedTime",
        );
        assert_eq!(service.said("cannot listen"), 0, "{}", service.log());
    }
}

#[test]
fn each_kind_of_change_on_ds389() {
    let mut world = World389::new(Ds389Options { seed: seed(), ..Ds389Options::default() });
    let service = followed(&mut world);
    each_kind_of_change(
        &world,
        "replace: nsAccountLock\nnsAccountLock: true",
        "delete: nsAccountLock",
    );
    assert_eq!(service.said("cannot listen"), 0, "{}", service.log());
}

/// Its first run has nothing to do, and gets no cookie from slapd.
#[test]
fn a_service_that_restarts_listens_from_where_kanidm_is() {
    let mut world = World::new(SlapdOptions { seed: seed(), ..SlapdOptions::default() });
    drop(followed(&mut world));
    let service = followed(&mut world);
    let name = "replace: cn\ncn: After the Restart";
    world.slapd.modify(&format!("dn: {}\nchangetype: modify\n{name}\n", user_dn(1)));
    world.follows("changed after the restart");
    service.wait_for("synchronised: ", 2);
}

#[test]
fn a_directory_that_restarts_is_listened_to_again_by_itself() {
    let mut world = World::new(SlapdOptions { seed: seed(), ..SlapdOptions::default() });
    let service = followed(&mut world);
    for round in 1..=2 {
        world.slapd.stop();
        service.wait_for("cannot listen for changes: ", 1);
        world.slapd.restart();
        let name = format!("replace: cn\ncn: Round {round}");
        world.slapd.modify(&format!("dn: {}\nchangetype: modify\n{name}\n", user_dn(1)));
        world.follows("changed while nobody listened, or just after");
        let name = format!("replace: cn\ncn: Again {round}");
        world.slapd.modify(&format!("dn: {}\nchangetype: modify\n{name}\n", user_dn(1)));
        world.follows("changed later");
    }
    // Two outages within a minute are one.
    service.assert_said_once();
    assert_eq!(service.status(), "Ok\n");
}

#[test]
fn the_report_of_a_run_tells_whether_the_service_listens() {
    let mut world = World::new(SlapdOptions { seed: seed(), ..SlapdOptions::default() });
    drop(followed(&mut world));
    let reports = world.tool.dir().write("reports.json", "");
    let mut service = Running::of(
        world
            .tool
            .command()
            .args(["--schedule", "--json"])
            .stdout(File::create(&reports).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let text = || fs::read_to_string(&reports).unwrap();
    wait("the first run", || text().contains("\"exit_code\": 0"));
    assert!(!text().contains("following"), "{}", text());
    // The first change may come before the service listens, and is seen when it does.
    let mut number = 0;
    wait("a run while it listens", || {
        number += 1;
        let name = format!("replace: cn\ncn: Number {number}");
        world.slapd.modify(&format!("dn: {}\nchangetype: modify\n{name}\n", user_dn(1)));
        text().contains("\"following\": \"listening\"")
    });
    service.signal("TERM");
    assert_eq!(service.finish().code, Some(0));
}

/// A bind changes slapd's cookie with the overlay lastbind, so a run would start the next one.
#[test]
fn binds_that_slapd_notes_start_no_run() {
    let extra_database = "lastbind on\n".to_owned();
    let mut world =
        World::new(SlapdOptions { seed: seed(), extra_database, ..SlapdOptions::default() });
    // Runs with nothing to do are debug messages.
    let service = followed_by(&mut world, &["--debug"]);
    let ran = || service.said("synchronised: ");
    // A ring at the start is answered, and one for this change.
    let change = |name: &str| {
        world
            .slapd
            .modify(&format!("dn: {}\nchangetype: modify\nreplace: cn\ncn: {name}\n", user_dn(1)));
        world.follows(name);
    };
    change("before");
    let before = ran();
    let noted = || {
        let sync = world.admin.entry(&format!("cn=sync,{SUFFIX}")).unwrap();
        sync.text("pwdLastSuccess").map(str::to_owned)
    };
    for _ in 0..5 {
        let last = noted();
        wait("a bind is noted", || {
            assert!(world.slapd.sync().answers());
            noted() != last
        });
    }
    change("after");
    service.wait_for("synchronised: ", before + 1);
    // The run before may have had a ring left.
    assert!(ran() <= before + 2, "{} runs\n{}", ran() - before, service.log());
}

/// Its first run is refused, and has read where Kanidm is.
#[test]
fn a_service_whose_runs_the_guard_refuses_listens() {
    let mut world = World::new(SlapdOptions { seed: seed(), ..SlapdOptions::default() });
    world.run(&[], 0);
    for number in 9..=19 {
        world.slapd.delete(&user_dn(number));
    }
    let service = following(&mut world, &[]);
    service.wait_for(LISTENING, 1);
    // The listener has rung for the deletions, and that run is refused as well.
    service.wait_for("--accept-deletes", 2);
    wait("the administrator's run", || world.tool.run(&["--accept-deletes"]).code == Some(0));
    world.slapd.change(&user_dn(1), "replace: cn\ncn: Another Name");
    world.follows("changed after the administrator's run");
}
