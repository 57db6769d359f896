//! Faults that a test asks for: what is to go wrong with which requests to `/scim/v1/Sync`, and at
//! which moment.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// One fault. It befalls `count` requests, after letting `after` pass. A request meets at most one
/// fault.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Fault {
    /// Only requests with this method; any when absent.
    #[serde(default)]
    pub method: Option<String>,
    #[serde(default)]
    pub after: u32,
    #[serde(default = "once")]
    pub count: u32,
    pub at: Moment,
    #[serde(flatten)]
    pub action: Action,
}

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// The whole request was read; Kanidm does not see it.
    Received,
    /// The engine has applied it and not committed. Unless the action is `delay`, it is rolled
    /// back. POST only.
    Applied,
    /// Done for good; only the answer is missing.
    Committed,
}

/// What happens.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// The connection is closed without an answer.
    Drop,
    /// This answer is sent, like that of a proxy in between; with `own` it carries an operation id,
    /// like Kanidm's.
    Status {
        status: u16,
        #[serde(default)]
        body: String,
        #[serde(default)]
        own: bool,
    },
    /// It takes longer, and goes on as usual.
    Delay { ms: u64 },
    /// The process ends as by SIGKILL: nothing is flushed, nobody is told.
    Die,
}

fn once() -> u32 {
    1
}

/// The faults that still await their requests, in the order they were asked for.
#[derive(Default)]
pub struct FaultPlan(Mutex<Vec<Fault>>);

impl FaultPlan {
    pub fn add(&self, fault: Fault) {
        self.lock().push(fault);
    }

    pub fn clear(&self) {
        self.lock().clear();
    }

    pub fn pending(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// The fault of the request that now begins. Every fault for its method counts it.
    pub fn next(&self, method: &str) -> Option<Fault> {
        let mut plan = self.lock();
        let mut met = None;
        for fault in plan.iter_mut().filter(|fault| {
            fault.method.as_deref().is_none_or(|only| only.eq_ignore_ascii_case(method))
        }) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if met.is_none() && fault.count > 0 {
                fault.count -= 1;
                met = Some(fault.clone());
            }
        }
        plan.retain(|fault| fault.count > 0);
        met
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
