//! Values that several entries of a run pass on to one another.
//!
//! Scope: finding out which entries can have what they want, and giving them temporary values in
//! between. Read `collide` first: it decides what is tried, in which order.
//! - `ask`: one question to Kanidm.
//! - `candidate`: who wants which value, and who has it.
//! - `stage`: temporary values for a few entries.
//! - `exchange`: many entries at once, with `questions`, `dns` and `outsiders`.
//! - `reasons`: entries that do not get what they want.

pub(crate) mod ask;
pub(crate) mod collide;
pub(crate) mod reasons;

mod candidate;
mod dns;
mod exchange;
mod outsiders;
mod questions;
mod stage;
