//! Name resolution and TLS for ureq.
//!
//! Scope: one connection. These parts differ from ureq's own in three ways:
//! - Errors say whether the name or TLS failed.
//! - The TLS configuration is a rustls configuration of this program. ureq's settings can neither
//!   check the chain without the name nor combine several sources of roots.
//! - A failed write does not end the request. A server that refuses a large body answers (413)
//!   before it closes the connection.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, StreamOwned};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use crate::net::tls::TlsClient;
use crate::within::within;

/// The reason why TLS failed. [`Error::Other`] carries it.
#[derive(Debug)]
pub struct TlsFailed(pub rustls::Error);

impl fmt::Display for TlsFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for TlsFailed {}

/// The reason why the host name has no address. [`Error::Other`] carries it.
#[derive(Debug)]
pub struct ResolveFailed(io::Error);

impl fmt::Display for ResolveFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ResolveFailed {}

/// The resolver of the system. ureq's own resolver panics if no thread can be started.
#[derive(Debug, Default)]
pub struct SystemResolver(Arc<DefaultResolver>);

impl Resolver for SystemResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let failed = |error| Error::Other(Box::new(ResolveFailed(error)));
        let (resolver, uri, config) = (Arc::clone(&self.0), uri.clone(), config.clone());
        // ureq starts a thread only to enforce a time-out; `within` enforces it here.
        let patient = NextTimeout { after: time::Duration::NotHappening, ..timeout };
        match within(*timeout.after, move || resolver.resolve(&uri, &config, patient)) {
            Ok(Some(Err(Error::Io(error)))) | Err(error) => Err(failed(error)),
            Ok(Some(result)) => result,
            Ok(None) => Err(Error::Timeout(timeout.reason)),
        }
    }
}

/// Wraps a TCP connection in TLS if the URI says https.
pub struct TlsConnector {
    client: TlsClient,
    chain: PeerChain,
}

/// The certificate chain of the latest server, its own certificate first. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PeerChain(Arc<Mutex<Vec<CertificateDer<'static>>>>);

impl PeerChain {
    /// The chain; empty before the first connection.
    pub fn get(&self) -> Vec<CertificateDer<'static>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, tls: &ClientConnection) {
        let chain = tls
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
    }
}

impl TlsConnector {
    /// `client` decides what is trusted and verified. `chain` receives the certificates of the
    /// server.
    pub fn new(client: TlsClient, chain: PeerChain) -> Self {
        TlsConnector { client, chain }
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(tcp) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() {
            return Ok(Some(Either::A(tcp)));
        }
        let host = details.uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Error::Tls(
                "the host is neither a DNS name nor an address; check `uri` in the client config",
            )
        })?;
        let mut tls = ClientConnection::new(Arc::clone(&self.client.config), name)
            .map_err(|e| Error::Other(Box::new(TlsFailed(e))))?;
        let mut socket = TransportAdapter::new(
            Box::new(tcp) as Box<dyn Transport>,
            Arc::clone(&details.current_time),
        );
        socket.set_timeout(details.timeout);
        tls.complete_io(&mut socket).map_err(|error| handshake_error(error, &self.client))?;
        self.chain.set(&tls);
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Either::B(TlsTransport {
            buffers,
            stream: StreamOwned::new(tls, socket),
            write_error: None,
        })))
    }
}

/// Separates a TLS failure from a connection that breaks during the handshake.
fn handshake_error(error: io::Error, client: &TlsClient) -> Error {
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(tls) => Error::Other(Box::new(TlsFailed(client.with_names(tls.clone())))),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            // The port may not speak TLS, or the server is being stopped. The second is worth a
            // retry.
            let words = "the connection ended during the TLS handshake (does this port speak TLS?)";
            io::Error::new(io::ErrorKind::ConnectionAborted, words).into()
        }
        None => error.into(),
    }
}

/// A TLS connection that carries HTTP for ureq.
pub struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    /// Set once the server accepts no more data. The rest of the request is dropped, and the answer
    /// is read.
    write_error: Option<io::Error>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.write_error.is_some() {
            return Ok(());
        }
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        match self.stream.write_all(output).and_then(|()| self.stream.flush()) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                self.write_error = Some(e);
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = match self.write_error.take() {
            None => self.stream.read(input)?,
            // Without an answer, the write error explains the failure.
            Some(error) => match read_only(&mut self.stream, input) {
                Ok(n) if n > 0 => {
                    self.write_error = Some(error);
                    n
                }
                _ => return Err(error.into()),
            },
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.write_error.is_none() && self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Reads only. The stream's own `read` would first try to write what is still queued.
fn read_only(
    stream: &mut StreamOwned<ClientConnection, TransportAdapter>,
    out: &mut [u8],
) -> io::Result<usize> {
    loop {
        match stream.conn.reader().read(out) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        if stream.conn.read_tls(&mut stream.sock)? == 0 {
            return Ok(0);
        }
        stream.conn.process_new_packets().map_err(io::Error::other)?;
    }
}
