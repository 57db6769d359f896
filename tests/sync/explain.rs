//! `--explain`: why somebody is not in Kanidm, asked as a new administrator asks. On real servers
//! and the real Kanidm engine.

use serde_json::Value;

use crate::support::seed::{SUFFIX, Seed};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{Outcome, run_command};
use crate::support::world::{ACCOUNT, Between, World};

const FILTER: &str = "(&(|(objectClass=inetOrgPerson)(objectClass=groupOfNames)(objectClass=posixGroup)(objectClass=account))(!(employeeType=intern)))";

fn person(uid: &str, more: &str) -> String {
    person_in("people", uid, uid, more)
}

fn person_in(unit: &str, rdn: &str, uid: &str, more: &str) -> String {
    format!(
        "dn: cn={rdn},ou={unit},{SUFFIX}\nobjectClass: inetOrgPerson\ncn: {rdn}\nsn: {rdn}\nuid: {uid}\n{more}\n"
    )
}

fn group(name: &str, members: &[String]) -> String {
    let members: String = members.iter().map(|member| format!("member: {member}\n")).collect();
    format!("dn: cn={name},ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: {name}\n{members}\n")
}

fn dn(name: &str) -> String {
    format!("cn={name},ou=people,{SUFFIX}")
}

const SHOWN: &str = "displayName: Somebody\n";

/// People who are in Kanidm, and people who are not.
fn content() -> String {
    [
        person("alice", "displayName: Alice\nmail: alice@example.com\nmail: no address\n"),
        person("dave", "displayName: Dave\nemployeeType: intern\n"),
        person("erin", SHOWN),
        format!("dn: uid=frank,ou=people,{SUFFIX}\nobjectClass: account\nuid: frank\n\n"),
        person("grace", SHOWN),
        person_in("people", "1heidi", "1heidi", SHOWN),
        person("ivan", ""),
        person("judy", SHOWN),
        person_in("staff", "judy2", "judy", SHOWN),
        person("kim", SHOWN),
        person("lena", SHOWN),
        person("mallory", SHOWN),
        format!(
            "dn: cn=alice,ou=groups,{SUFFIX}\nobjectClass: posixGroup\ncn: alice\ngidNumber: 7001\n\n"
        ),
        group(
            "team",
            &[dn("alice"), dn("dave"), dn("nobody"), dn("1heidi"), format!("cn=sync,{SUFFIX}")],
        ),
    ]
    .concat()
}

/// After a first run. `hidden` are people whom the sync account may not see.
fn world(hidden: &[&str]) -> World {
    let seed = Seed::Content(content());
    let extra_database = rules(hidden);
    let options =
        SlapdOptions { seed, sessionlog: Some(100), extra_database, ..SlapdOptions::default() };
    World::with(options, crate::support::expect::GROUPS_OF_NAMES, FILTER, |config| {
        config
            .set("person_objectclass", "inetOrgPerson")
            .set("person_attr_display_name", "displayName")
            .set("group_objectclass", vec!["groupOfNames".to_owned(), "posixGroup".to_owned()])
    })
}

fn rules(hidden: &[&str]) -> String {
    hidden.iter().map(|name| format!("access to dn.exact=\"{}\" by * none\n", dn(name))).collect()
}

#[track_caller]
fn explain(world: &Between, who: &str, code: i32) -> Outcome {
    let mut command = world.tool.command();
    let outcome = run_command(command.args(["--explain", who]).env("LC_ALL", "C.UTF-8"));
    assert_eq!(outcome.code, Some(code), "{who}\n{}", outcome.all());
    outcome
}

#[track_caller]
fn json(world: &Between, who: &str, code: i32) -> Value {
    let outcome = world.tool.run(&["--json", "--explain", who]).expect_code(code);
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn look() {
    let world = world(&["erin"]);
    world.run(&[], 3);
    for who in [
        "alice",
        "dave",
        "erin",
        "frank",
        "1heidi",
        "ivan",
        "judy",
        "nobody",
        "team",
        &format!("cn=x,ou=peple,{SUFFIX}"),
    ] {
        let out =
            run_command(world.tool.command().args(["--explain", who]).env("LC_ALL", "C.UTF-8"));
        println!("##### {who} {:?}\n{}", out.code, out.all());
    }
    println!("{:#}", json(&world, "alice", 0));
    let _ = ACCOUNT;
}
