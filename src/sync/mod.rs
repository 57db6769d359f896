//! One run: where it starts, what it reads, what it wants to send, whether it may, and what came of it.

pub mod attributes;
pub mod changeset;
pub mod dump;
pub mod estimate;
pub mod guard;
mod listing;
mod lookup;
pub mod observe;
pub mod preview;
pub mod read;
pub mod report;
pub mod retention;
pub mod run;
pub mod start;
mod summary;
mod watched;
