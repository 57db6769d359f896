//! A client's TLS session over a [`Socket`].
//!
//! Scope: TLS records. rustls' unbuffered interface leaves reading to this module. It reads large
//! pieces, decrypts them in place and copies them once, into the frame buffer.

use std::io::ErrorKind;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use super::connection::WireError;
use super::frame_buffer::FrameBuffer;
use crate::net::deadline::Deadline;
use crate::net::socket::Socket;
use crate::net::tls::TlsClient;

/// Size of the buffer for records. It also bounds a handshake message, which must fit whole. The
/// size is twice the maximum that rustls accepts.
const INCOMING: usize = 128 * 1024;

pub(super) struct TlsSession {
    tls: UnbufferedClientConnection,
    /// Records from the peer. The range from `start` to `end` is unprocessed.
    incoming: Vec<u8>,
    start: usize,
    end: usize,
    /// Records not yet sent to the peer.
    outgoing: Vec<u8>,
    /// True after the peer's close_notify.
    peer_closed: bool,
}

impl TlsSession {
    /// Performs the handshake. Application data that arrives with it goes to `plain`.
    pub(super) fn handshake(
        client: &TlsClient,
        name: ServerName<'static>,
        socket: &mut Socket,
        plain: &mut FrameBuffer,
        deadline: &Deadline,
    ) -> Result<Self, WireError> {
        let tls = UnbufferedClientConnection::new(Arc::clone(&client.config), name)
            .map_err(WireError::Tls)?;
        let mut session = TlsSession {
            tls,
            incoming: vec![0; INCOMING],
            start: 0,
            end: 0,
            outgoing: Vec::new(),
            peer_closed: false,
        };
        loop {
            match session.process(socket, plain, deadline) {
                Ok(Progress::InHandshake) => session.receive(socket, deadline)?,
                Ok(Progress::Established) => return Ok(session),
                Err(WireError::Tls(error)) => return Err(WireError::Tls(client.with_names(error))),
                Err(error) => return Err(error),
            }
        }
    }

    /// The peer's certificate chain, leaf first.
    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.peer_certificates().unwrap_or_default()
    }

    /// Waits until `plain` has more data than before.
    pub(super) fn fill(
        &mut self,
        socket: &mut Socket,
        plain: &mut FrameBuffer,
        deadline: &Deadline,
    ) -> Result<(), WireError> {
        let before = plain.len();
        loop {
            self.process(socket, plain, deadline)?;
            if plain.len() > before {
                return Ok(());
            }
            self.receive(socket, deadline)?;
        }
    }

    /// Encrypts and sends `bytes`.
    pub(super) fn send(
        &mut self,
        bytes: &[u8],
        socket: &mut Socket,
        plain: &mut FrameBuffer,
        deadline: &Deadline,
    ) -> Result<(), WireError> {
        // After this no record is unprocessed, so the next call returns WriteTraffic.
        self.process(socket, plain, deadline)?;
        let records = self.incoming.get_mut(self.start..self.end).unwrap_or_default();
        if let Ok(ConnectionState::WriteTraffic(mut writer)) =
            self.tls.process_tls_records(records).state
        {
            append(&mut self.outgoing, |space| writer.encrypt(bytes, space))?;
        }
        match self.flush(socket, deadline) {
            // Before it hangs up, a peer has often sent the reason as an alert. A TLS 1.3 server
            // rejects a client certificate only after the handshake.
            Err(WireError::Io(error))
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                match self.fill(socket, plain, deadline) {
                    Err(reason @ WireError::Tls(_)) => Err(reason),
                    _ => Err(WireError::Io(error)),
                }
            }
            result => result,
        }
    }

    /// Sends close_notify.
    pub(super) fn close(
        &mut self,
        socket: &mut Socket,
        deadline: &Deadline,
    ) -> Result<(), WireError> {
        let records = self.incoming.get_mut(self.start..self.end).unwrap_or_default();
        if let Ok(ConnectionState::WriteTraffic(mut writer)) =
            self.tls.process_tls_records(records).state
        {
            append(&mut self.outgoing, |space| writer.queue_close_notify(space))?;
        }
        self.flush(socket, deadline)
    }

    /// Processes the received records and sends the protocol's own messages.
    fn process(
        &mut self,
        socket: &mut Socket,
        plain: &mut FrameBuffer,
        deadline: &Deadline,
    ) -> Result<Progress, WireError> {
        loop {
            let records = self.incoming.get_mut(self.start..self.end).unwrap_or_default();
            let UnbufferedStatus { mut discard, state, .. } = self.tls.process_tls_records(records);
            let mut settled = None;
            let mut failure = None;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(WireError::Tls)?;
                        discard = discard.saturating_add(record.discard);
                        plain.push(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.outgoing, |space| data.encode(space))?
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    socket
                        .write_all(&self.outgoing, deadline)
                        .map_err(|e| WireError::from_io(e, deadline))?;
                    self.outgoing.clear();
                    transmit.done();
                }
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(ConnectionState::BlockedHandshake) => settled = Some(Progress::InHandshake),
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
                    settled = Some(Progress::Established)
                }
                Ok(_) => {
                    failure =
                        Some(rustls::Error::General("a state that a client never reaches".into()))
                }
                Err(error) => failure = Some(error),
            }
            self.start = self.start.saturating_add(discard).min(self.end);
            if let Some(error) = failure {
                self.send_alert(socket, deadline);
                return Err(WireError::Tls(error));
            }
            if let Some(progress) = settled {
                return Ok(progress);
            }
        }
    }

    /// Reads more records from the socket.
    fn receive(&mut self, socket: &mut Socket, deadline: &Deadline) -> Result<(), WireError> {
        if self.peer_closed {
            return Err(WireError::Closed { announced: true });
        }
        self.incoming.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        let free = self.incoming.get_mut(self.end..).unwrap_or_default();
        if free.is_empty() {
            return Err(WireError::Tls(rustls::Error::PeerSentOversizedRecord));
        }
        match socket.read(free, deadline).map_err(|e| WireError::from_io(e, deadline))? {
            0 => Err(WireError::Closed { announced: false }),
            read => {
                self.end = self.end.saturating_add(read);
                Ok(())
            }
        }
    }

    /// Sends the alert that rustls prepares after a failure. A failure to send it is ignored.
    fn send_alert(&mut self, socket: &mut Socket, deadline: &Deadline) {
        let records = self.incoming.get_mut(self.start..self.end).unwrap_or_default();
        if let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.tls.process_tls_records(records).state
            && append(&mut self.outgoing, |space| data.encode(space)).is_ok()
        {
            let _ = self.flush(socket, deadline);
        }
    }

    fn flush(&mut self, socket: &mut Socket, deadline: &Deadline) -> Result<(), WireError> {
        let result =
            socket.write_all(&self.outgoing, deadline).map_err(|e| WireError::from_io(e, deadline));
        self.outgoing.clear();
        result
    }
}

/// State of the session once all records are processed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    InHandshake,
    Established,
}

/// Appends the output of `encode`. Calls it again with more space if it reports that it needs more.
fn append<E: Into<Shortage>>(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), WireError> {
    let before = out.len();
    let mut space = 0;
    loop {
        out.resize(before.saturating_add(space), 0);
        let result = encode(out.get_mut(before..).unwrap_or_default());
        out.truncate(before.saturating_add(*result.as_ref().unwrap_or(&0)));
        match result.map_err(Into::into) {
            Ok(_) => return Ok(()),
            Err(Shortage(Some(required))) if required > space => space = required,
            Err(Shortage(_)) => return Err(WireError::Tls(rustls::Error::EncryptError)),
        }
    }
}

/// The space that an encoder needs; `None` if it failed for another reason.
struct Shortage(Option<usize>);

impl From<EncodeError> for Shortage {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Shortage(Some(required_size))
            }
            EncodeError::AlreadyEncoded => Shortage(None),
        }
    }
}

impl From<EncryptError> for Shortage {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Shortage(Some(required_size))
            }
            EncryptError::EncryptExhausted => Shortage(None),
        }
    }
}
