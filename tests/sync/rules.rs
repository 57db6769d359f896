//! Directory entries that each break one of Kanidm's rules for values, with the rule, and with how
//! they are mended.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::seed::SUFFIX;

/// Who finds an entry at fault, and whether it can be sent without the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// We do; the entry cannot do without the attribute.
    Required,
    /// We do; `drop-value` sends the entry without it.
    Optional,
    /// Only Kanidm can know.
    Kanidm,
}

/// An entry that breaks one rule.
#[derive(Clone, Debug)]
pub struct Bad {
    /// Names it in its DN.
    pub key: String,
    pub group: bool,
    /// As the directory calls it, in lower case.
    pub attribute: &'static str,
    pub values: Vec<String>,
    /// Words of the rule.
    pub rule: &'static str,
    pub verdict: Verdict,
}

/// Words of the rules.
pub const NAME: &str = "must be 1 to 64 of the characters";
const MISSING: &str = "is missing";
const CONTROL: &str = "control characters";
const RANGE: &str = "must be in 1000-60000";
const NUMBER: &str = "must be a decimal number";
const MAIL: &str = "must be an ASCII e-mail address";
pub const UNIQUE: &str = "must be unique, and is the same as that of";
const OWN: &str = "of Kanidm's own";
const TAKEN: &str = "is taken in Kanidm";

/// Every rule of the table in Kanidm's facts, some in several ways. `user00001` and so on are
/// generated users (see [`crate::support::seed`]); `kanidm-own` (number 7777, address `own@example.com`) and
/// the group `kanidm-team` (7778) are expected to be Kanidm's own.
pub fn bad_entries() -> Vec<Bad> {
    use Verdict::{Kanidm, Optional, Required};
    let too_long = "n".repeat(65);
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIGxhYi1rZXktbm90LXNlY3JldC1mb3ItdGVzdHMtMDAx";
    let options = format!("no-pty ssh-ed25519 {key}");
    let (another_type, cut) = (format!("ssh-rsa {key}"), format!("ssh-ed25519 {}", &key[..60]));
    let [too_long, options, another_type, cut] =
        [[too_long.as_str()], [&options], [&another_type], [&cut]];
    #[rustfmt::skip]
    let persons: Vec<(&str, &'static str, &[&str], &'static str, Verdict)> = vec![
        ("digit", "uid", &["1abc"], NAME, Required),
        ("at-sign", "uid", &["a@b"], NAME, Required),
        ("space", "uid", &["a b"], NAME, Required),
        ("dollar", "uid", &["host$"], NAME, Required),
        ("dash", "uid", &["-abc"], NAME, Required),
        ("umlaut", "uid", &["zoë"], NAME, Required),
        ("long", "uid", &too_long, NAME, Required),
        ("reserved", "uid", &["Root"], "is reserved by Kanidm", Required),
        ("also-reserved", "uid", &["dn=token"], "is reserved by Kanidm", Required),
        ("uuid", "uid", &["abcdefab-cdef-4bcd-8fab-cdefabcdefab"], "must not be a UUID", Required),
        ("blank-name", "uid", &[" "], MISSING, Required),
        ("twin-name", "uid", &["User00001"], UNIQUE, Required),
        ("taken-name", "uid", &["kanidm-own"], TAKEN, Kanidm),
        ("built-in-name", "uid", &["idm_admin"], OWN, Kanidm),

        ("low", "uidnumber", &["999"], RANGE, Optional),
        ("zero", "uidnumber", &["0"], RANGE, Optional),
        ("after-first", "uidnumber", &["60001"], RANGE, Optional),
        ("before-second", "uidnumber", &["60577"], RANGE, Optional),
        ("after-second", "uidnumber", &["61184"], RANGE, Optional),
        ("before-third", "uidnumber", &["65519"], RANGE, Optional),
        ("nobody", "uidnumber", &["65534"], RANGE, Optional),
        ("sixteen-bits", "uidnumber", &["65535"], RANGE, Optional),
        ("high", "uidnumber", &["2147483648"], RANGE, Optional),
        ("negative", "uidnumber", &["-1"], NUMBER, Optional),
        ("huge", "uidnumber", &["4294967296"], NUMBER, Optional),
        ("twin-number", "uidnumber", &["20003"], UNIQUE, Optional),
        ("taken-number", "uidnumber", &["7777"], TAKEN, Kanidm),

        ("no-at", "mail", &["nobody"], MAIL, Optional),
        ("two-ats", "mail", &["a@@b.example"], MAIL, Optional),
        ("space-in-mail", "mail", &["a b@example.com"], MAIL, Optional),
        ("empty-label", "mail", &["a@b..example"], MAIL, Optional),
        ("second-mail", "mail", &["second.mail@example.com", "nobody"], MAIL, Optional),
        ("twin-mail", "mail", &["user00002@example.com"], UNIQUE, Optional),
        ("taken-mail", "mail", &["own@example.com"], TAKEN, Kanidm),

        ("key-options", "sshpublickey", &options, "without options before it", Optional),
        ("key-garbage", "sshpublickey", &["garbage"], "must be an OpenSSH public key", Optional),
        ("key-type", "sshpublickey", &another_type, "the key is damaged", Optional),
        ("key-cut", "sshpublickey", &cut, "the key is damaged", Optional),

        ("blank-display", "cn", &[" "], MISSING, Required),
        ("two-lines", "cn", &["two\u{1}lines"], CONTROL, Required),
        ("legal-name", "displayname", &["a\u{7}bell"], CONTROL, Optional),
        ("shell", "loginshell", &["/bin/\u{7}sh"], CONTROL, Optional),

        ("clear", "userpassword", &["clear text secret"], "this is clear text or an unknown format", Optional),
        ("sasl", "userpassword", &["{SASL}sasl@REALM.EXAMPLE"], "{SASL} delegates", Optional),
        ("md5", "userpassword", &["{MD5}X03MO1qnZdYdgyfeuILPmQ=="], "does not import {MD5}", Optional),
        ("smd5", "userpassword", &["{SMD5}4QWGWZpj9GCmfuqEvm8HtZhZS6E="], "does not import {MD5}", Optional),
        ("bcrypt", "userpassword", &["{BCRYPT}$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie"], "scheme is unknown", Optional),
        ("bcrypt-crypt", "userpassword", &["{CRYPT}$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie"], "$1$, $5$ and $6$ only", Optional),
        ("yescrypt", "userpassword", &["{CRYPT}$y$j9T$LdJMENpBABJJ3hIHjB1Bi.$HboGM6qPrsK.StKYGt6KErmUYtioHreJd98oIugoNB6"], "$1$, $5$ and $6$ only", Optional),
        ("des", "userpassword", &["{CRYPT}saO0Bm9VHuTZM"], "$1$, $5$ and $6$ only", Optional),
        ("argon2i", "userpassword", &["{ARGON2}$argon2i$v=19$m=65536,t=2,p=1$IyTQMsvzB2JHDiWx8fq7Ew$VhYOA7AL0kbRXI5g2kOyyp8St1epkNj7WZyUY4pAIQQ"], "argon2id only", Optional),
        ("damaged-hash", "userpassword", &["{SSHA512}JwrSUHkI7FTAfHRVR6KoFlSN0E3dmaQWARjZ"], "the hash is damaged", Optional),
        ("no-scheme", "userpassword", &["$6$labsalt0$poZjPVkxzbMu5ddvUUd5gUO3pHFHnXttPBdG5A0"], "this is clear text or an unknown format", Optional),
    ];
    #[rustfmt::skip]
    let groups: Vec<(&str, &'static str, &[&str], &'static str, Verdict)> = vec![
        ("g-digit", "cn", &["1group"], NAME, Required),
        ("g-like-a-user", "cn", &["user00004"], UNIQUE, Required),
        ("g-admin", "cn", &["admin"], OWN, Kanidm),
        ("g-idm-admins", "cn", &["idm_admins"], OWN, Kanidm),
        ("g-taken", "cn", &["kanidm-team"], TAKEN, Kanidm),
        ("g-description", "description", &["two\u{1}lines"], CONTROL, Optional),
        ("g-number", "gidnumber", &["65534"], RANGE, Optional),
        ("g-like-a-users-number", "gidnumber", &["20005"], UNIQUE, Optional),
        ("g-taken-number", "gidnumber", &["7778"], TAKEN, Kanidm),
    ];
    let bad = |group: bool| {
        move |(key, attribute, values, rule, verdict): (
            &str,
            &'static str,
            &[&str],
            &'static str,
            Verdict,
        )| Bad {
            key: key.to_owned(),
            group,
            attribute,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            rule,
            verdict,
        }
    };
    persons.into_iter().map(bad(false)).chain(groups.into_iter().map(bad(true))).collect()
}

impl Bad {
    pub fn dn(&self) -> String {
        if self.group { group_dn(&self.key) } else { person_dn(&self.key) }
    }

    /// The entry as an LDIF record; `number` tells it from the others.
    pub fn record(&self, number: usize) -> String {
        let mut attributes = self.good(number);
        attributes.retain(|(name, _)| *name != self.attribute);
        attributes.extend(self.values.iter().map(|value| (self.attribute, value.clone())));
        if self.group { group(&self.key, &attributes) } else { person(&self.key, &attributes) }
    }

    /// The change that gives it the values it should have had.
    pub fn mended(&self, number: usize) -> String {
        let good = self.good(number).into_iter().filter(|(name, _)| *name == self.attribute);
        let mut ldif =
            format!("dn: {}\nchangetype: modify\nreplace: {}\n", self.dn(), self.attribute);
        good.for_each(|(name, value)| line(&mut ldif, name, &value));
        ldif + "\n"
    }

    fn good(&self, number: usize) -> Vec<(&'static str, String)> {
        if self.group { good_group(&self.key) } else { good_person(&self.key, number) }
    }
}

/// The DN of a person whose name is not part of it.
pub fn person_dn(key: &str) -> String {
    format!("employeeNumber={key},ou=people,{SUFFIX}")
}

/// The DN of a group whose name is not part of it.
pub fn group_dn(key: &str) -> String {
    format!("ou={key},ou=groups,{SUFFIX}")
}

/// What a person has who breaks no rule.
pub fn good_person(key: &str, number: usize) -> Vec<(&'static str, String)> {
    vec![
        ("uid", key.to_owned()),
        ("cn", format!("Person {key}")),
        ("displayname", format!("Legal {key}")),
        ("uidnumber", (30_000 + number).to_string()),
        ("loginshell", "/bin/sh".to_owned()),
        ("mail", format!("{key}@example.com")),
        ("userpassword", "{SSHA}EyzbBiP4u4zxOrLpKTORI/RX3HC6TCTJtnVOCQ==".to_owned()),
        (
            "sshpublickey",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxhYi1rZXktbm90LXNlY3JldC1mb3ItdGVzdHMtMDAx a@b"
                .to_owned(),
        ),
    ]
}

fn good_group(key: &str) -> Vec<(&'static str, String)> {
    vec![("cn", key.to_owned()), ("description", format!("Group {key}"))]
}

/// A person as an LDIF record.
pub fn person(key: &str, attributes: &[(&str, String)]) -> String {
    let classes = ["inetOrgPerson", "posixAccount", "ldapPublicKey"];
    let fixed =
        [("employeeNumber", key), ("sn", "x"), ("gidNumber", "5000"), ("homeDirectory", "/home/x")];
    record(&person_dn(key), &classes, &fixed, attributes)
}

/// A group of two users as an LDIF record.
pub fn group(key: &str, attributes: &[(&str, String)]) -> String {
    let members = [7, 8].map(crate::support::seed::user_dn);
    let fixed = [("ou", key), ("member", members[0].as_str()), ("member", members[1].as_str())];
    record(&group_dn(key), &["groupOfNames", "extensibleObject"], &fixed, attributes)
}

/// An LDIF record.
pub fn record(
    dn: &str,
    classes: &[&str],
    fixed: &[(&str, &str)],
    attributes: &[(&str, String)],
) -> String {
    let mut ldif = format!("dn: {dn}\n");
    classes.iter().for_each(|class| line(&mut ldif, "objectClass", class));
    fixed.iter().for_each(|(name, value)| line(&mut ldif, name, value));
    attributes.iter().for_each(|(name, value)| line(&mut ldif, name, value));
    ldif + "\n"
}

fn line(ldif: &mut String, name: &str, value: &str) {
    writeln!(ldif, "{name}:: {}", STANDARD.encode(value)).expect("writing to a string");
}

/// One hash of each kind that Kanidm imports; the password of all is `password`.
pub const ACCEPTED: &[(&str, &str)] = &[
    ("sha", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
    ("ssha", "{SSHA}EyzbBiP4u4zxOrLpKTORI/RX3HC6TCTJtnVOCQ=="),
    ("sha256", "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="),
    ("ssha256", "{SSHA256}luYWfFJOZgxySTsJXHgIaCYww4yMpu6yest69j/wO5n5OycuHFV/GQ=="),
    (
        "sha512",
        "{SHA512}sQnzu7wkTrgkQZF+0G1hi5AI3Qmzvv0bXgc5THBqi7mAsdd4Xll27ASbRt9fEyavWi6m0QP9B8lThf+rDKy8hg==",
    ),
    (
        "ssha512",
        "{SSHA512}JwrSUHkI7FTAfHRVR6KoFlSN0E3dmaQWARjZ+/UsShYlENOqDtFVU77HJLLrY2MuSp0jve52+pwtdVl2QUAHukQ0XUf5LDtM",
    ),
    ("pbkdf2", "{PBKDF2}10000$IlfapjA351LuDSwYC0IQ8Q$saHqQTuYnjJN/tmAndT.8mJt.6w"),
    ("pbkdf2-sha1", "{PBKDF2-SHA1}10000$ZBEH6B07rgQpJSikyvMU2w$TAA03a5IYkz1QlPsbJKvUsTqNV"),
    (
        "pbkdf2-sha256",
        "{PBKDF2-SHA256}10000$henZGfPWw79Cs8ORDeVNrQ$1dTJy73v6n3bnTmTZFghxHXHLsAzKaAy8SksDfZBPIw",
    ),
    (
        "pbkdf2-sha512",
        "{PBKDF2-SHA512}10000$Je1Uw19Bfv5lArzZ6V3EPw$g4T/1sqBUYWl9o93MVnyQ/8zKGSkPbKaXXsT8WmysXQJhWy8MRP2JFudSL.N9RklQYgDPxPjnfum/F2f/TrppA",
    ),
    (
        "argon2id",
        "{ARGON2}$argon2id$v=19$m=65536,t=2,p=1$IyTQMsvzB2JHDiWx8fq7Ew$VhYOA7AL0kbRXI5g2kOyyp8St1epkNj7WZyUY4pAIQQ",
    ),
    ("crypt-md5", "{CRYPT}$1$labsalt0$uXMCheiKspgkcVEZw3/8/0"),
    ("crypt-sha256", "{CRYPT}$5$labsalt0$KKslHDM8re7Ez.lsyYHyC0jnCNA3pF/pJzUxNyMfsg/"),
    (
        "crypt-sha512",
        "{CRYPT}$6$labsalt0$poZjPVkxzbMu5ddvUUd5gUO3pHFHnXttPBdG5A0./Qesz9g5mz59O/bySnA2IJSwtU4urH5.AIsrMz5DpRiUG1",
    ),
    ("django", "pbkdf2_sha256$1000$labsalt0$qMTKcRLUV/lLFrBxm28W8qXl66ylbJPuz5/nMVdWFMQ="),
    ("ipa-nt", "ipaNTHash: iEb36u6PsRetBr3YMLdYbA"),
    ("samba-nt", "sambaNTPassword: 8846F7EAEE8FB117AD06BDD830B7586C"),
];
