//! LDAPMessage and Controls, RFC 4511 §4.1.
