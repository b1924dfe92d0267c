//! TLS without buffers of its own: rustls's unbuffered API behind three calls.
//!
//! A session keeps ciphertext only while a record is incomplete, plaintext only while the caller's
//! buffer was too small, and outgoing ciphertext only while the socket does not take it. An idle
//! session holds none of them.
//!
//! rustls remembers fragments of handshake messages by their place in the input, so every call has
//! to see the same unconsumed input again: `partial` is that input and is passed even when there
//! is nothing new to read.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error};

/// One TLS connection, of either side.
pub(crate) struct Session {
    side: Side,
    /// Ciphertext that rustls has not consumed.
    pub(crate) partial: Vec<u8>,
    /// Plaintext for which the caller had no room.
    pub(crate) plain: Queue,
    /// Ciphertext that the socket has not taken.
    pub(crate) pending: Queue,
    /// The peer said that it sends no more.
    pub(crate) is_peer_closed: bool,
    /// We said that we send no more.
    pub(crate) is_close_sent: bool,
    /// Why TLS is broken; nothing more can be read or written then.
    pub(crate) failure: Option<Box<Error>>,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What is to be done once TLS is ready to send.
enum Wish<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    CloseNotify,
}

/// How far one step came.
#[derive(PartialEq, Eq)]
enum Step {
    /// There may be more to do with the same input.
    Again,
    /// Nothing is left to do but to wait for input.
    Blocked,
    /// As `Blocked`, with the wish fulfilled.
    Done,
}

impl Session {
    pub(crate) fn server(connection: UnbufferedServerConnection) -> Self {
        Self::new(Side::Server(connection))
    }

    pub(crate) fn client(connection: UnbufferedClientConnection) -> Self {
        Self::new(Side::Client(connection))
    }

    fn new(side: Side) -> Self {
        Self {
            side,
            partial: Vec::new(),
            plain: Queue::default(),
            pending: Queue::default(),
            is_peer_closed: false,
            is_close_sent: false,
            failure: None,
        }
    }

    /// The state that both sides share: versions, suites, certificates.
    pub(crate) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    /// Whether reading has a result without the socket.
    pub(crate) fn has_news(&self) -> bool {
        !self.plain.is_empty() || self.is_peer_closed || self.failure.is_some()
    }

    /// Consumes `input`, which begins with what `partial` held; what is left over becomes the new
    /// `partial`.
    ///
    /// Plaintext goes to `plain`, ciphertext to be sent to `out`.
    ///
    /// # Errors
    /// TLS failed; `out` then ends with the alert for the peer.
    pub(crate) fn receive(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        let (consumed, result) = self.advance(input, out, plain, &Wish::Nothing);
        let is_over = self.is_peer_closed || self.failure.is_some();
        self.partial = if is_over { Vec::new() } else { input[consumed..].to_vec() };
        result
    }

    /// Appends `plaintext` to `out` as records.
    pub(crate) fn encrypt(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.fulfil(&Wish::Encrypt(plaintext), out)
    }

    /// Appends a `close_notify` alert to `out`, once.
    pub(crate) fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.is_close_sent || self.failure.is_some() {
            return Ok(());
        }
        self.is_close_sent = true;
        self.fulfil(&Wish::CloseNotify, out)
    }

    fn fulfil(&mut self, wish: &Wish<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut partial = std::mem::take(&mut self.partial);
        let mut overflow = std::mem::take(&mut self.plain);
        let (consumed, result) =
            self.advance(&mut partial, out, &mut |bytes| overflow.push(bytes), wish);
        partial.drain(..consumed);
        self.partial = partial;
        self.plain = overflow;
        result
    }

    /// Steps until nothing more can be done; returns how much of the input is used up.
    fn advance(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
        wish: &Wish<'_>,
    ) -> (usize, Result<(), Error>) {
        let mut consumed = 0;
        loop {
            let rest = &mut input[consumed..];
            let peer_closed = &mut self.is_peer_closed;
            let (discard, step) = match &mut self.side {
                Side::Server(c) => {
                    absorb(c.process_tls_records(rest), out, plain, peer_closed, wish)
                }
                Side::Client(c) => {
                    absorb(c.process_tls_records(rest), out, plain, peer_closed, wish)
                }
            };
            consumed += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Done) => return (consumed, Ok(())),
                Ok(Step::Blocked) if matches!(wish, Wish::Nothing) => return (consumed, Ok(())),
                Ok(Step::Blocked) => return (consumed, Err(Error::HandshakeNotComplete)),
                Err(error) => {
                    self.failure = Some(Box::new(error.clone()));
                    consumed += self.emit_alert(&mut input[consumed..], out);
                    return (consumed, Err(error));
                }
            }
        }
    }

    /// Moves the alert that a failure has left to `out`.
    ///
    /// Only as long as something waits: a further step would look at the faulty input again.
    fn emit_alert(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> usize {
        let mut consumed = 0;
        while self.common().wants_write() {
            let rest = &mut input[consumed..];
            let (nothing, mut closed) = (Wish::Nothing, false);
            let (discard, step) = match &mut self.side {
                Side::Server(c) => {
                    absorb(c.process_tls_records(rest), out, &mut |_| {}, &mut closed, &nothing)
                }
                Side::Client(c) => {
                    absorb(c.process_tls_records(rest), out, &mut |_| {}, &mut closed, &nothing)
                }
            };
            consumed += discard;
            if step != Ok(Step::Again) {
                break;
            }
        }
        consumed
    }
}

/// Bytes that are taken from the front; without memory when empty.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn advance(&mut self, len: usize) {
        self.start += len;
        if self.start >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

/// Handles one state of rustls.
fn absorb<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut Vec<u8>,
    plain: &mut dyn FnMut(&[u8]),
    is_peer_closed: &mut bool,
    wish: &Wish<'_>,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Ok(Step::Again),
                Some(Err(error)) => break Err(error),
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain(record.payload);
                }
            }
        },
        // We never announce early data, so there is none to be read.
        Ok(ConnectionState::ReadEarlyData(_)) => {
            Err(Error::General("early data was not offered".to_owned()))
        }
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out).map(|()| Step::Again),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => {
            *is_peer_closed = true;
            Ok(Step::Again)
        }
        Ok(ConnectionState::WriteTraffic(traffic)) => match wish {
            Wish::Nothing => Ok(Step::Blocked),
            wish => send(traffic, wish, out).map(|()| Step::Done),
        },
        Ok(_) => Ok(Step::Blocked),
    };
    (discard, step)
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), Error> {
    let at = out.len();
    match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(need)) => out.resize(at + need.required_size, 0),
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Ok(()),
    }
    data.encode(&mut out[at..]).map(drop).map_err(|e| Error::General(e.to_string()))
}

fn send<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    wish: &Wish<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let at = out.len();
    let mut room = SEND_OVERHEAD;
    if let Wish::Encrypt(plaintext) = wish {
        room += plaintext.len();
    }
    loop {
        out.resize(at + room, 0);
        let written = match wish {
            Wish::Encrypt(plaintext) => traffic.encrypt(plaintext, &mut out[at..]),
            _ => traffic.queue_close_notify(&mut out[at..]),
        };
        match written {
            Ok(written) => {
                out.truncate(at + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(need)) => room = need.required_size,
            Err(EncryptError::EncryptExhausted) => {
                out.truncate(at);
                return Err(Error::EncryptError);
            }
        }
    }
}

/// More than the records of one write add to its plaintext.
const SEND_OVERHEAD: usize = 128;
