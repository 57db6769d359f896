//! Signs of life: every part of a run that waits for a server calls this at each bit of progress.
//!
//! Scope: the call. The code that starts a run chooses the listener, such as the health record of
//! the service. A single run has none.

use std::fmt;
use std::sync::Arc;

/// Called with every piece of data from the directory and every answer of Kanidm. Clones share one
/// listener.
#[derive(Clone, Default)]
pub struct Heartbeat(Option<Arc<dyn Fn() + Send + Sync>>);

impl Heartbeat {
    /// Calls `listener`, which must be quick.
    pub fn new(listener: impl Fn() + Send + Sync + 'static) -> Heartbeat {
        Heartbeat(Some(Arc::new(listener)))
    }

    /// Reports progress.
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
