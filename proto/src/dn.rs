//! Distinguished names, RFC 4514: parse and compare.
