//! Documents and examples: the tests follow the guides, run the examples and check each claim that
//! names a test, a link or a crate.

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
mod licences;
mod links;
mod manual;
mod prometheus;
mod readme;
mod security;
mod troubleshooting;
