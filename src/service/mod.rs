//! What keeps the tool running and watched: when runs start ([`schedule`], [`supervise`], [`clock`]), one at a time ([`lock`]), and what the
//! world is told of it or may ask of it ([`status`], [`signals`], [`notify`]).
//!
//! Nothing in here knows LDAP, SCIM or the configuration: a run is a closure that returns a verdict.

pub mod clock;
pub mod health;
pub mod lock;
pub mod notify;
pub mod schedule;
pub mod signals;
pub mod status;
pub mod supervise;
