//! Both ends of the status socket: the listener that answers `Ok\n` or `Err\n`, and `--status`,
//! which asks.
//!
//! Scope: one answer for each connection. A monitoring system, a load balancer or an attacker may
//! connect at any rate. One thread accepts a connection, answers without reading, closes it, and
//! accepts the next. It keeps nothing for a client, so no client can make another client or the run
//! wait.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::health::{Condition, Health};

/// The listener. It answers until it is dropped, which frees the address.
#[derive(Debug)]
pub struct StatusListener {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StatusListener {
    /// Binds the address and answers on it from a thread of its own.
    ///
    /// # Errors
    /// The address cannot be bound. At its start, the service then ends with exit code 1.
    pub fn start(bind: SocketAddr, health: Health) -> Result<StatusListener, StatusError> {
        let failed = |source| StatusError { bind, source };
        let listener = TcpListener::bind(bind).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("status".into())
            .spawn(move || serve(&listener, &health, &stopped))
            .map_err(failed)?;
        Ok(StatusListener { address, stop, thread: Some(thread) })
    }

    /// The address that it listens on, with the real port if `bind` had port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StatusListener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Only a connection wakes accept(). If connecting fails, the queue is full and accept()
        // wakes by itself, but then the thread is not joined.
        let woken = TcpStream::connect_timeout(&reachable(self.address), ASK_TIMEOUT).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            // Fails only if the thread panicked, so the thread is gone, too.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, health: &Health, stop: &AtomicBool) {
    loop {
        let accepted = listener.accept();
        if stop.load(Ordering::SeqCst) {
            return;
        }
        match accepted {
            // A client that has gone does not matter.
            Ok((stream, _)) => drop(answer(stream, health.condition(Instant::now()))),
            // Probably out of file descriptors. The connection stays in the queue, so accept()
            // would return at once, again and again.
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) =>
            {
                thread::sleep(ACCEPT_PAUSE)
            }
            Err(_) => {}
        }
    }
}

/// Pause after a failed accept().
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers one client and closes the connection. It cannot block, because the few bytes fit into
/// any send buffer.
fn answer(mut stream: TcpStream, condition: Condition) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.write_all(if condition == Condition::Good { OK } else { ERR })?;
    // Closing with unread data resets the connection, and the client may lose its answer. So the
    // end of the answer goes out first. Then the bytes that the client has sent, such as an HTTP
    // health check, are read and dropped, up to a limit.
    stream.shutdown(Shutdown::Write)?;
    let mut sent = [0; 1024];
    for _ in 0..16 {
        match stream.read(&mut sent) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(())
}

const OK: &[u8] = b"Ok\n";
const ERR: &[u8] = b"Err\n";

/// The address cannot be bound.
#[derive(Debug)]
pub struct StatusError {
    /// The address as configured.
    pub bind: SocketAddr,
    /// The error of the system.
    pub source: io::Error,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status_bind {} cannot be bound: {}", self.bind, self.source)?;
        match self.source.kind() {
            ErrorKind::AddrInUse => {
                f.write_str("; another service, or another instance of this one, listens there")
            }
            ErrorKind::AddrNotAvailable => f.write_str("; this machine does not have that address"),
            ErrorKind::PermissionDenied => {
                f.write_str("; ports below 1024 need CAP_NET_BIND_SERVICE, choose a higher one")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for StatusError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The output and the exit code of `--status`, in the form of a Nagios plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// 0 OK, 2 CRITICAL, 3 UNKNOWN.
    pub exit_code: u8,
    /// One line for stdout, without its line break.
    pub line: String,
}

impl Probe {
    /// UNKNOWN, because `--status` cannot even ask.
    pub fn unknown(reason: impl fmt::Display) -> Probe {
        Probe { exit_code: 3, line: format!("UNKNOWN - {reason}") }
    }
}

/// Asks the listener at `status_bind`, or at the loopback address if that is all addresses.
/// `timeout` applies to connecting and again to the answer.
pub fn ask(status_bind: SocketAddr, timeout: Duration) -> Probe {
    let address = reachable(status_bind);
    match ask_address(address, timeout) {
        Ok(answer) if answer == OK => Probe { exit_code: 0, line: "OK - the last good run is recent".into() },
        Ok(answer) if answer == ERR => Probe {
            exit_code: 2,
            line: "CRITICAL - no recent synchronisation that finished, or too many entries need attention; the log of kanidm-ldap-sync says why".into(),
        },
        Ok(_) => Probe::unknown(format_args!("{address} gave another answer than Ok or Err; is status_bind another service's port?")),
        Err(error) => Probe::unknown(format_args!(
            "no answer from {address}: {error}; is kanidm-ldap-sync running with --schedule and this status_bind?"
        )),
    }
}

/// Time-out of `--status`: shorter than that of a monitoring system.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

fn ask_address(address: SocketAddr, timeout: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    let asked = Instant::now();
    let mut answer = Vec::new();
    // One byte more than the longest answer is enough to detect another answer.
    while answer.len() <= ERR.len() {
        let left = timeout.saturating_sub(asked.elapsed());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 8];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Linux reports a read time-out like this.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// The address to connect to. A listener on all addresses includes the loopback one, and nobody can
/// connect to 0.0.0.0.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On some systems a reset after the answer costs the client its answer. Linux shows the reset
    /// only to a client that writes once more.
    #[test]
    fn what_a_client_has_sent_does_not_make_the_end_a_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(accepted.peek(&mut [0]).unwrap(), 1, "the request has arrived");
        answer(accepted, Condition::Good).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "Ok\n");
        client.write_all(b"x").unwrap();
    }
}
