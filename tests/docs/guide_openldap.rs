//! docs/openldap.md and then the README, step by step, on a slapd with the configuration of
//! Debian's package. Needs root, as the documents do.

use crate::debian_slapd::{ADMIN_PASSWORD, DebianSlapd};
use crate::guide::{self, Guide};

#[test]
fn the_openldap_guide_leads_to_a_working_sync_account() {
    let slapd = DebianSlapd::start(&guide::content());
    guide::open(slapd.folder.path());
    let (ldapi, ldaps) = (slapd.ldapi_uri(), format!("ldaps://127.0.0.1:{}", slapd.ldaps_port()));
    let instead = [
        ("ldapi:///", ldapi.as_str()),
        ("ldapi://%2Frun%2Fslapd%2Fldapi", &ldapi),
        ("ldap://ldap.example.com", &format!("ldap://127.0.0.1:{}", slapd.port())),
        ("ldaps://ldap.example.com", &ldaps),
        ("DNS:ldap.example.com", "IP:127.0.0.1"),
        // Asks at the terminal.
        (" -W ", &format!(" -w {ADMIN_PASSWORD} ")),
    ];
    let guide = Guide::new(include_str!("../../docs/openldap.md"), &slapd.folder, &instead);
    let [certificate, content_sync, account, look, client, socket] = guide.blocks("sh");
    let [by_starttls, posix, tokens, by_certificate, by_socket] = guide.blocks("toml");

    // What everybody else may read is not enough for a refresh: the account's own limit has to
    // count.
    guide.run(&format!(
        "ldapmodify -Q -Y EXTERNAL -H {ldapi} <<'EOF'\ndn: olcDatabase={{-1}}frontend,cn=config\nchangetype: modify\n\
         replace: olcSizeLimit\nolcSizeLimit: 5\nEOF\n"
    ));
    for step in [&certificate, &content_sync, &account] {
        guide.run(step);
    }
    let seen = guide.run(&look);
    assert!(seen.contains("numEntries: 45") && seen.contains("rid=000,csn="), "{seen}");

    let mut world = guide.world("", slapd.admin(), "entryuuid");
    guide.follow_readme(&world, &ldaps, "");
    world.admin.modify("dn: uid=user3,ou=people,dc=example,dc=com\nchangetype: delete\n");
    guide::run(&world, "After a Deletion", "incremental");
    let listed = world
        .kanidm
        .posts()
        .into_iter()
        .any(|post| (post.retain.as_str(), post.retain_count) == ("Delete", 1));
    assert!(listed, "the session log tells what was deleted");

    world.reconfigure(|config| guide::with(config, &by_starttls));
    guide::run(&world, "By StartTLS", "incremental");
    guide.run(&client);
    world.reconfigure(|config| guide::with(config, &by_certificate));
    guide::run(&world, "By Client Certificate", "full");
    guide.run(&socket);
    world.reconfigure(|config| guide::with(config, &by_socket));
    guide::run(&world, "By the Local Socket", "incremental");
    world.reconfigure(|config| guide::with(config, &tokens));
    guide::run(&world, "With TOTP Tokens", "full");
    world.reconfigure(|config| guide::with(config, &posix));
    guide::run(&world, "With Unix Accounts Only", "full");
}
