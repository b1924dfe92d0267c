//! The handshake, run over a socket: `ClientHello` first, then certificate, then the rest.

use std::io;
use std::sync::Arc;

use rustls::server::{Acceptor, UnbufferedServerConnection};
use rustls::{AlertDescription, CipherSuite, HandshakeKind, ProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::facts::{TlsFacts, TlsVersion};
use crate::limits::{CLIENT_HELLO_BYTES_MAX, DRAIN_BYTES_MAX, HANDSHAKE_BYTES_MAX, READ_BYTES_MAX};
use crate::tls::acceptor::{Choice, TlsAcceptor};
use crate::tls::binding::{self, Secret, SuiteHash, tls_exporter};
use crate::tls::session::Session;

/// Why a handshake did not complete.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection failed or the peer closed it.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// There is no certificate for the name the peer asked for; it was told `unrecognized_name`.
    #[error("no certificate for the server name `{0}`")]
    UnknownName(String),
    /// The peer sent an alert, as number of RFC 8446 §6 and in words.
    #[error("the peer sent the alert {name} ({code})")]
    PeerAlert {
        /// Number of the alert.
        code: u8,
        /// Its name.
        name: String,
    },
    /// We refused.
    #[error("{reason}")]
    Refused {
        /// Why, for the log.
        reason: String,
        /// Number of the alert that told the peer, where it is known (RFC 8446 §6).
        alert: Option<u8>,
    },
    /// More bytes than a handshake needs.
    #[error("the peer's handshake messages exceed {0} bytes")]
    TooBig(usize),
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

impl HandshakeError {
    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), alert: None }
    }

    /// `sent` is what the failure left to be sent: nothing or an alert.
    fn after(error: &rustls::Error, sent: &[u8]) -> Self {
        let alert = match error {
            rustls::Error::AlertReceived(alert) => {
                return Self::PeerAlert { code: u8::from(*alert), name: format!("{alert:?}") };
            }
            rustls::Error::InvalidCertificate(e) => Some(AlertDescription::from(e.clone()).into()),
            rustls::Error::NoApplicationProtocol => {
                Some(AlertDescription::NoApplicationProtocol.into())
            }
            rustls::Error::NoCertificatesPresented => {
                Some(AlertDescription::CertificateRequired.into())
            }
            _ => match sent {
                [.., ALERT, 3, _, 0, 2, FATAL, code] => Some(*code),
                _ => None,
            },
        };
        Self::Refused { reason: error.to_string(), alert }
    }
}

/// Serves one handshake. `leftover` is what was read from the socket already.
pub(crate) async fn accept(
    tcp: &mut TcpStream,
    acceptor: &TlsAcceptor,
    leftover: &[u8],
    host_hint: Option<&str>,
) -> Result<(Session, TlsFacts), HandshakeError> {
    let mut input = leftover.to_vec();
    let sni = client_hello(tcp, &mut input).await?;
    let Some(choice) = acceptor.choose(sni.as_deref().or(host_hint)) else {
        refuse(tcp, &fatal(AlertDescription::UnrecognisedName)).await;
        return Err(HandshakeError::UnknownName(sni.unwrap_or_default()));
    };
    let connection = UnbufferedServerConnection::new(Arc::clone(&choice.config))
        .map_err(|e| HandshakeError::refused(e.to_string()))?;
    let mut session = Session::server(connection);
    let secret = complete(tcp, &mut session, input).await?;
    let mut facts = facts(&session, secret);
    let Choice { identity, .. } = choice;
    facts.sni = sni;
    facts.certificate = Some(identity.fingerprint);
    facts.server_end_point = identity.server_end_point.clone();
    Ok((session, facts))
}

/// Drives a session until the handshake is complete and all that it had to say is sent.
///
/// Returns the exporter secret, if the version has one.
pub(crate) async fn complete(
    tcp: &mut TcpStream,
    session: &mut Session,
    mut input: Vec<u8>,
) -> Result<Option<Secret>, HandshakeError> {
    let mut secret = None;
    let mut out = Vec::new();
    loop {
        drop(binding::take_secret());
        let mut plain = Vec::new();
        let result =
            session.receive(&mut input, &mut out, &mut |bytes| plain.extend_from_slice(bytes));
        secret = binding::take_secret().or(secret);
        if !plain.is_empty() {
            session.plain.push(&plain);
        }
        if let Err(error) = result {
            refuse(tcp, &out).await;
            return Err(HandshakeError::after(&error, &out));
        }
        tcp.write_all(&out).await?;
        out.clear();
        if !session.common().is_handshaking() {
            return Ok(secret);
        }
        input = std::mem::take(&mut session.partial);
        if input.len() > HANDSHAKE_BYTES_MAX {
            return Err(HandshakeError::TooBig(HANDSHAKE_BYTES_MAX));
        }
        read_more(tcp, &mut input).await?;
    }
}

/// What a session that is past its handshake can tell.
pub(crate) fn facts(session: &Session, secret: Option<Secret>) -> TlsFacts {
    let common = session.common();
    let suite = common.negotiated_cipher_suite().map(|s| s.suite());
    let hash = match suite {
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => SuiteHash::Sha384,
        _ => SuiteHash::Sha256,
    };
    TlsFacts {
        version: match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
        cipher: suite.map_or("", suite_name),
        group: common.negotiated_key_exchange_group().and_then(|g| g.name().as_str()),
        alpn: common.alpn_protocol().map(<[u8]>::to_vec),
        sni: None,
        is_resumed: matches!(common.handshake_kind(), Some(HandshakeKind::Resumed)),
        exporter: secret.and_then(|secret| tls_exporter(&secret, hash)),
        server_end_point: None,
        certificate: None,
        client_certs: common.peer_certificates().unwrap_or_default().to_vec(),
        server_certs: Vec::new(),
    }
}

/// The name in the TLS registry; rustls marks those of TLS 1.3 in its own way.
fn suite_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}

/// Reads until the `ClientHello` is complete; `input` keeps all bytes. Returns the server name.
async fn client_hello(
    tcp: &mut TcpStream,
    input: &mut Vec<u8>,
) -> Result<Option<String>, HandshakeError> {
    // A throw-away reader: the unbuffered connection cannot pause for the choice of a certificate.
    let mut reader = Acceptor::default();
    let mut seen = 0;
    loop {
        while seen < input.len() {
            seen += reader.read_tls(&mut &input[seen..])?;
            match reader.accept() {
                Ok(Some(accepted)) => {
                    return Ok(accepted.client_hello().server_name().map(str::to_owned));
                }
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    alert.write_all(&mut bytes)?;
                    if is_before_tls12(input) {
                        bytes = fatal(AlertDescription::ProtocolVersion).to_vec();
                    }
                    refuse(tcp, &bytes).await;
                    return Err(HandshakeError::after(&error, &bytes));
                }
            }
        }
        if input.len() > CLIENT_HELLO_BYTES_MAX {
            return Err(HandshakeError::TooBig(CLIENT_HELLO_BYTES_MAX));
        }
        read_more(tcp, input).await?;
    }
}

/// Appends what the socket has; at least one byte.
async fn read_more(tcp: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    input.reserve(READ_BYTES_MAX);
    loop {
        tcp.readable().await?;
        let start = input.len();
        input.resize(start + READ_BYTES_MAX, 0);
        let result = tcp.try_read(&mut input[start..]);
        input.truncate(start + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
}

/// Sends an alert and ends the connection so that the alert arrives.
///
/// Closing a socket that has unread input resets the connection, and a reset may overtake the
/// alert: so what has arrived already is read and dropped.
async fn refuse(tcp: &mut TcpStream, alert: &[u8]) {
    if tcp.write_all(alert).await.is_err() || tcp.shutdown().await.is_err() {
        return;
    }
    let mut waste = vec![0; READ_BYTES_MAX];
    let mut left = DRAIN_BYTES_MAX;
    while let Ok(len @ 1..) = tcp.try_read(&mut waste) {
        left = left.saturating_sub(len);
        if left == 0 {
            break;
        }
    }
}

/// Whether a `ClientHello` offers nothing newer than TLS 1.1, by its `legacy_version`.
///
/// Such a hello lacks extensions that rustls misses before it looks at the version; the peer is to
/// hear `protocol_version` all the same (RFC 5246 appendix E.1).
fn is_before_tls12(input: &[u8]) -> bool {
    matches!(input, [HANDSHAKE, _, _, _, _, CLIENT_HELLO, _, _, _, 3, 0..=2, ..])
}

/// An alert in the clear that ends the handshake (RFC 8446 §6).
fn fatal(alert: AlertDescription) -> [u8; 7] {
    [ALERT, 3, 3, 0, 2, FATAL, u8::from(alert)]
}

/// Content types (RFC 8446 §5.1), a handshake type (§4) and an alert level (§6).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const FATAL: u8 = 2;
