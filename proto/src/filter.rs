//! Search filters: parses RFC 4515 text to a [`Filter`] and writes it back.
//!
//! Scope: all of RFC 4515 §3 and the absolute filters `(&)` and `(|)` of RFC 4526. The parser also
//! accepts extensions that configuration files use and that have only one meaning:
//!
//! - White space (space, tab, line break) may surround each parenthesis, attribute and value. This
//!   lets a long filter span several lines. Write outer white space of a value as `\20`.
//! - Double quotes around a whole assertion value are removed, as in Kanidm's own sync tool:
//!   `(cn="R (and) D")`. Parentheses between them are plain characters; `*` and `\xx` keep their
//!   meaning. Write a double quote that belongs to the value as `\22`. A double quote that does not
//!   enclose the whole value is a plain character.
//! - Attribute descriptions may contain underscores. RFC 4512 forbids them, but real schemas use
//!   them.
//!
//! The outermost parentheses are required, as in RFC 4515.

use std::fmt;

/// Maximum nesting depth of a filter.
pub const MAX_DEPTH: usize = 64;
/// Maximum length of a filter text in bytes.
pub const MAX_LENGTH: usize = 64 * 1024;

/// A search filter, RFC 4511 §4.5.1.7. Values are unescaped octets. Attributes are descriptions
/// with their options, spelled as in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant shows the text its fields are read from")]
pub enum Filter {
    /// All filters match. Without filters it is always true (RFC 4526).
    And(Vec<Filter>),
    /// At least one filter matches. Without filters it is always false (RFC 4526).
    Or(Vec<Filter>),
    /// The filter does not match.
    Not(Box<Filter>),
    /// `(attribute=value)`.
    Equality { attribute: String, value: Vec<u8> },
    /// `(attribute=initial*any*final)`, with at least one part. No part is empty.
    Substrings {
        attribute: String,
        initial: Option<Vec<u8>>,
        any: Vec<Vec<u8>>,
        final_: Option<Vec<u8>>,
    },
    /// `(attribute>=value)`.
    GreaterOrEqual { attribute: String, value: Vec<u8> },
    /// `(attribute<=value)`.
    LessOrEqual { attribute: String, value: Vec<u8> },
    /// `(attribute=*)`.
    Present { attribute: String },
    /// `(attribute~=value)`.
    Approx { attribute: String, value: Vec<u8> },
    /// `(attribute:dn:rule:=value)`, with a rule, an attribute or both.
    Extensible {
        rule: Option<String>,
        attribute: Option<String>,
        value: Vec<u8>,
        dn_attributes: bool,
    },
}

impl Filter {
    /// Parses RFC 4515 text and the extensions listed in the module documentation.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        if text.len() > MAX_LENGTH {
            return Err(FilterError { offset: MAX_LENGTH, kind: FilterErrorKind::TooLong });
        }
        let mut parser = Parser { rest: text.as_bytes(), length: text.len() };
        let filter = parser.filter(MAX_DEPTH)?;
        match parser.rest {
            [] => Ok(filter),
            _ => parser.expected("the end of the filter"),
        }
    }
}

/// True if the text is an attribute description of RFC 4512 §2.5: a name or numeric OID, optionally
/// with options.
pub fn is_attribute_description(text: &str) -> bool {
    let mut parser = Parser { rest: text.as_bytes(), length: text.len() };
    parser.description().is_ok() && parser.rest.is_empty()
}

/// Reason why a text is not a filter. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// Offset of the error in bytes from the start of the text.
    pub offset: usize,
    /// The kind of error.
    pub kind: FilterErrorKind,
}

/// Kinds of filter errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterErrorKind {
    /// The parser expected this syntax element.
    Expected(&'static str),
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// More than [`MAX_LENGTH`] bytes.
    TooLong,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FilterErrorKind::Expected(what) => {
                write!(f, "at character {}: expected {what}", self.offset + 1)
            }
            FilterErrorKind::TooDeep => {
                write!(f, "at character {}: nested deeper than {MAX_DEPTH} levels", self.offset + 1)
            }
            FilterErrorKind::TooLong => write!(f, "longer than {MAX_LENGTH} bytes"),
        }
    }
}

impl std::error::Error for FilterError {}

const ESCAPE: &str = "two hexadecimal digits after the backslash";
const CLOSING: &str = "a closing parenthesis";
const VALUE: &str = "a value without an open parenthesis; write it \\28";
const NO_ASTERISK: &str = "a value without an asterisk; write it \\2a";
const ATTRIBUTE: &str = "an attribute such as cn or 2.5.4.3";
const RULE: &str = "a matching rule such as caseExactMatch or 2.5.13.5";

/// Remaining input.
struct Parser<'a> {
    rest: &'a [u8],
    length: usize,
}

impl Parser<'_> {
    /// `filter = LPAREN filtercomp RPAREN`, and white space around it.
    fn filter(&mut self, depth: usize) -> Result<Filter, FilterError> {
        self.skip_space();
        let Some(depth) = depth.checked_sub(1) else {
            return Err(FilterError { offset: self.offset(), kind: FilterErrorKind::TooDeep });
        };
        self.require(b'(', "an opening parenthesis")?;
        self.skip_space();
        let filter = match self.peek() {
            Some(b'&') => Filter::And(self.list(depth)?),
            Some(b'|') => Filter::Or(self.list(depth)?),
            Some(b'!') => {
                self.advance(1);
                Filter::Not(Box::new(self.filter(depth)?))
            }
            _ => self.item()?,
        };
        self.require(b')', CLOSING)?;
        self.skip_space();
        Ok(filter)
    }

    /// `filterlist = *filter`. Starts at the `&` or `|`, which it skips.
    fn list(&mut self, depth: usize) -> Result<Vec<Filter>, FilterError> {
        self.advance(1);
        self.skip_space();
        let mut filters = Vec::new();
        while self.peek() == Some(b'(') {
            filters.push(self.filter(depth)?);
        }
        Ok(filters)
    }

    /// `item = simple / present / substring / extensible`.
    fn item(&mut self) -> Result<Filter, FilterError> {
        if self.peek() == Some(b':') {
            return self.extensible(None);
        }
        let attribute = self.description()?;
        self.skip_space();
        match self.rest {
            [b'=', ..] => {
                self.advance(1);
                self.equality_like(attribute)
            }
            [b'>', b'=', ..] => {
                Ok(Filter::GreaterOrEqual { attribute, value: self.single_value(2)? })
            }
            [b'<', b'=', ..] => Ok(Filter::LessOrEqual { attribute, value: self.single_value(2)? }),
            [b'~', b'=', ..] => Ok(Filter::Approx { attribute, value: self.single_value(2)? }),
            [b':', ..] => self.extensible(Some(attribute)),
            _ => self.expected("one of = >= <= ~= := after the attribute"),
        }
    }

    /// The forms of `=`: equality, presence or substrings.
    fn equality_like(&mut self, attribute: String) -> Result<Filter, FilterError> {
        let start = self.offset();
        let mut parts = self.parts()?;
        let Some(last) = parts.pop() else {
            return self.expected("a value");
        };
        if parts.is_empty() {
            return Ok(Filter::Equality { attribute, value: last });
        }
        let mut parts = parts.into_iter();
        let initial = parts.next().filter(|part| !part.is_empty());
        let one_asterisk = parts.len() == 0;
        let any: Vec<Vec<u8>> = parts.filter(|part| !part.is_empty()).collect();
        let final_ = Some(last).filter(|part| !part.is_empty());
        match (&initial, &final_) {
            (None, None) if one_asterisk => Ok(Filter::Present { attribute }),
            (None, None) if any.is_empty() => Err(FilterError {
                offset: start,
                kind: FilterErrorKind::Expected("text beside the asterisks, or a single asterisk"),
            }),
            _ => Ok(Filter::Substrings { attribute, initial, any, final_ }),
        }
    }

    /// `extensible`, from its first colon.
    fn extensible(&mut self, attribute: Option<String>) -> Result<Filter, FilterError> {
        let dn_attributes = matches!(self.rest, [b':', b'd' | b'D', b'n' | b'N', b':', ..]);
        if dn_attributes {
            self.advance(3);
        }
        let rule = match self.rest {
            [b':', b'=', ..] if attribute.is_some() => None,
            _ => {
                self.require(b':', "a colon")?;
                Some(self.oid(RULE)?)
            }
        };
        match self.rest {
            [b':', b'=', ..] => Ok(Filter::Extensible {
                rule,
                attribute,
                value: self.single_value(2)?,
                dn_attributes,
            }),
            _ => self.expected("the operator :="),
        }
    }

    /// `attributedescription` of RFC 4512 §2.5: an OID or name, and options.
    fn description(&mut self) -> Result<String, FilterError> {
        let mut description = self.oid(ATTRIBUTE)?;
        while self.peek() == Some(b';') {
            self.advance(1);
            let option = self.take_while(|b| b.is_ascii_alphanumeric() || b == b'-');
            if option.is_empty() {
                return self.expected("an attribute option after the semicolon");
            }
            description.push(';');
            description.push_str(&option);
        }
        Ok(description)
    }

    /// `oid = descr / numericoid` of RFC 4512 §1.4.
    fn oid(&mut self, what: &'static str) -> Result<String, FilterError> {
        let start = self.offset();
        let oid = if self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.take_while(|b| b.is_ascii_digit() || b == b'.')
        } else {
            self.take_while(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let valid = match oid.bytes().next() {
            Some(b) if b.is_ascii_digit() => oid.contains('.') && oid.split('.').all(is_number),
            Some(b) => b.is_ascii_alphabetic(),
            None => false,
        };
        if valid {
            Ok(oid)
        } else {
            Err(FilterError { offset: start, kind: FilterErrorKind::Expected(what) })
        }
    }

    /// Skips an operator of `operator` bytes and reads a value without asterisks.
    fn single_value(&mut self, operator: usize) -> Result<Vec<u8>, FilterError> {
        self.advance(operator);
        let start = self.offset();
        let mut parts = self.parts()?;
        match (parts.pop(), parts.is_empty()) {
            (Some(value), true) => Ok(value),
            _ => Err(FilterError { offset: start, kind: FilterErrorKind::Expected(NO_ASTERISK) }),
        }
    }

    /// Reads an assertion value up to its closing parenthesis, unescapes it and splits it at its
    /// asterisks. The result has one part more than the value has asterisks.
    fn parts(&mut self) -> Result<Vec<Vec<u8>>, FilterError> {
        self.skip_space();
        let end_quote = self.enclosing_quote();
        if end_quote.is_some() {
            self.advance(1);
        }
        let mut parts = Vec::new();
        let mut part = Vec::new();
        // Length of `part` without trailing unescaped white space. Escaped white space is kept.
        let mut kept = 0;
        loop {
            let quoted = end_quote.is_some();
            match self.rest {
                _ if end_quote == Some(self.offset()) => {
                    self.advance(1);
                    self.skip_space();
                    break;
                }
                [] => return self.expected(CLOSING),
                [b'\\', tail @ ..] => {
                    let Some(octet) = tail.first_chunk().and_then(hex_octet) else {
                        return self.expected(ESCAPE);
                    };
                    part.push(octet);
                    kept = part.len();
                    self.advance(3);
                }
                [b'*', ..] => {
                    parts.push(std::mem::take(&mut part));
                    kept = 0;
                    self.advance(1);
                }
                [b')', ..] if !quoted => {
                    part.truncate(kept);
                    break;
                }
                [b'(', ..] if !quoted => return self.expected(VALUE),
                [0, ..] => return self.expected("a value without a NUL character; write it \\00"),
                [octet, ..] => {
                    part.push(*octet);
                    if quoted || !is_space(*octet) {
                        kept = part.len();
                    }
                    self.advance(1);
                }
            }
        }
        parts.push(part);
        Ok(parts)
    }

    /// Offset of the double quote that closes a quoted value. It must be the next double quote, and
    /// the value must end there.
    fn enclosing_quote(&self) -> Option<usize> {
        let [b'"', tail @ ..] = self.rest else { return None };
        let length = tail.iter().position(|b| *b == b'"')?;
        let after = tail.iter().skip(length + 1).find(|b| !is_space(**b));
        (after == Some(&b')')).then(|| self.offset() + 1 + length)
    }

    fn offset(&self) -> usize {
        self.length - self.rest.len()
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.advance(1);
        }
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> String {
        let count = self.rest.iter().take_while(|b| wanted(**b)).count();
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        String::from_utf8_lossy(taken).into_owned()
    }

    fn require(&mut self, octet: u8, what: &'static str) -> Result<(), FilterError> {
        if self.peek() != Some(octet) {
            return self.expected(what);
        }
        self.advance(1);
        Ok(())
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, FilterError> {
        Err(FilterError { offset: self.offset(), kind: FilterErrorKind::Expected(what) })
    }
}

fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\n' | b'\r')
}

/// `number` of RFC 4512 §1.4, without leading zeros.
fn is_number(text: &str) -> bool {
    text == "0" || (!text.is_empty() && !text.starts_with('0'))
}

fn hex_octet(digits: &[u8; 2]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

/// Writes RFC 4515 text. [`Filter::parse`] reads it back to the same value.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::And(filters) => list(f, '&', filters),
            Filter::Or(filters) => list(f, '|', filters),
            Filter::Not(filter) => write!(f, "(!{filter})"),
            Filter::Equality { attribute, value } => write!(f, "({attribute}={})", Escaped(value)),
            Filter::GreaterOrEqual { attribute, value } => {
                write!(f, "({attribute}>={})", Escaped(value))
            }
            Filter::LessOrEqual { attribute, value } => {
                write!(f, "({attribute}<={})", Escaped(value))
            }
            Filter::Approx { attribute, value } => write!(f, "({attribute}~={})", Escaped(value)),
            Filter::Present { attribute } => write!(f, "({attribute}=*)"),
            Filter::Substrings { attribute, initial, any, final_ } => {
                write!(f, "({attribute}={}*", Escaped(initial.as_deref().unwrap_or_default()))?;
                any.iter().try_for_each(|part| write!(f, "{}*", Escaped(part)))?;
                write!(f, "{})", Escaped(final_.as_deref().unwrap_or_default()))
            }
            Filter::Extensible { rule, attribute, value, dn_attributes } => {
                write!(f, "({}", attribute.as_deref().unwrap_or_default())?;
                if *dn_attributes {
                    f.write_str(":dn")?;
                }
                if let Some(rule) = rule {
                    write!(f, ":{rule}")?;
                }
                write!(f, ":={})", Escaped(value))
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, operator: char, filters: &[Filter]) -> fmt::Result {
    write!(f, "({operator}")?;
    filters.iter().try_for_each(|filter| write!(f, "{filter}"))?;
    f.write_str(")")
}

/// An escaped assertion value. Escapes the characters of RFC 4515, and any that [`Filter::parse`]
/// would remove as outer white space or quotes.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.len().saturating_sub(1);
        let mut at = 0;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                let outer_space = c == ' ' && (at == 0 || at == last);
                if outer_space || c.is_control() || matches!(c, '(' | ')' | '*' | '\\' | '"') {
                    let mut octets = [0; 4];
                    c.encode_utf8(&mut octets)
                        .bytes()
                        .try_for_each(|octet| write!(f, "\\{octet:02x}"))?;
                } else {
                    write!(f, "{c}")?;
                }
                at += c.len_utf8();
            }
            chunk.invalid().iter().try_for_each(|octet| write!(f, "\\{octet:02x}"))?;
            at += chunk.invalid().len();
        }
        Ok(())
    }
}
