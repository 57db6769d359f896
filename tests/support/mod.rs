//! What the integration tests share: real directories ([`slapd`], [`ds389`]) filled with invented
//! content ([`seed`]), the standard LDAP clients to change and read them ([`ldap`]), and our own
//! program run as its users run it ([`tool`]).
//!
//! Each test starts what it needs and owns it: free ports, a folder of its own, ended by its
//! process id when it goes out of scope, and by `tests/lab/supervise.sh` should the test itself be
//! killed. Nothing is shared, so tests run in parallel and in any order.

#![allow(dead_code, reason = "each program uses a part")]

pub mod ds389;
pub mod ds389_instance;
pub mod dse;
pub mod expect;
pub mod kanidm;
pub mod ldap;
pub mod model;
pub mod peer;
pub mod pki;
pub mod ports;
pub mod process;
pub mod random;
pub mod scripted_https;
pub mod seed;
pub mod server_tls;
pub mod slapd;
pub mod temp;
pub mod tool;
pub mod trouble;
pub mod web;
pub mod world;
