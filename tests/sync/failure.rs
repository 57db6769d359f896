//! A run that is to fail, and to leave Kanidm as it was.

use serde_json::Value;

use crate::support::kanidm::{KanidmEntry, State};
use crate::support::tool::{ConfigText, Outcome, Running};
use crate::support::world::{ACCOUNT, Between};

/// What Kanidm held before.
pub struct Witness {
    entries: Vec<KanidmEntry>,
    state: State,
}

impl Witness {
    pub fn of(world: &Between) -> Witness {
        world.kanidm.clear_log();
        Witness { entries: world.kanidm.entries(ACCOUNT), state: world.kanidm.state(ACCOUNT) }
    }

    /// Nothing was sent, and what Kanidm holds is the same, cookie included.
    #[track_caller]
    pub fn assert_untouched(&self, world: &Between, what: &str) {
        let posts = world.kanidm.log().into_iter().filter(|line| line.method == "POST").count();
        assert_eq!(posts, 0, "{what}: something was sent");
        self.assert_same_content(world, what);
    }

    /// What Kanidm holds is the same, cookie included.
    #[track_caller]
    pub fn assert_same_content(&self, world: &Between, what: &str) {
        assert!(self.entries == world.kanidm.entries(ACCOUNT), "{what}: the content has changed");
        assert_eq!(self.state, world.kanidm.state(ACCOUNT), "{what}: the state has changed");
    }
}

/// Runs with this sync config: exit code 1, each of `words` said, nothing sent.
#[track_caller]
pub fn assert_fails(world: &Between, what: &str, config: &ConfigText, words: &[&str]) -> Outcome {
    world.tool.write_sync_config(config);
    assert_run_fails(world, what, words)
}

/// Runs with this client config: exit code 1, each of `words` said, nothing sent.
#[track_caller]
pub fn assert_fails_with_client(
    world: &Between,
    what: &str,
    client: &ConfigText,
    words: &[&str],
) -> Outcome {
    world.tool.write_client_config(client);
    assert_run_fails(world, what, words)
}

/// Runs with the configuration as it is: exit code 1, each of `words` said, nothing sent.
#[track_caller]
pub fn assert_run_fails(world: &Between, what: &str, words: &[&str]) -> Outcome {
    let witness = Witness::of(world);
    let outcome = world.tool.run(&["--json"]);
    let outcome = assert_failed(what, outcome, words);
    witness.assert_untouched(world, what);
    outcome
}

/// As [`assert_run_fails`], for a run that is under way.
#[track_caller]
pub fn assert_failed_run(
    world: &Between,
    what: &str,
    witness: &Witness,
    run: Running,
    words: &[&str],
) {
    assert_failed(what, run.finish(), words);
    witness.assert_untouched(world, what);
}

/// A run with `--json` that ended with exit code 1: the report and the log say the same, once, each
/// of `words` in it.
#[track_caller]
pub fn assert_failed(what: &str, outcome: Outcome, words: &[&str]) -> Outcome {
    assert_eq!(outcome.code, Some(1), "{what}\n{}", outcome.all());
    let report: Value = serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|e| panic!("{what}: no report: {e}\n{}", outcome.all()));
    assert_eq!(
        (&report["result"], &report["exit_code"]),
        (&Value::from("failed"), &Value::from(1)),
        "{what}"
    );
    assert_eq!(
        report.as_object().map(|o| o.len()),
        Some(3),
        "{what}: a failed run reports nothing else\n{report}"
    );
    let error = report["error"].as_str().unwrap_or_default();
    println!("{what}\n    {error}");
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let logged: Vec<String> = outcome
        .stderr
        .lines()
        .filter_map(|line| line.split_once(" ERROR ").map(|(_, text)| text.to_owned()))
        .collect();
    assert_eq!(logged, lines(error), "{what}: the log has what the report has, once");
    for word in words {
        assert!(error.contains(word), "{what}: {word:?} is not in: {error}");
    }
    outcome
}
