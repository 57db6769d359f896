//! Access that the directory takes away ends in Kanidm, however the directory says it, and one bad
//! value holds up nothing else. On a real slapd and the real Kanidm engine.

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::kanidm::KanidmEntry;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_name, user_number};
use crate::support::slapd::SlapdOptions;
use crate::support::tool::ConfigText;
use crate::support::world::{ACCOUNT, FILTER, World};

const USERS: usize = 12;

fn seed() -> Seed {
    Seed::Generated(SeedOptions {
        users: USERS,
        groups: 4,
        specials: false,
        ..SeedOptions::default()
    })
}

/// After a first refresh.
fn world(configure: impl FnOnce(ConfigText) -> ConfigText) -> World {
    let options = SlapdOptions {
        seed: seed(),
        sessionlog: Some(100),
        extra_global: SAMBA.to_owned(),
        ..SlapdOptions::default()
    };
    started(World::with(options, GROUPS_OF_NAMES, FILTER, configure))
}

/// The same, with members by user name.
fn rfc2307() -> World {
    started(World::rfc2307(SlapdOptions {
        seed: seed(),
        sessionlog: Some(100),
        ..SlapdOptions::default()
    }))
}

fn started(world: World) -> World {
    world.run(&[], 0);
    world
}

/// Of Samba's schema, which Debian's slapd does not bring.
const SAMBA: &str = "attributetype ( 1.3.6.1.4.1.7165.2.1.26 NAME 'sambaAcctFlags' EQUALITY caseIgnoreIA5Match \
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.26{16} SINGLE-VALUE )\n\
    objectclass ( 1.3.6.1.4.1.7165.2.2.6 NAME 'sambaSamAccount' SUP top AUXILIARY MAY sambaAcctFlags )\n";

const PASSWORD: &str = "Passw0rd-user00001";

fn user(world: &World, number: usize) -> KanidmEntry {
    world.kanidm.entry(ACCOUNT, &user_name(number)).unwrap()
}

/// How many members a group has in Kanidm.
fn members(world: &World, group: &str) -> usize {
    world.kanidm.entry(ACCOUNT, group).unwrap().member.len()
}

/// The stored password of the first user.
fn hash(world: &World) -> String {
    let entries = world.slapd.search(&user_dn(1), "(objectClass=*)", &["userPassword"]);
    String::from_utf8(entries[0].values("userPassword")[0].clone()).unwrap()
}

#[test]
fn a_mark_in_the_password_ends_the_account_at_once_and_until_it_goes() {
    let world = world(|config| config);
    let hash = hash(&world);
    let bare = hash.split_once('}').unwrap().1;
    for locked in [
        format!("!{hash}"),
        format!("{{SSHA}}!{bare}"),
        "{CRYPT}!$6$salt$hash".to_owned(),
        "{CRYPT}*".to_owned(),
    ] {
        world.slapd.change(&user_dn(1), &format!("replace: userPassword\nuserPassword: {locked}"));
        world.run(&[], 0);
        assert_eq!(
            user(&world, 1).account_expire.as_deref(),
            Some("1970-01-01T00:00:00Z"),
            "{locked}"
        );
        assert!(!world.kanidm.verify_password(&user_name(1), PASSWORD), "{locked}");
        world.slapd.change(&user_dn(1), &format!("replace: userPassword\nuserPassword: {hash}"));
        world.run(&[], 0);
        assert_eq!(user(&world, 1).account_expire, None, "{locked}");
        assert!(world.kanidm.verify_password(&user_name(1), PASSWORD), "{locked}");
    }
}

#[test]
fn sambas_flag_for_a_disabled_account_ends_it() {
    let world = world(|config| config);
    for (change, locked) in [
        (
            "add: objectClass\nobjectClass: sambaSamAccount\n-\nadd: sambaAcctFlags\nsambaAcctFlags: [UD         ]\n",
            true,
        ),
        ("replace: sambaAcctFlags\nsambaAcctFlags: [U          ]\n", false),
        ("replace: sambaAcctFlags\nsambaAcctFlags: [UXD        ]\n", true),
        ("delete: sambaAcctFlags\n", false),
    ] {
        world.slapd.change(&user_dn(1), change);
        world.run(&[], 0);
        assert_eq!(user(&world, 1).account_expire.is_some(), locked, "{change}");
    }
}

/// A lock by a mark in the password goes out of sight with the password.
#[test]
fn a_marked_password_that_is_hidden_unlocks_nobody() {
    let mut world = world(|config| config);
    world.slapd.change(&user_dn(1), "replace: userPassword\nuserPassword: !{SSHA}locked");
    world.run(&[], 0);
    world.slapd.reconfigure(|options| {
        options.extra_database =
            "access to attrs=userPassword by anonymous auth by * none\n".to_owned()
    });
    world.slapd.change(&user_dn(1), "replace: cn\ncn: Still locked");
    for arguments in [&[][..], &["--full-refresh"]] {
        world
            .run(arguments, 4)
            .outcome
            .says("userpassword locked 1 person, and the sync account cannot read it any more");
        assert!(user(&world, 1).account_expire.is_some());
    }
}

#[test]
fn a_unix_password_ends_with_the_password() {
    let world = world(|config| config.set("sync_password_as_unix_password", true));
    let may = || {
        [
            world.kanidm.verify_password(&user_name(1), PASSWORD),
            world.kanidm.verify_unix_password(&user_name(1), PASSWORD),
        ]
    };
    let hash = hash(&world);
    assert_eq!(may(), [true, true]);
    world.slapd.change(&user_dn(1), "delete: userPassword");
    for arguments in [&[][..], &["--full-refresh"]] {
        world.run(arguments, 0);
        assert_eq!(may(), [false, false], "{arguments:?}");
    }
    world.slapd.change(&user_dn(1), &format!("add: userPassword\nuserPassword: {hash}"));
    world.run(&[], 0);
    assert_eq!(may(), [true, true]);
    // A hash that Kanidm cannot import ends the one before.
    world.slapd.change(
        &user_dn(1),
        "replace: userPassword\nuserPassword: {MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==\n",
    );
    world.run(&[], 3).outcome.says("Kanidm does not import {MD5}");
    assert_eq!(may(), [false, false]);
}

/// One of each kind of bad value; with each comes a revocation.
const BAD: [(usize, &str); 3] =
    [(1, "mail: someone at home"), (7, "loginShell:: L2Jpbi8BcwA="), (10, "sshPublicKey: no key")];
/// The hash of a password that nobody has told.
const OTHER_PASSWORD: &str = "sLRx2RD53fUcGsJIySAwPUKAJAGpm4TW1v7ZIg==";

#[test]
fn a_revocation_does_not_wait_for_a_bad_value() {
    let world = world(|config| config);
    let team = group_dn("team001");
    let before = members(&world, "team001");
    for (number, bad) in BAD {
        let (attribute, _) = bad.split_once(':').unwrap();
        let add = if attribute == "loginShell" { "replace" } else { "add" };
        let change = format!(
            "{add}: {attribute}\n{bad}\n-\nreplace: userPassword\nuserPassword: {{SSHA}}{}\n",
            OTHER_PASSWORD
        );
        world.slapd.change(&user_dn(number), &change);
    }
    world.slapd.change(&user_dn(4), "delete: sshPublicKey\n-\nadd: mail\nmail: someone at home");
    let member =
        world.slapd.search(&team, "(objectClass=*)", &["member"])[0].values("member")[0].clone();
    let member = String::from_utf8(member).unwrap();
    world.slapd.change(
        &team,
        &format!("delete: member\nmember: {member}\n-\nreplace: description\ndescription:: YQFi\n"),
    );
    let ran = world.run(&[], 3);
    for (number, attribute) in [(1, "mail"), (7, "loginshell"), (10, "sshpublickey"), (4, "mail")] {
        ran.outcome.says(&format!("left out of {} (", user_dn(number)));
        ran.outcome.says(&format!("): {attribute}: "));
    }
    ran.outcome.says(&format!("left out of {team} ("));
    ran.outcome.says(
        "5 entries sent without a bad value; they are named above. \
         That is few enough for Ok on the status port",
    );
    assert_eq!(ran.report["held"].as_array().unwrap().len(), 0);
    for (number, _) in BAD {
        assert!(
            !world
                .kanidm
                .verify_password(&user_name(number), &format!("Passw0rd-{}", user_name(number))),
            "{number}"
        );
    }
    assert!(user(&world, 4).ssh_publickey.is_empty());
    assert_eq!(members(&world, "team001"), before - 1);

    // Every run names them, and sends nothing of what is as it was.
    world.kanidm.clear_log();
    for _ in 0..2 {
        let ran = world.run(&[], 3);
        assert_eq!(ran.report["dropped"].as_array().unwrap().len(), 5, "{:#}", ran.report);
    }
    assert_eq!(world.kanidm.posts().len(), 0);
    world.run(&["--full-refresh"], 3);
    world.slapd.change(&user_dn(1), "delete: mail\nmail: someone at home");
    let ran = world.run(&[], 3);
    let mut warnings = ran.outcome.stderr.lines().filter(|line| line.contains(" WARN "));
    assert!(!warnings.any(|line| line.contains(&user_dn(1))), "{}", ran.outcome.stderr);
}

#[test]
fn with_hold_the_run_says_what_stays_valid() {
    let world = world(|config| config.set("invalid_entries", "hold"));
    world.slapd.change(&user_dn(4), "add: mail\nmail: someone at home\n-\ndelete: sshPublicKey");
    world.slapd.change(&group_dn("team001"), "replace: description\ndescription:: YQFi");
    let keys = user(&world, 4).ssh_publickey;
    let ran = world.run(&[], 3);
    ran.outcome.says(
        "1 person held back: their old passwords, SSH keys and addresses stay valid in Kanidm \
         until the entries are mended",
    );
    ran.outcome.says("1 group held back: their old members stay valid in Kanidm");
    assert!(!keys.is_empty() && user(&world, 4).ssh_publickey == keys);
}

#[test]
fn values_that_need_no_complaint_get_none() {
    let world = world(|config| config);
    let text = |text: &str| world.slapd.modify(text);
    // "Two\nLines\t", "{SSHA}…\n"
    text(&format!("dn: {}\nchangetype: modify\nreplace: cn\ncn:: VHdvCkxpbmVzCQ==\n", user_dn(1)));
    text(&format!(
        "dn: {}\nchangetype: modify\nreplace: description\ndescription:: VHdvCkxpbmVz\n",
        group_dn("team001")
    ));
    text(&format!(
        "dn: {}\nchangetype: modify\nreplace: mail\nmail:: IHVzZXIwMDAwMkBleGFtcGxlLmNvbQ==\n",
        user_dn(2)
    ));
    let ran = world.run(&[], 0);
    assert!(!ran.outcome.stderr.contains("left out"), "{}", ran.outcome.stderr);
    assert_eq!(user(&world, 1).displayname.as_deref(), Some("Two Lines"));
    assert_eq!(
        world.kanidm.entry(ACCOUNT, "team001").unwrap().description.as_deref(),
        Some("Two Lines")
    );
}

#[test]
fn a_second_user_name_renames_nobody_and_memberuid_finds_both() {
    let world = rfc2307();
    let group = "proj001";
    let gid = 341_000;
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: add\nobjectClass: posixGroup\ncn: {group}\ngidNumber: {gid}\nmemberUid: nick\nmemberUid: {}\n\n",
        group_dn(group),
        user_name(2)
    ));
    world.run(&[], 0);
    assert_eq!(members(&world, group), 1);
    let uuid = user(&world, 1).uuid;
    // The alias first: slapd appends what is added.
    world.slapd.change(
        &user_dn(1),
        &format!("delete: uid\nuid: {0}\n-\nadd: uid\nuid: nick\nuid: {0}\n", user_name(1)),
    );
    for arguments in [&[][..], &["--full-refresh"]] {
        world.run(arguments, 0);
        assert_eq!((user(&world, 1).uuid, members(&world, group)), (uuid, 2), "{arguments:?}");
    }
    world.slapd.change(&group_dn(group), &format!("add: memberUid\nmemberUid: {}", user_name(1)));
    world.run(&[], 0);
    assert_eq!(members(&world, group), 2, "both names are one person's");
    world.slapd.change(&user_dn(1), "delete: uid\nuid: nick");
    world.run(&[], 0);
    assert_eq!(user(&world, 1).uuid, uuid);
}

#[test]
fn a_group_whose_number_is_a_persons_is_kept() {
    let world = rfc2307();
    let number = 341_500;
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: add\nobjectClass: posixGroup\ncn: staff\ngidNumber: {number}\n\n",
        group_dn("staff")
    ));
    world.run(&[], 0);
    let staff = world.kanidm.entry(ACCOUNT, "staff").unwrap().uuid;
    world.slapd.modify(&format!(
        "dn: uid=new,ou=people,{SUFFIX}\nchangetype: add\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: new\ncn: New\n\
         sn: New\nuidNumber: {number}\ngidNumber: 100\nhomeDirectory: /\n\n"
    ));
    for arguments in [&[][..], &[], &["--full-refresh"]] {
        let ran = world.run(arguments, 3);
        assert_eq!(
            world.kanidm.entry(ACCOUNT, "staff").unwrap().uuid,
            staff,
            "{}",
            ran.outcome.stderr
        );
        ran.outcome.says(&number.to_string());
    }
}

#[test]
fn members_in_another_unicode_form_are_members() {
    let world = world(|config| config);
    let zoe = |form: &str| format!("uid=zo{form},ou=people,{SUFFIX}");
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: add\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: zo\u{eb}\nuid: zoe\ncn: Zoe\nsn: Zoe\n\
         uidNumber: 341600\ngidNumber: 100\nhomeDirectory: /\n\n",
        zoe("\u{eb}")
    ));
    // The name in the DN is none for Kanidm.
    let uuid = world.slapd.search(&zoe("\u{eb}"), "(objectClass=*)", &["entryUUID"])[0]
        .values("entryUUID")[0]
        .clone();
    let mut world = world;
    world.reconfigure(|config| config.set_in(str::from_utf8(&uuid).unwrap(), "map_name", "zoe"));
    world.run(&[], 0);
    let before = members(&world, "team001");
    world.slapd.change(&group_dn("team001"), &format!("add: member\nmember: {}", zoe("e\u{308}")));
    for arguments in [&[][..], &["--full-refresh"]] {
        world.run(arguments, 0);
        assert_eq!(members(&world, "team001"), before + 1, "{arguments:?}");
    }
}

#[test]
fn members_come_from_both_attributes_of_a_list() {
    let filter =
        "(|(objectClass=posixAccount)(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))";
    let options = SlapdOptions { seed: seed(), sessionlog: Some(100), ..SlapdOptions::default() };
    let world = started(World::with(options, GROUPS_OF_NAMES, filter, |config| {
        let both = toml::Value::Array(vec!["member".into(), "uniqueMember".into()]);
        config.set("group_attr_member", both).set(
            "group_objectclass",
            toml::Value::Array(vec!["groupOfNames".into(), "groupOfUniqueNames".into()]),
        )
    }));
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: add\nobjectClass: groupOfUniqueNames\ncn: unique\nuniqueMember: {}\n\n",
        group_dn("unique"),
        user_dn(1)
    ));
    world.run(&[], 0);
    assert_eq!((members(&world, "unique"), members(&world, "team001") > 0), (1, true));
    // Who changes is looked for in both.
    world.slapd.rename(&user_dn(1), "uid=renamed");
    world.slapd.change(
        &group_dn("unique"),
        &format!("replace: uniqueMember\nuniqueMember: uid=renamed,ou=people,{SUFFIX}\n"),
    );
    world.run(&[], 0);
    assert_eq!(members(&world, "unique"), 1);
}

/// slapd finds an `inetOrgPerson` by `(objectClass=person)`, though the entry does not name it.
#[test]
fn who_is_a_person_to_the_directory_is_one_to_kanidm() {
    let filter = "(|(&(objectClass=person)(uid=*))(objectClass=groupOfNames))";
    let world = World::with(
        SlapdOptions { seed: seed(), ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        filter,
        |config| config.without("person_objectclass"),
    );
    world
        .slapd
        .modify(&format!("dn: uid=new,ou=people,{SUFFIX}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: new\ncn: New\nsn: New\n\n"));
    let ran = world.tool.run(&["--json"]).expect_code(0);
    assert!(world.kanidm.entry(ACCOUNT, "new").is_some(), "{}", ran.stderr);
}

#[test]
fn a_yielded_attribute_is_left_out_and_said_once() {
    for at_once in [10_000, 3] {
        let world = world(|config| config.set("upload_max_entries", at_once));
        world.kanidm.yield_attributes(ACCOUNT, &["mail"]);
        let change = |number: usize, name: &str| {
            world.slapd.change(&user_dn(number), &format!("replace: cn\ncn: {name}"))
        };
        change(1, "First");
        change(2, "Second");
        let words =
            "mail is yielded to Kanidm for this sync account, so it is left out of every entry";
        let ran = world.run(&[], 0);
        ran.outcome.says(words);
        assert_eq!(
            (user(&world, 1).displayname.as_deref(), user(&world, 2).displayname.as_deref()),
            (Some("First"), Some("Second"))
        );
        assert!(!user(&world, 1).mail.is_empty(), "Kanidm's own business now");
        change(1, "Third");
        let ran = world.run(&[], 0);
        assert!(!ran.outcome.stderr.contains(words), "{}", ran.outcome.stderr);
        assert_eq!(user(&world, 1).displayname.as_deref(), Some("Third"));

        // A second attribute, one that makes locks powerless.
        world.kanidm.yield_attributes(ACCOUNT, &["mail", "account_expire", "description"]);
        world.slapd.change(&user_dn(1), "replace: userPassword\nuserPassword: !{SSHA}locked");
        world.slapd.change(&group_dn("team001"), "replace: description\ndescription: other");
        let ran = world.run(&[], 0);
        ran.outcome.says("account_expire, description, mail is yielded");
        ran.outcome.says("Locks and end dates of the directory therefore end no access in Kanidm");
        world.run(&["--full-refresh"], 0);
        assert_eq!(user(&world, 1).account_expire, None);

        // Given back: the next run that writes notices it, and the one after it sends everything.
        world.kanidm.yield_attributes(ACCOUNT, &["mail"]);
        change(3, "Fourth");
        let ran = world.run(&[], 0);
        assert!(!ran.outcome.stderr.contains("account_expire"), "{}", ran.outcome.stderr);
        let reason = world.run(&[], 0).report["mode_reason"].to_string();
        assert!(reason.contains("left entries that only a full refresh repairs"), "{reason}");
        assert!(user(&world, 1).account_expire.is_some());
        world.kanidm.yield_attributes(ACCOUNT, &[]);
        world.run(&["--full-refresh"], 0);
        assert_eq!(
            world.kanidm.entry(ACCOUNT, "team001").unwrap().description.as_deref(),
            Some("other")
        );
    }
}

/// The same from nothing, and an entry in the recycle bin is still told as what it is.
#[test]
fn a_yielded_attribute_does_not_hide_an_entry_in_the_recycle_bin() {
    let world = World::with(
        SlapdOptions { seed: seed(), ..SlapdOptions::default() },
        GROUPS_OF_NAMES,
        FILTER,
        |config| config,
    );
    world.kanidm.yield_attributes(ACCOUNT, &["mail", "ssh_publickey"]);
    let ran = world.run(&[], 0);
    ran.outcome.says("mail, ssh_publickey is yielded");
    assert_eq!(ran.report["held"].as_array().unwrap().len(), 0);
    assert!(
        user(&world, 1).mail.is_empty()
            && user(&world, 2).gidnumber == u32::try_from(user_number(2)).ok()
    );
    let ldif = world.slapd.dump();
    world.slapd.change(&user_dn(1), "add: description\ndescription: x");
    world.slapd.delete(&user_dn(1));
    world.run(&[], 0);
    assert_eq!(world.kanidm.recycled().len(), 1);
    let mut world = world;
    world.slapd.reload(Seed::Verbatim(ldif));
    let ran = world.run(&["--full-refresh"], 3);
    ran.outcome.says("its UUID belongs to a deleted entry");
    assert_eq!(ran.report["held"].as_array().unwrap().len(), 1, "{:#}", ran.report["held"]);
}
