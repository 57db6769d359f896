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
        play::on_model(&course).unwrap_or_else(|e| panic!("regressions.jsonl, line {line}: {e}"));
    }
}

#[test]
fn what_failed_before_holds_with_the_real_engine() {
    let mut engines = Engines::default();
    for (line, course) in regressions() {
        on_engine(&mut engines, &course)
            .unwrap_or_else(|e| panic!("regressions.jsonl, line {line}: {e}"));
    }
}

#[test]
fn every_course_converges() {
    let seeds = seeds("CONVERGE_SEEDS", 0..300);
    println!("CONVERGE_SEEDS={}..{}", seeds.start, seeds.end);
    let mut runs = 0;
    for seed in seeds.clone() {
        let course = draw::course(seed);
        match play::on_model(&course) {
            Ok(played) => runs += played,
            Err(error) => shrink::report(seed, &course, &error, play::on_model),
        }
    }
    println!("{} courses, {runs} runs", seeds.end - seeds.start);
}

#[test]
fn courses_converge_with_the_real_engine() {
    let seeds = seeds("CONVERGE_ENGINE_SEEDS", 0..4);
    println!("CONVERGE_ENGINE_SEEDS={}..{}", seeds.start, seeds.end);
    let mut engines = Engines::default();
    let mut runs = 0;
    for seed in seeds.clone() {
        let course = draw::course(seed);
        match on_engine(&mut engines, &course) {
            Ok(played) => runs += played,
            Err(error) => {
                shrink::report(seed, &course, &error, |course| on_engine(&mut engines, course))
            }
        }
    }
    println!("{} courses, {runs} runs", seeds.end - seeds.start);
}

/// In a sync account of its own.
fn on_engine(engines: &mut Engines, course: &Course) -> Result<usize, String> {
    let (kanidm, number) = engines.next();
    play::on(course, Engine::new(kanidm, &format!("sync{number}")), number)
}
