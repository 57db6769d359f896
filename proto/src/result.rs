//! LDAPResult, RFC 4511 §4.1.9.
