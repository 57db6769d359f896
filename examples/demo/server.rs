//! What both servers of the demo stand on: a certificate made on the spot, and a loop that serves
//! TLS connections.

use std::error::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::CertifiedKey;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

/// A connection, its handshake still to come: it takes place with the first read.
pub type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A certificate for 127.0.0.1 that vouches for itself, ready to serve with; and as PEM, for those
/// who are to trust it.
pub fn certificate() -> Result<(Arc<ServerConfig>, String), Box<dyn Error>> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())?;
    Ok((Arc::new(config), cert.pem()))
}

/// Serves a free port of 127.0.0.1, one connection after the other, until the process ends.
pub fn listen(
    tls: Arc<ServerConfig>,
    serve: impl Fn(&mut Stream) -> Result<(), Box<dyn Error>> + Send + 'static,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            if let Ok(connection) = ServerConnection::new(tls.clone()) {
                // A client that goes away in the middle is no concern of the server.
                let _ = serve(&mut StreamOwned::new(connection, tcp));
            }
        }
    });
    Ok(address)
}
