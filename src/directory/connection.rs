//! A connection for whole LDAP messages: TLS over TCP, StartTLS, or a unix socket.
//!
//! Scope: opening, sending, receiving and closing, each with a deadline ([`crate::net::deadline`]).
//! A [`Connection`] over TCP exists only after the TLS handshake. Only the StartTLS request can
//! therefore be sent in clear text.

use std::io;
use std::time::Duration;

use ldap_content_sync::oversized::{Oversized, OversizedReader, Progress};
use ldap_content_sync::{
    DecodeError, DecodeErrorKind, LdapMessage, Limits, ProtocolOp, ResultCode, request,
};
use rustls::pki_types::{CertificateDer, ServerName};
use zeroize::Zeroizing;

use super::error::{DirectoryProblem, DirectoryStage, quote};
use super::frame_buffer::FrameBuffer;
use super::tls_session::TlsSession;
use crate::config::sync::{DirectoryConfig, LdapUri};
use crate::heartbeat::Heartbeat;
use crate::net::deadline::Deadline;
use crate::net::socket::{ConnectError, Socket};
use crate::net::tls::{Roots, TlsOptions, client_config};

/// Maximum bytes of one read from a unix socket.
const PIECE: usize = 64 * 1024;

/// Message ID of StartTLS, the first request on its connection.
const START_TLS_ID: u32 = 1;

/// maxInt, RFC 4511 §4.1.1.1.
const LAST_MESSAGE_ID: u32 = i32::MAX as u32;

pub(super) struct Connection {
    socket: Socket,
    /// `None` only on a unix socket.
    tls: Option<TlsSession>,
    frames: FrameBuffer,
    /// The last message, if it was an entry above the size limit.
    oversized: Option<Oversized>,
    timeout: Duration,
    pub(super) limits: Limits,
    /// ID of the last request. ID 1 is reserved for StartTLS.
    last_id: u32,
    /// Beats for every piece of data that is read.
    heartbeat: Heartbeat,
}

/// Reason why sending or receiving a message failed.
#[derive(Debug)]
pub(super) enum WireError {
    Io(io::Error),
    /// `trickling`: bytes arrived, but too slowly for a whole message.
    TimedOut {
        trickling: bool,
    },
    /// `announced`: the peer sent close_notify.
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
    /// Connects as configured, including the TLS handshake.
    pub(super) fn open(
        cfg: &DirectoryConfig,
        limits: Limits,
        heartbeat: Heartbeat,
    ) -> Result<Self, DirectoryProblem> {
        let (socket, tls, frames) = match &cfg.uri {
            LdapUri::Unix(path) => {
                let socket = Socket::connect_unix(path, cfg.timeout).map_err(|reason| {
                    DirectoryProblem::NoUnixSocket { path: path.clone(), reason }
                })?;
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

    /// Sends a request and returns its message ID.
    pub(super) fn request(
        &mut self,
        stage: DirectoryStage,
        encode: impl FnOnce(u32) -> Vec<u8>,
    ) -> Result<u32, DirectoryProblem> {
        let id = self.next_id();
        // Erased from memory after use: a bind request contains the password.
        let request = Zeroizing::new(encode(id));
        self.send(&request)
            .map_err(|error| DirectoryProblem::from_wire(error, stage, self.timeout))?;
        Ok(id)
    }

    /// Waits for the next message, to whichever request it belongs.
    pub(super) fn message(
        &mut self,
        stage: DirectoryStage,
    ) -> Result<LdapMessage<'_>, DirectoryProblem> {
        let (timeout, limits) = (self.timeout, self.limits);
        self.oversized = None;
        let len =
            self.receive().map_err(|error| DirectoryProblem::from_wire(error, stage, timeout))?;
        let message = match &self.oversized {
            Some(entry) => entry.decode(&limits),
            None => LdapMessage::decode(self.frames.take(len), &limits),
        };
        message.map_err(|error| DirectoryProblem::from_decode(error, stage))
    }

    /// Reads the answers to one request until `take` returns a result.
    pub(super) fn answers<T>(
        &mut self,
        id: u32,
        stage: DirectoryStage,
        mut take: impl FnMut(&LdapMessage<'_>) -> Result<Option<T>, DirectoryProblem>,
    ) -> Result<T, DirectoryProblem> {
        loop {
            let message = self.message(stage)?;
            if message.message_id != id {
                ignore_unsolicited(&message, stage)?;
            } else if let Some(result) = take(&message)? {
                return Ok(result);
            }
        }
    }

    /// True if [`Connection::message`] has something to return without reading: a message, or an
    /// error. True also at the beginning of an entry above the size limit.
    pub(super) fn has_message(&self) -> bool {
        !matches!(self.frames.next_len(self.limits.max_message), Ok(None))
    }

    /// Bytes of messages that were received and not taken.
    pub(super) fn waiting(&self) -> usize {
        self.frames.len()
    }

    /// True if the next message is here, or arrives within `wait`: see [`Connection::has_message`].
    /// Otherwise its first bytes stay for the next call.
    pub(super) fn arrives_within(
        &mut self,
        stage: DirectoryStage,
        wait: Duration,
    ) -> Result<bool, DirectoryProblem> {
        let deadline = Deadline::step(wait);
        while !self.has_message() {
            let filled = match &mut self.tls {
                Some(tls) => tls.fill(&mut self.socket, &mut self.frames, &deadline),
                None => fill(&mut self.socket, &mut self.frames, &deadline),
            };
            match filled {
                Ok(()) => {}
                Err(WireError::TimedOut { .. }) => return Ok(false),
                Err(error) => return Err(DirectoryProblem::from_wire(error, stage, self.timeout)),
            }
        }
        Ok(true)
    }

    /// The server's certificate chain, leaf first. Empty on a unix socket.
    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.as_ref().map(TlsSession::peer_certificates).unwrap_or_default()
    }

    /// Sends a last request and closes the TLS session. Errors no longer matter, so it ignores them
    /// and waits at most one second a step.
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

    /// Waits for a message and returns its length. After an oversized entry it returns 0 and the
    /// entry is in `oversized`.
    fn receive(&mut self) -> Result<usize, WireError> {
        // Most messages are already in the buffer, so the deadline starts only when there is a
        // wait.
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
) -> Result<(Socket, TlsSession, FrameBuffer), DirectoryProblem> {
    let client = client_config(&TlsOptions {
        roots: cfg.ca.as_deref().map_or(Roots::System, Roots::Bundle),
        verify_ca: cfg.verify_ca,
        verify_hostnames: true,
        client_cert: cfg
            .client_cert
            .as_ref()
            .map(|(certificate, key)| (certificate.as_path(), key.as_path())),
    })
    .map_err(DirectoryProblem::Tls)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| DirectoryProblem::BadHostName { host: host.to_owned() })?;
    let mut socket = Socket::connect(host, port, cfg.timeout).map_err(|error| match error {
        ConnectError::NotFound(reason) => {
            DirectoryProblem::HostNotFound { host: host.to_owned(), reason }
        }
        ConnectError::ResolverSilent => {
            DirectoryProblem::ResolverSilent { host: host.to_owned(), timeout: cfg.timeout }
        }
        ConnectError::Failed(attempts) => {
            DirectoryProblem::NotConnected { attempts, timeout: cfg.timeout }
        }
    })?;
    heartbeat.beat();
    if starttls {
        start_tls(&mut socket, cfg.timeout, limits)?;
        heartbeat.beat();
    }
    let mut frames = FrameBuffer::default();
    let tls = TlsSession::handshake(
        &client,
        name,
        &mut socket,
        &mut frames,
        &Deadline::step(cfg.timeout),
    )
    .map_err(|error| DirectoryProblem::from_wire(error, DirectoryStage::Handshake, cfg.timeout))?;
    Ok((socket, tls, frames))
}

/// StartTLS, RFC 4511 §4.14. Data after the response is an error: it was sent before TLS protected
/// the connection. An attacker on the network path may have injected it, and the client would take
/// it for a protected response. Injected bytes that are still in the kernel's buffer are read as
/// TLS records and fail there.
fn start_tls(
    socket: &mut Socket,
    timeout: Duration,
    limits: &Limits,
) -> Result<(), DirectoryProblem> {
    let wire = |error| DirectoryProblem::from_wire(error, DirectoryStage::StartTls, timeout);
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
        return Err(DirectoryProblem::StartTlsInjection);
    }
    let message = LdapMessage::decode(frames.take(len), limits)
        .map_err(|e| DirectoryProblem::from_decode(e, DirectoryStage::StartTls))?;
    match message.op {
        ProtocolOp::ExtendedResponse(answer) if message.message_id == START_TLS_ID => {
            match answer.result.code {
                ResultCode::SUCCESS => Ok(()),
                code => Err(DirectoryProblem::StartTlsRefused {
                    code,
                    diagnostic: quote(&answer.result.diagnostic),
                }),
            }
        }
        ProtocolOp::ExtendedResponse(answer)
            if message.message_id == 0 && answer.is_notice_of_disconnection() =>
        {
            let (code, diagnostic) = (answer.result.code, quote(&answer.result.diagnostic));
            Err(DirectoryProblem::Disconnected {
                stage: DirectoryStage::StartTls,
                code,
                diagnostic,
            })
        }
        other => {
            let reason = format!(
                "{} with message ID {} where the answer to StartTLS was due",
                other.name(),
                message.message_id
            );
            Err(DirectoryProblem::Protocol { stage: DirectoryStage::StartTls, reason })
        }
    }
}

/// Handles a message that answers no request. Unsolicited notifications (RFC 4511 §4.4) are
/// ignored, except the Notice of Disconnection. Anything else is an error.
pub(super) fn ignore_unsolicited(
    message: &LdapMessage<'_>,
    stage: DirectoryStage,
) -> Result<(), DirectoryProblem> {
    match &message.op {
        ProtocolOp::ExtendedResponse(notice)
            if message.message_id == 0 && notice.is_notice_of_disconnection() =>
        {
            let (code, diagnostic) = (notice.result.code, quote(&notice.result.diagnostic));
            Err(DirectoryProblem::Disconnected { stage, code, diagnostic })
        }
        ProtocolOp::ExtendedResponse(_) if message.message_id == 0 => Ok(()),
        _ => Err(out_of_place(message, stage)),
    }
}

/// Error for a message that is no answer to the request.
pub(super) fn out_of_place(message: &LdapMessage<'_>, stage: DirectoryStage) -> DirectoryProblem {
    DirectoryProblem::Protocol {
        stage,
        reason: format!(
            "{} with message ID {} answers no request of ours",
            message.op.name(),
            message.message_id
        ),
    }
}
