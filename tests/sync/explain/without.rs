//! Without Kanidm, without a directory, without rights, without a valid configuration: each has its
//! exit code, and `--json` keeps to its schema.

use std::net::TcpListener;

use kanidm_ldap_sync::service::lock::RunLock;
use serde_json::Value;

use super::{dn, explain, json, last, world};
use crate::report_schema::problems_by;
use crate::support::seed::SUFFIX;
use crate::support::tool::ConfigText;

/// Neither Kanidm nor its client config is needed, and a run that is under way is no obstacle.
#[test]
fn without_kanidm_and_beside_a_run() {
    let world = world(&[]);
    let _run = RunLock::acquire(world.tool.sync_config(), None).unwrap();
    explain(&world, "judith", 1);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = format!("uri = \"https://{closed}\"\n");
    for client in [client.as_str(), "no_key = 1\n"] {
        world.tool.write_client_config(&ConfigText::new().raw(client));
        let outcome = explain(&world, &dn("alice"), 0);
        assert!(outcome.stdout.starts_with("Kanidm's state is not known: "), "{}", outcome.stdout);
        assert!(
            last(&outcome).starts_with("=> In scope and valid. It goes without a value: mail")
                && last(&outcome).contains("A full refresh writes it; an incremental run"),
            "{}",
            outcome.stdout
        );
        assert_eq!(json(&world, &dn("alice"), 0)["result"], "in_scope");
        explain(&world, "1heidi", 3);
        explain(&world, "dave", 1);
    }
}

#[test]
fn failures_have_codes_of_their_own() {
    let mut world = world(&[]);
    world.reconfigure(|config| config.set("no_key", 1));
    let answer = json(&world, "alice", 2);
    assert_eq!((&answer["result"], &answer["exit_code"]), (&"failed".into(), &2.into()));
    assert_eq!(like_the_schema(&answer), [""; 0]);
    world.reconfigure(|config| config.without("no_key"));
    world.tool.run(&["--explain"]).expect_code(2);
    world.tool.run(&["--explain", " "]).expect_code(2).says("needs a DN, a UUID or a name");
    world.tool.run(&["--explain", "alice", "--full-refresh"]).expect_code(2);
    world.tool.run(&["--explain", "alice", "--check"]).expect_code(2);
    world.slapd.stop();
    let answer = json(&world, "alice", 1);
    assert_eq!(answer["result"], "failed");
    assert!(answer["error"].as_str().unwrap().contains("ldaps://"), "{answer}");
    assert_eq!(like_the_schema(&answer), [""; 0]);
}

fn like_the_schema(answer: &Value) -> Vec<String> {
    let schema = serde_json::from_str(include_str!("../../../docs/explain.schema.json")).unwrap();
    problems_by(&schema, answer)
}

#[test]
fn every_answer_is_as_the_schema_says() {
    let world = world(&["erin"]);
    let missing = format!("cn=x,ou=peple,{SUFFIX}");
    for (who, code) in [
        ("alice", 0),
        ("dave", 1),
        ("1heidi", 3),
        ("team", 0),
        ("frank", 1),
        ("erin", 1),
        (&missing, 1),
    ] {
        assert_eq!(like_the_schema(&json(&world, who, code)), [""; 0], "{who}");
    }
    let mut answer = json(&world, "team", 0);
    answer["entries"][0]["kind"] = "planet".into();
    assert!(!like_the_schema(&answer).is_empty());
}

/// An account that may read ten entries at a time gets its answer: nobody reads the directory.
#[test]
fn the_directory_is_not_read() {
    let mut world = world(&[]);
    world.run(&[], 3);
    world.reconfigure(|config| config.set("ldap_sync_dn", format!("cn=limited,{SUFFIX}")));
    world.run(&["--full-refresh"], 1);
    for (who, code) in [("alice", 0), ("dave", 1), ("1heidi", 3), ("team", 0), ("nobody", 1)] {
        explain(&world, who, code);
    }
}

/// A server that refuses searches without an index still answers by DN, and says what to do.
#[test]
fn a_name_that_cannot_be_searched() {
    let mut world = world(&[]);
    world.slapd.reconfigure(|options| options.sync_limits = "size.unchecked=3".to_owned());
    world.reconfigure(|config| config.set("person_attr_user_name", "sn"));
    // The name of groups has an index.
    let kim = explain(&world, "kim", 0);
    let told = "cannot be searched by (sn=kim): adminLimitExceeded";
    assert!(kim.stdout.contains(told), "{}", kim.stdout);
    assert!(kim.stdout.contains(&format!("\n{}\n", dn("kim"))), "{}", kim.stdout);

    world.reconfigure(|config| config.set("group_attr_name", "sn"));
    let outcome = world.tool.run(&["--explain", "kim"]).expect_code(1);
    assert_eq!(outcome.stdout, "", "{}", outcome.all());
    for words in [told, "Give the DN of the entry, or let the directory index the attribute"] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    assert_eq!(json(&world, "kim", 1)["result"], "failed");
    explain(&world, &dn("kim"), 0);
}
