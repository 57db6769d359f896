//! A scripted HTTPS server: a test says byte by byte what it does with each connection.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::pki::Identity;

/// One connection, seen from the server.
pub type Link = StreamOwned<ServerConnection, TcpStream>;

/// What the server does with a connection.
pub type Script = Box<dyn FnOnce(&mut Link) + Send>;

/// A server that runs one script a connection, in their order, and fails the test when one of them
/// panics.
pub struct Web {
    pub port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    pub fn start(identity: &Identity, scripts: Vec<Script>) -> Web {
        Web::changing(scripts.into_iter().map(|script| (identity.clone(), script)).collect())
    }

    /// With an identity for each connection.
    pub fn changing(scripts: Vec<(Identity, Script)>) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            for (identity, script) in scripts {
                let config = Arc::new(server_config(&identity));
                let (socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                script(&mut StreamOwned::new(ServerConnection::new(config).unwrap(), socket));
            }
        });
        Web { port, thread: Some(thread) }
    }

    pub fn one(identity: &Identity, script: impl FnOnce(&mut Link) + Send + 'static) -> Web {
        Web::start(identity, vec![Box::new(script)])
    }

    /// Waits for the scripts.
    pub fn finish(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

fn server_config(identity: &Identity) -> ServerConfig {
    let certificates =
        CertificateDer::pem_file_iter(&identity.certificate).unwrap().map(Result::unwrap).collect();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_file(&identity.key).unwrap())
        .unwrap()
}

/// Head and body of the next request.
pub fn request(link: &mut Link) -> (String, Vec<u8>) {
    let head = head(link);
    let length = head
        .lines()
        .find_map(|l| {
            l.to_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap())
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    link.read_exact(&mut body).unwrap();
    (head, body)
}

pub fn head(link: &mut Link) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        link.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

pub fn answer(link: &mut Link, status: &str, headers: &str, body: &str) {
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    link.write_all(text.as_bytes()).unwrap();
    link.flush().unwrap();
}
