//! X.690 subset of RFC 4511 §5.1.
