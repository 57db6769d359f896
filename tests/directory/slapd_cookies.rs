//! slapd's cookies where they are not what a lone server's are: server IDs, two providers that
//! replicate each other, and a server that is older than the cookie.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kanidm_ldap_sync::config;
use kanidm_ldap_sync::directory::client::Directory;
use kanidm_ldap_sync::directory::refresh::Refresh;
use ldap_content_sync::sync_session::Provider;

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::kanidm::{Fault, Moment};
use crate::support::process::PATIENCE;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, user_dn, user_ldif, user_name};
use crate::support::slapd::{Slapd, SlapdOptions};
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;
use crate::support::world::{ACCOUNT, FILTER, World};

#[test]
fn two_providers_without_a_session_log() {
    two_providers(None);
}

#[test]
fn two_providers_with_a_session_log() {
    two_providers(Some(100));
}

fn two_providers(sessionlog: Option<u32>) {
    let options = SlapdOptions {
        sessionlog,
        extra_global: "serverID 1\n".to_owned(),
        ..SlapdOptions::default()
    };
    let mut world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| config);
    let rename = |slapd: &Slapd, number: usize, name: &str| {
        slapd.change(&user_dn(number), &format!("replace: cn\ncn: {name}"));
    };
    let delete = |slapd: &Slapd, number: usize| slapd.delete(&user_dn(number));
    world.run_and_compare("first refresh", "full");
    rename(&world.slapd, 1, "By the First");
    world.run_and_compare("one provider with a server ID", "incremental");
    assert!(world.cookie().contains("#001#"), "{}", world.cookie());
    delete(&world.slapd, 2);
    world.run_and_compare("deleted there", "incremental");

    let second = Slapd::start(SlapdOptions {
        sessionlog,
        seed: Seed::Verbatim(String::new()),
        extra_global: "serverID 2\n".to_owned(),
        extra_database: replicate(&world.slapd),
        ..SlapdOptions::default()
    });
    wait("the second to have everything", || {
        second.sync().answers() && count(&second) == count(&world.slapd)
    });
    let back = replicate(&second);
    world.slapd.reconfigure(|options| options.extra_database = back);

    rename(&second, 3, "By the Second");
    wait("the first to hear of it", || name(&world.slapd, 3) == "By the Second");
    world.run_and_compare("changed at the second, read from the first", "incremental");
    let cookie = world.cookie();
    assert!(cookie.contains("#001#") && cookie.contains("#002#"), "{cookie}");

    rename(&world.slapd, 4, "By the First");
    delete(&second, 5);
    wait("the first to hear of it", || count(&second) == count(&world.slapd));
    world.run_and_compare("changed at both", "incremental");
    rename(&world.slapd, 6, "By the First Again");
    world.run_and_compare("changed at the first", "incremental");
    world.run_and_compare("nothing to do", "incremental");
    world.reconfigure(|config| {
        config.set_in("00000000-0000-4000-8000-000000000001", "exclude", true)
    });
    world.run_and_compare("everything once more, of both", "full");
    let cookie = world.cookie();
    assert!(cookie.contains("#001#") && cookie.contains("#002#"), "{cookie}");

    rename(&world.slapd, 7, "By the First");
    rename(&second, 8, "By the Second");
    wait("both to hear of it", || {
        name(&second, 7) == "By the First" && name(&world.slapd, 8) == "By the Second"
    });
    let (uri, ca) = (second.uri(), second.ca().to_str().unwrap().to_owned());
    world.reconfigure(|config| config.set("ldap_uri", uri).set("ldap_ca", ca));
    world.run_and_compare("read from the second", "incremental");
    delete(&world.slapd, 9);
    wait("the second to hear of it", || count(&second) == count(&world.slapd));
    rename(&second, 10, "By the Second");
    wait("the first to hear of it", || name(&world.slapd, 10) == "By the Second");
    world.run_and_compare("read from the second again", "incremental");
}

#[test]
fn a_restored_backup_deletes_nothing() {
    let mut world = World::new(SlapdOptions::default());
    world.run_and_compare("first refresh", "full");
    let backup = world.slapd.dump();
    world.slapd.modify(&user_ldif(100));
    world.run_and_compare("added", "incremental");
    world.slapd.reload(Seed::Verbatim(backup));
    for _ in 0..2 {
        let outcome = world.tool.run(&[]).expect_code(1);
        for words in [
            "unwillingToPerform (53)",
            "restored from a backup",
            "nothing was changed in Kanidm",
            "--full-refresh",
        ] {
            outcome.says(words);
        }
        assert!(world.kanidm.entry(ACCOUNT, "user00100").is_some());
    }
    world.run_full_and_compare("as the administrator decides");
    assert!(world.kanidm.entry(ACCOUNT, "user00100").is_none());
    world.run_and_compare("and incremental again", "incremental");
}

/// A full refresh has no cookie that slapd could refuse: what it answers with has to be looked at.
#[test]
fn a_full_refresh_of_a_restored_backup_deletes_nothing() {
    let mut world = World::new(SlapdOptions::default());
    world.run_and_compare("first refresh", "full");
    let backup = world.slapd.dump();
    world.slapd.modify(&user_ldif(100));
    world.run_and_compare("added", "incremental");
    world.slapd.reload(Seed::Verbatim(backup));
    world.reconfigure_quietly(1);
    for arguments in [&[][..], &["--accept-deletes"], &["--dry-run"]] {
        let outcome = world.tool.run(arguments).expect_code(1);
        for words in [
            "an older state than an earlier run has read",
            "restored from a backup",
            "nothing was changed in Kanidm",
            "--full-refresh",
        ] {
            outcome.says(words);
        }
        assert!(world.kanidm.entry(ACCOUNT, "user00100").is_some());
    }
    world.run_full_and_compare("as the administrator decides");
    assert!(world.kanidm.entry(ACCOUNT, "user00100").is_none());
    world.run_and_compare("and incremental again", "incremental");
    world.reconfigure_quietly(2);
    world.run_and_compare("and a full one that nobody asked for", "full");
}

/// Somebody has taken the older directory as it is: the run that repairs the interrupted one need
/// not be asked for again.
#[test]
fn what_was_asked_for_and_interrupted_is_carried_on_by_itself() {
    let mut world = World::with(SlapdOptions::default(), GROUPS_OF_NAMES, FILTER, |config| {
        config.set("upload_max_entries", 5)
    });
    world.run_and_compare("first refresh", "full");
    let backup = world.slapd.dump();
    world.slapd.modify(&user_ldif(100));
    world.run_and_compare("added", "incremental");
    world.slapd.reload(Seed::Verbatim(backup));
    world.kanidm.fault(
        Fault::own_status(Moment::Received, 401, "\"notauthenticated\"").only("POST").after(1),
    );
    world.tool.run(&["--full-refresh"]).expect_code(1);
    assert_eq!(world.kanidm.pending_faults(), 0, "it was under way");
    world.run_and_compare("the next run", "full");
    assert!(world.kanidm.entry(ACCOUNT, "user00100").is_none());
    world.run_and_compare("and the one after it", "incremental");
}

/// What came after the cookie and has gone again is missing from the present set, or named as
/// deleted: the interrupted run is repeated.
#[test]
fn what_an_interrupted_run_has_written_goes_with_the_next_one() {
    for sessionlog in [None, Some(100)] {
        let options = SlapdOptions { sessionlog, ..SlapdOptions::default() };
        let world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| {
            config.set("upload_max_entries", 1)
        });
        world.run_and_compare("first refresh", "full");
        world.slapd.modify(&[60, 61, 62].map(user_ldif).join("\n"));
        world.kanidm.fault(
            Fault::own_status(Moment::Received, 401, "\"notauthenticated\"").only("POST").after(2),
        );
        world.tool.run(&[]).expect_code(1);
        let written = [60, 61, 62]
            .into_iter()
            .filter(|n| world.kanidm.entry(ACCOUNT, &user_name(*n)).is_some())
            .count();
        assert!(written > 0, "it was under way");
        world.slapd.modify(
            &[60, 61, 62].map(|n| format!("dn: {}\nchangetype: delete\n\n", user_dn(n))).concat(),
        );
        world.run_and_compare("written by an interrupted run, and deleted", "incremental");
    }
}

/// The directory has never heard of a provider that an earlier run has read from: it lacks what
/// that one has changed, or is another.
#[test]
fn a_directory_without_one_of_the_providers_is_older() {
    const NEVER_HEARD_OF: &str = "20260101000000.000000Z#000000#00f#000000";
    let world = World::new(SlapdOptions::default());
    world.run_and_compare("first refresh", "full");
    world.change_cookie(|cookie| [&cookie[..], b";", NEVER_HEARD_OF.as_bytes()].concat());
    world.reconfigure_quietly(1);
    for _ in 0..2 {
        let outcome = world.tool.run(&[]).expect_code(1);
        outcome.says("an older state than an earlier run has read");
        world.change_cookie(|_| format!("rid=000,csn={NEVER_HEARD_OF}").into_bytes());
    }
    world.run_full_and_compare("as the administrator decides");
    world.run_and_compare("and incremental again", "incremental");
}

#[test]
fn what_is_changed_while_it_is_read_is_there_all_the_same() {
    changed_while_it_is_read(Provider::OpenLdap, "");
}

/// The root DSE can be found by objectClass and does not show it: nothing says that this is slapd,
/// but its cookies.
#[test]
fn nor_does_anything_get_lost_where_slapd_does_not_say_what_it_is() {
    changed_while_it_is_read(
        Provider::Rfc4533,
        "access to dn.base=\"\" attrs=objectClass by * search\naccess to dn.base=\"\" by * read\n",
    );
}

/// slapd leaves an entry out of a refresh that is changed before it has come to it: it is newer
/// than the cookie.
fn changed_while_it_is_read(provider: Provider, root_dse_rules: &str) {
    const USERS: usize = 3000;
    let seed = Seed::Generated(SeedOptions {
        users: USERS,
        groups: 2,
        specials: false,
        ..SeedOptions::default()
    });
    let slapd = Slapd::start(SlapdOptions {
        seed,
        extra_global: root_dse_rules.to_owned(),
        ..SlapdOptions::default()
    });
    // More than the buffers between slapd and a reader that does not read: slapd stops, and goes on
    // with what is there by then.
    let text = "x".repeat(8000);
    let describe = |number| {
        format!(
            "dn: {}\nchangetype: modify\nreplace: description\ndescription: {text}\n\n",
            user_dn(number)
        )
    };
    slapd.modify(&(1..=USERS).map(describe).collect::<String>());
    let files = TempDir::new("mid-refresh");
    let path = files.write(
        "ldap-sync",
        ConfigText::for_slapd(&slapd).set("sync_token", "not-asked-for").text(),
    );
    let (config, _) = config::sync::load(&path, &|_| None).unwrap();
    let mut directory = Directory::connect(&config.directory).unwrap();
    assert_eq!(directory.provider(), provider);
    for cookie in [None, Some(&b"rid=000,csn=20200101000000.000000Z#000000#000#000000"[..])] {
        let mut received = BTreeSet::new();
        let mut changed = BTreeSet::new();
        let refresh =
            directory.refresh(&["uid", "description", "entryUUID"], cookie, &mut |uuid, entry| {
                if received.is_empty() {
                    let last = USERS - 20..=USERS;
                    let changes = last.map(|n| {
                        format!(
                            "dn: {}\nchangetype: modify\nreplace: cn\ncn: Changed\n\n",
                            user_dn(n)
                        )
                    });
                    slapd.modify(&changes.collect::<String>());
                }
                received.insert(uuid);
                if entry.attributes().any(|a| {
                    a.is("uid")
                        && a.values().any(|v| v >= format!("user{:05}", USERS - 20).as_bytes())
                }) {
                    changed.insert(uuid);
                }
            });
        let Refresh::Done(outcome) = refresh.unwrap() else { panic!("no refresh") };
        assert_eq!((received.len(), changed.len()), (USERS + 1, 21));
        assert_eq!(outcome.present.unwrap(), received.into_iter().collect::<Vec<_>>());
    }
}

/// The database follows that of `provider`, and takes changes itself.
fn replicate(provider: &Slapd) -> String {
    format!(
        "syncrepl rid=001 provider={} type=refreshAndPersist retry=\"1 +\" searchbase=\"{SUFFIX}\" schemachecking=off\n  \
         bindmethod=simple binddn=\"cn=admin,{SUFFIX}\" credentials={}\nmultiprovider on\n",
        provider.ldapi_uri(),
        crate::support::slapd::ADMIN_PASSWORD
    )
}

fn count(slapd: &Slapd) -> usize {
    slapd.search(SUFFIX, "(objectClass=*)", &["1.1"]).len()
}

fn name(slapd: &Slapd, number: usize) -> String {
    slapd.search(SUFFIX, &format!("(uid=user{number:05})"), &["cn"])[0]
        .text("cn")
        .unwrap()
        .to_owned()
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waiting for {what} takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A provider that is being filled, and takes changes meanwhile, knows of its own only: what it
/// shows is not the content.
#[test]
fn a_provider_that_is_not_filled_yet_deletes_nothing() {
    let global = |id: u32| format!("serverID {id}\n");
    let mut world = World::new(SlapdOptions { extra_global: global(1), ..SlapdOptions::default() });
    world.slapd.modify(&user_ldif(100));
    world.run_and_compare("first refresh", "full");
    let all = count(&world.slapd);
    // Its account may read all but five entries: the new provider never gets to the end.
    world.slapd.reconfigure(|options| options.sync_limits = format!("size={}", all - 5));
    let follow = format!(
        "syncrepl rid=001 provider={} type=refreshAndPersist retry=\"1 +\" searchbase=\"{SUFFIX}\" schemachecking=off\n  \
         bindmethod=simple binddn=\"cn=sync,{SUFFIX}\" credentials={}\nmultiprovider on\n",
        world.slapd.ldapi_uri(),
        crate::support::seed::SYNC_PASSWORD
    );
    let seed = Seed::Verbatim(String::new());
    let second = Slapd::start(SlapdOptions {
        seed,
        extra_global: global(2),
        extra_database: follow,
        ..SlapdOptions::default()
    });
    wait("the second to have what it gets", || {
        second.sync().answers() && count(&second) == all - 5
    });
    let before = world.kanidm.entries(ACCOUNT).len();
    let (uri, ca) = (second.uri(), second.ca().to_str().unwrap().to_owned());
    world.reconfigure(|config| config.set("ldap_uri", uri).set("ldap_ca", ca));
    // Before it has taken a change, when it has no cookie to give, and afterwards. With the cookie,
    // and without.
    for (has_changed, is_full) in [(false, false), (false, true), (true, true), (true, false)] {
        if has_changed {
            second.change(&user_dn(1), &format!("replace: cn\ncn: By the Second, {is_full}"));
        }
        if is_full {
            world.reconfigure_quietly(1)
        } else {
            world.reconfigure(|config| config)
        }
        let outcome = world.tool.run(&[]).expect_code(1);
        for words in [
            "the directory is older than what was synchronised before",
            "nothing was changed in Kanidm",
            "--full-refresh",
        ] {
            assert!(
                outcome.stderr.contains(words),
                "{has_changed}, {is_full}, {words}: {}",
                outcome.stderr
            );
        }
        assert_eq!(world.kanidm.entries(ACCOUNT).len(), before);
    }
    world.slapd.reconfigure(|options| options.sync_limits = SlapdOptions::default().sync_limits);
    wait("the second to have everything", || count(&second) == all);
    // One is held all along.
    world.tool.run(&[]).expect_code(3);
    assert_eq!(world.kanidm.entries(ACCOUNT).len(), before);
    assert!(
        world.cookie().contains("#001#") && world.cookie().contains("#002#"),
        "{}",
        world.cookie()
    );
}
