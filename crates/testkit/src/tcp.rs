//! A client over a real socket: the connecting stream machine joined with a transport.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use stentor_jid::FullJid;
use stentor_sasl::{Bindings, Mechanism};
use stentor_stanza::Stanza;
use stentor_stream::Millis;
use stentor_stream::fault::Fault;
use stentor_stream::initiator::{Credentials, Event, Extended, Initiator, Settings, TlsPolicy};
use stentor_stream::sign_in::IssuedToken;
use stentor_transport::{Conn, Facts, TlsConnector, dial};
use stentor_xml::Frame;
use tokio::io::ReadBuf;
use zeroize::Zeroizing;

/// A signed-in client.
pub struct TcpClient {
    conn: Conn,
    machine: Initiator,
    events: VecDeque<Event>,
    /// The address that the server bound.
    pub jid: FullJid,
    /// The token that came with success, and what it is good for (XEP-0484).
    pub token: Option<(Mechanism, IssuedToken)>,
}

/// How to connect.
#[derive(Clone)]
pub struct Login<'a> {
    /// The server's address.
    pub addr: SocketAddr,
    /// `local@domain/resource`.
    pub jid: &'a str,
    /// The password.
    pub password: &'a str,
    /// How TLS is done, if at all.
    pub tls: Tls<'a>,
}

/// How TLS is done.
#[derive(Clone, Copy)]
pub enum Tls<'a> {
    /// Not at all.
    Off,
    /// By STARTTLS.
    Start(&'a TlsConnector),
    /// From the first byte.
    Direct(&'a TlsConnector),
}

impl TcpClient {
    /// Connects, signs in and binds.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn connect(login: Login<'_>) -> Result<Self, String> {
        Self::connect_with(login, None).await
    }

    /// The same, by XEP-0388.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn connect_with(
        login: Login<'_>,
        extended: Option<Extended>,
    ) -> Result<Self, String> {
        let (local, rest) = login.jid.split_once('@').ok_or("no local part")?;
        let (domain, resource) = rest.split_once('/').ok_or("no resource")?;
        let credentials = Credentials::Password {
            username: local.to_owned(),
            password: Zeroizing::new(login.password.to_owned()),
        };
        let mut settings = Settings::new(domain, credentials);
        settings.resource = Some(resource.to_owned());
        settings.extended = extended;
        if matches!(login.tls, Tls::Off) {
            settings.tls = TlsPolicy::Never;
        }
        let mut conn = dial(login.addr).await.map_err(|e| e.to_string())?;
        let mut bindings = None;
        if let Tls::Direct(connector) = login.tls {
            secure(&mut conn, connector, domain).await?;
            bindings = Some(bindings_of(conn.facts()));
        }
        let nonce = stentor_engine::random_id().map_err(|e| e.to_string())?.to_string();
        let mut machine = Initiator::new(Arc::new(settings), bindings, nonce, Millis(0));
        let mut events = VecDeque::new();
        let mut token = None;
        loop {
            flush(&mut conn, &mut machine).await.map_err(|e| e.to_string())?;
            match events.pop_front().or_else(|| machine.poll_event()) {
                Some(Event::Ready { jid }) => {
                    return Ok(Self { conn, machine, events, jid, token });
                }
                Some(Event::Token { mechanism, token: issued }) => {
                    token = Some((mechanism, issued));
                }
                Some(Event::StartTls) => {
                    let Tls::Start(connector) = login.tls else {
                        return Err("TLS was not wanted".into());
                    };
                    secure(&mut conn, connector, domain).await?;
                    machine.handle_tls(bindings_of(conn.facts()), Millis(0));
                }
                Some(Event::AuthFailed { .. }) => {}
                Some(Event::BindFailed(error)) => return Err(format!("bind failed: {error:?}")),
                Some(Event::Ended { fault, .. }) => return Err(format!("ended: {fault:?}")),
                Some(Event::Stanza(_) | Event::PeerClosed) => {}
                None => {
                    read(&mut conn, &mut machine, &mut events).await.map_err(|e| e.to_string())?;
                }
            }
        }
    }

    /// What is known of the connection.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        self.conn.facts()
    }

    /// Sends one element.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, xml: &str) -> std::io::Result<()> {
        let frame = Frame::parse(xml.as_bytes()).unwrap();
        let stanza = Stanza::from_frame(frame).unwrap();
        self.send_stanza(&stanza).await
    }

    /// Sends one stanza.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send_stanza(&mut self, stanza: &Stanza) -> std::io::Result<()> {
        let mut out = Vec::new();
        self.machine.send(stanza, &mut out);
        write_all(&mut self.conn, &out).await
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        write_all(&mut self.conn, bytes).await
    }

    /// Waits for the next stanza.
    ///
    /// # Errors
    /// Why the stream ended instead; none for an ordinary close.
    pub async fn receive(&mut self) -> Result<Stanza, Option<Fault>> {
        loop {
            while let Some(event) = self.events.pop_front().or_else(|| self.machine.poll_event()) {
                match event {
                    Event::Stanza(stanza) => return Ok(stanza),
                    Event::Ended { fault, .. } => return Err(fault),
                    Event::PeerClosed => self.machine.close(None, Millis(0)),
                    _ => {}
                }
            }
            let _ = flush(&mut self.conn, &mut self.machine).await;
            if read(&mut self.conn, &mut self.machine, &mut self.events).await.is_err() {
                self.machine.handle_eof(Millis(0));
            }
        }
    }

    /// Waits for the first stanza that fits; others before it are dropped.
    ///
    /// # Errors
    /// As [`TcpClient::receive`].
    pub async fn wait_for(
        &mut self,
        fits: impl Fn(&Stanza) -> bool,
    ) -> Result<Stanza, Option<Fault>> {
        loop {
            let stanza = self.receive().await?;
            if fits(&stanza) {
                return Ok(stanza);
            }
        }
    }

    /// Closes the stream and waits for the server to do so.
    pub async fn close(mut self) {
        self.machine.close(None, Millis(0));
        while self.receive().await.is_ok() {}
    }
}

async fn secure(conn: &mut Conn, connector: &TlsConnector, domain: &str) -> Result<(), String> {
    conn.connect_tls(connector, domain, &[]).await.map_err(|e| e.to_string())
}

fn bindings_of(facts: &Facts) -> Bindings {
    let tls = facts.tls.as_ref();
    Bindings {
        exporter: tls.and_then(|t| t.exporter),
        server_end_point: tls.and_then(|t| t.server_end_point.as_deref()).map(<[u8]>::to_vec),
    }
}

async fn flush(conn: &mut Conn, machine: &mut Initiator) -> std::io::Result<()> {
    let mut out = Vec::new();
    machine.take_output(&mut out);
    write_all(conn, &out).await
}

async fn write_all(conn: &mut Conn, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let len = std::future::poll_fn(|cx| conn.poll_write(cx, bytes)).await?;
        bytes = &bytes[len..];
    }
    std::future::poll_fn(|cx| conn.poll_flush(cx)).await
}

async fn read(
    conn: &mut Conn,
    machine: &mut Initiator,
    events: &mut VecDeque<Event>,
) -> std::io::Result<()> {
    let mut space = [0; 4096];
    let mut buf = ReadBuf::new(&mut space);
    let len = std::future::poll_fn(|cx| conn.poll_read(cx, &mut buf)).await?;
    if len == 0 {
        machine.handle_eof(Millis(0));
        return Ok(());
    }
    let mut input = buf.filled();
    while !input.is_empty() && machine.may_read() {
        machine.handle_bytes(&mut input, Millis(0));
        while let Some(event) = machine.poll_event() {
            events.push_back(event);
        }
    }
    Ok(())
}
