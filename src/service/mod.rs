//! What keeps the tool running and watched.
pub mod lock;
pub mod notify;
pub mod schedule;
pub mod signals;
pub mod status;
pub mod supervise;
