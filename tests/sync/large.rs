//! A directory that is too large for one POST, synchronised as it is configured by default.
//!
//! Real slapd, real Kanidm engine, and every value compared in the end. What takes long is the
//! engine, whose cost grows faster than the directory; so a run of the tests takes 600 accounts and
//! chunks to match. `LARGE_USERS=60000 cargo test --test sync large:: -- --nocapture` takes 60,000
//! accounts (over 32 MiB, more than Kanidm accepts at once) with the default limits, and prints
//! where the time went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::expect::{self, GROUPS_OF_NAMES};
use crate::support::kanidm::LogLine;
use crate::support::seed::{Seed, SeedOptions, user_dn};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, FILTER, World};

/// For one run; the engine decides how long it takes.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

#[test]
fn a_directory_too_large_for_one_post() {
    let asked: Option<usize> =
        std::env::var("LARGE_USERS").ok().map(|n| n.parse().expect("LARGE_USERS is a number"));
    let users = asked.unwrap_or(600);
    let options =
        SeedOptions { users, groups: users / 60, big_group: users / 2, ..SeedOptions::default() };
    let world = World::with(
        SlapdOptions {
            seed: Seed::Generated(options),
            sessionlog: Some(100),
            ..SlapdOptions::default()
        },
        GROUPS_OF_NAMES,
        FILTER,
        |config| match asked {
            Some(_) => config,
            None => config.set("upload_max_entries", 100).set("upload_max_bytes", 64 * 1024),
        },
    );
    let posts = measured(&world, "the first refresh");
    assert!(posts.len() > 3, "it was one upload in several POSTs");
    compare(&world, "after the first refresh");

    world.slapd.change(&user_dn(7), "replace: cn\ncn: One Change");
    assert_eq!(measured(&world, "one change").len(), 1);
    world.kanidm.force_refresh(ACCOUNT);
    measured(&world, "everything again, after Kanidm's force-refresh");
    compare(&world, "after a forced refresh");
}

/// Runs once and prints how long it took and what was sent.
fn measured(world: &World, what: &str) -> Vec<LogLine> {
    world.kanidm.clear_log();
    let begin = Instant::now();
    let ran = world.tool.spawn(&["--json", "--debug"]).finish_within(PATIENCE).expect_code(3);
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let total = begin.elapsed().as_secs_f64();
    let seconds = |key: &str| report["seconds"][key].as_f64().expect("a number");
    let posts: Vec<LogLine> =
        world.kanidm.log().into_iter().filter(|line| line.method == "POST").collect();
    let bytes: usize = posts.iter().filter_map(|post| post.body_bytes).sum();
    println!(
        "{what}: {total:.1} s in all; directory and mapping {:.1} s, Kanidm {:.1} s; {} POSTs, {:.1} MiB",
        seconds("ldap"),
        seconds("kanidm"),
        posts.len(),
        bytes as f64 / f64::from(1 << 20)
    );
    ran.stderr
        .lines()
        .filter(|line| line.contains("upload: "))
        .for_each(|line| println!("  {line}"));
    posts
}

fn compare(world: &World, what: &str) {
    let (want, held) = expect::content(&world.directory(), "entryuuid", GROUPS_OF_NAMES);
    let got: BTreeMap<_, _> = expect::held_by_kanidm(&world.kanidm.entries(ACCOUNT), &held);
    expect::assert_same(&got, &want, what);
}
