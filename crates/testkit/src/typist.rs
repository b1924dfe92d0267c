//! A client that types: elements in, text out, over a real socket without TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_sasl::client::Exchange;
use stentor_sasl::{Bindings, Mechanism};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that a test types on. It takes nothing for granted and answers nothing by itself.
pub struct Typist {
    tcp: TcpStream,
    /// What came and was not looked at.
    heard: String,
    domain: String,
    /// What the stream offered last.
    features: String,
}

impl Typist {
    /// Connects and opens a stream to this domain.
    pub async fn connect(addr: SocketAddr, domain: &str) -> Self {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let (heard, features) = (String::new(), String::new());
        let mut typist = Self { tcp, heard, domain: domain.to_owned(), features };
        typist.open().await;
        typist
    }

    /// The stream features as they came last.
    #[must_use]
    pub fn features(&self) -> &str {
        &self.features
    }

    /// Connects, signs in by SCRAM and stops where a resource may be bound.
    pub async fn sign_in(addr: SocketAddr, account: &str, password: &str) -> Self {
        let (local, domain) = account.split_once('@').unwrap();
        let mut typist = Self::connect(addr, domain).await;
        let (mechanism, bindings) = (Mechanism::ScramSha1, Bindings::default());
        let nonce = stentor_engine::random_id().unwrap();
        let exchange = Exchange::new(mechanism, local, password, None, &bindings, &nonce);
        let mut exchange = exchange.unwrap();
        let first = STANDARD.encode(exchange.first().unwrap());
        typist
            .say(&format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{}'>{first}</auth>",
                mechanism.name()
            ))
            .await;
        let challenge = typist.hear("</challenge>").await;
        let challenge = challenge.rsplit_once("</").unwrap().0.rsplit_once('>').unwrap().1;
        let answer = exchange.step(&STANDARD.decode(challenge).unwrap()).unwrap();
        let answer = STANDARD.encode(answer);
        typist
            .say(&format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>"))
            .await;
        typist.hear("</success>").await;
        typist.open().await;
        typist
    }

    /// The same, with this resource bound.
    pub async fn bind(addr: SocketAddr, jid: &str, password: &str) -> Self {
        let (account, resource) = jid.split_once('/').unwrap();
        let mut typist = Self::sign_in(addr, account, password).await;
        typist
            .say(&format!(
                "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                 <resource>{resource}</resource></bind></iq>"
            ))
            .await;
        typist.hear("</iq>").await;
        typist
    }

    /// Types something.
    pub async fn say(&mut self, text: &str) {
        self.tcp.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until the text has come, and returns it with all before it.
    ///
    /// # Panics
    /// The stream ends, or it does not come in a long time.
    pub async fn hear(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.heard.find(text) {
                let rest = self.heard.split_off(at + text.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            let more = self.read().await.unwrap_or_default();
            assert!(!more.is_empty(), "`{text}` did not come; there came `{}`", self.heard);
            self.heard.push_str(&more);
        }
    }

    /// Waits for the next whole element of the stream and returns it.
    ///
    /// # Panics
    /// As [`Typist::hear`].
    pub async fn next_element(&mut self) -> String {
        let tag = self.hear(">").await;
        if tag.ends_with("/>") || tag.starts_with("</") {
            return tag;
        }
        let name = tag[1..].split([' ', '>']).next().unwrap_or_default().to_owned();
        let rest = self.hear(&format!("</{name}>")).await;
        // A forwarded stanza has the name of the one that carries it.
        let inside = rest.matches(&format!("<{name} ")).count();
        let mut element = tag + &rest;
        for _ in 0..inside {
            element += &self.hear(&format!("</{name}>")).await;
        }
        element
    }

    /// Waits until the server has ended the connection, and returns all that came before.
    pub async fn hear_end(&mut self) -> String {
        loop {
            match self.read().await {
                Ok(more) if !more.is_empty() => self.heard.push_str(&more),
                _ => return std::mem::take(&mut self.heard),
            }
        }
    }

    /// Asks the server a question and waits for the answer; returns what came before it. An answer
    /// comes behind everything that the server had to say until then.
    pub async fn sync(&mut self) -> String {
        let ping = format!(
            "<iq type='get' id='sync' to='{}'><ping xmlns='urn:xmpp:ping'/></iq>",
            self.domain
        );
        self.say(&ping).await;
        let heard = self.hear("id='sync'").await;
        self.hear("/>").await;
        heard
    }

    /// Cuts the connection without a word.
    pub fn cut(self) {
        let _ = self.tcp.set_zero_linger();
    }

    async fn open(&mut self) {
        self.say(&format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>",
            self.domain
        ))
        .await;
        self.features = self.hear("</stream:features>").await;
    }

    async fn read(&mut self) -> io::Result<String> {
        let mut bytes = [0; 4096];
        let read = self.tcp.read(&mut bytes);
        let len = tokio::time::timeout(PATIENCE, read).await.unwrap_or(Ok(0))?;
        Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }
}

/// Only a server that is stuck takes so long.
const PATIENCE: Duration = Duration::from_secs(10);
