//! Random courses of events: a directory that changes, runs that are killed or lose answers, a
//! configuration that changes. Whatever happened on the way, a clean run at the end makes Kanidm's
//! content that of the directory, and nothing that the directory has and wants synchronised is ever
//! deleted.
//!
//! The program itself runs, from the first LDAP request to the last POST:
//! [`run::run`](kanidm_ldap_sync::sync::run::run), in-process, against a directory in memory that
//! answers as slapd or 389 do ([`server`]), and a model of Kanidm or the real engine ([`support::inside`]).
//! What Kanidm should hold is worked out a second time, without the mapper ([`oracle`]).
//!
//! Each course is played twice: with the runs that it names, and with somebody who listens to the
//! directory ([`play::Follows`]). Then each ring makes a run as well, connections end, and the
//! rings alone have to bring Kanidm what the directory has, before any clean run.
//!
//! `CONVERGE_SEEDS=first..end` and `CONVERGE_ENGINE_SEEDS=first..end` draw other courses than the
//! default ones. A course that fails is shrunk and printed as a line for `regressions.jsonl`, whose
//! lines run every time.

#[path = "../support/mod.rs"]
mod support;

mod course;
mod directory;
mod draw;
mod engines;
mod oracle;
mod play;
mod server;
mod shrink;

use std::ops::Range;

use course::Course;
use engines::Engines;
use play::Follows;
use support::inside::Engine;

/// What failed before, one course a line.
const REGRESSIONS: &str = include_str!("regressions.jsonl");

fn regressions() -> impl Iterator<Item = (usize, Course)> {
    let lines = REGRESSIONS.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(n, line)| {
        (
            n + 1,
            serde_json::from_str(line)
                .unwrap_or_else(|e| panic!("regressions.jsonl, line {}: {e}", n + 1)),
        )
    })
}

/// The environment variable `variable` (`first..end`) in the place of the default.
fn seeds(variable: &str, default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var(variable) else { return default };
    let (from, to) = text.split_once("..").expect("first..end");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn what_failed_before_holds() {
    for (line, course) in regressions() {
        for follows in [Follows::No, Follows::Yes] {
            play::on_model(&course, follows)
                .unwrap_or_else(|e| panic!("regressions.jsonl, line {line}, {follows:?}: {e}"));
        }
    }
}

#[test]
fn what_failed_before_holds_with_the_real_engine() {
    let mut engines = Engines::default();
    for (line, course) in regressions() {
        on_engine(&mut engines, &course, Follows::No)
            .unwrap_or_else(|e| panic!("regressions.jsonl, line {line}: {e}"));
    }
}

#[test]
fn every_course_converges() {
    on_the_model(Follows::No);
}

#[test]
fn every_course_converges_by_its_rings() {
    on_the_model(Follows::Yes);
}

fn on_the_model(follows: Follows) {
    // A ring makes a run, so a course that is followed takes six times as long.
    let default = if follows == Follows::Yes { 0..60 } else { 0..300 };
    let seeds = seeds("CONVERGE_SEEDS", default);
    println!("CONVERGE_SEEDS={}..{}", seeds.start, seeds.end);
    let mut runs = 0;
    for seed in seeds.clone() {
        let course = draw::course(seed);
        match play::on_model(&course, follows) {
            Ok(played) => runs += played,
            Err(error) => {
                shrink::report(seed, &course, &error, |course| play::on_model(course, follows))
            }
        }
    }
    println!("{} courses, {runs} runs", seeds.end - seeds.start);
}

#[test]
fn courses_converge_with_the_real_engine() {
    on_the_engine(Follows::No);
}

#[test]
fn courses_converge_by_their_rings_with_the_real_engine() {
    on_the_engine(Follows::Yes);
}

fn on_the_engine(follows: Follows) {
    let seeds = seeds("CONVERGE_ENGINE_SEEDS", 0..4);
    println!("CONVERGE_ENGINE_SEEDS={}..{}", seeds.start, seeds.end);
    let mut engines = Engines::default();
    let mut runs = 0;
    for seed in seeds.clone() {
        let course = draw::course(seed);
        match on_engine(&mut engines, &course, follows) {
            Ok(played) => runs += played,
            Err(error) => shrink::report(seed, &course, &error, |course| {
                on_engine(&mut engines, course, follows)
            }),
        }
    }
    println!("{} courses, {runs} runs", seeds.end - seeds.start);
}

/// In a sync account of its own.
fn on_engine(engines: &mut Engines, course: &Course, follows: Follows) -> Result<usize, String> {
    let (kanidm, number) = engines.next();
    play::on(course, Engine::new(kanidm, &format!("sync{number}")), number, follows)
}
