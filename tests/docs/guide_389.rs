//! docs/389-ds.md and then the README, step by step, on a new instance of 389-ds.

use crate::guide::{self, Guide};
use crate::support::ds389::{Ds389, Ds389Options};
use crate::support::seed::Seed;
use crate::support::temp::TempDir;
use crate::support::world::{ACCOUNT, Between};

#[test]
fn the_ds389_guide_leads_to_a_working_sync_account() {
    let seed = Seed::Verbatim(guide::content());
    let mut ds389 = Ds389::start(Ds389Options { seed, bare: true, ..Ds389Options::default() });
    let folder = TempDir::new("docs-389");
    guide::open(folder.path());
    let (ldapi, uri) = (ds389.ldapi_uri(), format!("ldaps://127.0.0.1:{}", ds389.ldaps_port()));
    let instead = [
        ("ldapi://%2Frun%2Fslapd-localhost.socket", ldapi.as_str()),
        ("ldaps://ldap.example.com", &uri),
        ("DNS:ldap.example.com", "IP:127.0.0.1"),
        ("dsctl localhost", &format!("dsctl {}", ds389.instance_name())),
    ];
    let guide = Guide::new(include_str!("../../docs/389-ds.md"), &folder, &instead);
    let [certificate, content_sync, account, look, client, socket] = guide.blocks("sh");
    let [schedule, posix, by_certificate, by_socket] = guide.blocks("toml");

    // What everybody else may read is not enough for a refresh: the account's own limit has to
    // count.
    guide.run(&format!(
        "ldapmodify -Q -Y EXTERNAL -H {ldapi} <<'EOF'\ndn: cn=config\nchangetype: modify\nreplace: nsslapd-sizelimit\n\
         nsslapd-sizelimit: 5\nEOF\n"
    ));
    guide.run(&certificate);
    let content_sync = content_sync
        .trim_end()
        .strip_suffix("systemctl restart dirsrv@localhost")
        .expect("a restart at the end");
    guide.run(content_sync);
    ds389.restart();
    guide.run(&account);
    let seen = guide.run(&look);
    assert!(
        seen.contains("numEntries: 45") && seen.contains("#cn=sync,dc=example,dc=com:"),
        "{seen}"
    );

    let mut world = guide.world(&schedule, ds389.admin(), "nsuniqueid");
    guide.follow_readme(&world, &uri, &schedule);
    world.admin.modify("dn: uid=user3,ou=people,dc=example,dc=com\nchangetype: delete\n");
    world.admin.modify("dn: uid=user4,ou=people,dc=example,dc=com\nchangetype: modify\nreplace: nsAccountLock\nnsAccountLock: true\n");
    guide::run(&world, "After a Deletion and a Lock", "incremental");
    assert!(world.kanidm.entry(ACCOUNT, "user4").unwrap().account_expire.is_some());
    // The filter takes every person. The sync account is one, and is none of Kanidm's, whether it
    // names itself or not.
    skips_itself(&world);

    guide.run(&client);
    world.reconfigure(|config| guide::with(config, &by_certificate));
    guide::run(&world, "By Client Certificate", "full");
    guide.run(&socket);
    world.reconfigure(|config| guide::with(config, &by_socket));
    guide::run(&world, "By the Local Socket", "incremental");
    skips_itself(&world);
    world.reconfigure(|config| guide::with(config, &posix));
    guide::run(&world, "With Unix Accounts Only", "full");
}

#[track_caller]
fn skips_itself(world: &Between) {
    let outcome = world.tool.run(&["--json", "--full-refresh"]).expect_code(0);
    assert!(outcome.stdout.contains("the sync account itself"), "{}", outcome.all());
}
