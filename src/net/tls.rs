//! Builds a rustls client configuration from PEM files and a verification policy. The directory
//! side and the Kanidm client use it.
//!
//! Scope: trusted certificates, verification, and the client certificate. No sockets. TLS 1.2 and
//! 1.3 with ring. The provider is named explicitly, so no process-wide default provider is
//! installed.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

pub use super::tls_error::{TlsError, UntrustedChain, explain};
use crate::file;

/// Trust, verification and client certificate of a TLS client.
#[derive(Clone, Copy, Debug)]
pub struct TlsOptions<'a> {
    /// Roots that a server's chain must end in. Not read if `verify_ca` is false.
    pub roots: Roots<'a>,
    /// False: any certificate is accepted, for any name. Dangerous: an attacker on the network path
    /// can read and change all traffic.
    pub verify_ca: bool,
    /// False: the chain is verified, but not the host name. Dangerous: the owner of any certificate
    /// from a trusted CA can pose as the server.
    pub verify_hostnames: bool,
    /// Certificate chain and private key of the client, as two PEM files.
    pub client_cert: Option<(&'a Path, &'a Path)>,
}

/// Source of the trusted CA certificates. Every certificate of a PEM bundle is trusted.
#[derive(Clone, Copy, Debug)]
pub enum Roots<'a> {
    /// Only this PEM bundle.
    Bundle(&'a Path),
    /// The system's roots. `SSL_CERT_FILE` and `SSL_CERT_DIR` override their location.
    System,
    /// The system's roots and this PEM bundle. On a system without roots, such as a minimal
    /// container, only the bundle.
    SystemPlus(&'a Path),
}

/// A TLS client: its configuration, and the chain that its verifier has rejected.
#[derive(Clone, Debug)]
pub struct TlsClient {
    /// The configuration for rustls.
    pub config: Arc<ClientConfig>,
    rejected: RejectedChain,
}

/// The latest chain without a trusted issuer. The verifier writes it. rustls forgets a chain that
/// it rejects, and its own error does not name the certificates.
#[derive(Clone, Debug, Default)]
struct RejectedChain(Arc<Mutex<Option<UntrustedChain>>>);

impl RejectedChain {
    fn set(&self, chain: Option<UntrustedChain>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
    }

    fn take(&self) -> Option<UntrustedChain> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl TlsClient {
    /// Adds the names of the rejected certificates to an error of the handshake.
    pub fn with_names(&self, error: rustls::Error) -> rustls::Error {
        match (error, self.rejected.take()) {
            (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), Some(chain)) => {
                CertificateError::Other(OtherError(Arc::new(chain))).into()
            }
            (error, _) => error,
        }
    }
}

/// Builds the client.
///
/// # Errors
/// A file that cannot be read, contains no certificate or no usable key, or a key that does not
/// match the certificate. Each error names the path.
pub fn client_config(options: &TlsOptions<'_>) -> Result<TlsClient, TlsError> {
    let rejected = RejectedChain::default();
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| TlsError::Setup { reason: e.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(verifier(options, provider, rejected.clone())?);
    let config = match options.client_cert {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let private_key = private_key(key)?;
            builder
                .with_client_auth_cert(chain, private_key)
                .map_err(|e| TlsError::from_client_auth(certificate, key, &e))?
        }
    };
    Ok(TlsClient { config: Arc::new(config), rejected })
}

fn verifier(
    options: &TlsOptions<'_>,
    provider: Arc<CryptoProvider>,
    rejected: RejectedChain,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if !options.verify_ca {
        return Ok(Arc::new(AnyCertificate(provider)));
    }
    let roots = Arc::new(root_store(options.roots)?);
    let chain = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|e| TlsError::Setup { reason: e.to_string() })?;
    Ok(Arc::new(TrustedChain { chain, any_name: !options.verify_hostnames, rejected }))
}

fn root_store(roots: Roots<'_>) -> Result<RootCertStore, TlsError> {
    let (system, bundle) = match roots {
        Roots::Bundle(path) => (false, Some(path)),
        Roots::System => (true, None),
        Roots::SystemPlus(path) => (true, Some(path)),
    };
    let mut store = RootCertStore::empty();
    if let Some(path) = bundle {
        add_bundle(&mut store, path)?;
    }
    if system {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            return Err(TlsError::NoSystemRoots {
                reasons: found.errors.iter().map(ToString::to_string).collect(),
            });
        }
    }
    Ok(store)
}

/// Adds every certificate of the file. A certificate that is not usable as a CA is skipped with a
/// warning, as in the system's bundle. It is an error only if all are unusable.
fn add_bundle(store: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let mut refusal = None;
    let before = store.len();
    for (index, certificate) in certificates(path)?.into_iter().enumerate() {
        if let Err(error) = store.add(certificate) {
            log::warn!(
                "{}: certificate number {} is not usable as a CA: {error}",
                path.display(),
                index + 1
            );
            refusal = Some(error.to_string());
        }
    }
    match refusal {
        Some(reason) if store.len() == before => {
            Err(TlsError::BadCertificate { path: path.to_owned(), reason })
        }
        _ => Ok(()),
    }
}

/// Every certificate of a PEM file. The list has at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|e| TlsError::BadPem { path: path.to_owned(), reason: pem_reason(&e) })?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| match e {
        // rustls does not know the label of an encrypted PKCS#8 key. The traditional format has
        // this header line.
        _ if contains(&pem, b"ENCRYPTED PRIVATE KEY")
            || contains(&pem, b"Proc-Type: 4,ENCRYPTED") =>
        {
            TlsError::EncryptedKey { path: path.to_owned() }
        }
        pem::Error::NoItemsFound => TlsError::NoKey { path: path.to_owned() },
        other => TlsError::BadPem { path: path.to_owned(), reason: pem_reason(&other) },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let whole = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    whole().map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// Reason why a PEM file is invalid. The text contains no byte of the file, because the file may
/// hold a key.
fn pem_reason(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "a section has no END line; copy the whole file again".into()
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a BEGIN line is malformed; copy the file again".into()
        }
        pem::Error::Base64Decode(_) => "a section is not base64; copy the file again".into(),
        _ => "it is not PEM; if it is DER, convert it: openssl x509 -inform der -in OLD -out NEW"
            .into(),
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Verifier for `verify_ca = false`: accepts any certificate for any name. It still checks
/// handshake signatures, so the peer holds the private key of its certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifier of chain, dates, usage and name. `any_name` (`verify_hostnames = false`) ignores only a
/// mismatch of the name. webpki checks the name last, so a name mismatch means that all other
/// checks passed.
#[derive(Debug)]
struct TrustedChain {
    chain: Arc<WebPkiServerVerifier>,
    any_name: bool,
    rejected: RejectedChain,
}

impl ServerCertVerifier for TrustedChain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verdict {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                self.rejected.set(UntrustedChain::read(end_entity, intermediates));
                verdict
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
