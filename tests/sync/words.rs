//! What a run says where something is odd in the directory or in the configuration: one sentence,
//! in the run and in `--check`. On a real slapd and the real Kanidm engine.

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, FILTER, World};

fn options() -> SlapdOptions {
    let seed = Seed::Generated(SeedOptions {
        users: 12,
        groups: 4,
        specials: false,
        ..SeedOptions::default()
    });
    SlapdOptions { seed, sessionlog: Some(100), ..SlapdOptions::default() }
}

/// Says it in the run, which ends with this exit code, and in the check.
fn says(world: &World, code: i32, words: &str) {
    let ran = world.run(&["--full-refresh"], code);
    ran.outcome.says(words);
    let check = world.tool.run(&["--check"]).expect_code(0);
    assert!(check.stdout.contains(words), "{words}\n{}", check.stdout);
}

/// The lines of a dry run that are about deletions.
fn deletions(world: &World) -> Vec<String> {
    let outcome = world.tool.run(&["--dry-run"]);
    outcome.stdout.lines().filter(|line| line.starts_with("delete ")).map(str::to_owned).collect()
}

#[test]
fn a_dry_run_names_who_goes_and_nobody_who_was_never_there() {
    let mut world = World::new(options());
    let first = world.tool.run(&["--dry-run"]).expect_code(0).stdout;
    let rest = format!(
        "delete every entry that this sync account has in Kanidm, except {} that the directory shows; \
         the deleted ones cannot be named, because no earlier run left a list of them\n",
        world.directory().len()
    );
    assert!(first.contains(&rest), "{first}");
    world.run(&[], 0);
    let never = |n: usize| format!("uid={n}bad,ou=people,{SUFFIX}");
    let person = |n: usize| {
        format!(
            "dn: {}\nchangetype: add\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: {n}bad\ncn: Bad\nsn: Bad\n\
             uidNumber: {n}\ngidNumber: 100\nhomeDirectory: /\n\n",
            never(n)
        )
    };
    world.slapd.modify(&(1..=6).map(person).collect::<String>());
    world.run(&[], 3);
    let uuid = |n: usize| world.kanidm.entry(ACCOUNT, &user_name(n)).unwrap().uuid;
    let (gone, leaves) = (uuid(1), uuid(2));
    let delete = |dn: String| format!("dn: {dn}\nchangetype: delete\n\n");
    world.slapd.modify(&(1..=6).map(never).chain([user_dn(1)]).map(delete).collect::<String>());
    let account = ["uidNumber", "gidNumber", "homeDirectory", "loginShell", "gecos"]
        .map(|name| format!("-\ndelete: {name}\n"))
        .concat();
    world
        .slapd
        .change(&user_dn(2), &format!("delete: objectClass\nobjectClass: posixAccount\n{account}"));
    let mut expected = vec![
        format!("delete person {gone} (not found in the directory)"),
        format!("delete person {} ({leaves})", user_dn(2)),
    ];
    expected.sort();
    for arguments in [&["--dry-run"][..], &["--dry-run", "--full-refresh"]] {
        let outcome = world.tool.run(arguments).expect_code(0);
        let mut lines: Vec<&str> =
            outcome.stdout.lines().filter(|line| line.starts_with("delete ")).collect();
        lines.sort_unstable();
        assert_eq!(lines, expected, "{arguments:?}");
        outcome.says(", 2 deleted, 0 held");
    }
    world.run(&[], 0);
    // The guard says it in the same way.
    world.refilter(&format!("(&{FILTER}(!(uid=user0000*)))"));
    let outcome = world.tool.run(&[]).expect_code(4);
    outcome.says(&format!("{} (", user_dn(3)));
    assert_eq!(deletions(&world).len(), 0, "refused");
}

#[test]
fn that_no_member_is_found() {
    // Members are DNs, and the schema says that they are user names.
    let world = World::with(options(), GROUPS_OF_NAMES, FILTER, |config| {
        config.set("group_attr_schema", "rfc2307").set("group_attr_member", "member")
    });
    says(
        &world,
        0,
        "members that groups name is synchronised. Check group_attr_schema, group_attr_member and ldap_filter",
    );
}

#[test]
fn that_members_are_in_an_attribute_that_is_not_read() {
    let filter = "(|(objectClass=posixAccount)(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))";
    let classes =
        ["groupOfNames", "groupOfUniqueNames", "posixGroup"].map(toml::Value::from).to_vec();
    let mut world = World::with(options(), GROUPS_OF_NAMES, filter, |config| {
        config.set("group_objectclass", toml::Value::Array(classes))
    });
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: add\nobjectClass: groupOfUniqueNames\ncn: unique\nuniqueMember: {}\n\n",
        group_dn("unique"),
        user_dn(1)
    ));
    says(
        &world,
        0,
        "1 group has members only in uniqueMember, which is not mapped. group_attr_member = [\"member\", \"uniqueMember\"] reads both",
    );
    let names = "groups have members only in memberUid, which is not mapped. group_attr_schema = \"rfc2307\" with group_attr_member";
    says(&world, 0, names);
    let both = ["member", "uniqueMember"].map(toml::Value::from).to_vec();
    world.reconfigure(|config| config.set("group_attr_member", toml::Value::Array(both)));
    let ran = world.run(&["--full-refresh"], 0);
    assert!(!ran.outcome.stderr.contains("uniqueMember"), "{}", ran.outcome.stderr);
}

#[test]
fn that_a_name_is_one_of_kanidms_own() {
    let world = World::with(options(), GROUPS_OF_NAMES, FILTER, |config| config);
    world.run(&[], 0);
    let group = |name: &str| {
        format!(
            "dn: {}\nchangetype: add\nobjectClass: groupOfNames\ncn: {name}\nmember: {}\n\n",
            group_dn(name),
            user_dn(1)
        )
    };
    world.slapd.modify(&group("idm_admins"));
    for arguments in [&[][..], &["--full-refresh"]] {
        let ran = world.run(arguments, 3);
        let words = "the name \"idm_admins\" is that of an account or group of Kanidm's own: give this entry another name with map_name";
        ran.outcome.says(words);
        assert!(!ran.outcome.stderr.contains("`--full-refresh`"), "{}", ran.outcome.stderr);
    }
}

/// A provider that has not heard of changes which were read elsewhere, and has no other ones.
#[test]
fn that_a_directory_with_nothing_new_is_older() {
    let world = World::new(options());
    world.run(&[], 0);
    let words = "the directory is older than what was read before: it lags behind its provider, or was restored";
    let ran = world.run(&[], 0);
    assert!(
        !ran.outcome.stderr.contains(words) && ran.report["directory_is_older"] == false,
        "{}",
        ran.outcome.stderr
    );
    world.change_cookie(|cookie| {
        [&cookie[..], b";20991231000000.000000Z#000000#001#000000"].concat()
    });
    let ran = world.run(&[], 0);
    assert!(
        ran.outcome.stderr.contains(words) && ran.report["directory_is_older"] == true,
        "{}",
        ran.outcome.stderr
    );
}

/// syncprov on a database that is glued below another one answers besides that one.
#[test]
fn that_the_order_of_overlays_is_wrong() {
    let folder = crate::support::temp::TempDir::new("glued");
    let glued = format!(
        "database mdb\nsuffix \"ou=glued,{SUFFIX}\"\nsubordinate\ndirectory {}\nrootdn \"cn=admin,{SUFFIX}\"\noverlay syncprov\n",
        folder.path().display()
    );
    let mut world = World::new(options());
    world.slapd.reconfigure(|options| options.extra_global = glued);
    let ran = world.run(&[], 1);
    ran.outcome.says("Put syncprov above glue");
}
