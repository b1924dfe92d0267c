//! One client's connection.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::Context as _;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::Server;
use super::sign_in::{Resume, SignIn};
use crate::split::{self, Piece};

pub(super) struct Peer {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// The beginning of an element whose end has not come.
    partial: Vec<u8>,
    /// Bytes for the socket that it did not take.
    unsent: Vec<u8>,
    pub(super) sign_in: Option<Box<SignIn>>,
    pub(super) resume: Option<Resume>,
    /// Stanzas taken since stream management began, if it did (XEP-0198 §4).
    pub(super) handled: Option<u32>,
    pub(super) is_deaf: bool,
}

/// What an element is to stream management.
pub(super) enum Managed {
    /// Nothing: it is a stanza.
    Stanza,
    /// The server asks how many stanzas came; this is the answer.
    Asked(String),
    /// The server tells how many it has.
    Answered,
}

impl Peer {
    pub(super) fn new(tcp: TcpStream, sign_in: Option<Box<SignIn>>) -> Self {
        Self {
            tcp,
            tls: None,
            partial: Vec::new(),
            unsent: Vec::new(),
            sign_in,
            resume: None,
            handled: None,
            is_deaf: false,
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether TLS has something to say of its own, as during its handshake.
    pub(super) fn has_tls_output(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Counts a stanza, or deals with what stream management says in between.
    pub(super) fn manage(&mut self, element: &[u8]) -> Managed {
        let Some(handled) = &mut self.handled else { return Managed::Stanza };
        match element {
            [b'<', b'r', b' ' | b'/', ..] => {
                Managed::Asked(format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>"))
            }
            [b'<', b'a', b' ' | b'/', ..] => Managed::Answered,
            _ => {
                *handled = handled.wrapping_add(1);
                Managed::Stanza
            }
        }
    }

    pub(super) fn start_tls(&mut self, server: &Server) -> anyhow::Result<()> {
        let name = ServerName::try_from(server.domain.clone())?;
        let tls = ClientConnection::new(server.tls_config.clone(), name)?;
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Reads until the socket is empty and shows each element.
    pub(super) fn receive(
        &mut self,
        input: &mut [u8],
        show: &mut dyn FnMut(&mut Self, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while !self.is_deaf {
            let len = match self.tcp.read(input) {
                Ok(0) => anyhow::bail!("the server closed the connection"),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            match &mut self.tls {
                None => self.split(&input[..len], show)?,
                Some(_) => self.open(&input[..len], show)?,
            }
            // A short read emptied the socket; more makes another event.
            if len < input.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends what it can and empties `out`.
    pub(super) fn send(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(out)?;
            out.clear();
            while tls.wants_write() {
                tls.write_tls(&mut self.unsent)?;
            }
        } else if self.unsent.is_empty() {
            let sent = write(&mut self.tcp, out)?;
            self.unsent.extend_from_slice(&out[sent..]);
            out.clear();
            return Ok(());
        } else {
            self.unsent.append(out);
        }
        let sent = write(&mut self.tcp, &self.unsent)?;
        self.unsent.drain(..sent);
        Ok(())
    }

    fn open(
        &mut self,
        mut ciphertext: &[u8],
        show: &mut dyn FnMut(&mut Self, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut plain = Vec::new();
        while !ciphertext.is_empty() {
            let tls = self.tls.as_mut().context("no TLS")?;
            tls.read_tls(&mut ciphertext)?;
            let news = tls.process_new_packets()?;
            let begin = plain.len();
            plain.resize(begin + news.plaintext_bytes_to_read(), 0);
            if plain.len() > begin {
                tls.reader().read_exact(&mut plain[begin..])?;
            }
        }
        self.split(&plain, show)
    }

    fn split(
        &mut self,
        input: &[u8],
        show: &mut dyn FnMut(&mut Self, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut whole = std::mem::take(&mut self.partial);
        let mut rest = if whole.is_empty() {
            input
        } else {
            whole.extend_from_slice(input);
            &whole[..]
        };
        while let Some((piece, begin, end)) = split::first(rest) {
            match piece {
                Piece::Header => {}
                Piece::End => anyhow::bail!("the server closed the stream"),
                Piece::Element if rest[begin..].starts_with(b"<stream:error") => {
                    anyhow::bail!("{}", String::from_utf8_lossy(&rest[begin..end]));
                }
                Piece::Element => show(self, &rest[begin..end])?,
            }
            rest = &rest[end..];
        }
        self.partial = rest.to_vec();
        Ok(())
    }
}

fn write(tcp: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match tcp.write(&bytes[sent..]) {
            Ok(len) => sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Bytes read from a socket at a time.
pub(super) const READ_BYTES: usize = 64 * 1024;
