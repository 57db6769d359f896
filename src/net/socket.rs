//! TCP and unix sockets with a deadline for every operation.
//!
//! Scope: name resolution, connecting, and reading and writing raw bytes.
//!
//! slapd writes each entry in a separate call. A client that reads each entry at once wakes up a
//! hundred times a millisecond. The wake-ups cost both sides more than the bytes, and took a third
//! of this client's CPU time. In the middle of a long answer, `Socket::read` therefore delays
//! small reads.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::deadline::Deadline;
use crate::within::{NoResult, OneAtATime, within};

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// The read time-out last set in the kernel. Most waits are equal, and setting it costs as much
    /// as a read.
    read_timeout: Option<Duration>,
    /// Bytes read since the last write.
    answer: usize,
    /// Bytes of the last read.
    last_read: usize,
}

/// Minimum bytes of a long answer. Most answers are shorter.
const LONG: usize = 256 * 1024;
/// After a read of at least this many bytes, more data is usually waiting.
const PLENTY: usize = 64 * 1024;
/// Delay of a small read. Dozens of entries arrive in this time, but the kernel's buffer does not
/// fill up.
const GATHER: Duration = Duration::from_micros(500);

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Reason why no connection was made.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The name has no address, or the resolver failed.
    NotFound(io::Error),
    /// The resolver did not answer in time.
    ResolverSilent,
    /// Every address failed, with `ErrorKind::TimedOut` if an address did not answer.
    Failed(Vec<(SocketAddr, io::Error)>),
}

impl Socket {
    fn new(stream: Stream) -> Self {
        Socket { stream, read_timeout: None, answer: 0, last_read: 0 }
    }

    /// Resolves the host and tries every address. Resolving and connecting may take `timeout` each.
    /// Each address gets an equal share of the remaining time, so that a silent address leaves time
    /// for the others.
    pub(crate) fn connect(host: &str, port: u16, timeout: Duration) -> Result<Self, ConnectError> {
        let addresses = resolve(host, port, timeout)?;
        let deadline = Deadline::step(timeout);
        let mut failures = Vec::new();
        for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
            let share = deadline
                .next_wait()
                .map(|wait| wait / u32::try_from(left).unwrap_or(u32::MAX))
                .filter(|share| !share.is_zero());
            let attempt = match share {
                Some(share) => TcpStream::connect_timeout(address, share),
                None => Err(ErrorKind::TimedOut.into()),
            };
            match attempt {
                Ok(stream) => {
                    // Requests are written whole, so Nagle's algorithm would only add delay.
                    let _ = stream.set_nodelay(true);
                    return Ok(Socket::new(Stream::Tcp(stream)));
                }
                Err(error) => failures.push((*address, error)),
            }
        }
        Err(ConnectError::Failed(failures))
    }

    /// Connects to a unix socket.
    ///
    /// The kernel answers at once unless the server's backlog is full. It then waits without limit
    /// for the server, and safe Rust has no call with a time-out. A thread therefore does the
    /// waiting. The process has at most one such thread: while one waits, the server accepts no
    /// other connection either.
    pub(crate) fn connect_unix(path: &Path, timeout: Duration) -> io::Result<Self> {
        static CONNECTING: Mutex<OneAtATime> = Mutex::new(OneAtATime::new());
        let path = path.to_owned();
        let mut connecting = CONNECTING.lock().unwrap_or_else(PoisonError::into_inner);
        let stream =
            connecting.call(timeout, move || UnixStream::connect(path)).map_err(|problem| {
                match problem {
                    NoResult::Late => io::Error::new(
                        ErrorKind::TimedOut,
                        format!(
                            "the server has accepted no connection for {} s",
                            timeout.as_secs_f64()
                        ),
                    ),
                    NoResult::EarlierHangs => io::Error::new(
                        ErrorKind::TimedOut,
                        "the connection of an earlier run is still not accepted",
                    ),
                    NoResult::Thread(error) => error,
                }
            })?;
        Ok(Socket::new(Stream::Unix(stream?)))
    }

    /// Reads the available bytes, at least one; 0 at the end of the stream. Returns
    /// `ErrorKind::TimedOut` at the deadline.
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: &Deadline) -> io::Result<usize> {
        if gathers(self.answer, self.last_read) {
            thread::sleep(GATHER);
        }
        loop {
            let wait = deadline.next_wait().ok_or(ErrorKind::TimedOut)?;
            self.set_read_timeout(wait)?;
            let result = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(buffer),
                Stream::Unix(stream) => stream.read(buffer),
            };
            if let Some(result) = settled(result) {
                self.last_read = *result.as_ref().unwrap_or(&0);
                self.answer = self.answer.saturating_add(self.last_read);
                return result;
            }
        }
    }

    /// Writes all bytes. Returns `ErrorKind::TimedOut` if the peer does not accept them in time.
    pub(crate) fn write_all(&mut self, mut bytes: &[u8], deadline: &Deadline) -> io::Result<()> {
        self.answer = 0;
        while !bytes.is_empty() {
            let wait = deadline.next_wait().ok_or(ErrorKind::TimedOut)?;
            let result = match &mut self.stream {
                Stream::Tcp(stream) => {
                    stream.set_write_timeout(Some(wait)).and_then(|()| stream.write(bytes))
                }
                Stream::Unix(stream) => {
                    stream.set_write_timeout(Some(wait)).and_then(|()| stream.write(bytes))
                }
            };
            match settled(result) {
                Some(Ok(0)) => return Err(ErrorKind::WriteZero.into()),
                Some(Ok(written)) => bytes = bytes.get(written..).unwrap_or_default(),
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
        Ok(())
    }

    fn set_read_timeout(&mut self, wait: Duration) -> io::Result<()> {
        if self.read_timeout != Some(wait) {
            match &self.stream {
                Stream::Tcp(stream) => stream.set_read_timeout(Some(wait))?,
                Stream::Unix(stream) => stream.set_read_timeout(Some(wait))?,
            }
            self.read_timeout = Some(wait);
        }
        Ok(())
    }
}

/// True if the next read should wait for more data to arrive.
fn gathers(answer: usize, last_read: usize) -> bool {
    answer > LONG && last_read < PLENTY
}

/// The final result of a system call; `None` if it was interrupted and must be repeated. Linux
/// reports a socket time-out as `WouldBlock`.
fn settled(result: io::Result<usize>) -> Option<io::Result<usize>> {
    match result {
        Err(error) if error.kind() == ErrorKind::Interrupted => None,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Some(Err(ErrorKind::TimedOut.into()))
        }
        other => Some(other),
    }
}

fn resolve(host: &str, port: u16, timeout: Duration) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let addresses = within(timeout, move || {
        (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)
    })
    .map_err(ConnectError::NotFound)?
    .ok_or(ConnectError::ResolverSilent)?
    .map_err(ConnectError::NotFound)?;
    if addresses.is_empty() {
        return Err(ConnectError::NotFound(io::Error::new(
            ErrorKind::NotFound,
            "the name has no address",
        )));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn only_long_answers_that_come_in_small_pieces_are_gathered() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::new(Stream::Unix(ours));
        let deadline = Deadline::step(Duration::from_secs(60));
        let mut receive = |socket: &mut Socket, size: usize| {
            theirs.write_all(&vec![0; size]).unwrap();
            let mut buffer = vec![0; size];
            let mut read = 0;
            while read < size {
                read += socket.read(&mut buffer[read..], &deadline).unwrap();
            }
            gathers(socket.answer, socket.last_read)
        };
        assert!(!receive(&mut socket, 100), "the beginning");
        while socket.answer <= LONG {
            receive(&mut socket, PLENTY);
        }
        assert!(!receive(&mut socket, PLENTY), "in large pieces");
        assert!(receive(&mut socket, 100), "in small ones");
        socket.write_all(b"the next request", &deadline).unwrap();
        assert!(!receive(&mut socket, 100), "another answer");
    }

    #[test]
    fn reads_and_writes_end() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::new(Stream::Unix(ours));
        assert_eq!(
            socket.read(&mut [0; 8], &Deadline::step(SHORT)).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        // The peer never reads, so the kernel's buffer fills up.
        let large = vec![0; 64 << 20];
        assert_eq!(
            socket.write_all(&large, &Deadline::step(SHORT)).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
    }
}
