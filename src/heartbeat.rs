//! Signs of life: what the parts of a run that wait for somebody else call whenever there is
//! progress, be it ever so small.
//!
//! Scope: the call. Who listens (the record of the scheduled service) is told where a run is
//! started; a run on its own tells nobody.

use std::fmt;
use std::sync::Arc;

/// Called with every piece of data from the directory and every answer of Kanidm. Clones tell the
/// same listener.
#[derive(Clone, Default)]
pub struct Heartbeat(Option<Arc<dyn Fn() + Send + Sync>>);

impl Heartbeat {
    /// Tells `listener`, which must be quick.
    pub fn new(listener: impl Fn() + Send + Sync + 'static) -> Heartbeat {
        Heartbeat(Some(Arc::new(listener)))
    }

    /// There was progress.
    pub fn beat(&self) {
        if let Some(listener) = &self.0 {
            listener();
        }
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Heartbeat(heard)" } else { "Heartbeat(unheard)" })
    }
}
