//! A connection that carries whole LDAP messages: TLS over TCP, StartTLS, or a unix socket.
//!
//! Scope: opening, sending, the next message, closing. Every wait ends ([`crate::net::deadline`]).
//! No value of type [`Connection`] exists before TLS stands, so nothing but the StartTLS request
//! itself can be sent in clear.

use std::io;
use std::time::Duration;

use ldap_content_sync::oversized::{Oversized, OversizedReader, Progress};
use ldap_content_sync::{
    DecodeError, DecodeErrorKind, LdapMessage, Limits, ProtocolOp, ResultCode, request,
};
use rustls::pki_types::{CertificateDer, ServerName};
use zeroize::Zeroizing;

use super::error::{Problem, Stage, quote};
use super::frame_buffer::FrameBuffer;
use super::tls_session::TlsSession;
use crate::config::sync::{DirectoryConfig, LdapUri};
use crate::heartbeat::Heartbeat;
use crate::net::deadline::Deadline;
use crate::net::socket::{ConnectError, Socket};
use crate::net::tls::{Roots, TlsOptions, client_config};

/// Read at once from a unix socket.
const PIECE: usize = 64 * 1024;

/// The message ID of StartTLS, which is the first request where there is one.
const START_TLS_ID: u32 = 1;

/// RFC 4511 §4.1.1.1: maxInt.
const LAST_MESSAGE_ID: u32 = i32::MAX as u32;

pub(super) struct Connection {
    socket: Socket,
    /// `None` on a unix socket only.
    tls: Option<TlsSession>,
    frames: FrameBuffer,
    /// The last message, where it was an entry beyond the limit.
    oversized: Option<Oversized>,
    timeout: Duration,
    limits: Limits,
    /// The ID of the last request; 1 is left to StartTLS.
    last_id: u32,
    /// Hears of every piece that was read.
    heartbeat: Heartbeat,
}

/// Why no message came, or none was sent.
#[derive(Debug)]
pub(super) enum WireError {
    Io(io::Error),
    /// `trickling`: bytes came, but too slowly for a whole message.
    TimedOut {
        trickling: bool,
    },
    /// `announced`: by close_notify.
    Closed {
        announced: bool,
    },
    Tls(rustls::Error),
    Frame(DecodeError),
}

impl WireError {
    pub(super) fn from_io(error: io::Error, deadline: &Deadline) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => {
                WireError::TimedOut { trickling: deadline.outlived_progress() }
            }
            _ => WireError::Io(error),
        }
    }
}

impl Connection {
    /// Connects as configured, up to and with TLS.
    pub(super) fn open(
        cfg: &DirectoryConfig,
        limits: Limits,
        heartbeat: Heartbeat,
    ) -> Result<Self, Problem> {
        let (socket, tls, frames) = match &cfg.uri {
            LdapUri::Unix(path) => {
                let socket = Socket::connect_unix(path, cfg.timeout)
                    .map_err(|reason| Problem::NoUnixSocket { path: path.clone(), reason })?;
                (socket, None, FrameBuffer::default())
            }
            LdapUri::Tls { host, port, starttls } => {
                let (socket, tls, frames) =
                    open_tls(cfg, host, *port, *starttls, &limits, &heartbeat)?;
                (socket, Some(tls), frames)
            }
        };
        heartbeat.beat();
        Ok(Connection {
            socket,
            tls,
            frames,
            oversized: None,
            timeout: cfg.timeout,
            limits,
            last_id: START_TLS_ID,
            heartbeat,
        })
    }

    /// Sends a request, and says which message ID it was given.
    pub(super) fn request(
        &mut self,
        stage: Stage,
        encode: impl FnOnce(u32) -> Vec<u8>,
    ) -> Result<u32, Problem> {
        let id = self.next_id();
        // Wiped: a bind holds the password.
        let request = Zeroizing::new(encode(id));
        self.send(&request).map_err(|error| Problem::from_wire(error, stage, self.timeout))?;
        Ok(id)
    }

    /// The next message, whatever it answers.
    pub(super) fn message(&mut self, stage: Stage) -> Result<LdapMessage<'_>, Problem> {
        let (timeout, limits) = (self.timeout, self.limits);
        self.oversized = None;
        let len = self.receive().map_err(|error| Problem::from_wire(error, stage, timeout))?;
        let message = match &self.oversized {
            Some(entry) => entry.decode(&limits),
            None => LdapMessage::decode(self.frames.take(len), &limits),
        };
        message.map_err(|error| Problem::from_decode(error, stage))
    }

    /// The peer's certificate chain, its own first; empty on a unix socket.
    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.as_ref().map(TlsSession::peer_certificates).unwrap_or_default()
    }

    /// Sends a last request and says that nothing more comes. What fails is of no interest any
    /// more, and is not waited for long.
    pub(super) fn close(&mut self, encode: impl FnOnce(u32) -> Vec<u8>) {
        const LONGEST: Duration = Duration::from_secs(1);
        self.timeout = self.timeout.min(LONGEST);
        let id = self.next_id();
        if self.send(&encode(id)).is_ok()
            && let Some(tls) = &mut self.tls
        {
            let _ = tls.close(&mut self.socket, &Deadline::step(self.timeout));
        }
    }

    fn send(&mut self, request: &[u8]) -> Result<(), WireError> {
        let deadline = Deadline::step(self.timeout);
        match &mut self.tls {
            Some(tls) => tls.send(request, &mut self.socket, &mut self.frames, &deadline),
            None => self
                .socket
                .write_all(request, &deadline)
                .map_err(|e| WireError::from_io(e, &deadline)),
        }
    }

    /// Waits for a message: how long it is, or 0 and [`Connection::oversized`] has it.
    fn receive(&mut self) -> Result<usize, WireError> {
        // The clock is asked only where there is something to wait for: most messages are here
        // already.
        let (mut deadline, mut oversized) = (None, None);
        loop {
            if oversized.is_none() {
                match self.frames.next_len(self.limits.max_message) {
                    Ok(Some(len)) => return Ok(len),
                    Ok(None) => {}
                    Err(DecodeError { kind: DecodeErrorKind::MessageTooLarge { .. }, .. }) => {
                        oversized = Some(OversizedReader::new(self.limits.max_message));
                    }
                    Err(error) => return Err(WireError::Frame(error)),
                }
            }
            if let Some(reader) = &mut oversized {
                match reader.feed(self.frames.waiting()).map_err(WireError::Frame)? {
                    Progress::More => self.frames.take(usize::MAX),
                    Progress::Done { used, entry } => {
                        self.oversized = Some(entry);
                        self.frames.take(used);
                        return Ok(0);
                    }
                };
            }
            let deadline = deadline.get_or_insert_with(|| Deadline::message(self.timeout));
            match &mut self.tls {
                Some(tls) => tls.fill(&mut self.socket, &mut self.frames, deadline)?,
                None => fill(&mut self.socket, &mut self.frames, deadline)?,
            }
            self.heartbeat.beat();
        }
    }

    fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id % LAST_MESSAGE_ID + 1;
        self.last_id
    }
}

fn fill(
    socket: &mut Socket,
    frames: &mut FrameBuffer,
    deadline: &Deadline,
) -> Result<(), WireError> {
    match frames
        .push_with(PIECE, |free| socket.read(free, deadline))
        .map_err(|e| WireError::from_io(e, deadline))?
    {
        0 => Err(WireError::Closed { announced: false }),
        _ => Ok(()),
    }
}

fn open_tls(
    cfg: &DirectoryConfig,
    host: &str,
    port: u16,
    starttls: bool,
    limits: &Limits,
    heartbeat: &Heartbeat,
) -> Result<(Socket, TlsSession, FrameBuffer), Problem> {
    let config = client_config(&TlsOptions {
        roots: cfg.ca.as_deref().map_or(Roots::System, Roots::Bundle),
        verify_ca: cfg.verify_ca,
        verify_hostnames: true,
        client_cert: cfg
            .client_cert
            .as_ref()
            .map(|(certificate, key)| (certificate.as_path(), key.as_path())),
    })
    .map_err(Problem::Tls)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Problem::BadHostName { host: host.to_owned() })?;
    let mut socket = Socket::connect(host, port, cfg.timeout).map_err(|error| match error {
        ConnectError::NotFound(reason) => Problem::HostNotFound { host: host.to_owned(), reason },
        ConnectError::ResolverSilent => {
            Problem::ResolverSilent { host: host.to_owned(), timeout: cfg.timeout }
        }
        ConnectError::Failed(attempts) => Problem::NotConnected { attempts, timeout: cfg.timeout },
    })?;
    heartbeat.beat();
    if starttls {
        start_tls(&mut socket, cfg.timeout, limits)?;
        heartbeat.beat();
    }
    let mut frames = FrameBuffer::default();
    let tls =
        TlsSession::handshake(config, name, &mut socket, &mut frames, &Deadline::step(cfg.timeout))
            .map_err(|error| Problem::from_wire(error, Stage::Handshake, cfg.timeout))?;
    Ok((socket, tls, frames))
}

/// StartTLS, RFC 4511 §4.14. Data behind the answer would have been sent before TLS protects it:
/// somebody on the path could have added it, and it would be taken for an answer given under TLS.
/// What is still in the kernel's buffer is read as TLS records and fails there.
fn start_tls(socket: &mut Socket, timeout: Duration, limits: &Limits) -> Result<(), Problem> {
    let wire = |error| Problem::from_wire(error, Stage::StartTls, timeout);
    let deadline = Deadline::step(timeout);
    socket
        .write_all(&request::start_tls(START_TLS_ID), &deadline)
        .map_err(|e| wire(WireError::from_io(e, &deadline)))?;
    let mut frames = FrameBuffer::default();
    let len = loop {
        if let Some(len) =
            frames.next_len(limits.max_message).map_err(|e| wire(WireError::Frame(e)))?
        {
            break len;
        }
        fill(socket, &mut frames, &deadline).map_err(wire)?;
    };
    if frames.len() > len {
        return Err(Problem::StartTlsInjection);
    }
    let message = LdapMessage::decode(frames.take(len), limits)
        .map_err(|e| Problem::from_decode(e, Stage::StartTls))?;
    match message.op {
        ProtocolOp::ExtendedResponse(answer) if message.message_id == START_TLS_ID => {
            match answer.result.code {
                ResultCode::SUCCESS => Ok(()),
                code => Err(Problem::StartTlsRefused {
                    code,
                    diagnostic: quote(&answer.result.diagnostic),
                }),
            }
        }
        ProtocolOp::ExtendedResponse(answer)
            if message.message_id == 0 && answer.is_notice_of_disconnection() =>
        {
            let (code, diagnostic) = (answer.result.code, quote(&answer.result.diagnostic));
            Err(Problem::Disconnected { stage: Stage::StartTls, code, diagnostic })
        }
        other => {
            let reason = format!(
                "{} with message ID {} where the answer to StartTLS was due",
                other.name(),
                message.message_id
            );
            Err(Problem::Protocol { stage: Stage::StartTls, reason })
        }
    }
}
