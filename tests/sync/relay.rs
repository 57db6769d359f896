//! A TCP connection in between, that a test can hold or cut at any byte, or any TLS record, of what
//! the server says.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use crate::support::process::PATIENCE;

/// What happens once the server has said so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing passes, until the test releases it.
    Hold,
    /// Both ends see the connection close.
    Cut,
}

/// What is counted until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    /// TLS records. Servers write a message at a time, so that there is one for each, after those
    /// of the handshake.
    Records,
}

/// Listens on a port of its own and passes everything on to another one of 127.0.0.1. It ends when
/// dropped.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    limit: Option<(u64, Unit, Then)>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes from the server, over all connections.
    passed: u64,
    /// TLS records from the server, over all connections.
    records: u64,
    held: bool,
    released: bool,
    ended: bool,
}

impl Relay {
    /// Passes everything.
    pub fn to(target: u16) -> Relay {
        Relay::start(target, None)
    }

    /// Passes so many bytes from the server and then nothing, in either direction, until
    /// [`release`](Self::release).
    pub fn holding(target: u16, after: u64) -> Relay {
        Relay::start(target, Some((after, Unit::Bytes, Then::Hold)))
    }

    /// The same, after so many TLS records.
    pub fn holding_after_records(target: u16, records: u64) -> Relay {
        Relay::start(target, Some((records, Unit::Records, Then::Hold)))
    }

    /// Passes so many bytes from the server and closes the connection.
    pub fn cutting(target: u16, after: u64) -> Relay {
        Relay::start(target, Some((after, Unit::Bytes, Then::Cut)))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes from the server so far.
    pub fn passed(&self) -> u64 {
        self.shared.state.lock().unwrap().passed
    }

    /// TLS records from the server so far.
    pub fn records(&self) -> u64 {
        self.shared.state.lock().unwrap().records
    }

    /// Whether the connection is held.
    pub fn is_held(&self) -> bool {
        self.shared.state.lock().unwrap().held
    }

    /// Returns when the connection is held.
    pub fn wait_until_held(&self) {
        let state = self.shared.state.lock().unwrap();
        let (state, timeout) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !state.held).unwrap();
        let passed = state.passed;
        drop(state); // or the assertion would poison it
        assert!(!timeout.timed_out(), "the server has not said that much: {passed} bytes");
    }

    /// Lets everything pass from here on.
    pub fn release(&self) {
        self.shared.state.lock().unwrap().released = true;
        self.shared.changed.notify_all();
    }

    fn start(target: u16, limit: Option<(u64, Unit, Then)>) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared =
            Arc::new(Shared { target, limit, state: Mutex::default(), changed: Condvar::new() });
        let in_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if in_thread.state.lock().unwrap().ended {
                    return;
                }
                // A server that is down closes the connection, which is what the client is to see.
                if let (Ok(client), Ok(server)) =
                    (client, TcpStream::connect(("127.0.0.1", in_thread.target)))
                {
                    in_thread.connect(client, server);
                }
            }
        });
        Relay { port, shared }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock().unwrap();
            (state.released, state.ended) = (true, true);
        }
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the listener
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_server) =
            (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(n @ 1..) = from_client.read(&mut buffer) {
                shared.wait_while_held();
                if to_server.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown(Shutdown::Both);
        });
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.pass(server, client));
    }

    fn pass(&self, mut server: TcpStream, mut client: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        let mut record = Record::default();
        while let Some(room) = self.room(buffer.len()) {
            let Ok(n @ 1..) = server.read(&mut buffer[..room.min(record.left())]) else { break };
            let mut state = self.state.lock().unwrap();
            state.passed += n as u64;
            state.records += u64::from(record.ends_with(&buffer[..n]));
            drop(state);
            if client.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }

    /// How many bytes may pass now; `None` when the connection is to be cut. Waits while it is
    /// held.
    fn room(&self, most: usize) -> Option<usize> {
        let Some((limit, unit, then)) = self.limit else { return Some(most) };
        let mut state = self.state.lock().unwrap();
        let so_far = match unit {
            Unit::Bytes => state.passed,
            Unit::Records => state.records,
        };
        match (limit.saturating_sub(so_far), then) {
            _ if state.released => Some(most),
            (0, Then::Cut) => None,
            (0, Then::Hold) => {
                state.held = true;
                drop(state);
                self.changed.notify_all();
                self.wait_while_held();
                Some(most)
            }
            (_, _) if unit == Unit::Records => Some(most),
            (left, _) => Some(most.min(usize::try_from(left).unwrap())),
        }
    }

    fn wait_while_held(&self) {
        let state = self.state.lock().unwrap();
        let _released =
            self.changed.wait_while(state, |state| state.held && !state.released).unwrap();
    }
}

/// The TLS record that a connection is in (RFC 8446 §5.1). What is not TLS is counted as if it
/// were.
#[derive(Default)]
struct Record {
    header: Vec<u8>,
    contents: usize,
}

/// Type, version, length.
const HEADER: usize = 5;

impl Record {
    /// Bytes until its end, or until its length is known; never more than fits into 16 KiB and a
    /// half.
    fn left(&self) -> usize {
        if self.header.len() < HEADER { HEADER - self.header.len() } else { self.contents }
    }

    /// Takes the next bytes, at most [`left`](Self::left); true when they are the last ones of a
    /// record.
    fn ends_with(&mut self, bytes: &[u8]) -> bool {
        if self.header.len() < HEADER {
            self.header.extend(bytes);
            if self.header.len() == HEADER {
                self.contents = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        } else {
            self.contents -= bytes.len();
        }
        let ends = self.header.len() == HEADER && self.contents == 0;
        if ends {
            self.header.clear();
        }
        ends
    }
}
