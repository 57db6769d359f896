//! docs/report.schema.json describes what `--json` prints: all of it, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use kanidm_ldap_sync::content::changeset::Kind;
use kanidm_ldap_sync::sync::changes::{Action, Change, Changes, words};
use kanidm_ldap_sync::sync::guard::Deletions;
use kanidm_ldap_sync::sync::report::{
    DroppedAttribute, HeldEntry, JsonReport, ReadMode, Report, ReportProblem, SkippedEntry,
};
use serde_json::{Value, json};
use uuid::Uuid;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/report.schema.json")).unwrap()
}

/// A report with something in every field.
fn report(deleted: Deletions, mode: ReadMode, dry_run: bool) -> Report {
    let problem = |attribute: Option<&str>| ReportProblem {
        attribute: attribute.map(str::to_owned),
        rule: "must be good".into(),
    };
    let (uuid, dn) = (Uuid::from_u128(7), "uid=a,dc=example".to_owned());
    Report {
        dry_run,
        mode,
        read: 3,
        persons: 1,
        groups: 2,
        deleted,
        held: vec![HeldEntry {
            uuid,
            dn: dn.clone(),
            problems: vec![problem(Some("mail")), problem(None)],
        }],
        skipped: vec![SkippedEntry { uuid, dn: dn.clone(), reason: "excluded".into() }],
        dropped: vec![DroppedAttribute { uuid, dn: dn.clone(), problem: problem(Some("mail")) }],
        changes: Changes {
            listed: vec![
                change(Action::Deleted, None, None, &[]),
                change(Action::Changed, Some("a"), Some(dn), &[words::NEW, words::LOCKED]),
            ],
            left_out: 3,
            nameless: Deletions::About(2),
        },
        known: 500,
        members_out_of_scope: 4,
        directory_is_older: true,
        posts: 5,
        total: Duration::from_millis(1500),
        ldap: Duration::from_millis(500),
        kanidm: Duration::from_secs(1),
    }
}

fn change(
    action: Action,
    name: Option<&str>,
    dn: Option<String>,
    words: &[&'static str],
) -> Change {
    let (kind, name) = (name.map(|_| Kind::Person), name.map(str::to_owned));
    Change { action, kind, name, dn, uuid: Uuid::from_u128(7), words: words.to_vec() }
}

#[test]
fn every_report_is_as_the_schema_says() {
    let deletions =
        [Deletions::Exactly(1), Deletions::Between(1, 2), Deletions::About(3), Deletions::Unknown];
    for deleted in deletions {
        for mode in [ReadMode::Incremental, ReadMode::Full("asked for".into())] {
            for dry_run in [false, true] {
                let report =
                    serde_json::to_value(report(deleted, mode.clone(), dry_run).json(3)).unwrap();
                assert_eq!(problems(&report), [""; 0], "{report:#}");
            }
        }
    }
    let held = report(Deletions::Exactly(1), ReadMode::Incremental, false).held;
    assert!(!held.is_empty());
    for at_fault in [&[], held.as_slice()] {
        let failed = JsonReport {
            exit_code: 4,
            result: "failed",
            error: Some("refused".into()),
            at_fault,
            following: Some("down"),
            run: None,
        };
        assert_eq!(problems(&serde_json::to_value(failed).unwrap()), [""; 0]);
    }
}

#[test]
fn other_reports_are_not() {
    let good =
        serde_json::to_value(report(Deletions::Exactly(1), ReadMode::Incremental, false).json(3))
            .unwrap();
    let mutations: [(&str, Value, &str); 11] = [
        ("/exit_code", json!(1), "/exit_code: none of"),
        ("/exit_code", json!("0"), "/exit_code: not a"),
        ("/result", json!("well"), "/result: none of"),
        ("/result", json!("failed"), "error is missing"),
        ("/mode", json!("half"), "/mode: none of"),
        ("/read", json!(-1), "/read: below"),
        ("/deleted", json!({"at_least": 1}), "at_most is missing"),
        ("/held/0", json!({"uuid": "x", "dn": "y"}), "problems is missing"),
        ("/held/0/problems", json!([]), "too few"),
        (
            "/skipped/0",
            json!({"uuid": "x", "dn": "y", "reason": "z", "more": 1}),
            "more is not described",
        ),
        ("/seconds/ldap", json!("1"), "/seconds/ldap: not a"),
    ];
    for (place, value, expected) in mutations {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        let found = problems(&bad).join("\n");
        assert!(found.contains(expected), "{place}: {found:?} lacks {expected:?}");
    }
}

/// What is wrong with a report.
fn problems(report: &Value) -> Vec<String> {
    problems_by(&schema(), report)
}

/// What is wrong with a value by this schema.
pub fn problems_by(schema: &Value, value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    described(schema, schema, value, "", &mut problems);
    problems
}

/// Checks a value, and that each of its fields is one that the schema knows.
fn described(root: &Value, schema: &Value, value: &Value, place: &str, problems: &mut Vec<String>) {
    let known = check(root, schema, value, place, problems);
    for field in value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, _)| field)
        .filter(|field| !known.contains(*field))
    {
        problems.push(format!("{place}: {field} is not described"));
    }
}

/// As much of JSON Schema 2020-12 as the schema uses; any other keyword ends the test. Returns the
/// fields that it describes.
fn check(
    root: &Value,
    schema: &Value,
    value: &Value,
    place: &str,
    problems: &mut Vec<String>,
) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let number = |of: &Value| of.as_f64().unwrap();
    let require = |fields: &Value, problems: &mut Vec<String>| {
        for field in fields
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .filter(|field| value.get(field).is_none())
        {
            problems.push(format!("{place}: {field} is missing"));
        }
    };
    for (keyword, of) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" | "then" | "else" => {}
            "$ref" => known.extend(check(
                root,
                root.pointer(&of.as_str().unwrap()[1..]).unwrap(),
                value,
                place,
                problems,
            )),
            "allOf" => of
                .as_array()
                .unwrap()
                .iter()
                .for_each(|each| known.extend(check(root, each, value, place, problems))),
            "if" => {
                let mut unlike = Vec::new();
                check(root, of, value, place, &mut unlike);
                let branch = &schema[if unlike.is_empty() { "then" } else { "else" }];
                known.extend(check(root, branch, value, place, problems));
            }
            "type" if !has_type(value, of.as_str().unwrap()) => {
                problems.push(format!("{place}: not a {of}"))
            }
            "const" if value != of => problems.push(format!("{place}: not {of}")),
            "enum" if !of.as_array().unwrap().contains(value) => {
                problems.push(format!("{place}: none of {of}"))
            }
            "minimum" if value.as_f64().is_some_and(|n| n < number(of)) => {
                problems.push(format!("{place}: below {of}"))
            }
            "maximum" if value.as_f64().is_some_and(|n| n > number(of)) => {
                problems.push(format!("{place}: above {of}"))
            }
            "minItems" if value.as_array().is_some_and(|a| (a.len() as f64) < number(of)) => {
                problems.push(format!("{place}: too few"))
            }
            "type" | "const" | "enum" | "minimum" | "maximum" | "minItems" => {}
            "required" => require(of, problems),
            "dependentRequired" => {
                of.as_object()
                    .unwrap()
                    .iter()
                    .filter(|(field, _)| value.get(field).is_some())
                    .for_each(|(_, f)| require(f, problems));
            }
            "properties" => {
                for (field, of) in of.as_object().unwrap() {
                    known.insert(field.clone());
                    if let Some(value) = value.get(field) {
                        described(root, of, value, &format!("{place}/{field}"), problems);
                    }
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    described(root, of, item, &format!("{place}/{i}"), problems);
                }
            }
            other => panic!("{place}: this test does not know the keyword {other}"),
        }
    }
    known
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("this test does not know the type {other}"),
    }
}
