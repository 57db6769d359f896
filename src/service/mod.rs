//! The service: [`supervise`] starts runs, [`follow`] asks for them when the directory rings,
//! [`lock`] keeps two runs apart, and [`status`], [`plugin`], [`signals`] and [`notify`] connect to
//! the outside.
//!
//! Scope: this module knows neither LDAP, nor SCIM, nor the configuration. A run is a closure that
//! returns a verdict.

pub mod follow;
pub mod health;
pub mod lock;
pub mod notify;
mod pace;
pub mod plugin;
pub mod signals;
pub mod status;
pub mod supervise;
