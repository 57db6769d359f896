//! Search answers, RFC 4511 §4.5.2.
