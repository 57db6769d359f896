//! The directory's side: the LDAP client against scripted peers, the cookies of real servers, and
//! the lab that runs these servers.

#[path = "../support/mod.rs"]
mod support;

mod failures;
mod follow;
mod lab_ds389;
mod lab_slapd;
mod lab_tool;
mod refresh;
mod slapd_cookies;
mod tls;
