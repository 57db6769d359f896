//! Secrets, control characters, and a hostile directory.

use super::{dn, explain, world};
use crate::support::peer::{Link, Peer, SLAPD, done, entry};
use crate::support::pki::Pki;
use crate::support::tool::{ConfigText, Tool, run_command};

const MARKER: &str = "Marker5ecret";

/// Passwords of every kind, also where a configuration maps them to something else.
#[test]
fn no_secret_is_shown() {
    let mut world = world(&[]);
    for password in [
        format!("{{SSHA}}{MARKER}"),
        format!("{{{MARKER}}}x"),
        MARKER.to_owned(),
        format!("${MARKER}$"),
        format!("{{CRYPT}}!$6${MARKER}"),
    ] {
        world
            .slapd
            .change(&dn("alice"), &format!("replace: userPassword\nuserPassword: {password}\n"));
        for key in [
            "person_attr_password",
            "person_attr_display_name",
            "person_attr_mail",
            "person_attr_ssh_public_key",
        ] {
            world.reconfigure(|config| config.set(key, "userPassword"));
            for arguments in [
                &["--explain", "alice"][..],
                &["--explain", "alice", "--json"],
                &["--explain", "alice", "-d"],
            ] {
                let outcome = world.tool.run(arguments);
                assert!(outcome.stdout.contains("alice"), "{}", outcome.all());
                assert!(!outcome.all().contains(MARKER), "{key}: {password}\n{}", outcome.all());
            }
            world.reconfigure(|config| {
                config.without(key).set("person_attr_display_name", "displayName")
            });
        }
    }
    let shown = explain(&world, &dn("alice"), 0);
    assert!(shown.stdout.contains("{CRYPT} $6$, 23 bytes, with a lock mark"), "{}", shown.stdout);
}

/// Control characters of the directory drive no terminal.
#[test]
fn control_characters_are_escaped() {
    let world = world(&[]);
    world.slapd.change(&dn("alice"), "replace: displayName\ndisplayName:: G1sybQc=\n");
    for arguments in [&["--explain", "alice"][..], &["--explain", "alice", "--json"]] {
        let outcome = world.tool.run(arguments);
        assert!(
            outcome.stdout.contains("[2m") && !outcome.stdout.contains('\u{1b}'),
            "{}",
            outcome.all()
        );
    }
    let ascii = run_command(world.tool.command().args(["--explain", "dave"]).env("LC_ALL", "C"));
    assert!(ascii.stdout.is_ascii() && ascii.stdout.contains("[NO] (!"), "{}", ascii.stdout);
    let quiet = world.tool.run(&["-q", "--explain", "dave"]).expect_code(1);
    assert_eq!(quiet.stdout.lines().count(), 1, "{}", quiet.stdout);
}

/// Answers each search with so many copies of this entry, and with this code.
struct Odd {
    dn: String,
    attributes: Vec<(&'static str, Vec<String>)>,
    copies: usize,
    code: u32,
}

impl Odd {
    fn answer(&self, link: &mut Link) {
        link.begin(SLAPD);
        let values: Vec<(&str, Vec<&str>)> = self
            .attributes
            .iter()
            .map(|(name, values)| (*name, values.iter().map(String::as_str).collect()))
            .collect();
        let attributes: Vec<(&str, &[&str])> =
            values.iter().map(|(name, values)| (*name, values.as_slice())).collect();
        while let Some(request) = link.next_request().filter(|request| request.tag == 0x63) {
            for _ in 0..self.copies {
                link.send(entry(request.id, &self.dn, &attributes));
            }
            link.send(done(request.id, self.code, CONTROL));
        }
    }
}

const CONTROL: &str = "a\u{1b}[2J\u{202e}\n=> In Kanidm";

/// Whatever a server answers, the program ends, prints little and drives no terminal.
#[test]
fn a_hostile_directory() {
    let pki = Pki::new();
    let control = || vec![CONTROL.to_owned()];
    let many: Vec<String> = (0..400).map(|n| format!("uid={n},dc=example")).collect();
    let long = "x".repeat(20_000);
    let uuid = "5a2d3e52-8030-1041-8b63-19b16eaccf40";
    let attributes = |classes: &[String]| {
        vec![
            ("objectClass", classes.to_vec()),
            ("entryUUID", vec![uuid.to_owned()]),
            ("uid", many.clone()),
            ("cn", control()),
            ("displayName", vec![long.clone()]),
            ("mail", many.clone()),
            ("uidNumber", control()),
            (
                "sshPublicKey",
                [control(), vec![String::new(), "\n\n".to_owned(), "ssh-rsa".to_owned()]].concat(),
            ),
            ("userPassword", control()),
            ("member", many.clone()),
            ("shadowExpire", many.clone()),
            ("entryCSN", control()),
        ]
    };
    let person = attributes(&["inetOrgPerson".to_owned()]);
    let group = attributes(&["groupOfNames".to_owned()]);
    let every = attributes(
        &[many.clone(), vec!["inetOrgPerson".to_owned(), long.clone()], control()].concat(),
    );
    let neither = attributes(&many);
    let dn = "uid=a,dc=example";
    for (what, dn, attributes, copies, code) in [
        ("a person", dn, &person, 1, 0),
        ("a group", dn, &group, 1, 0),
        ("every class", dn, &every, 1, 0),
        ("no class", dn, &neither, 1, 0),
        ("no attribute", dn, &Vec::new(), 1, 0),
        ("another DN than the one asked for", "dc=elsewhere", &person, 1, 0),
        ("no DN", "", &person, 1, 0),
        ("a DN of control characters", CONTROL, &person, 1, 0),
        ("a long DN", &long, &person, 1, 0),
        ("more entries than one can have", dn, &person, 3, 0),
        ("nothing", dn, &person, 0, 0),
        ("no such object", dn, &person, 0, 32),
        ("a referral", dn, &person, 0, 10),
        ("no rights", dn, &person, 0, 50),
        ("a size limit", dn, &person, 1, 4),
        ("busy", dn, &person, 1, 51),
    ] {
        for who in ["a", "uid=a,dc=example", uuid] {
            let odd = Odd { dn: dn.to_owned(), attributes: attributes.clone(), copies, code };
            let peer = Peer::tls(&pki.localhost(), move |link| odd.answer(link));
            let config =
                ConfigText::for_directory(&format!("ldaps://localhost:{}", peer.port), pki.ca())
                    .set("ldap_sync_base_dn", "dc=example")
                    .set("person_objectclass", "inetOrgPerson")
                    .set("sync_token", "a-token-of-some-length");
            let tool = Tool::new(&config, &ConfigText::new().set("uri", "https://127.0.0.1:1"));
            let outcome = tool.run(&["--explain", who]);
            assert!(matches!(outcome.code, Some(0 | 1 | 3)), "{what}: {:?}", outcome.code);
            let all = outcome.all();
            assert!(
                !all.contains("panicked") && !all.contains(['\u{1b}', '\u{202e}']),
                "{what}\n{all}"
            );
            assert!(!outcome.stdout.contains("\n=> In Kanidm"), "{what}\n{all}");
            assert!(all.len() < 200_000, "{what}: {} bytes", all.len());
        }
    }
}
