//! The remedy in the last line is the right one: none deletes a person, and each ends the trouble.

use super::{FILTER, SHOWN, dn, explain, group, last, person, rules, uuid_of, world};
use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::seed::{SUFFIX, Seed};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::{Outcome, run_command};
use crate::support::world::{ACCOUNT, World};

#[track_caller]
fn says(outcome: &Outcome, words: &str) {
    assert!(outcome.stdout.contains(words), "{words}\n{}", outcome.stdout);
}

#[track_caller]
fn ends_with(outcome: &Outcome, words: &str) {
    assert!(last(outcome).ends_with(words), "{words}\n{}", outcome.stdout);
}

/// Sets the access rules of the directory.
fn allow(world: &mut World, rules: &str) {
    world.slapd.reconfigure(|options| options.extra_database = rules.to_owned());
}

fn hide(name: &str, attribute: &str) -> String {
    format!("access to dn.exact=\"{}\" attrs={attribute} by * none\n", dn(name))
}

/// A full refresh would delete somebody whom a missing right takes out of the filter.
#[test]
fn a_filter_that_cannot_be_decided_asks_for_the_right_and_for_no_full_refresh() {
    let mut world = world(&[]);
    world.run(&[], 3);
    allow(&mut world, &hide("grace", "employeeType"));
    let outcome = explain(&world, "grace", 1);
    ends_with(
        &outcome,
        "(!(employeeType=intern)) cannot be decided. The account may not search by employeeType: \
         give it that right. Until then a full refresh, or a run that gets all UUIDs, deletes it \
         from Kanidm, if the deletion guard agrees",
    );
    assert!(!outcome.stdout.contains("--full-refresh"), "{}", outcome.stdout);

    // What the answer says comes true: without a session log slapd sends all UUIDs.
    world.slapd.reconfigure(|options| options.sessionlog = None);
    world.slapd.change(&dn("kim"), "replace: sn\nsn: changed\n");
    let ran = world.run(&["--json"], 3);
    assert_eq!(ran.report["mode"], "incremental", "{}", ran.outcome.all());
    assert!(world.kanidm.entry(ACCOUNT, "grace").is_none());
    let outcome = explain(&world, "grace", 1);
    ends_with(&outcome, "employeeType: give it that right. The next run ignores it");

    for (part, remedy) in [
        ("nosuchattribute=1", "The directory's schema does not know nosuchattribute"),
        ("uidNumber=abc", "The directory cannot compare uidNumber with the value"),
    ] {
        world.refilter(&format!("(&(objectClass=*)(!({part})))"));
        let outcome = explain(&world, "lena", 1);
        says(&outcome, &format!("{remedy}: correct ldap_filter. The next run is a full refresh"));
        assert!(!outcome.stdout.contains("may not search"), "{}", outcome.stdout);
    }
}

/// A run learns from the directory that an entry is gone, and a hidden entry is not gone.
#[test]
fn a_hidden_entry_is_deleted_by_no_increment() {
    let mut world = world(&[]);
    world.run(&[], 3);
    let uuid = uuid_of(&world, &dn("grace"));
    allow(&mut world, &rules(&["grace"]));
    let then = "a run deletes it from Kanidm, if the deletion guard agrees, once the directory \
                reports its deletion, or with a full refresh. If it should be visible, give the \
                account the right to read it";
    for (who, has) in [
        ("grace", "If Kanidm has it, "),
        (&dn("grace"), "If Kanidm has it, "),
        (&uuid, "Kanidm has it: "),
    ] {
        let outcome = explain(&world, who, 1);
        assert_eq!(last(&outcome), format!("=> Not found. {has}{then}"));
    }
    world.run(&[], 3);
    assert!(world.kanidm.entry(ACCOUNT, "grace").is_some());
}

#[test]
fn a_hidden_object_class_hides_the_entry_by_name_as_by_dn() {
    let mut world = world(&[]);
    world.run(&[], 3);
    let uuid = uuid_of(&world, &dn("grace"));
    allow(&mut world, &hide("grace", "objectClass"));
    let told = format!(
        "The directory has {}, and hides it from the sync account cn=sync,{SUFFIX}: give that account the right to read it\n",
        dn("grace")
    );
    for who in ["grace", &dn("grace"), &uuid] {
        let outcome = explain(&world, who, 1);
        says(&outcome, &told);
        assert!(last(&outcome).starts_with("=> Not found."), "{}", outcome.stdout);
    }
}

/// The entry is right, and the account or the configuration is not.
#[test]
fn a_mandatory_attribute_that_is_hidden_needs_a_right() {
    let mut world = world(&[]);
    world.run(&[], 3);
    allow(&mut world, &hide("kim", "uid"));
    let outcome = explain(&world, &dn("kim"), 3);
    says(
        &outcome,
        "uid             ✗ no value\n                  uid: is missing\n                  hidden from the sync account\n",
    );
    ends_with(&outcome, ". Give the sync account the right to read uid");
    allow(&mut world, &(hide("ivan", "uid") + "access to attrs=displayName by * search\n"));
    let outcome = explain(&world, &dn("ivan"), 3);
    ends_with(
        &outcome,
        ". Give the sync account the right to read uid. Correct the entry in the directory",
    );
    allow(&mut world, "");
    ends_with(&explain(&world, "ivan", 3), ". Correct the entry in the directory");
    world.reconfigure(|config| config.set("person_attr_display_name", "dispalyName"));
    let outcome = explain(&world, "kim", 3);
    ends_with(
        &outcome,
        ". Correct the configuration: the directory's schema does not know dispalyName",
    );
}

/// The headline tells who cannot log in.
#[test]
fn the_headline_tells_locks_and_hidden_passwords() {
    let mut world = world(&[]);
    let lock = "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n";
    for name in ["kim", "erin"] {
        world.slapd.admin().change(&dn(name), lock);
    }
    let ended =
        "add: objectClass\nobjectClass: shadowAccount\n-\nadd: shadowExpire\nshadowExpire: 10000\n";
    world.slapd.change(&dn("grace"), ended);
    let headline = |world: &World, name: &str, words: &str| {
        let outcome = explain(world, &dn(name), 0);
        assert!(last(&outcome).starts_with(words), "{words}\n{}", outcome.stdout);
    };
    let kim = "locked in the directory (pwdAccountLockedTime). ";
    headline(&world, "kim", &format!("=> On its way to Kanidm, and {kim}The next run"));
    let erin = hide("erin", "pwdAccountLockedTime");
    allow(&mut world, &erin);
    world.run(&[], 3);
    let leaves = "The next run leaves it as it is";
    let kim = format!("=> In Kanidm, and locked there (pwdAccountLockedTime). {leaves}");
    headline(&world, "kim", &kim);
    let ended = "=> In Kanidm, and ended at 1997-05-19T00:00:00Z there (shadowExpire). ";
    headline(&world, "grace", &format!("{ended}{leaves}"));
    headline(&world, "lena", &format!("=> In Kanidm. {leaves}"));
    let outcome = explain(&world, "erin", 0);
    says(&outcome, "account         open, as far as the sync account can see\n");
    says(
        &outcome,
        "pwdAccountLockedTime: hidden from the sync account, so a lock there is not copied\n",
    );

    allow(&mut world, &hide("lena", "userPassword"));
    headline(
        &world,
        "lena",
        &format!(
            "=> In Kanidm, but the sync account cannot read userpassword: give it that right, or no password is copied. {leaves}"
        ),
    );
    // An increment does not read a lock that came into view.
    let erin = "=> In Kanidm, and locked in the directory (pwdAccountLockedTime). It has not changed since the last run, and no run is known to have written the lock. Only a full refresh brings it: run once with --full-refresh";
    headline(&world, "erin", erin);
    world.run(&[], 3);
    headline(&world, "erin", erin);
    world.run(&["--full-refresh"], 3);
    headline(&world, "erin", &kim);
}

/// One line for cron: the DN and the last line.
#[test]
fn quiet_prints_the_last_line_alone() {
    let world = world(&[]);
    world.run(&[], 3);
    let quiet = |who: &str, code: i32| {
        run_command(world.tool.command().args(["-q", "--explain", who])).expect_code(code).stdout
    };
    for (who, code) in [("grace", 0), ("dave", 1), ("1heidi", 3)] {
        let told = last(&explain(&world, who, code)).to_owned();
        assert_eq!(quiet(who, code), format!("{} {told}\n", dn(who)));
    }
    assert_eq!(quiet("nobody", 1).lines().count(), 1);
    assert!(quiet("nobody", 1).starts_with("=> Not found. "));
    assert!(quiet("grace", 0).contains(" => In Kanidm. The next run"));
}

/// Kanidm drops a member that it does not have.
#[test]
fn a_member_that_kanidm_does_not_have_is_counted_apart() {
    let world = world(&[]);
    world.run(&[], 3);
    world.kanidm.create_person("local1", None, None);
    world.slapd.modify(&person("local1", SHOWN));
    let team = format!("cn=team,ou=groups,{SUFFIX}");
    world.slapd.change(&team, &format!("add: member\nmember: {}\n", dn("local1")));
    let outcome = explain(&world, "team", 0);
    says(&outcome, "members         6 named, 2 resolve, 1 not in Kanidm yet\n");
    says(&outcome, &format!("! {}: no earlier run has written it yet\n", dn("local1")));
    world.run(&[], 3);
    let outcome = explain(&world, "team", 0);
    says(&outcome, "members         6 named, 2 resolve, 1 not in Kanidm yet\n");
    let held = "held by an earlier run, so Kanidm does not have it";
    says(&outcome, &format!("! {}: {held}\n", dn("local1")));
    let json = super::json(&world, "team", 0);
    let listed = json["entries"][0]["members"]["listed"].as_array().unwrap();
    let waits = listed.iter().filter(|member| member["waits"] == true);
    assert!(waits.clone().all(|member| member["resolves"] == false));
    assert_eq!(waits.count(), 1);
    // The person itself: where Kanidm's reason is.
    let outcome = explain(&world, "local1", 3);
    ends_with(&outcome, "its log names Kanidm's reason: search it for \"held back\" and the DN");
}

/// What the state knows about a held entry, and no more.
#[test]
fn an_older_copy_is_told_from_an_entry_that_may_be_empty() {
    let world = world(&[]);
    world.run(&[], 3);
    says(
        &explain(&world, "1heidi", 3),
        "held since a full refresh; Kanidm has an entry with its UUID, which is empty unless a run wrote it before\n",
    );
    world.slapd.change(&dn("kim"), "replace: uid\nuid: 2kim\n");
    world.run(&[], 3);
    let outcome = explain(&world, "2kim", 3);
    says(&outcome, "held since an incremental run; Kanidm keeps an older copy\n");
}

#[test]
fn another_class_can_be_added_or_corrected() {
    let world = world(&[]);
    let outcome = explain(&world, "frank", 1);
    ends_with(
        &outcome,
        ". If it should be in Kanidm, add account to person_objectclass or group_objectclass, or correct the entry",
    );
}

/// Lock attributes of other directories are no fault of this one.
#[test]
fn the_schema_tells_hidden_attributes_from_unknown_ones() {
    let mut world = world(&[]);
    let outcome = explain(&world, "kim", 0);
    says(&outcome, "account         open\n  groups ");
    assert!(!outcome.stdout.contains("sambaAcctFlags"), "{}", outcome.stdout);
    allow(&mut world, "access to attrs=shadowExpire by * none\n");
    let outcome = explain(&world, "kim", 0);
    says(&outcome, "                  shadowExpire: hidden from the sync account");
    // Without a right to read the schema nobody can tell.
    world.slapd.reconfigure(|options| {
        options.extra_global =
            "access to dn.base=\"cn=Subschema\" by * none\naccess to * by * read\n".to_owned();
    });
    let outcome = explain(&world, "kim", 0);
    says(
        &outcome,
        "                  krbPrincipalExpiration, nsAccountLock, sambaAcctFlags, shadowExpire: hidden, or not known to the directory's schema, which is no fault\n",
    );
}

const PASSWORD: &str = "userPassword: {CRYPT}$6$labsalt0$RsbIflLehn.LXEng8MVX3jS21dL/qJY68xO8UiQJRB7Jo.iBREFPPvNDPQNJEab5tEICR0DzH820XGuqmmtOH/\n";

/// A bad token is no value that another entry has. seeAlso can name several tokens.
#[test]
fn a_person_without_its_token() {
    let token = |name: &str| format!("cn={name},ou=groups,{SUFFIX}");
    let with_tokens = |name: &str, tokens: &[&str]| {
        let tokens: String =
            tokens.iter().map(|name| format!("seeAlso: {}\n", token(name))).collect();
        person(name, &format!("displayName: x\n{PASSWORD}{tokens}"))
    };
    let params = format!(
        "dn: {}\nobjectClass: organizationalRole\nobjectClass: oathTOTPParams\ncn: params\noathHMACAlgorithm: 1.2.840.113549.2.7\n\
         oathOTPLength: 6\noathTOTPTimeStepPeriod: 30\noathTOTPTimeStepWindow: 3\n\n",
        token("params")
    );
    let good = format!(
        "dn: {}\nobjectClass: organizationalRole\nobjectClass: oathTOTPToken\ncn: good\noathSecret: 12345678901234567890\noathTOTPParams: {}\n\n",
        token("good"),
        token("params")
    );
    let seed = Seed::Content(
        [
            with_tokens("alice", &["gone"]),
            with_tokens("bob", &["good", "gone"]),
            person("carol", SHOWN),
            group("team", &[dn("alice")]),
            params,
            good,
        ]
        .concat(),
    );
    let options =
        SlapdOptions { seed, otp: true, sessionlog: Some(100), ..SlapdOptions::default() };
    let world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| {
        config
            .set("person_objectclass", "inetOrgPerson")
            .set("person_attr_display_name", "displayName")
            .set("person_attr_totp", "seeAlso")
    });
    let ran = world.run(&["--json"], 3);
    assert!(!ran.outcome.all().contains("another entry has"), "{}", ran.outcome.all());
    let words = "without a value that waits for another entry";
    assert!(ran.outcome.all().contains(words), "{}", ran.outcome.all());
    for (name, what) in [("alice", "the token and the password"), ("bob", "one of its tokens")] {
        let outcome = explain(&world, name, 0);
        says(&outcome, &format!("since a full refresh it is there without {what}\n"));
        ends_with(&outcome, &format!("Kanidm has it without {what}. Each run tries again"));
        assert!(!outcome.stdout.contains("another entry"), "{}", outcome.stdout);
    }
    let read =
        "it is a TOTP token or its parameters, and runs read it for the persons that name it";
    for name in ["good", "params"] {
        let told = "=> Not in scope: ldap_filter rejects it: (|(objectClass=inetOrgPerson)";
        let outcome = explain(&world, &token(name), 1);
        assert!(last(&outcome).starts_with(told), "{}", outcome.stdout);
        ends_with(&outcome, &format!(", and {read}"));
    }
    let mut world = world;
    world.rebase(&format!("ou=people,{SUFFIX}"));
    let outcome = explain(&world, &token("good"), 1);
    ends_with(&outcome, &format!("ldap_sync_base_dn = ou=people,{SUFFIX}, and {read}"));
    world.rebase(SUFFIX);
    world.refilter("(|(objectClass=inetOrgPerson)(objectClass=oathTOTPToken))");
    let outcome = explain(&world, &token("good"), 1);
    let sends = "A change of it makes the next run send these persons";
    assert_eq!(last(&outcome), format!("=> Not in scope: {read}. {sends}"));
}
