//! SIGKILL at every step of a run: of our program, of slapd, of 389-ds, of Kanidm. What lives in
//! the directory is never lost on the way, nothing but a clear error comes of it, and the next
//! clean run has everything right.
//!
//! The steps are those of the wire: a relay counts the TLS records of a server, one for each of its
//! messages, and holds the connection after each of them in turn. The first is held before any has
//! come: our program then has its lock, and has connected. (What fifty kills at points drawn by
//! chance do to a long upload is shown in `crash.rs`.)

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::failure::Witness;
use crate::relay::Relay;
use crate::support::ds389::Ds389Options;
use crate::support::expect::{self, GROUPS_OF_NAMES};
use crate::support::kanidm::{Fault, KanidmOptions, KanidmServer, Moment};
use crate::support::process::{PATIENCE, is_running};
use crate::support::seed::{Seed, SeedOptions, group_dn, user_dn, user_ldif};
use crate::support::slapd::SlapdOptions;
use crate::support::temp::TempDir;
use crate::support::tool::{ConfigText, Outcome, Running};
use crate::support::world::{ACCOUNT, Between, FILTER, World, World389};

/// So many can be deleted, one a round.
const USERS: usize = 120;

fn seed() -> Seed {
    Seed::Generated(SeedOptions {
        users: USERS,
        groups: 2,
        big_group: 5,
        specials: false,
        ..SeedOptions::default()
    })
}

/// After a first refresh. Small POSTs, so that each run has several.
fn slapd_world() -> World {
    // Without a session log what was not mentioned is gone: where it ends matters most.
    let options = SlapdOptions { seed: seed(), ..SlapdOptions::default() };
    let world =
        World::with(options, GROUPS_OF_NAMES, FILTER, |config| config.set("upload_max_entries", 2));
    world.run_and_compare("first refresh", "full");
    world
}

fn ds389_world() -> World389 {
    let world = World389::with(
        Ds389Options { seed: seed(), ..Ds389Options::default() },
        FILTER,
        |config| config,
    );
    world.run_and_compare("first refresh", "full");
    world
}

/// Changes of every kind; new ones in each round, of the same entries as far as that goes: each run
/// then has as many messages.
fn change(world: &Between, round: usize) {
    let new = 5_000 + round;
    let mut ldif =
        format!("dn: {}\nchangetype: modify\nreplace: cn\ncn: Round {round}\n\n", user_dn(1));
    ldif += &format!("dn: {}\nchangetype: delete\n\n", user_dn(20 + round));
    ldif += &user_ldif(new);
    let group = group_dn("team001");
    ldif += &format!(
        "\ndn: {group}\nchangetype: modify\nreplace: member\nmember: {}\nmember: {}\n",
        user_dn(new),
        user_dn(11)
    );
    world.admin.modify(&ldif);
}

/// What Kanidm held before, to tell what has been lost since.
struct Before(BTreeSet<Uuid>);

impl Before {
    fn of(world: &Between) -> Before {
        Before(world.kanidm.entries(ACCOUNT).iter().map(|entry| entry.uuid).collect())
    }

    /// What lives in the directory, Kanidm still has.
    #[track_caller]
    fn assert_none_lost(&self, world: &Between, attribute: &str, what: &str) {
        let (want, _) = expect::content(&world.directory(), attribute, GROUPS_OF_NAMES);
        let now = Before::of(world).0;
        let lost: Vec<&Uuid> =
            self.0.iter().filter(|uuid| want.contains_key(*uuid) && !now.contains(*uuid)).collect();
        assert!(lost.is_empty(), "{what}: {lost:?} are gone");
    }
}

const ENTRY_UUID: &str = "entryuuid";
const NS_UNIQUE_ID: &str = "nsuniqueid";

/// A run with which nothing is wrong, in either mode.
#[track_caller]
fn clean_run(world: &Between, attribute: &str, what: &str) {
    world.run(&[], 0);
    let (want, held) = expect::content(&world.directory(), attribute, GROUPS_OF_NAMES);
    let got = expect::held_by_kanidm(&world.kanidm.entries(ACCOUNT), &held);
    expect::assert_same(&got, &want, what);
}

/// A run whose peer died under it: it got through all the same, or says clearly what failed.
#[track_caller]
fn assert_clear(outcome: &Outcome, what: &str) {
    let text = outcome.all();
    assert!(
        matches!(outcome.code, Some(0 | 1)) && !text.contains("panicked"),
        "{what}: {:?}\n{text}",
        outcome.code
    );
    assert_eq!(outcome.code == Some(1), text.contains(" ERROR "), "{what}\n{text}");
}

/// Whether the connection is held; false when the run ended before.
fn held(relay: &Relay, run: &mut Running) -> bool {
    wait(|| match relay.is_held() {
        true => Some(true),
        false => run.child().try_wait().unwrap().map(|_| false),
    })
}

/// Waits for an answer.
#[track_caller]
fn wait<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE * 2, "it does not come to this point, nor to its end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The sync config that leads through the relay.
fn through(world: &Between, relay: &Relay) -> ConfigText {
    world.config.clone().set("ldap_uri", format!("ldaps://localhost:{}", relay.port()))
}

/// TLS records of a directory for a run that reads what has changed.
fn records_of_a_run(world: &Between, port: u16) -> u64 {
    let relay = Relay::to(port);
    world.tool.write_sync_config(&through(world, &relay));
    world.tool.run(&["--dry-run"]).expect_code(0);
    world.tool.write_sync_config(&world.config);
    relay.records()
}

/// Our program dies after each message of the directory, up to the last. Nothing has been sent by
/// then.
fn ours_dies_while_it_reads(world: &Between, port: u16) {
    change(world, 0);
    let all = records_of_a_run(world, port);
    println!("{all} records");
    assert!(all > 12, "handshake, bind, root DSE, refresh, look-ups: {all}");
    let witness = Witness::of(world);
    // The last ones are the end of the last search and, where there is one, the goodbye.
    for records in 0..all - 1 {
        let relay = Relay::holding_after_records(port, records);
        world.tool.write_sync_config(&through(world, &relay));
        let mut run = world.tool.spawn(&["--debug"]);
        assert!(held(&relay, &mut run), "{records} of {all}");
        run.signal("KILL");
        assert_eq!(run.finish().code, None);
        witness.assert_untouched(world, &format!("killed after {records} records"));
    }
    world.tool.write_sync_config(&world.config);
}

#[test]
fn ours_dies_at_every_message_of_slapd() {
    let world = slapd_world();
    ours_dies_while_it_reads(&world, world.slapd.ldaps_port());
    clean_run(&world, ENTRY_UUID, "in the end");
}

#[test]
fn ours_dies_at_every_message_of_ds389() {
    let world = ds389_world();
    ours_dies_while_it_reads(&world, world.ds389.ldaps_port());
    clean_run(&world, NS_UNIQUE_ID, "in the end");
}

/// Our program dies after each message of Kanidm: in the handshake, before and after each answer.
/// Every other time Kanidm has been told to ask for everything, when a POST deletes whatever it
/// does not list.
#[test]
fn ours_dies_at_every_message_of_kanidm() {
    let world = slapd_world();
    let client =
        |port: u16| ConfigText::for_kanidm(&format!("https://localhost:{port}"), world.kanidm.ca());
    let mut round = 0;
    for refresh in [false, true] {
        let most = if refresh { 50 } else { 2 };
        world.tool.write_sync_config(&world.config.clone().set("upload_max_entries", most));
        for records in 0.. {
            round += 1;
            change(&world, round);
            if refresh {
                world.kanidm.force_refresh(ACCOUNT);
            }
            let before = Before::of(&world);
            let relay = Relay::holding_after_records(world.kanidm.port(), records);
            world.tool.write_client_config(&client(relay.port()));
            let mut run = world.tool.spawn(&["-q"]);
            let is_held = held(&relay, &mut run);
            if is_held {
                run.signal("KILL");
            }
            run.finish();
            drop(relay);
            world.kanidm.wait_until_idle();
            let what = format!("killed after {records} records of Kanidm, refresh: {refresh}");
            before.assert_none_lost(&world, ENTRY_UUID, &what);
            world.tool.write_client_config(&client(world.kanidm.port()));
            if !is_held {
                println!("{records} steps, refresh: {refresh}");
                break;
            }
            if records % 3 == 0 {
                clean_run(&world, ENTRY_UUID, &what);
            }
        }
    }
    clean_run(&world, ENTRY_UUID, "in the end");
}

/// slapd dies after each of its messages, and comes back as it was when it last wrote down how far
/// it was: before the newest changes. Our runs say so until it has moved on, and believe nothing.
#[test]
fn slapd_dies_at_every_message() {
    let mut world = slapd_world();
    change(&world, 0);
    let all = records_of_a_run(&world, world.slapd.ldaps_port());
    println!("{all} records");
    // The last ones are the end of the last search and, where there is one, the goodbye.
    for (round, records) in (0..all - 1).enumerate() {
        let what = format!("slapd killed after {records} of {all} records");
        change(&world, 1 + round);
        let before = Before::of(&world);
        let relay = Relay::holding_after_records(world.slapd.ldaps_port(), records);
        world.tool.write_sync_config(&through(&world, &relay));
        let mut run = world.tool.spawn(&[]);
        assert!(held(&relay, &mut run), "{what}: the run came to its end");
        world.slapd.kill();
        relay.release();
        assert_clear(&run.finish(), &what);
        world.tool.write_sync_config(&world.config);
        world.slapd.restart();
        let outcome = world.tool.run(&[]);
        assert_clear(&outcome, &what);
        assert!(
            outcome.code == Some(0) || outcome.stderr.contains("(53)"),
            "{what}\n{}",
            outcome.stderr
        );
        before.assert_none_lost(&world, ENTRY_UUID, &what);
        world.slapd.change(&user_dn(10), "replace: cn\ncn: It goes on");
        clean_run(&world, ENTRY_UUID, &what);
    }
}

/// The same with 389-ds.
#[test]
fn ds389_dies_at_every_message() {
    let mut world = ds389_world();
    change(&world, 0);
    let all = records_of_a_run(&world, world.ds389.ldaps_port());
    println!("{all} records");
    for (round, records) in (0..all - 1).enumerate() {
        let what = format!("389 killed after {records} of {all} records");
        change(&world, 1 + round);
        let before = Before::of(&world);
        let relay = Relay::holding_after_records(world.ds389.ldaps_port(), records);
        world.tool.write_sync_config(&through(&world, &relay));
        let mut run = world.tool.spawn(&[]);
        assert!(held(&relay, &mut run), "{what}");
        world.ds389.kill();
        relay.release();
        let outcome = run.finish();
        assert_clear(&outcome, &what);
        // Towards the end, all of it may have been on its way already.
        assert!(outcome.code == Some(1) || records * 2 > all, "{what}\n{}", outcome.all());
        world.tool.write_sync_config(&world.config);
        world.ds389.restart();
        before.assert_none_lost(&world, NS_UNIQUE_ID, &what);
        clean_run(&world, NS_UNIQUE_ID, &what);
    }
}

/// Kanidm dies when it has read each request, when it has applied it and not committed, when it has
/// committed and not answered; and comes back with what it has on disk.
#[test]
fn kanidm_dies_at_every_step() {
    let mut world = slapd_world();
    let dir = TempDir::new("kanidm");
    let options =
        KanidmOptions { database: Some(dir.path().join("kanidm.db")), ..KanidmOptions::default() };
    world.move_to(KanidmServer::start_with(options));
    clean_run(&world, ENTRY_UUID, "into a Kanidm with a disk");
    let mut round = 0;
    for (method, moments) in [
        ("GET", &[Moment::Received, Moment::Committed][..]),
        ("POST", &[Moment::Received, Moment::Applied, Moment::Committed]),
    ] {
        for moment in moments {
            for after in 0.. {
                round += 1;
                let what = format!("Kanidm killed at {method} {after} ({moment:?})");
                change(&world, round);
                let before = Before::of(&world);
                world.kanidm.fault(Fault::death(*moment).only(method).after(after));
                let mut run = world.tool.spawn(&[]);
                let pid = world.kanidm.pid();
                let died = wait(|| match is_running(pid) {
                    false => Some(true),
                    true => run.child().try_wait().unwrap().map(|_| false),
                });
                if died {
                    world.kanidm.restart();
                }
                assert_clear(&run.finish(), &what);
                world.kanidm.clear_faults();
                world.kanidm.wait_until_idle();
                before.assert_none_lost(&world, ENTRY_UUID, &what);
                clean_run(&world, ENTRY_UUID, &what);
                if !died {
                    assert!(after > 0, "{what}");
                    println!("{method}: {after} at {moment:?}");
                    break;
                }
            }
        }
    }
    // While the directory is read: the connection that was kept is dead by the time of the first
    // POST.
    change(&world, round + 1);
    let before = Before::of(&world);
    let relay = Relay::holding_after_records(world.slapd.ldaps_port(), 9);
    world.tool.write_sync_config(&through(&world, &relay));
    let run = world.tool.spawn(&[]);
    relay.wait_until_held();
    world.kanidm.restart();
    relay.release();
    run.finish().expect_code(0);
    before.assert_none_lost(&world, ENTRY_UUID, "Kanidm killed while the directory is read");
    world.tool.write_sync_config(&world.config);
    clean_run(&world, ENTRY_UUID, "in the end");
}
