//! Distinguished names: converts RFC 4514 text to a form in which equal names are equal strings.
//!
//! Scope: names as directories return them. A server spells an entry's own name in one way, but it
//! returns member values as they were entered. These two are the same name:
//!
//! - `UID=user00014, OU=People, DC=example , dc=com`
//! - `uid=user00014,ou=People,dc=example,dc=com`
//!
//! The parser accepts RFC 4514 and the older spellings listed in RFC 4514 §2.4 and RFC 2253 §4:
//! spaces around `,` `+` `=`, `;` as separator, values in double quotes, `OID.` before a numeric
//! type.
//!
//! # The comparison form
//!
//! The comparison form is the spelling that OpenLDAP and 389 Directory Server use for an entry's
//! own name, in lower case:
//!
//! - Attribute types are in lower case. Numeric OIDs and long names of the usual naming attributes
//!   (RFC 4519) become their short names.
//! - The pairs of type and value of a multi-valued RDN are sorted.
//! - Values are unescaped and in lower case by [`str::to_lowercase`], which Kanidm also uses. Runs
//!   of spaces become one space, and unescaped outer spaces are removed. A `#` value of a BER
//!   string becomes its content.
//! - These become `\` and two lower-case hexadecimal digits: `"` `+` `,` `;` `<` `=` `>` `\`,
//!   control characters, octets that are not UTF-8, a leading `#`, and an escaped leading or
//!   trailing space. All other characters stay as they are.
//!
//! Two names with the same form are the same name to every server we know. The reverse does not
//! hold: only the server knows schema-dependent matching, Unicode compatibility forms and escaped
//! outer spaces. If the form of a name matches no known entry, a search on the server decides.

use std::fmt;

/// A distinguished name in comparison form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dn(String);

impl Dn {
    /// Parses RFC 4514 text and the older spellings listed in the module documentation. The empty
    /// text is the root.
    pub fn parse(text: &str) -> Result<Dn, DnError> {
        normalize(text).map(Dn)
    }

    /// The comparison form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Converts a name to its comparison form.
pub fn normalize(dn: &str) -> Result<String, DnError> {
    let mut form = String::new();
    normalize_into(dn, &mut form)?;
    Ok(form)
}

/// Converts a name to its comparison form in a reusable buffer. The buffer is cleared first.
pub fn normalize_into(dn: &str, form: &mut String) -> Result<(), DnError> {
    form.clear();
    if is_plain(dn) {
        form.push_str(dn);
        form.make_ascii_lowercase();
        return Ok(());
    }
    Parser { rest: dn, length: dn.len() }.name(form)
}

/// The first RDN of a name, in comparison form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdn(String);

impl Rdn {
    /// The first RDN of RFC 4514 text. If the text is not a valid name, the RDN has no value.
    pub fn of(dn: &str) -> Rdn {
        let form = normalize(dn).unwrap_or_default();
        Rdn(form.split(',').next().unwrap_or_default().to_owned())
    }

    /// True if the RDN has this value for this attribute.
    pub fn has(&self, attribute: &str, value: &str) -> bool {
        let mut wanted = canonical_type(&attribute.to_ascii_lowercase()).to_owned();
        wanted.push('=');
        write_value(value.trim_matches(' ').as_bytes(), &mut wanted);
        self.0.split('+').any(|pair| pair == wanted)
    }
}

/// Reason why a text is not a distinguished name. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnError {
    /// Offset of the error in bytes from the start of the text.
    pub offset: usize,
    /// The syntax element that the parser expected.
    pub expected: &'static str,
}

impl fmt::Display for DnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: expected {}", self.offset + 1, self.expected)
    }
}

impl std::error::Error for DnError {}

/// Attribute types with several names: first the name in the comparison form, then its aliases.
const ALIASES: &[(&str, &[&str])] = &[
    ("c", &["countryname", "2.5.4.6"]),
    ("cn", &["commonname", "2.5.4.3"]),
    ("dc", &["domaincomponent", "0.9.2342.19200300.100.1.25"]),
    ("email", &["emailaddress", "pkcs9email", "1.2.840.113549.1.9.1"]),
    ("givenname", &["2.5.4.42"]),
    ("l", &["localityname", "2.5.4.7"]),
    ("mail", &["rfc822mailbox", "0.9.2342.19200300.100.1.3"]),
    ("o", &["organizationname", "2.5.4.10"]),
    ("ou", &["organizationalunitname", "2.5.4.11"]),
    ("serialnumber", &["2.5.4.5"]),
    ("sn", &["surname", "2.5.4.4"]),
    ("st", &["stateorprovincename", "2.5.4.8"]),
    ("street", &["streetaddress", "2.5.4.9"]),
    ("title", &["2.5.4.12"]),
    ("uid", &["userid", "0.9.2342.19200300.100.1.1"]),
];

/// Length of the shortest alias. Shorter types skip the table look-up.
const SHORTEST_ALIAS: usize = 6;

/// The comparison-form name of a type that is already in lower case.
fn canonical_type(lower: &str) -> &str {
    if lower.len() < SHORTEST_ALIAS {
        return lower;
    }
    ALIASES.iter().find(|(_, aliases)| aliases.contains(&lower)).map_or(lower, |(name, _)| name)
}

/// The fast path: ASCII, single-valued RDNs, no escapes and no space to fold. The lower-case
/// spelling of such a name is its comparison form.
fn is_plain(dn: &str) -> bool {
    dn.as_bytes().split(|b| *b == b',').all(is_plain_rdn)
}

fn is_plain_rdn(rdn: &[u8]) -> bool {
    let mut parts = rdn.splitn(2, |b| *b == b'=');
    parts.next().is_some_and(is_plain_type) && parts.next().is_some_and(is_plain_value)
}

fn is_plain_type(attribute: &[u8]) -> bool {
    let is_canonical = |attribute: &str| {
        canonical_type(&attribute.to_ascii_lowercase()).eq_ignore_ascii_case(attribute)
    };
    is_name(attribute)
        && (attribute.len() < SHORTEST_ALIAS
            || std::str::from_utf8(attribute).is_ok_and(is_canonical))
}

fn is_plain_value(value: &[u8]) -> bool {
    // Starting as if after a space makes a leading space a space to fold.
    let mut before = b' ';
    for &b in value {
        match b {
            b'\\' | b'"' | b'+' | b';' | b'<' | b'>' | b'=' => return false,
            b' ' if before == b' ' => return false,
            b' '..=b'~' => before = b,
            _ => return false,
        }
    }
    (before != b' ' || value.is_empty()) && !value.starts_with(b"#")
}

/// `descr` of RFC 4512 §1.4, plus underscores.
fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_numeric_oid(text: &str) -> bool {
    text.contains('.')
        && text
            .split('.')
            .all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Remaining input.
struct Parser<'a> {
    rest: &'a str,
    length: usize,
}

impl Parser<'_> {
    /// `distinguishedName` of RFC 4514 §3.
    fn name(mut self, form: &mut String) -> Result<(), DnError> {
        self.skip_spaces();
        if self.rest.is_empty() {
            return Ok(());
        }
        loop {
            self.rdn(form)?;
            match self.peek() {
                None => return Ok(()),
                Some(',' | ';') => form.push(','),
                Some(_) => return self.expected("a comma"),
            }
            self.advance(1);
        }
    }

    /// `relativeDistinguishedName`, sorted.
    fn rdn(&mut self, form: &mut String) -> Result<(), DnError> {
        let first = self.type_and_value()?;
        if self.peek() != Some('+') {
            form.push_str(&first);
            return Ok(());
        }
        let mut pairs = vec![first];
        while self.peek() == Some('+') {
            self.advance(1);
            pairs.push(self.type_and_value()?);
        }
        pairs.sort_unstable();
        form.push_str(&pairs.join("+"));
        Ok(())
    }

    /// `attributeTypeAndValue` in comparison form. Stops before the next separator.
    fn type_and_value(&mut self) -> Result<String, DnError> {
        self.skip_spaces();
        let mut pair = self.attribute_type()?;
        self.skip_spaces();
        if self.peek() != Some('=') {
            return self.expected("an equals sign after the attribute type");
        }
        self.advance(1);
        self.skip_spaces();
        pair.push('=');
        match self.peek() {
            Some('#') => self.hex_value(&mut pair)?,
            Some('"') => write_value(&self.quoted_value()?, &mut pair),
            _ => write_value(&self.string_value()?, &mut pair),
        }
        self.skip_spaces();
        Ok(pair)
    }

    fn attribute_type(&mut self) -> Result<String, DnError> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
            .unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        let lower = text.to_ascii_lowercase();
        let attribute = lower.strip_prefix("oid.").unwrap_or(&lower);
        if !is_name(attribute.as_bytes()) && !is_numeric_oid(attribute) {
            return self.expected("an attribute type such as cn or 2.5.4.3");
        }
        self.rest = rest;
        Ok(canonical_type(attribute).to_owned())
    }

    /// `hexstring`: the BER encoding of a value. A string compares by its content, any other type
    /// by its octets.
    fn hex_value(&mut self, pair: &mut String) -> Result<(), DnError> {
        self.advance(1);
        let end = self.rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let octets: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(hex_octet).collect();
        let Some(octets) = octets.filter(|octets| !octets.is_empty()) else {
            return self.expected("pairs of hexadecimal digits after the number sign");
        };
        self.rest = rest;
        match ber_string(&octets) {
            Some(content) => write_value(content, pair),
            None => {
                pair.push('#');
                pair.push_str(&digits.to_ascii_lowercase());
            }
        }
        Ok(())
    }

    /// `string`, unescaped, up to a separator. Unescaped outer spaces are removed.
    fn string_value(&mut self) -> Result<Vec<u8>, DnError> {
        let mut value = Vec::new();
        let mut kept = 0;
        while let Some(c) = self.peek() {
            match c {
                ',' | ';' | '+' => break,
                '"' | '<' | '>' | '\0' => {
                    return self.expected("a backslash before the special character");
                }
                '\\' => value.push(self.escape()?),
                _ => self.take(c, &mut value),
            }
            if c != ' ' {
                kept = value.len();
            }
        }
        value.truncate(kept);
        Ok(value)
    }

    /// `quotation` of RFC 1779 §2.3: text up to the closing quote. Apart from escapes, each
    /// character is literal.
    fn quoted_value(&mut self) -> Result<Vec<u8>, DnError> {
        self.advance(1);
        let mut value = Vec::new();
        loop {
            match self.peek() {
                None => return self.expected("a closing double quote"),
                Some('"') => break,
                Some('\\') => value.push(self.escape()?),
                Some(c) => self.take(c, &mut value),
            }
        }
        self.advance(1);
        Ok(value)
    }

    /// `pair`: a backslash, then a special character or two hexadecimal digits.
    fn escape(&mut self) -> Result<u8, DnError> {
        self.advance(1);
        let octets = self.rest.as_bytes();
        if let [
            special @ (b'"' | b'+' | b',' | b';' | b'<' | b'=' | b'>' | b'\\' | b' ' | b'#'),
            ..,
        ] = octets
        {
            self.advance(1);
            return Ok(*special);
        }
        let Some(octet) = octets.get(..2).and_then(hex_octet) else {
            return self
                .expected("a special character or two hexadecimal digits after the backslash");
        };
        self.advance(2);
        Ok(octet)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn advance(&mut self, octets: usize) {
        self.rest = self.rest.get(octets..).unwrap_or_default();
    }

    /// Appends the next character to a value.
    fn take(&mut self, c: char, value: &mut Vec<u8>) {
        value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.advance(c.len_utf8());
    }

    /// Skips spaces around separators, and line breaks of folded text.
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\r', '\n']);
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, DnError> {
        Err(DnError { offset: self.length - self.rest.len(), expected })
    }
}

/// Writes a value in comparison form. Outer spaces still in the value are significant.
fn write_value(value: &[u8], form: &mut String) {
    let mut folded = value.to_vec();
    folded.dedup_by(|b, a| *a == b' ' && *b == b' ');
    let (leading, rest) = match folded.as_slice() {
        [first @ (b' ' | b'#'), rest @ ..] => (Some(*first), rest),
        rest => (None, rest),
    };
    let (inner, trailing) = match rest {
        [inner @ .., b' '] => (inner, Some(b' ')),
        inner => (inner, None),
    };
    if let Some(octet) = leading {
        write_escape(octet, form);
    }
    for chunk in inner.utf8_chunks() {
        for c in chunk.valid().to_lowercase().chars() {
            match c {
                '"' | '+' | ',' | ';' | '<' | '=' | '>' | '\\' | '\0'..='\x1f' | '\x7f' => {
                    write_escape(c as u8, form)
                }
                _ => form.push(c),
            }
        }
        chunk.invalid().iter().for_each(|octet| write_escape(*octet, form));
    }
    if let Some(octet) = trailing {
        write_escape(octet, form);
    }
}

fn write_escape(octet: u8, form: &mut String) {
    form.push('\\');
    form.extend(
        [octet >> 4, octet & 0xf]
            .iter()
            .filter_map(|digit| char::from_digit(u32::from(*digit), 16)),
    );
}

/// The content of a primitive BER string with a short-form length: OCTET STRING, UTF8String,
/// PrintableString or IA5String.
fn ber_string(octets: &[u8]) -> Option<&[u8]> {
    match octets {
        [0x04 | 0x0c | 0x13 | 0x16, length @ 0..=0x7f, content @ ..]
            if content.len() == usize::from(*length) =>
        {
            Some(content)
        }
        _ => None,
    }
}

fn hex_octet(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    match digits {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}
