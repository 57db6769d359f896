//! Invented content for a directory, the same on every run: the suffix, four organisational units,
//! three service accounts, and then what [`SeedOptions`] asks for.
//!
//! | what | DN | worth knowing |
//! |---|---|---|
//! | users | `uid=user00001,ou=people` … | every third has three mail addresses, every second ssh keys, three kinds of password hash, names in many scripts, `shadowExpire` in the past where the number ends in 3 |
//! | odd groups | `cn=team001,ou=groups` | groupOfNames; every second of them spells its members unlike their entries ([`respell`]) |
//! | even groups | `cn=posix002,ou=groups` | posixGroup with memberUid |
//! | private groups | `cn=user00001,ou=groups` | posixGroup with the number of its user, no members |
//! | big group | `cn=biggroup,ou=groups` | groupOfNames |
//! | specials | see [`specials`] | escaped and non-ASCII DNs, a multi-valued RDN, locked, expired, attribute options, nested groups, a member that does not exist |

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

/// The root of every seeded directory.
pub const SUFFIX: &str = "dc=example,dc=com";
/// The password of the service accounts `cn=sync` (reads everything), `cn=limited` (ten entries at
/// most) and `cn=noright` (nothing).
pub const SYNC_PASSWORD: &str = "sync-secret-1";
/// The password of every special entry.
pub const SPECIAL_PASSWORD: &str = "special-secret";

/// Which server the LDIF is for: they differ in schema, access rules and how an account is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Slapd,
    Ds389,
}

/// What a directory holds at the start.
#[derive(Clone, Debug)]
pub enum Seed {
    /// Generated content.
    Generated(SeedOptions),
    /// These entries (LDIF) below a generated suffix with its units and service accounts.
    Content(String),
    /// This LDIF and nothing else; empty for an empty database.
    Verbatim(String),
}

/// How much of what. The default is 20 users, 4 groups and the specials.
#[derive(Clone, Debug)]
pub struct SeedOptions {
    pub users: usize,
    pub groups: usize,
    /// Members of `cn=biggroup`, the first so many users whether they exist or not; 0: no such
    /// group.
    pub big_group: usize,
    /// So many users have a group of their own.
    pub private_groups: usize,
    pub specials: bool,
    /// Gives every entry a UUID derived from this number and its DN; otherwise the server chooses,
    /// differently each time.
    pub uuids: Option<u32>,
}

impl Default for SeedOptions {
    fn default() -> Self {
        SeedOptions {
            users: 20,
            groups: 4,
            big_group: 0,
            private_groups: 0,
            specials: true,
            uuids: None,
        }
    }
}

impl SeedOptions {
    /// The 1,000 users and 50 groups that the end-to-end tests speak of.
    pub fn thousand() -> SeedOptions {
        SeedOptions { users: 1000, groups: 50, ..SeedOptions::default() }
    }
}

impl Seed {
    /// The whole content as LDIF.
    pub fn ldif(&self, flavour: Flavour) -> String {
        match self {
            Seed::Generated(options) => generate(options, flavour),
            Seed::Content(ldif) => format!("{}\n{ldif}", frame(flavour, None)),
            Seed::Verbatim(ldif) => ldif.clone(),
        }
    }
}

impl Default for Seed {
    fn default() -> Self {
        Seed::Generated(SeedOptions::default())
    }
}

/// The DN of a generated user.
pub fn user_dn(number: usize) -> String {
    format!("uid={},ou=people,{SUFFIX}", user_name(number))
}

/// The name of a generated user.
pub fn user_name(number: usize) -> String {
    format!("user{number:05}")
}

/// The DN of a group by its name.
pub fn group_dn(name: &str) -> String {
    format!("cn={name},ou=groups,{SUFFIX}")
}

/// The uidNumber of a generated user, clear of the numbers that Kanidm keeps for itself (60001 to
/// 65535).
pub fn user_number(number: usize) -> usize {
    if number <= 40_000 { 20_000 + number } else { 100_000 + number }
}

/// A generated user as one LDIF record, to add or re-create it later.
pub fn user_ldif(number: usize) -> String {
    let mut ldif = Ldif { text: String::new(), uuids: None, flavour: Flavour::Slapd };
    user(&mut ldif, number, &SeedOptions::default());
    ldif.text
}

/// The same DN in another spelling, of four: as the entry's own, with other case and spaces, with
/// spaces before the commas, with an escape.
pub fn respell(dn: &str, spelling: usize) -> String {
    match spelling % 4 {
        0 => dn.to_owned(),
        1 => dn.replace("uid=", "UID=").replace(",ou=people,dc=", ", OU=People, DC="),
        2 => dn.replace(',', " , "),
        _ => dn.replacen("uid=u", "uid=\\75", 1),
    }
}

fn generate(options: &SeedOptions, flavour: Flavour) -> String {
    let mut ldif = Ldif { text: frame(flavour, options.uuids), uuids: options.uuids, flavour };
    for number in 1..=options.users {
        user(&mut ldif, number, options);
    }
    for number in 1..=options.groups {
        group(&mut ldif, number, options.users);
    }
    for number in 1..=options.private_groups.min(options.users) {
        let (name, gid) = (user_name(number), user_number(number).to_string());
        ldif.entry(&group_dn(&name), &["top", "posixGroup"], &[("cn", &name), ("gidNumber", &gid)]);
    }
    if options.big_group > 0 {
        let members: Vec<String> = (1..=options.big_group).map(user_dn).collect();
        let members = members.iter().map(|member| ("member", member.as_str()));
        let attributes: Vec<_> = std::iter::once(("cn", "biggroup")).chain(members).collect();
        ldif.entry(&group_dn("biggroup"), &["top", "groupOfNames"], &attributes);
    }
    if options.specials {
        specials(&mut ldif);
    }
    ldif.text
}

/// Suffix, units and service accounts.
fn frame(flavour: Flavour, uuids: Option<u32>) -> String {
    let mut ldif = Ldif { text: String::new(), uuids, flavour };
    match flavour {
        Flavour::Slapd => ldif.entry(
            SUFFIX,
            &["top", "dcObject", "organization"],
            &[("dc", "example"), ("o", "Lab Example")],
        ),
        Flavour::Ds389 => {
            let allow = |targets: &str, name: &str, who: &str| {
                format!(
                    "(targetattr{targets})(version 3.0; acl \"{name}\"; allow(read,search,compare) userdn=\"{who}\";)"
                )
            };
            let sync = allow("=\"*\"", "sync", &format!("ldap:///cn=sync,{SUFFIX}"));
            let limited =
                allow("!=\"userPassword\"", "limited", &format!("ldap:///cn=limited,{SUFFIX}"));
            ldif.entry(
                SUFFIX,
                &["top", "domain"],
                &[("dc", "example"), ("aci", &sync), ("aci", &limited)],
            );
        }
    }
    for unit in ["people", "groups", "staff", "services"] {
        ldif.entry(&format!("ou={unit},{SUFFIX}"), &["top", "organizationalUnit"], &[("ou", unit)]);
    }
    for account in ["sync", "limited", "noright"] {
        let password = ssha(account, SYNC_PASSWORD);
        let mut attributes = vec![("cn", account), ("sn", account), ("userPassword", &password)];
        match (flavour, account) {
            (Flavour::Ds389, "sync") => attributes.extend(
                ["nsSizeLimit", "nsLookThroughLimit", "nsTimeLimit", "nsIdleTimeout"]
                    .map(|limit| (limit, "-1")),
            ),
            (Flavour::Ds389, "limited") => attributes.push(("nsSizeLimit", "10")),
            _ => {}
        }
        ldif.entry(&format!("cn={account},{SUFFIX}"), &["top", "person"], &attributes);
    }
    ldif.text
}

const PERSON: [&str; 5] =
    ["top", "person", "organizationalPerson", "inetOrgPerson", "posixAccount"];

#[rustfmt::skip]
const FIRST_NAMES: [&str; 30] = [
    "Ana", "Björn", "Chloé", "Dmitri", "Émile", "Fátima", "Grzegorz", "Hüseyin", "Ines", "José", "Kirsten", "Łukasz", "Małgorzata", "Noël", "Øyvind",
    "Pål", "Quentin", "Renée", "Søren", "Tomáš", "Ulla", "Vít", "Willem", "Xenia", "Yıldız", "Zoë", "太郎", "Мария", "Ελένη", "علي",
];
#[rustfmt::skip]
const LAST_NAMES: [&str; 25] = [
    "Andersson", "Brontë", "Çelik", "Dvořák", "Eriksen", "Fernández", "Gößmann", "Hansen", "Ivanov", "Jäger", "Kowalski", "Lefèvre", "Müller",
    "Nuñez", "O'Brien", "Pérez", "Quiñones", "Rossi", "Schröder", "Tanaka", "山田", "Петрова", "Παπαδοπούλου", "van der Berg", "d'Arc",
];

fn user(ldif: &mut Ldif, number: usize, options: &SeedOptions) {
    let uid = user_name(number);
    let (first, last) =
        (FIRST_NAMES[number % FIRST_NAMES.len()], LAST_NAMES[number * 7 % LAST_NAMES.len()]);
    let password = format!("Passw0rd-{uid}");
    let gid = if number <= options.private_groups {
        user_number(number)
    } else {
        5000 + number % options.groups.max(1)
    };
    let mut attributes: Vec<(&str, String)> = vec![
        ("uid", uid.clone()),
        ("cn", format!("{first} {last}")),
        ("sn", last.to_owned()),
        ("givenName", first.to_owned()),
        ("displayName", format!("{first} {last} ({number})")),
        ("mail", format!("{uid}@example.com")),
        ("uidNumber", user_number(number).to_string()),
        ("gidNumber", gid.to_string()),
        ("homeDirectory", format!("/home/{uid}")),
        ("loginShell", "/bin/bash".to_owned()),
        ("gecos", format!("User {number}")),
    ];
    let mut classes = PERSON.to_vec();
    if number.is_multiple_of(3) {
        attributes.extend([
            ("mail", format!("alias.{uid}@example.com")),
            ("mail", format!("{uid}@Lab.Example.NET")),
        ]);
    }
    attributes.push((
        "userPassword",
        match number % 3 {
            0 => ssha512(&uid, &password),
            1 => ssha(&uid, &password),
            // crypt-secret-1: the hash of one password for all, because 5,000 rounds for each would
            // take longer than everything else.
            _ => "{CRYPT}$6$labsalt0$RsbIflLehn.LXEng8MVX3jS21dL/qJY68xO8UiQJRB7Jo.iBREFPPvNDPQNJEab5tEICR0DzH820XGuqmmtOH/".to_owned(),
        },
    ));
    if number.is_multiple_of(2) {
        classes.push("ldapPublicKey");
        attributes.push(("sshPublicKey", ssh_key(number, "first")));
    }
    if number.is_multiple_of(4) {
        attributes.push(("sshPublicKey", ssh_key(number, "second")));
    }
    if number % 10 == 3 {
        classes.push("shadowAccount");
        attributes.extend(
            [("shadowExpire", "1"), ("shadowLastChange", "19000"), ("shadowMax", "99999")]
                .map(|(a, v)| (a, v.to_owned())),
        );
    }
    if number.is_multiple_of(5) {
        attributes.extend([
            ("telephoneNumber", format!("+49 30 {}", 1_000_000 + number)),
            ("description", format!("Zeile eins\nline two for {number}")),
        ]);
    }
    ldif.entry_owned(&user_dn(number), &classes, &attributes);
}

fn group(ldif: &mut Ldif, number: usize, users: usize) {
    if number.is_multiple_of(2) {
        let name = format!("posix{number:03}");
        let count = (2 + number % 15).min(users);
        let mut attributes = vec![("cn", name.clone()), ("gidNumber", (5000 + number).to_string())];
        attributes
            .extend((0..count).map(|k| ("memberUid", user_name((number * 17 + k) % users + 1))));
        ldif.entry_owned(&group_dn(&name), &["top", "posixGroup"], &attributes);
    } else {
        let name = format!("team{number:03}");
        let count = (3 + number % 20).min(users);
        let spelling = |k: usize| if number % 4 == 1 { k } else { 0 };
        let mut attributes =
            vec![("cn", name.clone()), ("description", format!("Équipe {number}"))];
        attributes
            .extend((0..count).map(|k| {
                ("member", respell(&user_dn((number * 13 + k) % users + 1), spelling(k)))
            }));
        if count == 0 {
            attributes.push(("member", format!("cn=sync,{SUFFIX}"))); // groupOfNames demands one
        }
        ldif.entry_owned(&group_dn(&name), &["top", "groupOfNames"], &attributes);
    }
}

/// One entry for each thing that is easily got wrong. `uid=zoë` has a name that Kanidm does not
/// accept; all others can be synchronised.
fn specials(ldif: &mut Ldif) {
    let flavour = ldif.flavour;
    let mut special = |number: usize,
                       rdn: &str,
                       cn: &str,
                       uid: &str,
                       classes: &[&str],
                       more: &[(&str, &str)]| {
        let (uid_number, home, password) = (
            (90_000 + number).to_string(),
            format!("/home/sp{number}"),
            ssha512(uid, SPECIAL_PASSWORD),
        );
        let mut attributes = vec![
            ("cn", cn),
            ("sn", "Special"),
            ("uid", uid),
            ("uidNumber", &uid_number),
            ("gidNumber", "5000"),
        ];
        attributes.extend([("homeDirectory", home.as_str()), ("userPassword", &password)]);
        attributes.extend(more);
        ldif.entry(&format!("{rdn},ou=people,{SUFFIX}"), &[&PERSON, classes].concat(), &attributes);
    };
    let display = ("displayName", "Special");
    special(
        1,
        r"cn=Smith\, John",
        "Smith, John",
        "comma.smith",
        &[],
        &[display, ("mail", "john.smith@example.com")],
    );
    special(2, r"cn=R\+D Lead", "R+D Lead", "plus.lead", &[], &[display]);
    special(3, r"cn=\ leading space", " leading space", "space.lead", &[], &[display]);
    special(
        4,
        "cn=Jürgen Müller-Lüdenscheidt",
        "Jürgen Müller-Lüdenscheidt",
        "umlaut.jm",
        &[],
        &[("displayName", "Jürgen «JM» Müller")],
    );
    special(5, "uid=zoë", "Zoë Brontë", "zoë", &[], &[display]);
    special(6, "cn=Multi Rdn+uid=multirdn", "Multi Rdn", "multirdn", &[], &[display]);
    special(7, "uid=nodisplay", "No Display", "nodisplay", &[], &[("cn", "nodisplay alias")]);
    let options = [
        ("displayName", "cn equals uid"),
        ("cn;lang-de", "Seltsamer Name"),
        ("cn;lang-fr", "Nom étrange"),
        ("description;lang-de", "Beschreibung"),
    ];
    special(8, "uid=cnodd", "cnodd", "cnodd", &[], &options);
    let lock = match flavour {
        Flavour::Slapd => ("pwdAccountLockedTime", "000001010000Z"),
        Flavour::Ds389 => ("nsAccountLock", "true"),
    };
    special(9, "uid=locked", "Locked Out", "locked", &[], &[display, lock]);
    special(
        10,
        "uid=expired",
        "Expired Shadow",
        "expired",
        &["shadowAccount"],
        &[display, ("shadowExpire", "1"), ("shadowLastChange", "18000")],
    );
    special(
        12,
        r"cn=Quote \22Hash\22 \#1 \3D \<a\>\; \\ end\ ",
        r#"Quote "Hash" #1 = <a>; \ end "#,
        "quote.hash",
        &[],
        &[display],
    );
    special(
        13,
        "uid=CamelCase",
        "Camel Case",
        "CamelCase",
        &[],
        &[display, ("mail", "Camel.Case@Example.COM")],
    );

    let mut nested = |name: &str, members: &[&str]| {
        let mut attributes = vec![("cn", name.to_owned())];
        attributes.extend(members.iter().map(|rdn| ("member", format!("{rdn},{SUFFIX}"))));
        ldif.entry_owned(&group_dn(name), &["top", "groupOfNames"], &attributes);
    };
    nested("nested-outer", &["cn=nested-inner,ou=groups", "uid=locked,ou=people"]);
    let inner = [
        r"cn=Smith\, John,ou=people",
        r"cn=R\2BD Lead,ou=people",
        r"cn=\20leading space,ou=people",
        r"uid=zo\C3\AB,ou=people",
        "uid=MULTIRDN+cn=multi rdn,ou=people",
        "cn=nested-outer,ou=groups",
        "uid=gone,ou=people",
    ];
    nested("nested-inner", &inner);
}

/// An LDIF being written.
struct Ldif {
    text: String,
    uuids: Option<u32>,
    flavour: Flavour,
}

impl Ldif {
    fn entry(&mut self, dn: &str, classes: &[&str], attributes: &[(&str, &str)]) {
        self.line("dn", dn);
        for class in classes {
            self.line("objectClass", class);
        }
        for (name, value) in attributes {
            self.line(name, value);
        }
        if let Some(seed) = self.uuids {
            let id = uuid(seed, dn);
            match self.flavour {
                Flavour::Slapd => self.line("entryUUID", &id.hyphenated().to_string()),
                Flavour::Ds389 => self.line("nsUniqueId", &ns_unique_id(&id)),
            }
        }
        self.text.push('\n');
    }

    fn entry_owned(&mut self, dn: &str, classes: &[&str], attributes: &[(&str, String)]) {
        let attributes: Vec<(&str, &str)> =
            attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.entry(dn, classes, &attributes);
    }

    fn line(&mut self, name: &str, value: &str) {
        let plain = value.bytes().all(|byte| (b' '..0x7f).contains(&byte))
            && !value.starts_with([' ', ':', '<'])
            && !value.ends_with(' ');
        match plain {
            true => writeln!(self.text, "{name}: {value}"),
            false => writeln!(self.text, "{name}:: {}", STANDARD.encode(value)),
        }
        .expect("writing to a string");
    }
}

/// The UUID that [`SeedOptions::uuids`] gives to an entry.
pub fn uuid(seed: u32, dn: &str) -> uuid::Uuid {
    let hash = digest::digest(&digest::SHA256, format!("{seed} {dn}").as_bytes());
    let bytes = hash.as_ref()[..16].try_into().expect("sixteen bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// A UUID as 389 spells it: `ac60034b-349811ed-a50d919b-4b1a5ec0`.
pub fn ns_unique_id(uuid: &uuid::Uuid) -> String {
    let hex = uuid.simple().to_string();
    format!("{}-{}-{}-{}", &hex[..8], &hex[8..16], &hex[16..24], &hex[24..])
}

fn ssha(salt: &str, password: &str) -> String {
    format!("{{SSHA}}{}", salted(&digest::SHA1_FOR_LEGACY_USE_ONLY, salt, password))
}

fn ssha512(salt: &str, password: &str) -> String {
    format!("{{SSHA512}}{}", salted(&digest::SHA512, salt, password))
}

fn salted(algorithm: &'static digest::Algorithm, salt: &str, password: &str) -> String {
    let salt = &digest::digest(&digest::SHA256, salt.as_bytes()).as_ref()[..8].to_vec();
    let hash = digest::digest(algorithm, &[password.as_bytes(), salt].concat());
    STANDARD.encode([hash.as_ref(), salt].concat())
}

fn ssh_key(number: usize, which: &str) -> String {
    let key = digest::digest(&digest::SHA256, format!("{number} {which}").as_bytes());
    let mut body = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    body.extend_from_slice(key.as_ref());
    format!("ssh-ed25519 {} user{number}@lab.example.com", STANDARD.encode(body))
}
