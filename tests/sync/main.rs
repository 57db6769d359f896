//! The program as its users run it: command line, configuration, and runs from a directory into
//! the real Kanidm engine.

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod failure;
mod kanidms_tool;
mod relay;
mod rules;

mod access;
mod beside;
mod check;
mod cli;
mod client_config;
mod config;
mod crash;
mod crash_matrix;
mod demo;
mod end_to_end;
mod end_to_end_389;
mod explain;
mod failures_config;
mod failures_directory;
mod failures_kanidm;
mod guard;
mod held_entries;
mod hidden_attributes;
mod insider;
mod insider_values;
mod large;
mod member_of;
mod migrating;
mod random_changes;
mod report_schema;
mod resources;
mod secrets;
mod soak;
mod terminal;
mod totp;
mod transports;
mod what_changed;
mod words;
