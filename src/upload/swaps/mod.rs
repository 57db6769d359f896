//! Values that several entries of a run pass on to one another.
//!
//! Scope: finding out which entries can have what they want, and giving them temporary values in between. Read [`collide`] first: swaps,
//! chains and small rings. [`exchange`] is for many, [`ask`] holds the questions.

pub(crate) mod ask;
pub(crate) mod collide;
pub(crate) mod exchange;
