//! Every safe way into a real slapd and a real 389-ds, and how each of them fails: StartTLS, the
//! unix socket and client certificates with SASL EXTERNAL, IPv6, several authorities.

use std::path::Path;

use crate::support::ds389::Ds389Options;
use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::pki::{Identity, Pki};
use crate::support::ports::has_ipv6;
use crate::support::seed::{SUFFIX, user_dn};
use crate::support::server_tls::ServerTls;
use crate::support::slapd::SlapdOptions;
use crate::support::temp::TempDir;
use crate::support::tool::ConfigText;
use crate::support::world::{Between, FILTER, World, World389};

#[test]
fn into_slapd() {
    let (pki, other) = (Pki::new(), Pki::named("Another CA"));
    let tls = Some(ServerTls::new(&pki, pki.localhost()));
    let options =
        SlapdOptions { tls, verify_client: "try", ipv6: has_ipv6(), ..SlapdOptions::default() };
    let mut world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| config);
    world.run_and_compare("ldaps", "full");
    let ways = Ways {
        starttls: world.slapd.starttls_uri(),
        ldapi: world.slapd.ldapi_uri(),
        ipv6: has_ipv6().then(|| world.slapd.ipv6_uri()),
        client: "ldap-sync",
    };
    every_way_in(&world, &ways, &pki, &other);

    // The certificate is good, and belongs to nobody who may read.
    fails(
        &world,
        "an unknown client",
        with_client(&pki.client("stranger")),
        &["noSuchObject (32)", "may not see it"],
    );
    let refused = [
        "accept the client certificate",
        ".crt, because it is expired, or issued by a CA that the server does not trust",
    ];
    fails(
        &world,
        "an expired client certificate",
        with_client(&pki.expired_client("ldap-sync")),
        &refused,
    );
    fails(
        &world,
        "a client of another authority",
        with_client(&other.client("ldap-sync")),
        &refused,
    );

    world.slapd.reconfigure(|options| options.verify_client = "demand");
    fails(
        &world,
        "no client certificate where one is demanded",
        |config| config,
        &["a client certificate", "ldap_client_cert"],
    );
    works(&world, "the certificate and a password", |config| {
        client_files(config, &pki.client("anybody"))
    });

    world.slapd.reconfigure(|options| options.verify_client = "never");
    let not_asked = ["SASL EXTERNAL", "client certificate that the server asks for"];
    fails(
        &world,
        "a client certificate that nobody asks for",
        with_client(&pki.client("ldap-sync")),
        &not_asked,
    );
    world.slapd.reconfigure(|options| options.without_tls = true);
    let refused = ["does not agree to StartTLS", "nothing was sent in clear"];
    fails(&world, "StartTLS refused", with_starttls(&ways.starttls), &refused);
    world.slapd.stop();
    fails(&world, "no socket", with_ldapi(&ways.ldapi), &["is the server running"]);
}

#[test]
fn into_ds389() {
    let (pki, other) = (Pki::new(), Pki::named("Another CA"));
    let tls = Some(ServerTls::new(&pki, pki.localhost()));
    let account = format!("cn=sync,{SUFFIX}");
    let settings = vec![("cn=config".to_owned(), "nsslapd-ldapimaprootdn".to_owned(), account)];
    let mut world = World389::with(
        Ds389Options { tls, ipv6: has_ipv6(), settings, ..Ds389Options::default() },
        FILTER,
        |config| config,
    );
    world.ds389.write_certmap("certmap default default\ndefault:DNComps\ndefault:FilterComps cn\n");
    world.ds389.restart();
    if has_ipv6() {
        let uri = world.ds389.ipv6_uri();
        world.reconfigure(|config| config.set("ldap_uri", uri));
    }
    world.run_and_compare("ldaps", "full");
    let ways = Ways {
        starttls: world.ds389.starttls_uri(),
        ldapi: world.ds389.ldapi_uri(),
        ipv6: has_ipv6().then(|| world.ds389.ipv6_uri()),
        client: "sync",
    };
    every_way_in(&world, &ways, &pki, &other);

    fails(
        &world,
        "an unknown client",
        with_client(&pki.client("stranger")),
        &["SASL EXTERNAL", "certmap.conf"],
    );
    let refused = "the server does not accept our client certificate";
    fails(
        &world,
        "an expired client certificate",
        with_client(&pki.expired_client("sync")),
        &[refused, "Expired"],
    );
    fails(&world, "a client of another authority", with_client(&other.client("sync")), &[refused]);

    world.ds389.reconfigure(|options| {
        let set =
            |dn: &str, name: &str, value: &str| (dn.to_owned(), name.to_owned(), value.to_owned());
        options.settings.push(set("cn=config", "nsslapd-ldapiautobind", "off"));
        options.settings.push(set("cn=encryption,cn=config", "nsSSLClientAuth", "required"));
    });
    fails(
        &world,
        "SASL EXTERNAL refused on the socket",
        with_ldapi(&ways.ldapi),
        &["SASL EXTERNAL"],
    );
    fails(
        &world,
        "no client certificate where one is demanded",
        |config| config,
        &["a client certificate", "ldap_client_cert"],
    );

    world.ds389.reconfigure(|options| {
        options.settings.push((
            "cn=config".to_owned(),
            "nsslapd-security".to_owned(),
            "off".to_owned(),
        ));
    });
    let refused = ["does not agree to StartTLS", "nothing was sent in clear"];
    fails(&world, "StartTLS refused", with_starttls(&ways.starttls), &refused);
    world.ds389.stop();
    fails(&world, "no socket", with_ldapi(&ways.ldapi), &["is the server running"]);
}

/// The addresses of a server, and the common name of a client certificate that it takes for the
/// sync account.
struct Ways {
    starttls: String,
    ldapi: String,
    ipv6: Option<String>,
    client: &'static str,
}

/// What both servers offer, and the failures that are ours to notice.
fn every_way_in(world: &Between, ways: &Ways, pki: &Pki, other: &Pki) {
    works(world, "StartTLS", with_starttls(&ways.starttls));
    works(world, "ldapi", with_ldapi(&ways.ldapi));
    works(world, "a client certificate", with_client(&pki.client(ways.client)));
    works(world, "a client certificate over StartTLS", |config| {
        with_client(&pki.client(ways.client))(with_starttls(&ways.starttls)(config))
    });
    match &ways.ipv6 {
        Some(uri) => drop(works(world, "IPv6", |config| config.set("ldap_uri", uri.as_str()))),
        None => println!("this machine has no ::1"),
    }

    let folder = TempDir::new("transports");
    let [ours, theirs] = [pki, other].map(|pki| std::fs::read_to_string(pki.ca()).unwrap());
    let bundle =
        folder.write("bundle.pem", format!("The other one first\n{theirs}\nand then\n{ours}"));
    works(world, "several authorities", |config| with_ca(config, &bundle));
    let untrusted = "is issued by a CA that is not trusted here; add the certificate of the CA \"Test CA\" to ldap_ca";
    fails(world, "the wrong authority", |config| with_ca(config, other.ca()), &[untrusted]);
    fails(
        world,
        "the wrong authority with StartTLS",
        |config| with_ca(with_starttls(&ways.starttls)(config), other.ca()),
        &[untrusted],
    );
    let outcome = works(world, "no authority", |config| {
        with_ca(config, other.ca()).set("ldap_verify_ca", false)
    });
    assert!(outcome.contains("WARN") && outcome.contains("ldap_verify_ca"), "{outcome}");

    let missing = folder.path().join("nothing");
    let missing = format!("ldapi://{}", missing.display().to_string().replace('/', "%2F"));
    fails(world, "no socket at all", with_ldapi(&missing), &["there is no socket", "nothing"]);
    usage(
        world,
        "in clear",
        |config| config.set("ldap_uri", ways.starttls.as_str()),
        &["ldap_uri", "ldap_starttls = true"],
    );
    usage(world, "nobody", nobody, &["ldap_sync_dn"]);
}

fn with_starttls(uri: &str) -> impl FnOnce(ConfigText) -> ConfigText {
    move |config| config.set("ldap_uri", uri).set("ldap_starttls", true)
}

fn with_ldapi(uri: &str) -> impl FnOnce(ConfigText) -> ConfigText {
    move |config| nobody(config).without("ldap_ca").set("ldap_uri", uri)
}

fn with_client(identity: &Identity) -> impl FnOnce(ConfigText) -> ConfigText {
    move |config| client_files(nobody(config), identity)
}

fn client_files(config: ConfigText, identity: &Identity) -> ConfigText {
    config
        .set("ldap_client_cert", text(&identity.certificate))
        .set("ldap_client_key", text(&identity.key))
}

fn with_ca(config: ConfigText, ca: &Path) -> ConfigText {
    config.set("ldap_ca", text(ca))
}

fn nobody(config: ConfigText) -> ConfigText {
    config.without("ldap_sync_dn").without("ldap_sync_pw")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A change arrives this way, as an incremental run after the one that gets to know the way.
/// Returns what was logged.
#[track_caller]
fn works(world: &Between, what: &str, change: impl FnOnce(ConfigText) -> ConfigText) -> String {
    world.tool.write_sync_config(&change(world.config.clone()));
    // A full one where it changes from an account by name to SASL EXTERNAL, or back.
    world.run(&[], 3);
    world.admin.change(&user_dn(1), &format!("replace: cn\ncn: By {what}"));
    let ran = world.run_and_compare(what, "incremental");
    world.tool.write_sync_config(&world.config);
    ran.outcome.stderr
}

/// The run fails, says each of `words`, and sends nothing.
#[track_caller]
fn fails(
    world: &Between,
    what: &str,
    change: impl FnOnce(ConfigText) -> ConfigText,
    words: &[&str],
) {
    refused(world, what, change, 1, words);
}

/// The configuration is refused.
#[track_caller]
fn usage(
    world: &Between,
    what: &str,
    change: impl FnOnce(ConfigText) -> ConfigText,
    words: &[&str],
) {
    refused(world, what, change, 2, words);
}

#[track_caller]
fn refused(
    world: &Between,
    what: &str,
    change: impl FnOnce(ConfigText) -> ConfigText,
    code: i32,
    words: &[&str],
) {
    world.kanidm.clear_log();
    world.tool.write_sync_config(&change(world.config.clone()));
    let outcome = world.tool.run(&[]).expect_code(code);
    println!("{what}:\n{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "{what}: {word:?} is not in: {}", outcome.stderr);
    }
    assert!(world.kanidm.posts().is_empty(), "{what}: something was sent");
    world.tool.write_sync_config(&world.config);
}
