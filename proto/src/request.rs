//! Requests, encoded with rasn-ldap: the only file that imports rasn.
