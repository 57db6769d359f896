//! From a real slapd into the real Kanidm engine, run by run: after each, everything Kanidm holds is compared with what `ldapsearch` says.

mod support;

use kanidm_ldap_sync::kanidm::state::{self, Envelope, Opened};
use support::kanidm::State;
use support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_ldif, user_name};
use support::slapd::SlapdOptions;
use support::world::{ACCOUNT, World};

#[test]
fn a_thousand_users_without_a_session_log() {
    life_of_a_directory(None);
}

#[test]
fn a_thousand_users_with_a_session_log() {
    life_of_a_directory(Some(100));
}

/// First refresh, then every kind of change, each in an incremental run.
fn life_of_a_directory(sessionlog: Option<u32>) {
    let options = SlapdOptions { seed: Seed::Generated(SeedOptions::thousand()), sessionlog, ..SlapdOptions::default() };
    let world = World::with(
        options,
        support::expect::GROUPS_OF_NAMES,
        "(|(&(objectClass=posixAccount)(!(employeeType=out)))(objectClass=groupOfNames))",
        |config| config,
    );
    let modify = |ldif: &str| world.slapd.modify(ldif);
    let members = |name: &str| world.kanidm.entry(ACCOUNT, name).unwrap().member;

    let first = world.run_and_compare("first refresh", "full");
    assert!(first.report["written"]["persons"].as_u64().unwrap() >= 1000, "{}", first.report);
    assert!(world.kanidm.verify_password("user00001", "Passw0rd-user00001"), "an imported password logs in");
    assert!(!members("nested-inner").is_empty());

    world.kanidm.clear_log();
    let idle = world.run_and_compare("nothing to do", "incremental");
    // The entry that is held is read again each time.
    assert_eq!((idle.report["read"].as_u64(), idle.report["posts"].as_u64()), (Some(1), Some(0)));
    assert_eq!(world.kanidm.posts().len(), 0);

    // Out of the filter and named by a group, before it ever was in scope.
    let outsider = user_ldif(2001).replace("sn:", "employeeType: out\nsn:");
    modify(&outsider);
    modify(&format!("dn: {}\nchangetype: modify\nadd: member\nmember: {}\n", group_dn("team001"), user_dn(2001)));
    let before = members("team001");
    world.run_and_compare("a member out of scope", "incremental");
    assert_eq!(before, members("team001"));
    modify(&format!("dn: {}\nchangetype: modify\ndelete: employeeType\n", user_dn(2001)));
    let ran = world.run_and_compare("enters the filter, with the memberships", "incremental");
    assert_eq!(members("team001").len(), before.len() + 1, "{}", ran.report);

    modify(&user_ldif(2002));
    world.run_and_compare("add", "incremental");

    modify(&format!("dn: {}\nchangetype: modify\nreplace: cn\ncn: Another Name\n-\ndelete: mail\n", user_dn(3)));
    world.run_and_compare("modify", "incremental");

    modify(&format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=renamed5\ndeleteoldrdn: 1\n", user_dn(5)));
    world.run_and_compare_renamed("modrdn", &user_dn(5));

    modify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid={}\ndeleteoldrdn: 1\nnewsuperior: ou=staff,{SUFFIX}\n",
        user_dn(900),
        user_name(900)
    ));
    world.run_and_compare_renamed("modrdn to another parent", &user_dn(900));

    modify(&format!("dn: {}\nchangetype: delete\n", user_dn(7)));
    world.run_and_compare("delete", "incremental");

    modify(&format!("dn: {}\nchangetype: modify\nadd: employeeType\nemployeeType: out\n", user_dn(8)));
    world.run_and_compare("leaves the filter", "incremental");

    modify(&format!("dn: {}\nchangetype: delete\n\n{}", user_dn(15), user_ldif(15)));
    world.run_and_compare("deleted and created again at the same DN", "incremental");

    let people = format!("ou=people,{SUFFIX}");
    modify(&format!("dn: cn=Smith\\, John,{people}\nchangetype: modify\nreplace: uid\nuid: plus.lead\n"));
    modify(&format!("dn: cn=R\\+D Lead,{people}\nchangetype: modify\nreplace: uid\nuid: comma.smith\n"));
    world.run_and_compare("two users swap their names", "incremental");

    let odd = format!("UID=User00020 , OU=People,  DC=example,dc=COM");
    modify(&format!("dn: {}\nchangetype: modify\nadd: member\nmember: {odd}\n", group_dn("team003")));
    world.run_and_compare("a member spelled otherwise than its entry", "incremental");

    modify(&format!("dn: {}\nchangetype: modify\nadd: member\nmember: {}\n", group_dn("team003"), group_dn("nested-inner")));
    world.run_and_compare("a group in a group", "incremental");

    let zoe = format!("dn:: {}\nchangetype: modrdn\nnewrdn: uid=zoe\ndeleteoldrdn: 1\n", base64(&format!("uid=zoë,{people}")));
    modify(&zoe);
    // The group goes on naming the old DN until somebody, or refint, mends it.
    modify(&format!(
        "dn: {}\nchangetype: modify\ndelete: member\nmember: uid=zo\\C3\\AB,{people}\n-\nadd: member\nmember: uid=zoe,{people}\n",
        group_dn("nested-inner")
    ));
    let ran = world.run_and_compare("a held entry is mended", "incremental");
    assert_eq!(ran.report["held"].as_array().unwrap().len(), 0, "{}", ran.report);

    forget_cookie(&world);
    world.run_and_compare("garbage for a cookie", "full");
    world.run_and_compare("and incremental again", "incremental");
}

#[test]
fn into_and_out_of_the_base() {
    for sessionlog in [None, Some(100)] {
        let mut world = World::new(SlapdOptions { sessionlog, ..SlapdOptions::default() });
        world.rebase(&format!("ou=people,{SUFFIX}"));
        world.run_and_compare("first refresh", "full");
        let moved = |number, from: &str, to: &str| {
            let rdn = format!("uid={}", user_name(number));
            format!("dn: {rdn},{from},{SUFFIX}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\nnewsuperior: {to},{SUFFIX}\n")
        };
        world.slapd.modify(&moved(4, "ou=people", "ou=staff"));
        world.run_and_compare("moved out of the base", "incremental");
        world.slapd.modify(&user_ldif(100).replace("ou=people", "ou=staff"));
        world.run_and_compare("outside of the base", "incremental");
        world.slapd.modify(&moved(100, "ou=staff", "ou=people"));
        world.run_and_compare("moved into the base", "incremental");
    }
}

#[test]
fn groups_of_user_names() {
    for sessionlog in [None, Some(100)] {
        let seed = Seed::Generated(SeedOptions { groups: 10, private_groups: 5, ..SeedOptions::default() });
        let world = World::rfc2307(SlapdOptions { seed, sessionlog, ..SlapdOptions::default() });
        world.run_and_compare("first refresh", "full");
        let group = group_dn("posix002");
        world.slapd.modify(&format!("dn: {group}\nchangetype: modify\nadd: memberUid\nmemberUid: user00019\nmemberUid: nobody\n"));
        world.run_and_compare("memberUid added", "incremental");
        world.slapd.modify(&format!("dn: {group}\nchangetype: modify\nadd: memberUid\nmemberUid: user00050\n"));
        world.run_and_compare("a member that does not exist yet", "incremental");
        world.slapd.modify(&user_ldif(50));
        world.run_and_compare("and then does", "incremental");
        world.slapd.modify(&format!("dn: {group}\nchangetype: modify\ndelete: memberUid\nmemberUid: user00019\n"));
        world.run_and_compare("memberUid deleted", "incremental");
    }
}

#[test]
fn a_dry_run_lists_everything_and_sends_nothing() {
    let world = World::new(SlapdOptions::default());
    world.kanidm.clear_log();
    let outcome = world.tool.run(&["--dry-run"]).expect_code(3);
    assert_eq!(world.kanidm.posts().len(), 0);
    assert_eq!(world.kanidm.state(ACCOUNT), State::Refresh);
    for line in [
        format!("write person {} → user00001", user_dn(1)),
        format!("write group  {} → nested-outer, members 2", group_dn("nested-outer")),
        format!("hold uid=zoë,ou=people,{SUFFIX}: uid: "),
    ] {
        assert!(outcome.stdout.contains(&line), "{line}\n{}", outcome.all());
    }
    assert!(outcome.stderr.contains("dry run, nothing was sent"), "{}", outcome.stderr);
    world.run_and_compare("the real run", "full");
}

/// Replaces the directory's cookie inside of the envelope by something no slapd has ever given out.
fn forget_cookie(world: &World) {
    use kanidm_ldap_sync::kanidm::request::{RequestBody, Retention};
    use kanidm_ldap_sync::kanidm::transport::SyncServer as _;
    let mut client = world.kanidm_client();
    let before = client.state().unwrap();
    let state::SyncState::Active { cookie } = &before else { panic!("{before:?}") };
    let Ok(Opened::Ours(envelope)) = state::open(cookie) else { panic!("not our envelope") };
    let after = Envelope { cookie: Some(b"this is no cookie".to_vec()), ..*envelope }.to_state();
    client.apply(&RequestBody::new(&before, &after, &Retention::Ignore, Vec::new())).unwrap();
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
