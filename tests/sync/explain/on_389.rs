//! The same questions on a real 389 Directory Server.

use super::{FILTER, content, dn, explain};
use crate::support::ds389::Ds389Options;
use crate::support::seed::{SUFFIX, Seed};
use crate::support::world::{ACCOUNT, Between, World389};

/// 389 tells less than slapd about changes, and more about hidden entries.
#[test]
fn on_389() {
    let options = Ds389Options { seed: Seed::Content(content()), ..Ds389Options::default() };
    let mut world = World389::with(options, FILTER, |config| {
        config
            .set("person_objectclass", "inetOrgPerson")
            .set("person_attr_display_name", "displayName")
            .set("group_objectclass", vec!["groupOfNames".to_owned(), "posixGroup".to_owned()])
    });
    let alice = world.admin.entry(&dn("alice")).unwrap().text("nsUniqueId").unwrap().to_owned();
    world.run(&[], 3);
    let says = |world: &Between, who: &str, code: i32, words: &[&str]| {
        let outcome = explain(world, who, code);
        for words in words {
            assert!(outcome.stdout.contains(words), "{who}: {words}\n{}", outcome.stdout);
        }
    };
    let simple = alice.replace('-', "");
    let unchanged = "=> In Kanidm. It went without a value: mail: must be";
    for who in [&alice, &simple, &dn("alice")] {
        says(&world, who, 0, &[unchanged, "leaves it as it is: it has not changed"]);
    }
    says(
        &world,
        "dave",
        1,
        &["✗ (!   <- rejects it", "ldap_filter rejects it: (!(employeeType=intern))"],
    );
    says(&world, "1heidi", 3, &["=> Held: uid: must be", "An earlier run held it already"]);
    says(&world, "team", 0, &["5 named, 2 resolve", "is rejected by ldap_filter"]);
    says(&world, "nobody", 1, &["=> Not found"]);
    // It takes an attribute for absent that its schema does not know.
    let judy = explain(&world, "judy", 3).stdout;
    assert!(!judy.contains("krbPrincipalExpiration"), "{judy}");
    let private = "=> Not in scope: it is the private group of the user with its name";
    says(&world, &format!("cn=alice,ou=groups,{SUFFIX}"), 1, &[private]);

    world.admin.change(&dn("lena"), "replace: nsAccountLock\nnsAccountLock: true\n");
    says(
        &world,
        "lena",
        0,
        &[
            "account         locked",
            "nsAccountLock locks the account",
            "The next run writes it if it has changed since the last one",
        ],
    );
    world.run(&[], 3);
    says(&world, "lena", 0, &["leaves it as it is: it has not changed"]);

    // 389 does not report that an entry leaves the filter.
    world.admin.change(&dn("lena"), "replace: employeeType\nemployeeType: intern\n");
    let only_full =
        "Kanidm still has it. Only a full refresh notices that: run once with --full-refresh";
    says(&world, "lena", 1, &["ldap_filter rejects it", only_full]);
    world.run(&[], 3);
    assert!(world.kanidm.entry(ACCOUNT, "lena").is_some());
    says(&world, "lena", 1, &[only_full]);
    world.reconfigure(|config| config.set("full_refresh_schedule", "0 30 2 * * * *"));
    says(
        &world,
        "lena",
        1,
        &["Only a full refresh notices that: full_refresh_schedule brings one"],
    );
    world.run(&["--full-refresh"], 3);
    assert!(world.kanidm.entry(ACCOUNT, "lena").is_none());
    says(&world, "lena", 1, &["The next run ignores it"]);

    let deny = |target: &str, attributes: &str| {
        format!(
            "add: aci\naci: (target=\"ldap:///{target}\")(targetattr=\"{attributes}\")(version 3.0; acl \"hide\"; \
             deny(all) userdn=\"ldap:///cn=sync,{SUFFIX}\";)\n"
        )
    };
    world.admin.change(SUFFIX, &deny(&dn("erin"), "*"));
    says(&world, &dn("erin"), 1, &["hides it from the sync account", "=> Not found"]);
    says(&world, "erin", 1, &["=> Not found"]);
    world.admin.change(SUFFIX, &deny(&dn("kim"), "uid || employeeType"));
    says(
        &world,
        &dn("kim"),
        1,
        &[
            "(!(employeeType=intern)) cannot be decided. The account may not search by employeeType: give it that right. Until then a full refresh deletes it",
            "uid: is missing\n                  hidden from the sync account\n",
        ],
    );
    world.reconfigure(|config| config.set("ldap_sync_base_dn", format!("ou=people,{SUFFIX}")));
    says(&world, "judy", 0, &["=> In Kanidm. The next run is a full refresh"]);
    says(&world, "judy2", 1, &["it is outside ldap_sync_base_dn"]);

    // Tables have 389's spelling, and Kanidm's UUID finds the entry.
    let judy = world.admin.entry(&dn("judy")).unwrap().text("nsUniqueId").unwrap().to_owned();
    let other = "0123abcd-0123-4123-8123-0123456789ab";
    world.reconfigure(|config| {
        config
            .set_in(&alice, "exclude", true)
            .set_in(&judy, "map_name", "judith")
            .set_in(&judy, "map_uuid", other)
    });
    says(
        &world,
        "alice",
        1,
        &["=> Not in scope: its table in the configuration has exclude = true"],
    );
    for who in ["judith", other] {
        says(&world, who, 0, &["✓ \"judy\" -> judith", &format!("in Kanidm {other} (map_uuid)")]);
    }
}
