//! The mapping of directory entries to Kanidm's, without servers.

mod entries;
mod golden;
mod groups;
mod samples;
mod tokens;
