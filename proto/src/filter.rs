//! Search filters: RFC 4515 text to a value.
/// A search filter, RFC 4511 §4.5.1.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {}
