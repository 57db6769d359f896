//! Every kind of change that an administrator makes, each followed by an incremental run, on either
//! server.

use crate::secrets::base64;
use crate::support::seed::{SUFFIX, group_dn, user_dn, user_ldif, user_name};
use crate::support::world::{ACCOUNT, Between};

/// The filter that [`every_kind`] works with: an employeeType takes an entry out.
pub const FILTER: &str =
    "(|(&(objectClass=posixAccount)(!(employeeType=out)))(objectClass=groupOfNames))";

/// What a server says of an entry that was changed so that the filter does not match it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It is as good as deleted.
    Reported,
    /// Nothing: it goes at the next full refresh.
    Unnoticed,
}

/// First refresh of the thousand, then the changes. The world reads by [`FILTER`] and Kanidm is
/// empty.
pub fn every_kind(world: &Between, leaving: Leaving) {
    let modify = |ldif: &str| world.admin.modify(ldif);
    let members = |name: &str| world.kanidm.entry(ACCOUNT, name).unwrap().member;

    let first = world.run_and_compare("first refresh", "full");
    assert!(first.report["written"]["persons"].as_u64().unwrap() >= 1000, "{}", first.report);
    assert!(
        world.kanidm.verify_password("user00001", "Passw0rd-user00001"),
        "an imported password logs in"
    );
    assert!(!members("nested-inner").is_empty());

    world.kanidm.clear_log();
    let idle = world.run_and_compare("nothing to do", "incremental");
    // The entry that is held is read again each time.
    assert_eq!((idle.report["read"].as_u64(), idle.report["posts"].as_u64()), (Some(1), Some(0)));
    assert_eq!(world.kanidm.posts().len(), 0);

    // Out of the filter and named by a group, before it ever was in scope.
    let outsider = user_ldif(2001).replace("sn:", "employeeType: out\nsn:");
    modify(&outsider);
    world.admin.change(&group_dn("team001"), &format!("add: member\nmember: {}", user_dn(2001)));
    let before = members("team001");
    world.run_and_compare("a member out of scope", "incremental");
    assert_eq!(before, members("team001"));
    world.admin.change(&user_dn(2001), "delete: employeeType");
    let ran = world.run_and_compare("enters the filter, with the memberships", "incremental");
    assert_eq!(members("team001").len(), before.len() + 1, "{}", ran.report);

    modify(&user_ldif(2002));
    world.run_and_compare("add", "incremental");

    world.admin.change(&user_dn(3), "replace: cn\ncn: Another Name\n-\ndelete: mail");
    let ran = world.run_and_compare("modify", "incremental");
    assert_eq!(
        (&ran.report["written"]["persons"], &ran.report["written"]["groups"]),
        (&1.into(), &0.into()),
        "no group lacks a person whom Kanidm has"
    );

    world.admin.rename(&user_dn(5), "uid=renamed5");
    world.run_and_compare_renamed("modrdn", &user_dn(5));

    modify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid={}\ndeleteoldrdn: 1\nnewsuperior: ou=staff,{SUFFIX}\n",
        user_dn(900),
        user_name(900)
    ));
    world.run_and_compare_renamed("modrdn to another parent", &user_dn(900));

    world.admin.delete(&user_dn(7));
    world.run_and_compare("delete", "incremental");

    world.admin.change(&user_dn(8), "add: employeeType\nemployeeType: out");
    if leaving == Leaving::Unnoticed {
        world.run(&[], 3);
        assert!(
            world.kanidm.entry(ACCOUNT, &user_name(8)).is_some(),
            "the server says nothing of it"
        );
        world.run_full_and_compare("left the filter");
    } else {
        world.run_and_compare("leaves the filter", "incremental");
    }
    groups_are_sent_while_a_member_is_away(world, leaving);

    world.admin.delete(&user_dn(15));
    modify(&user_ldif(15));
    world.run_and_compare("deleted and created again at the same DN", "incremental");

    let people = format!("ou=people,{SUFFIX}");
    world.admin.change(&format!("cn=Smith\\, John,{people}"), "replace: uid\nuid: plus.lead");
    world.admin.change(&format!("cn=R\\+D Lead,{people}"), "replace: uid\nuid: comma.smith");
    world.run_and_compare("two users swap their names", "incremental");

    let odd = "UID=User00020 , OU=People,  DC=example,dc=COM";
    world.admin.change(&group_dn("team003"), &format!("add: member\nmember: {odd}"));
    world.run_and_compare("a member spelled otherwise than its entry", "incremental");

    world.admin.change(
        &group_dn("team003"),
        &format!("add: member\nmember: {}", group_dn("nested-inner")),
    );
    world.run_and_compare("a group in a group", "incremental");

    let zoe = format!(
        "dn:: {}\nchangetype: modrdn\nnewrdn: uid=zoe\ndeleteoldrdn: 1\n",
        base64(&format!("uid=zoë,{people}"))
    );
    modify(&zoe);
    // The group goes on naming the old DN until somebody, or refint, mends it.
    let members = format!(
        "delete: member\nmember: uid=zo\\C3\\AB,{people}\n-\nadd: member\nmember: uid=zoe,{people}"
    );
    world.admin.change(&group_dn("nested-inner"), &members);
    let ran = world.run_and_compare("a held entry is mended", "incremental");
    assert_eq!(ran.report["held"].as_array().unwrap().len(), 0, "{}", ran.report);

    // Nothing that any slapd has ever given out.
    world.change_cookie(|_| b"this is no cookie".to_vec());
    world.run_and_compare("garbage for a cookie", "full");
    world.run_and_compare("and incremental again", "incremental");
}

/// A group that is sent while one of its members is out of scope or held lacks the member. The
/// member gets the group when it is back, although the group does not change again.
fn groups_are_sent_while_a_member_is_away(world: &Between, leaving: Leaving) {
    let team = || world.kanidm.entry(ACCOUNT, "team001").unwrap().member;
    let is_member = |number: usize| {
        let person = world.kanidm.entry(ACCOUNT, &user_name(number));
        person.is_some_and(|person| team().contains(&person.uuid))
    };
    let edit = |text: &str| {
        world
            .admin
            .change(&group_dn("team001"), &format!("replace: description\ndescription: {text}"));
        world.run(&[], 3);
    };
    let number = (16..100).find(|number| is_member(*number)).expect("a member of team001");
    let (dn, name) = (user_dn(number), user_name(number));

    // Where leaving is reported, the person is deleted, and Kanidm does not take it back at once.
    if leaving == Leaving::Unnoticed {
        world.admin.change(&dn, "replace: employeeType\nemployeeType: out");
        edit("while a member is out of the filter");
        assert!(!is_member(number));
        world.admin.change(&dn, "delete: employeeType");
        world.run_and_compare("is back in the filter, with the group", "incremental");
        assert!(is_member(number));
    }

    let rename = |from: &str, to: &str| {
        let modrdn = "changetype: modrdn\nnewrdn: uid=";
        world.admin.modify(&format!("dn: {from}\n{modrdn}{to}\ndeleteoldrdn: 1\n"));
    };
    rename(&dn, "bad name");
    edit("while a member is held");
    rename(&dn.replace(&name, "bad name"), &name);
    world.run_and_compare("has a name again, with the group", "incremental");
    assert!(is_member(number));
}
