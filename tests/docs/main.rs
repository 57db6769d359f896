//! Documents and examples say what is true: the tests run or read them.

#[path = "../support/mod.rs"]
mod support;

mod debian_slapd;
mod guide;

mod architecture;
mod audit;
mod examples_commands;
mod examples_container;
mod examples_systemd;
mod guide_389;
mod guide_openldap;
mod links;
mod manual;
mod readme;
mod security;
mod troubleshooting;
