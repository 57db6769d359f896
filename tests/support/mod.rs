//! Code that several test programs use: real directories ([`slapd`], [`ds389`]) filled with
//! invented content ([`seed`]), the standard LDAP clients to change and read them ([`ldap`]), our
//! own program run as its users run it ([`tool`]), scripted peers ([`peer`], [`web`]), and a model
//! of Kanidm ([`model`]).
//!
//! Each test starts its own servers on free ports, in a folder of its own. A server ends when it
//! goes out of scope; `tests/lab/supervise.sh` ends it if the test is killed. Tests share nothing,
//! so they run in parallel and in any order.

#![allow(dead_code, reason = "each program uses a part")]

pub mod ds389;
pub mod ds389_instance;
pub mod dse;
pub mod expect;
pub mod inside;
pub mod kanidm;
pub mod ldap;
pub mod model;
pub mod peer;
pub mod pki;
pub mod ports;
pub mod process;
pub mod promtool;
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
