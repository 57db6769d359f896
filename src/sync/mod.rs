//! One run.
pub mod changeset;
pub mod guard;
pub mod report;
pub mod run;
