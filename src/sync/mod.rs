//! One run: [`start`] decides between incremental and full, [`read`] reads the directory, [`guard`]
//! may refuse, [`run`] sends, and [`report`] says what happened.
//!
//! Rule: the only room that sees the directory and Kanidm.

pub mod attributes;
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
