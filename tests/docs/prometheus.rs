//! docs/monitoring.md and examples/prometheus: they name the metrics that the program writes, and
//! promtool accepts the rules and passes their tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kanidm_ldap_sync::metrics::{Failure, LastRun, Metrics, Success, text};
use serde_json::Value;

use crate::support::promtool::promtool;
use crate::support::temp::TempDir;

const RULES: &str = include_str!("../../examples/prometheus/kanidm-ldap-sync.rules.yml");
const DASHBOARD: &str = include_str!("../../examples/prometheus/grafana-dashboard.json");
const PAGE: &str = include_str!("../../docs/monitoring.md");
const PREFIX: &str = "kanidm_ldap_sync_";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus")
}

/// The file with every metric.
fn written() -> String {
    let facts = Metrics {
        status_bind: None,
        success: Success {
            ended: Some(1),
            deadline: Some(2),
            held: Some(3),
            dropped: Some(4),
            concerned: Some(4),
            known: Some(5),
        },
        run: LastRun {
            ended: Some(6),
            current_until: Some(7),
            exit_code: Some(0),
            failure: Some(Failure::Local),
            error: None,
            full: Some(true),
            read: Some(7),
            persons: Some(8),
            groups: Some(9),
            deleted: Some(10),
            members_unresolved: Some(11),
            seconds: Some(1.5),
            directory_seconds: Some(0.5),
            kanidm_seconds: Some(1.0),
        },
        follower_connected: Some(true),
    };
    text::write(&facts, "/etc/\"odd\\ path\n")
}

/// The metrics of the program, without the prefix.
fn metrics() -> BTreeSet<String> {
    let text = written();
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_prefix(PREFIX));
    names.map(|name| name.split(' ').next().unwrap().to_owned()).collect()
}

/// The metrics that a text names with their prefix.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(PREFIX)
        .skip(1)
        .map(|rest| rest.split(|c| !is_name(c)).next().unwrap().to_owned())
        .collect()
}

#[test]
fn promtool_accepts_the_metrics() {
    assert_eq!(metrics().len(), 17);
    assert_eq!(promtool(&["check", "metrics"], &examples(), &written()), "");
}

#[test]
fn the_page_describes_every_metric_and_no_other() {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells: BTreeSet<String> = rows
        .filter_map(|row| row.split('`').next())
        .map(|cell| cell.split('{').next().unwrap().to_owned())
        .filter(|cell| cell.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert_eq!(cells, metrics());
    for failure in Failure::ALL {
        assert!(PAGE.contains(&format!("`{}`", failure.word())), "{failure:?}");
    }
}

#[test]
fn the_rules_are_correct_and_their_tests_pass() {
    promtool(&["check", "rules", "kanidm-ldap-sync.rules.yml"], &examples(), "");
    promtool(&["test", "rules", "kanidm-ldap-sync.test.yml"], &examples(), "");
    let names = named(RULES);
    assert!(names.len() > 5 && names.is_subset(&metrics()), "{names:?}");

    let tests = fs::read_to_string(examples().join("kanidm-ldap-sync.test.yml")).unwrap();
    let alerts: Vec<&str> =
        RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 7);
    for alert in alerts {
        let firing = format!("alertname: {alert}\n        exp_alerts:\n");
        let quiet = format!("alertname: {alert}\n        exp_alerts: []\n");
        assert!(tests.contains(&firing) && tests.contains(&quiet), "{alert}");
        assert!(PAGE.contains(&format!("| `{alert}` | ")), "{alert}");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions.push(target["expr"].as_str().unwrap());
        }
    }
    assert!(expressions.len() > 10);
    assert!(expressions.iter().all(|expression| !named(expression).is_empty()));
    let names = named(DASHBOARD);
    assert!(names.is_subset(&metrics()), "{names:?}");

    // promtool reads expressions in rules only.
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(at, expr)| serde_json::json!({"record": format!("panel:{at}"), "expr": expr}))
        .collect();
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let folder = TempDir::new("dashboard");
    folder.write("rules.yml", groups.to_string());
    promtool(&["check", "rules", "rules.yml"], folder.path(), "");
}
