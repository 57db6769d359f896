//! Search filters: RFC 4515 text to a value.
#![allow(missing_docs)]
/// A search filter, RFC 4511 §4.5.1.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Equality { attribute: String, value: Vec<u8> },
    Substrings { attribute: String, initial: Option<Vec<u8>>, any: Vec<Vec<u8>>, final_: Option<Vec<u8>> },
    GreaterOrEqual { attribute: String, value: Vec<u8> },
    LessOrEqual { attribute: String, value: Vec<u8> },
    Present { attribute: String },
    Approx { attribute: String, value: Vec<u8> },
    Extensible { rule: Option<String>, attribute: Option<String>, value: Vec<u8>, dn_attributes: bool },
}
