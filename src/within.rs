//! Time-outs for calls that have none of their own, such as name resolution.

use std::io;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// Runs `call` on a thread of its own. Returns `None` if it takes too long; the thread then ends
/// when the call does. Use [`OneAtATime`] if nothing limits the number of such threads. Passes on a
/// panic of the call.
///
/// # Errors
/// The thread cannot be started: too many threads, or too little memory.
pub(crate) fn within<T: Send + 'static>(
    timeout: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        // After the time-out there is no receiver.
        let _ = sender.send(call());
    };
    let started = thread::Builder::new().name("within".into()).spawn(run);
    let thread = started.map_err(|error| {
        io::Error::new(error.kind(), format!("no thread can be started for it: {error}"))
    })?;
    match receiver.recv_timeout(timeout) {
        Ok(value) => Ok(Some(value)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => Ok(None),
            Err(reason) => panic::resume_unwind(reason),
        },
    }
}

/// Calls that may hang for ever. At most one thread hangs, with everything that it holds.
#[derive(Debug)]
pub(crate) struct OneAtATime {
    /// The last call, until it ends.
    last: Weak<()>,
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum NoResult {
    /// The call took longer than its time-out, and still runs.
    Late,
    /// An earlier call still hangs, so this one was not started.
    EarlierHangs,
    /// The thread cannot be started.
    Thread(io::Error),
}

impl OneAtATime {
    /// No call was made yet.
    pub(crate) const fn new() -> OneAtATime {
        OneAtATime { last: Weak::new() }
    }

    /// [`within`], unless an earlier call has not ended.
    pub(crate) fn call<T: Send + 'static>(
        &mut self,
        timeout: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        if self.last.strong_count() > 0 {
            return Err(NoResult::EarlierHangs);
        }
        let under_way = Arc::new(());
        self.last = Arc::downgrade(&under_way);
        let call = move || {
            let _until_it_ends = under_way;
            call()
        };
        within(timeout, call).map_err(NoResult::Thread)?.ok_or(NoResult::Late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_call_that_hangs_is_left_behind() {
        let (_keep, never) = mpsc::channel::<()>();
        assert!(within(SHORT, move || never.recv()).unwrap().is_none());
        assert_eq!(within(LONG, || 7).unwrap(), Some(7));
    }

    #[test]
    fn a_panic_is_passed_on() {
        let caught = panic::catch_unwind(|| within(LONG, || -> u8 { panic!("a defect") }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"a defect"));
    }

    #[test]
    fn at_most_one_call_is_left_behind() {
        let (end, hangs) = mpsc::channel::<()>();
        let mut calls = OneAtATime::new();
        assert!(matches!(calls.call(SHORT, move || hangs.recv()), Err(NoResult::Late)));
        for _ in 0..3 {
            let second = calls.call(LONG, || panic!("it is not begun"));
            assert!(matches!(second, Err(NoResult::EarlierHangs)), "{second:?}");
        }
        end.send(()).unwrap();
        let begin = Instant::now();
        while !matches!(calls.call(LONG, || 7), Ok(7)) {
            assert!(begin.elapsed() < LONG, "the first call has ended");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
