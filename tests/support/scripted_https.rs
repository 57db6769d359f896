//! An HTTPS server that is not Kanidm, and says what the test has it say.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::pki::Identity;

/// It answers each request, closes the connection, and remembers what it was asked. It ends with
/// the test.
pub struct ScriptedHttps {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl ScriptedHttps {
    /// `answer` makes a whole HTTP response of the head of a request.
    pub fn start(
        identity: &Identity,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> ScriptedHttps {
        let certificate =
            CertificateDer::from_pem_file(&identity.certificate).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|builder| {
                    builder.with_no_client_auth().with_single_cert(vec![certificate], key)
                })
                .expect("a usable identity");
        let config = Arc::new(config);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
                // A client that does not trust this server hangs up: that is its business.
                let _ = serve(StreamOwned::new(connection, socket), &answer, &seen);
            }
        });
        ScriptedHttps { port, requests }
    }

    /// What a client config names as `uri`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A response with everything HTTP asks for.
pub fn response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn serve(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    answer: &impl Fn(&str) -> String,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let answer = answer(&head);
    seen.lock().unwrap().push(head);
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}
