//! A run that is killed (SIGKILL) at any point of a long upload: no account is ever lost on the
//! way, and the next run converges.
//!
//! Real slapd, real Kanidm engine, small chunks, so that an upload takes many POSTs. Where a run is
//! killed is drawn by chance (the seed is printed): before, while and after which of its POSTs is
//! applied.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::support::expect::{self, GROUPS_OF_NAMES};
use crate::support::kanidm::{Fault, Moment};
use crate::support::process::PATIENCE;
use crate::support::random::Random;
use crate::support::seed::{Seed, SeedOptions, group_dn, user_dn, user_ldif};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, World};

/// How long Kanidm waits at the point at which the run is killed: long enough for the kill to
/// arrive.
const HELD: Duration = Duration::from_millis(400);

#[test]
fn killed_at_fifty_points_and_always_whole_in_the_end() {
    let mut random = Random::from_environment();
    // The same course with 4,000 accounts takes nine minutes: CRASH_USERS=4000.
    let users: usize =
        std::env::var("CRASH_USERS").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    let options =
        SeedOptions { users, groups: users / 20, big_group: users / 2, ..SeedOptions::default() };
    let world = World::with(
        SlapdOptions {
            seed: Seed::Generated(options),
            sessionlog: Some(100),
            ..SlapdOptions::default()
        },
        GROUPS_OF_NAMES,
        "(|(objectClass=posixAccount)(objectClass=groupOfNames))",
        |config| config.set("upload_max_entries", i64::try_from(users / 10).unwrap()),
    );

    // The first refresh, killed again and again; a run that gets through is followed by one that
    // starts from nothing.
    for _ in 0..10 {
        killed_somewhere(&world, &mut random, 14);
    }
    world.run(&[], 3);
    compare(&world, "after the first refresh was killed ten times");

    // Kanidm has everything: full refreshes, forced refreshes and increments, each killed, never
    // take an account away.
    for round in 0..40 {
        change(&world, round);
        match round % 4 {
            0 => world.kanidm.force_refresh(ACCOUNT),
            1 => world.reconfigure_quietly(round),
            _ => {}
        }
        killed_somewhere(&world, &mut random, 12);
        if round % 8 == 7 {
            world.run(&[], 3);
            compare(&world, &format!("after kill {}", round + 11));
        }
    }
    world.run(&[], 3);
    compare(&world, "in the end");
}

/// Starts a run and kills it at a point drawn by chance. Whatever Kanidm had, and the directory has
/// still, it has afterwards.
fn killed_somewhere(world: &World, random: &mut Random, requests: usize) {
    let before = uuids(world);
    let moment = random.of(&[Moment::Received, Moment::Applied, Moment::Committed]);
    let after = u32::try_from(random.below(requests)).unwrap();
    world.kanidm.fault(Fault::delay(moment, HELD).only("POST").after(after));
    let mut run = world.tool.spawn(&["-q"]);
    let begin = Instant::now();
    let taken = loop {
        if world.kanidm.pending_faults() == 0 {
            break true;
        }
        if run.child().try_wait().expect("it can be waited for").is_some() {
            break false; // it had fewer POSTs than that
        }
        assert!(begin.elapsed() < PATIENCE * 5, "neither the fault nor the end of the run came");
        std::thread::sleep(Duration::from_millis(2));
    };
    if taken {
        run.signal("KILL");
    }
    run.finish();
    world.kanidm.clear_faults();
    world.kanidm.wait_until_idle();

    let living: BTreeSet<Uuid> =
        world.directory().iter().map(|e| e.text("entryuuid").unwrap().parse().unwrap()).collect();
    println!("killed: {taken}, before POST {after} is through ({moment:?})");
    let now = uuids(world);
    let lost: Vec<Uuid> =
        before.intersection(&living).filter(|u| !now.contains(u)).copied().collect();
    assert!(
        lost.is_empty(),
        "killed at request {after} ({moment:?}): {} accounts are gone: {lost:?}",
        lost.len()
    );
}

/// A few changes of every kind.
fn change(world: &World, round: usize) {
    let user = 20 + round * 3;
    let group = group_dn(&format!("team{:03}", 1 + 2 * (round % 10)));
    let mut ldif =
        format!("dn: {}\nchangetype: modify\nreplace: cn\ncn: Round {round}\n\n", user_dn(user));
    ldif += &format!("dn: {}\nchangetype: delete\n\n", user_dn(user + 1));
    ldif += &user_ldif(5_000 + round);
    ldif += &format!(
        "\ndn: {group}\nchangetype: modify\nadd: member\nmember: {}\n",
        user_dn(5_000 + round)
    );
    world.slapd.modify(&ldif);
}

fn compare(world: &World, what: &str) {
    let (want, held) = expect::content(&world.directory(), "entryuuid", GROUPS_OF_NAMES);
    let got: BTreeMap<_, _> = expect::held_by_kanidm(&world.kanidm.entries(ACCOUNT), &held);
    expect::assert_same(&got, &want, what);
}

fn uuids(world: &World) -> BTreeSet<Uuid> {
    world.kanidm.entries(ACCOUNT).iter().map(|e| e.uuid).collect()
}
