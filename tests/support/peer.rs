//! A scripted LDAP server for one connection: over TLS, in clear (for StartTLS and for those that
//! never get there), or on a unix socket.
//!
//! A test gives it the script as a closure on a [`Link`]: what to read, what to answer, when to
//! fall silent or to hang up. The messages are built by hand here, so that wrong ones can be built
//! as well. A script that panics fails the test when the peer goes out of scope.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use uuid::Uuid;

use kanidm_ldap_sync::config::sync::{Bind, DirectoryConfig, LdapUri};
use ldap_content_sync::filter::Filter;

use super::pki::Identity;

/// A script that waits longer than this for the client has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a peer does with a connection.
pub type Script = Box<dyn FnOnce(&mut Link) + Send>;

/// A server that takes one connection, unless it says otherwise.
pub struct Peer {
    /// On 127.0.0.1; 0 for a unix socket.
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// TLS from the first byte on.
    pub fn tls(identity: &Identity, script: impl FnOnce(&mut Link) + Send + 'static) -> Peer {
        Self::tls_as(server_config(identity, None, rustls::ALL_VERSIONS), script)
    }

    /// The same with a configuration of [`server_config`].
    pub fn tls_as(
        config: Arc<ServerConfig>,
        script: impl FnOnce(&mut Link) + Send + 'static,
    ) -> Peer {
        Self::plain(move |link| {
            link.secure(config);
            script(link);
        })
    }

    /// TCP and nothing else, until the script calls [`Link::secure`].
    pub fn plain(script: impl FnOnce(&mut Link) + Send + 'static) -> Peer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            if !stopped.load(Ordering::SeqCst) {
                stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
                stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
                stream.set_nodelay(true).expect("a socket");
                script(&mut Link { socket: Socket::Tcp(stream), tls: None });
            }
        });
        Peer { port, stop, thread: Some(thread) }
    }

    /// TLS from the first byte on, a script for each connection, one after the other. Those that
    /// are not used do not matter.
    pub fn tls_series(identity: &Identity, scripts: Vec<Script>) -> Peer {
        let config = server_config(identity, None, rustls::ALL_VERSIONS);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().expect("a connection");
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
                stream.set_nodelay(true).expect("a socket");
                let mut link = Link { socket: Socket::Tcp(stream), tls: None };
                link.secure(Arc::clone(&config));
                script(&mut link);
            }
        });
        Peer { port, stop, thread: Some(thread) }
    }

    /// TLS from the first byte on, the same script for each connection, many at a time.
    pub fn tls_each(
        identity: &Identity,
        script: impl Fn(&mut Link) + Send + Sync + 'static,
    ) -> Peer {
        let config = server_config(identity, None, rustls::ALL_VERSIONS);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let script = Arc::new(script);
        let thread = thread::spawn(move || {
            loop {
                let (stream, _) = listener.accept().expect("a connection");
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
                stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
                stream.set_nodelay(true).expect("a socket");
                let (config, script) = (Arc::clone(&config), Arc::clone(&script));
                thread::spawn(move || {
                    let mut link = Link { socket: Socket::Tcp(stream), tls: None };
                    link.secure(config);
                    script(&mut link);
                });
            }
        });
        Peer { port, stop, thread: Some(thread) }
    }

    /// A unix socket. It has to be connected to before the peer goes out of scope.
    pub fn unix(path: &Path, script: impl FnOnce(&mut Link) + Send + 'static) -> Peer {
        let listener = UnixListener::bind(path).expect("a socket");
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
            script(&mut Link { socket: Socket::Unix(stream), tls: None });
        });
        Peer { port: 0, stop: Arc::default(), thread: Some(thread) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Wakes up a listener that nobody connected to.
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let script = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            script.expect("one thread").expect("the script of the peer went well");
        }
    }
}

/// The configuration that leads to the peer by the name `host`: ldaps, SASL EXTERNAL, base
/// `dc=example`, everything, a time-out that no healthy test reaches, messages of at most 1 MiB.
pub fn config(host: &str, peer: &Peer, ca: Option<&Path>) -> DirectoryConfig {
    DirectoryConfig {
        uri: LdapUri::Tls { host: host.into(), port: peer.port, starttls: false },
        ca: ca.map(Path::to_owned),
        verify_ca: true,
        client_cert: None,
        bind: Bind::External,
        base_dn: "dc=example".into(),
        filter: Filter::Present { attribute: "objectClass".into() },
        filter_text: "(objectClass=*)".into(),
        timeout: PATIENCE,
        max_message: 1 << 20,
    }
}

/// A server's TLS: who it is, whether clients need a certificate of `clients` (a CA file), and
/// which versions it speaks.
pub fn server_config(
    identity: &Identity,
    clients: Option<&Path>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(ca).expect("a CA")).expect("a CA");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .expect("a verifier");
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = CertificateDer::pem_file_iter(&identity.certificate)
        .expect("a file")
        .collect::<Result<_, _>>()
        .expect("a chain");
    let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
    Arc::new(builder.with_single_cert(chain, key).expect("an identity"))
}

/// The connection, as the script sees it.
pub struct Link {
    socket: Socket,
    tls: Option<ServerConnection>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A request from the client.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: u32,
    /// Tag of the operation: 0x60 bind, 0x42 unbind, 0x63 search, 0x77 extended.
    pub tag: u8,
    pub bytes: Vec<u8>,
}

impl Request {
    /// Whether this text stands anywhere in the request.
    pub fn mentions(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Whether it is a persistent search.
    pub fn is_persistent(&self) -> bool {
        self.is_refresh() && self.bytes.windows(3).any(|window| window == [0x0a, 1, 3])
    }

    /// Whether it is a refresh.
    pub fn is_refresh(&self) -> bool {
        self.mentions("1.3.6.1.4.1.4203.1.9.1.1")
    }
}

impl Link {
    /// Whatever the client sends from now on is TLS, its ClientHello first.
    pub fn secure(&mut self, config: Arc<ServerConfig>) {
        self.tls = Some(ServerConnection::new(config).expect("a server"));
    }

    /// From now on nothing is understood as TLS: a ClientHello is not answered.
    pub fn forget_tls(&mut self) {
        self.tls = None;
    }

    /// The next request. The client must not hang up before it.
    pub fn request(&mut self) -> Request {
        self.next_request().expect("a request, not the end of the connection")
    }

    /// The next request; `None` when the client hangs up, or fails in the handshake.
    pub fn next_request(&mut self) -> Option<Request> {
        let mut bytes = vec![0; 2];
        self.read_exact(&mut bytes)?;
        let mut length = usize::from(bytes[1]);
        if length >= 0x80 {
            let mut octets = vec![0; length - 0x80];
            self.read_exact(&mut octets)?;
            length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
            bytes.extend(octets);
        }
        let start = bytes.len();
        bytes.resize(start + length, 0);
        self.read_exact(&mut bytes[start..])?;
        let id_len = usize::from(bytes[start + 1]);
        let id = bytes[start + 2..start + 2 + id_len]
            .iter()
            .fold(0, |id, octet| id << 8 | u32::from(*octet));
        Some(Request { id, tag: bytes[start + 2 + id_len], bytes })
    }

    /// Sends bytes as they are. A client that has gone already is no failure: it may have given up
    /// for good reason.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref());
    }

    /// The same; false when the client has gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        let result = match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).write_all(bytes),
            None => self.socket.write_all(bytes),
        };
        result.is_ok()
    }

    /// Takes the bind and the search of the root DSE, and answers them as this server would.
    pub fn begin(&mut self, root_dse: &[(&str, &[&str])]) {
        let bind = self.request();
        assert_eq!(bind.tag, 0x60, "a bind");
        self.send(bind_response(bind.id, 0, ""));
        self.root_dse(root_dse);
    }

    /// Takes the search of the root DSE and answers it.
    pub fn root_dse(&mut self, root_dse: &[(&str, &[&str])]) {
        let mut search = self.request();
        // An account that bound without a name asks for it first, and this server does not know the
        // operation.
        if search.tag == 0x77 && search.mentions("1.3.6.1.4.1.4203.1.11.3") {
            self.send(extended_response(search.id, 2, ""));
            search = self.request();
        }
        assert!(search.tag == 0x63 && search.mentions("supportedControl"), "the root DSE");
        self.send(entry(search.id, "", root_dse));
        self.send(done(search.id, 0, ""));
    }

    /// Says nothing until the client hangs up.
    pub fn stay_silent(&mut self) {
        while self.read_exact(&mut [0]).is_some() {}
    }

    /// Ends TLS with close_notify, and the connection.
    pub fn hang_up(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            while tls.wants_write() {
                tls.write_tls(&mut self.socket).expect("the client is there");
            }
        }
        self.cut();
    }

    /// Ends the connection without a word. What the client has sent and the script has not read
    /// makes it a reset.
    pub fn cut(&mut self) {
        let _ = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// Has the connection end with a reset (RST) when the script returns, which has to be next. TCP
    /// only.
    pub fn reset(&mut self) {
        let Socket::Tcp(stream) = &self.socket else { panic!("a unix socket knows no reset") };
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Option<()> {
        let result = match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).read_exact(buffer),
            None => self.socket.read_exact(buffer),
        };
        match result {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the client keeps the script waiting")
            }
            Err(_) => None,
        }
    }
}

/// What a root DSE holds that offers content synchronisation.
pub const SLAPD: &[(&str, &[&str])] = &[
    ("objectClass", &["top", "OpenLDAProotDSE"]),
    ("supportedControl", &["1.3.6.1.4.1.4203.1.9.1.1"]),
];

/// The root DSE of 389 with a changelog from `first` to `last`.
pub fn ds389(link: &mut Link, first: u64, last: u64) {
    let (first, last) = (first.to_string(), last.to_string());
    link.root_dse(&[
        ("vendorName", &["389 Project"]),
        ("supportedControl", &["1.3.6.1.4.1.4203.1.9.1.1"]),
        ("firstchangenumber", &[&first]),
        ("lastchangenumber", &[&last]),
    ]);
}

/// An element of BER with a tag of one octet.
pub fn tlv(tag: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut element = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => element.push(short),
        _ => {
            element.push(0x84);
            element.extend(u32::try_from(content.len()).expect("not that long").to_be_bytes());
        }
    }
    element.extend(content);
    element
}

/// INTEGER or ENUMERATED.
pub fn number(tag: u8, value: u32) -> Vec<u8> {
    let octets: Vec<u8> = u64::from(value).to_be_bytes().into_iter().collect();
    let leading = octets.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
    tlv(tag, &octets[leading..])
}

/// An LDAPMessage.
pub fn message(id: u32, operation: Vec<u8>) -> Vec<u8> {
    tlv(0x30, [number(2, id), operation].concat())
}

/// An LDAPMessage with one control.
pub fn message_with(id: u32, operation: Vec<u8>, oid: &str, value: Vec<u8>) -> Vec<u8> {
    let control = tlv(0x30, [tlv(4, oid), tlv(4, value)].concat());
    tlv(0x30, [number(2, id), operation, tlv(0xa0, control)].concat())
}

/// The components of an LDAPResult.
fn result(code: u32, diagnostic: &str) -> Vec<u8> {
    [number(10, code), tlv(4, ""), tlv(4, diagnostic)].concat()
}

pub fn bind_response(id: u32, code: u32, diagnostic: &str) -> Vec<u8> {
    message(id, tlv(0x61, result(code, diagnostic)))
}

pub fn extended_response(id: u32, code: u32, diagnostic: &str) -> Vec<u8> {
    message(id, tlv(0x78, result(code, diagnostic)))
}

/// Notice of Disconnection.
pub fn notice(code: u32, diagnostic: &str) -> Vec<u8> {
    unsolicited("1.3.6.1.4.1.1466.20036", code, diagnostic)
}

/// An unsolicited notification.
pub fn unsolicited(oid: &str, code: u32, diagnostic: &str) -> Vec<u8> {
    message(0, tlv(0x78, [result(code, diagnostic), tlv(0x8a, oid)].concat()))
}

pub fn done(id: u32, code: u32, diagnostic: &str) -> Vec<u8> {
    message(id, tlv(0x65, result(code, diagnostic)))
}

/// SearchResultDone of a refresh that went well.
pub fn sync_done(id: u32, cookie: Option<&str>, refresh_deletes: bool) -> Vec<u8> {
    let mut value = cookie.map(|cookie| tlv(4, cookie)).unwrap_or_default();
    if refresh_deletes {
        value.extend(tlv(1, [0xff]));
    }
    message_with(id, tlv(0x65, result(0, "")), "1.3.6.1.4.1.4203.1.9.1.3", tlv(0x30, value))
}

fn entry_operation(dn: &str, attributes: &[(&str, &[&str])]) -> Vec<u8> {
    let attributes: Vec<u8> = attributes
        .iter()
        .flat_map(|(name, values)| {
            let values: Vec<u8> = values.iter().flat_map(|value| tlv(4, value)).collect();
            tlv(0x30, [tlv(4, name), tlv(0x31, values)].concat())
        })
        .collect();
    tlv(0x64, [tlv(4, dn), tlv(0x30, attributes)].concat())
}

pub fn entry(id: u32, dn: &str, attributes: &[(&str, &[&str])]) -> Vec<u8> {
    message(id, entry_operation(dn, attributes))
}

/// An entry of a refresh, state `add`.
pub fn sync_entry(id: u32, uuid: Uuid, dn: &str, attributes: &[(&str, &[&str])]) -> Vec<u8> {
    let state = tlv(0x30, [number(10, 1), tlv(4, uuid.as_bytes())].concat());
    message_with(id, entry_operation(dn, attributes), "1.3.6.1.4.1.4203.1.9.1.2", state)
}

/// An entry that is gone, in the persist stage of a persistent search.
pub fn gone_entry(id: u32, uuid: Uuid, dn: &str) -> Vec<u8> {
    let state = tlv(0x30, [number(10, 3), tlv(4, uuid.as_bytes())].concat());
    message_with(id, entry_operation(dn, &[]), "1.3.6.1.4.1.4203.1.9.1.2", state)
}

/// A Sync Info message with this syncInfoValue.
pub fn sync_info(id: u32, value: Vec<u8>) -> Vec<u8> {
    let name = tlv(0x80, "1.3.6.1.4.1.4203.1.9.1.4");
    message(id, tlv(0x79, [name, tlv(0x81, value)].concat()))
}

/// A syncIdSet: UUIDs that are gone, or still there.
pub fn id_set(id: u32, gone: bool, uuids: &[Uuid]) -> Vec<u8> {
    let set: Vec<u8> = uuids.iter().flat_map(|uuid| tlv(4, uuid.as_bytes())).collect();
    let mut value = if gone { tlv(1, [0xff]) } else { Vec::new() };
    value.extend(tlv(0x31, set));
    message(
        id,
        tlv(0x79, [tlv(0x80, "1.3.6.1.4.1.4203.1.9.1.4"), tlv(0x81, tlv(0xa3, value))].concat()),
    )
}

/// refreshDelete: the refresh stage of a persistent search is over.
pub fn refreshed(id: u32) -> Vec<u8> {
    sync_info(id, tlv(0xa1, ""))
}

pub fn reference(id: u32, uri: &str) -> Vec<u8> {
    message(id, tlv(0x73, tlv(4, uri)))
}
