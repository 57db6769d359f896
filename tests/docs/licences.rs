//! The shipped crates keep to `deny.toml`: licences, banned crates, versions and sources. cargo-deny
//! reads the same file, but takes minutes to install. Advisories are left to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use toml::{Table, Value};

/// A crate of `cargo tree`.
struct Crate {
    name: String,
    version: String,
    /// Where it comes from, if that is not crates.io.
    source: Option<String>,
    licence: String,
}

fn rules() -> Table {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml")).unwrap().parse().unwrap()
}

fn list<'a>(rules: &'a Table, table: &str, key: &str) -> &'a [Value] {
    rules[table][key].as_array().unwrap()
}

/// Everything that is compiled for the program on any of the targets, build scripts included.
fn shipped(rules: &Table) -> Vec<Crate> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--package", "kanidm-ldap-sync", "--edges", "normal,build"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    for target in list(rules, "graph", "targets") {
        tree.args(["--target", target.as_str().unwrap()]);
    }
    let lines = String::from_utf8(crate::support::process::run(&mut tree)).unwrap();
    let lines: BTreeSet<&str> = lines.lines().filter(|line| !line.is_empty()).collect();
    lines
        .into_iter()
        .map(|line| {
            let (package, licence) = line.rsplit_once('|').unwrap();
            let mut words = package.splitn(3, ' ');
            let name = words.next().unwrap().to_owned();
            let version = words.next().unwrap().trim_start_matches('v').to_owned();
            let source =
                words.next().map(|rest| rest.replace("(proc-macro)", "").trim().to_owned());
            let source = source.filter(|source| !source.is_empty());
            Crate { name, version, source, licence: licence.to_owned() }
        })
        .collect()
}

/// Whether an SPDX expression can be met with these licences alone. The slash is cargo's old OR.
fn permitted(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    assert_eq!(words.next(), None, "{expression}");
    met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let word = words.next().expect("a licence");
    if word == "(" {
        let met = any(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return met;
    }
    // An exception only adds permissions.
    if words.next_if_eq(&"WITH").is_some() {
        words.next().expect("an exception");
    }
    allowed.contains(word)
}

#[test]
fn every_licence_is_permitted_and_every_permission_is_used() {
    let rules = rules();
    let allowed: BTreeSet<&str> =
        list(&rules, "licenses", "allow").iter().map(|one| one.as_str().unwrap()).collect();
    let crates = shipped(&rules);
    assert!(crates.len() > 50, "{} crates", crates.len());
    for one in &crates {
        assert!(permitted(&one.licence, &allowed), "{}: {}", one.name, one.licence);
    }
    for licence in &allowed {
        let mut fewer = allowed.clone();
        fewer.remove(licence);
        let needed = crates.iter().any(|one| !permitted(&one.licence, &fewer));
        assert!(needed, "no crate needs {licence}");
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = BTreeSet::from(["MIT", "ISC"]);
    for (expression, met) in [
        ("MIT", true),
        ("Apache-2.0", false),
        ("MIT OR Apache-2.0", true),
        ("Apache-2.0/MIT", true),
        ("MIT AND Apache-2.0", false),
        ("(MIT OR Apache-2.0) AND ISC", true),
        ("Apache-2.0 AND ISC OR MIT", true),
        ("Apache-2.0 AND (ISC OR MIT)", false),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
    ] {
        assert_eq!(permitted(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_crate_is_from_crates_io_is_not_banned_and_has_one_version() {
    let rules = rules();
    let text = |value: &Value| value["crate"].as_str().unwrap().to_owned();
    let banned: BTreeSet<String> = list(&rules, "bans", "deny").iter().map(text).collect();
    let skipped: BTreeSet<String> = list(&rules, "bans", "skip").iter().map(text).collect();
    let mut versions = BTreeMap::new();
    let mut unused = skipped.clone();
    for one in shipped(&rules) {
        let own = one.source.as_ref().is_some_and(|source| source.starts_with("(/"));
        assert!(one.source.is_none() || own, "{} is from {:?}", one.name, one.source);
        assert!(!banned.contains(&one.name), "{} is banned", one.name);
        let is = |skip: &String| {
            skip.split_once('@').is_some_and(|(name, version)| {
                name == one.name && format!("{}.", one.version).starts_with(&format!("{version}."))
            })
        };
        unused.retain(|skip| !is(skip));
        if !skipped.iter().any(is) {
            let other = versions.insert(one.name.clone(), one.version.clone());
            assert_eq!(other, None, "{} {} is a second version", one.name, one.version);
        }
    }
    assert!(unused.is_empty(), "deny.toml skips crates that are not there: {unused:?}");
}
