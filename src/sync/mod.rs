//! One run, in five steps: [`start`] decides between incremental and full, [`read`] reads the
//! directory, [`guard`] may refuse, [`run`] sends, and [`report`] says what happened.
//!
//! Scope: the only part of the program that sees both the directory and Kanidm.

pub mod attributes;
pub mod changes;
mod complete;
mod deleted;
pub mod dump;
mod envelope;
mod error;
pub mod estimate;
pub mod guard;
mod inspect;
mod listing;
pub(crate) mod lookup;
pub mod observe;
mod plan;
pub mod preview;
pub mod read;
pub(crate) mod remarks;
pub mod report;
pub mod retention;
pub mod run;
pub mod start;
mod summary;
mod token_marks;
pub(crate) mod tokens;
mod watched;
