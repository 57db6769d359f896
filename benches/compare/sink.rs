//! A Kanidm that accepts everything at once: what is left of a run's time is the tool's and the
//! directory's.
//!
//! It speaks `/scim/v1/Sync` over HTTPS as far as both tools use it: GET answers the state, POST
//! stores the `to_state` of its body. Bodies are counted and thrown away. It runs inside the bench,
//! so that none of its CPU time and memory is the tool's.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ServerConfig, ServerConnection};
use serde_json::Value;

use crate::support::peer::server_config;
use crate::support::pki::Identity;

/// Read at once; TLS records have 16 KiB at most.
const PIECE: usize = 256 * 1024;
/// What is kept of a body: both tools write `to_state` before the entries.
const HEAD_OF_BODY: usize = 1024 * 1024;

/// One POST that was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Post {
    /// Bytes of the body.
    pub bytes: u64,
    /// It lists bare UUIDs: our own first POST of a refresh that needs several.
    pub stubs: bool,
}

struct Stored {
    state: Value,
    posts: Vec<Post>,
}

/// It ends with the bench.
#[derive(Clone)]
pub struct Sink {
    port: u16,
    stored: Arc<Mutex<Stored>>,
}

impl Sink {
    /// With the state Refresh, at a port of its own.
    pub fn start(identity: &Identity) -> Sink {
        let config = server_config(identity, None, rustls::ALL_VERSIONS);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let stored = Arc::new(Mutex::new(Stored { state: refresh(), posts: Vec::new() }));
        let sink = Sink { port, stored };
        let served = sink.clone();
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (config, sink) = (Arc::clone(&config), served.clone());
                std::thread::spawn(move || {
                    // A client that hangs up has its reasons: whether its run went well is asked
                    // elsewhere.
                    let _ = Connection::new(tcp, config)
                        .and_then(|mut connection| connection.serve(&sink));
                });
            }
        });
        sink
    }

    /// What a client config names as `uri`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Forgets everything: the next run is a first one.
    pub fn reset(&self) {
        *self.lock() = Stored { state: refresh(), posts: Vec::new() };
    }

    /// The POSTs since this was asked last.
    pub fn take_posts(&self) -> Vec<Post> {
        std::mem::take(&mut self.lock().posts)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> String {
        self.lock().state.to_string()
    }

    fn accept(&self, head_of_body: &[u8], bytes: u64) {
        let state = to_state(head_of_body).expect("a POST has a to_state before its entries");
        let stubs = find(head_of_body, b"\"schemas\":[],").is_some();
        let mut stored = self.lock();
        stored.state = state;
        stored.posts.push(Post { bytes, stubs });
    }
}

fn refresh() -> Value {
    Value::from("Refresh")
}

fn to_state(body: &[u8]) -> Option<Value> {
    const KEY: &[u8] = b"\"to_state\":";
    let value = &body[find(body, KEY)? + KEY.len()..];
    serde_json::Deserializer::from_slice(value).into_iter().next()?.ok()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// One connection: requests are answered until the client hangs up.
struct Connection {
    tcp: TcpStream,
    tls: ServerConnection,
    raw: Vec<u8>,
    /// Decrypted, not looked at yet.
    plain: Vec<u8>,
}

impl Connection {
    fn new(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Connection> {
        tcp.set_nodelay(true)?;
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Connection { tcp, tls, raw: vec![0; PIECE], plain: Vec::new() })
    }

    fn serve(&mut self, sink: &Sink) -> io::Result<()> {
        while let Some(head) = self.head()? {
            if head.starts_with("POST") {
                let length = content_length(&head).expect("both tools say how long a body is");
                let kept = self.body(length)?;
                sink.accept(&kept, length);
                self.answer("null")?;
            } else {
                self.answer(&sink.state())?;
            }
        }
        Ok(())
    }

    /// The head of the next request.
    fn head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = find(&self.plain, b"\r\n\r\n") {
                let head: Vec<u8> = self.plain.drain(..end + 4).collect();
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if !self.receive()? {
                return Ok(None);
            }
        }
    }

    /// Reads a body and keeps the beginning of it.
    fn body(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut kept = Vec::new();
        let mut left = length;
        loop {
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.plain.len());
            kept.extend_from_slice(
                &self.plain[..here.min(HEAD_OF_BODY.saturating_sub(kept.len()))],
            );
            self.plain.drain(..here);
            left -= here as u64;
            if left == 0 {
                return Ok(kept);
            }
            if !self.receive()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn answer(&mut self, body: &str) -> io::Result<()> {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-kanidm-opid: bench\r\ncontent-length: {length}\r\n\r\n"
        );
        self.tls.writer().write_all((head + body).as_bytes())?;
        self.flush()
    }

    /// Reads what has arrived; false at the end.
    fn receive(&mut self) -> io::Result<bool> {
        let read = self.tcp.read(&mut self.raw)?;
        let mut records = &self.raw[..read];
        while !records.is_empty() {
            self.tls.read_tls(&mut records)?;
            let arrived =
                self.tls.process_new_packets().map_err(io::Error::other)?.plaintext_bytes_to_read();
            let before = self.plain.len();
            self.plain.resize(before + arrived, 0);
            self.tls.reader().read_exact(&mut self.plain[before..])?;
        }
        self.flush()?;
        Ok(read > 0)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }
}

fn content_length(head: &str) -> Option<u64> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    })
}
