//! What the comparison form makes equal, and what it keeps apart.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use ldap_content_sync::dn::{Dn, normalize, normalize_into};

fn form(dn: &str) -> String {
    normalize(dn).unwrap_or_else(|e| panic!("{dn}: {e}"))
}

/// Spellings of one name, the first as slapd 2.5 and 389-ds 2.3 spell the entry's own name (shared
/// captures, "odd" entries).
const SPELLINGS: &[&[&str]] = &[
    &[
        "uid=user00014,ou=People,dc=example,dc=com",
        "UID=user00014, OU=People, DC=example , dc=com",
        "userid=USER00014;ou=people ;dc=Example;dc=com",
        "0.9.2342.19200300.100.1.1=user00014,2.5.4.11=people,dc=example,0.9.2342.19200300.100.1.25=COM",
        "OID.0.9.2342.19200300.100.1.1 = user00014 , organizationalUnitName=people,domainComponent=example,dc=com",
        "uid=\"user00014\",ou=people,dc=example,dc=com",
        " uid=user0001\\34,\r\n ou=people,dc=example,dc=com ",
        "uid=#0409757365723030303134,ou=people,dc=example,dc=com",
    ],
    &[
        "cn=R\\2BD Lead,ou=people",
        "cn=R\\+D Lead,ou=people",
        "cn=\"R+D Lead\",ou=people",
        "CN=r\\2bd   lead,OU=People",
    ],
    &["cn=Smith\\2C John,ou=people", "cn=Smith\\, John,ou=people", "cn=\"smith, john\";ou=people"],
    &[
        "cn=\\20leading space,ou=people",
        "cn=\\ leading space,ou=people",
        "cn = \\20leading  space , ou=people",
    ],
    &[
        "cn=Quote \\22Hash\\22 #1 \\3D \\3Ca\\3E\\3B \\5C end\\20,ou=people",
        "cn=Quote \\\"Hash\\\" #1 = \\<a\\>\\; \\\\ end\\ ,ou=people",
        "cn=\"quote \\\"hash\\\" #1 = <a>; \\\\ end \",ou=people",
    ],
    &["uid=zoë,ou=people", "uid=zo\\C3\\AB,ou=people", "UID=ZOË,ou=people"],
    &[
        "cn=Multi Rdn+uid=multirdn,ou=people",
        "UID=MULTIRDN+cn=multi rdn,ou=people",
        "uid=multirdn + cn=multi  rdn, ou=people",
    ],
    &["cn=\\23hash,dc=x", "cn=\\#hash,dc=x"],
    &["cn=,dc=x", "cn= , dc=x", "cn=\"\",dc=x", "cn=#0400,dc=x"],
    &["", " "],
];

#[test]
fn spellings_of_one_name_have_one_form() {
    for spellings in SPELLINGS {
        for spelling in *spellings {
            assert_eq!(form(spelling), form(spellings[0]), "{spelling}");
            assert_eq!(Dn::parse(spelling), Dn::parse(spellings[0]));
        }
    }
}

#[test]
fn a_servers_own_spelling_in_lower_case_is_the_form() {
    for spellings in SPELLINGS {
        assert_eq!(form(spellings[0]), spellings[0].to_lowercase());
    }
}

/// What `slapdn` of OpenLDAP 2.5 makes of names: as entered, and "pretty", as it spells the name of
/// an entry.
const SLAPDN: &[(&str, &str)] = &[
    ("cn=a=b,dc=x", "cn=a\\3Db,dc=x"),
    ("cn=\\#hash,dc=x", "cn=\\23hash,dc=x"),
    ("cn=a#b,dc=x", "cn=a#b,dc=x"),
    ("cn=\\ ,dc=x", "cn=\\20,dc=x"),
    ("uid=b+cn=a,dc=x", "cn=a+uid=b,dc=x"),
    ("sn=b+cn=a,dc=x", "cn=a+sn=b,dc=x"),
    ("cn=ZO\\C3\\8B \\C3\\80Ž Ώ Џ,dc=x", "cn=ZOË ÀŽ Ώ Џ,dc=x"),
    ("userid=a,commonName=b,dc=x", "uid=a,cn=b,dc=x"),
    ("emailAddress=a@b,dc=x", "email=a@b,dc=x"),
    ("cn=\"a,b\",dc=x", "cn=a\\2Cb,dc=x"),
    ("cn=a;dc=x", "cn=a,dc=x"),
    ("cn=a\\2a,dc=x", "cn=a*,dc=x"),
    ("cn=o'b*(x)&|~!/,dc=x", "cn=o'b*(x)&|~!/,dc=x"),
    ("employeeNumber=1,dc=x", "employeeNumber=1,dc=x"),
];

#[test]
fn slapd_spells_names_so() {
    for (entered, pretty) in SLAPDN {
        assert_eq!(form(entered), form(pretty), "{entered}");
    }
}

#[test]
fn the_form_of_a_form_is_itself() {
    for spelling in SPELLINGS.iter().flat_map(|spellings| spellings.iter()) {
        let once = form(spelling);
        assert_eq!(form(&once), once, "{spelling}");
    }
}

#[test]
fn different_names_have_different_forms() {
    let names = [
        "uid=a,dc=x",
        "uid=a,dc=y",
        "uid=a",
        "uid=a b,dc=x",
        "uid=ab,dc=x",
        "uid=\\20a,dc=x",
        "uid=a\\20,dc=x",
        "cn=a,dc=x",
        "cn=a\\2cdc=x",
        "cn=a+uid=a,dc=x",
        "cn=a\\2buid\\3da,dc=x",
        "cn=a,uid=a,dc=x",
        "cn=#3003020101,dc=x",
        "cn=\\233003020101,dc=x",
        "cn=\\ff,dc=x",
        "cn=\\fe,dc=x",
        "cn=ÿ,dc=x",
        "cn=\\5cff,dc=x",
        "cn=a\\00b,dc=x",
        "cn=ß,dc=x",
        "cn=ss,dc=x",
    ];
    for (i, a) in names.iter().enumerate() {
        for b in names.iter().skip(i + 1) {
            assert_ne!(form(a), form(b), "{a} and {b}");
        }
    }
}

#[test]
fn errors_say_where() {
    for (dn, offset) in [
        ("uid", 3),
        ("uid=a,", 6),
        ("=a", 0),
        ("cn=a+,dc=x", 5),
        ("cn=a<b", 4),
        ("cn=a\\zz", 5),
        ("cn=a\\2", 5),
        ("cn=a\\", 5),
        ("cn=\"a", 5),
        ("cn=\"a\"b", 6),
        ("cn=#0g", 4),
        ("cn=#", 4),
        ("cn=#040", 4),
        ("c n=a", 2),
        ("1.=a", 0),
        ("-a=b", 0),
        ("cn=a\"", 4),
        ("cn=a,,dc=x", 5),
    ] {
        assert_eq!(normalize(dn).map_err(|e| e.offset), Err(offset), "{dn}");
        assert!(!normalize(dn).unwrap_err().to_string().contains(dn));
    }
}

#[test]
fn a_buffer_can_be_used_again() {
    let mut buffer = String::from("left over");
    for dn in ["UID=a,dc=x", "cn=a\\+b"] {
        normalize_into(dn, &mut buffer).unwrap();
        assert_eq!(buffer, form(dn));
    }
}

/// Values that are escaped in every way a reader must understand come out alike, and cut anywhere
/// they do no harm.
#[test]
fn any_value_survives_any_escaping() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_4514);
    println!("SEED={seed}");
    let mut random = Random(seed);
    for _ in 0..2_000 {
        let value: String = (0..random.below(12))
            .map(|_| {
                random.pick(&[
                    'a', 'B', ' ', '"', '+', ',', ';', '<', '=', '>', '\\', '#', 'é', '\t', '\0',
                ])
            })
            .collect();
        let hex: String = value.bytes().map(|b| format!("\\{b:02X}")).collect();
        let quoted: String = value
            .chars()
            .flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] })
            .collect();
        let expected = form(&format!("cn={hex},dc=x"));
        assert_eq!(form(&format!("cn = \"{quoted}\" ; dc=x")), expected, "{value:?}");
        let ber: String = value.bytes().map(|b| format!("{b:02x}")).collect();
        assert_eq!(form(&format!("CN=#0c{:02x}{ber},DC=x", value.len())), expected, "{value:?}");
        assert_eq!(form(&expected), expected, "{value:?}");
        for end in (0..expected.len()).filter(|end| expected.is_char_boundary(*end)) {
            let _ = normalize(&expected[..end]);
        }
    }
}

/// The fast path for plain ASCII says what the parser says: a leading space sends a name past it.
#[test]
fn the_fast_path_and_the_parser_agree() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_0001);
    println!("SEED={seed}");
    let mut random = Random(seed);
    let pieces = [
        "cn",
        "UID",
        "commonName",
        "2.5.4.3",
        "=",
        "=",
        "=",
        "a",
        "B",
        "Ab c",
        " ",
        "  ",
        "#",
        "\"",
        "+",
        ",",
        ",",
        ";",
        "\\",
        "é",
        "-",
        ".",
    ];
    let mut names = 0;
    for _ in 0..50_000 {
        let dn: String = (0..random.below(9)).map(|_| random.pick(&pieces)).collect();
        let slow = normalize(&format!(" {dn}"));
        names += u32::from(slow.is_ok());
        assert_eq!(normalize(&dn).ok(), slow.ok(), "{dn:?}");
    }
    assert!(names > 1_000, "only {names} of the texts were names");
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
