//! A call that cannot be given a time-out, such as name resolution, for no longer than one.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Runs `call` on a thread of its own. `None` when it takes too long: the thread is left behind and ends with the call, which the system's
/// resolver bounds by its own, longer limits.
///
/// # Errors
/// The thread cannot be started: too many of them, or too little memory.
pub(crate) fn within<T: Send + 'static>(timeout: Duration, call: impl FnOnce() -> T + Send + 'static) -> io::Result<Option<T>> {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        // Nobody listens any more once the time is over.
        let _ = sender.send(call());
    };
    let started = thread::Builder::new().name("connect".into()).spawn(run);
    started.map_err(|error| io::Error::new(error.kind(), format!("no thread can be started for it: {error}")))?;
    Ok(receiver.recv_timeout(timeout).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_left_behind() {
        let (_keep, never) = mpsc::channel::<()>();
        let short = Duration::from_millis(100);
        assert!(within(short, move || never.recv()).unwrap().is_none());
        assert_eq!(within(short * 100, || 7).unwrap(), Some(7));
    }
}
