//! The two listeners and what they share.

use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, server::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::answer::Answer;
use crate::engine::{Engine, Outcome};
use crate::fault::FaultPlan;
use crate::journal::Journal;

/// What both listeners work on.
pub struct Server {
    engine: RwLock<Arc<Engine>>,
    on_disk: bool,
    pub faults: FaultPlan,
    pub journal: Journal,
    /// How long a request may take until it is answered 408; what the engine began goes on.
    pub time_limit: Duration,
    /// Whether values that are not unique are answered as Kanidm 1.7 does.
    pub plain_conflicts: bool,
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed without an answer")
    }
}

impl Error for Closed {}

impl Server {
    pub async fn new(
        database: Option<&Path>,
        time_limit: Duration,
        plain_conflicts: bool,
    ) -> Outcome<Server> {
        let engine = RwLock::new(Arc::new(Engine::open(database).await?));
        Ok(Server {
            engine,
            on_disk: database.is_some(),
            faults: FaultPlan::default(),
            journal: Journal::default(),
            time_limit,
            plain_conflicts,
        })
    }

    pub fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts over with an empty engine, without faults and with an empty journal. Not with a
    /// database file: answers false.
    pub async fn reset(&self) -> Outcome<bool> {
        if self.on_disk {
            return Ok(false);
        }
        let fresh = Arc::new(Engine::open(None).await?);
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.faults.clear();
        self.journal.clear();
        Ok(true)
    }
}

/// Serves HTTPS on a listener, for ever.
pub async fn serve_tls<H, F>(
    listener: TcpListener,
    tls: TlsAcceptor,
    server: Arc<Server>,
    handler: H,
) where
    H: Fn(Arc<Server>, Request<Incoming>) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Result<Answer, Closed>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, server) = (tls.clone(), Arc::clone(&server));
        tokio::spawn(async move {
            if let Ok(stream) = tls.accept(stream).await {
                serve_connection(stream, server, handler).await;
            }
        });
    }
}

/// Serves plain HTTP on a listener, for ever.
pub async fn serve_plain<H, F>(listener: TcpListener, server: Arc<Server>, handler: H)
where
    H: Fn(Arc<Server>, Request<Incoming>) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Result<Answer, Closed>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_connection(stream, Arc::clone(&server), handler));
    }
}

/// Serves the requests of one connection. How it ends is the client's business.
async fn serve_connection<S, H, F>(stream: S, server: Arc<Server>, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Arc<Server>, Request<Incoming>) -> F,
    F: Future<Output = Result<Answer, Closed>>,
{
    let service = service_fn(|request| handler(Arc::clone(&server), request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The TLS side: a certificate chain and its key, both PEM files. TLS 1.3, no client certificates,
/// as far as Kanidm is concerned.
pub fn tls(certificates: &Path, key: &Path) -> Result<TlsAcceptor, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(certificates)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
