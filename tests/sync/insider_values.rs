//! Everything odd that an insider may write: into attributes of the own entry, and into a group.
//! Whatever it is, another user's lock comes and goes with the same run, and nobody is deleted. On
//! a real slapd and the real Kanidm engine.
//!
//! The table that it prints stands in docs/security.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::expect::GROUPS_OF_NAMES;
use crate::support::seed::{SUFFIX, Seed, SeedOptions, group_dn, user_dn, user_name};
use crate::support::slapd::SlapdOptions;
use crate::support::world::{ACCOUNT, FILTER, Ran, World};

const HASH: &str = "{SSHA}sLRx2RD53fUcGsJIySAwPUKAJAGpm4TW1v7ZIg==";
const LOCKED: &str = "!{SSHA}locked";
/// In the place of the other user's address.
const OF_ANOTHER: &str = "another";

/// In words, the attribute, its values, and what must come of it.
type Case = (&'static str, &'static str, Vec<Vec<u8>>, Comes);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// The directory does not take it.
    Refused,
    /// It is sent, or has no meaning.
    Sent,
    /// The entry is sent without it.
    LeftOut,
    /// The entry is held.
    Held,
}

use Comes::{Held, LeftOut, Refused, Sent};

fn many(count: usize, value: impl Fn(usize) -> String) -> Vec<Vec<u8>> {
    (0..count).map(|n| value(n).into_bytes()).collect()
}

fn one(value: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
    vec![value.as_ref().to_vec()]
}

fn large() -> Vec<u8> {
    vec![b'x'; 10 << 20]
}

/// What whoever may write the own entry can write.
fn of_a_person() -> Vec<Case> {
    let number = |words, number: &str, comes| (words, "uidNumber", one(number), comes);
    vec![
        ("1,000 addresses", "mail", many(1_000, |n| format!("n{n}@example.com")), Sent),
        ("1,001 addresses", "mail", many(1_001, |n| format!("n{n}@example.com")), LeftOut),
        ("10 MB", "mail", one(large()), LeftOut),
        ("NUL", "mail", one("a\0b@example.com"), LeftOut),
        ("invalid UTF-8", "mail", one(b"a\xffb@example.com"), Refused),
        ("another user's in another case", "mail", one("USER00002@example.com"), Sent),
        ("another user's", "mail", one(OF_ANOTHER), LeftOut),
        ("a letter that is none of ASCII's", "mail", one("\u{430}dmin@example.com"), Refused),
        ("1,001 lines", "sshPublicKey", many(1_001, |n| format!("no key {n}")), LeftOut),
        ("1,001 lines in one value", "sshPublicKey", one("no key\n".repeat(1_001)), LeftOut),
        ("10 MB", "sshPublicKey", one(large()), LeftOut),
        (
            "NUL and invalid UTF-8",
            "sshPublicKey",
            vec![b"ssh-ed25519 \0".to_vec(), b"\xff\xfe".to_vec()],
            LeftOut,
        ),
        ("options before the key", "sshPublicKey", one("command=\"sh\" ssh-ed25519 AAAA"), LeftOut),
        ("10 MB", "userPassword", one(large()), LeftOut),
        (
            "NUL and invalid UTF-8",
            "userPassword",
            vec![b"{SSHA}\0".to_vec(), b"\xff\xfe".to_vec()],
            Refused,
        ),
        ("1,000 hashes", "userPassword", many(1_000, |n| format!("{{MD5}}{n}")), Refused),
        (
            "a hash of 4 TiB of memory",
            "userPassword",
            one(
                "{ARGON2}$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
            ),
            LeftOut,
        ),
        ("10 MB", "displayName", one(large()), Held),
        ("NUL", "displayName", one("a\0b"), Held),
        (
            "text that turns its direction, and a mark of no width",
            "displayName",
            one("\u{202e}nimda\u{feff}"),
            Sent,
        ),
        ("1,000 names", "displayName", many(1_000, |n| format!("Name {n}")), Refused),
        ("NUL", "loginShell", one("/bin/\0sh"), LeftOut),
        ("10 MB", "loginShell", one(large()), LeftOut),
        ("a path of somebody else's", "loginShell", one("../../tmp/x"), Sent),
        number("0", "0", LeftOut),
        number("999, the last of the system's", "999", LeftOut),
        number("1000", "1000", Sent),
        number("60001", "60001", LeftOut),
        number("65535, which is (uid_t)-1 of 16 bits", "65535", LeftOut),
        number("65536", "65536", Sent),
        number("2147483647", "2147483647", Sent),
        number("2147483648", "2147483648", LeftOut),
        number("4294967295, which is (uid_t)-1", "4294967295", LeftOut),
        number("4294967297, which is 1 in 32 bits", "4294967297", LeftOut),
        number("-1", "-1", LeftOut),
        number("400 digits", &"9".repeat(400), LeftOut),
    ]
}

/// What the owner of a group can write.
fn of_a_group() -> Vec<Case> {
    let own = group_dn("team001");
    let spelled = |n: usize| {
        user_dn(3).replacen("uid=", &format!("{}uid{} = ", " ".repeat(n % 9), " ".repeat(n / 9)), 1)
    };
    vec![
        (
            "itself, and a group that has it as a member",
            "member",
            vec![own.clone().into_bytes(), group_dn("team003").into_bytes()],
            Sent,
        ),
        ("a user spelled in 500 ways", "member", many(500, spelled), Refused),
        (
            "20,000 DNs of nobody",
            "member",
            many(20_000, |n| format!("uid=nobody{n},{}", user_dn(1))),
            Sent,
        ),
        (
            "a DN of 8,100 bytes",
            "member",
            one(format!("cn={},{}", "x".repeat(8_000), user_dn(1))),
            Sent,
        ),
        (
            "a DN of 64 kB",
            "member",
            one(format!("cn={},{}", "x".repeat(64_000), user_dn(1))),
            Refused,
        ),
        ("NUL in a DN", "member", one(format!("cn=a\\00b,{}", user_dn(1))), Sent),
        ("10 MB", "description", one(large()), LeftOut),
        ("NUL", "description", one("a\0b"), LeftOut),
    ]
}

#[test]
fn whatever_is_written_stops_nobody() {
    let seed = Seed::Generated(SeedOptions {
        users: 12,
        groups: 4,
        specials: false,
        ..SeedOptions::default()
    });
    let options = SlapdOptions { seed, sessionlog: Some(10_000), ..SlapdOptions::default() };
    let world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| {
        config.set("person_attr_display_name", "displayName")
    });
    world.run(&[], 0);
    let everybody = world.kanidm.entries(ACCOUNT).len();
    let mut is_locked = false;
    let mut table = String::new();
    let cases = of_a_person()
        .into_iter()
        .map(|case| (user_dn(4), case))
        .chain(of_a_group().into_iter().map(|case| (group_dn("team001"), case)));
    for (dn, (words, attribute, mut values, comes)) in cases {
        if values == one(OF_ANOTHER) {
            values = one(world.kanidm.entry(ACCOUNT, &user_name(2)).unwrap().mail[0].value.clone());
        }
        let before = world
            .slapd
            .search(&dn, "(objectClass=*)", &[attribute])
            .remove(0)
            .values(attribute)
            .to_vec();
        is_locked = !is_locked;
        world.slapd.modify(&replace(
            &user_dn(2),
            "userPassword",
            &one(if is_locked { LOCKED } else { HASH }),
        ));
        let taken = world.slapd.admin().try_modify(&replace(&dn, attribute, &values));
        assert_eq!(taken.is_err(), comes == Refused, "{attribute}, {words}: {taken:?}");
        let ran = world.run(&[], if [LeftOut, Held].contains(&comes) { 3 } else { 0 });
        let other = world.kanidm.entry(ACCOUNT, &user_name(2)).unwrap();
        assert_eq!(
            other.account_expire.is_some(),
            is_locked,
            "{attribute}, {words}: {}",
            ran.outcome.stderr
        );
        assert_eq!(world.kanidm.entries(ACCOUNT).len(), everybody, "{attribute}, {words}");
        let (word, said) = came_of(&ran, comes, &dn);
        table.push_str(&format!("| `{attribute}` | {words} | {word}{said} |\n"));
        world.slapd.modify(&replace(&dn, attribute, &before));
        let mended = world.run(&[], 0);
        assert!(
            mended.report["held"].as_array().unwrap().is_empty(),
            "{attribute}, {words}: it can be mended"
        );
    }
    println!("{table}");
}

fn came_of(ran: &Ran, comes: Comes, dn: &str) -> (&'static str, String) {
    let rule = |list: &str| {
        let named: Vec<_> =
            ran.report[list].as_array().unwrap().iter().filter(|entry| entry["dn"] == dn).collect();
        assert!(!named.is_empty(), "{dn} is not among the {list}: {}", ran.outcome.stderr);
        let problem = if list == "held" { &named[0]["problems"][0] } else { named[0] };
        format!(": {}", problem["rule"].as_str().unwrap())
    };
    match comes {
        Refused => ("the directory does not take it", String::new()),
        Sent => ("sent", String::new()),
        LeftOut => ("left out", rule("dropped")),
        Held => ("held", rule("held")),
    }
}

fn replace(dn: &str, attribute: &str, values: &[Vec<u8>]) -> String {
    let values: String =
        values.iter().map(|value| format!("{attribute}:: {}\n", STANDARD.encode(value))).collect();
    format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{values}\n")
}

/// More of them than Kanidm remembers: the next run is a full one. `BAD_ENTRIES=100000` takes more.
#[test]
fn any_number_of_bad_entries_stops_nobody() {
    let number: usize = std::env::var("BAD_ENTRIES")
        .map_or(10_050, |text| text.parse().expect("BAD_ENTRIES is a number"));
    let seed = Seed::Generated(SeedOptions {
        users: 12,
        groups: 4,
        specials: false,
        ..SeedOptions::default()
    });
    let options = SlapdOptions { seed, sessionlog: Some(1_000_000), ..SlapdOptions::default() };
    let world = World::with(options, GROUPS_OF_NAMES, FILTER, |config| config);
    world.run(&[], 0);
    let everybody = world.kanidm.entries(ACCOUNT).len();
    let classes = "objectClass: inetOrgPerson\nobjectClass: posixAccount\nsn: x\ngidNumber: 1\nhomeDirectory: /";
    let bad = |n: usize| {
        format!(
            "dn: cn=bad{n},ou=people,{SUFFIX}\nchangetype: add\n{classes}\ncn: bad{n}\nuid: {n}\nuidNumber: {n}\n\n"
        )
    };
    world.slapd.modify(&(0..number).map(bad).collect::<String>());
    for (is_locked, mode) in [(true, "incremental"), (false, "full"), (true, "full")] {
        world.slapd.modify(&replace(
            &user_dn(2),
            "userPassword",
            &one(if is_locked { LOCKED } else { HASH }),
        ));
        let started = std::time::Instant::now();
        let ran = world.run(&[], 3);
        println!("{number} bad entries, {mode}: {:.1} s", started.elapsed().as_secs_f64());
        assert_eq!(
            (&ran.report["mode"], ran.report["held"].as_array().unwrap().len()),
            (&mode.into(), number),
            "{}",
            ran.outcome.stderr
        );
        assert_eq!(
            world.kanidm.entry(ACCOUNT, &user_name(2)).unwrap().account_expire.is_some(),
            is_locked
        );
        assert_eq!(world.kanidm.entries(ACCOUNT).len(), everybody);
    }
}
