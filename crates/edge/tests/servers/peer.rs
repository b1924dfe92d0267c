//! Another server, typed by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use stentor_transport::{
    Certificates, Conn, ConnectorSettings, Listener, TlsAcceptor, TlsConnector, TlsSettings, Trust,
    VersionMin, dev_ca, dial,
};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::{PATIENCE, Server};

/// One end of a stream.
pub struct Peer {
    pub conn: Conn,
    heard: String,
}

/// A stream header.
pub fn header(from: &str, to: &str, id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
         xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' \
         from='{from}' to='{to}' version='1.0' id='{id}'>"
    )
}

impl Peer {
    /// Connects in clear.
    pub async fn plain(addr: SocketAddr) -> Self {
        Self { conn: dial(addr).await.unwrap(), heard: String::new() }
    }

    /// The other end of a connection that the server has opened.
    pub fn over(tcp: TcpStream, addr: SocketAddr) -> Self {
        Self { conn: Conn::plain(tcp, addr), heard: String::new() }
    }

    /// Connects, does STARTTLS with this certificate, and has read the features behind it.
    pub async fn secure(server: &Server, certificate: &dev_ca::DevCa, from: &str) -> Self {
        let mut peer = Self::encrypted(server, certificate, from).await;
        peer.say(&header(from, server.domain, "")).await;
        peer.hear("</stream:features>").await;
        peer
    }

    /// Connects and does STARTTLS with this certificate; says nothing behind it.
    pub async fn encrypted(server: &Server, certificate: &dev_ca::DevCa, from: &str) -> Self {
        let mut peer = Self::plain(server.addr).await;
        peer.say(&header(from, server.domain, "")).await;
        peer.hear("</stream:features>").await;
        peer.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
        peer.hear("<proceed").await;
        let connector = TlsConnector::new(ConnectorSettings {
            trust: Trust::JudgedLater,
            alpn: Vec::new(),
            identity: Some(certificate.identity()),
            version_min: VersionMin::default(),
        });
        peer.conn.connect_tls(&connector.unwrap(), server.domain, &[]).await.unwrap();
        peer.heard.clear();
        peer
    }

    /// Signed in by SASL EXTERNAL.
    pub async fn external(server: &Server, certificate: &dev_ca::DevCa, from: &str) -> Self {
        let mut peer = Self::secure(server, certificate, from).await;
        peer.say("<bidi xmlns='urn:xmpp:bidi'/>").await;
        let ns = "urn:ietf:params:xml:ns:xmpp-sasl";
        peer.say(&format!("<auth xmlns='{ns}' mechanism='EXTERNAL'>=</auth>")).await;
        peer.hear("<success").await;
        peer.say(&header(from, server.domain, "")).await;
        peer.hear("</stream:features>").await;
        peer
    }

    /// As [`Peer::accept`], and signs the server in by EXTERNAL; what is wanted next are the features of the third stream.
    pub async fn accept_authorized(
        listener: &Listener,
        certificate: &dev_ca::DevCa,
        domain: &str,
    ) -> Self {
        Self::accept_offering(listener, certificate, domain, "").await
    }

    /// The same, with more features beside EXTERNAL.
    pub async fn accept_offering(
        listener: &Listener,
        certificate: &dev_ca::DevCa,
        domain: &str,
        more: &str,
    ) -> Self {
        let mut peer = Self::accept(listener, certificate, domain).await;
        let external = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
                        <mechanism>EXTERNAL</mechanism></mechanisms>";
        peer.say(&format!("<stream:features>{external}{more}</stream:features>")).await;
        peer.hear("<auth").await;
        peer.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
        peer.hear("version=").await;
        peer.say(&header(domain, "one.example", "third")).await;
        peer
    }

    /// Accepts a stream that the server opens, with STARTTLS; has read the header behind it and
    /// sent features with EXTERNAL in them if so wished.
    pub async fn accept(listener: &Listener, certificate: &dev_ca::DevCa, domain: &str) -> Self {
        let (tcp, addr) = listener.accept().await;
        let mut peer = Self::over(tcp, addr);
        peer.hear("version=").await;
        peer.say(&header(domain, "one.example", "first")).await;
        let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
        peer.say(&format!("<stream:features>{starttls}</stream:features>")).await;
        peer.hear("<starttls").await;
        peer.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
        let (certificates, _) = Certificates::load(vec![certificate.identity()]).unwrap();
        let acceptor = TlsAcceptor::new(Arc::new(certificates), TlsSettings::default());
        peer.conn.start_tls(&acceptor, &[], None).await.unwrap();
        peer.heard.clear();
        peer.hear("version=").await;
        peer.say(&header(domain, "one.example", "second")).await;
        peer
    }

    /// Writes; whatever becomes of it.
    pub async fn say(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let conn = &mut self.conn;
            match std::future::poll_fn(|cx| conn.poll_write(cx, rest)).await {
                Ok(len) => rest = &rest[len..],
                Err(_) => return,
            }
        }
        let conn = &mut self.conn;
        let _ = std::future::poll_fn(|cx| conn.poll_flush(cx)).await;
    }

    /// Reads until this has come; all that came up to then, which is not heard again.
    pub async fn hear(&mut self, wanted: &str) -> String {
        let wait = async {
            while !self.heard.contains(wanted) {
                assert!(self.read().await, "ended before `{wanted}`: {}", self.heard);
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(came.is_ok(), "`{wanted}` never came: {}", self.heard);
        let end = self.heard.find(wanted).unwrap() + wanted.len();
        let rest = self.heard.split_off(end);
        std::mem::replace(&mut self.heard, rest)
    }

    /// All that comes until the connection ends.
    pub async fn hear_end(&mut self) -> String {
        let ended = tokio::time::timeout(PATIENCE, async { while self.read().await {} }).await;
        assert!(ended.is_ok(), "the connection does not end: {}", self.heard);
        std::mem::take(&mut self.heard)
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let mut buffer = ReadBuf::new(&mut bytes);
        let conn = &mut self.conn;
        match std::future::poll_fn(|cx| conn.poll_read(cx, &mut buffer)).await {
            Ok(len) if len > 0 => {
                self.heard.push_str(&String::from_utf8_lossy(buffer.filled()));
                true
            }
            _ => false,
        }
    }
}
