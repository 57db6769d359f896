//! TCP and unix sockets of which no operation waits for ever.
//!
//! Scope: name resolution, connecting, reading and writing raw bytes, each under a deadline.
//!
//! slapd writes every entry by itself. Whoever waits for each is woken a hundred times a
//! millisecond, which costs both sides more than the bytes do: it was a third of our CPU time. So
//! in the middle of a long answer, reading what little is there is put off a little.

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
    /// What the kernel was told last. Most waits are equal, and telling it again costs as much as a
    /// read.
    read_timeout: Option<Duration>,
    /// How much was read since something was sent.
    answer: usize,
    /// How much the last read found.
    last_read: usize,
}

/// An answer is long from here on; most never are.
const LONG: usize = 256 * 1024;
/// A read of so much, or more, finds the next one waiting.
const PLENTY: usize = 64 * 1024;
/// How long reading is put off. Less than fills the kernel's buffer, and dozens of entries.
const GATHER: Duration = Duration::from_micros(500);

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a connection was not made.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The name has no address, or the resolver failed.
    NotFound(io::Error),
    /// The resolver did not answer in time.
    ResolverSilent,
    /// Every address failed; `ErrorKind::TimedOut` where there was no answer.
    Failed(Vec<(SocketAddr, io::Error)>),
}

impl Socket {
    fn new(stream: Stream) -> Self {
        Socket { stream, read_timeout: None, answer: 0, last_read: 0 }
    }

    /// Resolves and connects, trying every address. Resolution and connecting have `timeout` each;
    /// an address gets an equal share of what is left, so that one that does not answer leaves time
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
                    // Requests are written whole; there is nothing for Nagle's algorithm to gather.
                    // Without it we are only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok(Socket::new(Stream::Tcp(stream)));
                }
                Err(error) => failures.push((*address, error)),
            }
        }
        Err(ConnectError::Failed(failures))
    }

    /// Connects to a unix socket. The kernel answers at once unless the server's backlog is full.
    /// Then it waits until the server accepts, for ever if need be, and safe Rust has no call that
    /// gives up. So the wait is left to a thread, of which there is one at most in the whole
    /// process: while it waits, a new connection would not be accepted either.
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

    /// Reads what is there, at least one byte; 0 at the end of the stream. `ErrorKind::TimedOut`
    /// when the wait is over.
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

    /// Writes all of it. `ErrorKind::TimedOut` when the peer does not take it in time.
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

/// Whether to let more arrive before the next read.
fn gathers(answer: usize, last_read: usize) -> bool {
    answer > LONG && last_read < PLENTY
}

/// `None` for an interrupted call, which is to be repeated. A socket's own time-out is called
/// `WouldBlock` on Linux.
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
        // Nobody reads on the other side: the kernel's buffer fills up.
        let large = vec![0; 64 << 20];
        assert_eq!(
            socket.write_all(&large, &Deadline::step(SHORT)).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
    }
}
