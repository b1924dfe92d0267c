//! A client's stream: bytes to elements and back, and signing in. Nothing of it is shared with the
//! server's streams or with the connecting machine.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_sasl::client::Exchange;
use stentor_sasl::{Bindings, Mechanism};
use stentor_transport::Conn;
use stentor_xml::{Frame, Item, Limits, Scanner};
use tokio::io::ReadBuf;

/// A stream to the server.
pub struct Wire {
    conn: Conn,
    /// What the connection has not taken yet.
    unwritten: Vec<u8>,
    scanner: Scanner,
    items: VecDeque<Item>,
}

/// The stream is of no more use: its connection broke, or it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Wire {
    /// A stream over a connection.
    #[must_use]
    pub fn new(conn: Conn) -> Self {
        let scanner = Scanner::new(Limits::default());
        Self { conn, unwritten: Vec::new(), scanner, items: VecDeque::new() }
    }

    /// Signs in by SCRAM, up to the features after it.
    ///
    /// # Errors
    /// The stream broke; what the server says wrong is a panic.
    pub async fn sign_in(
        &mut self,
        user: &str,
        domain: &str,
        password: &str,
    ) -> Result<Frame, Broken> {
        self.open(domain).await?;
        let nonce = stentor_engine::random_id().unwrap().to_string() + "0123456789";
        let bindings = Bindings::default();
        let mechanism = Mechanism::ScramSha1;
        let mut exchange =
            Exchange::new(mechanism, user, password, None, &bindings, &nonce).unwrap();
        let first = STANDARD.encode(exchange.first().unwrap());
        self.write(&format!(
            "<auth xmlns='{NS_SASL}' mechanism='{}'>{first}</auth>",
            mechanism.name()
        ))?;
        let challenge = self.frame().await?;
        assert!(challenge.root().is(NS_SASL, "challenge"), "{}", text(&challenge));
        let challenge = STANDARD.decode(challenge.root().text().as_ref()).unwrap();
        let response = STANDARD.encode(exchange.step(&challenge).unwrap());
        self.write(&format!("<response xmlns='{NS_SASL}'>{response}</response>"))?;
        let success = self.frame().await?;
        assert!(success.root().is(NS_SASL, "success"), "{}", text(&success));
        self.scanner.restart();
        self.open(domain).await
    }

    async fn open(&mut self, domain: &str) -> Result<Frame, Broken> {
        self.write(&format!(
            "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' \
             xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        ))?;
        match self.next().await? {
            Item::Header(_) => self.frame().await,
            other => panic!("no header but {other:?}"),
        }
    }

    /// The next element. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The stream broke or was ended.
    pub async fn frame(&mut self) -> Result<Frame, Broken> {
        match self.next().await? {
            Item::Frame(frame) if frame.root().name() == "error" && is_stream_error(&frame) => {
                Err(Broken)
            }
            Item::Frame(frame) => Ok(frame),
            Item::Header(header) => panic!("a second header: {header:?}"),
            Item::End => Err(Broken),
        }
    }

    async fn next(&mut self) -> Result<Item, Broken> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(item);
            }
            let mut space = [0; 4_096];
            let mut buf = ReadBuf::new(&mut space);
            let outcome = std::future::poll_fn(|cx| {
                if self.flush(cx).is_err() {
                    return Poll::Ready(Err(Broken));
                }
                self.conn.poll_read(cx, &mut buf).map_err(|_| Broken)
            });
            if outcome.await? == 0 {
                return Err(Broken);
            }
            let mut input = buf.filled();
            while let Some(item) = self.scanner.feed(&mut input).expect("the server writes XML") {
                self.items.push_back(item);
            }
        }
    }

    /// Sends bytes: at once as far as the connection takes them, the rest before the next element
    /// is read.
    ///
    /// # Errors
    /// The stream broke.
    pub fn write(&mut self, text: &str) -> Result<(), Broken> {
        self.unwritten.extend_from_slice(text.as_bytes());
        self.flush(&mut Context::from_waker(Waker::noop()))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        while !self.unwritten.is_empty() {
            match self.conn.poll_write(cx, &self.unwritten) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(len)) => drop(self.unwritten.drain(..len)),
                Poll::Ready(Err(_)) => return Err(Broken),
            }
        }
        Ok(())
    }
}

fn is_stream_error(frame: &Frame) -> bool {
    frame.root().ns() == "http://etherx.jabber.org/streams"
}

/// An element as text.
pub(crate) fn text(frame: &Frame) -> String {
    String::from_utf8_lossy(frame.bytes()).into_owned()
}

const NS_SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
