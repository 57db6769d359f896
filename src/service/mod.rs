//! What keeps the tool running and watched: [`supervise`] starts runs, [`lock`] keeps them apart,
//! [`status`], [`signals`] and [`notify`] connect the service with the world.
//!
//! Rule: this room knows neither LDAP, nor SCIM, nor the configuration. A run is a closure that
//! returns a verdict.

pub mod clock;
pub mod health;
pub mod lock;
pub mod notify;
pub mod signals;
pub mod status;
pub mod supervise;
