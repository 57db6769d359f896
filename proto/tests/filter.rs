//! RFC 4515 filters: what they are read as, what is refused and where, and that writing undoes
//! reading.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use ldap_content_sync::filter::{
    Filter, FilterErrorKind, MAX_DEPTH, MAX_LENGTH, is_attribute_description,
};

fn parse(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn equality(attribute: &str, value: impl Into<Vec<u8>>) -> Filter {
    Filter::Equality { attribute: attribute.into(), value: value.into() }
}

fn substrings(attribute: &str, initial: &str, any: &[&str], final_: &str) -> Filter {
    let part = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
    Filter::Substrings {
        attribute: attribute.into(),
        initial: part(initial),
        any: any.iter().map(|text| text.as_bytes().to_vec()).collect(),
        final_: part(final_),
    }
}

fn extensible(
    attribute: Option<&str>,
    dn_attributes: bool,
    rule: Option<&str>,
    value: &str,
) -> Filter {
    Filter::Extensible {
        rule: rule.map(Into::into),
        attribute: attribute.map(Into::into),
        value: value.into(),
        dn_attributes,
    }
}

#[test]
fn the_examples_of_rfc_4515_section_4() {
    let not = |filter| Filter::Not(Box::new(filter));
    let cases = [
        ("(cn=Babs Jensen)", equality("cn", "Babs Jensen")),
        ("(!(cn=Tim Howes))", not(equality("cn", "Tim Howes"))),
        (
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
            Filter::And(vec![
                equality("objectClass", "Person"),
                Filter::Or(vec![equality("sn", "Jensen"), substrings("cn", "Babs J", &[], "")]),
            ]),
        ),
        ("(o=univ*of*mich*)", substrings("o", "univ", &["of", "mich"], "")),
        ("(seeAlso=)", equality("seeAlso", "")),
        (
            "(cn:caseExactMatch:=Fred Flintstone)",
            extensible(Some("cn"), false, Some("caseExactMatch"), "Fred Flintstone"),
        ),
        ("(cn:=Betty Rubble)", extensible(Some("cn"), false, None, "Betty Rubble")),
        (
            "(sn:dn:2.4.6.8.10:=Barney Rubble)",
            extensible(Some("sn"), true, Some("2.4.6.8.10"), "Barney Rubble"),
        ),
        ("(o:dn:=Ace Industry)", extensible(Some("o"), true, None, "Ace Industry")),
        ("(:1.2.3:=Wilma Flintstone)", extensible(None, false, Some("1.2.3"), "Wilma Flintstone")),
        ("(:DN:2.4.6.8.10:=Dino)", extensible(None, true, Some("2.4.6.8.10"), "Dino")),
        (
            "(o=Parens R Us \\28for all your parenthetical needs\\29)",
            equality("o", "Parens R Us (for all your parenthetical needs)"),
        ),
        ("(cn=*\\2A*)", substrings("cn", "", &["*"], "")),
        ("(filename=C:\\5cMyFile)", equality("filename", "C:\\MyFile")),
        ("(bin=\\00\\00\\00\\04)", equality("bin", [0, 0, 0, 4])),
        ("(sn=Lu\\c4\\8di\\c4\\87)", equality("sn", "Lučić")),
        ("(1.3.6.1.4.1.1466.0=\\04\\02\\48\\69)", equality("1.3.6.1.4.1.1466.0", b"\x04\x02Hi")),
    ];
    for (text, filter) in cases {
        assert_eq!(parse(text), filter, "{text}");
        assert_eq!(parse(&filter.to_string()), filter, "{text}");
    }
}

#[test]
fn the_other_forms() {
    let attribute = || String::from("a");
    let value = || b"1".to_vec();
    assert_eq!(parse("(a>=1)"), Filter::GreaterOrEqual { attribute: attribute(), value: value() });
    assert_eq!(parse("(a<=1)"), Filter::LessOrEqual { attribute: attribute(), value: value() });
    assert_eq!(parse("(a~=1)"), Filter::Approx { attribute: attribute(), value: value() });
    assert_eq!(parse("(a=*)"), Filter::Present { attribute: attribute() });
    assert_eq!(parse("(a=*b)"), substrings("a", "", &[], "b"));
    assert_eq!(parse("(a=b**c)"), substrings("a", "b", &[], "c"));
    assert_eq!(parse("(cn;lang-de;x-1=Zoë)"), equality("cn;lang-de;x-1", "Zoë"));
    assert_eq!(parse("(my_attr=a=b>c)"), equality("my_attr", "a=b>c"));
    assert_eq!(parse("(&)"), Filter::And(vec![]), "absolute true, RFC 4526");
    assert_eq!(parse("(|)"), Filter::Or(vec![]), "absolute false, RFC 4526");
}

#[test]
fn white_space_lays_a_filter_out_and_escaped_it_counts() {
    let filter = parse("\n (&\n\t( objectClass = person )\r\n (! ( cn = a b ) )\n)\n");
    assert_eq!(filter.to_string(), "(&(objectClass=person)(!(cn=a b)))");
    assert_eq!(parse("(cn= \\20a\\20 )"), equality("cn", " a "));
    assert_eq!(parse("(cn= a * b )"), substrings("cn", "a ", &[], " b"));
}

#[test]
fn a_value_in_double_quotes_is_taken_without_them() {
    assert_eq!(parse("(cn=\"my value\")"), equality("cn", "my value"));
    assert_eq!(parse("(memberOf=\"cn=a (b),dc=x\" )"), equality("memberOf", "cn=a (b),dc=x"));
    assert_eq!(parse("(cn=\" a \")"), equality("cn", " a "));
    assert_eq!(parse("(cn=\"\")"), equality("cn", ""));
    assert_eq!(parse("(cn=\"a*\\2a\")"), substrings("cn", "a", &[], "*"));
    assert_eq!(
        parse("(|(cn=\"a)\")(cn=b))"),
        Filter::Or(vec![equality("cn", "a)"), equality("cn", "b")])
    );
    assert_eq!(
        parse("(cn=say \"x\")"),
        equality("cn", "say \"x\""),
        "quotes that do not enclose the value belong to it"
    );
    assert_eq!(parse("(cn=\"a\"b\")"), equality("cn", "\"a\"b\""));
    assert_eq!(parse("(cn=\\22a\\22)"), equality("cn", "\"a\""));
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("", 0, "opening parenthesis"),
        ("cn=a", 0, "opening parenthesis"),
        ("(cn=a", 5, "closing parenthesis"),
        ("(cn=a))", 6, "end of the filter"),
        ("(cn=a)(cn=b)", 6, "end of the filter"),
        ("(&(cn=a)", 8, "closing parenthesis"),
        ("(&(cn=a)x)", 8, "closing parenthesis"),
        ("(!)", 2, "opening parenthesis"),
        ("()", 1, "attribute"),
        ("(=a)", 1, "attribute"),
        ("(1a=b)", 1, "attribute"),
        ("(1=b)", 1, "attribute"),
        ("(1..2=b)", 1, "attribute"),
        ("(01.2=b)", 1, "attribute"),
        ("(cn;=a)", 4, "option"),
        ("(cn)", 3, ":="),
        ("(cn>a)", 3, ":="),
        ("(cn=\\zz)", 4, "hexadecimal"),
        ("(cn=a\\2)", 5, "hexadecimal"),
        ("(cn=a\\", 5, "hexadecimal"),
        ("(cn=a(b)", 5, "\\28"),
        ("(cn=a\0)", 5, "\\00"),
        ("(cn>=a*)", 5, "\\2a"),
        ("(cn:=a*)", 5, "\\2a"),
        ("(cn=**)", 4, "asterisk"),
        ("(:=a)", 2, "rule"),
        ("(:dn:=a)", 5, "rule"),
        ("(cn::=a)", 4, "rule"),
        ("(cn:1.2=a)", 7, ":="),
        ("(cn:dn:1.2:a)", 10, ":="),
    ];
    for (text, offset, what) in cases {
        let error = Filter::parse(text).expect_err(text);
        assert_eq!(error.offset, offset, "{text}: {error}");
        assert!(error.to_string().contains(what), "{text}: {error}");
    }
}

#[test]
fn attribute_descriptions() {
    for valid in ["cn", "2.5.4.3", "cn;lang-de", "userCertificate;binary;x-1", "a_b", "x-1"] {
        assert!(is_attribute_description(valid), "{valid}");
    }
    for invalid in [
        "",
        "*",
        "+",
        "1.",
        "1",
        "1.1a",
        "cn ",
        " cn",
        "cn;",
        "c n",
        "cn=",
        "-a",
        "é",
        "cn;lang_de",
    ] {
        assert!(!is_attribute_description(invalid), "{invalid}");
    }
}

#[test]
fn depth_and_length_are_limited() {
    let nested =
        |levels: usize| format!("{}(a=b){}", "(!".repeat(levels - 1), ")".repeat(levels - 1));
    assert!(Filter::parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(Filter::parse(&nested(MAX_DEPTH + 1)).unwrap_err().kind, FilterErrorKind::TooDeep);
    let long = |length: usize| format!("(a={})", "x".repeat(length - 4));
    assert!(Filter::parse(&long(MAX_LENGTH)).is_ok());
    assert_eq!(Filter::parse(&long(MAX_LENGTH + 1)).unwrap_err().kind, FilterErrorKind::TooLong);
}

#[test]
fn writing_undoes_reading_and_cut_text_does_no_harm() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_4515);
    println!("SEED={seed}");
    let mut random = Random(seed);
    for _ in 0..5_000 {
        let filter = random.filter(5);
        let text = filter.to_string();
        assert_eq!(parse(&text), filter, "{text}");
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            assert!(Filter::parse(&text[..end]).is_err(), "{}", &text[..end]);
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }

    fn value(&mut self, shortest: u64) -> Vec<u8> {
        const OCTETS: &[u8] = b"ab \t\n\"()*\\=:#\0\x7f\xc3\xab\xff";
        (0..shortest + self.below(6))
            .map(|_| OCTETS[self.below(OCTETS.len() as u64) as usize])
            .collect()
    }

    fn filters(&mut self, depth: u64) -> Vec<Filter> {
        (0..self.below(4)).map(|_| self.filter(depth)).collect()
    }

    fn filter(&mut self, depth: u64) -> Filter {
        let attribute =
            ["cn", "cn;lang-de", "2.5.4.3", "a_b", "dn"][self.below(5) as usize].to_owned();
        let some_or = |wanted: bool, value: Vec<u8>| wanted.then_some(value);
        match self.below(if depth == 0 { 7 } else { 10 }) {
            0 => Filter::Equality { attribute, value: self.value(0) },
            1 => Filter::GreaterOrEqual { attribute, value: self.value(0) },
            2 => Filter::LessOrEqual { attribute, value: self.value(0) },
            3 => Filter::Approx { attribute, value: self.value(0) },
            4 => Filter::Present { attribute },
            5 => {
                let ends = 1 + self.below(3);
                Filter::Substrings {
                    attribute,
                    initial: some_or(ends & 1 != 0, self.value(1)),
                    any: (0..self.below(3)).map(|_| self.value(1)).collect(),
                    final_: some_or(ends & 2 != 0, self.value(1)),
                }
            }
            6 => {
                let parts = 1 + self.below(3);
                Filter::Extensible {
                    rule: (parts & 1 != 0).then(|| "caseExactMatch".to_owned()),
                    attribute: (parts & 2 != 0).then_some(attribute),
                    value: self.value(0),
                    dn_attributes: self.below(2) == 0,
                }
            }
            7 => Filter::And(self.filters(depth - 1)),
            8 => Filter::Or(self.filters(depth - 1)),
            _ => Filter::Not(Box::new(self.filter(depth - 1))),
        }
    }
}
