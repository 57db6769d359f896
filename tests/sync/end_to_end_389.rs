//! From a real 389 Directory Server into the real Kanidm engine, run by run: after each, everything
//! Kanidm holds is compared with what `ldapsearch` says. What 389 keeps silent about is here too:
//! lost deletions, lost changes, lost operational attributes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use kanidm_ldap_sync::config;
use kanidm_ldap_sync::directory::client::Directory;
use kanidm_ldap_sync::sync::observe::ReadStep;
use kanidm_ldap_sync::sync::read;
use kanidm_ldap_sync::sync::start::Start;

use serde_json::Value;

use crate::changes::{self, Leaving};
use crate::support::ds389::Ds389Options;
use crate::support::kanidm::{Fault, Moment};
use crate::support::process::PATIENCE;
use crate::support::seed::{
    SUFFIX, Seed, SeedOptions, group_dn, ns_unique_id, user_dn, user_ldif, user_name, uuid,
};
use crate::support::world::{ACCOUNT, FILTER, World389};

#[test]
fn a_thousand_users_of_ds389() {
    let options =
        Ds389Options { seed: Seed::Generated(SeedOptions::thousand()), ..Ds389Options::default() };
    let mut world = World389::with(options, changes::FILTER, |config| config);
    changes::every_kind(&world, Leaving::Unnoticed);
    locked_and_unlocked(&world);
    no_deletion_is_lost(&world);
    no_change_is_lost_with_the_changelog(&mut world);
}

/// nsAccountLock is operational: 389 does not send it with the changes.
fn locked_and_unlocked(world: &World389) {
    let expires = || world.kanidm.entry(ACCOUNT, "user00022").unwrap().account_expire;
    let modify = |what: &str| world.admin.change(&user_dn(22), what);
    assert_eq!(expires(), None);
    modify("replace: nsAccountLock\nnsAccountLock: true\n");
    world.run_and_compare("locked", "incremental");
    assert!(expires().is_some_and(|time| time.starts_with("1970-")), "{:?}", expires());
    modify("replace: givenName\ngivenName: Unrelated\n-\nreplace: cn\ncn: Renamed While Locked\n");
    world.run_and_compare("another change of a locked account", "incremental");
    assert_eq!(
        world.kanidm.entry(ACCOUNT, "user00022").unwrap().displayname.as_deref(),
        Some("Renamed While Locked")
    );
    assert!(
        expires().is_some_and(|time| time.starts_with("1970-")),
        "still locked: {:?}",
        expires()
    );
    modify("delete: nsAccountLock\n");
    world.run_and_compare("unlocked", "incremental");
    assert_eq!(expires(), None);
}

/// 389 reports at most 50 deletions in a row, and loses the others.
fn no_deletion_is_lost(world: &World389) {
    let mut next = 100;
    for (count, mode) in [(49, "incremental"), (51, "full"), (102, "full"), (120, "full")] {
        let ldif: String = (next..next + count)
            .map(|number| format!("dn: {}\nchangetype: delete\n\n", user_dn(number)))
            .collect();
        world.admin.modify(&ldif);
        world.run_and_compare(&format!("{count} deleted"), mode);
        assert!(world.kanidm.entry(ACCOUNT, &user_name(next)).is_none());
        next += count;
    }
    world.run_and_compare("and nothing to do", "incremental");
}

fn no_change_is_lost_with_the_changelog(world: &mut World389) {
    let seen: u64 = world.cookie().rsplit('#').next().unwrap().parse().unwrap();
    let rename = |world: &World389, number: usize, name: &str| {
        world.admin.change(&user_dn(number), &format!("replace: cn\ncn: {name}"));
    };
    rename(world, 31, "In the Changelog");
    world.admin.delete(&user_dn(32));
    rename(world, 33, "Before the Trim");
    world.ds389.reconfigure(|options| {
        options.changelog_max_age = Some("1s".to_owned());
        options.changelog_trim_interval = Some(1);
    });
    let begin = Instant::now();
    while world.ds389.change_numbers().0 <= seen + 1 {
        assert!(
            begin.elapsed() < PATIENCE,
            "it is not trimmed: {:?}, seen was {seen}",
            world.ds389.change_numbers()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let ran = world.run_and_compare("a changelog that was trimmed", "full");
    ran.outcome.says("trimmed");
    world.run_and_compare("and incremental again", "incremental");

    world.ds389.reconfigure(|options| options.changelog_max_age = None);
    rename(world, 34, "In the Lost Changelog");
    world.admin.delete(&user_dn(35));
    world.ds389.forget_changelog();
    rename(world, 36, "In the New Changelog");
    let ran = world.run_and_compare("a changelog that was made anew", "full");
    ran.outcome.says("made anew");
    rename(world, 37, "After It");
    world.run_and_compare("and incremental again", "incremental");
}

#[test]
fn the_configuration_for_ds389_changes() {
    let seed = Seed::Generated(SeedOptions {
        groups: 10,
        private_groups: 5,
        uuids: Some(1),
        ..SeedOptions::default()
    });
    let mut world = World389::new(Ds389Options { seed, ..Ds389Options::default() });
    world.run_and_compare("first refresh", "full");
    what_comes_between(&world);
    what_comes_between_again_and_again(&world);
    entry_tables(&mut world);
    a_cookie_of_another_filter(&mut world);
    a_held_entry_leaves_the_filter(&mut world);
    into_and_out_of_the_base(&mut world);
    groups_of_user_names(&mut world);
    full_by_schedule(&mut world);
}

/// 389 does not say that an entry left the filter. One that is held is asked for by its UUID, and
/// not finding it proves nothing.
fn a_held_entry_leaves_the_filter(world: &mut World389) {
    let modify = |world: &World389, what: &str| world.admin.change(&user_dn(6), what);
    world.reconfigure(|config| config.set("invalid_entries", "hold"));
    world.refilter(&format!("(&{FILTER}(!(employeeType=gone)))"));
    world.run_and_compare("one more filter", "full");
    let mail = world.kanidm.entry(ACCOUNT, "user00006").unwrap().mail.len();
    modify(world, "replace: mail\nmail: not an address\n");
    let ran = world.run(&[], 3);
    let held = |report: &Value| {
        report["held"].as_array().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(held(&ran.report).iter().any(|held| held.contains(&user_dn(6))), "{}", ran.report);
    modify(world, "add: employeeType\nemployeeType: gone\n");
    for what in ["it left the filter", "and it stays so"] {
        let ran = world.run(&[], 3);
        assert_eq!(
            (ran.report["mode"].as_str(), &ran.report["deleted"]["at_most"]),
            (Some("incremental"), &0.into()),
            "{what}: {}",
            ran.report
        );
        let unfound = held(&ran.report)
            .into_iter()
            .filter(|held| held.contains("not found by UUID now"))
            .count();
        assert_eq!(unfound, 1, "{what}: {}", ran.report);
        assert_eq!(
            world.kanidm.entry(ACCOUNT, "user00006").unwrap().mail.len(),
            mail,
            "{what}: Kanidm keeps what it has"
        );
    }
    world.run_full_and_compare("the full refresh settles it");
    assert!(world.kanidm.entry(ACCOUNT, "user00006").is_none());
    world.refilter(FILTER);
    world.kanidm.revive(uuid(1, &user_dn(6)));
    modify(world, "delete: employeeType\n-\nreplace: mail\nmail: six@example.com\n");
    world.run_and_compare("back again", "full");
}

/// Entries are named by nsUniqueId as the server spells it, or as a UUID.
fn entry_tables(world: &mut World389) {
    let id = |number| uuid(1, &user_dn(number));
    let (one, two) = (ns_unique_id(&id(1)), id(2).hyphenated().to_string());
    world.reconfigure(|config| {
        config.set_in(&one, "exclude", true).set_in(&two, "map_name", "second")
    });
    let before = world.config.clone();
    let ran = world.run(&[], 3);
    assert_eq!(ran.report["mode"], "full", "{}", ran.report);
    assert!(world.kanidm.entry(ACCOUNT, "user00001").is_none());
    assert_eq!(world.kanidm.entry(ACCOUNT, "second").unwrap().uuid, id(2));
    // The same entry in the other spelling: nothing has changed.
    world.reconfigure(|config| {
        config.without_table(&one).set_in(&id(1).hyphenated().to_string(), "exclude", true)
    });
    assert_ne!(world.config.text(), before.text());
    world.admin.change(&user_dn(1), "replace: cn\ncn: Still Excluded");
    let ran = world.run(&[], 3);
    assert_eq!(ran.report["mode"], "incremental", "{}", ran.report);
    assert!(world.kanidm.entry(ACCOUNT, "user00001").is_none());
    world.reconfigure(|config| {
        config.without_table(&id(1).hyphenated().to_string()).without_table(&two)
    });
    // A deletion stays in Kanidm's recycle bin, and the same UUID cannot come back before it is
    // revived.
    world.kanidm.revive(id(1));
    world.run_and_compare("without the tables", "full");
}

/// The configuration is what it was, and yet the server does not accept the cookie.
fn a_cookie_of_another_filter(world: &mut World389) {
    world.change_cookie(|cookie| {
        String::from_utf8(cookie).unwrap().replace("groupOfNames", "posixGroup").into_bytes()
    });
    world.admin.change(&user_dn(3), "replace: cn\ncn: Another Filter");
    let ran = world.run_and_compare("a cookie bound to another filter", "full");
    ran.outcome.says("does not accept the cookie");
    world.run_and_compare("and incremental again", "incremental");

    world.refilter("(|(objectClass=inetOrgPerson)(objectClass=groupOfNames))");
    let ran = world.run_and_compare("another filter", "full");
    ran.outcome.says("configuration");
    world.run_and_compare("and incremental again", "incremental");
    world.refilter(FILTER);
}

fn into_and_out_of_the_base(world: &mut World389) {
    world.rebase(&format!("ou=people,{SUFFIX}"));
    // No group is below it, and all of a kind go only where somebody says so.
    world.tool.run(&[]).expect_code(4);
    world.tool.run(&["--accept-deletes"]).expect_code(3);
    world.run_and_compare("another base", "incremental");
    let moved = |number, from: &str, to: &str| {
        let rdn = format!("uid={}", user_name(number));
        format!(
            "dn: {rdn},{from},{SUFFIX}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\nnewsuperior: {to},{SUFFIX}\n"
        )
    };
    world.admin.modify(&moved(4, "ou=people", "ou=staff"));
    world.run_and_compare("moved out of the base", "incremental");
    world.admin.modify(&user_ldif(100).replace("ou=people", "ou=staff"));
    world.run_and_compare("outside of the base", "incremental");
    world.admin.modify(&moved(100, "ou=staff", "ou=people"));
    world.run_and_compare("moved into the base", "incremental");
    world.admin.modify(&moved(4, "ou=staff", "ou=people"));
    world.kanidm.revive(uuid(1, &user_dn(4)));
    world.rebase(SUFFIX);
}

/// 389 does not mention an entry that came behind the cookie and has gone again by the next run. So
/// what a run reads beside the refresh must not be newer than the cookie that it stores: here a
/// group that is made when the refresh hands out its member.
fn what_comes_between(world: &World389) {
    world.admin.change(&user_dn(7), "replace: cn\ncn: In a Group");
    let (config, _) = config::sync::load(world.tool.sync_config(), &|_| None).unwrap();
    let start = Start { cookie: Some(world.cookie().into_bytes()), ..Start::default() };
    let (group, mut made, mut groups, mut rounds) = (group_dn("between"), false, 0, 1);
    let reading = read::read_from(
        &mut Directory::connect(&config.directory).unwrap(),
        &config,
        &start,
        &mut |step| match step {
            ReadStep::Received(_, entry) if entry.dn() == user_dn(7) && !made => {
                let ldif = format!(
                    "dn: {group}\nchangetype: add\nobjectClass: groupOfNames\ncn: between\nmember: {}\n",
                    user_dn(7)
                );
                world.admin.modify(&ldif);
                made = true;
            }
            ReadStep::Received(_, entry) if entry.dn() == group => groups += 1,
            ReadStep::StartedOver => (rounds, groups) = (rounds + 1, 0),
            ReadStep::Received(..) => {}
        },
    );
    let reading = reading.unwrap();
    assert!(made && groups == 1 && reading.content.groups >= 1, "{reading:?}");
    let cookie = String::from_utf8(reading.cookie.unwrap()).unwrap();
    assert_eq!(
        cookie.rsplit('#').next().unwrap(),
        world.ds389.change_numbers().1.to_string(),
        "{cookie}"
    );
    assert_eq!(rounds, 2, "and no more rounds than that takes");
    world.admin.delete(&group);
    world.run_and_compare("made and deleted", "incremental");
}

/// On a directory that is never quiet, what is newer than the cookie is left to the next run.
fn what_comes_between_again_and_again(world: &World389) {
    world.admin.change(&user_dn(7), "replace: cn\ncn: In Groups");
    let (config, _) = config::sync::load(world.tool.sync_config(), &|_| None).unwrap();
    let start = Start { cookie: Some(world.cookie().into_bytes()), ..Start::default() };
    let (mut made, mut seen) = (Vec::new(), BTreeSet::new());
    let reading = read::read_from(
        &mut Directory::connect(&config.directory).unwrap(),
        &config,
        &start,
        &mut |step| match step {
            ReadStep::Received(_, entry) if entry.dn() == user_dn(7) => {
                let (group, name) =
                    (group_dn(&format!("busy{}", made.len())), format!("busy{}", made.len()));
                world.admin.modify(&format!("dn: {group}\nchangetype: add\nobjectClass: groupOfNames\ncn: {name}\nmember: {}\n", user_dn(7)));
                made.push(group);
            }
            ReadStep::Received(_, entry) => _ = seen.insert(entry.dn().to_owned()),
            ReadStep::StartedOver => seen.clear(),
        },
    );
    let reading = reading.unwrap();
    assert!((2..10).contains(&made.len()), "read once more, and not for ever: {made:?}");
    assert!(
        made.iter().all(|group| seen.contains(group)),
        "all of them were read: {made:?}, {seen:?}"
    );
    let changes = &reading.content.changes;
    let written: String = changes
        .records()
        .iter()
        .map(|record| String::from_utf8_lossy(&changes.json(record)).into_owned())
        .collect();
    let (newer, older) = made.split_last().unwrap();
    assert!(older.iter().all(|group| written.contains(group)), "the cookie covers them: {written}");
    assert!(
        !written.contains(newer),
        "it would stay if it were deleted before the next run: {written}"
    );
    assert!(!reading.retention.deletes(), "and nothing goes: {reading:?}");
    world.admin.modify(
        &made
            .iter()
            .map(|group| format!("dn: {group}\nchangetype: delete\n\n"))
            .collect::<String>(),
    );
    world.run_and_compare("made and deleted again and again", "incremental");
}

fn groups_of_user_names(world: &mut World389) {
    world.switch_to_rfc2307();
    // Groups of names go: they may be more than what the guard lets pass.
    world.run(&["--accept-deletes"], 3);
    world.run_and_compare("groups of user names", "incremental");
    let group = group_dn("posix002");
    let modify = |ldif: &str| world.admin.change(&group, ldif);
    modify("add: memberUid\nmemberUid: user00019\nmemberUid: nobody\n");
    world.run_and_compare("memberUid added", "incremental");
    modify("add: memberUid\nmemberUid: user00050\n");
    world.run_and_compare("a member that does not exist yet", "incremental");
    world.admin.modify(&user_ldif(50));
    world.run_and_compare("and then does", "incremental");
    modify("delete: memberUid\nmemberUid: user00019\n");
    world.run_and_compare("memberUid deleted", "incremental");
}

/// `full_refresh_schedule` brings what incremental runs cannot: an entry that has left the filter.
fn full_by_schedule(world: &mut World389) {
    let filter = "(|(&(objectClass=posixAccount)(!(employeeType=out)))(objectClass=posixGroup))";
    world.refilter(filter);
    world.run_and_compare("another filter", "full");
    world.admin.change(&user_dn(6), "add: employeeType\nemployeeType: out");
    world.run(&[], 3);
    assert!(
        world.kanidm.entry(ACCOUNT, &user_name(6)).is_some(),
        "389 does not say that it has left the filter"
    );
    world.reconfigure(|config| {
        config.set("schedule", "@yearly").set("full_refresh_schedule", "* * * * * *")
    });
    let mut service = world.tool.spawn(&["--schedule"]);
    let log = BufReader::new(service.child().stderr.take().unwrap());
    let full = log
        .lines()
        .map(Result::unwrap)
        .find(|line| line.contains("synchronised:") && line.contains(" full"));
    assert!(full.is_some(), "the service ended");
    service.signal("TERM");
    service.finish().expect_code(0);
    assert!(world.kanidm.entry(ACCOUNT, &user_name(6)).is_none());
    world.run_and_compare("a full refresh by schedule", "incremental");
}

/// An entry that comes and goes after the cookie is not mentioned: the run that was interrupted may
/// have written it.
fn interrupted_between_two_posts(mut world: World389) {
    world.reconfigure(|config| config.set("upload_max_entries", 1));
    world.admin.modify(&[60, 61, 62].map(user_ldif).join("\n"));
    world.kanidm.fault(
        Fault::own_status(Moment::Received, 401, "\"notauthenticated\"").only("POST").after(2),
    );
    world.tool.run(&[]).expect_code(1);
    let written: Vec<usize> = [60, 61, 62]
        .into_iter()
        .filter(|n| world.kanidm.entry(ACCOUNT, &user_name(*n)).is_some())
        .collect();
    assert!(!written.is_empty(), "it was under way");
    world.admin.modify(
        &[60, 61, 62].map(|n| format!("dn: {}\nchangetype: delete\n\n", user_dn(n))).concat(),
    );
    world.run_and_compare("written by an interrupted run, and deleted", "full");
    world.run_and_compare("and nothing to do", "incremental");
}

/// What server it is shows all the same.
fn hide_the_vendor(world: &World389) {
    let rule = "(targetattr = \"vendorName || vendorVersion\")(version 3.0; acl \"no vendor\"; \
                deny (read, search, compare) userdn = \"ldap:///anyone\";)";
    world.admin.modify(&format!("dn:\nchangetype: modify\nadd: aci\naci: {rule}\n"));
    let checked = world.tool.run(&["--check"]).expect_code(0);
    assert!(
        checked.stdout.contains("offered by 389 Directory Server")
            && !checked.stdout.contains("389-Directory/"),
        "{}",
        checked.all()
    );
    let checked = world.tool.run(&["--check", "--json"]).expect_code(0);
    let check: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(check["verdict"], "ready");
    let mut steps = check["steps"].as_array().unwrap().iter();
    let advice = steps.find(|step| step["step"] == "full_refresh_schedule").expect("389 needs it");
    assert_eq!(advice["remedy"], "set it to once a day, such as \"0 30 2 * * * *\"");
}

/// `syncrepl-allow-openldap` has the server speak entryUUID to OpenLDAP's own consumers, which we
/// are not; the plug-ins change groups.
#[test]
fn ds389_with_more_plugins() {
    let options = Ds389Options { openldap_compat: true, memberof: true, ..Ds389Options::default() };
    let world = World389::new(options);
    hide_the_vendor(&world);
    world.run_and_compare("first refresh", "full");
    world.run_and_compare("nothing to do", "incremental");
    let modify = |ldif: &str| world.admin.modify(ldif);
    world.admin.change(&user_dn(1), "replace: cn\ncn: Another");
    world.run_and_compare("modify", "incremental");
    let member = world
        .directory()
        .into_iter()
        .find(|e| e.text("cn") == Some("team001"))
        .unwrap()
        .text("member")
        .unwrap()
        .to_owned();
    world.admin.rename(&member, "uid=renamed");
    world.run_and_compare("a member is renamed, and its group follows", "incremental");
    world.admin.delete(&format!("uid=renamed,ou=people,{SUFFIX}"));
    world.run_and_compare("a member is deleted", "incremental");
    modify(&user_ldif(50));
    modify(&format!("dn: {}\nchangetype: delete\n\n{}", user_dn(2), user_ldif(2)));
    world.run_and_compare("added, and added again", "incremental");
    interrupted_between_two_posts(world);
}

/// 389 sends a changed entry with all its attributes, and it is read again by its UUID: both are
/// larger than any message.
#[test]
fn an_entry_larger_than_any_message_stops_nobody_on_389() {
    let seed = Seed::Generated(SeedOptions {
        users: 12,
        groups: 4,
        specials: false,
        ..SeedOptions::default()
    });
    let world = World389::new(Ds389Options { seed, ..Ds389Options::default() });
    world.run(&[], 0);
    world.admin.change("cn=config", "replace: nsslapd-maxbersize\nnsslapd-maxbersize: 200000000");
    let modify = |number: usize, what: &str| world.admin.change(&user_dn(number), what);
    for n in 0..6 {
        modify(4, &format!("add: sshPublicKey\nsshPublicKey: {n}{}\n", "x".repeat(11_500_000)));
    }
    modify(4, "replace: nsAccountLock\nnsAccountLock: true\n");
    modify(2, "replace: nsAccountLock\nnsAccountLock: true\n");
    for arguments in [&[][..], &[], &["--full-refresh"]] {
        let ran = world.run(arguments, 3);
        ran.outcome.says("so this attribute was not read");
        for number in [2, 4] {
            assert!(
                world.kanidm.entry(ACCOUNT, &user_name(number)).unwrap().account_expire.is_some(),
                "{}",
                ran.outcome.stderr
            );
        }
    }
}
